/* SPDX-License-Identifier: MIT */
/*
 * Python frames: walking them, copying what they hold, and xctx.Frame, which shows a copy.
 *
 * A walk has no side effects on what it walks. Frame objects, which CPython has made lazily since 3.11, are not made:
 * each would cost an allocation now and more when the frame ends. Locals are read from the frame's slots: the public
 * ways (PyFrame_GetLocals(), frame.f_locals) write them into a dictionary of the frame, where debuggers keep changes,
 * or, since 3.13, make a proxy that goes on changing. So this file knows the frame's layout: until 3.10 that of the
 * public header, in 3.11 to 3.13 that of the internal ones, and whether it has understood that layout is checked when
 * the module is loaded. Versions after that are walked by public functions.
 *
 * A walk counts first and copies then, so that a record is one block. Nothing of the walked stack can end or begin
 * between the two, since it is the stack that this code runs on. Allocations may run finalizers, which are code like
 * any other: values may change by that, the number of slots does not.
 */
#include "capture.h"

#include <frameobject.h>

#if PY_VERSION_HEX >= 0x030E0000 || defined(XCTX_PUBLIC_FRAMES)
#define WALK_PUBLIC 1
#elif PY_VERSION_HEX >= 0x030B0000
#define WALK_INTERNAL 1
#define Py_BUILD_CORE 1
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpragmas"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wpedantic"
#pragma GCC diagnostic ignored "-Wundef"
#pragma GCC diagnostic ignored "-Wshadow"
#pragma GCC diagnostic ignored "-Wcast-align"
#pragma GCC diagnostic ignored "-Wpointer-arith"
#pragma GCC diagnostic ignored "-Wstrict-prototypes"
#pragma GCC diagnostic ignored "-Wold-style-definition"
#pragma GCC diagnostic ignored "-Wunused-parameter"
#include <internal/pycore_code.h>
#include <internal/pycore_frame.h>
#pragma GCC diagnostic pop
#undef Py_BUILD_CORE
#endif

/* ---- one frame, by version ---- */

#ifdef WALK_INTERNAL

typedef _PyInterpreterFrame *frame_place;

static inline frame_place complete(frame_place frame)
{
    while (frame && _PyFrame_IsIncomplete(frame))
        frame = frame->previous;
    return frame;
}

static inline frame_place place_first(PyThreadState *thread)
{
#if PY_VERSION_HEX >= 0x030D0000
    return complete(thread->current_frame);
#else
    return complete(thread->cframe->current_frame);
#endif
}

static inline frame_place place_next(frame_place frame)
{
    return complete(frame->previous);
}

static inline PyCodeObject *place_code(frame_place frame)
{
#if PY_VERSION_HEX >= 0x030D0000
    return _PyFrame_GetCode(frame);
#else
    return frame->f_code;
#endif
}

static inline int place_lasti(frame_place frame)
{
    int index = _PyInterpreterFrame_LASTI(frame);

    return index < 0 ? -1 : index * (int)sizeof(_Py_CODEUNIT);
}

#define place_globals(frame) ((frame)->f_globals)
#define place_namespace(frame) ((frame)->f_locals)
#define place_slots(frame) ((frame)->localsplus)
#define place_drop(frame) ((void)(frame))

#elif defined(WALK_PUBLIC)

/* Each step holds a reference to the frame object. */
typedef PyFrameObject *frame_place;

static inline frame_place place_first(PyThreadState *thread)
{
    return PyThreadState_GetFrame(thread);
}

static inline frame_place place_next(frame_place frame)
{
    frame_place back = PyFrame_GetBack(frame);

    Py_DECREF(frame);
    return back;
}

/* Borrowed from the frame, which is running. */
static inline PyCodeObject *place_code(frame_place frame)
{
    PyCodeObject *code = PyFrame_GetCode(frame);

    Py_DECREF(code);
    return code;
}

static inline PyObject *place_globals(frame_place frame)
{
    PyObject *globals = PyFrame_GetGlobals(frame);

    Py_DECREF(globals);
    return globals;
}

#define place_lasti(frame) PyFrame_GetLasti(frame)
#define place_drop(frame) Py_XDECREF(frame)

#else

typedef PyFrameObject *frame_place;

