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

/* ---- continuations ---- */

static xctx_continuation *continuation;
static xctx_fiber *shot;
static xctx_fiber *resident;
static long hook_values;

static int clone_value(void *value, void **ret_value)
{
    *ret_value = counted_new(counted_number(value));
    hook_values++;
    return 0;
}

static void drop_value(void *value)
{
    counted_drop(value);
    hook_values--;
}

/* Two contexts, bindings and tokens of all kinds, and hooks: all that copies of a fiber have copies of. */
static void *hold_much(void *argument)
{
    struct counted *value = counted_new(30);
    struct counted *own[2] = {counted_new(31), counted_new(32)};
    xctx_fiber_hook hooks[2] = {{.on_clone = clone_value, .on_drop = drop_value},
                                {.on_clone = clone_value, .on_drop = drop_value}};
    xctx_context *context = xctx_copy_current();
    xctx_token token;
    void *in = NULL;

    (void)argument;
    CHECK(context && xctx_enter(context) == 0);
    xctx_unref(context);
    counted_set(&counted, 40);
    CHECK(xctx_var_set(&counted, value, &token) == 0);
    counted_drop(value);
    hook_values += 2;
    for (int i = 0; i < 2; i++)
        CHECK(xctx_fiber_hook_push(&hooks[i], &own[i]) == 0);
    XCTX_LET (&far_plain, number(50)) {
        in = xctx_fiber_yield(number(5));
        CHECK(as_number(xctx_var_get(&far_plain)) == 50);
        CHECK(counted_number(xctx_var_get(&counted)) == 30);
        in = number(as_number(in) + as_number(xctx_fiber_yield(number(6))));
    }
    CHECK(as_number(xctx_var_get(&far_plain)) == 3);
    CHECK(xctx_var_reset(&counted, &token) == 0);
    CHECK(counted_number(xctx_var_get(&counted)) == 40);
    for (int i = 0; i < 2; i++) {
        CHECK(counted_number(own[i]) == 31 + i);
        xctx_fiber_hook_pop(&hooks[i]);
        drop_value(own[i]);
    }
    CHECK(xctx_exit(context) == 0);
    return in;
}

static void finish_one(xctx_fiber *of)
{
    void *out = NULL;

    CHECK(xctx_fiber_resume(of, number(1), &out) == 1 && out == number(6));
    CHECK(xctx_fiber_resume(of, number(2), &out) == 0 && out == number(3));
}

static void drop_all(void)
{
    fiber = xctx_fiber_unref(fiber);
    shot = xctx_fiber_unref(shot);
    resident = xctx_fiber_unref(resident);
    continuation = xctx_continuation_unref(continuation);
    CHECK(hook_values == 0);
}

static void with_much(struct world *world)
{
    void *out = NULL;

    in_full_hooked(world);
    fiber = xctx_fiber_create(hold_much, NULL, NULL);
    CHECK(fiber && xctx_fiber_resume(fiber, NULL, &out) == 1 && out == number(5));
    CHECK(applied_now == 0);
}

/* The fiber loses nothing by being captured in vain. */
static int call_capture(struct world *world)
{
    long before = hook_values;
    xctx_continuation *made = (xctx_continuation *)world;
    int error = xctx_fiber_capture(fiber, &made);

    if (error) {
        CHECK(made == (xctx_continuation *)world && hook_values == before);
        return error;
    }
    continuation = made;
    return 0;
}

static void check_captured(struct world *world)
{
    (void)world;
    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
    finish_one(shot);
    CHECK(applied_now == 0);
    finish_one(fiber);
    CHECK(applied_now == 0);
    drop_all();
}

static void with_captured(struct world *world)
{
    with_much(world);
    CHECK(call_capture(world) == 0);
}

static void with_created(struct world *world)
{
    in_full_hooked(world);
    fiber = xctx_fiber_create(note_values, world, NULL);
    CHECK(fiber);
}

static void check_created(struct world *world)
{
    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
    xctx_fiber *of[] = {fiber, shot};
    for (int i = 0; i < 2; i++) {
        void *out = NULL;
        CHECK(xctx_fiber_resume(of[i], NULL, &out) == 1 && out == number(5));
        CHECK(xctx_fiber_resume(of[i], NULL, &out) == 0 && out == number(6));
    }
    (void)world;
    drop_all();
}

TEST(capture_without_memory_leaves_the_fiber_as_it_was)
{
    fail_each(&(struct scenario){.prepare = with_much, .call = call_capture, .succeeded = check_captured});
    fail_each(&(struct scenario){.prepare = with_created, .call = call_capture, .succeeded = check_created});
}

static void with_captured_before(struct world *world)
{
    with_captured(world);
    continuation = xctx_continuation_unref(continuation);
}

