/* SPDX-License-Identifier: MIT */
/* What the three threads of lockstep.h work on, how they read the input, and how they look whether all is as the model
   says. */
#ifndef XCTX_FUZZ_SCENE_H
#define XCTX_FUZZ_SCENE_H

#include <pthread.h>
#include <semaphore.h>

#include "model.h"

enum { HANDLES = 6, TOKENS = 6, BOUNDS = 3, DEPTH_MOST = 8, FRAMES_MOST = DEPTH_MOST + 2 };

/* How many numbers of variables the inputs of one process may use up. */
#ifdef XCTX_TEST_BUILD
enum { DYNAMIC_BUDGET = (XCTX__VAR_PAGES << XCTX__VAR_PAGE_BITS) - STATIC_VARS - 50 };
#else
enum { DYNAMIC_BUDGET = 50000 };
#endif

static const uint8_t *input;
static size_t input_size;
static bool stopped;

static struct context *handles[HANDLES]; /* each with a reference */

static struct token {
    xctx_token real;
    enum { TOKEN_NONE, TOKEN_LIVE, TOKEN_USED } state;
    int variable;
    struct context *context;
    struct held *old;
} tokens[TOKENS];

static struct bound {
    xctx_bound *real;
    struct context *context;
    struct context *first;
    int busy; /* calls that run */
} bounds[BOUNDS];

/* A body of xctx_run() or xctx_bound_run() that is being carried out. */
struct frame {
    struct context *context;
    unsigned epoch;
    struct bound *bound;
    int worker;
    bool ran;
};

static struct worker {
    int number;
    pthread_t thread;
    pthread_t successor;
    bool has_successor;
    bool wants_to_end;
    sem_t turn;
    sem_t started;
    int depth;
    struct frame *frames[FRAMES_MOST];
    int frame_count;
    xctx_context *inherited;       /* what xctx_thread_create() has entered for the successor */
    struct context *first_entered; /* the same in the model */
} workers[WORKERS];

static sem_t driver_turn;
static int dynamic_used;

static void wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        EXPECT(errno == EINTR, "sem_wait");
}

static void give(sem_t *semaphore)
{
    EXPECT(sem_post(semaphore) == 0, "sem_post");
}

/* ---- reading the input ---- */

static unsigned next_byte(void)
{
    return fuzz_at < input_size ? input[fuzz_at++] : 0;
}

static int next_below(int n)
{
    return (int)(next_byte() % (unsigned)n);
}

/* ---- allocations that fail ---- */

static bool armed;

static void arm(void)
{
#ifdef XCTX_TEST_BUILD
    unsigned byte = next_byte();
    if (byte >= 224) {
        armed = true;
        xctx__test_fail_allocation(byte - 223);
    }
#endif
}

static void disarm(void)
{
#ifdef XCTX_TEST_BUILD
    xctx__test_fail_allocation(0);
#endif
    armed = false;
}

/* Whether a call failed because it was made to: then nothing has happened, but that the thread may have its first
   context now. */
static bool was_made_to_fail(struct worker *worker, bool failed)
{
    bool made_to = armed && failed;

    disarm();
    if (made_to) {
        take_back_events();
        if (xctx_current())
            ensure(worker->number);
    }
    return made_to;
}

/* ---- checks ---- */

static void check_current(struct worker *worker)
{
    const struct context *current = current_of(worker->number);

    EXPECT(xctx_current() == (current ? current->real : NULL), "xctx_current() is %p, not %p", (void *)xctx_current(),
           current ? (void *)current->real : NULL);
}

struct visit {
    struct worker *worker;
    struct held *entries[VARS];
    int seen;
    int foreign;
    unsigned last_order;
    int stop_after;
    int body_at;
};

static void interpret(struct worker *worker);

static int visit(xctx_var *var, void *value, void *user)
{
    struct visit *visit = user;
    int i = variable_index(var);

    if (i < 0) {
        visit->foreign++;
        return 0;
    }
    EXPECT(i < VARS && visit->entries[i], "xctx_each() shows variable %d, which is not set", i);
    EXPECT(variables[i].real == var, "xctx_each() shows another variable %d", i);
    EXPECT(visit->entries[i]->value == value, "variable %d: xctx_each() shows %p, not %p", i, value,
           visit->entries[i]->value);
    EXPECT(variables[i].order > visit->last_order, "xctx_each() is out of order at variable %d", i);
    visit->last_order = variables[i].order;
    if (visit->seen++ == visit->body_at) {
        settle();
        interpret(visit->worker);
    }
    return visit->seen == visit->stop_after ? -visit->seen - 1000 : 0;
}

static int count_foreign(xctx_var *var, void *value, void *user)
{
    int *count = user;

    (void)value;
    *count += variable_index(var) < 0;
    return 0;
}

