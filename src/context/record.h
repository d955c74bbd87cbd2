/* SPDX-License-Identifier: MIT */
/*
 * What the library knows of each thread: a slot in thread-local storage for what the fast paths read, and a record on
 * the heap for what other threads may look at.
 *
 * Lifetime. A record is attached to a thread when that first enters or makes a context, and goes back to a pool when
 * the thread ends: records are never freed, since the claim word of any context may name one (claim.h). A thread that
 * gets a record from the pool inherits the claims of the thread that had it before; that is sound, as that thread is
 * gone, and everything it did happened before the record was pooled.
 *
 * fork(). Only the forking thread lives on in the child. The child marks all other attached records as gone and never
 * pools them, so that whoever meets one in a claim word knows that nobody will answer for it any more.
 *
 * The window. Its owner puts a context there, does a few loads and stores on it that are only valid while it has the
 * claim, and takes it out again. Nothing that may block or call out happens within. Partner: revoke_claim() in claim.c.
 *
 * The other atomics are relaxed. `new_claim`, `hand_over` and `fiber_hand_over` are hints, written by the owner
 * (note_entering() in claim.c, note_first() in fiber/take.c) and by whoever revokes: whichever value is read, only the
 * cost differs. `gone` changes in the child of fork() alone, while that has one thread. `next` and `next_pooled` are
 * under the lock of record.c, and `waits_for` is under that of fiber/turns.c; all else is the owner's own.
 */
#ifndef XCTX_CONTEXT_RECORD_H
#define XCTX_CONTEXT_RECORD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <xctx/context.h>

#include "memory.h"

struct cell;
struct exceptions;
struct leaf;
struct map;
struct turns;
struct xctx_continuation;
struct xctx_fiber;

struct record {
    xctx_context *_Atomic window; /* what the owner is changing now, or NULL. Written by the owner alone */
    _Atomic uintptr_t new_claim;  /* the claim of contexts that the owner makes: KEPT, or FREE while `hand_over` > 0 */
    _Atomic uint32_t hand_over;   /* how many more contexts the owner makes without keeping a claim on them: set when
                                     another thread had to revoke such a claim before the first enter */
    _Atomic uint32_t gone;        /* the owner did not come along through fork() */
    xctx_context *free_contexts;  /* linked by `previous`: pool.h */
    struct map *free_maps[XCTX__MAP_SIZES]; /* by xctx__map_size(), linked by `rest` */
    uint8_t free_map_count[XCTX__MAP_SIZES];
    uint32_t free_context_count;
    struct cell *free_cells; /* linked by `next` */
    uint32_t free_cell_count;
    uint32_t streak;                  /* how often in a row this thread copied `streak_of` */
    xctx_context *streak_of;          /* compared, never followed */
    _Atomic uint32_t fiber_hand_over; /* as `hand_over`, of fibers: fiber/take.c */
    struct xctx_fiber *free_fibers;   /* linked by `next`, all of one kind: fiber/stacks.h */
    uint32_t free_fiber_count;
    size_t free_fiber_wanted;      /* what that kind was last asked for with */
    size_t free_fiber_size;        /* the kind: bytes of a stack */
    size_t free_fiber_guard;       /* and of what is below it */
    struct xctx_fiber *free_shots; /* linked by `next`: fiber/continuation.c */
    uint32_t free_shot_count;
    struct xctx_continuation *free_continuation; /* memory for one, or NULL */
    struct turns *waits_for;                     /* what its thread waits for, under a lock: fiber/turns.c */
    struct leaf *leaf;                           /* this thread's share of a context that many copy: share.h */
    uint64_t next_serial; /* the next number for a context, and the end of this thread's block of them */
    uint64_t end_serial;
    struct record *next; /* all records, in the order of their making; never unlinked */
    struct record *next_pooled;
} __attribute__((aligned(128))); /* two cache lines: neighbours in memory do not slow each other down */

