/* SPDX-License-Identifier: MIT */
/* fork(): the child has the forking thread's contexts, and may use those that vanished threads had entered. */
#include <signal.h>

#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static int check_values(void *arg)
{
    CHECK(xctx_current() == arg);
    CHECK(as_number(xctx_var_get(&plain)) == 3);
    CHECK(counted_number(xctx_var_get(&counted)) == 4);
    CHECK(xctx_var_set(&plain, number(5), NULL) == 0);
    counted_set(&counted, 6);
    return (int)as_number(xctx_var_get(&plain));
}

TEST(child_has_the_current_context)
{
    assert_int_equal(xctx_var_set(&plain, number(3), NULL), 0);
    counted_set(&counted, 4);
    int status = in_child(check_values, xctx_current());
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 5);
    assert_int_equal(as_number(xctx_var_get(&plain)), 3);
}

static int exit_entered(void *arg)
{
    CHECK(xctx_exit(arg) == 0);
    CHECK(xctx_enter(arg) == 0);
    CHECK(xctx_exit(arg) == 0);
    xctx_unref(arg);
    return 0;
}

TEST(child_can_exit_what_the_forking_thread_entered)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 4);
    assert_int_equal(in_child(exit_entered, context), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

static void *enter_and_set(void *context)
{
    CHECK(xctx_enter(context) == 0);
    counted_set(&counted, 8);
    CHECK(xctx_var_set(&plain, number(9), NULL) == 0);
    return NULL;
}

static void *leave(void *context)
{
    CHECK(xctx_exit(context) == 0);
    return NULL;
}

static int copy_foreign(void *arg)
{
    void *value = NULL;
    xctx_context *copy = xctx_copy(arg);
    CHECK(copy != NULL);
    CHECK(xctx_lookup(copy, &counted, &value) == 1);
    CHECK(counted_number(value) == 8);
    CHECK(xctx_count(arg) == 2);
    CHECK(xctx_enter(copy) == 0);
    CHECK(as_number(xctx_var_get(&plain)) == 9);
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
    return 0;
}

static int enter_foreign(void *arg)
{
    CHECK(xctx_enter(arg) == 0);
    CHECK(as_number(xctx_var_get(&plain)) == 9);
    counted_set(&counted, 10);
    CHECK(xctx_enter(arg) == -EBUSY);
    CHECK(xctx_exit(arg) == 0);
    xctx_unref(arg);
    return 0;
}

static int release_foreign(void *arg)
{
    CHECK(xctx_enter(arg) == 0);
    xctx_unref(arg);
    CHECK(counted_live() == 1);
    CHECK(xctx_exit(arg) == 0);
    CHECK(counted_live() == 0);
    return 0;
}

/* Forks while a worker has `context` entered. */
static void check_in_child_of_entered(int (*fn)(void *))
{
    struct worker worker;
    worker_start(&worker);
    xctx_context *context = xctx_new();
    worker_do(&worker, enter_and_set, context);
    assert_int_equal(in_child(fn, context), 0);
    assert_int_equal(xctx_enter(context), -EBUSY);
    worker_do(&worker, leave, context);
    worker_stop(&worker);
    xctx_unref(context);
}

TEST(child_can_copy_what_a_vanished_thread_had_entered)
{
    check_in_child_of_entered(copy_foreign);
}

TEST(child_can_enter_what_a_vanished_thread_had_entered)
{
    check_in_child_of_entered(enter_foreign);
}

TEST(child_can_release_what_a_vanished_thread_had_entered)
{
    check_in_child_of_entered(release_foreign);
}

static int fork_again(void *arg)
{
    CHECK(xctx_enter(arg) == 0);
    int status = in_child(exit_entered, arg);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(xctx_exit(arg) == 0);
    return 0;
}

TEST(child_can_fork_again)
{
    check_in_child_of_entered(fork_again);
}

#if !TEST_TSAN /* whose children of threaded processes cannot start threads */
static void *copy_and_enter(void *arg)
{
    xctx_context *copy = xctx_copy(arg);
    CHECK(xctx_enter(copy) == 0);
    long seen = as_number(xctx_var_get(&plain));
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
    return number(seen);
}

static int use_threads(void *arg)
{
    pthread_t thread;
    CHECK(as_number(on_thread(copy_and_enter, arg)) == 9);
    CHECK(xctx_enter(arg) == 0);
    CHECK(xctx_thread_create(&thread, NULL, copy_and_enter, arg) == 0);
    CHECK(as_number(join(thread)) == 9);
    xctx_bound *bound = xctx_bind(copy_and_enter, arg);
    CHECK(as_number(xctx_bound_call(bound)) == 9);
    xctx_bound_unref(bound);
    CHECK(xctx_exit(arg) == 0);
    return 0;
}

/* qemu's user emulation aborts where a child of a threaded process starts threads, whatever the program. The path
   through thread-self is one that it does not rewrite. */
static bool is_emulated(void)
{
    char path[256] = "";
    return readlink("/proc/thread-self/exe", path, sizeof(path) - 1) > 0 && strstr(path, "qemu-");
}

TEST(child_can_start_threads_in_contexts)
{
    if (is_emulated())
        skip();
    check_in_child_of_entered(use_threads);
}
#endif

/* A thread that does everything at full speed while others fork. */
struct busy {
    xctx_context *shared;
    atomic_bool stop;
};

static void *be_busy(void *arg)
{
    struct busy *busy = arg;
    xctx_context *own = xctx_new();
    while (!atomic_load(&busy->stop)) {
        CHECK(xctx_enter(own) == 0);
        counted_set(&counted, 1);
        xctx_context *copy = xctx_copy(busy->shared);
        CHECK(xctx_exit(own) == 0);
        if (xctx_enter(copy) == 0)
            xctx_exit(copy);
        if (xctx_enter(busy->shared) == 0) {
            CHECK(xctx_var_set(&plain, number(9), NULL) == 0);
            xctx_exit(busy->shared);
        }
        xctx_unref(copy);
    }
    xctx_unref(own);
    return NULL;
}

static int use_after_busy(void *arg)
{
    struct busy *busy = arg;
    for (int i = 0; i < 20; i++) {
        xctx_context *copy = xctx_copy(busy->shared);
        CHECK(copy != NULL);
        CHECK(xctx_enter(copy) == 0);
        counted_set(&counted, 3);
        CHECK(xctx_exit(copy) == 0);
        xctx_unref(copy);
        CHECK(xctx_enter(busy->shared) == 0);
        CHECK(xctx_var_set(&plain, number(9), NULL) == 0);
        CHECK(xctx_exit(busy->shared) == 0);
        XCTX_LET (&plain, number(1)) {
            CHECK(as_number(xctx_var_get(&plain)) == 1);
        }
    }
    /* What the vanished threads had on their stacks is lost here; a leak checker must not have its say. */
    CHECK(kill(getpid(), SIGKILL) == 0);
    return 1;
}

TEST(child_of_a_process_whose_threads_are_in_the_midst_of_everything_can_go_on)
{
    enum { THREADS = 3 };
    if (TEST_ASAN)
        skip(); /* a child inherits the locks of its allocator as the other threads held them */
    struct busy busy = {.shared = xctx_new()};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = spawn(be_busy, &busy);
    for (long i = 0; i < scaled(100); i++)
        CHECK(in_child(use_after_busy, &busy) == SIGKILL);
    atomic_store(&busy.stop, true);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    xctx_unref(busy.shared);
}

int main(void)
{
    return test_main("fork");
}
