/* SPDX-License-Identifier: MIT */
/*
 * Resuming and yielding, where assembly does not do it: the first times, on another thread than before, with `enter`
 * operations, watchers or exceptions about, under sanitizers; and the end of fibers.
 *
 * What is on a fiber's stack may go on on another thread behind each switch out. So nothing is kept over one that
 * belongs to a thread: neither the slot nor errno. Nor the fiber: what goes on may be a shot.
 */
#include <assert.h>
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "annotate.h"
#include "arch/switch.h"
#include "context/context_internal.h"
#include "fiber_internal.h"

#pragma weak dlsym /* a static program need not contain it */

_Static_assert(offsetof(struct xctx_fiber, state) == FIBER_STATE, "offsets.h");
_Static_assert(offsetof(struct xctx_fiber, sp) == FIBER_SP, "offsets.h");
_Static_assert(offsetof(struct xctx_fiber, resumer_sp) == FIBER_RESUMER_SP, "offsets.h");
_Static_assert(offsetof(struct xctx_fiber, ret_out) == FIBER_RET_OUT, "offsets.h");
_Static_assert(offsetof(struct xctx_fiber, top) == FIBER_TOP, "offsets.h");
_Static_assert(offsetof(struct xctx_fiber, outer) == FIBER_OUTER, "offsets.h");
_Static_assert(offsetof(struct xctx_fiber, outer_root) == FIBER_OUTER_ROOT, "offsets.h");
_Static_assert(offsetof(struct xctx_fiber, resumer) == FIBER_RESUMER, "offsets.h");
_Static_assert(offsetof(struct xctx_fiber, rest) == FIBER_REST, "offsets.h");
_Static_assert(offsetof(struct xctx_fiber, turn) == FIBER_TURN, "offsets.h");
_Static_assert(offsetof(struct slot, root) == SLOT_ROOT, "offsets.h");
_Static_assert(offsetof(struct slot, current) == SLOT_CURRENT, "offsets.h");
_Static_assert(offsetof(struct slot, record) == SLOT_RECORD, "offsets.h");
_Static_assert(offsetof(struct slot, pin) == SLOT_PIN, "offsets.h");
_Static_assert(offsetof(struct slot, fiber) == SLOT_FIBER, "offsets.h");
_Static_assert(offsetof(struct slot, exceptions) == SLOT_EXCEPTIONS, "offsets.h");
_Static_assert(offsetof(struct record, window) == RECORD_WINDOW, "offsets.h");
_Static_assert(offsetof(struct xctx_context, used) == CONTEXT_USED, "offsets.h");
_Static_assert(offsetof(struct xctx_context, bits) == CONTEXT_BITS, "offsets.h");
_Static_assert(offsetof(struct xctx_context, claim) == CONTEXT_CLAIM, "offsets.h");
_Static_assert(offsetof(struct xctx_context, root) == CONTEXT_ROOT, "offsets.h");
_Static_assert(offsetof(struct map, flags) == MAP_FLAGS, "offsets.h");
_Static_assert((int)CONTEXT_APPLIED == CONTEXT_BITS_SLOW, "offsets.h");
_Static_assert((int)CONTEXT_FIRST == CONTEXT_BITS_FIRST, "offsets.h");
_Static_assert((int)CLAIM_HELD == CLAIM_TAG_HELD, "offsets.h");
_Static_assert(offsetof(struct exceptions, uncaught) == 8, "read by assembly");

struct exceptions xctx__exceptions_unknown = {.caught = &xctx__exceptions_unknown};

/* Of threads in programs without C++: never written to. */
static struct exceptions no_exceptions;

/* Where the thread's exceptions are is known to the C++ library alone. */
static struct exceptions *find_exceptions(void)
{
    struct exceptions *(*get)(void) = NULL;
    void *found = dlsym ? dlsym(RTLD_DEFAULT, "__cxa_get_globals") : NULL;

    memcpy(&get, &found, sizeof(found));
    return get ? get() : &no_exceptions;
}

static void know_exceptions(struct slot *slot)
{
    if (slot->exceptions == &xctx__exceptions_unknown)
        slot->exceptions = find_exceptions();
}

static bool any(const struct exceptions *exceptions)
{
    return exceptions->caught || exceptions->uncaught;
}

/* ---- in ---- */

/* Captures that follow frame pointers find whoever waits for a fiber: these functions have one, too. */
#define HAVE_FRAME_POINTER __asm__ volatile("" : : "r"(__builtin_frame_address(0)))

