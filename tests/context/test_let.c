/* SPDX-License-Identifier: MIT */
/* XCTX_LET: a value for a block, gone on every way out. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(var);
static XCTX_VAR_DEFINE(other);
static XCTX_VAR_DEFINE(with_default, .initial = &other);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

TEST(let_sets_the_variable_for_the_block)
{
    int ran = 0;
    XCTX_LET (&var, number(1)) {
        assert_int_equal(as_number(xctx_var_get(&var)), 1);
        ran++;
    }
    assert_int_equal(ran, 1);
    assert_int_equal(xctx_var_find(&var, NULL), 0);
}

TEST(let_brings_the_old_value_back)
{
    assert_int_equal(xctx_var_set(&var, number(1), NULL), 0);
    XCTX_LET (&var, number(2)) {
        assert_int_equal(as_number(xctx_var_get(&var)), 2);
    }
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
}

TEST(let_brings_a_default_back)
{
    XCTX_LET (&with_default, NULL) {
        assert_null(xctx_var_get(&with_default));
    }
    assert_ptr_equal(xctx_var_get(&with_default), &other);
    assert_int_equal(xctx_count(xctx_current()), 0);
}

TEST(let_needs_no_braces)
{
    void *seen = NULL;
    XCTX_LET (&var, number(5))
        seen = xctx_var_get(&var);
    assert_int_equal(as_number(seen), 5);
    assert_int_equal(xctx_var_find(&var, NULL), 0);
}

TEST(let_evaluates_its_arguments_once)
{
    xctx_var *vars[] = {&var, &other};
    int vars_used = 0;
    int values_used = 0;
    XCTX_LET (vars[vars_used++], number(++values_used)) {
        assert_int_equal(as_number(xctx_var_get(&var)), 1);
    }
    assert_int_equal(vars_used, 1);
    assert_int_equal(values_used, 1);
}

TEST(let_nests_for_one_variable)
{
    XCTX_LET (&var, number(1)) {
        XCTX_LET (&var, number(2)) {
            XCTX_LET (&var, number(3)) {
                assert_int_equal(as_number(xctx_var_get(&var)), 3);
            }
            assert_int_equal(as_number(xctx_var_get(&var)), 2);
        }
        assert_int_equal(as_number(xctx_var_get(&var)), 1);
    }
    assert_int_equal(xctx_var_find(&var, NULL), 0);
}

TEST(let_nests_for_several_variables)
{
    XCTX_LET (&var, number(1)) {
        XCTX_LET (&other, number(2)) {
            assert_int_equal(as_number(xctx_var_get(&var)), 1);
            assert_int_equal(as_number(xctx_var_get(&other)), 2);
        }
        assert_int_equal(xctx_var_find(&other, NULL), 0);
        assert_int_equal(as_number(xctx_var_get(&var)), 1);
    }
}

TEST(break_leaves_the_let_and_not_the_loop_around_it)
{
    int rounds = 0;
    for (int i = 0; i < 3; i++) {
        XCTX_LET (&var, number(i)) {
            if (i == 1)
                break;
        }
        assert_int_equal(xctx_var_find(&var, NULL), 0);
        rounds++;
    }
    assert_int_equal(rounds, 3);
}

TEST(continue_leaves_the_let_and_runs_it_once)
{
    int ran = 0;
    XCTX_LET (&var, number(1)) {
        ran++;
        if (ran > 0)
            continue;
        ran = 100;
    }
    assert_int_equal(ran, 1);
    assert_int_equal(xctx_var_find(&var, NULL), 0);
}

static long return_from_let(void)
{
    XCTX_LET (&var, number(3)) {
        XCTX_LET (&other, number(4)) {
            return as_number(xctx_var_get(&var)) + as_number(xctx_var_get(&other));
        }
    }
    return -1;
}

TEST(return_leaves_all_lets_around_it)
{
    assert_int_equal(xctx_var_set(&var, number(1), NULL), 0);
    assert_int_equal(return_from_let(), 7);
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
    assert_int_equal(xctx_var_find(&other, NULL), 0);
}

TEST(goto_leaves_the_let)
{
    XCTX_LET (&var, number(1)) {
        XCTX_LET (&other, number(2)) {
            goto out;
        }
        fail_msg("goto did not leave");
    }
out:
    assert_int_equal(xctx_var_find(&var, NULL), 0);
    assert_int_equal(xctx_var_find(&other, NULL), 0);
}

TEST(let_that_works_does_not_run_its_else)
{
    int ran = 0, missed = 0;
    XCTX_LET (&var, number(1)) {
        ran++;
    }
    else
    {
        missed++;
    }
    assert_int_equal(ran, 1);
    assert_int_equal(missed, 0);
}

static void *retain_never(void *value)
{
    (void)value;
    return NULL;
}

static XCTX_VAR_DEFINE(unretainable, .retain = retain_never);

TEST(let_that_fails_runs_its_else_and_not_its_block)
{
    int ran = 0, missed = 0;
    XCTX_LET (&unretainable, number(1)) {
        ran++;
    }
    else
    {
        assert_int_equal(xctx_var_find(&unretainable, NULL), 0);
        missed++;
    }
    assert_int_equal(ran, 0);
    assert_int_equal(missed, 1);
    assert_int_equal(xctx_count(xctx_current()), 0);
}

TEST(let_that_fails_without_else_runs_nothing)
{
    int ran = 0;
    assert_int_equal(xctx_var_set(&var, number(1), NULL), 0);
    XCTX_LET (&unretainable, number(1)) {
        ran++;
    }
    assert_int_equal(ran, 0);
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
}

TEST(let_retains_once_and_releases_once)
{
    struct counted *value = counted_new(1);
    counted_reset();
    XCTX_LET (&counted, value) {
        assert_int_equal(counted_retained, 1);
        assert_int_equal(counted_released, 0);
        assert_ptr_equal(xctx_var_get(&counted), value);
    }
    assert_int_equal(counted_retained, 1);
    assert_int_equal(counted_released, 1);
    counted_drop(value);
}

TEST(let_keeps_the_old_value_alive)
{
    counted_set(&counted, 1);
    struct counted *second = counted_new(2);
    XCTX_LET (&counted, second) {
        assert_int_equal(counted_live(), 2);
    }
    counted_drop(second);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
}

TEST(copy_within_a_let_has_its_value_for_ever)
{
    void *value = NULL;
    xctx_context *copy = NULL;
    counted_set(&counted, 1);
    struct counted *second = counted_new(2);
    XCTX_LET (&counted, second) {
        copy = xctx_copy_current();
    }
    counted_drop(second);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
    assert_int_equal(xctx_lookup(copy, &counted, &value), 1);
    assert_int_equal(counted_number(value), 2);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 1);
}

TEST(copy_after_a_let_has_nothing_of_it)
{
    XCTX_LET (&var, number(1)) {
    }
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_lookup(copy, &var, NULL), 0);
    assert_int_equal(xctx_count(copy), 0);
    xctx_unref(copy);
}

TEST(copy_before_a_let_does_not_see_it)
{
    assert_int_equal(xctx_var_set(&var, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    XCTX_LET (&var, number(2)) {
        void *value = NULL;
        assert_int_equal(xctx_lookup(copy, &var, &value), 1);
        assert_int_equal(as_number(value), 1);
    }
    assert_true(xctx_equal(copy, xctx_current()));
    xctx_unref(copy);
}

TEST(copy_within_nested_lets_has_the_innermost_values)
{
    xctx_context *outer = NULL, *inner = NULL, *middle = NULL;
    void *value = NULL;
    XCTX_LET (&var, number(1)) {
        outer = xctx_copy_current();
        XCTX_LET (&var, number(2)) {
            inner = xctx_copy_current();
        }
        middle = xctx_copy_current();
    }
    assert_int_equal(xctx_lookup(inner, &var, &value), 1);
    assert_int_equal(as_number(value), 2);
    assert_true(xctx_equal(outer, middle));
    assert_false(xctx_equal(outer, inner));
    xctx_unref(outer);
    xctx_unref(middle);
    xctx_unref(inner);
}

static void *copy_there(void *context)
{
    return xctx_copy(context);
}

TEST(copy_by_another_thread_within_a_let_has_its_value)
{
    xctx_context *copy = NULL;
    void *value = NULL;
    struct counted *mine = counted_new(3);
    XCTX_LET (&counted, mine) {
        copy = on_thread(copy_there, xctx_current());
    }
    counted_drop(mine);
    assert_int_equal(xctx_lookup(copy, &counted, &value), 1);
    assert_int_equal(counted_number(value), 3);
    xctx_unref(copy);
}

TEST(set_within_a_let_lasts_until_its_end)
{
    assert_int_equal(xctx_var_set(&var, number(1), NULL), 0);
    XCTX_LET (&var, number(2)) {
        assert_int_equal(xctx_var_set(&var, number(3), NULL), 0);
        assert_int_equal(as_number(xctx_var_get(&var)), 3);
    }
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
}

TEST(set_of_another_variable_within_a_let_outlasts_it)
{
    XCTX_LET (&var, number(2)) {
        assert_int_equal(xctx_var_set(&other, number(3), NULL), 0);
    }
    assert_int_equal(as_number(xctx_var_get(&other)), 3);
    assert_int_equal(xctx_var_find(&var, NULL), 0);
}

TEST(set_of_counted_values_within_a_let_releases_each_once)
{
    counted_set(&counted, 1);
    struct counted *second = counted_new(2);
    XCTX_LET (&counted, second) {
        counted_set(&counted, 3);
        xctx_unref(xctx_copy_current());
        counted_set(&counted, 4);
    }
    counted_drop(second);
    assert_int_equal(counted_live(), 1);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
}

TEST(token_of_a_set_within_a_let_can_be_reset_within_it)
{
    XCTX_LET (&var, number(1)) {
        xctx_token token;
        assert_int_equal(xctx_var_set(&var, number(2), &token), 0);
        assert_int_equal(xctx_var_reset(&var, &token), 0);
        assert_int_equal(as_number(xctx_var_get(&var)), 1);
    }
    assert_int_equal(xctx_var_find(&var, NULL), 0);
}

TEST(token_from_before_a_let_can_be_reset_after_it)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    XCTX_LET (&var, number(2)) {
        assert_int_equal(as_number(xctx_var_get(&var)), 2);
    }
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    assert_int_equal(xctx_var_find(&var, NULL), 0);
}

TEST(reset_within_a_let_of_an_older_token_is_undone_at_its_end)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    XCTX_LET (&var, number(2)) {
        assert_int_equal(xctx_var_reset(&var, &token), 0);
        assert_int_equal(xctx_var_find(&var, NULL), 0);
    }
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
}

TEST(context_entered_and_left_within_a_let_does_not_disturb_it)
{
    assert_int_equal(xctx_var_set(&var, number(1), NULL), 0);
    XCTX_LET (&var, number(2)) {
        xctx_context *context = xctx_copy_current();
        assert_int_equal(xctx_enter(context), 0);
        assert_int_equal(as_number(xctx_var_get(&var)), 2);
        XCTX_LET (&var, number(3)) {
            assert_int_equal(as_number(xctx_var_get(&var)), 3);
        }
        assert_int_equal(xctx_exit(context), 0);
        assert_int_equal(as_number(xctx_var_get(&var)), 2);
        xctx_unref(context);
    }
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
}

static void let_many(xctx_var **vars, int count, int index)
{
    if (index == count) {
        assert_int_equal(xctx_count(xctx_current()), count);
        xctx_context *copy = xctx_copy_current();
        for (int i = 0; i < count; i++) {
            void *value = NULL;
            assert_int_equal(xctx_lookup(copy, vars[i], &value), 1);
            assert_int_equal(as_number(value), i);
        }
        xctx_unref(copy);
        return;
    }
    XCTX_LET (vars[index], number(index)) {
        let_many(vars, count, index + 1);
        assert_int_equal(as_number(xctx_var_get(vars[index])), index);
    }
    assert_int_equal(xctx_var_find(vars[index], NULL), 0);
}

TEST(let_of_300_variables_at_once)
{
    enum { COUNT = 300 };
    xctx_var *vars[COUNT];
    for (int i = 0; i < COUNT; i++)
        vars[i] = xctx_var_create("many", NULL);
    let_many(vars, COUNT, 0);
    assert_int_equal(xctx_count(xctx_current()), 0);
    for (int i = 0; i < COUNT; i++)
        xctx_var_unref(vars[i]);
}

int main(void)
{
    return test_main("scoped bindings");
}
