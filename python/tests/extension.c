/* SPDX-License-Identifier: MIT */
/* An extension as users write them, for the tests: variables read and set by C code, with and without the GIL, on
   Python's threads and its own. */
#define PY_SSIZE_T_CLEAN
#include <xctx/python.h>

#include <errno.h>
#include <fenv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xctx/xctx.h>

static void *text_retain(void *text)
{
    char *copy = strdup(text);
    return copy ? copy : XCTX_RESERVED_VALUE;
}

static XCTX_VAR_DEFINE(request, .retain = text_retain, .release = free);
static XCTX_VAR_DEFINE(borrowed);
static XCTX_VAR_DEFINE(unknown); /* to Python */

static PyObject *text_or_none(const char *text)
{
    return text ? PyUnicode_FromString(text) : Py_BuildValue("");
}

static PyObject *error_or_none(int error)
{
    if (!error)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_OSError, xctx_strerror(error));
    return NULL;
}

/* variable(name): the ContextVar for one of the above. */
static PyObject *variable(PyObject *self, PyObject *name)
{
    (void)self;
    const char *text = PyUnicode_AsUTF8(name);
    if (!text)
        return NULL;
    if (strcmp(text, "request") == 0)
        return xctx_python_variable(&request, (PyObject *)&PyUnicode_Type, NULL);
    return xctx_python_variable(&borrowed, (PyObject *)&PyUnicode_Type, NULL);
}

static PyObject *capsule(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyCapsule_New(&request, "xctx_var", NULL);
}

/* read(variable): the text, with the GIL. read_without_gil(variable): without. */
static PyObject *read_with_gil(PyObject *self, PyObject *variable)
{
    (void)self;
    xctx_var *var = xctx_python_var(variable);
    return var ? text_or_none(xctx_var_get(var)) : NULL;
}

static PyObject *read_without_gil(PyObject *self, PyObject *variable)
{
    (void)self;
    xctx_var *var = xctx_python_var(variable);
    char *text;
    if (!var)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    const char *value = xctx_var_get(var);
    text = value ? strdup(value) : NULL;
    Py_END_ALLOW_THREADS
    PyObject *result = text_or_none(text);
    free(text);
    return result;
}

static PyObject *read_int(PyObject *self, PyObject *variable)
{
    (void)self;
    xctx_var *var = xctx_python_var(variable);
    return var ? PyLong_FromSsize_t((Py_ssize_t)(intptr_t)xctx_var_get(var)) : NULL;
}

static PyObject *read_float(PyObject *self, PyObject *variable)
{
    (void)self;
    xctx_var *var = xctx_python_var(variable);
    const double *number = var ? xctx_var_get(var) : NULL;
    return number ? PyFloat_FromDouble(*number) : var ? Py_BuildValue("") : NULL;
}

static PyObject *read_bytes(PyObject *self, PyObject *variable)
{
    (void)self;
    xctx_var *var = xctx_python_var(variable);
    const xctx_python_bytes *bytes = var ? xctx_var_get(var) : NULL;
    return bytes ? PyBytes_FromStringAndSize(bytes->data, (Py_ssize_t)bytes->size) : var ? Py_BuildValue("") : NULL;
}

static PyObject *read_object(PyObject *self, PyObject *variable)
{
    (void)self;
    xctx_var *var = xctx_python_var(variable);
    const xctx_python_object *object = var ? xctx_var_get(var) : NULL;
    if (object)
        Py_INCREF(object->object);
    return object ? object->object : var ? Py_BuildValue("") : NULL;
}

static PyObject *set_text(PyObject *arguments, int release)
{
    PyObject *variable;
    const char *text;
    if (!PyArg_ParseTuple(arguments, "Oz", &variable, &text))
        return NULL;
    xctx_var *var = xctx_python_var(variable);
    if (!var)
        return NULL;
    int error;
    if (release) {
        Py_BEGIN_ALLOW_THREADS
        error = xctx_var_set(var, (void *)(uintptr_t)text, NULL);
        Py_END_ALLOW_THREADS
    } else {
        error = xctx_var_set(var, (void *)(uintptr_t)text, NULL);
    }
    return error_or_none(error);
}

