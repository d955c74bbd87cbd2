/* SPDX-License-Identifier: MIT */
/* Fibers: begin, yield, go on, end; on which thread; what they are refused. */
#include <sched.h>
#include <stdatomic.h>

#include "counted.h"
#include "fiber_support.h"
#include "threads.h"

static void *count_up(void *argument)
{
    long n = as_number(argument);
    void *in = NULL;

    for (int i = 0; i < 5; i++)
        in = xctx_fiber_yield(number(n + i + as_number(in)));
    return number(-1);
}

static void *return_argument(void *argument)
{
    return argument;
}

TEST(fiber_runs_when_it_is_resumed_and_not_before)
{
    static int ran;
    xctx_fiber *fiber = make(return_argument, &ran);

    assert_ptr_equal(last_step(fiber, NULL), &ran);
}

TEST(values_go_in_and_out)
{
    xctx_fiber *fiber = make(count_up, number(10));

    assert_int_equal(as_number(step(fiber, number(99))), 10); /* the first one goes nowhere */
    for (int i = 1; i < 5; i++)
        assert_int_equal(as_number(step(fiber, number(100 * i))), 10 + i + 100 * i);
    assert_int_equal(as_number(last_step(fiber, NULL)), -1);
}

TEST(result_may_be_ignored)
{
    xctx_fiber *fiber = make(count_up, number(1));

    for (int i = 0; i < 5; i++)
        assert_int_equal(xctx_fiber_resume(fiber, NULL, NULL), 1);
    assert_int_equal(xctx_fiber_resume(fiber, NULL, NULL), 0);
    xctx_fiber_unref(fiber);
}

TEST(finished_fiber_is_refused)
{
    xctx_fiber *fiber = make(return_argument, NULL);
    void *out = number(5);

    assert_int_equal(xctx_fiber_resume(fiber, NULL, NULL), 0);
    assert_int_equal(xctx_fiber_resume(fiber, NULL, &out), -EINVAL);
    assert_int_equal(as_number(out), 5);
    xctx_fiber_unref(fiber);
}

TEST(no_fiber_is_refused)
{
    void *out = number(5);

    assert_int_equal(xctx_fiber_resume(NULL, NULL, &out), -EINVAL);
    assert_int_equal(as_number(out), 5);
    assert_null(xctx_fiber_ref(NULL));
    assert_null(xctx_fiber_unref(NULL));
    assert_string_equal(xctx_fiber_name(NULL), "");
}

static void *resume_argument(void *argument)
{
    void *out = number(5);
    int error = xctx_fiber_resume(*(xctx_fiber **)argument, NULL, &out);

    CHECK(as_number(out) == 5);
    return number(error);
}

TEST(fiber_that_resumes_itself_is_refused)
{
    xctx_fiber *fiber = NULL;

    fiber = make(resume_argument, &fiber);
    assert_int_equal(as_number(last_step(fiber, NULL)), -EDEADLK);
}

static void *resume_inner(void *argument)
{
    return last_step(make(resume_argument, argument), NULL);
}

TEST(fiber_that_waits_for_the_one_it_resumed_is_refused)
{
    xctx_fiber *outer = NULL;

    outer = make(resume_inner, &outer);
    assert_int_equal(as_number(last_step(outer, NULL)), -EDEADLK);
}

static void *resume_on_thread(void *argument)
{
    return on_thread(resume_argument, argument);
}

TEST(fiber_that_runs_on_another_thread_is_refused)
{
    xctx_fiber *fiber = NULL;

    fiber = make(resume_on_thread, &fiber);
    assert_int_equal(as_number(last_step(fiber, NULL)), -EBUSY);
}

TEST(yield_outside_of_fibers_returns_null)
{
    assert_null(xctx_fiber_yield(number(1)));
    assert_null(xctx_fiber_current());
}

static void *say_current(void *argument)
{
    (void)argument;
    xctx_fiber_yield(xctx_fiber_current());
    return xctx_fiber_current();
}

TEST(current_is_the_running_fiber)
{
    xctx_fiber *fiber = make(say_current, NULL);

    assert_ptr_equal(step(fiber, NULL), fiber);
    assert_null(xctx_fiber_current());
    assert_ptr_equal(last_step(fiber, NULL), fiber);
    assert_null(xctx_fiber_current());
}

