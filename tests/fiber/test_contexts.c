/* SPDX-License-Identifier: MIT */
/* The contexts of fibers: each has its own, which goes along with it and is seen nowhere else. */
#include "counted.h"
#include "fiber_support.h"
#include "threads.h"

XCTX_VAR_DEFINE(plain);
XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static void set(xctx_var *var, void *value)
{
    CHECK(xctx_var_set(var, value, NULL) == 0);
}

static void *set_and_look(void *argument)
{
    xctx_token token;

    CHECK(xctx_var_get(&plain) == number(1)); /* the creator's */
    set(&plain, argument);
    for (int i = 0; i < 6; i++) {
        xctx_fiber_yield(xctx_var_get(&plain));
        CHECK(xctx_var_get(&plain) == argument);
    }
    CHECK(xctx_var_set(&plain, number(77), &token) == 0);
    xctx_fiber_yield(NULL);
    CHECK(xctx_var_get(&plain) == number(77));
    CHECK(xctx_var_reset(&plain, &token) == 0);
    return xctx_var_get(&plain);
}

TEST(what_a_fiber_sets_is_seen_by_it_alone)
{
    xctx_fiber *fibers[3];

    set(&plain, number(1));
    for (long i = 0; i < 3; i++)
        fibers[i] = make(set_and_look, number(10 + i));
    set(&plain, number(2));
    for (int round = 0; round < 7; round++) {
        for (long i = 0; i < 3; i++) {
            step(fibers[i], NULL);
            assert_ptr_equal(xctx_var_get(&plain), number(2));
        }
    }
    for (long i = 0; i < 3; i++)
        assert_ptr_equal(last_step(fibers[i], NULL), number(10 + i));
    assert_ptr_equal(xctx_var_get(&plain), number(2));
}

static void *enter_and_yield(void *argument)
{
    xctx_context *context = argument;
    xctx_context *first = xctx_current();

    CHECK(xctx_enter(context) == 0);
    set(&plain, number(5));
    for (int i = 0; i < 4; i++) {
        xctx_fiber_yield(NULL);
        CHECK(xctx_current() == context && xctx_var_get(&plain) == number(5));
    }
    CHECK(xctx_exit(first) == -EPERM);
    CHECK(xctx_exit(context) == 0);
    CHECK(xctx_current() == first);
    CHECK(xctx_exit(first) == -EINVAL); /* cannot be left, as a thread's first one */
    xctx_fiber_yield(NULL);
    CHECK(xctx_current() == first);
    return NULL;
}

static void check_entering(uint32_t which)
{
    xctx_context *context = xctx_new();
    xctx_context *current = xctx_current();
    xctx_fiber *fiber = make_with(enter_and_yield, context, which);

    for (int i = 0; i < 4; i++) {
        step(fiber, NULL);
        assert_ptr_equal(xctx_current(), current);
        assert_int_equal(xctx_enter(context), -EBUSY);
        assert_null(xctx_var_get(&plain));
    }
    step(fiber, NULL);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    last_step(fiber, NULL);
    assert_ptr_equal(xctx_current(), current);
    xctx_unref(context);
}

TEST(what_a_fiber_enters_is_current_in_it_alone)
{
    check_entering(XCTX_FIBER_CONTEXT_COPY);
}

static void *sharing(void *argument)
{
    xctx_context *context = argument;

    set(&plain, number(3));
    xctx_fiber_yield(NULL);
    CHECK(xctx_var_get(&plain) == number(4));
    CHECK(xctx_enter(context) == 0);
    CHECK(!xctx_var_get(&plain));
    xctx_fiber_yield(xctx_current());
    CHECK(xctx_current() == context);
    xctx_fiber_yield(xctx_current());
    CHECK(xctx_exit(context) == 0);
    return xctx_current();
}

TEST(fiber_that_shares_runs_in_its_resumers_context)
{
    xctx_context *context = xctx_new();
    xctx_context *other = xctx_new();
    xctx_fiber *fiber = make_with(sharing, context, XCTX_FIBER_CONTEXT_SHARE);

    step(fiber, NULL);
    assert_ptr_equal(xctx_var_get(&plain), number(3));
    set(&plain, number(4));
    xctx_context *current = xctx_current();
    assert_ptr_equal(step(fiber, NULL), context);
    assert_ptr_equal(xctx_current(), current);
    assert_int_equal(xctx_enter(other), 0);
    assert_ptr_equal(step(fiber, NULL), context);
    assert_ptr_equal(xctx_current(), other);
    assert_ptr_equal(last_step(fiber, NULL), other);
    assert_int_equal(xctx_exit(other), 0);
    xctx_unref(context);
    xctx_unref(other);
}

