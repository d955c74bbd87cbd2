/* SPDX-License-Identifier: MIT */
/*
 * Contexts: making, copying, entering, leaving, releasing. context_internal.h says what protects what.
 *
 * The paths that matter take no atomic read-modify-write: copying the current context, entering and leaving a context
 * whose claim the thread keeps, releasing a context that nobody else ever entered.
 */
#include "context_internal.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>

#include "fibers.h"
#include "follow.h"
#include "pool.h"
#include "var_internal.h"

/* Everything but the map and the claim. */
static inline void context_clear(xctx_context *context)
{
    atomic_init(&context->refs, 1);
    context->lets = 0;
    atomic_init(&context->used, 0);
    context->bits = CONTEXT_KEEP;
    context->previous = NULL;
    context->owed = 0;
    context->serial = 0;
    atomic_init(&context->more, 0);
}

static inline void context_claim(xctx_context *context, struct record *record)
{
    atomic_init(&context->claim, atomic_load_explicit(&record->new_claim, memory_order_relaxed));
}

static inline xctx_context *create(struct record *record, struct map *root)
{
    xctx_context *context = xctx__pool_take(record);

    if (!context)
        return NULL;
    context_clear(context);
    context_claim(context, record);
    context->root = root;
    return context;
}

xctx_context *xctx__context_create(struct record *record, struct map *root)
{
    return create(record, root);
}

struct extra *xctx__context_extra(xctx_context *context)
{
    struct extra *extra = xctx__extra(context);

    if (!extra) {
        extra = xctx__allocate(sizeof(*extra));
        if (!extra)
            return NULL;
        *extra = (struct extra){.snapshot = xctx__carried(context)};
        /* Release: partner is xctx__carried(), which looks for the snapshot without a claim. */
        atomic_store_explicit(&context->more, (uintptr_t)extra, memory_order_release);
    }
    return extra;
}

/* Keeps the memory of a context: as a spare, ready for the next copy, or else in the pool. */
static inline void context_keep(struct slot *slot, xctx_context *context)
{
    if (XCTX__FREE_LIMIT > 0 && !slot->spare && xctx__has_record(slot)) {
        context_clear(context);
        slot->spare = context;
    } else {
        xctx__pool_put(slot->record, context);
    }
}

/* Nobody refers to the context or has it entered. */
static __attribute__((noinline)) void destroy_slowly(struct slot *slot, xctx_context *context)
{
    struct map *root = context->root;
    struct map *ready = NULL;
    int64_t owed = context->owed;
    struct xctx_snapshot *snapshot = xctx__carried(context);
    struct extra *extra = xctx__extra(context);

    if (extra) {
        ready = xctx__leaves_revoke(context);
        xctx__free(extra->applied);
        xctx__free(extra);
    }
    context_keep(slot, context);
    xctx__ready_free(ready);
    /* Acquire: see the last reads of those who gave their reference back before. */
    if (owed != 0 || atomic_load_explicit(&root->refs, memory_order_acquire) != 1 || !xctx__ready_keep(slot, root))
        xctx__map_unpin(slot, root, owed);
    if (snapshot)
        xctx_snapshot_unref(snapshot);
}

/* The same, quickly where only a reference to the pinned map goes with it, or a plain map that nobody else has. Returns
   NULL, so that xctx_unref() can end with it. */
static __attribute__((noinline)) xctx_context *context_destroy(struct slot *slot, xctx_context *context)
{
    struct map *root = context->root;
    struct xctx_snapshot *snapshot = xctx__carried(context);

    if (XCTX__UNLIKELY(context->owed || xctx__extra(context))) {
        destroy_slowly(slot, context);
        return NULL;
    }
    if (slot->pin_map == root) {
        slot->pin_dropped++;
        context_keep(slot, context);
        if (XCTX__UNLIKELY(snapshot))
            xctx_snapshot_unref(snapshot); /* last: it may call the user's code */
        return NULL;
    }
    /* Acquire: see the last reads of those who gave their reference back before. */
    if (!snapshot && XCTX__FREE_LIMIT > 0 && xctx__has_record(slot) &&
        atomic_load_explicit(&root->refs, memory_order_acquire) == 1 && xctx__map_is_plain(root) &&
        xctx__map_put_spare(slot->record, root)) {
        context_keep(slot, context);
        return NULL;
    }
    destroy_slowly(slot, context);
    return NULL;
}