#if PY_VERSION_HEX >= 0x030A0000
enum { LASTI_UNIT = 2 }; /* f_lasti counts instructions, not bytes */
#else
enum { LASTI_UNIT = 1 };
#endif

#define place_first(thread) ((thread)->frame)
#define place_next(place) ((place)->f_back)
#define place_code(place) ((place)->f_code)
#define place_globals(place) ((place)->f_globals)
#define place_namespace(place) ((place)->f_locals)
#define place_slots(place) ((place)->f_localsplus)
#define place_lasti(place) ((place)->f_lasti < 0 ? -1 : (place)->f_lasti * LASTI_UNIT)
#define place_drop(place) ((void)(place))

#endif

/* ---- the variables of a code object ---- */

static bool is_function(const PyCodeObject *code)
{
    return (code->co_flags & CO_OPTIMIZED) != 0;
}

#if PY_VERSION_HEX >= 0x030B0000

enum { KIND_HIDDEN = 0x10, KIND_CELL = 0x40, KIND_FREE = 0x80 }; /* CO_FAST_* */

#ifdef WALK_PUBLIC
/* Locals come as a dictionary. */
static Py_ssize_t slot_count(const PyCodeObject *code)
{
    (void)code;
    return 0;
}
#else
static inline Py_ssize_t slot_count(const PyCodeObject *code)
{
    return code->co_nlocalsplus;
}
#endif

static PyObject *slot_name(const PyCodeObject *code, Py_ssize_t index)
{
    const unsigned char *kinds = (const unsigned char *)PyBytes_AS_STRING(code->co_localspluskinds);

    return kinds[index] & KIND_HIDDEN ? NULL : PyTuple_GET_ITEM(code->co_localsplusnames, index);
}

#else

static inline Py_ssize_t slot_count(const PyCodeObject *code)
{
    return code->co_nlocals + PyTuple_GET_SIZE(code->co_cellvars) + PyTuple_GET_SIZE(code->co_freevars);
}

static PyObject *slot_name(const PyCodeObject *code, Py_ssize_t index)
{
    PyObject *const groups[] = {code->co_varnames, code->co_cellvars, code->co_freevars};

    for (size_t i = 0; i < 3; i++) {
        if (index < PyTuple_GET_SIZE(groups[i]))
            return PyTuple_GET_ITEM(groups[i], index);
        index -= PyTuple_GET_SIZE(groups[i]);
    }
    return NULL;
}

#endif

/* What the compiler names itself begins with a dot: ".0" is what a comprehension goes through. */
PyObject *xctx_code_variable(PyCodeObject *code, Py_ssize_t index)
{
    PyObject *name = slot_name(code, index);

    if (!name || (PyUnicode_GET_LENGTH(name) > 0 && PyUnicode_READ_CHAR(name, 0) == '.'))
        return NULL;
    return name;
}

/* ---- copying ---- */

/* Frames of this package's own Python code are not where a context was copied. */
static bool is_own(PyObject *globals)
{
    static PyObject *key; /* interned, kept */
    Py_ssize_t size;

    if (!key && !(key = PyUnicode_InternFromString("__name__"))) {
        PyErr_Clear();
        return false;
    }
    PyObject *name = globals && PyDict_CheckExact(globals) ? PyDict_GetItemWithError(globals, key) : NULL;
    if (!name || !PyUnicode_CheckExact(name)) {
        PyErr_Clear();
        return false;
    }
    const char *text = PyUnicode_AsUTF8AndSize(name, &size);
    if (!text) {
        PyErr_Clear();
        return false;
    }
    return strncmp(text, "xctx", 4) == 0 && (text[4] == '\0' || text[4] == '.');
}

static frame_place skip_own(frame_place place)
{
    frame_place outer = place;

    while (outer && is_own(place_globals(outer)))
        outer = place_next(outer);
    return outer;
}

static inline Py_ssize_t slots_wanted(const PyCodeObject *code, unsigned flags)
{
    return (flags & CAPTURE_LOCALS) && is_function(code) ? slot_count(code) : 0;
}

