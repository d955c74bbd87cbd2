/* SPDX-License-Identifier: MIT */
/*
 * What set_default_capture() says: parsed, checked, and kept in an immutable object that the records made by it share,
 * so that a report goes by what was said when its snapshot was taken.
 */
#include "capture.h"

#include <stdio.h>
#include <stdlib.h>

unsigned xctx_capture_default = CAPTURE_ALL;
OptionsObject *xctx_options;

const char *const xctx_capture_names[XCTX_CAPTURE_KINDS] = {"stack", "locals", "native", "state"};

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
    PyObject *said = PyObject_CallFunctionObjArgs(options->redact, name, value, NULL);
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

/* ---- the object ---- */

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

/* redacts(name, value): whether a variable, a local or an item of that name is secret. */
static PyObject *options_redacts(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    if (count != 2)
        return PyErr_Format(PyExc_TypeError, "redacts expected 2 arguments, got %zd", count);
    if (!PyUnicode_Check(arguments[0]))
        return PyErr_Format(PyExc_TypeError, "name must be a str, not %.200s", Py_TYPE(arguments[0])->tp_name);
    return PyBool_FromLong(xctx_redacted((OptionsObject *)self, arguments[0], arguments[1]));
}

static PyObject *options_max_repr(PyObject *self, void *closure)
{
    (void)closure;
    return PyLong_FromSsize_t(((OptionsObject *)self)->max_repr);
}

static PyMethodDef options_methods[] = {
    {"redacts", (PyCFunction)(void (*)(void))options_redacts, METH_FASTCALL, NULL},
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

/* `name` is that of the argument, for errors. */
static int parse_what(const char *name, PyObject *given, unsigned *ret_what)
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
                PyErr_Format(PyExc_TypeError, "%s must be a str or an iterable of str, not %.200s", name,
                             Py_TYPE(given)->tp_name);
            return -1;
        }
        while ((item = PyIter_Next(iterator))) {
            int error = 0;
            if (!PyUnicode_Check(item)) {
                PyErr_Format(PyExc_TypeError, "%s must be a str or an iterable of str, not of %.200s", name,
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
    "    callable that is called with name and value and returns whether it is: with those of locals at the copy;\n"
    "    with those of context variables, items of dicts whose key is a str, and native locals (the value as text, or\n"
    "    None) when a report is made. If it raises, the value is secret. Such values are not kept in locals, nor\n"
    "    shown in reports. Nothing is secret if nothing is said here.\n"
    "render: 'lazy' keeps values and shows them as they are when a report is made; 'eager' calls repr() at the copy "
    "and\n"
    "    keeps the text alone.\n"
    "max_kept: how many snapshots keep locals, native stack and thread state at one time; the oldest give them "
    "back.\n\n"
    ">>> import xctx\n"
    ">>> before = xctx.get_default_capture()\n"
    ">>> xctx.set_default_capture('stack', max_frames=10)\n"
    ">>> xctx.copy_context().snapshot.captured\n"
    "('stack',)\n"
    ">>> xctx.set_default_capture(**before)");

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
    if ((what && parse_what("what", what, &options->what)) || set_redact(options, redact)) {
        Py_DECREF(options);
        return NULL;
    }
    OptionsObject *before = xctx_options;
    xctx_options = options;
    xctx_capture_default = options->what;
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

PyDoc_STRVAR(get_default_capture_doc, "get_default_capture($module, /)\n--\n\n"
                                      "What set_default_capture() said: a dictionary of its arguments, so that\n"
                                      "set_default_capture(**get_default_capture()) changes nothing.");

static PyObject *get_default_capture(PyObject *module, PyObject *ignored)
{
    OptionsObject *options = xctx_options;
    char what[64];
    int used = 0;

    (void)module;
    (void)ignored;
    for (unsigned i = 0; i < XCTX_CAPTURE_KINDS; i++) {
        if (options->what & 1u << i)
            used += snprintf(what + used, sizeof(what) - (size_t)used, "%s%s", used ? "," : "", xctx_capture_names[i]);
    }
    return Py_BuildValue("{s:s,s:i,s:i,s:n,s:O,s:s,s:n}", "what", used ? what : "none", "max_frames",
                         options->max_frames, "depth", options->depth, "max_repr", options->max_repr, "redact",
                         options->redact ? options->redact : Py_None, "render", options->eager ? "eager" : "lazy",
                         "max_kept", options->max_kept);
}

PyDoc_STRVAR(parse_capture_doc, "_parse_capture(capture)\n--\n\n"
                                "The bits of what set_default_capture() takes as words, for install().");

static PyObject *parse_capture(PyObject *module, PyObject *given)
{
    unsigned what;

    (void)module;
    return parse_what("capture", given, &what) ? NULL : PyLong_FromUnsignedLong(what);
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

/* What is said now: for contexts that were made without a capture. */
static PyObject *get_options(PyObject *module, PyObject *ignored)
{
    (void)module;
    (void)ignored;
    return Py_NewRef((PyObject *)xctx_options);
}

static PyMethodDef options_functions[] = {
    {"set_default_capture", (PyCFunction)(void (*)(void))set_default_capture, METH_VARARGS | METH_KEYWORDS,
     set_default_capture_doc},
    {"get_default_capture", get_default_capture, METH_NOARGS, get_default_capture_doc},
    {"_options", get_options, METH_NOARGS, NULL},
    {"_parse_capture", parse_capture, METH_O, parse_capture_doc},
    {NULL, NULL, 0, NULL},
};

int xctx_options_init(PyObject *module)
{
    if (PyType_Ready(&options_type))
        return -1;
    if (!xctx_options) {
        xctx_options = options_new();
        if (!xctx_options)
            return -1;
        xctx_options->what = xctx_capture_default = what_from_environment();
    }
    return PyModule_AddFunctions(module, options_functions);
}
