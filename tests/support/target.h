/* SPDX-License-Identifier: MIT */
/* Threads for tests to take snapshots of: each does one thing until it is told to end. */
#ifndef XCTX_TEST_TARGET_H
#define XCTX_TEST_TARGET_H

#include <signal.h>

#include "threads.h"

#define SECOND INT64_C(1000000000)
#define LONG (60 * SECOND)

/* ThreadSanitizer keeps signals back until the thread calls certain functions: one that spins or waits does not. */
#define NEEDS_SIGNALS_AT_ONCE                                                                                          \
    do {                                                                                                               \
        if (TEST_TSAN)                                                                                                 \
            skip();                                                                                                    \
    } while (0)

struct target {
    pthread_t thread;
    atomic_int tid;
    atomic_bool end;
    int pipe[2];
    sem_t ready;
};

/* Says that the running thread, a target, has begun. */
static inline void target_ready(struct target *target)
{
    atomic_store(&target->tid, own_tid());
    CHECK(sem_post(&target->ready) == 0);
}

/* Runs fn(target) on a thread, and waits until it is ready. */
static inline void target_start(struct target *target, void *(*fn)(void *))
{
    atomic_init(&target->tid, 0);
    atomic_init(&target->end, false);
    CHECK(pipe(target->pipe) == 0);
    CHECK(sem_init(&target->ready, 0, 0) == 0);
    target->thread = spawn(fn, target);
    sem_wait_for(&target->ready);
}

static inline void target_stop(struct target *target)
{
    atomic_store(&target->end, true);
    CHECK(write(target->pipe[1], "", 1) == 1);
    join(target->thread);
    close(target->pipe[0]);
    close(target->pipe[1]);
    sem_destroy(&target->ready);
}

/* ---- what a target does ---- */

static inline void *wait_in_read(void *arg)
{
    struct target *target = arg;
    char byte;
    target_ready(target);
    CHECK(read(target->pipe[0], &byte, 1) == 1); /* goes on after the signal: SA_RESTART */
    return NULL;
}

static inline void block_all(void)
{
    sigset_t all;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
}

static inline void *wait_with_all_blocked(void *arg)
{
    block_all();
    return wait_in_read(arg);
}

/* ---- asking for it ---- */

static inline void take(int tid, unsigned capture, xctx_snapshot **ret)
{
    assert_int_equal(xctx_snapshot_take_thread(tid, capture, LONG, ret), 0);
    assert_non_null(*ret);
    assert_int_equal(xctx_snapshot_thread_state(*ret)->tid, tid);
}

#endif
