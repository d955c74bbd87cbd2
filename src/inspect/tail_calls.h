/* SPDX-License-Identifier: MIT */
/*
 * Frames of functions that left by a tail call: a jump to another function, which then returned to their caller. They
 * are not on the stack any more, but the debug information says which calls there are: if the caller called one
 * function, and another one returns to it, and there is only one way by tail calls from the first to the second, the
 * functions on that way were there. gdb has the same frames, found in the same way.
 */
#ifndef XCTX_INSPECT_TAIL_CALLS_H
#define XCTX_INSPECT_TAIL_CALLS_H

#include <stddef.h>

#include "unwind.h"

struct arena;

/* Puts such frames among those of xctx__unwind(), up to a limit of all: `tail` is set in them. With the decode lock
   held. Returns 0 or -ENOMEM. */
int xctx__tail_calls_add(struct arena *arena, const struct memory *memory, size_t max_frames, struct unwound **frames,
                         size_t *count);

#endif
