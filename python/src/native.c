/* SPDX-License-Identifier: MIT */
/*
 * Variables with a type: what ContextVar does for those that libxctx holds the values of.
 *
 * Values are converted at set and get; <xctx/python.h> says to what. libxctx copies what values point to (retain), so
 * that C code and Python set a variable in the same way, and nobody's memory has to stay. Tokens know the value that
 * was there before as Python sees it, and the builtin context that they were made in.
 */
#include <xctx/follow.h>

#include "native.h"

enum kind { KIND_STR, KIND_BYTES, KIND_INT, KIND_FLOAT, KIND_BOOL, KIND_OBJECT };

/* VariableObject.native. */
struct native {
    xctx_var *var;
    enum kind kind;
    bool foreign; /* C code's */
    bool settable;
    PyObject *keeper;          /* what keeps C code's variable there; NULL: nothing */
    xctx_python_object object; /* what `var` has as its initial value, if it is ours and of type object */
};

/* From xctx_var to ContextVar: a dict of addresses to weak references, for looking into contexts and for C code's. */
static PyObject *known;

/* ---- values ---- */

static void *text_retain(void *value)
{
    char *copy = strdup(value);
    return copy ? copy : XCTX_RESERVED_VALUE;
}

static int text_format(void *value, char *text, size_t size)
{
    return snprintf(text, size, "%s", value ? (const char *)value : "");
}

static void *bytes_retain(void *value)
{
    const xctx_python_bytes *bytes = value;
    xctx_python_bytes *copy = malloc(sizeof(*copy) + bytes->size);

    if (!copy)
        return XCTX_RESERVED_VALUE;
    if (bytes->size)
        memcpy(copy + 1, bytes->data, bytes->size);
    *copy = (xctx_python_bytes){.size = bytes->size, .data = copy + 1};
    return copy;
}

static int bytes_format(void *value, char *text, size_t size)
{
    return snprintf(text, size, "%zu bytes", value ? ((const xctx_python_bytes *)value)->size : 0);
}

static void *float_retain(void *value)
{
    double *copy = malloc(sizeof(*copy));
    if (!copy)
        return XCTX_RESERVED_VALUE;
    *copy = *(const double *)value;
    return copy;
}

static int float_format(void *value, char *text, size_t size)
{
    return value ? snprintf(text, size, "%.17g", *(const double *)value) : snprintf(text, size, "none");
}

static int int_format(void *value, char *text, size_t size)
{
    return snprintf(text, size, "%lld", (long long)(intptr_t)value);
}

static int bool_format(void *value, char *text, size_t size)
{
    return snprintf(text, size, "%s", value ? "True" : "False");
}

/* Nothing of the object is looked at: whoever asks need not have the GIL. */
static int object_format(void *value, char *text, size_t size)
{
    return snprintf(text, size, "a Python object at %p", value ? (void *)((xctx_python_object *)value)->object : NULL);
}

static const xctx_var_options options_of[] = {
    [KIND_STR] = {.size = sizeof(xctx_var_options), .retain = text_retain, .release = free, .format = text_format},
    [KIND_BYTES] = {.size = sizeof(xctx_var_options), .retain = bytes_retain, .release = free, .format = bytes_format},
    [KIND_INT] = {.size = sizeof(xctx_var_options), .format = int_format},
    [KIND_FLOAT] = {.size = sizeof(xctx_var_options), .retain = float_retain, .release = free, .format = float_format},
    [KIND_BOOL] = {.size = sizeof(xctx_var_options), .format = bool_format},
    [KIND_OBJECT] = {.size = sizeof(xctx_var_options),
                     .retain = xctx_box_retain,
                     .release = xctx_box_release,
                     .format = object_format},
};

