/* SPDX-License-Identifier: MIT */
/* Fibers without memory. */
#include "fault.h"

static xctx_fiber *fiber;

static void *note_values(void *argument)
{
    struct world *world = argument;

    CHECK(xctx_var_get(&plain) == number(1));
    CHECK(counted_number(xctx_var_get(&cloned)) == 2);
    xctx_fiber_yield(number(5));
    CHECK(xctx_var_get(&far_counted) == world->values[0]);
    return number(6);
}

static void in_full_hooked(struct world *world)
{
    in_full(world);
    set(&hooked, number(1));
    set(&far_hooked, number(2));
}

/* ---- making ---- */

static int create_with(struct world *world, const xctx_fiber_options *options)
{
    fiber = xctx_fiber_create(note_values, world, options);
    return fiber ? 0 : -ENOMEM;
}

static int call_create(struct world *world)
{
    return create_with(world, NULL);
}

static int call_create_large(struct world *world)
{
    const xctx_fiber_options options = {.size = sizeof(options), .stack_size = 5 << 20, .name = "large"};

    return create_with(world, &options);
}

static int call_create_without_context(struct world *world)
{
    const xctx_fiber_options options = {.size = sizeof(options), .context = XCTX_FIBER_CONTEXT_NONE};

    return create_with(world, &options);
}

static void check_fiber(struct world *world)
{
    void *out = NULL;

    (void)world;
    CHECK(xctx_fiber_resume(fiber, NULL, &out) == 1 && out == number(5));
    CHECK(xctx_fiber_resume(fiber, NULL, &out) == 0 && out == number(6));
    CHECK(applied_now == 0);
    fiber = xctx_fiber_unref(fiber);
}

static void drop_fiber(struct world *world)
{
    (void)world;
    fiber = xctx_fiber_unref(fiber);
}

TEST(create_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_create, .succeeded = check_fiber});
    fail_each(&(struct scenario){.prepare = in_full_hooked, .call = call_create, .succeeded = check_fiber});
    fail_each(&(struct scenario){.prepare = in_full_hooked, .call = call_create_large, .succeeded = check_fiber});
    fail_each(&(struct scenario){.first_use = true, .call = call_create, .succeeded = drop_fiber});
    fail_each(&(struct scenario){.first_use = true, .call = call_create_without_context, .succeeded = drop_fiber});
}

/* ---- resuming ---- */

static void with_fiber(struct world *world)
{
    in_full_hooked(world);
    CHECK(call_create(world) == 0);
}

static int call_first_resume(struct world *world)
{
    void *out = number(NOWHERE);
    int status = xctx_fiber_resume(fiber, NULL, &out);

    (void)world;
    CHECK(applied_now == 0);
    CHECK(status == 1 ? out == number(5) : status == -ENOMEM && out == number(NOWHERE));
    return status == 1 ? 0 : status;
}

TEST(first_resume_needs_no_memory)
{
    fail_each(&(struct scenario){
        .prepare = with_fiber, .call = call_first_resume, .succeeded = drop_fiber, .never_fails = true});
}

static void with_fiber_of_another_thread(struct world *world)
{
    with_fiber(world);
    CHECK(xctx_exit(world->contexts[0]) == 0);
}

TEST(first_resume_on_a_new_thread_without_memory_runs_nothing)
{
    fail_each(&(struct scenario){.outside = with_fiber_of_another_thread,
                                 .first_use = true,
                                 .call = call_first_resume,
                                 .succeeded = drop_fiber});
}

/* Sets variables whose operations are to be called when it is resumed. */
static void *set_hooked(void *argument)
{
    xctx_fiber_yield(argument);
    set(&hooked, number(1));
    set(&far_hooked, number(2));
    xctx_fiber_yield(argument);
    return number(6);
}

static void with_newly_hooked(struct world *world)
{
    void *out;

    in_full(world);
    fiber = xctx_fiber_create(set_hooked, number(5), NULL);
    CHECK(fiber && xctx_fiber_resume(fiber, NULL, &out) == 1);
    CHECK(xctx_fiber_resume(fiber, NULL, &out) == 1);
}

static int call_last_resume(struct world *world)
{
    void *out = number(NOWHERE);
    int status = xctx_fiber_resume(fiber, NULL, &out);

    (void)world;
    CHECK(applied_now == 0);
    CHECK(status == 0 ? out == number(6) : status == -ENOMEM && out == number(NOWHERE));
    return status;
}

TEST(resume_without_memory_for_operations_leaves_the_fiber_suspended)
{
    fail_each(&(struct scenario){.prepare = with_newly_hooked, .call = call_last_resume, .succeeded = drop_fiber});
}

/* ---- the end ---- */

static int call_unref(struct world *world)
{
    drop_fiber(world);
    return 0;
}

static void with_suspended(struct world *world)
{
    with_fiber(world);
    CHECK(call_first_resume(world) == 0);
}

TEST(unref_needs_no_memory)
{
    fail_each(&(struct scenario){.prepare = with_fiber, .call = call_unref, .never_fails = true});
    fail_each(&(struct scenario){.prepare = with_suspended, .call = call_unref, .never_fails = true});
}

int main(void)
{
    return test_main("fibers without memory");
}