static int run(struct slot *slot, xctx_fiber *fiber, bool begin, void *in, void **ret_out)
{
    bool annotated = fiber->bits & FIBER_SLOWLY;
    void *fake = NULL;

    HAVE_FRAME_POINTER;
    fiber->ret_out = ret_out;
    fiber->resumer = slot->fiber;
    slot->fiber = fiber;
    if (any(slot->exceptions) || any(&fiber->exceptions)) {
        fiber->resumer_exceptions = *slot->exceptions;
        *slot->exceptions = fiber->exceptions;
        fiber->exceptions = (struct exceptions){0};
    }
    struct exceptions exceptions = fiber->resumer_exceptions;
    if (annotated)
        annotate_in(fiber, &fake);
    fiber->bits &= (uint8_t)~FIBER_FRESH;
    int status = begin ? xctx__switch_begin(fiber) : xctx__switch_in(fiber, in);
    /* The same thread: a fiber yields on the one that it was resumed on. The fiber itself may be another's by now. */
    if (annotated)
        annotate_back(fake);
    if (any(&exceptions))
        *slot->exceptions = exceptions;
    return status;
}

int xctx__fiber_resume_slowly(xctx_fiber *fiber, void *in, void **ret_out)
{
    struct slot *slot = &xctx__slot;
    struct record *last;

    HAVE_FRAME_POINTER;
    if (!fiber)
        return -EINVAL;
    /* A thread that has one never gets to know its exceptions, so all that it resumes comes here. */
    if (xctx__has_shadow_stack())
        return -ENOTSUP;
    struct record *record = xctx__record_get(slot);
    if (!record)
        return -ENOMEM;
    know_exceptions(slot);
    int error = xctx__fiber_take(fiber, record, &last);
    if (error)
        return error;
    error = xctx__fiber_contexts_in(slot, fiber, last);
    if (error) {
        xctx__fiber_untake(fiber, record, last);
        return error;
    }
    return run(slot, fiber, !last, in, ret_out);
}

int xctx__turn_resume(xctx_fiber *fiber)
{
    struct slot *slot = &xctx__slot;
    struct record *last;

    /* A thread that ends has no record any more, but may resume from destructors of thread-specific data. */
    if (!xctx__has_record(slot) || slot->exceptions == &xctx__exceptions_unknown || annotate_switches())
        return 1;
    int error = xctx__turn_take(fiber, slot->record, &last);
    if (error)
        return error;
    /* Only now nobody else changes it. */
    if (!last || !xctx__fiber_contexts_are_simple(fiber)) {
        xctx__fiber_untake(fiber, slot->record, last);
        return 1;
    }
    xctx__fiber_contexts_claim(fiber, slot->record, last);
    fiber->bits &= (uint8_t)~FIBER_FRESH;
    return 0;
}

int xctx__fiber_resume_claimed(xctx_fiber *fiber, void *in, void **ret_out)
{
    struct slot *slot = &xctx__slot;
    /* A thread's first resume may come here, if a thread before it had the record, which keeps the fiber. */
    know_exceptions(slot);
    int error = xctx__fiber_contexts_in(slot, fiber, slot->record);

    HAVE_FRAME_POINTER;
    if (error) {
        xctx__fiber_untake(fiber, slot->record, slot->record);
        return error;
    }
    return run(slot, fiber, false, in, ret_out);
}

/* ---- out ---- */

__attribute__((noinline)) xctx_fiber *xctx__fiber_running(void)
{
    __asm__ volatile("");
    return xctx__slot.fiber;
}

/* A fiber that handles exceptions takes them along. Returns whether it does, which assembly does not look at. */
static bool exceptions_out(struct slot *slot, xctx_fiber *fiber)
{
    bool some = any(slot->exceptions);

    if (some) {
        fiber->exceptions = *slot->exceptions;
        *slot->exceptions = (struct exceptions){0};
    }
    fiber->resumer_exceptions = (struct exceptions){0};
    return some;
}

void *xctx__fiber_yield_slowly(void *out)
{
    struct slot *slot = &xctx__slot;
    xctx_fiber *fiber = slot->fiber;

    if (!fiber || fiber->bits & FIBER_LEAVING)
        return NULL;
    bool annotated = fiber->bits & FIBER_SLOWLY;
    bool simple = xctx__fiber_contexts_out(slot, fiber);
    simple = !exceptions_out(slot, fiber) && simple;
    uintptr_t state = simple ? fiber->rest : xctx__fiber_state(slot->record, FIBER_TAG_FREE);
    slot->fiber = fiber->resumer;
    if (fiber->ret_out)
        *fiber->ret_out = out;
    if (annotated)
        annotate_out(fiber, false);
    void *in = xctx__switch_out(fiber, 1, state);
    if (annotated)
        annotate_arrived(xctx__fiber_running());
    return in;
}

