/* SPDX-License-Identifier: MIT */
/*
 * The contexts that go along with a fiber: see fiber_internal.h.
 *
 * To resume is to enter all of a fiber's contexts again, and to yield is to leave them, but for their claims: these
 * contexts stay entered, so that nobody else can enter them. That a claim names the thread which ran the fiber before
 * is harmless while another thread runs it (that one has the context not current, and so does not touch it; this one
 * finds that the claim is not its own and locks), but slow: so it is handed over, as one that is not kept.
 *
 * `enter` operations are those of the variables in the context as it is now, as for every entering.
 */
#include <errno.h>

#include "context/context_internal.h"
#include "context/follow.h"
#include "context/var_internal.h"
#include "fiber_internal.h"

static void make_current(struct slot *slot, xctx_context *context)
{
    slot->current = context;
    xctx__slot_show(slot);
}

/* The context that was entered right after `below`. */
static xctx_context *above(xctx_context *top, const xctx_context *below)
{
    xctx_context *context = top;

    while (context->previous != below)
        context = context->previous;
    return context;
}

/* ---- in ---- */

static void hand_over_claim(xctx_context *context, struct record *me)
{
    xctx__claim_lock(context, me);
    context->bits |= CONTEXT_REVOKED_MOST;
    xctx__claim_unlock(context, xctx__claim(me, CLAIM_SHARED));
}

/* A context that nobody else knows yet. */
static void claim_fresh(xctx_context *context, struct record *me)
{
    atomic_store_explicit(&context->claim, xctx__claim(me, xctx__bias ? CLAIM_HELD : CLAIM_SHARED),
                          memory_order_relaxed);
}

static void claim_first(xctx_context *context, struct record *me)
{
    context->bits |= CONTEXT_FIRST;
    atomic_store_explicit(&context->used, 1, memory_order_relaxed);
    claim_fresh(context, me);
}

/* The reverse, where the fiber could not begin. */
static void unclaim_first(xctx_context *context)
{
    context->bits &= (uint8_t)~CONTEXT_FIRST;
    atomic_store_explicit(&context->used, 0, memory_order_relaxed);
    atomic_store_explicit(&context->claim, xctx__claim(NULL, CLAIM_FREE), memory_order_relaxed);
}

void xctx__fiber_contexts_claim(xctx_fiber *fiber, struct record *me, const struct record *last)
{
    for (xctx_context *context = fiber->top; context; context = context->previous) {
        if (fiber->bits & FIBER_FRESH)
            claim_fresh(context, me);
        else if (last != me)
            hand_over_claim(context, me);
    }
}

/* Whether assembly can put a fiber's contexts in and out: it looks at the uppermost one alone, whereas a lower one may
   get a pin while the fiber runs, and one that lies above the resumer's is to be linked to that. */
static bool is_for_assembly(const xctx_fiber *fiber)
{
    return !(fiber->bits & FIBER_SHARES) && !fiber->top->previous;
}

bool xctx__fiber_contexts_are_simple(const xctx_fiber *fiber)
{
    return fiber->top ? is_for_assembly(fiber) : fiber->bits & FIBER_SHARES;
}

static int reserve(xctx_context *context, struct record *me)
{
    xctx__claim_lock(context, me);
    struct extra *extra = xctx__context_extra(context);
    int error = extra ? xctx__hooks_reserve(extra, context->root) : -ENOMEM;
    xctx__claim_unlock_entered(context, me);
    return error;
}

static void set_applied(xctx_context *context, struct record *me, bool applied)
{
    xctx__claim_lock(context, me);
    context->bits = applied ? context->bits | CONTEXT_APPLIED : context->bits & (uint8_t)~CONTEXT_APPLIED;
    xctx__claim_unlock_entered(context, me);
}

