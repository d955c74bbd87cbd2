/* SPDX-License-Identifier: MIT */
/* Tokens: one set, undone once, by the right variable in the right context. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(var);
static XCTX_VAR_DEFINE(other);
static XCTX_VAR_DEFINE(with_default, .initial = &var);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

TEST(reset_of_the_first_set_leaves_the_variable_unset)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    assert_int_equal(xctx_var_find(&var, NULL), 0);
    assert_int_equal(xctx_lookup(xctx_current(), &var, NULL), 0);
}

TEST(reset_brings_the_previous_value_back)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&var, number(2), &token), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
}

TEST(reset_brings_a_previous_null_back)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&with_default, NULL, NULL), 0);
    assert_int_equal(xctx_var_set(&with_default, number(2), &token), 0);
    assert_int_equal(xctx_var_reset(&with_default, &token), 0);
    assert_null(xctx_var_get(&with_default));
    assert_int_equal(xctx_lookup(xctx_current(), &with_default, NULL), 1);
}

TEST(resets_in_reverse_order_undo_a_stack_of_sets)
{
    enum { DEPTH = 50 };
    xctx_token tokens[DEPTH];
    for (int i = 0; i < DEPTH; i++)
        assert_int_equal(xctx_var_set(&var, number(i + 1), &tokens[i]), 0);
    for (int i = DEPTH; i-- > 0;) {
        assert_int_equal(as_number(xctx_var_get(&var)), i + 1);
        assert_int_equal(xctx_var_reset(&var, &tokens[i]), 0);
    }
    assert_int_equal(xctx_var_find(&var, NULL), 0);
}

TEST(resets_out_of_order_each_bring_back_what_their_set_replaced)
{
    xctx_token first, second, third;
    assert_int_equal(xctx_var_set(&var, number(1), &first), 0);
    assert_int_equal(xctx_var_set(&var, number(2), &second), 0);
    assert_int_equal(xctx_var_set(&var, number(3), &third), 0);
    assert_int_equal(xctx_var_reset(&var, &second), 0);
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
    assert_int_equal(xctx_var_reset(&var, &first), 0);
    assert_int_equal(xctx_var_find(&var, NULL), 0);
    assert_int_equal(xctx_var_reset(&var, &third), 0);
    assert_int_equal(as_number(xctx_var_get(&var)), 2);
}

TEST(resets_out_of_order_keep_counted_values_alive)
{
    xctx_token tokens[3];
    for (int i = 0; i < 3; i++) {
        struct counted *value = counted_new(i);
        assert_int_equal(xctx_var_set(&counted, value, &tokens[i]), 0);
        counted_drop(value);
    }
    assert_int_equal(counted_live(), 3);
    assert_int_equal(xctx_var_reset(&counted, &tokens[1]), 0);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 0);
    assert_int_equal(counted_live(), 2);
    assert_int_equal(xctx_var_reset(&counted, &tokens[0]), 0);
    assert_int_equal(counted_live(), 1);
    assert_int_equal(xctx_var_reset(&counted, &tokens[2]), 0);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
    assert_int_equal(counted_live(), 1);
}

TEST(reset_twice_is_refused_and_changes_nothing)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    assert_int_equal(xctx_var_set(&var, number(2), NULL), 0);
    assert_int_equal(xctx_var_reset(&var, &token), -EALREADY);
    assert_int_equal(as_number(xctx_var_get(&var)), 2);
}

TEST(reset_of_a_dropped_token_is_refused)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    xctx_token_drop(&token);
    assert_int_equal(xctx_var_reset(&var, &token), -EALREADY);
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
}

TEST(reset_with_the_token_of_another_variable_is_refused)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    assert_int_equal(xctx_var_set(&other, number(2), NULL), 0);
    assert_int_equal(xctx_var_reset(&other, &token), -EINVAL);
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
    assert_int_equal(as_number(xctx_var_get(&other)), 2);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
}

TEST(reset_in_another_context_is_refused)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_reset(&var, &token), -EXDEV);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    xctx_unref(context);
}

TEST(reset_in_a_copy_is_refused)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(xctx_var_reset(&var, &token), -EXDEV);
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    xctx_unref(copy);
}

TEST(reset_in_the_original_with_a_token_of_its_copy_is_refused)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(xctx_var_set(&var, number(2), &token), 0);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(xctx_var_reset(&var, &token), -EXDEV);
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
    xctx_token_drop(&token);
    xctx_unref(copy);
}

TEST(reset_checks_for_use_before_the_variable)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    assert_int_equal(xctx_var_reset(&other, &token), -EALREADY);
}

TEST(reset_checks_for_use_before_the_context)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_reset(&var, &token), -EALREADY);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

TEST(reset_checks_for_the_variable_before_the_context)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_reset(&other, &token), -EINVAL);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    xctx_unref(context);
}

TEST(reset_of_null_is_refused_and_leaves_the_token_usable)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    assert_int_equal(xctx_var_reset(NULL, &token), -EINVAL);
    assert_int_equal(xctx_var_reset(&var, NULL), -EINVAL);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
}

TEST(reset_works_in_its_context_after_others_were_entered_and_left)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(xctx_var_set(&var, number(2), NULL), 0);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    assert_int_equal(xctx_var_find(&var, NULL), 0);
    xctx_unref(copy);
}

TEST(reset_works_when_its_context_is_entered_again)
{
    xctx_token token;
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_var_reset(&var, &token), -EXDEV);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_reset(&var, &token), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

struct foreign {
    xctx_context *context;
    xctx_token token;
};

static void *set_in_context(void *arg)
{
    struct foreign *foreign = arg;
    CHECK(xctx_enter(foreign->context) == 0);
    CHECK(xctx_var_set(&var, number(1), &foreign->token) == 0);
    CHECK(xctx_exit(foreign->context) == 0);
    return NULL;
}

TEST(reset_works_on_another_thread_that_entered_the_context)
{
    struct foreign foreign = {.context = xctx_new()};
    on_thread(set_in_context, &foreign);
    assert_int_equal(xctx_enter(foreign.context), 0);
    assert_int_equal(as_number(xctx_var_get(&var)), 1);
    assert_int_equal(xctx_var_reset(&var, &foreign.token), 0);
    assert_int_equal(xctx_var_find(&var, NULL), 0);
    assert_int_equal(xctx_exit(foreign.context), 0);
    xctx_unref(foreign.context);
}

/* A context at the address of one that is gone is another context. */
TEST(reset_in_a_context_that_took_the_place_of_the_tokens_is_refused)
{
    enum { TRIES = 64 };
    xctx_token token;
    xctx_context *tried[TRIES];
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&var, number(1), &token), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    for (int i = 0; i < TRIES; i++) {
        tried[i] = xctx_new();
        assert_int_equal(xctx_enter(tried[i]), 0);
        assert_int_equal(xctx_var_reset(&var, &token), -EXDEV);
        assert_int_equal(xctx_exit(tried[i]), 0);
    }
    for (int i = 0; i < TRIES; i++)
        xctx_unref(tried[i]);
    xctx_token_drop(&token);
}

