/* SPDX-License-Identifier: MIT */
/* Chains and their limits: see chain.h. */
#include "chain.h"

#include <errno.h>
#include <string.h>

#include "context/context_internal.h"

_Atomic size_t xctx__chain_parents = XCTX_SNAPSHOT_PARENTS_DEFAULT;
_Atomic size_t xctx__chain_limit = XCTX_SNAPSHOT_CHAIN_DEFAULT;

int xctx_set_chain_limits(size_t parents, size_t bytes)
{
    if (parents > XCTX_SNAPSHOT_PARENTS_MAX)
        return -EINVAL;
    atomic_store_explicit(&xctx__chain_parents, parents, memory_order_relaxed);
    atomic_store_explicit(&xctx__chain_limit, bytes, memory_order_relaxed);
    return 0;
}

/* Copies the members of a snapshot from one offset to another. */
static void copy_part(xctx_snapshot *to, const xctx_snapshot *from, size_t begin, size_t end)
{
    memcpy((uint8_t *)to + begin, (const uint8_t *)from + begin, end - begin);
}

static inline void attach(xctx_snapshot *snapshot, xctx_snapshot *parent)
{
    snapshot->parent = parent;
    snapshot->depth = parent->depth + 1;
    snapshot->chain_bytes = snapshot->size + parent->chain_bytes;
}

/* A link that stands for another, without its past. NULL: no memory. */
static xctx_snapshot *abridge(const xctx_snapshot *link)
{
    xctx_snapshot *abridged = xctx__allocate_aligned(_Alignof(xctx_snapshot), sizeof(*abridged));

    if (!abridged)
        return NULL;
    /* All but the counts and the context, which other threads may be changing. */
    copy_part(abridged, link, offsetof(xctx_snapshot, size), offsetof(xctx_snapshot, context));
    copy_part(abridged, link, offsetof(xctx_snapshot, context) + sizeof(link->context), sizeof(*link));
    atomic_init(&abridged->refs, 1);
    atomic_init(&abridged->uses, 1);
    atomic_init(&abridged->context, NULL);
    abridged->bits = (link->bits & (uint8_t)~SNAPSHOT_CUT) | SNAPSHOT_ABRIDGED;
    abridged->parent = NULL;
    abridged->reserved_map = NULL;
    atomic_fetch_add_explicit(&abridged->whole->uses, 1, memory_order_relaxed);
    if (abridged->root)
        atomic_fetch_add_explicit(&abridged->root->refs, 1, memory_order_relaxed);
    return abridged;
}

/* The newest links of a chain, at most `most` and at most `bytes` altogether, as new ones. NULL: none of them, or no
   memory. New. */
static xctx_snapshot *abridge_chain(const xctx_snapshot *chain, size_t most, size_t bytes)
{
    xctx_snapshot *newest = NULL;
    xctx_snapshot *oldest = NULL;
    uint64_t total = 0;
    uint32_t count = 0;

    for (; chain && count < most && chain->size <= bytes - total; chain = chain->parent) {
        xctx_snapshot *link = abridge(chain);
        if (!link)
            break;
        *(oldest ? &oldest->parent : &newest) = link;
        oldest = link;
        total += link->size;
        count++;
    }
    if (oldest)
        oldest->bits |= SNAPSHOT_CUT;
    for (xctx_snapshot *link = newest; link; link = link->parent) {
        link->depth = --count;
        link->chain_bytes = total;
        total -= link->size;
    }
    return newest;
}

/* Links a snapshot to the newest part of a chain that is too long. */
static void shorten(xctx_snapshot *snapshot, const xctx_snapshot *parent)
{
    size_t parents = atomic_load_explicit(&xctx__chain_parents, memory_order_relaxed);
    size_t bytes = atomic_load_explicit(&xctx__chain_limit, memory_order_relaxed);
    xctx_snapshot *kept = NULL;

    if (snapshot->size < bytes)
        kept = abridge_chain(parent, (parents + 1) / 2, (bytes - snapshot->size + 1) / 2);
    if (kept)
        attach(snapshot, kept);
    else
        snapshot->bits |= SNAPSHOT_CUT;
}

void xctx__snapshot_link(xctx_snapshot *snapshot, xctx_snapshot *parent)
{
    if (parent->depth < atomic_load_explicit(&xctx__chain_parents, memory_order_relaxed) &&
        parent->chain_bytes + snapshot->size <= atomic_load_explicit(&xctx__chain_limit, memory_order_relaxed))
        attach(snapshot, xctx_snapshot_ref(parent));
    else
        shorten(snapshot, parent);
}

void xctx__snapshot_link_end(xctx_snapshot *snapshot, xctx_snapshot *parent)
{
    attach(snapshot, xctx_snapshot_ref(parent));
}
