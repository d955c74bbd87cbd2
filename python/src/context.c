/* SPDX-License-Identifier: MIT */
/*
 * Context: a contextvars.Context, shown with our variables in the place of their inner ones, and what was captured when
 * it was copied.
 *
 * What a context shows: first what the builtin one holds, without the hidden variables, then native variables.
 *
 * A copy takes the builtin context's map, which is never changed once it is made, and makes a builtin context of its
 * own when it is first entered or looked into. Most copies are kept for a while and entered once, if ever: making two
 * objects for each takes half as long again as one.
 */
#include "hamt.h"

enum { FREE_MAX = 255 }; /* as of the builtin ones */
static ContextObject *free_contexts[FREE_MAX];
static int free_count;

/* One of both is NULL; takes them, also on failure. */
static inline PyObject *create(PyObject *inner, PyObject *map, PyObject *snapshot)
{
    ContextObject *self;
    if (__builtin_expect(free_count > 0, 1)) {
        self = free_contexts[--free_count];
        xctx_revive((PyObject *)self);
    } else if (!(self = PyObject_GC_New(ContextObject, &xctx_Context_Type))) {
        Py_XDECREF(inner);
        Py_XDECREF(map);
        return NULL;
    }
    self->inner = inner;
    self->map = map;
    self->snapshot = Py_XNewRef(snapshot);
    self->weakrefs = NULL;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

PyObject *xctx_context_wrap(PyObject *inner, PyObject *snapshot)
{
    return inner ? create(inner, NULL, snapshot) : NULL;
}

PyObject *xctx_context_inner(ContextObject *self)
{
    if (__builtin_expect(!self->inner, 0)) {
        PyObject *inner = PyContext_New();
        if (!inner)
            return NULL;
        /* Making it may have run the garbage collector, which may have come here. */
        if (self->inner) {
            Py_DECREF(inner);
        } else {
            if (self->map)
                xctx_hamt_set_map(inner, self->map);
            self->map = NULL;
            self->inner = inner;
        }
    }
    return self->inner;
}

static int context_traverse(ContextObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->inner);
    Py_VISIT(self->map);
    Py_VISIT(self->snapshot);
    return 0;
}

/* The inner context stays, and is cleared itself: a finalizer may meet this object. Without a map it is empty. */
static int context_clear(ContextObject *self)
{
    Py_CLEAR(self->map);
    Py_CLEAR(self->snapshot);
    return 0;
}

static void context_dealloc(ContextObject *self)
{
    PyObject_GC_UnTrack(self);
    if (self->weakrefs)
        PyObject_ClearWeakRefs((PyObject *)self);
    Py_CLEAR(self->snapshot);
    Py_CLEAR(self->inner);
    Py_CLEAR(self->map);
    if (free_count < FREE_MAX)
        free_contexts[free_count++] = self;
    else
        PyObject_GC_Del(self);
}

static PyObject *context_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    (void)type;
    if (PyTuple_Size(arguments) || (keywords && PyDict_Size(keywords))) {
        PyErr_SetString(PyExc_TypeError, "Context() does not accept any arguments");
        return NULL;
    }
    PyObject *inner = PyContext_New();
    if (inner && xctx_follow_in_use && xctx_follow_set_empty(inner))
        Py_CLEAR(inner);
    return xctx_context_wrap(inner, NULL);
}

/* A copy of the current context, without a capture. */
static PyObject *copy_current(void)
{
    if (__builtin_expect(xctx_follow_entered || !xctx_hamt_works(), 0))
        return xctx_context_wrap(xctx_inner_copy(), NULL);
    if (xctx_arrive())
        return NULL;
    PyObject *current = PyThreadState_Get()->context;
    return current ? create(NULL, Py_NewRef(xctx_hamt_map(current)), NULL)
                   : xctx_context_wrap(PyContext_CopyCurrent(), NULL);
}

/* Makes `snapshot` the origin in a builtin context that nobody else knows yet. 0 or -1. */
static int set_origin(PyObject *inner, PyObject *snapshot)
{
    if (PyContext_Enter(inner))
        return -1;
    PyObject *token = PyContextVar_Set(xctx_origin_var, snapshot);
    int error = PyContext_Exit(inner) || !token ? -1 : 0;
    Py_XDECREF(token);
    return error;
}

