/* SPDX-License-Identifier: MIT */
/*
 * The extension module xctx._inspect: what libxctx-inspect makes of a native snapshot, as tuples of plain objects.
 * _report.py gives them names. A module of its own, so that the package works where libdw is not installed.
 *
 * Decoding takes up to a second the first time, for debug information is read then: the GIL is released meanwhile.
 */
#include "compat.h"

#include <errno.h>
#include <string.h>

#include <xctx/inspect.h>

/* Names come from files: any bytes. */
static PyObject *text(const char *bytes)
{
    if (!bytes)
        return Py_NewRef(Py_None);
    return PyUnicode_DecodeUTF8(bytes, (Py_ssize_t)strlen(bytes), "backslashreplace");
}

static PyObject *number(uint32_t value)
{
    return value > 0 ? PyLong_FromUnsignedLong(value) : Py_NewRef(Py_None);
}

/* (name, type, value, source, parameter) */
static PyObject *local_tuple(const xctx_local *local)
{
    return Py_BuildValue("(NNNsN)", text(local->name), text(local->type), text(local->value),
                         xctx_source_name(local->source), PyBool_FromLong(local->parameter));
}

static PyObject *locals_tuple(const xctx_frame *frame)
{
    Py_ssize_t count = (Py_ssize_t)xctx_frame_local_count(frame);
    PyObject *locals = PyTuple_New(count);

    for (Py_ssize_t i = 0; locals && i < count; i++) {
        PyObject *local = local_tuple(xctx_frame_local(frame, (size_t)i));
        if (!local)
            Py_CLEAR(locals);
        else
            PyTuple_SET_ITEM(locals, i, local);
    }
    return locals;
}

/* (function, file, line, module, pc, offset, inlined, locals) */
static PyObject *frame_tuple(const xctx_frame *frame)
{
    return Py_BuildValue("(NNNNKKNN)", text(frame->function), text(frame->file), number(frame->line),
                         text(frame->module), (unsigned long long)frame->pc, (unsigned long long)frame->offset,
                         PyBool_FromLong(frame->inlined), locals_tuple(frame));
}

static PyObject *frames_tuple(const xctx_report *report)
{
    Py_ssize_t count = (Py_ssize_t)xctx_report_frame_count(report);
    PyObject *frames = PyTuple_New(count);

    for (Py_ssize_t i = 0; frames && i < count; i++) {
        PyObject *frame = frame_tuple(xctx_report_frame(report, (size_t)i));
        if (!frame)
            Py_CLEAR(frames);
        else
            PyTuple_SET_ITEM(frames, i, frame);
    }
    return frames;
}

static PyObject *notes_tuple(const xctx_report *report)
{
    Py_ssize_t count = (Py_ssize_t)xctx_report_note_count(report);
    PyObject *notes = PyTuple_New(count);

    for (Py_ssize_t i = 0; notes && i < count; i++) {
        PyObject *note = text(xctx_report_note(report, (size_t)i));
        if (!note)
            Py_CLEAR(notes);
        else
            PyTuple_SET_ITEM(notes, i, note);
    }
    return notes;
}

static PyObject *frames(PyObject *module, PyObject *arguments)
{
    xctx_inspect_options options = {.size = sizeof(options), .flags = XCTX_INSPECT_NO_PARENTS};
    xctx_report *report;
    PyObject *capsule;
    int error, with_locals;

    (void)module;
    if (!PyArg_ParseTuple(arguments, "Op:frames", &capsule, &with_locals))
        return NULL;
    options.flags |= with_locals ? 0 : XCTX_INSPECT_NO_LOCALS;
    xctx_snapshot *snapshot = PyCapsule_GetPointer(capsule, "xctx.snapshot");
    if (!snapshot)
        return NULL;
    PyThreadState *state = PyEval_SaveThread();
    error = xctx_inspect(snapshot, &options, &report);
    PyEval_RestoreThread(state);
    if (error == -ENOMEM)
        return PyErr_NoMemory();
    if (error)
        return PyErr_Format(PyExc_OSError, "cannot decode the native call stack: %s", xctx_strerror(error));
    PyObject *result = Py_BuildValue("(NN)", frames_tuple(report), notes_tuple(report));
    xctx_report_unref(report);
    return result;
}

static PyMethodDef functions[] = {
    {"frames", frames, METH_VARARGS,
     "frames(capsule, locals, /)\n--\n\n"
     "The native frames of a snapshot, the innermost first: tuples (function, file, line, module, pc, offset, "
     "inlined,\n"
     "locals), where locals are tuples (name, type, value, source, parameter). And notes on what is missing.\n"
     "With locals it takes a hundred times as long where there is debug information for all."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "xctx._inspect",
    .m_doc = "Decodes native call stacks; used by xctx.Snapshot.",
    .m_methods = functions,
};

XCTX_MODULE_INIT PyInit__inspect(void);

XCTX_MODULE_INIT PyInit__inspect(void)
{
    return PyModule_Create(&definition);
}
