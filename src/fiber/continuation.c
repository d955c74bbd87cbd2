/* SPDX-License-Identifier: MIT */
/*
 * Continuations: capturing fibers, and making shots of what was captured. turns.c has the running of shots.
 *
 * The first capture gives a fiber's stack turns, for good: its state is SHARED from then on. A continuation is a user
 * of the stack, so that this stays where it is while there may be shots; a shot has a reference to its continuation.
 *
 * Contexts. A continuation has, for each context that the fiber had entered, its map and what else a copy of it needs.
 * A shot gets copies of them, entered as they were, and with their serial numbers: so tokens, XCTX_LET and their like
 * on the stack find in it what they look for. Pointers to the contexts themselves are translated where they are left
 * (xctx__fiber_own_context()).
 *
 * The thread that has captured a fiber, its `home`, keeps one shot that has ended with its context as it was: the next
 * shot is that one again, and costs no atomic operation. `spare` belongs to home, in its window (context/record.h).
 * Whoever finds that nothing but the spare can be left revokes home, as a claim (context/claim.h).
 */
#include <errno.h>
#include <string.h>

#include "annotate.h"
#include "arch/registers.h"
#include "arch/switch.h"
#include "context/context_internal.h"
#include "context/fibers.h"
#include "context/map.h"
#include "fiber_internal.h"
#include "stacks.h"

/* A context that was entered. */
struct level {
    struct map *map;
    xctx_context *original; /* what pointers on the stack are to; of a shot's, that of the fiber it goes back to. NULL:
                               it cannot be left */
    struct xctx_snapshot *snapshot;
    uint64_t serial;
    uint16_t lets;
};

struct xctx_continuation {
    _Atomic uint32_t refs; /* users, shots, and the spare */
    uint8_t bits;          /* enum fiber_bits */
    bool begun;
    uint32_t level_count;
    struct level *levels; /* from the one entered last to the first */
    struct level level;   /* where `levels` is, if there is one at most */
    struct turns *turns;
    struct record *_Atomic home; /* NULL: no thread keeps a spare any more */
    xctx_fiber *_Atomic spare;
    struct kept *kept;
    xctx_fiber_hook *hooks;
    void *sp;
    size_t size;
    size_t room; /* for `bytes` */
    _Alignas(16) unsigned char bytes[];
};

struct shot {
    xctx_fiber fiber; /* first */
    struct more more;
};

const void *xctx__continuation_bytes(const struct xctx_continuation *continuation)
{
    return continuation->bytes;
}

size_t xctx_continuation_size(const xctx_continuation *continuation)
{
    return continuation ? continuation->size : 0;
}

/* ---- contexts ---- */

/* What a copy of a fiber has of a map. NULL: no memory. */
static struct map *fork_map(struct slot *slot, struct map *map, uint16_t lets)
{
    if (map->flags & MAP_FLOWS)
        return xctx__map_fork(map);
    return lets ? xctx__map_clone(map) : xctx__map_ref(slot, map);
}

static void drop_levels(struct slot *slot, xctx_continuation *continuation, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct level *level = &continuation->levels[i];
        xctx__map_unref(slot, level->map);
        if (level->snapshot)
            xctx_snapshot_unref(level->snapshot);
        xctx_unref(level->original);
    }
    if (continuation->levels != &continuation->level)
        xctx__free(continuation->levels);
}

static xctx_context *original_of(const xctx_fiber *fiber, xctx_context *context)
{
    const xctx_continuation *of = fiber->more->of;

    for (uint32_t i = 0; of && i < of->level_count; i++)
        if (of->levels[i].serial == context->serial)
            return of->levels[i].original;
    return context;
}

