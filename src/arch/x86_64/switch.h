/* SPDX-License-Identifier: MIT */
/* x86-64: see ../switch.h for the contract. */
#ifndef XCTX_ARCH_X86_64_SWITCH_H
#define XCTX_ARCH_X86_64_SWITCH_H

#include <stdbool.h>
#include <stdint.h>

static inline bool xctx__has_shadow_stack(void)
{
    uint64_t pointer = 0;

    __asm__ volatile("rdsspq %0" : "+r"(pointer)); /* does nothing where there is none */
    return pointer != 0;
}

#endif
