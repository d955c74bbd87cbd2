/* SPDX-License-Identifier: MIT */
/* How the command writes: see output.h. */
#include "output.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

enum {
    MESSAGE_LIMIT = 8192, /* longer than any file name with some words around it */
    LABEL_INDENT = 2,
    COLUMN_GAP = 2,
};

void print(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
}

static void replace_controls(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == 127)
            *text = '?';
    }
}

__attribute__((format(printf, 1, 0))) static void complain_with(const char *format, va_list arguments,
                                                                const char *suffix)
{
    char message[MESSAGE_LIMIT];

    if (vsnprintf(message, sizeof(message), format, arguments) < 0)
        message[0] = '\0';
    replace_controls(message);
    fflush(stdout);
    fprintf(stderr, "xctx: %s%s\n", message, suffix);
}

void complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain_with(format, arguments, "");
    va_end(arguments);
}

int usage_error(const char *command, const char *format, ...)
{
    char suffix[64];
    va_list arguments;

    snprintf(suffix, sizeof(suffix), "; try `xctx %s%s--help`", command ? command : "", command ? " " : "");
    va_start(arguments, format);
    complain_with(format, arguments, suffix);
    va_end(arguments);
    return STATUS_USAGE;
}

static int reason; /* what standard output failed with, as far as somebody has said so */

void output_failed(int error_number)
{
    reason = error_number;
}

int output_finish(int status)
{
    /* What failed earlier than now has left its mark in the stream, but not in errno. */
    int failed = ferror(stdout);
    errno = 0;
    if (fclose(stdout) != 0 || failed) {
        reason = reason ? reason : errno;
        fprintf(stderr, "xctx: standard output: %s\n", reason ? strerror(reason) : "could not be written");
        return status == STATUS_OK ? STATUS_FAILED : status;
    }
    return status;
}

static bool styled(void)
{
    const char *terminal = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    return isatty(STDOUT_FILENO) && terminal && strcmp(terminal, "dumb") != 0 && !(no_colour && *no_colour);
}

const char *style_strong(void)
{
    return styled() ? "\033[1m" : "";
}

const char *style_faint(void)
{
    return styled() ? "\033[2m" : "";
}

const char *style_end(void)
{
    return styled() ? "\033[0m" : "";
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool same_side(const struct moment *a, const struct moment *b)
{
    return strcmp(a->side, b->side) == 0;
}

static size_t column_width(const struct moment *moment, size_t row_count)
{
    size_t width = strlen(moment->title);
    for (size_t row = 0; row < row_count; row++)
        width = larger(width, strlen(moment->cells[row].text));
    return width;
}

/* Before a column: a gap, or a line if another side begins. */
static void print_separator(const struct moment moments[], size_t column)
{
    if (column > 0 && same_side(&moments[column], &moments[column - 1]))
        print("%*s", COLUMN_GAP, "");
    else
        print(" %s|%s ", style_faint(), style_end());
}

/* The headings of the sides, each over its columns. */
static void print_sides(size_t label_width, size_t row_count, const struct moment moments[], size_t moment_count)
{
    print("%*s", (int)(LABEL_INDENT + label_width), "");
    for (size_t column = 0; column < moment_count;) {
        size_t next = column;
        size_t width = 0;
        do {
            width += column_width(&moments[next], row_count) + (next > column ? COLUMN_GAP : 0);
            next++;
        } while (next < moment_count && same_side(&moments[next], &moments[column]));
        bool last = next == moment_count;
        print_separator(moments, column);
        print("%s%-*s%s", style_strong(), last ? 0 : (int)width, moments[column].side, style_end());
        column = next;
    }
    print("\n");
}

void print_side_by_side(const char *const rows[], size_t row_count, const struct moment moments[], size_t moment_count)
{
    size_t label_width = 0;

    for (size_t row = 0; row < row_count; row++)
        label_width = larger(label_width, strlen(rows[row]));
    print_sides(label_width, row_count, moments, moment_count);
    print("%*s", (int)(LABEL_INDENT + label_width), "");
    for (size_t column = 0; column < moment_count; column++) {
        bool last = column + 1 == moment_count;
        print_separator(moments, column);
        print("%s%-*s%s", style_faint(), last ? 0 : (int)column_width(&moments[column], row_count),
              moments[column].title, style_end());
    }
    print("\n");
    for (size_t row = 0; row < row_count; row++) {
        print("%*s%-*s", LABEL_INDENT, "", (int)label_width, rows[row]);
        for (size_t column = 0; column < moment_count; column++) {
            const struct cell *cell = &moments[column].cells[row];
            bool last = column + 1 == moment_count;
            print_separator(moments, column);
            print("%s%-*s%s", cell->notable ? style_strong() : "",
                  last ? 0 : (int)column_width(&moments[column], row_count), cell->text,
                  cell->notable ? style_end() : "");
        }
        print("\n");
    }
}

const char *format_count(char *buffer, size_t size, uint64_t number)
{
    char digits[24];
    size_t length = (size_t)snprintf(digits, sizeof(digits), "%llu", (unsigned long long)number);
    size_t used = 0;

    for (size_t i = 0; i < length && used + 2 < size; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            buffer[used++] = ',';
        buffer[used++] = digits[i];
    }
    if (size > 0)
        buffer[used] = '\0';
    return buffer;
}

const char *format_seconds(char *buffer, size_t size, int64_t nanoseconds)
{
    int64_t milliseconds = (nanoseconds < 0 ? -nanoseconds : nanoseconds) / 1000000;
    snprintf(buffer, size, "%s%lld.%03lld s", nanoseconds < 0 ? "-" : "", (long long)(milliseconds / 1000),
             (long long)(milliseconds % 1000));
    return buffer;
}

/* Bytes that do not continue a character of UTF-8. */
static bool begins_character(char byte)
{
    return ((unsigned char)byte & 0xc0) != 0x80;
}

size_t text_columns(const char *text)
{
    size_t columns = 0;
    for (; *text; text++)
        columns += begins_character(*text);
    return columns;
}

const char *format_fitting(char *buffer, size_t size, const char *text, size_t width)
{
    size_t columns = text_columns(text);
    bool cut = columns > width;
    size_t skipped = cut ? columns - width + 2 : 0;
    while (skipped > 0) {
        text++;
        while (!begins_character(*text))
            text++;
        skipped--;
    }
    snprintf(buffer, size, "%s%s", cut ? ".." : "", text);
    replace_controls(buffer);
    return buffer;
}

int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}
