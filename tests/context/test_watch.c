/* SPDX-License-Identifier: MIT */
/* Watchers: told of every switch, on the thread that switches, once. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);

enum { LOG_SIZE = 64 };

struct log {
    int count;
    int wrong_current;
    int stamp[LOG_SIZE];
    xctx_context *context[LOG_SIZE];
    pthread_t thread[LOG_SIZE];
};

static int stamps;

static void note(xctx_context *current, void *user)
{
    struct log *log = user;
    CHECK(log->count < LOG_SIZE);
    log->wrong_current += current != xctx_current();
    log->stamp[log->count] = stamps++;
    log->context[log->count] = current;
    log->thread[log->count] = pthread_self();
    log->count++;
}

TEST(watcher_is_called_after_enter_and_exit)
{
    struct log log = {0};
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    int id = xctx_watch(note, &log);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(log.count, 1);
    assert_ptr_equal(log.context[0], context);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(log.count, 2);
    assert_ptr_equal(log.context[1], before);
    assert_int_equal(log.wrong_current, 0);
    assert_int_equal(xctx_unwatch(id), 0);
    xctx_unref(context);
}

TEST(watcher_is_not_called_by_switches_that_fail)
{
    struct log log = {0};
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    int id = xctx_watch(note, &log);
    assert_int_equal(xctx_enter(context), -EBUSY);
    assert_int_equal(xctx_enter(NULL), -EINVAL);
    assert_int_equal(xctx_exit(NULL), -EINVAL);
    assert_int_equal(xctx_exit(test_context), -EPERM);
    assert_int_equal(log.count, 0);
    assert_int_equal(xctx_unwatch(id), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

TEST(watcher_is_not_called_by_copies_and_sets)
{
    struct log log = {0};
    int id = xctx_watch(note, &log);
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    xctx_unref(xctx_copy_current());
    XCTX_LET (&plain, number(2)) {
    }
    assert_int_equal(log.count, 0);
    assert_int_equal(xctx_unwatch(id), 0);
}

static void *switch_on_fresh_thread(void *arg)
{
    (void)arg;
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    return NULL;
}

TEST(watcher_is_called_on_the_thread_that_switches)
{
    struct log log = {0};
    int id = xctx_watch(note, &log);
    pthread_t thread = spawn(switch_on_fresh_thread, NULL);
    join(thread);
    assert_int_equal(xctx_unwatch(id), 0);
    assert_int_equal(log.count, 2);
    assert_true(pthread_equal(log.thread[0], thread));
    assert_true(pthread_equal(log.thread[1], thread));
}

TEST(watcher_gets_null_where_no_context_is_left)
{
    struct log log = {0};
    int id = xctx_watch(note, &log);
    on_thread(switch_on_fresh_thread, NULL);
    assert_int_equal(xctx_unwatch(id), 0);
    assert_int_equal(log.count, 2);
    assert_null(log.context[1]);
    assert_int_equal(log.wrong_current, 0);
}

static void *do_nothing(void *arg)
{
    return arg;
}

TEST(watcher_is_called_twice_by_run)
{
    struct log log = {0};
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    int id = xctx_watch(note, &log);
    assert_int_equal(xctx_run(context, do_nothing, NULL, NULL), 0);
    assert_int_equal(xctx_unwatch(id), 0);
    assert_int_equal(log.count, 2);
    assert_ptr_equal(log.context[0], context);
    assert_ptr_equal(log.context[1], before);
    xctx_unref(context);
}

TEST(watcher_is_called_twice_by_a_bound_call)
{
    struct log log = {0};
    xctx_context *before = xctx_current();
    xctx_bound *bound = xctx_bind(do_nothing, NULL);
    int id = xctx_watch(note, &log);
    xctx_bound_call(bound);
    assert_int_equal(xctx_unwatch(id), 0);
    assert_int_equal(log.count, 2);
    assert_ptr_not_equal(log.context[0], before);
    assert_ptr_equal(log.context[1], before);
    assert_int_equal(log.wrong_current, 0);
    xctx_bound_unref(bound);
}

static void *report_current(void *arg)
{
    (void)arg;
    return xctx_current();
}

TEST(watcher_is_called_on_a_thread_that_starts_in_a_context)
{
    struct log log = {0};
    pthread_t thread;
    int id = xctx_watch(note, &log);
    assert_int_equal(xctx_thread_create(&thread, NULL, report_current, NULL), 0);
    void *context = join(thread);
    assert_int_equal(xctx_unwatch(id), 0);
    assert_true(log.count >= 1);
    assert_ptr_equal(log.context[0], context);
    assert_int_equal(log.wrong_current, 0);
}

TEST(watchers_are_called_in_the_order_of_their_numbers)
{
    struct log logs[3] = {0};
    int ids[3];
    xctx_context *context = xctx_new();
    for (int i = 0; i < 3; i++)
        ids[i] = xctx_watch(note, &logs[i]);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    for (int a = 0; a < 3; a++) {
        assert_int_equal(logs[a].count, 2);
        for (int b = 0; b < 3; b++) {
            assert_int_equal(ids[a] < ids[b], logs[a].stamp[0] < logs[b].stamp[0]);
            assert_int_equal(ids[a] < ids[b], logs[a].stamp[1] < logs[b].stamp[1]);
        }
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(xctx_unwatch(ids[i]), 0);
    xctx_unref(context);
}

TEST(watch_has_16_places)
{
    struct log log = {0};
    int ids[16];
    bool taken[16] = {false};
    for (int i = 0; i < 16; i++) {
        ids[i] = xctx_watch(note, &log);
        assert_true(ids[i] >= 0 && ids[i] < 16);
        assert_false(taken[ids[i]]);
        taken[ids[i]] = true;
    }
    assert_int_equal(xctx_watch(note, &log), -ENOSPC);
    assert_int_equal(xctx_unwatch(ids[5]), 0);
    assert_int_equal(xctx_watch(note, &log), ids[5]);
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(log.count, 16);
    for (int i = 0; i < 16; i++)
        assert_int_equal(xctx_unwatch(ids[i]), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(log.count, 16);
    xctx_unref(context);
}

TEST(watch_of_null_is_refused)
{
    assert_int_equal(xctx_watch(NULL, NULL), -EINVAL);
}

TEST(unwatch_of_what_is_not_there_is_refused)
{
    struct log log = {0};
    assert_int_equal(xctx_unwatch(-1), -EINVAL);
    assert_int_equal(xctx_unwatch(16), -EINVAL);
    assert_int_equal(xctx_unwatch(3), -EINVAL);
    int id = xctx_watch(note, &log);
    assert_int_equal(xctx_unwatch(id), 0);
    assert_int_equal(xctx_unwatch(id), -EINVAL);
}

static void switch_again(xctx_context *current, void *user)
{
    note(current, user);
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(&plain, number(1), NULL) == 0);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
}

TEST(watcher_that_switches_does_not_call_itself)
{
    struct log log = {0};
    xctx_context *context = xctx_new();
    int id = xctx_watch(switch_again, &log);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(log.count, 1);
    assert_ptr_equal(xctx_current(), context);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(log.count, 2);
    assert_int_equal(xctx_unwatch(id), 0);
    xctx_unref(context);
}

static void use_everything(xctx_context *current, void *user)
{
    int *calls = user;
    ++*calls;
    xctx_context *copy = xctx_copy_current();
    CHECK(copy != NULL);
    CHECK(current == NULL || xctx_equal(copy, current));
    CHECK(xctx_var_set(&plain, number(*calls), NULL) == 0);
    XCTX_LET (&plain, number(1000)) {
        CHECK(as_number(xctx_var_get(&plain)) == 1000);
    }
    xctx_unref(copy);
}

TEST(watcher_may_set_variables_in_the_context_that_was_entered)
{
    int calls = 0;
    xctx_context *context = xctx_new();
    int id = xctx_watch(use_everything, &calls);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(as_number(xctx_var_get(&plain)), 2);
    assert_int_equal(xctx_unwatch(id), 0);
    xctx_unref(context);
}

struct self {
    int id;
    int calls;
    int error;
};

static void unwatch_self(xctx_context *current, void *user)
{
    (void)current;
    struct self *self = user;
    self->calls++;
    self->error = xctx_unwatch(self->id);
}

TEST(watcher_may_unwatch_itself)
{
    struct self self = {0};
    xctx_context *context = xctx_new();
    self.id = xctx_watch(unwatch_self, &self);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(self.calls, 1);
    assert_int_equal(self.error, 0);
    assert_int_equal(xctx_unwatch(self.id), -EINVAL);
    xctx_unref(context);
}

/* A watcher that stays in its function until it is let go. */
struct gate {
    sem_t inside;
    sem_t open;
    atomic_bool left;
    atomic_bool unwatched;
    int id;
};

static void wait_at_gate(xctx_context *current, void *user)
{
    struct gate *gate = user;
    if (!current)
        return;
    sem_post(&gate->inside);
    sem_wait_for(&gate->open);
    CHECK(!atomic_load(&gate->unwatched));
    atomic_store(&gate->left, true);
}

static void *unwatch_gate(void *arg)
{
    struct gate *gate = arg;
    CHECK(xctx_unwatch(gate->id) == 0);
    CHECK(atomic_load(&gate->left));
    atomic_store(&gate->unwatched, true);
    return NULL;
}

TEST(unwatch_waits_for_a_watcher_that_is_running_on_another_thread)
{
    struct gate gate = {.id = -1};
    sem_init(&gate.inside, 0, 0);
    sem_init(&gate.open, 0, 0);
    gate.id = xctx_watch(wait_at_gate, &gate);
    pthread_t switcher = spawn(switch_on_fresh_thread, NULL);
    sem_wait_for(&gate.inside);
    pthread_t unwatcher = spawn(unwatch_gate, &gate);
    usleep(20000);
    sem_post(&gate.open);
    join(unwatcher);
    join(switcher);
    assert_true(gate.unwatched);
}

int main(void)
{
    return test_main("watchers");
}
