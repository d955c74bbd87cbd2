/* SPDX-License-Identifier: MIT */
/* See scope_cache.h. */
#include "scope_cache.h"

#include <stdlib.h>
#include <string.h>

#include "context/memory.h"

enum { PLACES = 4096, MOST = PLACES / 2 }; /* a power of two; how many of them are used */

static size_t place_of(uint64_t address)
{
    return (size_t)((address * UINT64_C(0x9e3779b97f4a7c15)) >> 52) & (PLACES - 1);
}

const struct cached_scopes *xctx__scope_cache_find(const struct scope_cache *cache, uint64_t address)
{
    if (!cache->table)
        return NULL;
    for (size_t i = place_of(address); cache->table[i].dies; i = (i + 1) & (PLACES - 1)) {
        if (cache->table[i].address == address)
            return &cache->table[i];
    }
    return NULL;
}

const struct cached_scopes *xctx__scope_cache_add(struct scope_cache *cache, const struct cached_scopes *scopes)
{
    size_t i = place_of(scopes->address);

    if (cache->count == MOST)
        return NULL;
    if (!cache->table) {
        /* Not by xctx__decode_allocate(): the report is the same without. */
        cache->table = xctx__allocate(PLACES * sizeof(*cache->table));
        if (!cache->table)
            return NULL;
        memset(cache->table, 0, PLACES * sizeof(*cache->table));
    }
    while (cache->table[i].dies)
        i = (i + 1) & (PLACES - 1);
    cache->table[i] = *scopes;
    cache->count++;
    return &cache->table[i];
}

void xctx__scope_cache_destroy(struct scope_cache *cache)
{
    for (size_t i = 0; cache->table && i < PLACES; i++)
        free(cache->table[i].dies);
    xctx__free(cache->table);
    *cache = (struct scope_cache){0};
}
