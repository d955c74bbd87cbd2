/* SPDX-License-Identifier: MIT */
/*
 * What an input can do. Each action makes one call, then moves the model on as the call should have moved the library,
 * and compares the results.
 */
#ifndef XCTX_FUZZ_ACTIONS_H
#define XCTX_FUZZ_ACTIONS_H

#include "scene.h"

static void do_new(struct worker *worker)
{
    int slot = next_below(HANDLES);

    arm();
    xctx_context *real = xctx_new();
    if (was_made_to_fail(worker, !real))
        return;
    EXPECT(real, "xctx_new() gives NULL");
    put_handle(slot, context_new(real));
}

static void do_copy(struct worker *worker)
{
    struct context *from = handles[next_below(HANDLES)];
    int slot = next_below(HANDLES);

    if (!from)
        return;
    arm();
    xctx_context *real = xctx_copy(from->real);
    if (was_made_to_fail(worker, !real))
        return;
    EXPECT(real, "xctx_copy() gives NULL");
    put_handle(slot, context_copy(from, real));
}

static void do_copy_current(struct worker *worker)
{
    int slot = next_below(HANDLES);

    arm();
    xctx_context *real = xctx_copy_current();
    if (was_made_to_fail(worker, !real))
        return;
    EXPECT(real, "xctx_copy_current() gives NULL");
    put_handle(slot, context_copy(ensure(worker->number), real));
}

/* What XCTX_CAPTURE_STATE adds to a copy, but for the capsules: a snapshot, and variables, which are asked in any
   order. */
static void capture_into(struct context *copy, const struct context *from)
{
    past_unref(copy->past);
    copy->past = past_new(from);
    for (int n = 0; n < 2; n++) {
        const void *which = event_next < event_count ? events[event_next].a : NULL;
        int i = which ? STATIC_VARS - 1 : STATIC_VARS - 2;
        void *value = take_event(EVENT_CAPTURE, which, NULL);
        held_unref(copy->entries[i]);
        copy->entries[i] = held_new(variables[i].options, value);
    }
    copy->foreign_of = next_foreign++;
}

static void do_capture(struct worker *worker)
{
    int slot = next_below(HANDLES);

    if (next_below(8) == 0) {
        EXPECT(!xctx_copy_current_with(1u << 31), "xctx_copy_current_with() knows what it should not");
        return;
    }
    arm();
    xctx_context *real = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    if (was_made_to_fail(worker, !real))
        return;
    EXPECT(real, "xctx_copy_current_with() gives NULL");
    struct context *copy = context_copy(ensure(worker->number), real);
    capture_into(copy, current_of(worker->number));
    copy->foreign = foreign_in(real);
    put_handle(slot, copy);
}

static void do_enter(struct worker *worker)
{
    struct context *context = handles[next_below(HANDLES)];

    if (!context || (context->entered_by < 0 && !may_enter(worker, context)))
        return;
    arm();
    int result = xctx_enter(context->real);
    if (was_made_to_fail(worker, result == -ENOMEM))
        return;
    if (context->entered_by >= 0) {
        EXPECT(result == -EBUSY, "xctx_enter() of an entered context gives %d", result);
        return;
    }
    EXPECT(result == 0, "xctx_enter() gives %d", result);
    context_enter(worker->number, context);
}

static void do_exit(struct worker *worker)
{
    struct context *current = current_of(worker->number);
    unsigned choice = next_byte();
    struct context *context = choice < 192 ? current : handles[choice % HANDLES];

    if (!context)
        return;
    int result = xctx_exit(context->real);
    if (context == current && !context->first) {
        EXPECT(result == 0, "xctx_exit() gives %d", result);
        context_exit(worker->number);
    } else if (context->entered_by < 0 || context == current) {
        EXPECT(result == -EINVAL, "xctx_exit() of a context that was not entered gives %d", result);
    } else if (context->first) {
        EXPECT(result == -EINVAL || result == -EPERM, "xctx_exit() of a first context gives %d", result);
    } else {
        EXPECT(result == -EPERM, "xctx_exit() of another entered context gives %d", result);
    }
}

static void push_frame(struct worker *worker, struct frame *frame, struct context *context)
{
    frame->context = context;
    frame->epoch = context->epoch;
    frame->ran = true;
    worker->frames[worker->frame_count++] = frame;
}

