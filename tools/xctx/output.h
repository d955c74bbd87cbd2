/* SPDX-License-Identifier: MIT */
/*
 * How the command writes: standard output for results, standard error for errors, tables, numbers for people.
 */
#ifndef XCTX_TOOL_OUTPUT_H
#define XCTX_TOOL_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Writes to standard output. Whether that worked is asked once, by output_finish(). */
__attribute__((format(printf, 1, 2))) void print(const char *format, ...);

/* Writes "xctx: ..." to standard error, as one line whatever is in the arguments, after what print() wrote. */
__attribute__((format(printf, 1, 2))) void complain(const char *format, ...);

/* Complains about how the command was called, and says where help is. `command` may be NULL. Returns STATUS_USAGE. */
__attribute__((format(printf, 2, 3))) int usage_error(const char *command, const char *format, ...);

/* Says why standard output could not be written, for output_finish() to complain about. */
void output_failed(int error_number);

/* Ends standard output. Returns `status`, or STATUS_FAILED if something could not be written. */
int output_finish(int status);

/* Sequences that begin and end a style; empty where standard output is not a terminal that knows them. */
const char *style_strong(void);
const char *style_faint(void);
const char *style_end(void);

enum { CELL_SIZE = 24 };

/* One cell of a table. */
struct cell {
    char text[CELL_SIZE];
    bool notable; /* drawn strongly */
};

/* A column: how things were on one side, at one moment. */
struct moment {
    const char *side; /* neighbours with the same side share a heading */
    const char *title;
    const struct cell *cells; /* one for each row */
};

/* Prints a table that shows several sides next to each other, a line between them. */
void print_side_by_side(const char *const rows[], size_t row_count, const struct moment moments[], size_t moment_count);

/* 1234567 as "1,234,567". `size` of at least 28 holds every number. Returns `buffer`. */
const char *format_count(char *buffer, size_t size, uint64_t number);

/* A duration in nanoseconds as "1.998 s" or "-0.012 s". Integers only: it does not depend on how numbers are rounded
   on the calling thread. Returns `buffer`. */
const char *format_seconds(char *buffer, size_t size, int64_t nanoseconds);

/* A text of at most `width` columns, control characters replaced; of a longer one the end, behind "..". Returns
   `buffer`. */
const char *format_fitting(char *buffer, size_t size, const char *text, size_t width);

/* How many columns a text of UTF-8 takes, if each character takes one. */
size_t text_columns(const char *text);

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t now(void);

#endif
