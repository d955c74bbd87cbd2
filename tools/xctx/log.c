/* SPDX-License-Identifier: MIT */
/* The log of the demo: see log.h. Lines that are not to be shown are counted all the same. */
#include "log.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>

#include "output.h"
#include "pool.h"
#include "request.h"

enum { FILE_COLUMNS = 22 };

static int64_t start;
static uint64_t per_request_limit;
static uint64_t total_limit;
static atomic_uint_fast64_t written; /* relaxed, as the tallies */
static atomic_uint_fast64_t shown;

void log_begin(uint64_t per_request, uint64_t total)
{
    per_request_limit = per_request;
    total_limit = total;
    atomic_store_explicit(&written, 0, memory_order_relaxed);
    atomic_store_explicit(&shown, 0, memory_order_relaxed);
    print("  %s%9s  %-6s  %-7s %-*s  %8s  %s%s\n", style_faint(), "at", "thread", "request", FILE_COLUMNS, "file",
          "left", "logged", style_end());
    start = now();
}

/* Counts a line, and tells whether it is among those to be shown. */
static bool is_shown(void)
{
    struct tally *tally = xctx_var_get(&request_tally);

    atomic_fetch_add_explicit(&written, 1, memory_order_relaxed);
    if (tally && atomic_fetch_add_explicit(&tally->log_lines, 1, memory_order_relaxed) >= per_request_limit)
        return false;
    if (atomic_load_explicit(&shown, memory_order_relaxed) >= total_limit)
        return false;
    return atomic_fetch_add_explicit(&shown, 1, memory_order_relaxed) < total_limit;
}

void log_line(const char *format, ...)
{
    const char *id = xctx_var_get(&request_id);
    const char *file = xctx_var_get(&request_file);
    char message[128];
    char name[4 * FILE_COLUMNS + 4];
    char left[24];
    va_list arguments;

    if (!is_shown())
        return;
    va_start(arguments, format);
    if (vsnprintf(message, sizeof(message), format, arguments) < 0)
        message[0] = '\0';
    va_end(arguments);
    flockfile(stdout); /* so that the times of the lines are in order */
    int64_t time = now();
    int64_t microseconds = (time - start) / 1000;
    format_fitting(name, sizeof(name), file ? file : "-", FILE_COLUMNS);
    print("  %3" PRId64 ".%03" PRId64 "ms  %6u  %-7s %s%*s  %8s  %s\n", microseconds / 1000, microseconds % 1000,
          pool_thread_number(), id ? id : "-", name, FILE_COLUMNS - (int)text_columns(name), "",
          format_seconds(left, sizeof(left), deadline() - time), message);
    fflush(stdout); /* logs are for reading while the program runs */
    funlockfile(stdout);
}

void log_end(void)
{
    uint64_t lines = atomic_load_explicit(&written, memory_order_relaxed);
    uint64_t seen = atomic_load_explicit(&shown, memory_order_relaxed);
    char count[32];

    if (seen > total_limit)
        seen = total_limit;
    if (lines > seen)
        print("  ... and %s more (--verbose shows them all)\n", format_count(count, sizeof(count), lines - seen));
}
