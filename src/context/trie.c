/* SPDX-License-Identifier: MIT */
/* The trie for large variable numbers: see trie.h. */
#include "trie.h"

#include <stddef.h>
#include <string.h>

#include "cell.h"
#include "memory.h"

enum { FANOUT = 1 << XCTX__TRIE_BITS, LEVELS = (32 + XCTX__TRIE_BITS - 1) / XCTX__TRIE_BITS };

static uint32_t child_number(uint32_t level, uint32_t id)
{
    return (id >> (level * XCTX__TRIE_BITS)) & (FANOUT - 1);
}

/* __builtin_popcount() is a call where the processor need not have the instruction. */
static uint32_t count_bits(uint32_t bits)
{
    bits -= bits >> 1 & 0x55555555;
    bits = (bits & 0x33333333) + (bits >> 2 & 0x33333333);
    return ((bits + (bits >> 4)) & 0x0f0f0f0f) * 0x01010101 >> 24;
}

/* Where the child with that bit is among those present. */
static uint32_t child_index(uint32_t present, uint32_t bit)
{
    return count_bits(present & (bit - 1));
}

/* Whether a tree of that level has a place for a number. */
static bool covers(uint32_t level, uint32_t id)
{
    return level + 1 >= LEVELS || id >> ((level + 1) * XCTX__TRIE_BITS) == 0;
}

static struct trie *node_create(uint32_t level, uint32_t present)
{
    uint32_t children = level > 0 ? count_bits(present) : FANOUT;
    struct trie *node = xctx__allocate(sizeof(struct trie) + children * sizeof(void *));

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
        return XCTX__ABSENT;
    while (trie->level > 0) {
        uint32_t bit = UINT32_C(1) << child_number(trie->level, id);
        if (!(trie->present & bit))
            return XCTX__ABSENT;
        trie = trie->children[child_index(trie->present, bit)];
    }
    return trie->children[child_number(0, id)];
}

void **xctx__trie_private(struct trie *trie, uint32_t id)
{
    if (!covers(trie->level, id))
        return NULL;
    for (;;) {
        /* Acquire: the reads of those who shared the node before come before our write. */
        if (atomic_load_explicit(&trie->refs, memory_order_acquire) != 1)
            return NULL;
        if (trie->level == 0)
            return &trie->children[child_number(0, id)];
        uint32_t bit = UINT32_C(1) << child_number(trie->level, id);
        if (!(trie->present & bit))
            return NULL;
        trie = trie->children[child_index(trie->present, bit)];
    }
}

void xctx__trie_note_cell(struct trie *trie, uint32_t id)
{
    while (trie->level > 0)
        trie = trie->children[child_index(trie->present, UINT32_C(1) << child_number(trie->level, id))];
    trie->cells |= UINT32_C(1) << child_number(0, id);
}

static void refer_to_cells(const struct trie *leaf)
{
    for (uint32_t left = leaf->cells; left; left &= left - 1) {
        void *word = leaf->children[__builtin_ctz(left)];
        if (word != XCTX__ABSENT)
            xctx__cell_ref(word);
    }
}

/* A leaf like `old` (NULL: an empty one) with that entry. */
static struct trie *leaf_with(const struct trie *old, const struct entry *entry)
{
    struct trie *leaf = node_create(0, 0);
    uint32_t number = child_number(0, entry->id);

    if (!leaf)
        return NULL;
    for (uint32_t i = 0; i < FANOUT; i++)
        leaf->children[i] = old && i != number ? old->children[i] : XCTX__ABSENT;
    leaf->cells = old ? old->cells : 0;
    refer_to_cells(leaf);
    leaf->children[number] = entry->word;
    if (entry->is_cell)
        leaf->cells |= UINT32_C(1) << number;
    return leaf;
}

/* A node of a level above 0 like `old` (NULL: an empty one), with `child` at the place of `bit`. Takes over `child`. */
static struct trie *node_with(const struct trie *old, uint32_t level, uint32_t bit, struct trie *child)
{
    uint32_t others = old ? old->present & ~bit : 0;
    struct trie *node = node_create(level, others | bit);

    if (!node)
        return NULL;
    for (uint32_t left = others; left; left &= left - 1) {
        uint32_t other = left & -left;
        node->children[child_index(node->present, other)] =
            xctx__trie_ref(old->children[child_index(old->present, other)]);
    }
    node->children[child_index(node->present, bit)] = child;
    return node;
}

/* The path to an entry, built from its end; the rest is shared with `old`, a tree of that level or NULL. */
static struct trie *path_with(const struct trie *old, uint32_t level, const struct entry *entry)
{
    if (level == 0)
        return leaf_with(old, entry);
    uint32_t bit = UINT32_C(1) << child_number(level, entry->id);
    const struct trie *below = old && (old->present & bit) ? old->children[child_index(old->present, bit)] : NULL;
    struct trie *child = path_with(below, level - 1, entry);
    if (!child)
        return NULL;
    struct trie *node = node_with(old, level, bit, child);
    if (!node) {
        /* The path below holds the entry, which stays the caller's. Above it only the bits for its level count. */
        *xctx__trie_private(child, entry->id & ((UINT32_C(1) << (level * XCTX__TRIE_BITS)) - 1)) = XCTX__ABSENT;
        xctx__trie_unref(child);
    }
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
    if (trie->level == 0) {
        memcpy(clone->children, trie->children, FANOUT * sizeof(void *));
        clone->cells = trie->cells;
        refer_to_cells(clone);
        return clone;
    }
    for (uint32_t left = trie->present; left; left &= left - 1, i++) {
        clone->children[i] = xctx__trie_clone(trie->children[i]);
        if (!clone->children[i]) {
            clone->present &= ~left; /* keep those before this one, to free them */
            xctx__trie_unref(clone);
            return NULL;
        }
    }
    return clone;
}

int xctx__trie_each(const struct trie *trie, uint32_t prefix,
                    int (*fn)(uint32_t id, void *word, bool is_cell, void *user), void *user)
{
    int result = 0;
    uint32_t i = 0;

    prefix <<= XCTX__TRIE_BITS;
    if (trie->level == 0) {
        for (; i < FANOUT && !result; i++)
            if (trie->children[i] != XCTX__ABSENT)
                result = fn(prefix | i, trie->children[i], trie->cells >> i & 1, user);
        return result;
    }
    for (uint32_t left = trie->present; left && !result; left &= left - 1, i++)
        result = xctx__trie_each(trie->children[i], prefix | (uint32_t)__builtin_ctz(left), fn, user);
    return result;
}

/* Relaxed: the caller has a reference. */
struct trie *xctx__trie_ref(struct trie *trie)
{
    atomic_fetch_add_explicit(&trie->refs, 1, memory_order_relaxed);
    return trie;
}

void xctx__trie_unref(struct trie *trie)
{
    uint32_t i = 0;

    /* Acquire: others' reads of the node come before it is freed. Partner: their subtraction here. */
    if (atomic_load_explicit(&trie->refs, memory_order_acquire) != 1 &&
        atomic_fetch_sub_explicit(&trie->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (trie->level > 0) {
        for (uint32_t left = trie->present; left; left &= left - 1, i++)
            xctx__trie_unref(trie->children[i]);
    } else {
        for (uint32_t left = trie->cells; left; left &= left - 1) {
            void *word = trie->children[__builtin_ctz(left)];
            if (word != XCTX__ABSENT)
                xctx__cell_unref(word);
        }
    }
    xctx__free(trie);
}