static void with_parked(struct world *world)
{
    with_captured(world);
    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
    CHECK(xctx_fiber_resume(shot, number(1), NULL) == 1);
    continuation = xctx_continuation_unref(continuation);
    shot = xctx_fiber_unref(shot);
}

TEST(capture_again_without_memory_leaves_the_fiber_as_it_was)
{
    fail_each(&(struct scenario){.prepare = with_captured_before, .call = call_capture, .succeeded = check_captured});
    fail_each(&(struct scenario){.prepare = with_parked, .call = call_capture, .succeeded = check_captured});
}

static void captured_outside(struct world *world)
{
    with_captured(world);
    CHECK(xctx_exit(world->contexts[0]) == 0);
}

static int call_shot(struct world *world)
{
    long before = hook_values;
    xctx_fiber *made = (xctx_fiber *)world;
    int error = xctx_continuation_shot(continuation, &made);

    if (error) {
        CHECK(made == (xctx_fiber *)world && hook_values == before);
        return error;
    }
    shot = made;
    return 0;
}

static void check_shot(struct world *world)
{
    (void)world;
    finish_one(shot);
    CHECK(applied_now == 0);
    finish_one(fiber);
    drop_all();
}

TEST(shot_without_memory_makes_nothing)
{
    fail_each(&(struct scenario){.prepare = with_captured, .call = call_shot, .succeeded = check_shot});
    fail_each(
        &(struct scenario){.outside = captured_outside, .first_use = true, .call = call_shot, .succeeded = check_shot});
}

/* A shot that the stack's resident, another shot or the fiber, is to be parked for; there is no memory for that, or for
   the operations of its contexts. */
static void with_resident(struct world *world)
{
    with_captured(world);
    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
    CHECK(xctx_continuation_shot(continuation, &resident) == 0);
    CHECK(xctx_fiber_resume(resident, number(1), NULL) == 1);
}

static void with_fiber_as_resident(struct world *world)
{
    with_captured(world);
    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
}

static int call_resume_shot(struct world *world)
{
    void *out = number(NOWHERE);
    int status = xctx_fiber_resume(shot, number(1), &out);

    (void)world;
    CHECK(applied_now == 0);
    CHECK(status == 1 ? out == number(6) : status == -ENOMEM && out == number(NOWHERE));
    return status == 1 ? 0 : status;
}

static void check_resumed(struct world *world)
{
    void *out = NULL;

    (void)world;
    finish_one(fiber);
    CHECK(!resident || (xctx_fiber_resume(resident, number(2), &out) == 0 && out == number(3)));
    CHECK(xctx_fiber_resume(shot, number(2), &out) == 0 && out == number(3));
    CHECK(applied_now == 0);
    drop_all();
}

TEST(resume_without_memory_to_park_another_runs_nothing)
{
    fail_each(&(struct scenario){.prepare = with_resident, .call = call_resume_shot, .succeeded = check_resumed});
    fail_each(
        &(struct scenario){.prepare = with_fiber_as_resident, .call = call_resume_shot, .succeeded = check_resumed});
}

static void with_little(struct world *world)
{
    with_created(world);
    CHECK(xctx_fiber_resume(fiber, NULL, NULL) == 1);
    CHECK(call_capture(world) == 0);
    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
}

/* Given up right after it could not be resumed, when it may be the resident already. */
static int call_resume_last(struct world *world)
{
    void *out = number(NOWHERE);
    int status = xctx_fiber_resume(shot, NULL, &out);

    (void)world;
    CHECK(status == 0 ? out == number(6) : status == -ENOMEM && out == number(NOWHERE));
    if (status == 0)
        return 0;
    shot = xctx_fiber_unref(shot);
    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
    return status;
}

static void check_last(struct world *world)
{
    void *out = NULL;

    (void)world;
    CHECK(xctx_fiber_resume(fiber, NULL, &out) == 0 && out == number(6));
    drop_all();
}

TEST(shot_that_could_not_be_resumed_is_given_up)
{
    fail_each(&(struct scenario){.prepare = with_little, .call = call_resume_last, .succeeded = check_last});
}

/* ---- hooks, tokens ---- */

static int (*inside)(void);

static void *call_inside(void *argument)
{
    xctx_context *context = xctx_copy_current();

    (void)argument;
    CHECK(context && xctx_enter(context) == 0);
    xctx_unref(context);
    counted_set(&counted, 40);
    for (;;) {
        int error = inside();
        xctx_fiber_yield(number(error));
        if (!error)
            break;
    }
    CHECK(xctx_exit(context) == 0);
    return number(1);
}

static int push_hook(void)
{
    struct counted *own = NULL;
    xctx_fiber_hook hook = {.on_clone = clone_value, .on_drop = drop_value};
    int error = xctx_fiber_hook_push(&hook, &own);

    xctx_fiber_hook_pop(&hook); /* allowed, whatever became of it */
    return error;
}

