/* SPDX-License-Identifier: MIT */
/*
 * Chains of snapshots: each points to the one that its context carried. A chain that goes on for ever, as that of a
 * timer that sets itself again, must not keep everything: it has a limit of links and one of bytes. A snapshot is
 * immutable, and may be part of many chains, so the end of one cannot be cut off. Where a limit is passed, the newest
 * links, half as many as are allowed, are made anew as *abridged* snapshots, which share the bytes of those they stand
 * for and end in nothing: so each link is copied at most about once.
 */
#ifndef XCTX_CAPTURE_CHAIN_H
#define XCTX_CAPTURE_CHAIN_H

#include <stdbool.h>

#include "context/record.h"
#include "snapshot_internal.h"

enum { XCTX__SNAPSHOT_SPARE_MOST = 64 * 1024 }; /* bytes of memory that a thread keeps for its next snapshot */

/* Memory for a snapshot; NULL: there is none. */
xctx_snapshot *xctx__snapshot_allocate(struct slot *slot, unsigned reserved, size_t stack_room);

/* Frees what the running thread keeps for its next snapshot. */
void xctx__snapshot_trim(struct slot *slot);

extern _Atomic size_t xctx__chain_parents __attribute__((visibility("hidden")));
extern _Atomic size_t xctx__chain_limit __attribute__((visibility("hidden")));

#endif
