/* SPDX-License-Identifier: MIT */
/*
 * Fibers that take turns on one stack: see fiber_internal.h for the lock.
 *
 * To resume one is to lock the turns, to copy what the resident has on the stack away and the fiber's own bytes in, and
 * to keep the lock until it yields. Copying is quicker than any exchange of pages up to some 100 KiB, and does not make
 * other threads stop (docs/decisions/0019).
 *
 * Waiting is done by looking again and again, with longer and longer pauses: whoever yields does not ask whether
 * anybody waits. Threads that wait for each other in a circle are found by what each has noted in its record, under a
 * lock.
 */
#include <errno.h>
#include <pthread.h>

#include "annotate.h"
#include "arch/registers.h"
#include "context/claim.h"
#include "fiber_internal.h"
#include "stacks.h"

/* ---- the lock ---- */

/* States of turns alone. LEAVING: locked by whoever gives up its use of the stack, and looks whether others did so
   meanwhile. ENDED: nobody uses the stack any more. */
enum { LEAVING = FIBER_TAG_DONE, ENDED = FIBER_TAG_CREATED };

static bool take_kept(struct turns *turns, struct record *me)
{
    xctx__window_open(me, (xctx_context *)(void *)turns);
    bool kept = atomic_load_explicit(&turns->state, memory_order_relaxed) == xctx__fiber_state(me, FIBER_TAG_KEPT);
    if (kept)
        atomic_store_explicit(&turns->state, xctx__fiber_state(me, FIBER_TAG_LOCKED), memory_order_relaxed);
    xctx__window_close(me);
    return kept;
}

static bool is_held(uintptr_t state)
{
    unsigned tag = xctx__fiber_tag(state);

    return tag == FIBER_TAG_RUNNING || tag == FIBER_TAG_LOCKED || tag == LEAVING || tag == ENDED;
}

static enum fiber_place place_of(const xctx_fiber *fiber)
{
    /* Acquire: partner is park(). */
    return (enum fiber_place)atomic_load_explicit(&fiber->more->place, memory_order_acquire);
}

/* Takes the lock from a thread that did not come along through fork(). What that one ran has ended here; if it had
   locked in order to copy, what is not on the stack any more, or not yet, is where it says. */
static bool take_over(struct turns *turns, uintptr_t state, uintptr_t mine)
{
    bool ran = xctx__fiber_tag(state) == FIBER_TAG_RUNNING;

    if (!atomic_compare_exchange_strong_explicit(&turns->state, &state, mine, memory_order_acq_rel,
                                                 memory_order_relaxed))
        return false;
    xctx_fiber *resident = atomic_load_explicit(&turns->resident, memory_order_relaxed);
    if (resident && ran)
        atomic_store_explicit(&resident->state, FIBER_TAG_DONE, memory_order_relaxed);
    if (resident && (ran || place_of(resident) != FIBER_ON_STACK))
        atomic_store_explicit(&turns->resident, NULL, memory_order_relaxed);
    return true;
}

/* Takes the lock, unless somebody has it. `ret_state`: what it was. */
static bool try_lock(struct turns *turns, struct record *me, uintptr_t *ret_state)
{
    const uintptr_t mine = xctx__fiber_state(me, FIBER_TAG_LOCKED);

    *ret_state = xctx__fiber_state(me, FIBER_TAG_KEPT);
    if (take_kept(turns, me))
        return true;
    for (;;) {
        /* Acquire: see the record that another thread has just made. */
        uintptr_t state = atomic_load_explicit(&turns->state, memory_order_acquire);
        unsigned tag = xctx__fiber_tag(state);
        *ret_state = state;
        if (is_held(state)) {
            if (!atomic_load_explicit(&xctx__fiber_record(state)->gone, memory_order_relaxed))
                return false;
            if (take_over(turns, state, mine))
                return true;
            continue;
        }
        if (tag == FIBER_TAG_KEPT && xctx__fiber_record(state) != me) {
            if (xctx__fiber_revoke(&turns->state, state, mine)) {
                if (turns->revoked < FIBER_REVOKED_MOST)
                    turns->revoked++;
                return true;
            }
        } else if (atomic_compare_exchange_strong_explicit(&turns->state, &state, mine, memory_order_acq_rel,
                                                           memory_order_relaxed)) {
            return true;
        }
    }
}

