/* SPDX-License-Identifier: MIT */
/* Stacks of fibers as others see them: backtraces, snapshots, overflows. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fiber_support.h"
#include "threads.h"

#ifdef __GLIBC__
#include <execinfo.h>
#endif

#define UNCHECKED __attribute__((noinline, no_sanitize("address", "undefined", "thread")))

#ifdef __GLIBC__
static void *addresses[64];

static bool is_in(void *address, void *(*function)(void *))
{
    uintptr_t from;

    memcpy(&from, &function, sizeof(from));
    return (uintptr_t)address - from < 512;
}

static __attribute__((noinline)) void *trace(void *argument)
{
    if (argument)
        xctx_fiber_yield(NULL);
    int count = backtrace(addresses, 64);
    return number(count);
}

static __attribute__((noinline)) void *resume_and_trace(void *argument)
{
    xctx_fiber *fiber = make(trace, argument);
    void *out = NULL;

    while (xctx_fiber_resume(fiber, NULL, &out) == 1)
        ;
    xctx_fiber_unref(fiber);
    return out;
}

static void check_trace(long count)
{
    bool found_fiber = false, found_resumer = false;

    for (long i = 0; i < count; i++) {
        found_resumer = found_resumer || (found_fiber && is_in(addresses[i], resume_and_trace));
        found_fiber = found_fiber || is_in(addresses[i], trace);
    }
    assert_true(found_fiber);
    assert_true(found_resumer);
}

TEST(backtrace_goes_on_into_the_resumer)
{
    for (long yields = 0; yields < 2; yields++) {
        check_trace(as_number(resume_and_trace(number(yields))));
        check_trace(as_number(on_thread(resume_and_trace, number(yields))));
    }
}
#endif

static void *take_snapshot(void *argument)
{
    volatile char here = 1;
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    CHECK(snapshot && here);
    const xctx_thread_state *state = xctx_snapshot_thread_state(snapshot);
    uint64_t sp = 0;

    (void)argument;
    CHECK(state->present & XCTX_THREAD_STACK);
    /* The fiber's stack, and nothing beside it. */
    CHECK(state->stack_high - state->stack_low <= 64 << 10);
    CHECK(xctx_snapshot_register(snapshot, "sp", &sp) == 0);
    CHECK(sp >= state->stack_low && sp < state->stack_high);
    uintptr_t pcs[16];
    CHECK(xctx_backtrace(pcs, 16) >= 1);
    xctx_snapshot_unref(snapshot);
    return NULL;
}

static void *take_in_fiber(void *argument)
{
    const xctx_fiber_options options = {.size = sizeof(options), .stack_size = 64 << 10};
    xctx_fiber *fiber = xctx_fiber_create(take_snapshot, argument, &options);

    CHECK(fiber);
    return last_step(fiber, NULL);
}

TEST(snapshot_in_a_fiber_has_the_bounds_of_its_stack)
{
    take_in_fiber(NULL);
    on_thread(take_in_fiber, NULL);
}

/* ---- overflows ---- */

static UNCHECKED long overflow(long n)
{
    volatile char space[1024];

    space[n % 1024] = (char)n;
    return n > 1000000 ? 0 : overflow(n + 1) + space[n % 1024];
}

static void *overflow_in_fiber(void *argument)
{
    return number(overflow(as_number(argument)));
}

enum { HANDED_ON = 33 };

static void handed_on(int signal)
{
    (void)signal;
    _exit(HANDED_ON);
}

/* What a child process that overflows a fiber's stack says, and how it ends. `before`: what SIGSEGV did before. It is
   not cmocka's handler, which would go on with the next test. */
static int overflow_in_child(char *text, size_t size, void (*before)(int))
{
    int pipes[2];
    int status = 0;
    size_t length = 0;
    ssize_t got;

    CHECK(pipe(pipes) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        const struct rlimit none = {0, 0};
        const xctx_fiber_options options = {.size = sizeof(options), .name = "deep thought", .stack_size = 32 << 10};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGSEGV, before);
        dup2(pipes[1], 2);
        setenv("PATH", "/nowhere", 1);
        xctx_crash_install(NULL);
        xctx_fiber *other = make(overflow_in_fiber, NULL);
        xctx_fiber *fiber = xctx_fiber_create(overflow_in_fiber, NULL, &options);
        xctx_fiber_resume(fiber, NULL, NULL);
        xctx_fiber_unref(other);
        _exit(0);
    }
    close(pipes[1]);
    while (length < size - 1 && (got = read(pipes[0], text + length, size - 1 - length)) > 0)
        length += (size_t)got;
    text[length] = '\0';
    close(pipes[0]);
    CHECK(waitpid(child, &status, 0) == child);
    return status;
}

static const char overflow_message[] = "xctx: the stack of the fiber \"deep thought\" has overflowed: it has 32 KiB\n";

/* Sanitizers have handlers of their own; Valgrind complains of what a crash's core file is made of. */
static bool under_other_eyes(void)
{
    const char *preloaded = getenv("LD_PRELOAD");

    return TEST_ASAN || TEST_TSAN || (preloaded && strstr(preloaded, "valgrind"));
}

TEST(overflow_is_reported_with_the_name_of_the_fiber_and_handed_on)
{
    static char text[1 << 16];

    if (under_other_eyes())
        skip();
    int status = overflow_in_child(text, sizeof(text), handed_on);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), HANDED_ON);
    assert_non_null(strstr(text, overflow_message));
}

/* The signal is sent again, as the kernel sent it. qemu takes one with such a code for a fault of its own translation,
   and fails with an assertion ("cpu == current_cpu"). */
TEST(overflow_ends_the_program_by_a_signal)
{
    static char text[1 << 16];

    if (under_other_eyes() || getenv("XCTX_TEST_EMULATED"))
        skip();
    int status = overflow_in_child(text, sizeof(text), SIG_DFL);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGSEGV);
    assert_non_null(strstr(text, overflow_message));
}

int main(void)
{
    return test_main("stacks of fibers");
}
