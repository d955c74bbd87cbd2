/* SPDX-License-Identifier: MIT */
/*
 * See memory.h.
 *
 * This process's memory is read by system calls that fail where nothing is mapped: another thread may unmap it at any
 * time.
 */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core_read.h"
#include "modules.h"

/* Where seccomp or the kernel's build forbids process_vm_readv(). */
static bool read_by_file(uint64_t address, void *buffer, size_t size)
{
    int fd = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    ssize_t got = -1;

    if (fd < 0)
        return false;
    if (address <= INT64_MAX)
        got = pread(fd, buffer, size, (off_t)address);
    close(fd);
    return got >= 0 && (size_t)got == size;
}

bool xctx__memory_read_live(uint64_t address, void *buffer, size_t size)
{
    struct iovec local = {.iov_base = buffer, .iov_len = size};
    struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = size};
    ssize_t got = process_vm_readv(getpid(), &local, 1, &remote, 1, 0);

    if (got < 0 && (errno == ENOSYS || errno == EPERM))
        return read_by_file(address, buffer, size);
    return got >= 0 && (size_t)got == size;
}

bool xctx__core_read(const struct core_file *file, uint64_t address, void *buffer, size_t size, bool *ret_stack)
{
    uint8_t *to = buffer;

    *ret_stack = true;
    while (size > 0) {
        const struct core_range *range = xctx__file_range(file, address);
        size_t part = range ? xctx__range_read(file, range, address, to, size) : 0;
        if (part == 0)
            return false;
        *ret_stack = *ret_stack && range->stack;
        to += part;
        address += part;
        size -= part;
    }
    return true;
}

static bool read_stack(const xctx_snapshot *whole, uint64_t address, void *buffer, size_t size)
{
    uint64_t there = 0;
    const uint8_t *bytes = xctx__snapshot_bytes(whole, address, &there);

    if (!bytes || size > there)
        return false;
    memcpy(buffer, bytes, size);
    return true;
}

/* No program has memory there: the first page, and what is no address in a process at all. */
static bool is_nowhere(uint64_t address, size_t size)
{
    return address < 4096 || address + size < address || (address + size - 1) >> 56 != 0;
}

/* Whether this process's memory may be read there as it is now. What a pointer leads to is static, too, if it lies
   within a module. */
static bool may_look(const struct memory *memory, enum memory_use use, uint64_t address)
{
    if (use == MEMORY_STATIC)
        return memory->statics;
    return use == MEMORY_POINTED &&
           (memory->live || (memory->statics && memory->modules && xctx__modules_cover(memory->modules, address)));
}

bool xctx__memory_is_secret(const struct memory *memory, uint64_t address, uint64_t size)
{
    return xctx__snapshot_is_blank(memory->snapshot->whole, address, size) ||
           xctx__hidden_touches(&memory->hidden, address, size);
}

enum xctx_source xctx__memory_read(const struct memory *memory, enum memory_use use, uint64_t address, void *buffer,
                                   size_t size)
{
    const xctx_snapshot *whole = memory->snapshot->whole;
    bool stack = false;

    if (size == 0)
        return XCTX_SOURCE_SNAPSHOT;
    if (is_nowhere(address, size))
        return XCTX_SOURCE_UNREADABLE;
    if (xctx__memory_is_secret(memory, address, size))
        return XCTX_SOURCE_REDACTED;
    if (use == MEMORY_STACK && address < memory->lost_below && address >= whole->stack_address)
        return XCTX_SOURCE_OPTIMIZED_OUT;
    if (read_stack(whole, address, buffer, size))
        return XCTX_SOURCE_SNAPSHOT;
    if (whole->file && xctx__core_read(whole->file, address, buffer, size, &stack))
        return stack ? XCTX_SOURCE_SNAPSHOT : XCTX_SOURCE_LIVE;
    if (memory->modules && xctx__modules_read(memory->modules, address, buffer, size))
        return XCTX_SOURCE_SNAPSHOT;
    if (whole->file || !may_look(memory, use, address))
        return XCTX_SOURCE_NOT_CAPTURED;
    return xctx__memory_read_live(address, buffer, size) ? XCTX_SOURCE_LIVE : XCTX_SOURCE_UNREADABLE;
}
