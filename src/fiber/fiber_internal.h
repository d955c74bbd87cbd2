/* SPDX-License-Identifier: MIT */
/*
 * What a fiber is made of, and who may run it. docs/decisions/0018 says why it is like this.
 *
 * A fiber and its stack are one unit, which is made and used again as one (stacks.h).
 *
 * The state is one word: a thread's record and a tag.
 *
 *   CREATED  record   not resumed yet; whoever compares-and-swaps the word runs it
 *   OWN      record   not resumed yet; the record's thread, which made it, may without an atomic operation
 *   FREE     record   suspended; whoever compares-and-swaps the word runs it. The record is that of the last thread
 *   KEPT     record   suspended; the record's thread may resume it without an atomic operation
 *   RUNNING  record   the record's thread runs it, or it waits there for a fiber that it has resumed
 *   DONE     NULL     its function has returned, or was unwound
 *   SHARED   NULL     it was captured, or is a shot: whether it runs, and who may run it, is said by its stack's turns
 *
 *       CREATED ---swap---> RUNNING ---store---> FREE ---swap---> RUNNING
 *                            |  ^ |
 *                            |  | +----store---> KEPT ---store, in window; another thread: revoked---> RUNNING
 *                            |  +-- (its own thread)
 *                            +------store------> DONE
 *
 * KEPT is a biased lock as a context's claim is (context/claim.h), with the same window: the owner puts the fiber into
 * its record's window, looks whether the word is its own, stores RUNNING, and takes it out again. Another thread swaps
 * the word to RUNNING by itself, makes the owner pass a memory barrier by membarrier(), waits until the owner is out of
 * the window, and looks whether its own word is still there: if not, the owner was quicker, and it tries again. A fiber
 * becomes KEPT when one thread resumes it twice in a row, and never again once that was revoked FIBER_REVOKED_MOST
 * times.
 *
 * OWN is the same for new fibers, taken and revoked in the same way. A thread whose new fibers others resume makes them
 * CREATED for a while (record->fiber_hand_over), until it has resumed so many of them itself.
 *
 * Turns. Fibers that share a stack run one at a time; struct turns says which. Its `state` is a lock, with the states
 * FREE and KEPT of a fiber, taken and revoked in the same way; who has it makes it RUNNING, to run a fiber on the
 * stack, or has it LOCKED for a moment to look after the stack and the fibers that wait for their turn. (Two more
 * states are of turns.c alone: how the last user of a stack is found.) A fiber yields by storing into `*turn`: for
 * other fibers that is `state`, for these it is that of their turns. In the child of fork() a lock of a thread that did
 * not come along is taken from it; what that one ran is DONE then.
 *
 * Memory orders: the store that suspends is a release, after the last access to the fiber and its stack; the load or
 * swap that takes a fiber is an acquire. Where it is KEPT, both are on one thread. models/fiber.pml checks all of that.
 *
 * All but `state` and `refs` belongs to whoever runs the fiber, or takes the last reference away.
 *
 * Contexts. While the fiber runs they are the thread's, linked by `previous` as ever: slot->current down to the fiber's
 * first context, whose `previous` is NULL. (Of a fiber that shares its resumer's context: down to that one, `outer`.)
 * While it is suspended `top` is what was current, and these contexts stay entered, with the claim of the thread that
 * ran the fiber last. The first context cannot be left: it has CONTEXT_FIRST, as a thread's.
 */
#ifndef XCTX_FIBER_FIBER_INTERNAL_H
#define XCTX_FIBER_FIBER_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <xctx/continuation.h>
#include <xctx/fiber.h>
#include <xctx/var.h>

#include "context/record.h"
#include "fiber/offsets.h"

enum { FIBER_TAGS = 7, FIBER_REVOKED_MOST = 4 };

/* Where the bytes of a fiber are that takes turns. */
enum fiber_place {
    FIBER_IN_COPY,  /* a shot that did not run yet: in its continuation */
    FIBER_PARKED,   /* in memory of its own */
    FIBER_ON_STACK, /* it is the stack's resident */
};

