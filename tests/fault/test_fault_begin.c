/* SPDX-License-Identifier: MIT */
/* Fibers that could not begin, for want of memory. */
#include "fault.h"

static xctx_continuation *continuation;
static xctx_fiber *shot;

static void *end_at_once(void *argument)
{
    return argument;
}

/* Nothing is reserved for the operations of a shot's context before it is first resumed. */
static void with_shot_that_did_not_begin(struct world *world)
{
    in_full(world);
    set(&hooked, number(1));
    xctx_fiber *fiber = xctx_fiber_create(end_at_once, number(4), NULL);
    CHECK(fiber && xctx_fiber_capture(fiber, &continuation) == 0);
    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
    xctx_fiber_unref(fiber);
}

static void drop_all(struct world *world)
{
    (void)world;
    shot = xctx_fiber_unref(shot);
    continuation = xctx_continuation_unref(continuation);
}

static int call_resume(struct world *world)
{
    void *out = NULL;
    int status = xctx_fiber_resume(shot, NULL, &out);

    (void)world;
    CHECK(status == 0 ? out == number(4) : status == -ENOMEM && !out);
    return status;
}

TEST(first_resume_of_a_shot_without_memory_runs_nothing)
{
    fail_each(&(struct scenario){.prepare = with_shot_that_did_not_begin, .call = call_resume, .succeeded = drop_all});
}

/* Given up after the failure. */
static int call_resume_and_drop(struct world *world)
{
    int status = call_resume(world);

    shot = xctx_fiber_unref(shot);
    if (status)
        CHECK(xctx_continuation_shot(continuation, &shot) == 0);
    return status;
}

TEST(shot_that_could_not_begin_is_given_up_with_its_context)
{
    fail_each(&(struct scenario){
        .prepare = with_shot_that_did_not_begin, .call = call_resume_and_drop, .succeeded = drop_all});
}

int main(void)
{
    return test_main("fibers that could not begin");
}
