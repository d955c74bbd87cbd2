/* SPDX-License-Identifier: MIT */
/*
 * Memory for decoding. Much of what asks for some can do without: a name is left out, a symbol is not found. But then
 * the report would be another one, and not say why. So it is noted on the thread that there was none, and whoever
 * decodes asks for that in the end, and fails.
 */
#ifndef XCTX_INSPECT_ALLOCATE_H
#define XCTX_INSPECT_ALLOCATE_H

#include <stdbool.h>
#include <stddef.h>

/* NULL: there is none, which is noted. To be freed by xctx__free(). */
void *xctx__decode_allocate(size_t size);

/* Whether there was none since the last xctx__decode_begin() on this thread. */
bool xctx__decode_ran_out(void);

void xctx__decode_begin(void);

#endif
