/* SPDX-License-Identifier: MIT */
/*
 * Three threads that carry out one program of calls, one at a time, against the model: the loop.
 *
 * The threads share the input and a baton. A call with a body (xctx_run(), XCTX_LET, ...) carries out what follows in
 * the input within that body until "end", also across hand-overs of the baton, so that bodies on different threads
 * interleave in every way. Whatever thread has the baton owns the model.
 */
#ifndef XCTX_FUZZ_LOCKSTEP_H
#define XCTX_FUZZ_LOCKSTEP_H

#include "actions.h"

static const struct action {
    const char *name;
    void (*act)(struct worker *worker);
    int weight;
    bool has_body;
} actions[] = {
    {"end", NULL, 24, false},
    {"switch", NULL, 40, false},
    {"new", do_new, 6, false},
    {"copy", do_copy, 12, false},
    {"copy_current", do_copy_current, 12, false},
    {"copies", do_copies, 8, false},
    {"capture", do_capture, 2, false},
    {"enter", do_enter, 16, false},
    {"exit", do_exit, 14, false},
    {"run", do_run, 6, true},
    {"ref", do_ref, 6, false},
    {"unref", do_unref, 8, false},
    {"lookup", do_lookup, 8, false},
    {"count", do_count, 2, false},
    {"each", do_each, 4, true},
    {"equal", do_equal, 4, false},
    {"merge", do_merge, 6, false},
    {"watch", do_watch, 1, false},
    {"unwatch", do_unwatch, 2, false},
    {"var_create", do_var_create, 3, false},
    {"var_unref", do_var_unref, 2, false},
    {"set", do_set, 36, false},
    {"reset", do_reset, 14, false},
    {"drop", do_drop, 2, false},
    {"let", do_let, 10, true},
    {"bind", do_bind, 4, false},
    {"bound_run", do_bound, 6, true},
    {"bound_unref", do_bound_unref, 2, false},
    {"restart", do_restart, 2, false},
    {"check", do_check, 3, false},
};

enum { ACTION_END, ACTION_SWITCH };

static int choose_action(void)
{
    static uint8_t table[256];
    static bool filled;

    if (!filled) {
        size_t at = 0;
        for (size_t i = 0; i < sizeof(actions) / sizeof(actions[0]); i++)
            for (int n = 0; n < actions[i].weight && at < sizeof(table); n++)
                table[at++] = (uint8_t)i;
        while (at < sizeof(table))
            table[at++] = ACTION_SWITCH;
        filled = true;
    }
    return table[next_byte()];
}

static bool has_room(void)
{
    return held_used + 16 * VARS < HELD_MOST && contexts_used + 40 < CONTEXTS_MOST;
}

static bool verbose;

static void switch_to(struct worker *worker, int other)
{
    if (other == worker->number)
        return;
    fuzz_worker = other;
    give(&workers[other].turn);
    wait_for(&worker->turn);
    fuzz_worker = worker->number;
}

/* Carries out what follows until the end of the body, of the thread, or of the input. */
static void interpret(struct worker *worker)
{
    worker->depth++;
    while (!stopped && !worker->wants_to_end) {
        if (fuzz_at >= input_size || !has_room()) {
            stopped = true;
            give(&driver_turn);
            wait_for(&worker->turn);
            fuzz_worker = worker->number;
            break;
        }
        size_t at = fuzz_at;
        int action = choose_action();
        fuzz_doing = actions[action].name;
        if (verbose)
            fprintf(stderr, "%5zu %*s%d: %s\n", at, worker->depth * 2, "", worker->number, fuzz_doing);
        if (action == ACTION_END) {
            if (worker->depth > 1)
                break;
        } else if (action == ACTION_SWITCH) {
            switch_to(worker, next_below(WORKERS));
        } else if (!actions[action].has_body || worker->depth <= DEPTH_MOST) {
            int depth = worker->depth;
            if (actions[action].act == do_restart)
                worker->depth--; /* it asks whether it is at the outermost level */
            actions[action].act(worker);
            worker->depth = depth;
            settle();
            check_current(worker);
        }
    }
    worker->depth--;
}