PyObject *xctx_copy_here(long flags, PyObject **ret_snapshot)
{
    PyObject *snapshot = NULL;
    unsigned what = flags < 0 ? xctx_capture_default : (unsigned)flags;

    *ret_snapshot = NULL;
    if (what && (xctx_arrive() || !(snapshot = xctx_capture(what))))
        return NULL;
    PyObject *inner = xctx_inner_copy();
    if (inner && snapshot && set_origin(inner, snapshot))
        Py_CLEAR(inner);
    if (inner)
        *ret_snapshot = snapshot;
    else
        Py_XDECREF(snapshot);
    return inner;
}

PyObject *xctx_context_copy_with(unsigned flags)
{
    if (!flags)
        return copy_current();
    PyObject *snapshot;
    PyObject *inner = xctx_copy_here((long)flags, &snapshot);
    PyObject *self = xctx_context_wrap(inner, snapshot);

    Py_XDECREF(snapshot);
    return self;
}

static PyObject *context_copy(ContextObject *self, PyObject *ignored)
{
    (void)ignored;
    if (!xctx_hamt_works())
        return xctx_context_wrap(PyContext_Copy(self->inner), self->snapshot);
    return create(NULL, Py_XNewRef(self->inner ? xctx_hamt_map(self->inner) : self->map), self->snapshot);
}

/* Running. */

static PyObject *context_run(ContextObject *self, PyObject *const *arguments, Py_ssize_t count, PyObject *names)
{
    if (count < 1) {
        PyErr_SetString(PyExc_TypeError, "run() missing 1 required positional argument");
        return NULL;
    }
    PyObject *inner = xctx_context_inner(self);
    if (!inner)
        return NULL;
    if (PyContext_Enter(inner)) {
        if (PyErr_ExceptionMatches(PyExc_RuntimeError))
            PyErr_Format(PyExc_RuntimeError, "cannot enter context: %R is already entered", self);
        return NULL;
    }
    if (__builtin_expect(xctx_follow_hooked, 0))
        xctx_follow_now();
    /* The caller's array need not have room before the first. */
    PyObject *result = PyObject_Vectorcall(arguments[0], arguments + 1, (size_t)(count - 1), names);
    if (PyContext_Exit(inner))
        Py_CLEAR(result);
    if (__builtin_expect(xctx_follow_hooked, 0))
        xctx_follow_now();
    return result;
}

/* Looking. */

/* Finds a key's value: 1 found, 0 not, -1 with an exception: not a key. */
static int lookup(ContextObject *self, PyObject *key, PyObject **ret_value)
{
    PyObject *inner = xctx_context_inner(self);
    if (!inner)
        return -1;
    if (VariableObject_Check(key)) {
        VariableObject *variable = (VariableObject *)key;
        if (variable->native)
            return xctx_native_lookup(inner, variable, ret_value);
        key = variable->inner;
    } else if (!PyContextVar_CheckExact(key)) {
        PyErr_Format(PyExc_TypeError, "a ContextVar key was expected, got %R", key);
        return -1;
    }
    if (xctx_is_hidden(key))
        return 0;
    int found = PySequence_Contains(inner, key);
    if (found == 1 && !(*ret_value = PyObject_GetItem(inner, key)))
        return -1;
    return found;
}

static PyObject *context_subscript(ContextObject *self, PyObject *key)
{
    PyObject *value = NULL;
    int found = lookup(self, key, &value);
    if (found == 0)
        PyErr_SetObject(PyExc_KeyError, key);
    return value;
}

static int context_contains(ContextObject *self, PyObject *key)
{
    PyObject *value = NULL;
    int found = lookup(self, key, &value);
    Py_XDECREF(value);
    return found;
}

static PyObject *context_get(ContextObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count < 1)
        return PyErr_Format(PyExc_TypeError, "get expected at least 1 argument, got %zd", count);
    if (count > 2)
        return PyErr_Format(PyExc_TypeError, "get expected at most 2 arguments, got %zd", count);
    PyObject *value = NULL;
    int found = lookup(self, arguments[0], &value);
    if (found == 0)
        value = Py_NewRef(count > 1 ? arguments[1] : Py_None);
    return value;
}

