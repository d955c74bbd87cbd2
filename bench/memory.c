/* SPDX-License-Identifier: MIT */
/*
 * What a copy of an 8-variable context takes, from a million that live at once.
 *
 * Counted twice: what the process has resident, which misses nothing that was ever touched, and what malloc has taken
 * from the system, which includes what it holds back. A fresh process measures each, lest memory that was free
 * already hides what is needed. The array that holds the copies is there before.
 */
#include "scene.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COPIES 1000000
#define VARIABLES 8

static double resident(void)
{
    long pages = -1;
    FILE *file = fopen("/proc/self/statm", "r");
    bench_check(file && fscanf(file, "%*s %ld", &pages) == 1, "/proc/self/statm");
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE);
}

static double from_system(void)
{
    struct mallinfo2 info = mallinfo2();
    return (double)info.arena + (double)info.hblkhd;
}

static void *copy_ours(void)
{
    return xctx_copy_current();
}

/* A copy that has had a variable set in it, as most have that work was done in. */
static void *copy_and_set(void)
{
    static char value;
    xctx_context *context = xctx_copy_current();
    bench_check(context && xctx_enter(context) == 0, "xctx_enter");
    bench_check(xctx_var_set(scene_var(SCENE_DEFINED, 4), &value, NULL) == 0, "xctx_var_set");
    bench_check(xctx_exit(context) == 0, "xctx_exit");
    return context;
}

static void *copy_python(void)
{
    return PyContext_CopyCurrent();
}

static void *copy_python_and_set(void)
{
    PyObject *context = PyContext_CopyCurrent();
    bench_check(context && PyContext_Enter(context) == 0, "PyContext_Enter");
    PyObject *token = PyContextVar_Set(the_scene.py_target, the_scene.py_value[0]);
    bench_check(token != NULL, "PyContextVar_Set");
    Py_DECREF(token);
    bench_check(PyContext_Exit(context) == 0, "PyContext_Exit");
    return context;
}

static void *(*const copies[2][2])(void) = {{copy_ours, copy_python}, {copy_and_set, copy_python_and_set}};

/* `what` is two digits: the side, and whether to set. Prints the two figures. */
int bench_memory_child(const char *what)
{
    int side = what[0] - '0', set = what[0] ? what[1] - '0' : -1;
    bench_check(side >= 0 && side <= 1 && set >= 0 && set <= 1, "--memory");
    static const bench_row row = {.variables = VARIABLES};
    bench_python_start();
    scene_open(&row);
    void **kept = malloc(sizeof(*kept) * COPIES);
    bench_check(kept != NULL, "malloc");
    memset(kept, 1, sizeof(*kept) * COPIES);

    double resident_before = resident(), malloc_before = from_system();
    for (long i = 0; i < COPIES; i++)
        bench_check((kept[i] = copies[set][side]()) != NULL, "copy");
    double per_resident = (resident() - resident_before) / COPIES;
    double per_malloc = (from_system() - malloc_before) / COPIES;
    /* CPython's own allocator goes past malloc: both of our figures stand beside what it has resident. */
    printf("%.3f %.3f\n", per_resident, side == BENCH_PEER ? per_resident : per_malloc);
    bench_use(kept);
    fflush(stdout);
    _exit(0);
}

/* In `per` whether to set, in `kind` which of the two figures. */
static double sample(const bench_row *row, enum bench_side side)
{
    char command[4096 + 64];
    double figure[2];
    snprintf(command, sizeof(command), "exec '%s' --memory %d%d", bench_program(), (int)side, row->per);
    FILE *child = popen(command, "r");
    bench_check(child != NULL, "popen");
    bench_check(fscanf(child, "%lf %lf", &figure[0], &figure[1]) == 2, "the memory measurement");
    bench_check(pclose(child) == 0, "the memory measurement");
    return figure[row->kind];
}

static const bench_row *rows(int *ret_count)
{
    static const bench_row rows[] = {
        {.name = "a copy, resident bytes", .sample = sample, .kind = 0, .must_value = 64},
        {.name = "a copy, bytes from malloc", .sample = sample, .kind = 1, .must_value = 64},
        {.name = "copy + set, resident bytes", .sample = sample, .kind = 0, .per = 1},
    };
    static bench_row filled[sizeof(rows) / sizeof(rows[0])];
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    for (int i = 0; i < *ret_count; i++) {
        filled[i] = rows[i];
        filled[i].unit = "bytes";
        filled[i].rounds = 1;
        filled[i].uncounted = true;
    }
    return filled;
}

const bench_group bench_memory = {"Memory, 1,000,000 live copies of 8 variables, bytes each", NULL, rows};
