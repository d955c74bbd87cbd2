/* SPDX-License-Identifier: MIT */
/* What a thread that waits in a system call notices of being captured. */
#include <fcntl.h>
#include <poll.h>
#include <time.h>

#include "../support/target.h"

/* Whether a thread is in a system call that waits. */
static bool is_waiting(int tid)
{
    char path[64], line[64] = "";
    snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, line, sizeof(line) - 1) <= 0)
        line[0] = '7'; /* this kernel does not tell */
    if (fd >= 0)
        close(fd);
    return strncmp(line, "running", 7) != 0;
}

/* Sleeps as programs do that know of no signals. */
static void *sleep_a_second(void *arg)
{
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    target_ready(arg);
    CHECK(sleep(1) == 0);
    clock_gettime(CLOCK_MONOTONIC, &end);
    return number((end.tv_sec - begin.tv_sec) * SECOND + end.tv_nsec - begin.tv_nsec >= SECOND);
}

static void wait_until_waiting(struct target *target)
{
    while (!is_waiting(target->tid))
        sched_yield();
}

/* Where signals come in another way, or registers are not the machine's, calls are not restarted. */
static bool restarts(void)
{
    return !TEST_TSAN && !getenv("XCTX_TEST_EMULATED");
}

TEST(thread_that_sleeps_sleeps_on_after_it_was_captured)
{
    struct target target;
    xctx_snapshot *snapshot;
    if (!restarts())
        skip();
    target_start(&target, sleep_a_second);
    wait_until_waiting(&target);
    while (xctx_snapshot_take_thread(target.tid, XCTX_CAPTURE_LOCALS, LONG, &snapshot) == 0) {
        xctx_snapshot_unref(snapshot);
        struct timespec pause = {.tv_nsec = 30 * 1000 * 1000};
        nanosleep(&pause, NULL);
    }
    assert_int_equal(as_number(join(target.thread)), 1);
}

static void *wait_in_poll(void *arg)
{
    struct target *target = arg;
    struct pollfd wait = {.fd = target->pipe[0], .events = POLLIN};
    target_ready(target);
    CHECK(poll(&wait, 1, -1) == 1); /* never EINTR */
    return NULL;
}

TEST(thread_that_waits_in_poll_waits_on_after_it_was_captured)
{
    struct target target;
    xctx_snapshot *snapshot;
    if (!restarts())
        skip();
    target_start(&target, wait_in_poll);
    for (int i = 0; i < 20; i++) {
        wait_until_waiting(&target);
        take(target.tid, XCTX_CAPTURE_LOCALS, &snapshot);
        xctx_snapshot_unref(snapshot);
    }
    target_stop(&target);
}

static void *wait_in_short_poll(void *arg)
{
    struct target *target = arg;
    struct pollfd wait = {.fd = target->pipe[0], .events = POLLIN};
    target_ready(target);
    int result;
    while ((result = poll(&wait, 1, 60000)) < 0)
        CHECK(errno == EINTR);
    CHECK(result == 1);
    return NULL;
}

TEST(thread_that_waits_in_poll_for_a_time_can_be_captured)
{
    struct target target;
    xctx_snapshot *snapshot;
    target_start(&target, wait_in_short_poll);
    for (int i = 0; i < 20; i++) {
        take(target.tid, XCTX_CAPTURE_LOCALS, &snapshot);
        xctx_snapshot_unref(snapshot);
    }
    target_stop(&target);
}

int main(void)
{
    return test_main("system calls of threads that are captured");
}
