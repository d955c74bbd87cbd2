/* SPDX-License-Identifier: MIT */
/*
 * Threads that end with contexts still entered, by return, pthread_exit() or pthread_cancel(): everything is left, in
 * order, and released before the thread can be joined.
 */
#include "../support/counted.h"
#include "../support/threads.h"

static char happened[64];
static size_t happened_length;

static void add(int letter)
{
    CHECK(happened_length + 1 < sizeof(happened));
    happened[happened_length++] = (char)letter;
    happened[happened_length] = '\0';
}

static void *enter_letter(void *value)
{
    add((int)as_number(value));
    return value;
}

static void leave_letter(void *saved)
{
    add((int)as_number(saved) + 'a' - 'A');
}

static XCTX_VAR_DEFINE(first, .enter = enter_letter, .leave = leave_letter);
static XCTX_VAR_DEFINE(second, .enter = enter_letter, .leave = leave_letter);
static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

/* A context with a letter for each of the two variables and one counted value. */
static xctx_context *lettered(int letter_first, int letter_second)
{
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(&first, number(letter_first), NULL) == 0);
    CHECK(xctx_var_set(&second, number(letter_second), NULL) == 0);
    counted_set(&counted, letter_first);
    CHECK(xctx_exit(context) == 0);
    happened_length = 0;
    happened[0] = '\0';
    return context;
}

enum way { RETURN, EXIT, CANCEL };

static void end(enum way way)
{
    if (way == EXIT)
        pthread_exit(NULL);
    if (way == CANCEL) {
        CHECK(pthread_cancel(pthread_self()) == 0);
        pthread_testcancel();
        CHECK(!"the thread was cancelled");
    }
}

struct ending {
    enum way way;
    xctx_context *contexts[2];
};

static void *enter_two_and_end(void *arg)
{
    struct ending *ending = arg;
    CHECK(xctx_enter(ending->contexts[0]) == 0);
    CHECK(xctx_enter(ending->contexts[1]) == 0);
    xctx_unref(ending->contexts[1]);
    end(ending->way);
    return NULL;
}

static void check_thread_that_ends(enum way way)
{
    struct ending ending = {way, {lettered('A', 'B'), lettered('C', 'D')}};
    assert_int_equal(counted_live(), 2);
    on_thread(enter_two_and_end, &ending);
    assert_string_equal(happened, "ABCDdcba");
    assert_int_equal(counted_live(), 1);
    assert_int_equal(xctx_exit(ending.contexts[0]), -EINVAL);
    assert_int_equal(xctx_enter(ending.contexts[0]), 0);
    assert_int_equal(xctx_exit(ending.contexts[0]), 0);
    xctx_unref(ending.contexts[0]);
    assert_int_equal(counted_live(), 0);
}

TEST(thread_that_returns_leaves_the_contexts_that_it_entered)
{
    check_thread_that_ends(RETURN);
}

TEST(thread_that_calls_pthread_exit_leaves_the_contexts_that_it_entered)
{
    check_thread_that_ends(EXIT);
}

TEST(thread_that_is_cancelled_leaves_the_contexts_that_it_entered)
{
    check_thread_that_ends(CANCEL);
}

static void *created_thread(void *arg)
{
    struct ending *ending = arg;
    CHECK(xctx_enter(ending->contexts[1]) == 0);
    end(ending->way);
    return NULL;
}

static void check_created_thread_that_ends(enum way way)
{
    pthread_t thread;
    struct ending ending = {way, {lettered('A', 'B'), lettered('C', 'D')}};
    assert_int_equal(xctx_enter(ending.contexts[0]), 0);
    happened_length = 0;
    assert_int_equal(xctx_thread_create(&thread, NULL, created_thread, &ending), 0);
    join(thread);
    assert_string_equal(happened, "ABCDdcba");
    assert_int_equal(xctx_exit(ending.contexts[0]), 0);
    xctx_unref(ending.contexts[0]);
    xctx_unref(ending.contexts[1]);
    assert_int_equal(counted_live(), 0);
}

TEST(created_thread_that_returns_leaves_its_contexts)
{
    check_created_thread_that_ends(RETURN);
}

TEST(created_thread_that_calls_pthread_exit_leaves_its_contexts)
{
    check_created_thread_that_ends(EXIT);
}

TEST(created_thread_that_is_cancelled_leaves_its_contexts)
{
    check_created_thread_that_ends(CANCEL);
}

/* What the thread's cleanup handlers, which run after frames within them are gone, see of the context. */
struct sight {
    struct ending ending;
    xctx_bound *bound;
    xctx_context *expected;
    int looked;
};

static void look_after(void *arg)
{
    struct sight *sight = arg;
    CHECK(xctx_current() == sight->expected);
    CHECK(as_number(xctx_var_get(&plain)) == 0);
    sight->looked++;
}

static void *end_in_call(void *arg)
{
    struct sight *sight = arg;
    CHECK(xctx_enter(sight->ending.contexts[1]) == 0);
    CHECK(xctx_var_set(&plain, number(1), NULL) == 0);
    end(sight->ending.way);
    return NULL;
}

static void *run_and_end(void *arg)
{
    struct sight *sight = arg;
    CHECK(xctx_var_find(&plain, NULL) == 0);
    CHECK(xctx_var_set(&plain, NULL, NULL) == 0);
    sight->expected = xctx_current();
    pthread_cleanup_push(look_after, sight);
    CHECK(xctx_run(sight->ending.contexts[0], end_in_call, sight, NULL) == 0);
    pthread_cleanup_pop(1);
    return NULL;
}

