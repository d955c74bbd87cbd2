/* SPDX-License-Identifier: MIT */
/* Stand-ins for parts that are not written yet. Weak: the real ones take their place by being there. */
#include "xctx_python.h"

#define WEAK __attribute__((weak))

unsigned xctx_capture_default WEAK = 0;

WEAK int xctx_capture_init(PyObject *module)
{
    (void)module;
    return 0;
}

WEAK PyObject *xctx_capture(unsigned flags)
{
    (void)flags;
    PyErr_SetString(PyExc_NotImplementedError, "captures are not there yet");
    return NULL;
}

WEAK int xctx_native_init(PyObject *module)
{
    (void)module;
    return 0;
}

WEAK int xctx_native_variable_init(VariableObject *self, PyObject *type)
{
    (void)self;
    (void)type;
    PyErr_SetString(PyExc_NotImplementedError, "variables with a type are not there yet");
    return -1;
}

WEAK void xctx_native_variable_finish(VariableObject *self)
{
    (void)self;
}

WEAK int xctx_native_variable_traverse(VariableObject *self, visitproc visit, void *arg)
{
    (void)self;
    (void)visit;
    (void)arg;
    return 0;
}

WEAK int xctx_native_get(VariableObject *self, PyObject *default_value, PyObject **ret_value)
{
    (void)self;
    (void)default_value;
    (void)ret_value;
    return -1;
}

WEAK PyObject *xctx_native_set(VariableObject *self, PyObject *value)
{
    (void)self;
    (void)value;
    return NULL;
}

WEAK int xctx_native_reset(VariableObject *self, TokenObject *token)
{
    (void)self;
    (void)token;
    return -1;
}

WEAK int xctx_native_lookup(PyObject *inner_context, VariableObject *self, PyObject **ret_value)
{
    (void)inner_context;
    (void)self;
    (void)ret_value;
    return 0;
}

WEAK PyObject *xctx_native_items(PyObject *inner_context)
{
    (void)inner_context;
    return NULL;
}
