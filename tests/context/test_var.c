/* SPDX-License-Identifier: MIT */
/* Variables: made, named, set, got, found; defaults. */
#include "../support/counted.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(with_default, .initial = &plain);
static XCTX_VAR_DEFINE(two_options, .initial = &plain, .flow = XCTX_FLOW_NONE);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);
XCTX_VAR_DECLARE(shown_elsewhere);
XCTX_VAR_DEFINE(shown_elsewhere);

TEST(defined_variable_has_its_name)
{
    assert_string_equal(xctx_var_name(&plain), "plain");
    assert_string_equal(xctx_var_name(&shown_elsewhere), "shown_elsewhere");
}

TEST(defined_variable_has_its_options)
{
    const xctx_var_options *options = xctx_var_get_options(&two_options);
    assert_non_null(options);
    assert_int_equal(options->size, sizeof(xctx_var_options));
    assert_ptr_equal(options->initial, &plain);
    assert_int_equal(options->flow, XCTX_FLOW_NONE);
    assert_null(options->retain);
}

TEST(created_variable_has_a_copy_of_its_name)
{
    char name[] = "changing";
    xctx_var *var = xctx_var_create(name, NULL);
    name[0] = 'X';
    assert_string_equal(xctx_var_name(var), "changing");
    xctx_var_unref(var);
}

TEST(created_variable_without_a_name_is_called_nothing)
{
    xctx_var *var = xctx_var_create(NULL, NULL);
    assert_string_equal(xctx_var_name(var), "");
    xctx_var_unref(var);
}

TEST(created_variable_has_a_copy_of_its_options)
{
    xctx_var_options options = {.size = sizeof(options), .initial = &plain};
    xctx_var *var = xctx_var_create("copied", &options);
    options.initial = NULL;
    assert_ptr_equal(xctx_var_get(var), &plain);
    assert_ptr_equal(xctx_var_get_options(var)->initial, &plain);
    xctx_var_unref(var);
}

TEST(created_variable_takes_size_0_for_the_first_size)
{
    xctx_var_options options = {.initial = &plain};
    xctx_var *var = xctx_var_create("sizeless", &options);
    assert_non_null(var);
    assert_ptr_equal(xctx_var_get(var), &plain);
    xctx_var_unref(var);
}

TEST(var_create_with_an_unknown_size_is_refused)
{
    xctx_var_options options = {.size = sizeof(options) + 1000};
    assert_null(xctx_var_create("too large", &options));
    options.size = 1;
    assert_null(xctx_var_create("too small", &options));
}

TEST(var_create_with_an_unknown_flow_is_refused)
{
    xctx_var_options options = {.size = sizeof(options), .flow = (enum xctx_flow)3};
    assert_null(xctx_var_create("flow", &options));
}

TEST(var_create_with_flow_clone_and_nothing_to_clone_with_is_refused)
{
    xctx_var_options options = {.size = sizeof(options), .flow = XCTX_FLOW_CLONE};
    assert_null(xctx_var_create("clone", &options));
    options.clone = counted_clone;
    xctx_var *var = xctx_var_create("clone", &options);
    assert_non_null(var);
    xctx_var_unref(var);
}

static void *enter_nothing(void *value)
{
    return value;
}

static void leave_nothing(void *saved)
{
    (void)saved;
}

TEST(var_create_with_only_one_of_enter_and_leave_is_refused)
{
    xctx_var_options options = {.size = sizeof(options), .enter = enter_nothing};
    assert_null(xctx_var_create("enter", &options));
    options = (xctx_var_options){.size = sizeof(options), .leave = leave_nothing};
    assert_null(xctx_var_create("leave", &options));
}

static XCTX_VAR_DEFINE(wrong_flow, .flow = XCTX_FLOW_CLONE);
static XCTX_VAR_DEFINE(wrong_hooks, .enter = enter_nothing);

TEST(var_set_of_a_defined_variable_with_wrong_options_is_refused)
{
    xctx_token token, untouched;
    memset(&token, 0xa5, sizeof(token));
    memcpy(&untouched, &token, sizeof(token));
    assert_int_equal(xctx_var_set(&wrong_flow, number(1), &token), -EINVAL);
    assert_int_equal(xctx_var_set(&wrong_hooks, number(1), &token), -EINVAL);
    assert_memory_equal(&token, &untouched, sizeof(token));
    assert_int_equal(xctx_count(xctx_current()), 0);
}

TEST(created_variables_of_one_name_are_different)
{
    xctx_var *one = xctx_var_create("same", NULL);
    xctx_var *two = xctx_var_create("same", NULL);
    assert_int_equal(xctx_var_set(one, number(1), NULL), 0);
    assert_int_equal(xctx_var_find(two, NULL), 0);
    xctx_var_unref(one);
    xctx_var_unref(two);
}

TEST(var_unref_leaves_the_values_in_contexts)
{
    xctx_var_options options = {.size = sizeof(options), .retain = counted_retain, .release = counted_release};
    xctx_var *var = xctx_var_create("gone", &options);
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(var, 1);
    assert_int_equal(xctx_exit(context), 0);
    assert_null(xctx_var_unref(var));
    assert_int_equal(xctx_count(context), 1);
    assert_int_equal(counted_live(), 1);
    xctx_unref(context);
    assert_int_equal(counted_live(), 0);
}

TEST(var_ref_keeps_a_created_variable)
{
    xctx_var *var = xctx_var_create("kept", NULL);
    assert_ptr_equal(xctx_var_ref(var), var);
    assert_null(xctx_var_unref(var));
    assert_string_equal(xctx_var_name(var), "kept");
    assert_null(xctx_var_unref(var));
}