static int kind_of(PyObject *type, enum kind *ret_kind)
{
    const struct {
        PyTypeObject *type;
        enum kind kind;
    } kinds[] = {
        {&PyUnicode_Type, KIND_STR}, {&PyBytes_Type, KIND_BYTES}, {&PyLong_Type, KIND_INT},
        {&PyFloat_Type, KIND_FLOAT}, {&PyBool_Type, KIND_BOOL},   {&PyBaseObject_Type, KIND_OBJECT},
    };

    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if ((PyObject *)kinds[i].type == type) {
            *ret_kind = kinds[i].kind;
            return 0;
        }
    }
    PyErr_Format(PyExc_TypeError, "type must be str, bytes, int, float, bool or object, not %R", type);
    return -1;
}

/* A value for xctx_var_set(), pointing into the object or into this. */
union converted {
    double number;
    xctx_python_bytes bytes;
    xctx_python_object object;
};

static int wrong_type(const VariableObject *self, const char *wanted, PyObject *value)
{
    PyErr_Format(PyExc_TypeError, "%R holds values of type %s, not %.200s", (PyObject *)self, wanted,
                 Py_TYPE(value)->tp_name);
    return -1;
}

static int text_from(VariableObject *self, PyObject *value, void **ret)
{
    Py_ssize_t size;

    if (!PyUnicode_Check(value))
        return wrong_type(self, "str", value);
    const char *text = PyUnicode_AsUTF8AndSize(value, &size);
    if (!text)
        return -1;
    if (strlen(text) != (size_t)size) {
        PyErr_SetString(PyExc_ValueError, "embedded null character");
        return -1;
    }
    *ret = (void *)(uintptr_t)text;
    return 0;
}

static int int_from(VariableObject *self, PyObject *value, void **ret)
{
    if (!PyLong_Check(value))
        return wrong_type(self, "int", value);
    Py_ssize_t number = PyLong_AsSsize_t(value);
    if (number == -1 && PyErr_Occurred())
        return -1;
    *ret = (void *)number;
    if (*ret == XCTX_RESERVED_VALUE) {
        PyErr_SetString(PyExc_OverflowError, "this one int cannot be the value of a variable of type int");
        return -1;
    }
    return 0;
}

static int from_python(VariableObject *self, PyObject *value, union converted *converted, void **ret)
{
    *ret = converted;
    switch (((struct native *)self->native)->kind) {
    case KIND_STR:
        return text_from(self, value, ret);
    case KIND_BYTES:
        if (!PyBytes_Check(value))
            return wrong_type(self, "bytes", value);
        converted->bytes =
            (xctx_python_bytes){.size = (size_t)PyBytes_GET_SIZE(value), .data = PyBytes_AS_STRING(value)};
        return 0;
    case KIND_INT:
        return int_from(self, value, ret);
    case KIND_FLOAT:
        if (!PyFloat_Check(value) && !PyLong_Check(value))
            return wrong_type(self, "float", value);
        converted->number = PyFloat_AsDouble(value);
        return converted->number == -1.0 && PyErr_Occurred() ? -1 : 0;
    case KIND_BOOL:
        if (!PyBool_Check(value))
            return wrong_type(self, "bool", value);
        *ret = (void *)(uintptr_t)(value == Py_True);
        return 0;
    case KIND_OBJECT:
        converted->object.object = value;
        return 0;
    }
    Py_UNREACHABLE();
}

/* New. NULL stands for None where a value would be pointed to: C code can set it. */
static PyObject *to_python(const struct native *native, void *value)
{
    if (native->kind == KIND_INT)
        return PyLong_FromSsize_t((Py_ssize_t)value);
    if (native->kind == KIND_BOOL)
        return PyBool_FromLong(value != NULL);
    if (!value)
        Py_RETURN_NONE;
    switch (native->kind) {
    case KIND_STR:
        return PyUnicode_DecodeUTF8(value, (Py_ssize_t)strlen(value), "replace");
    case KIND_BYTES:
        return PyBytes_FromStringAndSize(((xctx_python_bytes *)value)->data,
                                         (Py_ssize_t)((xctx_python_bytes *)value)->size);
    case KIND_FLOAT:
        return PyFloat_FromDouble(*(double *)value);
    default:
        return Py_NewRef(((xctx_python_object *)value)->object);
    }
}