void xctx__context_trim(struct slot *slot)
{
    if (slot->spare)
        xctx__pool_put(slot->record, slot->spare);
    slot->spare = NULL;
    xctx__pool_trim(slot->record);
}

static struct map *empty_map(void)
{
    atomic_fetch_add_explicit(&xctx__map_empty.refs, 1, memory_order_relaxed);
    return &xctx__map_empty;
}

static xctx_context *create_or_unref(struct slot *slot, struct record *record, struct map *root)
{
    xctx_context *context = xctx__context_create(record, root);

    if (!context)
        xctx__map_unref(slot, root);
    return context;
}

xctx_context *xctx_new(void)
{
    struct slot *slot = &xctx__slot;
    struct record *record = xctx__record_get(slot);

    return record ? create_or_unref(slot, record, empty_map()) : NULL;
}

xctx_context *xctx__context_ensure(struct slot *slot)
{
    if (slot->current)
        return slot->current;
    xctx_context *context = xctx_new();
    if (!context)
        return NULL;
    context->bits |= CONTEXT_FIRST;
    atomic_store_explicit(&context->used, 1, memory_order_relaxed);
    xctx__claim_unlock_entered(context, slot->record);
    slot->current = context;
    xctx__slot_show(slot);
    return context;
}

static inline void switch_to(struct slot *slot, xctx_context *context)
{
    slot->current = context;
    slot->root = XCTX__LIKELY(context) ? context->root : &xctx__map_empty;
}

/* There is no ready map, or it is for another pin than this context's. */
static inline void step_out(struct slot *slot, xctx_context *context)
{
    switch_to(slot, context->previous);
    if (XCTX__UNLIKELY(slot->pin == context))
        xctx__pin_fold_unready(slot);
}

/* Takes the thread's first context away again. */
static void drop_first(struct slot *slot)
{
    xctx_context *context = slot->current;

    xctx__claim_lock(context, slot->record);
    if (slot->pin == context)
        xctx__pin_fold(slot);
    step_out(slot, context);
    context->bits &= (uint8_t)~CONTEXT_FIRST;
    xctx__claim_unlock(context, xctx__claim(slot->record, CLAIM_FREE));
    xctx_unref(context);
}

void xctx__context_unensure(struct slot *slot, const xctx_context *before)
{
    /* Operations of variables may have used it meanwhile: then it stays. */
    if (!before && slot->current && slot->root == &xctx__map_empty && !slot->current->previous)
        drop_first(slot);
}

/* ---- copying ---- */

static void pin_map(struct record *record, xctx_context *context, struct map *map)
{
    bool pinned = false;

    xctx__window_open(record, context);
    if (atomic_load_explicit(&context->claim, memory_order_relaxed) == xctx__claim(record, CLAIM_HELD) &&
        /* Acquire, as our store ends the sequence of those that others released their references with. */
        atomic_load_explicit(&map->refs, memory_order_acquire) == 1) {
        atomic_store_explicit(&map->refs, 1 + PIN, memory_order_relaxed);
        pinned = true;
    }
    xctx__window_close(record);
    if (!pinned)
        atomic_fetch_add_explicit(&map->refs, PIN, memory_order_relaxed);
    context->owed = -PIN;
}

/* Replaces a reference to a map by one to what a copied context gets of it. NULL: no memory. */
static struct map *flow(struct slot *slot, struct map *map)
{
    struct map *flowed = map;

    if (map->flags & MAP_FLOWS) {
        flowed = xctx__map_flow(map);
        xctx__map_unref(slot, map);
    }
    return flowed;
}

/* A copy carries the snapshot that its original carries. `copy` may be NULL. */
static xctx_context *inherit(xctx_context *copy, const xctx_context *context)
{
    if (copy)
        xctx__carry(copy, xctx_snapshot_ref(xctx__carried(context)));
    return copy;
}

static __attribute__((noinline)) xctx_context *copy_slowly(struct slot *slot, xctx_context *context)
{
    struct record *record = xctx__record_get(slot);
    struct map *map = record ? xctx__context_share(slot, context) : NULL;

    if (map)
        map = flow(slot, map);
    return map ? inherit(create_or_unref(slot, record, map), context) : NULL;
}

xctx_context *xctx__context_copy_new(struct slot *slot, const xctx_context *context)
{
    struct map *map = flow(slot, xctx__map_ref(slot, context->root));

    return map ? inherit(create_or_unref(slot, slot->record, map), context) : NULL;
}

