/* SPDX-License-Identifier: MIT */
/*
 * Looking a variable up in the running thread's builtin context without the GIL.
 *
 * CPython has no function for that: all of its own count references, which needs the GIL. But a thread that has
 * released the GIL keeps its context, which only that thread changes while it is entered, and whose map is never
 * changed once it is made (it is replaced). So it can be read there. The layout is CPython's own, the same from 3.7
 * to 3.14 (Include/internal/pycore_context.h, Python/hamt.c: a hash array mapped trie with nodes of three kinds);
 * whether it is so in the running interpreter is tried out when the module is loaded.
 */
#ifndef XCTX_PYTHON_HAMT_H
#define XCTX_PYTHON_HAMT_H

#include "xctx_python.h"

/* The beginning of a PyContext. */
struct builtin_context {
    PyObject_HEAD
    struct builtin_context *previous; /* what was current before; borrowed */
    struct map_object *map;
    PyObject *weakrefs;
    int entered;
};

/* Finds out whether looking up works here, with a variable that is to be looked up later. 0, or -1 with an exception:
   not for layouts that are other than expected, but for memory. */
int xctx_hamt_init(PyObject *variable);
extern int xctx_hamt_good; /* what it has found out */

static inline int xctx_hamt_works(void)
{
    return xctx_hamt_good;
}

/* Its map, which is never changed; borrowed. Only if looking up works here. */
static inline PyObject *xctx_hamt_map(PyObject *context)
{
    return (PyObject *)((struct builtin_context *)context)->map;
}

/* Gives an empty context that nobody else knows this map, which is taken. Likewise. */
static inline void xctx_hamt_set_map(PyObject *context, PyObject *map)
{
    PyObject *empty = xctx_hamt_map(context);

    ((struct builtin_context *)context)->map = (struct map_object *)map;
    Py_XDECREF(empty);
}

/* What the variable is in that context; borrowed. NULL: nothing. With the GIL, or on the thread that has it current. */
PyObject *xctx_hamt_find(PyObject *context, PyObject *variable, Py_hash_t hash);

#endif
