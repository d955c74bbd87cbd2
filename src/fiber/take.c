/* SPDX-License-Identifier: MIT */
/* Taking a fiber, to run it: see fiber_internal.h for the states and the protocol. */
#include <errno.h>

#include "annotate.h"
#include "context/claim.h"
#include "fiber_internal.h"

static bool swap(_Atomic uintptr_t *word, uintptr_t from, uintptr_t to)
{
    /* Acquire: see what the thread that ran it did. */
    return atomic_compare_exchange_strong_explicit(word, &from, to, memory_order_acq_rel, memory_order_relaxed);
}

static bool runs_here(const xctx_fiber *fiber)
{
    for (const xctx_fiber *running = xctx__slot.fiber; running; running = running->resumer)
        if (running == fiber)
            return true;
    return false;
}

/* Takes a fiber that the running thread has made, without an atomic operation. False: another one was quicker. */
static bool take_own(xctx_fiber *fiber, struct record *me)
{
    xctx__window_open(me, (xctx_context *)(void *)fiber);
    bool own = atomic_load_explicit(&fiber->state, memory_order_relaxed) == xctx__fiber_state(me, FIBER_TAG_OWN);
    if (own)
        atomic_store_explicit(&fiber->state, xctx__fiber_state(me, FIBER_TAG_RUNNING), memory_order_relaxed);
    xctx__window_close(me);
    return own;
}

bool xctx__fiber_revoke(_Atomic uintptr_t *word, uintptr_t state, uintptr_t mine)
{
    struct record *owner = xctx__fiber_record(state);
    unsigned tries = 0;

    if (!swap(word, state, mine))
        return false;
    /* Partner: the window in xctx_fiber_resume(), and in turns.c. */
    xctx__barrier_others();
    while (atomic_load_explicit(&owner->window, memory_order_acquire) == (void *)word &&
           !atomic_load_explicit(&owner->gone, memory_order_relaxed))
        xctx__claim_wait(&tries);
    return atomic_load_explicit(word, memory_order_acquire) == mine;
}

/* Decides how the fiber, which the thread has just taken, is to be suspended. */
static void note_taking(xctx_fiber *fiber, struct record *me, bool again)
{
    bool keep = again && xctx__bias && fiber->revoked < FIBER_REVOKED_MOST;

    fiber->rest = fiber->bits & FIBER_SLOWLY ? 0 : xctx__fiber_state(me, keep ? FIBER_TAG_KEPT : FIBER_TAG_FREE);
}

/* Learns from the first resume of a fiber how its maker's next ones should be. */
static void note_first(unsigned tag, struct record *maker, struct record *me)
{
    uint32_t hand_over = atomic_load_explicit(&me->fiber_hand_over, memory_order_relaxed);

    if (tag == FIBER_TAG_OWN && maker != me)
        atomic_store_explicit(&maker->fiber_hand_over, XCTX__HAND_OVERS, memory_order_relaxed);
    else if (tag == FIBER_TAG_CREATED && maker == me && hand_over > 0)
        atomic_store_explicit(&me->fiber_hand_over, hand_over - 1, memory_order_relaxed);
}

int xctx__fiber_take(xctx_fiber *fiber, struct record *me, struct record **ret_last)
{
    *ret_last = NULL;
    if (take_own(fiber, me)) {
        note_taking(fiber, me, false);
        return 0;
    }
    for (;;) {
        /* Acquire: see the record that another thread has just made. */
        uintptr_t state = atomic_load_explicit(&fiber->state, memory_order_acquire);
        struct record *last = xctx__fiber_record(state);
        unsigned tag = xctx__fiber_tag(state);
        bool taken = false;

        if (tag == FIBER_TAG_RUNNING)
            return runs_here(fiber) ? -EDEADLK : -EBUSY;
        if (tag == FIBER_TAG_DONE)
            return -EINVAL;
        if (tag == FIBER_TAG_SHARED)
            return xctx__turn_take(fiber, me, ret_last);
        if ((tag == FIBER_TAG_KEPT || tag == FIBER_TAG_OWN) && last != me) {
            taken = xctx__fiber_revoke(&fiber->state, state, xctx__fiber_state(me, FIBER_TAG_RUNNING));
            if (taken && tag == FIBER_TAG_KEPT && fiber->revoked < FIBER_REVOKED_MOST)
                fiber->revoked++;
        } else {
            taken = swap(&fiber->state, state, xctx__fiber_state(me, FIBER_TAG_RUNNING));
        }
        if (taken) {
            annotate_taken(fiber);
            bool first = tag == FIBER_TAG_CREATED || tag == FIBER_TAG_OWN;
            if (first)
                note_first(tag, last, me);
            else
                *ret_last = last;
            note_taking(fiber, me, !first && last == me);
            return 0;
        }
    }
}

void xctx__fiber_untake(xctx_fiber *fiber, struct record *me, struct record *last)
{
    if (xctx__has_turns(fiber)) {
        fiber->more->last = last;
        xctx__turn_give_up(fiber, me);
        return;
    }
    uintptr_t state = xctx__fiber_state(last ? last : me, last ? FIBER_TAG_FREE : FIBER_TAG_CREATED);
    atomic_store_explicit(&fiber->state, state, memory_order_release);
}
