/* SPDX-License-Identifier: MIT */
/*
 * What a context is made of, and how its map is counted.
 *
 * Who may touch what. `refs` and `claim` are atomic. `root`, `lets`, `bits` and `more` change under the claim: in a
 * window in which it was seen to be HELD or KEPT by oneself, or while it is LOCKED by oneself. The thread that has
 * entered a context is the only one to change `root`, so it may read that without a claim. `previous`, `owed` and
 * `serial` belong to that thread alone; where no thread has entered the context, to whoever destroys it.
 *
 * References. `refs` counts the references that users hold; being entered is not among them. Only who can tell whether
 * the context is entered may take the last one away: its owner by claim, or a thread that has it locked. If it is
 * entered, it stays with `refs` 0 and CONTEXT_LAST, and is destroyed when it is left (or gets a new reference until
 * then).
 *
 * Counting maps. `map->refs` is the only count that other threads see, and changing it costs an atomic operation. A
 * thread that copies its current context again and again does without:
 *
 *   - At the first copy the context *pins* its map: it adds PIN to map->refs and notes `owed = -PIN`.
 *   - Each further copy is `owed += 1`; each copy with that map that this thread releases is `owed -= 1`. A copy that
 *     another thread releases is an ordinary map->refs -= 1. (The thread counts for one pin at a time, in its slot, and
 *     folds that into the context's `owed` when it is needed there, another pin takes its place, or
 *     XCTX__PIN_BATCH copies were made.)
 *   - So the true count is map->refs + the sum of `owed` over the contexts that have pinned the map. `owed` stays
 *     below 0 while the map is pinned: if many copies were released by other threads and brought it half the way there,
 *     the next copy moves another PIN over. So map->refs is at least the true count, and is not 0 or 1 by mistake.
 *   - When the context turns to another map, or goes, it *unpins*: it adds `owed - 1` (its own reference) to
 *     map->refs, and if that makes it 0, the map is free.
 *
 * Nothing is deferred: a pin lives exactly as long as a reference that is counted anyhow. `map->refs + owed == 1` says
 * that nobody but this context refers to the map, so that it can be changed in place. models/count.pml checks it.
 */
#ifndef XCTX_CONTEXT_CONTEXT_INTERNAL_H
#define XCTX_CONTEXT_CONTEXT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <xctx/context.h>
#include <xctx/snapshot.h>
#include <xctx/var.h>

#include "claim.h"
#include "map.h"
#include "memory.h"
#include "ready.h"
#include "record.h"
#include "share.h"

#define PIN (INT64_C(1) << XCTX__PIN_BITS)

enum context_bits {
    CONTEXT_KEEP = 1,     /* its thread keeps the claim when it leaves: it entered the context before */
    CONTEXT_APPLIED = 2,  /* there are `enter` operations to undo */
    CONTEXT_FIRST = 4,    /* made by the library as a thread's first context: not to be left by xctx_exit() */
    CONTEXT_LAST = 8,     /* entered without any reference left: to be destroyed when it is left, if that is still so */
    CONTEXT_REVOKED = 16, /* counts in the upper bits how often a claim was revoked, up to CONTEXT_REVOKED_MOST */
    CONTEXT_REVOKED_MOST = 64,
};

/* An `enter` that was done and is to be undone. */
struct applied {
    xctx_var *var;
    void *saved;
};

/* What few contexts need. Stays where it is until the context is destroyed. */
struct extra {
    struct xctx_snapshot *snapshot; /* what the context carries, or NULL */
    struct leaf *leaves;            /* share.h; changes under the claim */
    /* The rest belongs to the thread that has entered the context. */
    uint32_t applied_count;
    uint32_t applied_room;
    struct applied *applied;
};

struct xctx_context {
    _Atomic uint32_t refs;
    uint16_t lets;        /* scoped bindings that are open: the map must stay unshared */
    _Atomic uint8_t used; /* has been entered once */
    uint8_t bits;
    _Atomic uintptr_t claim;
    struct map *root;
    xctx_context *previous; /* what was current before; also links free contexts */
    int64_t owed;           /* 0: not pinned */
    uint64_t serial;        /* 0: no token was made for it yet */
    _Atomic uintptr_t more; /* 0; or the snapshot that it carries, and CONTEXT_CARRIES; or its extra, which has that */
};

