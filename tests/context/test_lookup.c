/* SPDX-License-Identifier: MIT */
/* Looking into a context: lookup, count, each, equal. */
#include "../support/counted.h"

static XCTX_VAR_DEFINE(first);
static XCTX_VAR_DEFINE(second);
static XCTX_VAR_DEFINE(third);
static XCTX_VAR_DEFINE(with_default, .initial = &first);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

/* Numbers the variables: `first` is first used before `second`, and so on. */
static void use_in_order(void)
{
    xctx_token token;
    xctx_var *order[] = {&first, &second, &third, &with_default};
    for (int i = 0; i < 4; i++) {
        assert_int_equal(xctx_var_set(order[i], NULL, &token), 0);
        assert_int_equal(xctx_var_reset(order[i], &token), 0);
    }
}

TEST(lookup_of_a_set_variable_gives_its_value)
{
    void *value = NULL;
    assert_int_equal(xctx_var_set(&first, number(3), NULL), 0);
    assert_int_equal(xctx_lookup(xctx_current(), &first, &value), 1);
    assert_int_equal(as_number(value), 3);
}

TEST(lookup_of_an_unset_variable_gives_0_and_writes_nothing)
{
    void *value = &value;
    assert_int_equal(xctx_lookup(xctx_current(), &first, &value), 0);
    assert_ptr_equal(value, &value);
}

TEST(lookup_ignores_defaults)
{
    void *value = &value;
    assert_int_equal(xctx_lookup(xctx_current(), &with_default, &value), 0);
    assert_ptr_equal(value, &value);
}

TEST(lookup_of_a_variable_set_to_null_gives_1)
{
    void *value = &value;
    assert_int_equal(xctx_var_set(&first, NULL, NULL), 0);
    assert_int_equal(xctx_lookup(xctx_current(), &first, &value), 1);
    assert_null(value);
}

TEST(lookup_without_a_place_for_the_value_tells_whether_it_is_set)
{
    assert_int_equal(xctx_var_set(&first, number(3), NULL), 0);
    assert_int_equal(xctx_lookup(xctx_current(), &first, NULL), 1);
    assert_int_equal(xctx_lookup(xctx_current(), &second, NULL), 0);
}

TEST(lookup_of_null_is_refused)
{
    void *value = &value;
    assert_int_equal(xctx_lookup(NULL, &first, &value), -EINVAL);
    assert_int_equal(xctx_lookup(xctx_current(), NULL, &value), -EINVAL);
    assert_ptr_equal(value, &value);
}

TEST(lookup_of_a_variable_that_was_never_used_gives_0)
{
    xctx_var *unused = xctx_var_create("unused", NULL);
    assert_int_equal(xctx_lookup(xctx_current(), unused, NULL), 0);
    xctx_var_unref(unused);
}

TEST(count_of_null_is_0)
{
    assert_int_equal(xctx_count(NULL), 0);
}

TEST(count_follows_set_and_reset)
{
    xctx_token one, two;
    assert_int_equal(xctx_count(xctx_current()), 0);
    assert_int_equal(xctx_var_set(&first, number(1), &one), 0);
    assert_int_equal(xctx_count(xctx_current()), 1);
    assert_int_equal(xctx_var_set(&second, NULL, &two), 0);
    assert_int_equal(xctx_count(xctx_current()), 2);
    assert_int_equal(xctx_var_set(&first, number(2), NULL), 0);
    assert_int_equal(xctx_count(xctx_current()), 2);
    assert_int_equal(xctx_var_reset(&second, &two), 0);
    assert_int_equal(xctx_count(xctx_current()), 1);
    assert_int_equal(xctx_var_reset(&first, &one), 0);
    assert_int_equal(xctx_count(xctx_current()), 0);
}

struct visits {
    int count;
    int stop_at;
    xctx_var *vars[8];
    void *values[8];
};

static int visit(xctx_var *var, void *value, void *user)
{
    struct visits *visits = user;
    CHECK(visits->count < 8);
    visits->vars[visits->count] = var;
    visits->values[visits->count] = value;
    return ++visits->count == visits->stop_at ? 77 : 0;
}

TEST(each_of_an_empty_context_calls_nothing)
{
    struct visits visits = {0};
    assert_int_equal(xctx_each(xctx_current(), visit, &visits), 0);
    assert_int_equal(visits.count, 0);
}

TEST(each_visits_in_the_order_of_first_use)
{
    struct visits visits = {0};
    use_in_order();
    assert_int_equal(xctx_var_set(&third, number(3), NULL), 0);
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&second, NULL, NULL), 0);
    assert_int_equal(xctx_each(xctx_current(), visit, &visits), 0);
    assert_int_equal(visits.count, 3);
    assert_ptr_equal(visits.vars[0], &first);
    assert_ptr_equal(visits.vars[1], &second);
    assert_ptr_equal(visits.vars[2], &third);
    assert_int_equal(as_number(visits.values[0]), 1);
    assert_null(visits.values[1]);
    assert_int_equal(as_number(visits.values[2]), 3);
}