static Py_ssize_t context_length(ContextObject *self)
{
    PyObject *inner = xctx_context_inner(self);
    Py_ssize_t length = inner ? PyObject_Size(inner) : -1;
    for (int i = 0; i < xctx_hidden_count && length >= 0; i++) {
        int found = PySequence_Contains(inner, xctx_hidden[i]);
        length = found < 0 ? -1 : length - found;
    }
    if (length < 0)
        return -1;
    PyObject *native = xctx_native_items(inner);
    if (!native)
        return PyErr_Occurred() ? -1 : length;
    length += PyList_GET_SIZE(native);
    Py_DECREF(native);
    return length;
}

/* Iterators: over the builtin context's items, then over the native ones. */

enum what { KEYS, VALUES, ITEMS };

typedef struct {
    PyObject_HEAD
    PyObject *items;   /* the iterator that is used up now; NULL: none left */
    PyObject *native;  /* the one after it, if any */
    Py_ssize_t length; /* of the context when this was made: len() of builtin ones says that, too */
    enum what what;
} IteratorObject;

static PyTypeObject Iterator_Type;

static PyObject *iterate(ContextObject *self, enum what what)
{
    Py_ssize_t length = context_length(self);
    PyObject *inner = length < 0 ? NULL : xctx_context_inner(self);
    PyObject *list = inner ? xctx_native_items(inner) : NULL;
    if (!list && PyErr_Occurred())
        return NULL;
    PyObject *native = list ? PyObject_GetIter(list) : NULL;
    Py_XDECREF(list);
    if (list && !native)
        return NULL;
    PyObject *items = PyObject_CallMethod(inner, "items", NULL);
    IteratorObject *iterator = NULL;
    if (items)
        iterator = PyObject_GC_New(IteratorObject, &Iterator_Type);
    if (!iterator) {
        Py_XDECREF(items);
        Py_XDECREF(native);
        return NULL;
    }
    iterator->items = items;
    iterator->native = native;
    iterator->length = length;
    iterator->what = what;
    PyObject_GC_Track(iterator);
    return (PyObject *)iterator;
}

/* A visible variable's entry from that of the builtin context, as new; NULL without an exception if it is hidden. */
static PyObject *shown(PyObject *item, enum what what)
{
    PyObject *key = PyTuple_GET_ITEM(item, 0), *value = PyTuple_GET_ITEM(item, 1);
    if (PyContextVar_CheckExact(key)) {
        if (xctx_is_hidden(key))
            return NULL;
        if (what == VALUES)
            return Py_NewRef(value);
        key = xctx_variable_of(key);
    } else {
        if (what == VALUES)
            return Py_NewRef(value);
        key = Py_NewRef(key);
    }
    if (!key || what == KEYS)
        return key;
    PyObject *pair = PyTuple_Pack(2, key, value);
    Py_DECREF(key);
    return pair;
}

static PyObject *iterator_next(IteratorObject *self)
{
    while (self->items) {
        PyObject *item = PyIter_Next(self->items);
        if (item) {
            PyObject *result = shown(item, self->what);
            Py_DECREF(item);
            if (result || PyErr_Occurred())
                return result;
            continue;
        }
        if (PyErr_Occurred())
            return NULL;
        Py_SETREF(self->items, self->native);
        self->native = NULL;
    }
    return NULL;
}

static int iterator_traverse(IteratorObject *self, visitproc visit, void *arg)
{
    Py_VISIT(self->items);
    Py_VISIT(self->native);
    return 0;
}

static int iterator_clear(IteratorObject *self)
{
    Py_CLEAR(self->items);
    Py_CLEAR(self->native);
    return 0;
}

static void iterator_dealloc(IteratorObject *self)
{
    PyObject_GC_UnTrack(self);
    iterator_clear(self);
    PyObject_GC_Del(self);
}

static Py_ssize_t iterator_length(IteratorObject *self)
{
    return self->length;
}

static PyMappingMethods iterator_as_mapping = {.mp_length = (lenfunc)iterator_length};

