/* SPDX-License-Identifier: MIT */
/* Continuations: capturing, shots, turns, what is copied and what is refused. */
#include <fcntl.h>
#include <fenv.h>

#include "counted.h"
#include "fiber_support.h"
#include "threads.h"

/* Adds up what it is given, on the stack, in steps; ends at 0. */
static void *add_up(void *argument)
{
    volatile long sum = as_number(argument);
    long more;

    while ((more = as_number(xctx_fiber_yield(number(sum)))) != 0)
        sum += more;
    return number(sum);
}

TEST(shot_goes_on_where_the_fiber_was)
{
    xctx_fiber *fiber = make(add_up, number(1));
    step(fiber, NULL);
    assert_int_equal(as_number(step(fiber, number(10))), 11);
    xctx_continuation *continuation = capture(fiber);

    xctx_fiber *shot = shot_of(continuation);
    assert_int_equal(as_number(step(shot, number(100))), 111);
    assert_int_equal(as_number(last_step(shot, NULL)), 111);
    xctx_continuation_unref(continuation);
    xctx_fiber_unref(fiber);
}

TEST(fiber_goes_on_after_it_was_captured)
{
    xctx_fiber *fiber = make(add_up, number(1));
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);

    assert_int_equal(as_number(step(fiber, number(5))), 6);
    assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 1);
    assert_int_equal(as_number(step(fiber, number(5))), 11);
    assert_int_equal(as_number(last_step(fiber, NULL)), 11);
    xctx_continuation_unref(continuation);
}

TEST(continuation_is_shot_any_number_of_times)
{
    xctx_fiber *fiber = make(add_up, number(1));
    step(fiber, NULL);
    xctx_continuation *continuation = capture_last(fiber);

    for (long i = 1; i < 1000; i++) {
        xctx_fiber *shot = shot_of(continuation);
        assert_int_equal(as_number(step(shot, number(i))), 1 + i);
        assert_int_equal(as_number(last_step(shot, NULL)), 1 + i);
    }
    xctx_continuation_unref(continuation);
}

TEST(shots_interleave)
{
    enum { SHOTS = 5 };
    xctx_fiber *fiber = make(add_up, number(0));
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    xctx_fiber *shots[SHOTS];

    for (long i = 0; i < SHOTS; i++)
        shots[i] = shot_of(continuation);
    for (long round = 1; round <= 10; round++) {
        for (long i = 0; i < SHOTS; i++)
            assert_int_equal(as_number(step(shots[i], number(i + 1))), round * (i + 1));
        assert_int_equal(as_number(step(fiber, number(1000))), round * 1000);
    }
    for (long i = 0; i < SHOTS; i++)
        assert_int_equal(as_number(last_step(shots[i], NULL)), 10 * (i + 1));
    xctx_fiber_unref(fiber);
    xctx_continuation_unref(continuation);
}

TEST(shot_outlives_its_origin_and_its_continuation)
{
    xctx_fiber *fiber = make(add_up, number(3));
    step(fiber, NULL);
    xctx_continuation *continuation = capture_last(fiber);
    xctx_fiber *shot = shot_of(continuation);
    xctx_continuation_unref(continuation);

    assert_int_equal(as_number(step(shot, number(4))), 7);
    assert_int_equal(as_number(last_step(shot, NULL)), 7);
}

TEST(fiber_that_did_not_begin_is_captured)
{
    xctx_continuation *continuation = capture_last(make(add_up, number(8)));

    for (int i = 0; i < 3; i++) {
        xctx_fiber *shot = shot_of(continuation);
        assert_int_equal(as_number(step(shot, number(77))), 8);
        assert_int_equal(as_number(last_step(shot, NULL)), 8);
    }
    xctx_continuation_unref(continuation);
}

TEST(shot_of_a_shot)
{
    xctx_fiber *fiber = make(add_up, number(1));
    step(fiber, NULL);
    xctx_continuation *first = capture_last(fiber);
    xctx_fiber *shot = shot_of(first);
    step(shot, number(10));
    xctx_continuation *second = capture_last(shot);
    xctx_continuation_unref(first);

    xctx_fiber *a = shot_of(second), *b = shot_of(second);
    assert_int_equal(as_number(step(a, number(100))), 111);
    assert_int_equal(as_number(step(b, number(200))), 211);
    assert_int_equal(as_number(last_step(a, NULL)), 111);
    assert_int_equal(as_number(last_step(b, NULL)), 211);
    xctx_continuation_unref(second);
}

