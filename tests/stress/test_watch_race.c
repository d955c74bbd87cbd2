/* SPDX-License-Identifier: MIT */
/* Watchers that come and go while other threads switch contexts. */
#include "../support/threads.h"

enum { SWITCHERS = 3 };

struct watched {
    atomic_bool gone;
    atomic_long calls;
};

static atomic_bool stop;
static atomic_long switches;

static void *switch_for_ever(void *arg)
{
    (void)arg;
    xctx_context *context = xctx_new();
    while (!atomic_load(&stop)) {
        CHECK(xctx_enter(context) == 0);
        CHECK(xctx_exit(context) == 0);
        atomic_fetch_add_explicit(&switches, 2, memory_order_relaxed);
    }
    xctx_unref(context);
    return NULL;
}

static void call(xctx_context *current, void *user)
{
    struct watched *watched = user;
    CHECK(current == xctx_current());
    CHECK(!atomic_load(&watched->gone));
    atomic_fetch_add_explicit(&watched->calls, 1, memory_order_relaxed);
}

static void *watch_and_unwatch(void *arg)
{
    long rounds = as_number(arg);
    long calls = 0;
    for (long i = 0; i < rounds; i++) {
        struct watched *watched = calloc(1, sizeof(*watched));
        CHECK(watched != NULL);
        int id = xctx_watch(call, watched);
        CHECK(id >= 0);
        if (i % 4 == 0)
            sched_yield();
        CHECK(xctx_unwatch(id) == 0);
        calls += atomic_load(&watched->calls);
        atomic_store(&watched->gone, true);
        free(watched);
    }
    return number(calls);
}

TEST(watcher_that_was_unwatched_is_never_called_again)
{
    pthread_t switchers[SWITCHERS], watchers[2];
    atomic_store(&stop, false);
    for (int i = 0; i < SWITCHERS; i++)
        switchers[i] = spawn(switch_for_ever, NULL);
    for (int i = 0; i < 2; i++)
        watchers[i] = spawn(watch_and_unwatch, number(scaled(300)));
    for (int i = 0; i < 2; i++)
        join(watchers[i]);
    while (atomic_load(&switches) == 0)
        sched_yield(); /* on a busy machine they may not have begun */
    atomic_store(&stop, true);
    for (int i = 0; i < SWITCHERS; i++)
        join(switchers[i]);
    assert_true(atomic_load(&switches) > 0);
}

TEST(watcher_sees_every_switch_of_every_thread_while_it_is_there)
{
    struct watched watched = {.gone = false};
    pthread_t switchers[SWITCHERS];
    atomic_store(&stop, false);
    atomic_store(&switches, 0);
    int id = xctx_watch(call, &watched);
    for (int i = 0; i < SWITCHERS; i++)
        switchers[i] = spawn(switch_for_ever, NULL);
    while (atomic_load(&switches) < scaled(100000))
        sched_yield();
    atomic_store(&stop, true);
    for (int i = 0; i < SWITCHERS; i++)
        join(switchers[i]);
    assert_int_equal(xctx_unwatch(id), 0);
    assert_int_equal(atomic_load(&watched.calls), atomic_load(&switches));
}

int main(void)
{
    return test_main("watchers that come and go");
}
