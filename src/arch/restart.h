/* SPDX-License-Identifier: MIT */
/*
 * System calls that a signal ended. Each architecture has a header of its own in a directory beside this one that
 * supplies exactly this:
 *
 *   static inline bool xctx__restart(ucontext_t *context, const struct call *call);
 *       If `context`, that a signal handler got, is that of a thread whose system call `call` has just returned -EINTR,
 *       changes it so that the thread makes the call again. Else changes nothing. Returns whether it did.
 */
#ifndef XCTX_ARCH_RESTART_H
#define XCTX_ARCH_RESTART_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

/* A system call that a thread was in: its number, or -1 if it was in none; and the registers at that time. */
struct call {
    long number;
    uint64_t arguments[6];
    uint64_t sp;
    uint64_t pc; /* behind the instruction that made it */
};

#if defined(__x86_64__)
#include "x86_64/restart.h"
#elif defined(__aarch64__)
#include "aarch64/restart.h"
#else
#error "xctx supports x86-64 and aarch64"
#endif

#endif
