/* SPDX-License-Identifier: MIT */
/*
 * Hook: takes the place of a method that takes work, in its class: Thread.start, ThreadPoolExecutor.submit,
 * loop.call_soon and so on. install() makes hooks, and uninstall() takes them out.
 *
 * A hook that is not active passes calls on as they are. That is what is left of it after uninstall() if somebody else
 * has wrapped it meanwhile. It is C so that no frame of ours is in anybody's call stack, and as every step of each
 * asyncio task passes call_soon.
 *
 * Capturing comes before the method is called: no lock of its is held meanwhile, and if memory runs out it has not been
 * called.
 */
#include "bound.h"

enum {
    HOOK_SUBMIT,  /* method(self, fn, ...): fn is bound */
    HOOK_START,   /* thread.start(): the thread's whole life is bound */
    HOOK_CONTEXT, /* method(self, ..., context=None): a copy with an origin is passed */
    HOOK_ORIGIN,  /* method(self, ...) copies the current context itself: it finds the origin in it */
    HOOK_TASK,    /* as HOOK_ORIGIN, and the task that is returned marks its exception */
    HOOK_KINDS,
};

typedef struct {
    PyObject_HEAD
    vectorcallfunc vectorcall;
    PyObject *original;
    PyObject *leave; /* NULL, or a predicate: leave(self) is true for what is not to be bound */
    PyObject *dict;
    PyObject *weakrefs;
    long flags;
    int kind;
    char active;
} HookObject;

static PyTypeObject Hook_Type;

static PyObject *fn_name;
static PyObject *context_name;
static PyObject *context_names; /* ("context",) */
static PyObject *bootstrap_name;
static PyObject *add_done_callback_name;

enum { ARGUMENTS_ON_STACK = 12 };

/*
 * Calls with argument REPLACED exchanged for VALUE, or with context=VALUE added if REPLACED is the number of arguments.
 * Arguments are counted with those that have names.
 */
static PyObject *call_changed(PyObject *original, PyObject *const *args, size_t nargsf, PyObject *kwnames,
                              Py_ssize_t replaced, PyObject *value)
{
    PyObject *on_stack[ARGUMENTS_ON_STACK], **space = on_stack, *result = NULL, *names = kwnames;
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
    Py_ssize_t count = nargs + named, i;

    Py_XINCREF(names);
    if (replaced == count) {
        Py_XDECREF(names);
        if (!named)
            Py_INCREF(names = context_names);
        else if (!(names = PySequence_Concat(kwnames, context_names)))
            return NULL;
    }
    if (count + 2 > ARGUMENTS_ON_STACK && !(space = PyMem_Malloc(((size_t)count + 2) * sizeof(void *)))) {
        PyErr_NoMemory();
        goto out;
    }
    space[0] = NULL;
    for (i = 0; i < count; i++)
        space[i + 1] = args[i];
    space[replaced + 1] = value;
    result = PyObject_Vectorcall(original, space + 1, (size_t)nargs | PY_VECTORCALL_ARGUMENTS_OFFSET, names);
    if (space != on_stack)
        PyMem_Free(space);
out:
    Py_XDECREF(names);
    return result;
}

/* Where the argument is that has this name, an interned string as names in calls are nearly always; -1: nowhere. */
static Py_ssize_t find_named(Py_ssize_t nargs, PyObject *kwnames, PyObject *name)
{
    Py_ssize_t named = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;

    for (Py_ssize_t i = 0; i < named; i++)
        if (PyTuple_GET_ITEM(kwnames, i) == name)
            return nargs + i;
    for (Py_ssize_t i = 0; i < named; i++)
        if (PyUnicode_Compare(PyTuple_GET_ITEM(kwnames, i), name) == 0)
            return nargs + i;
    return -1;
}

static PyObject *hook_submit(HookObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), which = nargs > 1 ? 1 : find_named(nargs, kwnames, fn_name);
    PyObject *bound, *result;

    /* What is bound already stays as it is; what cannot be called is for the method to refuse. */
    if (which < 0 || Py_TYPE(args[which]) == &xctx_Bound_Type || !PyCallable_Check(args[which]))
        return PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    if (!(bound = xctx_bound_new(args[which], NULL, self->flags)))
        return NULL;
    result = call_changed(self->original, args, nargsf, kwnames, which, bound);
    Py_DECREF(bound);
    return result;
}

/*
 * A thread runs what start() finds as its _bootstrap. Found in the object itself, that is work bound to the context,
 * inside of which everything of the thread happens: run(), the hook for exceptions, the end. It is taken away as soon
 * as the thread runs; the thread has a reference of its own until it ends.
 */
