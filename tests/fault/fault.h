/* SPDX-License-Identifier: MIT */
/*
 * Makes every allocation of a call fail, one after the other.
 *
 * A scenario is prepared, the call is made with its first allocation failing, then everything that can be seen is
 * compared with what was there before; then the call is made again with memory and must succeed. The same from the
 * beginning with the second allocation failing, and so on, until a call does not get as far as the one that was to
 * fail. Each of these rounds runs on a thread of its own, so that nothing is left over from the round before, with and
 * without the barrier (xctx__test_set_bias()).
 */
#ifndef XCTX_TEST_FAULT_H
#define XCTX_TEST_FAULT_H

#include "counted.h"
#include "test.h"
#include "threads.h"

#include "context/memory.h"

#ifndef XCTX_TEST_BUILD
#error "tests/fault needs a test build"
#endif

enum {
    WORLD_CONTEXTS = 4,
    WORLD_VARS = 40,
    NOWHERE = 0x5eed,  /* what results hold before a call */
    ROUNDS_MOST = 200, /* more allocations than any call makes */
    PARKED_MOST = 400,
    PARKED_ROUNDS = 3, /* a thread's first use allocates at the beginning of a call */
};

struct seen {
    int result;
    void *value;
};

enum { HOARD = 4, HOARD_VARS = 4 };

struct world {
    /* For a scenario's own use. The contexts are looked into before and after. */
    xctx_context *contexts[WORLD_CONTEXTS];
    struct counted *values[4];
    xctx_token token;
    xctx_bound *bound;
    xctx_context *made;
    xctx_var *var;
    void *result;
    pthread_t thread;
    xctx_context *hoard[HOARD];
    /* What can be seen. */
    xctx_context *current;
    size_t counts[WORLD_CONTEXTS];
    struct seen looked_up[WORLD_CONTEXTS][WORLD_VARS];
    struct seen found[WORLD_VARS];
    int refs[4];
    xctx_token token_before;
};

struct scenario {
    void (*outside)(struct world *world); /* on the main thread, before */
    void (*prepare)(struct world *world); /* on the thread of the round */
    int (*call)(struct world *world);     /* 0 or -ENOMEM */
    void (*succeeded)(struct world *world);
    bool first_use;   /* the call is the first that its thread makes */
    bool never_fails; /* and so it must succeed without memory */
    bool may_go_on;   /* it may do without an allocation that fails: what makes many copies quick, say */
};

/* The variables whose values are compared. */
static xctx_var *world_vars[WORLD_VARS];
static int world_var_count;

static inline void world_add_var(xctx_var *var)
{
    CHECK(world_var_count < WORLD_VARS);
    world_vars[world_var_count++] = var;
}

static inline void look_at_contexts(const struct world *world, size_t counts[WORLD_CONTEXTS],
                                    struct seen seen[WORLD_CONTEXTS][WORLD_VARS])
{
    for (int i = 0; i < WORLD_CONTEXTS; i++) {
        counts[i] = xctx_count(world->contexts[i]);
        for (int n = 0; n < world_var_count; n++) {
            seen[i][n].value = number(NOWHERE);
            seen[i][n].result = xctx_lookup(world->contexts[i], world_vars[n], &seen[i][n].value);
        }
    }
}

/* Needs no memory, also on first use. */
static inline void look_at_thread(struct seen seen[WORLD_VARS])
{
    for (int n = 0; n < world_var_count; n++) {
        seen[n].value = number(NOWHERE);
        seen[n].result = xctx_var_find(world_vars[n], &seen[n].value);
    }
}

static inline void remember(struct world *world)
{
    world->current = xctx_current();
    look_at_thread(world->found);
    for (int i = 0; i < 4; i++)
        world->refs[i] = world->values[i] ? counted_refs(world->values[i]) : 0;
    world->token_before = world->token;
    world->result = number(NOWHERE);
}