/* The fiber's contexts, which are nobody else's to change. 0 or -ENOMEM. */
static int copy_levels(struct slot *slot, xctx_continuation *continuation, const xctx_fiber *fiber)
{
    bool begun = fiber->more->last != NULL;
    uint32_t count = 0;

    for (const xctx_context *context = fiber->top; context; context = context->previous)
        count++;
    continuation->level_count = count;
    continuation->levels = count > 1 ? xctx__allocate(count * sizeof(struct level)) : &continuation->level;
    if (!continuation->levels)
        return -ENOMEM;
    uint32_t i = 0;
    for (xctx_context *context = fiber->top; context; context = context->previous, i++) {
        struct level *level = &continuation->levels[i];
        level->map = fork_map(slot, context->root, context->lets);
        if (!level->map) {
            drop_levels(slot, continuation, i);
            return -ENOMEM;
        }
        if (context->serial == 0)
            context->serial = xctx__record_serial(slot->record);
        level->serial = context->serial;
        level->lets = context->lets;
        level->snapshot = xctx_snapshot_ref(xctx__carried(context));
        bool leavable = begun && (context->previous || fiber->bits & FIBER_SHARES);
        level->original = leavable ? xctx_ref(original_of(fiber, context)) : NULL;
    }
    return 0;
}

static void drop_contexts(xctx_context *top)
{
    while (top) {
        xctx_context *below = top->previous;
        top->previous = NULL;
        xctx_unref(top);
        top = below;
    }
}

/* Copies of a continuation's contexts, not entered and with one reference each, linked as they are to be entered.
   0 or -ENOMEM. */
static int make_contexts(struct slot *slot, const xctx_continuation *continuation, xctx_context **ret_top)
{
    xctx_context *below = NULL;

    for (uint32_t i = continuation->level_count; i > 0; i--) {
        const struct level *level = &continuation->levels[i - 1];
        struct map *map = fork_map(slot, level->map, level->lets);
        xctx_context *context = map ? xctx__context_create(slot->record, map) : NULL;
        if (!context) {
            if (map)
                xctx__map_unref(slot, map);
            drop_contexts(below);
            return -ENOMEM;
        }
        xctx__carry(context, xctx_snapshot_ref(level->snapshot));
        context->serial = level->serial;
        context->previous = below;
        below = context;
    }
    *ret_top = below;
    return 0;
}

/* Makes them entered; whoever first runs the shot claims them. */
static void enter_contexts(const xctx_continuation *continuation, xctx_context *top)
{
    const struct level *level = continuation->levels;

    for (xctx_context *context = top; context; context = context->previous, level++) {
        bool first = !context->previous && !(continuation->bits & FIBER_SHARES);
        context->lets = level->lets;
        /* Not CONTEXT_KEEP, as a new one has, which would keep the claim without asking whether claims may be kept. */
        context->bits = first ? CONTEXT_FIRST : CONTEXT_LAST;
        if (!first)
            atomic_store_explicit(&context->refs, 0, memory_order_relaxed);
        atomic_store_explicit(&context->used, 1, memory_order_relaxed);
        atomic_store_explicit(&context->claim, xctx__claim(NULL, CLAIM_FREE), memory_order_relaxed);
    }
}

xctx_context *xctx__fiber_own_context(const struct slot *slot, xctx_context *context)
{
    const struct more *more = slot->fiber ? slot->fiber->more : NULL;

    if (!context || !more || !more->of)
        return context;
    for (uint32_t i = 0; i < more->of->level_count; i++) {
        const struct level *level = &more->of->levels[i];
        if (level->original != context)
            continue;
        for (xctx_context *own = slot->current; own; own = own->previous)
            if (own->serial == level->serial)
                return own;
    }
    return context;
}

/* ---- capturing ---- */

static bool is_shared(xctx_fiber *fiber)
{
    return xctx__fiber_tag(atomic_load_explicit(&fiber->state, memory_order_acquire)) == FIBER_TAG_SHARED;
}