/* Others that give up references change other bits of an entered context. */
static bool is_applied(xctx_context *context, struct record *me)
{
    bool applied = false;

    xctx__window_open(me, context);
    bool held = atomic_load_explicit(&context->claim, memory_order_relaxed) == xctx__claim(me, CLAIM_HELD);
    if (held)
        applied = context->bits & CONTEXT_APPLIED;
    xctx__window_close(me);
    if (held)
        return applied;
    xctx__claim_lock(context, me);
    applied = context->bits & CONTEXT_APPLIED;
    xctx__claim_unlock_entered(context, me);
    return applied;
}

/* The fiber's contexts become current from the first one up, so that operations find the one that they are for. */
static void apply(struct slot *slot, xctx_fiber *fiber, xctx_context *below)
{
    xctx_context *top = fiber->top;

    for (xctx_context *context = NULL; context != top; below = context) {
        context = above(top, below);
        make_current(slot, context);
        if (!(context->root->flags & MAP_HOOKED))
            continue;
        fiber->rest = 0; /* they are to be undone by C */
        set_applied(context, slot->record, true);
        xctx__hooks_apply(slot, context);
        if (slot->current != context)
            return; /* an operation has entered or left something: that stays */
    }
}

int xctx__fiber_contexts_in(struct slot *slot, xctx_fiber *fiber, const struct record *last)
{
    xctx__follow(slot);
    xctx_context *bottom = fiber->bits & FIBER_SHARES ? slot->current : NULL;
    bool hooked = false;

    if (fiber->top && !last)
        claim_first(fiber->top, slot->record);
    else
        xctx__fiber_contexts_claim(fiber, slot->record, last);
    for (xctx_context *context = fiber->top; context; context = context->previous) {
        if (context->root->flags & MAP_HOOKED) {
            if (reserve(context, slot->record)) {
                if (!last)
                    unclaim_first(context);
                return -ENOMEM;
            }
            hooked = true;
        }
    }
    fiber->outer = slot->current;
    fiber->outer_root = slot->root;
    if (!fiber->top && fiber->bits & FIBER_SHARES)
        return 0;
    if (!fiber->top) {
        fiber->rest = 0; /* assembly takes it for one that shares */
        make_current(slot, NULL);
    } else {
        if (bottom)
            above(fiber->top, NULL)->previous = bottom;
        if (hooked)
            apply(slot, fiber, bottom);
        else
            make_current(slot, fiber->top);
    }
    if (fiber->top && !is_for_assembly(fiber))
        fiber->rest = 0;
    if (atomic_load_explicit(&xctx__watchers, memory_order_relaxed))
        xctx__watch_notify(slot);
    return 0;
}

/* ---- out ---- */

/* Whether the context that the fiber shares is still among those that are current. */
static bool has_own(const struct slot *slot, const xctx_fiber *fiber)
{
    return xctx__is_entered_here(slot, fiber->outer) || !fiber->outer;
}

static void undo(struct slot *slot, xctx_context *top, const xctx_context *below)
{
    for (xctx_context *context = top; context && context != below; context = context->previous) {
        if (!is_applied(context, slot->record))
            continue;
        make_current(slot, context);
        set_applied(context, slot->record, false);
        xctx__hooks_undo(context);
    }
}

bool xctx__fiber_contexts_out(struct slot *slot, xctx_fiber *fiber)
{
    xctx__follow(slot);
    const xctx_context *below = fiber->bits & FIBER_SHARES ? fiber->outer : NULL;
    xctx_context *top = slot->current;
    bool simple = fiber->rest != 0;

    if (fiber->bits & FIBER_SHARES && (top == below || !has_own(slot, fiber))) {
        /* It has entered nothing; or left what its resumer had entered, as a function can. */
        fiber->top = NULL;
        return simple && top == below;
    }
    fiber->bits |= FIBER_LEAVING;
    for (const xctx_context *context = top; context && context != below; context = context->previous) {
        simple = simple && !(context->root->flags & MAP_HOOKED);
        if (slot->pin == context)
            xctx__pin_fold(slot);
    }
    undo(slot, top, below);
    if (below)
        above(top, below)->previous = NULL;
    fiber->top = top;
    make_current(slot, fiber->outer);
    if (atomic_load_explicit(&xctx__watchers, memory_order_relaxed))
        xctx__watch_notify(slot);
    fiber->bits &= (uint8_t)~FIBER_LEAVING;
    return simple && top && is_for_assembly(fiber);
}