struct map *xctx__context_share_current(struct slot *slot, xctx_context *context)
{
    struct map *map = slot->root;

    /* The quick way takes a pinned map for what copies share, and which carry no snapshot. */
    if (map->flags & MAP_FLOWS || context->lets || xctx__carried(context) || slot->follower)
        return xctx__context_share(slot, context);
    if (context->owed == 0)
        pin_map(slot->record, context, map);
    if (slot->pin != context || slot->pin_copied >= XCTX__PIN_BATCH)
        xctx__pin_use(slot, context);
    if (context->owed > -PIN / 2) {
        atomic_fetch_add_explicit(&map->refs, PIN, memory_order_relaxed);
        context->owed -= PIN;
    }
    slot->pin_copied++;
    return map;
}

/* Of the current context, whatever its state. */
static __attribute__((noinline)) xctx_context *copy_current_anyhow(struct slot *slot)
{
    xctx_context *before = slot->current;
    xctx_context *context = xctx__context_ensure(slot);
    if (!context)
        return NULL;
    struct map *map = slot->root;
    struct record *record = slot->record;
    if (map->flags & MAP_FLOWS || context->lets || xctx__carried(context) || slot->follower) {
        xctx_context *copy = copy_slowly(slot, context);
        if (!copy)
            xctx__context_unensure(slot, before);
        return copy;
    }
    xctx_context *copy = xctx__context_create(record, map);
    if (!copy) {
        xctx__context_unensure(slot, before);
        return NULL;
    }
    xctx__context_share_current(slot, context);
    return copy;
}

/* The same, without detours while its pin is in use, and all that is missing is a spare. */
static __attribute__((noinline)) xctx_context *copy_current_slowly(struct slot *slot)
{
    if (XCTX__UNLIKELY(!slot->pin || slot->pin != slot->current || slot->pin_copied >= XCTX__PIN_BATCH))
        return copy_current_anyhow(slot);
    xctx_context *copy = create(slot->record, slot->pin_map);
    if (XCTX__LIKELY(copy))
        slot->pin_copied++;
    return copy;
}

/* The same, on a thread that may follow something. */
static __attribute__((noinline)) xctx_context *copy_current_following(struct slot *slot)
{
    xctx__follow(slot);
    xctx_context *copy = copy_current_slowly(slot);
    if (copy)
        xctx__follow_copied(slot, copy);
    return copy;
}

/* Of the current context: nothing but loads and stores while its pin is in use and a spare is there. A context is only
   pinned while its copies share its map, and carry no snapshot. `slowly` is called for the rest. */
static inline xctx_context *copy_current(struct slot *slot, uint64_t batch, xctx_context *(*slowly)(struct slot *))
{
    xctx_context *copy = slot->spare;

    if (XCTX__UNLIKELY(slot->pin != slot->current || !copy || !slot->pin || slot->pin_copied >= batch))
        return slowly(slot);
    slot->spare = NULL;
    slot->pin_copied++;
    copy->root = slot->pin_map;
    context_claim(copy, slot->record);
    return copy;
}

struct map *xctx__context_share(struct slot *slot, xctx_context *context)
{
    struct map *map;

    if (context == slot->current) {
        map = context->root;
        if (context->lets)
            return xctx__map_clone(map);
        atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
        return map;
    }
    struct record *record = xctx__record_borrow(slot);
    map = xctx__leaf_ref(record, context);
    if (!map) {
        uintptr_t claim = xctx__claim_lock(context, record);
        if (context->lets) {
            map = xctx__map_clone(context->root);
        } else {
            map = context->root;
            atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
            if (record == slot->record)
                xctx__leaf_consider(record, context);
        }
        xctx__claim_unlock(context, claim);
    }
    xctx__record_give_back(record);
    return map;
}

xctx_context *xctx_copy(xctx_context *context)
{
    struct slot *slot = &xctx__slot;

    if (!context)
        return NULL;
    return context == slot->current ? copy_current(slot, XCTX__PIN_BATCH, copy_current_slowly)
                                    : copy_slowly(slot, context);
}

xctx_context *xctx__context_copy_current(struct slot *slot)
{
    return copy_current(slot, XCTX__PIN_BATCH, copy_current_following);
}

/* The call is the last thing done, and so a jump, where code is optimised: the snapshot is then of the caller. */
static __attribute__((noinline)) xctx_context *copy_current_or_capture(struct slot *slot)
{
    unsigned capture = atomic_load_explicit(&xctx__copy_captures, memory_order_relaxed);

    return capture ? xctx_copy_current_with(capture) : copy_current_following(slot);
}