static PyObject *set_with_gil(PyObject *self, PyObject *arguments)
{
    (void)self;
    return set_text(arguments, 0);
}

static PyObject *set_without_gil(PyObject *self, PyObject *arguments)
{
    (void)self;
    return set_text(arguments, 1);
}

/* A variable that Python does not know. */
static PyObject *set_unknown(PyObject *self, PyObject *number)
{
    (void)self;
    return error_or_none(xctx_var_set(&unknown, (void *)(intptr_t)PyLong_AsLong(number), NULL));
}

static PyObject *read_unknown(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyLong_FromLong((long)(intptr_t)xctx_var_get(&unknown));
}

static PyObject *publish(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return xctx_python_publish() ? NULL : Py_BuildValue("");
}

/* enter(): has Python's context be the one that came along. */
static PyObject *enter(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return xctx_python_enter() ? NULL : Py_BuildValue("");
}

/* scope(): an object whose __enter__ sets `request` with a token of C's, and whose __exit__ resets it. */
static xctx_token scope_token;

static PyObject *scope_begin(PyObject *self, PyObject *text)
{
    (void)self;
    const char *utf8 = PyUnicode_AsUTF8(text);
    return utf8 ? error_or_none(xctx_var_set(&request, (void *)(uintptr_t)utf8, &scope_token)) : NULL;
}

static PyObject *scope_end(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return error_or_none(xctx_var_reset(&request, &scope_token));
}

/* Sets what the thread's rounding is where the current context runs, and nothing else now. */
static PyObject *set_rounding(PyObject *self, PyObject *up)
{
    const xctx_var_options *options = xctx_var_get_options(&xctx_state_fpenv);
    int before = fegetround();
    (void)self;
    fesetround(PyObject_IsTrue(up) ? FE_UPWARD : FE_TONEAREST);
    void *value = options->capture();
    fesetround(before);
    int error = xctx_var_set(&xctx_state_fpenv, value, NULL);
    options->release(value);
    return error_or_none(error);
}

static PyObject *rounding(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyUnicode_FromString(fegetround() == FE_UPWARD ? "upward" : "nearest");
}

/* let(text, callable): calls it in a scoped binding. */
static PyObject *let(PyObject *self, PyObject *arguments)
{
    const char *text;
    PyObject *callable, *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "sO", &text, &callable))
        return NULL;
    XCTX_LET (&request, (void *)(uintptr_t)text)
        result = PyObject_CallObject(callable, NULL);
    return result;
}

/* entered(text, callable): calls it in a native context of its own. */
static PyObject *entered(PyObject *self, PyObject *arguments)
{
    const char *text;
    PyObject *callable;
    (void)self;
    if (!PyArg_ParseTuple(arguments, "sO", &text, &callable))
        return NULL;
    xctx_context *context = xctx_new();
    if (!context || xctx_enter(context))
        return PyErr_NoMemory();
    (void)xctx_var_set(&request, (void *)(uintptr_t)text, NULL);
    PyObject *result = PyObject_CallObject(callable, NULL);
    int error = xctx_exit(context);
    xctx_unref(context);
    if (error) {
        Py_XDECREF(result);
        return error_or_none(error);
    }
    return result;
}

/* What a thread of ours does: reads without the GIL, then calls Python. */
struct job {
    xctx_var *var;      /* may be NULL */
    PyObject *callable; /* may be NULL */
    PyObject *first;    /* is called before, on its own; may be NULL */
    char *text;
    PyObject *result;
    PyObject *error;
};

