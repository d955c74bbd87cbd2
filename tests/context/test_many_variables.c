/* SPDX-License-Identifier: MIT */
/* More variables than fit into an array: values, copies and resets in the trie. */
#include "../support/counted.h"

enum { MANY = 100000 };

static xctx_var **vars;

/* MANY variables, first used in their order; made once, since what was set stays until the process ends anyway. */
static void make_vars(void)
{
    if (vars)
        return;
    vars = malloc(MANY * sizeof(*vars));
    CHECK(vars != NULL);
    for (int i = 0; i < MANY; i++) {
        vars[i] = xctx_var_create("many", NULL);
        CHECK(vars[i] != NULL);
        xctx_token token;
        CHECK(xctx_var_set(vars[i], NULL, &token) == 0);
        CHECK(xctx_var_reset(vars[i], &token) == 0);
    }
}

static void check_values(xctx_context *context, int count, long offset)
{
    for (int i = 0; i < count; i++) {
        void *value = NULL;
        CHECK(xctx_lookup(context, vars[i], &value) == 1);
        CHECK(as_number(value) == i + offset);
    }
}

TEST(values_of_each_count_of_variables_up_to_300_are_kept)
{
    make_vars();
    for (int count = 0; count < 300; count++) {
        assert_int_equal(xctx_count(xctx_current()), count);
        assert_int_equal(xctx_var_set(vars[count], number(count), NULL), 0);
        check_values(xctx_current(), count + 1, 0);
        assert_int_equal(xctx_lookup(xctx_current(), vars[count + 1], NULL), 0);
        assert_int_equal(xctx_var_find(vars[MANY - 1], NULL), 0);
    }
}

TEST(copies_at_each_count_of_variables_up_to_300_are_independent)
{
    make_vars();
    for (int count = 0; count < 300; count++) {
        xctx_context *copy = xctx_copy_current();
        assert_int_equal(xctx_enter(copy), 0);
        for (int i = 0; i < count; i += 7)
            assert_int_equal(xctx_var_set(vars[i], number(-1), NULL), 0);
        assert_int_equal(xctx_var_set(vars[count + 50], number(-1), NULL), 0);
        assert_int_equal(xctx_exit(copy), 0);
        check_values(xctx_current(), count, 0);
        assert_int_equal(xctx_count(xctx_current()), count);
        assert_int_equal(xctx_count(copy), count + 1);
        xctx_unref(copy);
        assert_int_equal(xctx_var_set(vars[count], number(count), NULL), 0);
    }
}

TEST(resets_at_each_count_of_variables_shrink_to_nothing)
{
    enum { COUNT = 300 };
    xctx_token tokens[COUNT];
    make_vars();
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(xctx_var_set(vars[i], number(i), &tokens[i]), 0);
    for (int i = COUNT; i-- > 0;) {
        assert_int_equal(xctx_var_reset(vars[i], &tokens[i]), 0);
        assert_int_equal(xctx_count(xctx_current()), i);
        assert_int_equal(xctx_var_find(vars[i], NULL), 0);
        check_values(xctx_current(), i, 0);
    }
}

TEST(resets_of_shared_maps_leave_the_copies_alone)
{
    enum { COUNT = 200 };
    xctx_token tokens[COUNT];
    xctx_context *copies[COUNT];
    make_vars();
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(xctx_var_set(vars[i], number(i), &tokens[i]), 0);
    for (int i = COUNT; i-- > 0;) {
        copies[i] = xctx_copy_current();
        assert_int_equal(xctx_var_reset(vars[i], &tokens[i]), 0);
    }
    assert_int_equal(xctx_count(xctx_current()), 0);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(xctx_count(copies[i]), i + 1);
        check_values(copies[i], i + 1, 0);
        xctx_unref(copies[i]);
    }
}

static int check_order(xctx_var *var, void *value, void *user)
{
    int *next = user;
    CHECK(*next < MANY);
    CHECK(var == vars[*next]);
    CHECK(as_number(value) == *next);
    ++*next;
    return 0;
}

TEST(context_of_100000_variables_keeps_them_all)
{
    make_vars();
    for (int i = 0; i < MANY; i++)
        assert_int_equal(xctx_var_set(vars[i], number(i), NULL), 0);
    assert_int_equal(xctx_count(xctx_current()), MANY);
    check_values(xctx_current(), MANY, 0);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(as_number(xctx_var_get(vars[i])), i);
}

TEST(each_visits_100000_variables_once)
{
    int visited = 0;
    make_vars();
    for (int i = 0; i < MANY; i++)
        assert_int_equal(xctx_var_set(vars[i], number(i), NULL), 0);
    assert_int_equal(xctx_each(xctx_current(), check_order, &visited), 0);
    assert_int_equal(visited, MANY);
}

