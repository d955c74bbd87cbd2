/* SPDX-License-Identifier: MIT */
/*
 * The reference model of the fuzzer: what contexts are, in the plainest way that can be written down.
 *
 * A context is a table with one entry for each variable, a copy copies the table, a thread is a stack of contexts. An
 * entry is a struct held: a value and the number of tables and tokens that hold it. When that falls to zero the value
 * is expected to be released, within the call that made it so.
 *
 * Operations of variables (retain, release, clone, ...) write down that they were called. After each call of the
 * library the model is moved on, taking the calls that it expects from that log, in order; a call that is missing, too
 * much or with another value ends the program. Releases may come in any order.
 */
#ifndef XCTX_FUZZ_MODEL_H
#define XCTX_FUZZ_MODEL_H

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xctx/xctx.h>

enum {
    WORKERS = 3,
    STATIC_VARS = 100, /* made once */
    DYNAMIC_VARS = 24, /* made by an input */
    VARS = STATIC_VARS + DYNAMIC_VARS,
    CONTEXTS_MOST = 400, /* that one input can make */
    HELD_MOST = 8000,
    STACK_MOST = 40, /* contexts entered by one thread */
    EVENTS_MOST = 4096,
    WATCHERS = 16,
};

/* ---- failing ---- */

static const char *fuzz_doing = "starting";
static size_t fuzz_at;
static int fuzz_worker;

__attribute__((noreturn, format(printf, 1, 2))) static void fatal(const char *format, ...)
{
    va_list arguments;

    fprintf(stderr, "\nMISMATCH in %s, byte %zu, worker %d: ", fuzz_doing, fuzz_at, fuzz_worker);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, "\n");
    abort();
}

#define EXPECT(condition, ...)                                                                                         \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fatal(__VA_ARGS__);                                                                                        \
    } while (0)

/* ---- counted values ---- */

struct object {
    _Atomic unsigned magic;
    atomic_int refs;
    long number;
};

enum { ALIVE = 0x11a11ce, DEAD = 0xdead };

static atomic_long objects_alive;

static struct object *object_new(long number)
{
    struct object *object = malloc(sizeof(*object));

    if (!object)
        abort();
    atomic_init(&object->magic, ALIVE);
    atomic_init(&object->refs, 1);
    object->number = number;
    atomic_fetch_add(&objects_alive, 1);
    return object;
}

static long object_number(const struct object *object)
{
    EXPECT(atomic_load_explicit(&object->magic, memory_order_relaxed) == ALIVE, "value %p is used after its release",
           (const void *)object);
    return object->number;
}

static void object_drop(struct object *object)
{
    object_number(object);
    if (atomic_fetch_sub(&object->refs, 1) == 1) {
        atomic_store(&object->magic, DEAD);
        atomic_fetch_sub(&objects_alive, 1);
        free(object);
    }
}

/* ---- the log ---- */

enum event_kind { EVENT_RETAIN, EVENT_CLONE, EVENT_MERGE, EVENT_CAPTURE, EVENT_ENTER, EVENT_LEAVE, EVENT_WATCH };

static const char *const event_names[] = {"retain", "clone", "merge", "capture", "enter", "leave", "watcher"};

struct event {
    enum event_kind kind;
    const void *a;
    const void *b;
    void *result;
    bool owned; /* `result` is to be released */
};

static bool logging; /* off where calls are not in lock-step */
static struct event events[EVENTS_MOST];
static size_t event_count;
static size_t event_next;
static const void *releases[EVENTS_MOST];
static size_t release_count;
static const void *expected_releases[EVENTS_MOST];
static size_t expected_release_count;

static void *note(enum event_kind kind, const void *a, const void *b, void *result, bool owned)
{
    if (logging) {
        EXPECT(event_count < EVENTS_MOST, "too many calls of operations in one call of the library");
        events[event_count++] = (struct event){kind, a, b, result, owned};
    }
    return result;
}

/* Takes the next event from the log, which must be this one, and gives what it returned. */
static void *take_event(enum event_kind kind, const void *a, const void *b)
{
    EXPECT(event_next < event_count, "missing: %s(%p, %p)", event_names[kind], a, b);
    const struct event *event = &events[event_next++];
    EXPECT(event->kind == kind && event->a == a && event->b == b, "expected %s(%p, %p), was %s(%p, %p)",
           event_names[kind], a, b, event_names[event->kind], event->a, event->b);
    return event->result;
}