TEST(each_stops_at_what_is_not_zero_and_returns_it)
{
    struct visits visits = {.stop_at = 2};
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&second, number(2), NULL), 0);
    assert_int_equal(xctx_var_set(&third, number(3), NULL), 0);
    assert_int_equal(xctx_each(xctx_current(), visit, &visits), 77);
    assert_int_equal(visits.count, 2);
}

TEST(each_of_null_is_refused)
{
    struct visits visits = {0};
    assert_int_equal(xctx_each(NULL, visit, &visits), -EINVAL);
    assert_int_equal(xctx_each(xctx_current(), NULL, &visits), -EINVAL);
    assert_int_equal(visits.count, 0);
}

static int change_everything(xctx_var *var, void *value, void *user)
{
    CHECK(xctx_var_set(&first, number(100), NULL) == 0);
    CHECK(xctx_var_set(&second, number(200), NULL) == 0);
    CHECK(xctx_var_set(&third, number(300), NULL) == 0);
    return visit(var, value, user);
}

TEST(each_does_not_see_changes_that_are_made_meanwhile)
{
    struct visits visits = {0};
    use_in_order();
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&second, number(2), NULL), 0);
    assert_int_equal(xctx_each(xctx_current(), change_everything, &visits), 0);
    assert_int_equal(visits.count, 2);
    assert_int_equal(as_number(visits.values[0]), 1);
    assert_int_equal(as_number(visits.values[1]), 2);
    assert_int_equal(as_number(xctx_var_get(&third)), 300);
}

static int replace_and_read(xctx_var *var, void *value, void *user)
{
    long before = counted_number(value);
    counted_set(var, before + 1);
    CHECK(counted_number(value) == before);
    *(long *)user = before;
    return 0;
}

TEST(each_keeps_values_alive_that_are_replaced_meanwhile)
{
    long seen = 0;
    counted_set(&counted, 5);
    assert_int_equal(xctx_each(xctx_current(), replace_and_read, &seen), 0);
    assert_int_equal(seen, 5);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 6);
    assert_int_equal(counted_live(), 1);
}

static int unref_context(xctx_var *var, void *value, void *user)
{
    (void)var;
    xctx_context **context = user;
    *context = xctx_unref(*context);
    CHECK(counted_number(value) == 8);
    return 0;
}

TEST(each_keeps_values_alive_of_a_context_that_goes_meanwhile)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 8);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_each(context, unref_context, &context), 0);
    assert_null(context);
    assert_int_equal(counted_live(), 0);
}

TEST(null_equals_only_null)
{
    assert_true(xctx_equal(NULL, NULL));
    assert_false(xctx_equal(NULL, xctx_current()));
    assert_false(xctx_equal(xctx_current(), NULL));
}

TEST(context_equals_itself_and_its_copy)
{
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_true(xctx_equal(copy, copy));
    assert_true(xctx_equal(copy, xctx_current()));
    xctx_unref(copy);
}

TEST(empty_contexts_are_equal)
{
    xctx_context *a = xctx_new();
    xctx_context *b = xctx_new();
    assert_true(xctx_equal(a, b));
    xctx_unref(a);
    xctx_unref(b);
}

TEST(contexts_with_different_values_are_not_equal)
{
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_var_set(&first, number(2), NULL), 0);
    assert_false(xctx_equal(copy, xctx_current()));
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    assert_true(xctx_equal(copy, xctx_current()));
    xctx_unref(copy);
}

TEST(contexts_with_different_variables_are_not_equal)
{
    xctx_context *other = xctx_copy_current();
    assert_int_equal(xctx_var_set(&first, number(1), NULL), 0);
    assert_false(xctx_equal(other, xctx_current()));
    assert_int_equal(xctx_enter(other), 0);
    assert_int_equal(xctx_var_set(&second, number(1), NULL), 0);
    assert_int_equal(xctx_exit(other), 0);
    assert_false(xctx_equal(other, xctx_current()));
    assert_false(xctx_equal(xctx_current(), other));
    xctx_unref(other);
}

TEST(variable_set_to_null_differs_from_one_that_is_not_set)
{
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_var_set(&first, NULL, NULL), 0);
    assert_false(xctx_equal(copy, xctx_current()));
    assert_false(xctx_equal(xctx_current(), copy));
    xctx_unref(copy);
}

int main(void)
{
    return test_main("looking into contexts");
}
