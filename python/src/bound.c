/* SPDX-License-Identifier: MIT */
/*
 * Work that is bound to a context, and what remembers of exceptions where the work was submitted that they come from.
 *
 *   Bound    a callable: a function and a copy of the context in which it was bound. Each call enters a copy of that
 *            copy, so that calls can overlap, and leaves it again. An exception that comes out is marked with the
 *            snapshot of the place where the work was bound (see Origin), and else left as it is.
 *   Origin   where work came from, as an exception's attribute __xctx_origin__. Exceptions cannot be weakly referenced,
 *            so a table beside them could not know when they die. An Origin is written as None by pickle and copied as
 *            itself, so that exceptions cross processes as they did before. Called with a finished task, it marks
 *            the task's exception: asyncio calls it when the task is done.
 *
 * All of this is C so that no frame of ours is in tracebacks and snapshots, and for its speed.
 */
#include "bound.h"

static PyObject *origin_name; /* "__xctx_origin__" */
static PyObject *exception_name;

/* The origin in a context, new; NULL if there is none. -1 with an exception. */
static int find_origin(PyObject *inner, PyObject **ret_snapshot)
{
    *ret_snapshot = PyObject_GetItem(inner, xctx_origin_var);
    if (*ret_snapshot)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_KeyError))
        return -1;
    PyErr_Clear();
    return 0;
}

/* ---- Origin --------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    PyObject *snapshot;
} OriginObject;

static PyTypeObject Origin_Type;

PyObject *xctx_origin_new(PyObject *snapshot)
{
    OriginObject *self = PyObject_GC_New(OriginObject, &Origin_Type);

    if (!self)
        return NULL;
    Py_INCREF(snapshot);
    self->snapshot = snapshot;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/*
 * Marks an exception, unless it has been marked where it was raised. Never fails: what the exception says is more
 * important than where its work came from.
 */
static void mark(PyObject *exception, PyObject *snapshot, PyObject *origin)
{
    PyObject *dict = ((PyBaseExceptionObject *)exception)->dict;

    if (dict && PyDict_GetItemWithError(dict, origin_name))
        return;
    if (PyErr_Occurred()) {
        PyErr_Clear();
        return;
    }
    if (origin)
        Py_INCREF(origin);
    else
        origin = xctx_origin_new(snapshot);
    if (!origin || PyObject_GenericSetAttr(exception, origin_name, origin))
        PyErr_Clear();
    Py_XDECREF(origin);
}

static void mark_raised(PyObject *snapshot)
{
    PyObject *exception = PyErr_GetRaisedException();

    mark(exception, snapshot, NULL);
    PyErr_SetRaisedException(exception);
}

/* A task is done. Its exception is not asked for by exception(), after which asyncio takes it for noticed. */
static PyObject *origin_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    PyObject *task, *exception;

    if (kwargs && PyDict_GET_SIZE(kwargs))
        return PyErr_Format(PyExc_TypeError, "an origin takes no keyword arguments");
    if (!PyArg_ParseTuple(args, "O", &task))
        return NULL;
    exception = PyObject_GetAttr(task, exception_name);
    if (!exception)
        PyErr_Clear();
    else if (PyExceptionInstance_Check(exception))
        mark(exception, ((OriginObject *)self)->snapshot, self);
    Py_XDECREF(exception);
    Py_RETURN_NONE;
}

static PyObject *origin_reduce(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return Py_BuildValue("O()", (PyObject *)Py_TYPE(Py_None));
}

static PyObject *origin_copy(PyObject *self, PyObject *unused)
{
    (void)unused;
    Py_INCREF(self);
    return self;
}

static PyObject *origin_repr(PyObject *self)
{
    (void)self;
    return PyUnicode_FromString("<xctx: where it was submitted>");
}

static PyObject *origin_get_snapshot(PyObject *self, void *unused)
{
    PyObject *snapshot = ((OriginObject *)self)->snapshot;

    (void)unused;
    if (!snapshot)
        snapshot = Py_None;
    Py_INCREF(snapshot);
    return snapshot;
}

static int origin_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((OriginObject *)self)->snapshot);
    return 0;
}

