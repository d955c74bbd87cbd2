/* SPDX-License-Identifier: MIT */
/* See arena.h. */
#include "arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "allocate.h"
#include "context/memory.h"

enum { BLOCK = 32 * 1024, ALIGNMENT = 16 };

struct arena_block {
    struct arena_block *next;
    _Alignas(ALIGNMENT) unsigned char bytes[];
};

void *xctx__arena_allocate(struct arena *arena, size_t size)
{
    size_t rounded = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    struct arena_block *block = arena->blocks;

    if (arena->failed || size > XCTX__REPORT_LIMIT)
        goto fail;
    if (!block || rounded > arena->room - arena->used) {
        size_t room = rounded > BLOCK ? rounded : BLOCK;
        block = NULL;
        if (room <= XCTX__REPORT_LIMIT - arena->total)
            block = xctx__decode_allocate(sizeof(*block) + room);
        if (!block)
            goto fail;
        block->next = arena->blocks;
        arena->blocks = block;
        arena->total += room;
        arena->room = room;
        arena->used = 0;
    }
    void *memory = block->bytes + arena->used;
    arena->used += rounded;
    return memset(memory, 0, size);
fail:
    arena->failed = true;
    return NULL;
}

const char *xctx__arena_string(struct arena *arena, const char *text)
{
    size_t size = text ? strlen(text) + 1 : 0;
    char *copy = text ? xctx__arena_allocate(arena, size) : NULL;

    return copy ? memcpy(copy, text, size) : NULL;
}

const char *xctx__arena_format(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    char *text = NULL;

    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0)
        text = xctx__arena_allocate(arena, (size_t)length + 1);
    if (text) {
        va_start(arguments, format);
        vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    return text;
}

void xctx__arena_destroy(struct arena *arena)
{
    struct arena_block *next;

    for (struct arena_block *block = arena->blocks; block; block = next) {
        next = block->next;
        xctx__free(block);
    }
    *arena = (struct arena){0};
}

/* Makes room for `size` more bytes and a NUL. */
static bool text_reserve(struct text *text, size_t size)
{
    size_t limit = text->limit ? text->limit : XCTX__TEXT_LIMIT;

    if (text->full || size >= limit - text->size) {
        text->full = true;
        return false;
    }
    if (size < text->room - text->size)
        return true;
    size_t room = text->room ? text->room : 128;
    while (room - text->size <= size)
        room *= 2;
    char *bytes = xctx__decode_allocate(room);
    if (!bytes) {
        text->full = true;
        return false;
    }
    if (text->bytes)
        memcpy(bytes, text->bytes, text->size);
    bytes[text->size] = '\0';
    xctx__free(text->bytes);
    text->bytes = bytes;
    text->room = room;
    return true;
}

void xctx__text_add(struct text *text, const char *bytes, size_t size)
{
    if (!text_reserve(text, size))
        return;
    memcpy(text->bytes + text->size, bytes, size);
    text->size += size;
    text->bytes[text->size] = '\0';
}

void xctx__text_string(struct text *text, const char *string)
{
    xctx__text_add(text, string, strlen(string));
}

void xctx__text_format(struct text *text, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0 || !text_reserve(text, (size_t)length))
        return;
    va_start(arguments, format);
    vsnprintf(text->bytes + text->size, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text->size += (size_t)length;
}

void xctx__text_destroy(struct text *text)
{
    xctx__free(text->bytes);
    *text = (struct text){0};
}