/* Gives the stack of a fiber, which the running thread has taken, turns. What suspends the fiber is then SHARED. */
static int start_turns(xctx_fiber *fiber, struct record *me, struct record *last)
{
    struct turns *turns = &xctx__fiber_top(fiber)->turns;
    struct more *more = xctx__fiber_more(fiber);

    if (!more)
        return -ENOMEM;
    more->last = last;
    atomic_store_explicit(&more->place, FIBER_ON_STACK, memory_order_relaxed);
    atomic_store_explicit(&turns->state, xctx__fiber_state(me, FIBER_TAG_LOCKED), memory_order_relaxed);
    atomic_store_explicit(&turns->resident, fiber, memory_order_relaxed);
    turns->users = 1;
    atomic_store_explicit(&turns->gone, 0, memory_order_relaxed);
    turns->unit = fiber;
    turns->revoked = 0;
    fiber->turn = &turns->state;
    /* Release: partner is the load in xctx__fiber_take(). */
    atomic_store_explicit(&fiber->state, FIBER_TAG_SHARED, memory_order_release);
    return 0;
}

/* Whether its shots may be kept: there is nothing that each has a copy of, and one context that all begin with. */
static bool can_keep(const xctx_continuation *continuation, const struct more *more)
{
    return xctx__bias && XCTX__FREE_LIMIT > 0 && continuation->level_count == 1 && !continuation->level.lets &&
           !continuation->level.snapshot && !(continuation->level.map->flags & (MAP_FLOWS | MAP_HOOKED)) &&
           !continuation->kept && !more->hooks && more->last && !(continuation->bits & (FIBER_SHARES | FIBER_SLOWLY));
}

/* Each thread keeps the memory of one. */
static xctx_continuation *allocate(struct record *me, size_t size)
{
    xctx_continuation *continuation = me->free_continuation;

    if (continuation && continuation->room >= size) {
        me->free_continuation = NULL;
        return continuation;
    }
    continuation = xctx__allocate(sizeof(*continuation) + size);
    if (continuation)
        continuation->room = size;
    return continuation;
}

static void deallocate(struct record *me, xctx_continuation *continuation)
{
    enum { ROOM_MOST = 4096 };

    if (XCTX__FREE_LIMIT > 0 && me != &xctx__no_record && !me->free_continuation && continuation->room <= ROOM_MOST)
        me->free_continuation = continuation;
    else
        xctx__free(continuation);
}

/* Copies a fiber that is the running thread's, with its turns locked. */
static int copy(struct slot *slot, xctx_fiber *fiber, xctx_continuation **ret_continuation)
{
    size_t size = fiber->high - (uintptr_t)fiber->sp;
    struct turns *turns = xctx__turns(fiber);
    const struct more *more = fiber->more;

    xctx_continuation *continuation = allocate(slot->record, size);
    if (!continuation)
        return -ENOMEM;
    xctx__words_copy(continuation->bytes, xctx__fiber_bytes(fiber), size);
    int error = xctx__kept_copy(more->kept, (uintptr_t)fiber->sp, &continuation->kept);
    if (!error) {
        error = copy_levels(slot, continuation, fiber);
        if (!error) {
            if (more->hooks)
                error = xctx__fiber_hooks_clone(more->hooks, (uintptr_t)fiber->sp, continuation->bytes);
            if (error)
                drop_levels(slot, continuation, continuation->level_count);
        }
        if (error)
            xctx__kept_free(continuation->kept);
    }
    if (error) {
        deallocate(slot->record, continuation);
        return error;
    }
    atomic_init(&continuation->refs, 1);
    continuation->bits = fiber->bits & (uint8_t)~FIBER_FRESH;
    continuation->begun = more->last != NULL;
    continuation->turns = turns;
    continuation->hooks = more->hooks;
    continuation->sp = fiber->sp;
    continuation->size = size;
    atomic_init(&continuation->home, can_keep(continuation, more) ? slot->record : NULL);
    atomic_init(&continuation->spare, NULL);
    turns->users++;
    *ret_continuation = continuation;
    return 0;
}

static int why_not(const xctx_fiber *fiber)
{
    if (fiber->uncaptured || fiber->exceptions.caught || fiber->exceptions.uncaught)
        return -EPERM;
    if (xctx__has_shadow_stack() || annotate_has_fake(fiber))
        return -ENOTSUP;
    return 0;
}

