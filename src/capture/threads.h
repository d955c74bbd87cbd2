/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of all threads, with more to choose than the public function has.
 */
#ifndef XCTX_CAPTURE_THREADS_H
#define XCTX_CAPTURE_THREADS_H

#include <stddef.h>
#include <stdint.h>

#include <xctx/snapshot.h>

struct take_options {
    unsigned capture;
    size_t stack_limit; /* bytes; 0: as xctx_set_stack_limit() says */
    int64_t timeout;    /* nanoseconds, for all of them together */
    int except;         /* a thread id that is left out; 0: none */
};

/* As xctx_snapshot_take_all(). The running thread is first if it is not left out. */
int xctx__take_all(const struct take_options *options, xctx_snapshot ***ret_snapshots, size_t *ret_count);

#endif
