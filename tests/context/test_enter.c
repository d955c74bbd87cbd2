/* SPDX-License-Identifier: MIT */
/* xctx_enter() and xctx_exit(): order, refusals, lifetime. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

TEST(context_new_is_empty)
{
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    xctx_context *context = xctx_new();
    assert_non_null(context);
    assert_int_equal(xctx_count(context), 0);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_find(&plain, NULL), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

TEST(enter_makes_the_context_current)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_ptr_equal(xctx_current(), context);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

TEST(exit_makes_the_previous_context_current)
{
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_ptr_equal(xctx_current(), before);
    xctx_unref(context);
}

TEST(set_in_an_entered_context_is_seen_in_it_at_once)
{
    void *value = NULL;
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&plain, number(42), NULL), 0);
    assert_int_equal(xctx_lookup(context, &plain, &value), 1);
    assert_int_equal(as_number(value), 42);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

TEST(set_in_an_entered_context_is_not_seen_outside)
{
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&plain, number(2), NULL), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
    xctx_unref(context);
}

TEST(context_entered_again_after_exit_has_what_was_set_in_it)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&plain, number(5), NULL), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_var_find(&plain, NULL), 0);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(as_number(xctx_var_get(&plain)), 5);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

TEST(contexts_are_left_in_reverse_order)
{
    enum { DEPTH = 100 };
    xctx_context *before = xctx_current();
    xctx_context *stack[DEPTH];
    for (int i = 0; i < DEPTH; i++) {
        stack[i] = xctx_new();
        assert_int_equal(xctx_enter(stack[i]), 0);
        assert_int_equal(xctx_var_set(&plain, number(i), NULL), 0);
    }
    for (int i = DEPTH; i-- > 0;) {
        assert_ptr_equal(xctx_current(), stack[i]);
        assert_int_equal(as_number(xctx_var_get(&plain)), i);
        assert_int_equal(xctx_exit(stack[i]), 0);
        xctx_unref(stack[i]);
    }
    assert_ptr_equal(xctx_current(), before);
}

TEST(exit_out_of_order_is_refused_and_changes_nothing)
{
    xctx_context *outer = xctx_new();
    xctx_context *inner = xctx_new();
    assert_int_equal(xctx_enter(outer), 0);
    assert_int_equal(xctx_enter(inner), 0);
    assert_int_equal(xctx_exit(outer), -EPERM);
    assert_ptr_equal(xctx_current(), inner);
    assert_int_equal(xctx_exit(inner), 0);
    assert_int_equal(xctx_exit(outer), 0);
    xctx_unref(outer);
    xctx_unref(inner);
}

TEST(exit_of_a_context_that_is_not_entered_is_refused)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_exit(context), -EINVAL);
    xctx_unref(context);
}

TEST(exit_twice_is_refused)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_exit(context), -EINVAL);
    xctx_unref(context);
}

TEST(enter_and_exit_of_null_are_refused)
{
    xctx_context *before = xctx_current();
    assert_int_equal(xctx_enter(NULL), -EINVAL);
    assert_int_equal(xctx_exit(NULL), -EINVAL);
    assert_ptr_equal(xctx_current(), before);
}

TEST(enter_of_the_current_context_is_refused)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_enter(context), -EBUSY);
    assert_ptr_equal(xctx_current(), context);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_exit(context), -EINVAL);
    xctx_unref(context);
}

TEST(enter_of_an_outer_context_is_refused)
{
    xctx_context *outer = xctx_new();
    xctx_context *inner = xctx_new();
    assert_int_equal(xctx_enter(outer), 0);
    assert_int_equal(xctx_enter(inner), 0);
    assert_int_equal(xctx_enter(outer), -EBUSY);
    assert_ptr_equal(xctx_current(), inner);
    assert_int_equal(xctx_exit(inner), 0);
    assert_int_equal(xctx_exit(outer), 0);
    xctx_unref(outer);
    xctx_unref(inner);
}

static void *try_enter(void *context)
{
    int error = xctx_enter(context);
    if (error == 0)
        CHECK(xctx_exit(context) == 0);
    return number(error);
}

static void *try_exit(void *context)
{
    return number(xctx_exit(context));
}

static void *enter_and_stay(void *context)
{
    return number(xctx_enter(context));
}

TEST(enter_of_a_context_that_another_thread_entered_is_refused)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(as_number(on_thread(try_enter, context)), -EBUSY);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(as_number(on_thread(try_enter, context)), 0);
    xctx_unref(context);
}

TEST(exit_of_a_context_that_another_thread_entered_is_refused)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(as_number(on_thread(try_exit, context)), -EPERM);
    assert_ptr_equal(xctx_current(), context);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

TEST(exit_of_the_context_of_a_worker_is_refused_and_leaves_it_entered)
{
    struct worker worker;
    worker_start(&worker);
    xctx_context *context = xctx_new();
    assert_int_equal(as_number(worker_do(&worker, enter_and_stay, context)), 0);
    assert_int_equal(xctx_exit(context), -EPERM);
    assert_int_equal(xctx_enter(context), -EBUSY);
    assert_int_equal(as_number(worker_do(&worker, try_exit, context)), 0);
    worker_stop(&worker);
    xctx_unref(context);
}

TEST(unref_of_an_entered_context_keeps_it_until_exit)
{
    struct counted *value = counted_new(1);
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&counted, value, NULL), 0);
    assert_null(xctx_unref(context));
    assert_ptr_equal(xctx_current(), context);
    assert_ptr_equal(xctx_var_get(&counted), value);
    assert_int_equal(counted_refs(value), 2);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(counted_refs(value), 1);
    counted_drop(value);
}

TEST(unref_of_an_outer_context_keeps_it_until_exit)
{
    xctx_context *outer = xctx_new();
    xctx_context *inner = xctx_new();
    assert_int_equal(xctx_enter(outer), 0);
    counted_set(&counted, 1);
    assert_int_equal(xctx_enter(inner), 0);
    xctx_unref(outer);
    assert_int_equal(counted_live(), 1);
    assert_int_equal(xctx_exit(inner), 0);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
    assert_int_equal(xctx_exit(outer), 0);
    assert_int_equal(counted_live(), 0);
    xctx_unref(inner);
}

TEST(ref_of_the_current_context_after_the_last_unref_brings_it_back)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 9);
    xctx_unref(context);
    xctx_context *again = xctx_ref(xctx_current());
    assert_ptr_equal(again, context);
    assert_int_equal(xctx_exit(again), 0);
    assert_int_equal(counted_live(), 1);
    assert_int_equal(xctx_enter(again), 0);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 9);
    assert_int_equal(xctx_exit(again), 0);
    xctx_unref(again);
    assert_int_equal(counted_live(), 0);
}

TEST(ref_and_unref_of_null_do_nothing)
{
    assert_null(xctx_ref(NULL));
    assert_null(xctx_unref(NULL));
}

TEST(ref_returns_its_argument_and_needs_an_unref_of_its_own)
{
    xctx_context *context = xctx_new();
    assert_ptr_equal(xctx_ref(context), context);
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 1);
    assert_int_equal(xctx_exit(context), 0);
    assert_null(xctx_unref(context));
    assert_int_equal(counted_live(), 1);
    assert_null(xctx_unref(context));
    assert_int_equal(counted_live(), 0);
}

int main(void)
{
    return test_main("enter and exit");
}
