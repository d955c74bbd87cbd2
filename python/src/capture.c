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

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

unsigned xctx_capture_default = CAPTURE_ALL;

const char *const xctx_capture_names[XCTX_CAPTURE_KINDS] = {"stack", "locals", "native", "state"};

static OptionsObject *current_options;

/* Values are rendered on this thread: captures in there keep values as they are, or there would be no end. */
static __thread int rendering;

/* ---- markers ---- */

/* Stands for a value: its repr is `text`. Or, with `reference`, for an object that is held weakly; then `text` is what
   to say when that is gone, and nobody outside sees the marker. */
typedef struct {
    PyObject_HEAD PyObject *text;
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
    PyObject *reference = PyWeakref_NewRef(value, NULL);
    PyObject *marker = reference ? marker_new(gone, reference) : NULL;
    Py_XDECREF(reference);
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

/* ---- options ---- */

static int options_traverse(PyObject *self, visitproc visit, void *arg)
{
    OptionsObject *options = (OptionsObject *)self;

    Py_VISIT(options->redact);
    Py_VISIT(options->match);
    Py_VISIT(options->known);
    return 0;
}

static int options_clear(PyObject *self)
{
    OptionsObject *options = (OptionsObject *)self;

    Py_CLEAR(options->redact);
    Py_CLEAR(options->match);
    Py_CLEAR(options->known);
    return 0;
}

static void options_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    options_clear(self);
    PyObject_GC_Del(self);
}

/* Whether a variable or local of that name is secret. */
static PyObject *options_redacts(PyObject *self, PyObject *name)
{
    if (!PyUnicode_Check(name))
        return PyErr_Format(PyExc_TypeError, "name must be a str, not %.200s", Py_TYPE(name)->tp_name);
    return PyBool_FromLong(xctx_redacted((OptionsObject *)self, name, NULL));
}

static PyObject *options_max_repr(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromSsize_t(((OptionsObject *)self)->max_repr);
}

