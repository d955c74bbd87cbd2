/* SPDX-License-Identifier: MIT */
/* Fibers: making, counting, abandoning. fiber_internal.h says how they are laid out, switch.c how they run. */
#include <assert.h>
#include <string.h>

#include "annotate.h"
#include "context/context_internal.h"
#include "fiber_internal.h"
#include "stacks.h"

static const xctx_fiber_options defaults = {.size = sizeof(defaults)};

static bool are_valid(const xctx_fiber_options *options)
{
    return options->size == sizeof(*options) && options->stack_size <= XCTX_FIBER_STACK_MAX &&
           options->context <= XCTX_FIBER_CONTEXT_NONE && options->guard <= XCTX_FIBER_GUARD_NONE;
}

/* The context that a fiber starts in, or NULL. False: no memory, or a `clone` operation failed. */
static bool make_context(uint32_t which, xctx_context **ret_context)
{
    *ret_context = NULL;
    if (which != XCTX_FIBER_CONTEXT_COPY)
        return true;
    xctx_context *context = xctx_copy_current();
    if (!context)
        return false;
    if (xctx__context_hand_over(context)) {
        xctx_unref(context);
        return false;
    }
    *ret_context = context;
    return true;
}

static void set_name(xctx_fiber *fiber, const char *name)
{
    struct fiber_top *top = xctx__fiber_top(fiber);

    fiber->name = "";
    if (!name || !*name)
        return;
    size_t length = strnlen(name, XCTX_FIBER_NAME_MAX);
    memcpy(top->name, name, length);
    top->name[length] = '\0';
    fiber->name = top->name;
}

/* Where it starts when sanitizers are to be told that it has got there. */
static void *begin_annotated(void *argument)
{
    xctx_fiber *fiber = xctx__fiber_running();
    struct {
        void *(*fn)(void *);
        void *arg;
    } start;

    (void)argument;
    annotate_arrived(fiber);
    memcpy(&start, xctx__fiber_top(fiber)->start, sizeof(start));
    return start.fn(start.arg);
}

xctx_fiber *xctx_fiber_create(void *(*fn)(void *), void *arg, const xctx_fiber_options *options)
{
    struct slot *slot = &xctx__slot;
    xctx_context *context;

    if (!options)
        options = &defaults;
    if (!fn || !are_valid(options))
        return NULL;
    const xctx_context *before = slot->current;
    struct record *record = xctx__record_get(slot);
    if (!record)
        return NULL;
    if (XCTX__UNLIKELY(slot->unwound != NULL))
        xctx__fiber_drop_unwound(slot);
    xctx_fiber *fiber =
        xctx__stacks_take(record, options->stack_size ? options->stack_size : XCTX_FIBER_STACK_DEFAULT, options->guard);
    if (!fiber)
        return NULL;
    if (!make_context(options->context, &context)) {
        xctx__stacks_put(record, fiber);
        xctx__context_unensure(slot, before);
        return NULL;
    }
    fiber->top = context;
    fiber->resumer = NULL;
    /* As note_taking() has it after a first resume: by then it is too late where assembly does that. */
    fiber->rest = options->context == XCTX_FIBER_CONTEXT_NONE ? 0 : xctx__fiber_state(record, FIBER_TAG_FREE);
    fiber->bits = options->context == XCTX_FIBER_CONTEXT_SHARE ? FIBER_SHARES : 0;
    fiber->revoked = 0;
    fiber->uncaptured = 0;
    fiber->turn = &fiber->state;
    fiber->more = NULL;
    fiber->exceptions = (struct exceptions){0};
    fiber->resumer_exceptions = (struct exceptions){0};
    set_name(fiber, options->name);
    atomic_init(&fiber->refs, 1);
    if (annotate_switches()) {
        fiber->bits |= FIBER_SLOWLY;
        fiber->rest = 0;
        annotate_create(fiber);
        memcpy(xctx__fiber_top(fiber)->start, (void *[]){*(void **)&fn, arg}, sizeof(xctx__fiber_top(fiber)->start));
        fn = begin_annotated;
    }
    void **frame = (void **)(fiber->high - 4 * sizeof(void *)); /* NOLINT(performance-no-int-to-ptr) */
    frame[0] = fiber;
    memcpy(&frame[1], &fn, sizeof(fn));
    frame[2] = arg;
    fiber->sp = frame;
    bool own = xctx__bias && atomic_load_explicit(&record->fiber_hand_over, memory_order_relaxed) == 0;
    /* Release: whoever takes it sees all of that, however it got there. */
    atomic_store_explicit(&fiber->state, xctx__fiber_state(record, own ? FIBER_TAG_OWN : FIBER_TAG_CREATED),
                          memory_order_release);
    return fiber;
}

xctx_fiber *xctx_fiber_ref(xctx_fiber *fiber)
{
    if (fiber)
        atomic_fetch_add_explicit(&fiber->refs, 1, memory_order_relaxed);
    return fiber;
}

