/* SPDX-License-Identifier: MIT */
/*
 * The extension module xctx._xctx: copy_context(), and what the other files add.
 *
 * Types are static and the hidden variables are process-wide: there is one interpreter that can import the module, the
 * main one. A second one that tries gets an ImportError. Importing it again in the main one (after it was deleted from
 * sys.modules) gives a module object with the same types.
 */
#include "xctx_python.h"

#include <xctx/base.h>

PyObject *xctx_hidden[XCTX_HIDDEN_MAX];
int xctx_hidden_count;
PyObject *xctx_origin_var;

PyObject *xctx_hidden_create(const char *name)
{
    assert(xctx_hidden_count < XCTX_HIDDEN_MAX);
    PyObject *variable = PyContextVar_New(name, NULL);
    if (variable)
        xctx_hidden[xctx_hidden_count++] = variable;
    return variable;
}

PyDoc_STRVAR(
    copy_context_doc,
    "copy_context()\n--\n\n"
    "Return a copy of the current context.\n\n"
    "It holds what contextvars.copy_context() holds, and what set_default_capture() says. At first that is\n"
    "everything: Python's and the native call stack, local variables, the thread's settings. That costs some\n"
    "microseconds in place of some ten nanoseconds, and local variables' values live as long as the copy. This\n"
    "line, or XCTX_PYTHON_CAPTURE=none in the environment, turns it off:\n\n"
    "    xctx.set_default_capture('none')\n\n"
    ">>> import xctx\n"
    ">>> user = xctx.ContextVar('user')\n"
    ">>> def handle(number):\n"
    "...     user.set('ada')\n"
    "...     return xctx.copy_context()\n"
    ">>> context = xctx.Context().run(handle, 17)\n"
    ">>> context[user], context.frames[0].name, context.frames[0].locals\n"
    "('ada', 'handle', {'number': 17})");

static PyObject *copy_context(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return xctx_context_copy_with(xctx_capture_default);
}

static PyObject *copy_context_with(PyObject *module, PyObject *argument)
{
    (void)module;
    unsigned long flags = PyLong_AsUnsignedLong(argument);
    if (flags == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    if (flags & ~(unsigned long)CAPTURE_ALL)
        return PyErr_Format(PyExc_ValueError, "not something to capture: %R", argument);
    return xctx_context_copy_with((unsigned)flags);
}

static PyMethodDef module_functions[] = {
    {"copy_context", copy_context, METH_NOARGS, copy_context_doc},
    {"_copy_context", copy_context_with, METH_O,
     "_copy_context(flags, /)\n--\n\ncopy_context() that captures what flags say."},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "xctx does not support subinterpreters: import it in the main interpreter");
        return -1;
    }
    if (!xctx_origin_var && !(xctx_origin_var = xctx_hidden_create("xctx._origin")))
        return -1;
    return PyModule_AddStringConstant(module, "__version__", xctx_version()) || xctx_variable_init(module) ||
                   xctx_token_init(module) || xctx_context_init(module) || xctx_native_init(module) ||
                   xctx_bound_init(module) || xctx_capture_init(module)
               ? -1
               : 0;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec},
#if PY_VERSION_HEX >= 0x030c0000
    {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,         .m_name = "xctx._xctx",  .m_doc = "The C part of xctx; use the package xctx.",
    .m_methods = module_functions, .m_slots = module_slots,
};

XCTX_MODULE_INIT PyInit__xctx(void);

XCTX_MODULE_INIT PyInit__xctx(void)
{
    return PyModuleDef_Init(&module_definition);
}
