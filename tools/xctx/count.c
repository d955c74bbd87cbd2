/* SPDX-License-Identifier: MIT */
/* The work of the demo: see count.h. Nothing here is passed a request; the tallies are relaxed (request.h). */
#include "count.h"

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "log.h"
#include "output.h"
#include "request.h"

struct counts {
    uint64_t lines;
    uint64_t words;
    uint64_t longest_line;
};

/* The spaces of the C locale: the same on every thread, whatever its locale. */
static bool is_space(char byte)
{
    return byte == ' ' || (byte >= '\t' && byte <= '\r');
}

static uint64_t count_words(const char *line, size_t length)
{
    uint64_t words = 0;
    bool in_word = false;
    for (size_t i = 0; i < length; i++) {
        bool space = is_space(line[i]);
        words += !space && !in_word;
        in_word = !space;
    }
    return words;
}

static void count_line(struct counts *counts, const char *line, size_t length)
{
    counts->words += count_words(line, length);
    if (length > counts->longest_line)
        counts->longest_line = length;
}

/* Four calls below what the pool was given: on whose account, and under which name, only the context says. */
static void book(const struct counts *counts, size_t size)
{
    struct tally *tally = xctx_var_get(&request_tally);

    if (tally) {
        atomic_fetch_add_explicit(&tally->bytes, size, memory_order_relaxed);
        atomic_fetch_add_explicit(&tally->lines, counts->lines, memory_order_relaxed);
        atomic_fetch_add_explicit(&tally->words, counts->words, memory_order_relaxed);
        uint64_t longest = atomic_load_explicit(&tally->longest_line, memory_order_relaxed);
        while (counts->longest_line > longest) {
            if (atomic_compare_exchange_weak_explicit(&tally->longest_line, &longest, counts->longest_line,
                                                      memory_order_relaxed, memory_order_relaxed))
                break;
        }
    }
    log_line("%" PRIu64 " word%s", counts->words, counts->words == 1 ? "" : "s");
}

static void book_late(size_t size)
{
    struct tally *tally = xctx_var_get(&request_tally);

    if (tally)
        atomic_fetch_add_explicit(&tally->late_bytes, size, memory_order_relaxed);
    log_line("too late");
}

static void count_lines(const char *text, size_t size)
{
    struct counts counts = {0, 0, 0};

    for (size_t at = 0; at < size;) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - (text + at)) : size - at;
        count_line(&counts, text + at, length);
        counts.lines += end != NULL;
        at += length + 1;
    }
    book(&counts, size);
}

void count_piece(const char *text, size_t size)
{
    if (deadline() && now() >= deadline())
        book_late(size);
    else
        count_lines(text, size);
}
