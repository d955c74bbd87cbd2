/* SPDX-License-Identifier: MIT */
/* The map from variables to values: see map.h. */
#include "map.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#include "cell.h"
#include "record.h"
#include "trie.h"
#include "var_internal.h"

/* Every context that has no variables refers to it. It is counted like the others, but never freed. It has no array. */
struct map xctx__map_empty = {.refs = INT64_C(1) << 60, .flags = MAP_ANY};

_Static_assert(offsetof(struct map, limit) == offsetof(struct xctx__map_head, limit_), "inline.h");
_Static_assert(offsetof(struct map, words) == sizeof(struct xctx__map_head), "inline.h");
_Static_assert(XCTX__FLAT_LIMIT <= sizeof(xctx__map_empty.cells) * 8, "a bit for each word");
_Static_assert(XCTX__FLAT_LIMIT <= XCTX__SMALLEST_MAP << (XCTX__MAP_SIZES - 1), "spares are kept of each size");

/* How long an array has to be in which that number has a place: a power of two. */
static uint32_t limit_for(uint32_t id)
{
    uint32_t limit = XCTX__SMALLEST_MAP;

    while (limit <= id)
        limit *= 2;
    return limit;
}

/* Every map but the empty one has an array, of one of the sizes that spares are kept of. */
static uint32_t limit_at_least(uint32_t limit)
{
    return limit > XCTX__SMALLEST_MAP ? limit : XCTX__SMALLEST_MAP;
}

/* Memory for a map, from the running thread's spare ones if possible; nothing in it is set. */
static struct map *map_allocate(uint32_t limit)
{
    struct record *record = xctx__slot.record;

    if (XCTX__LIKELY(record->free_maps[xctx__map_size(limit)]))
        return xctx__map_take_spare(record, limit);
    return xctx__allocate(sizeof(struct map) + limit * sizeof(void *));
}

static void map_deallocate(struct map *map)
{
    struct record *record = xctx__slot.record;

    if (!xctx__map_put_spare(record, map))
        xctx__free(map);
}

void xctx__map_trim(struct record *record)
{
    for (uint32_t size = 0; size < XCTX__MAP_SIZES; size++) {
        while (record->free_maps[size]) {
            struct map *map = record->free_maps[size];
            record->free_maps[size] = (struct map *)map->rest;
            xctx__free(map);
        }
        record->free_map_count[size] = 0;
    }
}

static struct map *map_create(uint32_t limit)
{
    limit = limit_at_least(limit);
    struct map *map = map_allocate(limit);

    if (map) {
        atomic_init(&map->refs, 1);
        map->limit = limit;
        map->flags = MAP_ANY;
        memset(map->cells, 0, sizeof(map->cells));
        map->rest = NULL;
        for (uint32_t i = 0; i < limit; i++)
            map->words[i] = XCTX__ABSENT;
    }
    return map;
}

void *xctx__map_get_rest(const struct map *map, uint32_t id)
{
    if (XCTX__LIKELY(!map->rest) || id < XCTX__FLAT_LIMIT)
        return XCTX__ABSENT;
    return xctx__trie_get(map->rest, id);
}

bool xctx__map_has_room(const struct map *map, uint32_t id)
{
    if (id < XCTX__FLAT_LIMIT)
        return id < map->limit;
    return map->rest && xctx__trie_private(map->rest, id);
}

static void note_cell(struct map *map, uint32_t id)
{
    map->flags |= MAP_CELLS;
    map->cells[id / 64] |= UINT64_C(1) << id % 64;
}

void *xctx__map_put(struct map *map, const struct entry *entry)
{
    void **word;

    map->flags |= entry->flags;
    if (entry->id < XCTX__FLAT_LIMIT) {
        /* The note before the word: a fork in between leaves an absent word that would be a cell, which is harmless. */
        if (entry->is_cell)
            note_cell(map, entry->id);
        word = &map->words[entry->id];
    } else {
        word = xctx__trie_private(map->rest, entry->id);
        if (entry->is_cell)
            xctx__trie_note_cell(map->rest, entry->id);
    }
    void *old = *word;
    *word = entry->word;
    return old;
}

/* Calls fn for each cell in the array. */
static inline void each_cell(const struct map *map, void (*fn)(struct cell *cell))
{
    if (!(map->flags & MAP_CELLS))
        return;
    for (uint32_t i = 0; i * 64 < map->limit; i++)
        for (uint64_t left = map->cells[i]; left; left &= left - 1) {
            void *word = map->words[i * 64 + (uint32_t)__builtin_ctzll(left)];
            if (word != XCTX__ABSENT)
                fn(word);
        }
}

static void refer_to(struct cell *cell)
{
    xctx__cell_ref(cell);
}

static void refer_to_cells(const struct map *map)
{
    each_cell(map, refer_to);
}

