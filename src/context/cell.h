/* SPDX-License-Identifier: MIT */
/*
 * Cells: a value with a `release` operation, shared by the maps and tokens that hold it.
 *
 * A value is retained once, when it is set; after that only the cell is counted. So copying a map calls no operation of
 * a variable, and what `retain` returned stays the value, also if it was a copy.
 */
#ifndef XCTX_CONTEXT_CELL_H
#define XCTX_CONTEXT_CELL_H

#include <stdatomic.h>
#include <stdint.h>

struct cell {
    void *value; /* first: include/xctx/inline.h */
    _Atomic uint32_t refs;
    void (*release)(void *);
    struct cell *next; /* in a list of free or due cells */
};

/* New, one reference, for a value that has been retained or will be before anybody sees the cell. NULL: no memory. */
struct cell *xctx__cell_create(void *value, void (*release)(void *));

/* Gives back a cell that nobody has seen, without releasing its value. */
void xctx__cell_discard(struct cell *cell);

/* Relaxed: the caller has a reference. */
static inline struct cell *xctx__cell_ref(struct cell *cell)
{
    atomic_fetch_add_explicit(&cell->refs, 1, memory_order_relaxed);
    return cell;
}

/* With the last reference the value is released: now, or if a release runs on this thread, right after that. */
void xctx__cell_unref(struct cell *cell);

struct record;

/* Frees the running thread's spare cells. */
void xctx__cell_trim(struct record *record);

#endif