void xctx_frames_measure(PyThreadState *thread, unsigned flags, int max_frames, struct extent *ret_extent)
{
    struct extent extent = {0};
    frame_place place = flags & (CAPTURE_STACK | CAPTURE_LOCALS) ? skip_own(place_first(thread)) : NULL;

    for (; place && extent.frames < max_frames; place = place_next(place)) {
        extent.frames++;
        extent.values += slots_wanted(place_code(place), flags);
    }
    extent.more = place != NULL;
    place_drop(place);
    *ret_extent = extent;
}

#ifndef WALK_PUBLIC

/* A cell's content. A cell may be an argument's own value only while the function has not begun: what is shown for it
   then is one step too far, and nothing worse. */
static inline PyObject *slot_value(PyObject *value, bool cell)
{
    return cell && value && PyCell_Check(value) ? PyCell_GET(value) : value;
}

static int copy_slots(RecordObject *record, struct frame_record *to, frame_place place)
{
    PyCodeObject *code = place_code(place);
    PyObject **from = place_slots(place);
    PyObject **values = record->values + record->value_count;
    Py_ssize_t count = slot_count(code);
#if PY_VERSION_HEX >= 0x030B0000
    const unsigned char *kinds = (const unsigned char *)PyBytes_AS_STRING(code->co_localspluskinds);
#endif

    to->first = record->value_count;
    to->count = (unsigned)count;
    record->value_count += count;
    for (Py_ssize_t i = 0; i < count; i++) {
#if PY_VERSION_HEX >= 0x030B0000
        bool cell = (kinds[i] & (KIND_CELL | KIND_FREE)) != 0;
#else
        bool cell = i >= code->co_nlocals;
#endif
        PyObject *value = slot_value(from[i], cell);
        if (value && !(values[i] = xctx_hold(value)))
            return -1;
    }
    return 0;
}

#endif

/* Modules are full of what their source says anyway: what is imported and defined there, and names of the system's. */
static bool is_noise(PyObject *name, PyObject *value)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(name);

    if (PyModule_Check(value) || PyFunction_Check(value) || PyCFunction_Check(value) || PyType_Check(value))
        return true;
    return length > 4 && PyUnicode_READ_CHAR(name, 0) == '_' && PyUnicode_READ_CHAR(name, 1) == '_' &&
           PyUnicode_READ_CHAR(name, length - 1) == '_' && PyUnicode_READ_CHAR(name, length - 2) == '_';
}

/* A copy of a namespace; *ret_copy stays NULL where that is no dictionary and asking it would run somebody's code.
   Going through a dictionary and putting what is there into another one with exact strings as keys runs none; a weak
   reference, which xctx_hold() may make, can start a collection. 0; -1 with an exception. */
static int copy_namespace(PyObject *namespace, bool module, PyObject **ret_copy)
{
    Py_ssize_t at = 0, looks = 0;
    PyObject *name, *value;

    if (!namespace || !PyDict_Check(namespace))
        return 0;
    PyObject *copy = PyDict_New();
    if (!copy)
        return -1;
    while (PyDict_Next(namespace, &at, &name, &value) && looks++ < NAMESPACE_LOOKS) {
        if (!PyUnicode_CheckExact(name) || (module && is_noise(name, value)))
            continue;
        if (PyUnicode_GET_LENGTH(name) > 0 && PyUnicode_READ_CHAR(name, 0) == '.')
            continue;
        Py_INCREF(name);
        PyObject *held = xctx_hold(value);
        int error = held ? PyDict_SetItem(copy, name, held) : -1;
        Py_XDECREF(held);
        Py_DECREF(name);
        if (error) {
            Py_DECREF(copy);
            return -1;
        }
        if (PyDict_GET_SIZE(copy) >= NAMESPACE_NAMES)
            break;
    }
    *ret_copy = copy;
    return 0;
}

#ifdef WALK_PUBLIC

static int copy_locals(RecordObject *record, struct frame_record *to, frame_place place)
{
    PyObject *namespace = PyFrame_GetLocals(place);
    PyObject *plain = NULL;

    (void)record;
    if (!namespace)
        return -1;
    bool module = namespace == place_globals(place);
    if (is_function(place_code(place))) { /* a proxy that reads the frame: no dictionary */
        plain = PyDict_New();
        if (!plain || PyDict_Update(plain, namespace)) {
            Py_XDECREF(plain);
            Py_DECREF(namespace);
            return -1;
        }
    }
    int error = copy_namespace(plain ? plain : namespace, module, &to->names);
    Py_XDECREF(plain);
    Py_DECREF(namespace);
    return error;
}

