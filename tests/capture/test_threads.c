/* SPDX-License-Identifier: MIT */
/* xctx_snapshot_take_thread() and xctx_snapshot_take_all(): threads that spin, wait, block signals, end and ask. */
#include <signal.h>
#include <sys/syscall.h>

#include "../support/target.h"

#define SHORT (SECOND / 50)

/* A register that a call does not preserve. */
#ifdef __x86_64__
static const char first_argument[] = "rdi";
#else
static const char first_argument[] = "x0";
#endif

static XCTX_VAR_DEFINE(plain);

__attribute__((noinline)) static void spin_here(struct target *target)
{
    while (!atomic_load(&target->end))
        sched_yield();
}

static void *spin(void *arg)
{
    CHECK(xctx_var_set(&plain, number(41), NULL) == 0);
    target_ready(arg);
    spin_here(arg);
    return NULL;
}

static void *wait_in_sigwait(void *arg)
{
    sigset_t all;
    int signal_number = 0;
    sigfillset(&all);
    block_all();
    target_ready(arg);
    CHECK(sigwait(&all, &signal_number) == 0);
    return number(signal_number);
}

TEST(thread_that_spins_is_captured_with_all_registers)
{
    struct target target;
    xctx_snapshot *snapshot;
    uint64_t pc, sp, word;
    target_start(&target, spin);
    take(target.tid, XCTX_CAPTURE_ALL, &snapshot);
    assert_int_equal(xctx_snapshot_register(snapshot, "pc", &pc), 0);
    assert_int_equal(xctx_snapshot_register(snapshot, "sp", &sp), 0);
    assert_int_equal(xctx_snapshot_register(snapshot, first_argument, &word), 0);
    assert_int_equal(xctx_snapshot_read(snapshot, sp, &word, sizeof(word)), 0);
    assert_true(xctx_snapshot_thread_state(snapshot)->present & XCTX_THREAD_STACK);
    xctx_snapshot_unref(snapshot);
    target_stop(&target);
}

TEST(thread_is_captured_where_it_was_and_not_in_the_handler)
{
    struct target target;
    xctx_snapshot *snapshot;
    uintptr_t pcs[XCTX_SNAPSHOT_ADDRESSES];
    uint64_t pc;
    target_start(&target, spin);
    take(target.tid, XCTX_CAPTURE_ALL, &snapshot);
    assert_int_equal(xctx_snapshot_register(snapshot, "pc", &pc), 0);
    assert_true(xctx_snapshot_stack(snapshot, pcs, XCTX_SNAPSHOT_ADDRESSES) >= 1);
    assert_int_equal(pcs[0], pc);
    xctx_snapshot_unref(snapshot);
    target_stop(&target);
}

TEST(thread_is_captured_with_its_variables)
{
    struct target target;
    xctx_snapshot *snapshot;
    void *value = NULL;
    target_start(&target, spin);
    take(target.tid, XCTX_CAPTURE_STACK, &snapshot);
    assert_non_null(xctx_snapshot_context(snapshot));
    assert_int_equal(xctx_lookup(xctx_snapshot_context(snapshot), &plain, &value), 1);
    assert_int_equal(as_number(value), 41);
    xctx_snapshot_unref(snapshot);
    target_stop(&target);
}

TEST(thread_in_a_system_call_is_captured_and_the_call_goes_on)
{
    struct target target;
    xctx_snapshot *snapshot;

    NEEDS_SIGNALS_AT_ONCE;
    target_start(&target, wait_in_read);
    take(target.tid, XCTX_CAPTURE_ALL, &snapshot);
    xctx_snapshot_unref(snapshot);
    target_stop(&target); /* read() gets its byte, or the check in it fails */
}

TEST(thread_can_be_captured_again_and_again)
{
    struct target target;
    target_start(&target, spin);
    for (long i = scaled(400); i > 0; i--) {
        xctx_snapshot *snapshot;
        take(target.tid, XCTX_CAPTURE_LOCALS, &snapshot);
        xctx_snapshot_unref(snapshot);
    }
    target_stop(&target);
}

TEST(thread_that_asks_for_itself_is_captured)
{
    xctx_snapshot *snapshot;
    take(own_tid(), XCTX_CAPTURE_ALL, &snapshot);
    assert_int_equal(xctx_snapshot_captured(snapshot), XCTX_CAPTURE_ALL);
    xctx_snapshot_unref(snapshot);
}

