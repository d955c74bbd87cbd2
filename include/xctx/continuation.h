/* SPDX-License-Identifier: MIT */
/**
 * @file continuation.h
 * Continuations: a suspended fiber, copied as it is, to go on from there any number of times.
 *
 * xctx_fiber_capture() copies a fiber that waits in xctx_fiber_yield(), or has not begun: its registers, the bytes of
 * its stack that are in use, its contexts. Each xctx_continuation_shot() makes a suspended fiber of that copy, a
 * *shot*, which goes on from that very place with those values, when it is resumed. Shots are fibers like any other:
 * they yield, wander among threads, are captured again, and may outlive the fiber and the continuation that they came
 * from.
 *
 * Taking turns. A stack holds pointers into itself, so all shots of a fiber, and the fiber, run at the same addresses.
 * They take turns: when one is resumed, what another one has there is copied away, and its own is copied in. While one
 * runs, another thread that resumes a second one waits until the first yields or ends. Resuming one from within another
 * is -EDEADLK, as it would wait for itself, and so is a circle of threads that wait for each other in this way.
 * Pointers to a local variable, held somewhere else, see the variable of whichever shot is there. Waiting for a turn is
 * no cancellation point. One that an exception has ended keeps its turn until its thread gives a fiber back, makes or
 * captures one, or resumes another of that stack.
 *
 * What is copied: registers, floating-point control, the stack's bytes, the contexts that the fiber had entered (as
 * xctx_copy() does, but values that copies do not get are kept), what XCTX_LET and tokens on the stack put back. What
 * is not: memory from malloc(), global and thread-local variables, files, locks, other threads. These are shared and
 * keep changing. `free`, `close` and destructors run once per shot, although what they end exists once: where that
 * matters, a hook (xctx_fiber_hook) gives each shot one of its own, or XCTX_NO_CAPTURE keeps the fiber from being
 * copied there. A pointer to a context that was entered when the fiber was copied can be left by each shot; for
 * everything else it is that one context.
 *
 * Unless a function says otherwise it is thread-safe, is not async-signal-safe, and was there in 0.1.
 */
#ifndef XCTX_CONTINUATION_H
#define XCTX_CONTINUATION_H

#include <stddef.h>

#include <xctx/base.h>
#include <xctx/fiber.h>
#include <xctx/var.h>

XCTX_BEGIN

/** A fiber's state, copied. Opaque; it does not change. */
typedef struct xctx_continuation xctx_continuation;

/**
 * Copies a suspended fiber. The fiber is as it was, and can be resumed. While another thread runs one that shares its
 * stack, this waits.
 *
 * A fiber that was captured once, and its shots, cost more to resume than others: some 10 ns, and the copying if
 * another one had its turn.
 *
 * @param fiber             suspended in xctx_fiber_yield(), or not begun; a shot, too.
 * @param ret_continuation  receives it, for xctx_continuation_unref(); not written to on failure.
 * @return 0; -EINVAL an argument is NULL, or the fiber has ended; -EBUSY it is running; -EDEADLK another one is running
 *         on its stack that waits for this thread; -EPERM it is in a region of XCTX_NO_CAPTURE, or handles a C++
 *         exception; -ENOTSUP AddressSanitizer keeps its local variables elsewhere (detect_stack_use_after_return), or
 *         the thread has a shadow stack; -ENOMEM; or what an `on_clone` returned.
 */
XCTX_API int xctx_fiber_capture(xctx_fiber *fiber, xctx_continuation **ret_continuation);

/**
 * Makes a suspended fiber that is as the captured one was, to be resumed by any thread.
 *
 * Nothing is copied before it is resumed, but for its contexts, and for what hooks ask for.
 *
 * @param ret_fiber  receives it, for xctx_fiber_unref(); not written to on failure.
 * @return 0; -EINVAL an argument is NULL; -ENOMEM; or what an `on_clone` returned.
 */
XCTX_API int xctx_continuation_shot(xctx_continuation *continuation, xctx_fiber **ret_fiber);

/** Takes another reference. NULL is allowed. @return @p continuation, new. */
XCTX_API xctx_continuation *xctx_continuation_ref(xctx_continuation *continuation);

/**
 * Gives a reference back. With the last one, and the last shot, the copy goes.
 *
 * @param continuation  NULL is allowed.
 * @return NULL.
 */
XCTX_API xctx_continuation *xctx_continuation_unref(xctx_continuation *continuation);

/** How many bytes of the stack were copied; 0 for NULL. */
XCTX_API size_t xctx_continuation_size(const xctx_continuation *continuation);

/**
 * XCTX_NO_CAPTURE { ... } is a region in which capturing the fiber that runs it fails with -EPERM: for what must not be
 * done twice, such as unlocking a mutex that is locked around a yield.
 *
 * Regions may be nested. A region ends when its block is left, in whatever way but longjmp(). On a thread without a
 * fiber it does nothing. `break` and `continue` leave the block, not a loop around it.
 */
