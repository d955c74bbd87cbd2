/* SPDX-License-Identifier: MIT */
/* A million contexts that live at the same time. */
#include "../support/counted.h"

enum { VARS = 8 };

static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);
static xctx_var *vars[VARS];

static void set_vars(void)
{
    for (int i = 0; i < VARS; i++) {
        if (!vars[i])
            vars[i] = xctx_var_create("one of eight", NULL);
        assert_int_equal(xctx_var_set(vars[i], number(i), NULL), 0);
    }
}

static long lookup_number(xctx_context *context, xctx_var *var)
{
    void *value = NULL;
    CHECK(xctx_lookup(context, var, &value) == 1);
    return as_number(value);
}

TEST(million_copies_of_one_context_live_and_go)
{
    long count = scaled(1000000);
    xctx_context **copies = malloc((size_t)count * sizeof(xctx_context *));
    assert_non_null(copies);
    set_vars();
    counted_set(&counted, 1);
    for (long i = 0; i < count; i++) {
        copies[i] = xctx_copy_current();
        assert_non_null(copies[i]);
    }
    for (int i = 0; i < VARS; i++)
        assert_int_equal(xctx_var_set(vars[i], number(-1), NULL), 0);
    for (long i = 0; i < count; i++)
        assert_int_equal(lookup_number(copies[i], vars[i % VARS]), i % VARS);
    for (long i = 0; i < count; i++)
        xctx_unref(copies[i]);
    free(copies);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
}

TEST(million_empty_contexts_live_and_go)
{
    long count = scaled(1000000);
    xctx_context **contexts = malloc((size_t)count * sizeof(xctx_context *));
    assert_non_null(contexts);
    for (long i = 0; i < count; i++) {
        contexts[i] = xctx_new();
        assert_non_null(contexts[i]);
    }
    for (long i = 0; i < count; i += 997)
        assert_int_equal(xctx_count(contexts[i]), 0);
    for (long i = count; i-- > 0;)
        xctx_unref(contexts[i]);
    free(contexts);
}

TEST(contexts_with_values_of_their_own_live_and_go)
{
    long count = scaled(200000);
    xctx_context **contexts = malloc((size_t)count * sizeof(xctx_context *));
    assert_non_null(contexts);
    set_vars();
    for (long i = 0; i < count; i++) {
        contexts[i] = xctx_copy_current();
        assert_int_equal(xctx_enter(contexts[i]), 0);
        assert_int_equal(xctx_var_set(vars[3], number(i), NULL), 0);
        counted_set(&counted, i);
        assert_int_equal(xctx_exit(contexts[i]), 0);
    }
    assert_int_equal(counted_live(), count);
    for (long i = 0; i < count; i++) {
        void *value = NULL;
        assert_int_equal(lookup_number(contexts[i], vars[3]), i);
        assert_int_equal(lookup_number(contexts[i], vars[4]), 4);
        assert_int_equal(xctx_lookup(contexts[i], &counted, &value), 1);
        assert_int_equal(counted_number(value), i);
    }
    for (long i = 0; i < count; i++)
        xctx_unref(contexts[i]);
    free(contexts);
    assert_int_equal(counted_live(), 0);
}

TEST(chain_of_copies_of_copies_keeps_every_generation)
{
    enum { GENERATIONS = 10000 };
    xctx_context *contexts[GENERATIONS];
    set_vars();
    contexts[0] = xctx_copy_current();
    for (int i = 1; i < GENERATIONS; i++) {
        contexts[i] = xctx_copy(contexts[i - 1]);
        assert_int_equal(xctx_enter(contexts[i]), 0);
        assert_int_equal(xctx_var_set(vars[i % VARS], number(i + 100), NULL), 0);
        assert_int_equal(xctx_exit(contexts[i]), 0);
    }
    for (int i = VARS; i < GENERATIONS; i++) {
        for (int back = 0; back < VARS; back++)
            assert_int_equal(lookup_number(contexts[i], vars[(i - back) % VARS]), i - back + 100);
        xctx_unref(contexts[i - VARS]);
    }
    for (int i = GENERATIONS - VARS; i < GENERATIONS; i++)
        xctx_unref(contexts[i]);
}

TEST(nesting_of_10000_entered_contexts_is_left_in_order)
{
    enum { DEPTH = 10000 };
    xctx_context *before = xctx_current();
    counted_set(&counted, 1);
    for (int i = 0; i < DEPTH; i++) {
        xctx_context *context = xctx_copy_current();
        assert_int_equal(xctx_enter(context), 0);
        xctx_unref(context);
    }
    for (int i = 0; i < DEPTH; i++)
        assert_int_equal(xctx_exit(xctx_current()), 0);
    assert_ptr_equal(xctx_current(), before);
}

int main(void)
{
    int failed = test_main("many contexts");
    for (int i = 0; i < VARS; i++)
        xctx_var_unref(vars[i]);
    return failed;
}