enum fiber_bits {
    FIBER_SHARES = 1,  /* runs in its resumer's context */
    FIBER_SLOWLY = 2,  /* never switches in assembly: sanitizers are to be told */
    FIBER_LEAVING = 4, /* operations of variables are called on its behalf: it cannot yield */
    FIBER_FRESH = 8,   /* a shot that did not run yet: nobody has claimed its contexts */
    FIBER_AGAIN = 16,  /* a shot that has ended with its context as it was made: another shot can have both */
};

/* The exceptions that a thread is handling, as the C++ ABI lays it out: __cxa_eh_globals. */
struct exceptions {
    void *caught;
    unsigned uncaught;
};

/* What sanitizers know of a fiber. */
struct annotations {
    void *address_fake; /* AddressSanitizer's stack of the fiber */
    const void *resumer_low;
    size_t resumer_size;
    void *thread; /* ThreadSanitizer's name for the fiber */
    void *resumer_thread;
};

/* References that tokens on a fiber's stack hold: kept.c. */
struct kept {
    uint32_t count;
    uint32_t room;
    struct {
        const xctx_token *token;
        struct cell *cell;
    } entries[];
};

/* What few fibers need: those that were captured, shots, those with hooks or with tokens that hold references. */
struct more {
    struct xctx_continuation *of;   /* of a shot: what it was made of */
    struct record *last;            /* with turns: the thread that ran it last; NULL: it did not begin */
    void *parked;                   /* memory for the stack's bytes in use, or NULL */
    size_t room;                    /* of it */
    _Atomic uint8_t place;          /* enum fiber_place; changes under the turns' lock */
    xctx_fiber_hook *hooks;         /* on the fiber's stack, linked by `next_` */
    struct kept *kept;              /* or NULL */
    struct annotations annotations; /* unless it is the resident, whose are in struct fiber_top */
};

struct xctx_fiber {
    _Atomic uintptr_t state;
    void *sp;               /* while it is suspended */
    void *resumer_sp;       /* while it runs */
    void **ret_out;         /* of the call that has resumed it; may be NULL */
    xctx_context *top;      /* its current context while it is suspended, and what was that when it was resumed. NULL:
                               none of its own */
    xctx_context *outer;    /* the resumer's current context */
    struct map *outer_root; /* and its map; only while `top` is not NULL */
    struct xctx_fiber *resumer; /* the fiber that has resumed it, or NULL */
    uintptr_t rest;             /* the state to suspend with; 0: xctx_fiber_yield() is left to C */
    _Atomic uint32_t refs;      /* given back with release and acquire: what was done with it comes before its end */
    uint8_t bits;
    uint8_t revoked;         /* how often a claim to it was revoked */
    uint16_t uncaptured;     /* open regions in which it cannot be captured */
    _Atomic uintptr_t *turn; /* what to store into to suspend: `state`, or that of its turns */
    struct more *more;       /* or NULL */

    uintptr_t low; /* the stack */
    uintptr_t high;
    struct slab *slab;
    struct xctx_fiber *next;              /* of free fibers, or of those that were unwound */
    const char *name;                     /* "" or in struct fiber_top */
    struct exceptions exceptions;         /* while it is suspended */
    struct exceptions resumer_exceptions; /* while it runs */
    unsigned valgrind;                    /* Valgrind's name for the stack */
} __attribute__((aligned(64)));

/* A stack that fibers share. */
struct turns {
    _Atomic uintptr_t state;             /* first: xctx__turns() */
    struct xctx_fiber *_Atomic resident; /* whose bytes are on the stack; NULL: nobody's. Changes under the lock */
    struct xctx_fiber *unit;             /* the fiber that the stack was taken with */
    uint32_t users;                      /* that fiber, and each continuation; under the lock */
    _Atomic uint32_t gone;               /* how many of those are no more, and did not get the lock */
    uint32_t revoked;
};

/* What few fibers need, above the stack's upper end: memory that is there anyway. */
struct fiber_top {
    char name[XCTX_FIBER_NAME_MAX + 1];
    struct annotations annotations;
    void *start[2]; /* what it runs, and with what */
    struct turns turns;
    uint64_t unused[4];
};

