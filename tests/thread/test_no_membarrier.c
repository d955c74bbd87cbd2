/* SPDX-License-Identifier: MIT */
/*
 * Where there is no membarrier(), contexts are claimed by other means: what threads do to each other's contexts works
 * the same. The program starts itself again under a filter that makes the call fail.
 */
#include <linux/membarrier.h>

#include "../support/counted.h"
#include "../support/seccomp.h"
#include "../support/threads.h"

static void *add(void *parent, void *child)
{
    return number(as_number(parent) + as_number(child));
}

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(other);
static XCTX_VAR_DEFINE(sum, .merge = add);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static bool has_membarrier(void)
{
    return syscall(SYS_membarrier, MEMBARRIER_CMD_QUERY, 0, 0) >= 0;
}

TEST(there_is_no_membarrier)
{
    assert_false(has_membarrier());
    assert_int_equal(errno, ENOSYS);
}

static void *set_and_leave(void *context)
{
    CHECK(xctx_enter(context) == 0);
    long before = as_number(xctx_var_get(&plain));
    CHECK(xctx_var_set(&plain, number(before + 1), NULL) == 0);
    counted_set(&counted, before + 1);
    XCTX_LET (&plain, number(-1)) {
        CHECK(xctx_enter(context) == -EBUSY);
    }
    CHECK(xctx_exit(context) == 0);
    return number(before + 1);
}

TEST(context_goes_from_thread_to_thread)
{
    struct worker workers[2];
    xctx_context *context = xctx_new();
    worker_start(&workers[0]);
    worker_start(&workers[1]);
    for (long i = 0; i < 60; i += 3) {
        assert_int_equal(as_number(set_and_leave(context)), i + 1);
        assert_int_equal(as_number(worker_do(&workers[i % 2], set_and_leave, context)), i + 2);
        assert_int_equal(as_number(worker_do(&workers[1], set_and_leave, context)), i + 3);
    }
    worker_stop(&workers[0]);
    worker_stop(&workers[1]);
    xctx_unref(context);
    assert_int_equal(counted_live(), 0);
}

static void *look_at_entered(void *context)
{
    void *value = NULL;
    CHECK(xctx_enter(context) == -EBUSY);
    CHECK(xctx_exit(context) == -EPERM);
    CHECK(xctx_lookup(context, &counted, &value) == 1);
    CHECK(counted_number(value) == 5);
    CHECK(xctx_count(context) == 2);
    xctx_context *copy = xctx_copy(context);
    CHECK(copy && xctx_equal(copy, context));
    CHECK(as_number(set_and_leave(copy)) == 5);
    xctx_unref(copy);
    return NULL;
}

TEST(entered_context_is_looked_into_and_copied_by_another_thread)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(xctx_var_set(&plain, number(4), NULL), 0);
        counted_set(&counted, 5);
        on_thread(look_at_entered, context);
        assert_int_equal(as_number(xctx_var_get(&plain)), 4);
    }
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    assert_int_equal(counted_live(), 0);
}

struct race {
    struct meeting meeting;
    xctx_context *context;
    long rounds;
    atomic_int winners;
    atomic_bool stop;
};

static void *race_to_enter(void *arg)
{
    struct race *race = arg;
    for (long i = 0; i < race->rounds; i++) {
        meet(&race->meeting);
        int error = xctx_enter(race->context);
        CHECK(error == 0 || error == -EBUSY);
        if (error == 0)
            atomic_fetch_add(&race->winners, 1);
        meet(&race->meeting);
        CHECK(atomic_load(&race->winners) == 1);
        if (error == 0)
            CHECK(xctx_exit(race->context) == 0);
        meet(&race->meeting);
        atomic_store(&race->winners, 0);
    }
    return NULL;
}

TEST(threads_that_enter_one_context_have_one_winner)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    struct race race = {.context = xctx_new(), .rounds = scaled(2000)};
    meeting_init(&race.meeting, THREADS);
    for (int i = 0; i < THREADS; i++)
        threads[i] = spawn(race_to_enter, &race);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    xctx_unref(race.context);
}

