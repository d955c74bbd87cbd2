/* SPDX-License-Identifier: MIT */
/* For tests of pycontext.h: values that are no objects. */
#ifndef XCTX_TEST_PYCONTEXT_SUPPORT_H
#define XCTX_TEST_PYCONTEXT_SUPPORT_H

#include <xctx/pycontext.h>

#include "test.h"

/* A value of the user's own. Reading it as an object would fault, or read nonsense. */
static inline PyObject *own_value(long n)
{
    return (PyObject *)number(n);
}

static inline PyObject *get(PyObject *var)
{
    PyObject *value = own_value(-77);
    CHECK(PyContextVar_Get(var, NULL, &value) == 0);
    return value;
}

/* Sets a variable for good. */
static inline void set(PyObject *var, PyObject *value)
{
    PyObject *token = PyContextVar_Set(var, value);
    CHECK(token != NULL);
    Py_DECREF(token);
}

#endif