/* Takes a fiber's turns, which it gets if it has none. */
static int lock_fiber(xctx_fiber *fiber, struct record *me, bool *ret_ours)
{
    struct record *last;

    *ret_ours = false;
    if (!is_shared(fiber)) {
        int error = xctx__fiber_take(fiber, me, &last);
        if (error)
            return error == -EDEADLK ? -EBUSY : error;
        if (!xctx__has_turns(fiber)) {
            error = why_not(fiber);
            if (!error)
                error = start_turns(fiber, me, last);
            if (error)
                xctx__fiber_untake(fiber, me, last);
            return error;
        }
        /* It was captured by another thread just before. */
        xctx__fiber_untake(fiber, me, last);
    }
    struct turns *turns = xctx__turns(fiber);
    int error = xctx__turns_lock(fiber, me, ret_ours);
    if (error)
        return error;
    unsigned tag = xctx__fiber_tag(atomic_load_explicit(&fiber->state, memory_order_acquire));
    if (tag == FIBER_TAG_DONE)
        error = -EINVAL;
    else if (*ret_ours && atomic_load_explicit(&turns->resident, memory_order_relaxed) == fiber)
        error = -EBUSY; /* it is what runs */
    else
        error = why_not(fiber);
    if (error)
        xctx__turns_unlock(turns, me, *ret_ours);
    return error;
}

int xctx_fiber_capture(xctx_fiber *fiber, xctx_continuation **ret_continuation)
{
    struct slot *slot = &xctx__slot;
    bool ours;

    if (!fiber || !ret_continuation)
        return -EINVAL;
    struct record *me = xctx__record_get(slot);
    if (!me)
        return -ENOMEM;
    if (XCTX__UNLIKELY(slot->unwound != NULL))
        xctx__fiber_drop_unwound(slot);
    int error = lock_fiber(fiber, me, &ours);
    if (error)
        return error;
    error = copy(slot, fiber, ret_continuation);
    xctx__turns_unlock(xctx__turns(fiber), me, ours);
    return error;
}

/* ---- shots ---- */

static struct shot *shot_create(struct record *me)
{
    xctx_fiber *fiber = me->free_shots;

    if (!fiber)
        return xctx__allocate_aligned(_Alignof(struct shot), sizeof(struct shot));
    me->free_shots = fiber->next;
    me->free_shot_count--;
    return (struct shot *)(void *)fiber;
}

void xctx__shot_free(xctx_fiber *fiber, struct record *me)
{
    if (me->free_shot_count >= XCTX__FREE_LIMIT || me == &xctx__no_record) {
        xctx__free(fiber);
        return;
    }
    fiber->next = me->free_shots;
    me->free_shots = fiber;
    me->free_shot_count++;
}

void xctx__shots_trim(struct record *record)
{
    while (record->free_shots) {
        xctx_fiber *fiber = record->free_shots;
        record->free_shots = fiber->next;
        xctx__free(fiber);
    }
    record->free_shot_count = 0;
    xctx__free(record->free_continuation);
    record->free_continuation = NULL;
}

static void shot_init(struct shot *shot, xctx_continuation *continuation, struct record *me)
{
    xctx_fiber *fiber = &shot->fiber;
    struct more *more = &shot->more;
    const xctx_fiber *unit = continuation->turns->unit;

    fiber->rest = 0;
    fiber->bits = continuation->bits | FIBER_FRESH;
    fiber->revoked = 0;
    fiber->uncaptured = 0;
    fiber->exceptions = (struct exceptions){0};
    fiber->resumer_exceptions = (struct exceptions){0};
    fiber->resumer = NULL;
    fiber->turn = &continuation->turns->state;
    fiber->more = more;
    fiber->sp = continuation->sp;
    fiber->low = unit->low;
    fiber->high = unit->high;
    fiber->slab = unit->slab;
    fiber->name = unit->name;
    atomic_init(&fiber->refs, 1);
    more->of = continuation;
    more->last = continuation->begun ? me : NULL;
    more->parked = NULL;
    more->room = 0;
    more->hooks = continuation->hooks;
    atomic_init(&more->place, FIBER_IN_COPY);
    more->annotations = (struct annotations){0};
}