#else

static int copy_locals(RecordObject *record, struct frame_record *to, frame_place place)
{
    PyObject *namespace = place_namespace(place);

    if (is_function(place_code(place)))
        return copy_slots(record, to, place);
    return copy_namespace(namespace, namespace == place_globals(place), &to->names);
}

#endif

int xctx_frames_copy(PyThreadState *thread, RecordObject *record, const struct extent *measured, unsigned flags)
{
    frame_place place = measured->frames > 0 ? skip_own(place_first(thread)) : NULL;

    for (; place && record->frame_count < measured->frames; place = place_next(place)) {
        if (slots_wanted(place_code(place), flags) > measured->values - record->value_count) {
            record->more_frames = true;
            break;
        }
        struct frame_record *to = &record->frames[record->frame_count];
        to->code = Py_NewRef((PyObject *)place_code(place));
        to->lasti = place_lasti(place);
        record->frame_count++;
        if ((flags & CAPTURE_LOCALS) && copy_locals(record, to, place)) {
            place_drop(place);
            return -1;
        }
    }
    place_drop(place);
    return 0;
}

/* Whether walking finds what the interpreter says: the headers that this was built with may be of another patch. */
static int check_layout(void)
{
#ifdef WALK_INTERNAL
    PyFrameObject *said = PyThreadState_GetFrame(PyThreadState_Get());
    frame_place place = place_first(PyThreadState_Get());

    while (said && place) {
        PyCodeObject *code = PyFrame_GetCode(said);
        PyFrameObject *back = PyFrame_GetBack(said);
        bool same = code == place_code(place) && PyFrame_GetLasti(said) == place_lasti(place);
        Py_DECREF(code);
        Py_DECREF(said);
        said = back;
        if (!same)
            break;
        place = place_next(place);
    }
    if (said || place) {
        Py_XDECREF(said);
        PyErr_Format(PyExc_ImportError, "xctx was built for Python %s, and frames look different in Python %s",
                     PY_VERSION, Py_GetVersion());
        return -1;
    }
#endif
    return 0;
}

/* ---- xctx.Frame ---- */

typedef struct {
    PyObject_HEAD
    RecordObject *record;
    Py_ssize_t index;
} FrameObject;

static struct frame_record *record_of(PyObject *self)
{
    FrameObject *frame = (FrameObject *)self;

    return &frame->record->frames[frame->index];
}

PyObject *xctx_frame_new(RecordObject *record, Py_ssize_t index)
{
    FrameObject *frame = PyObject_GC_New(FrameObject, &xctx_FrameType);

    if (!frame)
        return NULL;
    frame->record = (RecordObject *)Py_NewRef((PyObject *)record);
    frame->index = index;
    PyObject_GC_Track(frame);
    return (PyObject *)frame;
}

static void frame_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    Py_CLEAR(((FrameObject *)self)->record);
    PyObject_GC_Del(self);
}

static int frame_traverse(PyObject *self, visitproc visit, void *arg)
{
    Py_VISIT(((FrameObject *)self)->record);
    return 0;
}

static PyObject *frame_code(PyObject *self, void *closure)
{
    PyObject *code = record_of(self)->code;

    (void)closure;
    return Py_NewRef(code);
}

static PyObject *frame_of_code(PyObject *self, void *closure)
{
    return xctx_attribute(record_of(self)->code, closure);
}

static PyObject *frame_lasti(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromLong(record_of(self)->lasti);
}

static PyObject *frame_lineno(PyObject *self, void *closure)
{
    struct frame_record *record = record_of(self);
    PyCodeObject *code = (PyCodeObject *)record->code;
    int line = record->lasti < 0 ? code->co_firstlineno : PyCode_Addr2Line(code, record->lasti);

    (void)closure;
    if (line <= 0)
        Py_RETURN_NONE;
    return PyLong_FromLong(line);
}

static int locals_add(PyObject *locals, PyObject *name, PyObject *value)
{
    PyObject *held = xctx_held(value);
    int error = held ? PyDict_SetItem(locals, name, held) : -1;

    Py_XDECREF(held);
    return error;
}