xctx_context *xctx_copy_current(void)
{
    struct slot *slot = &xctx__slot;

    return copy_current(slot, atomic_load_explicit(&xctx__copy_batch, memory_order_relaxed), copy_current_or_capture);
}

/* ---- entering and leaving ---- */

/* After a switch. Returns 0, so that who has switched can end with it. */
static inline int notify(struct slot *slot)
{
    if (XCTX__UNLIKELY(atomic_load_explicit(&xctx__watchers, memory_order_relaxed)))
        xctx__watch_notify(slot);
    return 0;
}

/* For a context that `record`'s thread has just claimed and not switched to. */
static int reserve_hooks(xctx_context *context, struct record *record)
{
    xctx__claim_lock(context, record);
    struct extra *extra = xctx__context_extra(context);
    int error = extra ? xctx__hooks_reserve(extra, context->root) : -ENOMEM;
    if (!error) {
        context->bits |= CONTEXT_APPLIED;
        xctx__claim_unlock_entered(context, record);
    } else {
        xctx__claim_exit(context, record);
    }
    return error;
}

int xctx__context_hand_over(xctx_context *context)
{
    atomic_store_explicit(&context->claim, xctx__claim(NULL, CLAIM_FREE), memory_order_relaxed);
    if (!(context->root->flags & MAP_HOOKED))
        return 0;
    struct extra *extra = xctx__context_extra(context);
    return extra ? xctx__hooks_reserve(extra, context->root) : -ENOMEM;
}

/* Switches to a context that the thread has just claimed, with `enter` operations or watchers to call. */
static __attribute__((noinline)) int enter_calling(struct slot *slot, xctx_context *context)
{
    bool hooked = context->root->flags & MAP_HOOKED;
    int error = hooked ? reserve_hooks(context, slot->record) : 0;

    if (error)
        return error;
    xctx__follow(slot);
    context->previous = slot->current;
    switch_to(slot, context);
    if (hooked)
        xctx__hooks_apply(slot, context);
    return notify(slot);
}

static inline int enter_claimed(struct slot *slot, xctx_context *context)
{
    struct map *root = context->root;

    if (XCTX__UNLIKELY(root->flags & atomic_load_explicit(&xctx__enter_mask, memory_order_relaxed)))
        return enter_calling(slot, context);
    context->previous = slot->current;
    slot->current = context;
    slot->root = root;
    return 0;
}

/* A context on which the thread has no claim yet. */
static __attribute__((noinline)) int enter_slowly(struct slot *slot, xctx_context *context)
{
    if (!context)
        return -EINVAL;
    struct record *record = xctx__record_get(slot);
    int error = record ? xctx__claim_enter(context, record) : -ENOMEM;
    return error ? error : enter_claimed(slot, context);
}

int xctx_enter(xctx_context *context)
{
    struct slot *slot = &xctx__slot;
    struct record *record = slot->record;

    if (XCTX__UNLIKELY(!context))
        return enter_slowly(slot, context);
    xctx__window_open(record, context);
    bool kept = atomic_load_explicit(&context->claim, memory_order_relaxed) == xctx__claim(record, CLAIM_KEPT);
    if (XCTX__LIKELY(kept)) {
        atomic_store_explicit(&context->used, 1, memory_order_relaxed);
        atomic_store_explicit(&context->claim, xctx__claim(record, CLAIM_HELD), memory_order_relaxed);
    }
    xctx__window_close(record);
    return XCTX__LIKELY(kept) ? enter_claimed(slot, context) : enter_slowly(slot, context);
}

/* With hooks to undo, a ready map to drop, or the claim revoked meanwhile; or not to be left at all. */
static __attribute__((noinline)) int exit_slowly(struct slot *slot, xctx_context *context)
{
    struct record *record = slot->record;

    uintptr_t claim = xctx__claim_lock(context, record);
    bool first = context->bits & CONTEXT_FIRST;
    bool applied = !first && context->bits & CONTEXT_APPLIED;
    if (applied) {
        context->bits &= (uint8_t)~CONTEXT_APPLIED;
        /* A reference of ours: the operations may leave the context and give the last one back. */
        xctx_ref(context);
    }
    if (first || applied)
        xctx__claim_unlock(context, claim);
    if (first)
        return -EINVAL;
    if (applied) {
        xctx__hooks_undo(context);
        if (slot->current != context) {
            xctx_unref(context);
            return 0; /* an operation has left the context itself */
        }
        xctx__claim_lock(context, record);
        atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel);
    }
    if (slot->pin == context)
        xctx__pin_fold(slot);
    step_out(slot, context);
    xctx__slot_stored();
    context->lets = 0;
    context->bits &= (uint8_t)~CONTEXT_LAST;
    if (atomic_load_explicit(&context->refs, memory_order_acquire) == 0)
        context_destroy(slot, context);
    else
        xctx__claim_exit(context, record);
    return notify(slot);
}

