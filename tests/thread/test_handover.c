/* SPDX-License-Identifier: MIT */
/*
 * Contexts that go from thread to thread behind the library's back: every step of a context's life on every thread, in
 * all combinations.
 */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

/* One life: a context and its copy. */
struct life {
    xctx_context *context;
    xctx_context *copy;
    xctx_token token;
    long number;
};

static void *create(void *arg)
{
    struct life *life = arg;
    life->context = xctx_new();
    CHECK(life->context != NULL);
    return NULL;
}

static void *enter_set_exit(void *arg)
{
    struct life *life = arg;
    CHECK(xctx_enter(life->context) == 0);
    CHECK(xctx_var_set(&plain, number(life->number), &life->token) == 0);
    counted_set(&counted, life->number);
    CHECK(xctx_exit(life->context) == 0);
    return NULL;
}

static void *copy(void *arg)
{
    struct life *life = arg;
    life->copy = xctx_copy(life->context);
    CHECK(life->copy != NULL);
    return NULL;
}

static void *reset_and_unref(void *arg)
{
    struct life *life = arg;
    CHECK(xctx_enter(life->context) == 0);
    CHECK(xctx_var_reset(&plain, &life->token) == 0);
    CHECK(xctx_var_find(&plain, NULL) == 0);
    counted_set(&counted, -1);
    CHECK(xctx_exit(life->context) == 0);
    life->context = xctx_unref(life->context);
    return NULL;
}

static void *enter_copy_and_change(void *arg)
{
    struct life *life = arg;
    CHECK(xctx_enter(life->copy) == 0);
    CHECK(as_number(xctx_var_get(&plain)) == life->number);
    CHECK(counted_number(xctx_var_get(&counted)) == life->number);
    counted_set(&counted, life->number + 1);
    CHECK(xctx_exit(life->copy) == 0);
    return NULL;
}

static void *unref_copy(void *arg)
{
    struct life *life = arg;
    life->copy = xctx_unref(life->copy);
    CHECK(counted_live() == 0);
    return NULL;
}

static void *(*const steps[])(void *) = {
    create, enter_set_exit, copy, reset_and_unref, enter_copy_and_change, unref_copy,
};
enum { STEPS = sizeof(steps) / sizeof(steps[0]), WORKERS = 3 };

TEST(life_of_a_context_is_the_same_on_all_combinations_of_three_threads)
{
    struct worker workers[WORKERS];
    long combinations = 1;
    for (int i = 0; i < STEPS; i++)
        combinations *= WORKERS;
    for (int i = 0; i < WORKERS; i++)
        worker_start(&workers[i]);
    for (long combination = 0; combination < combinations; combination++) {
        struct life life = {.number = combination + 1};
        long rest = combination;
        for (int i = 0; i < STEPS; i++, rest /= WORKERS)
            worker_do(&workers[rest % WORKERS], steps[i], &life);
    }
    for (int i = 0; i < WORKERS; i++)
        worker_stop(&workers[i]);
    assert_int_equal(counted_live(), 0);
}

TEST(life_of_a_context_is_the_same_on_threads_that_end_after_each_step)
{
    for (long round = 0; round < 1 << STEPS; round++) {
        struct life life = {.number = round + 1};
        for (int i = 0; i < STEPS; i++) {
            if (round >> i & 1)
                on_thread(steps[i], &life);
            else
                steps[i](&life);
        }
    }
    assert_int_equal(counted_live(), 0);
}

/* The same with enter and exit apart: a context stays entered by one thread while others copy, refer to and unref it.
 */
static void *just_enter(void *arg)
{
    CHECK(xctx_enter(((struct life *)arg)->context) == 0);
    return NULL;
}

static void *just_exit(void *arg)
{
    CHECK(xctx_exit(((struct life *)arg)->context) == 0);
    return NULL;
}

static void *set_here(void *arg)
{
    struct life *life = arg;
    CHECK(xctx_current() == life->context);
    counted_set(&counted, life->number);
    CHECK(xctx_var_set(&plain, number(life->number), NULL) == 0);
    return NULL;
}

static void *just_unref(void *arg)
{
    xctx_unref(((struct life *)arg)->context);
    return NULL;
}

static void *use_copy(void *arg)
{
    struct life *life = arg;
    enter_copy_and_change(life);
    life->copy = xctx_unref(life->copy);
    return NULL;
}

TEST(entered_context_is_created_copied_and_released_by_all_combinations_of_other_threads)
{
    struct worker workers[WORKERS];
    for (int i = 0; i < WORKERS; i++)
        worker_start(&workers[i]);
    for (long combination = 0; combination < 3 * 3 * 3 * 3; combination++) {
        struct life life = {.number = combination + 1};
        struct worker *creator = &workers[combination % 3];
        struct worker *owner = &workers[combination / 3 % 3];
        struct worker *copier = &workers[combination / 9 % 3];
        struct worker *releaser = &workers[combination / 27 % 3];
        worker_do(creator, create, &life);
        worker_do(owner, just_enter, &life);
        worker_do(owner, set_here, &life);
        worker_do(copier, copy, &life);
        life.number++;
        worker_do(owner, set_here, &life);
        worker_do(releaser, just_unref, &life);
        life.number--;
        worker_do(copier, use_copy, &life);
        assert_int_equal(counted_live(), 1);
        worker_do(owner, just_exit, &life);
        assert_int_equal(counted_live(), 0);
    }
    for (int i = 0; i < WORKERS; i++)
        worker_stop(&workers[i]);
}

