/* SPDX-License-Identifier: MIT */
/*
 * Writing a core file: see core_internal.h.
 *
 * A part of memory lies in the file at an offset that is the same within a page as its address, and everything that is
 * in one page of memory is in one page of the file: so reading whole pages, as elfutils does, gives what was captured
 * and zeros, never something else. Their alignment is said to be 8: elfutils rounds addresses down to the smallest
 * alignment in the file, and must not get away from what an address belongs to.
 */
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "arch/core.h"
#include "core_internal.h"

enum { BLOCK = 65536 };

struct output {
    int fd;
    int error;                /* 0, or what writing failed with */
    uint64_t at;              /* in the file, of the end of the block */
    struct core_buffer block; /* what has not been written yet */
};

static void flush(struct output *output)
{
    size_t done = 0;

    while (done < output->block.size && !output->error) {
        ssize_t count = write(output->fd, output->block.bytes + done, output->block.size - done);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            output->error = -errno;
        else if (count == 0)
            output->error = -EIO;
        else
            done += (size_t)count;
    }
    output->block.size = 0;
}

/* Room for some bytes, zeros; *ret_size of them, at most `size`. */
static uint8_t *next(struct output *output, uint64_t size, size_t *ret_size)
{
    if (output->block.size == BLOCK)
        flush(output);
    size_t room = BLOCK - output->block.size;
    *ret_size = size < room ? (size_t)size : room;
    output->at += *ret_size;
    return xctx__core_reserve(&output->block, *ret_size);
}

static void put(struct output *output, const void *bytes, size_t size)
{
    size_t part = 0;

    for (size_t done = 0; done < size && !output->error; done += part) {
        uint8_t *to = next(output, size - done, &part);
        memcpy(to, (const uint8_t *)bytes + done, part);
    }
}

static void put_zeros_to(struct output *output, uint64_t offset)
{
    size_t part = 0;

    while (output->at < offset && !output->error)
        next(output, offset - output->at, &part);
}

/* The process's memory; what cannot be read stays zeros. */
static void read_memory(const struct core_self *self, uint64_t address, uint8_t *bytes, size_t size)
{
    size_t done = 0;

    while (done < size) {
        done += xctx__core_self_read(self, address + done, bytes + done, size - done);
        done += XCTX__CORE_PAGE - (address + done) % XCTX__CORE_PAGE;
    }
}

/* *goes_on_at: see xctx__core_hide(); what is secret may go on in the next part. */
static void put_part(struct output *output, const struct core_layout *layout, const struct core_part *part,
                     uint64_t *goes_on_at)
{
    size_t size = 0;

    put_zeros_to(output, part->offset);
    for (uint64_t done = 0; done < part->size && !output->error; done += size) {
        uint8_t *bytes = next(output, part->size - done, &size);
        if (part->bytes)
            memcpy(bytes, part->bytes + done, size);
        else if (layout->file)
            xctx__file_read(layout->file, part->address + done, bytes, size);
        else
            read_memory(&layout->self, part->address + done, bytes, size);
        xctx__core_hide(layout, part->address + done, bytes, size, goes_on_at);
        xctx__core_blank(layout->request, part->stack, part->address + done, bytes, size);
    }
}

static uint64_t page_up(uint64_t offset)
{
    return (offset + XCTX__CORE_PAGE - 1) / XCTX__CORE_PAGE * XCTX__CORE_PAGE;
}

/* Gives each part its place in the file, from `offset` on. */
static void place_parts(struct core_layout *layout, uint64_t offset)
{
    size_t count;
    struct core_part *parts = xctx__core_parts(layout, &count);
    uint64_t page = UINT64_MAX; /* the last of memory that has been placed */

    for (size_t i = 0; i < count; i++) {
        struct core_part *part = &parts[i];
        if (part->address / XCTX__CORE_PAGE == page)
            part->offset = parts[i - 1].offset + (part->address - parts[i - 1].address);
        else
            part->offset = page_up(offset) + part->address % XCTX__CORE_PAGE;
        offset = part->offset + part->size;
        page = (part->address + part->size - 1) / XCTX__CORE_PAGE;
    }
}

