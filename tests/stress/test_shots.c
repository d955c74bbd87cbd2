/* SPDX-License-Identifier: MIT */
/* One continuation that many threads make shots of, and run to the end; and shots that go from thread to thread. */
#include "counted.h"
#include "threads.h"

enum { THREADS_MOST = 4, ROUNDS = 3 };

XCTX_VAR_DEFINE(given, .retain = counted_retain, .release = counted_release);

static xctx_continuation *continuation;
static long wanted; /* shots of each thread */
static atomic_long ended;

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

/* What a shot returns that was given these numbers; `before` stands for what it did before it was captured. */
static uint64_t expected(uint64_t before, uint64_t first)
{
    for (uint64_t i = 0; i < ROUNDS; i++)
        before = mix(before, first + i);
    return before;
}

static void *add_up(void *argument)
{
    uint64_t hash = (uintptr_t)argument;

    counted_set(&given, 1);
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t in = (uintptr_t)xctx_fiber_yield(number(i));
        CHECK(counted_number(xctx_var_get(&given)) == i + 1);
        counted_set(&given, i + 2);
        hash = mix(hash, in);
    }
    return (void *)(uintptr_t)hash;
}

static void capture_started(void)
{
    xctx_fiber *fiber = xctx_fiber_create(add_up, number(7), NULL);

    CHECK(fiber && xctx_fiber_resume(fiber, NULL, NULL) == 1);
    CHECK(xctx_fiber_capture(fiber, &continuation) == 0);
    xctx_fiber_unref(fiber);
}

static void run_to_the_end(xctx_fiber *shot, uint64_t first)
{
    void *out = NULL;

    for (uint64_t i = 0; i < ROUNDS; i++) {
        int status = xctx_fiber_resume(shot, (void *)(uintptr_t)(first + i), &out);
        CHECK(status == (i + 1 < ROUNDS));
        CHECK(status == 0 || as_number(out) == (long)i + 1);
    }
    CHECK((uint64_t)(uintptr_t)out == expected(7, first));
    atomic_fetch_add(&ended, 1);
}

static void *fire(void *argument)
{
    uint64_t random = (uint64_t)as_number(argument) << 40;

    for (long i = 0; i < wanted; i++) {
        xctx_fiber *shot = NULL;
        CHECK(xctx_continuation_shot(continuation, &shot) == 0);
        run_to_the_end(shot, random + (uint64_t)i);
        xctx_fiber_unref(shot);
    }
    return NULL;
}

static void check_firing(int threads, long shots)
{
    pthread_t ids[THREADS_MOST];

    capture_started();
    wanted = shots;
    atomic_store(&ended, 0);
    for (int i = 0; i < threads; i++)
        ids[i] = spawn(fire, number(i + 1));
    for (int i = 0; i < threads; i++)
        join(ids[i]);
    assert_int_equal(atomic_load(&ended), threads * shots);
    continuation = xctx_continuation_unref(continuation);
    assert_int_equal(counted_live(), 0);
}

TEST(two_threads_fire_one_continuation_a_million_times)
{
    check_firing(2, scaled(500000));
}

TEST(four_threads_fire_one_continuation)
{
    check_firing(4, scaled(50000));
}

/* ---- shots that wander ---- */

enum { SHOTS = 16 };

static struct wanderer {
    xctx_fiber *fiber;
    uint64_t first;
    int steps; /* of whoever has set `busy` */
    atomic_flag busy;
} wanderers[SHOTS];

/* A shot for one that has ended, of the continuation or of what another one is just now. */
static void replace(struct wanderer *wanderer, uint64_t first)
{
    xctx_fiber_unref(wanderer->fiber);
    CHECK(xctx_continuation_shot(continuation, &wanderer->fiber) == 0);
    wanderer->first = first;
    wanderer->steps = 0;
}