static PyTypeObject Iterator_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx._context_iterator",
    .tp_basicsize = sizeof(IteratorObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = (destructor)iterator_dealloc,
    .tp_as_mapping = &iterator_as_mapping,
    .tp_traverse = (traverseproc)iterator_traverse,
    .tp_clear = (inquiry)iterator_clear,
    .tp_iter = PyObject_SelfIter,
    .tp_iternext = (iternextfunc)iterator_next,
};

static PyObject *context_iter(ContextObject *self)
{
    return iterate(self, KEYS);
}

static PyObject *context_keys(ContextObject *self, PyObject *ignored)
{
    (void)ignored;
    return iterate(self, KEYS);
}

static PyObject *context_values(ContextObject *self, PyObject *ignored)
{
    (void)ignored;
    return iterate(self, VALUES);
}

static PyObject *context_items(ContextObject *self, PyObject *ignored)
{
    (void)ignored;
    return iterate(self, ITEMS);
}

/* Whether b has each of a's variables, with an equal value; 1, 0, -1. */
static int is_within(ContextObject *a, ContextObject *b)
{
    PyObject *items = iterate(a, ITEMS), *item;
    if (!items)
        return -1;
    int status = 1;
    while (status == 1 && (item = PyIter_Next(items))) {
        PyObject *value = NULL;
        status = lookup(b, PyTuple_GET_ITEM(item, 0), &value);
        if (status == 1)
            status = PyObject_RichCompareBool(PyTuple_GET_ITEM(item, 1), value, Py_EQ);
        Py_XDECREF(value);
        Py_DECREF(item);
    }
    Py_DECREF(items);
    return PyErr_Occurred() ? -1 : status;
}

static PyObject *context_compare(PyObject *a, PyObject *b, int operation)
{
    if (!ContextObject_Check(a) || !ContextObject_Check(b) || (operation != Py_EQ && operation != Py_NE))
        Py_RETURN_NOTIMPLEMENTED;
    int equal = 1;
    if (a != b) {
        Py_ssize_t length_a = context_length((ContextObject *)a);
        Py_ssize_t length_b = length_a < 0 ? -1 : context_length((ContextObject *)b);
        if (length_b < 0)
            return NULL;
        equal = length_a == length_b ? is_within((ContextObject *)a, (ContextObject *)b) : 0;
    }
    if (equal < 0)
        return NULL;
    return PyBool_FromLong(equal == (operation == Py_EQ));
}

/* What was captured. */

static PyObject *context_get_snapshot(ContextObject *self, void *closure)
{
    (void)closure;
    return Py_NewRef(self->snapshot ? self->snapshot : Py_None);
}

/* An attribute of the snapshot; without one, an empty tuple for frames, else None. */
static PyObject *context_get_captured(ContextObject *self, void *closure)
{
    const char *name = closure;
    if (self->snapshot)
        return xctx_attribute(self->snapshot, name);
    if (strstr(name, "frames"))
        return PyTuple_New(0);
    Py_RETURN_NONE;
}

/* Reports are written in Python: xctx._report.NAME(self, ...). */
static PyObject *report(const char *name, PyObject *arguments, PyObject *keywords)
{
    PyObject *function = xctx_report_function(name);
    PyObject *result = function ? PyObject_Call(function, arguments, keywords) : NULL;
    Py_XDECREF(function);
    return result;
}

static PyObject *context_format(PyObject *self, PyObject *arguments, PyObject *keywords)
{
    PyObject *self_only = PyTuple_Pack(1, self);
    PyObject *all = self_only ? PySequence_Concat(self_only, arguments) : NULL;
    PyObject *result = all ? report("format_context", all, keywords) : NULL;
    Py_XDECREF(all);
    Py_XDECREF(self_only);
    return result;
}

static PyObject *context_html(PyObject *self, PyObject *ignored)
{
    (void)ignored;
    PyObject *arguments = PyTuple_Pack(1, self);
    PyObject *result = arguments ? report("html_context", arguments, NULL) : NULL;
    Py_XDECREF(arguments);
    return result;
}

PyDoc_STRVAR(run_doc,
             "run($self, callable, /, *args, **kwargs)\n--\n\n"
             "Call it in this context, with these arguments, and return what it returns.\n\n"
             "What it sets stays in this context. RuntimeError if the context is entered already, by any thread.");