static inline void check_unchanged(const struct world *world)
{
    size_t counts[WORLD_CONTEXTS];
    struct seen looked_up[WORLD_CONTEXTS][WORLD_VARS];
    struct seen found[WORLD_VARS];

    CHECK(xctx_current() == world->current);
    look_at_thread(found);
    look_at_contexts(world, counts, looked_up);
    for (int n = 0; n < world_var_count; n++) {
        CHECK(found[n].result == world->found[n].result);
        CHECK(found[n].value == world->found[n].value);
        for (int i = 0; i < WORLD_CONTEXTS; i++) {
            CHECK(looked_up[i][n].result == world->looked_up[i][n].result);
            CHECK(looked_up[i][n].value == world->looked_up[i][n].value);
        }
    }
    for (int i = 0; i < WORLD_CONTEXTS; i++)
        CHECK(counts[i] == world->counts[i]);
    for (int i = 0; i < 4; i++)
        CHECK(!world->values[i] || counted_refs(world->values[i]) == world->refs[i]);
    CHECK(memcmp(&world->token, &world->token_before, sizeof(world->token)) == 0);
    CHECK(world->result == number(NOWHERE));
}

/* Takes what the thread has kept for its next allocations. */
static inline void hoard(struct world *world)
{
    for (int i = 0; i < HOARD; i++) {
        world->hoard[i] = xctx_new();
        CHECK(world->hoard[i] && xctx_enter(world->hoard[i]) == 0);
        for (int n = 0; n < HOARD_VARS; n++)
            CHECK(xctx_var_set(world_vars[n], NULL, NULL) == 0);
        CHECK(xctx_exit(world->hoard[i]) == 0);
    }
}

struct round {
    const struct scenario *scenario;
    long nth;
    struct world world;
    bool reached; /* the allocation that was to fail */
};

static inline void *run_round(void *argument)
{
    struct round *round = argument;
    const struct scenario *scenario = round->scenario;
    struct world *world = &round->world;

    if (!scenario->first_use) {
        if (scenario->prepare)
            scenario->prepare(world);
        hoard(world);
        look_at_contexts(world, world->counts, world->looked_up);
    }
    remember(world);
    xctx__test_fail_allocation(round->nth);
    int error = scenario->call(world);
    round->reached = xctx__test_fail_allocation(0) >= round->nth;
    if (error && round->reached) {
        CHECK(!scenario->never_fails);
        CHECK(error == -ENOMEM);
        check_unchanged(world);
        error = scenario->call(world);
    } else {
        CHECK(!round->reached || scenario->never_fails || scenario->may_go_on);
    }
    CHECK(error == 0);
    if (scenario->succeeded)
        scenario->succeeded(world);
    while (xctx_current() && xctx_exit(xctx_current()) == 0)
        ;
    return NULL;
}

static inline void world_finish(struct world *world)
{
    world->made = xctx_unref(world->made);
    world->bound = xctx_bound_unref(world->bound);
    world->var = xctx_var_unref(world->var);
    xctx_token_drop(&world->token);
    for (int i = 0; i < WORLD_CONTEXTS; i++)
        xctx_unref(world->contexts[i]);
    for (int i = 0; i < HOARD; i++)
        xctx_unref(world->hoard[i]);
    for (int i = 0; i < 4; i++) {
        if (world->values[i]) {
            /* Ours is the last one, as the contexts are gone. */
            CHECK(counted_refs(world->values[i]) == 1);
            counted_drop(world->values[i]);
        }
    }
}

/*
 * The library keeps what it knows of threads that have ended for those to come. Parked threads hold all of that, so
 * that the first use on a new thread has to allocate.
 */
struct parked {
    pthread_t thread;
    sem_t ready;
    sem_t go;
    long allocations;
};

static struct parked parked[PARKED_MOST];
static int parked_count;

static inline void *park(void *argument)
{
    struct parked *place = argument;

    xctx__test_fail_allocation(0);
    xctx_context *context = xctx_new();
    place->allocations = xctx__test_fail_allocation(0);
    CHECK(context);
    xctx_unref(context);
    CHECK(sem_post(&place->ready) == 0);
    sem_wait_for(&place->go);
    return NULL;
}

