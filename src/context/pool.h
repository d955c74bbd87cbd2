/* SPDX-License-Identifier: MIT */
/*
 * Memory for contexts.
 *
 * A context is small, there may be millions of them, and they are made on one thread and released on another all the
 * time: a header of malloc()'s for each would be a seventh more. They come from slabs, aligned blocks of pages that
 * hold nothing else, so that a context's slab is found from its address. Each thread has a list of free contexts in its
 * record and exchanges them with the slabs in batches, under one lock. A slab that is all free goes back to the
 * system, if there is another one with free contexts.
 */
#ifndef XCTX_CONTEXT_POOL_H
#define XCTX_CONTEXT_POOL_H

#include <xctx/context.h>

#include "record.h"

/* Memory for a context; NULL: there is none. */
xctx_context *xctx__pool_take(struct record *record);

/* Gives it back. `record` is the running thread's. */
void xctx__pool_put(struct record *record, xctx_context *context);

/* Gives back what the running thread has in its list. */
void xctx__pool_trim(struct record *record);

#endif
