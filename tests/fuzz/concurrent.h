/* SPDX-License-Identifier: MIT */
/*
 * Three threads that carry out calls at the same time, on contexts and a bound function that they share and on a
 * mailbox through which they hand contexts to each other. Results depend on who is quicker, so that only this is
 * checked:
 *
 *   - of the threads that enter a shared context one is in it at a time, and sees what it has set itself;
 *   - whoever is in a shared context sets LEFT, then RIGHT to one number: any copy shows LEFT == RIGHT or
 *     LEFT == RIGHT + 1, and so do two copies of a copy, which are equal;
 *   - what can be got from a context is alive as long as it cannot be changed there;
 *   - scoped bindings are gone after their block;
 *   - in the end everything is released (fuzz_api.c).
 */
#ifndef XCTX_FUZZ_CONCURRENT_H
#define XCTX_FUZZ_CONCURRENT_H

#include <pthread.h>
#include <sched.h>

#include "model.h"

enum { SHARED = 3, OWN = 4, LEFT = 14, RIGHT = 28, COUNTED = 1, CLONED = 3, FAR = STATIC_VARS - 5 };

static struct shared {
    xctx_context *context;
    atomic_int inside;
    long number; /* of LEFT and RIGHT; belongs to who is inside */
} shared[SHARED];

static xctx_bound *shared_bound;
static xctx_context *_Atomic mailbox[2];
static atomic_int gate;
static atomic_int watched;

struct racer {
    const uint8_t *data;
    size_t size;
    size_t at;
    int number;
    xctx_context *own[OWN];
};

static unsigned racer_byte(struct racer *racer)
{
    return racer->at < racer->size ? racer->data[racer->at++] : 0;
}

static int check_value(xctx_var *var, void *value, void *user)
{
    (void)user;
    if (value && xctx_var_get_options(var)->release == op_release)
        object_number(value);
    return 0;
}

static long plain_in(xctx_context *context, int i)
{
    void *value = NULL;
    xctx_lookup(context, variables[i].real, &value);
    return (long)(intptr_t)value;
}

/* A context that nobody changes. */
static void check_copy(xctx_context *copy)
{
    long left = plain_in(copy, LEFT);
    long right = plain_in(copy, RIGHT);

    EXPECT(left == right || left == right + 1, "a copy shows %ld and %ld", left, right);
    EXPECT(xctx_each(copy, check_value, NULL) == 0, "xctx_each()");
    EXPECT(xctx_lookup(copy, variables[CLONED].real, NULL) == 0 || xctx_count(copy) > 0, "xctx_count()");
}

static void set_object(int i, long number)
{
    struct object *object = object_new(number);

    EXPECT(xctx_var_set(variables[i].real, object, NULL) == 0, "xctx_var_set()");
    object_drop(object);
}

static void work_inside(struct racer *racer, struct shared *place)
{
    int was = atomic_exchange(&place->inside, racer->number + 1);
    EXPECT(was == 0, "racers %d and %d are in one context", was - 1, racer->number);
    unsigned byte = racer_byte(racer);
    for (unsigned n = 0; n < byte % 8; n++) {
        long number = ++place->number;
        xctx_token token;
        EXPECT(xctx_var_set(variables[LEFT].real, (void *)(intptr_t)number, NULL) == 0, "set");
        if (byte & 32)
            sched_yield();
        EXPECT(xctx_var_set(variables[RIGHT].real, (void *)(intptr_t)number, NULL) == 0, "set");
        set_object(COUNTED, number);
        if (byte & 8)
            set_object(FAR - FAR % KINDS + COUNTED, number);
        if (byte & 64)
            set_object(CLONED, number);
        EXPECT(xctx_var_set(variables[0].real, place, &token) == 0, "set");
        EXPECT(object_number(xctx_var_get(variables[COUNTED].real)) == number, "another value than the one set");
        EXPECT(xctx_var_get(variables[0].real) == place, "another value than the one set");
        EXPECT(xctx_var_reset(variables[0].real, &token) == 0, "reset");
        EXPECT((long)(intptr_t)xctx_var_get(variables[LEFT].real) == number, "another value than the one set");
        if (byte & 16) {
            void *before = xctx_var_get(variables[14].real);
            XCTX_LET (variables[0].real, racer) {
                xctx_context *copy = xctx_copy_current();
                EXPECT(copy && plain_in(copy, 0) == (long)(intptr_t)racer, "a copy within a scoped binding lacks it");
                check_copy(copy);
                xctx_unref(copy);
            }
            EXPECT(xctx_var_get(variables[14].real) == before, "a scoped binding changes another variable");
            EXPECT(!xctx_var_get(variables[0].real), "a scoped binding is not undone");
        }
    }
    was = atomic_exchange(&place->inside, 0);
    EXPECT(was == racer->number + 1, "racer %d came in between", was - 1);
}

static void *work_in_run(void *argument)
{
    struct racer *racer = argument;
    struct shared *place = NULL;

    for (int i = 0; i < SHARED; i++)
        if (shared[i].context == xctx_current())
            place = &shared[i];
    EXPECT(place, "in another context");
    work_inside(racer, place);
    return racer;
}

static void *work_bound(void *argument)
{
    (void)argument;
    set_object(COUNTED, 1);
    check_copy(xctx_current());
    EXPECT(xctx_var_get(variables[0].real) == &shared_bound, "a bound function lacks its creator's value");
    EXPECT(xctx_var_set(variables[0].real, NULL, NULL) == 0, "set");
    return &shared_bound;
}

