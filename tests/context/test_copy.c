/* SPDX-License-Identifier: MIT */
/* Copies: equal when made, independent afterwards. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(first);
static XCTX_VAR_DEFINE(second);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static long lookup_number(xctx_context *context, xctx_var *var)
{
    void *value = NULL;
    CHECK(xctx_lookup(context, var, &value) == 1);
    return as_number(value);
}

TEST(copy_has_the_values_of_the_original)
{
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&second, number(2), NULL), 0);
    xctx_context *copy = xctx_copy(xctx_current());
    assert_int_equal(xctx_count(copy), 2);
    assert_int_equal(lookup_number(copy, &first), 1);
    assert_int_equal(lookup_number(copy, &second), 2);
    xctx_unref(copy);
}

TEST(copy_current_has_the_values_of_the_current_context)
{
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_ptr_not_equal(copy, xctx_current());
    assert_int_equal(lookup_number(copy, &first), 1);
    xctx_unref(copy);
}

TEST(copy_does_not_see_later_sets_in_the_original)
{
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_var_set(&first, number(10), NULL), 0);
    assert_int_equal(xctx_var_set(&second, number(20), NULL), 0);
    assert_int_equal(lookup_number(copy, &first), 1);
    assert_int_equal(xctx_lookup(copy, &second, NULL), 0);
    xctx_unref(copy);
}

TEST(original_does_not_see_sets_in_the_copy)
{
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(xctx_var_set(&first, number(10), NULL), 0);
    assert_int_equal(xctx_var_set(&second, number(20), NULL), 0);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(as_number(xctx_var_get(&first)), 1);
    assert_int_equal(xctx_var_find(&second, NULL), 0);
    assert_int_equal(lookup_number(copy, &first), 10);
    xctx_unref(copy);
}

TEST(copies_of_one_context_are_independent_of_each_other)
{
    assert_int_equal(xctx_var_set(&first, number(0), NULL), 0);
    xctx_context *copies[10];
    for (int i = 0; i < 10; i++)
        copies[i] = xctx_copy_current();
    for (int i = 0; i < 10; i++) {
        assert_int_equal(xctx_enter(copies[i]), 0);
        assert_int_equal(xctx_var_set(&first, number(i + 1), NULL), 0);
        assert_int_equal(xctx_exit(copies[i]), 0);
    }
    for (int i = 0; i < 10; i++) {
        assert_int_equal(lookup_number(copies[i], &first), i + 1);
        xctx_unref(copies[i]);
    }
    assert_int_equal(as_number(xctx_var_get(&first)), 0);
}

TEST(copy_of_a_copy_is_independent_of_both)
{
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    xctx_context *grandchild = xctx_copy(copy);
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(xctx_var_set(&first, number(2), NULL), 0);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(lookup_number(grandchild, &first), 1);
    xctx_unref(copy);
    assert_int_equal(xctx_enter(grandchild), 0);
    assert_int_equal(xctx_var_set(&first, number(3), NULL), 0);
    assert_int_equal(xctx_exit(grandchild), 0);
    assert_int_equal(lookup_number(grandchild, &first), 3);
    assert_int_equal(as_number(xctx_var_get(&first)), 1);
    xctx_unref(grandchild);
}

TEST(copy_of_an_entered_context_is_not_entered)
{
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_exit(copy), -EINVAL);
    xctx_unref(copy);
}

TEST(copy_of_an_entered_context_can_be_entered_within_it)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&first, number(10), NULL), 0);
    xctx_context *copy = xctx_copy(context);
    assert_int_equal(xctx_var_set(&first, number(20), NULL), 0);
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(as_number(xctx_var_get(&first)), 10);
    assert_int_equal(xctx_var_set(&first, number(30), NULL), 0);
    assert_int_equal(lookup_number(context, &first), 20);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(as_number(xctx_var_get(&first)), 20);
    assert_int_equal(lookup_number(copy, &first), 30);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(copy);
    xctx_unref(context);
}

static void *copy_and_enter(void *arg)
{
    xctx_context *copy = xctx_copy(arg);
    CHECK(xctx_enter(copy) == 0);
    void *value = xctx_var_get(&first);
    CHECK(xctx_var_set(&first, number(99), NULL) == 0);
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
    return value;
}

TEST(context_entered_here_can_be_copied_and_the_copy_entered_on_another_thread)
{
    assert_int_equal(xctx_var_set(&first, number(4), NULL), 0);
    assert_int_equal(as_number(on_thread(copy_and_enter, xctx_current())), 4);
    assert_int_equal(as_number(xctx_var_get(&first)), 4);
}

TEST(copy_outlives_the_original)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 5);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    void *value = NULL;
    assert_int_equal(xctx_lookup(copy, &counted, &value), 1);
    assert_int_equal(counted_number(value), 5);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 0);
}

TEST(original_outlives_the_copy)
{
    counted_set(&counted, 5);
    xctx_unref(xctx_copy_current());
    assert_int_equal(counted_number(xctx_var_get(&counted)), 5);
}

TEST(copy_of_null_is_null)
{
    assert_null(xctx_copy(NULL));
}

TEST(copy_of_an_empty_context_is_empty)
{
    xctx_context *context = xctx_new();
    xctx_context *copy = xctx_copy(context);
    assert_non_null(copy);
    assert_int_equal(xctx_count(copy), 0);
    xctx_unref(context);
    xctx_unref(copy);
}

TEST(copy_shares_counted_values_without_retaining_them)
{
    struct counted *value = counted_new(1);
    assert_int_equal(xctx_var_set(&counted, value, NULL), 0);
    counted_reset();
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(counted_retained, 0);
    xctx_unref(copy);
    assert_int_equal(counted_released, 0);
    counted_drop(value);
}

TEST(value_replaced_in_the_original_stays_alive_in_the_copy)
{
    counted_set(&counted, 1);
    xctx_context *copy = xctx_copy_current();
    counted_set(&counted, 2);
    void *value = NULL;
    assert_int_equal(xctx_lookup(copy, &counted, &value), 1);
    assert_int_equal(counted_number(value), 1);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 2);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 1);
}

TEST(reset_in_the_original_leaves_the_copy_alone)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&first, number(1), &token), 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_var_reset(&first, &token), 0);
    assert_int_equal(xctx_var_find(&first, NULL), 0);
    assert_int_equal(lookup_number(copy, &first), 1);
    xctx_unref(copy);
}

TEST(copy_current_with_nothing_is_copy_current)
{
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current_with(0);
    assert_true(xctx_equal(copy, xctx_current()));
    xctx_unref(copy);
}

TEST(copy_current_with_unknown_bits_is_refused)
{
    assert_null(xctx_copy_current_with(0x80000000u));
    assert_null(xctx_copy_current_with(XCTX_CAPTURE_STATE | 0x40000000u));
}

int main(void)
{
    return test_main("copies");
}