/* Makes `copy`, memory for `limit` words, have the array and flags of `map`; the cells are not referred to yet. */
static void array_copy_into(struct map *copy, const struct map *map, uint32_t limit)
{
    atomic_init(&copy->refs, 1);
    copy->limit = limit;
    copy->flags = map->flags;
    memcpy(copy->cells, map->cells, sizeof(copy->cells));
    copy->rest = NULL;
    xctx__map_copy_words(copy, map);
    for (uint32_t i = map->limit; i < limit; i++)
        copy->words[i] = XCTX__ABSENT;
}

/* The same in memory of its own. */
static struct map *array_copy(const struct map *map, uint32_t limit)
{
    struct map *copy;

    limit = limit_at_least(limit > map->limit ? limit : map->limit);
    copy = map_allocate(limit);
    if (copy)
        array_copy_into(copy, map, limit);
    return copy;
}

struct map *xctx__map_reserve(void)
{
    return xctx__allocate(sizeof(struct map) + XCTX__FLAT_LIMIT * sizeof(void *));
}

void xctx__map_unreserve(struct map *reserved)
{
    xctx__free(reserved);
}

bool xctx__map_copy_into(struct map *reserved, const struct map *map)
{
    if (map->rest)
        return false;
    array_copy_into(reserved, map, limit_at_least(map->limit));
    refer_to_cells(reserved);
    return true;
}

struct map *xctx__map_with(const struct map *map, const struct entry *entry)
{
    bool flat = entry->id < XCTX__FLAT_LIMIT;
    struct map *with = array_copy(map, flat ? limit_for(entry->id) : 0);

    if (!with)
        return NULL;
    if (flat) {
        with->flags |= entry->flags;
        with->words[entry->id] = XCTX__ABSENT;
        refer_to_cells(with);
        with->words[entry->id] = entry->word;
        if (entry->is_cell)
            note_cell(with, entry->id);
        if (map->rest)
            with->rest = xctx__trie_ref(map->rest);
    } else {
        with->rest = xctx__trie_with(map->rest, entry);
        if (!with->rest) {
            map_deallocate(with);
            return NULL;
        }
        with->flags |= entry->flags;
        refer_to_cells(with);
    }
    return with;
}

struct map *xctx__map_clone(const struct map *map)
{
    struct map *clone = array_copy(map, 0);

    if (!clone)
        return NULL;
    if (map->rest) {
        clone->rest = xctx__trie_clone(map->rest);
        if (!clone->rest) {
            map_deallocate(clone);
            return NULL;
        }
    }
    refer_to_cells(clone);
    return clone;
}

/* Puts an entry into a map that nobody else knows, in place or by replacing it. */
static int build_put(struct map **map, const struct entry *entry)
{
    if (xctx__map_has_room(*map, entry->id)) {
        void *old = xctx__map_put(*map, entry);
        (void)old;
        assert(old == XCTX__ABSENT);
        return 0;
    }
    struct map *with = xctx__map_with(*map, entry);
    if (!with)
        return -1;
    xctx__map_free(*map);
    *map = with;
    return 0;
}

struct flowing {
    struct map *map;
    bool all; /* values that copies do not have are shared */
};

static int flow_entry(uint32_t id, void *word, bool is_cell, void *user)
{
    struct flowing *flowing = user;
    const xctx_var *var = xctx__var_at(id);
    const xctx_var_options *options = &var->options_;
    struct entry entry = {.id = id, .flags = xctx__var_map_flags(var), .is_cell = is_cell, .word = word};

    if (options->flow == XCTX_FLOW_NONE && !flowing->all)
        return 0;
    if (options->flow != XCTX_FLOW_CLONE) {
        if (is_cell)
            xctx__cell_ref(word);
    } else if (xctx__var_wrap(var, options->clone, xctx__var_unwrap(var, word), &entry.word)) {
        return -1;
    }
    if (build_put(&flowing->map, &entry)) {
        xctx__var_unref_word(var, entry.word);
        return -1;
    }
    return 0;
}

static struct map *flow(const struct map *map, bool all)
{
    struct flowing flowing = {.map = map_create(map->limit), .all = all};

    if (flowing.map && xctx__map_each(map, flow_entry, &flowing)) {
        xctx__map_free(flowing.map);
        flowing.map = NULL;
    }
    return flowing.map;
}

struct map *xctx__map_flow(const struct map *map)
{
    return flow(map, false);
}

struct map *xctx__map_fork(const struct map *map)
{
    return flow(map, true);
}

int xctx__map_each(const struct map *map, int (*fn)(uint32_t id, void *word, bool is_cell, void *user), void *user)
{
    for (uint32_t id = 0; id < map->limit; id++) {
        if (map->words[id] == XCTX__ABSENT)
            continue;
        int result = fn(id, map->words[id], xctx__map_is_cell(map, id), user);
        if (result)
            return result;
    }
    return map->rest ? xctx__trie_each(map->rest, 0, fn, user) : 0;
}

void xctx__map_free(struct map *map)
{
    each_cell(map, xctx__cell_unref);
    if (map->rest)
        xctx__trie_unref(map->rest);
    map_deallocate(map);
}
