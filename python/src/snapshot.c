/* SPDX-License-Identifier: MIT */
/*
 * Records, xctx.Snapshot, and what a snapshot has beside Python frames: the native stack and the thread's state.
 *
 * Records that hold much (locals, a native stack) are in a list, the oldest first, whose length is bounded: where it
 * gets too long, the oldest are trimmed. Without that, a loop that makes tasks would keep all of them: each is a local
 * when the next one's context is copied, holds its context, that holds its record, that holds the locals, among them
 * the task before. Nothing else can tell such a chain from snapshots that somebody wants.
 *
 * Native stacks are decoded when they are asked for, by the module _inspect, which is the only one that needs libdw.
 */
#include "capture.h"

#include <stddef.h>

static PyTypeObject record_type;

/* ---- records ---- */

/* The list: the oldest, the newest, how many. Changed under the GIL only. */
static RecordObject *oldest, *newest;
static Py_ssize_t listed;

RecordObject *xctx_record_new(const struct extent *extent)
{
    size_t words = (size_t)extent->frames * (sizeof(struct frame_record) / sizeof(void *)) + (size_t)extent->values;
    size_t size = words * sizeof(void *);
    RecordObject *record = PyObject_GC_NewVar(RecordObject, &record_type, extent->frames);

    if (!record)
        return NULL;
    memset((char *)record + sizeof(PyVarObject), 0, sizeof(*record) - sizeof(PyVarObject));
    record->more_frames = extent->more;
    if (size > 0) {
        record->frames = PyMem_Malloc(size);
        if (!record->frames) {
            Py_DECREF(record);
            PyErr_NoMemory();
            return NULL;
        }
        memset(record->frames, 0, size);
        record->values = (PyObject **)(record->frames + extent->frames);
    }
    return record;
}

static void unlist(RecordObject *record)
{
    if (!record->listed)
        return;
    *(record->older ? &record->older->newer : &oldest) = record->newer;
    *(record->newer ? &record->newer->older : &newest) = record->older;
    record->older = record->newer = NULL;
    record->listed = false;
    listed--;
}

/* Gives back what a record holds of the program's objects, but for code. Runs finalizers. */
static void drop_values(RecordObject *record)
{
    for (Py_ssize_t i = 0; i < record->frame_count; i++)
        Py_CLEAR(record->frames[i].names);
    for (Py_ssize_t i = 0; i < record->value_count; i++)
        Py_CLEAR(record->values[i]);
}

static void trim(RecordObject *record)
{
    xctx_snapshot *native = record->native;

    Py_INCREF(record);
    unlist(record);
    record->trimmed = true;
    record->native = NULL;
    xctx_snapshot_unref(native);
    Py_CLEAR(record->native_frames);
    drop_values(record);
    Py_DECREF(record);
}

void xctx_record_keep(RecordObject *record, Py_ssize_t most)
{
    record->older = newest;
    *(newest ? &newest->newer : &oldest) = record;
    newest = record;
    record->listed = true;
    listed++;
    while (listed > most && oldest)
        trim(oldest);
}

static int record_traverse(PyObject *self, visitproc visit, void *arg)
{
    RecordObject *record = (RecordObject *)self;

    for (Py_ssize_t i = 0; i < record->frame_count; i++) {
        Py_VISIT(record->frames[i].code);
        Py_VISIT(record->frames[i].names);
    }
    for (Py_ssize_t i = 0; i < record->value_count; i++)
        Py_VISIT(record->values[i]);
    Py_VISIT(record->options);
    Py_VISIT(record->native_frames);
    Py_VISIT(record->thread_state);
    return 0;
}

/* Code stays until the end: frames that somebody holds show it. Code has no references back. */
static int record_clear(PyObject *self)
{
    RecordObject *record = (RecordObject *)self;

    drop_values(record);
    Py_CLEAR(record->native_frames);
    Py_CLEAR(record->thread_state);
    return 0;
}

static void record_dealloc(PyObject *self)
{
    RecordObject *record = (RecordObject *)self;

    PyObject_GC_UnTrack(self);
    unlist(record); /* first: what waits in the trashcan is not to be trimmed */
    Py_TRASHCAN_BEGIN(self, record_dealloc);
    record_clear(self);
    for (Py_ssize_t i = 0; i < record->frame_count; i++)
        Py_CLEAR(record->frames[i].code);
    Py_CLEAR(record->options);
    Py_CLEAR(record->thread_name);
    Py_CLEAR(record->task_name);
    xctx_snapshot_unref(record->native);
    PyMem_Free(record->frames);
    PyObject_GC_Del(self);
    Py_TRASHCAN_END;
}

