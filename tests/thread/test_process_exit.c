/* SPDX-License-Identifier: MIT */
/* A process that exits while contexts are alive and threads are using them exits with its own status. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static void *use_for_ever(void *arg)
{
    sem_post(arg);
    for (;;) {
        xctx_context *context = xctx_copy_current();
        CHECK(context && xctx_enter(context) == 0);
        counted_set(&counted, 1);
        XCTX_LET (&plain, number(2)) {
            xctx_unref(xctx_copy_current());
        }
        CHECK(xctx_exit(context) == 0);
        xctx_unref(context);
    }
    return NULL;
}

static void *stay_entered(void *arg)
{
    xctx_context *context = xctx_new();
    CHECK(context && xctx_enter(context) == 0);
    counted_set(&counted, 1);
    sem_post(arg);
    for (;;)
        pause();
    return NULL;
}

static void start_threads(void)
{
    static sem_t started;
    CHECK(sem_init(&started, 0, 0) == 0);
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        spawn(use_for_ever, &started);
        spawn(stay_entered, &started);
        CHECK(xctx_thread_create(&thread, NULL, use_for_ever, &started) == 0);
    }
    for (int i = 0; i < 9; i++)
        sem_wait_for(&started);
}

static void enter_some(void)
{
    for (int i = 0; i < 10; i++) {
        xctx_context *context = xctx_copy_current();
        CHECK(context && xctx_enter(context) == 0);
        counted_set(&counted, i);
    }
}

static int call_exit(void *arg)
{
    enter_some();
    if (arg)
        start_threads();
    exit(17);
}

static int return_from_thread(void *arg)
{
    (void)arg;
    enter_some();
    start_threads();
    return 18;
}

static void use_at_exit(void)
{
    xctx_context *context = xctx_copy_current();
    CHECK(context && xctx_enter(context) == 0);
    counted_set(&counted, 5);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
}

static int exit_with_handler(void *arg)
{
    (void)arg;
    CHECK(atexit(use_at_exit) == 0);
    enter_some();
    start_threads();
    exit(19);
}

static void *exit_from_thread(void *arg)
{
    enter_some();
    start_threads();
    exit((int)as_number(arg));
}

static int exit_on_other_thread(void *arg)
{
    (void)arg;
    enter_some();
    on_thread(exit_from_thread, number(20));
    return 1;
}

TEST(exit_with_live_contexts_gives_its_status)
{
    int status = in_child(call_exit, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 17);
}

TEST(exit_with_live_contexts_and_threads_gives_its_status)
{
    int status = in_child(call_exit, &status);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 17);
}

TEST(immediate_exit_with_live_contexts_and_threads_gives_its_status)
{
    int status = in_child(return_from_thread, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 18);
}

TEST(handlers_of_exit_may_use_contexts)
{
    int status = in_child(exit_with_handler, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 19);
}

TEST(exit_by_another_thread_gives_its_status)
{
    int status = in_child(exit_on_other_thread, NULL);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 20);
}

int main(void)
{
    return test_main("the end of the process");
}
