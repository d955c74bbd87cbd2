/* SPDX-License-Identifier: MIT */
/*
 * The scopes around an address: found once, and kept with the module as long as its file is open, since the frames of
 * one report after the other are at the same addresses.
 */
#ifndef XCTX_INSPECT_SCOPE_CACHE_H
#define XCTX_INSPECT_SCOPE_CACHE_H

#include <elfutils/libdwfl.h>
#include <stddef.h>
#include <stdint.h>

struct cached_scopes {
    uint64_t address; /* in memory */
    Dwarf_Die unit;
    Dwarf_Addr bias;
    Dwarf_Die *dies; /* as in struct scopes; NULL: the place in the table is empty */
    int count;
    int function;
};

struct scope_cache {
    struct cached_scopes *table; /* by the address, the next free place being taken */
    size_t count;
};

/* NULL: not there. */
const struct cached_scopes *xctx__scope_cache_find(const struct scope_cache *cache, uint64_t address);

/* Keeps scopes that are not there yet, the `dies` (from malloc) with them, until the cache is destroyed. NULL: there is
   no room: they stay the caller's. */
const struct cached_scopes *xctx__scope_cache_add(struct scope_cache *cache, const struct cached_scopes *scopes);

void xctx__scope_cache_destroy(struct scope_cache *cache);

#endif
