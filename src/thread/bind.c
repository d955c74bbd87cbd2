/* SPDX-License-Identifier: MIT */
/*
 * Functions bound to a context.
 *
 * A bound function keeps a copy of its creator's context that is never entered: each call enters a copy of that. The
 * first such copy is made together with the bound function, so that the first call cannot run out of memory.
 */
#include <errno.h>
#include <stdatomic.h>

#include <xctx/thread.h>

#include "capture/take.h"
#include "context/context_internal.h"

struct xctx_bound {
    _Atomic uint32_t refs; /* given back with release and acquire: calls come before the end */
    void *(*fn)(void *);
    void *arg;
    xctx_context *context;
    xctx_context *_Atomic first; /* for the first call, which takes it out: of several that try one gets it */
};

xctx_bound *xctx__bind_from(void *(*fn)(void *), void *arg, unsigned capture, struct xctx__registers *registers)
{
    xctx_bound *bound;
    xctx_context *first;

    if (!fn)
        return NULL;
    bound = xctx__allocate(sizeof(*bound));
    if (!bound)
        return NULL;
    const xctx_context *before = xctx_current();
    bound->context = xctx__copy_current_from(capture, registers);
    first = bound->context ? xctx__context_copy_new(&xctx__slot, bound->context) : NULL;
    if (!first || xctx__context_hand_over(bound->context) || xctx__context_hand_over(first)) {
        xctx_unref(first);
        xctx_unref(bound->context);
        xctx__free(bound);
        xctx__context_unensure(&xctx__slot, before);
        return NULL;
    }
    atomic_init(&bound->refs, 1);
    bound->fn = fn;
    bound->arg = arg;
    atomic_init(&bound->first, first);
    return bound;
}

xctx_bound *xctx_bind(void *(*fn)(void *), void *arg)
{
    /* The last thing done, and so a jump: a snapshot is of the caller. */
    return xctx_bind_with(fn, arg, xctx_default_capture());
}

int xctx_bound_run(xctx_bound *bound, void **ret_result)
{
    if (!bound)
        return -EINVAL;
    xctx_context *context = atomic_load_explicit(&bound->first, memory_order_relaxed)
                                ? atomic_exchange_explicit(&bound->first, NULL, memory_order_acq_rel)
                                : NULL;
    if (!context)
        context = xctx_copy(bound->context);
    struct run run;
    xctx__run_begin(&run, context);
    int error = context ? xctx_enter(context) : -ENOMEM;
    xctx_unref(context); /* alive until it is left */
    if (error)
        return error;
    void *result;
    if (XCTX__UNLIKELY(xctx__slot.fiber != NULL)) {
        result = xctx__run_on_fiber(&run, bound->fn, bound->arg);
    } else {
        /* Also done when an exception or the end of the thread comes through here. */
        pthread_cleanup_push(xctx__run_end, &run);
        result = bound->fn(bound->arg);
        pthread_cleanup_pop(1);
    }
    if (ret_result)
        *ret_result = result;
    return 0;
}

void *xctx_bound_call(xctx_bound *bound)
{
    void *result = NULL;

    xctx_bound_run(bound, &result);
    return result;
}

xctx_bound *xctx_bound_ref(xctx_bound *bound)
{
    if (bound)
        atomic_fetch_add_explicit(&bound->refs, 1, memory_order_relaxed);
    return bound;
}

xctx_bound *xctx_bound_unref(xctx_bound *bound)
{
    if (!bound || atomic_fetch_sub_explicit(&bound->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    xctx_unref(atomic_load_explicit(&bound->first, memory_order_relaxed));
    xctx_unref(bound->context);
    xctx__free(bound);
    return NULL;
}