TEST(shot_that_did_not_run_is_captured)
{
    xctx_fiber *fiber = make(add_up, number(1));
    step(fiber, NULL);
    xctx_continuation *first = capture_last(fiber);
    xctx_continuation *second = capture_last(shot_of(first));

    xctx_continuation_unref(first);
    assert_int_equal(as_number(last_step(shot_of(second), NULL)), 1);
    xctx_continuation_unref(second);
}

TEST(abandoned_shots_leave_nothing)
{
    xctx_fiber *fiber = make(add_up, number(1));
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    xctx_fiber *fresh = shot_of(continuation), *parked = shot_of(continuation), *resident = shot_of(continuation);

    step(parked, number(1));
    step(resident, number(1));
    xctx_fiber_unref(parked);
    xctx_fiber_unref(resident);
    xctx_fiber_unref(fresh);
    assert_int_equal(as_number(step(fiber, number(5))), 6);
    xctx_fiber_unref(fiber);
    xctx_continuation_unref(continuation);
}

/* ---- large frames, all registers ---- */

static int fill(unsigned char *bytes, size_t size, int seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(seed + (int)i * 7);
    return seed;
}

static bool is_filled(const unsigned char *bytes, size_t size, int seed)
{
    for (size_t i = 0; i < size; i++)
        if (bytes[i] != (unsigned char)(seed + (int)i * 7))
            return false;
    return true;
}

static __attribute__((noinline)) long descend(long depth, long at_bottom)
{
    unsigned char bytes[1000];
    fill(bytes, sizeof(bytes), (int)depth);
    long below = depth ? descend(depth - 1, at_bottom) : at_bottom + as_number(xctx_fiber_yield(number(-5)));
    CHECK(is_filled(bytes, sizeof(bytes), (int)depth));
    return below + depth;
}

static void *deep(void *argument)
{
    return number(descend(as_number(argument), 100));
}

TEST(deep_stacks_are_copied_whole)
{
    xctx_fiber *fiber = make(deep, number(40));
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);

    assert_true(xctx_continuation_size(continuation) > 40000);
    for (long i = 0; i < 5; i++)
        assert_int_equal(as_number(last_step(shot_of(continuation), number(i))), 100 + i + 40 * 41 / 2);
    assert_int_equal(as_number(last_step(fiber, NULL)), 100 + 40 * 41 / 2);
    assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 100 + 40 * 41 / 2);
    xctx_continuation_unref(continuation);
}

TEST(pointers_to_local_variables_are_the_shots_own)
{
    xctx_fiber *fiber = make(deep, number(3));
    step(fiber, NULL);
    xctx_continuation *continuation = capture_last(fiber);
    xctx_fiber *a = shot_of(continuation), *b = shot_of(continuation);

    assert_int_equal(as_number(last_step(b, number(2))), 108);
    assert_int_equal(as_number(last_step(a, number(1))), 107);
    xctx_continuation_unref(continuation);
}

static void *round_up(void *argument)
{
    CHECK(fesetround(FE_UPWARD) == 0);
    xctx_fiber_yield(NULL);
    CHECK(fegetround() == FE_UPWARD);
    return argument;
}

TEST(rounding_stays_with_each_shot)
{
    xctx_fiber *fiber = make(round_up, number(1));
    step(fiber, NULL);
    xctx_continuation *continuation = capture_last(fiber);

    for (int i = 0; i < 3; i++) {
        CHECK(fesetround(i == 1 ? FE_DOWNWARD : FE_TONEAREST) == 0);
        assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 1);
        assert_int_equal(fegetround(), i == 1 ? FE_DOWNWARD : FE_TONEAREST);
    }
    CHECK(fesetround(FE_TONEAREST) == 0);
    xctx_continuation_unref(continuation);
}

/* ---- what stays behind ---- */