/* A dictionary of its own for each who asks, in the order of the function's variables or of the namespace. */
static PyObject *frame_locals(PyObject *self, void *closure)
{
    RecordObject *record = ((FrameObject *)self)->record;
    struct frame_record *frame = record_of(self);
    Py_ssize_t at = 0;
    PyObject *name, *value;

    (void)closure;
    if (!(record->captured & CAPTURE_LOCALS) || record->trimmed ||
        (!frame->names && !is_function((PyCodeObject *)frame->code)))
        Py_RETURN_NONE;
    PyObject *locals = PyDict_New();
    PyObject *names = Py_XNewRef(frame->names); /* which may go when the record is trimmed */
    if (!locals)
        goto failed;
    while (names && PyDict_Next(names, &at, &name, &value)) {
        if (locals_add(locals, name, value))
            goto failed;
    }
    for (unsigned i = 0; i < frame->count; i++) {
        name = xctx_code_variable((PyCodeObject *)frame->code, i);
        value = record->values[frame->first + i];
        if (name && value && locals_add(locals, name, value))
            goto failed;
    }
    Py_XDECREF(names);
    return locals;
failed:
    Py_XDECREF(names);
    Py_XDECREF(locals);
    return NULL;
}

static PyObject *frame_repr(PyObject *self)
{
    PyCodeObject *code = (PyCodeObject *)record_of(self)->code;
    PyObject *line = frame_lineno(self, NULL);

    if (!line)
        return NULL;
    PyObject *text = PyUnicode_FromFormat("<xctx.Frame %U at %U:%S>", code->co_name, code->co_filename, line);
    Py_DECREF(line);
    return text;
}

static PyObject *frame_compare(PyObject *self, PyObject *other, int operation)
{
    FrameObject *a = (FrameObject *)self, *b = (FrameObject *)other;

    if (Py_TYPE(other) != &xctx_FrameType || (operation != Py_EQ && operation != Py_NE))
        Py_RETURN_NOTIMPLEMENTED;
    bool same = a->record == b->record && a->index == b->index;
    return PyBool_FromLong(same == (operation == Py_EQ));
}

static Py_hash_t frame_hash(PyObject *self)
{
    FrameObject *frame = (FrameObject *)self;
    Py_hash_t hash = (Py_hash_t)((uintptr_t)frame->record >> 4) * 31 + frame->index;

    return hash == -1 ? -2 : hash;
}

static PyGetSetDef frame_attributes[] = {
    {"name", frame_of_code, NULL, "The function's name; '<module>' for a module's code.", (void *)"co_name"},
    {"qualname", frame_of_code, NULL,
     "The name with those of the classes and functions around it; before Python 3.11 "
     "the name alone.",
#if PY_VERSION_HEX >= 0x030B0000
     (void *)"co_qualname"},
#else
     (void *)"co_name"},
#endif
    {"filename", frame_of_code, NULL, "The source file, as the code object has it.", (void *)"co_filename"},
    {"lineno", frame_lineno, NULL, "The line where the frame was; None if the code has none there.", NULL},
    {"locals", frame_locals, NULL,
     "A new dictionary of the local variables as they were: of a function all of them with a value, also those of\n"
     "cells and of functions around it; of a class body its namespace; of a module its names without __dunder__\n"
     "names, modules, functions and classes. At most 256 names of a class or module. None if they were not captured.\n"
     "The values are the objects themselves, as they are now.",
     NULL},
    {"code", frame_code, NULL, "The code object.", NULL},
    {"lasti", frame_lasti, NULL, "The last instruction in the code, as frame.f_lasti counts in bytes.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

PyTypeObject xctx_FrameType = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx.Frame",
    .tp_doc = "A frame of the Python call stack as it was when a context was copied.",
    .tp_basicsize = sizeof(FrameObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = frame_dealloc,
    .tp_traverse = frame_traverse,
    .tp_repr = frame_repr,
    .tp_richcompare = frame_compare,
    .tp_hash = frame_hash,
    .tp_getset = frame_attributes,
};

int xctx_frame_init(PyObject *module)
{
    return check_layout() ? -1 : PyModule_AddType(module, &xctx_FrameType);
}
