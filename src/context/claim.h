/* SPDX-License-Identifier: MIT */
/*
 * The claim: who may change a context now.
 *
 * A context's claim is one word: a thread's record and a tag.
 *
 *   FREE    record, or NULL   nobody has entered it; whoever compares-and-swaps the word owns it. The record is that of
 *                             the last owner, a hint only
 *   KEPT    record            nobody has entered it, but the record's thread may enter without an atomic operation
 *   HELD    record            the record's thread has entered it and changes it without atomic operations
 *   SHARED  record            the record's thread has entered it, and locks to change it
 *   LOCKED  record            the record's thread reads or changes it for a moment; others wait. What the word was
 *                             before is known to the thread that locked
 *
 *                      swap                     store, in window
 *          FREE ------------------> HELD  <-------------------------> KEPT
 *            ^ ^                    |  |
 *            | +--------------------+  | revoked by another thread
 *            |    store, in window     v
 *            +---------------------- SHARED        LOCKED: from any state and back (KEPT -> FREE, HELD -> SHARED)
 *
 * KEPT and HELD are a biased lock: their thread goes in and out of its window (record.h) and looks at the word within,
 * and needs no atomic read-modify-write. Another thread revokes: it swaps the word to LOCKED by itself, makes the
 * owner pass a memory barrier by membarrier(), waits until the owner is out of the window in which it may still have
 * seen the old word, and looks again whether its own LOCKED is there: the owner may have stored over it at the end of
 * that window, in which case it tries again. After that the owner sees in every later window that the word is not its
 * own any more. (Biased locking: Russell and Detlefs, OOPSLA 2006; the asymmetric barrier: Dice, Huang and Yang, 2001.)
 *
 * How a context is used decides what it costs: made and entered by one thread, no atomic operation; made by one
 * thread and entered by others, one swap for each enter; kept by one thread and wanted by another, one membarrier().
 *
 * Memory orders: each store that gives rights away (FREE, KEPT, SHARED) is a release, and each swap or load that takes
 * them an acquire. models/claim.pml checks the protocol, with the store buffers of the processor in it.
 */
#ifndef XCTX_CONTEXT_CLAIM_H
#define XCTX_CONTEXT_CLAIM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "record.h"

enum claim_tag { CLAIM_FREE, CLAIM_KEPT, CLAIM_HELD, CLAIM_SHARED, CLAIM_LOCKED, CLAIM_TAGS = 7 };

static inline uintptr_t xctx__claim(const struct record *record, enum claim_tag tag)
{
    return (uintptr_t)record + tag;
}

static inline enum claim_tag xctx__claim_tag(uintptr_t claim)
{
    return (enum claim_tag)(claim & CLAIM_TAGS);
}

static inline struct record *xctx__claim_record(uintptr_t claim)
{
    return (struct record *)(claim & ~(uintptr_t)CLAIM_TAGS);
}

static inline bool xctx__claim_is_gone(uintptr_t claim)
{
    struct record *record = xctx__claim_record(claim);
    return record && atomic_load_explicit(&record->gone, memory_order_relaxed);
}

/*
 * Locks a context, from whatever state, for the running thread, whose record is `me`. Waits for another thread that
 * has it locked: locks are held for a few instructions, or for the copy of one map.
 *
 * Returns what to give to xctx__claim_unlock(): the former claim, with KEPT by another thread turned into FREE and HELD
 * by another thread into SHARED. What a thread had entered that did not come along through fork() is FREE, too; what
 * that thread had counted for it is forgotten, so that its map is never freed in the child.
 */
uintptr_t xctx__claim_lock(xctx_context *context, struct record *me);
void xctx__claim_unlock(xctx_context *context, uintptr_t claim);

/* Unlocks what `me` has entered: HELD, or SHARED if others ask for the context again and again. */
void xctx__claim_unlock_entered(xctx_context *context, struct record *me);

/*
 * Enters: makes the claim HELD (or SHARED, where claims cannot be kept) by `me`.
 * Returns 0, or -EBUSY if a thread, `me` too, has it entered.
 */
int xctx__claim_enter(xctx_context *context, struct record *me);

/* A pause in a loop that waits for another thread, longer with each call: a thread of higher priority must not keep
   the one that it waits for from running. `*tries` starts at 0. */
void xctx__claim_wait(unsigned *tries);

#endif