static void expect_release(const void *value)
{
    EXPECT(expected_release_count < EVENTS_MOST, "too many releases");
    expected_releases[expected_release_count++] = value;
}

/* The call failed: what it made on the way it must have released. */
static void take_back_events(void)
{
    for (; event_next < event_count; event_next++) {
        const struct event *event = &events[event_next];
        EXPECT(event->kind <= EVENT_CAPTURE, "a failed call has called %s", event_names[event->kind]);
        if (event->owned && event->result)
            expect_release(event->result);
    }
}

static int compare_pointers(const void *a, const void *b)
{
    uintptr_t x = (uintptr_t) * (const void *const *)a;
    uintptr_t y = (uintptr_t) * (const void *const *)b;
    return (x > y) - (x < y);
}

/* Everything that happened was expected, and the other way round. */
static void settle(void)
{
    EXPECT(event_next == event_count, "not expected: %s(%p, %p)", event_names[events[event_next].kind],
           events[event_next].a, events[event_next].b);
    event_next = event_count = 0;
    qsort(releases, release_count, sizeof(releases[0]), compare_pointers);
    qsort(expected_releases, expected_release_count, sizeof(releases[0]), compare_pointers);
    for (size_t i = 0; i < release_count || i < expected_release_count; i++) {
        EXPECT(i < release_count, "%zu releases instead of %zu: value %p is not released", release_count,
               expected_release_count, expected_releases[i]);
        EXPECT(i < expected_release_count, "%zu releases instead of %zu: value %p is released", release_count,
               expected_release_count, releases[i]);
        EXPECT(releases[i] == expected_releases[i], "%zu releases, %zu expected: %p instead of %p", release_count,
               expected_release_count, releases[i], expected_releases[i]);
    }
    release_count = expected_release_count = 0;
}

/* ---- kinds of variables ---- */

static _Thread_local long capture_number;
static atomic_long next_saved = 1000;

static void *op_retain(void *value)
{
    struct object *object = value;
    object_number(object);
    atomic_fetch_add(&object->refs, 1);
    return note(EVENT_RETAIN, value, NULL, value, true);
}

static void *op_retain_copy(void *value)
{
    return note(EVENT_RETAIN, value, NULL, object_new(object_number(value)), true);
}

static void *op_retain_plain(void *value)
{
    return note(EVENT_RETAIN, value, NULL, value, false);
}

static void op_release(void *value)
{
    if (logging) {
        EXPECT(release_count < EVENTS_MOST, "too many releases");
        releases[release_count++] = value;
    }
    object_drop(value);
}

static void *op_clone(void *value)
{
    return note(EVENT_CLONE, value, NULL, object_new(object_number(value) + 1), true);
}

static void *op_clone_plain(void *value)
{
    return note(EVENT_CLONE, value, NULL, (char *)value + 1, false);
}

static void *op_merge(void *parent, void *child)
{
    long number = ((parent ? object_number(parent) : 0) * 3 + (child ? object_number(child) : 0)) % 1000003;
    return note(EVENT_MERGE, parent, child, object_new(number), true);
}

static void *op_merge_plain(void *parent, void *child)
{
    uintptr_t number = ((uintptr_t)parent * 3 + (uintptr_t)child) % 100000 + 1;
    return note(EVENT_MERGE, parent, child, (void *)number, false);
}

static void *op_capture_plain(void)
{
    return note(EVENT_CAPTURE, NULL, NULL, (void *)(uintptr_t)capture_number, false);
}

static void *op_capture(void)
{
    return note(EVENT_CAPTURE, (const void *)1, NULL, object_new(capture_number), true);
}

static void *op_enter(void *value)
{
    return note(EVENT_ENTER, value, NULL, (void *)(uintptr_t)atomic_fetch_add(&next_saved, 1), false);
}

static void op_leave(void *saved)
{
    note(EVENT_LEAVE, saved, NULL, NULL, false);
}

enum { KIND_PLAIN, KIND_COUNTED, KINDS = 14, KIND_CAPTURE_PLAIN = KINDS, KIND_CAPTURE };