static __attribute__((noinline)) int exit_error(xctx_context *context)
{
    if (!context)
        return -EINVAL;
    enum claim_tag tag = xctx__claim_tag(atomic_load_explicit(&context->claim, memory_order_acquire));
    if (tag == CLAIM_LOCKED) {
        struct record *record = xctx__record_borrow(&xctx__slot);
        uintptr_t claim = xctx__claim_lock(context, record);
        tag = xctx__claim_tag(claim);
        xctx__claim_unlock(context, claim);
        xctx__record_give_back(record);
    }
    return tag == CLAIM_HELD || tag == CLAIM_SHARED ? -EPERM : -EINVAL;
}

int xctx_exit(xctx_context *context)
{
    struct slot *slot = &xctx__slot;
    struct record *record = slot->record;

    if (XCTX__UNLIKELY(!context || slot->current != context)) {
        xctx__follow(slot);
        context = xctx__fiber_own_context(slot, context);
        if (!context || slot->current != context)
            return exit_error(context);
    }
    xctx__window_open(record, context);
    bool held = atomic_load_explicit(&context->claim, memory_order_relaxed) == xctx__claim(record, CLAIM_HELD);
    bool quick = XCTX__LIKELY(held) &&
                 XCTX__LIKELY(!(context->bits & (CONTEXT_APPLIED | CONTEXT_FIRST | CONTEXT_LAST))) &&
                 XCTX__LIKELY(context->lets == 0) && XCTX__LIKELY(slot->pin != context || !slot->ready);
    if (XCTX__LIKELY(quick)) {
        step_out(slot, context);
        xctx__claim_exit(context, record);
    }
    xctx__window_close(record);
    return XCTX__LIKELY(quick) ? notify(slot) : exit_slowly(slot, context);
}

xctx_context *xctx_current(void)
{
    struct slot *slot = &xctx__slot;

    xctx__follow(slot);
    return slot->current;
}

void xctx__run_begin(struct run *run, xctx_context *context)
{
    const struct slot *slot = &xctx__slot;

    *run = (struct run){.context = context, .outer = xctx_current()};
    if (XCTX__UNLIKELY(slot->fiber != NULL) && run->outer) {
        if (run->outer->serial == 0)
            run->outer->serial = xctx__record_serial(slot->record);
        run->serial = run->outer->serial;
    }
}

/* What was current before the run, or its copy. If it is not entered any more: what no context is. */
static xctx_context *outer_of(const struct slot *slot, struct run *run)
{
    if (run->serial == 0)
        return run->outer;
    for (xctx_context *context = slot->current; context; context = context->previous)
        if (context->serial == run->serial)
            return context;
    return (xctx_context *)(void *)run;
}

void xctx__run_end(void *started)
{
    struct slot *slot = &xctx__slot;

    xctx__follow(slot);
    struct run *run = started;
    if (XCTX__UNLIKELY(slot->fiber != NULL)) {
        run->context = xctx__fiber_own_context(slot, run->context);
        run->outer = outer_of(slot, run);
    }
    /* The function may have left the context itself, and even the one around it: then nothing around it is touched. */
    while (slot->current && slot->current != run->outer &&
           (xctx__is_entered_here(slot, run->context) || xctx__is_entered_here(slot, run->outer) || !run->outer))
        if (xctx_exit(slot->current))
            return;
}

static void end_run(struct run **run)
{
    xctx__run_end(*run);
}

void *xctx__run_on_fiber(struct run *run, void *(*fn)(void *), void *arg)
{
    __attribute__((cleanup(end_run), unused)) struct run *running = run;

    return fn(arg);
}