TEST(thread_that_blocks_the_signal_lets_the_time_pass)
{
    struct target target;
    xctx_snapshot *snapshot = (void *)&target;
    target_start(&target, wait_with_all_blocked);
    for (int i = 0; i < 100; i++)
        assert_int_equal(xctx_snapshot_take_thread(target.tid, XCTX_CAPTURE_LOCALS, SHORT / 20, &snapshot), -ETIMEDOUT);
    assert_ptr_equal(snapshot, (void *)&target);
    target_stop(&target);
}

TEST(thread_that_blocked_the_signal_is_captured_as_soon_as_others_do_not)
{
    struct target blocking, spinning;
    xctx_snapshot *snapshot;
    target_start(&blocking, wait_with_all_blocked);
    target_start(&spinning, spin);
    /* More often than requests can be under way. */
    for (int i = 0; i < 80; i++)
        assert_int_equal(xctx_snapshot_take_thread(blocking.tid, 0, 0, &snapshot), -ETIMEDOUT);
    take(spinning.tid, XCTX_CAPTURE_LOCALS, &snapshot);
    xctx_snapshot_unref(snapshot);
    target_stop(&spinning);
    target_stop(&blocking);
}

TEST(thread_in_sigwait_gets_no_signal)
{
    struct target target;
    xctx_snapshot *snapshot;
    if (getenv("XCTX_TEST_EMULATED"))
        skip(); /* what /proc tells is of the emulator */
    target_start(&target, wait_in_sigwait);
    assert_int_equal(xctx_snapshot_take_thread(target.tid, XCTX_CAPTURE_LOCALS, SHORT, &snapshot), -ETIMEDOUT);
    assert_int_equal(pthread_kill(target.thread, SIGUSR2), 0);
    assert_int_equal(as_number(join(target.thread)), SIGUSR2);
}

TEST(thread_that_has_ended_is_not_found)
{
    struct target target;
    xctx_snapshot *snapshot = NULL;
    target_start(&target, spin);
    target_stop(&target);
    int error = xctx_snapshot_take_thread(target.tid, XCTX_CAPTURE_ALL, LONG, &snapshot);
    assert_int_equal(error, -ESRCH);
    assert_null(snapshot);
}

TEST(thread_of_another_process_is_not_found)
{
    xctx_snapshot *snapshot = NULL;
    assert_int_equal(xctx_snapshot_take_thread((int)getppid(), XCTX_CAPTURE_ALL, LONG, &snapshot), -ESRCH);
    assert_int_equal(xctx_snapshot_take_thread(0, XCTX_CAPTURE_ALL, LONG, &snapshot), -ESRCH);
    assert_int_equal(xctx_snapshot_take_thread(-5, XCTX_CAPTURE_ALL, LONG, &snapshot), -ESRCH);
}

TEST(take_with_wrong_arguments_is_refused)
{
    xctx_snapshot *snapshot, **snapshots;
    size_t count;
    assert_int_equal(xctx_snapshot_take_thread(own_tid(), 0x8000, LONG, &snapshot), -EINVAL);
    assert_int_equal(xctx_snapshot_take_thread(own_tid(), 0, LONG, NULL), -EINVAL);
    assert_int_equal(xctx_snapshot_take_all(0x8000, LONG, &snapshots, &count), -EINVAL);
    assert_int_equal(xctx_snapshot_take_all(0, LONG, NULL, &count), -EINVAL);
    assert_int_equal(xctx_snapshot_take_all(0, LONG, &snapshots, NULL), -EINVAL);
}

TEST(all_threads_are_captured_this_one_first_the_others_in_order)
{
    struct target targets[5];
    xctx_snapshot **snapshots;
    size_t count = 0;
    NEEDS_SIGNALS_AT_ONCE;
    for (int i = 0; i < 5; i++)
        target_start(&targets[i], i % 2 ? spin : wait_in_read);
    assert_int_equal(xctx_snapshot_take_all(XCTX_CAPTURE_ALL, LONG, &snapshots, &count), 0);
    assert_true(count >= 6);
    assert_int_equal(xctx_snapshot_thread_state(snapshots[0])->tid, own_tid());
    for (size_t i = 2; i < count; i++)
        assert_true(xctx_snapshot_thread_state(snapshots[i])->tid > xctx_snapshot_thread_state(snapshots[i - 1])->tid);
    for (int k = 0; k < 5; k++) {
        int found = 0;
        for (size_t i = 0; i < count; i++)
            found += xctx_snapshot_thread_state(snapshots[i])->tid == targets[k].tid &&
                     xctx_snapshot_captured(snapshots[i]) == XCTX_CAPTURE_ALL;
        assert_int_equal(found, 1);
    }
    xctx_snapshot_unref_all(snapshots, count);
    for (int i = 0; i < 5; i++)
        target_stop(&targets[i]);
}