/* Bytes of addresses that are mapped: slabs of stacks lie side by side, so the number of mappings says nothing. */
static size_t mapped(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    size_t pages = 0;

    CHECK(file != NULL);
    CHECK(fscanf(file, "%zu", &pages) == 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

static int open_files(void)
{
    int count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

enum { MANY = 200 };

static void make_and_leave_many(void)
{
    enum { SHOTS = 5 };
    static xctx_fiber *shots[MANY][SHOTS];

    for (int i = 0; i < MANY; i++) {
        xctx_fiber *fiber = make(deep, number(i % 8));
        step(fiber, NULL);
        xctx_continuation *continuation = capture_last(fiber);
        for (int j = 0; j < SHOTS; j++)
            shots[i][j] = shot_of(continuation);
        xctx_continuation_unref(continuation);
    }
    for (int j = 0; j < SHOTS; j++)
        for (int i = 0; i < MANY; i++) {
            if ((i + j) % 3 == 0)
                xctx_fiber_unref(shots[i][j]);
            else
                last_step(shots[i][j], number(1));
        }
}

TEST(no_stack_and_no_file_is_left)
{
    enum { ROUNDS = 10 };

    make_and_leave_many();
    size_t before = mapped();
    int files = open_files();

    for (int i = 0; i < ROUNDS; i++)
        make_and_leave_many();
    /* Half of what all these stacks would take: tools that look on keep something, too. */
    assert_true(mapped() < before + (size_t)ROUNDS * MANY * XCTX_FIBER_STACK_DEFAULT / 2);
    assert_int_equal(open_files(), files);
}

/* ---- turns ---- */

static xctx_fiber *others[2];

static void *resume_other(void *argument)
{
    xctx_fiber_yield(NULL);
    void *out = NULL;
    int status = xctx_fiber_resume(others[as_number(argument)], NULL, &out);
    return number(status);
}

TEST(shot_within_another_of_its_stack_is_a_deadlock)
{
    xctx_fiber *fiber = make(resume_other, number(0));
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    others[0] = shot_of(continuation);

    assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), -EDEADLK);
    assert_int_equal(as_number(last_step(fiber, NULL)), -EDEADLK);
    xctx_fiber *itself = others[0];
    assert_int_equal(as_number(last_step(itself, NULL)), -EDEADLK);
    xctx_continuation_unref(continuation);
}

static void *capture_other(void *argument)
{
    xctx_continuation *continuation = NULL;

    (void)argument;
    xctx_fiber_yield(NULL);
    int error = xctx_fiber_capture(others[0], &continuation);
    if (error)
        return number(error);
    xctx_fiber *shot = shot_of(continuation);
    xctx_continuation_unref(continuation);
    xctx_fiber_unref(shot);
    others[0] = xctx_fiber_unref(others[0]);
    return number(1);
}

TEST(shot_captures_and_releases_another_of_its_stack)
{
    xctx_fiber *fiber = make(capture_other, NULL);
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    others[0] = shot_of(continuation);

    assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 1);
    others[0] = fiber;
    assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 1);
    xctx_continuation_unref(continuation);
}

static sem_t entered, may_leave;

static void *stay(void *argument)
{
    xctx_fiber_yield(argument);
    sem_post(&entered);
    while (sem_wait(&may_leave))
        ;
    return argument;
}

static void *run_last(void *fiber)
{
    return last_step(fiber, NULL);
}

TEST(shot_waits_for_the_turn_of_another)
{
    sem_init(&entered, 0, 0);
    sem_init(&may_leave, 0, 0);
    xctx_fiber *fiber = make(stay, number(4));
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    pthread_t first = spawn(run_last, shot_of(continuation));
    while (sem_wait(&entered))
        ;
    pthread_t second = spawn(run_last, shot_of(continuation));
    xctx_continuation *more = NULL;

    usleep(20000);
    assert_int_equal(sem_trywait(&entered), -1); /* the second one did not get there */
    xctx_fiber_unref(shot_of(continuation));     /* does not wait */
    sem_post(&may_leave);
    assert_int_equal(as_number(join(first)), 4);
    while (sem_wait(&entered))
        ;
    sem_post(&may_leave);
    assert_int_equal(as_number(join(second)), 4);
    assert_int_equal(xctx_fiber_capture(fiber, &more), 0);
    xctx_continuation_unref(more);
    xctx_fiber_unref(fiber);
    xctx_continuation_unref(continuation);
}

TEST(shot_that_runs_elsewhere_is_busy)
{
    sem_init(&entered, 0, 0);
    sem_init(&may_leave, 0, 0);
    xctx_fiber *fiber = make(stay, number(4));
    step(fiber, NULL);
    xctx_continuation *continuation = capture_last(fiber);
    xctx_fiber *shot = shot_of(continuation);
    pthread_t runner = spawn(run_last, xctx_fiber_ref(shot));
    while (sem_wait(&entered))
        ;

    xctx_continuation *none = NULL;
    assert_int_equal(xctx_fiber_resume(shot, NULL, NULL), -EBUSY);
    assert_int_equal(xctx_fiber_capture(shot, &none), -EBUSY);
    assert_null(none);
    sem_post(&may_leave);
    join(runner);
    assert_int_equal(xctx_fiber_resume(shot, NULL, NULL), -EINVAL);
    xctx_fiber_unref(shot);
    xctx_continuation_unref(continuation);
}

