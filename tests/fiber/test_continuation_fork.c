/* SPDX-License-Identifier: MIT */
/* fork() while there are shots; shots in processes that are forked for them, and what can go wrong there. */
#include <signal.h>
#include <sys/time.h>

#include "counted.h"
#include "fiber_support.h"
#include "threads.h"

XCTX_VAR_DEFINE(kept, .retain = counted_retain, .release = counted_release);

static void *add_up(void *argument)
{
    long sum = as_number(argument);

    counted_set(&kept, sum);
    for (int i = 0; i < 2; i++)
        sum += as_number(xctx_fiber_yield(number(sum)));
    return number(sum + counted_number(xctx_var_get(&kept)));
}

/* A continuation of add_up(100) before the first number. */
static xctx_continuation *capture_sum(void)
{
    xctx_fiber *fiber = make(add_up, number(100));

    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    xctx_fiber_unref(fiber);
    return continuation;
}

/* In a child of fork() ThreadSanitizer does not see any more that one switch of fibers comes before another. */
static void skip_unless_children_can_resume(void)
{
    if (TEST_TSAN)
        skip();
}

/* ---- fork() ---- */

struct family {
    xctx_continuation *continuation;
    xctx_fiber *resident;
    xctx_fiber *parked;
    xctx_fiber *fresh;
};

static void family_make(struct family *family)
{
    family->continuation = capture_sum();
    family->parked = shot_of(family->continuation);
    family->resident = shot_of(family->continuation);
    family->fresh = shot_of(family->continuation);
    CHECK(as_number(step(family->parked, number(1))) == 101);
    CHECK(as_number(step(family->resident, number(2))) == 102);
}

static int family_finish(void *argument)
{
    struct family *family = argument;

    CHECK(as_number(last_step(family->parked, number(10))) == 211);
    CHECK(as_number(last_step(family->resident, number(10))) == 212);
    CHECK(as_number(step(family->fresh, number(3))) == 103);
    CHECK(as_number(last_step(family->fresh, number(10))) == 213);
    for (int i = 0; i < 3; i++) {
        xctx_fiber *shot = shot_of(family->continuation);
        step(shot, number(i));
        CHECK(as_number(last_step(shot, number(10))) == 210 + i);
    }
    xctx_continuation_unref(family->continuation);
    return 0;
}

TEST(shots_go_on_in_the_child_and_in_the_parent)
{
    skip_unless_children_can_resume();
    struct family family;

    family_make(&family);
    assert_int_equal(in_child(family_finish, &family), 0);
    family_finish(&family);
}

static void *make_family(void *argument)
{
    family_make(argument);
    return NULL;
}

TEST(shots_of_a_thread_that_did_not_come_along_go_on_in_the_child)
{
    skip_unless_children_can_resume();
    struct worker worker;
    struct family family;

    worker_start(&worker);
    worker_do(&worker, make_family, &family);
    assert_int_equal(in_child(family_finish, &family), 0);
    family_finish(&family);
    worker_stop(&worker);
}

/* A shot that runs when the process is forked, on a thread that does not come along. */
struct busy {
    struct family family;
    xctx_fiber *running;
    sem_t runs;
    sem_t go;
};

static void *wait_in_fiber(void *argument)
{
    struct busy *busy = argument;

    if (xctx_fiber_yield(NULL)) {
        CHECK(sem_post(&busy->runs) == 0);
        sem_wait_for(&busy->go);
    }
    return number(7);
}

static void *run_shot(void *argument)
{
    struct busy *busy = argument;

    return last_step(busy->running, number(1));
}

static int use_what_is_left(void *argument)
{
    const struct busy *busy = argument;
    xctx_fiber *shot = shot_of(busy->family.continuation);

    CHECK(as_number(last_step(shot, NULL)) == 7);
    CHECK(xctx_fiber_resume(busy->running, NULL, NULL) == -EINVAL);
    CHECK(as_number(last_step(busy->family.parked, NULL)) == 7);
    xctx_continuation_unref(capture(busy->family.fresh));
    xctx_fiber_unref(busy->family.fresh);
    xctx_continuation_unref(busy->family.continuation);
    return 0;
}

