/* SPDX-License-Identifier: MIT */
/* The trie for large variable numbers: see trie.h. */
#include "trie.h"

#include <assert.h>
#include <stddef.h>

#include "cell.h"
#include "memory.h"

enum { FANOUT = 1 << XCTX__TRIE_BITS, LEVELS = (32 + XCTX__TRIE_BITS - 1) / XCTX__TRIE_BITS };

static uint32_t child_bit(uint32_t level, uint32_t id)
{
    return UINT32_C(1) << ((id >> (level * XCTX__TRIE_BITS)) & (FANOUT - 1));
}

static uint32_t child_index(uint32_t present, uint32_t bit)
{
    return (uint32_t)__builtin_popcount(present & (bit - 1));
}

/* Whether a tree of that level has a place for a number. */
static bool covers(uint32_t level, uint32_t id)
{
    return level + 1 >= LEVELS || id >> ((level + 1) * XCTX__TRIE_BITS) == 0;
}

static struct trie *node_create(uint32_t level, uint32_t present)
{
    size_t size = sizeof(struct trie) + (size_t)__builtin_popcount(present) * sizeof(void *);
    struct trie *node = xctx__allocate(size);

    if (node) {
        atomic_init(&node->refs, 1);
        node->level = level;
        node->present = present;
        node->cells = 0;
    }
    return node;
}

void *xctx__trie_get(const struct trie *trie, uint32_t id)
{
    if (!covers(trie->level, id))
        return xctx__absent;
    for (;;) {
        uint32_t bit = child_bit(trie->level, id);
        if (!(trie->present & bit))
            return xctx__absent;
        void *child = trie->children[child_index(trie->present, bit)];
        if (trie->level == 0)
            return child;
        trie = child;
    }
}

void **xctx__trie_private(struct trie *trie, uint32_t id)
{
    if (!covers(trie->level, id))
        return NULL;
    for (;;) {
        uint32_t bit = child_bit(trie->level, id);
        /* Acquire: the reads of those who shared the node before come before our write. */
        if (!(trie->present & bit) || atomic_load_explicit(&trie->refs, memory_order_acquire) != 1)
            return NULL;
        void **child = &trie->children[child_index(trie->present, bit)];
        if (trie->level == 0)
            return child;
        trie = *child;
    }
}

static void child_ref(const struct trie *node, uint32_t bit, void *child)
{
    if (node->level > 0)
        xctx__trie_ref(child);
    else if ((node->cells & bit) && child != xctx__absent)
        xctx__cell_ref(child);
}

/* A node like `old` (NULL: an empty one) of that level, with `child` at the place of `bit`. Takes over `child`. */
static struct trie *node_with(const struct trie *old, uint32_t level, uint32_t bit, void *child)
{
    uint32_t others = old ? old->present & ~bit : 0;
    struct trie *node = node_create(level, others | bit);

    if (!node)
        return NULL;
    if (old)
        node->cells = old->cells & ~bit;
    for (uint32_t left = others; left; left &= left - 1) {
        uint32_t other = left & -left;
        void *shared = old->children[child_index(old->present, other)];
        child_ref(old, other, shared);
        node->children[child_index(node->present, other)] = shared;
    }
    node->children[child_index(node->present, bit)] = child;
    return node;
}

/* The path to an entry, built from its end; the rest is shared with `old`, a tree of that level or NULL. */
static struct trie *path_with(const struct trie *old, uint32_t level, const struct entry *entry)
{
    uint32_t bit = child_bit(level, entry->id);
    void *child = entry->word;
    struct trie *node;

    if (level > 0) {
        const struct trie *below =
            old && (old->present & bit) ? old->children[child_index(old->present, bit)] : NULL;
        child = path_with(below, level - 1, entry);
        if (!child)
            return NULL;
    }
    node = node_with(old, level, bit, child);
    if (!node) {
        if (level > 0) {
            /* The path below holds the entry, which stays the caller's. */
            void **word = xctx__trie_private(child, entry->id & ((UINT32_C(1) << (level * XCTX__TRIE_BITS)) - 1));
            *word = xctx__absent;
            xctx__trie_unref(child);
        }
        return NULL;
    }
    if (level == 0 && entry->is_cell)
        node->cells |= bit;
    return node;
}

struct trie *xctx__trie_with(const struct trie *trie, const struct entry *entry)
{
    struct trie *grown = NULL;

    if (!trie) {
        uint32_t level = 0;
        while (!covers(level, entry->id))
            level++;
        return path_with(NULL, level, entry);
    }
    /* Too small a tree becomes the first child of a larger one. */
    while (!covers(trie->level, entry->id)) {
        struct trie *larger = node_with(NULL, trie->level + 1, 1, (void *)(grown ? grown : trie));
        if (!larger) {
            if (grown)
                xctx__trie_unref(grown);
            return NULL;
        }
        if (!grown)
            xctx__trie_ref((struct trie *)trie);
        trie = grown = larger;
    }
    struct trie *with = path_with(trie, trie->level, entry);
    if (grown)
        xctx__trie_unref(grown);
    return with;
}

struct trie *xctx__trie_clone(const struct trie *trie)
{
    struct trie *clone = node_create(trie->level, trie->present);
    uint32_t i = 0;

    if (!clone)
        return NULL;
    clone->cells = trie->cells;
    for (uint32_t left = trie->present; left; left &= left - 1, i++) {
        if (trie->level == 0) {
            child_ref(trie, left & -left, trie->children[i]);
            clone->children[i] = trie->children[i];
        } else {
            clone->children[i] = xctx__trie_clone(trie->children[i]);
            if (!clone->children[i]) {
                clone->present &= ~left; /* keep those before this one, to free them */
                xctx__trie_unref(clone);
                return NULL;
            }
        }
    }
    return clone;
}

int xctx__trie_each(const struct trie *trie, uint32_t prefix,
                    int (*fn)(uint32_t id, void *word, bool is_cell, void *user), void *user)
{
    uint32_t i = 0;

    for (uint32_t left = trie->present; left; left &= left - 1, i++) {
        uint32_t bit = left & -left;
        uint32_t id = prefix << XCTX__TRIE_BITS | (uint32_t)__builtin_ctz(left);
        int result = 0;
        if (trie->level > 0)
            result = xctx__trie_each(trie->children[i], id, fn, user);
        else if (trie->children[i] != xctx__absent)
            result = fn(id, trie->children[i], (trie->cells & bit) != 0, user);
        if (result)
            return result;
    }
    return 0;
}

struct trie *xctx__trie_ref(struct trie *trie)
{
    atomic_fetch_add_explicit(&trie->refs, 1, memory_order_relaxed);
    return trie;
}

void xctx__trie_unref(struct trie *trie)
{
    if (atomic_load_explicit(&trie->refs, memory_order_acquire) != 1 &&
        atomic_fetch_sub_explicit(&trie->refs, 1, memory_order_acq_rel) != 1)
        return;
    uint32_t i = 0;
    for (uint32_t left = trie->present; left; left &= left - 1, i++) {
        if (trie->level > 0)
            xctx__trie_unref(trie->children[i]);
        else if ((trie->cells & left & -left) && trie->children[i] != xctx__absent)
            xctx__cell_unref(trie->children[i]);
    }
    xctx__free(trie);
}