struct more *xctx__fiber_more(xctx_fiber *fiber)
{
    struct more *more = fiber->more;

    if (!more) {
        more = xctx__allocate(sizeof(*more));
        if (!more)
            return NULL;
        *more = (struct more){.place = FIBER_ON_STACK};
        fiber->more = more;
    }
    return more;
}

void xctx__fiber_end_more(xctx_fiber *fiber)
{
    struct more *more = fiber->more;

    if (!more)
        return;
    xctx__free(more->parked);
    if (!more->of)
        xctx__free(more);
    fiber->more = NULL;
}

/* Nobody refers to it, and it is not done. */
static void abandon(struct slot *slot, xctx_fiber *fiber, unsigned tag)
{
    struct more *more = fiber->more;
    bool begun = tag != FIBER_TAG_CREATED && tag != FIBER_TAG_OWN;

    /* Contexts are left in the name of a record: what a thread without one kept would be every such thread's. */
    (void)xctx__record_get(slot);
    if (tag == FIBER_TAG_SHARED) {
        /* Not as one of many threads without a record, who would all keep the turns in the name of nobody. */
        struct record *record = xctx__record_borrow(slot);
        bool known = xctx__turns_forget(fiber, record);
        xctx__record_give_back(record);
        if (!known)
            return; /* neither are its contexts */
        begun = more->last != NULL;
    } else if (more) {
        xctx__fiber_hooks_drop(more->hooks, (uintptr_t)fiber->sp, fiber->sp);
    }
    if (more) {
        xctx__kept_free(more->kept);
        more->kept = NULL;
    }
    if (fiber->top && begun)
        xctx__fiber_contexts_abandon(slot, fiber);
    else if (fiber->top)
        xctx_unref(fiber->top);
}

/* Its memory, or that part which is its own. */
static void release(struct slot *slot, xctx_fiber *fiber)
{
    xctx_continuation *of = fiber->more ? fiber->more->of : NULL;

    if (of) {
        xctx__fiber_end_more(fiber);
        xctx__shot_free(fiber, slot->record);
        xctx_continuation_unref(of);
    } else if (xctx__has_turns(fiber)) {
        xctx__turns_unref(xctx__turns(fiber), slot);
    } else {
        xctx__fiber_end_more(fiber);
        xctx__stacks_put(slot->record, fiber);
    }
}

void xctx__shot_release(struct slot *slot, xctx_fiber *fiber)
{
    xctx__fiber_contexts_abandon(slot, fiber);
    release(slot, fiber);
}

xctx_fiber *xctx_fiber_unref(xctx_fiber *fiber)
{
    struct slot *slot = &xctx__slot;

    if (!fiber)
        return NULL;
    if (XCTX__UNLIKELY(slot->unwound != NULL))
        xctx__fiber_drop_unwound(slot);
    /* Acquire: see what others did who gave their reference back before. */
    if (atomic_load_explicit(&fiber->refs, memory_order_acquire) != 1 &&
        atomic_fetch_sub_explicit(&fiber->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    unsigned tag = xctx__fiber_tag(atomic_load_explicit(&fiber->state, memory_order_acquire));
    bool runs = tag == FIBER_TAG_RUNNING || (tag == FIBER_TAG_SHARED && xctx__turn_runs(fiber));
    assert(!runs);
    if (runs)
        return NULL; /* its stack is in use: better lost than used twice */
    if (fiber->bits & (FIBER_AGAIN | FIBER_FRESH) && xctx__shot_keep(slot, fiber))
        return NULL;
    if (fiber->bits & FIBER_AGAIN) {
        xctx__shot_release(slot, fiber);
        return NULL;
    }
    if (tag != FIBER_TAG_DONE)
        abandon(slot, fiber, tag);
    if (fiber->bits & FIBER_SLOWLY)
        annotate_destroy(fiber);
    release(slot, fiber);
    return NULL;
}

xctx_fiber *xctx_fiber_current(void)
{
    return xctx__slot.fiber;
}

const char *xctx_fiber_name(const xctx_fiber *fiber)
{
    return fiber ? fiber->name : "";
}

bool xctx__fiber_bounds(const struct slot *slot, uintptr_t sp, uintptr_t *ret_low, uintptr_t *ret_high)
{
    const xctx_fiber *fiber = slot->fiber;

    /* A stack pointer in the guard belongs to a stack that has overflowed. */
    if (!fiber || sp >= fiber->high || (sp < fiber->low && fiber->low - sp > xctx__stacks_guard(fiber)))
        return false;
    *ret_low = fiber->low;
    *ret_high = fiber->high;
    return true;
}

const xctx_fiber *xctx__fiber_overflowed(const struct slot *slot, uintptr_t address)
{
    for (const xctx_fiber *fiber = slot->fiber; fiber; fiber = fiber->resumer)
        if (address < fiber->low && fiber->low - address <= xctx__stacks_guard(fiber))
            return fiber;
    return NULL;
}
