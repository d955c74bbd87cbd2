/* SPDX-License-Identifier: MIT */
/* Copies of one context by many threads: see share.h. */
#include "share.h"

#include "context_internal.h"
#include "memory.h"

static void leaf_drop(struct leaf *leaf)
{
    if (atomic_fetch_sub_explicit(&leaf->owners, 1, memory_order_acq_rel) == 1)
        xctx__free(leaf);
}

void xctx__leaf_leave(struct record *record)
{
    struct leaf *leaf = record->leaf;

    record->leaf = NULL;
    record->streak_of = NULL;
    if (!leaf)
        return;
    /* Release: the next thread that adopts the leaf comes after our last use. Partner: leaf_adopt(). */
    atomic_store_explicit(&leaf->has_thread, 0, memory_order_release);
    leaf_drop(leaf);
}

/* A leaf that a thread has left. */
static struct leaf *leaf_adopt(struct extra *extra)
{
    for (struct leaf *leaf = extra->leaves; leaf; leaf = leaf->next) {
        uint32_t none = 0;
        if (atomic_compare_exchange_strong_explicit(&leaf->has_thread, &none, 1, memory_order_acq_rel,
                                                    memory_order_relaxed)) {
            atomic_fetch_add_explicit(&leaf->owners, 1, memory_order_relaxed);
            return leaf;
        }
    }
    return NULL;
}

static struct leaf *leaf_create(xctx_context *context)
{
    struct extra *extra = xctx__extra(context);
    struct leaf *leaf = xctx__allocate_aligned(_Alignof(struct leaf), sizeof(*leaf));

    if (!leaf)
        return NULL;
    atomic_init(&leaf->count, 0);
    leaf->map = context->root;
    leaf->context = context;
    atomic_init(&leaf->ready, NULL);
    leaf->next = extra->leaves;
    atomic_init(&leaf->owners, 2);
    atomic_init(&leaf->has_thread, 1);
    if (!extra->leaves)
        atomic_fetch_add_explicit(&context->root->refs, PIN, memory_order_relaxed);
    extra->leaves = leaf;
    return leaf;
}

void xctx__leaf_consider(struct record *record, xctx_context *context)
{
    if (record->streak_of != context) {
        record->streak_of = context;
        record->streak = 0;
    }
    if (++record->streak < LEAF_STREAK)
        return;
    record->streak = 0;
    struct extra *extra = xctx__context_extra(context);
    if (!extra)
        return;
    struct leaf *leaf = leaf_adopt(extra);
    if (!leaf)
        leaf = leaf_create(context);
    if (leaf) {
        xctx__leaf_leave(record);
        record->leaf = leaf;
    }
}

void xctx__leaf_settle(struct leaf *leaf)
{
    /* First up, then down: too high a count for a moment does no harm. Partner: xctx__leaves_revoke(). */
    atomic_fetch_add_explicit(&leaf->map->refs, XCTX__LEAF_MOST, memory_order_relaxed);
    if (atomic_fetch_sub_explicit(&leaf->count, XCTX__LEAF_MOST, memory_order_acq_rel) < LEAF_REVOKED / 2)
        atomic_fetch_sub_explicit(&leaf->map->refs, XCTX__LEAF_MOST, memory_order_release); /* revoked meanwhile */
}

struct map *xctx__leaves_revoke(xctx_context *context)
{
    struct extra *extra = xctx__extra(context);
    struct leaf *leaf = extra->leaves;
    struct map *ready_maps = NULL;
    int64_t count = 0;

    if (!leaf)
        return NULL;
    extra->leaves = NULL;
    while (leaf) {
        struct leaf *next = leaf->next;
        count += atomic_exchange_explicit(&leaf->count, LEAF_REVOKED, memory_order_acq_rel);
        struct map *ready = atomic_exchange_explicit(&leaf->ready, LEAF_NOT_READY, memory_order_acq_rel);
        if (ready) {
            ready->rest = (struct trie *)ready_maps;
            ready_maps = ready;
        }
        leaf_drop(leaf);
        leaf = next;
    }
    /* Not the last references: the context has its own. */
    atomic_fetch_add_explicit(&context->root->refs, count - PIN, memory_order_acq_rel);
    return ready_maps;
}
