/* SPDX-License-Identifier: MIT */
/* xctx_merge(): what the operations may do, and what their results mean; out of memory in the other operations. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(other);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static void set_in(xctx_context *context, xctx_var *var, void *value)
{
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(var, value, NULL) == 0);
    CHECK(xctx_exit(context) == 0);
}

static void counted_set_in(xctx_context *context, xctx_var *var, long n)
{
    struct counted *value = counted_new(n);
    set_in(context, var, value);
    counted_drop(value);
}

/* ---- setting variables in the operation ---- */

static xctx_token token_of_operation;

static void *add_and_set_others(void *parent, void *child)
{
    long sum = as_number(parent) + as_number(child);
    CHECK(xctx_var_set(&plain, number(sum), NULL) == 0);
    CHECK(xctx_var_set(&other, number(sum + 1), &token_of_operation) == 0);
    counted_set(&counted, sum);
    return number(sum);
}

static XCTX_VAR_DEFINE(setting, .merge = add_and_set_others);
static XCTX_VAR_DEFINE(setting_too, .merge = add_and_set_others);

TEST(values_that_the_operation_sets_are_not_lost)
{
    assert_int_equal(xctx_var_set(&setting, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&plain, number(-1), NULL), 0);
    assert_int_equal(xctx_var_set(&other, number(-2), NULL), 0);
    counted_set(&counted, -1);
    xctx_context *child = xctx_copy_current();
    set_in(child, &setting, number(10));
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&setting)), 11);
    assert_int_equal(as_number(xctx_var_get(&plain)), 11);
    assert_int_equal(as_number(xctx_var_get(&other)), 12);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 11);
    assert_int_equal(xctx_var_reset(&other, &token_of_operation), 0);
    assert_int_equal(as_number(xctx_var_get(&other)), -2);
    xctx_unref(child);
    assert_int_equal(counted_live(), 1);
}

TEST(values_that_several_operations_set_are_not_lost)
{
    xctx_context *child = xctx_new();
    set_in(child, &setting, number(10));
    set_in(child, &setting_too, number(20));
    assert_int_equal(xctx_merge(child), 0);
    xctx_token_drop(&token_of_operation);
    assert_int_equal(as_number(xctx_var_get(&setting)), 10);
    assert_int_equal(as_number(xctx_var_get(&setting_too)), 20);
    assert_int_equal(as_number(xctx_var_get(&plain)), 20); /* the one that was first used later is called later */
    assert_int_equal(counted_number(xctx_var_get(&counted)), 20);
    xctx_unref(child);
    assert_int_equal(counted_live(), 1);
}

static xctx_context *parent_context;

static void *switch_and_back(void *parent, void *child)
{
    CHECK(xctx_exit(parent_context) == 0);
    CHECK(xctx_enter(parent_context) == 0);
    CHECK(xctx_var_set(&plain, number(5), NULL) == 0);
    return number(as_number(parent) + as_number(child));
}

static XCTX_VAR_DEFINE(switching, .merge = switch_and_back);

TEST(operation_that_leaves_the_context_and_enters_it_again_is_merged)
{
    parent_context = xctx_new();
    assert_int_equal(xctx_enter(parent_context), 0);
    xctx_context *child = xctx_new();
    set_in(child, &switching, number(10));
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&switching)), 10);
    assert_int_equal(as_number(xctx_var_get(&plain)), 5);
    assert_int_equal(xctx_exit(parent_context), 0);
    xctx_unref(parent_context);
    xctx_unref(child);
}

static void *enter_and_stay(void *parent, void *child)
{
    (void)parent;
    CHECK(xctx_enter(parent_context) == 0);
    return counted_retain(child);
}

static XCTX_VAR_DEFINE(straying, .merge = enter_and_stay, .retain = counted_retain, .release = counted_release);

