/* SPDX-License-Identifier: MIT */
/* What the values of secret context variables point to, for reports of this process: see hidden.h. */
#include "hidden.h"

#include <errno.h>
#include <string.h>

#include "core/core_internal.h"
#include "core_read.h"

enum {
    BLOCK = 256,      /* bytes that are read at once: a page has a multiple of it */
    TEXT = 64 * 1024, /* bytes of a text, at most; what is behind is hidden from those who begin to read before it */
};

struct search {
    struct arena *arena;
    const xctx_snapshot *whole;
    struct hidden *found;
    size_t room;
};

static uint64_t text_size(const xctx_snapshot *whole, uint64_t address)
{
    uint64_t size = 0;
    const uint8_t *bytes = xctx__snapshot_bytes(whole, address, &size);

    if (bytes)
        return strnlen((const char *)bytes, size);
    size = 0;
    while (size < TEXT) {
        char block[BLOCK];
        size_t wanted = BLOCK - (address + size) % BLOCK;
        if (!xctx__memory_read_live(address + size, block, wanted))
            break;
        size_t part = strnlen(block, wanted);
        size += part;
        if (part < wanted)
            break;
    }
    return size;
}

static int add(const struct core_hidden *hidden, void *user)
{
    struct search *search = user;
    struct hidden *found = search->found;
    xctx_core_blank range = {hidden->address, hidden->size ? hidden->size : text_size(search->whole, hidden->address)};

    for (size_t i = 0; i < found->count; i++)
        if (found->ranges[i].address == range.address && found->ranges[i].size >= range.size)
            return 0;
    if (range.size == 0)
        return 0;
    if (found->count == search->room) {
        size_t room = search->room ? 2 * search->room : 16;
        xctx_core_blank *ranges = xctx__arena_allocate(search->arena, room * sizeof(*ranges));
        if (!ranges)
            return -ENOMEM;
        if (found->count)
            memcpy(ranges, found->ranges, found->count * sizeof(*ranges));
        found->ranges = ranges;
        search->room = room;
    }
    found->ranges[found->count++] = range;
    return 0;
}

int xctx__hidden_find(const xctx_snapshot *first, const xctx_snapshot *snapshot, struct arena *arena,
                      struct hidden *ret_hidden)
{
    struct search search = {.arena = arena, .whole = snapshot->whole, .found = ret_hidden};

    *ret_hidden = (struct hidden){0};
    return xctx__core_hidden_each(first, add, &search);
}

bool xctx__hidden_touches(const struct hidden *hidden, uint64_t address, uint64_t size)
{
    for (size_t i = 0; i < hidden->count; i++) {
        const xctx_core_blank *range = &hidden->ranges[i];
        if (address - range->address < range->size || range->address - address < size)
            return true;
    }
    return false;
}
