/* SPDX-License-Identifier: MIT */
/*
 * A persistent radix trie from numbers to words, for the variables that do not fit a map's array.
 *
 * A node of level n > 0 has up to 2^XCTX__TRIE_BITS children, nodes of level n - 1; only those present take room, found
 * by counting bits (Bagwell, "Ideal Hash Trees", 2001, without the hash). A node of level 0, a leaf, has as many words,
 * all of them there: that is where every read ends. Nodes are counted and immutable while more than one tree refers to
 * them.
 */
#ifndef XCTX_CONTEXT_TRIE_H
#define XCTX_CONTEXT_TRIE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "map.h"

struct trie {
    _Atomic uint32_t refs;
    uint32_t level;
    uint32_t present; /* level > 0, bit i: there is a child i */
    uint32_t cells;   /* level 0, bit i: that word is a cell, if it is not absent */
    void *children[];
};

void *xctx__trie_get(const struct trie *trie, uint32_t id);

/* Where the word of that number goes, if there is a leaf for it and no other tree refers to a node on the way; else
   NULL. */
void **xctx__trie_private(struct trie *trie, uint32_t id);

/* Notes that the word of a number, which is there, is a cell. */
void xctx__trie_note_cell(struct trie *trie, uint32_t id);

/* A tree with that entry more (or in place of the old one), sharing what it can. `trie` may be NULL. Takes the
   reference in `entry` unless it fails. NULL: no memory. */
struct trie *xctx__trie_with(const struct trie *trie, const struct entry *entry);

/* A copy that shares no node. NULL: no memory. */
struct trie *xctx__trie_clone(const struct trie *trie);

int xctx__trie_each(const struct trie *trie, uint32_t prefix,
                    int (*fn)(uint32_t id, void *word, bool is_cell, void *user), void *user);

struct trie *xctx__trie_ref(struct trie *trie);
void xctx__trie_unref(struct trie *trie);

#endif
