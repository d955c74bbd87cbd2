/* SPDX-License-Identifier: MIT */
/*
 * Code for CPython's contextvars, without Python.
 *
 * The functions below are as in an extension module for Python: PyContext_* and PyContextVar_* and reference counts.
 * Here they run on libxctx, in a program with no Python in it, on any thread and with no interpreter's lock.
 *
 *     cc -pthread -o pycontext pycontext.c $(pkg-config --cflags --libs xctx)
 *
 * It prints what two contexts see of one variable.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include <xctx/pycontext.h>

static PyObject *language;

/* Values are any pointers; these are texts of this program's own, which nobody counts. */
static PyObject *text(const char *value)
{
    return (PyObject *)value;
}

/* Prints what the variable is here. Returns 0, or -1. */
static int say(const char *where)
{
    PyObject *value;

    if (PyContextVar_Get(language, NULL, &value) != 0)
        return -1;
    printf("%-28s %s\n", where, value ? (const char *)value : "(none)");
    Py_XDECREF(value);
    return 0;
}

/* Sets the variable, looks, and undoes that. Returns 0, or -1. */
static int try_out(const char *value)
{
    PyObject *token = PyContextVar_Set(language, text(value));

    if (!token)
        return -1;
    int result = say("for a while:");
    if (PyContextVar_Reset(language, token) != 0)
        result = -1;
    Py_DECREF(token);
    return result;
}

/* Works in the copy that it is given. */
static void *in_thread(void *argument)
{
    PyObject *context = argument;
    int result = say("a thread of its own:");

    if (PyContext_Enter(context) != 0)
        return NULL;
    if (say("the thread, in the copy:") != 0 || try_out("Danish") != 0)
        result = -1;
    PyObject *token = PyContextVar_Set(language, text("Finnish"));
    if (!token || say("the thread has changed it:") != 0)
        result = -1;
    Py_XDECREF(token);
    if (PyContext_Exit(context) != 0)
        result = -1;
    return result == 0 ? argument : NULL;
}

static int run(void)
{
    pthread_t thread;
    void *result = NULL;
    int status = -1;

    PyObject *token = PyContextVar_Set(language, text("Swedish"));
    PyObject *context = token ? PyContext_CopyCurrent() : NULL;
    if (context && say("here:") == 0 && pthread_create(&thread, NULL, in_thread, context) == 0) {
        pthread_join(thread, &result);
        if (result && say("here, as before:") == 0)
            status = 0;
    }
    /* Another one may not reset it, though it has the variable too. */
    if (status == 0 && PyContext_Enter(context) == 0) {
        status = say("here, in the copy:");
        if (PyContextVar_Reset(language, token) == 0)
            status = -1;
        else
            printf("%-28s refused\n", "a token of the original:");
        if (PyContext_Exit(context) != 0)
            status = -1;
    }
    if (status == 0 && PyContextVar_Reset(language, token) == 0)
        status = say("here, undone:");
    Py_XDECREF(context);
    Py_XDECREF(token);
    return status;
}

int main(void)
{
    language = PyContextVar_New("language", text("English"));
    if (!language) {
        fprintf(stderr, "pycontext: no memory\n");
        return EXIT_FAILURE;
    }
    int status = run();
    Py_CLEAR(language);
    if (status != 0)
        fprintf(stderr, "pycontext: a call failed\n");
    return fflush(stdout) == 0 && status == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