_Static_assert(sizeof(struct fiber_top) % 64 == 0, "the stack's end is aligned");

static inline struct fiber_top *xctx__fiber_top(const xctx_fiber *fiber)
{
    return (struct fiber_top *)fiber->high; /* NOLINT(performance-no-int-to-ptr) */
}

/* The turns of a fiber whose state is SHARED, or was. */
static inline struct turns *xctx__turns(const xctx_fiber *fiber)
{
    return (struct turns *)(void *)fiber->turn;
}

static inline bool xctx__has_turns(const xctx_fiber *fiber)
{
    return fiber->turn != &fiber->state;
}

static inline uintptr_t xctx__fiber_state(const struct record *record, unsigned tag)
{
    return (uintptr_t)record + tag;
}

static inline unsigned xctx__fiber_tag(uintptr_t state)
{
    return (unsigned)(state & FIBER_TAGS);
}

static inline struct record *xctx__fiber_record(uintptr_t state)
{
    return (struct record *)(state & ~(uintptr_t)FIBER_TAGS); /* NOLINT(performance-no-int-to-ptr) */
}

/* Not zero, so that a thread's first switch is done in C: see slot->exceptions in switch.c. */
extern struct exceptions xctx__exceptions_unknown __attribute__((visibility("hidden")));

/* ---- take.c ---- */

/* Makes a fiber RUNNING by `me`, the running thread's record. 0; the errors of xctx_fiber_resume() otherwise.
   `ret_last`: the record of the thread that ran it last, or NULL: none did. */
int xctx__fiber_take(xctx_fiber *fiber, struct record *me, struct record **ret_last);

/* Gives it back, of which nothing has run since. */
void xctx__fiber_untake(xctx_fiber *fiber, struct record *me, struct record *last);

/* Takes a word that another thread keeps, and makes it `mine`. False: that one, or a third, was quicker. */
bool xctx__fiber_revoke(_Atomic uintptr_t *word, uintptr_t state, uintptr_t mine);

/* ---- turns.c ---- */

/* The same for a fiber whose state is SHARED, which becomes the stack's resident. Waits for others' turns to end. */
int xctx__turn_take(xctx_fiber *fiber, struct record *me, struct record **ret_last);

/* Whether a fiber whose state is SHARED runs. */
bool xctx__turn_runs(const xctx_fiber *fiber);

/* The resident, whose turn it is, is not to come back to the stack. */
void xctx__turn_clear(xctx_fiber *fiber);

/* Ends a turn in which nothing runs. */
void xctx__turn_give_up(xctx_fiber *fiber, struct record *me);

/* Locks the turns of a fiber's stack for a moment, whether or not it is the running thread that has them: `*ret_ours`.
   Waits. 0; -EBUSY the fiber itself runs; -EDEADLK as resuming would. */
int xctx__turns_lock(const xctx_fiber *fiber, struct record *me, bool *ret_ours);
void xctx__turns_unlock(struct turns *turns, struct record *me, bool ours);

/* Takes a suspended fiber that nobody refers to out of its stack's turns, and drops what its hooks hold. Does not wait
   for other fibers to yield. False: a thread ran it that did not come along through fork(). */
bool xctx__turns_forget(xctx_fiber *fiber, struct record *me);

/* One user of a stack less, which may be the last. */
void xctx__turns_unref(struct turns *turns, struct slot *slot);

void xctx__turns_before_fork(void);
void xctx__turns_after_fork(void);

/* Where the bytes from fiber->sp to fiber->high are now. Under the turns' lock, if there are any. */
const void *xctx__fiber_bytes(const xctx_fiber *fiber);

/* A fiber's `more`, made if there is none. NULL: no memory. */
struct more *xctx__fiber_more(xctx_fiber *fiber);

/* Releases a shot that is FIBER_AGAIN. */
void xctx__shot_release(struct slot *slot, xctx_fiber *fiber);

/* Frees it, and what belongs to it. */
void xctx__fiber_end_more(xctx_fiber *fiber);