/* Each of two threads runs a shot of one stack, and resumes in it one of the other's. */
static pthread_barrier_t both;

static void *cross(void *argument)
{
    if (!xctx_fiber_yield(NULL))
        return number(1);
    pthread_barrier_wait(&both);
    return number(xctx_fiber_resume(others[as_number(argument)], NULL, NULL));
}

static void *run_crossing(void *fiber)
{
    return last_step(fiber, number(1));
}

TEST(circle_of_threads_is_a_deadlock)
{
    xctx_continuation *continuations[2];
    pthread_t threads[2];
    long refused = 0;

    pthread_barrier_init(&both, NULL, 2);
    for (long i = 0; i < 2; i++) {
        xctx_fiber *fiber = make(cross, number(1 - i));
        step(fiber, NULL);
        continuations[i] = capture_last(fiber);
        others[i] = shot_of(continuations[i]);
    }
    for (int i = 0; i < 2; i++)
        threads[i] = spawn(run_crossing, shot_of(continuations[i]));
    /* One is refused, and when it ends the other one gets its turn. */
    for (int i = 0; i < 2; i++) {
        long status = as_number(join(threads[i]));
        assert_true(status == 0 || status == -EDEADLK);
        refused += status == -EDEADLK;
    }
    assert_int_equal(refused, 1);
    for (int i = 0; i < 2; i++) {
        xctx_fiber_unref(others[i]);
        xctx_continuation_unref(continuations[i]);
    }
    pthread_barrier_destroy(&both);
}

/* ---- contexts ---- */

XCTX_VAR_DEFINE(plain);
XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);
XCTX_VAR_DEFINE(cloned, .retain = counted_retain, .release = counted_release, .clone = counted_clone,
                .flow = XCTX_FLOW_CLONE);
XCTX_VAR_DEFINE(private_to_context, .flow = XCTX_FLOW_NONE);

static void *set_some(void *argument)
{
    (void)argument;
    xctx_var_set(&plain, number(1), NULL);
    xctx_var_set(&private_to_context, number(2), NULL);
    counted_set(&counted, 3);
    counted_set(&cloned, 4);
    void *in = xctx_fiber_yield(NULL);
    CHECK(as_number(xctx_var_get(&private_to_context)) == 2);
    CHECK(counted_number(xctx_var_get(&counted)) == 3);
    struct counted *own = xctx_var_get(&cloned);
    CHECK(counted_number(own) == 4);
    own->number = as_number(in);
    xctx_var_set(&plain, in, NULL);
    xctx_fiber_yield(NULL);
    CHECK(xctx_var_get(&plain) == in);
    CHECK(counted_number(xctx_var_get(&cloned)) == as_number(in));
    return in;
}

TEST(each_shot_has_a_context_of_its_own)
{
    xctx_fiber *fiber = make(set_some, NULL);
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    xctx_fiber *a = shot_of(continuation), *b = shot_of(continuation);

    step(a, number(70));
    step(b, number(80));
    step(fiber, number(90));
    assert_int_equal(as_number(last_step(a, NULL)), 70);
    assert_int_equal(as_number(last_step(fiber, NULL)), 90);
    assert_int_equal(as_number(last_step(b, NULL)), 80);
    assert_null(xctx_var_get(&plain));
    xctx_continuation_unref(continuation);
}

static void *let_and_reset(void *argument)
{
    xctx_token token, counted_token;

    (void)argument;
    counted_set(&counted, 1);
    xctx_var_set(&plain, number(1), NULL);
    CHECK(xctx_var_set(&plain, number(2), &token) == 0);
    struct counted *second = counted_new(2);
    CHECK(xctx_var_set(&counted, second, &counted_token) == 0);
    counted_drop(second);
    struct counted *third = counted_new(3);
    XCTX_LET (&counted, third) {
        counted_drop(third);
        XCTX_LET (&plain, number(3)) {
            xctx_fiber_yield(NULL);
            CHECK(as_number(xctx_var_get(&plain)) == 3);
        }
        CHECK(counted_number(xctx_var_get(&counted)) == 3);
    }
    CHECK(counted_number(xctx_var_get(&counted)) == 2);
    CHECK(xctx_var_reset(&counted, &counted_token) == 0);
    CHECK(counted_number(xctx_var_get(&counted)) == 1);
    CHECK(xctx_var_reset(&plain, &token) == 0);
    CHECK(as_number(xctx_var_get(&plain)) == 1);
    CHECK(xctx_var_reset(&counted, &counted_token) == -EALREADY);
    return number(1);
}

