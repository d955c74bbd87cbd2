/* SPDX-License-Identifier: MIT */
/* xctx_thread_create(): pthread_create() in a copy of the creator's context. */
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

TEST(thread_sees_the_values_of_its_creator)
{
    pthread_t thread;
    assert_int_equal(xctx_var_set(&plain, number(5), NULL), 0);
    assert_int_equal(xctx_thread_create(&thread, NULL, get_plain, NULL), 0);
    assert_int_equal(as_number(join(thread)), 5);
}

TEST(thread_sees_the_values_at_its_creation)
{
    pthread_t thread;
    assert_int_equal(xctx_var_set(&plain, number(5), NULL), 0);
    assert_int_equal(xctx_thread_create(&thread, NULL, get_plain, NULL), 0);
    assert_int_equal(xctx_var_set(&plain, number(6), NULL), 0);
    assert_int_equal(as_number(join(thread)), 5);
}

static void *set_plain(void *arg)
{
    CHECK(xctx_var_set(&plain, arg, NULL) == 0);
    return xctx_var_get(&plain);
}

TEST(creator_does_not_see_what_the_thread_sets)
{
    pthread_t thread;
    assert_int_equal(xctx_var_set(&plain, number(5), NULL), 0);
    assert_int_equal(xctx_thread_create(&thread, NULL, set_plain, number(8)), 0);
    assert_int_equal(as_number(join(thread)), 8);
    assert_int_equal(as_number(xctx_var_get(&plain)), 5);
}

static void *report_current(void *arg)
{
    (void)arg;
    CHECK(xctx_current() != NULL);
    return xctx_current();
}

TEST(thread_has_a_context_of_its_own)
{
    pthread_t thread;
    assert_int_equal(xctx_thread_create(&thread, NULL, report_current, NULL), 0);
    assert_ptr_not_equal(join(thread), xctx_current());
}

static void *create_from_fresh_thread(void *arg)
{
    pthread_t thread;
    (void)arg;
    CHECK(xctx_thread_create(&thread, NULL, report_current, NULL) == 0);
    return join(thread);
}

TEST(thread_created_where_there_is_no_context_has_one)
{
    assert_non_null(on_thread(create_from_fresh_thread, NULL));
}

TEST(thread_gets_its_argument_and_gives_its_result)
{
    pthread_t thread;
    assert_int_equal(xctx_thread_create(&thread, NULL, give_back_argument, number(77)), 0);
    assert_int_equal(as_number(join(thread)), 77);
}

static void *exit_with(void *arg)
{
    pthread_exit(arg);
}

TEST(thread_that_calls_pthread_exit_gives_its_result)
{
    pthread_t thread;
    assert_int_equal(xctx_thread_create(&thread, NULL, exit_with, number(78)), 0);
    assert_int_equal(as_number(join(thread)), 78);
}

static void *wait_for_cancel(void *arg)
{
    for (;;)
        pause();
    return arg;
}

TEST(thread_that_is_cancelled_gives_pthread_canceled)
{
    pthread_t thread;
    assert_int_equal(xctx_thread_create(&thread, NULL, wait_for_cancel, NULL), 0);
    assert_int_equal(pthread_cancel(thread), 0);
    assert_ptr_equal(join(thread), PTHREAD_CANCELED);
}

TEST(thread_create_with_nothing_to_run_is_refused)
{
    pthread_t thread, untouched;
    memset(&thread, 0xa5, sizeof(thread));
    memcpy(&untouched, &thread, sizeof(thread));
    assert_int_equal(xctx_thread_create(&thread, NULL, NULL, NULL), EINVAL);
    assert_memory_equal(&thread, &untouched, sizeof(thread));
}

TEST(thread_create_with_no_place_for_the_thread_is_refused)
{
    assert_int_equal(xctx_thread_create(NULL, NULL, give_back_argument, NULL), EINVAL);
}

static void *must_not_run(void *arg)
{
    (void)arg;
    CHECK(!"a thread that could not be created");
    return NULL;
}