static int raise_error(int error)
{
    if (error == -ENOMEM)
        PyErr_NoMemory();
    else
        PyErr_SetString(PyExc_RuntimeError, xctx_strerror(error));
    return -1;
}

/* ---- variables ---- */

static int is_supported(void)
{
    if (xctx_follow_supported())
        return 1;
    PyErr_SetString(PyExc_NotImplementedError,
                    "this Python interpreter keeps its contexts in a way that variables with a type are not made for");
    return 0;
}

/* Notes that the variable is `self`'s. */
static int learn(VariableObject *self, xctx_var *var)
{
    PyObject *address = PyLong_FromVoidPtr(var);
    PyObject *reference = address ? PyWeakref_NewRef((PyObject *)self, NULL) : NULL;
    int error = reference ? PyDict_SetItem(known, address, reference) : -1;

    Py_XDECREF(address);
    Py_XDECREF(reference);
    return error;
}

/* The ContextVar of a variable, new; NULL without an exception: none. */
static PyObject *recall(xctx_var *var)
{
    PyObject *address = PyLong_FromVoidPtr(var);
    PyObject *reference = address ? PyDict_GetItemWithError(known, address) : NULL;
    PyObject *self = reference ? PyObject_CallNoArgs(reference) : NULL;

    Py_XDECREF(address);
    if (self == Py_None)
        Py_CLEAR(self);
    return self;
}

/* A ContextVar of the variable goes. Another one may have come meanwhile, made by the callback of a weak reference. */
static void forget(xctx_var *var)
{
    PyObject *raised = PyErr_GetRaisedException();
    PyObject *other = recall(var);
    PyObject *address = other ? NULL : PyLong_FromVoidPtr(var);

    if (address && PyDict_DelItem(known, address))
        PyErr_Clear();
    Py_XDECREF(address);
    Py_XDECREF(other);
    PyErr_SetRaisedException(raised);
}

/* A variable of ours; the default is its initial value in C, too. */
static xctx_var *create(VariableObject *self, struct native *native)
{
    xctx_var_options options = options_of[native->kind];
    union converted converted;
    const char *name = PyUnicode_AsUTF8(self->name);

    if (!name)
        return NULL;
    if (self->default_value) {
        void *value;
        if (from_python(self, self->default_value, &converted, &value))
            return NULL;
        if (native->kind == KIND_OBJECT) {
            native->object.object = self->default_value; /* lives as long as this */
            options.initial = &native->object;
        } else {
            options.initial = options.retain ? options.retain(value) : value;
        }
        if (options.initial == XCTX_RESERVED_VALUE) {
            PyErr_NoMemory();
            return NULL;
        }
    }
    xctx_var *var = xctx_var_create(name, &options);
    if (!var) {
        if (options.release == free)
            free(options.initial);
        PyErr_NoMemory();
    }
    return var;
}

int xctx_native_variable_init(VariableObject *self, PyObject *type)
{
    enum kind kind;

    if (!is_supported() || kind_of(type, &kind) || xctx_follow_thread())
        return -1;
    struct native *native = calloc(1, sizeof(*native));
    if (!native) {
        PyErr_NoMemory();
        return -1;
    }
    self->native = native;
    native->kind = kind;
    native->settable = true;
    native->var = create(self, native);
    return native->var ? learn(self, native->var) : -1;
}

