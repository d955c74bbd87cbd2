/* SPDX-License-Identifier: MIT */
/* The benchmark's program: measures, reports. See bench.h for how. */
#include "bench.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xctx/xctx.h>

#define MOST_ROWS 256
#define ROUNDS 61
#define MOST_ROUNDS 1001
#define SAMPLE_NS 200000.0
#define PARTS 5

static const bench_group *const groups[] = {&bench_contexts,   &bench_values,        &bench_handover,
                                            &bench_threads,    &bench_memory,        &bench_snapshots,
                                            &bench_fibers,     &bench_continuations,
#ifdef BENCH_INSPECT
                                            &bench_reports,
#endif
                                            &bench_yardsticks, &bench_python_package};

static bench_result results[MOST_ROWS];
static int result_count;

uint64_t bench_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void bench_fail(const char *what)
{
    fprintf(stderr, "bench: failed: %s\n", what);
    exit(1);
}

const char *bench_program(void)
{
    static char path[4096];
    if (!path[0]) {
        ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
        bench_check(length > 0, "readlink /proc/self/exe");
        path[length] = 0;
    }
    return path;
}

/*
 * The time of n turns: the best of a few takes close to each other. What disturbs a take (another program, the other
 * half of a core that a virtual machine shares with strangers) comes and goes faster than rounds do. Not where
 * several threads take part: their times are scattered by nature, and the best would be a lucky one.
 */
static double time_loop(const bench_row *row, bench_loop *loop, long n)
{
    double best = 0;
    for (int part = 0; part < (row->uncounted ? 1 : PARTS); part++) {
        uint64_t start = bench_now();
        loop(n);
        double ns = (double)(bench_now() - start);
        if (part == 0 || ns < best)
            best = ns;
    }
    return best;
}

/* How many turns make a sample of good length. Also warms caches and the processor up. */
static long calibrate(const bench_row *row, bench_loop *loop)
{
    double wanted = SAMPLE_NS * (row->uncounted ? PARTS : 1);
    long n = 1;
    for (;; n *= 2) {
        uint64_t start = bench_now();
        loop(n);
        double ns = (double)(bench_now() - start);
        if (ns >= wanted / 4)
            return (long)((double)n * wanted / ns) + 1;
    }
}

