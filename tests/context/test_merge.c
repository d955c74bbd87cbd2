/* SPDX-License-Identifier: MIT */
/* xctx_merge(): what a child changed comes back to its parent. */
#include "../support/counted.h"
#include "../support/threads.h"

static int merges;

static void *add(void *parent, void *child)
{
    merges++;
    return number(as_number(parent) + as_number(child));
}

static void *add_counted(void *parent, void *child)
{
    merges++;
    return counted_new((parent ? counted_number(parent) : 0) + (child ? counted_number(child) : 0));
}

static void *merge_fails(void *parent, void *child)
{
    (void)parent;
    (void)child;
    merges++;
    return XCTX_RESERVED_VALUE;
}

static XCTX_VAR_DEFINE(sum, .merge = add);
static XCTX_VAR_DEFINE(sum_from_100, .merge = add, .initial = (void *)100);
static XCTX_VAR_DEFINE(local);
static XCTX_VAR_DEFINE(counted, .merge = add_counted, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(failing, .merge = merge_fails);

static void set_in(xctx_context *context, xctx_var *var, void *value)
{
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(var, value, NULL) == 0);
    CHECK(xctx_exit(context) == 0);
}

TEST(merge_makes_one_value_of_two)
{
    assert_int_equal(xctx_var_set(&sum, number(1), NULL), 0);
    xctx_context *child = xctx_copy_current();
    set_in(child, &sum, number(10));
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&sum)), 11);
    xctx_unref(child);
}

TEST(merge_does_not_change_the_child)
{
    void *value = NULL;
    xctx_context *child = xctx_copy_current();
    set_in(child, &sum, number(10));
    assert_int_equal(xctx_var_set(&sum, number(1), NULL), 0);
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(xctx_lookup(child, &sum, &value), 1);
    assert_int_equal(as_number(value), 10);
    assert_int_equal(xctx_count(child), 1);
    xctx_unref(child);
}

TEST(merge_passes_over_identical_values)
{
    merges = 0;
    assert_int_equal(xctx_var_set(&sum, number(5), NULL), 0);
    xctx_context *child = xctx_copy_current();
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(merges, 0);
    assert_int_equal(as_number(xctx_var_get(&sum)), 5);
    xctx_unref(child);
}

TEST(merge_takes_null_for_a_parent_without_the_variable)
{
    xctx_context *child = xctx_copy_current();
    set_in(child, &sum, number(7));
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&sum)), 7);
    assert_int_equal(xctx_lookup(xctx_current(), &sum, NULL), 1);
    xctx_unref(child);
}

TEST(merge_takes_the_default_for_a_parent_without_the_variable)
{
    xctx_context *child = xctx_copy_current();
    set_in(child, &sum_from_100, number(7));
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&sum_from_100)), 107);
    xctx_unref(child);
}

TEST(merge_leaves_variables_without_the_operation_alone)
{
    assert_int_equal(xctx_var_set(&local, number(1), NULL), 0);
    xctx_context *child = xctx_copy_current();
    set_in(child, &local, number(2));
    set_in(child, &sum, number(3));
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&local)), 1);
    assert_int_equal(as_number(xctx_var_get(&sum)), 3);
    xctx_unref(child);
}

TEST(merge_leaves_variables_alone_that_only_the_parent_has)
{
    merges = 0;
    assert_int_equal(xctx_var_set(&sum, number(1), NULL), 0);
    xctx_context *child = xctx_new();
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(merges, 0);
    assert_int_equal(as_number(xctx_var_get(&sum)), 1);
    xctx_unref(child);
}

TEST(merge_of_a_counted_value_releases_what_it_replaced)
{
    counted_set(&counted, 1);
    xctx_context *child = xctx_copy_current();
    struct counted *value = counted_new(10);
    set_in(child, &counted, value);
    counted_drop(value);
    assert_int_equal(counted_live(), 2);
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 11);
    xctx_unref(child);
    assert_int_equal(counted_live(), 1);
}

TEST(merge_of_many_children_adds_them_all_up)
{
    assert_int_equal(xctx_var_set(&sum, number(0), NULL), 0);
    for (int i = 1; i <= 10; i++) {
        xctx_context *child = xctx_copy_current();
        set_in(child, &sum, number(100 * i + 1)); /* never what the parent has: that would be passed over */
        assert_int_equal(xctx_merge(child), 0);
        xctx_unref(child);
    }
    assert_int_equal(as_number(xctx_var_get(&sum)), 5510);
}

