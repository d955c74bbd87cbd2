/* SPDX-License-Identifier: MIT */
/*
 * ContextVar.
 *
 * Contexts hold inner variables; who looks into a context is to see ours. The way back is the inner variable's name: a
 * str that also holds a pointer to the ContextVar, borrowed, and its default. A table on the side would have to be kept
 * free of dead variables; a reference would make a cycle of each variable. When the ContextVar dies first, a context
 * may still hold the inner one: then one like it is made for who looks. Nobody can tell, as nobody has the old one.
 */
#include "xctx_python.h"

/* The name of an inner variable. */
typedef struct {
    PyUnicodeObject name;
    VariableObject *variable; /* borrowed; NULL when it is gone */
    PyObject *default_value;  /* NULL: none */
} Holder;

static PyTypeObject Holder_Type;

static int holder_traverse(Holder *self, visitproc visit, void *arg)
{
    Py_VISIT(self->default_value);
    return 0;
}

static int holder_clear(Holder *self)
{
    Py_CLEAR(self->default_value);
    return 0;
}

static void holder_dealloc(Holder *self)
{
    PyObject_GC_UnTrack(self);
    holder_clear(self);
    PyUnicode_Type.tp_dealloc((PyObject *)self);
}

static PyTypeObject Holder_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx._name",
    .tp_basicsize = sizeof(Holder),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc = "The name of a variable of contextvars that belongs to one of xctx.",
    .tp_dealloc = (destructor)holder_dealloc,
    .tp_traverse = (traverseproc)holder_traverse,
    .tp_clear = (inquiry)holder_clear,
};

static PyObject *holder_create(PyObject *name, PyObject *default_value)
{
    PyObject *exact = PyUnicode_FromObject(name);
    PyObject *arguments = exact ? PyTuple_Pack(1, exact) : NULL;
    Holder *self = arguments ? (Holder *)PyUnicode_Type.tp_new(&Holder_Type, arguments, NULL) : NULL;
    Py_XDECREF(arguments);
    Py_XDECREF(exact);
    if (self)
        self->default_value = Py_XNewRef(default_value);
    return (PyObject *)self;
}

static PyObject *inner_create(PyObject *holder, PyObject *default_value)
{
    PyObject *keywords = NULL, *inner = NULL;
    PyObject *arguments = PyTuple_Pack(1, holder);
    if (arguments && (!default_value || (keywords = Py_BuildValue("{sO}", "default", default_value))))
        inner = PyObject_Call((PyObject *)&PyContextVar_Type, arguments, keywords);
    Py_XDECREF(keywords);
    Py_XDECREF(arguments);
    return inner;
}

VariableObject *xctx_variable_alloc(PyObject *name, PyObject *default_value)
{
    VariableObject *self = PyObject_GC_New(VariableObject, &xctx_Variable_Type);
    if (!self)
        return NULL;
    self->name = Py_NewRef(name);
    self->default_value = Py_XNewRef(default_value);
    self->inner = self->holder = self->weakrefs = NULL;
    self->native = NULL;
    return self;
}

PyObject *xctx_variable_of(PyObject *inner)
{
    PyObject *name = xctx_attribute(inner, "name");
    if (!name)
        return NULL;
    Holder *holder = (Holder *)name;
    PyObject *result;
    if (Py_TYPE(name) != &Holder_Type) {
        result = Py_NewRef(inner);
    } else if (holder->variable) {
        result = Py_NewRef((PyObject *)holder->variable);
    } else {
        PyObject *exact = PyUnicode_FromObject(name);
        VariableObject *variable = exact ? xctx_variable_alloc(exact, holder->default_value) : NULL;
        Py_XDECREF(exact);
        if (variable) {
            variable->inner = Py_NewRef(inner);
            variable->holder = Py_NewRef(name);
            holder->variable = variable;
            PyObject_GC_Track(variable);
        }
        result = (PyObject *)variable;
    }
    Py_DECREF(name);
    return result;
}