static const xctx_var_options kinds[] = {
    {0},
    {.retain = op_retain, .release = op_release},
    {.initial = (void *)77},
    {.retain = op_retain, .release = op_release, .clone = op_clone, .flow = XCTX_FLOW_CLONE},
    {.flow = XCTX_FLOW_NONE},
    {.retain = op_retain_copy, .release = op_release},
    {.merge = op_merge_plain, .initial = (void *)5},
    {.retain = op_retain, .release = op_release, .merge = op_merge},
    {.enter = op_enter, .leave = op_leave},
    {.retain = op_retain, .release = op_release, .enter = op_enter, .leave = op_leave},
    {.clone = op_clone_plain, .flow = XCTX_FLOW_CLONE},
    {.retain = op_retain, .release = op_release, .flow = XCTX_FLOW_NONE},
    {.retain = op_retain_plain},
    {.retain = op_retain_copy,
     .release = op_release,
     .clone = op_clone,
     .flow = XCTX_FLOW_CLONE,
     .merge = op_merge,
     .enter = op_enter,
     .leave = op_leave},
    {.capture = op_capture_plain},
    {.capture = op_capture, .retain = op_retain, .release = op_release, .enter = op_enter, .leave = op_leave},
};

struct variable {
    xctx_var *real;
    const xctx_var_options *options;
    bool live;      /* we hold a reference */
    unsigned order; /* in which it was first used; 0: not yet */
};

static struct variable variables[VARS];
static unsigned next_order = 1;

static int variable_index(const xctx_var *var)
{
    const char *name = xctx_var_name(var);
    return name[0] == 'v' && name[1] ? atoi(name + 1) : -1;
}

/* ---- contexts, held values, threads ---- */

struct held {
    void *value;
    const xctx_var_options *options;
    int count;
};

/* What a snapshot keeps: the values as they were when it was taken, and the past of the context it was taken in. */
struct past {
    int refs;
    struct held *entries[VARS];
    struct past *parent;
};

struct context {
    xctx_context *real;
    int refs;
    int entered_by; /* a worker, or -1 */
    bool first;     /* made by the library, not entered by us */
    bool gone;
    unsigned epoch;      /* how often it was left */
    int lets[WORKERS];   /* scoped bindings that are open */
    int foreign;         /* variables that are not ours: capsules */
    unsigned foreign_of; /* the capture that they are from */
    struct held *entries[VARS];
    void *saved[VARS]; /* what `enter` operations returned */
    int saved_count;
    struct past *past; /* of its snapshot; NULL: it carries none */
};

struct thread {
    struct context *stack[STACK_MOST];
    int depth;
};

static struct held held_pool[HELD_MOST];
static size_t held_used;
static struct context context_pool[CONTEXTS_MOST];
static size_t contexts_used;
static struct thread threads[WORKERS];
static unsigned next_foreign = 1;

static struct {
    void *user; /* NULL: not taken */
} watchers[WATCHERS];

static struct held *held_new(const xctx_var_options *options, void *value)
{
    struct held *held = &held_pool[held_used++];
    *held = (struct held){value, options, 1};
    return held;
}

static struct held *held_ref(struct held *held)
{
    if (held)
        held->count++;
    return held;
}

static void held_unref(struct held *held)
{
    if (held && --held->count == 0 && held->value && held->options->release)
        expect_release(held->value);
}

static struct context *context_new(xctx_context *real)
{
    struct context *context = &context_pool[contexts_used++];
    *context = (struct context){.real = real, .refs = 1, .entered_by = -1};
    return context;
}

static struct past *past_ref(struct past *past)
{
    if (past)
        past->refs++;
    return past;
}

static void past_unref(struct past *past)
{
    while (past && --past->refs == 0) {
        struct past *parent = past->parent;
        for (int i = 0; i < VARS; i++)
            held_unref(past->entries[i]);
        free(past);
        past = parent;
    }
}

/* Of a snapshot that is taken in a context now. Chains of them are as long as they get: LLVMFuzzerTestOneInput() asks
 * for that. */
static struct past *past_new(const struct context *context)
{
    struct past *past = malloc(sizeof(*past));

    if (!past)
        abort();
    past->refs = 1;
    for (int i = 0; i < VARS; i++)
        past->entries[i] = held_ref(context->entries[i]);
    past->parent = past_ref(context->past);
    return past;
}

static void context_check_gone(struct context *context)
{
    if (context->refs > 0 || context->entered_by >= 0 || context->gone)
        return;
    context->gone = true;
    for (int i = 0; i < VARS; i++) {
        held_unref(context->entries[i]);
        context->entries[i] = NULL;
    }
    past_unref(context->past);
    context->past = NULL;
}