static int origin_clear(PyObject *self)
{
    Py_CLEAR(((OriginObject *)self)->snapshot);
    return 0;
}

static void origin_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    origin_clear(self);
    PyObject_GC_Del(self);
}

static PyMethodDef origin_methods[] = {
    {"__reduce__", origin_reduce, METH_NOARGS, NULL},
    {"__copy__", origin_copy, METH_NOARGS, NULL},
    {"__deepcopy__", origin_copy, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef origin_getset[] = {
    {"snapshot", origin_get_snapshot, NULL, "The Snapshot of the place where the work was submitted.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject Origin_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx._xctx.Origin",
    .tp_doc = "Where the work came from in which an exception was raised: its attribute __xctx_origin__.",
    .tp_basicsize = sizeof(OriginObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = origin_dealloc,
    .tp_traverse = origin_traverse,
    .tp_clear = origin_clear,
    .tp_repr = origin_repr,
    .tp_call = origin_call,
    .tp_methods = origin_methods,
    .tp_getset = origin_getset,
};

/* ---- Bound ---------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *inner;    /* a builtin context, never entered itself but for work that is done once */
    PyObject *snapshot; /* or NULL */
    PyObject *function;
    PyObject *dict;
    PyObject *weakrefs;
    int once;
} BoundObject;

static PyObject *bound_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    BoundObject *self = (BoundObject *)callable;
    PyObject *context, *result;

    if (!self->inner || !self->function)
        return PyErr_Format(PyExc_RuntimeError, "this bound function has been cleared");
    if (Py_EnterRecursiveCall(" while calling a bound function"))
        return NULL;
    Py_INCREF(self);
    result = NULL;
    context = self->once ? Py_NewRef(self->inner) : PyContext_Copy(self->inner);
    if (!context || PyContext_Enter(context))
        goto out;
    if (__builtin_expect(xctx_follow_hooked, 0))
        xctx_follow_now();
    result = PyObject_Vectorcall(self->function, args, nargsf, kwnames);
    if (!result && self->snapshot)
        mark_raised(self->snapshot);
    if (!result) {
        PyObject *exception = PyErr_GetRaisedException();

        if (PyContext_Exit(context))
            PyErr_Clear();
        PyErr_SetRaisedException(exception);
    } else if (PyContext_Exit(context)) {
        Py_CLEAR(result);
    }
    if (__builtin_expect(xctx_follow_hooked, 0))
        xctx_follow_now();
out:
    Py_XDECREF(context);
    Py_DECREF(self);
    Py_LeaveRecursiveCall();
    return result;
}

/* Returns new. FUNCTION is bound to a copy of the current context, or to one of the builtin context INNER. */
PyObject *xctx_bound_new(PyObject *function, PyObject *inner, long flags)
{
    PyObject *snapshot = NULL;
    BoundObject *self;
    int error;

    if (!PyCallable_Check(function))
        return PyErr_Format(PyExc_TypeError, "a callable was expected, not '%.200s'", Py_TYPE(function)->tp_name);
    if (inner) {
        inner = PyContext_Copy(inner);
        error = !inner || find_origin(inner, &snapshot);
    } else {
        inner = xctx_copy_here(flags, &snapshot);
        error = !inner || (!snapshot && PyContextVar_Get(xctx_origin_var, NULL, &snapshot));
    }
    if (error) {
        Py_XDECREF(inner);
        return NULL;
    }
    if (!(self = PyObject_GC_New(BoundObject, &xctx_Bound_Type))) {
        Py_DECREF(inner);
        Py_XDECREF(snapshot);
        return NULL;
    }
    self->vectorcall = bound_vectorcall;
    self->inner = inner;
    self->snapshot = snapshot;
    Py_INCREF(function);
    self->function = function;
    self->dict = NULL;
    self->weakrefs = NULL;
    self->once = 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

void xctx_bound_is_called_once(PyObject *bound)
{
    ((BoundObject *)bound)->once = 1;
}

static PyObject *bound_descr_get(PyObject *self, PyObject *object, PyObject *type)
{
    (void)type;
    if (!object || object == Py_None) {
        Py_INCREF(self);
        return self;
    }
    return PyMethod_New(self, object);
}

static PyObject *bound_repr(PyObject *self)
{
    PyObject *function = ((BoundObject *)self)->function;

    return PyUnicode_FromFormat("<xctx bound %R>", function ? function : Py_None);
}

static PyObject *bound_get_function(PyObject *self, void *unused)
{
    PyObject *function = ((BoundObject *)self)->function;

    (void)unused;
    return Py_NewRef(function ? function : Py_None);
}

static PyObject *bound_get_snapshot(PyObject *self, void *unused)
{
    PyObject *snapshot = ((BoundObject *)self)->snapshot;

    (void)unused;
    if (!snapshot)
        snapshot = Py_None;
    Py_INCREF(snapshot);
    return snapshot;
}

static int bound_traverse(PyObject *self, visitproc visit, void *arg)
{
    BoundObject *bound = (BoundObject *)self;

    Py_VISIT(bound->inner);
    Py_VISIT(bound->snapshot);
    Py_VISIT(bound->function);
    Py_VISIT(bound->dict);
    return 0;
}

static int bound_clear(PyObject *self)
{
    BoundObject *bound = (BoundObject *)self;

    Py_CLEAR(bound->inner);
    Py_CLEAR(bound->snapshot);
    Py_CLEAR(bound->function);
    Py_CLEAR(bound->dict);
    return 0;
}

static void bound_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, bound_dealloc);
    if (((BoundObject *)self)->weakrefs)
        PyObject_ClearWeakRefs(self);
    bound_clear(self);
    PyObject_GC_Del(self);
    Py_TRASHCAN_END;
}

static PyGetSetDef bound_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {"__func__", bound_get_function, NULL, "The function that was bound.", NULL},
    {"snapshot", bound_get_snapshot, NULL, "The Snapshot of the place where it was bound, or None.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject xctx_Bound_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx._xctx.Bound",
    .tp_doc = "A function and the context in which it runs: what xctx.bind() returns.",
    .tp_basicsize = sizeof(BoundObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL,
    .tp_dealloc = bound_dealloc,
    .tp_traverse = bound_traverse,
    .tp_clear = bound_clear,
    .tp_repr = bound_repr,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(BoundObject, vectorcall),
    .tp_dictoffset = offsetof(BoundObject, dict),
    .tp_weaklistoffset = offsetof(BoundObject, weakrefs),
    .tp_descr_get = bound_descr_get,
    .tp_getset = bound_getset,
};

/* ---- functions for the Python part ---------------------------------------------------------------------------- */

PyDoc_STRVAR(bind_doc, "_bind(function, flags=-1, context=None, once=False)\n--\n\n"
                       "The function, bound to a copy of the current context or of the given builtin one.\n"
                       "once: it will be called one time, which then needs no memory.");

static PyObject *py_bind(PyObject *module, PyObject *args)
{
    PyObject *function, *context = Py_None, *bound;
    long flags = -1;
    int once = 0;

    (void)module;
    if (!PyArg_ParseTuple(args, "O|lOp:_bind", &function, &flags, &context, &once))
        return NULL;
    if (context != Py_None && !PyContext_CheckExact(context))
        return PyErr_Format(PyExc_TypeError, "a contextvars.Context was expected");
    bound = xctx_bound_new(function, context == Py_None ? NULL : context, flags);
    if (bound && once)
        xctx_bound_is_called_once(bound);
    return bound;
}

PyDoc_STRVAR(copy_here_doc, "_copy_here(flags)\n--\n\n"
                            "A builtin copy of the current context, with a new origin if anything is captured.");

static PyObject *py_copy_here(PyObject *module, PyObject *flags)
{
    long what = PyLong_AsLong(flags);
    PyObject *snapshot, *inner;

    (void)module;
    if (what == -1 && PyErr_Occurred())
        return NULL;
    inner = xctx_copy_here(what, &snapshot);
    Py_XDECREF(snapshot);
    return inner;
}

PyDoc_STRVAR(mark_doc, "_mark(exception, snapshot)\n--\n\n"
                       "Remembers where the work came from in which the exception was raised, unless that is known.");

static PyObject *py_mark(PyObject *module, PyObject *args)
{
    PyObject *exception, *snapshot;

    (void)module;
    if (!PyArg_ParseTuple(args, "O!O:_mark", PyExc_BaseException, &exception, &snapshot))
        return NULL;
    mark(exception, snapshot, NULL);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(origin_doc, "_origin()\n--\n\n"
                         "The Snapshot of where the work was submitted that is running, or None.");

static PyObject *py_origin(PyObject *module, PyObject *unused)
{
    PyObject *snapshot;

    (void)module;
    (void)unused;
    if (PyContextVar_Get(xctx_origin_var, Py_None, &snapshot))
        return NULL;
    return snapshot;
}

PyDoc_STRVAR(thread_contexts_doc, "_thread_contexts()\n--\n\n"
                                  "For each thread's identifier: a copy of its context, or None if it has none, and\n"
                                  "the Snapshot of where its work was submitted, or None.");

static PyObject *describe_context(PyObject *current)
{
    PyObject *inner, *context = NULL, *origin = NULL, *pair = NULL;

    if (!current)
        return Py_BuildValue("OO", Py_None, Py_None);
    /* A copy: what the thread sets from now on is not in it. */
    if (!(inner = PyContext_Copy(current)))
        return NULL;
    if (find_origin(inner, &origin))
        Py_DECREF(inner);
    else if ((context = xctx_context_wrap(inner, NULL)))
        pair = PyTuple_Pack(2, context, origin ? origin : Py_None);
    Py_XDECREF(context);
    Py_XDECREF(origin);
    return pair;
}

/*
 * Contexts are collected first: nothing in between lets another thread run, without which none is removed from the list
 * and none changes its context. One may be added at the head, where the walk has been already.
 */
static PyObject *py_thread_contexts(PyObject *module, PyObject *unused)
{
    enum { THREADS_MOST = 4096 };
    struct {
        unsigned long identifier;
        PyObject *context;
    } *found = PyMem_Calloc(THREADS_MOST, sizeof(*found));
    PyObject *contexts;
    Py_ssize_t count = 0;
    int error;

    (void)module;
    (void)unused;
    if (!found)
        return PyErr_NoMemory();
    contexts = PyDict_New();
    error = !contexts;
#ifndef Py_GIL_DISABLED
    for (PyThreadState *state = PyInterpreterState_ThreadHead(PyInterpreterState_Get()); state && count < THREADS_MOST;
         state = PyThreadState_Next(state), count++) {
        found[count].identifier = state->thread_id;
        found[count].context = Py_XNewRef(state->context);
    }
#endif
    for (Py_ssize_t i = 0; i < count; i++) {
        if (!error) {
            PyObject *key = PyLong_FromUnsignedLong(found[i].identifier);
            PyObject *pair = key ? describe_context(found[i].context) : NULL;

            error = !pair || PyDict_SetItem(contexts, key, pair);
            Py_XDECREF(key);
            Py_XDECREF(pair);
        }
        Py_XDECREF(found[i].context);
    }
    PyMem_Free(found);
    if (error)
        Py_CLEAR(contexts);
    return contexts;
}

static PyMethodDef functions[] = {
    {"_bind", py_bind, METH_VARARGS, bind_doc},
    {"_copy_here", py_copy_here, METH_O, copy_here_doc},
    {"_mark", py_mark, METH_VARARGS, mark_doc},
    {"_origin", py_origin, METH_NOARGS, origin_doc},
    {"_thread_contexts", py_thread_contexts, METH_NOARGS, thread_contexts_doc},
    {NULL, NULL, 0, NULL},
};

int xctx_bound_init(PyObject *module)
{
    if (!origin_name && !(origin_name = PyUnicode_InternFromString("__xctx_origin__")))
        return -1;
    if (!exception_name && !(exception_name = PyUnicode_InternFromString("_exception")))
        return -1;
    if (PyModule_AddType(module, &xctx_Bound_Type) || PyModule_AddType(module, &Origin_Type) ||
        xctx_hook_init(module) || xctx_wake_init(module))
        return -1;
    return PyModule_AddFunctions(module, functions);
}