PyObject *xctx_native_wrap(xctx_var *var, PyObject *type, PyObject *default_value)
{
    enum kind kind;

    if (!var) {
        PyErr_SetString(PyExc_ValueError, "no variable");
        return NULL;
    }
    if (!is_supported() || kind_of(type, &kind) || xctx_follow_thread())
        return NULL;
    PyObject *before = recall(var);
    if (before || PyErr_Occurred())
        return before;
    PyObject *name = PyUnicode_DecodeUTF8(xctx_var_name(var), (Py_ssize_t)strlen(xctx_var_name(var)), "replace");
    VariableObject *self = name ? xctx_variable_alloc(name, default_value) : NULL;
    Py_XDECREF(name);
    if (!self)
        return NULL;
    PyObject_GC_Track(self);
    struct native *native = calloc(1, sizeof(*native));
    if (!native) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    *native = (struct native){.var = var,
                              .kind = kind,
                              .foreign = true,
                              .settable = kind == KIND_INT || kind == KIND_BOOL || var->options_.retain};
    self->native = native;
    if (learn(self, var)) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

void xctx_native_variable_clear(VariableObject *self)
{
    const struct native *native = self->native;

    /* Borrowed from default_value, all others being copies. */
    if (native->kind == KIND_OBJECT && !native->foreign && native->var)
        native->var->options_.initial = NULL;
}

void xctx_native_variable_finish(VariableObject *self)
{
    struct native *native = self->native;

    xctx_native_variable_clear(self);
    self->native = NULL;
    if (native->var) {
        forget(native->var);
        if (!native->foreign) {
            void *initial = native->var->options_.initial;
            if (options_of[native->kind].release == free)
                native->var->options_.initial = NULL;
            else
                initial = NULL;
            xctx_var_unref(native->var);
            free(initial);
        }
    }
    Py_XDECREF(native->keeper);
    free(native);
}

xctx_var *xctx_native_var(PyObject *variable)
{
    if (!VariableObject_Check(variable) || !((VariableObject *)variable)->native) {
        PyErr_Format(PyExc_TypeError, "an xctx.ContextVar with a type was expected, got %R", variable);
        return NULL;
    }
    return ((struct native *)((VariableObject *)variable)->native)->var;
}

static const char capsule_name[] = "xctx_var";

PyObject *xctx_native_from_capsule(PyObject *class, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"", "type", "default", NULL};
    PyObject *capsule, *type = NULL, *default_value = NULL;

    (void)class;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "O|$OO:from_capsule", names, &capsule, &type, &default_value))
        return NULL;
    if (!type) {
        PyErr_SetString(PyExc_TypeError, "from_capsule() missing 1 required keyword-only argument: 'type'");
        return NULL;
    }
    if (!PyCapsule_IsValid(capsule, capsule_name)) {
        PyErr_Format(PyExc_TypeError, "a capsule with the name \"xctx_var\" was expected, got %R", capsule);
        return NULL;
    }
    PyObject *self = xctx_native_wrap(PyCapsule_GetPointer(capsule, capsule_name), type, default_value);
    struct native *native = self ? ((VariableObject *)self)->native : NULL;
    /* Not a capsule that it has made itself: neither would ever go. */
    if (native && native->foreign && !native->keeper && PyCapsule_GetContext(capsule) != self)
        native->keeper = Py_NewRef(capsule);
    return self;
}

static void release_variable(PyObject *capsule)
{
    Py_XDECREF((PyObject *)PyCapsule_GetContext(capsule));
}

PyObject *xctx_native_capsule(VariableObject *self, void *closure)
{
    (void)closure;
    if (!self->native)
        Py_RETURN_NONE;
    PyObject *capsule = PyCapsule_New(((struct native *)self->native)->var, capsule_name, release_variable);
    if (capsule && PyCapsule_SetContext(capsule, Py_NewRef((PyObject *)self)) == 0)
        return capsule;
    Py_XDECREF(capsule);
    return NULL;
}

/* ---- get, set, reset ---- */

/* The value in the current context, new, NULL without an exception if it is not set. */
static PyObject *find(const struct native *native)
{
    void *value;
    xctx_context *current = xctx_current();

    return current && xctx_lookup(current, native->var, &value) == 1 ? to_python(native, value) : NULL;
}

/* Before each: what may have happened without us; and what that has set free. */
static int begin(void)
{
    if (xctx_follow_thread())
        return -1;
    xctx_carry_drain();
    return 0;
}

int xctx_native_get(VariableObject *self, PyObject *default_value, PyObject **ret_value)
{
    const struct native *native = self->native;

    if (begin())
        return -1;
    *ret_value = find(native);
    if (!*ret_value && !PyErr_Occurred()) {
        if (default_value)
            *ret_value = Py_NewRef(default_value);
        else if (self->default_value)
            *ret_value = Py_NewRef(self->default_value);
        else if (native->var->options_.initial)
            *ret_value = to_python(native, native->var->options_.initial);
    }
    return PyErr_Occurred() ? -1 : 0;
}

