/* SPDX-License-Identifier: MIT */
/* Leave operations that leave the context themselves, and give back its last reference. */
#include "../support/counted.h"

static xctx_context *context; /* which the next leave operation leaves, unless it is NULL */
static bool gives_back;
static int left;

static void *enter_nothing(void *value)
{
    return value;
}

static void leave_context(void *saved)
{
    xctx_context *leaving = context;
    CHECK(as_number(saved) == 5);
    left++;
    context = NULL;
    if (!leaving)
        return;
    CHECK(xctx_exit(leaving) == 0);
    if (gives_back)
        xctx_unref(leaving);
}

static XCTX_VAR_DEFINE(leaving, .enter = enter_nothing, .leave = leave_context);
static XCTX_VAR_DEFINE(also_leaving, .enter = enter_nothing, .leave = leave_context);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

/* Entered, with one or two values that are applied. */
static xctx_context *entered(bool two)
{
    xctx_context *made = xctx_new();
    CHECK(made != NULL);
    CHECK(xctx_enter(made) == 0);
    CHECK(xctx_var_set(&leaving, number(5), NULL) == 0);
    if (two)
        CHECK(xctx_var_set(&also_leaving, number(5), NULL) == 0);
    counted_set(&counted, 1);
    CHECK(xctx_exit(made) == 0); /* applied by an enter, not by a set */
    CHECK(xctx_enter(made) == 0);
    counted_reset();
    left = 0;
    return made;
}

static void check_gone(void)
{
    assert_ptr_equal(xctx_current(), test_context);
    assert_int_equal(left >= 1, 1);
    assert_int_equal(counted_live(), 0);
    assert_int_equal(atomic_load(&counted_released), 1);
}

static void check_giving_back(bool two)
{
    gives_back = true;
    context = entered(two);
    assert_int_equal(xctx_exit(context), 0);
    check_gone();
}

TEST(leave_operation_gives_the_last_reference_back)
{
    check_giving_back(false);
}

TEST(leave_operation_gives_the_last_reference_back_and_another_follows)
{
    check_giving_back(true);
}

/* The reference that goes with being entered is the last one: leaving frees the context. */
static void check_left_without_references(bool two)
{
    gives_back = false;
    xctx_context *made = entered(two);
    xctx_unref(made);
    assert_int_equal(counted_live(), 1);
    context = made;
    assert_int_equal(xctx_exit(made), 0);
    check_gone();
}

TEST(leave_operation_leaves_a_context_without_references)
{
    check_left_without_references(false);
}

TEST(leave_operation_leaves_a_context_without_references_and_another_follows)
{
    check_left_without_references(true);
}

int main(void)
{
    return test_main("leave operations that leave");
}