/* The snapshot of one of all threads, which is in the array. */
static xctx_snapshot *snapshot_of(xctx_snapshot *const snapshots[], size_t count, int tid)
{
    xctx_snapshot *found = NULL;
    for (size_t i = 0; i < count; i++) {
        if (xctx_snapshot_thread_state(snapshots[i])->tid == tid) {
            assert_null(found);
            found = snapshots[i];
        }
    }
    assert_non_null(found);
    return found;
}

/* A thread that takes no signals and does not wait for anything. */
static void *spin_with_all_blocked(void *arg)
{
    block_all();
    return spin(arg);
}

TEST(all_threads_have_among_them_those_that_cannot_be_seen_with_nothing_captured)
{
    struct target target;
    xctx_snapshot **snapshots;
    size_t count = 0;
    NEEDS_SIGNALS_AT_ONCE;
    target_start(&target, spin_with_all_blocked);
    assert_int_equal(xctx_snapshot_take_all(XCTX_CAPTURE_STACK, LONG, &snapshots, &count), 0);
    const xctx_snapshot *snapshot = snapshot_of(snapshots, count, target.tid);
    const xctx_thread_state *state = xctx_snapshot_thread_state(snapshot);
    assert_int_equal(xctx_snapshot_captured(snapshot), 0);
    assert_true(state->present & XCTX_THREAD_IDS);
    assert_false(state->present & XCTX_THREAD_OUTSIDE);
    assert_int_equal(state->pid, getpid());
    xctx_snapshot_unref_all(snapshots, count);
    target_stop(&target);
}

/* Whether the system lets a thread be looked at. Emulators do not have the file, or do not have it right. */
static bool is_seen(int tid)
{
    char path[64], text[256];
    void *list;
    size_t size;
    snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
    FILE *file = fopen(path, "re");
    bool seen = file && fgets(text, sizeof(text), file) && strchr(text, 'x') && !getenv("XCTX_TEST_EMULATED") &&
                syscall(SYS_get_robust_list, tid, &list, &size) == 0 && list;
    if (file)
        fclose(file);
    return seen;
}

/* Until the thread waits: /proc says what state it is in behind its name. */
static void wait_until_it_sleeps(int tid)
{
    char path[64], text[256], state = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/stat", tid);
    while (state != 'S') {
        FILE *file = fopen(path, "re");
        CHECK(file && fgets(text, sizeof(text), file));
        const char *name_end = strrchr(text, ')');
        CHECK(name_end && name_end[1]);
        state = name_end[2];
        fclose(file);
        sched_yield();
    }
}

static void check_outside(void *(*fn)(void *))
{
    struct target target;
    xctx_snapshot **snapshots;
    size_t count = 0;
    uint64_t pc, sp, word;
    target_start(&target, fn);
    wait_until_it_sleeps(target.tid);
    if (is_seen(target.tid)) {
        assert_int_equal(xctx_snapshot_take_all(XCTX_CAPTURE_ALL, LONG, &snapshots, &count), 0);
        const xctx_snapshot *snapshot = snapshot_of(snapshots, count, target.tid);
        const xctx_thread_state *state = xctx_snapshot_thread_state(snapshot);
        assert_int_equal(xctx_snapshot_captured(snapshot), XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_REGISTERS);
        assert_true(state->present & XCTX_THREAD_OUTSIDE);
        assert_int_equal(xctx_snapshot_register(snapshot, "pc", &pc), 0);
        assert_int_equal(xctx_snapshot_register(snapshot, "sp", &sp), 0);
        assert_true(sp >= state->stack_low && sp < state->stack_high);
        assert_int_equal(xctx_snapshot_register(snapshot, first_argument, &word), -ENODATA);
        assert_int_equal(xctx_snapshot_read(snapshot, sp, &word, sizeof(word)), 0);
        /* The thread's own things begin above the stack. */
        assert_true(state->stack_high <= (uint64_t)target.thread);
        assert_int_equal(xctx_snapshot_read(snapshot, (uint64_t)target.thread, &word, sizeof(word)), -EFAULT);
        xctx_snapshot_unref_all(snapshots, count);
    }
    if (fn == wait_in_sigwait)
        CHECK(pthread_kill(target.thread, SIGUSR1) == 0);
    target_stop(&target);
}