TEST(tokens_and_bindings_on_the_stack_are_undone_by_each_shot)
{
    xctx_fiber *fiber = make(let_and_reset, NULL);
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);

    for (int i = 0; i < 3; i++) {
        assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 1);
        xctx_fiber_unref(shot_of(continuation));
    }
    assert_int_equal(as_number(last_step(fiber, NULL)), 1);
    assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 1);
    xctx_continuation_unref(continuation);
}

static void *reset_in_shot(void *argument)
{
    xctx_token token;

    (void)argument;
    counted_set(&counted, 1);
    struct counted *second = counted_new(2);
    CHECK(xctx_var_set(&counted, second, &token) == 0);
    counted_drop(second);
    bool drop = xctx_fiber_yield(NULL);
    if (drop)
        xctx_token_drop(&token);
    else
        CHECK(xctx_var_reset(&counted, &token) == 0);
    CHECK(counted_number(xctx_var_get(&counted)) == (drop ? 2 : 1));
    return number(1);
}

TEST(token_is_used_once_by_each_shot)
{
    xctx_fiber *fiber = make(reset_in_shot, NULL);
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);

    for (long i = 0; i < 6; i++)
        assert_int_equal(as_number(last_step(shot_of(continuation), number(i % 2))), 1);
    xctx_fiber *parked = shot_of(continuation);
    assert_int_equal(as_number(last_step(fiber, NULL)), 1);
    xctx_continuation_unref(continuation);
    xctx_fiber_unref(parked);
}

static void *yield_in_run(void *argument)
{
    xctx_var_set(&plain, number(5), NULL);
    void *in = xctx_fiber_yield(NULL);
    CHECK(as_number(xctx_var_get(&plain)) == 5);
    CHECK(xctx_var_set(&plain, in, NULL) == 0);
    return argument;
}

static void *run_within(void *argument)
{
    xctx_context *context = argument;
    void *result = NULL;

    xctx_var_set(&plain, number(1), NULL);
    CHECK(xctx_run(context, yield_in_run, number(9), &result) == 0);
    CHECK(as_number(xctx_var_get(&plain)) == 1);
    return result;
}

TEST(run_ends_in_each_shot)
{
    xctx_context *context = xctx_new();
    xctx_fiber *fiber = make(run_within, context);
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);

    for (long i = 10; i < 13; i++)
        assert_int_equal(as_number(last_step(shot_of(continuation), number(i))), 9);
    xctx_fiber *again = shot_of(continuation);
    xctx_continuation *second = capture_last(again);
    assert_int_equal(as_number(last_step(shot_of(second), number(13))), 9);
    assert_int_equal(as_number(last_step(fiber, number(14))), 9);
    xctx_continuation_unref(continuation);
    xctx_continuation_unref(second);
    xctx_unref(context);
}

static void *enter_and_leave(void *argument)
{
    xctx_context *context = argument;

    CHECK(xctx_enter(context) == 0);
    xctx_var_set(&plain, number(6), NULL);
    xctx_fiber_yield(NULL);
    CHECK(as_number(xctx_var_get(&plain)) == 6);
    CHECK(xctx_exit(context) == 0);
    CHECK(xctx_var_get(&plain) == NULL);
    return number(1);
}

TEST(shot_leaves_the_context_that_the_fiber_has_entered)
{
    xctx_context *context = xctx_new();
    xctx_fiber *fiber = make(enter_and_leave, context);
    step(fiber, NULL);
    xctx_continuation *first = capture(fiber);
    xctx_fiber *shot = shot_of(first);
    xctx_continuation *second = capture(shot);

    assert_int_equal(as_number(last_step(shot_of(second), NULL)), 1);
    assert_int_equal(as_number(last_step(shot, NULL)), 1);
    assert_int_equal(as_number(last_step(fiber, NULL)), 1);
    xctx_unref(context);
    assert_int_equal(as_number(last_step(shot_of(first), NULL)), 1);
    assert_int_equal(as_number(last_step(shot_of(second), NULL)), 1);
    xctx_continuation_unref(first);
    xctx_continuation_unref(second);
}

