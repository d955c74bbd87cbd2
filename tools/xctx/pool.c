/* SPDX-License-Identifier: MIT */
/* A pool of threads: see pool.h. One mutex for all, two conditions: there is work, there is room. */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

enum { QUEUE_SIZE = 64 };

struct task {
    void (*fn)(void *);
    void *arg;
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    unsigned number;
};

struct pool {
    pthread_mutex_t mutex; /* of everything below but `workers` */
    pthread_cond_t filled;
    pthread_cond_t emptied;
    struct task queue[QUEUE_SIZE]; /* a ring */
    size_t first;
    size_t count;
    bool closed;
    size_t worker_count;
    struct worker workers[];
};

static _Thread_local unsigned thread_number;

/* Takes the next task; false if there will be no more. */
static bool pool_take(struct pool *pool, struct task *ret)
{
    pthread_mutex_lock(&pool->mutex);
    while (pool->count == 0 && !pool->closed)
        pthread_cond_wait(&pool->filled, &pool->mutex);
    bool found = pool->count > 0;
    if (found) {
        *ret = pool->queue[pool->first];
        pool->first = (pool->first + 1) % QUEUE_SIZE;
        pool->count--;
        pthread_cond_signal(&pool->emptied);
    }
    pthread_mutex_unlock(&pool->mutex);
    return found;
}

static void *work(void *argument)
{
    struct worker *worker = argument;
    struct task task;

    thread_number = worker->number;
    while (pool_take(worker->pool, &task))
        task.fn(task.arg);
    return NULL;
}

int pool_create(struct pool **ret_pool, size_t threads)
{
    struct pool *pool = calloc(1, sizeof(*pool) + threads * sizeof(pool->workers[0]));

    if (!pool)
        return -ENOMEM;
    pthread_mutex_init(&pool->mutex, NULL);
    pthread_cond_init(&pool->filled, NULL);
    pthread_cond_init(&pool->emptied, NULL);
    for (size_t i = 0; i < threads; i++) {
        struct worker *worker = &pool->workers[i];
        *worker = (struct worker){.pool = pool, .number = (unsigned)i + 1};
        int error = pthread_create(&worker->thread, NULL, work, worker);
        if (error) {
            pool_destroy(pool);
            return -error;
        }
        pool->worker_count++;
    }
    *ret_pool = pool;
    return 0;
}

void pool_submit(struct pool *pool, void (*fn)(void *), void *arg)
{
    pthread_mutex_lock(&pool->mutex);
    while (pool->count == QUEUE_SIZE)
        pthread_cond_wait(&pool->emptied, &pool->mutex);
    pool->queue[(pool->first + pool->count) % QUEUE_SIZE] = (struct task){fn, arg};
    pool->count++;
    pthread_cond_signal(&pool->filled);
    pthread_mutex_unlock(&pool->mutex);
}

void pool_destroy(struct pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->mutex);
    pool->closed = true;
    pthread_cond_broadcast(&pool->filled);
    pthread_mutex_unlock(&pool->mutex);
    for (size_t i = 0; i < pool->worker_count; i++)
        pthread_join(pool->workers[i].thread, NULL);
    pthread_cond_destroy(&pool->emptied);
    pthread_cond_destroy(&pool->filled);
    pthread_mutex_destroy(&pool->mutex);
    free(pool);
}

unsigned pool_thread_number(void)
{
    return thread_number;
}