TEST(fiber_that_shares_is_abandoned_with_what_it_has_entered)
{
    xctx_context *context = xctx_new();
    xctx_fiber *fiber = make_with(sharing, context, XCTX_FIBER_CONTEXT_SHARE);

    step(fiber, NULL);
    set(&plain, number(4));
    step(fiber, NULL);
    assert_int_equal(xctx_enter(context), -EBUSY);
    xctx_fiber_unref(fiber);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

static void *without_context(void *argument)
{
    CHECK(!xctx_current() && !xctx_var_get(&plain));
    xctx_fiber_yield(NULL);
    CHECK(!xctx_current());
    set(&plain, argument);
    for (int i = 0; i < 4; i++) {
        xctx_fiber_yield(NULL);
        CHECK(xctx_var_get(&plain) == argument);
    }
    return NULL;
}

TEST(fiber_without_context_gets_one_when_it_needs_one)
{
    xctx_fiber *fiber = make_with(without_context, number(9), XCTX_FIBER_CONTEXT_NONE);

    set(&plain, number(1));
    for (int i = 0; i < 6; i++) {
        if (i < 6 - 1)
            step(fiber, NULL);
        assert_ptr_equal(xctx_var_get(&plain), number(1));
    }
    last_step(fiber, NULL);
    assert_ptr_equal(xctx_var_get(&plain), number(1));
}

/* ---- threads ---- */

static void *step_argument(void *argument)
{
    void *out = step(argument, NULL);

    CHECK(!xctx_var_get(&plain));
    return out;
}

static void *last_step_argument(void *argument)
{
    return last_step(argument, NULL);
}

TEST(context_goes_along_to_other_threads)
{
    struct worker worker;
    set(&plain, number(1));
    xctx_fiber *fiber = make(set_and_look, number(10));

    worker_start(&worker);
    step(fiber, NULL);
    step(fiber, NULL);
    for (int i = 0; i < 2; i++) {
        assert_ptr_equal(on_thread(step_argument, fiber), number(10));
        assert_ptr_equal(worker_do(&worker, step_argument, fiber), number(10));
    }
    step(fiber, NULL);
    assert_ptr_equal(xctx_var_get(&plain), number(1));
    assert_ptr_equal(worker_do(&worker, last_step_argument, fiber), number(10));
    worker_stop(&worker);
}

static void *copy_while_suspended(void *argument)
{
    xctx_context *copy = xctx_copy(argument);
    void *value = NULL;

    CHECK(copy && xctx_enter(argument) == -EBUSY);
    CHECK(xctx_lookup(copy, &plain, &value) == 1);
    xctx_unref(copy);
    return value;
}

static void *say_context(void *argument)
{
    xctx_context *copy;

    set(&plain, argument);
    copy = xctx_copy_current(); /* pins the map */
    xctx_fiber_yield(xctx_current());
    xctx_unref(copy);
    set(&plain, number(12));
    xctx_fiber_yield(xctx_current());
    return NULL;
}

TEST(context_of_a_suspended_fiber_is_copied_by_others)
{
    xctx_fiber *fiber = make(say_context, number(11));
    xctx_context *context = step(fiber, NULL);

    assert_ptr_equal(copy_while_suspended(context), number(11));
    assert_ptr_equal(on_thread(copy_while_suspended, context), number(11));
    assert_ptr_equal(on_thread(step_argument, fiber), context);
    assert_ptr_equal(on_thread(copy_while_suspended, context), number(12));
    last_step(fiber, NULL);
}

/* ---- values ---- */

static void *hold_values(void *argument)
{
    set(&counted, argument);
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    xctx_unref(context); /* alive until it is left */
    set(&counted, argument);
    xctx_fiber_yield(NULL);
    CHECK(xctx_exit(xctx_current()) == 0);
    return NULL;
}

TEST(values_are_released_when_the_fiber_ends)
{
    struct counted *value = counted_new(1);
    xctx_fiber *fiber = make(hold_values, value);

    step(fiber, NULL);
    assert_int_equal(counted_refs(value), 3);
    assert_int_equal(xctx_fiber_resume(fiber, NULL, NULL), 0);
    assert_int_equal(counted_refs(value), 1);
    xctx_fiber_unref(fiber);
    counted_drop(value);
}

TEST(values_are_released_when_the_fiber_is_abandoned)
{
    struct counted *value = counted_new(1);
    xctx_fiber *fiber = make(hold_values, value);

    step(fiber, NULL);
    assert_int_equal(counted_refs(value), 3);
    xctx_fiber_unref(fiber);
    assert_int_equal(counted_refs(value), 1);
    set(&counted, value);
    fiber = make(hold_values, value);
    xctx_fiber_unref(fiber); /* before it has begun */
    set(&counted, NULL);
    assert_int_equal(counted_refs(value), 1);
    counted_drop(value);
}

static void *let_and_yield(void *argument)
{
    XCTX_LET (&counted, argument) {
        xctx_fiber_yield(NULL);
        CHECK(xctx_var_get(&counted) == argument);
    }
    return xctx_var_get(&counted);
}

TEST(scoped_binding_stays_open_over_a_yield)
{
    struct counted *value = counted_new(1);
    xctx_fiber *fiber = make(let_and_yield, value);

    step(fiber, NULL);
    assert_null(xctx_var_get(&counted));
    assert_null(last_step(fiber, NULL));
    counted_drop(value);
}

/* ---- enter and leave operations ---- */

static char hook_log[64];
static size_t hook_count;

static void *hook_enter(void *value)
{
    CHECK(hook_count < sizeof(hook_log) - 1);
    hook_log[hook_count++] = (char)('a' + as_number(value));
    return value;
}

static void hook_leave(void *saved)
{
    CHECK(hook_count < sizeof(hook_log) - 1);
    hook_log[hook_count++] = (char)('A' + as_number(saved));
}

XCTX_VAR_DEFINE(hooked, .enter = hook_enter, .leave = hook_leave);

static void expect_hooks(const char *expected)
{
    hook_log[hook_count] = '\0';
    assert_string_equal(hook_log, expected);
    hook_count = 0;
}

static void *yield_twice(void *argument)
{
    xctx_fiber_yield(NULL);
    xctx_fiber_yield(NULL);
    return argument;
}

TEST(operations_are_called_at_each_switch)
{
    set(&hooked, number(1));
    xctx_fiber *fiber = make(yield_twice, NULL);
    expect_hooks("");
    step(fiber, NULL);
    expect_hooks("bB");
    step(fiber, NULL);
    expect_hooks("bB");
    last_step(fiber, NULL);
    expect_hooks("bB");
    fiber = make(yield_twice, NULL);
    step(fiber, NULL);
    xctx_fiber_unref(fiber);
    expect_hooks("bB");
}

static void *enter_hooked(void *argument)
{
    set(&hooked, number(0));
    CHECK(xctx_enter(argument) == 0);
    xctx_fiber_yield(NULL);
    xctx_fiber_yield(NULL);
    CHECK(xctx_exit(argument) == 0);
    xctx_fiber_yield(NULL);
    return NULL;
}

TEST(operations_of_all_contexts_of_a_fiber_are_called_in_order)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    set(&hooked, number(2));
    assert_int_equal(xctx_exit(context), 0);
    xctx_fiber *fiber = make(enter_hooked, context);
    step(fiber, NULL);
    expect_hooks("cC"); /* one's own were set, and not applied yet */
    step(fiber, NULL);
    expect_hooks("acCA");
    step(fiber, NULL);
    expect_hooks("acCA");
    last_step(fiber, NULL);
    expect_hooks("aA");
    xctx_unref(context);
}

