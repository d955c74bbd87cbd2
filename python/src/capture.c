/* SPDX-License-Identifier: MIT */
/*
 * What a copy of a context captures, and what is left out of it.
 *
 * A capture has two parts. The first copies: references to code and values, native registers and stack. It runs
 * nobody's code, so nothing of what it reads moves under it. The second is there only if it was asked for: it takes out
 * what is secret, copies containers, renders values. It works on the record alone, which nobody else has seen yet, and
 * may run any code (a `redact` function, __repr__), which may capture in turn.
 *
 * Last, records that are too many are trimmed, and what that sets free may run finalizers.
 */
#include "capture.h"

#include <time.h>

/* ---- whose thread it is ---- */

/* A module's attribute; only if the module is imported already. New; NULL without an exception. */
static PyObject *attribute_if_imported(const char *module_name, const char *name)
{
    PyObject *modules = xctx_is_finalizing() ? NULL : PyImport_GetModuleDict();
    PyObject *module = modules && PyDict_Check(modules) ? PyDict_GetItemString(modules, module_name) : NULL;
    PyObject *value = module ? xctx_attribute(module, name) : NULL;

    if (!value)
        PyErr_Clear();
    return value;
}

static PyObject *only_text(PyObject *value)
{
    if (value && !PyUnicode_CheckExact(value))
        Py_CLEAR(value);
    if (!value)
        PyErr_Clear();
    return value;
}

/* threading.current_thread().name without what that call makes for threads that threading does not know. New; NULL
   without an exception. */
static PyObject *thread_name(unsigned long id)
{
    static PyObject *active, *name; /* kept: threading never makes another dictionary of threads */

    if (!active) {
        active = attribute_if_imported("threading", "_active");
        if (active && !PyDict_CheckExact(active))
            Py_CLEAR(active);
    }
    if (!active || (!name && !(name = PyUnicode_InternFromString("_name")))) {
        PyErr_Clear();
        return NULL;
    }
    PyObject *key = PyLong_FromUnsignedLong(id);
    PyObject *thread = key ? PyDict_GetItemWithError(active, key) : NULL;
    Py_XDECREF(key);
    Py_XINCREF(thread);
    PyObject *text = only_text(thread ? PyObject_GenericGetAttr(thread, name) : NULL);
    Py_XDECREF(thread);
    return text;
}

/* New; NULL without an exception: no loop runs here, or no task. */
static PyObject *running_task(void)
{
    static PyObject *get_loop, *tasks, *current_task; /* kept */

    if (!get_loop) {
        PyObject *found = attribute_if_imported("asyncio.events", "_get_running_loop");
        if (!found)
            return NULL;
        tasks = attribute_if_imported("asyncio.tasks", "_current_tasks"); /* until 3.13 */
        if (tasks && !PyDict_CheckExact(tasks))
            Py_CLEAR(tasks);
        current_task = attribute_if_imported("asyncio.tasks", "current_task");
        if (!tasks && !current_task) { /* asyncio is being imported */
            Py_DECREF(found);
            return NULL;
        }
        get_loop = found;
    }
    PyObject *loop = PyObject_CallNoArgs(get_loop);
    if (!loop || loop == Py_None) {
        Py_XDECREF(loop);
        return NULL;
    }
    PyObject *task = tasks ? Py_XNewRef(PyDict_GetItemWithError(tasks, loop)) : PyObject_CallOneArg(current_task, loop);
    Py_DECREF(loop);
    return task;
}

static PyObject *task_name(void)
{
    PyObject *task = running_task();
    PyObject *get_name = task && task != Py_None ? xctx_attribute(task, "get_name") : NULL;
    PyObject *name = get_name ? PyObject_CallNoArgs(get_name) : NULL;

    Py_XDECREF(get_name);
    Py_XDECREF(task);
    return only_text(name);
}

/* ---- capturing ---- */

static int capture_native(RecordObject *record, unsigned flags)
{
    unsigned native =
        (flags & CAPTURE_NATIVE ? XCTX_CAPTURE_LOCALS : 0u) | (flags & CAPTURE_STATE ? XCTX_CAPTURE_STATE : 0u);

    if (!native)
        return 0;
    record->native = xctx_snapshot_take(native);
    if (!record->native) {
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

static int fill(RecordObject *record, const struct extent *measured, unsigned flags)
{
    struct timespec now;

    record->captured = flags;
    record->options = (OptionsObject *)Py_NewRef((PyObject *)xctx_options);
    record->thread_id = PyThread_get_thread_ident();
    clock_gettime(CLOCK_REALTIME, &now);
    record->time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (xctx_frames_copy(PyThreadState_Get(), record, measured, flags) || capture_native(record, flags))
        return -1;
    record->thread_name = thread_name(record->thread_id);
    record->task_name = task_name();
    return flags & CAPTURE_LOCALS ? xctx_keep_values(record) : 0;
}

/* The running thread's `_origin`. New, or NULL without an exception: there is none. 0; -1 with an exception. */
static int find_origin(PyObject **ret_origin)
{
    *ret_origin = NULL;
    if (PyContextVar_Get(xctx_origin_var, NULL, ret_origin))
        return -1;
    if (*ret_origin && Py_TYPE(*ret_origin) != &xctx_SnapshotType)
        Py_CLEAR(*ret_origin);
    return 0;
}

PyObject *xctx_capture(unsigned flags)
{
    struct extent extent;
    PyObject *origin, *snapshot = NULL;

    flags |= flags & CAPTURE_LOCALS ? CAPTURE_STACK : 0;
    if (find_origin(&origin))
        return NULL;
    xctx_frames_measure(PyThreadState_Get(), flags, xctx_options->max_frames, &extent);
    RecordObject *record = xctx_record_new(&extent);
    if (record && !fill(record, &extent, flags)) {
        PyObject_GC_Track(record);
        snapshot = xctx_snapshot_object_new(record, origin);
    }
    if (snapshot && flags & (CAPTURE_LOCALS | CAPTURE_NATIVE))
        xctx_record_keep(record, record->options->max_kept);
    Py_XDECREF(record);
    Py_XDECREF(origin);
    return snapshot;
}

static PyObject *capture(PyObject *module, PyObject *args)
{
    int flags = (int)xctx_options->what;

    (void)module;
    if (!PyArg_ParseTuple(args, "|i:_capture", &flags))
        return NULL;
    if (flags & ~CAPTURE_ALL)
        return PyErr_Format(PyExc_ValueError, "not something to capture: %d", flags);
    return xctx_capture((unsigned)flags);
}

static PyMethodDef capture_functions[] = {
    {"_capture", capture, METH_VARARGS, "_capture(flags=...)\n--\n\nA Snapshot of the running thread."},
    {NULL, NULL, 0, NULL},
};

int xctx_capture_init(PyObject *module)
{
    PyObject *threading = PyImport_ImportModule("threading"); /* knows threads' names from its import on */

    if (!threading)
        return -1;
    Py_DECREF(threading);
    return xctx_options_init(module) || xctx_keep_init() || xctx_frame_init(module) || xctx_snapshot_init(module) ||
                   PyModule_AddFunctions(module, capture_functions)
               ? -1
               : 0;
}
