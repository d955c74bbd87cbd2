/* SPDX-License-Identifier: MIT */
/**
 * @file python.h
 * For extension modules: the package xctx from C, and its variables without the GIL.
 *
 * A variable of Python with a type, `xctx.ContextVar("request_id", type=str)`, is an xctx_var: C code reads it by
 * xctx_var_get(), with or without the GIL, on a thread of Python's or any other, and finds the value of the task that
 * runs there. A variable that C code defines is shown to Python by xctx_python_variable().
 *
 * What values look like in C (`type`, and what xctx_var_get() returns; NULL if there is no value and no default):
 *
 *     str     const char *, UTF-8 with a 0 at its end; xctx_var_set() copies it
 *     bytes   const xctx_python_bytes *; xctx_var_set() copies it
 *     float   const double *; xctx_var_set() copies it
 *     int     intptr_t, cast to a pointer
 *     bool    the same: 0 or 1
 *     object  const xctx_python_object *; xctx_var_set() needs the GIL, takes a reference of its own
 *
 * What a variable points to is valid until it is set or reset, or the context is left, as with all variables.
 *
 * Setting. C code that sets a native variable while it has the GIL sets it for Python's current context, as Python
 * would. Without the GIL it is set at once for C code; Python and copies of Python's context have it from the next time
 * that the thread uses the package with the GIL, in the same Python context: call xctx_python_publish() after getting
 * the GIL back to be sure. It is lost if Python leaves the context before.
 *
 * Link with libxctx, and call xctx_python_import() in the module's init function. Everything here needs the GIL.
 */
#ifndef XCTX_PYTHON_API_H
#define XCTX_PYTHON_API_H

#include <Python.h>

#include <xctx/context.h>
#include <xctx/var.h>

XCTX_BEGIN

/** A value of type bytes. */
typedef struct xctx_python_bytes {
    size_t size;      /**< in bytes */
    const void *data; /**< NULL or that many bytes */
} xctx_python_bytes;

/** A value of type object. */
typedef struct xctx_python_object {
    PyObject *object; /**< borrowed; to be used with the GIL only */
} xctx_python_object;

/** @cond internal */
struct xctx__python {
    size_t size;
    xctx_var *(*var)(PyObject *variable);
    PyObject *(*variable)(xctx_var *var, PyObject *type, PyObject *default_value);
    xctx_context *(*context)(PyObject *context);
    int (*enter)(void);
    int (*publish)(void);
};

static const struct xctx__python *xctx__python;
/** @endcond */

/**
 * Imports the package. To be called before any other of these, in each file that calls them.
 *
 * @return 0; -1 with an exception: ImportError, also if the package is older than this header.
 */
static inline int xctx_python_import(void)
{
    const struct xctx__python *python = (const struct xctx__python *)PyCapsule_Import("xctx._xctx.capi", 0);

    if (!python)
        return -1;
    if (python->size < sizeof(*python)) {
        PyErr_SetString(PyExc_ImportError, "the package xctx is older than what this module was compiled with");
        return -1;
    }
    xctx__python = python;
    return 0;
}

/**
 * The variable behind a ContextVar with a type.
 *
 * @return borrowed: as long as the ContextVar lives. NULL with a TypeError: it has no type, or is no xctx.ContextVar.
 */
static inline xctx_var *xctx_python_var(PyObject *variable)
{
    return xctx__python->var(variable);
}

/**
 * A ContextVar for a variable that C code defined. Setting it from Python needs `retain`, unless its type is int or
 * bool: Python's values do not stay where they are.
 *
 * @param var            must stay for ever: one of XCTX_VAR_DEFINE()
 * @param type           what its values are: str, bytes, float, int, bool or object
 * @param default_value  what Python's get() returns if it is not set; NULL: the variable's `initial`, if that is not
 *         NULL
 * @return new. The same as before if there still is one for the variable, whatever the other arguments are. NULL with
 *         an exception: TypeError for other types.
 */
static inline PyObject *xctx_python_variable(xctx_var *var, PyObject *type, PyObject *default_value)
{
    return xctx__python->variable(var, type, default_value);
}

/**
 * A native context with everything that an xctx.Context holds, for threads that Python knows nothing of: its native
 * variables, and its Python context for Python code that the thread calls in it.
 *
 * @param context  an xctx.Context; NULL: a copy of the current one
 * @return new, to be given back by xctx_unref(), on any thread, with or without the GIL. NULL with an exception.
 */
static inline xctx_context *xctx_python_context(PyObject *context)
{
    return xctx__python->context(context);
}

/**
 * On a thread that C code made, which has entered a context from xctx_python_context() or copied by xctx_copy_current()
 * or xctx_bind() on a thread with the GIL, and has called PyGILState_Ensure(): makes Python's context the one that came
 * along. The package's own functions do that when they are called; this is for code that uses `contextvars` alone, in
 * Python or in C, or copies contexts with that and reads native variables by xctx_var_get() alone.
 *
 * @return 0, also where there is nothing to do; -1 with an exception.
 */
static inline int xctx_python_enter(void)
{
    return xctx__python->enter();
}

/**
 * Makes known to Python what the running thread has set without the GIL.
 *
 * @return 0, also where there is nothing; -1 with an exception: MemoryError.
 */
static inline int xctx_python_publish(void)
{
    return xctx__python->publish();
}

XCTX_END

#endif