TEST(copy_of_100000_variables_differs_in_what_was_set_in_it)
{
    make_vars();
    for (int i = 0; i < MANY; i++)
        assert_int_equal(xctx_var_set(vars[i], number(i), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_true(xctx_equal(copy, xctx_current()));
    assert_int_equal(xctx_enter(copy), 0);
    for (int i = 0; i < MANY; i += 1000)
        assert_int_equal(xctx_var_set(vars[i], number(-i), NULL), 0);
    assert_int_equal(xctx_exit(copy), 0);
    check_values(xctx_current(), MANY, 0);
    for (int i = 0; i < MANY; i++) {
        void *value = NULL;
        assert_int_equal(xctx_lookup(copy, vars[i], &value), 1);
        assert_int_equal(as_number(value), i % 1000 == 0 ? -i : i);
    }
    assert_false(xctx_equal(copy, xctx_current()));
    xctx_unref(copy);
}

TEST(sparse_contexts_hold_only_what_they_set)
{
    make_vars();
    for (int step = 1; step < MANY; step *= 10) {
        xctx_context *context = xctx_new();
        assert_int_equal(xctx_enter(context), 0);
        int count = 0;
        for (int i = step - 1; i < MANY; i += step * 7, count++)
            assert_int_equal(xctx_var_set(vars[i], number(i), NULL), 0);
        assert_int_equal(xctx_count(context), count);
        if (step > 1)
            assert_int_equal(xctx_lookup(context, vars[0], NULL), 0);
        assert_int_equal(xctx_exit(context), 0);
        xctx_unref(context);
    }
}

TEST(equal_compares_maps_that_were_built_in_different_orders)
{
    enum { COUNT = 1000 };
    make_vars();
    xctx_context *up = xctx_new();
    xctx_context *down = xctx_new();
    assert_int_equal(xctx_enter(up), 0);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(xctx_var_set(vars[i * 90], number(i), NULL), 0);
    assert_int_equal(xctx_exit(up), 0);
    assert_int_equal(xctx_enter(down), 0);
    for (int i = COUNT; i-- > 0;)
        assert_int_equal(xctx_var_set(vars[i * 90], number(i), NULL), 0);
    assert_int_equal(xctx_exit(down), 0);
    assert_true(xctx_equal(up, down));
    assert_int_equal(xctx_enter(down), 0);
    assert_int_equal(xctx_var_set(vars[90], number(-1), NULL), 0);
    assert_int_equal(xctx_exit(down), 0);
    assert_false(xctx_equal(up, down));
    xctx_unref(up);
    xctx_unref(down);
}

TEST(counted_values_of_many_variables_are_released_once_each)
{
    enum { COUNT = 1000 };
    xctx_var_options options = {.size = sizeof(options), .retain = counted_retain, .release = counted_release};
    xctx_var *own[COUNT];
    xctx_context *context = xctx_new();
    xctx_context *copies[4];
    counted_reset();
    assert_int_equal(xctx_enter(context), 0);
    for (int i = 0; i < COUNT; i++) {
        own[i] = xctx_var_create("counted", &options);
        counted_set(own[i], i);
    }
    for (int c = 0; c < 4; c++) {
        copies[c] = xctx_copy_current();
        for (int i = c; i < COUNT; i += 97)
            counted_set(own[i], -i);
    }
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    for (int c = 0; c < 4; c++) {
        for (int i = 0; i < COUNT; i++) {
            void *value = NULL;
            assert_int_equal(xctx_lookup(copies[c], own[i], &value), 1);
            assert_int_equal(labs(counted_number(value)), i);
        }
        xctx_unref(copies[c]);
    }
    assert_int_equal(counted_live(), 0);
    assert_int_equal(counted_released, counted_retained);
    for (int i = 0; i < COUNT; i++)
        xctx_var_unref(own[i]);
}

static XCTX_VAR_DEFINE(late, .initial = &late);

TEST(let_of_a_variable_with_a_high_number_works_in_an_empty_and_in_a_large_context)
{
    make_vars();
    for (int round = 0; round < 2; round++) {
        XCTX_LET (&late, number(3)) {
            assert_int_equal(as_number(xctx_var_get(&late)), 3);
            xctx_context *copy = xctx_copy_current();
            assert_true(xctx_equal(copy, xctx_current()));
            xctx_unref(copy);
        }
        assert_ptr_equal(xctx_var_get(&late), &late);
        for (int i = 0; i < 1000; i++)
            assert_int_equal(xctx_var_set(vars[i], number(i), NULL), 0);
    }
}

int main(void)
{
    int failed = test_main("many variables");
    for (int i = 0; vars && i < MANY; i++)
        xctx_var_unref(vars[i]);
    free(vars);
    return failed;
}
