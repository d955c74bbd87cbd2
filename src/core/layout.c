/* SPDX-License-Identifier: MIT */
/* Which parts of memory go into a core file: see core_internal.h. */
#include <elf.h>
#include <errno.h>
#include <string.h>

#include "core_internal.h"
#include "note.h"

/* Puts a part into the table at an index. */
static void insert(struct core_layout *layout, size_t index, const struct core_part *part)
{
    size_t count;

    xctx__core_parts(layout, &count);
    if (count >= XCTX__CORE_PARTS) {
        size_t begin = xctx__core_record_begin(&layout->cuts, CORE_CUT);
        struct core_cut cut = {part->address, part->size};
        xctx__core_append(&layout->cuts, &cut, sizeof(cut));
        xctx__core_record_end(&layout->cuts, begin);
        return;
    }
    if (!xctx__core_reserve(&layout->parts, sizeof(*part)))
        return;
    struct core_part *parts = xctx__core_parts(layout, &count);
    memmove(parts + index + 1, parts + index, (count - 1 - index) * sizeof(*parts));
    parts[index] = *part;
}

/* The first part that ends behind an address. */
static size_t find(const struct core_layout *layout, uint64_t address)
{
    size_t count;
    const struct core_part *parts = xctx__core_parts(layout, &count);
    size_t low = 0;

    while (low < count) {
        size_t middle = low + (count - low) / 2;
        if (parts[middle].address + parts[middle].size > address)
            count = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* Cuts a part down to what there is room for in a core. */
static uint64_t limit_data(struct core_layout *layout, const struct core_part *part)
{
    uint64_t room = XCTX__CORE_DATA - layout->data;
    uint64_t size = part->size < room ? part->size : room;

    if (size < part->size) {
        size_t begin = xctx__core_record_begin(&layout->cuts, CORE_CUT);
        struct core_cut cut = {part->address + size, part->size - size};
        xctx__core_append(&layout->cuts, &cut, sizeof(cut));
        xctx__core_record_end(&layout->cuts, begin);
    }
    layout->data += size;
    return size;
}

void xctx__core_add(struct core_layout *layout, const struct core_part *part)
{
    uint64_t size = part->bytes || layout->file ? part->size : limit_data(layout, part);
    uint64_t at = part->address;
    uint64_t end = at + size;

    if (end < at)
        return;
    /* Each turn passes a part that is there, or is the last. */
    while (at < end && !layout->parts.failed) {
        size_t count;
        const struct core_part *parts = xctx__core_parts(layout, &count);
        size_t index = find(layout, at);
        uint64_t next = index < count ? parts[index].address : UINT64_MAX;
        uint64_t passed = index < count ? next + parts[index].size : end;
        if (next > at) {
            struct core_part piece = *part;
            piece.address = at;
            piece.size = (next < end ? next : end) - at;
            if (piece.bytes)
                piece.bytes += at - part->address;
            insert(layout, index, &piece);
            if (next >= end)
                break;
        }
        at = passed;
    }
}

/* What was captured besides: the stacks of those who wait for the fiber that runs. */
static void add_pieces(struct core_layout *layout, const xctx_snapshot *snapshot)
{
    const xctx_snapshot *whole = xctx__core_whole(snapshot);
    struct stack_piece piece;
    const uint8_t *bytes;

    for (uint32_t at = 0; (bytes = xctx__snapshot_piece(whole, &at, &piece)) != NULL;) {
        struct core_part part = {
            .address = piece.address,
            .size = piece.size,
            .bytes = bytes,
            .stack = snapshot,
            .flags = PF_R | PF_W,
        };
        if (part.size > 0)
            xctx__core_add(layout, &part);
    }
}

static void add_stack(struct core_layout *layout, const xctx_snapshot *snapshot)
{
    const xctx_snapshot *whole = xctx__core_whole(snapshot);
    struct core_part part = {
        .address = whole->stack_address,
        .size = whole->stack_size,
        .bytes = whole->stack,
        .stack = snapshot,
        .flags = PF_R | PF_W,
    };

    if (part.size > 0 && (part.bytes || layout->file))
        xctx__core_add(layout, &part);
}

/* What the file that the snapshots were read from holds besides: not the stacks of threads that are left out. */
static void add_ranges(struct core_layout *layout)
{
    const struct core_file *file = layout->file;

    for (size_t i = 0; i < file->range_count; i++) {
        const struct core_range *range = &file->ranges[i];
        struct core_part part = {
            .address = range->address,
            .size = range->size,
            .bytes = range->bytes,
            .flags = PF_R | PF_W,
        };
        if (!range->of_thread && range->size > 0)
            xctx__core_add(layout, &part);
    }
}

static void add_mapping(struct core_layout *layout, uint64_t start, uint64_t end, uint64_t offset, const char *path)
{
    struct core_file_mapping mapping = {start, end, offset, layout->paths.size};
    const struct core_file_mapping *mappings = (const struct core_file_mapping *)(void *)layout->mappings.bytes;
    size_t count = layout->mappings.size / sizeof(mapping);

    if (count >= XCTX__CORE_MAPPINGS || layout->paths.failed)
        return;
    /* The mappings of one file follow each other: they share a path, and are known by that. */
    if (count > 0 && strcmp((const char *)layout->paths.bytes + mappings[count - 1].path, path) == 0)
        mapping.path = mappings[count - 1].path;
    else
        xctx__core_append(&layout->paths, path, strlen(path) + 1);
    xctx__core_append(&layout->mappings, &mapping, sizeof(mapping));
}

static bool take_mapping(const struct core_mapping *mapping, void *user)
{
    struct core_layout *layout = user;

    if (mapping->name[0] == '/' || strcmp(mapping->name, "[vdso]") == 0)
        add_mapping(layout, mapping->start, mapping->end, mapping->offset, mapping->name);
    return true;
}

static void find_mappings(struct core_layout *layout)
{
    const struct core_file *file = layout->file;

    if (!file) {
        /* Without /proc there are no libraries in the core, but the stack still is. */
        (void)xctx__core_self_mappings(&layout->line, take_mapping, layout);
        xctx__core_self_file("/proc/self/auxv", &layout->auxv, 4096);
        return;
    }
    for (size_t i = 0; i < file->module_count; i++)
        add_mapping(layout, file->modules[i].start, file->modules[i].end, file->modules[i].offset,
                    file->modules[i].path);
    if (file->auxv_size > 0)
        xctx__core_append(&layout->auxv, file->auxv, file->auxv_size);
}

int xctx__core_layout(struct core_layout *layout)
{
    const struct core_request *request = layout->request;

    for (size_t i = 0; i < request->count; i++)
        add_stack(layout, request->snapshots[i]);
    for (size_t i = 0; i < request->count; i++)
        add_pieces(layout, request->snapshots[i]);
    if (layout->file)
        add_ranges(layout);
    else
        xctx__core_self_open(&layout->self);
    find_mappings(layout);
    xctx__core_add_modules(layout);
    xctx__core_find_hidden(layout);
    return layout->parts.failed || layout->mappings.failed || layout->paths.failed || layout->modules.failed ||
                   layout->cuts.failed || layout->auxv.failed || layout->line.failed || layout->hidden.failed
               ? -ENOMEM
               : 0;
}

void xctx__core_layout_release(struct core_layout *layout)
{
    if (!layout->file)
        xctx__core_self_close(&layout->self);
    xctx__core_release(&layout->line);
    xctx__core_release(&layout->parts);
    xctx__core_release(&layout->mappings);
    xctx__core_release(&layout->paths);
    xctx__core_release(&layout->modules);
    xctx__core_release(&layout->cuts);
    xctx__core_release(&layout->auxv);
    xctx__core_release(&layout->hidden);
}
