/* SPDX-License-Identifier: MIT */
/*
 * What is kept in the place of the values that a walk has found: themselves, copies of containers, their repr(),
 * nothing if they are secret, weak references to contexts. What stands for a value is a *marker*.
 *
 * All but xctx_hold() may run anybody's code.
 */
#include "capture.h"

/* Values are rendered on this thread: captures in there keep values as they are, or there would be no end. */
static _Thread_local int rendering;

/* ---- markers ---- */

/* Stands for a value: its repr is `text`. Or, with `reference`, for an object that is held weakly; then `text` is what
   to say when that is gone, and nobody outside sees the marker. */
typedef struct {
    PyObject_HEAD
    PyObject *text;
    PyObject *reference;
} MarkerObject;

static PyTypeObject marker_type;
static PyObject *marker_redacted;

static PyObject *marker_new(PyObject *text, PyObject *reference)
{
    MarkerObject *marker = text ? PyObject_New(MarkerObject, &marker_type) : NULL;

    if (!marker)
        return NULL;
    marker->text = Py_NewRef(text);
    marker->reference = Py_XNewRef(reference);
    return (PyObject *)marker;
}

static void marker_dealloc(PyObject *self)
{
    Py_CLEAR(((MarkerObject *)self)->text);
    Py_CLEAR(((MarkerObject *)self)->reference);
    PyObject_Del(self);
}

static PyObject *marker_repr(PyObject *self)
{
    return Py_NewRef(((MarkerObject *)self)->text);
}

static PyTypeObject marker_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx._Marker",
    .tp_doc = "Stands for a value that was not kept: redacted, rendered at the copy, or gone.",
    .tp_basicsize = sizeof(MarkerObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_dealloc = marker_dealloc,
    .tp_repr = marker_repr,
};

PyObject *xctx_hold(PyObject *value)
{
    static PyObject *gone; /* kept */
    PyTypeObject *type = Py_TYPE(value);

    if (type != &xctx_Context_Type && type != &xctx_SnapshotType)
        return Py_NewRef(value);
    if (!gone && !(gone = PyUnicode_InternFromString("<released since>")))
        return NULL;
    Py_INCREF(value); /* making a weak reference may start a collection, and where the value is may change */
    PyObject *reference = PyWeakref_NewRef(value, NULL);
    PyObject *marker = reference ? marker_new(gone, reference) : NULL;
    Py_XDECREF(reference);
    Py_DECREF(value);
    return marker;
}

PyObject *xctx_held(PyObject *held)
{
    MarkerObject *marker = (MarkerObject *)held;

    if (Py_TYPE(held) != &marker_type || !marker->reference)
        return Py_NewRef(held);
    PyObject *value = PyObject_CallNoArgs(marker->reference);
    if (value != Py_None)
        return value;
    Py_DECREF(value);
    return marker_new(marker->text, NULL);
}

/* ---- copies of containers ---- */

static PyObject *copy_value(PyObject *value, int depth, Py_ssize_t *budget);

/* Replaces each item of a list that is nobody else's. */
static int copy_items(PyObject *list, int depth, Py_ssize_t *budget)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *copy = copy_value(PyList_GET_ITEM(list, i), depth, budget);
        if (!copy)
            return -1;
        PyList_SetItem(list, i, copy);
    }
    return 0;
}

static PyObject *copy_list(PyObject *list, int depth, Py_ssize_t *budget)
{
    PyObject *copy = PyList_GetSlice(list, 0, PyList_GET_SIZE(list));

    if (copy && copy_items(copy, depth - 1, budget))
        Py_CLEAR(copy);
    return copy;
}

static PyObject *copy_tuple(PyObject *tuple, int depth, Py_ssize_t *budget)
{
    PyObject *list = PySequence_List(tuple);

    if (!list)
        return NULL;
    PyObject *copy = copy_items(list, depth - 1, budget) ? NULL : PyList_AsTuple(list);
    Py_DECREF(list);
    return copy;
}

static PyObject *copy_dict(PyObject *dict, int depth, Py_ssize_t *budget)
{
    PyObject *copy = PyDict_Copy(dict);
    PyObject *key, *value;
    Py_ssize_t at = 0;

    while (copy && depth > 1 && PyDict_Next(copy, &at, &key, &value)) {
        PyObject *item = copy_value(value, depth - 1, budget);
        if (item != value && (!item || PyDict_SetItem(copy, key, item)))
            Py_CLEAR(copy);
        Py_XDECREF(item);
    }
    return copy;
}

/* A copy of a list, dict, set or tuple, and `depth` - 1 levels of what is in it; other values, and what would be more
   than `budget` items, as they are. New; NULL with an exception. */