struct slot {
    struct map *root;      /* the map of `current`, or the empty map: never NULL. First: include/xctx/inline.h */
    xctx_context *current; /* NULL: none yet */
    struct record *record; /* &xctx__no_record: not attached yet */
    xctx_context *spare;   /* for the next copy that this thread makes, all set but for map and claim; NULL: none */
    /* The pin in use: context_internal.h. */
    xctx_context *pin;    /* an entered context that has its map pinned, or NULL */
    struct map *pin_map;  /* the map of `pin`, or NULL */
    struct map *ready;    /* a ready map of pin_map, or NULL: ready.h */
    uint64_t pin_copied;  /* references to pin_map that this thread made, and gave back, since `pin` was put there. */
    uint64_t pin_dropped; /* Two counts, since adding to one and the same word back and forth has to wait for itself */
    struct cell *due;     /* values whose release waits for the one that runs now: cell.c */
    struct cell *last_due;
    bool releasing;
    int8_t notifying;          /* a watcher runs on this thread: its number + 1 */
    uint8_t asked;             /* 1: it was asked whether it follows something: follow.h */
    struct follower *follower; /* NULL: nothing */
    /* For capture/: */
    int32_t tid;          /* the thread's id; 0: not known yet */
    uintptr_t stack_low;  /* the bounds of the thread's own stack: capture/stack.h. Not known yet: both */
    uintptr_t stack_high; /* are 0 */
    struct xctx_snapshot *spare_snapshot; /* memory for the next snapshot that this thread takes; NULL: none */
    /* For fiber/: */
    struct xctx_fiber *fiber;      /* the fiber that runs; NULL: none */
    struct exceptions *exceptions; /* what the thread handles of C++; until that is known, one that stands for any */
    struct xctx_fiber *unwound;    /* fibers that were ended by exceptions, linked by `next` */
};

XCTX_API extern _Thread_local struct slot xctx__slot __attribute__((tls_model("initial-exec")));

/* Whether claims may be kept by a thread across calls: false where the kernel has no membarrier(). */
extern bool xctx__bias __attribute__((visibility("hidden")));

/* The running thread's record, attached now if it has none. NULL: memory ran out. */
struct record *xctx__record_attach(void);

/* Stands for the record of threads that have none: nobody has a claim in its name, and nothing is kept in it. */
extern struct record xctx__no_record __attribute__((visibility("hidden")));

static inline bool xctx__has_record(const struct slot *slot)
{
    return slot->record != &xctx__no_record;
}

static inline struct record *xctx__record_get(struct slot *slot)
{
    return xctx__has_record(slot) ? slot->record : xctx__record_attach();
}

/* The running thread's record, or if it has none and memory ran out, one for emergencies, which one thread at a time
   can have. For what must not fail: locking a context for a moment. To be given back. */
struct record *xctx__record_borrow(struct slot *slot);
void xctx__record_give_back(struct record *record);

/* Makes a record ahead of its thread and gives it to the running thread: so that starting a thread can fail in its
   creator rather than in itself. */
struct record *xctx__record_reserve(void);
void xctx__record_unreserve(struct record *record);
void xctx__record_adopt(struct record *record);

/* A number that no other context has. */
uint64_t xctx__record_serial(struct record *record);

/* Makes every other thread of the process pass a full memory barrier. Partner: the windows. */
void xctx__barrier_others(void);

static inline void xctx__window_open(struct record *record, xctx_context *context)
{
    atomic_store_explicit(&record->window, context, memory_order_relaxed);
    /* Only the compiler must not move the loads that follow above the store: the processor is dealt with by
       xctx__barrier_others() on the side that rarely runs. */
    atomic_signal_fence(memory_order_seq_cst);
}

static inline void xctx__window_close(struct record *record)
{
    /* Release: what was done in the window is visible to a revoker that sees it closed, or sees a later window of this
       thread (C11, 5.1.2.4: later stores of the same thread belong to the release sequence). */
    atomic_store_explicit(&record->window, NULL, memory_order_release);
}

#endif