TEST(thread_that_blocks_the_signal_and_waits_is_seen_from_outside)
{
    NEEDS_SIGNALS_AT_ONCE;
    check_outside(wait_with_all_blocked);
}

TEST(thread_in_sigwait_is_seen_from_outside)
{
    NEEDS_SIGNALS_AT_ONCE;
    check_outside(wait_in_sigwait);
}

/* A thread that runs and waits in turn, with a word on its stack that says what it did last. */
static void *run_and_wait(void *arg)
{
    struct target *target = arg;
    struct timespec moment = {.tv_nsec = 20000};
    block_all();
    target_ready(target);
    while (!atomic_load(&target->end))
        nanosleep(&moment, NULL);
    return NULL;
}

TEST(thread_that_runs_now_and_then_is_seen_whole_or_not_at_all)
{
    struct target target;
    NEEDS_SIGNALS_AT_ONCE;
    target_start(&target, run_and_wait);
    for (long i = scaled(20); i > 0; i--) {
        xctx_snapshot **snapshots;
        size_t count = 0;
        uint64_t sp, word;
        assert_int_equal(xctx_snapshot_take_all(XCTX_CAPTURE_LOCALS, 0, &snapshots, &count), 0);
        const xctx_snapshot *snapshot = snapshot_of(snapshots, count, target.tid);
        if (xctx_snapshot_captured(snapshot)) {
            assert_int_equal(xctx_snapshot_register(snapshot, "sp", &sp), 0);
            assert_int_equal(xctx_snapshot_read(snapshot, sp, &word, sizeof(word)), 0);
        } else {
            assert_int_equal(xctx_snapshot_register(snapshot, "sp", &sp), -ENODATA);
        }
        xctx_snapshot_unref_all(snapshots, count);
    }
    target_stop(&target);
}

TEST(many_more_threads_than_requests_under_way_are_captured)
{
    enum { THREADS = 150 };
    static struct target targets[THREADS];
    xctx_snapshot **snapshots;
    size_t count = 0, captured = 0;
    NEEDS_SIGNALS_AT_ONCE;
    for (int i = 0; i < THREADS; i++)
        target_start(&targets[i], wait_in_read);
    assert_int_equal(xctx_snapshot_take_all(XCTX_CAPTURE_LOCALS, LONG, &snapshots, &count), 0);
    for (size_t i = 0; i < count; i++)
        captured += (xctx_snapshot_captured(snapshots[i]) & XCTX_CAPTURE_LOCALS) != 0;
    assert_true(captured >= THREADS + 1);
    xctx_snapshot_unref_all(snapshots, count);
    for (int i = 0; i < THREADS; i++)
        target_stop(&targets[i]);
}

/* Two threads that ask each other, again and again. */
struct pair {
    struct meeting meeting;
    atomic_int tids[2];
    atomic_int next;
};

static void *ask_the_other(void *arg)
{
    struct pair *pair = arg;
    int me = atomic_fetch_add(&pair->next, 1);
    atomic_store(&pair->tids[me], own_tid());
    meet(&pair->meeting);
    for (long i = scaled(200); i > 0; i--) {
        xctx_snapshot *snapshot;
        CHECK(xctx_snapshot_take_thread(pair->tids[!me], XCTX_CAPTURE_LOCALS, LONG, &snapshot) == 0);
        CHECK(xctx_snapshot_thread_state(snapshot)->tid == pair->tids[!me]);
        xctx_snapshot_unref(snapshot);
    }
    meet(&pair->meeting);
    return NULL;
}

TEST(threads_that_ask_each_other_both_get_their_answer)
{
    struct pair pair = {.next = 0};
    meeting_init(&pair.meeting, 2);
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        threads[i] = spawn(ask_the_other, &pair);
    for (int i = 0; i < 2; i++)
        join(threads[i]);
}

static void *take_all_often(void *arg)
{
    (void)arg;
    for (long i = scaled(40); i > 0; i--) {
        xctx_snapshot **snapshots;
        size_t count;
        CHECK(xctx_snapshot_take_all(XCTX_CAPTURE_LOCALS, LONG, &snapshots, &count) == 0);
        CHECK(count >= 1);
        xctx_snapshot_unref_all(snapshots, count);
    }
    return NULL;
}