TEST(token_holds_the_old_value_until_reset)
{
    xctx_token token;
    counted_set(&counted, 1);
    struct counted *second = counted_new(2);
    assert_int_equal(xctx_var_set(&counted, second, &token), 0);
    assert_int_equal(counted_live(), 2);
    assert_int_equal(xctx_var_reset(&counted, &token), 0);
    assert_int_equal(counted_refs(second), 1);
    counted_drop(second);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
}

TEST(token_holds_the_old_value_after_its_context_went)
{
    xctx_token token;
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 1);
    assert_int_equal(xctx_var_set(&counted, NULL, &token), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    assert_int_equal(counted_live(), 1);
    xctx_token_drop(&token);
    assert_int_equal(counted_live(), 0);
}

TEST(token_drop_keeps_the_value_and_releases_the_old_one)
{
    xctx_token token;
    counted_set(&counted, 1);
    struct counted *second = counted_new(2);
    assert_int_equal(xctx_var_set(&counted, second, &token), 0);
    counted_drop(second);
    xctx_token_drop(&token);
    assert_int_equal(counted_live(), 1);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 2);
}

TEST(token_drop_of_null_and_of_used_tokens_does_nothing)
{
    xctx_token dropped, used;
    counted_set(&counted, 1);
    assert_int_equal(xctx_var_set(&counted, NULL, &dropped), 0);
    assert_int_equal(xctx_var_set(&counted, NULL, &used), 0);
    assert_int_equal(xctx_var_reset(&counted, &used), 0);
    xctx_token_drop(&dropped);
    assert_int_equal(counted_live(), 0);
    counted_reset();
    xctx_token_drop(NULL);
    xctx_token_drop(&dropped);
    xctx_token_drop(&used);
    assert_int_equal(counted_released, 0);
}

static void *drop_token(void *arg)
{
    xctx_token_drop(arg);
    return number(counted_live());
}

TEST(token_drop_on_another_thread_releases_the_old_value_there)
{
    xctx_token token;
    counted_set(&counted, 1);
    assert_int_equal(xctx_var_set(&counted, NULL, &token), 0);
    assert_int_equal(counted_live(), 1);
    assert_int_equal(as_number(on_thread(drop_token, &token)), 0);
    assert_int_equal(xctx_var_reset(&counted, &token), -EALREADY);
}

TEST(token_can_be_used_for_another_set_after_reset)
{
    xctx_token token;
    for (int i = 0; i < 10; i++) {
        assert_int_equal(xctx_var_set(&var, number(i), &token), 0);
        assert_int_equal(xctx_var_reset(&var, &token), 0);
    }
    assert_int_equal(xctx_var_find(&var, NULL), 0);
}

TEST(failed_reset_releases_nothing)
{
    xctx_token token;
    counted_set(&counted, 1);
    assert_int_equal(xctx_var_set(&counted, NULL, &token), 0);
    xctx_context *copy = xctx_copy_current();
    counted_reset();
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(xctx_var_reset(&counted, &token), -EXDEV);
    assert_int_equal(xctx_var_reset(&var, &token), -EINVAL);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(counted_released, 0);
    assert_int_equal(xctx_var_reset(&counted, &token), 0);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
    xctx_unref(copy);
}

TEST(reset_after_the_map_was_shared_with_a_copy_leaves_the_copy_alone)
{
    xctx_token token;
    void *value = NULL;
    counted_set(&counted, 1);
    struct counted *second = counted_new(2);
    assert_int_equal(xctx_var_set(&counted, second, &token), 0);
    counted_drop(second);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_var_reset(&counted, &token), 0);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
    assert_int_equal(xctx_lookup(copy, &counted, &value), 1);
    assert_int_equal(counted_number(value), 2);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 1);
}

int main(void)
{
    return test_main("tokens");
}