static void *work(void *arg)
{
    struct job *job = arg;
    const char *text = job->var ? xctx_var_get(job->var) : NULL;
    job->text = text ? strdup(text) : NULL;
    if (job->first) {
        PyGILState_STATE state = PyGILState_Ensure();
        PyObject *result = PyObject_CallObject(job->first, NULL);
        Py_XDECREF(result);
        PyErr_Clear();
        PyGILState_Release(state); /* the thread state goes */
    }
    if (job->callable) {
        PyGILState_STATE state = PyGILState_Ensure();
        job->result = PyObject_CallObject(job->callable, NULL);
        if (!job->result) {
            PyObject *type, *traceback;
            PyErr_Fetch(&type, &job->error, &traceback);
            Py_XDECREF(type);
            Py_XDECREF(traceback);
        }
        PyGILState_Release(state);
    }
    return NULL;
}

static void *call_bound(void *bound)
{
    xctx_bound_call(bound);
    xctx_bound_unref(bound); /* the last reference, without the GIL */
    return NULL;
}

static void *call_in_context(void *arg)
{
    void **pair = arg;
    xctx_context *context = pair[0];
    if (xctx_enter(context) == 0) {
        work(pair[1]);
        (void)xctx_exit(context);
    }
    xctx_unref(context);
    return NULL;
}

static PyObject *job_result(struct job *job)
{
    PyObject *text = text_or_none(job->text);
    free(job->text);
    if (job->error) {
        PyErr_SetObject((PyObject *)Py_TYPE(job->error), job->error);
        Py_DECREF(job->error);
        Py_XDECREF(text);
        return NULL;
    }
    PyObject *result = job->result ? job->result : Py_BuildValue("");
    return text ? Py_BuildValue("(NN)", text, result) : NULL;
}

static PyObject *on_thread(PyObject *arguments, const char *how)
{
    PyObject *variable, *callable, *context = NULL;
    if (!PyArg_ParseTuple(arguments, "OO|O", &variable, &callable, &context))
        return NULL;
    struct job job = {.callable = callable == Py_None ? NULL : callable};
    if (context && PyCallable_Check(context))
        job.first = context;
    if (variable != Py_None && !(job.var = xctx_python_var(variable)))
        return NULL;
    pthread_t thread;
    int error = 0;
    void *pair[2] = {NULL, &job};
    if (strcmp(how, "bound") == 0) {
        xctx_bound *bound = xctx_bind(work, &job);
        error = bound ? pthread_create(&thread, NULL, call_bound, bound) : ENOMEM;
    } else if (strcmp(how, "context") == 0) {
        pair[0] = xctx_python_context(context);
        if (!pair[0])
            return NULL;
        error = pthread_create(&thread, NULL, call_in_context, pair);
    } else if (strcmp(how, "released") == 0) {
        Py_BEGIN_ALLOW_THREADS
        error = xctx_thread_create(&thread, NULL, work, &job);
        Py_END_ALLOW_THREADS
    } else {
        error = xctx_thread_create(&thread, NULL, work, &job);
    }
    if (error)
        return error_or_none(-error);
    Py_BEGIN_ALLOW_THREADS
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    return job_result(&job);
}

static PyObject *on_bound_thread(PyObject *self, PyObject *arguments)
{
    (void)self;
    return on_thread(arguments, "bound");
}

static PyObject *on_new_thread(PyObject *self, PyObject *arguments)
{
    (void)self;
    return on_thread(arguments, "new");
}

static PyObject *on_thread_made_without_gil(PyObject *self, PyObject *arguments)
{
    (void)self;
    return on_thread(arguments, "released");
}

static PyObject *on_thread_in_context(PyObject *self, PyObject *arguments)
{
    (void)self;
    return on_thread(arguments, "context");
}

/* keep(): a native copy of the current context, kept until drop(), or for ever. */
static xctx_context *kept;

static PyObject *keep(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    xctx_unref(kept);
    kept = xctx_copy_current();
    Py_RETURN_NONE;
}

static void *drop_kept(void *unused)
{
    (void)unused;
    xctx_unref(kept);
    kept = NULL;
    return NULL;
}

/* On a thread that Python does not know. */
static PyObject *drop(PyObject *self, PyObject *unused)
{
    pthread_t thread;
    (void)self;
    (void)unused;
    if (pthread_create(&thread, NULL, drop_kept, NULL))
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS
    pthread_join(thread, NULL);
    Py_END_ALLOW_THREADS
    Py_RETURN_NONE;
}

