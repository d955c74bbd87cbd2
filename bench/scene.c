/* SPDX-License-Identifier: MIT */
/* Makes the variables and contexts that the rows use. */
#include "scene.h"

#include <stdatomic.h>

scene the_scene;

/* A value that hooks can count. The counts start high, since the bench holds a reference of its own. */
typedef struct counted {
    long plain;
    atomic_long shared;
} counted;

static counted values[SCENE_MOST + 2];

static void *counted_retain(void *value)
{
    ((counted *)value)->plain++;
    return value;
}

static void counted_release(void *value)
{
    bench_check(--((counted *)value)->plain > 0, "plain count");
}

static void *atomic_retain(void *value)
{
    atomic_fetch_add_explicit(&((counted *)value)->shared, 1, memory_order_relaxed);
    return value;
}

static void atomic_release(void *value)
{
    bench_check(atomic_fetch_sub_explicit(&((counted *)value)->shared, 1, memory_order_acq_rel) > 1, "atomic count");
}

/* 64 variables defined at file scope. */
#define TIMES_8(m, a) m(a##0) m(a##1) m(a##2) m(a##3) m(a##4) m(a##5) m(a##6) m(a##7)
#define TIMES_64(m)                                                                                                    \
    TIMES_8(m, 0) TIMES_8(m, 1) TIMES_8(m, 2) TIMES_8(m, 3) TIMES_8(m, 4) TIMES_8(m, 5) TIMES_8(m, 6) TIMES_8(m, 7)
#define DEFINE(n) static XCTX_VAR_DEFINE(defined_##n);
#define ADDRESS(n) &defined_##n,
TIMES_64(DEFINE)

static xctx_var *vars[SCENE_KINDS][SCENE_MOST] = {[SCENE_DEFINED] = {TIMES_64(ADDRESS)}};
static PyObject *py_vars[SCENE_MOST];
static PyObject *py_values[SCENE_MOST + 2];

static void set_all(enum scene_kind kind, int first, int end)
{
    for (int i = first; i < end; i++)
        bench_check(xctx_var_set(vars[kind][i], &values[i], NULL) == 0, "xctx_var_set");
}

/*
 * Variables are numbered in the order of their first use, and low numbers may be cheaper. The first eight of each
 * kind come first, so that kinds are compared in like conditions; the rest follow, so that 64 variables are not the
 * first 64 of the process, which would flatter.
 */
static void make_variables(void)
{
    static const xctx_var_options options[SCENE_KINDS] = {
        [SCENE_COUNTED] = {.retain = counted_retain, .release = counted_release},
        [SCENE_ATOMIC] = {.retain = atomic_retain, .release = atomic_release},
    };
    for (int kind = SCENE_CREATED; kind < SCENE_KINDS; kind++)
        for (int i = 0; i < SCENE_MOST; i++) {
            vars[kind][i] = xctx_var_create("bench", &options[kind]);
            bench_check(vars[kind][i] != NULL, "xctx_var_create");
        }
    for (int i = 0; i < SCENE_MOST + 2; i++) {
        values[i].plain = 1;
        atomic_init(&values[i].shared, 1);
    }

    xctx_context *context = xctx_new();
    bench_check(context && xctx_enter(context) == 0, "xctx_enter");
    for (int kind = 0; kind < SCENE_KINDS; kind++)
        set_all(kind, 0, 8);
    for (int kind = 0; kind < SCENE_KINDS; kind++)
        set_all(kind, 8, SCENE_MOST);
    bench_check(xctx_exit(context) == 0, "xctx_exit");
    xctx_unref(context);
}

xctx_var *scene_var(enum scene_kind kind, int index)
{
    if (!vars[SCENE_CREATED][0])
        make_variables();
    return vars[kind][index];
}

void *scene_value(int index)
{
    return &values[index];
}

void scene_set_variables(enum scene_kind kind, int variables)
{
    (void)scene_var(kind, 0);
    set_all(kind, 0, variables);
}

static void python_variables(void)
{
    for (int i = 0; i < SCENE_MOST && !py_vars[SCENE_MOST - 1]; i++)
        bench_check((py_vars[i] = PyContextVar_New("bench", NULL)) != NULL, "PyContextVar_New");
    /* Not small integers, which CPython keeps in a table. */
    for (int i = 0; i < SCENE_MOST + 2 && !py_values[SCENE_MOST + 1]; i++)
        bench_check((py_values[i] = PyLong_FromLong(1000000 + i)) != NULL, "PyLong_FromLong");
}

void scene_open(const bench_row *row)
{
    scene *s = &the_scene;
    s->variables = row->variables;
    int target = s->variables / 2;

    (void)scene_var(row->kind, 0);
    s->vars = vars[row->kind];
    s->target = s->vars[target];
    s->value[0] = &values[SCENE_MOST];
    s->value[1] = &values[SCENE_MOST + 1];
    s->context = xctx_new();
    bench_check(s->context && xctx_enter(s->context) == 0, "xctx_enter");
    set_all(row->kind, 0, s->variables);
    s->other = xctx_copy_current();
    bench_check(s->other && xctx_count(s->other) == (size_t)s->variables, "xctx_copy_current");
    /* The copy shares the map. One set that changes nothing else gives each its own, as in a context in use. */
    set_all(row->kind, target, target + 1);

    python_variables();
    s->py_vars = py_vars;
    s->py_target = py_vars[target];
    s->py_value[0] = py_values[SCENE_MOST];
    s->py_value[1] = py_values[SCENE_MOST + 1];
    s->py_context = PyContext_New();
    bench_check(s->py_context && PyContext_Enter(s->py_context) == 0, "PyContext_Enter");
    for (int i = 0; i < s->variables; i++) {
        PyObject *token = PyContextVar_Set(py_vars[i], py_values[i]);
        bench_check(token != NULL, "PyContextVar_Set");
        Py_DECREF(token);
    }
    s->py_other = PyContext_CopyCurrent();
    bench_check(s->py_other != NULL, "PyContext_CopyCurrent");
}

void scene_close(const bench_row *row)
{
    (void)row;
    scene *s = &the_scene;
    bench_check(xctx_exit(s->context) == 0, "xctx_exit");
    s->context = xctx_unref(s->context);
    s->other = xctx_unref(s->other);
    bench_check(PyContext_Exit(s->py_context) == 0, "PyContext_Exit");
    Py_CLEAR(s->py_context);
    Py_CLEAR(s->py_other);
}