TEST(fiber_without_a_context_and_with_its_resumers)
{
    for (uint32_t kind = XCTX_FIBER_CONTEXT_COPY; kind <= XCTX_FIBER_CONTEXT_NONE; kind++) {
        xctx_fiber *fiber = make_with(add_up, number(1), kind);
        step(fiber, NULL);
        xctx_continuation *continuation = capture(fiber);
        xctx_fiber *a = shot_of(continuation), *b = shot_of(continuation);

        assert_int_equal(as_number(step(a, number(1))), 2);
        assert_int_equal(as_number(step(b, number(2))), 3);
        assert_int_equal(as_number(last_step(a, NULL)), 2);
        assert_int_equal(as_number(last_step(b, NULL)), 3);
        assert_int_equal(as_number(last_step(fiber, NULL)), 1);
        xctx_continuation_unref(continuation);
    }
}

/* ---- regions and hooks ---- */

static void *uncaptured(void *argument)
{
    XCTX_NO_CAPTURE
    {
        XCTX_NO_CAPTURE
        {
            xctx_fiber_yield(NULL);
        }
        xctx_fiber_yield(NULL);
    }
    xctx_fiber_yield(NULL);
    return argument;
}

TEST(region_keeps_a_fiber_from_being_captured)
{
    xctx_fiber *fiber = make(uncaptured, number(2));
    xctx_continuation *continuation = (xctx_continuation *)number(5);

    for (int i = 0; i < 2; i++) {
        step(fiber, NULL);
        assert_int_equal(xctx_fiber_capture(fiber, &continuation), -EPERM);
        assert_ptr_equal(continuation, number(5));
    }
    step(fiber, NULL);
    continuation = capture(fiber);
    assert_int_equal(as_number(last_step(fiber, NULL)), 2);
    assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 2);
    xctx_continuation_unref(continuation);
}

TEST(region_in_a_shot)
{
    xctx_continuation *continuation = capture_last(make(uncaptured, number(2)));
    xctx_fiber *shot = shot_of(continuation);
    xctx_continuation *none;

    step(shot, NULL);
    assert_int_equal(xctx_fiber_capture(shot, &none), -EPERM);
    xctx_fiber_unref(shot);
    xctx_continuation_unref(continuation);
    XCTX_NO_CAPTURE
    {
        assert_null(xctx_fiber_current());
    }
}

static int clone_value(void *value, void **ret_value)
{
    if (counted_number(value) < 0)
        return -EOVERFLOW;
    *ret_value = counted_clone(value);
    return 0;
}

static void drop_value(void *value)
{
    counted_drop(value);
}

static void *with_hook(void *argument)
{
    struct counted *value = counted_new(as_number(argument));
    struct counted *none = NULL;
    xctx_fiber_hook hook
        __attribute__((cleanup(xctx_fiber_hook_pop))) = {.on_clone = clone_value, .on_drop = drop_value};
    xctx_fiber_hook empty
        __attribute__((cleanup(xctx_fiber_hook_pop))) = {.on_clone = clone_value, .on_drop = drop_value};
    CHECK(xctx_fiber_hook_push(&hook, &value) == 0);
    CHECK(xctx_fiber_hook_push(&empty, &none) == 0);
    long sum = 0;
    long in;
    while ((in = as_number(xctx_fiber_yield(value))) != 0) {
        sum += in;
        value->number = sum;
    }
    xctx_fiber_hook_pop(&empty);
    xctx_fiber_hook_pop(&hook);
    long result = counted_number(value);
    counted_drop(value);
    return number(result);
}

TEST(hook_gives_each_copy_a_value_of_its_own)
{
    xctx_fiber *fiber = make(with_hook, number(1));
    void *of_fiber = step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    xctx_fiber *a = shot_of(continuation), *b = shot_of(continuation);

    void *of_a = step(a, number(10));
    assert_ptr_not_equal(of_a, of_fiber);
    assert_int_equal(as_number(last_step(fiber, NULL)), 1);
    void *of_b = step(b, number(20));
    assert_ptr_not_equal(of_b, of_a);
    assert_int_equal(as_number(last_step(a, NULL)), 10);
    xctx_fiber_unref(b); /* abandoned */
    assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 1);
    xctx_fiber_unref(shot_of(continuation));
    xctx_continuation_unref(continuation);
    assert_int_equal(counted_live(), 0);
}

TEST(abandoned_fiber_drops_what_its_hooks_hold)
{
    xctx_fiber *fiber = make(with_hook, number(1));

    step(fiber, NULL);
    assert_int_equal(counted_live(), 1);
    xctx_fiber_unref(fiber);
    assert_int_equal(counted_live(), 0);
}