enum { CONTEXT_CARRIES = 1 };

/* A context's extra, or NULL. Under the claim. */
static inline struct extra *xctx__extra(const xctx_context *context)
{
    uintptr_t more = atomic_load_explicit(&context->more, memory_order_relaxed);

    return more & CONTEXT_CARRIES ? NULL : (struct extra *)more; /* NOLINT(performance-no-int-to-ptr) */
}

/* What was captured when a context, or what it was copied from, was copied; NULL: nothing. It does not change after
   others know the context. Acquire: there may be an extra meanwhile (xctx__context_extra()). Async-signal-safe. */
static inline struct xctx_snapshot *xctx__carried(const xctx_context *context)
{
    uintptr_t more = atomic_load_explicit(&context->more, memory_order_acquire);

    if (XCTX__LIKELY(!more))
        return NULL;
    /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
    return more & CONTEXT_CARRIES ? (struct xctx_snapshot *)(more - CONTEXT_CARRIES) : ((struct extra *)more)->snapshot;
}

/* Gives a snapshot, or NULL, to a context that nobody else knows and that has no extra. Takes a reference to it. */
static inline void xctx__carry(xctx_context *context, struct xctx_snapshot *snapshot)
{
    atomic_store_explicit(&context->more, snapshot ? (uintptr_t)snapshot + CONTEXT_CARRIES : 0, memory_order_relaxed);
}

/* What copies of the current context capture by default (XCTX_CAPTURE_* bits), and how many of them the quick way takes
   in a row: 0 if they do. Set together by xctx_set_default_capture(). */
extern _Atomic unsigned xctx__copy_captures __attribute__((visibility("hidden")));
extern _Atomic uint64_t xctx__copy_batch __attribute__((visibility("hidden")));

/* Leaves what `me` has entered and either holds, being in its window, or has locked. The last access to the context,
   which may be destroyed by another thread from then on. */
static inline void xctx__claim_exit(xctx_context *context, struct record *me)
{
    _Static_assert(CLAIM_FREE == 0 && (int)CLAIM_KEPT == (int)CONTEXT_KEEP, "one is made of the other");
    uintptr_t tag = context->bits & CONTEXT_KEEP;

    /* Release: who enters next sees what was done. */
    atomic_store_explicit(&context->claim, (uintptr_t)me + tag, memory_order_release);
}

/* A context of the running thread's: one reference, not entered. `root` is taken over unless it fails. */
xctx_context *xctx__context_create(struct record *record, struct map *root);

/* The running thread's current context, made if there is none. NULL: no memory. */
xctx_context *xctx__context_ensure(struct slot *slot);

/* After a failure: takes a context away again that xctx__context_ensure() made, where `before` was current. */
void xctx__context_unensure(struct slot *slot, const xctx_context *before);

/* The map of any context, with a reference for the caller. For contexts with open bindings, a copy of it.
   NULL: no memory. */
struct map *xctx__context_share(struct slot *slot, xctx_context *context);

/* The same of the current context, counted as a copy would be; NULL only if there are open bindings, and no memory. */
struct map *xctx__context_share_current(struct slot *slot, xctx_context *context);

/* Gives the current context another map, which nobody else refers to; takes the caller's reference. `lets` is added to
   the number of open bindings. */
void xctx__context_replace_map(struct slot *slot, xctx_context *context, struct map *map, int lets);

/* A copy of the current context, made if there is none, that captures nothing. NULL: no memory. */
xctx_context *xctx__context_copy_current(struct slot *slot);

/* A copy of a context that nobody else knows yet. NULL: no memory. */
xctx_context *xctx__context_copy_new(struct slot *slot, const xctx_context *context);

/* Readies a new context, which nobody else knows yet, for another thread: the running one keeps no claim on it, and
   entering it cannot run out of memory. 0 or -ENOMEM. */
int xctx__context_hand_over(xctx_context *context);

/* Room for the `enter` operations of a map to be undone. 0 or -ENOMEM. Only by who may change the context. */
int xctx__hooks_reserve(struct extra *extra, const struct map *map);

/* Calls the `enter` operations of the current context, for which room is reserved. */
void xctx__hooks_apply(struct slot *slot, xctx_context *context);

/* Calls the `leave` operations of the current context in reverse order. */
void xctx__hooks_undo(xctx_context *context);