static void put_headers(struct output *output, const struct core_layout *layout, uint64_t notes_at, size_t notes_size)
{
    size_t count;
    const struct core_part *parts = xctx__core_parts(layout, &count);
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT, ELFOSABI_NONE},
        .e_type = ET_CORE,
        .e_machine = XCTX__CORE_MACHINE,
        .e_version = EV_CURRENT,
        .e_phoff = sizeof(header),
        .e_ehsize = sizeof(header),
        .e_phentsize = sizeof(Elf64_Phdr),
        .e_phnum = (uint16_t)(count + 1),
    };
    Elf64_Phdr notes = {.p_type = PT_NOTE, .p_offset = notes_at, .p_filesz = notes_size, .p_align = 4};

    put(output, &header, sizeof(header));
    put(output, &notes, sizeof(notes));
    for (size_t i = 0; i < count; i++) {
        Elf64_Phdr segment = {
            .p_type = PT_LOAD,
            .p_flags = parts[i].flags,
            .p_offset = parts[i].offset,
            .p_vaddr = parts[i].address,
            .p_filesz = parts[i].size,
            .p_memsz = parts[i].size,
            .p_align = 8,
        };
        put(output, &segment, sizeof(segment));
    }
}

static int write_file(struct core_layout *layout, const struct core_buffer *notes)
{
    struct output output = {.fd = layout->request->fd};
    size_t count;
    struct core_part *parts = xctx__core_parts(layout, &count);
    uint64_t notes_at = sizeof(Elf64_Ehdr) + (count + 1) * sizeof(Elf64_Phdr);
    uint64_t goes_on_at = 0;

    if (!xctx__core_reserve(&output.block, BLOCK))
        return -ENOMEM;
    output.block.size = 0;
    place_parts(layout, notes_at + notes->size);
    put_headers(&output, layout, notes_at, notes->size);
    put(&output, notes->bytes, notes->size);
    for (size_t i = 0; i < count; i++)
        put_part(&output, layout, &parts[i], &goes_on_at);
    put_zeros_to(&output, page_up(output.at));
    flush(&output);
    xctx__core_release(&output.block);
    return output.error;
}

static bool is_writable(const xctx_snapshot *snapshot)
{
    const uint64_t needed = UINT64_C(1) << XCTX__REGISTER_PC | UINT64_C(1) << XCTX__REGISTER_SP;

    if (!snapshot)
        return false;
    const xctx_snapshot *whole = xctx__core_whole(snapshot);
    return whole->stage == SNAPSHOT_FILLED && (whole->registers.known & needed) == needed;
}

static bool request_is_valid(const struct core_request *request)
{
    const struct core_file *file = NULL;

    if (request->fd < 0 || !request->snapshots || request->count == 0 || request->count > XCTX__CORE_THREADS ||
        (request->blank_count > 0 && !request->blanks) || request->flags & ~(unsigned)XCTX_CORE_RAW)
        return false;
    for (size_t i = 0; i < request->count; i++) {
        if (!is_writable(request->snapshots[i]))
            return false;
        const struct core_file *of = xctx__core_whole(request->snapshots[i])->file;
        if (i > 0 && of != file)
            return false;
        file = of;
    }
    return true;
}

int xctx__core_write(const struct core_request *request)
{
    int before = errno;

    if (!request_is_valid(request))
        return -EINVAL;
    struct core_layout layout = {.request = request, .file = xctx__core_whole(request->snapshots[0])->file};
    struct core_buffer notes = {0};
    int result = xctx__core_layout(&layout);
    if (result == 0)
        result = xctx__core_notes(&layout, &notes);
    if (result == 0)
        result = write_file(&layout, &notes);
    xctx__core_release(&notes);
    xctx__core_layout_release(&layout);
    errno = before;
    return result;
}

int xctx_core_write(int fd, xctx_snapshot *const snapshots[], size_t count, const xctx_core_blank blanks[],
                    size_t blank_count, unsigned flags)
{
    struct core_request request = {
        .fd = fd,
        .snapshots = snapshots,
        .count = count,
        .blanks = blanks,
        .blank_count = blank_count,
        .flags = flags,
    };

    return xctx__core_write(&request);
}
