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

/* As switch.S says. */
#define XCTX__SWITCH_FRAME 64
#define XCTX__SWITCH_SP_NAME "rsp"
#define XCTX__SWITCH_PC_NAME "rip"
#define XCTX__SWITCH_REGISTERS                                                                                         \
    {                                                                                                                  \
        {"rbx", 8, 0}, {"rbp", 16, 0}, {"r12", 24, 0}, {"r13", 32, 0}, {"r14", 40, 0}, {"r15", 48, 0}, {"rip", 56, 0}, \
    }

static inline struct switch_saved xctx__switch_saved(const void *sp)
{
    const uintptr_t *words = sp;

    return (struct switch_saved){.pc = words[7], .sp = (uintptr_t)sp + XCTX__SWITCH_FRAME, .fp = words[2]};
}

#endif
