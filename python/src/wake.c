/* SPDX-License-Identifier: MIT */
/*
 * Waking a thread by a signal, for register_dump().
 *
 * Python's own handlers run on the main thread, between two of its instructions: not while that waits in C code. Ours
 * writes a byte to a pipe, which is all that it does, on whatever thread the signal arrives; a thread of Python's reads
 * the pipe. The pipe does not block: if it is full, that thread has been woken already.
 *
 * The table is written under the GIL, and read by the handler, which may run at any time, on any thread. It is
 * installed after the descriptor was stored, and the descriptor is forgotten after the handler was taken away.
 */
#include "bound.h"

#include <errno.h>
#include <signal.h>
#include <unistd.h>

static volatile int descriptors[NSIG]; /* of pipes, + 1; 0: none */
static struct sigaction before[NSIG];

static void wake(int number)
{
    int saved = errno, descriptor = descriptors[number] - 1;

    if (descriptor >= 0 && write(descriptor, "", 1) < 0) {
        /* Full, or closed by somebody: nothing can be done about it here. */
    }
    errno = saved;
}

PyDoc_STRVAR(wake_doc, "_wake_on_signal(signum, descriptor)\n--\n\n"
                       "Write a byte to a descriptor at each signal. Below 0: handle the signal as before.");

static PyObject *wake_on_signal(PyObject *module, PyObject *args)
{
    struct sigaction action = {.sa_handler = wake, .sa_flags = SA_RESTART | SA_ONSTACK};
    int number, descriptor;

    (void)module;
    if (!PyArg_ParseTuple(args, "ii:_wake_on_signal", &number, &descriptor))
        return NULL;
    if (number < 1 || number >= NSIG)
        return PyErr_Format(PyExc_ValueError, "signal number out of range: %d", number);
    sigemptyset(&action.sa_mask);
    if (descriptor < 0) {
        if (descriptors[number]) {
            struct sigaction now;

            /* Somebody else's handler stays. */
            if (sigaction(number, NULL, &now) == 0 && now.sa_handler == wake)
                sigaction(number, &before[number], NULL);
            descriptors[number] = 0;
        }
        Py_RETURN_NONE;
    }
    if (descriptors[number]) { /* in a child: another pipe */
        descriptors[number] = descriptor + 1;
        Py_RETURN_NONE;
    }
    descriptors[number] = descriptor + 1;
    if (sigaction(number, &action, &before[number])) {
        descriptors[number] = 0;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {
    {"_wake_on_signal", wake_on_signal, METH_VARARGS, wake_doc},
    {NULL, NULL, 0, NULL},
};

int xctx_wake_init(PyObject *module)
{
    return PyModule_AddFunctions(module, functions);
}
