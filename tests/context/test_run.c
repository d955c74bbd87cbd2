/* SPDX-License-Identifier: MIT */
/* xctx_run(): enter, call, exit. Ways out that end the thread are in tests/thread/test_thread_end.c. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

struct seen {
    int calls;
    xctx_context *current;
    void *value;
    int error;
};

static void *look(void *arg)
{
    struct seen *seen = arg;
    seen->calls++;
    seen->current = xctx_current();
    seen->value = xctx_var_get(&plain);
    CHECK(xctx_var_set(&plain, number(as_number(seen->value) + 1), NULL) == 0);
    return seen;
}

TEST(run_calls_the_function_once_in_the_context)
{
    struct seen seen = {0};
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_run(context, look, &seen, NULL), 0);
    assert_int_equal(seen.calls, 1);
    assert_ptr_equal(seen.current, context);
    xctx_unref(context);
}

TEST(run_gives_the_result_of_the_function)
{
    struct seen seen = {0};
    void *result = NULL;
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_run(context, look, &seen, &result), 0);
    assert_ptr_equal(result, &seen);
    xctx_unref(context);
}

TEST(run_leaves_the_context_again)
{
    struct seen seen = {0};
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_run(context, look, &seen, NULL), 0);
    assert_ptr_equal(xctx_current(), before);
    assert_int_equal(xctx_exit(context), -EINVAL);
    xctx_unref(context);
}

TEST(run_keeps_what_the_function_set_in_the_context)
{
    struct seen seen = {0};
    void *value = NULL;
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_run(context, look, &seen, NULL), 0);
    assert_int_equal(xctx_run(context, look, &seen, NULL), 0);
    assert_int_equal(as_number(seen.value), 1);
    assert_int_equal(xctx_lookup(context, &plain, &value), 1);
    assert_int_equal(as_number(value), 2);
    assert_int_equal(xctx_var_find(&plain, NULL), 0);
    xctx_unref(context);
}

static void *run_current_again(void *arg)
{
    struct seen *seen = arg;
    void *result = seen;
    seen->error = xctx_run(xctx_current(), look, seen, &result);
    CHECK(result == seen);
    return NULL;
}

TEST(run_of_the_context_within_itself_is_refused)
{
    struct seen seen = {0};
    void *result = &seen;
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_run(context, run_current_again, &seen, &result), 0);
    assert_int_equal(seen.error, -EBUSY);
    assert_int_equal(seen.calls, 0);
    assert_null(result);
    xctx_unref(context);
}

TEST(run_that_fails_calls_nothing_and_writes_no_result)
{
    struct seen seen = {0};
    void *result = &result;
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_run(NULL, look, &seen, &result), -EINVAL);
    assert_int_equal(xctx_run(context, NULL, &seen, &result), -EINVAL);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_run(context, look, &seen, &result), -EBUSY);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(seen.calls, 0);
    assert_ptr_equal(result, &result);
    assert_ptr_equal(xctx_current(), before);
    xctx_unref(context);
}

static void *leave_contexts_entered(void *arg)
{
    for (int i = 0; i < 3; i++) {
        xctx_context *context = xctx_new();
        CHECK(xctx_enter(context) == 0);
        counted_set(&counted, i);
        xctx_unref(context);
    }
    return arg;
}

TEST(run_leaves_the_contexts_that_the_function_left_entered)
{
    void *result = NULL;
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_run(context, leave_contexts_entered, &result, &result), 0);
    assert_ptr_equal(xctx_current(), before);
    assert_ptr_equal(result, &result);
    assert_int_equal(counted_live(), 0);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

static void *unref_twice(void *arg)
{
    counted_set(&counted, 1);
    xctx_unref(arg);
    CHECK(counted_number(xctx_var_get(&counted)) == 1);
    return NULL;
}

TEST(run_keeps_a_context_alive_whose_last_reference_the_function_gives_back)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_run(context, unref_twice, context, NULL), 0);
    assert_int_equal(counted_live(), 0);
}

static void *exit_early(void *arg)
{
    CHECK(xctx_exit(arg) == 0);
    return arg;
}

/* The function is wrong, but what it does to its caller's contexts has to stay bounded: it can leave no more than it
   was given. */
TEST(run_of_a_function_that_exits_the_context_itself_leaves_the_callers_context_current)
{
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_run(context, exit_early, context, NULL), 0);
    assert_ptr_equal(xctx_current(), before);
    xctx_unref(context);
}

static void *run_deeper(void *arg)
{
    long depth = as_number(arg);
    if (depth == 0)
        return number(1);
    void *below = NULL;
    xctx_context *context = xctx_copy_current();
    CHECK(xctx_var_set(&plain, arg, NULL) == 0);
    CHECK(xctx_run(context, run_deeper, number(depth - 1), &below) == 0);
    CHECK(xctx_var_get(&plain) == arg);
    xctx_unref(context);
    return number(as_number(below) + 1);
}

TEST(run_nests)
{
    assert_int_equal(as_number(run_deeper(number(200))), 201);
}

int main(void)
{
    return test_main("run");
}
