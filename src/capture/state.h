/* SPDX-License-Identifier: MIT */
/* Reading the running thread's state for a snapshot. */
#ifndef XCTX_CAPTURE_STATE_H
#define XCTX_CAPTURE_STATE_H

#include <stdbool.h>

#include <ucontext.h>

#include <xctx/snapshot.h>

/* Fills all of the state that system calls tell, of what was interrupted if there is a `context`: all but the ids,
   errno, the bounds of the stack and the signal. Async-signal-safe: but where libc keeps the names of the process's
   locale behind a lock (musl), they are left out in a signal handler, which `safe` says it is. */
void xctx__state_read(xctx_thread_state *state, const ucontext_t *context, bool safe);

#endif