static void *do_nothing(void *arg)
{
    return arg;
}

TEST(threads_that_start_and_end_while_several_ask_do_no_harm)
{
    pthread_t askers[3];
    NEEDS_SIGNALS_AT_ONCE;
    for (int i = 0; i < 3; i++)
        askers[i] = spawn(take_all_often, NULL);
    for (long i = scaled(300); i > 0; i--)
        on_thread(do_nothing, NULL);
    for (int i = 0; i < 3; i++)
        join(askers[i]);
}

#if !TEST_TSAN /* there a child of several threads may not have some itself */
static int ask_in_child(void *arg)
{
    struct target target;
    xctx_snapshot *snapshot = NULL;
    (void)arg;
    target_start(&target, spin);
    CHECK(xctx_snapshot_take_thread(target.tid, XCTX_CAPTURE_ALL, LONG, &snapshot) == 0);
    CHECK(xctx_snapshot_thread_state(snapshot)->tid == target.tid);
    xctx_snapshot_unref(snapshot);
    target_stop(&target);
    return 7;
}

/* The parent has a request under way when it forks. */
static void *ask_for_long(void *arg)
{
    struct target *target = arg;
    xctx_snapshot *snapshot;
    return number(xctx_snapshot_take_thread(target->tid, XCTX_CAPTURE_LOCALS, LONG, &snapshot));
}

TEST(child_of_a_fork_can_ask_while_the_parent_asks)
{
    struct target target;
    if (getenv("XCTX_TEST_EMULATED"))
        skip(); /* an emulator's threads do not come along */
    target_start(&target, wait_with_all_blocked);
    pthread_t asker = spawn(ask_for_long, &target);
    int status = in_child(ask_in_child, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    target_stop(&target);
    assert_int_equal(as_number(join(asker)), -ESRCH); /* without waiting for its time */
}
#endif

/* Which signal is ours: the one that got a handler. */
static int our_signal(void)
{
    for (int i = SIGRTMAX; i >= SIGRTMIN; i--) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) == 0 && (action.sa_flags & SA_SIGINFO))
            return i;
    }
    return 0;
}

TEST(signals_that_others_send_are_passed_over)
{
    xctx_snapshot *snapshot;
    struct target target;
    target_start(&target, spin);
    take(target.tid, 0, &snapshot);
    xctx_snapshot_unref(snapshot);
    int ours = our_signal();
    assert_int_not_equal(ours, 0);
    assert_int_equal(raise(ours), 0);
    for (long value = -2; value < 200; value++)
        assert_int_equal(sigqueue(getpid(), ours, (union sigval){.sival_ptr = number(value * (1L << 28))}), 0);
    take(target.tid, XCTX_CAPTURE_ALL, &snapshot);
    xctx_snapshot_unref(snapshot);
    target_stop(&target);
}

static atomic_int handled;

static void count_signal(int signal_number)
{
    (void)signal_number;
    atomic_fetch_add(&handled, 1);
}

TEST(signal_that_the_program_takes_away_is_replaced_by_another)
{
    xctx_snapshot *snapshot;
    struct target target;
    target_start(&target, spin);
    take(target.tid, 0, &snapshot);
    xctx_snapshot_unref(snapshot);
    int first = our_signal();
    struct sigaction action = {.sa_handler = count_signal}, before;
    assert_int_equal(sigaction(first, &action, &before), 0);
    take(target.tid, XCTX_CAPTURE_ALL, &snapshot);
    xctx_snapshot_unref(snapshot);
    assert_int_not_equal(our_signal(), first);
    assert_int_equal(handled, 0);
    target_stop(&target);
}

static void *read_errno(void *arg)
{
    struct target *target = arg;
    errno = 4711;
    target_ready(target);
    while (!atomic_load(&target->end))
        CHECK(errno == 4711);
    return NULL;
}

TEST(thread_that_is_captured_keeps_its_errno)
{
    xctx_snapshot *snapshot;
    struct target target;
    NEEDS_SIGNALS_AT_ONCE;
    target_start(&target, read_errno);
    for (int i = 0; i < 20; i++) {
        take(target.tid, XCTX_CAPTURE_ALL, &snapshot);
        assert_int_equal(xctx_snapshot_thread_state(snapshot)->error_number, 4711);
        xctx_snapshot_unref(snapshot);
    }
    target_stop(&target);
}

int main(void)
{
    return test_main("other threads");
}