static int give_up_what_is_left(void *argument)
{
    const struct busy *busy = argument;

    xctx_fiber_unref(busy->running); /* it is lost, but does no harm */
    CHECK(as_number(last_step(busy->family.parked, NULL)) == 7);
    xctx_fiber_unref(busy->family.fresh);
    xctx_continuation_unref(busy->family.continuation);
    return 0;
}

TEST(child_has_the_stack_of_a_shot_that_another_thread_runs)
{
    skip_unless_children_can_resume();
    struct busy busy;
    xctx_fiber *fiber = make(wait_in_fiber, &busy);

    step(fiber, NULL);
    busy.family.continuation = capture(fiber);
    busy.family.parked = fiber;
    busy.family.fresh = shot_of(busy.family.continuation);
    busy.running = shot_of(busy.family.continuation);
    CHECK(sem_init(&busy.runs, 0, 0) == 0 && sem_init(&busy.go, 0, 0) == 0);
    pthread_t thread = spawn(run_shot, &busy);
    sem_wait_for(&busy.runs);
    assert_int_equal(in_child(use_what_is_left, &busy), 0);
    assert_int_equal(in_child(give_up_what_is_left, &busy), 0);
    CHECK(sem_post(&busy.go) == 0);
    assert_int_equal(as_number(join(thread)), 7);
    assert_int_equal(as_number(last_step(fiber, NULL)), 7);
    xctx_fiber_unref(busy.family.fresh);
    xctx_continuation_unref(busy.family.continuation);
    sem_destroy(&busy.runs);
    sem_destroy(&busy.go);
}

static atomic_bool stop;

static void *use_shots(void *argument)
{
    while (!atomic_load(&stop)) {
        xctx_fiber *shot = shot_of(argument);
        xctx_fiber *other = shot_of(argument);
        step(shot, number(1));
        step(other, number(2));
        CHECK(as_number(last_step(shot, number(1))) == 202);
        xctx_continuation_unref(capture(other));
        xctx_fiber_unref(other);
    }
    return NULL;
}

static int use_in_child(void *argument)
{
    struct family *family = argument;

    for (int i = 0; i < 3; i++) {
        xctx_fiber *shot = shot_of(family->continuation);
        step(shot, number(i));
        CHECK(as_number(last_step(shot, number(10))) == 210 + i);
    }
    return 0;
}

/* At whatever point the others are. */
TEST(children_have_the_stack_whatever_other_threads_do)
{
    skip_unless_children_can_resume();
    enum { THREADS = 2 };
    struct family family = {.continuation = capture_sum()};
    pthread_t threads[THREADS];

    atomic_store(&stop, false);
    for (int i = 0; i < THREADS; i++)
        threads[i] = spawn(use_shots, family.continuation);
    for (long i = 0; i < scaled(200); i++)
        assert_int_equal(in_child(use_in_child, &family), 0);
    atomic_store(&stop, true);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    xctx_continuation_unref(family.continuation);
}

/* ---- processes for shots ---- */

enum { MOST = 40, SPECIAL = 5 };

static int sum_of(xctx_fiber *shot, long index)
{
    void *out = NULL;

    CHECK(as_number(step(shot, number(index))) == 100 + index);
    CHECK(xctx_fiber_resume(shot, number(1), &out) == 0);
    return (int)as_number(out);
}

static int sum_up(xctx_fiber *shot, size_t index, void *argument)
{
    (void)argument;
    return sum_of(shot, (long)index);
}

static int die_at_one(xctx_fiber *shot, size_t index, void *argument)
{
    (void)argument;
    if (index == SPECIAL)
        raise(SIGKILL);
    return sum_of(shot, (long)index);
}

