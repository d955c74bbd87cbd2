/* SPDX-License-Identifier: MIT */
/* Threads: stacks of their own, thread-local variables, once, cleanup, a queue of jobs, sorting in a thread. */
#include "judge.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct job {
    void (*run)(struct job *job);
    union {
        uint32_t seed;
        const char *text;
    } input;
    uint64_t result;
    struct job *next;
} job;

typedef struct {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    job *first, **last;
    bool closed;
} queue;

typedef struct {
    queue *from;
    unsigned number;
    char name[16];
} worker;

static __thread unsigned jobs_done;
static __thread char scratch[32];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void initialise(void)
{
    static int times;
    times++;
    judge_here("once");
}

static job *take(queue *q)
{
    pthread_mutex_lock(&q->mutex);
    while (!q->first && !q->closed)
        pthread_cond_wait(&q->wake, &q->mutex);
    job *taken = q->first;
    if (taken) {
        q->first = taken->next;
        if (!q->first)
            q->last = &q->first;
    }
    pthread_mutex_unlock(&q->mutex);
    return taken;
}

static void put(queue *q, job *fresh)
{
    pthread_mutex_lock(&q->mutex);
    fresh->next = NULL;
    *q->last = fresh;
    q->last = &fresh->next;
    pthread_cond_signal(&q->wake);
    pthread_mutex_unlock(&q->mutex);
}

static void finish(void *argument)
{
    worker *me = argument;
    unsigned done = jobs_done;
    judge_here("cleanup");
    judge_touch(me), judge_touch(&done);
}

static void *work(void *argument)
{
    worker *me = argument;
    job *now;
    pthread_cleanup_push(finish, me);
    pthread_once(&once, initialise);
    snprintf(scratch, sizeof(scratch), "worker %u", me->number);
    while ((now = take(me->from)) != NULL) {
        now->run(now);
        jobs_done++;
    }
    judge_here("worker-end");
    pthread_cleanup_pop(1);
    return (void *)(uintptr_t)me->number;
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    int order = x < y ? -1 : x > y;
    judge_here("sort-compare");
    return order;
}

static void run_sort(job *job)
{
    uint32_t numbers[6], state = job->input.seed;
    for (size_t i = 0; i < 6; i++)
        numbers[i] = state = state * 1103515245u + 12345u;
    qsort(numbers, 6, sizeof(numbers[0]), compare);
    job->result = numbers[0];
    judge_here("sorted");
}

static void run_hash(job *job)
{
    uint64_t hash = 0xcbf29ce484222325u;
    size_t length = strlen(job->input.text);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)job->input.text[i]) * 0x100000001b3u;
    job->result = hash;
    judge_here("hashed");
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    queue q = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, NULL, NULL, false};
    q.last = &q.first;
    worker workers[2] = {{&q, 0, "first"}, {&q, 1, "second"}};
    pthread_t threads[2];
    job jobs[] = {{run_sort, {.seed = 1}, 0, NULL},
                  {run_hash, {.text = "some text"}, 0, NULL},
                  {run_sort, {.seed = (uint32_t)argc}, 0, NULL}};
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, work, &workers[i]))
            return 1;
    for (size_t i = 0; i < sizeof(jobs) / sizeof(jobs[0]); i++)
        put(&q, &jobs[i]);
    pthread_mutex_lock(&q.mutex);
    q.closed = true;
    pthread_cond_broadcast(&q.wake);
    pthread_mutex_unlock(&q.mutex);
    uintptr_t sum = 0;
    for (int i = 0; i < 2; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (uintptr_t)result;
    }
    judge_here("end");
    return sum != 1;
}