static PyMethodDef options_methods[] = {
    {"redacts", options_redacts, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef options_attributes[] = {
    {"max_repr", options_max_repr, NULL, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyTypeObject options_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx._Options",
    .tp_basicsize = sizeof(OptionsObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .tp_dealloc = options_dealloc,
    .tp_traverse = options_traverse,
    .tp_clear = options_clear,
    .tp_methods = options_methods,
    .tp_getset = options_attributes,
};

static OptionsObject *options_new(void)
{
    OptionsObject *options = PyObject_GC_New(OptionsObject, &options_type);

    if (!options)
        return NULL;
    options->what = CAPTURE_ALL;
    options->max_frames = FRAMES_DEFAULT;
    options->depth = 1;
    options->eager = false;
    options->max_repr = REPR_DEFAULT;
    options->max_kept = KEPT_DEFAULT;
    options->redact = options->match = options->known = NULL;
    PyObject_GC_Track(options);
    return options;
}

/* Adds what a word of `size` bytes names. 0; -1: it names nothing. */
static int add_word(const char *word, size_t size, unsigned *what)
{
    if (size == 3 && strncmp(word, "all", size) == 0) {
        *what |= CAPTURE_ALL;
        return 0;
    }
    if (size == 4 && strncmp(word, "none", size) == 0)
        return 0;
    for (unsigned i = 0; i < XCTX_CAPTURE_KINDS; i++) {
        if (strlen(xctx_capture_names[i]) == size && strncmp(word, xctx_capture_names[i], size) == 0) {
            /* Locals are those of frames. */
            *what |= 1u << i | (1u << i == CAPTURE_LOCALS ? CAPTURE_STACK : 0);
            return 0;
        }
    }
    return -1;
}

/* The first word of a list separated by commas and blanks; NULL: there is none. */
static const char *next_word(const char *text, size_t *ret_size)
{
    text += strspn(text, ", \t\n");
    *ret_size = strcspn(text, ", \t\n");
    return *ret_size > 0 ? text : NULL;
}

static int parse_text(PyObject *text, unsigned *what)
{
    const char *words = PyUnicode_AsUTF8(text);
    size_t size;

    if (!words)
        return -1;
    for (const char *word = words; (word = next_word(word, &size)); word += size) {
        if (add_word(word, size, what)) {
            PyErr_Format(PyExc_ValueError,
                         "not something to capture: %R (known: 'stack', 'locals', 'native', 'state', "
                         "'all', 'none')",
                         text);
            return -1;
        }
    }
    return 0;
}

static int parse_what(PyObject *given, unsigned *ret_what)
{
    unsigned what = 0;
    PyObject *item;

    if (PyUnicode_Check(given)) {
        if (parse_text(given, &what))
            return -1;
    } else {
        PyObject *iterator = PyObject_GetIter(given);
        if (!iterator) {
            if (PyErr_ExceptionMatches(PyExc_TypeError))
                PyErr_Format(PyExc_TypeError, "what must be a str or an iterable of str, not %.200s",
                             Py_TYPE(given)->tp_name);
            return -1;
        }
        while ((item = PyIter_Next(iterator))) {
            int error = 0;
            if (!PyUnicode_Check(item)) {
                PyErr_Format(PyExc_TypeError, "what must be a str or an iterable of str, not of %.200s",
                             Py_TYPE(item)->tp_name);
                error = -1;
            }
            error = error ? error : parse_text(item, &what);
            Py_DECREF(item);
            if (error)
                break;
        }
        Py_DECREF(iterator);
        if (PyErr_Occurred())
            return -1;
    }
    *ret_what = what;
    return 0;
}

/* One pattern of all names: "(?is:password)\Z|(?is:.*token)\Z". New: the compiled pattern's match(). */
static PyObject *compile(PyObject *names)
{
    PyObject *fnmatch = PyImport_ImportModule("fnmatch");
    PyObject *re = fnmatch ? PyImport_ImportModule("re") : NULL;
    PyObject *parts = re ? PyList_New(0) : NULL;
    PyObject *match = NULL;

    for (Py_ssize_t i = 0; parts && i < PyTuple_GET_SIZE(names); i++) {
        PyObject *part = PyObject_CallMethod(fnmatch, "translate", "O", PyTuple_GET_ITEM(names, i));
        if (!part || PyList_Append(parts, part))
            Py_CLEAR(parts);
        Py_XDECREF(part);
    }
    PyObject *bar = parts ? PyUnicode_FromString("|") : NULL;
    PyObject *pattern = bar ? PyUnicode_Join(bar, parts) : NULL;
    PyObject *flags = pattern ? PyObject_GetAttrString(re, "IGNORECASE") : NULL;
    PyObject *compiled = flags ? PyObject_CallMethod(re, "compile", "OO", pattern, flags) : NULL;
    if (compiled)
        match = PyObject_GetAttrString(compiled, "match");
    Py_XDECREF(compiled);
    Py_XDECREF(flags);
    Py_XDECREF(pattern);
    Py_XDECREF(bar);
    Py_XDECREF(parts);
    Py_XDECREF(re);
    Py_XDECREF(fnmatch);
    return match;
}

static int set_redact(OptionsObject *options, PyObject *given)
{
    if (given == Py_None)
        return 0;
    if (PyCallable_Check(given)) {
        options->redact = Py_NewRef(given);
        return 0;
    }
    options->redact = PyUnicode_Check(given) ? PyTuple_Pack(1, given) : PySequence_Tuple(given);
    if (!options->redact) {
        if (PyErr_ExceptionMatches(PyExc_TypeError))
            PyErr_Format(PyExc_TypeError, "redact must be a str, an iterable of str, a callable or None, not %.200s",
                         Py_TYPE(given)->tp_name);
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(options->redact); i++) {
        PyObject *name = PyTuple_GET_ITEM(options->redact, i);
        if (!PyUnicode_Check(name)) {
            PyErr_Format(PyExc_TypeError, "redact must be names, not %.200s", Py_TYPE(name)->tp_name);
            return -1;
        }
    }
    if (PyTuple_GET_SIZE(options->redact) == 0) {
        Py_CLEAR(options->redact);
        return 0;
    }
    options->match = compile(options->redact);
    options->known = options->match ? PyDict_New() : NULL;
    return options->known ? 0 : -1;
}

static int check_range(const char *name, Py_ssize_t value, Py_ssize_t least, Py_ssize_t most)
{
    if (value >= least && value <= most)
        return 0;
    PyErr_Format(PyExc_ValueError, "%s must be from %zd to %zd, not %zd", name, least, most, value);
    return -1;
}

PyDoc_STRVAR(
    set_default_capture_doc,
    "set_default_capture($module, /, what='all', *, max_frames=64, depth=1, max_repr=200, redact=None, render='lazy',\n"
    "                    max_kept=1000)\n--\n\n"
    "Say what copy_context() captures from now on, in all threads.\n\n"
    "what: 'stack', 'locals' (with the stack), 'native', 'state', separated by commas, or an iterable of them; 'all' "
    "or\n"
    "    'none'. At the start it is what the environment's XCTX_PYTHON_CAPTURE says, else 'all'.\n"
    "max_frames: how many Python frames are captured at most, the innermost ones.\n"
    "depth: 1 copies the mapping of names to values, so that the values are the objects themselves; 2 copies lists,\n"
    "    dicts, sets and tuples that are values, too; and so on. At most 10000 items are copied in one capture.\n"
    "max_repr: how many characters of a value reports show.\n"
    "redact: names of variables whose values are secret, or patterns of names as in fnmatch, in upper or lower case; "
    "or a\n"
    "    callable that is called with name and value and returns whether it is. Such values are not kept in locals, "
    "nor\n"
    "    shown in reports. Nothing is secret if nothing is said here.\n"
    "render: 'lazy' keeps values and shows them as they are when a report is made; 'eager' calls repr() at the copy "
    "and\n"
    "    keeps the text alone.\n"
    "max_kept: how many snapshots keep locals and native stacks at one time; the oldest give them back.");

static PyObject *set_default_capture(PyObject *module, PyObject *args, PyObject *kwargs)
{
    static const char *const names[] = {"what",   "max_frames", "depth",    "max_repr",
                                        "redact", "render",     "max_kept", NULL};
    PyObject *what = NULL, *redact = Py_None;
    const char *render = "lazy";
    Py_ssize_t max_frames = FRAMES_DEFAULT, depth = 1, max_repr = REPR_DEFAULT, max_kept = KEPT_DEFAULT;

    (void)module;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O$nnnOsn:set_default_capture", (char **)names, &what, &max_frames,
                                     &depth, &max_repr, &redact, &render, &max_kept))
        return NULL;
    if (check_range("max_frames", max_frames, 1, FRAMES_MOST) || check_range("depth", depth, 1, DEPTH_MOST) ||
        check_range("max_repr", max_repr, 16, REPR_MOST) || check_range("max_kept", max_kept, 1, PY_SSIZE_T_MAX))
        return NULL;
    if (strcmp(render, "lazy") != 0 && strcmp(render, "eager") != 0)
        return PyErr_Format(PyExc_ValueError, "render must be 'lazy' or 'eager', not '%.100s'", render);
    OptionsObject *options = options_new();
    if (!options)
        return NULL;
    options->max_frames = (int)max_frames;
    options->depth = (int)depth;
    options->max_repr = max_repr;
    options->max_kept = max_kept;
    options->eager = strcmp(render, "eager") == 0;
    if ((what && parse_what(what, &options->what)) || set_redact(options, redact)) {
        Py_DECREF(options);
        return NULL;
    }
    OptionsObject *before = current_options;
    current_options = options;
    xctx_capture_default = options->what;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(get_default_capture_doc, "get_default_capture($module, /)\n--\n\n"
                                      "What set_default_capture() said: a dictionary of its arguments, so that\n"
                                      "set_default_capture(**get_default_capture()) changes nothing.");

static PyObject *get_default_capture(PyObject *module, PyObject *ignored)
{
    OptionsObject *options = current_options;
    char what[64] = "";

    (void)module;
    (void)ignored;
    for (unsigned i = 0; i < XCTX_CAPTURE_KINDS; i++) {
        if (options->what & 1u << i) {
            strcat(what, what[0] ? "," : "");
            strcat(what, xctx_capture_names[i]);
        }
    }
    return Py_BuildValue("{s:s,s:i,s:i,s:n,s:O,s:s,s:n}", "what", what[0] ? what : "none", "max_frames",
                         options->max_frames, "depth", options->depth, "max_repr", options->max_repr, "redact",
                         options->redact ? options->redact : Py_None, "render", options->eager ? "eager" : "lazy",
                         "max_kept", options->max_kept);
}

/* What is not known is complained of, and the rest used, as libxctx does with XCTX_CAPTURE. */
static unsigned what_from_environment(void)
{
    const char *text = getenv("XCTX_PYTHON_CAPTURE");
    unsigned what = 0;
    size_t size;

    if (!text)
        return CAPTURE_ALL;
    for (const char *word = text; (word = next_word(word, &size)); word += size) {
        if (add_word(word, size, &what))
            fprintf(stderr, "xctx: XCTX_PYTHON_CAPTURE: not something to capture: '%.*s'\n", (int)size, word);
    }
    return what;
}

/* ---- secrets ---- */

enum { KNOWN_MOST = 10000 };

static int name_matches(OptionsObject *options, PyObject *name)
{
    PyObject *known = PyDict_GetItemWithError(options->known, name);

    if (known)
        return known == Py_True;
    if (PyErr_Occurred())
        return -1;
    PyObject *match = PyObject_CallOneArg(options->match, name);
    if (!match)
        return -1;
    int result = match != Py_None;
    Py_DECREF(match);
    if (PyDict_GET_SIZE(options->known) >= KNOWN_MOST)
        PyDict_Clear(options->known);
    return PyDict_SetItem(options->known, name, result ? Py_True : Py_False) ? -1 : result;
}

static int says_redact(OptionsObject *options, PyObject *name, PyObject *value)
{
    PyObject *said = PyObject_CallFunctionObjArgs(options->redact, name, value ? value : Py_None, NULL);
    int result = said ? PyObject_IsTrue(said) : -1;

    Py_XDECREF(said);
    return result;
}

/* Where it cannot be found out it is secret. */
int xctx_redacted(OptionsObject *options, PyObject *name, PyObject *value)
{
    if (!options->redact)
        return 0;
    int result = options->match ? name_matches(options, name) : says_redact(options, name, value);
    if (result < 0) {
        PyErr_WriteUnraisable(options->redact);
        return 1;
    }
    return result;
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

/* ---- the second part: what is kept of values ---- */

struct keeping {
    OptionsObject *options;
    PyObject *render; /* _report.render; NULL: values are kept */
    Py_ssize_t budget;
};

static PyObject *render_value(struct keeping *keeping, PyObject *held)
{
    PyObject *value = xctx_held(held);
    PyObject *text = value ? PyObject_CallFunction(keeping->render, "On", value, keeping->options->max_repr) : NULL;
    PyObject *marker = text ? marker_new(text, NULL) : NULL;

    Py_XDECREF(text);
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

static int keep_values(RecordObject *record)
{
    OptionsObject *options = record->options;
    struct keeping keeping = {.options = options, .budget = ITEMS_MOST};
    int error = 0;

    if (!options->redact && options->depth <= 1 && !options->eager)
        return 0;
    if (options->eager && !rendering && !(keeping.render = xctx_report_function("render")))
        return -1;
    rendering++;
    for (Py_ssize_t i = 0; i < record->frame_count && !error; i++)
        error = keep_frame(&keeping, record, &record->frames[i]);
    rendering--;
    Py_XDECREF(keeping.render);
    return error;
}

/* ---- whose thread it is ---- */

/* A module's attribute; only if the module is imported already. New; NULL without an exception. */
static PyObject *attribute_if_imported(const char *module_name, const char *name)
{
    PyObject *modules = xctx_is_finalizing() ? NULL : PyImport_GetModuleDict();
    PyObject *module = modules && PyDict_Check(modules) ? PyDict_GetItemString(modules, module_name) : NULL;
    PyObject *value = module ? PyObject_GetAttrString(module, name) : NULL;

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
    PyObject *name = task && task != Py_None ? PyObject_CallMethod(task, "get_name", NULL) : NULL;

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

static int fill(RecordObject *record, unsigned flags)
{
    struct timespec now;

    record->captured = flags;
    record->options = (OptionsObject *)Py_NewRef((PyObject *)current_options);
    record->thread_id = PyThread_get_thread_ident();
    clock_gettime(CLOCK_REALTIME, &now);
    record->time = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    if (xctx_frames_copy(PyThreadState_Get(), record, flags) || capture_native(record, flags))
        return -1;
    record->thread_name = thread_name(record->thread_id);
    record->task_name = task_name();
    return flags & CAPTURE_LOCALS ? keep_values(record) : 0;
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
    xctx_frames_measure(PyThreadState_Get(), flags, current_options->max_frames, &extent);
    RecordObject *record = xctx_record_new(&extent);
    if (record && !fill(record, flags)) {
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
    int flags = (int)current_options->what;

    (void)module;
    if (!PyArg_ParseTuple(args, "|i:_capture", &flags))
        return NULL;
    if (flags & ~CAPTURE_ALL)
        return PyErr_Format(PyExc_ValueError, "not something to capture: %d", flags);
    return xctx_capture((unsigned)flags);
}

/* What is said now: for contexts that were made without a capture. */
static PyObject *get_options(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return Py_NewRef((PyObject *)current_options);
}

static PyMethodDef capture_functions[] = {
    {"set_default_capture", (PyCFunction)(void (*)(void))set_default_capture, METH_VARARGS | METH_KEYWORDS,
     set_default_capture_doc},
    {"get_default_capture", get_default_capture, METH_NOARGS, get_default_capture_doc},
    {"_options", get_options, METH_NOARGS, NULL},
    {"_capture", capture, METH_VARARGS, "_capture(flags=...)\n--\n\nA Snapshot of the running thread."},
    {NULL, NULL, 0, NULL},
};

int xctx_capture_init(PyObject *module)
{
    PyObject *threading = PyImport_ImportModule("threading"); /* knows threads' names from its import on */

    if (!threading)
        return -1;
    Py_DECREF(threading);
    if (PyType_Ready(&marker_type) || PyType_Ready(&options_type))
        return -1;
    if (!marker_redacted) {
        PyObject *text = PyUnicode_FromString("<redacted>");
        marker_redacted = marker_new(text, NULL);
        Py_XDECREF(text);
        if (!marker_redacted)
            return -1;
    }
    if (!current_options) {
        current_options = options_new();
        if (!current_options)
            return -1;
        current_options->what = xctx_capture_default = what_from_environment();
    }
    return xctx_frame_init(module) || xctx_snapshot_init(module) || PyModule_AddFunctions(module, capture_functions)
               ? -1
               : 0;
}