/* Releases what tokens hold that are gone with the stack. */
static void drop_kept(xctx_fiber *fiber)
{
    struct kept *kept = fiber->more ? fiber->more->kept : NULL;

    if (!kept)
        return;
    fiber->more->kept = NULL;
    fiber->bits |= FIBER_LEAVING;
    xctx__kept_free(kept);
    fiber->bits &= (uint8_t)~FIBER_LEAVING;
}

/* What the turn is given up with by a fiber that has ended. */
static uintptr_t end_state(xctx_fiber *fiber)
{
    if (!xctx__has_turns(fiber))
        return FIBER_TAG_DONE;
    /* Nobody can resume it before the turn is over. */
    xctx__turn_clear(fiber);
    atomic_store_explicit(&fiber->state, FIBER_TAG_DONE, memory_order_relaxed);
    return fiber->rest ? fiber->rest : xctx__fiber_state(xctx__slot.record, FIBER_TAG_FREE);
}

uintptr_t xctx__fiber_finish(xctx_fiber *fiber, void *result)
{
    struct slot *slot = &xctx__slot;

    drop_kept(fiber);
    xctx__fiber_contexts_end(slot, fiber);
    fiber->resumer_exceptions = (struct exceptions){0};
    slot->fiber = fiber->resumer;
    if (fiber->ret_out)
        *fiber->ret_out = result;
    uintptr_t state = end_state(fiber);
    if (fiber->bits & FIBER_SLOWLY) {
        annotate_out(fiber, true);
        xctx__switch_out(fiber, 0, state);
    }
    return state;
}

/* ---- the end by an exception, or by that of the thread ---- */

/* The unwinder still runs on the fiber's stack, and leaves it when it calls code of the resumer's frames. So the fiber
   is kept until the thread next makes one, or ends. */
ANNOTATE_UNSEEN static void unwound(struct slot *slot, xctx_fiber *fiber)
{
    drop_kept(fiber);
    xctx__fiber_contexts_end(slot, fiber);
    if (any(&fiber->resumer_exceptions)) {
        /* The one that is thrown is already among the uncaught. */
        slot->exceptions->caught = fiber->resumer_exceptions.caught;
        slot->exceptions->uncaught += fiber->resumer_exceptions.uncaught;
        fiber->resumer_exceptions = (struct exceptions){0}; /* it may be a shot again: FIBER_AGAIN */
    }
    slot->fiber = fiber->resumer;
    if (fiber->bits & FIBER_SLOWLY) {
        annotate_unwound(fiber);
        annotate_out(fiber, true);
        annotate_back(NULL);
    }
    atomic_fetch_add_explicit(&fiber->refs, 1, memory_order_relaxed);
    fiber->next = slot->unwound;
    slot->unwound = fiber;
    if (xctx__has_turns(fiber))
        xctx__turn_clear(fiber);
    atomic_store_explicit(&fiber->state, FIBER_TAG_DONE, memory_order_release);
}

/* The turns of fibers that take them were not given up before, as the stack was in use. */
void xctx__fiber_drop_unwound(struct slot *slot)
{
    while (slot->unwound) {
        xctx_fiber *fiber = slot->unwound;
        slot->unwound = fiber->next;
        if (xctx__has_turns(fiber))
            xctx__turn_give_up(fiber, slot->record);
        xctx_fiber_unref(fiber);
    }
}

/* Called by the unwinder for xctx__switch_entry, with the two phases of the C++ ABI: nothing is caught here, and what
   is to be cleaned up is cleaned up at once. */
ANNOTATE_UNSEEN int xctx__fiber_personality(int version, int actions, uint64_t kind, void *exception, void *context)
{
    enum { CLEANUP_PHASE = 2, FAILED = 3, CONTINUE = 8 };
    struct slot *slot = &xctx__slot;

    (void)kind;
    (void)exception;
    (void)context;
    if (version != 1)
        return FAILED;
    if (actions & CLEANUP_PHASE && slot->fiber)
        unwound(slot, slot->fiber);
    return CONTINUE;
}