static PyObject *copy_value(PyObject *value, int depth, Py_ssize_t *budget)
{
    Py_ssize_t size = depth <= 0                      ? -1
                      : PyList_CheckExact(value)      ? PyList_GET_SIZE(value)
                      : PyDict_CheckExact(value)      ? PyDict_GET_SIZE(value)
                      : Py_TYPE(value) == &PySet_Type ? PySet_GET_SIZE(value)
                      : PyTuple_CheckExact(value)     ? PyTuple_GET_SIZE(value)
                                                      : -1;

    if (size < 0 || size > *budget || (depth == 1 && PyTuple_CheckExact(value)))
        return Py_NewRef(value);
    *budget -= size;
    return PyList_CheckExact(value)    ? copy_list(value, depth, budget)
           : PyDict_CheckExact(value)  ? copy_dict(value, depth, budget)
           : PyTuple_CheckExact(value) ? copy_tuple(value, depth, budget)
                                       : PySet_New(value);
}

/* ---- the values of a record ---- */

struct keeping {
    OptionsObject *options;
    PyObject *render;  /* _report.render; NULL: values are kept */
    PyObject *redacts; /* the options' method, for items of dicts; NULL: values are kept, or nothing is secret */
    Py_ssize_t budget;
};

static PyObject *render_value(struct keeping *keeping, PyObject *held)
{
    PyObject *value = xctx_held(held);
    PyObject *most = value ? PyLong_FromSsize_t(keeping->options->max_repr) : NULL;
    PyObject *text = most ? PyObject_CallFunctionObjArgs(keeping->render, value, most, keeping->redacts, NULL) : NULL;
    PyObject *marker = text ? marker_new(text, NULL) : NULL;

    Py_XDECREF(text);
    Py_XDECREF(most);
    Py_XDECREF(value);
    return marker;
}

/* What is kept in the place of a value. New; NULL with an exception. */
static PyObject *keep_value(struct keeping *keeping, PyObject *name, PyObject *held)
{
    if (name && keeping->options->redact) {
        PyObject *value = xctx_held(held);
        int secret = value ? xctx_redacted(keeping->options, name, value) : -1;
        Py_XDECREF(value);
        if (secret)
            return secret > 0 ? Py_NewRef(marker_redacted) : NULL;
    }
    if (keeping->render && Py_TYPE(held) != &marker_type)
        return render_value(keeping, held);
    return copy_value(held, keeping->options->depth - 1, &keeping->budget);
}

static int keep_names(struct keeping *keeping, PyObject *names)
{
    PyObject *name, *value;
    Py_ssize_t at = 0;

    while (PyDict_Next(names, &at, &name, &value)) {
        Py_INCREF(value);
        PyObject *kept = keep_value(keeping, name, value);
        int error = !kept || (kept != value && PyDict_SetItem(names, name, kept)) ? -1 : 0;
        Py_DECREF(value);
        Py_XDECREF(kept);
        if (error)
            return -1;
    }
    return 0;
}

static int keep_frame(struct keeping *keeping, RecordObject *record, struct frame_record *frame)
{
    if (frame->names && keep_names(keeping, frame->names))
        return -1;
    for (unsigned i = 0; i < frame->count; i++) {
        PyObject **place = &record->values[frame->first + i];
        PyObject *before = *place;
        if (!before)
            continue;
        PyObject *name = xctx_code_variable((PyCodeObject *)frame->code, i);
        /* What the compiler made shows what the function's own variables hold. */
        PyObject *kept = name ? keep_value(keeping, name, before) : NULL;
        if (name && !kept)
            return -1;
        *place = kept;
        Py_DECREF(before);
    }
    return 0;
}

static int prepare_rendering(struct keeping *keeping)
{
    keeping->render = xctx_report_function("render");
    if (keeping->render && keeping->options->redact) {
        keeping->redacts = xctx_attribute((PyObject *)keeping->options, "redacts");
        if (!keeping->redacts)
            Py_CLEAR(keeping->render);
    }
    return keeping->render ? 0 : -1;
}

int xctx_keep_values(RecordObject *record)
{
    OptionsObject *options = record->options;
    struct keeping keeping = {.options = options, .budget = ITEMS_MOST};
    int error = 0;

    if (!options->redact && options->depth <= 1 && !options->eager)
        return 0;
    if (options->eager && !rendering && prepare_rendering(&keeping))
        return -1;
    rendering++;
    for (Py_ssize_t i = 0; i < record->frame_count && !error; i++)
        error = keep_frame(&keeping, record, &record->frames[i]);
    rendering--;
    Py_XDECREF(keeping.render);
    Py_XDECREF(keeping.redacts);
    return error;
}

int xctx_keep_init(void)
{
    if (PyType_Ready(&marker_type))
        return -1;
    if (!marker_redacted) {
        PyObject *text = PyUnicode_FromString("<redacted>");
        marker_redacted = marker_new(text, NULL);
        Py_XDECREF(text);
    }
    return marker_redacted ? 0 : -1;
}
