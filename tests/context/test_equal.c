/* SPDX-License-Identifier: MIT */
/* xctx_equal(): the same variables with identical values, however they got there. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static void set_in(xctx_context *context, xctx_var *var, void *value)
{
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(var, value, NULL) == 0);
    CHECK(xctx_exit(context) == 0);
}

TEST(equal_is_true_of_one_counted_value_set_separately)
{
    struct counted *value = counted_new(1);
    xctx_context *a = xctx_new();
    xctx_context *b = xctx_new();
    set_in(a, &counted, value);
    assert_false(xctx_equal(a, b));
    set_in(b, &counted, value);
    assert_true(xctx_equal(a, b));
    assert_true(xctx_equal(b, a));
    set_in(b, &counted, NULL);
    assert_false(xctx_equal(a, b));
    assert_false(xctx_equal(b, a));
    set_in(a, &counted, NULL);
    assert_true(xctx_equal(a, b));
    xctx_unref(a);
    xctx_unref(b);
    counted_drop(value);
}

TEST(equal_is_false_of_counted_values_that_only_look_the_same)
{
    xctx_context *a = xctx_new();
    xctx_context *b = xctx_new();
    struct counted *values[] = {counted_new(1), counted_new(1)};
    set_in(a, &counted, values[0]);
    set_in(b, &counted, values[1]);
    assert_false(xctx_equal(a, b));
    xctx_unref(a);
    xctx_unref(b);
    counted_drop(values[0]);
    counted_drop(values[1]);
}

TEST(equal_is_true_again_of_a_copy_in_which_the_same_counted_value_was_set)
{
    struct counted *values[] = {counted_new(1), counted_new(2)};
    xctx_context *a = xctx_new();
    set_in(a, &counted, values[0]);
    set_in(a, &plain, number(1));
    xctx_context *b = xctx_copy(a);
    set_in(b, &counted, values[1]);
    assert_false(xctx_equal(a, b));
    set_in(b, &counted, values[0]);
    assert_true(xctx_equal(a, b));
    xctx_unref(a);
    xctx_unref(b);
    counted_drop(values[0]);
    counted_drop(values[1]);
}

/* As many in each, but not the same ones. */
TEST(equal_is_false_of_different_variables_with_one_value)
{
    enum { COUNT = 300 };
    xctx_context *a = xctx_new();
    xctx_context *b = xctx_new();
    struct counted *value = counted_new(1);
    xctx_var *vars[COUNT];
    for (int i = 0; i < COUNT; i++)
        vars[i] = xctx_var_create("many", &(xctx_var_options){.retain = counted_retain, .release = counted_release});
    for (int i = 0; i < COUNT; i++)
        set_in(a, vars[i], value);
    for (int i = 0; i < COUNT - 1; i++)
        set_in(b, vars[COUNT - 1 - i], value);
    set_in(b, &counted, value);
    assert_int_equal(xctx_count(a), xctx_count(b));
    assert_false(xctx_equal(a, b));
    assert_false(xctx_equal(b, a));
    set_in(b, vars[0], value);
    set_in(a, &counted, value);
    assert_true(xctx_equal(a, b));
    xctx_unref(a);
    xctx_unref(b);
    counted_drop(value);
    for (int i = 0; i < COUNT; i++)
        xctx_var_unref(vars[i]);
}

int main(void)
{
    return test_main("equality");
}