static void *generate_from_inner(void *argument)
{
    xctx_fiber *inner = make(count_up, argument);
    void *out = NULL;

    while (xctx_fiber_resume(inner, NULL, &out) == 1)
        xctx_fiber_yield(number(as_number(out) * 2));
    xctx_fiber_unref(inner);
    return out;
}

TEST(fibers_resume_fibers)
{
    xctx_fiber *fiber = make(generate_from_inner, number(3));

    for (long i = 0; i < 5; i++)
        assert_int_equal(as_number(step(fiber, NULL)), (3 + i) * 2);
    assert_int_equal(as_number(last_step(fiber, NULL)), -1);
}

static void *fall(void *argument)
{
    volatile char space[512];

    memset((char *)space, 1, sizeof(space));
    long n = as_number(argument);
    void *below = n > 0 ? fall(number(n - 1)) : xctx_fiber_yield(argument);
    CHECK(space[0] == 1 && space[511] == 1);
    return below;
}

TEST(frames_stay_as_they_were_over_a_yield)
{
    xctx_fiber *fibers[20];

    for (long i = 0; i < 20; i++) {
        fibers[i] = make(fall, number(i));
        step(fibers[i], NULL);
    }
    for (long i = 0; i < 20; i++)
        assert_int_equal(as_number(last_step(fibers[i], number(i * 7))), i * 7);
}

/* ---- threads ---- */

static void *step_argument(void *argument)
{
    return step(argument, NULL);
}

static void *last_step_argument(void *argument)
{
    return last_step(argument, NULL);
}

TEST(fiber_goes_on_on_other_threads)
{
    xctx_fiber *fiber = make(count_up, number(1));

    assert_int_equal(as_number(step(fiber, NULL)), 1);
    assert_int_equal(as_number(step(fiber, NULL)), 2);
    assert_int_equal(as_number(on_thread(step_argument, fiber)), 3);
    assert_int_equal(as_number(step(fiber, NULL)), 4);
    assert_int_equal(as_number(on_thread(step_argument, fiber)), 5);
    assert_int_equal(as_number(on_thread(last_step_argument, fiber)), -1);
}

static void *wander(void *argument)
{
    for (long i = 0;; i++)
        if (xctx_fiber_yield(number(i)) == argument)
            return number(i);
}

/* Kept by one thread, and taken from it again and again. */
TEST(fiber_wanders_between_threads_that_stay)
{
    struct worker workers[2];
    xctx_fiber *fiber = make(wander, number(-1));
    long n = 0;

    worker_start(&workers[0]);
    worker_start(&workers[1]);
    for (int round = 0; round < 20; round++)
        for (int i = 0; i < 2; i++)
            for (int again = 0; again < 4; again++)
                assert_int_equal(as_number(worker_do(&workers[i], step_argument, fiber)), n++);
    worker_stop(&workers[0]);
    worker_stop(&workers[1]);
    assert_int_equal(as_number(last_step(fiber, number(-1))), n - 1);
}

enum { CONTESTED = 2000, CONTESTED_APART = 128 /* more than XCTX__HAND_OVERS */ };

static xctx_fiber *_Atomic contested;
static _Atomic int begun;

static void *count_beginning(void *argument)
{
    atomic_fetch_add(&begun, 1);
    return argument;
}

/* Returns whether it was this thread that ran the fiber. */
static bool contend(xctx_fiber *fiber)
{
    int result = xctx_fiber_resume(fiber, NULL, NULL);

    CHECK(result == 0 || result == -EBUSY || result == -EINVAL);
    return result == 0;
}

static void *contend_for_all(void *unused)
{
    long won = 0;

    (void)unused;
    for (int i = 0; i < CONTESTED; i++) {
        xctx_fiber *fiber;
        while (!(fiber = atomic_exchange(&contested, NULL)))
            sched_yield();
        won += contend(fiber);
        xctx_fiber_unref(fiber);
    }
    return number(won);
}

