/* SPDX-License-Identifier: MIT */
/* Shots where it is less simple: on threads that come and go, within each other's operations, copied again. */
#include "counted.h"
#include "fiber_support.h"
#include "threads.h"

XCTX_VAR_DEFINE(depth_of);

/* ---- functions in contexts ---- */

static void *run_once_more(void *argument)
{
    xctx_context *context = argument;

    xctx_unref(context);
    CHECK(xctx_var_set(&depth_of, number(as_number(xctx_var_get(&depth_of)) + 1), NULL) == 0);
    xctx_fiber_yield(xctx_var_get(&depth_of));
    return number(0);
}

static void *run_in_a_copy(void *argument)
{
    xctx_context *context = argument;

    xctx_unref(context);
    CHECK(xctx_var_set(&depth_of, number(2), NULL) == 0);
    xctx_fiber_yield(number(20));
    context = xctx_copy_current();
    CHECK(xctx_run(context, run_once_more, context, NULL) == 0);
    CHECK(as_number(xctx_var_get(&depth_of)) == 2);
    return number(0);
}

static void *run_twice(void *argument)
{
    CHECK(xctx_var_set(&depth_of, number(1), NULL) == 0);
    xctx_context *context = xctx_copy_current();
    CHECK(xctx_run(context, run_in_a_copy, context, NULL) == 0);
    CHECK(as_number(xctx_var_get(&depth_of)) == 1);
    return argument;
}

/* What was current before the inner function is a context of a shot that is gone, and other contexts are at its place.
 */
TEST(shot_of_a_shot_goes_back_to_what_was_current_before_a_function)
{
    xctx_fiber *fiber = make(run_twice, number(7));

    step(fiber, NULL);
    xctx_continuation *outer = capture(fiber);
    xctx_fiber *shot = shot_of(outer);
    assert_int_equal(as_number(step(shot, NULL)), 3);
    xctx_continuation *inner = capture(shot);
    xctx_fiber_unref(shot);
    xctx_context *holes[4];
    for (int i = 0; i < 4; i++) {
        holes[i] = xctx_new();
        shot = shot_of(inner);
        assert_int_equal(as_number(last_step(shot, NULL)), 7);
    }
    for (int i = 0; i < 4; i++)
        xctx_unref(holes[i]);
    xctx_continuation_unref(inner);
    xctx_continuation_unref(outer);
    step(fiber, NULL);
    assert_int_equal(as_number(last_step(fiber, NULL)), 7);
}

/* ---- threads ---- */

static void *yield_for_ever(void *argument)
{
    xctx_context *context = xctx_copy_current();

    CHECK(xctx_enter(context) == 0);
    xctx_unref(context);
    for (;;)
        xctx_fiber_yield(argument);
    return NULL;
}

static void *resume_some_times(void *argument)
{
    for (int i = 0; i < 4; i++)
        step(argument, NULL);
    return NULL;
}

/* It has a record by then, with which it inherits what the thread before it kept. */
static void *resume_after_something_else(void *argument)
{
    xctx_unref(xctx_new());
    step(argument, NULL);
    return NULL;
}

TEST(fiber_that_a_thread_that_ended_kept_is_captured)
{
    xctx_fiber *fiber = make(yield_for_ever, NULL);

    for (int i = 0; i < 3; i++) {
        on_thread(resume_some_times, fiber);
        on_thread(resume_after_something_else, fiber);
        xctx_continuation *continuation = capture(fiber);
        xctx_continuation_unref(continuation);
    }
    xctx_fiber_unref(fiber);
    /* Nor did it change what threads to come take for unknown. */
    fiber = make(yield_for_ever, NULL);
    on_thread(resume_some_times, fiber);
    xctx_continuation_unref(capture(fiber));
    xctx_fiber_unref(fiber);
}

static void *give_up(void *argument)
{
    xctx_fiber_unref(argument);
    return NULL;
}

static void *give_up_continuation(void *argument)
{
    xctx_continuation_unref(argument);
    return NULL;
}

