/* SPDX-License-Identifier: MIT */
/*
 * The memory that a core file holds: see snapshot_internal.h.
 *
 * A large file is not in memory: it is read where something of it is asked for. Whoever has cut it off or written to it
 * since gets us other bytes, or fewer, and no fault, which a mapped file would be.
 */
#include <errno.h>
#include <unistd.h>

#include "snapshot_internal.h"

struct core_range *xctx__file_range(const struct core_file *file, uint64_t address)
{
    size_t low = 0;
    size_t high = file->range_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (file->ranges[middle].address + file->ranges[middle].size > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low < file->range_count && file->ranges[low].address <= address ? &file->ranges[low] : NULL;
}

size_t xctx__file_read_at(const struct core_file *file, uint64_t offset, void *buffer, size_t size)
{
    int before = errno;
    size_t done = 0;

    while (done < size) {
        ssize_t got = pread(file->fd, (uint8_t *)buffer + done, size - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    errno = before;
    return done;
}

size_t xctx__range_read(const struct core_file *file, const struct core_range *range, uint64_t address, void *buffer,
                        size_t size)
{
    uint64_t skip = address - range->address;
    uint64_t there = range->size - skip;
    size_t part = there < size ? (size_t)there : size;

    if (!range->bytes)
        return xctx__file_read_at(file, range->offset + skip, buffer, part);
    memcpy(buffer, range->bytes + skip, part);
    return part;
}

size_t xctx__file_read(const struct core_file *file, uint64_t address, void *buffer, size_t size)
{
    size_t done = 0;

    while (done < size) {
        const struct core_range *range = xctx__file_range(file, address + done);
        size_t part = range ? xctx__range_read(file, range, address + done, (uint8_t *)buffer + done, size - done) : 0;
        if (part == 0)
            break;
        done += part;
    }
    return done;
}