static void *copy_again_and_again(void *arg)
{
    struct race *race = arg;
    meet(&race->meeting);
    while (!atomic_load(&race->stop)) {
        void *first = NULL, *second = NULL, *third = NULL;
        xctx_context *copy = xctx_copy(race->context);
        CHECK(copy != NULL);
        /* They are set one after the other. */
        CHECK(xctx_lookup(copy, &plain, &first) == 1);
        CHECK(xctx_lookup(copy, &other, &second) == 1);
        CHECK(first == second || as_number(first) == as_number(second) + 1);
        CHECK(xctx_lookup(copy, &counted, &third) == 1);
        CHECK(counted_number(third) == as_number(second) || counted_number(third) == as_number(second) - 1);
        xctx_unref(copy);
    }
    return NULL;
}

static void set_one_after_the_other(long n)
{
    CHECK(xctx_var_set(&plain, number(n), NULL) == 0);
    CHECK(xctx_var_set(&other, number(n), NULL) == 0);
    counted_set(&counted, n);
}

TEST(copies_of_a_context_that_another_thread_is_changing_are_consistent)
{
    struct race race = {.context = xctx_current()};
    long rounds = scaled(50000);
    meeting_init(&race.meeting, 2);
    set_one_after_the_other(0);
    pthread_t thread = spawn(copy_again_and_again, &race);
    meet(&race.meeting);
    for (long i = 1; i < rounds; i++) {
        set_one_after_the_other(i);
        if (i % 16 == 0)
            xctx_unref(xctx_copy_current());
    }
    atomic_store(&race.stop, true);
    join(thread);
    assert_int_equal(as_number(xctx_var_get(&plain)), rounds - 1);
}

static void *unref_there(void *context)
{
    xctx_unref(context);
    return NULL;
}

TEST(last_reference_to_an_entered_context_goes_on_another_thread)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 1);
    on_thread(unref_there, context);
    assert_ptr_equal(xctx_current(), context);
    assert_int_equal(counted_live(), 1);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(counted_live(), 0);
}

static void *set_sum(void *context)
{
    CHECK(context == NULL || xctx_enter(context) == 0);
    CHECK(xctx_var_set(&sum, number(20), NULL) == 0);
    return xctx_ref(xctx_current());
}

static void *leave(void *context)
{
    CHECK(xctx_exit(context) == 0);
    return NULL;
}

TEST(entered_context_of_another_thread_is_merged)
{
    struct worker worker;
    pthread_t thread;
    xctx_context *child = xctx_new();
    worker_start(&worker);
    xctx_unref(worker_do(&worker, set_sum, child));
    assert_int_equal(xctx_var_set(&sum, number(1), NULL), 0);
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&sum)), 21);
    worker_do(&worker, leave, child);
    worker_stop(&worker);
    xctx_unref(child);
    assert_int_equal(xctx_thread_create(&thread, NULL, set_sum, NULL), 0);
    child = join(thread);
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(as_number(xctx_var_get(&sum)), 41);
    xctx_unref(child);
}

static int enter_foreign(void *context)
{
    CHECK(xctx_enter(context) == 0);
    CHECK(as_number(xctx_var_get(&sum)) == 20);
    CHECK(xctx_exit(context) == 0);
    /* The TSan runtime refuses to start threads in such a child. */
    if (!TEST_TSAN)
        CHECK(as_number(on_thread(set_and_leave, context)) == 1);
    return 0;
}

TEST(child_enters_what_a_vanished_thread_had_entered)
{
    struct worker worker;
    xctx_context *context = xctx_new();
    worker_start(&worker);
    xctx_unref(worker_do(&worker, set_sum, context));
    assert_int_equal(in_child(enter_foreign, context), 0);
    assert_int_equal(xctx_enter(context), -EBUSY);
    worker_do(&worker, leave, context);
    worker_stop(&worker);
    xctx_unref(context);
}

int main(int argc, char **argv)
{
    (void)argc;
    if (has_membarrier()) {
        if (!deny_system_call(SYS_membarrier, -1, ENOSYS))
            return 77; /* skipped */
        execv("/proc/self/exe", argv);
        perror("/proc/self/exe");
        return 1;
    }
    return test_main("without membarrier()");
}
