/* SPDX-License-Identifier: MIT */
/* What copying a context does with a variable: share, clone, none. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(shared, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(none, .flow = XCTX_FLOW_NONE, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(none_with_default, .flow = XCTX_FLOW_NONE, .initial = &none);

static atomic_int clones;

static void *clone_counted(void *value)
{
    atomic_fetch_add(&clones, 1);
    return counted_clone(value);
}

static XCTX_VAR_DEFINE(cloned, .flow = XCTX_FLOW_CLONE, .retain = counted_retain, .release = counted_release,
                       .clone = clone_counted);

static void *clone_fails(void *value)
{
    (void)value;
    return NULL;
}

static XCTX_VAR_DEFINE(uncloneable, .flow = XCTX_FLOW_CLONE, .retain = counted_retain, .release = counted_release,
                       .clone = clone_fails);

static void *look_up(xctx_context *context, xctx_var *var)
{
    void *value = NULL;
    return xctx_lookup(context, var, &value) == 1 ? value : NULL;
}

TEST(shared_value_is_the_same_in_a_copy)
{
    counted_set(&shared, 1);
    xctx_context *copy = xctx_copy_current();
    assert_ptr_equal(look_up(copy, &shared), xctx_var_get(&shared));
    xctx_unref(copy);
}

TEST(cloned_value_is_another_in_copy_current)
{
    counted_set(&cloned, 1);
    xctx_context *copy = xctx_copy_current();
    assert_ptr_not_equal(look_up(copy, &cloned), xctx_var_get(&cloned));
    assert_int_equal(counted_number(look_up(copy, &cloned)), 1);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 1);
}

TEST(cloned_value_is_another_in_copy)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&cloned, 1);
    assert_int_equal(xctx_exit(context), 0);
    xctx_context *copy = xctx_copy(context);
    assert_ptr_not_equal(look_up(copy, &cloned), look_up(context, &cloned));
    xctx_unref(context);
    assert_int_equal(counted_number(look_up(copy, &cloned)), 1);
    xctx_unref(copy);
}

TEST(clone_is_called_once_for_each_copy)
{
    counted_set(&cloned, 1);
    atomic_store(&clones, 0);
    for (int i = 0; i < 5; i++)
        xctx_unref(xctx_copy_current());
    assert_int_equal(clones, 5);
}

TEST(clone_is_not_called_where_the_variable_is_not_set)
{
    counted_set(&cloned, 1);
    atomic_store(&clones, 0);
    xctx_context *context = xctx_new();
    xctx_unref(xctx_copy(context));
    xctx_unref(context);
    assert_int_equal(clones, 0);
}

TEST(clone_is_called_for_a_value_that_xctx_let_bound)
{
    xctx_context *copy = NULL;
    struct counted *value = counted_new(3);
    XCTX_LET (&cloned, value) {
        copy = xctx_copy_current();
        assert_ptr_not_equal(look_up(copy, &cloned), value);
    }
    counted_drop(value);
    assert_int_equal(counted_number(look_up(copy, &cloned)), 3);
    xctx_unref(copy);
}

TEST(copy_of_a_copy_clones_again)
{
    counted_set(&cloned, 1);
    xctx_context *copy = xctx_copy_current();
    xctx_context *grandchild = xctx_copy(copy);
    assert_ptr_not_equal(look_up(copy, &cloned), look_up(grandchild, &cloned));
    assert_ptr_not_equal(xctx_var_get(&cloned), look_up(grandchild, &cloned));
    xctx_unref(copy);
    xctx_unref(grandchild);
}

TEST(copy_whose_clone_fails_is_null_and_changes_nothing)
{
    counted_set(&shared, 1);
    counted_set(&cloned, 2);
    counted_set(&uncloneable, 3);
    assert_null(xctx_copy_current());
    assert_null(xctx_copy(xctx_current()));
    assert_int_equal(counted_live(), 3);
    assert_int_equal(counted_number(xctx_var_get(&shared)), 1);
    assert_int_equal(counted_number(xctx_var_get(&cloned)), 2);
    assert_int_equal(counted_number(xctx_var_get(&uncloneable)), 3);
}

TEST(variable_with_flow_none_is_not_in_copies)
{
    counted_set(&none, 1);
    counted_set(&shared, 2);
    xctx_context *copy = xctx_copy_current();
    assert_null(look_up(copy, &none));
    assert_int_equal(xctx_lookup(copy, &none, NULL), 0);
    assert_int_equal(xctx_count(copy), 1);
    assert_int_equal(counted_number(xctx_var_get(&none)), 1);
    xctx_unref(copy);
}

TEST(variable_with_flow_none_bound_by_xctx_let_is_not_in_copies)
{
    struct counted *value = counted_new(3);
    XCTX_LET (&none, value) {
        xctx_context *copy = xctx_copy_current();
        assert_int_equal(xctx_lookup(copy, &none, NULL), 0);
        assert_ptr_equal(xctx_var_get(&none), value);
        xctx_unref(copy);
    }
    counted_drop(value);
}

TEST(variable_with_flow_none_has_its_default_in_copies)
{
    assert_int_equal(xctx_var_set(&none_with_default, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_enter(copy), 0);
    assert_ptr_equal(xctx_var_get(&none_with_default), &none);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(as_number(xctx_var_get(&none_with_default)), 1);
    xctx_unref(copy);
}

TEST(variable_with_flow_none_set_in_a_copy_stays_there)
{
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_enter(copy), 0);
    counted_set(&none, 4);
    assert_int_equal(xctx_exit(copy), 0);
    assert_int_equal(xctx_var_find(&none, NULL), 0);
    assert_int_equal(counted_number(look_up(copy, &none)), 4);
    xctx_unref(copy);
}

TEST(flows_hold_after_the_variable_was_reset)
{
    xctx_token token;
    struct counted *value = counted_new(1);
    assert_int_equal(xctx_var_set(&cloned, value, &token), 0);
    counted_drop(value);
    assert_int_equal(xctx_var_reset(&cloned, &token), 0);
    atomic_store(&clones, 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_lookup(copy, &cloned, NULL), 0);
    assert_int_equal(clones, 0);
    xctx_unref(copy);
}

static void *copy_there(void *context)
{
    return xctx_copy(context);
}

TEST(flows_hold_when_another_thread_copies)
{
    counted_set(&none, 1);
    counted_set(&cloned, 2);
    counted_set(&shared, 3);
    xctx_context *copy = on_thread(copy_there, xctx_current());
    assert_int_equal(xctx_count(copy), 2);
    assert_ptr_equal(look_up(copy, &shared), xctx_var_get(&shared));
    assert_ptr_not_equal(look_up(copy, &cloned), xctx_var_get(&cloned));
    xctx_unref(copy);
}

/* What a bound function or a new thread sees of the variables. */
struct sight {
    void *shared;
    void *none;
    void *cloned;
    long cloned_number;
};