/* Its first context is copied while another one is left for that, and is entered again before it yields. */
static void *copy_below_and_yield(void *argument)
{
    xctx_context *above = argument;
    xctx_context *copies[3];
    void *value = NULL;
    struct counted *values[2] = {counted_new(1), counted_new(2)};

    set(&counted, values[0]);
    CHECK(xctx_enter(above) == 0);
    for (int i = 0; i < 4; i++)
        xctx_fiber_yield(NULL);
    CHECK(xctx_exit(above) == 0);
    for (int i = 0; i < 3; i++)
        copies[i] = xctx_copy_current();
    CHECK(xctx_enter(above) == 0);
    xctx_fiber_yield(NULL);
    CHECK(xctx_exit(above) == 0);
    set(&counted, values[1]);
    counted_drop(values[0]);
    for (int i = 0; i < 3; i++) {
        CHECK(xctx_lookup(copies[i], &counted, &value) == 1 && counted_number(value) == 1);
        xctx_unref(copies[i]);
    }
    counted_drop(values[1]);
    xctx_unref(above);
    return NULL;
}

static void *end_it(void *fiber)
{
    last_step(fiber, NULL);
    return NULL;
}

TEST(copies_of_a_lower_context_are_counted_wherever_the_fiber_goes_on)
{
    xctx_fiber *fiber = make(copy_below_and_yield, xctx_new());

    for (int i = 0; i < 5; i++)
        step(fiber, NULL);
    on_thread(end_it, fiber);
    for (int i = 0; i < 3; i++)
        xctx_unref(xctx_copy_current());
}