TEST(hook_that_refuses_fails_the_capture)
{
    xctx_fiber *fiber = make(with_hook, number(-1));
    xctx_continuation *continuation;

    step(fiber, NULL);
    assert_int_equal(xctx_fiber_capture(fiber, &continuation), -EOVERFLOW);
    step(fiber, number(5));
    assert_int_equal(xctx_fiber_capture(fiber, &continuation), 0);
    xctx_continuation_unref(continuation);
    assert_int_equal(as_number(last_step(fiber, NULL)), 5);
}

static void *bad_hooks(void *argument)
{
    static void *not_on_stack;
    static xctx_fiber_hook hook_elsewhere;
    void *value = NULL;
    xctx_fiber_hook hook = {0};

    CHECK(xctx_fiber_hook_push(&hook, &not_on_stack) == -EINVAL);
    CHECK(xctx_fiber_hook_push(&hook_elsewhere, &value) == -EINVAL);
    CHECK(xctx_fiber_hook_push(&hook, &value) == 0);
    CHECK(xctx_fiber_hook_push(&hook, &value) == -EALREADY);
    CHECK(xctx_fiber_hook_push(NULL, &value) == -EINVAL);
    CHECK(xctx_fiber_hook_push(&hook, NULL) == -EINVAL);
    xctx_fiber_hook_pop(&hook);
    return argument;
}

TEST(hooks_are_on_the_fibers_stack)
{
    xctx_fiber_hook hook = {0};
    void *value = NULL;

    last_step(make(bad_hooks, NULL), NULL);
    assert_int_equal(xctx_fiber_hook_push(&hook, &value), 0);
    xctx_fiber_hook_pop(&hook);
    xctx_fiber_hook_pop(NULL);
}

/* ---- refusals ---- */

static void *capture_itself(void *argument)
{
    xctx_continuation *continuation;

    (void)argument;
    return number(xctx_fiber_capture(xctx_fiber_current(), &continuation));
}

TEST(bad_arguments_are_refused)
{
    xctx_fiber *fiber = make(add_up, NULL);
    xctx_continuation *continuation = NULL;

    assert_int_equal(xctx_fiber_capture(NULL, &continuation), -EINVAL);
    assert_int_equal(xctx_fiber_capture(fiber, NULL), -EINVAL);
    assert_int_equal(xctx_continuation_shot(NULL, &fiber), -EINVAL);
    continuation = capture(fiber);
    assert_int_equal(xctx_continuation_shot(continuation, NULL), -EINVAL);
    assert_null(xctx_continuation_unref(NULL));
    assert_null(xctx_continuation_ref(NULL));
    assert_int_equal(xctx_continuation_size(NULL), 0);
    xctx_continuation_unref(xctx_continuation_ref(continuation));
    xctx_continuation_unref(continuation);
    step(fiber, NULL);
    step(fiber, number(1));
    CHECK(xctx_fiber_resume(fiber, NULL, NULL) == 0);
    assert_int_equal(xctx_fiber_capture(fiber, &continuation), -EINVAL);
    xctx_fiber_unref(fiber);
}

TEST(running_fiber_is_busy)
{
    assert_int_equal(as_number(last_step(make(capture_itself, NULL), NULL)), -EBUSY);
    xctx_continuation *continuation = capture_last(make(capture_itself, NULL));
    assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), -EBUSY);
    xctx_continuation_unref(continuation);
}

/* ---- threads, processes ---- */

static void *shoot_and_run(void *continuation)
{
    xctx_fiber *shot = shot_of(continuation);

    step(shot, number(7));
    return last_step(shot, NULL);
}

TEST(shots_run_on_other_threads)
{
    xctx_fiber *fiber = make(add_up, number(1));
    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);

    assert_int_equal(as_number(on_thread(shoot_and_run, continuation)), 8);
    xctx_fiber *shot = shot_of(continuation);
    assert_int_equal(as_number(on_thread(run_last, shot)), 1);
    xctx_fiber_unref(fiber);
    xctx_continuation_unref(continuation);
}

enum { TOKENS = 32 };

static xctx_token *nested_tokens;
static int nested_count;
static void *nested_value;

static void *retain_and_set(void *value)
{
    if (nested_tokens) {
        CHECK(nested_count < TOKENS);
        CHECK(xctx_var_set(&counted, nested_value, &nested_tokens[nested_count++]) == 0);
    }
    return value;
}