TEST(thread_create_that_fails_gives_the_error_and_leaks_nothing)
{
    pthread_t thread, untouched;
    pthread_attr_t attributes;
    memset(&thread, 0xa5, sizeof(thread));
    counted_set(&counted, 1);
    assert_int_equal(pthread_attr_init(&attributes), 0);
    /* More than there is of address space. */
    assert_int_equal(pthread_attr_setstacksize(&attributes, (size_t)1 << 52), 0);
    int expected = pthread_create(&untouched, &attributes, must_not_run, NULL);
    assert_int_not_equal(expected, 0);
    memset(&untouched, 0xa5, sizeof(untouched));
    assert_int_equal(xctx_thread_create(&thread, &attributes, must_not_run, NULL), expected);
    assert_memory_equal(&thread, &untouched, sizeof(thread));
    pthread_attr_destroy(&attributes);
    assert_int_equal(counted_refs(xctx_var_get(&counted)), 1);
}

static void *report_stack_size(void *arg)
{
    pthread_attr_t attributes;
    CHECK(pthread_getattr_np(pthread_self(), &attributes) == 0);
    CHECK(pthread_attr_getstacksize(&attributes, arg) == 0);
    pthread_attr_destroy(&attributes);
    return NULL;
}

TEST(thread_has_the_attributes_that_it_was_created_with)
{
    size_t size = 0;
    pthread_t thread;
    pthread_attr_t attributes;
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, 64 << 20), 0);
    assert_int_equal(xctx_thread_create(&thread, &attributes, report_stack_size, &size), 0);
    pthread_attr_destroy(&attributes);
    join(thread);
    assert_true(size >= (63 << 20)); /* far above what threads have otherwise */
}

static void *post(void *arg)
{
    CHECK(sem_post(arg) == 0);
    return NULL;
}

TEST(thread_can_be_created_detached)
{
    sem_t done;
    pthread_t thread;
    pthread_attr_t attributes;
    assert_int_equal(sem_init(&done, 0, 0), 0);
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED), 0);
    assert_int_equal(xctx_thread_create(&thread, &attributes, post, &done), 0);
    pthread_attr_destroy(&attributes);
    sem_wait_for(&done);
}

static void *report_live(void *arg)
{
    (void)arg;
    return number(counted_number(xctx_var_get(&counted)));
}

TEST(thread_keeps_the_values_that_its_creator_replaces)
{
    pthread_t thread;
    counted_set(&counted, 3);
    assert_int_equal(xctx_thread_create(&thread, NULL, report_live, NULL), 0);
    counted_set(&counted, 4);
    assert_int_equal(as_number(join(thread)), 3);
    assert_int_equal(counted_live(), 1);
}

static void *set_counted(void *arg)
{
    counted_set(&counted, as_number(arg));
    return NULL;
}

TEST(values_that_the_thread_set_are_released_when_it_has_ended)
{
    pthread_t thread;
    assert_int_equal(xctx_thread_create(&thread, NULL, set_counted, number(9)), 0);
    join(thread);
    assert_int_equal(counted_live(), 0);
}

static void *keep_current(void *arg)
{
    (void)arg;
    xctx_context *context = xctx_ref(xctx_current());
    CHECK(xctx_enter(context) == -EBUSY);
    return context;
}

TEST(context_of_a_thread_that_ended_can_be_entered)
{
    pthread_t thread;
    assert_int_equal(xctx_var_set(&plain, number(2), NULL), 0);
    assert_int_equal(xctx_thread_create(&thread, NULL, keep_current, NULL), 0);
    xctx_context *context = join(thread);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(as_number(xctx_var_get(&plain)), 2);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

static void *create_next(void *arg)
{
    long depth = as_number(arg);
    CHECK(xctx_var_get(&plain) == arg);
    if (depth == 0)
        return number(0);
    pthread_t thread;
    CHECK(xctx_var_set(&plain, number(depth - 1), NULL) == 0);
    CHECK(xctx_thread_create(&thread, NULL, create_next, number(depth - 1)) == 0);
    return number(as_number(join(thread)) + 1);
}

TEST(threads_that_create_threads_pass_their_context_on)
{
    pthread_t thread;
    assert_int_equal(xctx_var_set(&plain, number(20), NULL), 0);
    assert_int_equal(xctx_thread_create(&thread, NULL, create_next, number(20)), 0);
    assert_int_equal(as_number(join(thread)), 20);
}

TEST(many_threads_created_at_once_have_their_own_values)
{
    enum { THREADS = 50 };
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(xctx_var_set(&plain, number(i), NULL), 0);
        assert_int_equal(xctx_thread_create(&threads[i], NULL, get_plain, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(as_number(join(threads[i])), i);
}

int main(void)
{
    return test_main("thread create");
}
