/* SPDX-License-Identifier: MIT */
/*
 * The scene that rows play in: one thread in one context of each side, with the same number of variables set.
 */
#ifndef XCTX_BENCH_SCENE_H
#define XCTX_BENCH_SCENE_H

#include "python.h"

#include <xctx/xctx.h>

#include "bench.h"

#define SCENE_MOST 64

/* Kinds of variables. CPython has one. */
enum scene_kind {
    SCENE_DEFINED, /* XCTX_VAR_DEFINE, borrowed pointers */
    SCENE_CREATED, /* xctx_var_create(), borrowed pointers */
    SCENE_COUNTED, /* values with a plain reference count, as CPython's under its lock */
    SCENE_ATOMIC,  /* values with an atomic reference count, as needed without a lock */
    SCENE_KINDS
};

typedef struct scene {
    xctx_context *context; /* entered, `variables` of them set */
    xctx_context *other;   /* a copy of it, not entered */
    xctx_var **vars;
    xctx_var *target; /* one in the middle */
    void *value[2];   /* two values for it, neither of them the one that it has */
    PyObject *py_context;
    PyObject *py_other;
    PyObject **py_vars;
    PyObject *py_target;
    PyObject *py_value[2];
    int variables;
} scene;

extern scene the_scene;

void scene_open(const bench_row *row);
void scene_close(const bench_row *row);

/* Only the library's side, for a thread or a process that CPython has no part in. */
void scene_set_variables(enum scene_kind kind, int variables);
xctx_var *scene_var(enum scene_kind kind, int index);
void *scene_value(int index);

/* Each loop starts on a cache line: an operation of half a nanosecond would notice where its loop lies. */
#define BENCH_LOOP static __attribute__((noinline, aligned(64))) void

#endif