/* ---- the spare ---- */

bool xctx__shot_is_whole(const xctx_fiber *fiber, const xctx_context *context)
{
    const xctx_continuation *of = fiber->more->of;

    return of && atomic_load_explicit(&of->home, memory_order_relaxed) == xctx__slot.record &&
           context->root == of->level.map && context->serial == of->level.serial;
}

/* Puts a spare in the place of another; gives that one back, or the same one: another thread has revoked it all. */
static inline xctx_fiber *swap_spare(xctx_continuation *continuation, struct record *me, xctx_fiber *spare)
{
    xctx_fiber *had = spare;

    xctx__window_open(me, (xctx_context *)(void *)continuation);
    if (atomic_load_explicit(&continuation->home, memory_order_relaxed) == me) {
        had = atomic_load_explicit(&continuation->spare, memory_order_relaxed);
        atomic_store_explicit(&continuation->spare, spare, memory_order_relaxed);
    }
    xctx__window_close(me);
    return had;
}

bool xctx__shot_keep(struct slot *slot, xctx_fiber *fiber)
{
    xctx_continuation *of = fiber->more->of;

    /* It may be the stack's resident although it did not run, if resuming it has failed. */
    if (fiber->bits & FIBER_FRESH && atomic_load_explicit(&fiber->more->place, memory_order_acquire) != FIBER_IN_COPY)
        return false;
    /* The last reference is not the spare's. Acquire: see what others did who gave theirs back. */
    if (atomic_load_explicit(&of->refs, memory_order_acquire) == 1)
        return false;
    xctx_fiber *other = swap_spare(of, slot->record, fiber);
    if (other == fiber)
        return false;
    if (other)
        xctx__shot_release(slot, other);
    return true;
}

/* The spare as a new shot, or NULL. */
static inline xctx_fiber *take_spare(xctx_continuation *continuation, struct record *me)
{
    xctx_fiber *fiber = swap_spare(continuation, me, NULL);

    if (!fiber)
        return NULL;
    fiber->bits = continuation->bits | FIBER_FRESH;
    fiber->uncaptured = 0;
    fiber->sp = continuation->sp;
    fiber->more->last = me;
    fiber->more->hooks = NULL;
    atomic_store_explicit(&fiber->refs, 1, memory_order_relaxed);
    atomic_store_explicit(&fiber->more->place, FIBER_IN_COPY, memory_order_relaxed);
    /* Release: as for a new one. */
    atomic_store_explicit(&fiber->state, FIBER_TAG_SHARED, memory_order_release);
    return fiber;
}

/* Gives back the spare, or NULL. If that is another thread's to keep, no thread keeps one any more. */
static xctx_fiber *end_spare(xctx_continuation *continuation, struct record *me)
{
    struct record *home = atomic_load_explicit(&continuation->home, memory_order_relaxed);
    unsigned tries = 0;

    if (!home)
        return NULL;
    if (home != me) {
        if (!atomic_compare_exchange_strong_explicit(&continuation->home, &home, NULL, memory_order_acq_rel,
                                                     memory_order_relaxed))
            return NULL; /* another thread does it */
        /* Partner: the windows above. */
        xctx__barrier_others();
        while (atomic_load_explicit(&home->window, memory_order_acquire) == (void *)continuation &&
               !atomic_load_explicit(&home->gone, memory_order_relaxed))
            xctx__claim_wait(&tries);
        return atomic_exchange_explicit(&continuation->spare, NULL, memory_order_acquire);
    }
    return swap_spare(continuation, me, NULL);
}

/* ---- making ---- */