int xctx_run(xctx_context *context, void *(*fn)(void *), void *arg, void **ret_result)
{
    if (!fn)
        return -EINVAL;
    struct run run;
    xctx__run_begin(&run, context);
    int error = xctx_enter(context);
    if (error)
        return error;
    void *result;
    if (XCTX__UNLIKELY(xctx__slot.fiber != NULL)) {
        result = xctx__run_on_fiber(&run, fn, arg);
    } else {
        /* Also done when an exception or the end of the thread comes through here. */
        pthread_cleanup_push(xctx__run_end, &run);
        result = fn(arg);
        pthread_cleanup_pop(1);
    }
    if (ret_result)
        *ret_result = result;
    return 0;
}

void xctx__context_leave_all(struct slot *slot)
{
    enum { ROUNDS = 64 }; /* operations that set variables again and again must not keep a thread from ending */

    for (int i = 0; i < ROUNDS && slot->current; i++) {
        xctx_context *context;
        while ((context = slot->current) != NULL && xctx_exit(context) == 0)
            ;
        if (!context)
            return;
        drop_first(slot); /* it cannot be left */
    }
    /* Given up: what is left is left as it is, and nobody's. */
    while (slot->current) {
        xctx_context *context = slot->current;
        xctx__claim_lock(context, slot->record);
        if (slot->pin == context)
            xctx__pin_fold(slot);
        step_out(slot, context);
        xctx__claim_unlock(context, xctx__claim(slot->record, CLAIM_FREE));
    }
}

void xctx__context_thread_end(struct slot *slot)
{
    xctx__follow_thread_end(slot);
    xctx__context_leave_all(slot);
}

/* ---- references ---- */

xctx_context *xctx_ref(xctx_context *context)
{
    if (context)
        atomic_fetch_add_explicit(&context->refs, 1, memory_order_relaxed);
    return context;
}

static __attribute__((noinline)) xctx_context *unref_slowly(struct slot *slot, xctx_context *context)
{
    uint32_t refs = atomic_load_explicit(&context->refs, memory_order_relaxed);

    assert(refs > 0);
    while (refs > 1)
        /* Release: what this thread did with the context comes before its end. */
        if (atomic_compare_exchange_weak_explicit(&context->refs, &refs, refs - 1, memory_order_release,
                                                  memory_order_relaxed))
            return NULL;
    /* Perhaps the last one: that needs to know whether the context is entered. */
    struct record *record = xctx__record_borrow(slot);
    uintptr_t claim = xctx__claim_lock(context, record);
    enum claim_tag tag = xctx__claim_tag(claim);
    bool last = atomic_fetch_sub_explicit(&context->refs, 1, memory_order_acq_rel) == 1;
    bool entered = tag == CLAIM_HELD || tag == CLAIM_SHARED;
    if (last && entered)
        context->bits |= CONTEXT_LAST;
    if (!last || entered)
        xctx__claim_unlock(context, claim);
    xctx__record_give_back(record);
    if (last && !entered)
        context_destroy(slot, context);
    return NULL;
}

/* Returns NULL, so that xctx_unref() can end with it. */
static __attribute__((noinline)) xctx_context *unref_snapshot(xctx_context *context)
{
    struct xctx_snapshot *snapshot = xctx__carried(context);

    xctx__carry(context, NULL);
    xctx_snapshot_unref(snapshot); /* last: it may call the user's code */
    return NULL;
}

xctx_context *xctx_unref(xctx_context *context)
{
    struct slot *slot = &xctx__slot;
    struct record *record = slot->record;

    if (XCTX__UNLIKELY(!context))
        return NULL;
    /* Acquire: see whether another thread, which gave its reference back before, has entered the context. */
    if (XCTX__UNLIKELY(atomic_load_explicit(&context->refs, memory_order_acquire) != 1))
        return unref_slowly(slot, context);
    bool unused = !atomic_load_explicit(&context->used, memory_order_relaxed);
    if (XCTX__UNLIKELY(atomic_load_explicit(&context->claim, memory_order_relaxed) != xctx__claim(record, CLAIM_KEPT)))
        return unused ? context_destroy(slot, context) : unref_slowly(slot, context);
    uintptr_t more = atomic_load_explicit(&context->more, memory_order_relaxed);
    if (XCTX__LIKELY(unused && slot->pin_map == context->root && !slot->spare && XCTX__FREE_LIMIT > 0) &&
        (XCTX__LIKELY(!more) || more & CONTEXT_CARRIES)) {
        /* As it was made, but for the snapshot: ready for the next copy. */
        slot->pin_dropped++;
        slot->spare = context;
        return XCTX__LIKELY(!more) ? NULL : unref_snapshot(context);
    }
    return context_destroy(slot, context);
}
