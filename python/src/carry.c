/* SPDX-License-Identifier: MIT */
/*
 * Python objects that native contexts own.
 *
 * The last reference to one may be given back on any thread, without the GIL, at any time: then it waits in a list
 * until somebody has the GIL: a pending call of the interpreter, or the next use of the package. When the interpreter
 * ends, objects that are given back later stay as they are: nobody could run their finalizers.
 *
 * Also, a native copy of a context takes Python's context along, as such an object in a native variable of ours. When
 * Python code is called on a thread of C's in which that copy is current, and which has no builtin context yet, it gets
 * a copy of that one (it *adopts* it).
 */
#include "hamt.h"
#include "native.h"

static int format_context(void *value, char *text, size_t size)
{
    (void)value;
    return snprintf(text, size, "a context of Python");
}

static XCTX_VAR_DEFINE(python, .retain = xctx_box_retain, .release = xctx_box_release, .format = format_context);

static _Atomic(struct box *) released;
static _Atomic bool ending;

_Atomic bool xctx_carry_possible, xctx_carry_in_use;
_Thread_local int xctx_carry_held;

/* What the running thread has adopted. */
static _Thread_local struct {
    PyObject *context; /* its thread state has a reference; NULL: nothing */
    uint64_t state;    /* the thread state's id */
    uint64_t box;      /* the serial of where it came from */
} adopted;

void *xctx_box_retain(void *value)
{
    static uint64_t serial;
    struct box *box = xctx_has_gil() ? malloc(sizeof(*box)) : NULL;

    if (!box)
        return XCTX_RESERVED_VALUE;
    *box = (struct box){.public.object = Py_NewRef(((xctx_python_object *)value)->object), .serial = ++serial};
    return box;
}

static int drain(void *unused)
{
    (void)unused;
    struct box *box = atomic_exchange(&released, NULL);
    PyObject *raised = box ? PyErr_GetRaisedException() : NULL;

    while (box) {
        struct box *next = box->next;
        PyObject *object = box->public.object;
        free(box);
        Py_DECREF(object);
        box = next;
    }
    if (raised)
        PyErr_SetRaisedException(raised);
    return 0;
}

void xctx_carry_drain(void)
{
    if (atomic_load_explicit(&released, memory_order_relaxed))
        drain(NULL);
}

void xctx_box_release(void *value)
{
    struct box *box = value;

    if (!xctx_carry_held && xctx_has_gil()) {
        PyObject *object = box->public.object;
        free(box);
        Py_DECREF(object);
        return;
    }
    struct box *next = atomic_load_explicit(&released, memory_order_relaxed);
    do
        box->next = next;
    while (!atomic_compare_exchange_weak(&released, &next, box));
    /* From here on another thread may have freed the box. Of many, the first asks. If the interpreter's queue is full,
       the package's next use finds them. */
    if (!next && !atomic_load(&ending))
        (void)Py_AddPendingCall(drain, NULL);
}

int xctx_carry_add(xctx_context *copy, PyObject *builtin)
{
    xctx_python_object object = {builtin};

    if (PyObject_Size(builtin) == 0)
        return 0;
    atomic_store_explicit(&xctx_carry_possible, true, memory_order_relaxed); /* seen by whoever gets the GIL next */
    int error = xctx_follow_enter(copy);
    if (!error) {
        error = xctx_var_set(&python, &object, NULL);
        (void)xctx_exit(copy);
    }
    return error ? -1 : 0;
}

PyObject *xctx_carry_adopted(const PyThreadState *state)
{
    return adopted.context && state && adopted.state == state->id ? adopted.context : NULL;
}

int xctx_carry_adopt(PyThreadState *state)
{
    if (adopted.context && adopted.state != state->id)
        adopted.context = NULL; /* went with the thread state that had it */
    const struct box *box = xctx_var_get(&python);
    if (adopted.context) {
        /* Still what belongs to the native context; or Python has entered something in it. */
        if ((box && box->serial == adopted.box) || state->context != adopted.context)
            return 0;
        if (PyContext_Exit(adopted.context))
            return -1;
        adopted.context = NULL;
    }
    if (!box || state->context)
        return 0;
    PyObject *context = PyContext_Copy(box->public.object);
    int error = !context || PyContext_Enter(context) ? -1 : 0;
    if (!error) {
        adopted.context = context;
        adopted.state = state->id;
        adopted.box = box->serial;
        atomic_store_explicit(&xctx_carry_in_use, true, memory_order_relaxed);
        (void)xctx_current(); /* it is the thread's outermost context, and not one entered above it */
    }
    Py_XDECREF(context);
    return error;
}

static PyObject *end(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    atomic_store(&ending, true);
    xctx_follow_end();
    xctx_carry_drain();
    Py_RETURN_NONE;
}

int xctx_carry_init(void)
{
    static PyMethodDef definition = {"_end", end, METH_NOARGS, NULL};
    PyObject *atexit = PyImport_ImportModule("atexit");
    PyObject *function = atexit ? PyCFunction_New(&definition, NULL) : NULL;
    PyObject *result = function ? PyObject_CallMethod(atexit, "register", "O", function) : NULL;

    Py_XDECREF(atexit);
    Py_XDECREF(function);
    Py_XDECREF(result);
    return result ? 0 : -1;
}