/* ---- end ---- */

/* A fiber's first and only context that nobody else has taken notice of: ready for the next copy, as it was made. */
static bool end_quickly(struct slot *slot, xctx_context *context)
{
    struct record *record = slot->record;
    bool quick = false;

    if (!context || context->previous || atomic_load_explicit(&context->more, memory_order_relaxed) ||
        slot->pin == context || context->lets)
        return false;
    xctx__window_open(record, context);
    if (atomic_load_explicit(&context->claim, memory_order_relaxed) == xctx__claim(record, CLAIM_HELD) &&
        /* Acquire: see what those did who gave their reference back. */
        atomic_load_explicit(&context->refs, memory_order_acquire) == 1) {
        context->bits = CONTEXT_KEEP;
        context->serial = 0;
        atomic_store_explicit(&context->used, 0, memory_order_relaxed);
        atomic_store_explicit(&context->claim, xctx__claim(record, CLAIM_KEPT), memory_order_relaxed);
        quick = true;
    }
    xctx__window_close(record);
    return quick;
}

/* A shot's only context, as it was made: it stays entered, in `fiber->top`, for the next shot. */
static bool keep_whole(struct slot *slot, xctx_fiber *fiber, xctx_context *context)
{
    struct record *record = slot->record;
    bool whole = false;

    if (!xctx__has_turns(fiber) || !context || context->previous || context->lets || slot->pin == context ||
        atomic_load_explicit(&context->more, memory_order_relaxed) || !xctx__shot_is_whole(fiber, context))
        return false;
    xctx__window_open(record, context);
    whole = atomic_load_explicit(&context->claim, memory_order_relaxed) == xctx__claim(record, CLAIM_HELD) &&
            atomic_load_explicit(&context->refs, memory_order_acquire) == 1 && context->owed == 0 &&
            !(context->bits & CONTEXT_APPLIED);
    xctx__window_close(record);
    if (whole) {
        fiber->top = context;
        fiber->bits |= FIBER_AGAIN;
    }
    return whole;
}

/* Leaves whatever is current, down to nothing, and releases the first context. */
static void leave_all(struct slot *slot)
{
    enum { ROUNDS = 64 }; /* operations may enter contexts again and again */

    for (int i = 0; i < ROUNDS && slot->current; i++) {
        while (slot->current->previous && xctx_exit(slot->current) == 0)
            ;
        if (!is_applied(slot->current, slot->record))
            break;
        undo(slot, slot->current, NULL);
    }
    xctx__context_leave_all(slot);
}

void xctx__fiber_contexts_end(struct slot *slot, xctx_fiber *fiber)
{
    xctx__follow(slot);
    xctx_context *context = slot->current;

    if (fiber->bits & FIBER_SHARES) {
        xctx__run_end(&(struct run){.outer = fiber->outer});
        return;
    }
    if (keep_whole(slot, fiber, context)) {
        make_current(slot, fiber->outer);
    } else if (end_quickly(slot, context)) {
        make_current(slot, fiber->outer);
        xctx_unref(context);
    } else {
        fiber->bits |= FIBER_LEAVING;
        leave_all(slot);
        make_current(slot, fiber->outer);
    }
    if (atomic_load_explicit(&xctx__watchers, memory_order_relaxed))
        xctx__watch_notify(slot);
}

void xctx__fiber_contexts_abandon(struct slot *slot, xctx_fiber *fiber)
{
    struct record *record = slot->record;
    xctx_context *current = slot->current;

    for (xctx_context *context = fiber->top; context; context = context->previous) {
        xctx__claim_lock(context, record);
        context->lets = 0; /* of frames that are gone */
        xctx__claim_unlock(context, xctx__claim(record, CLAIM_SHARED));
    }
    make_current(slot, fiber->top);
    leave_all(slot);
    make_current(slot, current);
}