TEST(operation_that_makes_another_context_current_is_refused_and_changes_nothing)
{
    xctx_context *before = xctx_current();
    parent_context = xctx_new();
    counted_set(&counted, 1);
    xctx_context *child = xctx_new();
    counted_set_in(child, &straying, 2);
    assert_int_equal(xctx_merge(child), -EINVAL);
    assert_ptr_equal(xctx_current(), parent_context);
    assert_int_equal(xctx_count(parent_context), 0);
    assert_int_equal(xctx_exit(parent_context), 0);
    assert_ptr_equal(xctx_current(), before);
    assert_int_equal(xctx_count(before), 1);
    xctx_unref(parent_context);
    xctx_unref(child);
    assert_int_equal(counted_live(), 1);
}

TEST(binding_around_a_merge_is_undone)
{
    xctx_context *child = xctx_new();
    set_in(child, &setting, number(10));
    assert_int_equal(xctx_var_set(&setting, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    XCTX_LET (&setting, number(2)) {
        XCTX_LET (&plain, number(2)) {
            assert_int_equal(xctx_merge(child), 0);
            xctx_token_drop(&token_of_operation);
            assert_int_equal(as_number(xctx_var_get(&setting)), 12);
            assert_int_equal(as_number(xctx_var_get(&plain)), 12);
        }
        assert_int_equal(as_number(xctx_var_get(&plain)), 1);
        assert_int_equal(as_number(xctx_var_get(&setting)), 12);
    }
    assert_int_equal(as_number(xctx_var_get(&setting)), 1);
    assert_int_equal(as_number(xctx_var_get(&other)), 13);
    xctx_unref(child);
}

/* ---- what the operation returns ---- */

static void *give_null(void *parent, void *child)
{
    (void)parent;
    (void)child;
    return NULL;
}

static XCTX_VAR_DEFINE(vanishing, .merge = give_null);
static XCTX_VAR_DEFINE(counted_vanishing, .merge = give_null, .retain = counted_retain, .release = counted_release);

TEST(merge_that_gives_null_sets_null)
{
    void *value = &plain;
    assert_int_equal(xctx_var_set(&vanishing, number(1), NULL), 0);
    counted_set(&counted_vanishing, 1);
    xctx_context *child = xctx_new();
    set_in(child, &vanishing, number(2));
    counted_set_in(child, &counted_vanishing, 2);
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(xctx_var_find(&vanishing, &value), 1);
    assert_null(value);
    value = &plain;
    assert_int_equal(xctx_lookup(xctx_current(), &counted_vanishing, &value), 1);
    assert_null(value);
    assert_int_equal(counted_live(), 1);
    xctx_unref(child);
    assert_int_equal(counted_live(), 0);
}

static void *run_out(void *parent, void *child)
{
    (void)parent;
    (void)child;
    return XCTX_RESERVED_VALUE;
}

static void *add_counted(void *parent, void *child)
{
    return counted_new((parent ? counted_number(parent) : 0) + (child ? counted_number(child) : 0));
}

static XCTX_VAR_DEFINE(merging, .merge = add_counted, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(running_out, .merge = run_out);
static XCTX_VAR_DEFINE(counted_running_out, .merge = run_out, .retain = counted_retain, .release = counted_release);

TEST(merge_that_runs_out_of_memory_changes_nothing)
{
    assert_int_equal(xctx_var_set(&running_out, number(1), NULL), 0);
    counted_set(&merging, 1);
    counted_set(&counted_running_out, 1);
    for (int i = 0; i < 2; i++) {
        xctx_context *child = xctx_copy_current();
        counted_set_in(child, &merging, 2);
        if (i == 0)
            set_in(child, &running_out, number(2));
        else
            counted_set_in(child, &counted_running_out, 2);
        xctx_context *before = xctx_copy_current();
        assert_int_equal(xctx_merge(child), -ENOMEM);
        assert_true(xctx_equal(before, xctx_current()));
        xctx_unref(before);
        xctx_unref(child);
        assert_int_equal(counted_live(), 2);
    }
}

/* ---- many variables, in maps that are shared ---- */

TEST(merge_of_400_variables_leaves_copies_alone)
{
    enum { COUNT = 400 };
    xctx_var *vars[COUNT];
    xctx_context *child = xctx_new();
    for (int i = 0; i < COUNT; i++) {
        vars[i] = xctx_var_create(
            "many", &(xctx_var_options){.merge = add_counted, .retain = counted_retain, .release = counted_release});
        counted_set_in(child, vars[i], 1000 + i);
        if (i % 2)
            counted_set(vars[i], i);
    }
    xctx_context *sibling = xctx_copy_current();
    assert_int_equal(xctx_merge(child), 0);
    for (int i = 0; i < COUNT; i++) {
        void *value = NULL;
        assert_int_equal(counted_number(xctx_var_get(vars[i])), 1000 + i + (i % 2 ? i : 0));
        assert_int_equal(xctx_lookup(sibling, vars[i], &value), i % 2);
        assert_true(i % 2 == 0 || counted_number(value) == i);
        assert_int_equal(xctx_lookup(child, vars[i], &value), 1);
        assert_int_equal(counted_number(value), 1000 + i);
    }
    assert_int_equal(counted_live(), COUNT + COUNT + COUNT / 2);
    xctx_unref(sibling);
    assert_int_equal(counted_live(), COUNT + COUNT);
    xctx_unref(child);
    assert_int_equal(counted_live(), COUNT);
    for (int i = 0; i < COUNT; i++)
        xctx_var_unref(vars[i]);
}

/* ---- out of memory in `retain` and `clone` ---- */

static void *out_of_memory;

static void *retain_or_not(void *value)
{
    return counted_number(value) < 0 ? out_of_memory : counted_retain(value);
}

static void *clone_or_not(void *value)
{
    return counted_number(value) > 100 ? out_of_memory : counted_clone(value);
}

static XCTX_VAR_DEFINE(limited, .flow = XCTX_FLOW_CLONE, .retain = retain_or_not, .clone = clone_or_not,
                       .release = counted_release);
/* Without `release`: its words are no cells. */
static XCTX_VAR_DEFINE(limited_plain, .flow = XCTX_FLOW_CLONE, .retain = retain_or_not, .clone = clone_or_not);

static void check_out_of_memory(xctx_var *var)
{
    struct counted *good = counted_new(1), *bad = counted_new(-1), *unclonable = counted_new(101);
    int missed = 0;
    long live = counted_live();
    xctx_token token;
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(var, bad, NULL), -ENOMEM);
    assert_int_equal(xctx_var_set(var, bad, &token), -ENOMEM);
    assert_int_equal(xctx_var_find(var, NULL), 0);
    assert_int_equal(xctx_var_set(var, good, NULL), 0);
    assert_int_equal(xctx_var_set(var, bad, &token), -ENOMEM);
    assert_ptr_equal(xctx_var_get(var), good);
    XCTX_LET (var, bad) {
        fail();
    }
    else
    {
        missed++;
    }
    assert_int_equal(missed, 1);
    assert_ptr_equal(xctx_var_get(var), good);
    assert_int_equal(xctx_var_set(var, unclonable, NULL), 0);
    assert_null(xctx_copy_current());
    assert_null(xctx_copy(xctx_current()));
    assert_null(xctx_bind(counted_retain, NULL));
    assert_ptr_equal(xctx_var_get(var), unclonable);
    assert_int_equal(xctx_var_set(var, NULL, NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_non_null(copy);
    assert_int_equal(xctx_lookup(copy, var, NULL), 1);
    xctx_unref(copy);
    assert_int_equal(counted_live(), live);
    if (!xctx_var_get_options(var)->release) {
        counted_drop(good);
        counted_drop(unclonable);
    }
    counted_drop(good);
    counted_drop(bad);
    counted_drop(unclonable);
}

TEST(operation_that_returns_the_reserved_value_ran_out_of_memory)
{
    out_of_memory = XCTX_RESERVED_VALUE;
    check_out_of_memory(&limited);
    check_out_of_memory(&limited_plain);
}

TEST(operation_that_returns_null_for_a_value_ran_out_of_memory)
{
    out_of_memory = NULL;
    check_out_of_memory(&limited);
    check_out_of_memory(&limited_plain);
}

int main(void)
{
    return test_main("operations of a merge");
}
