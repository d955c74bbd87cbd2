/* SPDX-License-Identifier: MIT */
/* CPython's header, which must be the first one included. */
#ifndef XCTX_BENCH_PYTHON_H
#define XCTX_BENCH_PYTHON_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#endif
