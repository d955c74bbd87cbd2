/* SPDX-License-Identifier: MIT */
/*
 * The variables that the demo's work carries along: on whose behalf it is done, about what, until when.
 */
#ifndef XCTX_TOOL_REQUEST_H
#define XCTX_TOOL_REQUEST_H

#include <stdatomic.h>
#include <stdint.h>

#include <xctx/xctx.h>

XCTX_VAR_DECLARE(request_id);       /* text, copied when set */
XCTX_VAR_DECLARE(request_user);     /* text, copied when set */
XCTX_VAR_DECLARE(request_file);     /* text, copied when set */
XCTX_VAR_DECLARE(request_deadline); /* a time of now(), in the pointer itself: deadline_value() */
XCTX_VAR_DECLARE(request_tally);    /* a struct tally of whoever set it, who outlives the work */

/* What was done for a request, by all threads. The counters are relaxed: the pool's join orders them before they are
   added up. */
struct tally {
    atomic_uint_fast64_t bytes;
    atomic_uint_fast64_t late_bytes; /* that were not looked at, the deadline having passed */
    atomic_uint_fast64_t lines;
    atomic_uint_fast64_t words;
    atomic_uint_fast64_t longest_line;
    atomic_uint_fast64_t log_lines;
};

static inline void *deadline_value(int64_t time)
{
    return (void *)(intptr_t)time;
}

/* The current context's deadline; 0: none. */
static inline int64_t deadline(void)
{
    return (int64_t)(intptr_t)xctx_var_get(&request_deadline);
}

#endif