static void *body(void *argument)
{
    struct frame *frame = argument;
    struct worker *worker = &workers[frame->worker];
    struct bound *bound = frame->bound;
    struct context *context = frame->context;

    disarm();
    EXPECT(!frame->ran, "a body is called twice");
    if (bound) {
        context = bound->first;
        bound->first = NULL;
        if (!context)
            context = context_copy(bound->context, NULL);
        context->real = xctx_current();
    }
    EXPECT(context->entered_by < 0, "a body is called in a context that is entered already");
    context_enter(worker->number, context);
    if (bound)
        context_unref(context); /* only being entered keeps it */
    push_frame(worker, frame, context);
    check_current(worker);
    settle();
    interpret(worker);
    settle();
    worker->frame_count--;
    return frame;
}

static void do_run(struct worker *worker)
{
    struct context *context = handles[next_below(HANDLES)];
    struct frame frame = {.context = context, .worker = worker->number};
    void *result = NULL;

    if (!context || (context->entered_by < 0 && !may_enter(worker, context)))
        return;
    bool busy = context->entered_by >= 0;
    /* The reference of the call must last, also if the body gives that of the handle up. */
    context->refs++;
    xctx_ref(context->real);
    arm();
    int error = xctx_run(context->real, body, &frame, &result);
    if (!frame.ran && was_made_to_fail(worker, error == -ENOMEM)) {
        EXPECT(!result, "a failed call has written to its result");
    } else if (busy) {
        EXPECT(error == -EBUSY && !frame.ran, "xctx_run() in an entered context gives %d", error);
    } else {
        EXPECT(error == 0 && frame.ran && result == &frame, "xctx_run() gives %d", error);
        context_leave(worker->number, context, frame.epoch);
    }
    check_current(worker);
    xctx_unref(context->real);
    context_unref(context);
}

static void do_ref(struct worker *worker)
{
    unsigned from = next_byte();
    int slot = next_below(HANDLES);
    struct context *context = from < 128 ? current_of(worker->number) : handles[from % HANDLES];

    if (!context)
        return;
    EXPECT(xctx_ref(context->real) == context->real, "xctx_ref() gives something else");
    context->refs++;
    put_handle(slot, context);
}

static void do_unref(struct worker *worker)
{
    (void)worker;
    put_handle(next_below(HANDLES), NULL);
}

static void do_lookup(struct worker *worker)
{
    struct context *context = handles[next_below(HANDLES)];
    int i = any_variable();

    arm();
    if (context)
        check_lookup(context, i);
    check_get(worker->number, i);
    disarm();
}

static void do_count(struct worker *worker)
{
    const struct context *context = handles[next_below(HANDLES)];

    (void)worker;
    arm();
    if (context) {
        size_t count = xctx_count(context->real);
        EXPECT(count == (size_t)count_of(context), "xctx_count() gives %zu, not %d", count, count_of(context));
    }
    disarm();
}

static void do_each(struct worker *worker)
{
    unsigned from = next_byte();
    struct context *context = from < 128 ? current_of(worker->number) : handles[from % HANDLES];
    int stop_after = next_below(8);
    int body_at = next_below(8) - 2;

    if (context)
        check_each(worker, context, stop_after, worker->depth < DEPTH_MOST ? body_at : -1);
}

static void do_equal(struct worker *worker)
{
    const struct context *a = handles[next_below(HANDLES)];
    const struct context *b = handles[next_below(HANDLES)];

    (void)worker;
    bool result = xctx_equal(a ? a->real : NULL, b ? b->real : NULL);
    if (!a || !b)
        EXPECT(result == (!a && !b), "xctx_equal() with NULL gives %d", result);
    else if (a == b || a->foreign_of == b->foreign_of || !contexts_equal(a, b) || a->foreign != b->foreign)
        EXPECT(result == (a == b || (contexts_equal(a, b) && a->foreign == b->foreign)), "xctx_equal() gives %d",
               result);
}