enum { LOOK = 64 }; /* pauses that are so short that a circle need not be looked for */

static pthread_mutex_t waiting = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t users = PTHREAD_MUTEX_INITIALIZER;

/* Whether whoever has the turns waits, over however many threads, for `me`. Under the lock. */
static bool waits_for(struct turns *turns, const struct record *me)
{
    while (turns) {
        uintptr_t state = atomic_load_explicit(&turns->state, memory_order_relaxed);
        const struct record *holder = xctx__fiber_record(state);
        if (!is_held(state))
            return false;
        if (holder == me)
            return true;
        /* One that has just got what it waited for did not say so yet. */
        turns = holder->waits_for == turns ? NULL : holder->waits_for;
    }
    return false;
}

static bool is_deadlock(struct turns *turns, struct record *me)
{
    pthread_mutex_lock(&waiting);
    me->waits_for = turns;
    bool deadlock = waits_for(turns, me);
    if (deadlock)
        me->waits_for = NULL;
    pthread_mutex_unlock(&waiting);
    return deadlock;
}

static void end_waiting(struct record *me)
{
    pthread_mutex_lock(&waiting);
    me->waits_for = NULL;
    pthread_mutex_unlock(&waiting);
}

void xctx__turns_before_fork(void)
{
    pthread_mutex_lock(&waiting);
    pthread_mutex_lock(&users);
}

void xctx__turns_after_fork(void)
{
    pthread_mutex_unlock(&users);
    pthread_mutex_unlock(&waiting);
}

/* Locks, waiting for others. -EDEADLK also if the running thread itself has the turns. */
static int lock(struct turns *turns, struct record *me, uintptr_t *ret_state)
{
    unsigned tries = 0;
    int error = 0;

    while (!try_lock(turns, me, ret_state)) {
        if (xctx__fiber_record(*ret_state) == me) {
            error = -EDEADLK;
            break;
        }
        if (tries >= LOOK && is_deadlock(turns, me))
            return -EDEADLK;
        xctx__claim_wait(&tries);
    }
    if (tries > LOOK)
        end_waiting(me);
    return error;
}

static void unlock(struct turns *turns, struct record *me)
{
    bool keep = xctx__bias && turns->revoked < FIBER_REVOKED_MOST;

    atomic_store_explicit(&turns->state, xctx__fiber_state(me, keep ? FIBER_TAG_KEPT : FIBER_TAG_FREE),
                          memory_order_release);
}

bool xctx__turn_runs(const xctx_fiber *fiber)
{
    const struct turns *turns = xctx__turns(fiber);
    /* Acquire: see the resident. While somebody runs it can be nobody else. */
    uintptr_t state = atomic_load_explicit(&turns->state, memory_order_acquire);

    return xctx__fiber_tag(state) == FIBER_TAG_RUNNING &&
           atomic_load_explicit(&turns->resident, memory_order_relaxed) == fiber &&
           !atomic_load_explicit(&xctx__fiber_record(state)->gone, memory_order_relaxed);
}

int xctx__turns_lock(const xctx_fiber *fiber, struct record *me, bool *ret_ours)
{
    struct turns *turns = xctx__turns(fiber);
    uintptr_t state;

    *ret_ours = false;
    if (XCTX__LIKELY(try_lock(turns, me, &state)))
        return 0;
    if (xctx__turn_runs(fiber))
        return -EBUSY;
    int error = lock(turns, me, &state);
    *ret_ours = error && is_held(state) && xctx__fiber_record(state) == me;
    return *ret_ours ? 0 : error;
}

void xctx__turns_unlock(struct turns *turns, struct record *me, bool ours)
{
    if (!ours)
        unlock(turns, me);
}

/* ---- the stack ---- */

static size_t size_of(const xctx_fiber *fiber)
{
    return fiber->high - (uintptr_t)fiber->sp;
}