static void check_run_that_ends_in(enum way way)
{
    struct sight sight = {.ending = {way, {lettered('A', 'B'), lettered('C', 'D')}}};
    on_thread(run_and_end, &sight);
    assert_int_equal(sight.looked, 1);
    assert_string_equal(happened, "ABCDdcba");
    assert_int_equal(xctx_enter(sight.ending.contexts[0]), 0);
    assert_int_equal(xctx_exit(sight.ending.contexts[0]), 0);
    xctx_unref(sight.ending.contexts[0]);
    xctx_unref(sight.ending.contexts[1]);
    assert_int_equal(counted_live(), 0);
}

TEST(run_that_returns_leaves_its_contexts)
{
    check_run_that_ends_in(RETURN);
}

TEST(run_that_ends_in_pthread_exit_leaves_its_contexts_before_outer_handlers)
{
    check_run_that_ends_in(EXIT);
}

TEST(run_that_is_cancelled_leaves_its_contexts_before_outer_handlers)
{
    check_run_that_ends_in(CANCEL);
}

static void *call_bound_and_end(void *arg)
{
    struct sight *sight = arg;
    CHECK(xctx_var_set(&plain, NULL, NULL) == 0);
    sight->expected = xctx_current();
    pthread_cleanup_push(look_after, sight);
    xctx_bound_call(sight->bound);
    pthread_cleanup_pop(1);
    return NULL;
}

static void check_bound_call_that_ends_in(enum way way)
{
    struct sight sight = {.ending = {way, {lettered('A', 'B'), lettered('C', 'D')}}};
    assert_int_equal(xctx_enter(sight.ending.contexts[0]), 0);
    sight.bound = xctx_bind(end_in_call, &sight);
    assert_int_equal(xctx_exit(sight.ending.contexts[0]), 0);
    happened_length = 0;
    on_thread(call_bound_and_end, &sight);
    assert_int_equal(sight.looked, 1);
    assert_string_equal(happened, "ABCDdcba");
    xctx_bound_unref(sight.bound);
    xctx_unref(sight.ending.contexts[0]);
    xctx_unref(sight.ending.contexts[1]);
    assert_int_equal(counted_live(), 0);
}

TEST(bound_call_that_returns_leaves_its_contexts)
{
    check_bound_call_that_ends_in(RETURN);
}

TEST(bound_call_that_ends_in_pthread_exit_leaves_its_contexts_before_outer_handlers)
{
    check_bound_call_that_ends_in(EXIT);
}

TEST(bound_call_that_is_cancelled_leaves_its_contexts_before_outer_handlers)
{
    check_bound_call_that_ends_in(CANCEL);
}

#ifdef __GLIBC__ /* other C libraries do not unwind a thread that ends */
static void *end_in_let(void *arg)
{
    struct sight *sight = arg;
    CHECK(xctx_var_set(&plain, NULL, NULL) == 0);
    sight->expected = xctx_current();
    pthread_cleanup_push(look_after, sight);
    XCTX_LET (&plain, number(1)) {
        XCTX_LET (&plain, number(2)) {
            end(sight->ending.way);
        }
    }
    pthread_cleanup_pop(1);
    return NULL;
}

TEST(let_that_ends_in_pthread_exit_is_undone_before_outer_handlers)
{
    struct sight sight = {.ending.way = EXIT};
    on_thread(end_in_let, &sight);
    assert_int_equal(sight.looked, 1);
}

TEST(let_that_is_cancelled_is_undone_before_outer_handlers)
{
    struct sight sight = {.ending.way = CANCEL};
    on_thread(end_in_let, &sight);
    assert_int_equal(sight.looked, 1);
}
#endif

static pthread_key_t late_key;

/* Runs when the library may have ended the thread's part already; keys' destructors have no order. */
static void use_contexts_late(void *arg)
{
    (void)arg;
    CHECK(xctx_var_set(&plain, number(1), NULL) == 0);
    counted_set(&counted, 1);
    xctx_context *copy = xctx_copy_current();
    CHECK(copy != NULL);
    CHECK(xctx_enter(copy) == 0);
    CHECK(counted_number(xctx_var_get(&counted)) == 1);
    xctx_unref(copy);
}

static void *end_with_late_use(void *arg)
{
    if (arg)
        CHECK(xctx_var_set(&plain, number(1), NULL) == 0);
    CHECK(pthread_setspecific(late_key, &late_key) == 0);
    return NULL;
}

TEST(destructor_of_a_thread_key_may_use_contexts)
{
    assert_int_equal(pthread_key_create(&late_key, use_contexts_late), 0);
    on_thread(end_with_late_use, NULL);
    on_thread(end_with_late_use, &late_key);
    assert_int_equal(pthread_key_delete(late_key), 0);
    assert_int_equal(counted_live(), 0);
}

static void *make_value(void *arg)
{
    struct ending *ending = arg;
    ending->contexts[0] = xctx_new();
    CHECK(xctx_enter(ending->contexts[0]) == 0);
    counted_set(&counted, 6);
    return NULL;
}

TEST(context_of_a_vanished_thread_is_used_and_released_elsewhere)
{
    struct ending ending = {0};
    on_thread(make_value, &ending);
    assert_int_equal(counted_live(), 1);
    xctx_context *copy = xctx_copy(ending.contexts[0]);
    assert_int_equal(xctx_enter(ending.contexts[0]), 0);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 6);
    counted_set(&counted, 7);
    assert_int_equal(xctx_exit(ending.contexts[0]), 0);
    xctx_unref(ending.contexts[0]);
    assert_int_equal(counted_live(), 1);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 0);
}

TEST(thousands_of_threads_come_and_go)
{
    long count = scaled(5000);
    struct ending ending = {0};
    for (long i = 0; i < count; i++) {
        on_thread(make_value, &ending);
        xctx_unref(ending.contexts[0]);
    }
    assert_int_equal(counted_live(), 0);
}

int main(void)
{
    return test_main("the end of a thread");
}