/* Whether the thread that is parked had to allocate more than a context. */
static inline bool park_one(void)
{
    CHECK(parked_count < PARKED_MOST);
    struct parked *place = &parked[parked_count++];
    CHECK(sem_init(&place->ready, 0, 0) == 0 && sem_init(&place->go, 0, 0) == 0);
    place->thread = spawn(park, place);
    sem_wait_for(&place->ready);
    return place->allocations > 1;
}

static inline void leave_no_record(void)
{
    if (parked_count > 0)
        park_one(); /* takes the one that the last round has left */
    else
        while (!park_one())
            ;
}

static inline void unpark_all(void)
{
    for (int i = 0; i < parked_count; i++) {
        CHECK(sem_post(&parked[i].go) == 0);
        join(parked[i].thread);
        sem_destroy(&parked[i].ready);
        sem_destroy(&parked[i].go);
    }
    parked_count = 0;
}

/* Rounds until an allocation that is to fail is not reached, or one that does not count any more. */
static inline bool fail_each_of(const struct scenario *scenario, long rounds, bool parking)
{
    struct round round = {.scenario = scenario};
    bool failed = false;

    do {
        round.nth++;
        memset(&round.world, 0, sizeof(round.world));
        if (scenario->outside)
            scenario->outside(&round.world);
        look_at_contexts(&round.world, round.world.counts, round.world.looked_up);
        if (parking)
            leave_no_record();
        on_thread(run_round, &round);
        world_finish(&round.world);
        failed = failed || round.reached;
    } while (round.reached && round.nth < rounds);
    CHECK(!round.reached || rounds < ROUNDS_MOST);
    return failed;
}

static inline void fail_each(const struct scenario *scenario)
{
    for (int bias = 1; bias >= 0; bias--) {
        xctx__test_set_bias(bias);
        bool failed = fail_each_of(scenario, ROUNDS_MOST, false);
        if (scenario->first_use) {
            failed = fail_each_of(scenario, PARKED_ROUNDS, true) || failed;
            unpark_all();
        }
        /* A scenario in which nothing is allocated tests nothing, unless that is what it says. */
        CHECK(failed || scenario->never_fails);
    }
    xctx__test_set_bias(1);
}

/* Values that the world owns a reference to. */
static inline void make_values(struct world *world)
{
    for (int i = 0; i < 4; i++)
        if (!world->values[i])
            world->values[i] = counted_new(i + 1);
}

/* ---- the variables ---- */

static inline void *fault_clone(void *value)
{
    return counted_clone(value);
}

static inline void *fault_merge(void *parent, void *child)
{
    return counted_new((parent ? counted_number(parent) : 0) * 10 + (child ? counted_number(child) : 0));
}

static long applied_now;

static inline void *fault_apply(void *value)
{
    applied_now += 1;
    return value;
}

static inline void fault_undo(void *saved)
{
    (void)saved;
    applied_now -= 1;
}

static inline void *fault_capture(void)
{
    return counted_new(99);
}

XCTX_VAR_DEFINE(plain);
XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);
XCTX_VAR_DEFINE(cloned, .retain = counted_retain, .release = counted_release, .clone = fault_clone,
                .flow = XCTX_FLOW_CLONE);
XCTX_VAR_DEFINE(unshared, .flow = XCTX_FLOW_NONE);
XCTX_VAR_DEFINE(hooked, .enter = fault_apply, .leave = fault_undo);
XCTX_VAR_DEFINE(merged, .retain = counted_retain, .release = counted_release, .merge = fault_merge);
/* Beyond the array of a test build's maps. */
XCTX_VAR_DEFINE(far_plain);
XCTX_VAR_DEFINE(far_counted, .retain = counted_retain, .release = counted_release);
XCTX_VAR_DEFINE(far_cloned, .retain = counted_retain, .release = counted_release, .clone = fault_clone,
                .flow = XCTX_FLOW_CLONE);
