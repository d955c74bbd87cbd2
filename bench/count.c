/* SPDX-License-Identifier: MIT */
/*
 * Instructions of an operation, counted by callgrind.
 *
 * Under callgrind, bench --count runs each loop a few times and has the counters written out after each time, under the
 * name of the row; the script `run` reads them and takes the median, so that what happens rarely (malloc putting its
 * lists in order) is not charged to one row. Here a locked instruction counts as one, like any other.
 */
#include "bench.h"

#include <string.h>

#if __has_include(<valgrind/callgrind.h>)
#include <valgrind/callgrind.h>
#define HAVE_CALLGRIND 1
#else
#define HAVE_CALLGRIND 0
#endif

bool bench_can_count(void)
{
#if HAVE_CALLGRIND
    return RUNNING_ON_VALGRIND;
#else
    return false;
#endif
}

static void count_loop(const bench_row *row, const char *what, enum bench_side side, bench_loop *loop)
{
#if HAVE_CALLGRIND
    enum { TIMES = 3, OPERATIONS = 256 };
    int per = row->per ? row->per : 1;
    long n = per < OPERATIONS ? OPERATIONS / per : 2;
    char name[128];
    loop(n); /* what happens once only: lazy binding, free lists */
    for (int time = 0; time < TIMES; time++) {
        snprintf(name, sizeof(name), "bench|%s|%d|%s|%ld", row->name, (int)side, what, n * per);
        CALLGRIND_ZERO_STATS;
        loop(n);
        CALLGRIND_DUMP_STATS_AT(name);
    }
#else
    (void)row, (void)what, (void)side, (void)loop;
#endif
}

void bench_count_row(const bench_row *row)
{
    if (row->uncounted || !row->run[BENCH_OURS])
        return;
#if HAVE_CALLGRIND
    CALLGRIND_START_INSTRUMENTATION;
#endif
    if (row->setup)
        row->setup(row);
    for (int side = BENCH_OURS; side <= BENCH_PEER; side++) {
        count_loop(row, "run", side, row->run[side]);
        if (row->base[side])
            count_loop(row, "base", side, row->base[side]);
    }
    if (row->teardown)
        row->teardown(row);
#if HAVE_CALLGRIND
    CALLGRIND_STOP_INSTRUMENTATION;
#endif
}

/* Lines of: side, instructions, name. */
int bench_counts_read(const char *path, bench_result *results, int count)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return -1;
    int side;
    double instructions;
    char name[128];
    while (fscanf(file, "%d %lf %127[^\n]", &side, &instructions, name) == 3)
        for (int i = 0; i < count; i++)
            if (strcmp(results[i].row->name + strspn(results[i].row->name, " "), name) == 0 &&
                (side == BENCH_OURS || side == BENCH_PEER))
                results[i].instructions[side] = instructions;
    fclose(file);
    return 0;
}
