/* SPDX-License-Identifier: MIT */
/* What bound.c and hook.c share: see there. All of it needs the GIL. */
#ifndef XCTX_PYTHON_BOUND_H
#define XCTX_PYTHON_BOUND_H

#include "xctx_python.h"

#include <stddef.h>

/* What marks exceptions. Returns new. */
PyObject *xctx_origin_new(PyObject *snapshot);

/* `function` bound to a copy of the builtin context `inner`, or, if that is NULL, to xctx_copy_here(flags). New. */
PyObject *xctx_bound_new(PyObject *function, PyObject *inner, long flags);

/* The call enters its own context, not a copy: a thread that is starting must not run out of memory before it has said
   that it runs, for which start() waits. */
void xctx_bound_is_called_once(PyObject *bound);
extern PyTypeObject xctx_Bound_Type;

/* Called by xctx_bound_init(). */
int xctx_hook_init(PyObject *module);
int xctx_wake_init(PyObject *module);

#endif