static void count_switch(xctx_context *current, void *user)
{
    atomic_int *counter = user;

    EXPECT(current == xctx_current(), "a watcher is told another context");
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

static void put_own(struct racer *racer, unsigned slot, xctx_context *context)
{
    EXPECT(context, "no context");
    xctx_unref(racer->own[slot % OWN]);
    racer->own[slot % OWN] = context;
}

static void race_step(struct racer *racer)
{
    unsigned action = racer_byte(racer);
    unsigned byte = racer_byte(racer);
    struct shared *place = &shared[byte % SHARED];
    xctx_context **own = &racer->own[byte / 4 % OWN];
    int error;

    switch (action % 16) {
    case 0:
    case 1:
        error = xctx_enter(place->context);
        EXPECT(error == 0 || error == -EBUSY, "xctx_enter() gives %d", error);
        if (error == 0) {
            work_inside(racer, place);
            EXPECT(xctx_exit(place->context) == 0, "xctx_exit()");
        }
        break;
    case 2:
        error = xctx_run(place->context, work_in_run, racer, NULL);
        EXPECT(error == 0 || error == -EBUSY, "xctx_run() gives %d", error);
        break;
    case 3:
    case 4:
        for (unsigned n = 0; n < action / 16; n++) {
            xctx_context *copy = xctx_copy(place->context);
            put_own(racer, n, copy);
            check_copy(copy);
        }
        break;
    case 5:
        if (!*own)
            break;
        xctx_context *copy = xctx_copy(*own);
        EXPECT(copy && xctx_count(copy) == xctx_count(*own), "a copy has another size");
        EXPECT(xctx_lookup(copy, variables[CLONED].real, NULL) || xctx_equal(copy, *own), "a copy is not equal");
        xctx_unref(copy);
        break;
    case 6:
        if (*own && xctx_enter(*own) == 0) {
            set_object(COUNTED, 5);
            put_own(racer, byte / 16, xctx_copy_current());
            set_object(FAR - FAR % KINDS + COUNTED, 6);
            EXPECT(xctx_exit(xctx_current()) == 0, "xctx_exit()");
        }
        break;
    case 7:
    case 8:
        *own = atomic_exchange(&mailbox[byte & 1], *own);
        break;
    case 9:
        *own = xctx_unref(*own);
        break;
    case 10:
        (void)xctx_count(place->context);
        (void)xctx_lookup(place->context, variables[COUNTED].real, NULL);
        (void)xctx_equal(place->context, shared[byte / 4 % SHARED].context);
        break;
    case 11:
        EXPECT(xctx_each(place->context, check_value, NULL) == 0, "xctx_each()");
        break;
    case 12:
        EXPECT(xctx_merge(place->context) == 0, "xctx_merge()");
        break;
    case 13:
        EXPECT(xctx_bound_call(shared_bound) == &shared_bound, "xctx_bound_call()");
        break;
    case 14:
        set_object(COUNTED, byte);
        put_own(racer, byte, xctx_copy_current());
        break;
    default:
        error = xctx_watch(count_switch, &watched);
        EXPECT(error >= 0 || error == -ENOSPC, "xctx_watch() gives %d", error);
        if (error >= 0)
            EXPECT(xctx_unwatch(error) == 0, "xctx_unwatch()");
        break;
    }
}

static void *race(void *argument)
{
    struct racer *racer = argument;

    atomic_fetch_add(&gate, 1);
    while (atomic_load(&gate) < WORKERS)
        sched_yield();
    while (racer->at < racer->size)
        race_step(racer);
    /* Some end in a context that they have entered. */
    if (racer->size % 2 && racer->own[0] && xctx_enter(racer->own[0]) == 0)
        set_object(COUNTED, 7);
    for (int i = 0; i < OWN; i++)
        xctx_unref(racer->own[i]);
    return NULL;
}

static void run_concurrently(const uint8_t *data, size_t size)
{
    struct racer racers[WORKERS] = {{0}};
    pthread_t racing[WORKERS];

    fuzz_doing = "concurrent calls";
    logging = false;
    atomic_store(&gate, 0);
    xctx_context *base = xctx_new();
    EXPECT(base && xctx_enter(base) == 0, "no context");
    for (int i = 0; i < SHARED; i++) {
        shared[i].context = i % 2 ? xctx_copy_current() : xctx_new();
        atomic_init(&shared[i].inside, 0);
        shared[i].number = 0;
        EXPECT(shared[i].context, "no context");
    }
    EXPECT(xctx_var_set(variables[0].real, &shared_bound, NULL) == 0, "set");
    shared_bound = xctx_bind(work_bound, NULL);
    EXPECT(shared_bound, "xctx_bind()");
    for (int i = 0; i < WORKERS; i++) {
        size_t share = size / WORKERS;
        racers[i] = (struct racer){.data = data + share * (size_t)i, .size = share, .number = i};
        EXPECT(pthread_create(&racing[i], NULL, race, &racers[i]) == 0, "pthread_create");
    }
    for (int i = 0; i < WORKERS; i++)
        EXPECT(pthread_join(racing[i], NULL) == 0, "pthread_join");
    for (int i = 0; i < SHARED; i++) {
        check_copy(shared[i].context);
        shared[i].context = xctx_unref(shared[i].context);
    }
    for (int i = 0; i < 2; i++)
        xctx_unref(atomic_exchange(&mailbox[i], NULL));
    shared_bound = xctx_bound_unref(shared_bound);
    EXPECT(xctx_exit(base) == 0, "xctx_exit()");
    xctx_unref(base);
}

#endif
