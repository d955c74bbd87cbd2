/* SPDX-License-Identifier: MIT */
/* Memory that grows, of system calls alone: see core_internal.h. */
#include <sys/mman.h>

#include <string.h>

#include "core_internal.h"

#define BUFFER_MOST ((size_t)1 << 30)

void *xctx__core_reserve(struct core_buffer *buffer, size_t size)
{
    if (buffer->failed || size > BUFFER_MOST - buffer->size) {
        buffer->failed = true;
        return NULL;
    }
    if (size > buffer->room - buffer->size) {
        size_t room = buffer->room ? buffer->room : 65536;
        while (room < buffer->size + size)
            room *= 2;
        void *bytes = buffer->bytes ? mremap(buffer->bytes, buffer->room, room, MREMAP_MAYMOVE)
                                    : mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (bytes == MAP_FAILED) {
            buffer->failed = true;
            return NULL;
        }
        buffer->bytes = bytes;
        buffer->room = room;
    }
    uint8_t *memory = buffer->bytes + buffer->size;
    buffer->size += size;
    return memset(memory, 0, size);
}

void xctx__core_append(struct core_buffer *buffer, const void *bytes, size_t size)
{
    void *memory = size > 0 ? xctx__core_reserve(buffer, size) : NULL;

    if (memory)
        memcpy(memory, bytes, size);
}

void xctx__core_align(struct core_buffer *buffer, size_t alignment)
{
    xctx__core_reserve(buffer, (alignment - buffer->size % alignment) % alignment);
}

void xctx__core_release(struct core_buffer *buffer)
{
    if (buffer->bytes)
        munmap(buffer->bytes, buffer->room);
    *buffer = (struct core_buffer){0};
}
