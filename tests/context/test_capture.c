/* SPDX-License-Identifier: MIT */
/* The capture operation, with variables of the test's own. What the library's capsules do is in tests/state. */
#include "../support/counted.h"
#include "../support/threads.h"

static _Thread_local long setting;
static int captures;
static bool capture_nothing;
static bool capture_fails;

static void *capture_setting(void)
{
    captures++;
    if (capture_fails)
        return XCTX_RESERVED_VALUE;
    return capture_nothing ? NULL : counted_new(setting);
}

static void *apply_setting(void *value)
{
    long before = setting;
    setting = counted_number(value);
    return number(before);
}

static void restore_setting(void *saved)
{
    setting = as_number(saved);
}

static XCTX_VAR_DEFINE(captured, .capture = capture_setting, .enter = apply_setting, .leave = restore_setting,
                       .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(plain);

static struct counted *look_up(xctx_context *context)
{
    void *value = NULL;
    return xctx_lookup(context, &captured, &value) == 1 ? value : NULL;
}

TEST(capture_puts_the_setting_into_the_copy)
{
    setting = 5;
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    assert_non_null(copy);
    assert_int_equal(counted_number(look_up(copy)), 5);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 0);
}

TEST(capture_does_not_change_the_current_context)
{
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    assert_non_null(copy);
    assert_int_equal(xctx_count(xctx_current()), 0);
    assert_null(xctx_var_get(&captured));
    xctx_unref(copy);
}

TEST(capture_keeps_the_other_variables)
{
    void *value = NULL;
    assert_int_equal(xctx_var_set(&plain, number(3), NULL), 0);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    assert_int_equal(xctx_lookup(copy, &plain, &value), 1);
    assert_int_equal(as_number(value), 3);
    xctx_unref(copy);
}

TEST(capture_replaces_a_value_that_was_set)
{
    setting = 6;
    counted_set(&captured, 1);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    assert_int_equal(counted_number(look_up(copy)), 6);
    assert_int_equal(counted_number(xctx_var_get(&captured)), 1);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 1);
}

TEST(copy_without_the_bit_captures_nothing)
{
    captures = 0;
    xctx_context *copy = xctx_copy_current();
    xctx_context *second = xctx_copy_current_with(0);
    assert_int_equal(captures, 0);
    assert_null(look_up(copy));
    assert_null(look_up(second));
    xctx_unref(copy);
    xctx_unref(second);
}

TEST(captured_setting_is_applied_on_enter_and_restored_on_exit)
{
    setting = 7;
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    setting = 8;
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(setting, 7);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(setting, 8);
    xctx_unref(copy);
}

static void *report_setting(void *arg)
{
    (void)arg;
    return number(setting);
}

static void *call_and_report(void *bound)
{
    CHECK(setting == 0);
    void *result = xctx_bound_call(bound);
    CHECK(setting == 0);
    return result;
}

TEST(bind_with_carries_the_setting_to_another_thread)
{
    setting = 9;
    xctx_bound *bound = xctx_bind_with(report_setting, NULL, XCTX_CAPTURE_STATE);
    assert_non_null(bound);
    assert_int_equal(as_number(on_thread(call_and_report, bound)), 9);
    assert_int_equal(as_number(on_thread(call_and_report, bound)), 9);
    xctx_bound_unref(bound);
}

TEST(bind_carries_no_setting)
{
    setting = 9;
    xctx_bound *bound = xctx_bind(report_setting, NULL);
    assert_int_equal(as_number(on_thread(call_and_report, bound)), 0);
    xctx_bound_unref(bound);
}

TEST(bind_with_unknown_bits_is_refused)
{
    assert_null(xctx_bind_with(report_setting, NULL, 0x80000000u));
}

TEST(capture_of_nothing_leaves_the_variable_unset)
{
    capture_nothing = true;
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    capture_nothing = false;
    assert_non_null(copy);
    assert_int_equal(xctx_lookup(copy, &captured, NULL), 0);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 0);
}

TEST(copy_whose_capture_runs_out_of_memory_is_null_and_changes_nothing)
{
    counted_set(&captured, 1);
    capture_fails = true;
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    xctx_bound *bound = xctx_bind_with(report_setting, NULL, XCTX_CAPTURE_STATE);
    capture_fails = false;
    assert_null(copy);
    assert_null(bound);
    assert_int_equal(counted_number(xctx_var_get(&captured)), 1);
    assert_int_equal(counted_live(), 1);
}

int main(void)
{
    return test_main("the capture operation");
}
