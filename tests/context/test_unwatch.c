/* SPDX-License-Identifier: MIT */
/* xctx_unwatch() while the watcher runs: its place is not given away, and nobody waits for threads that are gone. */
#include "../support/counted.h"
#include "../support/threads.h"

enum { PLACES = 16 };

struct watching {
    int id;
    int calls;
    int second_id; /* what watching again within the watcher gave */
    struct watching *second;
};

static void count_call(xctx_context *current, void *user)
{
    struct watching *watching = user;
    (void)current;
    watching->calls++;
}

static void watch_another(xctx_context *current, void *user)
{
    struct watching *watching = user;
    count_call(current, user);
    CHECK(xctx_unwatch(watching->id) == 0);
    CHECK(xctx_unwatch(watching->id) == -EINVAL);
    watching->second_id = xctx_watch(count_call, watching->second);
}

TEST(place_of_a_watcher_that_unwatches_itself_is_free_when_it_has_returned)
{
    struct watching second = {0}, third = {0};
    struct watching first = {.second = &second};
    xctx_context *context = xctx_new();
    first.id = xctx_watch(watch_another, &first);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(first.calls, 1);
    assert_true(first.second_id >= 0);
    assert_int_not_equal(first.second_id, first.id);
    third.id = xctx_watch(count_call, &third);
    assert_int_equal(third.id, first.id);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(first.calls, 1);
    assert_true(second.calls >= 1);
    assert_int_equal(third.calls, 1);
    assert_int_equal(xctx_unwatch(first.second_id), 0);
    assert_int_equal(xctx_unwatch(third.id), 0);
    xctx_unref(context);
}

TEST(place_of_a_watcher_that_unwatches_itself_is_not_the_last_one)
{
    struct watching others[PLACES - 1] = {0};
    struct watching second = {0};
    struct watching first = {.second = &second};
    xctx_context *context = xctx_new();
    first.id = xctx_watch(watch_another, &first);
    for (int i = 0; i < PLACES - 1; i++)
        others[i].id = xctx_watch(count_call, &others[i]);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(first.second_id, -ENOSPC);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(first.calls, 1);
    assert_int_equal(second.calls, 0);
    for (int i = 0; i < PLACES - 1; i++) {
        assert_int_equal(others[i].calls, 2);
        assert_int_equal(xctx_unwatch(others[i].id), 0);
    }
    xctx_unref(context);
}

/* A watcher that stays in its function, on the threads that it does, until it is let go. */
struct gate {
    int id;
    sem_t inside;
    sem_t open;
    atomic_int calls;
};

static void gate_init(struct gate *gate)
{
    CHECK(sem_init(&gate->inside, 0, 0) == 0);
    CHECK(sem_init(&gate->open, 0, 0) == 0);
    atomic_init(&gate->calls, 0);
}

static __thread bool stays;

static void wait_at_gate(xctx_context *current, void *user)
{
    struct gate *gate = user;
    atomic_fetch_add(&gate->calls, 1);
    if (!stays || !current)
        return;
    sem_post(&gate->inside);
    sem_wait_for(&gate->open);
}

static void *switch_and_stay(void *unused)
{
    (void)unused;
    stays = true;
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    return NULL;
}

struct unwatching {
    struct gate *gate;
    int error;
    int other_id;
};

static void unwatch_gate(xctx_context *current, void *user)
{
    struct unwatching *unwatching = user;
    (void)current;
    unwatching->error = xctx_unwatch(unwatching->gate->id);
    unwatching->other_id = xctx_watch(wait_at_gate, unwatching->gate);
}

TEST(unwatch_within_a_watcher_does_not_wait_and_leaves_the_place_to_those_who_run)
{
    struct gate gate;
    struct unwatching unwatching = {.gate = &gate, .error = -1};
    gate_init(&gate);
    gate.id = xctx_watch(wait_at_gate, &gate);
    pthread_t thread = spawn(switch_and_stay, NULL);
    sem_wait_for(&gate.inside);
    int id = xctx_watch(unwatch_gate, &unwatching);
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0); /* would never return if it waited */
    assert_int_equal(unwatching.error, 0);
    assert_true(unwatching.other_id >= 0);
    assert_int_not_equal(unwatching.other_id, gate.id);
    assert_int_equal(xctx_unwatch(id), 0);
    sem_post(&gate.open);
    join(thread);
    assert_int_equal(xctx_unwatch(unwatching.other_id), 0);
    /* Now it is free. */
    assert_int_equal(xctx_watch(wait_at_gate, &gate), gate.id);
    assert_int_equal(xctx_unwatch(gate.id), 0);
    int calls = atomic_load(&gate.calls);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(atomic_load(&gate.calls), calls);
    xctx_unref(context);
}

static int unwatch_in_child(void *arg)
{
    enum { MOST_SECONDS = 30 };
    struct gate *gate = arg;
    alarm(MOST_SECONDS);
    CHECK(xctx_unwatch(gate->id) == 0);
    CHECK(xctx_watch(wait_at_gate, gate) == gate->id);
    int calls = atomic_load(&gate->calls);
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    CHECK(atomic_load(&gate->calls) == calls + 2);
    CHECK(xctx_unwatch(gate->id) == 0);
    return 0;
}

TEST(child_forked_while_another_thread_is_in_a_watcher_unwatches_without_waiting)
{
    struct gate gate;
    gate_init(&gate);
    gate.id = xctx_watch(wait_at_gate, &gate);
    pthread_t thread = spawn(switch_and_stay, NULL);
    sem_wait_for(&gate.inside);
    assert_int_equal(in_child(unwatch_in_child, &gate), 0);
    sem_post(&gate.open);
    join(thread);
    assert_int_equal(xctx_unwatch(gate.id), 0);
}

struct forking {
    struct gate gate;
    int status;
    bool is_child;
};

static void *unwatch_there(void *arg)
{
    struct gate *gate = arg;
    CHECK(xctx_unwatch(gate->id) == 0);
    return NULL;
}

/* The child goes on where the parent was: in the watcher. */
static void fork_in_watcher(xctx_context *current, void *user)
{
    struct forking *forking = user;
    if (!current || atomic_fetch_add(&forking->gate.calls, 1) > 0)
        return;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(30);
        forking->is_child = true;
        return;
    }
    while (waitpid(pid, &forking->status, 0) < 0)
        CHECK(errno == EINTR);
}

TEST(child_forked_in_a_watcher_leaves_it_and_another_thread_unwatches_it)
{
    struct forking forking = {.status = -1};
    gate_init(&forking.gate);
    fflush(stdout);
    fflush(stderr);
    forking.gate.id = xctx_watch(fork_in_watcher, &forking);
    xctx_context *context = xctx_new();
    int error = xctx_enter(context);
    if (forking.is_child) {
        CHECK(error == 0);
        CHECK(xctx_current() == context);
        on_thread(unwatch_there, &forking.gate); /* would wait for ever if the watcher still counted as running */
        CHECK(xctx_watch(fork_in_watcher, &forking) == forking.gate.id);
        _exit(0);
    }
    assert_int_equal(error, 0);
    assert_int_equal(forking.status, 0);
    assert_int_equal(xctx_unwatch(forking.gate.id), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

int main(void)
{
    return test_main("watchers that go");
}
