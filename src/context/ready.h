/* SPDX-License-Identifier: MIT */
/*
 * Ready maps: the first change in a fresh copy of a context, without counting every value up and down.
 *
 * A map owns a reference to each of its cells. So building a changed map beside a shared one counts all the others up,
 * and freeing it counts them down again: two atomic operations for each value with a `release` operation, on memory
 * that every thread wants which works from the same base. But the next piece of work on this thread will usually start
 * from the same base. So a map that is to be freed and equals a base but for a few words is kept, as a *ready* map of
 * that base: without the words in which it differs, and with a *hole* in the place of the first of them, which is most
 * probably the one that will be set next. Who changes a copy of that base takes it, and counts nothing.
 *
 * A ready map holds nothing that its base does not hold, and it goes as soon as the base does, or changes. So no value
 * lives longer for it, and dropping it calls no `release` operation. There are two places for one:
 *
 *   - slot->ready, for the map that is pinned by the pin in use (context_internal.h). It belongs to the thread, is
 *     dropped when the pin goes out of use, and when that map is changed in place.
 *   - leaf->ready, for the map of a leaf (share.h). The thread takes it and puts it back by exchange; revoking the leaf
 *     takes it away for good.
 *
 * Only maps without a trie are kept.
 */
#ifndef XCTX_CONTEXT_READY_H
#define XCTX_CONTEXT_READY_H

#include <stdbool.h>

#include "map.h"

struct slot;

/* A map with that entry more than `base`, as xctx__map_with(), from a ready one; NULL: there is none. */
struct map *xctx__ready_with(struct slot *slot, const struct map *base, const struct entry *entry);

/* Keeps a map, to which nobody refers any more, as a ready one. False: it is still the caller's. Calls `release`
   operations. */
bool xctx__ready_keep(struct slot *slot, struct map *map);

/* Drops the ready map of the pin in use. Its base must still be there. */
void xctx__ready_drop(struct slot *slot);

/* Frees the ready maps of leaves that were revoked, linked by `rest`. Their base must still be there. */
void xctx__ready_free(struct map *maps);

#endif
