/* SPDX-License-Identifier: MIT */
/*
 * Memory of a report: given out piece by piece, freed at once. A report has a bound, so that hostile debug information
 * cannot fill the machine: beyond it, as without memory, the arena *fails*: each further request gives NULL, and
 * whoever began the report finds that out once, at the end.
 */
#ifndef XCTX_INSPECT_ARENA_H
#define XCTX_INSPECT_ARENA_H

#include <stdbool.h>
#include <stddef.h>

enum {
    XCTX__REPORT_LIMIT = 256 * 1024 * 1024, /* bytes */
    XCTX__REPORT_STEPS = 16 * 1024 * 1024,  /* xctx__render_step() */
};

struct arena {
    struct arena_block *blocks;
    size_t used; /* in the first block */
    size_t room;
    size_t total;   /* of all blocks */
    unsigned steps; /* of what is written into it: xctx__render_step() */
    bool failed;
};

/* Zeros; NULL: no more. Aligned for everything. */
void *xctx__arena_allocate(struct arena *arena, size_t size);

/* A copy of a text. NULL: no more, or `text` is NULL. */
const char *xctx__arena_string(struct arena *arena, const char *text);
__attribute__((format(printf, 2, 3))) const char *xctx__arena_format(struct arena *arena, const char *format, ...);

void xctx__arena_destroy(struct arena *arena);

/* A text that grows, up to a limit at which it is `full` and takes no more. */
struct text {
    char *bytes; /* ends with a NUL; NULL: empty */
    size_t size;
    size_t room;
    size_t limit; /* 0: XCTX__TEXT_LIMIT */
    bool full;    /* or memory ran out */
};

enum { XCTX__TEXT_LIMIT = 4 * 1024 * 1024 };

void xctx__text_add(struct text *text, const char *bytes, size_t size);
void xctx__text_string(struct text *text, const char *string);
__attribute__((format(printf, 2, 3))) void xctx__text_format(struct text *text, const char *format, ...);
void xctx__text_destroy(struct text *text);

#endif