static double sample(const bench_row *row, enum bench_side side, long n)
{
    if (row->sample)
        return row->sample(row, side);
    double ns = time_loop(row, row->run[side], n);
    if (row->base[side])
        ns -= time_loop(row, row->base[side], n);
    return ns / (double)n / (row->per ? row->per : 1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(bench_result *result, int wanted)
{
    static double ratios[MOST_ROUNDS];
    const bench_row *row = result->row;
    int rounds = row->rounds == 1 ? 1 : wanted ? wanted : row->rounds ? row->rounds : ROUNDS;
    long n[2] = {0, 0};
    if (row->setup)
        row->setup(row);
    for (int side = 0; side < 2 && !row->sample; side++)
        n[side] = calibrate(row, row->run[side]);
    for (int round = 0; round < rounds; round++) {
        double value[2];
        int first = round & 1;
        value[first] = sample(row, first, n[first]);
        value[!first] = sample(row, !first, n[!first]);
        ratios[round] = value[BENCH_OURS] / value[BENCH_PEER];
        for (int side = 0; side < 2; side++)
            if (round == 0 || value[side] < result->value[side])
                result->value[side] = value[side];
    }
    if (row->teardown)
        row->teardown(row);
    qsort(ratios, (size_t)rounds, sizeof(ratios[0]), compare);
    result->ratio = ratios[rounds / 2];
    result->spread = (ratios[rounds * 3 / 4] - ratios[rounds / 4]) / 2 / result->ratio;
}

static int rounds_wanted; /* 0: as the row says */

static void measure_rows(bench_result *of, int count)
{
    for (int i = 0; i < count; i++)
        measure(&of[i], rounds_wanted);
}

static void count_rows(bench_result *of, int count)
{
    for (int i = 0; i < count; i++)
        bench_count_row(of[i].row);
}

static void select_rows(const char *only)
{
    for (size_t g = 0; g < sizeof(groups) / sizeof(groups[0]); g++) {
        int count;
        const bench_row *rows = groups[g]->rows(&count);
        for (int i = 0; i < count; i++)
            if (!only || strstr(rows[i].name, only) || strstr(groups[g]->title, only)) {
                bench_check(result_count < MOST_ROWS, "too many rows");
                results[result_count++] = (bench_result){.group = groups[g], .row = &rows[i], .instructions = {-1, -1}};
            }
    }
}

/*
 * The rows of the Python package are measured by a process of their own, forked before anything is measured and begun
 * when all else is: there variables have low numbers, as they have in most programs, and the threads of all other rows
 * do not follow Python's contexts.
 */
static struct {
    int first; /* of `results`; result_count: there are none */
    pid_t process;
    FILE *go, *done;
} apart;

static void begin_apart(void (*work)(bench_result *results, int count))
{
    int go[2], done[2];
    while (apart.first < result_count && results[apart.first].group != &bench_python_package)
        apart.first++;
    if (apart.first == result_count)
        return;
    fflush(stdout);
    bench_check(pipe(go) == 0 && pipe(done) == 0, "pipe");
    bench_check((apart.process = fork()) >= 0, "fork");
    if (apart.process == 0) {
        char begin;
        close(go[1]);
        if (read(go[0], &begin, 1) != 1)
            _exit(1); /* the other process has failed */
        bench_python_start();
        work(results + apart.first, result_count - apart.first);
        FILE *file = fdopen(done[1], "w");
        size_t count = (size_t)(result_count - apart.first);
        bench_check(file && fwrite(results + apart.first, sizeof(results[0]), count, file) == count, "pipe");
        bench_check(fclose(file) == 0, "pipe");
        _exit(0);
    }
    close(go[0]);
    close(done[1]);
    apart.go = fdopen(go[1], "w");
    apart.done = fdopen(done[0], "r");
    bench_check(apart.go && apart.done, "fdopen");
}

static void end_apart(void)
{
    size_t count = (size_t)(result_count - apart.first);
    int status;
    if (count == 0)
        return;
    fputc(0, apart.go);
    fclose(apart.go);
    bench_check(fread(results + apart.first, sizeof(results[0]), count, apart.done) == count,
                "the measurement of the Python package");
    fclose(apart.done);
    bench_check(waitpid(apart.process, &status, 0) == apart.process && status == 0,
                "the measurement of the Python package");
}

static void print_head(const char *package)
{
    double load[3] = {0, 0, 0};
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    getloadavg(load, 3);
    printf("xctx %s beside %s (%s)\n", xctx_version(), bench_python_name(), bench_python_library());
    printf("%ld processors, load average %.2f%s\n", processors, load[0],
           load[0] > 0.5 ? ": others are at work here, timings are noisy" : "");
    if (!package)
        puts("the package xctx for Python is not measured: no --package; `make bench` builds it");
    printf("ns and peer: best round. ratio: median of the rounds. +-%%: half the distance\n"
           "between its quartiles. instr: instructions of one operation with its loop.\n");
}

static void usage(FILE *file)
{
    fputs("usage: bench [--package DIR] [--only TEXT] [--rounds N] [--counts FILE]\n"
          "             [--json FILE] [--strict]\n"
          "       bench --list | --count [--package DIR] [--only TEXT]\n"
          "--package is where the package xctx for Python is; --count runs under callgrind;\n"
          "--only takes the rows with TEXT in their names; --strict exits with 1 if a bound is missed\n",
          file);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"only", 1, NULL, 'o'},   {"rounds", 1, NULL, 'r'},  {"counts", 1, NULL, 'c'}, {"json", 1, NULL, 'j'},
        {"strict", 0, NULL, 's'}, {"list", 0, NULL, 'l'},    {"count", 0, NULL, 'n'},  {"memory", 1, NULL, 'm'},
        {"help", 0, NULL, 'h'},   {"package", 1, NULL, 'k'}, {"fibers", 1, NULL, 'f'},
#ifdef BENCH_INSPECT
        {"report", 1, NULL, 'p'},
#endif
        {NULL, 0, NULL, 0}};
    const char *only = NULL, *counts = NULL, *json = NULL, *package = NULL;
    bool strict = false, list = false, count = false;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'o':
            only = optarg;
            break;
        case 'r':
            rounds_wanted = atoi(optarg);
            break;
        case 'c':
            counts = optarg;
            break;
        case 'j':
            json = optarg;
            break;
        case 's':
            strict = true;
            break;
        case 'l':
            list = true;
            break;
        case 'n':
            count = true;
            break;
        case 'm':
            return bench_memory_child(optarg);
        case 'f':
            return bench_fibers_child(optarg);
#ifdef BENCH_INSPECT
        case 'p':
            return bench_report_child(optarg);
#endif
        case 'k':
            package = optarg;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (optind < argc || rounds_wanted < 0 || rounds_wanted > MOST_ROUNDS) {
        usage(stderr);
        return 2;
    }

    if (package)
        bench_package_use(package);
    select_rows(only);
    if (list) {
        for (int i = 0; i < result_count; i++)
            puts(results[i].row->name);
        return 0;
    }
    bench_check(!count || bench_can_count(), "--count runs under valgrind --tool=callgrind only");
    begin_apart(count ? count_rows : measure_rows);
    bench_python_start();
    if (count) {
        count_rows(results, apart.first);
        end_apart();
        return 0;
    }

    print_head(package);
    fflush(stdout);
    measure_rows(results, apart.first);
    end_apart();
    if (counts)
        bench_check(bench_counts_read(counts, results, result_count) == 0, counts);
    bench_table(results, result_count);
    if (json)
        bench_check(bench_json(json, results, result_count) == 0, json);
    putchar('\n');
    int missed = bench_summary(results, result_count);
    return strict && missed ? 1 : 0;
}