/* A thread that drops what is kept when the process is almost at its end. */
static void *drop_late(void *unused)
{
    struct timespec pause = {.tv_nsec = 200 * 1000 * 1000};
    nanosleep(&pause, NULL);
    return drop_kept(unused);
}

static pthread_t late;

static void join_late(void)
{
    pthread_join(late, NULL);
}

static PyObject *drop_at_exit(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    if (pthread_create(&late, NULL, drop_late, NULL) || Py_AtExit(join_late))
        return PyErr_NoMemory();
    Py_RETURN_NONE;
}

/* look_at_exit(): never returns; looks for the current context, without the GIL, once more after Python has ended.
   looks(): whether it waits for that. */
static _Atomic int looks_now, python_has_ended, has_looked;

static void wait_for(_Atomic int *flag)
{
    const struct timespec pause = {.tv_nsec = 1000 * 1000};
    for (int i = 0; i < 10 * 1000 && !*flag; i++)
        nanosleep(&pause, NULL);
}

static void end_python(void)
{
    python_has_ended = 1;
    wait_for(&has_looked);
    if (!has_looked)
        abort();
}

static PyObject *look_at_exit(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    if (Py_AtExit(end_python))
        return PyErr_NoMemory();
    Py_BEGIN_ALLOW_THREADS(void)
    xctx_current();
    looks_now = 1;
    while (!python_has_ended)
        wait_for(&python_has_ended);
    (void)xctx_current();
    has_looked = 1;
    for (;;)
        pause();
    Py_END_ALLOW_THREADS
    Py_UNREACHABLE();
}

static PyObject *looks(PyObject *self, PyObject *unused)
{
    (void)self;
    (void)unused;
    return PyBool_FromLong(looks_now);
}

static PyMethodDef functions[] = {
    {"variable", variable, METH_O, NULL},
    {"capsule", capsule, METH_NOARGS, NULL},
    {"read", read_with_gil, METH_O, NULL},
    {"read_without_gil", read_without_gil, METH_O, NULL},
    {"read_int", read_int, METH_O, NULL},
    {"read_float", read_float, METH_O, NULL},
    {"read_bytes", read_bytes, METH_O, NULL},
    {"read_object", read_object, METH_O, NULL},
    {"set", set_with_gil, METH_VARARGS, NULL},
    {"set_without_gil", set_without_gil, METH_VARARGS, NULL},
    {"set_unknown", set_unknown, METH_O, NULL},
    {"read_unknown", read_unknown, METH_NOARGS, NULL},
    {"publish", publish, METH_NOARGS, NULL},
    {"scope_begin", scope_begin, METH_O, NULL},
    {"scope_end", scope_end, METH_NOARGS, NULL},
    {"set_rounding", set_rounding, METH_O, NULL},
    {"rounding", rounding, METH_NOARGS, NULL},
    {"let", let, METH_VARARGS, NULL},
    {"entered", entered, METH_VARARGS, NULL},
    {"enter", enter, METH_NOARGS, NULL},
    {"on_bound_thread", on_bound_thread, METH_VARARGS, NULL},
    {"on_new_thread", on_new_thread, METH_VARARGS, NULL},
    {"on_thread_made_without_gil", on_thread_made_without_gil, METH_VARARGS, NULL},
    {"on_thread_in_context", on_thread_in_context, METH_VARARGS, NULL},
    {"keep", keep, METH_NOARGS, NULL},
    {"drop", drop, METH_NOARGS, NULL},
    {"drop_at_exit", drop_at_exit, METH_NOARGS, NULL},
    {"look_at_exit", look_at_exit, METH_NOARGS, NULL},
    {"looks", looks, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "xctx_extension", .m_size = -1,
                                        .m_methods = functions};

PyMODINIT_FUNC PyInit_xctx_extension(void);

__attribute__((visibility("default"))) PyMODINIT_FUNC PyInit_xctx_extension(void)
{
    return xctx_python_import() ? NULL : PyModule_Create(&definition);
}