/* A shot with hooks has bytes of its own from the beginning. 0 or an error. */
static int clone_hooked(struct shot *shot, const xctx_continuation *continuation)
{
    struct more *more = &shot->more;

    more->parked = xctx__allocate(continuation->size);
    if (!more->parked)
        return -ENOMEM;
    more->room = continuation->size;
    memcpy(more->parked, continuation->bytes, continuation->size);
    int error = xctx__fiber_hooks_clone(more->hooks, (uintptr_t)continuation->sp, more->parked);
    if (error)
        xctx__free(more->parked);
    atomic_store_explicit(&more->place, FIBER_PARKED, memory_order_relaxed);
    return error;
}

int xctx_continuation_shot(xctx_continuation *continuation, xctx_fiber **ret_fiber)
{
    struct slot *slot = &xctx__slot;

    if (!continuation || !ret_fiber)
        return -EINVAL;
    struct record *me = xctx__record_get(slot);
    if (!me)
        return -ENOMEM;
    xctx_fiber *spare = take_spare(continuation, me);
    if (spare) {
        *ret_fiber = spare;
        return 0;
    }
    struct shot *shot = shot_create(me);
    if (!shot)
        return -ENOMEM;
    shot_init(shot, continuation, me);
    int error = xctx__kept_copy(continuation->kept, 0, &shot->more.kept);
    if (!error) {
        error = make_contexts(slot, continuation, &shot->fiber.top);
        if (!error && XCTX__UNLIKELY(continuation->hooks != NULL)) {
            error = clone_hooked(shot, continuation);
            if (error)
                drop_contexts(shot->fiber.top);
        }
        if (error)
            xctx__kept_free(shot->more.kept);
    }
    if (error) {
        xctx__shot_free(&shot->fiber, me);
        return error;
    }
    if (continuation->begun)
        enter_contexts(continuation, shot->fiber.top);
    annotate_shot(&shot->fiber);
    xctx_continuation_ref(continuation);
    /* Release: whoever takes it sees all of that, however it got there. */
    atomic_store_explicit(&shot->fiber.state, FIBER_TAG_SHARED, memory_order_release);
    *ret_fiber = &shot->fiber;
    return 0;
}

/* ---- references ---- */

xctx_continuation *xctx_continuation_ref(xctx_continuation *continuation)
{
    if (continuation)
        atomic_fetch_add_explicit(&continuation->refs, 1, memory_order_relaxed);
    return continuation;
}

xctx_continuation *xctx_continuation_unref(xctx_continuation *continuation)
{
    struct slot *slot = &xctx__slot;

    if (!continuation)
        return NULL;
    /* Acquire: see what others did who gave their reference back before. */
    uint32_t refs = atomic_load_explicit(&continuation->refs, memory_order_acquire);
    while (refs != 1) {
        /* Perhaps only the spare would be left. */
        xctx_fiber *spare = refs == 2 ? end_spare(continuation, slot->record) : NULL;
        if (spare) {
            xctx__shot_release(slot, spare);
            refs = atomic_load_explicit(&continuation->refs, memory_order_acquire);
        } else if (atomic_compare_exchange_weak_explicit(&continuation->refs, &refs, refs - 1, memory_order_acq_rel,
                                                         memory_order_acquire)) {
            return NULL;
        }
    }
    if (continuation->hooks)
        xctx__fiber_hooks_drop(continuation->hooks, (uintptr_t)continuation->sp, continuation->bytes);
    if (continuation->kept)
        xctx__kept_free(continuation->kept);
    drop_levels(slot, continuation, continuation->level_count);
    xctx__turns_unref(continuation->turns, slot);
    deallocate(slot->record, continuation);
    return NULL;
}

/* ---- regions ---- */

xctx_fiber *xctx__no_capture_begin(void)
{
    xctx_fiber *fiber = xctx__slot.fiber;

    if (fiber && fiber->uncaptured < UINT16_MAX)
        fiber->uncaptured++;
    return fiber;
}

void xctx__no_capture_end(xctx_fiber **fiber)
{
    /* A count that has reached its end stays there. */
    if (*fiber && (*fiber)->uncaptured < UINT16_MAX)
        (*fiber)->uncaptured--;
}
