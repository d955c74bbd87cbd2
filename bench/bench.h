/* SPDX-License-Identifier: MIT */
/*
 * The benchmark's harness: what a row is, and what the rows share.
 *
 * A row compares two sides, the library and a peer. Each side is a loop over n turns of one operation. The harness
 * runs the sides one after the other in many short rounds, swapping who goes first, and takes the median of the
 * rounds' ratios: what disturbs the machine for a while disturbs both sides of a few rounds, and the median forgets
 * them. The time shown is each side's best.
 */
#ifndef XCTX_BENCH_H
#define XCTX_BENCH_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum bench_side { BENCH_OURS, BENCH_PEER };

typedef void bench_loop(long n);

typedef struct bench_row {
    const char *name;
    const char *peer_name; /* NULL: the group's */
    bench_loop *run[2];    /* by enum bench_side: n turns of the operation */
    bench_loop *base[2];   /* the time and instructions of this loop are subtracted; NULL: nothing is */
    int per;               /* operations in one turn; 0: one */
    void (*setup)(const struct bench_row *row);
    void (*teardown)(const struct bench_row *row);
    int variables; /* for setup: how many, and of which kind */
    int kind;
    /* Instead of the loops, which are only counted if there are any: measures one side of one round, in the row's unit.
     */
    double (*sample)(const struct bench_row *row, enum bench_side side);
    int rounds;       /* 0: the default */
    const char *unit; /* NULL: "ns" */
    double must;      /* bounds of the ratio; 0: none */
    double goal;
    double must_value; /* bound of the value itself; 0: none */
    double slack;      /* added to what the bounds of the ratio allow, in the row's unit */
    bool uncounted;    /* no instructions: the operation is not all on one thread */
} bench_row;

typedef struct bench_group {
    const char *title;
    const char *peer_name;
    const bench_row *(*rows)(int *ret_count);
} bench_group;

extern const bench_group bench_contexts, bench_values, bench_handover, bench_threads, bench_memory, bench_snapshots,
    bench_fibers, bench_continuations, bench_reports, bench_yardsticks, bench_python_package;

typedef struct bench_result {
    const bench_group *group;
    const bench_row *row;
    double value[2];        /* best of each side */
    double ratio;           /* median */
    double spread;          /* half the distance between the quartiles of the ratio, relative to it */
    double instructions[2]; /* negative: unknown */
} bench_result;

/* Whether the bounds hold. A goal can be missed without missing anything that must hold. */
enum bench_verdict { BENCH_NO_BOUND, BENCH_MISSED, BENCH_SHORT, BENCH_HELD, BENCH_GOAL };
enum bench_verdict bench_judge(const bench_result *result);

/* A bound of the ratio, of this row and machine: with what its slack allows. 0: none. */
double bench_bound(const bench_result *result, double bound);

/* report.c */
void bench_table(const bench_result *results, int count);
/* Returns how many rows miss a bound that must hold. */
int bench_summary(const bench_result *results, int count);
int bench_json(const char *path, const bench_result *results, int count);
const char *bench_peer_name(const bench_result *result);

/* count.c */
void bench_count_row(const bench_row *row);
bool bench_can_count(void);
int bench_counts_read(const char *path, bench_result *results, int count);

/* memory.c: what the child process that measures does. */
int bench_memory_child(const char *what);

/* fibers.c, reports.c: likewise. */
int bench_fibers_child(const char *what);
int bench_report_child(const char *what);

/* package.c: the folder that the package xctx for Python is in. Without one it has no rows. */
void bench_package_use(const char *folder);

/* Keeps the compiler from dropping a value or moving memory accesses out of the loop. */
static inline void bench_use(const void *value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

uint64_t bench_now(void); /* monotonic, in ns */

__attribute__((noreturn, cold)) void bench_fail(const char *what);

/* Ends the program unless ok: a call that failed has not been measured. */
static inline void bench_check(bool ok, const char *what)
{
    if (__builtin_expect(!ok, 0))
        bench_fail(what);
}

const char *bench_program(void); /* path of this program */

/* python.c: the CPython side. */
void bench_python_start(void);
const char *bench_python_name(void);    /* "CPython 3.11.2" */
const char *bench_python_library(void); /* the file it was loaded from */

/* peer/peer.c, a shared library of its own, so that peers are called as the library's functions are. */
void *bench_peer_empty(void *argument);
void *bench_peer_tls_initial_exec(void *argument);
void *bench_peer_tls_general_dynamic(void *argument);
extern __thread void *bench_slot_initial_exec __attribute__((tls_model("initial-exec")));

#endif
