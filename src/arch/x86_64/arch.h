/* SPDX-License-Identifier: MIT */
/* x86-64: see ../arch.h for the contract. */
#ifndef XCTX_ARCH_X86_64_H
#define XCTX_ARCH_X86_64_H

static inline void xctx__cpu_relax(void)
{
    __builtin_ia32_pause();
}

#endif