static void do_merge(struct worker *worker)
{
    struct context *child = handles[next_below(HANDLES)];
    struct held *merged[VARS] = {NULL};
    int indices[VARS];

    if (!child)
        return;
    arm();
    int error = xctx_merge(child->real);
    if (was_made_to_fail(worker, error == -ENOMEM))
        return;
    EXPECT(error == 0, "xctx_merge() gives %d", error);
    struct context *parent = ensure(worker->number);
    int count = ordered(indices);
    for (int n = 0; n < count; n++) {
        int i = indices[n];
        const struct held *there = child->entries[i];
        void *here = value_of(parent, i);
        if (there && there->options->merge && here != there->value)
            merged[i] = held_new(there->options, take_event(EVENT_MERGE, here, there->value));
    }
    for (int i = 0; i < VARS; i++) {
        if (merged[i]) {
            held_unref(parent->entries[i]);
            parent->entries[i] = merged[i];
        }
    }
}

static struct watch_user {
    int id; /* -1: not registered */
    bool switches;
} watch_users[WATCHERS];

static void watch(xctx_context *current, void *user)
{
    const struct watch_user *watcher = user;

    EXPECT(current == xctx_current(), "a watcher is told %p, but current is %p", (void *)current,
           (void *)xctx_current());
    note(EVENT_WATCH, (const void *)(intptr_t)watcher->id, current, NULL, false);
    if (watcher->switches && !armed) {
        /* Switches of a watcher are not reported. */
        xctx_context *own = xctx_new();
        EXPECT(own && xctx_enter(own) == 0 && xctx_var_set(variables[0].real, own, NULL) == 0 && xctx_exit(own) == 0,
               "a watcher cannot switch");
        xctx_unref(own);
    }
}

static void do_watch(struct worker *worker)
{
    struct watch_user *watcher = NULL;

    (void)worker;
    for (int i = 0; i < WATCHERS && !watcher; i++) {
        watcher = &watch_users[i];
        for (int n = 0; n < WATCHERS && watcher; n++)
            if (watchers[n].user == watcher)
                watcher = NULL;
    }
    struct watch_user none;
    bool switches = next_below(2) == 0;
    int id = xctx_watch(watch, watcher ? watcher : &none);
    if (!watcher) {
        EXPECT(id == -ENOSPC, "xctx_watch() gives %d while all places are taken", id);
        return;
    }
    EXPECT(id >= 0 && id < WATCHERS && !watchers[id].user, "xctx_watch() gives %d", id);
    *watcher = (struct watch_user){id, switches};
    watchers[id].user = watcher;
}

static void do_unwatch(struct worker *worker)
{
    int id = next_below(WATCHERS + 2) - 1;

    (void)worker;
    bool live = id >= 0 && id < WATCHERS && watchers[id].user;
    int result = xctx_unwatch(id);
    EXPECT(result == (live ? 0 : -EINVAL), "xctx_unwatch() gives %d", result);
    if (live)
        watchers[id].user = NULL;
}

/* A variable that was used keeps its place for the rest of the input, since contexts may show it. */
static void do_var_create(struct worker *worker)
{
    int i = STATIC_VARS + next_below(DYNAMIC_VARS);
    const xctx_var_options *options = &kinds[next_below(KINDS)];
    char name[16];

    if (variables[i].real || dynamic_used >= DYNAMIC_BUDGET)
        return;
    snprintf(name, sizeof(name), "v%d", i);
    arm();
    xctx_var *var = xctx_var_create(name, options);
    if (was_made_to_fail(worker, !var))
        return;
    EXPECT(var, "xctx_var_create() gives NULL");
    EXPECT(strcmp(xctx_var_name(var), name) == 0, "xctx_var_name() gives %s", xctx_var_name(var));
    variables[i] = (struct variable){.real = var, .options = options, .live = true};
}

static void do_var_unref(struct worker *worker)
{
    int i = STATIC_VARS + next_below(DYNAMIC_VARS);

    (void)worker;
    if (!variables[i].live)
        return;
    xctx_var_unref(variables[i].real);
    variables[i].live = false;
    if (!variables[i].order)
        variables[i].real = NULL;
}

static void drop_token(struct token *token)
{
    xctx_token_drop(&token->real);
    if (token->state != TOKEN_LIVE)
        return;
    token->state = TOKEN_USED;
    held_unref(token->old);
}