TEST(var_ref_and_unref_of_defined_variables_and_null_do_nothing)
{
    assert_ptr_equal(xctx_var_ref(&plain), &plain);
    for (int i = 0; i < 3; i++)
        assert_null(xctx_var_unref(&plain));
    assert_null(xctx_var_ref(NULL));
    assert_null(xctx_var_unref(NULL));
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
}

TEST(name_and_options_of_null_are_empty)
{
    assert_string_equal(xctx_var_name(NULL), "");
    assert_null(xctx_var_get_options(NULL));
}

TEST(get_of_an_unset_variable_gives_null)
{
    assert_null(xctx_var_get(&plain));
}

TEST(get_of_an_unset_variable_gives_its_default)
{
    assert_ptr_equal(xctx_var_get(&with_default), &plain);
}

TEST(get_of_a_set_variable_prefers_the_value_to_the_default)
{
    assert_int_equal(xctx_var_set(&with_default, number(1), NULL), 0);
    assert_int_equal(as_number(xctx_var_get(&with_default)), 1);
}

TEST(get_of_a_variable_set_to_null_prefers_null_to_the_default)
{
    assert_int_equal(xctx_var_set(&with_default, NULL, NULL), 0);
    assert_null(xctx_var_get(&with_default));
}

TEST(get_of_a_reset_variable_gives_the_default_again)
{
    xctx_token token;
    assert_int_equal(xctx_var_set(&with_default, number(1), &token), 0);
    assert_int_equal(xctx_var_reset(&with_default, &token), 0);
    assert_ptr_equal(xctx_var_get(&with_default), &plain);
}

TEST(get_does_not_put_the_default_into_the_context)
{
    assert_ptr_equal(xctx_var_get(&with_default), &plain);
    assert_int_equal(xctx_count(xctx_current()), 0);
}

static XCTX_VAR_DEFINE(counted_default, .initial = &plain, .retain = counted_retain, .release = counted_release);

TEST(default_is_never_retained_or_released)
{
    counted_reset();
    assert_ptr_equal(xctx_var_get(&counted_default), &plain);
    xctx_unref(xctx_copy_current());
    assert_int_equal(counted_retained, 0);
    assert_int_equal(counted_released, 0);
}

TEST(find_of_an_unset_variable_gives_0_and_writes_nothing)
{
    void *value = &value;
    assert_int_equal(xctx_var_find(&plain, &value), 0);
    assert_ptr_equal(value, &value);
}

TEST(find_of_an_unset_variable_with_a_default_gives_1)
{
    void *value = NULL;
    assert_int_equal(xctx_var_find(&with_default, &value), 1);
    assert_ptr_equal(value, &plain);
}

TEST(find_tells_a_variable_set_to_null_from_an_unset_one)
{
    void *value = &value;
    assert_int_equal(xctx_var_set(&plain, NULL, NULL), 0);
    assert_int_equal(xctx_var_find(&plain, &value), 1);
    assert_null(value);
}

TEST(find_of_null_is_refused)
{
    void *value = &value;
    assert_int_equal(xctx_var_find(NULL, &value), -EINVAL);
    assert_ptr_equal(value, &value);
}

TEST(find_without_a_place_for_the_value_tells_whether_there_is_one)
{
    assert_int_equal(xctx_var_find(&plain, NULL), 0);
    assert_int_equal(xctx_var_find(&with_default, NULL), 1);
}

TEST(set_of_null_variable_is_refused_and_touches_no_token)
{
    xctx_token token, untouched;
    memset(&token, 0xa5, sizeof(token));
    memcpy(&untouched, &token, sizeof(token));
    assert_int_equal(xctx_var_set(NULL, number(1), &token), -EINVAL);
    assert_memory_equal(&token, &untouched, sizeof(token));
}

TEST(set_replaces_the_value)
{
    for (int i = 0; i < 100; i++) {
        assert_int_equal(xctx_var_set(&plain, number(i), NULL), 0);
        assert_int_equal(as_number(xctx_var_get(&plain)), i);
    }
    assert_int_equal(xctx_count(xctx_current()), 1);
}

static void *retain_fails(void *value)
{
    return as_number(value) < 0 ? NULL : counted_retain(value);
}

static XCTX_VAR_DEFINE(failing, .retain = retain_fails, .release = counted_release);

TEST(set_whose_retain_fails_changes_nothing)
{
    xctx_token token, untouched;
    memset(&token, 0xa5, sizeof(token));
    memcpy(&untouched, &token, sizeof(token));
    counted_set(&failing, 1);
    void *before = xctx_var_get(&failing);
    assert_int_equal(xctx_var_set(&failing, number(-1), &token), -ENOMEM);
    assert_ptr_equal(xctx_var_get(&failing), before);
    assert_int_equal(counted_number(before), 1);
    assert_memory_equal(&token, &untouched, sizeof(token));
}

static void *retain_copy(void *value)
{
    struct counted *copy = counted_new(counted_number(value));
    return copy;
}

static XCTX_VAR_DEFINE(copied, .retain = retain_copy, .release = counted_release);

TEST(context_holds_what_retain_returned)
{
    struct counted *mine = counted_new(7);
    assert_int_equal(xctx_var_set(&copied, mine, NULL), 0);
    assert_ptr_not_equal(xctx_var_get(&copied), mine);
    counted_drop(mine);
    assert_int_equal(counted_number(xctx_var_get(&copied)), 7);
}

TEST(retain_and_release_are_not_called_for_null)
{
    counted_reset();
    assert_int_equal(xctx_var_set(&counted, NULL, NULL), 0);
    assert_int_equal(xctx_var_set(&counted, NULL, NULL), 0);
    xctx_unref(xctx_copy_current());
    assert_int_equal(counted_retained, 0);
    assert_int_equal(counted_released, 0);
}

int main(void)
{
    return test_main("variables");
}