static PyTypeObject record_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx._Record",
    .tp_basicsize = sizeof(RecordObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = record_dealloc,
    .tp_traverse = record_traverse,
    .tp_clear = record_clear,
};

/* ---- snapshots ---- */

static SnapshotObject *snapshot_allocate(RecordObject *record, Py_ssize_t parents)
{
    SnapshotObject *snapshot = PyObject_GC_NewVar(SnapshotObject, &xctx_SnapshotType, parents);

    if (!snapshot)
        return NULL;
    snapshot->record = (RecordObject *)Py_NewRef((PyObject *)record);
    snapshot->parent = NULL;
    snapshot->weakrefs = NULL;
    return snapshot;
}

PyObject *xctx_snapshot_object_new(RecordObject *record, PyObject *parent)
{
    SnapshotObject *from = (SnapshotObject *)parent;
    Py_ssize_t inherited = from ? Py_SIZE(from) : 0;
    Py_ssize_t kept = inherited < PARENTS_MOST ? inherited : PARENTS_MOST - 1;
    SnapshotObject *snapshot = snapshot_allocate(record, from ? kept + 1 : 0);

    if (!snapshot)
        return NULL;
    if (from)
        snapshot->parents[0] = (RecordObject *)Py_NewRef((PyObject *)from->record);
    for (Py_ssize_t i = 0; from && i < kept; i++)
        snapshot->parents[i + 1] = (RecordObject *)Py_NewRef((PyObject *)from->parents[i]);
    PyObject_GC_Track(snapshot);
    return (PyObject *)snapshot;
}

static int snapshot_traverse(PyObject *self, visitproc visit, void *arg)
{
    SnapshotObject *snapshot = (SnapshotObject *)self;

    Py_VISIT(snapshot->record);
    Py_VISIT(snapshot->parent);
    for (Py_ssize_t i = 0; i < Py_SIZE(snapshot); i++)
        Py_VISIT(snapshot->parents[i]);
    return 0;
}

/* There is no tp_clear: every cycle through a snapshot goes through a record or something else that has one. */
static void snapshot_dealloc(PyObject *self)
{
    SnapshotObject *snapshot = (SnapshotObject *)self;

    PyObject_GC_UnTrack(self);
    Py_TRASHCAN_BEGIN(self, snapshot_dealloc);
    if (snapshot->weakrefs)
        PyObject_ClearWeakRefs(self);
    for (Py_ssize_t i = 0; i < Py_SIZE(snapshot); i++)
        Py_CLEAR(snapshot->parents[i]);
    Py_CLEAR(snapshot->parent);
    Py_CLEAR(snapshot->record);
    PyObject_GC_Del(self);
    Py_TRASHCAN_END;
}

static RecordObject *record_of(PyObject *self)
{
    return ((SnapshotObject *)self)->record;
}

static PyObject *snapshot_parent(PyObject *self, void *closure)
{
    SnapshotObject *snapshot = (SnapshotObject *)self;
    Py_ssize_t count = Py_SIZE(snapshot);

    (void)closure;
    if (count == 0)
        Py_RETURN_NONE;
    if (!snapshot->parent) {
        SnapshotObject *parent = snapshot_allocate(snapshot->parents[0], count - 1);
        if (!parent)
            return NULL;
        for (Py_ssize_t i = 1; i < count; i++)
            parent->parents[i - 1] = (RecordObject *)Py_NewRef((PyObject *)snapshot->parents[i]);
        PyObject_GC_Track(parent);
        if (snapshot->parent) /* a finalizer was here before */
            Py_DECREF(parent);
        else
            snapshot->parent = (PyObject *)parent;
    }
    return Py_NewRef(snapshot->parent);
}

static PyObject *snapshot_frames(PyObject *self, void *closure)
{
    RecordObject *record = record_of(self);
    PyObject *frames = PyTuple_New(record->frame_count);

    (void)closure;
    for (Py_ssize_t i = 0; frames && i < record->frame_count; i++) {
        PyObject *frame = xctx_frame_new(record, i);
        if (!frame) {
            Py_CLEAR(frames);
            break;
        }
        PyTuple_SET_ITEM(frames, i, frame);
    }
    return frames;
}