static PyObject *hook_start(HookObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    PyObject *thread, *method, *bound, *result, *exception;

    if (PyVectorcall_NARGS(nargsf) < 1)
        return PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    thread = args[0];
    if (!(method = PyObject_GetAttr(thread, bootstrap_name))) {
        PyErr_Clear();
        return PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    }
    /* Bound by xctx.Thread, or somebody's own. */
    if (!PyMethod_Check(method)) {
        Py_DECREF(method);
        return PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    }
    bound = xctx_bound_new(method, NULL, self->flags);
    Py_DECREF(method);
    if (!bound)
        return NULL;
    xctx_bound_is_called_once(bound);
    if (PyObject_GenericSetAttr(thread, bootstrap_name, bound)) {
        Py_DECREF(bound);
        return NULL;
    }
    Py_DECREF(bound);
    result = PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    exception = PyErr_GetRaisedException();
    if (PyObject_GenericSetAttr(thread, bootstrap_name, NULL))
        PyErr_Clear();
    PyErr_SetRaisedException(exception);
    return result;
}

static PyObject *hook_context(HookObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t nargs = PyVectorcall_NARGS(nargsf), which = find_named(nargs, kwnames, context_name);
    PyObject *inner, *snapshot, *result;

    if (self->flags == 0 || (which >= 0 && args[which] != Py_None))
        return PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    if (which < 0)
        which = nargs + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0);
    if (!(inner = xctx_copy_here(self->flags, &snapshot)))
        return NULL;
    Py_XDECREF(snapshot);
    result = call_changed(self->original, args, nargsf, kwnames, which, inner);
    Py_DECREF(inner);
    return result;
}

/* The task's exception will know where the task was made. If that cannot be had, it will not. */
static void watch_task(PyObject *task, PyObject *snapshot)
{
    PyObject *origin = xctx_origin_new(snapshot), *result;

    if (origin && (result = PyObject_CallMethodObjArgs(task, add_done_callback_name, origin, NULL)))
        Py_DECREF(result);
    else
        PyErr_Clear();
    Py_XDECREF(origin);
}

static PyObject *hook_origin(HookObject *self, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    Py_ssize_t which = find_named(PyVectorcall_NARGS(nargsf), kwnames, context_name);
    PyObject *snapshot, *token, *result, *exception;

    if (self->flags == 0 || (which >= 0 && args[which] != Py_None))
        return PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    if (xctx_arrive() || !(snapshot = xctx_capture(self->flags < 0 ? xctx_capture_default : (unsigned)self->flags)))
        return NULL;
    if (!(token = PyContextVar_Set(xctx_origin_var, snapshot))) {
        Py_DECREF(snapshot);
        return NULL;
    }
    result = PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    exception = PyErr_GetRaisedException();
    if (PyContextVar_Reset(xctx_origin_var, token))
        PyErr_Clear();
    if (result && self->kind == HOOK_TASK)
        watch_task(result, snapshot);
    PyErr_SetRaisedException(exception);
    Py_DECREF(token);
    Py_DECREF(snapshot);
    return result;
}

/* -1 with an exception set, 0, or 1: whether this call's work is to be left alone. */
static int is_left(HookObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    PyObject *answer;
    int left;

    if (!self->leave || nargs < 1)
        return 0;
    if (!(answer = PyObject_CallFunctionObjArgs(self->leave, args[0], NULL)))
        return -1;
    left = PyObject_IsTrue(answer);
    Py_DECREF(answer);
    return left;
}

static PyObject *hook_vectorcall(PyObject *callable, PyObject *const *args, size_t nargsf, PyObject *kwnames)
{
    HookObject *self = (HookObject *)callable;
    PyObject *result;
    int left = 1;

    if (self->active && (left = is_left(self, args, PyVectorcall_NARGS(nargsf))) < 0)
        return NULL;
    /* An override that calls what it overrides makes these nest. */
    if (Py_EnterRecursiveCall(" while submitting work"))
        return NULL;
    Py_INCREF(self);
    if (left)
        result = PyObject_Vectorcall(self->original, args, nargsf, kwnames);
    else if (self->kind == HOOK_SUBMIT)
        result = hook_submit(self, args, nargsf, kwnames);
    else if (self->kind == HOOK_START)
        result = hook_start(self, args, nargsf, kwnames);
    else if (self->kind == HOOK_CONTEXT)
        result = hook_context(self, args, nargsf, kwnames);
    else
        result = hook_origin(self, args, nargsf, kwnames);
    Py_DECREF(self);
    Py_LeaveRecursiveCall();
    return result;
}

