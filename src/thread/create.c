/* SPDX-License-Identifier: MIT */
/*
 * Threads that start in a copy of their creator's context.
 *
 * Everything that can fail is done by the creator: the copy, room for what entering it has to remember, and the new
 * thread's record. However the thread ends, the context is left: at the end of `begin`, or when its record is given
 * back (record.c).
 */
#include <errno.h>

#include <xctx/thread.h>

#include "capture/crash.h"
#include "capture/take.h"
#include "context/context_internal.h"

struct start {
    void *(*fn)(void *);
    void *arg;
    xctx_context *context;
    struct record *record;
};

static void *begin(void *argument)
{
    struct start start = *(struct start *)argument;

    xctx__free(argument);
    xctx__record_adopt(start.record);
    xctx_enter(start.context); /* cannot fail: nobody else has it, and the creator has made room */
    xctx_unref(start.context); /* alive until it is left */
    xctx__crash_thread_starts();
    void *result = start.fn(start.arg);
    xctx__run_end(&(struct run){.context = start.context});
    return result;
}

int xctx_thread_create(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg)
{
    /* The last thing done, and so a jump: a snapshot is of the caller. */
    return xctx__thread_create_capturing(ret_thread, attributes, fn, arg);
}

int xctx__thread_create_from(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg,
                             struct xctx__registers *registers)
{
    int error = EAGAIN;

    if (!ret_thread || !fn)
        return EINVAL;
    struct start *start = xctx__allocate(sizeof(*start));
    if (!start)
        return EAGAIN;
    *start = (struct start){.fn = fn, .arg = arg};
    const xctx_context *before = xctx_current();
    start->context = xctx__copy_current_from(xctx_default_capture(), registers);
    start->record = start->context ? xctx__record_reserve() : NULL;
    if (start->record && xctx__context_hand_over(start->context) == 0)
        error = pthread_create(ret_thread, attributes, begin, start);
    if (error) {
        if (start->record)
            xctx__record_unreserve(start->record);
        xctx_unref(start->context);
        xctx__free(start);
        xctx__context_unensure(&xctx__slot, before);
    }
    return error;
}
