/* SPDX-License-Identifier: MIT */
/*
 * What the library needs of a processor. Each architecture has a header of its own in a directory beside this one that
 * supplies exactly these operations; nothing else in the tree asks what the processor is.
 *
 *   static inline void xctx__cpu_relax(void);
 *       A hint within a loop that waits for another processor. No effect on memory or registers.
 */
#ifndef XCTX_ARCH_ARCH_H
#define XCTX_ARCH_ARCH_H

#if defined(__x86_64__)
#include "x86_64/arch.h"
#elif defined(__aarch64__)
#include "aarch64/arch.h"
#else
#error "xctx supports x86-64 and aarch64"
#endif

#endif
