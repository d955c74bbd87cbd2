/* SPDX-License-Identifier: MIT */
/*
 * What the values of secret context variables point to: see core_internal.h.
 *
 * A value is a pointer of the program's, and nobody says that it is an address at all. So it is never followed: what is
 * hidden is found in the bytes that are about to be written. Where `secret_size` says nothing it is a text, and is
 * hidden up to its NUL, however far that is: better too much than a secret.
 *
 * A value counts in all parts of the core, whichever snapshot has it. A text that is set after a snapshot was taken may
 * have been on that snapshot's stack already.
 */
#include <string.h>

#include "capture/redact.h"
#include "context/var_internal.h"
#include "core_internal.h"

enum { TEXT_BLOCK = 256 };

bool xctx__core_var_is_secret(const xctx_var *var)
{
    return var->options_.secret || xctx__redacted(XCTX_REDACT_VARIABLE, var->name_);
}

/* ---- finding them ---- */

struct visit {
    int (*each)(const struct core_hidden *hidden, void *user);
    void *user;
};

static int visit_value(uint32_t id, void *word, bool is_cell, void *user)
{
    const struct visit *visit = user;
    const xctx_var *var = xctx__var_at(id);

    (void)is_cell;
    if (!xctx__core_var_is_secret(var))
        return 0;
    struct core_hidden hidden = {(uintptr_t)xctx__var_unwrap(var, word), var->options_.secret_size};
    return hidden.address ? visit->each(&hidden, visit->user) : 0;
}

int xctx__core_hidden_each(const xctx_snapshot *snapshot, int (*each)(const struct core_hidden *hidden, void *user),
                           void *user)
{
    struct visit visit = {each, user};
    int result = 0;

    /* The values of one that was read from a file are texts of its reader's, not what the program had. */
    for (unsigned count = 0; snapshot && count <= XCTX_SNAPSHOT_PARENTS_MAX && result == 0; count++) {
        if (snapshot->root && !xctx__core_whole(snapshot)->file)
            result = xctx__map_each(snapshot->root, visit_value, &visit);
        snapshot = snapshot->parent;
    }
    return result;
}

static const struct core_hidden *all_hidden(const struct core_layout *layout, size_t *ret_count)
{
    *ret_count = layout->hidden.size / sizeof(struct core_hidden);
    return (const struct core_hidden *)(const void *)layout->hidden.bytes;
}

static int add_hidden(const struct core_hidden *hidden, void *user)
{
    struct core_layout *layout = user;
    size_t count;
    const struct core_hidden *all = all_hidden(layout, &count);

    /* Threads and parents mostly share their values. */
    for (size_t i = 0; i < count; i++)
        if (all[i].address == hidden->address && all[i].size == hidden->size)
            return 0;
    xctx__core_append(&layout->hidden, hidden, sizeof(*hidden));
    return layout->hidden.failed;
}

void xctx__core_find_hidden(struct core_layout *layout)
{
    const struct core_request *request = layout->request;

    for (size_t i = 0; i < request->count; i++)
        xctx__core_hidden_each(request->snapshots[i], add_hidden, layout);
}

/* ---- hiding them ---- */

/* Hides a text from some offset on. Returns whether it goes on behind these bytes. */
static bool hide_text(uint8_t *bytes, size_t size, size_t from)
{
    const uint8_t *end = memchr(bytes + from, 0, size - from);

    memset(bytes + from, 0, (end ? (size_t)(end - bytes) : size) - from);
    return !end;
}

void xctx__core_hide(const struct core_layout *layout, uint64_t address, uint8_t *bytes, size_t size,
                     uint64_t *goes_on_at)
{
    size_t count;
    const struct core_hidden *all = all_hidden(layout, &count);
    bool goes_on = size > 0 && *goes_on_at == address && hide_text(bytes, size, 0);

    /* Texts first: zeros of others would end them too early. Where texts overlap, the one that goes on is known by
       whichever was first. */
    for (size_t i = 0; i < count; i++)
        if (all[i].size == 0 && all[i].address >= address && all[i].address - address < size)
            goes_on = hide_text(bytes, size, all[i].address - address) || goes_on;
    for (size_t i = 0; i < count; i++)
        if (all[i].size > 0)
            xctx__core_blank_range((xctx_core_blank){all[i].address, all[i].size}, address, bytes, size);
    *goes_on_at = goes_on ? address + size : 0;
}

/* ---- saying so ---- */

/* How long the text at an address is in the process's memory, now. */
static uint64_t text_size(const struct core_self *self, uint64_t address)
{
    uint64_t size = 0;

    while (size < XCTX__CORE_TEXT) {
        char block[TEXT_BLOCK];
        size_t got = xctx__core_self_read(self, address + size, block, sizeof(block));
        size_t part = strnlen(block, got);
        size += part;
        if (part < sizeof(block))
            break;
    }
    return size;
}

/* The part of the core that an address is in; NULL: none. */
static const struct core_part *part_of(const struct core_layout *layout, uint64_t address)
{
    size_t high;
    const struct core_part *parts = xctx__core_parts(layout, &high);
    size_t low = 0;
    size_t count = high;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (parts[middle].address + parts[middle].size > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low < count && parts[low].address <= address ? &parts[low] : NULL;
}

/* How many bytes are hidden at an address where these bytes begin. */
static uint64_t hidden_size(const struct core_hidden *hidden, const uint8_t *bytes, uint64_t size)
{
    return hidden->size ? hidden->size : strnlen((const char *)bytes, size);
}

void xctx__core_hidden_blanks(const struct core_layout *layout, const xctx_snapshot *snapshot,
                              struct core_buffer *blanks)
{
    const xctx_snapshot *whole = xctx__core_whole(snapshot);
    size_t count;
    const struct core_hidden *all = all_hidden(layout, &count);

    for (size_t i = 0; i < count; i++) {
        xctx_core_blank blank = {.address = all[i].address};
        uint64_t size = 0;
        const uint8_t *bytes = xctx__snapshot_bytes(whole, all[i].address, &size);
        const struct core_part *part = part_of(layout, all[i].address);
        if (bytes)
            blank.size = hidden_size(&all[i], bytes, size);
        else if (part && part->bytes)
            blank.size = hidden_size(&all[i], part->bytes + (all[i].address - part->address),
                                     part->size - (all[i].address - part->address));
        else if (part)
            blank.size = all[i].size ? all[i].size : text_size(&layout->self, all[i].address);
        else
            blank.size = all[i].size; /* it may begin in front of a part */
        if (blank.size > 0)
            xctx__core_append(blanks, &blank, sizeof(blank));
    }
}
