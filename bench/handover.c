/* SPDX-License-Identifier: MIT */
/*
 * Contexts made on one thread and used and released on another, and threads started in a copy of their creator's.
 *
 * The hand-over goes back and forth in batches: this thread copies a batch and lets the worker have it; the worker
 * enters, sets in, leaves and releases each, and reports back. Never are both at work, so that the time is that of
 * the whole life, and one pass of the baton, shared by the batch. CPython's side does the same, with a thread state
 * for each thread and the lock taken once for each batch.
 */
#include "scene.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>

#include "arch/arch.h"

#define BATCH 256

enum turn { TURN_MAIN, TURN_XCTX, TURN_PYTHON, TURN_STOP };

static struct {
    pthread_t thread;
    sem_t start; /* posted once for each sample, so that the worker sleeps while others are measured */
    atomic_int turn;
    void *batch[BATCH];
    int count;
} worker;

static void pause_until(enum turn turn, bool or_any_other)
{
    for (unsigned spins = 1; (atomic_load_explicit(&worker.turn, memory_order_acquire) == (int)turn) == or_any_other;
         spins++) {
        xctx__cpu_relax();
        if (spins % 4096 == 0)
            sched_yield();
    }
}

static void pass_to(enum turn turn)
{
    atomic_store_explicit(&worker.turn, turn, memory_order_release);
}

static void work_xctx(void)
{
    xctx_token token;
    for (int i = 0; i < worker.count; i++) {
        xctx_context *context = worker.batch[i];
        bench_check(xctx_enter(context) == 0, "xctx_enter");
        bench_check(xctx_var_set(the_scene.target, the_scene.value[0], &token) == 0, "xctx_var_set");
        xctx_token_drop(&token);
        bench_check(xctx_exit(context) == 0, "xctx_exit");
        xctx_unref(context);
    }
}

static void work_python(void)
{
    for (int i = 0; i < worker.count; i++) {
        PyObject *context = worker.batch[i];
        bench_check(PyContext_Enter(context) == 0, "PyContext_Enter");
        PyObject *token = PyContextVar_Set(the_scene.py_target, the_scene.py_value[0]);
        bench_check(token != NULL, "PyContextVar_Set");
        Py_DECREF(token);
        bench_check(PyContext_Exit(context) == 0, "PyContext_Exit");
        Py_DECREF(context);
    }
}

static void *work(void *arg)
{
    PyThreadState *state = PyThreadState_New(arg);
    bench_check(state != NULL, "PyThreadState_New");
    for (;;) {
        while (sem_wait(&worker.start) != 0)
            ;
        for (;;) {
            pause_until(TURN_MAIN, true);
            int turn = atomic_load_explicit(&worker.turn, memory_order_acquire);
            if (turn == TURN_STOP)
                break;
            if (turn == TURN_XCTX) {
                work_xctx();
            } else {
                PyEval_RestoreThread(state);
                work_python();
                PyEval_SaveThread();
            }
            pass_to(TURN_MAIN);
        }
        bool end = worker.count == 0;
        pass_to(TURN_MAIN);
        if (end)
            break;
    }
    PyEval_RestoreThread(state);
    PyThreadState_Clear(state);
    PyThreadState_DeleteCurrent();
    return NULL;
}

static void open_worker(const bench_row *row)
{
    scene_open(row);
    atomic_init(&worker.turn, TURN_MAIN);
    bench_check(sem_init(&worker.start, 0, 0) == 0, "sem_init");
    worker.count = BATCH;
    bench_check(pthread_create(&worker.thread, NULL, work, PyInterpreterState_Get()) == 0, "pthread_create");
}

static void close_worker(const bench_row *row)
{
    worker.count = 0;
    sem_post(&worker.start);
    pass_to(TURN_STOP);
    PyThreadState *state = PyEval_SaveThread();
    pthread_join(worker.thread, NULL);
    PyEval_RestoreThread(state);
    sem_destroy(&worker.start);
    scene_close(row);
}

