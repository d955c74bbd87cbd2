/* SPDX-License-Identifier: MIT */
/*
 * Reports: what decoding snapshots costs, in time and memory. There is no peer within a process; gdb is a program,
 * which does more. Each figure is of a process of its own: the first report reads debug information, and what one
 * process has read already is not to hide what another needs.
 */
#include "scene.h"

#ifdef BENCH_INSPECT

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xctx/inspect.h>

#define FRAMES 20
#define REPORTS 200
#define CAPTURES 1000000

struct order {
    int number;
    double price;
    const char *customer;
    char note[24];
};

static xctx_snapshot *captured;

static void fail_if(int error, const char *what)
{
    bench_check(error == 0, what);
}

/* A frame with some parameters and variables, above others like it. */
static __attribute__((noinline)) long nested(int depth, struct order order, const int *numbers, double factor)
{
    char name[24];
    long sum = depth;
    int own[4] = {depth, numbers[0], 2, 3};
    snprintf(name, sizeof(name), "level %d", depth);
    for (int i = 0; i < 4; i++)
        sum += numbers[i] * (long)factor;
    order.number += depth;
    bench_use(own), bench_use(name), bench_use(&order), bench_use(&sum);
    if (depth > 0)
        sum += nested(depth - 1, order, own, factor + 1);
    else
        captured = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    bench_use(name), bench_use(&order);
    return sum;
}

static int compare(const void *a, const void *b)
{
    static const struct order order = {1, 2.5, "a customer", "a note"};
    static const int numbers[4] = {1, 2, 3, 4};
    if (!captured)
        bench_use((void *)nested(FRAMES - 1, order, numbers, 1));
    return *(const int *)a - *(const int *)b;
}

/* From within a call that libc makes, so that its frames and debug information are in the report, too. */
static void capture(void)
{
    int numbers[2] = {2, 1};
    qsort(numbers, 2, sizeof(numbers[0]), compare);
    bench_check(captured != NULL, "xctx_snapshot_take");
}

static double report_once(xctx_snapshot *snapshot, uint32_t frames)
{
    xctx_inspect_options options = {.size = sizeof(options), .max_frames = frames};
    xctx_report *report;
    uint64_t start = bench_now();
    fail_if(xctx_inspect(snapshot, &options, &report), "xctx_inspect");
    double ns = (double)(bench_now() - start);
    bench_check(xctx_report_frame_count(report) >= FRAMES, "a report with all frames");
    size_t values = 0;
    for (size_t i = 0; i < FRAMES; i++)
        for (size_t k = 0; k < xctx_frame_local_count(xctx_report_frame(report, i)); k++)
            values += xctx_frame_local(xctx_report_frame(report, i), k)->value != NULL;
    bench_check(values >= FRAMES, "a report with local variables");
    xctx_report_unref(report);
    return ns;
}

static double resident(void)
{
    long pages = -1;
    FILE *file = fopen("/proc/self/statm", "r");
    bench_check(file && fscanf(file, "%*s %ld", &pages) == 1, "/proc/self/statm");
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static double first_time(void)
{
    capture();
    return report_once(captured, 0) / 1000;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double further_time(void)
{
    static double times[REPORTS];
    capture();
    report_once(captured, FRAMES);
    for (int i = 0; i < REPORTS; i++)
        times[i] = report_once(captured, FRAMES) / 1000;
    qsort(times, REPORTS, sizeof(times[0]), ascending);
    return times[REPORTS / 2];
}

static double decoder_memory(void)
{
    capture();
    double before = resident();
    report_once(captured, 0);
    return resident() - before;
}

static double further_memory(void)
{
    capture();
    for (int i = 0; i < REPORTS; i++)
        report_once(captured, 0);
    double before = resident();
    for (int i = 0; i < REPORTS; i++)
        report_once(captured, 0);
    return resident() - before;
}

/* Each in a copy that carries the snapshot of the one before: chains are cut, and what is cut off is freed. */
static double capture_memory(void)
{
    double before = 0;
    for (int i = 0; i < CAPTURES; i++) {
        if (i == CAPTURES / 100)
            before = resident();
        xctx_context *context = xctx_copy_current_with(XCTX_CAPTURE_STACK | XCTX_CAPTURE_LOCALS);
        bench_check(context != NULL, "xctx_copy_current_with");
        fail_if(xctx_enter(context), "xctx_enter");
        xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
        bench_check(snapshot && xctx_snapshot_parent(snapshot), "xctx_snapshot_take");
        xctx_snapshot_unref(snapshot);
        fail_if(xctx_exit(context), "xctx_exit");
        xctx_unref(context);
    }
    return resident() - before;
}

enum { FIRST, FURTHER, MEMORY, MORE_MEMORY, CAPTURE_MEMORY };

static double (*const measures[])(void) = {
    [FIRST] = first_time,           [FURTHER] = further_time,          [MEMORY] = decoder_memory,
    [MORE_MEMORY] = further_memory, [CAPTURE_MEMORY] = capture_memory,
};

int bench_report_child(const char *what)
{
    size_t which = (size_t)(what[0] - '0');
    bench_check(which < sizeof(measures) / sizeof(measures[0]), "--report");
    printf("%.3f\n", measures[which]());
    fflush(stdout);
    _exit(0);
}

static double sample(const bench_row *row, enum bench_side side)
{
    char command[4096 + 64];
    double figure;
    if (side == BENCH_PEER)
        return (double)NAN;
    snprintf(command, sizeof(command), "exec '%s' --report %d", bench_program(), row->kind);
    FILE *child = popen(command, "r");
    bench_check(child != NULL, "popen");
    bench_check(fscanf(child, "%lf", &figure) == 1, "the measurement of reports");
    bench_check(pclose(child) == 0, "the measurement of reports");
    return figure;
}

#define ROW(name_, kind_, unit_, ...)                                                                                  \
    {                                                                                                                  \
        .name = name_, .kind = kind_, .unit = unit_, .sample = sample, .rounds = 1, .uncounted = true, __VA_ARGS__     \
    }

static const bench_row *rows(int *ret_count)
{
    static const bench_row rows[] = {
        ROW("first of a process", FIRST, "us", .must_value = 150000),
        ROW("further, 20 frames", FURTHER, "us", .must_value = 2000),
        ROW("the decoder's memory", MEMORY, "KiB", ),
        ROW("200 more reports, growth", MORE_MEMORY, "KiB", .must_value = 256),
        ROW("a million captures, growth", CAPTURE_MEMORY, "KiB", .must_value = 256),
    };
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const bench_group bench_reports = {"Reports, all frames with all local variables", "nothing", rows};
#endif