static int die(xctx_fiber *shot, size_t index, void *argument)
{
    (void)argument;
    if (index % 2)
        _exit(0); /* also an end before its time */
    step(shot, NULL);
    raise(SIGKILL);
    return 0;
}

static int refuse(xctx_fiber *shot, size_t index, void *argument)
{
    (void)shot;
    (void)argument;
    return -(int)index;
}

static void check_sums(const int *results, int count, int but)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(results[i], i == but ? -ECANCELED : 201 + i);
}

TEST(every_shot_has_a_result_whatever_the_number_of_processes)
{
    skip_unless_children_can_resume();
    static const unsigned processes[] = {0, 1, 2, 3, MOST, 1000};
    xctx_continuation *continuation = capture_sum();
    int results[MOST];

    for (size_t i = 0; i < sizeof(processes) / sizeof(processes[0]); i++) {
        memset(results, 1, sizeof(results));
        assert_int_equal(xctx_continuation_fork(continuation, MOST, processes[i], sum_up, NULL, results), 0);
        check_sums(results, MOST, -1);
    }
    assert_int_equal(xctx_continuation_fork(continuation, 1, 8, sum_up, NULL, results), 0);
    check_sums(results, 1, -1);
    assert_int_equal(xctx_continuation_fork(continuation, 0, 8, sum_up, NULL, results), 0);
    assert_int_equal(xctx_continuation_fork(continuation, 3, 2, sum_up, NULL, NULL), 0);
    xctx_continuation_unref(continuation);
}

TEST(process_that_dies_costs_one_result)
{
    skip_unless_children_can_resume();
    xctx_continuation *continuation = capture_sum();
    int results[MOST];

    for (unsigned processes = 1; processes <= 4; processes++) {
        assert_int_equal(xctx_continuation_fork(continuation, MOST, processes, die_at_one, NULL, results), 0);
        check_sums(results, MOST, SPECIAL);
    }
    xctx_continuation_unref(continuation);
}

TEST(processes_that_all_die_leave_no_result)
{
    skip_unless_children_can_resume();
    xctx_continuation *continuation = capture_sum();
    int results[MOST];

    assert_int_equal(xctx_continuation_fork(continuation, MOST, 3, die, NULL, results), 0);
    for (int i = 0; i < MOST; i++)
        assert_int_equal(results[i], -ECANCELED);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    xctx_continuation_unref(continuation);
}

TEST(results_are_what_the_function_returned)
{
    xctx_continuation *continuation = capture_sum();
    int results[MOST];

    assert_int_equal(xctx_continuation_fork(continuation, MOST, 2, refuse, NULL, results), 0);
    for (int i = 0; i < MOST; i++)
        assert_int_equal(results[i], -i);
    xctx_continuation_unref(continuation);
}

static volatile sig_atomic_t alarms;

static void count_alarm(int number)
{
    (void)number;
    alarms = alarms + 1;
}

static int take_a_while(xctx_fiber *shot, size_t index, void *argument)
{
    const struct timespec pause = {.tv_nsec = 5000000};

    (void)argument;
    while (nanosleep(&pause, NULL) != 0)
        ;
    return sum_of(shot, (long)index);
}

