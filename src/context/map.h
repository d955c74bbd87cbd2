/* SPDX-License-Identifier: MIT */
/*
 * The map from variables to values, immutable while it is shared.
 *
 * A variable is a small number. Numbers below XCTX__FLAT_LIMIT index an array in the map itself, as long as the largest
 * of them needs; the others live in a trie of bitmap-compressed nodes (trie.h). Most programs never get there.
 *
 * An entry is a word: the value itself, or for a variable with a `release` operation a cell (cell.h) that holds it, or
 * XCTX__ABSENT. Which of the two it is depends on the variable and is noted in `cells`, so that a map can be copied
 * and freed without knowing the variables.
 *
 * Maps are counted in two places: `refs`, and the `owed` of contexts that have pinned the map. context_internal.h says
 * how; this file only reads and builds. The head of `struct map` is repeated in include/xctx/inline.h.
 */
#ifndef XCTX_CONTEXT_MAP_H
#define XCTX_CONTEXT_MAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <xctx/var.h>

#include "memory.h"
#include "record.h"

struct trie;

enum {
    MAP_HOOKED = 1, /* a variable with `enter` may be in it */
    MAP_FLOWS = 2,  /* a variable that does not flow by sharing may be in it */
    MAP_ANY = 4,    /* in every map: xctx__enter_mask in context_internal.h */
    MAP_CELLS = 8,  /* there are cells in `words` */
};

struct map {
    _Atomic int64_t refs;
    uint32_t limit;    /* length of `words` */
    uint32_t flags;    /* MAP_*: never cleared, since that would need a search */
    uint64_t cells[4]; /* bit i % 64 of cells[i / 64]: words[i] is a cell, if it is not absent */
    struct trie *rest;
    uint32_t hole; /* of a ready map only: ready.h */
    uint32_t unused;
    void *words[];
};

#define XCTX__NO_HOLE UINT32_MAX

/* One entry, on its way into a map. */
struct entry {
    uint32_t id;
    uint32_t flags; /* MAP_* of its variable */
    bool is_cell;
    void *word;
};

extern struct map xctx__map_empty __attribute__((visibility("hidden")));
#define XCTX__ABSENT XCTX_RESERVED_VALUE

void *xctx__map_get_rest(const struct map *map, uint32_t id);

/* The word of a variable; XCTX__ABSENT if there is none. */
static inline void *xctx__map_get(const struct map *map, uint32_t id)
{
    return XCTX__LIKELY(id < map->limit) ? map->words[id] : xctx__map_get_rest(map, id);
}

/* Whether an entry can be put without allocating, so long as nobody else refers to the map. */
bool xctx__map_has_room(const struct map *map, uint32_t id);

static inline bool xctx__map_is_cell(const struct map *map, uint32_t id)
{
    return map->cells[id / 64] >> (id % 64) & 1;
}

/* Puts an entry into a map that nobody else refers to and that has room; takes the reference in `entry`, gives that of
   the old word to the caller and returns it. */
void *xctx__map_put(struct map *map, const struct entry *entry);

/* A map with that entry more: new, one reference. Takes the reference in `entry` unless it fails. NULL: no memory. */
struct map *xctx__map_with(const struct map *map, const struct entry *entry);

/* A copy that shares no node, only the cells. NULL: no memory. */
struct map *xctx__map_clone(const struct map *map);

/* Memory for xctx__map_copy_into(); nothing in it is set. NULL: there is none. xctx__map_unreserve() gives it back. */
struct map *xctx__map_reserve(void);
void xctx__map_unreserve(struct map *reserved);

/* xctx__map_clone() into reserved memory. Async-signal-safe. False: there is a trie, which takes more memory; nothing
   is done. */
bool xctx__map_copy_into(struct map *reserved, const struct map *map);

/* What a copied context gets: each entry as its variable's flow says. Calls `clone` operations. NULL: no memory. */
struct map *xctx__map_flow(const struct map *map);

/* The same for a computation that goes on twice: values that copies do not have are shared. */
struct map *xctx__map_fork(const struct map *map);

/* Frees the running thread's spare maps. */
void xctx__map_trim(struct record *record);

/* Calls fn for every entry that is present, in the order of the numbers, until it returns non-zero. */
int xctx__map_each(const struct map *map, int (*fn)(uint32_t id, void *word, bool is_cell, void *user), void *user);

/* ---- inline, for the quick paths ---- */

/* Whether a map is nothing but an array of plain words: it can be copied and dropped without looking at them. */
static inline bool xctx__map_is_plain(const struct map *map)
{
    return !(map->flags & MAP_CELLS) && !map->rest;
}

/* Which of the XCTX__MAP_SIZES an array of that length, not 0, has. */
static inline uint32_t xctx__map_size(uint32_t limit)
{
    return (uint32_t)__builtin_ctz(limit) - (uint32_t)__builtin_ctz(XCTX__SMALLEST_MAP);
}

/* A spare map with an array of that length; nothing in it is set but the limit. There must be one. */
static inline struct map *xctx__map_take_spare(struct record *record, uint32_t limit)
{
    uint32_t size = xctx__map_size(limit);
    struct map *map = record->free_maps[size];

    record->free_maps[size] = (struct map *)map->rest;
    record->free_map_count[size]--;
    return map;
}

/* Keeps the memory of a map, which is not xctx__map_empty, for the thread's next ones. False: there are enough; of each
   larger size that is half as many. */
static inline bool xctx__map_put_spare(struct record *record, struct map *map)
{
    uint32_t size = xctx__map_size(map->limit);

    if (record->free_map_count[size] >= (XCTX__FREE_LIMIT / 2) >> size)
        return false;
    map->rest = (struct trie *)record->free_maps[size];
    record->free_maps[size] = map;
    record->free_map_count[size]++;
    return true;
}

/* Into an array that is as long or longer. In chunks of a constant size: a call costs more than copying so little. */
static inline void xctx__map_copy_words(struct map *to, const struct map *from)
{
    for (uint32_t i = 0; i < from->limit; i += XCTX__SMALLEST_MAP)
        memcpy(&to->words[i], &from->words[i], XCTX__SMALLEST_MAP * sizeof(void *));
}

/* Frees a map to which nobody refers any more, and gives back what it refers to: calls `release` operations. */
void xctx__map_free(struct map *map);

#endif
