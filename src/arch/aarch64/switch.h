/* SPDX-License-Identifier: MIT */
/* aarch64: see ../switch.h for the contract. */
#ifndef XCTX_ARCH_AARCH64_SWITCH_H
#define XCTX_ARCH_AARCH64_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

/* Guarded control stacks: chkfeat clears the bit in x16 where they are on, and is a no-operation elsewhere. */
static inline bool xctx__has_shadow_stack(void)
{
    register uint64_t feature __asm__("x16") = 1;

    __asm__ volatile("hint #40" : "+r"(feature));
    return feature == 0;
}

#endif