XCTX_VAR_DEFINE(far_hooked, .enter = fault_apply, .leave = fault_undo);
XCTX_VAR_DEFINE(far_merged, .retain = counted_retain, .release = counted_release, .merge = fault_merge);
XCTX_VAR_DEFINE(farther_plain); /* in a higher tree than the others */
XCTX_VAR_DEFINE(farther_counted, .retain = counted_retain, .release = counted_release);

static inline void number_padding(int count)
{
    for (int i = 0; i < count; i++) {
        xctx_var *padding = xctx_var_create("padding", NULL);
        CHECK(padding && xctx_var_set(padding, NULL, NULL) == 0);
        xctx_var_unref(padding);
    }
}

/* Uses the variables once, so that each has a number of the size that its name promises. */
__attribute__((constructor)) static void number_variables(void)
{
    xctx_var *const near[] = {&plain, &counted, &cloned, &unshared, &hooked, &merged};
    xctx_var *const far[] = {&far_plain, &far_counted, &far_cloned, &far_hooked, &far_merged};
    xctx_var *const farther[] = {&farther_plain, &farther_counted};
    xctx_context *context = xctx_new();

    CHECK(context && xctx_enter(context) == 0);
    for (size_t i = 0; i < sizeof(near) / sizeof(near[0]); i++) {
        CHECK(xctx_var_set(near[i], NULL, NULL) == 0);
        world_add_var(near[i]);
    }
    number_padding(XCTX__FLAT_LIMIT - (int)(sizeof(near) / sizeof(near[0])));
    for (size_t i = 0; i < sizeof(far) / sizeof(far[0]); i++) {
        CHECK(xctx_var_set(far[i], NULL, NULL) == 0);
        world_add_var(far[i]);
    }
    number_padding(200);
    for (size_t i = 0; i < sizeof(farther) / sizeof(farther[0]); i++) {
        CHECK(xctx_var_set(farther[i], NULL, NULL) == 0);
        world_add_var(farther[i]);
    }
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    CHECK(plain.id_ < XCTX__FLAT_LIMIT && merged.id_ < XCTX__FLAT_LIMIT && far_plain.id_ >= XCTX__FLAT_LIMIT);
}

/* ---- preparations ---- */

static inline void set(xctx_var *var, void *value)
{
    CHECK(xctx_var_set(var, value, NULL) == 0);
}

/* Puts a value of each kind into the current context. */
static inline void fill(struct world *world)
{
    make_values(world);
    set(&plain, number(1));
    set(&counted, world->values[0]);
    set(&cloned, world->values[1]);
    set(&unshared, number(2));
    set(&merged, world->values[2]);
    set(&far_plain, number(3));
    set(&far_counted, world->values[0]);
    set(&far_cloned, world->values[1]);
    set(&far_merged, world->values[2]);
}

/* contexts[i], entered by the running thread. */
static inline void enter_new(struct world *world, int i)
{
    world->contexts[i] = xctx_new();
    CHECK(world->contexts[i] && xctx_enter(world->contexts[i]) == 0);
}

static inline void in_empty(struct world *world)
{
    make_values(world);
    enter_new(world, 0);
}

static inline void in_full(struct world *world)
{
    enter_new(world, 0);
    fill(world);
}

/* In a full context whose map a copy shares, contexts[1]. */
static inline void in_shared(struct world *world)
{
    enter_new(world, 0);
    make_values(world);
    set(&plain, number(1));
    set(&counted, world->values[0]);
    set(&far_plain, number(3));
    set(&far_counted, world->values[1]);
    set(&farther_plain, number(4));
    world->contexts[1] = xctx_copy_current();
    CHECK(world->contexts[1]);
}

/* contexts[2] is full, and not entered. */
static inline void with_full(struct world *world)
{
    enter_new(world, 2);
    fill(world);
    CHECK(xctx_exit(world->contexts[2]) == 0);
}

static inline void with_hooked(struct world *world)
{
    enter_new(world, 2);
    fill(world);
    set(&hooked, number(1));
    set(&far_hooked, number(2));
    CHECK(xctx_exit(world->contexts[2]) == 0);
}

#endif
