/* SPDX-License-Identifier: MIT */
/* Two threads set the same variable for the first time at the same moment: neither set is lost. */
#include "../support/counted.h"
#include "../support/threads.h"

#define DEFINE(n) static XCTX_VAR_DEFINE(counted_##n, .retain = counted_retain, .release = counted_release);
#define ALL(of)                                                                                                        \
    of(0) of(1) of(2) of(3) of(4) of(5) of(6) of(7) of(8) of(9) of(10) of(11) of(12) of(13) of(14) of(15) of(16)       \
        of(17) of(18) of(19) of(20) of(21) of(22) of(23) of(24) of(25) of(26) of(27) of(28) of(29) of(30) of(31)

ALL(DEFINE)

#define ADDRESS(n) &counted_##n,
static xctx_var *const defined[] = {ALL(ADDRESS)};

enum { THREADS = 2, DEFINED = sizeof(defined) / sizeof(defined[0]) };

static XCTX_VAR_DEFINE(never_set);

struct setters {
    long rounds;
    bool created; /* made at run time, not defined in this file */
    _Atomic(xctx_var *) var;
    struct meeting meeting;
    atomic_long lost;
};

struct setter {
    struct setters *all;
    int index;
};

static void set_once(struct setters *all, xctx_var *var, uint32_t pause, long n)
{
    struct counted *value = counted_new(n);
    void *found = NULL;
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    meet(&all->meeting);
    for (volatile uint32_t i = 0; i < pause; i = i + 1)
        ;
    CHECK(xctx_var_set(var, value, NULL) == 0);
    if (xctx_var_get(var) != value || xctx_lookup(context, var, &found) != 1 || found != value ||
        xctx_count(context) != 1 || xctx_var_find(&never_set, &found) != 0)
        atomic_fetch_add(&all->lost, 1);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    counted_drop(value);
}

static void *set(void *arg)
{
    const struct setter *setter = arg;
    struct setters *all = setter->all;
    const xctx_var_options options = {.size = sizeof(options), .retain = counted_retain, .release = counted_release};
    uint32_t random = 77u + (uint32_t)setter->index;

    for (long n = 0; n < all->rounds; n++) {
        if (setter->index == 0)
            atomic_store(&all->var, all->created ? xctx_var_create("created", &options) : defined[n]);
        meet(&all->meeting);
        xctx_var *var = atomic_load(&all->var);
        CHECK(var != NULL);
        set_once(all, var, setter->index ? random_next(&random) % 300 : random_next(&random) % 60, n);
        meet(&all->meeting);
        if (setter->index == 0 && all->created)
            xctx_var_unref(var);
    }
    return NULL;
}

static void check_first_sets(bool created, long rounds)
{
    struct setters all = {.rounds = rounds, .created = created};
    struct setter setters[THREADS];
    pthread_t threads[THREADS];

    meeting_init(&all.meeting, THREADS);
    for (int i = 0; i < THREADS; i++) {
        setters[i] = (struct setter){&all, i};
        threads[i] = spawn(set, &setters[i]);
    }
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    assert_int_equal(atomic_load(&all.lost), 0);
}

TEST(no_first_set_of_a_defined_variable_is_lost)
{
    check_first_sets(false, DEFINED);
}

TEST(no_first_set_of_a_created_variable_is_lost)
{
    check_first_sets(true, scaled(30000));
}

int main(void)
{
    return test_main("first sets at the same moment");
}