static PyObject *snapshot_captured(PyObject *self, void *closure)
{
    unsigned captured = record_of(self)->captured;
    PyObject *names = PyList_New(0);

    (void)closure;
    for (size_t i = 0; names && i < XCTX_CAPTURE_KINDS; i++) {
        PyObject *name = captured & (1u << i) ? PyUnicode_FromString(xctx_capture_names[i]) : NULL;
        if ((captured & (1u << i)) && (!name || PyList_Append(names, name)))
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    PyObject *tuple = names ? PyList_AsTuple(names) : NULL;
    Py_XDECREF(names);
    return tuple;
}

static PyObject *text_or_none(PyObject *text)
{
    return Py_NewRef(text ? text : Py_None);
}

static PyObject *snapshot_thread_name(PyObject *self, void *closure)
{
    (void)closure;
    return text_or_none(record_of(self)->thread_name);
}

static PyObject *snapshot_task_name(PyObject *self, void *closure)
{
    (void)closure;
    return text_or_none(record_of(self)->task_name);
}

static PyObject *snapshot_thread_id(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromUnsignedLong(record_of(self)->thread_id);
}

static PyObject *snapshot_time(PyObject *self, void *closure)
{
    (void)closure;
    return PyFloat_FromDouble((double)record_of(self)->time / 1e9);
}

static PyObject *snapshot_more_frames(PyObject *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(record_of(self)->more_frames);
}

static PyObject *snapshot_trimmed(PyObject *self, void *closure)
{
    (void)closure;
    return PyBool_FromLong(record_of(self)->trimmed);
}

/* ---- the native part ---- */

PyObject *xctx_attribute(PyObject *object, const char *name)
{
    PyObject *interned = PyUnicode_InternFromString(name);
    PyObject *value = interned ? PyObject_GetAttr(object, interned) : NULL;

    Py_XDECREF(interned);
    return value;
}

PyObject *xctx_report_function(const char *name)
{
    if (xctx_is_finalizing()) {
        PyErr_SetString(PyExc_ImportError, "xctx makes no reports while Python shuts down");
        return NULL;
    }
    PyObject *module = PyImport_ImportModule("xctx._report");
    PyObject *function = module ? xctx_attribute(module, name) : NULL;

    Py_XDECREF(module);
    return function;
}

/* What a function of _report makes of this snapshot, once. */
static PyObject *made_once(PyObject *self, PyObject **place, const char *name)
{
    if (!*place) {
        PyObject *function = xctx_report_function(name);
        PyObject *made = function ? PyObject_CallFunctionObjArgs(function, self, NULL) : NULL;
        Py_XDECREF(function);
        if (!made)
            return NULL;
        if (*place) /* made meanwhile by another thread */
            Py_DECREF(made);
        else
            *place = made;
    }
    return Py_NewRef(*place);
}

static PyObject *snapshot_native_frames(PyObject *self, void *closure)
{
    RecordObject *record = record_of(self);

    (void)closure;
    if (!record->native_frames && !(record->native && (record->captured & CAPTURE_NATIVE)))
        return PyTuple_New(0);
    return made_once(self, &record->native_frames, "native_frames");
}

static PyObject *snapshot_thread_state(PyObject *self, void *closure)
{
    RecordObject *record = record_of(self);

    (void)closure;
    if (!record->thread_state && !(record->native && (record->captured & CAPTURE_STATE)))
        Py_RETURN_NONE;
    return made_once(self, &record->thread_state, "thread_state");
}

static void native_release(PyObject *capsule)
{
    xctx_snapshot_unref(PyCapsule_GetPointer(capsule, "xctx.snapshot"));
}

/* For _inspect: a reference of its own, since the record may be trimmed while another thread decodes. */
static PyObject *snapshot_native(PyObject *self, PyObject *unused)
{
    xctx_snapshot *native = record_of(self)->native;

    (void)unused;
    if (!native)
        Py_RETURN_NONE;
    PyObject *capsule = PyCapsule_New(xctx_snapshot_ref(native), "xctx.snapshot", native_release);
    if (!capsule)
        xctx_snapshot_unref(native);
    return capsule;
}

static int put(PyObject *dict, const char *name, PyObject *value)
{
    int error = value ? PyDict_SetItemString(dict, name, value) : -1;

    Py_XDECREF(value);
    return error;
}

static PyObject *bits(const uint64_t *words, int count, int first)
{
    PyObject *list = PyList_New(0);

    for (int i = 0; list && i < count * 64; i++) {
        if (!(words[i / 64] >> (i % 64) & 1))
            continue;
        PyObject *number = PyLong_FromLong(i + first);
        if (!number || PyList_Append(list, number))
            Py_CLEAR(list);
        Py_XDECREF(number);
    }
    PyObject *tuple = list ? PyList_AsTuple(list) : NULL;
    Py_XDECREF(list);
    return tuple;
}

static PyObject *system_text(const char *text, size_t most)
{
    return PyUnicode_DecodeUTF8(text, (Py_ssize_t)strnlen(text, most), "backslashreplace");
}

/* What is there, as numbers; _report.thread_state() makes words of it. */
static int put_state(PyObject *dict, const xctx_thread_state *state)
{
    int error = 0;

#define PUT(bit, name, value) error = error || ((state->present & (bit)) && put(dict, name, value))
    PUT(XCTX_THREAD_IDS, "tid", PyLong_FromLong(state->tid));
    PUT(XCTX_THREAD_IDS, "pid", PyLong_FromLong(state->pid));
    PUT(XCTX_THREAD_NAME, "name", system_text(state->name, sizeof(state->name)));
    PUT(XCTX_THREAD_SIGMASK, "blocked", bits(&state->blocked, 1, 1));
    PUT(XCTX_THREAD_SIGMASK, "pending", bits(&state->pending, 1, 1));
    PUT(XCTX_THREAD_FENV, "rounding_mode", PyLong_FromLong(state->rounding_mode));
    PUT(XCTX_THREAD_FENV, "fp_exceptions", PyLong_FromLong(state->fp_exceptions));
    PUT(XCTX_THREAD_LOCALE, "locale", system_text(state->locale, sizeof(state->locale)));
    PUT(XCTX_THREAD_AFFINITY, "affinity", bits(state->affinity, 16, 0));
    PUT(XCTX_THREAD_SCHED, "policy", PyLong_FromLong(state->policy));
    PUT(XCTX_THREAD_SCHED, "priority", PyLong_FromLong(state->priority));
    PUT(XCTX_THREAD_SCHED, "nice", PyLong_FromLong(state->nice));
    PUT(XCTX_THREAD_ERRNO, "errno", PyLong_FromLong(state->error_number));
    PUT(XCTX_THREAD_CPU, "cpu", PyLong_FromLong(state->cpu));
    PUT(XCTX_THREAD_TIME, "time", PyFloat_FromDouble((double)state->time / 1e9));
    PUT(XCTX_THREAD_TIME, "cpu_time", PyFloat_FromDouble((double)state->cpu_time / 1e9));
    PUT(XCTX_THREAD_STACK, "stack_low", PyLong_FromUnsignedLongLong(state->stack_low));
    PUT(XCTX_THREAD_STACK, "stack_high", PyLong_FromUnsignedLongLong(state->stack_high));
#undef PUT
    return error ? -1 : 0;
}

static PyObject *snapshot_state(PyObject *self, PyObject *unused)
{
    xctx_snapshot *native = xctx_snapshot_ref(record_of(self)->native);
    const xctx_thread_state *state = xctx_snapshot_thread_state(native);
    PyObject *dict = PyDict_New();

    (void)unused;
    if (dict && state && put_state(dict, state))
        Py_CLEAR(dict);
    xctx_snapshot_unref(native);
    return dict;
}

/* ---- as Python sees it ---- */

static PyObject *snapshot_options(PyObject *self, void *closure)
{
    (void)closure;
    return Py_NewRef((PyObject *)record_of(self)->options);
}

static PyObject *call_report(PyObject *self, const char *name, PyObject *args, PyObject *kwargs)
{
    PyObject *function = xctx_report_function(name);
    PyObject *result = NULL;

    if (!function)
        return NULL;
    if (PyTuple_GET_SIZE(args) > 0) {
        PyErr_Format(PyExc_TypeError, "%s() takes keyword arguments only", name);
    } else {
        PyObject *with_self = PyTuple_Pack(1, self);
        result = with_self ? PyObject_Call(function, with_self, kwargs) : NULL;
        Py_XDECREF(with_self);
    }
    Py_DECREF(function);
    return result;
}

static PyObject *snapshot_format(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return call_report(self, "format", args, kwargs);
}

static PyObject *snapshot_to_dict(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return call_report(self, "to_dict", args, kwargs);
}

static PyObject *snapshot_html(PyObject *self, PyObject *args, PyObject *kwargs)
{
    return call_report(self, "html", args, kwargs);
}

static PyObject *snapshot_repr(PyObject *self)
{
    RecordObject *record = record_of(self);

    if (record->frame_count == 0)
        return PyUnicode_FromFormat("<xctx.Snapshot of thread %lu>", record->thread_id);
    PyObject *frame = xctx_frame_new(record, 0);
    PyObject *line = frame ? xctx_attribute(frame, "lineno") : NULL;
    PyCodeObject *code = (PyCodeObject *)record->frames[0].code;
    PyObject *text =
        line ? PyUnicode_FromFormat("<xctx.Snapshot of %U at %U:%S>", code->co_name, code->co_filename, line) : NULL;
    Py_XDECREF(line);
    Py_XDECREF(frame);
    return text;
}

static PyObject *snapshot_compare(PyObject *self, PyObject *other, int operation)
{
    if (Py_TYPE(other) != &xctx_SnapshotType || (operation != Py_EQ && operation != Py_NE))
        Py_RETURN_NOTIMPLEMENTED;
    return PyBool_FromLong((record_of(self) == record_of(other)) == (operation == Py_EQ));
}

static Py_hash_t snapshot_hash(PyObject *self)
{
    Py_hash_t hash = (Py_hash_t)((uintptr_t)record_of(self) >> 4);

    return hash == -1 ? -2 : hash;
}

static PyMethodDef snapshot_methods[] = {
    {"format", (PyCFunction)(void (*)(void))snapshot_format, METH_VARARGS | METH_KEYWORDS,
     "format($self, /, *, color=False, locals=True, native=True, interpreter=False, chain=True, width=80)\n--\n\n"
     "The snapshot as text: Python and native call stacks, locals, thread state, and where the work came from.\n\n"
     "Values are shown as their objects are now, unless they were rendered at the copy.\n"
     "color: with escape sequences for terminals; locals, native: show local variables, the native call stack;\n"
     "chain: show where the work came from; interpreter: show each native frame of the interpreter and of xctx, too;\n"
     "width: in columns."},
    {"to_dict", (PyCFunction)(void (*)(void))snapshot_to_dict, METH_VARARGS | METH_KEYWORDS,
     "to_dict($self, /)\n--\n\nThe snapshot as a dictionary of what JSON has; values are texts."},
    {"_repr_html_", (PyCFunction)(void (*)(void))snapshot_html, METH_VARARGS | METH_KEYWORDS,
     "_repr_html_($self, /)\n--\n\nThe snapshot as a piece of HTML, as notebooks show it."},
    {"_native", snapshot_native, METH_NOARGS, NULL},
    {"_state", snapshot_state, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef snapshot_attributes[] = {
    {"frames", snapshot_frames, NULL, "The Python call stack, a tuple of Frame, the innermost first.", NULL},
    {"native_frames", snapshot_native_frames, NULL,
     "The native call stack, the innermost first: decoded when it is first asked for. Empty if it was not captured.\n"
     "ImportError: this installation cannot decode.",
     NULL},
    {"thread_state", snapshot_thread_state, NULL,
     "The thread's settings, a ThreadState; None if they were not captured.", NULL},
    {"parent", snapshot_parent, NULL,
     "The snapshot that the context carried in which this was taken: where the work came from; None if there is\n"
     "none. A chain has at most 16 of them.",
     NULL},
    {"captured", snapshot_captured, NULL, "What was captured: a tuple of 'stack', 'locals', 'native', 'state'.", NULL},
    {"more_frames", snapshot_more_frames, NULL, "Whether there were more frames than max_frames.", NULL},
    {"trimmed", snapshot_trimmed, NULL,
     "Whether locals, native stack and thread state were given back, since more than max_kept snapshots were alive.",
     NULL},
    {"thread_name", snapshot_thread_name, NULL, "The thread's name; None if threading does not know it.", NULL},
    {"thread_id", snapshot_thread_id, NULL, "The thread, as threading.get_ident() has it.", NULL},
    {"task_name", snapshot_task_name, NULL, "The name of the asyncio task that ran; None if none did.", NULL},
    {"time", snapshot_time, NULL, "When it was taken, as time.time() counts.", NULL},
    {"_options", snapshot_options, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject xctx_SnapshotType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx.Snapshot",
    .tp_doc =
        "What a thread was doing when a context was copied.\n\n"
        "Immutable. It keeps the values of the captured locals alive (contexts and snapshots among them excepted):\n"
        "a copy of the names, not of the objects.",
    .tp_basicsize = offsetof(SnapshotObject, parents),
    .tp_itemsize = sizeof(RecordObject *),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_weaklistoffset = offsetof(SnapshotObject, weakrefs),
    .tp_dealloc = snapshot_dealloc,
    .tp_traverse = snapshot_traverse,
    .tp_repr = snapshot_repr,
    .tp_richcompare = snapshot_compare,
    .tp_hash = snapshot_hash,
    .tp_methods = snapshot_methods,
    .tp_getset = snapshot_attributes,
};

int xctx_snapshot_init(PyObject *module)
{
    return PyType_Ready(&record_type) ? -1 : PyModule_AddType(module, &xctx_SnapshotType);
}
