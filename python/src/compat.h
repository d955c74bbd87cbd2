/* SPDX-License-Identifier: MIT */
/*
 * Differences between CPython 3.8 and 3.14. The newer name of a function is used everywhere; this file supplies it
 * where it is missing.
 */
#ifndef XCTX_PYTHON_COMPAT_H
#define XCTX_PYTHON_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stddef.h>

#if PY_VERSION_HEX < 0x03080000
#error "CPython 3.8 or later is needed"
#endif

/* Until 3.8 the init function of a module is hidden where everything is. */
#define XCTX_MODULE_INIT __attribute__((visibility("default"))) PyMODINIT_FUNC

#if PY_VERSION_HEX < 0x03090000
#define PyObject_Vectorcall _PyObject_Vectorcall
#define Py_TPFLAGS_HAVE_VECTORCALL _Py_TPFLAGS_HAVE_VECTORCALL
#define PyObject_CallNoArgs(callable) PyObject_CallObject((callable), NULL)

static inline PyObject *PyObject_CallOneArg(PyObject *callable, PyObject *argument)
{
    PyObject *arguments[2] = {NULL, argument};
    return _PyObject_Vectorcall(callable, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
}

static inline PyInterpreterState *PyInterpreterState_Get(void)
{
    return PyThreadState_Get()->interp;
}

static inline int PyModule_AddType(PyObject *module, PyTypeObject *type)
{
    const char *name = strrchr(type->tp_name, '.');
    if (PyType_Ready(type))
        return -1;
    Py_INCREF(type);
    if (PyModule_AddObject(module, name ? name + 1 : type->tp_name, (PyObject *)type)) {
        Py_DECREF(type);
        return -1;
    }
    return 0;
}
#endif

#if PY_VERSION_HEX < 0x030a0000
static inline PyObject *Py_NewRef(PyObject *object)
{
    Py_INCREF(object);
    return object;
}

static inline PyObject *Py_XNewRef(PyObject *object)
{
    Py_XINCREF(object);
    return object;
}

static inline int PyModule_AddObjectRef(PyObject *module, const char *name, PyObject *value)
{
    if (!value)
        return -1;
    Py_INCREF(value);
    if (PyModule_AddObject(module, name, value)) {
        Py_DECREF(value);
        return -1;
    }
    return 0;
}
#endif

#if PY_VERSION_HEX < 0x030c0000
#define Py_T_OBJECT_EX T_OBJECT_EX
#define Py_READONLY READONLY
#include <structmember.h>

/* The exception that is raised, with its traceback, taken off; NULL if there is none. */
static inline PyObject *PyErr_GetRaisedException(void)
{
    PyObject *type, *value, *traceback;
    PyErr_Fetch(&type, &value, &traceback);
    if (!type)
        return NULL;
    PyErr_NormalizeException(&type, &value, &traceback);
    if (traceback)
        PyException_SetTraceback(value, traceback);
    Py_DECREF(type);
    Py_XDECREF(traceback);
    return value;
}

/* Takes a reference to the exception. */
static inline void PyErr_SetRaisedException(PyObject *exception)
{
    if (!exception) {
        PyErr_Clear();
        return;
    }
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exception)), exception, PyException_GetTraceback(exception));
}
#endif

/* An object that was freed, and kept, is used again: its only reference is the caller's. */
static inline void xctx_revive(PyObject *object)
{
#if defined(Py_REF_DEBUG) || defined(Py_TRACE_REFS)
    _Py_NewReference(object);
#elif PY_VERSION_HEX < 0x03090000
    Py_REFCNT(object) = 1;
#else
    Py_SET_REFCNT(object, 1);
#endif
}

/* __class_getitem__ of the generic types. */
#if PY_VERSION_HEX >= 0x03090000
#define xctx_class_getitem Py_GenericAlias
#else
/* As that of the builtin types there. */
static inline PyObject *xctx_class_getitem(PyObject *type, PyObject *item)
{
    (void)item;
    return Py_NewRef(type);
}
#endif

#endif
