/* SPDX-License-Identifier: MIT */
/**
 * @file context.h
 * Contexts: make, copy, enter, leave, look into.
 *
 * A context is a handle on a map from variables (var.h) to values. Every thread has a current context, made when it
 * is first needed; entering another one makes that current until it is left again. A copy shares the map until
 * either side changes it, so it costs the same for one variable and for a thousand, and a change on one side is
 * never seen on the other.
 *
 * Contexts are reference counted. A function that "returns new" gives the caller a reference, to be given back with
 * xctx_unref(). An entered context is kept alive by being entered.
 *
 * Any call may be made from any thread on any context at the same time, also while another thread has that context
 * entered and is setting variables in it, so long as the caller holds a reference.
 *
 * Unless a function says otherwise it is thread-safe, is not async-signal-safe, and was there in 0.1. Functions
 * returning int give 0 (or what is said) or a negative errno; a call that failed has changed nothing and has not
 * written to any `ret_` parameter.
 */
#ifndef XCTX_CONTEXT_H
#define XCTX_CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include <xctx/base.h>

XCTX_BEGIN

/** An execution context. Opaque. */
typedef struct xctx_context xctx_context;
/** A context variable: see var.h. */
typedef struct xctx_var xctx_var;

/**
 * @name What a copy captures, beside the variables
 * Bits for xctx_copy_current_with() and xctx_bind_with().
 * @{
 */
/** Return addresses, found by frame pointers. */
#define XCTX_CAPTURE_STACK 0x01u
/** What reports need to show every frame and its local variables: registers and bytes of the stack. */
#define XCTX_CAPTURE_LOCALS 0x02u
/** Registers and flags. */
#define XCTX_CAPTURE_REGISTERS 0x04u
/** The thread's settings: a value for every variable that has a `capture` operation, among them the capsules of
 * thread.h; and, in a snapshot, a xctx_thread_state. */
#define XCTX_CAPTURE_STATE 0x08u
/** Floating-point and vector registers: of use where a signal interrupted the thread. */
#define XCTX_CAPTURE_FPU 0x10u
/** All of these. */
#define XCTX_CAPTURE_ALL 0x1fu
/** @} */

/**
 * Makes an empty context.
 *
 * @return new; NULL if memory ran out.
 */
XCTX_API xctx_context *xctx_new(void);

/**
 * Copies a context.
 *
 * The copy is not entered. Takes the same time whatever the number of variables, unless a variable's flow asks for
 * more (enum xctx_flow) or a scoped binding (XCTX_LET) is open in @p context: then it takes time in proportion to
 * them. The copy is a consistent state of @p context even while another thread is changing that.
 *
 * @param context  any context, entered by any thread or by none; NULL gives NULL.
 * @return new; NULL if memory ran out or a `clone` operation failed.
 */
XCTX_API xctx_context *xctx_copy(xctx_context *context);

/**
 * Copies the running thread's current context, which is made first if there is none. Captures what
 * xctx_set_default_capture() says (snapshot.h); at the start nothing.
 *
 * @return new; NULL if memory ran out or a `clone` operation failed.
 */
XCTX_API xctx_context *xctx_copy_current(void);

/**
 * As xctx_copy_current(), and captures more: the copy carries a snapshot of the caller (xctx_snapshot_of()), and with
 * XCTX_CAPTURE_STATE the thread's settings. The current context is not changed. A copy of that copy carries the same
 * snapshot.
 *
 * @param capture  XCTX_CAPTURE_* bits; 0: variables alone, whatever the default capture is.
 * @return new; NULL if memory ran out, a `clone` or `capture` operation failed, or @p capture has bits that this
 *         version does not know.
 */
XCTX_API xctx_context *xctx_copy_current_with(unsigned capture);

/**
 * Makes a context the running thread's current one.
 *
 * The `enter` operations of the variables in it are called, with the context being current, in the order in which the
 * variables were first used, then the watchers. The context stays alive until it is left, also if every reference to it
 * is given back.
 *
 * @return 0; -EINVAL @p context is NULL; -EBUSY it is entered already, by this thread or another; -ENOMEM.
 *         Of several threads that enter one context at the same time exactly one gets 0.
 */
XCTX_API int xctx_enter(xctx_context *context);

/**
 * Leaves a context; the one that was current before becomes current again.
 *
 * The `leave` operations are called in the reverse order of xctx_enter(), while the context is still current, then the
 * watchers. Contexts are left in
 * the reverse order of entering.
 *
 * @return 0; -EINVAL @p context is NULL or has not been entered (as the context that the library made for a thread
 *         when it first needed one: that cannot be left); -EPERM it is entered, or such a context, but is not this
 *         thread's current one.
 */
XCTX_API int xctx_exit(xctx_context *context);

