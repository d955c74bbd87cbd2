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
 *
 * All slabs are in a table, for debuggers (debug.h) and for signal handlers, which ask which stack an address is on. It
 * is made of pages that stay where they are as long as the process lives.
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

/* The bounds of the fiber's stack that an address is on, or in the guard of. False: it is on none. Async-signal-safe
   for addresses on the stack that the thread runs on, and in its guard: others may go while this looks. */
bool xctx__stacks_bounds(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high);

/* ---- the table of slabs ---- */

enum { STACKS_PAGE_SLABS = 255 };

/* Of a slab: `end` is 0 where there is none. */
struct slab_entry {
    _Atomic uintptr_t begin; /* the struct slab; of an entry that is free, the next such one */
    _Atomic uintptr_t end;   /* written last with release, cleared first: an end that is there has its beginning */
};

struct slab_page {
    struct slab_page *_Atomic next;
    _Atomic uint64_t used; /* how many of its entries were ever used */
    struct slab_entry entries[STACKS_PAGE_SLABS];
};

/* The first one, in debug.c. */
extern struct slab_page xctx__slab_pages __attribute__((visibility("hidden")));

struct kind;

struct slab {
    struct slab *next;
    struct slab *previous;
    struct kind *kind;
    struct slab_entry *entry;
    char *stacks; /* the first fiber's guard */
    size_t bytes; /* of all */
    size_t guard;
    size_t size; /* of one stack */
    xctx_fiber *free;
    uint32_t free_count;
    uint32_t fresh; /* how many of the free ones, the last ones of the slab, were never used */
    uint32_t count;
    xctx_fiber fibers[];
};

void xctx__stacks_before_fork(void);
void xctx__stacks_after_fork(void);

#endif
