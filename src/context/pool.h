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

#include "context_internal.h"
#include "record.h"

/* The same where the list is empty, or not the running thread's own. */
xctx_context *xctx__pool_refill(struct record *record);

/* Shortens the list, which got too long; or gives a context back that no list is for. */
void xctx__pool_shrink(struct record *record);
void xctx__pool_put_alone(xctx_context *context);

/* Memory for a context; NULL: there is none. */
static inline xctx_context *xctx__pool_take(struct record *record)
{
    xctx_context *context = record->free_contexts;

    if (XCTX__UNLIKELY(!context))
        return xctx__pool_refill(record);
    record->free_contexts = context->previous;
    record->free_context_count--;
    return context;
}

/* Gives it back. `record` is the running thread's. */
static inline void xctx__pool_put(struct record *record, xctx_context *context)
{
    if (XCTX__UNLIKELY(record == &xctx__no_record)) {
        xctx__pool_put_alone(context);
        return;
    }
    context->previous = record->free_contexts;
    record->free_contexts = context;
    if (XCTX__UNLIKELY(++record->free_context_count > XCTX__CONTEXT_LIMIT))
        xctx__pool_shrink(record);
}

/* Gives back what the running thread has in its list. */
void xctx__pool_trim(struct record *record);

#endif