/**
 * Calls a function in a context: enter, call, exit.
 *
 * Afterwards what was current before is current again, whatever @p fn entered or left, and also if it throws a C++
 * exception or its thread is cancelled or ends in it.
 *
 * @param context     as for xctx_enter().
 * @param fn          called once, unless an error is returned.
 * @param arg         passed to @p fn.
 * @param ret_result  receives what @p fn returned; may be NULL.
 * @return 0; the errors of xctx_enter(); -EINVAL also if @p fn is NULL.
 */
XCTX_API int xctx_run(xctx_context *context, void *(*fn)(void *), void *arg, void **ret_result);

/**
 * The running thread's current context.
 *
 * Async-signal-safe.
 *
 * @return borrowed until that context is left (or, where none was entered, until the thread ends); NULL if the
 *         thread has none yet.
 */
XCTX_API xctx_context *xctx_current(void);

/**
 * Takes another reference.
 *
 * @param context  NULL is allowed.
 * @return @p context, new.
 */
XCTX_API xctx_context *xctx_ref(xctx_context *context);

/**
 * Gives a reference back. With the last one the context and the values that only it holds are released, before this
 * call returns and on this thread; if the context is entered, when it is left.
 *
 * @param context  NULL is allowed.
 * @return NULL, so that `context = xctx_unref(context)` leaves nothing dangling.
 */
XCTX_API xctx_context *xctx_unref(xctx_context *context);

/**
 * Looks a variable up in a context. Defaults do not count.
 *
 * @param ret_value  receives the value; may be NULL. Borrowed until the variable is changed in @p context or the
 *                   context is released: while another thread may do either, look into a copy instead.
 * @return 1 the variable is set there; 0 it is not; -EINVAL @p context or @p var is NULL.
 */
XCTX_API int xctx_lookup(xctx_context *context, xctx_var *var, void **ret_value);

/**
 * How many variables are set in a context; 0 for NULL. Takes time in proportion to them.
 */
XCTX_API size_t xctx_count(xctx_context *context);

/**
 * Calls a function for every variable that is set in a context, in the order in which the variables were first used.
 *
 * What is visited is the state at the start of the call: changes that @p fn or other threads make meanwhile are not
 * seen, and values stay valid throughout.
 *
 * @param fn    gets the variable, its value (borrowed until it returns) and @p user. Non-zero stops.
 * @param user  passed to @p fn.
 * @return 0; the non-zero value that @p fn returned; -EINVAL @p context or @p fn is NULL; -ENOMEM.
 */
XCTX_API int xctx_each(xctx_context *context, int (*fn)(xctx_var *var, void *value, void *user), void *user);

/**
 * Whether two contexts set the same variables to identical values: the same pointers. NULL equals only NULL.
 */
XCTX_API bool xctx_equal(xctx_context *a, xctx_context *b);

/**
 * Merges a child's values into the running thread's current context: the way back of a copy, for a parent that has
 * waited for its child.
 *
 * For each variable set in @p child that has a `merge` operation, and whose value there is not identical to the one
 * here, `merge(here, there)` gives the new value; `here` is what xctx_var_get() gives. Variables without the
 * operation are left alone. All of it happens, or nothing. Values are identical
 * if the pointers are: a number that is kept in the pointer itself looks unchanged when it has come back to what it
 * was.
 *
 * @param child  not changed. Usually one that no thread has entered any more; if one has, its state now is used.
 * @return 0; -EINVAL @p child is NULL, or an operation has made another context current; -ENOMEM.
 */
XCTX_API int xctx_merge(xctx_context *child);

/**
 * Is told of every switch of the current context on any thread.
 *
 * A C++ exception that it throws passes through the call that has switched; the switch is made all the same.
 *
 * @param current_or_null  the context that is current now, borrowed until the call returns; NULL if there is none.
 */
typedef void (*xctx_watcher)(xctx_context *current_or_null, void *user);

/**
 * Has a function called after each xctx_enter() and xctx_exit(), on the thread that switched.
 *
 * A shared library that @p fn is in stays in memory after dlclose(). Watchers are called in the order of their numbers.
 * A watcher may use every function of this library; switches that it makes itself are not reported, so it cannot call
 * itself for ever.
 *
 * @return a number for xctx_unwatch(), 0 to 15; -EINVAL @p fn is NULL; -ENOSPC all 16 places are taken.
 */
XCTX_API int xctx_watch(xctx_watcher fn, void *user);

/**
 * Stops calling a watcher. When this returns, no other thread is in @p id's function any more and none will enter it,
 * so that what `user` points to may be freed. Called from within a watcher it does not wait.
 *
 * @return 0; -EINVAL there is no such watcher.
 */
XCTX_API int xctx_unwatch(int id);

XCTX_END

#endif