static PyObject *variable_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"", "default", "type", NULL};
    PyObject *name, *default_value = NULL, *value_type = Py_None;
    (void)type;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|$OO:ContextVar", names, &name, &default_value,
                                     &value_type))
        return NULL;
    if (!PyUnicode_Check(name)) {
        PyErr_SetString(PyExc_TypeError, "context variable name must be a str");
        return NULL;
    }
    VariableObject *self = xctx_variable_alloc(name, default_value);
    if (!self)
        return NULL;
    if (value_type != Py_None) {
        if (xctx_native_variable_init(self, value_type))
            goto failed;
    } else {
        self->holder = holder_create(name, default_value);
        self->inner = self->holder ? inner_create(self->holder, default_value) : NULL;
        if (!self->inner)
            goto failed;
        ((Holder *)self->holder)->variable = self;
    }
    /* As the builtin ones: most are not in any cycle. */
    if (self->native || !PyUnicode_CheckExact(name) || (default_value && PyObject_IS_GC(default_value)))
        PyObject_GC_Track(self);
    return (PyObject *)self;

failed:
    PyObject_GC_Track(self);
    Py_DECREF(self);
    return NULL;
}

static int variable_traverse(VariableObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->name);
    Py_VISIT(self->default_value);
    Py_VISIT(self->inner);
    Py_VISIT(self->holder);
    return 0; /* native.c's objects are these */
}

/*
 * The inner variable stays: who meets this object in a finalizer may still use it. Cycles through it are broken at its
 * own references.
 */
static int variable_clear(VariableObject *self)
{
    if (self->holder)
        ((Holder *)self->holder)->variable = NULL;
    if (self->native)
        xctx_native_variable_clear(self);
    Py_CLEAR(self->name);
    Py_CLEAR(self->default_value);
    return 0;
}

static void variable_dealloc(VariableObject *self)
{
    PyObject_GC_UnTrack(self);
    /* Before anything that runs Python code. */
    if (self->holder && ((Holder *)self->holder)->variable == self)
        ((Holder *)self->holder)->variable = NULL;
    Py_TRASHCAN_BEGIN(self, variable_dealloc); /* defaults may be variables, in a chain of any length */
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    if (self->native)
        xctx_native_variable_finish(self);
    Py_CLEAR(self->name);
    Py_CLEAR(self->default_value);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->holder);
    PyObject_GC_Del(self);
    Py_TRASHCAN_END;
}

static PyObject *variable_repr(VariableObject *self)
{
    if (self->default_value)
        return PyUnicode_FromFormat("<ContextVar name=%R default=%R at %p>", self->name, self->default_value,
                                    (void *)self);
    return PyUnicode_FromFormat("<ContextVar name=%R at %p>", self->name, (void *)self);
}

static PyObject *variable_get(VariableObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    PyObject *value = NULL;
    if (count > 1)
        return PyErr_Format(PyExc_TypeError, "get expected at most 1 argument, got %zd", count);
    PyObject *default_value = count ? arguments[0] : NULL;
    if (xctx_arrive())
        return NULL;
    if (self->native ? xctx_native_get(self, default_value, &value)
                     : PyContextVar_Get(self->inner, default_value, &value))
        return NULL;
    if (!value)
        PyErr_SetObject(PyExc_LookupError, (PyObject *)self);
    return value;
}

static PyObject *variable_set(VariableObject *self, PyObject *value)
{
    if (xctx_arrive())
        return NULL;
    if (self->native)
        return xctx_native_set(self, value);
    /* First, so that a set that fails has changed nothing. */
    TokenObject *token = xctx_token_create(self);
    if (token && !(token->inner = PyContextVar_Set(self->inner, value)))
        Py_CLEAR(token);
    return (PyObject *)token;
}

int xctx_variable_reset(VariableObject *self, PyObject *object)
{
    if (!TokenObject_Check(object)) {
        PyErr_Format(PyExc_TypeError, "expected an instance of Token, got %R", object);
        return -1;
    }
    TokenObject *token = (TokenObject *)object;
    if (token->used) {
        PyErr_Format(PyExc_RuntimeError, "%R has already been used once", token);
        return -1;
    }
    if (token->variable != self) {
        PyErr_Format(PyExc_ValueError, "%R was created by a different ContextVar", token);
        return -1;
    }
    if (xctx_arrive())
        return -1;
    /* Now: a value that goes may have a finalizer that comes here again. */
    token->used = 1;
    if (self->native ? xctx_native_reset(self, token) : PyContextVar_Reset(self->inner, token->inner)) {
        /* Whether the builtin token is used up: it may be when memory ran out. The texts are to tell of ours. */
        token->used = !self->native && PyErr_ExceptionMatches(PyExc_RuntimeError);
        if (token->used)
            PyErr_Format(PyExc_RuntimeError, "%R has already been used once", token);
        else if (PyErr_ExceptionMatches(PyExc_ValueError))
            PyErr_Format(PyExc_ValueError, "%R was created in a different Context", token);
        return -1;
    }
    return 0;
}