static int keep_tokens(void)
{
    enum { TOKENS = 9 };
    xctx_token tokens[TOKENS];
    int error = 0;
    int made = 0;

    for (; made < TOKENS && !error; made++) {
        struct counted *value = counted_new(made);
        error = xctx_var_set(&counted, value, &tokens[made]);
        counted_drop(value);
        if (error)
            break;
    }
    while (made > 0)
        CHECK(xctx_var_reset(&counted, &tokens[--made]) == 0);
    CHECK(counted_number(xctx_var_get(&counted)) == 40);
    return error;
}

static int let_and_set(void)
{
    struct counted *value = counted_new(7);
    int error = -ENOMEM;

    XCTX_LET (&counted, value)
        error = xctx_var_get(&counted) == value ? 0 : -ENOMEM;
    counted_drop(value);
    CHECK(counted_number(xctx_var_get(&counted)) == 40);
    return error;
}

static int (*to_call)(void);

static int call_prepared(void)
{
    return to_call();
}

static int begin_only(void)
{
    return 1;
}

static void with_inside(struct world *world)
{
    void *out = NULL;

    in_full(world);
    inside = call_prepared;
    int (*wanted)(void) = to_call;
    to_call = begin_only;
    fiber = xctx_fiber_create(call_inside, NULL, NULL);
    CHECK(fiber && xctx_fiber_resume(fiber, NULL, &out) == 1 && out == number(1));
    to_call = wanted;
}

static int resume_inside(struct world *world)
{
    void *out = NULL;

    (void)world;
    CHECK(xctx_fiber_resume(fiber, NULL, &out) == 1);
    return (int)as_number(out);
}

static void end_inside(struct world *world)
{
    (void)world;
    CHECK(xctx_fiber_resume(fiber, NULL, NULL) == 0);
    fiber = xctx_fiber_unref(fiber);
}

static void fail_inside(int (*fn)(void), bool never)
{
    to_call = fn;
    fail_each(&(struct scenario){
        .prepare = with_inside, .call = resume_inside, .succeeded = end_inside, .never_fails = never});
}

TEST(hook_without_memory_is_not_registered)
{
    fail_inside(push_hook, false);
}

TEST(token_on_a_fibers_stack_without_memory_changes_nothing)
{
    fail_inside(keep_tokens, false);
}

TEST(binding_on_a_fibers_stack_without_memory_changes_nothing)
{
    fail_inside(let_and_set, false);
}

/* ---- arenas, and processes ---- */

static xctx_arena *arena;

static int call_arena(struct world *world)
{
    (void)world;
    arena = xctx_arena_create(1000);
    return arena ? 0 : -ENOMEM;
}

static void check_arena(struct world *world)
{
    (void)world;
    CHECK(xctx_arena_allocate(arena, 1000));
    CHECK(!xctx_arena_allocate(arena, 1));
    arena = xctx_arena_destroy(arena);
}

TEST(arena_without_memory_is_null)
{
    fail_each(&(struct scenario){.call = call_arena, .succeeded = check_arena});
}

enum { PROCESSES = 2, COUNT = 3 };

static int results[COUNT];

static int finish_in_child(xctx_fiber *one, size_t index, void *argument)
{
    (void)argument;
    finish_one(one);
    return 10 + (int)index;
}

/* Shots that could not be made say so in their results. */
static int call_fork(struct world *world)
{
    (void)world;
    for (int i = 0; i < COUNT; i++)
        results[i] = NOWHERE;
    int error = xctx_continuation_fork(continuation, COUNT, PROCESSES, finish_in_child, NULL, results);
    CHECK(error == 0 || (error == -ENOMEM && results[0] == NOWHERE && results[COUNT - 1] == NOWHERE));
    for (int i = 0; i < COUNT && !error; i++)
        CHECK(results[i] == 10 + i || results[i] == -ENOMEM);
    return error;
}

static void check_fork(struct world *world)
{
    (void)world;
    finish_one(fiber);
    drop_all();
}

TEST(processes_without_memory_are_not_forked)
{
    fail_each(
        &(struct scenario){.prepare = with_captured, .call = call_fork, .succeeded = check_fork, .may_go_on = true});
}

/* ---- giving up ---- */

static int call_drop_all(struct world *world)
{
    (void)world;
    drop_all();
    return 0;
}

TEST(giving_up_shots_and_continuations_needs_no_memory)
{
    fail_each(&(struct scenario){.prepare = with_captured, .call = call_drop_all, .never_fails = true});
    fail_each(&(struct scenario){.prepare = with_resident, .call = call_drop_all, .never_fails = true});
    fail_each(
        &(struct scenario){.outside = captured_outside, .first_use = true, .call = call_drop_all, .never_fails = true});
}

int main(void)
{
    return test_main("fibers without memory");
}
