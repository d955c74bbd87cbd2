/* SPDX-License-Identifier: MIT */
/*
 * Threads and processes for tests: run a function on a fresh thread, on a worker that waits for orders, or in a
 * forked child; make threads meet.
 */
#ifndef XCTX_TEST_THREADS_H
#define XCTX_TEST_THREADS_H

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

static inline int own_tid(void)
{
    return (int)syscall(SYS_gettid);
}

static inline pthread_t spawn(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fn, arg) == 0);
    return thread;
}

static inline void *join(pthread_t thread)
{
    void *result = NULL;
    CHECK(pthread_join(thread, &result) == 0);
    return result;
}

/* Runs fn(arg) on a thread that knows nothing of xctx yet, and waits for it. */
static inline void *on_thread(void *(*fn)(void *), void *arg)
{
    return join(spawn(fn, arg));
}

static inline void sem_wait_for(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0)
        CHECK(errno == EINTR);
}

/* A thread that does what it is told, one function at a time. */
struct worker {
    pthread_t thread;
    sem_t go;
    sem_t done;
    void *(*fn)(void *);
    void *arg;
    void *result;
};

static inline void *worker_main(void *arg)
{
    struct worker *worker = arg;
    for (;;) {
        sem_wait_for(&worker->go);
        if (!worker->fn)
            return NULL;
        worker->result = worker->fn(worker->arg);
        CHECK(sem_post(&worker->done) == 0);
    }
}

static inline void worker_start(struct worker *worker)
{
    CHECK(sem_init(&worker->go, 0, 0) == 0);
    CHECK(sem_init(&worker->done, 0, 0) == 0);
    worker->thread = spawn(worker_main, worker);
}

/* Runs fn(arg) on the worker, waits for it and returns its result. */
static inline void *worker_do(struct worker *worker, void *(*fn)(void *), void *arg)
{
    worker->fn = fn;
    worker->arg = arg;
    CHECK(sem_post(&worker->go) == 0);
    sem_wait_for(&worker->done);
    return worker->result;
}

static inline void worker_stop(struct worker *worker)
{
    worker->fn = NULL;
    CHECK(sem_post(&worker->go) == 0);
    join(worker->thread);
    sem_destroy(&worker->go);
    sem_destroy(&worker->done);
}

/* Where `count` threads wait for each other, by spinning so that they go on as nearly together as can be. */
struct meeting {
    unsigned count;
    atomic_uint waiting;
    atomic_uint round;
};

static inline void meeting_init(struct meeting *meeting, unsigned count)
{
    meeting->count = count;
    atomic_init(&meeting->waiting, 0);
    atomic_init(&meeting->round, 0);
}

static inline void meet(struct meeting *meeting)
{
    unsigned round = atomic_load(&meeting->round);
    if (atomic_fetch_add(&meeting->waiting, 1) + 1 == meeting->count) {
        atomic_store(&meeting->waiting, 0);
        atomic_store(&meeting->round, round + 1);
        return;
    }
    for (unsigned spins = 0; atomic_load(&meeting->round) == round; spins++) {
        if (spins >= 200)
            sched_yield();
    }
}

/* Runs fn(arg) in a forked child, which exits with what fn returns; gives the status of waitpid(). */
static inline int in_child(int (*fn)(void *), void *arg)
{
    fflush(stdout);
    fflush(stderr);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(120);
        _exit(fn(arg));
    }
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    return status;
}

/* A random number generator for each thread (xorshift). */
static inline uint32_t random_next(uint32_t *state)
{
    uint32_t x = *state;
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    return *state = x;
}

#endif