static void release_nothing(void *value)
{
    (void)value;
}

XCTX_VAR_DEFINE(nesting, .retain = retain_and_set, .release = release_nothing);

static void *make_tokens_in_retain(void *argument)
{
    xctx_token tokens[TOKENS];
    xctx_token outer[TOKENS];

    nested_value = argument;
    CHECK(xctx_var_set(&counted, argument, NULL) == 0 && xctx_var_set(&nesting, argument, NULL) == 0);
    CHECK(xctx_var_set(&counted, argument, &outer[0]) == 0); /* an odd number of them before */
    nested_tokens = tokens;
    nested_count = 0;
    for (int i = 1; i < TOKENS; i++)
        CHECK(xctx_var_set(&nesting, argument, &outer[i]) == 0);
    nested_tokens = NULL;
    for (int i = 1; i < TOKENS; i++)
        xctx_token_drop(&outer[i]);
    for (int i = 0; i < nested_count; i++)
        xctx_token_drop(&tokens[i]);
    xctx_token_drop(&outer[0]);
    return NULL;
}

TEST(tokens_made_by_a_retain_operation_have_room_beside_that_of_its_set)
{
    struct counted *value = counted_new(1);

    last_step(make(make_tokens_in_retain, value), NULL);
    counted_drop(value);
}

struct found {
    xctx_arena *arena;
    long *values;
};

static int run_in_child(xctx_fiber *shot, size_t index, void *arg)
{
    struct found *found = arg;
    void *out = NULL;

    if (index == 3)
        raise(SIGKILL);
    CHECK(xctx_fiber_resume(shot, number((long)index + 1), &out) == 1);
    found->values[index] = as_number(out);
    return (int)index * 2;
}

TEST(shots_run_in_parallel_in_forked_processes)
{
    enum { SHOTS = 12 };
    struct found found = {.arena = xctx_arena_create(1 << 16)};
    int results[SHOTS];
    xctx_fiber *fiber = make(add_up, number(100));
    step(fiber, NULL);
    xctx_continuation *continuation = capture_last(fiber);

    found.values = xctx_arena_allocate(found.arena, SHOTS * sizeof(long));
    assert_non_null(found.values);
    assert_int_equal(xctx_continuation_fork(continuation, SHOTS, 3, run_in_child, &found, results), 0);
    for (long i = 0; i < SHOTS; i++) {
        assert_int_equal(results[i], i == 3 ? -ECANCELED : 2 * i);
        assert_int_equal(found.values[i], i == 3 ? 0 : 101 + i);
    }
    assert_int_equal(xctx_continuation_fork(continuation, 0, 0, run_in_child, &found, NULL), 0);
    assert_int_equal(xctx_continuation_fork(NULL, 1, 0, run_in_child, &found, NULL), -EINVAL);
    assert_int_equal(xctx_continuation_fork(continuation, 1, 0, NULL, &found, NULL), -EINVAL);
    xctx_continuation_unref(continuation);
    assert_null(xctx_arena_destroy(found.arena));
}

static bool child_dies;

static void die_in_child(void)
{
    if (child_dies)
        _exit(1);
}

TEST(processes_that_die_before_they_do_anything_are_not_forked_for_ever)
{
    int results[3] = {0};
    xctx_fiber *fiber = make(add_up, number(100));
    step(fiber, NULL);
    xctx_continuation *continuation = capture_last(fiber);

    assert_int_equal(pthread_atfork(NULL, NULL, die_in_child), 0);
    child_dies = true;
    assert_int_equal(xctx_continuation_fork(continuation, 3, 2, run_in_child, NULL, results), -EAGAIN);
    child_dies = false;
    for (int i = 0; i < 3; i++)
        assert_int_equal(results[i], -ECANCELED);
    xctx_continuation_unref(continuation);
}

TEST(arena_ends)
{
    xctx_arena *arena = xctx_arena_create(100);

    char *first = xctx_arena_allocate(arena, 50);
    assert_non_null(first);
    assert_int_equal((uintptr_t)first % 16, 0);
    assert_null(xctx_arena_allocate(arena, 50));
    assert_non_null(xctx_arena_allocate(arena, 30));
    assert_null(xctx_arena_allocate(arena, SIZE_MAX));
    assert_null(xctx_arena_allocate(NULL, 1));
    assert_null(xctx_arena_create(SIZE_MAX));
    xctx_arena_destroy(arena);
    assert_null(xctx_arena_destroy(NULL));
}

int main(void)
{
    return test_main("continuations");
}