/* The thread that has made a fiber takes it without an atomic operation, another one takes that away from it. */
TEST(new_fiber_that_two_threads_want_begins_once)
{
    pthread_t other = spawn(contend_for_all, NULL);
    long won = 0;

    atomic_store(&begun, 0);
    for (int i = 0; i < CONTESTED; i++) {
        /* So that the next one is made to be begun by this thread. */
        for (int k = 0; i % 8 == 0 && k < CONTESTED_APART; k++)
            last_step(make(return_argument, NULL), NULL);
        xctx_fiber *fiber = xctx_fiber_ref(make(count_beginning, NULL));
        atomic_store(&contested, fiber);
        for (int k = 0; k < i % 64; k++)
            (void)atomic_load(&begun); /* a while, of different lengths */
        won += contend(fiber);
        while (atomic_load(&contested))
            sched_yield();
        /* The other one may still be running it. */
        while (atomic_load(&begun) <= i)
            sched_yield();
        xctx_fiber_unref(fiber);
    }
    won += as_number(join(other));
    assert_int_equal(won, CONTESTED);
    assert_int_equal(atomic_load(&begun), CONTESTED);
}

static void *create_and_step(void *argument)
{
    xctx_fiber *fiber = make(count_up, argument);

    step(fiber, NULL);
    step(fiber, NULL);
    step(fiber, NULL);
    return fiber;
}

TEST(fiber_outlives_the_thread_that_made_it)
{
    xctx_fiber *fiber = on_thread(create_and_step, number(1));

    assert_int_equal(as_number(step(fiber, NULL)), 4);
    assert_int_equal(as_number(step(fiber, NULL)), 5);
    assert_int_equal(as_number(last_step(fiber, NULL)), -1);
}

static void *drop_argument(void *argument)
{
    return xctx_fiber_unref(argument);
}

TEST(suspended_fiber_is_abandoned_by_another_thread)
{
    xctx_fiber *fiber = make(count_up, number(1));

    step(fiber, NULL);
    step(fiber, NULL);
    step(fiber, NULL);
    on_thread(drop_argument, fiber);
}

TEST(references_are_counted)
{
    xctx_fiber *fiber = make(count_up, number(1));

    assert_ptr_equal(xctx_fiber_ref(fiber), fiber);
    xctx_fiber_unref(fiber);
    assert_int_equal(as_number(step(fiber, NULL)), 1);
    xctx_fiber_unref(fiber);
}

/* ---- options ---- */

TEST(wrong_options_give_null)
{
    const xctx_fiber_options good = {.size = sizeof(good)};
    xctx_fiber_options options = good;

    assert_null(xctx_fiber_create(NULL, NULL, NULL));
    options.size = sizeof(options) - 1;
    assert_null(xctx_fiber_create(return_argument, NULL, &options));
    options = good;
    options.stack_size = XCTX_FIBER_STACK_MAX + 1;
    assert_null(xctx_fiber_create(return_argument, NULL, &options));
    options = good;
    options.context = 3;
    assert_null(xctx_fiber_create(return_argument, NULL, &options));
    options = good;
    options.guard = 2;
    assert_null(xctx_fiber_create(return_argument, NULL, &options));
}

static void *use_stack(void *argument)
{
    size_t size = (size_t)argument;
    volatile char *space = __builtin_alloca(size);

    for (size_t i = 0; i < size; i += 256)
        space[i] = 1;
    return (void *)(uintptr_t)space[0];
}

TEST(stack_is_as_large_as_it_was_asked_for)
{
    const size_t sizes[] = {1, 16 << 10, 20 << 10, 33 << 10, 100 << 10, 1 << 20, 5 << 20};

    for (uint32_t guard = 0; guard < 2; guard++) {
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
            const xctx_fiber_options options = {.size = sizeof(options), .stack_size = sizes[i], .guard = guard};
            size_t size = sizes[i] < XCTX_FIBER_STACK_MIN ? XCTX_FIBER_STACK_MIN : sizes[i];
            xctx_fiber *fiber = xctx_fiber_create(use_stack, (void *)(size - 6000), &options);
            assert_non_null(fiber);
            assert_int_equal(as_number(last_step(fiber, NULL)), 1);
        }
    }
}

