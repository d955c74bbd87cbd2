/* SPDX-License-Identifier: MIT */
/* Ready maps: see ready.h. */
#include "ready.h"

#include <stddef.h>

#include "cell.h"
#include "context_internal.h"

enum { MOST_DIFFERENCES = 4 }; /* with more of them, a map is better freed */

static void word_ref(const struct map *map, uint32_t id, void *word)
{
    if (xctx__map_is_cell(map, id) && word != XCTX__ABSENT)
        xctx__cell_ref(word);
}

static void word_unref(const struct map *map, uint32_t id, void *word)
{
    if (xctx__map_is_cell(map, id) && word != XCTX__ABSENT)
        xctx__cell_unref(word);
}

/* ---- taking ---- */

static struct map *take(struct slot *slot, const struct map *base)
{
    struct leaf *leaf = slot->record->leaf;
    struct map *map = NULL;

    if (slot->pin_map == base) {
        map = slot->ready;
        slot->ready = NULL;
    } else if (leaf && leaf->map == base) {
        map = atomic_load_explicit(&leaf->ready, memory_order_relaxed);
        /* Acquire: see what the thread did that kept it. Lost to who revokes the leaf at the same time. */
        if (map && map != LEAF_NOT_READY &&
            !atomic_compare_exchange_strong_explicit(&leaf->ready, &map, NULL, memory_order_acquire,
                                                     memory_order_relaxed))
            map = NULL;
        if (map == LEAF_NOT_READY)
            map = NULL;
    }
    return map;
}

struct map *xctx__ready_with(struct slot *slot, const struct map *base, const struct entry *entry)
{
    if (entry->id >= base->limit)
        return NULL;
    struct map *map = take(slot, base);
    if (!map)
        return NULL;
    if (map->hole != entry->id) {
        if (map->hole < map->limit) {
            map->words[map->hole] = base->words[map->hole];
            word_ref(map, map->hole, map->words[map->hole]);
        }
        word_unref(map, entry->id, map->words[entry->id]); /* not the last reference: the base has one */
        map->words[entry->id] = XCTX__ABSENT;
    }
    map->hole = XCTX__NO_HOLE;
    xctx__map_put(map, entry);
    return map;
}

/* ---- keeping ---- */

struct difference {
    void *word;
    uint32_t id;
    bool is_cell;
};

/* Whether `map` notes each cell that `base` notes, so that its notes are right for the words of both: whether a word is
   a cell depends on its variable alone. */
static bool notes_cells_of(const struct map *map, const struct map *base)
{
    uint64_t missing = 0;

    for (size_t i = 0; i < sizeof(map->cells) / sizeof(*map->cells); i++)
        missing |= base->cells[i] & ~map->cells[i];
    return missing == 0;
}

/* Makes `map` equal to `base` but for a hole; gives the words that it had more. False: it differs too much. */
static bool make_ready(struct map *map, const struct map *base, struct difference *ret_differences, int *ret_count)
{
    int count = 0;

    if (map->limit != base->limit || map->flags != base->flags || map->rest || base->rest || !notes_cells_of(map, base))
        return false;
    for (uint32_t id = 0; id < map->limit; id++) {
        if (map->words[id] == base->words[id])
            continue;
        if (count == MOST_DIFFERENCES)
            return false;
        ret_differences[count++] = (struct difference){
            .id = id, .word = map->words[id], .is_cell = xctx__map_is_cell(map, id) && map->words[id] != XCTX__ABSENT};
    }
    map->hole = count > 0 ? ret_differences[0].id : XCTX__NO_HOLE;
    for (int i = 0; i < count; i++) {
        uint32_t id = ret_differences[i].id;
        map->words[id] = i == 0 ? XCTX__ABSENT : base->words[id];
        word_ref(map, id, map->words[id]);
    }
    *ret_count = count;
    return true;
}

/* Whether the leaf took the map. The caller has a reference to the leaf's map. */
static bool put_into_leaf(struct leaf *leaf, struct map *map)
{
    struct map *none = NULL;

    /* Release: partner of the acquire in take() and in xctx__leaves_revoke(). */
    return atomic_compare_exchange_strong_explicit(&leaf->ready, &none, map, memory_order_release,
                                                   memory_order_relaxed);
}

bool xctx__ready_keep(struct slot *slot, struct map *map)
{
    struct difference differences[MOST_DIFFERENCES];
    struct leaf *leaf = slot->record->leaf;
    int count = 0;
    bool kept = false;

    if (!(map->flags & MAP_CELLS))
        return false;
    if (slot->pin_map && !slot->ready && make_ready(map, slot->pin_map, differences, &count)) {
        slot->ready = map;
        kept = true;
    } else if (leaf && !atomic_load_explicit(&leaf->ready, memory_order_relaxed) &&
               xctx__leaf_ref(slot->record, leaf->context)) {
        struct map *base = leaf->map;
        kept = make_ready(map, base, differences, &count) && put_into_leaf(leaf, map);
        if (!kept)
            for (int i = 0; i < count; i++) { /* as it was, to be freed */
                word_unref(map, differences[i].id, map->words[differences[i].id]);
                map->words[differences[i].id] = differences[i].word;
            }
        xctx__map_unref(slot, base);
    }
    /* Last, as this calls `release` operations, which may do anything; the map is no longer ours. */
    for (int i = 0; kept && i < count; i++)
        if (differences[i].is_cell)
            xctx__cell_unref(differences[i].word);
    return kept;
}

void xctx__ready_drop(struct slot *slot)
{
    struct map *map = slot->ready;

    slot->ready = NULL;
    if (map)
        xctx__map_free(map);
}

void xctx__ready_free(struct map *maps)
{
    while (maps) {
        struct map *next = (struct map *)maps->rest;
        maps->rest = NULL;
        xctx__map_free(maps);
        maps = next;
    }
}
