/* SPDX-License-Identifier: MIT */
/* aarch64: see ../arch.h for the contract. */
#ifndef XCTX_ARCH_AARCH64_H
#define XCTX_ARCH_AARCH64_H

static inline void xctx__cpu_relax(void)
{
    __asm__ volatile("yield");
}

#endif