/* How many capsules a context holds that captured the thread's state just now. */
static int foreign_in(xctx_context *real)
{
    int count = 0;

    EXPECT(xctx_each(real, count_foreign, &count) == 0, "xctx_each() of a captured copy");
    return count;
}

static int count_of(const struct context *context)
{
    int count = context->foreign;

    for (int i = 0; i < VARS; i++)
        count += context->entries[i] != NULL;
    return count;
}

static void check_each(struct worker *worker, struct context *context, int stop_after, int body_at)
{
    struct visit state = {.worker = worker, .stop_after = stop_after, .body_at = body_at};
    int foreign = context->foreign;
    int count = 0;

    for (int i = 0; i < VARS; i++) {
        state.entries[i] = held_ref(context->entries[i]);
        count += state.entries[i] != NULL;
    }
    context->refs++; /* the caller's own reference must last */
    xctx_ref(context->real);
    int result = xctx_each(context->real, visit, &state);
    for (int i = 0; i < VARS; i++)
        held_unref(state.entries[i]);
    xctx_unref(context->real);
    context_unref(context);
    if (stop_after > 0 && stop_after <= count) {
        EXPECT(result == -stop_after - 1000, "xctx_each() gives %d", result);
        return;
    }
    EXPECT(result == 0, "xctx_each() gives %d", result);
    EXPECT(state.seen == count, "xctx_each() shows %d variables, not %d", state.seen, count);
    EXPECT(state.foreign == foreign, "xctx_each() shows %d capsules, not %d", state.foreign, foreign);
}

static void check_lookup(const struct context *context, int i)
{
    void *const untouched = &armed;
    void *value = untouched;
    const struct held *held = context->entries[i];

    int result = xctx_lookup(context->real, variables[i].real, &value);
    EXPECT(result == (held ? 1 : 0), "xctx_lookup() of variable %d gives %d", i, result);
    EXPECT(value == (held ? held->value : untouched), "xctx_lookup() of variable %d gives value %p, not %p", i, value,
           held ? held->value : untouched);
}

static void check_get(int worker, int i)
{
    void *const untouched = &armed;
    void *found = untouched;
    const struct context *current = current_of(worker);
    void *value = value_of(current, i);
    bool is_there = (current && current->entries[i]) || variables[i].options->initial;

    void *got = xctx_var_get(variables[i].real);
    EXPECT(got == value, "xctx_var_get() of variable %d gives %p, not %p", i, got, value);
    int result = xctx_var_find(variables[i].real, &found);
    EXPECT(result == is_there, "xctx_var_find() of variable %d gives %d", i, result);
    EXPECT(found == (is_there ? value : untouched), "xctx_var_find() of variable %d gives %p", i, found);
}

static void check_wholly(struct worker *worker, struct context *context)
{
    size_t count = xctx_count(context->real);

    EXPECT(count == (size_t)count_of(context), "xctx_count() gives %zu, not %d", count, count_of(context));
    check_each(worker, context, 0, -1);
    for (int i = 0; i < VARS; i++)
        if (variables[i].live)
            check_lookup(context, i);
}

/* ---- choosing ---- */

static int any_variable(void)
{
    unsigned byte = next_byte();
    int i = byte < 128 ? (int)byte % 16 : (int)byte % VARS; /* a few often, so that calls meet */

    return variables[i].live ? i : i % STATIC_VARS;
}

/* A value for a variable; what it needs is to be given back by drop_value(). */
static void *make_value(int i)
{
    unsigned byte = next_byte();

    if (byte % 16 == 0)
        return NULL;
    return variables[i].options->release ? (void *)object_new(byte) : (void *)(uintptr_t)byte;
}

static void drop_value(int i, void *value)
{
    if (variables[i].options->release && value)
        object_drop(value);
}

static void put_handle(int slot, struct context *context)
{
    if (handles[slot]) {
        xctx_unref(handles[slot]->real);
        context_unref(handles[slot]);
    }
    handles[slot] = context;
}

/* Contexts must not be entered in a body of xctx_run() that has left its own context: then it is not the library that
   could put things right. */
static bool may_enter(const struct worker *worker, const struct context *context)
{
    /* Nor a context again in which a block with a scoped binding is open that has left it. */
    if (context && context->lets[worker->number] > 0)
        return false;
    if (threads[worker->number].depth >= STACK_MOST - 2)
        return false;
    for (int i = 0; i < worker->frame_count; i++)
        if (!is_entered(worker->number, worker->frames[i]->context, worker->frames[i]->epoch))
            return false;
    return true;
}

static void note_first_use(int i)
{
    if (!variables[i].order) {
        variables[i].order = next_order++;
        dynamic_used++;
    }
}

#endif