static void *see(void *arg)
{
    struct sight *sight = arg;
    sight->shared = xctx_var_get(&shared);
    sight->none = xctx_var_get(&none);
    sight->cloned = xctx_var_get(&cloned);
    sight->cloned_number = counted_number(sight->cloned);
    ((struct counted *)sight->cloned)->number++;
    return NULL;
}

TEST(flows_hold_for_bound_functions)
{
    struct sight sight = {0};
    counted_set(&shared, 1);
    counted_set(&none, 2);
    counted_set(&cloned, 3);
    xctx_bound *bound = xctx_bind(see, &sight);
    for (int i = 0; i < 3; i++) {
        xctx_bound_call(bound);
        assert_ptr_equal(sight.shared, xctx_var_get(&shared));
        assert_null(sight.none);
        assert_ptr_not_equal(sight.cloned, xctx_var_get(&cloned));
        assert_int_equal(sight.cloned_number, 3);
    }
    xctx_bound_unref(bound);
    assert_int_equal(counted_number(xctx_var_get(&cloned)), 3);
    assert_int_equal(counted_live(), 3);
}

TEST(bind_whose_clone_fails_is_null)
{
    struct sight sight = {0};
    counted_set(&uncloneable, 3);
    assert_null(xctx_bind(see, &sight));
    assert_int_equal(counted_live(), 1);
}

TEST(flows_hold_for_new_threads)
{
    struct sight sight = {0};
    pthread_t thread;
    counted_set(&shared, 1);
    counted_set(&none, 2);
    counted_set(&cloned, 3);
    assert_int_equal(xctx_thread_create(&thread, NULL, see, &sight), 0);
    join(thread);
    assert_ptr_equal(sight.shared, xctx_var_get(&shared));
    assert_null(sight.none);
    assert_ptr_not_equal(sight.cloned, xctx_var_get(&cloned));
    assert_int_equal(sight.cloned_number, 3);
    assert_int_equal(counted_live(), 3);
}

int main(void)
{
    return test_main("flows");
}
