/* SPDX-License-Identifier: MIT */
/* Threads that copy and read a context while its thread writes: what they see is a state that there was. */
#include "../support/counted.h"
#include "../support/threads.h"

enum { READERS = 3, SPREAD = 200 };

static XCTX_VAR_DEFINE(ahead);
static XCTX_VAR_DEFINE(behind);
static XCTX_VAR_DEFINE(counted_ahead, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(counted_behind, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(let_bound);

static xctx_var *spread[SPREAD];

/*
 * The writer sets `ahead` to n and then `behind` to n, for n = 1, 2, ...; each set is a step of its own, so that every
 * state has ahead == behind or ahead == behind + 1, and no later state has smaller numbers.
 */
struct scene {
    xctx_context *context;
    atomic_bool stop;
    atomic_bool started;
    xctx_var *ahead;
    xctx_var *behind;
    bool counted;
    bool lets;
    long rounds;
    long next;
};

static long in_context(xctx_context *context, xctx_var *var, bool is_counted)
{
    void *value = NULL;
    CHECK(xctx_lookup(context, var, &value) == 1);
    return is_counted ? counted_number(value) : as_number(value);
}

static void set_to(const struct scene *scene, xctx_var *var, long n)
{
    if (scene->counted)
        counted_set(var, n);
    else
        CHECK(xctx_var_set(var, number(n), NULL) == 0);
}

static void *write_pairs(void *arg)
{
    struct scene *scene = arg;
    CHECK(xctx_enter(scene->context) == 0);
    set_to(scene, scene->ahead, 0);
    set_to(scene, scene->behind, 0);
    atomic_store(&scene->started, true);
    for (long n = 1; n <= scene->rounds; n++) {
        set_to(scene, scene->ahead, n);
        set_to(scene, scene->behind, n);
        if (scene->lets) {
            XCTX_LET (&let_bound, number(n)) {
                CHECK(as_number(xctx_var_get(&let_bound)) == n);
            }
        }
        if (n % 64 == 0) {
            xctx_context *copy = xctx_copy_current();
            CHECK(xctx_enter(copy) == 0);
            set_to(scene, scene->ahead, -1);
            CHECK(xctx_exit(copy) == 0);
            xctx_unref(copy);
        }
        if (n % 1000 == 0) { /* leaves and enters again, so that the readers meet it in all its states */
            CHECK(xctx_exit(scene->context) == 0);
            CHECK(xctx_enter(scene->context) == 0);
        }
    }
    CHECK(xctx_exit(scene->context) == 0);
    atomic_store(&scene->stop, true);
    return NULL;
}

static void *copy_and_check(void *arg)
{
    struct scene *scene = arg;
    long last = 0;
    long copies = 0;
    while (!atomic_load(&scene->started))
        sched_yield();
    do {
        xctx_context *copy = xctx_copy(scene->context);
        CHECK(copy != NULL);
        long first = in_context(copy, scene->ahead, scene->counted);
        long second = in_context(copy, scene->behind, scene->counted);
        CHECK(first == second || first == second + 1);
        CHECK(second >= last);
        last = second;
        if (copies % 3 == 0) {
            CHECK(xctx_enter(copy) == 0);
            set_to(scene, scene->behind, -1);
            CHECK(xctx_exit(copy) == 0);
        }
        xctx_unref(copy);
        copies++;
        if (copies % 16 == 0)
            sched_yield();
    } while (!atomic_load(&scene->stop));
    return number(copies);
}

struct pair {
    const struct scene *scene;
    long ahead;
    long behind;
};

static int collect(xctx_var *var, void *value, void *user)
{
    struct pair *pair = user;
    long n = 0;
    if (var == pair->scene->ahead || var == pair->scene->behind)
        n = pair->scene->counted ? counted_number(value) : as_number(value);
    if (var == pair->scene->ahead)
        pair->ahead = n;
    if (var == pair->scene->behind)
        pair->behind = n;
    return 0;
}

static void *walk_and_check(void *arg)
{
    struct scene *scene = arg;
    long last = 0;
    while (!atomic_load(&scene->started))
        sched_yield();
    do {
        struct pair pair = {scene, -1, -1};
        CHECK(xctx_each(scene->context, collect, &pair) == 0);
        CHECK(pair.ahead == pair.behind || pair.ahead == pair.behind + 1);
        CHECK(pair.behind >= last);
        last = pair.behind;
        size_t count = xctx_count(scene->context);
        CHECK(count >= 2 && count <= 3 + SPREAD);
        xctx_equal(scene->context, xctx_current());
        if (!scene->counted) {
            long second = in_context(scene->context, scene->behind, false);
            long first = in_context(scene->context, scene->ahead, false);
            CHECK(second >= last && first >= second);
        }
        sched_yield();
    } while (!atomic_load(&scene->stop));
    return NULL;
}

static void check_scene(struct scene scene)
{
    pthread_t readers[READERS];
    scene.context = xctx_new();
    pthread_t writer = spawn(write_pairs, &scene);
    for (int i = 0; i < READERS; i++)
        readers[i] = spawn(i == READERS - 1 ? walk_and_check : copy_and_check, &scene);
    join(writer);
    for (int i = 0; i < READERS; i++)
        join(readers[i]);
    assert_int_equal(in_context(scene.context, scene.ahead, scene.counted), scene.rounds);
    assert_int_equal(in_context(scene.context, scene.behind, scene.counted), scene.rounds);
    xctx_unref(scene.context);
    assert_int_equal(counted_live(), 0);
}

TEST(copies_made_while_plain_values_are_written_are_consistent)
{
    check_scene((struct scene){.ahead = &ahead, .behind = &behind, .rounds = scaled(200000)});
}

TEST(copies_made_while_counted_values_are_written_are_consistent)
{
    check_scene(
        (struct scene){.ahead = &counted_ahead, .behind = &counted_behind, .counted = true, .rounds = scaled(100000)});
}

TEST(copies_made_while_bindings_come_and_go_are_consistent)
{
    check_scene((struct scene){.ahead = &ahead, .behind = &behind, .lets = true, .rounds = scaled(100000)});
}

/* Two of many variables, so far apart that they lie in different parts of the map. */
static void make_spread(void)
{
    for (int i = 0; i < SPREAD; i++) {
        xctx_token token;
        if (!spread[i])
            spread[i] = xctx_var_create("spread", NULL);
        assert_int_equal(xctx_var_set(spread[i], NULL, &token), 0);
        assert_int_equal(xctx_var_reset(spread[i], &token), 0);
    }
}

TEST(copies_made_while_values_in_the_trie_are_written_are_consistent)
{
    make_spread();
    check_scene((struct scene){.ahead = spread[SPREAD - 1], .behind = spread[70], .rounds = scaled(100000)});
}

TEST(copies_made_while_an_array_and_the_trie_are_written_are_consistent)
{
    make_spread();
    check_scene((struct scene){.ahead = spread[SPREAD - 1], .behind = &behind, .rounds = scaled(100000)});
}

/* Many threads copy one base context, enter the copies, set in them and release them, as a server's threads do. */
static void *use_base(void *arg)
{
    struct scene *scene = arg;
    for (long i = 0; i < scene->rounds; i++) {
        xctx_context *copy = xctx_copy(scene->context);
        CHECK(xctx_enter(copy) == 0);
        CHECK(as_number(xctx_var_get(&ahead)) == 1);
        CHECK(counted_number(xctx_var_get(&counted_ahead)) == 2);
        CHECK(xctx_var_set(&ahead, number(i), NULL) == 0);
        counted_set(&counted_behind, i);
        CHECK(xctx_exit(copy) == 0);
        xctx_unref(copy);
    }
    return NULL;
}

TEST(copies_of_one_base_by_many_threads_leave_it_alone)
{
    struct scene scene = {.context = xctx_new(), .rounds = scaled(50000)};
    pthread_t threads[READERS + 1];
    assert_int_equal(xctx_enter(scene.context), 0);
    assert_int_equal(xctx_var_set(&ahead, number(1), NULL), 0);
    counted_set(&counted_ahead, 2);
    assert_int_equal(xctx_exit(scene.context), 0);
    for (int i = 0; i < READERS + 1; i++)
        threads[i] = spawn(use_base, &scene);
    for (int i = 0; i < READERS + 1; i++)
        join(threads[i]);
    assert_int_equal(in_context(scene.context, &ahead, false), 1);
    assert_int_equal(counted_live(), 1);
    xctx_unref(scene.context);
    assert_int_equal(counted_live(), 0);
}

/* Goes on counting where the last one stopped. */
static void *write_some(void *arg)
{
    struct scene *scene = arg;
    CHECK(xctx_enter(scene->context) == 0);
    for (long i = 0; i < scene->rounds; i++, scene->next++) {
        CHECK(xctx_var_set(&ahead, number(scene->next), NULL) == 0);
        CHECK(xctx_var_set(&behind, number(scene->next), NULL) == 0);
        atomic_store(&scene->started, true);
    }
    CHECK(xctx_exit(scene->context) == 0);
    return NULL;
}

TEST(base_that_changes_hands_while_others_copy_it_stays_consistent)
{
    enum { TURNS = 40 };
    struct scene scene = {.ahead = &ahead, .behind = &behind, .rounds = scaled(2000), .context = xctx_new()};
    struct worker workers[2];
    pthread_t readers[2];
    for (int i = 0; i < 2; i++) {
        worker_start(&workers[i]);
        readers[i] = spawn(copy_and_check, &scene);
    }
    for (int turn = 0; turn < TURNS; turn++) {
        if (turn % 5 == 4)
            on_thread(write_some, &scene);
        else
            worker_do(&workers[turn / 2 % 2], write_some, &scene);
    }
    atomic_store(&scene.stop, true);
    for (int i = 0; i < 2; i++) {
        worker_stop(&workers[i]);
        assert_true(as_number(join(readers[i])) > 0);
    }
    assert_int_equal(in_context(scene.context, &behind, false), TURNS * scene.rounds - 1);
    xctx_unref(scene.context);
}

int main(void)
{
    int failed = test_main("copies while another thread writes");
    for (int i = 0; i < SPREAD; i++)
        xctx_var_unref(spread[i]);
    return failed;
}
