/* SPDX-License-Identifier: MIT */
/* The functions that <xctx/python.h> gives to other extensions, in a capsule. */
#include "native.h"

static xctx_context *native_context(PyObject *context)
{
    PyObject *builtin;

    if (context && !ContextObject_Check(context)) {
        PyErr_Format(PyExc_TypeError, "an xctx.Context was expected, got %.200s", Py_TYPE(context)->tp_name);
        return NULL;
    }
    if (xctx_carry_adopt(PyThreadState_Get()) || xctx_follow_thread())
        return NULL;
    PyObject *inner = context ? xctx_context_inner((ContextObject *)context) : NULL;
    if (context && !inner)
        return NULL;
    builtin = context ? PyContext_Copy(inner) : PyContext_CopyCurrent();
    if (!builtin)
        return NULL;
    xctx_context *state = xctx_state_context(builtin);
    xctx_context *copy = state ? xctx_copy(state) : xctx_new();
    if (!copy || xctx_carry_add(copy, builtin)) {
        xctx_unref(copy);
        copy = NULL;
        PyErr_NoMemory();
    }
    Py_DECREF(builtin);
    return copy;
}

static int enter(void)
{
    return xctx_carry_adopt(PyThreadState_Get());
}

static const struct xctx__python functions = {
    .size = sizeof(functions),
    .var = xctx_native_var,
    .variable = xctx_native_wrap,
    .context = native_context,
    .enter = enter,
    .publish = xctx_follow_thread,
};

int xctx_capi_init(PyObject *module)
{
    PyObject *capsule = PyCapsule_New((void *)(uintptr_t)&functions, "xctx._xctx.capi", NULL);
    int error = PyModule_AddObjectRef(module, "capi", capsule);

    Py_XDECREF(capsule);
    return error;
}