TEST(name_is_copied_and_cut_off)
{
    char name[100];
    xctx_fiber_options options = {.size = sizeof(options), .name = name};

    memset(name, 'x', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    xctx_fiber *fiber = xctx_fiber_create(return_argument, NULL, &options);
    memset(name, 'y', sizeof(name) - 1);
    assert_int_equal(strlen(xctx_fiber_name(fiber)), XCTX_FIBER_NAME_MAX);
    assert_int_equal(xctx_fiber_name(fiber)[0], 'x');
    last_step(fiber, NULL);
    fiber = make(return_argument, NULL);
    assert_string_equal(xctx_fiber_name(fiber), "");
    last_step(fiber, NULL);
}

/* ---- registers ---- */

/* Many values over a call: some are in the registers that functions must keep. */
#define KEEP(n) long a##n = x + n, b##n = x * n
#define KEPT(n) CHECK(a##n == x + n && b##n == x * n)
static __attribute__((noinline)) void keep(long x, void (*call)(void))
{
    volatile double d = (double)x;
    double e0 = d * 1, e1 = d * 2, e2 = d * 3, e3 = d * 4, e4 = d * 5, e5 = d * 6, e6 = d * 7, e7 = d * 8;

    KEEP(1);
    KEEP(2);
    KEEP(3);
    KEEP(4);
    call();
    KEPT(1);
    KEPT(2);
    KEPT(3);
    KEPT(4);
    CHECK(e0 + e1 + e2 + e3 + e4 + e5 + e6 + e7 == (double)x * 36);
}

static void yield_nothing(void)
{
    xctx_fiber_yield(NULL);
}

static void *keep_in_fiber(void *argument)
{
    for (long i = 0; i < 8; i++)
        keep(as_number(argument) + i, yield_nothing);
    return NULL;
}

static xctx_fiber *kept_fiber;

static void step_kept(void)
{
    step(kept_fiber, NULL);
}

TEST(registers_are_kept_on_both_sides)
{
    kept_fiber = make(keep_in_fiber, number(1000));
    for (long i = 0; i < 8; i++)
        keep(i, step_kept);
    last_step(kept_fiber, NULL);
}

/* ---- local variables that are not on the stack ---- */

static bool is_elsewhere;

/* AddressSanitizer moves local variables to the heap if it is told to find them used after their function has returned.
   The tests of continuations run without that; this one is run with it. */
static __attribute__((noinline)) void *yield_with_variable(void *argument)
{
    volatile char variable[32];

    variable[0] = 1;
    uintptr_t distance = (uintptr_t)variable - (uintptr_t)__builtin_frame_address(0);
    is_elsewhere = distance + XCTX_FIBER_STACK_DEFAULT > 2 * XCTX_FIBER_STACK_DEFAULT;
    xctx_fiber_yield((void *)variable);
    CHECK(variable[0] == 1);
    return argument;
}

TEST(fiber_with_variables_that_are_not_on_its_stack_is_not_captured)
{
    xctx_continuation *continuation = NULL;
    xctx_fiber *fiber = make(yield_with_variable, number(3));

    step(fiber, NULL);
    assert_int_equal(xctx_fiber_capture(fiber, &continuation), is_elsewhere ? -ENOTSUP : 0);
    assert_true(!continuation == is_elsewhere);
    xctx_continuation_unref(continuation);
    assert_int_equal(as_number(last_step(fiber, NULL)), 3);
}

/* ---- many ---- */

TEST(many_fibers_live_at_once)
{
    long count = scaled(20000);
    xctx_fiber **fibers = malloc((size_t)count * sizeof(xctx_fiber *));

    assert_non_null(fibers);
    for (long i = 0; i < count; i++) {
        fibers[i] = make(count_up, number(i));
        assert_int_equal(as_number(step(fibers[i], NULL)), i);
    }
    for (long i = 0; i < count; i++)
        assert_int_equal(as_number(step(fibers[i], NULL)), i + 1);
    for (long i = 0; i < count; i += 2)
        xctx_fiber_unref(fibers[i]);
    for (long i = 1; i < count; i += 2)
        assert_int_equal(as_number(step(fibers[i], NULL)), i + 2);
    for (long i = 1; i < count; i += 2)
        xctx_fiber_unref(fibers[i]);
    free(fibers);
}

static void *go_on_in_child(void *argument)
{
    xctx_fiber *fiber = argument;

    CHECK(as_number(step(fiber, NULL)) == 4);
    CHECK(as_number(step(fiber, NULL)) == 5);
    CHECK(as_number(last_step(fiber, NULL)) == -1);
    CHECK(as_number(last_step(make(return_argument, number(3)), NULL)) == 3);
    return NULL;
}

TEST(suspended_fiber_goes_on_in_a_forked_child)
{
    xctx_fiber *fiber = make(count_up, number(1));

    for (int i = 0; i < 3; i++)
        step(fiber, NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        go_on_in_child(fiber);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(as_number(step(fiber, NULL)), 4);
    xctx_fiber_unref(fiber);
}

int main(void)
{
    return test_main("fibers");
}