/* Copies what the resident has on the stack away. 0 or -ENOMEM. */
static int park(xctx_fiber *resident)
{
    struct more *more = resident->more;
    size_t size = size_of(resident);

    if (size > more->room) {
        void *memory = xctx__allocate(size);
        if (!memory)
            return -ENOMEM;
        xctx__free(more->parked);
        more->parked = memory;
        more->room = size;
    }
    xctx__words_copy(more->parked, resident->sp, size);
    if (resident->bits & FIBER_SLOWLY)
        more->annotations = xctx__fiber_top(resident)->annotations;
    /* Release: nobody touches the fiber on behalf of the stack any more. */
    atomic_store_explicit(&more->place, FIBER_PARKED, memory_order_release);
    return 0;
}

/* The first frame's word for the fiber that runs: arch/switch.h. */
static void name_fiber(xctx_fiber *fiber)
{
    *(xctx_fiber **)(fiber->high - (uintptr_t)4 * sizeof(void *)) = fiber; /* NOLINT(performance-no-int-to-ptr) */
}

/* Makes a fiber the resident. 0 or -ENOMEM, with the stack as it was. */
static int move_in(struct turns *turns, xctx_fiber *fiber)
{
    xctx_fiber *resident = atomic_load_explicit(&turns->resident, memory_order_relaxed);

    if (resident == fiber)
        return 0;
    int error = resident ? park(resident) : 0;
    if (error)
        return error;
    annotate_overwritten(fiber);
    xctx__words_copy(fiber->sp, xctx__fiber_bytes(fiber), size_of(fiber));
    if (fiber->bits & FIBER_SLOWLY)
        xctx__fiber_top(fiber)->annotations = fiber->more->annotations;
    name_fiber(fiber);
    atomic_store_explicit(&turns->resident, fiber, memory_order_relaxed);
    atomic_store_explicit(&fiber->more->place, FIBER_ON_STACK, memory_order_relaxed);
    return 0;
}

const void *xctx__fiber_bytes(const xctx_fiber *fiber)
{
    enum fiber_place place = xctx__has_turns(fiber) ? place_of(fiber) : FIBER_ON_STACK;

    if (place == FIBER_ON_STACK)
        return fiber->sp;
    return place == FIBER_PARKED ? fiber->more->parked : xctx__continuation_bytes(fiber->more->of);
}

/* ---- turns ---- */

int xctx__turn_take(xctx_fiber *fiber, struct record *me, struct record **ret_last)
{
    struct turns *turns = xctx__turns(fiber);
    struct more *more = fiber->more;
    uintptr_t state;
    int error;

    if (XCTX__UNLIKELY(xctx__slot.unwound != NULL))
        xctx__fiber_drop_unwound(&xctx__slot);
    if (!try_lock(turns, me, &state)) {
        /* While somebody runs, the resident does: it can be nobody else before its turn is over. */
        if (xctx__fiber_record(state) != me && xctx__fiber_tag(state) == FIBER_TAG_RUNNING &&
            atomic_load_explicit(&turns->resident, memory_order_relaxed) == fiber)
            return -EBUSY;
        error = lock(turns, me, &state);
        if (error)
            return error;
    }
    annotate_taken(fiber);
    /* It may have ended meanwhile. */
    if (xctx__fiber_tag(atomic_load_explicit(&fiber->state, memory_order_acquire)) == FIBER_TAG_DONE) {
        unlock(turns, me);
        return -EINVAL;
    }
    error = move_in(turns, fiber);
    if (error) {
        unlock(turns, me);
        return error;
    }
    bool keep = xctx__bias && xctx__fiber_record(state) == me && turns->revoked < FIBER_REVOKED_MOST;
    fiber->rest = fiber->bits & FIBER_SLOWLY ? 0 : xctx__fiber_state(me, keep ? FIBER_TAG_KEPT : FIBER_TAG_FREE);
    *ret_last = more->last;
    more->last = me;
    atomic_store_explicit(&turns->state, xctx__fiber_state(me, FIBER_TAG_RUNNING), memory_order_relaxed);
    return 0;
}

void xctx__turn_clear(xctx_fiber *fiber)
{
    if (fiber->bits & FIBER_SLOWLY)
        fiber->more->annotations = xctx__fiber_top(fiber)->annotations;
    atomic_store_explicit(&xctx__turns(fiber)->resident, NULL, memory_order_relaxed);
}

