/* SPDX-License-Identifier: MIT */
/*
 * Writing reports: what the three writers share. They know reports by the public functions of inspect.h alone, allocate
 * nothing, and do not depend on the locale.
 *
 * A name, a path or a value is whatever bytes somebody put into a program. No writer lets any of them do something to
 * who reads: what is not a printable character in valid UTF-8 comes out as an escape that is seen.
 */
#ifndef XCTX_INSPECT_WRITE_H
#define XCTX_INSPECT_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <xctx/inspect.h>

enum { XCTX__PARENTS_WRITTEN = 4096 }; /* of each report; more than a chain can have */

/* Where a writer writes. What fails first is remembered; nothing is written after it. */
struct sink {
    FILE *file;
    int error; /* 0, or a negative errno */
};

void xctx__sink_bytes(struct sink *sink, const char *bytes, size_t size);
void xctx__sink_string(struct sink *sink, const char *string);
__attribute__((format(printf, 2, 3))) void xctx__sink_format(struct sink *sink, const char *format, ...);

/* A character of a text, as it may be shown. */
struct visible {
    char bytes[12]; /* itself, or an escape: "\n", "\033", "\u202e"; no NUL behind it */
    uint8_t size;   /* of `bytes` */
    uint8_t width;  /* columns it takes on a terminal: 0 to 2, or the length of the escape */
};

/* Takes one character off the front of a text that is not empty. Returns how many bytes it had. */
size_t xctx__visible_next(const char *text, size_t size, struct visible *ret_visible);

/* How many bytes, 1 to 4, a character of valid UTF-8 has at the front of a text that is not empty, and which; 0: there
   is none. */
size_t xctx__utf8_next(const char *text, size_t size, uint32_t *ret_character);

/* What is written in place of a value that is not there: "optimized out" for XCTX_SOURCE_OPTIMIZED_OUT, in `buffer`. */
const char *xctx__source_text(enum xctx_source source, char buffer[32]);

/* Whether a source is worth a word beside a value: not where values come from normally. */
bool xctx__source_remarkable(enum xctx_source source);

/* A type and a name as a declaration: "char name[8]" for "char [8]". Splits the type in two, before and behind the
   name. Returns the size of the part before it, without spaces at its end. */
size_t xctx__declaration_split(const char *type, bool *ret_space);

/* The last part of a path. */
const char *xctx__base_name(const char *path);

/* The writers. `count` reports, none of them NULL; `single` says that there is one and the caller wanted no list. They
   return 0 or what writing failed with. */
int xctx__write_text(xctx_report *const reports[], size_t count, FILE *file);
int xctx__write_json(xctx_report *const reports[], size_t count, bool single, FILE *file);
int xctx__write_html(xctx_report *const reports[], size_t count, FILE *file);

#endif