static PyObject *variable_reset(VariableObject *self, PyObject *token)
{
    if (xctx_variable_reset(self, token))
        return NULL;
    Py_RETURN_NONE;
}

PyDoc_STRVAR(get_doc, "get([default])\n\n"
                      "Return a value for the context variable for the current context.\n\n"
                      "If there is no value for the variable in the current context, the method will:\n"
                      " * return the value of the default argument of the method, if provided; or\n"
                      " * return the default value for the context variable, if it was created with one; or\n"
                      " * raise a LookupError.");

PyDoc_STRVAR(
    set_doc,
    "set($self, value, /)\n--\n\n"
    "Call to set a new value for the context variable in the current context.\n\n"
    "Return a Token that can be used to restore the variable to its previous value via reset(), or by leaving\n"
    "`with variable.set(value):`.");

PyDoc_STRVAR(reset_doc, "reset($self, token, /)\n--\n\n"
                        "Reset the context variable.\n\n"
                        "The variable is reset to the value it had before the set() that created the token.");

PyDoc_STRVAR(from_capsule_doc,
             "from_capsule(capsule, /, *, type[, default])\n\n"
             "Return the context variable for one that C code defined: an xctx_var, in a capsule "
             "with the name \"xctx_var\".\n\n"
             "`type` says what its values are in C, as for ContextVar(). It can be set from Python if "
             "it copies its values.");

static PyMethodDef variable_methods[] = {
    {"get", (PyCFunction)(void (*)(void))variable_get, METH_FASTCALL, get_doc},
    {"set", (PyCFunction)variable_set, METH_O, set_doc},
    {"reset", (PyCFunction)variable_reset, METH_O, reset_doc},
    {"from_capsule", (PyCFunction)(void (*)(void))xctx_native_from_capsule, METH_VARARGS | METH_KEYWORDS | METH_CLASS,
     from_capsule_doc},
    {"__class_getitem__", xctx_class_getitem, METH_O | METH_CLASS, "See PEP 585."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef variable_attributes[] = {
    {"capsule", (getter)xctx_native_capsule, NULL,
     "The xctx_var of a variable with a type, for C code, in a capsule with the name \"xctx_var\"; None without a "
     "type.",
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMemberDef variable_members[] = {
    {"name", Py_T_OBJECT_EX, offsetof(VariableObject, name), Py_READONLY, "The name of the variable."},
    {NULL, 0, 0, 0, NULL},
};

PyDoc_STRVAR(variable_doc, "ContextVar(name, *, default=<none>, type=None)\n\n"
                           "A context variable: as contextvars.ContextVar, whatever carries that carries this.\n\n"
                           "With a type (str, bytes, int, float, bool, object) its values are held by libxctx, where C "
                           "code reads them without\n"
                           "the GIL.\n\n"
                           ">>> import xctx\n"
                           ">>> user = xctx.ContextVar('user', default='nobody')\n"
                           ">>> with user.set('ada'):\n"
                           "...     user.get()\n"
                           "'ada'\n"
                           ">>> user.get()\n"
                           "'nobody'");

PyTypeObject xctx_Variable_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx.ContextVar",
    .tp_basicsize = sizeof(VariableObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc = variable_doc,
    .tp_new = variable_new,
    .tp_dealloc = (destructor)variable_dealloc,
    .tp_traverse = (traverseproc)variable_traverse,
    .tp_clear = (inquiry)variable_clear,
    .tp_repr = (reprfunc)variable_repr,
    .tp_weaklistoffset = offsetof(VariableObject, weakrefs),
    .tp_members = variable_members,
    .tp_getset = variable_attributes,
    .tp_methods = variable_methods,
};

int xctx_variable_init(PyObject *module)
{
    Holder_Type.tp_base = &PyUnicode_Type;
    return PyType_Ready(&Holder_Type) || PyModule_AddType(module, &xctx_Variable_Type) ? -1 : 0;
}
