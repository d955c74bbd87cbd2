/* SPDX-License-Identifier: MIT */
/*
 * Token: what ContextVar.set() returns, for reset(); a context manager on every version, as in Python 3.14.
 *
 * It wraps the builtin token of the inner variable. Freed ones are kept for the next: a set takes one memory block more
 * than the builtin set, otherwise.
 */
#include "xctx_python.h"

enum { FREE_MAX = 64 };
static TokenObject *free_tokens[FREE_MAX];
static int free_count;

TokenObject *xctx_token_create(VariableObject *variable)
{
    TokenObject *self;
    if (__builtin_expect(free_count > 0, 1)) {
        self = free_tokens[--free_count];
        xctx_revive((PyObject *)self);
    } else if (!(self = PyObject_GC_New(TokenObject, &xctx_Token_Type))) {
        return NULL;
    }
    Py_INCREF(variable);
    self->variable = variable;
    self->inner = self->old_value = NULL;
    self->used = 0;
    PyObject_GC_Track(self);
    return self;
}

static int token_traverse(TokenObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->variable);
    Py_VISIT(self->inner);
    Py_VISIT(self->old_value);
    return 0;
}

static int token_clear(TokenObject *self)
{
    Py_CLEAR(self->variable);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->old_value);
    return 0;
}

static void token_free(TokenObject *self)
{
    token_clear(self);
    if (free_count < FREE_MAX)
        free_tokens[free_count++] = self;
    else
        PyObject_GC_Del(self);
}

/*
 * A token may be the old value of another, in a chain of any length: `token = variable.set(token)`. CPython's trashcan
 * bounds the recursion, but costs something with each token that goes; so it is used from a depth on that others do not
 * reach. The count is of all threads, and so too high at worst.
 */
static void token_dealloc(TokenObject *self)
{
    enum { DEPTH_PLAIN = 20 };
    static int depth;

    PyObject_GC_UnTrack(self);
    depth++;
    if (__builtin_expect(depth <= DEPTH_PLAIN, 1)) {
        token_free(self);
    } else {
        Py_TRASHCAN_BEGIN(self, token_dealloc);
        token_free(self);
        Py_TRASHCAN_END;
    }
    depth--;
}

static PyObject *token_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    (void)type;
    (void)arguments;
    (void)keywords;
    PyErr_SetString(PyExc_RuntimeError, "Tokens can only be created by ContextVars");
    return NULL;
}

static PyObject *token_repr(TokenObject *self)
{
    return PyUnicode_FromFormat("<Token%s var=%R at %p>", self->used ? " used" : "", self->variable, (void *)self);
}

static PyObject *token_get_var(TokenObject *self, void *closure)
{
    (void)closure;
    /* A finalizer may meet a token that the garbage collector has cleared. */
    return Py_NewRef(self->variable ? (PyObject *)self->variable : Py_None);
}

static PyObject *token_get_old_value(TokenObject *self, void *closure)
{
    (void)closure;
    if (self->old_value)
        return Py_NewRef(self->old_value);
    return self->inner ? xctx_attribute(self->inner, "old_value") : Py_NewRef(Py_None);
}

static PyObject *token_enter(PyObject *self, PyObject *ignored)
{
    (void)ignored;
    return Py_NewRef(self);
}

static PyObject *token_exit(TokenObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    (void)arguments;
    if (count != 3)
        return PyErr_Format(PyExc_TypeError, "__exit__ expected 3 arguments, got %zd", count);
    if (self->variable && xctx_variable_reset(self->variable, (PyObject *)self))
        return NULL;
    Py_RETURN_NONE;
}

static PyGetSetDef token_attributes[] = {
    {"var", (getter)token_get_var, NULL, "The variable that was set.", NULL},
    {"old_value", (getter)token_get_old_value, NULL, "The value before set(), or Token.MISSING.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef token_methods[] = {
    {"__class_getitem__", xctx_class_getitem, METH_O | METH_CLASS, "See PEP 585."},
    {"__enter__", token_enter, METH_NOARGS, "Enter into Token context manager."},
    {"__exit__", (PyCFunction)(void (*)(void))token_exit, METH_FASTCALL,
     "Exit from Token context manager, restore the linked ContextVar."},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(token_doc,
             "What ContextVar.set() returns. ContextVar.reset(token) puts back what was there before; so does leaving\n"
             "`with variable.set(value):`.");

PyTypeObject xctx_Token_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx.Token",
    .tp_basicsize = sizeof(TokenObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc = token_doc,
    .tp_new = token_new,
    .tp_dealloc = (destructor)token_dealloc,
    .tp_traverse = (traverseproc)token_traverse,
    .tp_clear = (inquiry)token_clear,
    .tp_repr = (reprfunc)token_repr,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_getset = token_attributes,
    .tp_methods = token_methods,
};

static PyObject *missing; /* Token.MISSING, made once */

PyObject *xctx_token_missing(void)
{
    return missing;
}

int xctx_token_init(PyObject *module)
{
    if (PyModule_AddType(module, &xctx_Token_Type))
        return -1;
    if (missing)
        return 0;
    /* The same object that the builtin tokens have: old_value may come from there. */
    missing = PyObject_GetAttrString((PyObject *)&PyContextToken_Type, "MISSING");
    if (missing && PyDict_SetItemString(xctx_Token_Type.tp_dict, "MISSING", missing))
        Py_CLEAR(missing);
    PyType_Modified(&xctx_Token_Type);
    return missing ? 0 : -1;
}