static void *wander(void *argument)
{
    uint32_t random = (uint32_t)as_number(argument);

    for (long i = 0; i < wanted; i++) {
        struct wanderer *wanderer = &wanderers[random_next(&random) % SHOTS];
        void *out = NULL;
        if (atomic_flag_test_and_set_explicit(&wanderer->busy, memory_order_acquire))
            continue;
        if (!wanderer->fiber || wanderer->steps == ROUNDS)
            replace(wanderer, random);
        uint64_t in = wanderer->first + (uint64_t)wanderer->steps++;
        int status = xctx_fiber_resume(wanderer->fiber, (void *)(uintptr_t)in, &out);
        CHECK(status == (wanderer->steps < ROUNDS));
        if (status == 0) {
            CHECK((uint64_t)(uintptr_t)out == expected(7, wanderer->first));
            CHECK(xctx_fiber_resume(wanderer->fiber, NULL, NULL) == -EINVAL);
            atomic_fetch_add(&ended, 1);
        }
        atomic_flag_clear_explicit(&wanderer->busy, memory_order_release);
    }
    return NULL;
}

TEST(shots_wander_among_threads)
{
    pthread_t ids[THREADS_MOST];

    capture_started();
    wanted = scaled(100000);
    atomic_store(&ended, 0);
    for (int i = 0; i < THREADS_MOST; i++)
        ids[i] = spawn(wander, number(i + 1));
    for (int i = 0; i < THREADS_MOST; i++)
        join(ids[i]);
    assert_true(atomic_load(&ended) > 0);
    for (int i = 0; i < SHOTS; i++)
        wanderers[i].fiber = xctx_fiber_unref(wanderers[i].fiber);
    continuation = xctx_continuation_unref(continuation);
}

/* ---- one shot that many want ---- */

static xctx_fiber *_Atomic wanted_by_all;
static atomic_int running;

static void *say_steps(void *argument)
{
    (void)argument;
    for (long i = 0;; i++) {
        xctx_fiber_yield(number(i));
        CHECK(atomic_fetch_add(&running, 1) == 0);
        if (i >= wanted)
            break;
        CHECK(atomic_fetch_sub(&running, 1) == 1);
    }
    return number(-1);
}

/* Some disturb, by making shots and giving them up. */
static void *want(void *argument)
{
    bool disturbs = as_number(argument) % 2;

    for (;;) {
        int status = xctx_fiber_resume(atomic_load(&wanted_by_all), NULL, NULL);
        CHECK(status == 1 || status == 0 || status == -EBUSY || status == -EINVAL);
        if (status == 0)
            atomic_fetch_add(&ended, 1);
        if (status == -EINVAL)
            return NULL;
        xctx_fiber *shot = NULL;
        if (disturbs)
            CHECK(xctx_continuation_shot(continuation, &shot) == 0 && xctx_fiber_resume(shot, NULL, NULL) == 1);
        xctx_fiber_unref(shot);
    }
}

TEST(each_step_of_a_shot_is_done_by_one_thread)
{
    pthread_t ids[THREADS_MOST];
    xctx_fiber *fiber = xctx_fiber_create(say_steps, NULL, NULL);
    xctx_fiber *shot = NULL;

    wanted = scaled(30000);
    assert_non_null(fiber);
    assert_int_equal(xctx_fiber_capture(fiber, &continuation), 0);
    assert_int_equal(xctx_continuation_shot(continuation, &shot), 0);
    atomic_store(&wanted_by_all, shot);
    atomic_store(&ended, 0);
    for (long i = 0; i < THREADS_MOST; i++)
        ids[i] = spawn(want, number(i));
    for (int i = 0; i < THREADS_MOST; i++)
        join(ids[i]);
    assert_int_equal(atomic_load(&ended), 1);
    xctx_fiber_unref(shot);
    xctx_fiber_unref(fiber);
    continuation = xctx_continuation_unref(continuation);
}

int main(void)
{
    return test_main("shots of one continuation");
}