static PyObject *hook_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static const char *const names[] = {"original", "kind", "flags", "leave", NULL};
    static const char *const kinds[HOOK_KINDS] = {"submit", "start", "context", "origin", "task"};
    PyObject *original, *leave = Py_None;
    const char *kind;
    long flags;
    int number = 0;
    HookObject *self;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Osl|O:Hook", (char **)names, &original, &kind, &flags, &leave))
        return NULL;
    while (number < HOOK_KINDS && strcmp(kinds[number], kind) != 0)
        number++;
    if (number == HOOK_KINDS)
        return PyErr_Format(PyExc_ValueError, "there is no hook of the kind '%.50s'", kind);
    if (!(self = (HookObject *)type->tp_alloc(type, 0)))
        return NULL;
    self->vectorcall = hook_vectorcall;
    Py_INCREF(original);
    self->original = original;
    if (leave != Py_None) {
        Py_INCREF(leave);
        self->leave = leave;
    }
    self->flags = flags;
    self->kind = number;
    return (PyObject *)self;
}

static PyObject *hook_descr_get(PyObject *self, PyObject *object, PyObject *type)
{
    (void)type;
    if (!object || object == Py_None) {
        Py_INCREF(self);
        return self;
    }
    return PyMethod_New(self, object);
}

static PyObject *hook_repr(PyObject *self)
{
    return PyUnicode_FromFormat("<xctx hook of %R>", ((HookObject *)self)->original);
}

static PyObject *hook_get_active(PyObject *self, void *unused)
{
    (void)unused;
    return PyBool_FromLong(((HookObject *)self)->active);
}

static int hook_set_active(PyObject *self, PyObject *value, void *unused)
{
    int active = value ? PyObject_IsTrue(value) : 0;

    (void)unused;
    if (active < 0)
        return -1;
    ((HookObject *)self)->active = (char)active;
    return 0;
}

static PyObject *hook_get_flags(PyObject *self, void *unused)
{
    (void)unused;
    return PyLong_FromLong(((HookObject *)self)->flags);
}

static int hook_set_flags(PyObject *self, PyObject *value, void *unused)
{
    long flags = value ? PyLong_AsLong(value) : 0;

    (void)unused;
    if (flags == -1 && PyErr_Occurred())
        return -1;
    ((HookObject *)self)->flags = flags;
    return 0;
}

static PyObject *hook_get_original(PyObject *self, void *unused)
{
    PyObject *original = ((HookObject *)self)->original;

    (void)unused;
    Py_INCREF(original);
    return original;
}

static int hook_traverse(PyObject *self, visitproc visit, void *arg)
{
    HookObject *hook = (HookObject *)self;

    Py_VISIT(hook->original);
    Py_VISIT(hook->leave);
    Py_VISIT(hook->dict);
    return 0;
}

/* The original stays until the end: a cycle that is being collected may still call the hook from a finalizer. */
static int hook_clear(PyObject *self)
{
    Py_CLEAR(((HookObject *)self)->dict);
    return 0;
}

static void hook_dealloc(PyObject *self)
{
    HookObject *hook = (HookObject *)self;

    PyObject_GC_UnTrack(self);
    if (hook->weakrefs)
        PyObject_ClearWeakRefs(self);
    hook_clear(self);
    Py_XDECREF(hook->leave);
    Py_XDECREF(hook->original);
    Py_TYPE(self)->tp_free(self);
}

static PyGetSetDef hook_getset[] = {
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, NULL, NULL},
    {"original", hook_get_original, NULL, "What it stands in front of.", NULL},
    {"active", hook_get_active, hook_set_active, "Whether it binds work, or passes it on as it is.", NULL},
    {"flags", hook_get_flags, hook_set_flags, "What is captured.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject Hook_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx._xctx.Hook",
    .tp_doc = "Hook(original, kind, flags, leave=None)\n--\n\nStands in front of a method that takes work.",
    .tp_basicsize = sizeof(HookObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR,
    .tp_new = hook_new,
    .tp_dealloc = hook_dealloc,
    .tp_traverse = hook_traverse,
    .tp_clear = hook_clear,
    .tp_repr = hook_repr,
    .tp_call = PyVectorcall_Call,
    .tp_vectorcall_offset = offsetof(HookObject, vectorcall),
    .tp_dictoffset = offsetof(HookObject, dict),
    .tp_weaklistoffset = offsetof(HookObject, weakrefs),
    .tp_descr_get = hook_descr_get,
    .tp_getset = hook_getset,
};

int xctx_hook_init(PyObject *module)
{
    if (!fn_name && !(fn_name = PyUnicode_InternFromString("fn")))
        return -1;
    if (!context_name && !(context_name = PyUnicode_InternFromString("context")))
        return -1;
    if (!context_names && !(context_names = PyTuple_Pack(1, context_name)))
        return -1;
    if (!bootstrap_name && !(bootstrap_name = PyUnicode_InternFromString("_bootstrap")))
        return -1;
    if (!add_done_callback_name && !(add_done_callback_name = PyUnicode_InternFromString("add_done_callback")))
        return -1;
    return PyModule_AddType(module, &Hook_Type);
}
