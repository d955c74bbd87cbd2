/* SPDX-License-Identifier: MIT */
/* The claim: see claim.h for the states and the protocol. */
#include "claim.h"

#include <errno.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/arch.h"
#include "context_internal.h"
#include "memory.h"

/* The first so many waits are pauses of the processor, those up to the second number give the processor up, all further
   ones sleep. */
enum { WAITS_RELAXED = 64, WAITS_YIELDED = 128, SLEEP_NS = 50000 };

void xctx__claim_wait(unsigned *tries)
{
    unsigned n = (*tries)++;

    if (n < WAITS_RELAXED) {
        xctx__cpu_relax();
    } else if (n < WAITS_YIELDED) {
        sched_yield();
    } else {
        /* Not nanosleep(), which is a cancellation point: who waits here may have locked another context. */
        const struct timespec pause = {.tv_nsec = SLEEP_NS};
        int error = errno;
        syscall(SYS_nanosleep, &pause, NULL);
        errno = error;
    }
}

static bool swap(xctx_context *context, uintptr_t from, uintptr_t to)
{
    /* Acquire: see what the last owner did. */
    return atomic_compare_exchange_strong_explicit(&context->claim, &from, to, memory_order_acq_rel,
                                                   memory_order_relaxed);
}

/* Takes the claim that another thread keeps or holds. False: it was quicker. */
static bool revoke_claim(xctx_context *context, uintptr_t claim, uintptr_t mine)
{
    struct record *owner = xctx__claim_record(claim);
    unsigned tries = 0;

    if (!swap(context, claim, mine))
        return false;
    xctx__barrier_others();
    while (atomic_load_explicit(&owner->window, memory_order_acquire) == context &&
           !atomic_load_explicit(&owner->gone, memory_order_relaxed))
        xctx__claim_wait(&tries);
    if (atomic_load_explicit(&context->claim, memory_order_acquire) != mine)
        return false;
    if (context->bits < CONTEXT_REVOKED_MOST)
        context->bits += CONTEXT_REVOKED;
    if (!atomic_load_explicit(&context->used, memory_order_relaxed)) {
        atomic_store_explicit(&owner->hand_over, XCTX__HAND_OVERS, memory_order_relaxed);
        atomic_store_explicit(&owner->new_claim, xctx__claim(owner, CLAIM_FREE), memory_order_relaxed);
    }
    return true;
}

/* What a context forgets that a thread had entered which did not come along through fork(). */
static void forget_entering(xctx_context *context)
{
    context->lets = 0;
    context->owed = 0; /* what that thread had counted in its slot is lost: the pin stays, and the map with it */
    context->bits &= (uint8_t) ~(CONTEXT_FIRST | CONTEXT_APPLIED);
    if (xctx__extra(context))
        xctx__extra(context)->applied_count = 0;
}

/* The claim of a context that was just locked, and that a thread had claimed which did not come along through fork().
 */
static uintptr_t take_over(xctx_context *context, struct record *me, enum claim_tag tag)
{
    /* It may have had the context locked for a moment while this thread has it entered. */
    if (xctx__is_entered_here(&xctx__slot, context))
        return xctx__claim(me, CLAIM_SHARED);
    if (tag != CLAIM_KEPT)
        forget_entering(context);
    return xctx__claim(me, CLAIM_FREE);
}

uintptr_t xctx__claim_lock(xctx_context *context, struct record *me)
{
    const uintptr_t mine = xctx__claim(me, CLAIM_LOCKED);
    unsigned tries = 0;

    for (;;) {
        /* Acquire: see the record that another thread has just made. */
        uintptr_t claim = atomic_load_explicit(&context->claim, memory_order_acquire);
        struct record *owner = xctx__claim_record(claim);
        enum claim_tag tag = xctx__claim_tag(claim);
        bool gone = xctx__claim_is_gone(claim);

        if (gone && tag != CLAIM_FREE) {
            if (swap(context, claim, mine))
                return take_over(context, me, tag);
        } else if (tag == CLAIM_LOCKED) {
            xctx__claim_wait(&tries);
        } else if (tag == CLAIM_FREE || tag == CLAIM_SHARED || owner == me) {
            if (swap(context, claim, mine))
                return claim;
        } else if (revoke_claim(context, claim, mine)) {
            return xctx__claim(owner, tag == CLAIM_KEPT ? CLAIM_FREE : CLAIM_SHARED);
        }
    }
}

void xctx__claim_unlock(xctx_context *context, uintptr_t claim)
{
    atomic_store_explicit(&context->claim, claim, memory_order_release);
}

void xctx__claim_unlock_entered(xctx_context *context, struct record *me)
{
    bool hold = xctx__bias && context->bits < CONTEXT_REVOKED_MOST;

    xctx__claim_unlock(context, xctx__claim(me, hold ? CLAIM_HELD : CLAIM_SHARED));
}

/* Learns from an enter how the next ones should go. `again`: the last owner was the same thread. */
static void note_entering(xctx_context *context, struct record *me, bool again)
{
    uint32_t hand_over = atomic_load_explicit(&me->hand_over, memory_order_relaxed);

    /* Whoever enters twice in a row is likely to do so again, unless others wanted the context in between. */
    if (again && context->bits < 2 * CONTEXT_REVOKED)
        context->bits |= CONTEXT_KEEP;
    else
        context->bits &= (uint8_t)~CONTEXT_KEEP;
    /* A thread that enters what it made does not hand it over. */
    if (again && hand_over > 0 && !atomic_load_explicit(&context->used, memory_order_relaxed)) {
        atomic_store_explicit(&me->hand_over, hand_over - 1, memory_order_relaxed);
        if (hand_over == 1)
            atomic_store_explicit(&me->new_claim, xctx__claim(me, CLAIM_KEPT), memory_order_relaxed);
    }
    atomic_store_explicit(&context->used, 1, memory_order_relaxed);
    context->lets = 0; /* scoped bindings that were jumped out of */
}

int xctx__claim_enter(xctx_context *context, struct record *me)
{
    for (;;) {
        /* Acquire: see the record that another thread has just made. */
        uintptr_t claim = atomic_load_explicit(&context->claim, memory_order_acquire);
        struct record *last = xctx__claim_record(claim);
        enum claim_tag tag = xctx__claim_tag(claim);
        bool entered = tag == CLAIM_HELD || tag == CLAIM_SHARED;

        if (entered && !xctx__claim_is_gone(claim))
            return -EBUSY;
        if (tag == CLAIM_FREE && xctx__bias) {
            /* In a window: another thread may revoke the claim as soon as it is there. */
            xctx__window_open(me, context);
            bool swapped = swap(context, claim, xctx__claim(me, CLAIM_HELD));
            if (swapped)
                note_entering(context, me, last == me);
            xctx__window_close(me);
            if (swapped)
                return 0;
            continue;
        }
        claim = xctx__claim_lock(context, me);
        tag = xctx__claim_tag(claim);
        if (tag == CLAIM_HELD || tag == CLAIM_SHARED) {
            xctx__claim_unlock(context, claim);
            return -EBUSY;
        }
        context->bits &= (uint8_t)~CONTEXT_KEEP;
        atomic_store_explicit(&context->used, 1, memory_order_relaxed);
        xctx__claim_unlock(context, xctx__claim(me, xctx__bias ? CLAIM_HELD : CLAIM_SHARED));
        return 0;
    }
}
