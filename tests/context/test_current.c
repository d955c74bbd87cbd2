/* SPDX-License-Identifier: MIT */
/* The current context: made when it is first needed, and made by nothing else. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(with_default, .initial = &plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static void *report_current(void *arg)
{
    (void)arg;
    return xctx_current();
}

TEST(current_on_fresh_thread_is_null)
{
    assert_null(on_thread(report_current, NULL));
}

static void *get_on_fresh_thread(void *arg)
{
    (void)arg;
    CHECK(xctx_var_get(&plain) == NULL);
    CHECK(xctx_var_get(&with_default) == &plain);
    return xctx_current();
}

TEST(var_get_on_fresh_thread_creates_no_context)
{
    assert_null(on_thread(get_on_fresh_thread, NULL));
}

static void *find_on_fresh_thread(void *arg)
{
    void *value = arg;
    CHECK(xctx_var_find(&plain, &value) == 0);
    CHECK(value == arg);
    CHECK(xctx_var_find(&with_default, &value) == 1);
    CHECK(value == &plain);
    return xctx_current();
}

TEST(var_find_on_fresh_thread_creates_no_context)
{
    assert_null(on_thread(find_on_fresh_thread, NULL));
}

static void *new_on_fresh_thread(void *arg)
{
    (void)arg;
    xctx_context *context = xctx_new();
    xctx_context *copy = xctx_copy(context);
    CHECK(context && copy);
    xctx_unref(context);
    xctx_unref(copy);
    return xctx_current();
}

TEST(new_and_copy_on_fresh_thread_make_no_current_context)
{
    assert_null(on_thread(new_on_fresh_thread, NULL));
}

static void *set_on_fresh_thread(void *arg)
{
    CHECK(xctx_var_set(&plain, arg, NULL) == 0);
    CHECK(xctx_current() != NULL);
    CHECK(xctx_var_get(&plain) == arg);
    return NULL;
}

TEST(var_set_on_fresh_thread_creates_the_context)
{
    on_thread(set_on_fresh_thread, number(7));
}

static void *let_on_fresh_thread(void *arg)
{
    int ran = 0;
    XCTX_LET (&plain, arg) {
        CHECK(xctx_current() != NULL);
        CHECK(xctx_var_get(&plain) == arg);
        ran = 1;
    }
    CHECK(ran);
    CHECK(xctx_var_find(&plain, NULL) == 0);
    return NULL;
}

TEST(let_on_fresh_thread_creates_the_context)
{
    on_thread(let_on_fresh_thread, number(7));
}

static void *copy_current_on_fresh_thread(void *arg)
{
    (void)arg;
    xctx_context *copy = xctx_copy_current();
    CHECK(copy != NULL);
    CHECK(xctx_current() != NULL);
    CHECK(xctx_current() != copy);
    CHECK(xctx_count(copy) == 0);
    xctx_unref(copy);
    return NULL;
}

TEST(copy_current_on_fresh_thread_creates_the_context)
{
    on_thread(copy_current_on_fresh_thread, NULL);
}

static void *current_twice(void *arg)
{
    CHECK(xctx_var_set(&plain, arg, NULL) == 0);
    xctx_context *current = xctx_current();
    CHECK(xctx_var_set(&with_default, arg, NULL) == 0);
    CHECK(xctx_current() == current);
    return NULL;
}

TEST(current_context_made_lazily_stays_the_same)
{
    on_thread(current_twice, number(1));
}

static void *enter_first(void *arg)
{
    xctx_context *context = arg;
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_current() == context);
    CHECK(xctx_exit(context) == 0);
    return xctx_current();
}

TEST(exit_of_first_context_on_fresh_thread_leaves_none)
{
    xctx_context *context = xctx_new();
    assert_null(on_thread(enter_first, context));
    xctx_unref(context);
}

static void *set_and_report(void *arg)
{
    CHECK(xctx_var_set(&plain, arg, NULL) == 0);
    return xctx_var_get(&plain);
}

TEST(var_set_on_one_thread_is_not_seen_on_another)
{
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    assert_int_equal(as_number(on_thread(set_and_report, number(2))), 2);
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
}

static void *set_counted(void *arg)
{
    CHECK(xctx_var_set(&counted, arg, NULL) == 0);
    return NULL;
}

TEST(values_of_lazy_context_are_released_when_the_thread_ends)
{
    struct counted *value = counted_new(1);
    on_thread(set_counted, value);
    assert_int_equal(counted_refs(value), 1);
    counted_drop(value);
}

static void *ref_lazy_context(void *arg)
{
    CHECK(xctx_var_set(&plain, arg, NULL) == 0);
    return xctx_ref(xctx_current());
}

TEST(lazy_context_outlives_its_thread_while_referenced)
{
    xctx_context *context = on_thread(ref_lazy_context, number(3));
    void *value = NULL;
    assert_int_equal(xctx_lookup(context, &plain, &value), 1);
    assert_int_equal(as_number(value), 3);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(as_number(xctx_var_get(&plain)), 3);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

static void *enter_own_lazy_context(void *arg)
{
    CHECK(xctx_var_set(&plain, arg, NULL) == 0);
    xctx_context *current = xctx_current();
    CHECK(xctx_enter(current) == -EBUSY);
    CHECK(xctx_current() == current);
    return NULL;
}

TEST(lazy_context_entered_by_its_thread_is_refused)
{
    on_thread(enter_own_lazy_context, number(1));
}

static void *exit_own_lazy_context(void *arg)
{
    CHECK(xctx_var_set(&plain, arg, NULL) == 0);
    xctx_context *current = xctx_current();
    CHECK(xctx_exit(current) == -EINVAL);
    CHECK(xctx_current() == current);
    return NULL;
}

TEST(lazy_context_that_was_never_entered_cannot_be_exited)
{
    on_thread(exit_own_lazy_context, number(1));
}

TEST(lazy_context_entered_by_another_thread_is_refused)
{
    struct worker worker;
    worker_start(&worker);
    xctx_context *context = worker_do(&worker, ref_lazy_context, number(1));
    assert_int_equal(xctx_enter(context), -EBUSY);
    worker_stop(&worker);
    xctx_unref(context);
}

int main(void)
{
    return test_main("the current context");
}