static void do_set(struct worker *worker)
{
    int i = any_variable();
    unsigned slot = next_byte();
    struct token *token = slot < 160 ? &tokens[slot % TOKENS] : NULL;
    void *value = make_value(i);

    if (token)
        drop_token(token);
    arm();
    int error = xctx_var_set(variables[i].real, value, token ? &token->real : NULL);
    if (was_made_to_fail(worker, error == -ENOMEM)) {
        if (variables[i].real->id_ != UINT32_MAX)
            note_first_use(i);
        drop_value(i, value);
        return;
    }
    EXPECT(error == 0, "xctx_var_set() of variable %d gives %d", i, error);
    note_first_use(i);
    struct context *current = ensure(worker->number);
    struct held *held = held_new(variables[i].options,
                                 value && variables[i].options->retain ? take_event(EVENT_RETAIN, value, NULL) : value);
    struct held *old = current->entries[i];
    current->entries[i] = held;
    if (token) {
        token->state = TOKEN_LIVE;
        token->variable = i;
        token->context = current;
        token->old = old;
    } else {
        held_unref(old);
    }
    drop_value(i, value);
    check_get(worker->number, i);
}

static void do_reset(struct worker *worker)
{
    struct token *token = &tokens[next_below(TOKENS)];
    unsigned choice = next_byte();

    if (token->state == TOKEN_NONE)
        return;
    int i = choice < 224 || !variables[token->variable].live ? token->variable : any_variable();
    struct context *current = current_of(worker->number);
    arm();
    int error = xctx_var_reset(variables[i].real, &token->real);
    if (was_made_to_fail(worker, error == -ENOMEM))
        return;
    if (token->state == TOKEN_USED) {
        EXPECT(error == -EALREADY, "xctx_var_reset() with a used token gives %d", error);
    } else if (token->variable != i) {
        EXPECT(error == -EINVAL, "xctx_var_reset() of another variable gives %d", error);
    } else if (token->context != current) {
        EXPECT(error == -EXDEV, "xctx_var_reset() in another context gives %d", error);
    } else {
        EXPECT(error == 0, "xctx_var_reset() gives %d", error);
        token->state = TOKEN_USED;
        held_unref(current->entries[i]);
        current->entries[i] = token->old;
        if (variables[i].live)
            check_get(worker->number, i);
    }
}

static void do_drop(struct worker *worker)
{
    (void)worker;
    drop_token(&tokens[next_below(TOKENS)]);
}

static void do_let(struct worker *worker)
{
    int i = any_variable();
    void *value = make_value(i);
    struct context *current = NULL;
    struct held *old = NULL;
    unsigned epoch = 0;
    bool ran = false;
    bool otherwise = false;

    if (worker->depth >= DEPTH_MOST) {
        drop_value(i, value);
        return;
    }
    arm();
    XCTX_LET (variables[i].real, value) {
        disarm();
        EXPECT(!ran, "a block is run twice");
        ran = true;
        note_first_use(i);
        current = ensure(worker->number);
        epoch = current->epoch;
        current->lets[worker->number]++;
        old = current->entries[i];
        current->entries[i] =
            held_new(variables[i].options,
                     value && variables[i].options->retain ? take_event(EVENT_RETAIN, value, NULL) : value);
        drop_value(i, value);
        int depth = threads[worker->number].depth;
        check_get(worker->number, i);
        settle();
        interpret(worker);
        /* The block must leave what it has entered. */
        while (threads[worker->number].depth > depth && !current_of(worker->number)->first) {
            settle();
            EXPECT(xctx_exit(current_of(worker->number)->real) == 0, "exit");
            context_exit(worker->number);
        }
        settle();
        current->lets[worker->number]--;
        arm(); /* the end of the block must not mind */
        if (next_below(4) == 0)
            break;
    }
    else
    {
        otherwise = true;
    }
    if (!ran && was_made_to_fail(worker, otherwise)) {
        if (variables[i].real->id_ != UINT32_MAX)
            note_first_use(i);
        drop_value(i, value);
        return;
    }
    disarm();
    EXPECT(ran && !otherwise, "a block is not run");
    if (current_of(worker->number) == current && current->epoch == epoch) {
        held_unref(current->entries[i]);
        current->entries[i] = old;
        if (variables[i].live)
            check_get(worker->number, i);
    } else {
        held_unref(old);
    }
}

static _Thread_local struct frame *bound_frame;

static void *bound_body(void *argument)
{
    struct frame *frame = bound_frame;

    disarm();
    EXPECT(frame && frame->bound == argument, "a bound function gets another argument");
    struct bound *bound = frame->bound;
    if (bound->context->foreign < 0) {
        bound->context->foreign = foreign_in(xctx_current());
        if (bound->first)
            bound->first->foreign = bound->context->foreign;
    }
    return body(frame);
}

