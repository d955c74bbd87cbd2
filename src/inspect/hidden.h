/* SPDX-License-Identifier: MIT */
/*
 * What the values of secret context variables point to, for reports of this process. Core files have zeros there, and
 * say so: src/core/hidden.c, whose rules these are.
 */
#ifndef XCTX_INSPECT_HIDDEN_H
#define XCTX_INSPECT_HIDDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xctx/core.h>

#include "arena.h"
#include "capture/snapshot_internal.h"

struct hidden {
    xctx_core_blank *ranges;
    size_t count;
};

/* Finds what the values in a chain, that begins with `first`, point to as `snapshot`, one of the chain, captured it; as
   it is now, where that is not captured. In `arena`. Returns 0 or -ENOMEM. */
int xctx__hidden_find(const xctx_snapshot *first, const xctx_snapshot *snapshot, struct arena *arena,
                      struct hidden *ret_hidden);

/* Whether some of those bytes are hidden. */
bool xctx__hidden_touches(const struct hidden *hidden, uint64_t address, uint64_t size);

#endif