TEST(merge_that_fails_changes_nothing)
{
    counted_set(&counted, 1);
    assert_int_equal(xctx_var_set(&sum, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&failing, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&sum_from_100, number(1), NULL), 0);
    xctx_context *child = xctx_copy_current();
    struct counted *value = counted_new(10);
    set_in(child, &counted, value);
    counted_drop(value);
    set_in(child, &sum, number(2));
    set_in(child, &failing, number(2));
    set_in(child, &sum_from_100, number(2));
    xctx_context *before = xctx_copy_current();
    assert_int_equal(xctx_merge(child), -ENOMEM);
    assert_true(xctx_equal(before, xctx_current()));
    xctx_unref(before);
    xctx_unref(child);
    assert_int_equal(counted_live(), 1);
}

TEST(merge_of_null_is_refused)
{
    assert_int_equal(xctx_merge(NULL), -EINVAL);
}

TEST(merge_of_the_current_context_into_itself_changes_nothing)
{
    merges = 0;
    assert_int_equal(xctx_var_set(&sum, number(5), NULL), 0);
    assert_int_equal(xctx_merge(xctx_current()), 0);
    assert_int_equal(merges, 0);
    assert_int_equal(as_number(xctx_var_get(&sum)), 5);
}

TEST(merge_into_a_map_shared_with_a_copy_leaves_the_copy_alone)
{
    void *value = NULL;
    assert_int_equal(xctx_var_set(&sum, number(1), NULL), 0);
    xctx_context *child = xctx_copy_current();
    xctx_context *sibling = xctx_copy_current();
    set_in(child, &sum, number(10));
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(xctx_lookup(sibling, &sum, &value), 1);
    assert_int_equal(as_number(value), 1);
    xctx_unref(child);
    xctx_unref(sibling);
}

static void *merge_on_fresh_thread(void *child)
{
    CHECK(xctx_current() == NULL);
    CHECK(xctx_merge(child) == 0);
    CHECK(xctx_current() != NULL);
    return xctx_var_get(&sum);
}

TEST(merge_on_a_fresh_thread_creates_the_context)
{
    xctx_context *child = xctx_new();
    set_in(child, &sum, number(4));
    assert_int_equal(as_number(on_thread(merge_on_fresh_thread, child)), 4);
    xctx_unref(child);
}

static void *enter_and_set(void *context)
{
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(&sum, number(20), NULL) == 0);
    return NULL;
}

static void *leave(void *context)
{
    CHECK(xctx_exit(context) == 0);
    return NULL;
}

TEST(merge_of_a_child_that_another_thread_has_entered_takes_its_state_now)
{
    struct worker worker;
    worker_start(&worker);
    xctx_context *child = xctx_copy_current();
    worker_do(&worker, enter_and_set, child);
    assert_int_equal(xctx_var_set(&sum, number(1), NULL), 0);
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&sum)), 21);
    worker_do(&worker, leave, child);
    worker_stop(&worker);
    xctx_unref(child);
}

static void *merge_calls_back(void *parent, void *child)
{
    xctx_context *context = xctx_copy_current();
    CHECK(context != NULL);
    set_in(context, &local, number(1));
    xctx_unref(context);
    return add(parent, child);
}

static XCTX_VAR_DEFINE(calling_back, .merge = merge_calls_back);

TEST(merge_operation_may_use_the_library)
{
    assert_int_equal(xctx_var_set(&calling_back, number(1), NULL), 0);
    xctx_context *child = xctx_copy_current();
    set_in(child, &calling_back, number(2));
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&calling_back)), 3);
    xctx_unref(child);
}

TEST(merged_value_can_be_copied_set_and_reset_like_any_other)
{
    xctx_token token;
    xctx_context *child = xctx_new();
    struct counted *value = counted_new(10);
    set_in(child, &counted, value);
    counted_drop(value);
    assert_int_equal(xctx_merge(child), 0);
    xctx_unref(child);
    assert_int_equal(xctx_var_set(&counted, NULL, &token), 0);
    assert_int_equal(xctx_var_reset(&counted, &token), 0);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 10);
    assert_int_equal(counted_live(), 1);
}

int main(void)
{
    return test_main("merging a child back");
}
