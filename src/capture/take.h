/* SPDX-License-Identifier: MIT */
/*
 * Taking a snapshot, as the rest of the library does it. The functions that end in _from are called by arch's
 * capture.S, with the registers of the caller of the public function.
 */
#ifndef XCTX_CAPTURE_TAKE_H
#define XCTX_CAPTURE_TAKE_H

#include <pthread.h>

#include <xctx/thread.h>

#include "snapshot_internal.h"

/* A snapshot of the running thread, whose registers they are. NULL: no memory, or unknown bits in `capture`. */
xctx_snapshot *xctx__snapshot_take_from(unsigned capture, struct xctx__registers *registers);

int xctx__snapshot_fill_from(xctx_snapshot *snapshot, unsigned capture, const void *ucontext,
                             struct xctx__registers *registers);

xctx_context *xctx__copy_current_from(unsigned capture, struct xctx__registers *registers);

xctx_bound *xctx__bind_from(void *(*fn)(void *), void *arg, unsigned capture, struct xctx__registers *registers);

int xctx__thread_create_from(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg,
                             struct xctx__registers *registers);

/* As xctx_thread_create(), capturing what is captured by default. */
int xctx__thread_create_capturing(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*fn)(void *),
                                  void *arg);

#endif