TEST(threads_that_know_nothing_yet_give_up_shots_and_continuations)
{
    enum { SHOTS = 8 };
    xctx_fiber *fiber = make(yield_for_ever, number(3));
    pthread_t threads[SHOTS];

    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    for (int i = 0; i < SHOTS; i++) {
        xctx_fiber *shot = shot_of(continuation);
        if (i % 2)
            assert_int_equal(as_number(step(shot, NULL)), 3);
        threads[i] = spawn(give_up, shot);
    }
    for (int i = 0; i < SHOTS; i++)
        join(threads[i]);
    assert_int_equal(as_number(step(fiber, NULL)), 3);
    on_thread(give_up, fiber);
    xctx_fiber *shot = shot_of(continuation);
    assert_int_equal(as_number(step(shot, NULL)), 3);
    on_thread(give_up_continuation, continuation);
    on_thread(give_up, shot);
}

/* The last one to give it back is not the thread that keeps a shot for the next time. */
static void *yield_once(void *argument)
{
    xctx_fiber_yield(argument);
    return argument;
}

TEST(continuation_with_a_spare_shot_is_given_up_by_another_thread)
{
    xctx_fiber *fiber = make_with(yield_once, number(4), XCTX_FIBER_CONTEXT_COPY);

    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    xctx_fiber_unref(fiber);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(as_number(last_step(shot_of(continuation), NULL)), 4);
        xctx_fiber_unref(shot_of(continuation));
    }
    on_thread(give_up_continuation, continuation);
}

/* ---- hooks that do something to other stacks ---- */

struct crossing {
    struct meeting meeting;
    xctx_fiber *first; /* a fiber of this stack is captured, and its hook resumes `second` */
    xctx_fiber *first_shot;
    xctx_fiber *second; /* resumes `first_shot` */
    xctx_fiber *second_shot;
    bool acts;
    int status[2];
};

static struct crossing crossing;

static int resume_second(void *value, void **ret_value)
{
    if (crossing.acts) {
        meet(&crossing.meeting);
        crossing.status[0] = xctx_fiber_resume(crossing.second_shot, NULL, NULL);
    }
    *ret_value = value;
    return 0;
}

static void *with_hook(void *argument)
{
    void *value = argument;
    xctx_fiber_hook hook = {.on_clone = resume_second};

    CHECK(xctx_fiber_hook_push(&hook, &value) == 0);
    for (;;)
        xctx_fiber_yield(NULL);
    return NULL;
}

static void *resume_first(void *argument)
{
    (void)argument;
    if (xctx_fiber_yield(NULL)) {
        meet(&crossing.meeting);
        crossing.status[1] = xctx_fiber_resume(crossing.first_shot, NULL, NULL);
    }
    for (;;)
        xctx_fiber_yield(NULL);
    return NULL;
}

static void *capture_first(void *argument)
{
    (void)argument;
    return capture(crossing.first);
}

static void *run_second(void *argument)
{
    step(crossing.second, number(1));
    return argument;
}

TEST(thread_that_waits_in_a_hook_is_part_of_a_circle)
{
    meeting_init(&crossing.meeting, 2);
    crossing.first = make(with_hook, &crossing);
    crossing.second = make(resume_first, NULL);
    step(crossing.second, NULL);
    xctx_continuation *second = capture(crossing.second);
    crossing.second_shot = shot_of(second);
    step(crossing.first, NULL);
    xctx_continuation *first = capture(crossing.first);
    crossing.first_shot = shot_of(first);
    crossing.acts = true;
    alarm(60); /* rather than for ever */
    pthread_t one = spawn(capture_first, NULL);
    pthread_t other = spawn(run_second, NULL);
    join(other);
    xctx_continuation *again = join(one);
    alarm(0);
    assert_true((crossing.status[0] == 1 && crossing.status[1] == -EDEADLK) ||
                (crossing.status[0] == -EDEADLK && crossing.status[1] == 1));
    xctx_continuation_unref(again);
    xctx_continuation_unref(first);
    xctx_continuation_unref(second);
    xctx_fiber_unref(crossing.first_shot);
    xctx_fiber_unref(crossing.second_shot);
    xctx_fiber_unref(crossing.first);
    xctx_fiber_unref(crossing.second);
}

int main(void)
{
    return test_main("shots on threads");
}