static int put(VariableObject *self, PyObject *value)
{
    const struct native *native = self->native;
    union converted converted;
    void *word;

    if (!native->settable) {
        PyErr_Format(PyExc_TypeError, "%R is set by C code alone: it does not copy its values", (PyObject *)self);
        return -1;
    }
    if (from_python(self, value, &converted, &word))
        return -1;
    int error = xctx_var_set(native->var, word, NULL);
    return error ? raise_error(error) : 0;
}

PyObject *xctx_native_set(VariableObject *self, PyObject *value)
{
    if (begin())
        return NULL;
    PyObject *old = find(self->native);
    if (!old && PyErr_Occurred())
        return NULL;
    TokenObject *token = xctx_token_create(self);
    /* The context, so that reset() can tell whether it is the same; made now if there is none. */
    if (token && !(token->inner = xctx_current_builtin()))
        Py_CLEAR(token);
    if (token) {
        token->old_value = old ? old : Py_NewRef(xctx_token_missing());
        old = NULL;
        if (put(self, value))
            Py_CLEAR(token);
    }
    Py_XDECREF(old);
    return (PyObject *)token;
}

int xctx_native_reset(VariableObject *self, TokenObject *token)
{
    const struct native *native = self->native;

    if (begin())
        return -1;
    PyObject *current = xctx_current_builtin();
    if (!current)
        return -1;
    Py_DECREF(current);
    if (current != token->inner) {
        PyErr_Format(PyExc_ValueError, "%R was created in a different Context", (PyObject *)token);
        return -1;
    }
    if (token->old_value == xctx_token_missing()) {
        int error = xctx__var_unset(native->var);
        return error ? raise_error(error) : 0;
    }
    if (token->old_value == Py_None && native->kind != KIND_OBJECT) {
        int error = xctx_var_set(native->var, NULL, NULL); /* as C code had set it */
        return error ? raise_error(error) : 0;
    }
    return put(self, token->old_value);
}

/* ---- looking into contexts ---- */

int xctx_native_lookup(PyObject *builtin, VariableObject *self, PyObject **ret_value)
{
    const struct native *native = self->native;
    void *value;

    if (begin())
        return -1;
    xctx_context *context = xctx_state_context(builtin);
    if (!context || xctx_lookup(context, native->var, &value) != 1)
        return 0;
    *ret_value = to_python(native, value);
    return *ret_value ? 1 : -1;
}

static int add_item(xctx_var *var, void *value, void *list)
{
    PyObject *self = recall(var);

    if (!self)
        return PyErr_Occurred() ? -1 : 0;
    PyObject *object = to_python(((VariableObject *)self)->native, value);
    PyObject *item = object ? PyTuple_Pack(2, self, object) : NULL;
    int error = item ? PyList_Append(list, item) : -1;
    Py_DECREF(self);
    Py_XDECREF(object);
    Py_XDECREF(item);
    return error;
}

PyObject *xctx_native_items(PyObject *builtin)
{
    if (PyDict_GET_SIZE(known) == 0)
        return NULL;
    if (begin())
        return NULL;
    /* Held: making lists and tuples may run finalizers, which may give the builtin context another State. */
    xctx_context *context = xctx_ref(xctx_state_context(builtin));
    PyObject *list = context ? PyList_New(0) : NULL;
    int error = list ? xctx_each(context, add_item, list) : 0;
    if (error) {
        if (!PyErr_Occurred())
            raise_error(error);
        Py_CLEAR(list);
    }
    xctx_unref(context);
    return list;
}

int xctx_native_init(PyObject *module)
{
    if (!known && !(known = PyDict_New()))
        return -1;
    return xctx_carry_init() || xctx_follow_init() || xctx_capi_init(module) ? -1 : 0;
}