/* ---- continuation.c ---- */

/* The stack's bytes that it holds. */
const void *xctx__continuation_bytes(const struct xctx_continuation *continuation);

/* Whether a shot's context is as it was made, so that another one can have it. */
bool xctx__shot_is_whole(const xctx_fiber *fiber, const xctx_context *context);

/* Keeps a shot that is FIBER_AGAIN or FIBER_FRESH for the next one of its continuation. False: it is to be released. */
bool xctx__shot_keep(struct slot *slot, xctx_fiber *fiber);

/* Frees a shot that has ended or was abandoned. */
void xctx__shot_free(xctx_fiber *fiber, struct record *me);
void xctx__shots_trim(struct record *record);

/* ---- hooks.c ---- */

/* Makes the hooks' values in a copy of a fiber's stack, `bytes` from `sp` on, values of its own. 0 or an error, having
   done nothing. */
int xctx__fiber_hooks_clone(const xctx_fiber_hook *hooks, uintptr_t sp, void *bytes);

/* Drops the hooks' values in those bytes. */
void xctx__fiber_hooks_drop(const xctx_fiber_hook *hooks, uintptr_t sp, const void *bytes);

/* ---- kept.c ---- */

/* Copies the references of tokens that lie from `sp` on. 0 and perhaps NULL; -ENOMEM. */
int xctx__kept_copy(const struct kept *kept, uintptr_t sp, struct kept **ret_copy);
void xctx__kept_free(struct kept *kept);

/* ---- contexts.c ---- */

/* Makes a fiber's contexts those of the running thread, which has just resumed it; calls `enter` operations and
   watchers. `last` ran it before. 0 or -ENOMEM, having done nothing. */
int xctx__fiber_contexts_in(struct slot *slot, xctx_fiber *fiber, const struct record *last);

/* The part of it that assembly does not do: claims the contexts of a fiber that has begun. */
void xctx__fiber_contexts_claim(xctx_fiber *fiber, struct record *me, const struct record *last);

/* Whether assembly can do the rest, but for `enter` operations. */
bool xctx__fiber_contexts_are_simple(const xctx_fiber *fiber);

/* The reverse. Returns whether all is so that assembly can resume the fiber. */
bool xctx__fiber_contexts_out(struct slot *slot, xctx_fiber *fiber);

/* Leaves and releases all contexts of the running fiber, which ends. */
void xctx__fiber_contexts_end(struct slot *slot, xctx_fiber *fiber);

/* The same of a suspended fiber that is abandoned. */
void xctx__fiber_contexts_abandon(struct slot *slot, xctx_fiber *fiber);

/* ---- switch.c: called by the assembly of src/arch ---- */

int xctx__fiber_resume_slowly(xctx_fiber *fiber, void *in, void **ret_out);
int xctx__fiber_resume_claimed(xctx_fiber *fiber, void *in, void **ret_out);
int xctx__turn_resume(xctx_fiber *fiber); /* 0: its turn has begun, 1: do it slowly; or an error */
void *xctx__fiber_yield_slowly(void *out);
uintptr_t xctx__fiber_finish(xctx_fiber *fiber, void *result);
int xctx__fiber_personality(int version, int actions, uint64_t kind, void *exception, void *context);

/* The fiber that runs, asked for anew: behind a switch it may be a shot, on another thread. */
xctx_fiber *xctx__fiber_running(void);

/* Gives back the fibers that an exception has ended. */
void xctx__fiber_drop_unwound(struct slot *slot);

/* ---- for other rooms ---- */

/* The bounds of the running fiber's stack, if `sp` is on it, or in its guard. Whoever waits for the fiber is asked
   about only when that is certain: a signal may interrupt a switch. Async-signal-safe. */
bool xctx__fiber_bounds(const struct slot *slot, uintptr_t sp, uintptr_t *ret_low, uintptr_t *ret_high);

/* The fiber whose guard an address is in, of those that run on the thread. NULL: none. Async-signal-safe. */
const xctx_fiber *xctx__fiber_overflowed(const struct slot *slot, uintptr_t address);

#endif
