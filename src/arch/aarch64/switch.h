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

/* As switch.S says. */
#define XCTX__SWITCH_FRAME 176
#define XCTX__SWITCH_SP_NAME "sp"
#define XCTX__SWITCH_PC_NAME "pc"
#define XCTX__SWITCH_REGISTERS                                                                                         \
    {                                                                                                                  \
        {"x29", 0, 0}, {"pc", 8, 0}, {"x19", 16, 0}, {"x20", 24, 0}, {"x21", 32, 0}, {"x22", 40, 0}, {"x23", 48, 0},   \
            {"x24", 56, 0}, {"x25", 64, 0}, {"x26", 72, 0}, {"x27", 80, 0}, {"x28", 88, 0},                            \
    }

static inline struct switch_saved xctx__switch_saved(const void *sp)
{
    const uintptr_t *words = sp;

    return (struct switch_saved){.pc = words[1], .sp = (uintptr_t)sp + XCTX__SWITCH_FRAME, .fp = words[0]};
}

#endif
