/* SPDX-License-Identifier: MIT */
/**
 * @file follow.h
 * Threads on which something else switches contexts: an interpreter with contexts of its own, an event loop of another
 * language.
 *
 * Such a runtime switches from one task to the next without calling xctx. Where it keeps a word that it changes with
 * each switch, a thread can follow it: before xctx reads or changes what is current on that thread, it looks at the
 * word, and if that has changed, has `switched` make the context current that belongs to what runs now. So C code on
 * that thread always finds the variables of the task that called it, and a switch that nobody looks at costs nothing.
 *
 * Threads that follow nothing pay nothing for it, but for entering and leaving, which look for those that do, as they
 * do for watchers (xctx_watch()). On a thread that follows, reading a variable is a call and not inlined.
 *
 * Signals: on a thread that follows, no function of libxctx may be called in a signal handler but xctx_snapshot_fill()
 * and xctx_backtrace(), which take the context that was found current last.
 */
#ifndef XCTX_FOLLOW_H
#define XCTX_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xctx/base.h>
#include <xctx/context.h>
#include <xctx/var.h>

XCTX_BEGIN

/** What a thread follows. The operations are called on that thread, by whatever function of libxctx it has called, and
 *  may call any; while one of them runs, none is called again. They must return: no exception, no pthread_exit(). */
typedef struct xctx_follow {
    size_t size; /**< sizeof(xctx_follow) */

    /** The word: other than at the last look means switched. Read on the thread. Another thread may point it elsewhere,
     *  by an atomic store: to a word that never changes, when the runtime goes away. */
    const uint64_t *version;
    /** Enters and leaves contexts until that is current which belongs to what the runtime runs now. Returns 0; or
     *  anything else if it cannot (out of memory): what is current then stays so, and it is called again
     *  the next time. */
    int (*switched)(void *user);
    /** The thread has changed variables of its current context: set, reset or merged; not by XCTX_LET. May be NULL. */
    void (*changed)(void *user);
    /** The thread has copied its current context: by xctx_copy_current(), xctx_bind() and the like; not by xctx_copy().
     *  To add variables to the copy, enter it, set them, and leave it. May be NULL. */
    void (*copied)(xctx_context *copy, void *user);
    /** The thread ends, and follows nothing any more; not called by xctx_unfollow(). May be NULL. */
    void (*ended)(void *user);
    void *user; /**< handed to each */
} xctx_follow;

/**
 * Makes the running thread follow a runtime, until xctx_unfollow() or the thread's end. `switched` is called at the
 * next use of a context.
 *
 * @param follow  stays the caller's; must stay there as long as the thread follows
 * @return 0; -EINVAL: no version or no `switched`, or a size that is not known; -EBUSY: it follows one already;
 *         -ENOMEM.
 */
XCTX_API int xctx_follow_start(const xctx_follow *follow);

/** Ends that. What is current stays so. @return 0; -EINVAL: the thread follows nothing. */
XCTX_API int xctx_unfollow(void);

/** What the running thread was told to follow, its `user`; NULL: nothing. */
XCTX_API void *xctx_following(void);

/**
 * Has `ask` called on each thread that follows nothing, when it reads or sets a variable, or copies a context, and the
 * quick way is not open: on a thread without a current context at the latest. It may call xctx_follow_start() there.
 * One for the process, for ever; the module with that function is never unloaded.
 *
 * @param ask  returns 0 if the thread need not be asked again, or anything else: ask it the next time
 * @return 0; -EINVAL: NULL; -EBUSY: there is one.
 */
XCTX_API int xctx_follow_threads(int (*ask)(void));

/** @cond internal */
/* Takes a variable out of the current context: for runtimes whose tokens are their own. 0, -EINVAL or -ENOMEM. */
XCTX_API int xctx__var_unset(xctx_var *var);

/* Whether entering a context applies something: for runtimes that then follow their switches at once. */
XCTX_API bool xctx__is_hooked(const xctx_context *context);
/** @endcond */

XCTX_END

#endif
