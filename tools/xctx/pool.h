/* SPDX-License-Identifier: MIT */
/*
 * A pool of threads as many programs have one: a queue of functions and arguments, and nothing of xctx.
 */
#ifndef XCTX_TOOL_POOL_H
#define XCTX_TOOL_POOL_H

#include <stddef.h>

struct pool;

/* Starts `threads` threads. Returns 0 or a negative errno. */
int pool_create(struct pool **ret_pool, size_t threads);

/* Has one of the threads call `fn`. Waits while the queue is full, so it must not be called by the pool's threads. */
void pool_submit(struct pool *pool, void (*fn)(void *), void *arg);

/* Waits until everything submitted is done, and ends the pool. NULL is allowed. */
void pool_destroy(struct pool *pool);

/* The number of the running thread in its pool, from 1; 0 for a thread of no pool. */
unsigned pool_thread_number(void);

#endif