static void do_bind(struct worker *worker)
{
    struct bound *bound = &bounds[next_below(BOUNDS)];
    bool capture = next_below(4) == 0;

    if (bound->real || bound->busy)
        return;
    arm();
    bound->real = xctx_bind_with(bound_body, bound, capture ? XCTX_CAPTURE_STATE : 0);
    if (was_made_to_fail(worker, !bound->real))
        return;
    EXPECT(bound->real, "xctx_bind() gives NULL");
    bound->context = context_copy(ensure(worker->number), NULL);
    if (capture) {
        capture_into(bound->context, current_of(worker->number));
        bound->context->foreign = -1; /* seen when it is entered */
    }
    bound->first = context_copy(bound->context, NULL);
}

static void unref_bound(struct bound *bound)
{
    if (!bound->real || bound->busy)
        return;
    xctx_bound_unref(bound->real);
    bound->real = NULL;
    if (bound->first)
        context_unref(bound->first);
    context_unref(bound->context);
    bound->first = bound->context = NULL;
}

static void do_bound_unref(struct worker *worker)
{
    (void)worker;
    unref_bound(&bounds[next_below(BOUNDS)]);
}

static void do_bound(struct worker *worker)
{
    struct bound *bound = &bounds[next_below(BOUNDS)];
    struct frame frame = {.bound = bound, .worker = worker->number};
    void *result = NULL;

    if (!bound->real || !may_enter(worker, NULL) || worker->depth >= DEPTH_MOST)
        return;
    struct frame *outer = bound_frame;
    bound_frame = &frame;
    bound->busy++;
    arm();
    int error = xctx_bound_run(bound->real, &result);
    bound->busy--;
    bound_frame = outer;
    if (!frame.ran && was_made_to_fail(worker, error == -ENOMEM)) {
        EXPECT(!result, "a failed call has written to its result");
        EXPECT(!bound->first, "the first call of a bound function runs out of memory");
        return;
    }
    EXPECT(error == 0 && frame.ran && result == &frame, "xctx_bound_run() gives %d", error);
    context_leave(worker->number, frame.context, frame.epoch);
}

static void *worker_main(void *argument);

/* At the outermost level of a thread: it ends, with whatever it has entered, and another one goes on in its place. */
static void do_restart(struct worker *worker)
{
    bool inherit = next_below(2) == 0;

    if (worker->depth > 0)
        return;
    if (inherit) {
        arm();
        int error = xctx_thread_create(&worker->successor, NULL, worker_main, worker);
        if (was_made_to_fail(worker, error == EAGAIN))
            return;
        EXPECT(error == 0, "xctx_thread_create() gives %d", error);
        wait_for(&worker->started);
        struct context *parent = ensure(worker->number);
        struct context *copy = context_copy(parent, worker->inherited);
        /* The successor has entered it: on a stack of its own, which is put in place when this thread has ended. */
        struct thread mine = threads[worker->number];
        threads[worker->number] = (struct thread){.depth = 0};
        context_enter(worker->number, copy);
        threads[worker->number] = mine;
        context_unref(copy);
        worker->first_entered = copy;
        worker->has_successor = true;
    }
    worker->wants_to_end = true;
}

static void do_check(struct worker *worker)
{
    struct context *context = handles[next_below(HANDLES)];

    if (context)
        check_wholly(worker, context);
}

/* A context that several threads copy in turn, many times in a row. */
static void do_copies(struct worker *worker)
{
    struct context *from = handles[next_below(HANDLES)];
    int n = 1 + next_below(12);
    unsigned order = next_byte();
    struct context *copies[12];

    if (!from)
        return;
    for (int i = 0; i < n; i++) {
        xctx_context *real = xctx_copy(from->real);
        EXPECT(real, "xctx_copy() gives NULL");
        copies[i] = context_copy(from, real);
    }
    for (int i = 0; i < n; i++) {
        if (order >> (i % 8) & 1) {
            put_handle((int)order % HANDLES, copies[i]);
        } else {
            xctx_unref(copies[i]->real);
            context_unref(copies[i]);
        }
    }
    (void)worker;
}

#endif
