/* SPDX-License-Identifier: MIT */
/**
 * @file fiber.h
 * Fibers: computations with a stack of their own and a context of their own, which run until they yield, and go on from
 * there when they are resumed, on the same thread or on another.
 *
 * A switch between fibers is no system call. A fiber starts suspended. Whoever resumes it waits for it, as for a
 * function that was called, until it yields or ends; fibers may resume fibers. A suspended fiber can be resumed by any
 * thread, by one at a time.
 *
 * A fiber has a context of its own (unless asked for otherwise): what it enters, leaves, sets and resets is not seen by
 * whoever resumes it, nor by other fibers, in whatever order they run. Where its context has `enter` operations in it
 * (capsules: thread.h), these are called when the fiber is resumed, and undone when it yields.
 *
 * What goes along with a fiber: registers that the ABI has a function keep, floating-point control (rounding, traps),
 * the C++ exceptions that it is handling, its context. It starts with the floating-point control of whoever resumes it
 * first. What stays with the thread: floating-point exception flags, `errno`, thread-local variables, the signal mask.
 * A compiler may keep the address of a thread-local variable, of `errno` or the result of pthread_self() in a register
 * over a call: after a call that yields they may be those of another thread, so code that uses them there belongs in a
 * function of its own that is not inlined.
 *
 * Mutexes belong to threads: one that is locked before a yield must be unlocked on the same thread. A fiber must not
 * yield in operations of variables (`retain`, `enter` and others) or in watchers. It may jump by longjmp() within its
 * own stack, not out of it.
 *
 * A C++ exception that a fiber does not catch goes on in the function that has resumed it, out of xctx_fiber_resume();
 * so does the end of the thread (pthread_exit(), cancellation) with a libc that unwinds the stack for it. The fiber is
 * finished then.
 *
 * Where the processor keeps a shadow stack, fibers cannot be resumed.
 *
 * Unless a function says otherwise it is thread-safe, is not async-signal-safe, and was there in 0.1.
 */
#ifndef XCTX_FIBER_H
#define XCTX_FIBER_H

#include <stddef.h>
#include <stdint.h>

#include <xctx/base.h>

XCTX_BEGIN

/** A fiber. Opaque. */
typedef struct xctx_fiber xctx_fiber;

/**
 * @name Which context a fiber runs in: xctx_fiber_options.context
 * @{
 */
#define XCTX_FIBER_CONTEXT_COPY 0u /**< a copy of the creator's current one, made by xctx_fiber_create() */
#define XCTX_FIBER_CONTEXT_SHARE                                                                                       \
    1u                             /**< whatever is current where the fiber is resumed, as a function would. What it   \
                                        enters itself goes along with it; what it binds by XCTX_LET stays with that    \
                                        context, and is put back if that one is current again when the block ends */
#define XCTX_FIBER_CONTEXT_NONE 2u /**< none at first; one of its own when it needs one, as a thread */
/** @} */

/**
 * @name What is below a fiber's stack: xctx_fiber_options.guard
 * @{
 */
#define XCTX_FIBER_GUARD_PAGE 0u /**< memory that cannot be touched, so that an overflow ends the program there */
#define XCTX_FIBER_GUARD_NONE 1u /**< nothing: an overflow writes over other memory */
/** @} */

#define XCTX_FIBER_STACK_MIN ((size_t)16 << 10)      /**< bytes; smaller stacks are made this large */
#define XCTX_FIBER_STACK_DEFAULT ((size_t)128 << 10) /**< bytes */
#define XCTX_FIBER_STACK_MAX ((size_t)1 << 30)       /**< bytes */
#define XCTX_FIBER_NAME_MAX ((size_t)63)             /**< bytes of a name; what is longer is cut off */

/** What xctx_fiber_create() can be told. Zero is the default of each but `size`. */
typedef struct xctx_fiber_options {
    size_t size;       /**< sizeof(xctx_fiber_options) */
    size_t stack_size; /**< bytes of the stack, rounded up; up to XCTX_FIBER_STACK_MAX. Up to 1.5 KiB of them are the
                          library's. Memory is taken page by page when the stack reaches it */
    const char *name;  /**< for people, in messages; copied */
    uint32_t context;  /**< XCTX_FIBER_CONTEXT_* */
    uint32_t guard;    /**< XCTX_FIBER_GUARD_* */
} xctx_fiber_options;

/**
 * Makes a fiber. It is suspended, and begins when it is first resumed.
 *
 * @param fn       what it runs.
 * @param arg      passed to @p fn.
 * @param options  NULL: the defaults.
 * @return new; NULL if memory ran out (or with XCTX_FIBER_GUARD_PAGE on Linux before 6.13, the number of mappings that
 *         the kernel allows), a `clone` operation failed, @p fn is NULL or @p options are not valid.
 */
XCTX_API xctx_fiber *xctx_fiber_create(void *(*fn)(void *), void *arg, const xctx_fiber_options *options);

/**
 * Takes another reference.
 *
 * @param fiber  NULL is allowed.
 * @return @p fiber, new.
 */
XCTX_API xctx_fiber *xctx_fiber_ref(xctx_fiber *fiber);

/**
 * Gives a reference back. With the last one the fiber goes, its stack and its context too. A fiber that has not ended
 * is abandoned then: no destructor, cleanup handler or other code of it runs any more, so memory, locks and tokens that
 * it alone knows of are lost. It must not be running: who resumes a fiber keeps a reference until that call returns.
 *
 * @param fiber  NULL is allowed.
 * @return NULL.
 */
XCTX_API xctx_fiber *xctx_fiber_unref(xctx_fiber *fiber);

/**
 * Runs a fiber, on this thread, until it yields or ends.
 *
 * @param fiber    created, or suspended in xctx_fiber_yield().
 * @param in       what that xctx_fiber_yield() returns. Not used when the fiber is first resumed.
 * @param ret_out  receives what the fiber has yielded, or at its end what its function has returned; may be NULL.
 * @return 1 it has yielded; 0 it has ended; -EINVAL @p fiber is NULL or ended before; -EDEADLK it is running on this
 *         thread: it would wait for itself; -EBUSY it is running on another thread; -ENOMEM; -ENOTSUP the thread has a
 *         shadow stack. Of several threads that resume one fiber at the same time exactly one runs it.
 */
XCTX_API int xctx_fiber_resume(xctx_fiber *fiber, void *in, void **ret_out);

/**
 * Suspends the running fiber: xctx_fiber_resume(), where it was resumed, returns 1.
 *
 * @param out  what is yielded.
 * @return the next resume's `in`, perhaps on another thread. At once, and NULL, if no fiber is running on the thread.
 */
XCTX_API void *xctx_fiber_yield(void *out);

/**
 * The fiber that is running on this thread. Async-signal-safe.
 *
 * @return borrowed until it ends or yields; NULL: none is.
 */
XCTX_API xctx_fiber *xctx_fiber_current(void);

/**
 * The name that a fiber was given. Async-signal-safe.
 *
 * @param fiber  NULL is allowed.
 * @return borrowed as long as the fiber is there; "" if it has none, or for NULL.
 */
XCTX_API const char *xctx_fiber_name(const xctx_fiber *fiber);

XCTX_END

#include <xctx/continuation.h>

#endif
