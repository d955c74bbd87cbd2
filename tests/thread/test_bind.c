/* SPDX-License-Identifier: MIT */
/* Bound functions: captured now, called later, anywhere, any number of times. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static void *get_plain(void *arg)
{
    (void)arg;
    return xctx_var_get(&plain);
}

static void *give_back_argument(void *arg)
{
    return arg;
}

static void *call(void *bound)
{
    return xctx_bound_call(bound);
}

TEST(bound_call_runs_in_the_context_of_the_binding)
{
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    xctx_bound *bound = xctx_bind(get_plain, NULL);
    assert_int_equal(xctx_var_set(&plain, number(2), NULL), 0);
    assert_int_equal(as_number(xctx_bound_call(bound)), 1);
    assert_int_equal(as_number(xctx_var_get(&plain)), 2);
    xctx_bound_unref(bound);
}

TEST(bound_call_gives_the_argument_and_the_result)
{
    xctx_bound *bound = xctx_bind(give_back_argument, number(7));
    assert_int_equal(as_number(xctx_bound_call(bound)), 7);
    xctx_bound_unref(bound);
}

TEST(bound_call_restores_the_current_context)
{
    xctx_context *before = xctx_current();
    xctx_bound *bound = xctx_bind(get_plain, NULL);
    xctx_bound_call(bound);
    assert_ptr_equal(xctx_current(), before);
    xctx_bound_unref(bound);
}

TEST(bound_call_runs_on_another_thread)
{
    assert_int_equal(xctx_var_set(&plain, number(3), NULL), 0);
    xctx_bound *bound = xctx_bind(get_plain, NULL);
    assert_int_equal(as_number(on_thread(call, bound)), 3);
    xctx_bound_unref(bound);
}

static void *call_without_context(void *bound)
{
    CHECK(xctx_current() == NULL);
    xctx_bound_call(bound);
    return xctx_current();
}

TEST(bound_call_on_a_fresh_thread_leaves_no_context)
{
    xctx_bound *bound = xctx_bind(get_plain, NULL);
    assert_null(on_thread(call_without_context, bound));
    xctx_bound_unref(bound);
}

static void *increment(void *arg)
{
    (void)arg;
    long now = as_number(xctx_var_get(&plain)) + 1;
    CHECK(xctx_var_set(&plain, number(now), NULL) == 0);
    return number(now);
}

TEST(bound_calls_do_not_see_what_earlier_calls_set)
{
    assert_int_equal(xctx_var_set(&plain, number(10), NULL), 0);
    xctx_bound *bound = xctx_bind(increment, NULL);
    for (int i = 0; i < 20; i++)
        assert_int_equal(as_number(xctx_bound_call(bound)), 11);
    assert_int_equal(as_number(xctx_var_get(&plain)), 10);
    xctx_bound_unref(bound);
}

static void *set_counted(void *arg)
{
    counted_set(&counted, as_number(arg));
    return NULL;
}

TEST(values_set_in_a_bound_call_are_released_when_it_returns)
{
    xctx_bound *bound = xctx_bind(set_counted, number(1));
    for (int i = 0; i < 3; i++) {
        xctx_bound_call(bound);
        assert_int_equal(counted_live(), 0);
    }
    xctx_bound_unref(bound);
}

TEST(binding_keeps_values_alive_until_its_last_reference_goes)
{
    counted_set(&counted, 1);
    xctx_bound *bound = xctx_bind(get_plain, NULL);
    counted_set(&counted, 2);
    assert_int_equal(counted_live(), 2);
    assert_ptr_equal(xctx_bound_ref(bound), bound);
    assert_null(xctx_bound_unref(bound));
    xctx_bound_call(bound);
    assert_int_equal(counted_live(), 2);
    assert_null(xctx_bound_unref(bound));
    assert_int_equal(counted_live(), 1);
}

static void *unref_bound(void *bound)
{
    xctx_bound_unref(bound);
    return number(counted_live());
}

TEST(binding_released_on_another_thread_releases_its_values_there)
{
    counted_set(&counted, 1);
    xctx_bound *bound = xctx_bind(get_plain, NULL);
    counted_set(&counted, 2);
    assert_int_equal(as_number(on_thread(unref_bound, bound)), 1);
}

TEST(binding_that_is_never_called_leaks_nothing)
{
    counted_set(&counted, 1);
    xctx_bound_unref(xctx_bind(get_plain, NULL));
    assert_int_equal(counted_refs(xctx_var_get(&counted)), 1);
}

TEST(bind_of_null_is_refused)
{
    assert_null(xctx_bind(NULL, NULL));
    assert_null(xctx_bind_with(NULL, NULL, 0));
}

TEST(bound_ref_and_unref_of_null_do_nothing)
{
    assert_null(xctx_bound_ref(NULL));
    assert_null(xctx_bound_unref(NULL));
}

TEST(bound_run_of_null_is_refused_and_writes_no_result)
{
    void *result = &result;
    assert_int_equal(xctx_bound_run(NULL, &result), -EINVAL);
    assert_ptr_equal(result, &result);
}

TEST(bound_run_gives_result_and_error_apart)
{
    void *result = &result;
    xctx_bound *bound = xctx_bind(give_back_argument, NULL);
    assert_int_equal(xctx_bound_run(bound, &result), 0);
    assert_null(result);
    assert_int_equal(xctx_bound_run(bound, NULL), 0);
    xctx_bound_unref(bound);
}

static void *enter_and_stay(void *arg)
{
    for (int i = 0; i < 3; i++) {
        xctx_context *context = xctx_new();
        CHECK(xctx_enter(context) == 0);
        counted_set(&counted, i);
        xctx_unref(context);
    }
    CHECK(xctx_var_set(&plain, arg, NULL) == 0);
    return arg;
}

TEST(bound_call_leaves_contexts_that_the_function_left_entered)
{
    xctx_context *before = xctx_current();
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    xctx_bound *bound = xctx_bind(enter_and_stay, number(5));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(as_number(xctx_bound_call(bound)), 5);
        assert_ptr_equal(xctx_current(), before);
        assert_int_equal(counted_live(), 0);
    }
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
    xctx_bound_unref(bound);
}

static void *exit_the_calls_context(void *arg)
{
    CHECK(xctx_exit(xctx_current()) == 0);
    return arg;
}

/* As for xctx_run(): wrong, but the caller's context is current again. */
TEST(bound_call_of_a_function_that_exits_the_calls_context_restores_the_callers)
{
    xctx_context *before = xctx_current();
    xctx_bound *bound = xctx_bind(exit_the_calls_context, number(5));
    assert_int_equal(as_number(xctx_bound_call(bound)), 5);
    assert_ptr_equal(xctx_current(), before);
    xctx_bound_unref(bound);
}

