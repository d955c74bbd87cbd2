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
 *
 * The byte must not get into something else that has the pipe's number since. So whoever forgets a descriptor, to close
 * it, waits for handlers that may have read it: `inside` is raised before the table is read, and read after the table
 * was written, each sequentially consistent. And if somebody else has closed it, as programs do that close whatever is
 * open, the handler sees that by what the number refers to now.
 */
#include "bound.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MOST = 1000 }; /* milliseconds, for handlers: longer if a debugger has stopped one */

static struct {
    _Atomic int descriptor; /* of a pipe, + 1; 0: none */
    dev_t device;           /* of that; written while there is none */
    ino_t inode;
} pipes[NSIG];

static _Atomic int inside; /* handlers that run */
static struct sigaction before[NSIG];

static void wake(int number)
{
    int saved = errno;
    struct stat now;

    atomic_fetch_add(&inside, 1);
    int descriptor = atomic_load(&pipes[number].descriptor) - 1;
    if (descriptor >= 0 && fstat(descriptor, &now) == 0 && now.st_dev == pipes[number].device &&
        now.st_ino == pipes[number].inode && write(descriptor, "", 1) < 0) {
        /* Full: the thread has been woken. */
    }
    atomic_fetch_sub(&inside, 1);
    errno = saved;
}

/* In a child there is one thread, which is in no handler. */
static void after_fork(void)
{
    atomic_store(&inside, 0);
}

/* Forgets a descriptor. Whether no handler may write to it any more. With the GIL, which others have meanwhile. */
static bool forget(int number)
{
    int waited = 0;

    atomic_store(&pipes[number].descriptor, 0);
    if (atomic_load(&inside) == 0)
        return true;
    Py_BEGIN_ALLOW_THREADS
    while (atomic_load(&inside) != 0 && waited++ < WAIT_MOST)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    Py_END_ALLOW_THREADS
    return waited <= WAIT_MOST;
}

PyDoc_STRVAR(wake_doc, "_wake_on_signal(signum, descriptor)\n--\n\n"
                       "Write a byte to a pipe's descriptor at each signal. Below 0: handle the signal as before.\n\n"
                       "Return whether the descriptor that was given before may be closed: nothing will write to it.");

static PyObject *wake_on_signal(PyObject *module, PyObject *args)
{
    struct sigaction action = {.sa_handler = wake, .sa_flags = SA_RESTART | SA_ONSTACK};
    int number, descriptor;
    struct stat status;

    (void)module;
    if (!PyArg_ParseTuple(args, "ii:_wake_on_signal", &number, &descriptor))
        return NULL;
    if (number < 1 || number >= NSIG)
        return PyErr_Format(PyExc_ValueError, "signal number out of range: %d", number);
    if (descriptor >= 0 && fstat(descriptor, &status))
        return PyErr_SetFromErrno(PyExc_OSError);
    sigemptyset(&action.sa_mask);
    bool known = atomic_load(&pipes[number].descriptor) != 0;
    if (descriptor < 0 && known) {
        struct sigaction now;

        /* Somebody else's handler stays. */
        if (sigaction(number, NULL, &now) == 0 && now.sa_handler == wake)
            sigaction(number, &before[number], NULL);
    }
    bool unused = !known || forget(number);
    if (descriptor >= 0) {
        pipes[number].device = status.st_dev;
        pipes[number].inode = status.st_ino;
        atomic_store(&pipes[number].descriptor, descriptor + 1);
        /* In a child it is there already. */
        if (!known && sigaction(number, &action, &before[number])) {
            atomic_store(&pipes[number].descriptor, 0);
            return PyErr_SetFromErrno(PyExc_OSError);
        }
    }
    return PyBool_FromLong(unused);
}

static PyMethodDef functions[] = {
    {"_wake_on_signal", wake_on_signal, METH_VARARGS, wake_doc},
    {NULL, NULL, 0, NULL},
};

int xctx_wake_init(PyObject *module)
{
    static bool done;

    if (!done && pthread_atfork(NULL, NULL, after_fork)) {
        PyErr_NoMemory();
        return -1;
    }
    done = true;
    return PyModule_AddFunctions(module, functions);
}