static void *worker_main(void *argument)
{
    struct worker *worker = argument;

    capture_number = worker->number + 500;
    if (xctx_current()) {
        /* Started by xctx_thread_create(): tell the creator, which has the baton, what we are in. */
        worker->inherited = xctx_current();
        give(&worker->started);
    }
    wait_for(&worker->turn);
    fuzz_worker = worker->number;
    interpret(worker);
    if (!stopped)
        give(&driver_turn);
    return NULL;
}

static void start_worker(struct worker *worker)
{
    EXPECT(pthread_create(&worker->thread, NULL, worker_main, worker) == 0, "pthread_create");
}

/* The worker's thread has left interpret() and ends. */
static void end_worker(struct worker *worker)
{
    EXPECT(pthread_join(worker->thread, NULL) == 0, "pthread_join");
    thread_end(worker->number);
    settle();
}

static void replace_worker(struct worker *worker)
{
    fuzz_doing = "restart";
    end_worker(worker);
    worker->wants_to_end = false;
    if (worker->has_successor) {
        worker->has_successor = false;
        worker->thread = worker->successor;
        threads[worker->number].stack[threads[worker->number].depth++] = worker->first_entered;
    } else {
        start_worker(worker);
    }
    give(&worker->turn);
}

static void clean_up(void)
{
    fuzz_doing = "cleaning up";
    for (int i = 0; i < HANDLES; i++) {
        put_handle(i, NULL);
        settle();
    }
    for (int i = 0; i < TOKENS; i++) {
        drop_token(&tokens[i]);
        tokens[i].state = TOKEN_NONE;
        settle();
    }
    for (int i = 0; i < BOUNDS; i++) {
        unref_bound(&bounds[i]);
        settle();
    }
    for (int i = 0; i < WATCHERS; i++) {
        if (watchers[i].user)
            EXPECT(xctx_unwatch(i) == 0, "xctx_unwatch(%d)", i);
        watchers[i].user = NULL;
    }
    for (int i = STATIC_VARS; i < VARS; i++) {
        if (variables[i].live)
            xctx_var_unref(variables[i].real);
        variables[i] = (struct variable){0};
    }
    for (size_t i = 0; i < contexts_used; i++)
        EXPECT(context_pool[i].gone, "the model is left with a context");
}

static void run_in_lockstep(const uint8_t *data, size_t size)
{
    input = data;
    input_size = size;
    fuzz_at = 0;
    stopped = false;
    held_used = contexts_used = 0;
    memset(threads, 0, sizeof(threads));
    logging = true;
    verbose = getenv("XCTX_FUZZ_VERBOSE") != NULL;

    EXPECT(sem_init(&driver_turn, 0, 0) == 0, "sem_init");
    for (int i = 0; i < WORKERS; i++) {
        workers[i] = (struct worker){.number = i};
        EXPECT(sem_init(&workers[i].turn, 0, 0) == 0 && sem_init(&workers[i].started, 0, 0) == 0, "sem_init");
        start_worker(&workers[i]);
    }
    give(&workers[0].turn);
    for (wait_for(&driver_turn); !stopped; wait_for(&driver_turn)) {
        for (int i = 0; i < WORKERS; i++) {
            if (workers[i].wants_to_end) {
                replace_worker(&workers[i]);
                break;
            }
        }
    }
    for (int i = 0; i < HANDLES; i++) {
        fuzz_doing = "checking all";
        if (handles[i])
            check_wholly(NULL, handles[i]);
        settle();
    }
    for (int i = 0; i < WORKERS; i++) {
        fuzz_doing = "ending threads";
        give(&workers[i].turn);
        end_worker(&workers[i]);
    }
    clean_up();
    for (int i = 0; i < WORKERS; i++) {
        sem_destroy(&workers[i].turn);
        sem_destroy(&workers[i].started);
    }
    sem_destroy(&driver_turn);
    logging = false;
}

#endif