static void *keep_the_calls_context(void *arg)
{
    xctx_context **kept = arg;
    CHECK(xctx_var_set(&plain, number(50), NULL) == 0);
    *kept = xctx_ref(xctx_current());
    return NULL;
}

TEST(context_of_a_bound_call_can_be_kept)
{
    xctx_context *kept = NULL;
    xctx_bound *bound = xctx_bind(keep_the_calls_context, &kept);
    xctx_bound_call(bound);
    xctx_bound_unref(bound);
    assert_int_equal(xctx_enter(kept), 0);
    assert_int_equal(as_number(xctx_var_get(&plain)), 50);
    assert_int_equal(xctx_exit(kept), 0);
    xctx_unref(kept);
}

struct recursion {
    xctx_bound *bound;
    int depth;
};

static void *call_again(void *arg)
{
    struct recursion *recursion = arg;
    CHECK(as_number(xctx_var_get(&plain)) == 10);
    CHECK(xctx_var_set(&plain, number(recursion->depth), NULL) == 0);
    if (recursion->depth-- > 0)
        xctx_bound_call(recursion->bound);
    return NULL;
}

TEST(bound_call_may_call_itself)
{
    struct recursion recursion = {.depth = 100};
    assert_int_equal(xctx_var_set(&plain, number(10), NULL), 0);
    recursion.bound = xctx_bind(call_again, &recursion);
    xctx_bound_call(recursion.bound);
    assert_int_equal(recursion.depth, -1);
    xctx_bound_unref(recursion.bound);
}

struct crowd {
    xctx_bound *bound;
    struct meeting meeting;
    long rounds;
};

static void *call_in_crowd(void *arg)
{
    struct crowd *crowd = arg;
    meet(&crowd->meeting);
    for (long i = 0; i < crowd->rounds; i++)
        CHECK(as_number(xctx_bound_call(crowd->bound)) == 11);
    CHECK(xctx_current() == NULL);
    return NULL;
}

TEST(bound_calls_on_several_threads_at_once_do_not_see_each_other)
{
    enum { THREADS = 4 };
    struct crowd crowd = {.rounds = scaled(20000)};
    pthread_t threads[THREADS];
    assert_int_equal(xctx_var_set(&plain, number(10), NULL), 0);
    counted_set(&counted, 1);
    meeting_init(&crowd.meeting, THREADS);
    crowd.bound = xctx_bind(increment, NULL);
    for (int i = 0; i < THREADS; i++)
        threads[i] = spawn(call_in_crowd, &crowd);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    xctx_bound_unref(crowd.bound);
    assert_int_equal(counted_refs(xctx_var_get(&counted)), 1);
}

static void *call_and_unref(void *bound)
{
    CHECK(as_number(xctx_bound_call(bound)) == 11);
    xctx_bound_unref(bound);
    return NULL;
}

TEST(bindings_given_away_to_threads_that_release_them_leak_nothing)
{
    enum { ROUNDS = 50 };
    assert_int_equal(xctx_var_set(&plain, number(10), NULL), 0);
    counted_set(&counted, 1);
    for (int i = 0; i < ROUNDS; i++) {
        xctx_bound *bound = xctx_bind(increment, NULL);
        pthread_t thread = spawn(call_and_unref, bound);
        join(thread);
    }
    assert_int_equal(counted_refs(xctx_var_get(&counted)), 1);
}

int main(void)
{
    return test_main("bound functions");
}
