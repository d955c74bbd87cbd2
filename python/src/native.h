/* SPDX-License-Identifier: MIT */
/*
 * Native variables: those whose values libxctx holds, so that C code reads them without the GIL.
 *
 * A thread has one native current context, but Python switches builtin contexts under it. So each builtin context
 * carries a native one, as the value of a hidden builtin variable (`xctx_state_var`): a State, which is never
 * changed, so that copies of the builtin context can share it. libxctx follows the thread state's count of switches
 * (xctx/follow.h): where that has changed, follow.c makes a native context current that is a copy of the builtin
 * context's State. When a native variable is set, a new State takes the place of the old one (*publishing*), which
 * needs the GIL.
 *
 *   native.c   ContextVar's side: types of values, get, set, reset
 *   follow.c   threads that follow, States, publishing
 *   carry.c    Python objects that native contexts own: released without the GIL, on any thread; and the builtin
 *              context that goes along with a native copy
 *   capi.c     the functions that <xctx/python.h> gives to other extensions
 */
#ifndef XCTX_PYTHON_NATIVE_H
#define XCTX_PYTHON_NATIVE_H

#include <stdatomic.h>
#include <stdbool.h>

#include <xctx/python.h>
#include <xctx/xctx.h>

#include "xctx_python.h"

/* ---- follow.c ---- */

extern PyObject *xctx_state_var;

int xctx_follow_init(void);

/* xctx_enter() by this package itself. */
int xctx_follow_enter(xctx_context *context);

/* Whether threads can follow this interpreter: its contexts look as they are expected to. */
bool xctx_follow_supported(void);

/* The interpreter is about to end: threads that have not been registered with their thread states look at those no more
   without the GIL. */
void xctx_follow_end(void);

/* The running thread's builtin context, made if there is none; new. NULL with an exception. */
PyObject *xctx_current_builtin(void);

/* xctx_follow_thread(), declared with the rest that others call: the running thread, which has the GIL, follows from
   now on, if it does not yet. What was set without the GIL is published. 0, or -1 with an exception. */

/* The native context that a builtin one carries; borrowed, and not to be changed. NULL: none; no exception. */
xctx_context *xctx_state_context(PyObject *builtin_context);

/* Whether the running thread has the GIL. Anywhere. */
static inline bool xctx_has_gil(void)
{
    PyThreadState *state = PyGILState_GetThisThreadState();
#if PY_VERSION_HEX >= 0x030d0000
    return state && state == PyThreadState_GetUnchecked();
#else
    return state && state == _PyThreadState_UncheckedGet();
#endif
}

/* ---- carry.c ---- */

int xctx_carry_init(void);

/* A Python object that native contexts refer to. libxctx counts how many do, so nobody needs the GIL for that. */
struct box {
    xctx_python_object public;
    uint64_t serial;  /* no other has it */
    struct box *next; /* of those that wait to be freed */
};

/* Operations of a variable with such values: retain makes a box of an xctx_python_object, with the GIL. */
void *xctx_box_retain(void *value);
void xctx_box_release(void *box);

/* Frees boxes that were released without the GIL, or while they were held. With it. */
void xctx_carry_drain(void);

/* Above 0: boxes that the running thread releases wait, as without the GIL. No finalizer runs while a thread is between
   two contexts. */
extern _Thread_local int xctx_carry_held;

/* Adds a builtin context, which nobody changes any more, to a native copy. With the GIL. 0, or -1 without an exception:
   memory. */
int xctx_carry_add(xctx_context *copy, PyObject *builtin);

/* The builtin context that was adopted on this thread, whose thread state that is, borrowed; NULL: none. One that went
   with an earlier thread state is none: another context may be where it was. Without the GIL. */
PyObject *xctx_carry_adopted(const PyThreadState *state);

/* ---- native.c ---- */

/* A ContextVar for a variable that C code defined; new. `type` as ContextVar's. */
PyObject *xctx_native_wrap(xctx_var *var, PyObject *type, PyObject *default_value);

/* The variable behind a ContextVar, borrowed; NULL with an exception: it has no type. */
xctx_var *xctx_native_var(PyObject *variable);

/* ---- capi.c ---- */

int xctx_capi_init(PyObject *module);

#endif
