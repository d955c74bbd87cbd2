/* SPDX-License-Identifier: MIT */
/*
 * The memory of fibers and their stacks.
 *
 * A slab is one mapping, of stacks of one size: first the fibers, then for each its guard and its stack above. A thread
 * keeps free fibers of the kind that it has used last in its record, and exchanges them with the slabs in batches,
 * under one lock. A slab that is all free goes back to the system, if there is another one with free fibers.
 *
 * Guards are markers in the page tables where the kernel has these (MADV_GUARD_INSTALL, Linux 6.13): slabs then lie
 * side by side as one mapping, however many fibers there are. Elsewhere each guard is a mapping of its own, and the
 * number of these is limited (vm.max_map_count): to some 32,000 fibers, usually.
 */
#ifndef XCTX_FIBER_STACKS_H
#define XCTX_FIBER_STACKS_H

#include "fiber_internal.h"

/* A fiber of which nothing is set but `low`, `high` and what belongs to the slab. NULL: no memory. */
xctx_fiber *xctx__stacks_take(struct record *record, size_t stack_size, uint32_t guard);

/* `record` is the running thread's. */
void xctx__stacks_put(struct record *record, xctx_fiber *fiber);

/* Gives back what a thread has kept. */
void xctx__stacks_trim(struct record *record);

/* How many bytes below fiber->low cannot be touched. */
size_t xctx__stacks_guard(const xctx_fiber *fiber);

void xctx__stacks_before_fork(void);
void xctx__stacks_after_fork(void);

#endif