PyDoc_STRVAR(context_get_doc, "get($self, key, default=None, /)\n--\n\n"
                              "Return the value for `key` if `key` has the value in the context object.\n\n"
                              "If `key` does not exist, return `default`. If `default` is not given, return None.");

static PyMethodDef context_methods[] = {
    {"run", (PyCFunction)(void (*)(void))context_run, METH_FASTCALL | METH_KEYWORDS, run_doc},
    {"copy", (PyCFunction)context_copy, METH_NOARGS,
     "copy($self, /)\n--\n\nReturn a shallow copy of the context object. It captures nothing."},
    {"get", (PyCFunction)(void (*)(void))context_get, METH_FASTCALL, context_get_doc},
    {"keys", (PyCFunction)context_keys, METH_NOARGS,
     "keys($self, /)\n--\n\nReturn an iterator over the variables in the context object."},
    {"values", (PyCFunction)context_values, METH_NOARGS,
     "values($self, /)\n--\n\nReturn an iterator over all variables' values in the context object."},
    {"items", (PyCFunction)context_items, METH_NOARGS,
     "items($self, /)\n--\n\nReturn an iterator over all variables and their values in the context object."},
    {"format", (PyCFunction)(void (*)(void))context_format, METH_VARARGS | METH_KEYWORDS,
     "format($self, /, *, color=False, locals=True, native=True, interpreter=False, chain=True, width=80)\n--\n\n"
     "Return a report, a str: variables, and what was captured. Options as those of Snapshot.format()."},
    {"_repr_html_", context_html, METH_NOARGS, "The report as HTML, for Jupyter."},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef context_attributes[] = {
    {"snapshot", (getter)context_get_snapshot, NULL, "The Snapshot taken when the context was copied, or None.", NULL},
    {"frames", (getter)context_get_captured, NULL, "Python's call stack at the copy, the innermost frame first.",
     (void *)"frames"},
    {"native_frames", (getter)context_get_captured, NULL, "The native call stack at the copy, the innermost first.",
     (void *)"native_frames"},
    {"thread_state", (getter)context_get_captured, NULL, "The copying thread's settings, or None.",
     (void *)"thread_state"},
    {"parent", (getter)context_get_captured, NULL,
     "The Snapshot of where the copying thread's work came from, or None.", (void *)"parent"},
    {NULL, NULL, NULL, NULL, NULL},
};

static PySequenceMethods context_as_sequence = {.sq_contains = (objobjproc)context_contains};
static PyMappingMethods context_as_mapping = {
    .mp_length = (lenfunc)context_length,
    .mp_subscript = (binaryfunc)context_subscript,
};

PyDoc_STRVAR(context_doc, "Context()\n\n"
                          "A mapping of context variables to their values, as contextvars.Context, and what was "
                          "captured when it was copied.\n\n"
                          "It shows the variables of xctx and those of contextvars.\n\n"
                          ">>> import contextvars, xctx\n"
                          ">>> color = contextvars.ContextVar('color')\n"
                          ">>> context = xctx.Context()\n"
                          ">>> token = context.run(color.set, 'red')\n"
                          ">>> context[color], color.get(None)\n"
                          "('red', None)");

PyTypeObject xctx_Context_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx.Context",
    .tp_basicsize = sizeof(ContextObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_doc = context_doc,
    .tp_new = context_new,
    .tp_dealloc = (destructor)context_dealloc,
    .tp_traverse = (traverseproc)context_traverse,
    .tp_clear = (inquiry)context_clear,
    .tp_iter = (getiterfunc)context_iter,
    .tp_hash = PyObject_HashNotImplemented,
    .tp_richcompare = context_compare,
    .tp_weaklistoffset = offsetof(ContextObject, weakrefs),
    .tp_as_sequence = &context_as_sequence,
    .tp_as_mapping = &context_as_mapping,
    .tp_methods = context_methods,
    .tp_getset = context_attributes,
};

int xctx_context_init(PyObject *module)
{
    return PyType_Ready(&Iterator_Type) || PyModule_AddType(module, &xctx_Context_Type) ? -1 : 0;
}
