/* SPDX-License-Identifier: MIT */
/* Fibers for tests: that must be made, captured, and resumed with what is expected of them. */
#ifndef XCTX_TEST_FIBER_SUPPORT_H
#define XCTX_TEST_FIBER_SUPPORT_H

#include "test.h"

static inline xctx_fiber *make_with(void *(*fn)(void *), void *arg, uint32_t context)
{
    xctx_fiber_options options;

    memset(&options, 0, sizeof(options));
    options.size = sizeof(options);
    options.context = context;
    xctx_fiber *fiber = xctx_fiber_create(fn, arg, &options);

    CHECK(fiber);
    return fiber;
}

static inline xctx_fiber *make(void *(*fn)(void *), void *arg)
{
    return make_with(fn, arg, XCTX_FIBER_CONTEXT_COPY);
}

/* Resumes a fiber that yields, and returns what. */
static inline void *step(xctx_fiber *fiber, void *in)
{
    void *out = NULL;

    CHECK(xctx_fiber_resume(fiber, in, &out) == 1);
    return out;
}

/* Resumes a fiber that ends, and returns what. Gives the reference back. */
static inline void *last_step(xctx_fiber *fiber, void *in)
{
    void *out = NULL;

    CHECK(xctx_fiber_resume(fiber, in, &out) == 0);
    xctx_fiber_unref(fiber);
    return out;
}

static inline xctx_continuation *capture(xctx_fiber *fiber)
{
    xctx_continuation *continuation = NULL;

    CHECK(xctx_fiber_capture(fiber, &continuation) == 0);
    return continuation;
}

/* Captures a fiber and lets it go. */
static inline xctx_continuation *capture_last(xctx_fiber *fiber)
{
    xctx_continuation *continuation = capture(fiber);

    xctx_fiber_unref(fiber);
    return continuation;
}

static inline xctx_fiber *shot_of(xctx_continuation *continuation)
{
    xctx_fiber *shot = NULL;

    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
    return shot;
}

#endif
