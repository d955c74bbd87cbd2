/* SPDX-License-Identifier: MIT */
/*
 * What the library keeps for the next piece of work on the same base (src/context/ready.h) must not keep a value alive,
 * nor give a stale one: neither in the thread that works from its current context, nor in one that copies another's.
 */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(one, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(two, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(three, .retain = counted_retain, .release = counted_release);

enum { ENOUGH = 16 }; /* pieces of work after which everything is kept that is ever kept */

/* A piece of work in a copy: sees `expected` in `seen`, sets `set`. */
static void work(xctx_context *copy, xctx_var *seen, long expected, xctx_var *set)
{
    CHECK(copy != NULL);
    CHECK(xctx_enter(copy) == 0);
    CHECK(counted_number(xctx_var_get(seen)) == expected);
    counted_set(set, 100);
    CHECK(counted_number(xctx_var_get(set)) == 100);
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
}

static void work_here(xctx_var *seen, long expected, xctx_var *set)
{
    for (int i = 0; i < ENOUGH; i++)
        work(xctx_copy_current(), seen, expected, set);
}

TEST(value_that_work_sets_is_released_with_the_work)
{
    counted_set(&one, 1);
    for (int i = 0; i < ENOUGH; i++) {
        work(xctx_copy_current(), &one, 1, &two);
        assert_int_equal(counted_live(), 1);
    }
}

TEST(value_replaced_in_the_base_is_released_at_once)
{
    struct counted *value = counted_new(1);
    assert_int_equal(xctx_var_set(&one, value, NULL), 0);
    counted_set(&two, 2);
    work_here(&one, 1, &two);
    counted_set(&one, 3);
    assert_int_equal(counted_refs(value), 1);
    work_here(&one, 3, &two);
    counted_drop(value);
}

TEST(value_replaced_in_base_and_work_is_released_at_once)
{
    struct counted *value = counted_new(1);
    assert_int_equal(xctx_var_set(&one, value, NULL), 0);
    work_here(&one, 1, &two);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_enter(copy), 0);
    counted_set(&one, 4);
    assert_int_equal(xctx_exit(copy), 0);
    counted_set(&one, 5);
    assert_int_equal(counted_refs(value), 1);
    xctx_unref(copy);
    counted_drop(value);
}

TEST(work_that_changes_another_variable_than_the_last_sees_the_base)
{
    counted_set(&one, 1);
    counted_set(&two, 2);
    counted_set(&three, 3);
    for (int i = 0; i < ENOUGH; i++) {
        work(xctx_copy_current(), &one, 1, &two);
        work(xctx_copy_current(), &two, 2, &three);
        work(xctx_copy_current(), &three, 3, &one);
    }
    assert_int_equal(counted_live(), 3);
}

TEST(work_that_changes_everything_leaves_the_base_as_it_was)
{
    counted_set(&one, 1);
    for (int i = 0; i < ENOUGH; i++) {
        xctx_context *copy = xctx_copy_current();
        assert_int_equal(xctx_enter(copy), 0);
        counted_set(&three, 7);
        counted_set(&two, 8);
        counted_set(&one, 9);
        assert_int_equal(xctx_exit(copy), 0);
        xctx_unref(copy);
        assert_int_equal(counted_number(xctx_var_get(&one)), 1);
        assert_null(xctx_var_get(&two));
    }
    assert_int_equal(counted_live(), 1);
}

TEST(token_of_the_work_gives_the_value_of_the_base_back)
{
    counted_set(&one, 1);
    for (int i = 0; i < ENOUGH; i++) {
        xctx_token token;
        struct counted *value = counted_new(2);
        xctx_context *copy = xctx_copy_current();
        assert_int_equal(xctx_enter(copy), 0);
        assert_int_equal(xctx_var_set(&one, value, &token), 0);
        assert_int_equal(xctx_var_reset(&one, &token), 0);
        assert_int_equal(counted_refs(value), 1);
        assert_int_equal(counted_number(xctx_var_get(&one)), 1);
        assert_int_equal(xctx_exit(copy), 0);
        xctx_unref(copy);
        counted_drop(value);
    }
}

TEST(values_of_a_context_are_released_with_it_after_work_in_it)
{
    xctx_context *outer = xctx_copy_current();
    assert_int_equal(xctx_enter(outer), 0);
    counted_set(&one, 1);
    work_here(&one, 1, &two);
    assert_int_equal(xctx_exit(outer), 0);
    xctx_unref(outer);
    assert_int_equal(counted_live(), 0);
}

static xctx_context *base;

static void *work_elsewhere(void *expected)
{
    for (int i = 0; i < ENOUGH; i++)
        work(xctx_copy(base), &one, as_number(expected), &two);
    return NULL;
}

static void base_set(long n)
{
    assert_int_equal(xctx_enter(base), 0);
    counted_set(&one, n);
    assert_int_equal(xctx_exit(base), 0);
}

TEST(value_replaced_in_a_base_that_another_thread_works_from_is_released_at_once)
{
    struct worker worker;
    struct counted *value = counted_new(1);
    worker_start(&worker);
    base = xctx_new();
    assert_int_equal(xctx_enter(base), 0);
    assert_int_equal(xctx_var_set(&one, value, NULL), 0);
    assert_int_equal(xctx_exit(base), 0);
    worker_do(&worker, work_elsewhere, number(1));
    base_set(2);
    assert_int_equal(counted_refs(value), 1); /* though the worker is idle */
    worker_do(&worker, work_elsewhere, number(2));
    base = xctx_unref(base);
    assert_int_equal(counted_live(), 1);
    counted_drop(value);
    worker_stop(&worker);
}

static atomic_bool stop;

static void *keep_working(void *unused)
{
    (void)unused;
    while (!stop) {
        xctx_context *copy = xctx_copy(base);
        CHECK(xctx_enter(copy) == 0);
        CHECK(counted_number(xctx_var_get(&one)) >= 0);
        counted_set(&two, 1);
        counted_set(&three, 1);
        CHECK(xctx_exit(copy) == 0);
        xctx_unref(copy);
    }
    return NULL;
}

TEST(base_that_changes_under_threads_that_work_from_it_loses_nothing)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    base = xctx_new();
    base_set(0);
    stop = false;
    for (int i = 0; i < THREADS; i++)
        threads[i] = spawn(keep_working, NULL);
    long rounds = scaled(3000);
    for (long n = 1; n < rounds; n++) {
        base_set(n);
        if (n % 8 == 0)
            sched_yield();
    }
    stop = true;
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    base = xctx_unref(base);
    assert_int_equal(counted_live(), 0);
}

int main(void)
{
    return test_main("ready maps");
}