/* A context's extra, made if there is none. Under the claim. NULL: no memory. */
struct extra *xctx__context_extra(xctx_context *context);

/* Whether the running thread, whose slot it is, has that context entered. */
static inline bool xctx__is_entered_here(const struct slot *slot, const xctx_context *context)
{
    for (const xctx_context *entered = slot->current; entered; entered = entered->previous)
        if (entered == context)
            return true;
    return false;
}

/* A function that is called in a context: what was current before, and what was entered for it. */
struct run {
    xctx_context *context;
    xctx_context *outer;
    uint64_t
        serial; /* of `outer`, on a fiber: what a copy of the fiber has in its place has the same. 0: it is `outer` */
};

/* Notes what is current before a run. */
void xctx__run_begin(struct run *run, xctx_context *context);

/* Calls a function in a run on a fiber, and ends the run. Not by pthread_cleanup_push(), which in a libc that does not
   unwind is a list of the thread's: it would lead to the fiber's stack after that has yielded. */
void *xctx__run_on_fiber(struct run *run, void *(*fn)(void *), void *arg);

/* Makes what was current before the run current again, whatever the function has entered or left. */
void xctx__run_end(void *started);

/* Leaves and releases everything that is current on the running thread, down to nothing. */
void xctx__context_leave_all(struct slot *slot);

/* The same of the running thread, which ends. */
void xctx__context_thread_end(struct slot *slot);

/* Frees the spare contexts of the running thread, whose slot it is. */
void xctx__context_trim(struct slot *slot);

/* After a switch. */
extern _Atomic uint32_t xctx__watchers __attribute__((visibility("hidden"))); /* bit i: there is a watcher i */
void xctx__watch_notify(struct slot *slot);
void xctx__watch_followers(void); /* from now on, threads may follow something: follow.h */

/* The MAP_* bits that ask for more than switching when a context with that map is entered: MAP_HOOKED, and while there
   are watchers MAP_ANY. So one test tells both. */
extern _Atomic uint32_t xctx__enter_mask __attribute__((visibility("hidden")));

/* Takes another reference to a map. `slot` is the running thread's. */
static inline struct map *xctx__map_ref(struct slot *slot, struct map *map)
{
    if (slot->pin_map == map && slot->pin_copied < XCTX__PIN_BATCH)
        slot->pin_copied++;
    else
        atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
    return map;
}

/* Gives one reference to a map back. `slot` is the running thread's. */
static inline void xctx__map_unref(struct slot *slot, struct map *map)
{
    if (slot->pin_map == map) {
        slot->pin_dropped++; /* not the last one: the pinning context itself has one */
        return;
    }
    if (xctx__leaf_unref(slot, map))
        return;
    /* Acquire: see the last reads of those who gave their reference back before. */
    if (atomic_load_explicit(&map->refs, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&map->refs, 1, memory_order_acq_rel) == 1)
        xctx__map_free(map);
}

/* Puts what the slot has counted for its pin into that context's `owed`, and the pin out of use. There is no ready map:
   calls nothing. */
static inline void xctx__pin_fold_unready(struct slot *slot)
{
    if (slot->pin)
        slot->pin->owed += (int64_t)(slot->pin_copied - slot->pin_dropped);
    slot->pin = NULL;
    slot->pin_map = NULL;
}

/* The same where there may be a ready map, which goes first. */
static inline void xctx__pin_fold(struct slot *slot)
{
    if (slot->ready)
        xctx__ready_drop(slot);
    xctx__pin_fold_unready(slot);
}

/* Puts the pin of an entered context to use. */
static inline void xctx__pin_use(struct slot *slot, xctx_context *context)
{
    xctx__pin_fold(slot);
    slot->pin = context;
    slot->pin_map = context->root;
    slot->pin_copied = 0;
    slot->pin_dropped = 0;
}

/* Gives back a context's own reference to a map that it has turned away from, and its pin. */
static inline void xctx__map_unpin(struct slot *slot, struct map *map, int64_t owed)
{
    if (owed == 0) {
        xctx__map_unref(slot, map);
        return;
    }
    int64_t refs = atomic_load_explicit(&map->refs, memory_order_acquire);
    if (refs + owed == 1 || atomic_fetch_add_explicit(&map->refs, owed - 1, memory_order_acq_rel) + owed == 1)
        xctx__map_free(map);
}

#endif
