/* SPDX-License-Identifier: MIT */
/*
 * Copies of one context by many threads.
 *
 * Copying a context that is not the current one locks it and counts its map up: two atomic operations on memory that
 * every other thread which copies the same context wants too. A thread that copies one context several times in a row
 * therefore gets a *leaf* of it: a count of its own, on a cache line of its own, that stands for references to the
 * context's map.
 *
 * The context pins its map for its leaves (one PIN in map->refs, see context_internal.h), and has them in a list. A
 * leaf is valid until its context turns to another map or goes; that one then *revokes* it: exchanges its count for
 * LEAF_REVOKED and adds what was there to map->refs. A thread changes the count of its leaf by fetch-and-add and sees
 * from the old value whether it still stood. So nothing waits for the thread, and it notices on its next use.
 *
 * Copies that other threads release are counted down in map->refs. So that those cannot use the PIN up, a thread moves
 * XCTX__LEAF_MOST from its leaf to map->refs when that many stand there.
 *
 * The leaf is also where its thread keeps a ready map (ready.h).
 *
 * A leaf has two owners, its context's list and its thread, and is freed by the one who drops it last. A thread that
 * ends leaves its leaf in the list, where the next thread adopts it: a context never has more leaves than threads
 * copied from it at one time.
 *
 * Which exclusion: the list changes under the context's claim. models/leaf.pml checks the protocol.
 */
#ifndef XCTX_CONTEXT_SHARE_H
#define XCTX_CONTEXT_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "map.h"
#include "record.h"

#define LEAF_REVOKED (INT64_MIN / 2)                    /* with room for counting up and down after that */
#define LEAF_NOT_READY ((struct map *)&xctx__map_empty) /* no map is put there any more */
enum { LEAF_STREAK = 4 };                               /* copies in a row before a thread gets a leaf */

struct leaf {
    _Atomic int64_t count; /* references to `map` that stand here; far below 0 once revoked */
    struct map *map;
    xctx_context *context;     /* compared with a live context only, never followed */
    struct leaf *next;         /* in the context's list */
    struct map *_Atomic ready; /* NULL: none; LEAF_NOT_READY: revoked */
    _Atomic uint32_t owners;   /* list and thread: 2, 1, then it is freed */
    _Atomic uint32_t has_thread;
} __attribute__((aligned(128)));

/* Moves references from a leaf to its map. The caller has one. */
void xctx__leaf_settle(struct leaf *leaf);

/* A reference to the map of `context` through the running thread's leaf; NULL if it has none that is valid. */
static inline struct map *xctx__leaf_ref(struct record *record, const xctx_context *context)
{
    struct leaf *leaf = record->leaf;

    if (!leaf || leaf->context != context)
        return NULL;
    /* Acquire: a revoked leaf's context may be another one at the same address. */
    int64_t count = atomic_fetch_add_explicit(&leaf->count, 1, memory_order_acquire);
    if (count < LEAF_REVOKED / 2)
        return NULL;
    if (count >= XCTX__LEAF_MOST)
        xctx__leaf_settle(leaf);
    return leaf->map;
}

/* Gives a reference back through the running thread's leaf; false: it stands for another map, or no longer. */
static inline bool xctx__leaf_unref(struct slot *slot, const struct map *map)
{
    struct leaf *leaf = slot->record->leaf;

    if (!leaf || leaf->map != map)
        return false;
    /* Release: what this thread read from the map comes before anybody frees it. */
    return atomic_fetch_sub_explicit(&leaf->count, 1, memory_order_release) > LEAF_REVOKED / 2;
}

/* Notes that the running thread copies `context`, which it has locked, and gives it a leaf if that pays. */
void xctx__leaf_consider(struct record *record, xctx_context *context);

/* Revokes all leaves of a context: before its map changes, under its claim, or when it goes. Returns their ready maps,
   linked by `rest`, for xctx__ready_free() when no claim is held. */
struct map *xctx__leaves_revoke(xctx_context *context);

/* The running thread, which ends or wants another one, gives its leaf up. */
void xctx__leaf_leave(struct record *record);

#endif
