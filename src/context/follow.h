/* SPDX-License-Identifier: MIT */
/*
 * Threads that follow a runtime (include/xctx/follow.h).
 *
 * Nothing of it is on the quick paths. On a thread that follows, the slot shows the empty map in place of its
 * context's: so reading in place, and setting quickly, find no room, and go the slow way, which looks at the version.
 * Such a thread pins nothing: so copying goes the slow way too. Entering and leaving are told by a bit among the
 * watchers, which is set for good when the first thread follows, and blinds the slot again after each switch.
 *
 * So whatever reads the map of the thread's own slot takes xctx__slot_map(), unless it is a quick path that the empty
 * map turns away; and whatever depends on what is current begins with xctx__follow().
 */
#ifndef XCTX_CONTEXT_FOLLOW_H
#define XCTX_CONTEXT_FOLLOW_H

#include "context_internal.h"

enum { FOLLOW_WATCHER = 31 }; /* the bit in xctx__watchers */

/* 1: there is somebody to ask threads. */
extern _Atomic uint8_t xctx__follow_asks __attribute__((visibility("hidden")));

void xctx__follow_slowly(struct slot *slot);

/* Before the running thread, whose slot it is, looks at what is current: finds out what is. */
static inline void xctx__follow(struct slot *slot)
{
    if (XCTX__UNLIKELY(slot->follower || slot->asked != atomic_load_explicit(&xctx__follow_asks, memory_order_relaxed)))
        xctx__follow_slowly(slot);
}

/* After it changed variables of its current context, and copied it. */
void xctx__follow_changed(struct slot *slot);
void xctx__follow_copied(struct slot *slot, xctx_context *copy);

/* The map that the current context has. The slot shows it a moment later. */
static inline struct map *xctx__current_map(const struct slot *slot)
{
    return slot->current ? slot->current->root : &xctx__map_empty;
}

/*
 * The map of the current context, for all who read. It is the slot's, where that shows it, and not the context's: a
 * signal handler may have interrupted the thread when it had given the context another map and had yet to show that.
 * The quick paths and snapshots read the slot's; were the context's read here, a handler would find the values of two
 * moments. On a thread that follows, handlers take snapshots alone, and those leave out what is being changed
 * (take_variables_safely()).
 */
static inline struct map *xctx__slot_map(const struct slot *slot)
{
    return XCTX__LIKELY(!slot->follower) ? slot->root : xctx__current_map(slot);
}

/* Whatever a signal handler finds in the slot is stored before what follows. For the compiler: the processor interrupts
   between instructions. */
static inline void xctx__slot_stored(void)
{
    atomic_signal_fence(memory_order_seq_cst);
}

/* Shows the map of the current context to the quick paths, or not. The map that was shown before may be freed then. */
static inline void xctx__slot_show(struct slot *slot)
{
    slot->root = XCTX__LIKELY(!slot->follower) ? xctx__current_map(slot) : &xctx__map_empty;
    xctx__slot_stored();
}

/* The thread ends. */
void xctx__follow_thread_end(struct slot *slot);

#endif