static void stop_worker(void)
{
    pass_to(TURN_STOP);
    pause_until(TURN_MAIN, false);
}

BENCH_LOOP across(long n)
{
    sem_post(&worker.start);
    for (long i = 0; i < n; i++) {
        for (int k = 0; k < BATCH; k++)
            bench_check((worker.batch[k] = xctx_copy_current()) != NULL, "xctx_copy_current");
        pass_to(TURN_XCTX);
        pause_until(TURN_MAIN, false);
    }
    stop_worker();
}

BENCH_LOOP py_across(long n)
{
    sem_post(&worker.start);
    for (long i = 0; i < n; i++) {
        for (int k = 0; k < BATCH; k++)
            bench_check((worker.batch[k] = PyContext_CopyCurrent()) != NULL, "PyContext_CopyCurrent");
        PyThreadState *state = PyEval_SaveThread();
        pass_to(TURN_PYTHON);
        pause_until(TURN_MAIN, false);
        PyEval_RestoreThread(state);
    }
    stop_worker();
}

static void *body(void *arg)
{
    return arg;
}

BENCH_LOOP thread_create(long n)
{
    pthread_t thread;
    for (long i = 0; i < n; i++) {
        bench_check(xctx_thread_create(&thread, NULL, body, NULL) == 0, "xctx_thread_create");
        bench_check(pthread_join(thread, NULL) == 0, "pthread_join");
    }
}

BENCH_LOOP thread_create_peer(long n)
{
    pthread_t thread;
    for (long i = 0; i < n; i++) {
        bench_check(pthread_create(&thread, NULL, body, NULL) == 0, "pthread_create");
        bench_check(pthread_join(thread, NULL) == 0, "pthread_join");
    }
}

/* A hundred at once, then all are joined: the creator does not wait for each. */
#define CROWD 100

BENCH_LOOP crowd(long n)
{
    pthread_t threads[CROWD];
    for (long i = 0; i < n; i++) {
        for (int k = 0; k < CROWD; k++)
            bench_check(xctx_thread_create(&threads[k], NULL, body, NULL) == 0, "xctx_thread_create");
        for (int k = 0; k < CROWD; k++)
            bench_check(pthread_join(threads[k], NULL) == 0, "pthread_join");
    }
}

BENCH_LOOP crowd_peer(long n)
{
    pthread_t threads[CROWD];
    for (long i = 0; i < n; i++) {
        for (int k = 0; k < CROWD; k++)
            bench_check(pthread_create(&threads[k], NULL, body, NULL) == 0, "pthread_create");
        for (int k = 0; k < CROWD; k++)
            bench_check(pthread_join(threads[k], NULL) == 0, "pthread_join");
    }
}

static const bench_row *rows(int *ret_count)
{
    static const bench_row rows[] = {
        {.name = "life across two threads, 8",
         .run = {across, py_across},
         .setup = open_worker,
         .teardown = close_worker,
         .variables = 8,
         .per = BATCH,
         .uncounted = true},
        {.name = "atomic: across two, 8",
         .run = {across, py_across},
         .setup = open_worker,
         .teardown = close_worker,
         .variables = 8,
         .per = BATCH,
         .uncounted = true,
         .kind = SCENE_ATOMIC},
        {.name = "xctx_thread_create + join",
         .run = {thread_create, thread_create_peer},
         .setup = scene_open,
         .teardown = scene_close,
         .variables = 8,
         .must = 1.05,
         .peer_name = "pthread_create + join",
         .rounds = 401,
         .uncounted = true},
        {.name = "  100 at once, then join",
         .run = {crowd, crowd_peer},
         .setup = scene_open,
         .teardown = scene_close,
         .variables = 8,
         .per = CROWD,
         .peer_name = "pthread_create + join",
         .uncounted = true},
    };
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const bench_group bench_handover = {"Across threads", NULL, rows};
