/* SPDX-License-Identifier: MIT */
/**
 * @file thread.h
 * Contexts that follow the work: bind a function to a context, start threads in one, carry thread settings along.
 *
 * Unless a function says otherwise it is thread-safe, is not async-signal-safe, and was there in 0.1.
 */
#ifndef XCTX_THREAD_H
#define XCTX_THREAD_H

#include <pthread.h>

#include <xctx/base.h>
#include <xctx/context.h>
#include <xctx/var.h>

XCTX_BEGIN

/** A function, its argument, and the context to call it in. Opaque. */
typedef struct xctx_bound xctx_bound;

/**
 * Binds a function to a copy of the current context: what it needs to run later, elsewhere, as if it ran here.
 *
 * @param fn   what xctx_bound_call() will call.
 * @param arg  passed to @p fn.
 * @return new; NULL if memory ran out, @p fn is NULL, or a `clone` operation failed.
 */
XCTX_API xctx_bound *xctx_bind(void *(*fn)(void *), void *arg);

/**
 * As xctx_bind(), and captures more: see xctx_copy_current_with().
 */
XCTX_API xctx_bound *xctx_bind_with(void *(*fn)(void *), void *arg, unsigned capture);

/**
 * Calls a bound function in a copy of its context, on the running thread; then the thread's own context is current
 * again, whatever the function did, also if it throws a C++ exception or the thread is cancelled in it.
 *
 * May be called any number of times, by several threads at once: each call has a copy of its own, so that what one
 * sets no other sees.
 *
 * @param bound  not NULL; the caller's reference must last until the call returns.
 * @return what the function returned. NULL, without calling it, if memory ran out; xctx_bound_run() tells the two
 *         apart. The first call on a bound function needs no memory, unless it is the first use of this library on the
 *         thread.
 */
XCTX_API void *xctx_bound_call(xctx_bound *bound);

/**
 * As xctx_bound_call(), with the result and the error apart.
 *
 * @param ret_result  receives what the function returned; may be NULL.
 * @return 0; -EINVAL @p bound is NULL; -ENOMEM: the function was not called.
 */
XCTX_API int xctx_bound_run(xctx_bound *bound, void **ret_result);

/** Takes another reference. @param bound NULL is allowed. @return @p bound, new. */
XCTX_API xctx_bound *xctx_bound_ref(xctx_bound *bound);

/** Gives a reference back; with the last one the context goes too. @param bound NULL is allowed. @return NULL. */
XCTX_API xctx_bound *xctx_bound_unref(xctx_bound *bound);

/**
 * pthread_create() in a copy of the creator's context. The context is left when the thread ends, in whichever way.
 *
 * @return as pthread_create(): 0 or a positive errno; EAGAIN also if memory ran out, EINVAL if @p fn or
 *         @p ret_thread is NULL.
 */
XCTX_API int xctx_thread_create(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*fn)(void *),
                                void *arg);

/**
 * @name Capsules
 * Variables whose value is a setting of the thread. The values are opaque: only XCTX_CAPTURE_STATE and the variables'
 * `capture` and `decode` operations (xctx_var_get_options()) make them. XCTX_CAPTURE_STATE reads them into a copy;
 * entering the copy applies them to the thread that enters, leaving restores what that thread had. They apply when a
 * context is entered, not when they are set. What the system refuses to apply (a higher priority without the right to
 * it, a processor that is not there) stays as it was; the rest is applied.
 * @{
 */
XCTX_API XCTX_VAR_DECLARE(xctx_state_fpenv);    /**< floating point: rounding, exception flags and traps (fenv_t) */
XCTX_API XCTX_VAR_DECLARE(xctx_state_locale);   /**< the thread's locale: uselocale() */
XCTX_API XCTX_VAR_DECLARE(xctx_state_sigmask);  /**< blocked signals: pthread_sigmask() */
XCTX_API XCTX_VAR_DECLARE(xctx_state_name);     /**< the thread's name, up to 15 bytes: PR_SET_NAME */
XCTX_API XCTX_VAR_DECLARE(xctx_state_affinity); /**< the processors it may run on: sched_setaffinity() */
XCTX_API XCTX_VAR_DECLARE(xctx_state_sched);    /**< policy, priority, nice value: sched_setattr() */
/** @} */

XCTX_END

#endif
