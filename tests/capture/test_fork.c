/* SPDX-License-Identifier: MIT */
/* Captures in what fork() and clone() make: whose ids and whose stack they have. */
#include <sys/mman.h>

#include "../support/threads.h"
#include "capture_support.h"

static XCTX_VAR_DEFINE(plain);

/* `frame` is of the function that has taken it: the main thread's stack is known down to there, and not below. */
static void check_own(const xctx_snapshot *snapshot, const void *frame)
{
    const xctx_thread_state *state = state_of(snapshot);

    CHECK(state->tid == own_tid());
    CHECK(state->pid == getpid());
    CHECK(state->present & XCTX_THREAD_STACK);
    CHECK(state->stack_low <= (uintptr_t)frame);
    CHECK(state->stack_high > (uintptr_t)frame);
}

static int capture_all(void *arg)
{
    (void)arg;
    xctx_snapshot *taken = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    xctx_snapshot *filled = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    CHECK(taken && filled && xctx_snapshot_fill(filled, XCTX_CAPTURE_ALL, NULL) == 0);
    check_own(taken, __builtin_frame_address(0));
    check_own(filled, __builtin_frame_address(0));
    CHECK(xctx_snapshot_stack(taken, NULL, 0) >= 1 && stack_size(taken) > 0);
    xctx_snapshot_unref(taken);
    xctx_snapshot_unref(filled);
    return 0;
}

TEST(child_of_fork_captures_itself)
{
    assert_int_equal(in_child(capture_all, NULL), 0);
    capture_all(NULL);
    assert_int_equal(in_child(capture_all, NULL), 0);
    capture_all(NULL);
}

static void *fork_on_thread(void *arg)
{
    (void)arg;
    CHECK(in_child(capture_all, NULL) == 0);
    capture_all(NULL);
    CHECK(in_child(capture_all, NULL) == 0);
    return NULL;
}

/* The thread is the child's only one, and so its main thread, on a stack that is not that of main(). */
TEST(child_of_a_threads_fork_captures_itself)
{
    on_thread(fork_on_thread, NULL);
}

static int fork_again(void *arg)
{
    capture_all(NULL);
    on_thread(fork_on_thread, NULL);
    return in_child(capture_all, arg);
}

TEST(child_of_a_child_captures_itself)
{
    assert_int_equal(in_child(fork_again, NULL), 0);
}

static int has_default(void *arg)
{
    CHECK(xctx_default_capture() == *(unsigned *)arg);
    xctx_context *copy = xctx_copy_current();
    CHECK(copy && xctx_snapshot_captured(xctx_snapshot_of(copy)) == *(unsigned *)arg);
    check_own(xctx_snapshot_of(copy), __builtin_frame_address(0));
    xctx_unref(copy);
    return 0;
}

TEST(default_capture_is_kept_over_fork)
{
    unsigned capture = XCTX_CAPTURE_STACK | XCTX_CAPTURE_LOCALS;
    assert_int_equal(xctx_set_default_capture(capture), 0);
    assert_int_equal(in_child(has_default, &capture), 0);
    restore_defaults();
}

static int look_back(void *arg)
{
    xctx_snapshot *before = arg;
    void *value = NULL;

    CHECK(state_of(before)->tid != own_tid() && state_of(before)->pid == getppid());
    CHECK(xctx_lookup(xctx_snapshot_context(before), &plain, &value) == 1 && as_number(value) == 1);
    xctx_snapshot *now = xctx_snapshot_take(0);
    CHECK(xctx_snapshot_parent(now) == before);
    xctx_snapshot_unref(now);
    return 0;
}

TEST(snapshots_from_before_fork_are_the_childs_too)
{
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(xctx_var_set(&plain, number(2), NULL), 0);
    assert_int_equal(in_child(look_back, xctx_snapshot_of(copy)), 0);
    assert_int_equal(xctx_exit(copy), 0);
    xctx_unref(copy);
}

/* ---- threads that libc did not make ---- */

#if defined(__GLIBC__) && !TEST_ASAN && !TEST_TSAN
enum { STACK = 256 * 1024 };

static int filled_tid;