static void *ref_current(void *arg)
{
    struct life *life = arg;
    life->context = xctx_ref(xctx_current());
    return NULL;
}

TEST(context_whose_references_all_went_elsewhere_is_brought_back_by_its_enterer)
{
    struct worker workers[2];
    for (int i = 0; i < 2; i++)
        worker_start(&workers[i]);
    for (int combination = 0; combination < 8; combination++) {
        struct life life = {.number = combination + 1};
        struct worker *creator = &workers[combination & 1];
        struct worker *releaser = &workers[combination >> 1 & 1];
        struct worker *last = &workers[combination >> 2 & 1];
        worker_do(creator, create, &life);
        worker_do(&workers[0], just_enter, &life);
        worker_do(&workers[0], set_here, &life);
        worker_do(releaser, just_unref, &life);
        worker_do(&workers[0], ref_current, &life);
        worker_do(&workers[0], just_exit, &life);
        assert_int_equal(counted_live(), 1);
        worker_do(last, just_enter, &life);
        worker_do(last, just_exit, &life);
        worker_do(last, just_unref, &life);
        assert_int_equal(counted_live(), 0);
    }
    for (int i = 0; i < 2; i++)
        worker_stop(&workers[i]);
}

/* Enters, checks what the last one set, sets; every second time also copies and releases the copy of the last one. */
static void *visit(void *arg)
{
    struct life *life = arg;
    CHECK(xctx_enter(life->context) == 0);
    CHECK(as_number(xctx_var_get(&plain)) == life->number);
    life->number++;
    CHECK(xctx_var_set(&plain, number(life->number), NULL) == 0);
    counted_set(&counted, life->number);
    if (life->number % 2) {
        xctx_unref(life->copy);
        life->copy = xctx_copy_current();
    }
    CHECK(xctx_exit(life->context) == 0);
    return NULL;
}

static void *finish(void *arg)
{
    struct life *life = arg;
    xctx_unref(life->copy);
    xctx_unref(life->context);
    return NULL;
}

/* Lets a context migrate over `threads` threads in each of the sequences of `length` visits. */
static void check_migrations(int threads, int length)
{
    struct worker workers[WORKERS];
    long sequences = 1;
    for (int i = 0; i < length; i++)
        sequences *= threads;
    for (int i = 0; i < threads; i++)
        worker_start(&workers[i]);
    for (long sequence = 0; sequence < sequences; sequence++) {
        struct life life = {0};
        long rest = sequence;
        worker_do(&workers[rest % threads], create, &life);
        for (int i = 0; i < length; i++, rest /= threads)
            worker_do(&workers[rest % threads], visit, &life);
        worker_do(&workers[sequence % threads], finish, &life);
        assert_int_equal(counted_live(), 0);
    }
    for (int i = 0; i < threads; i++)
        worker_stop(&workers[i]);
}

TEST(context_migrates_between_two_threads_in_every_sequence_of_8)
{
    check_migrations(2, 8);
}

TEST(context_migrates_among_three_threads_in_every_sequence_of_5)
{
    check_migrations(3, 5);
}

TEST(context_migrates_through_threads_that_end)
{
    struct life life = {0};
    create(&life);
    for (int i = 0; i < 200; i++) {
        if (i / 2 % 2)
            visit(&life);
        else
            on_thread(visit, &life);
    }
    on_thread(finish, &life);
    assert_int_equal(counted_live(), 0);
}

static void *lookup_there(void *arg)
{
    struct life *life = arg;
    void *value = NULL;
    CHECK(xctx_lookup(life->context, &counted, &value) == 1);
    CHECK(counted_number(value) == life->number);
    CHECK(xctx_count(life->context) == 2);
    CHECK(xctx_equal(life->context, life->context));
    return NULL;
}

TEST(entered_context_that_is_not_changed_meanwhile_is_read_on_other_threads)
{
    struct worker worker;
    struct life life = {.number = 1};
    worker_start(&worker);
    worker_do(&worker, create, &life);
    worker_do(&worker, just_enter, &life);
    for (int i = 0; i < 100; i++) {
        worker_do(&worker, set_here, &life);
        lookup_there(&life);
        on_thread(lookup_there, &life);
        life.number++;
    }
    worker_do(&worker, just_exit, &life);
    worker_do(&worker, just_unref, &life);
    worker_stop(&worker);
}

static void *drop_token(void *arg)
{
    xctx_token_drop(arg);
    return NULL;
}

TEST(token_whose_context_changed_meanwhile_is_dropped_elsewhere)
{
    xctx_token token;
    counted_set(&counted, 1);
    struct counted *second = counted_new(2);
    assert_int_equal(xctx_var_set(&counted, second, &token), 0);
    counted_drop(second);
    xctx_context *copied = xctx_copy_current();
    counted_set(&counted, 3);
    assert_int_equal(counted_live(), 3);
    on_thread(drop_token, &token);
    assert_int_equal(counted_live(), 2);
    xctx_unref(copied);
    assert_int_equal(counted_live(), 1);
}

int main(void)
{
    return test_main("hand-over between threads");
}