static void context_unref(struct context *context)
{
    context->refs--;
    context_check_gone(context);
}

/* The variables in the order of their first use, for those that have one. Static ones come first, in their order. */
static int ordered(int indices[VARS])
{
    int count = 0;

    for (int i = 0; i < VARS; i++) {
        if (!variables[i].order)
            continue;
        int at = count++;
        for (; at > 0 && variables[indices[at - 1]].order > variables[i].order; at--)
            indices[at] = indices[at - 1];
        indices[at] = i;
    }
    return count;
}

static struct context *context_copy(const struct context *from, xctx_context *real)
{
    struct context *copy = context_new(real);
    int indices[VARS];
    int count = ordered(indices);

    copy->foreign = from->foreign;
    copy->foreign_of = from->foreign_of;
    copy->past = past_ref(from->past);
    for (int n = 0; n < count; n++) {
        int i = indices[n];
        struct held *held = from->entries[i];
        if (!held || held->options->flow == XCTX_FLOW_NONE)
            continue;
        if (held->options->flow == XCTX_FLOW_SHARE)
            copy->entries[i] = held_ref(held);
        else
            copy->entries[i] = held_new(held->options, held->value ? take_event(EVENT_CLONE, held->value, NULL) : NULL);
    }
    return copy;
}

static struct context *current_of(int worker)
{
    const struct thread *thread = &threads[worker];
    return thread->depth ? thread->stack[thread->depth - 1] : NULL;
}

static void take_watchers(int worker)
{
    const struct context *current = current_of(worker);

    for (int i = 0; i < WATCHERS; i++)
        if (watchers[i].user)
            take_event(EVENT_WATCH, (const void *)(uintptr_t)i, current ? current->real : NULL);
}

/* The `enter` operations of a context that is entered now, and the watchers. */
static void context_enter(int worker, struct context *context)
{
    int indices[VARS];
    int count = ordered(indices);

    context->entered_by = worker;
    context->saved_count = 0;
    for (int n = 0; n < count; n++) {
        const struct held *held = context->entries[indices[n]];
        if (held && held->options->enter)
            context->saved[context->saved_count++] = take_event(EVENT_ENTER, held->value, NULL);
    }
    threads[worker].stack[threads[worker].depth++] = context;
    take_watchers(worker);
}

static void context_exit(int worker)
{
    struct context *context = current_of(worker);

    while (context->saved_count > 0)
        take_event(EVENT_LEAVE, context->saved[--context->saved_count], NULL);
    threads[worker].depth--;
    context->entered_by = -1;
    context->epoch++;
    context_check_gone(context);
    take_watchers(worker);
}

static bool is_entered(int worker, const struct context *context, unsigned epoch)
{
    if (context->epoch != epoch)
        return false;
    for (int i = 0; i < threads[worker].depth; i++)
        if (threads[worker].stack[i] == context)
            return true;
    return false;
}

/* Leaves a context and what was entered within it, if it is still entered. */
static void context_leave(int worker, struct context *context, unsigned epoch)
{
    while (is_entered(worker, context, epoch))
        context_exit(worker);
}

static void thread_end(int worker)
{
    struct thread *thread = &threads[worker];

    while (thread->depth > 0) {
        struct context *context = current_of(worker);
        if (!context->first) {
            context_exit(worker);
            continue;
        }
        thread->depth--;
        context->first = false;
        context->entered_by = -1;
        context->epoch++;
        context_unref(context);
    }
}

/* What the library does on first use. */
static struct context *ensure(int worker)
{
    struct context *current = current_of(worker);

    if (!current) {
        xctx_context *real = xctx_current();
        EXPECT(real, "no current context was made");
        current = context_new(real);
        current->first = true;
        current->entered_by = worker;
        threads[worker].stack[threads[worker].depth++] = current;
    }
    return current;
}

static void *value_of(const struct context *context, int i)
{
    const struct held *held = context ? context->entries[i] : NULL;
    return held ? held->value : variables[i].options->initial;
}

static bool contexts_equal(const struct context *a, const struct context *b)
{
    for (int i = 0; i < VARS; i++) {
        const struct held *x = a->entries[i];
        const struct held *y = b->entries[i];
        if (!x != !y || (x && x->value != y->value))
            return false;
    }
    return true;
}

#endif