/* Nothing here may use what belongs to a thread: it is the creator's. */
static int fill_in_clone(void *arg)
{
    xctx_snapshot *snapshot = arg;
    filled_tid = own_tid();
    int error = xctx_snapshot_fill(snapshot, XCTX_CAPTURE_ALL, NULL);
    __asm__ volatile("" ::: "memory"); /* not a jump */
    return error;
}

/* Runs fn(arg) in a task that shares memory and thread-local storage with this one, and waits for it. Its id. */
static int in_clone(int (*fn)(void *), void *arg, char *stack)
{
    int status = 0;
    int pid = clone(fn, stack + STACK, CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_VFORK | SIGCHLD, arg);
    CHECK(pid > 0);
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK(status == 0);
    return pid;
}

/* Also as the first capture of all on the slot that it shares. */
static void *capture_in_clone(void *arg)
{
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED);
    for (int i = 0; i < 2; i++) {
        xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
        int tid = in_clone(fill_in_clone, snapshot, stack);
        const xctx_thread_state *state = state_of(snapshot);
        CHECK(tid == filled_tid && state->tid == tid);
        uint64_t sp = register_of(snapshot, "sp");
        CHECK(sp > (uintptr_t)stack && sp < (uintptr_t)stack + STACK);
        CHECK(state->stack_low <= sp && state->stack_high > sp);
        CHECK(stack_size(snapshot) > 0);
        xctx_snapshot_unref(snapshot);
        /* The creator is still itself. */
        capture_all(NULL);
    }
    CHECK(munmap(stack, STACK) == 0);
    return arg;
}

TEST(task_that_shares_thread_local_storage_is_captured_as_itself)
{
    if (emulated())
        skip(); /* clone() for libc's threads alone */
    capture_in_clone(NULL);
    on_thread(capture_in_clone, NULL);
}

/* The same on its creator's stack: the ids may be the creator's, but nothing faults, and the creator stays itself. */
TEST(child_of_vfork_leaves_the_creator_as_it_was)
{
    if (emulated())
        skip(); /* it is fork() there */
    int status = 0;
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    pid_t pid = vfork(); /* NOLINT */
    if (pid == 0)
        _exit(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_ALL, NULL));
    CHECK(pid > 0);
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    assert_int_equal(status, 0);
    assert_true(stack_size(snapshot) > 0);
    xctx_snapshot_unref(snapshot);
    capture_all(NULL);
}

#if defined(__x86_64__)
enum { STORAGE = 64 * 1024 };

/* A task with thread-local storage of its own, a copy of the creator's. It has no more of a thread than that. */
static void *capture_in_clone_with_storage(void *arg)
{
    char *stack = mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    char *storage = mmap(NULL, 2 * STORAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != MAP_FAILED && storage != MAP_FAILED);
    enum { BELOW = 1024, ABOVE = 1024 };
    char *self = (char *)(uintptr_t)pthread_self();
    char *copy = storage + STORAGE;
    for (int i = -BELOW; i < ABOVE; i++)
        copy[i] = self[i];
    uintptr_t register_value = (uintptr_t)copy;
    memcpy(copy, &register_value, sizeof(register_value));      /* what the register points to is its value, */
    memcpy(copy + 16, &register_value, sizeof(register_value)); /* and here is what pthread_self() gives */
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    int status = 0;
    int pid = clone(fill_in_clone, stack + STACK,
                    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_VFORK | CLONE_SETTLS | SIGCHLD, snapshot, NULL, copy);
    CHECK(pid > 0);
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK(status == 0);
    CHECK(state_of(snapshot)->tid == pid);
    CHECK(register_of(snapshot, "fs_base") == (uintptr_t)copy);
    CHECK(stack_size(snapshot) > 0);
    xctx_snapshot_unref(snapshot);
    capture_all(NULL);
    CHECK(munmap(stack, STACK) == 0 && munmap(storage, 2 * STORAGE) == 0);
    return arg;
}

TEST(task_with_thread_local_storage_of_its_own_is_captured_as_itself)
{
    if (emulated())
        skip(); /* clone() for libc's threads alone */
    on_thread(capture_in_clone_with_storage, NULL);
    capture_in_clone_with_storage(NULL);
}
#endif
#endif

int main(void)
{
    return test_main("captures behind fork and clone");
}