#define XCTX_NO_CAPTURE XCTX__NO_CAPTURE(XCTX__PASTE(xctx_uncaptured_, __COUNTER__))

/** @cond internal */
#define XCTX__NO_CAPTURE(fiber)                                                                                        \
    for (xctx_fiber * fiber __attribute__((cleanup(xctx__no_capture_end))) = xctx__no_capture_begin(),                 \
                            **XCTX__PASTE(fiber, _run) = &fiber;                                                       \
         XCTX__PASTE(fiber, _run); XCTX__PASTE(fiber, _run) = NULL)
XCTX_API xctx_fiber *xctx__no_capture_begin(void);
XCTX_API void xctx__no_capture_end(xctx_fiber **fiber);
/** @endcond */

/**
 * What is to be done for a pointer in a local variable that bytes alone cannot copy. In the caller's storage, which
 * must be on the fiber's stack; its last two fields are the library's.
 *
 *     xctx_fiber_hook hook __attribute__((cleanup(xctx_fiber_hook_pop))) = {
 *         .on_clone = copy_file, .on_drop = close_file};
 *     int error = xctx_fiber_hook_push(&hook, &file);
 *
 * The operations are called on the thread that captures, makes or releases, and must not throw exceptions. They, and
 * `clone` operations of variables then, must not use the fiber, or others that share its stack: it is locked.
 */
typedef struct xctx_fiber_hook {
    /** Makes of a value, not NULL, one for another copy of the fiber: 0, or a negative errno, which capturing or making
     * a shot then returns. Called for each continuation and each shot. NULL: the value itself, which `on_drop` then
     * gets once for each. */
    int (*on_clone)(void *value, void **ret_value);
    /** Gives up a value, not NULL, of a fiber that was abandoned, or of a continuation. NULL: nothing to do. */
    void (*on_drop)(void *value);
    void **place_;
    struct xctx_fiber_hook *next_;
} xctx_fiber_hook;

/**
 * Registers a hook with the running fiber, until xctx_fiber_hook_pop(), which must come before the function that has
 * the hook returns.
 *
 * @param hook   its operations set.
 * @param place  a pointer variable on the fiber's stack; its value at each time of copying is what counts.
 * @return 0, also where no fiber is running, in which case nothing is done; -EALREADY it is registered; -EINVAL an
 *         argument is NULL, or not on the fiber's stack; -ENOMEM.
 */
XCTX_API int xctx_fiber_hook_push(xctx_fiber_hook *hook, void *place);

/** Takes a hook away, which is allowed to be registered no more, or never to have been. Calls nothing. */
XCTX_API void xctx_fiber_hook_pop(xctx_fiber_hook *hook);

/** Memory that forked processes share, at the same addresses. Opaque. */
typedef struct xctx_arena xctx_arena;

/**
 * Makes an arena.
 *
 * @param size  bytes, all of them; memory is taken when it is first written to.
 * @return new, for xctx_arena_destroy(); NULL: no memory.
 */
XCTX_API xctx_arena *xctx_arena_create(size_t size);

/**
 * Memory of the arena, all zero, aligned to 16 bytes, until the arena goes. Any process may ask, at the same time.
 *
 * @return borrowed; NULL: there is not as much left.
 */
XCTX_API void *xctx_arena_allocate(xctx_arena *arena, size_t size);

/** Ends the arena in this process; others keep it. @param arena  NULL is allowed. @return NULL. */
XCTX_API xctx_arena *xctx_arena_destroy(xctx_arena *arena);

/**
 * Resumes shots in parallel, in processes that are forked for it: there they need not take turns.
 *
 * Each index is one shot, which @p fn resumes in a child of this process: it gives back how that went, and leaves more
 * than that in an arena. Nothing else that the children do is seen here. A child is a copy of the calling thread alone,
 * where only what fork() allows can be done if there were other threads, and ends by _exit(). What these threads ran of
 * the fibers that share the stack has ended there, the others have not. From within one of these fibers, resuming is
 * -EDEADLK there as it is here. The children are killed if the thread that waits for them goes.
 *
 * @param continuation  what to make shots of.
 * @param count         how many shots.
 * @param processes     how many at the same time; 0: as many as there are processors to run on.
 * @param fn            called in a child: the shot, suspended (borrowed: not to be released); its index; @p arg.
 *                      Returns what is stored into @p ret_results.
 * @param arg           for @p fn.
 * @param ret_results   room for @p count; may be NULL. What @p fn has returned; or the error of making the shot; or
 *                      -ECANCELED: the process ended before @p fn did, or other code of this process has waited for it.
 * @return 0 each was tried; -EINVAL; -ENOMEM; -EAGAIN, -ENOSYS and other errors of fork(): the results that are missing
 *         are then -ECANCELED.
 */
XCTX_API int xctx_continuation_fork(xctx_continuation *continuation, size_t count, unsigned processes,
                                    int (*fn)(xctx_fiber *shot, size_t index, void *arg), void *arg, int *ret_results);

XCTX_END

#endif