static void *enter_late(void *argument)
{
    xctx_context *context = argument;

    for (int i = 0; i < 3; i++)
        xctx_fiber_yield(NULL);
    CHECK(xctx_enter(context) == 0);
    xctx_fiber_yield(NULL);
    CHECK(xctx_var_get(&plain) == NULL);
    CHECK(xctx_exit(context) == 0);
    CHECK(xctx_var_get(&plain) == number(8));
    xctx_fiber_yield(NULL);
    return NULL;
}

static void *resume_without_context_at_first(void *argument)
{
    xctx_fiber *fiber = make_with(enter_late, argument, XCTX_FIBER_CONTEXT_SHARE);

    for (int i = 0; i < 4; i++) {
        CHECK(!xctx_current());
        step(fiber, NULL);
    }
    set(&plain, number(8));
    step(fiber, NULL);
    CHECK(xctx_var_get(&plain) == number(8));
    last_step(fiber, NULL);
    return NULL;
}

TEST(fiber_that_shares_is_above_a_context_that_the_thread_got_meanwhile)
{
    xctx_context *context = xctx_new();

    on_thread(resume_without_context_at_first, context);
    xctx_unref(context);
}

static void *enter_twice_and_yield(void *context)
{
    CHECK(xctx_enter(context) == 0 && xctx_exit(context) == 0 && xctx_enter(context) == 0);
    xctx_fiber_yield(NULL);
    return NULL;
}

static void *give_up(void *fiber)
{
    return xctx_fiber_unref(fiber);
}

static void *enter_and_end(void *context)
{
    CHECK(xctx_enter(context) == 0);
    return NULL;
}

TEST(context_left_by_a_thread_that_only_gives_fibers_up_is_no_threads)
{
    xctx_context *context = xctx_new();
    xctx_fiber *fiber = make(enter_twice_and_yield, context);

    step(fiber, NULL);
    on_thread(give_up, fiber);
    on_thread(enter_and_end, context); /* its end leaves what it has entered */
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

/* ---- watchers ---- */

static xctx_context *watched[16];
static int watched_count;

static void watch(xctx_context *current, void *user)
{
    (void)user;
    CHECK(watched_count < 16);
    watched[watched_count++] = current;
}

static void *say_own(void *argument)
{
    (void)argument;
    xctx_fiber_yield(xctx_current());
    xctx_fiber_yield(xctx_current());
    xctx_fiber_yield(xctx_current());
    return NULL;
}

TEST(watchers_are_told_of_switches)
{
    xctx_context *current = xctx_current();
    xctx_fiber *fiber = make(say_own, NULL);
    void *own = step(fiber, NULL);
    step(fiber, NULL);
    int id = xctx_watch(watch, NULL);
    assert_true(id >= 0);
    step(fiber, NULL);
    assert_int_equal(watched_count, 2);
    assert_ptr_equal(watched[0], own);
    assert_ptr_equal(watched[1], current);
    last_step(fiber, NULL);
    assert_ptr_equal(watched[watched_count - 1], current);
    assert_int_equal(xctx_unwatch(id), 0);
}

static void *refer_to_context(void *argument)
{
    (void)argument;
    set(&plain, number(6));
    return xctx_ref(xctx_current());
}

TEST(context_that_outlives_its_fiber_can_be_entered)
{
    xctx_context *context = last_step(make(refer_to_context, NULL), NULL);

    assert_int_equal(xctx_enter(context), 0);
    assert_ptr_equal(xctx_var_get(&plain), number(6));
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

int main(void)
{
    return test_main("contexts of fibers");
}