TEST(signals_do_not_end_the_waiting)
{
    skip_unless_children_can_resume();
    const struct itimerval often = {.it_interval.tv_usec = 500, .it_value.tv_usec = 500};
    const struct itimerval never = {.it_value.tv_usec = 0};
    struct sigaction action = {.sa_handler = count_alarm};
    struct sigaction before;
    xctx_continuation *continuation = capture_sum();
    int results[MOST];

    assert_int_equal(sigaction(SIGALRM, &action, &before), 0);
    alarms = 0;
    assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
    assert_int_equal(xctx_continuation_fork(continuation, MOST, 4, take_a_while, NULL, results), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
    sched_yield(); /* emulators are late with the last one */
    assert_true(signal(SIGALRM, SIG_IGN) != SIG_ERR);
    assert_int_equal(sigaction(SIGALRM, &before, NULL), 0);
    assert_true(alarms > 0);
    check_sums(results, MOST, -1);
    xctx_continuation_unref(continuation);
}

TEST(processes_that_nobody_is_to_wait_for_have_results)
{
    skip_unless_children_can_resume();
    struct sigaction ignore = {.sa_handler = SIG_IGN};
    struct sigaction before;
    xctx_continuation *continuation = capture_sum();
    int results[MOST];

    assert_int_equal(sigaction(SIGCHLD, &ignore, &before), 0);
    assert_int_equal(xctx_continuation_fork(continuation, MOST, 4, die_at_one, NULL, results), 0);
    assert_int_equal(sigaction(SIGCHLD, &before, NULL), 0);
    check_sums(results, MOST, SPECIAL);
    xctx_continuation_unref(continuation);
}

/* ---- from inside, with hooks, while others run ---- */

static atomic_long values;

static int clone_value(void *value, void **ret_value)
{
    long *copy = malloc(sizeof(*copy));

    CHECK(copy);
    *copy = *(long *)value;
    atomic_fetch_add(&values, 1);
    *ret_value = copy;
    return 0;
}

static void drop_value(void *value)
{
    atomic_fetch_sub(&values, 1);
    free(value);
}

static void *with_value(void *argument)
{
    long *value = malloc(sizeof(*value));
    xctx_fiber_hook hook = {.on_clone = clone_value, .on_drop = drop_value};

    CHECK(value);
    *value = as_number(argument);
    atomic_fetch_add(&values, 1);
    CHECK(xctx_fiber_hook_push(&hook, &value) == 0);
    *value += as_number(xctx_fiber_yield(NULL));
    xctx_fiber_hook_pop(&hook);
    long result = *value;
    drop_value(value);
    return number(result);
}

/* Besides it leaves no value behind. */
static int result_of(xctx_fiber *shot, size_t index, void *argument)
{
    void *out = NULL;

    if (index % 2 == 0)
        return atomic_load(&values) == *(long *)argument + 1 ? 40 + (int)index : -1;
    CHECK(xctx_fiber_resume(shot, number((long)index), &out) == 0);
    return atomic_load(&values) == *(long *)argument ? (int)as_number(out) : -1;
}

static void *fork_inside(void *argument)
{
    xctx_continuation *continuation = argument;
    long before = atomic_load(&values);
    int results[MOST];

    CHECK(xctx_continuation_fork(continuation, MOST, 2, result_of, &before, results) == 0);
    for (int i = 0; i < MOST; i++)
        CHECK(results[i] == 40 + i);
    return argument;
}

TEST(hooks_give_shots_in_processes_values_and_fibers_fork_them)
{
    skip_unless_children_can_resume();
    xctx_fiber *fiber = make(with_value, number(40));

    step(fiber, NULL);
    xctx_continuation *continuation = capture(fiber);
    fork_inside(continuation);
    xctx_fiber *other = make(fork_inside, continuation);
    assert_ptr_equal(last_step(other, NULL), continuation);
    assert_int_equal(as_number(last_step(fiber, number(2))), 42);
    xctx_continuation_unref(continuation);
    assert_int_equal(atomic_load(&values), 0);
}

/* Says that it runs, by a pipe that is open as long as it does. */
static int wait_for_ever(xctx_fiber *shot, size_t index, void *argument)
{
    (void)shot;
    (void)index;
    CHECK(write(*(int *)argument, "x", 1) == 1);
    while (pause())
        ;
    return 0;
}

TEST(processes_go_with_the_one_that_waits_for_them)
{
    int ends[2];
    char byte;

    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        xctx_continuation_fork(capture_sum(), 2, 2, wait_for_ever, &ends[1], NULL);
        _exit(0);
    }
    close(ends[1]);
    for (int i = 0; i < 2; i++)
        assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* nobody has the other end any more */
    close(ends[0]);
}

int main(void)
{
    return test_main("shots in forked processes");
}