void xctx__turn_give_up(xctx_fiber *fiber, struct record *me)
{
    unlock(xctx__turns(fiber), me);
}

bool xctx__turns_forget(xctx_fiber *fiber, struct record *me)
{
    struct turns *turns = xctx__turns(fiber);
    bool locked = false;
    unsigned tries = 0;
    uintptr_t state;

    /* While somebody else runs, this fiber is not there, or is being parked just now. */
    while (place_of(fiber) == FIBER_ON_STACK && !(locked = try_lock(turns, me, &state)) &&
           xctx__fiber_record(state) != me) {
        xctx__claim_wait(&tries);
    }
    bool lost = xctx__fiber_tag(atomic_load_explicit(&fiber->state, memory_order_relaxed)) == FIBER_TAG_DONE;
    if (!lost) {
        xctx__fiber_hooks_drop(fiber->more->hooks, (uintptr_t)fiber->sp, xctx__fiber_bytes(fiber));
        if (place_of(fiber) == FIBER_ON_STACK)
            xctx__turn_clear(fiber);
    }
    if (locked)
        unlock(turns, me);
    return !lost;
}

/* Gives a use of the stack up that somebody else has locked. Whether it was the last one. Under the lock of `users`, so
   that whoever is the last one meanwhile waits for us before it gives the stack away. */
static __attribute__((noinline)) bool drop_user_of_others(struct turns *turns, struct record *me)
{
    unsigned tries = 0;
    uintptr_t state;
    bool locked;

    atomic_fetch_add_explicit(&turns->gone, 1, memory_order_seq_cst);
    /* Partner: whoever is LEAVING, and looks at `gone` after it has said so. */
    if (xctx__bias)
        xctx__barrier_others();
    else
        atomic_thread_fence(memory_order_seq_cst);
    while (!(locked = try_lock(turns, me, &state)) && xctx__fiber_tag(state) == LEAVING)
        xctx__claim_wait(&tries);
    if (!locked)
        return false; /* a user of the stack has it, and will look when it is one no more; or the last one has looked */
    bool last = turns->users == atomic_load_explicit(&turns->gone, memory_order_relaxed);
    unlock(turns, me);
    return last;
}

/* Whether it was the last one. */
static inline bool drop_user(struct turns *turns, struct record *me)
{
    unsigned tries = 0;
    uintptr_t state;
    bool locked;

    /* Turns that nobody runs in are mostly locked for a few instructions. */
    while (!(locked = try_lock(turns, me, &state)) && xctx__fiber_record(state) != me &&
           xctx__fiber_tag(state) != FIBER_TAG_RUNNING && tries < LOOK)
        xctx__claim_wait(&tries);
    if (!locked && xctx__fiber_record(state) == me) {
        turns->users--; /* not the last: what has the turns is one */
        return false;
    }
    if (!locked) {
        pthread_mutex_lock(&users);
        bool last = drop_user_of_others(turns, me);
        pthread_mutex_unlock(&users);
        return last;
    }
    atomic_store_explicit(&turns->state, xctx__fiber_state(me, LEAVING), memory_order_relaxed);
    atomic_signal_fence(memory_order_seq_cst);
    if (!xctx__bias)
        atomic_thread_fence(memory_order_seq_cst);
    uint32_t gone = atomic_load_explicit(&turns->gone, memory_order_acquire);
    if (--turns->users != gone) {
        unlock(turns, me);
        return false;
    }
    if (gone > 0) {
        atomic_store_explicit(&turns->state, xctx__fiber_state(me, ENDED), memory_order_release);
        pthread_mutex_lock(&users);
        pthread_mutex_unlock(&users);
    }
    return true;
}

void xctx__turns_unref(struct turns *turns, struct slot *slot)
{
    xctx_fiber *unit = turns->unit;
    /* Threads without a record would have locked the turns all in the same name. */
    struct record *me = XCTX__LIKELY(xctx__has_record(slot)) ? slot->record : xctx__record_borrow(slot);
    bool last = drop_user(turns, me);

    if (XCTX__UNLIKELY(me != slot->record))
        xctx__record_give_back(me);
    if (!last)
        return;
    xctx__fiber_end_more(unit);
    xctx__stacks_put(slot->record, unit);
}
