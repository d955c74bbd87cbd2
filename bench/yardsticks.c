/* SPDX-License-Identifier: MIT */
/* What well-known things cost on this machine, to measure the rest by. The peer is an empty call. */
#include "scene.h"

#include <stdatomic.h>
#include <stdlib.h>

BENCH_LOOP empty_call(long n)
{
    for (long i = 0; i < n; i++)
        bench_use(bench_peer_empty(&the_scene));
}

BENCH_LOOP tls_initial_exec(long n)
{
    for (long i = 0; i < n; i++)
        bench_use(bench_peer_tls_initial_exec(&the_scene));
}

BENCH_LOOP tls_general_dynamic(long n)
{
    for (long i = 0; i < n; i++)
        bench_use(bench_peer_tls_general_dynamic(&the_scene));
}

static atomic_long counter;

BENCH_LOOP atomic_pair(long n)
{
    for (long i = 0; i < n; i++) {
        atomic_fetch_add_explicit(&counter, 1, memory_order_relaxed);
        atomic_fetch_sub_explicit(&counter, 1, memory_order_acq_rel);
    }
}

BENCH_LOOP malloc_free(long n)
{
    for (long i = 0; i < n; i++) {
        void *block = malloc(64);
        bench_use(block);
        free(block);
    }
}

static const bench_row *rows(int *ret_count)
{
    static const bench_row rows[] = {
        {.name = "raw __thread, initial-exec", .run = {tls_initial_exec, empty_call}},
        {.name = "raw __thread, gen. dynamic", .run = {tls_general_dynamic, empty_call}},
        {.name = "atomic add + subtract", .run = {atomic_pair, empty_call}},
        {.name = "malloc + free, 64 bytes", .run = {malloc_free, empty_call}},
    };
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const bench_group bench_yardsticks = {"Yardsticks", "an empty call", rows};
