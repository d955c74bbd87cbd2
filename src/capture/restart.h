/* SPDX-License-Identifier: MIT */
/*
 * Which system calls go on as if nothing had been, when a thread was captured in them. See restart.c.
 */
#ifndef XCTX_CAPTURE_RESTART_H
#define XCTX_CAPTURE_RESTART_H

#include <stdbool.h>

#include "arch/restart.h"

/* Whether making the call again does what it would have done. Async-signal-safe. */
bool xctx__call_restarts(const struct call *call);

#endif
