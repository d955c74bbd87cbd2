/* SPDX-License-Identifier: MIT */
/*
 * Many threads at one base context: each copies it, enters the copy, sets in it, leaves and releases it.
 *
 * The time is that of one such life on each thread, so that a ratio of 1.00 is no loss at all from company, and a
 * throughput per thread of at least 0.9 of one thread's is a ratio of at most 1/0.9. Every thread has a processor to
 * itself as far as this program can arrange it; all start together and stop by themselves after the same stretch of
 * time. Wall time is what counts: a thread that sleeps for a lock is as slow as one that spins.
 *
 * Where other programs want the processors too, wall time measures them. A round in which the system took a processor
 * from one of the threads is therefore run again, a few times; of disturbed ones the least disturbed counts.
 */
#include "scene.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define STRETCH_NS 1500000
#define MOST_THREADS 1024
#define RETRIES 8

/* On a cache line of its own: threads must not meet at the bench's own data. */
typedef struct runner {
    _Alignas(128) pthread_t thread;
    int processor;
    long count;
    double wall_ns, cpu_ns;
    long preempted;
} runner;

static xctx_context *base;
static runner *runners;
static int processors[MOST_THREADS];
static int processor_count;
static _Alignas(128) atomic_int waiting; /* for how many threads */
static _Alignas(128) enum scene_kind runner_kind;

static uint64_t cpu_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static long preemptions(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

static inline void life(xctx_var *var, void *value)
{
    xctx_token token;
    xctx_context *context = xctx_copy(base);
    bench_check(context != NULL, "xctx_copy");
    bench_check(xctx_enter(context) == 0, "xctx_enter");
    bench_check(xctx_var_set(var, value, &token) == 0, "xctx_var_set");
    xctx_token_drop(&token);
    bench_check(xctx_exit(context) == 0, "xctx_exit");
    xctx_unref(context);
}

static void *run(void *arg)
{
    runner *self = arg;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(self->processor, &set);
    /* May be refused in a container: then the scheduler chooses. */
    (void)pthread_setaffinity_np(pthread_self(), sizeof(set), &set);

    xctx_var *var = scene_var(runner_kind, 4);
    _Alignas(128) char own_value[128];
    void *value = runner_kind == SCENE_DEFINED ? own_value : scene_value(4);
    for (int i = 0; i < 1000; i++)
        life(var, value);

    /* A barrier that nobody sleeps at: waking up takes longer than a life. */
    atomic_fetch_sub_explicit(&waiting, 1, memory_order_acq_rel);
    for (unsigned spins = 1; atomic_load_explicit(&waiting, memory_order_acquire) > 0; spins++)
        if (spins % 4096 == 0)
            sched_yield();
    long preempted = preemptions();
    uint64_t cpu = cpu_now(), wall = bench_now();
    long count = 0;
    /* The clock is read rarely enough not to matter, and nobody has to wake up in order to say stop. */
    while (bench_now() - wall < STRETCH_NS) {
        for (int i = 0; i < 64; i++)
            life(var, value);
        count += 64;
    }
    self->wall_ns = (double)(bench_now() - wall);
    self->cpu_ns = (double)(cpu_now() - cpu);
    self->preempted = preemptions() - preempted;
    self->count = count;
    return NULL;
}

/* One round with that many threads: ns for each life, and how often a thread lost its processor meanwhile. */
static double run_threads(int threads, bool cpu_time, long *ret_preempted)
{
    static unsigned first;
    atomic_store(&waiting, threads);
    for (int i = 0; i < threads; i++) {
        /* One thread alone takes each processor in turn: they may differ. */
        runners[i].processor = processors[(first + (unsigned)i) % (unsigned)processor_count];
        bench_check(pthread_create(&runners[i].thread, NULL, run, &runners[i]) == 0, "pthread_create");
    }
    first++;

    double rate = 0;
    *ret_preempted = 0;
    for (int i = 0; i < threads; i++) {
        pthread_join(runners[i].thread, NULL);
        rate += (double)runners[i].count / (cpu_time ? runners[i].cpu_ns : runners[i].wall_ns);
        *ret_preempted += runners[i].preempted;
    }
    return threads / rate;
}

static double sample(const bench_row *row, enum bench_side side)
{
    double best = 0;
    long fewest = -1;
    for (int tries = 0; fewest != 0 && tries < RETRIES; tries++) {
        long preempted;
        double ns = run_threads(side == BENCH_OURS ? row->variables : 1, row->per != 0, &preempted);
        if (fewest < 0 || preempted < fewest) {
            fewest = preempted;
            best = ns;
        }
    }
    return best;
}

static void setup(const bench_row *row)
{
    runner_kind = row->kind;
    base = xctx_new();
    bench_check(base && xctx_enter(base) == 0, "xctx_enter");
    scene_set_variables(row->kind, 8);
    bench_check(xctx_exit(base) == 0, "xctx_exit");
}

static void teardown(const bench_row *row)
{
    (void)row;
    base = xctx_unref(base);
}

static void find_processors(void)
{
    size_t size = CPU_ALLOC_SIZE(MOST_THREADS);
    cpu_set_t *set = CPU_ALLOC(MOST_THREADS);
    bench_check(set && sched_getaffinity(0, size, set) == 0, "sched_getaffinity");
    for (int i = 0; i < MOST_THREADS; i++)
        if (CPU_ISSET_S(i, size, set))
            processors[processor_count++] = i;
    CPU_FREE(set);
    runners = aligned_alloc(128, sizeof(runner) * (size_t)processor_count);
    bench_check(runners != NULL, "aligned_alloc");
}

/* Two rows for 1, 2, 4, … and all processors; in `variables` the threads, in `per` whether processor time counts. */
static const bench_row *rows(int *ret_count)
{
    static bench_row rows[3 * 12];
    static char names[3 * 12][32];
    int count = 0;
    if (!processor_count)
        find_processors();
    for (int threads = 1;; threads = threads * 2 < processor_count ? threads * 2 : processor_count) {
        for (int form = 0; form < 3; form++) {
            if (form == 2 && threads < processor_count)
                continue;
            static const char *const suffix[] = {"", ", CPU time", ", atomic"};
            snprintf(names[count], sizeof(names[count]), "%d thread%s%s", threads, threads == 1 ? "" : "s",
                     suffix[form]);
            rows[count] = (bench_row){.name = names[count],
                                      .sample = sample,
                                      .setup = setup,
                                      .teardown = teardown,
                                      .variables = threads,
                                      .per = form == 1,
                                      .uncounted = true,
                                      .must = form == 0 ? 1 / 0.9 : 0,
                                      .kind = form == 2 ? SCENE_ATOMIC : SCENE_DEFINED};
            count++;
        }
        if (threads >= processor_count)
            break;
    }
    *ret_count = count;
    return rows;
}

const bench_group bench_threads = {"Threads at one base context, each copy's life (must: 1/0.9)", "1 thread", rows};
