/* SPDX-License-Identifier: MIT */
/*
 * Cells: see cell.h.
 *
 * A `release` operation may drop the last reference to a context whose values have `release` operations which drop
 * contexts, and so on. To keep the C stack from growing with such a chain, a release that becomes due while one runs on
 * the same thread is put into the thread's queue, and the outermost one works the queue off before it returns.
 */
#include "cell.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "memory.h"
#include "record.h"

_Static_assert(offsetof(struct cell, value) == 0, "inline.h");

struct cell *xctx__cell_create(void *value, void (*release)(void *))
{
    struct record *record = xctx__slot.record;
    struct cell *cell = record->free_cells;

    if (cell) {
        record->free_cells = cell->next;
        record->free_cell_count--;
    } else {
        cell = xctx__allocate(sizeof(*cell));
        if (!cell)
            return NULL;
    }
    atomic_init(&cell->refs, 1);
    cell->value = value;
    cell->release = release;
    cell->next = NULL;
    return cell;
}

void xctx__cell_discard(struct cell *cell)
{
    struct record *record = xctx__slot.record;

    if (record->free_cell_count < XCTX__FREE_LIMIT) {
        cell->next = record->free_cells;
        record->free_cells = cell;
        record->free_cell_count++;
    } else {
        xctx__free(cell);
    }
}

static void release_value(struct cell *cell)
{
    void *value = cell->value;
    void (*release)(void *) = cell->release;

    xctx__cell_discard(cell);
    release(value);
}

/* Works the queue off. */
static void release_due(void *running)
{
    struct slot *slot = running;

    while (slot->due) {
        struct cell *cell = slot->due;
        slot->due = cell->next;
        release_value(cell);
    }
    slot->releasing = false;
}

static void cell_finish(struct cell *cell)
{
    struct slot *slot = &xctx__slot;

    if (!cell->value || !cell->release) {
        xctx__cell_discard(cell);
        return;
    }
    if (slot->releasing) {
        cell->next = NULL;
        if (slot->due)
            slot->last_due->next = cell;
        else
            slot->due = cell;
        slot->last_due = cell;
        return;
    }
    slot->releasing = true;
    /* Also done when an exception or the end of the thread comes through here. */
    pthread_cleanup_push(release_due, slot);
    release_value(cell);
    pthread_cleanup_pop(1);
}

void xctx__cell_unref(struct cell *cell)
{
    /* Acquire: everything that others did with the value comes before its release. Partner: their subtraction here. */
    if (atomic_load_explicit(&cell->refs, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&cell->refs, 1, memory_order_acq_rel) == 1)
        cell_finish(cell);
}

void xctx__cell_trim(struct record *record)
{
    while (record->free_cells) {
        struct cell *cell = record->free_cells;
        record->free_cells = cell->next;
        xctx__free(cell);
    }
    record->free_cell_count = 0;
}
