/* SPDX-License-Identifier: MIT */
/*
 * A pool of threads that knows nothing of contexts (pool.c) works through files, piece by piece. Each file is a
 * request; the main thread handles it in a context of its own, where it sets who and what it is about and until when,
 * and binds each piece of work to that context. Functions deep in the work (count.c, log.c) find it there.
 *
 * That each piece was done for its own request is checked: what count.c and log.c book to the request that they find
 * in their context has to add up, for every file, to the bytes that were read from it and the pieces that they make.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xctx/xctx.h>

#include "command.h"
#include "count.h"
#include "demo.h"
#include "log.h"
#include "output.h"
#include "pool.h"
#include "reader.h"
#include "request.h"

enum {
    PIECES = 8,      /* that a file is divided into, unless that makes them very small or large */
    LOG_SHOWN = 12,  /* lines, without --verbose */
    ROWS_SHOWN = 10, /* of the summary, without --verbose */
    NAME_COLUMNS = 26,
};

struct request {
    const char *name;
    const char *text; /* NULL: `name` is a file */
    char id[24];
    const struct demo *demo;
    struct pool *pool;
    uint64_t bytes_bound; /* that the pool was given */
    uint64_t pieces;
    char problem[80]; /* empty: none */
    struct tally tally;
};

static const char late[] = "not done within the deadline";

/* A piece of work: what to count, and nothing of whose it is. */
struct piece {
    char *text;
    size_t size;
};

static void *work(void *argument)
{
    struct piece *piece = argument;
    count_piece(piece->text, piece->size);
    free(piece->text);
    free(piece);
    return NULL;
}

/* All that a pool needs in order to carry contexts: it is given this function, and the work with it. */
static void call_bound(void *argument)
{
    xctx_bound_call(argument);
    xctx_bound_unref(argument);
}

/* Takes the text. */
static int submit(struct request *request, char *text, size_t size)
{
    struct piece *piece = malloc(sizeof(*piece));
    xctx_bound *bound = piece ? xctx_bind(work, piece) : NULL;

    if (!bound) {
        free(piece);
        free(text);
        return -ENOMEM;
    }
    *piece = (struct piece){text, size};
    pool_submit(request->pool, call_bound, bound);
    request->bytes_bound += size;
    request->pieces++;
    return 0;
}

static void set_problem(struct request *request, const char *problem)
{
    snprintf(request->problem, sizeof(request->problem), "%s", problem);
}

static void read_all(struct request *request, struct reader *reader)
{
    char *text;
    size_t size;
    int more = 0;
    int error = 0;

    while (!error && (more = reader_next(reader, &text, &size)) > 0) {
        if (now() >= deadline()) {
            free(text);
            error = -ETIME;
        } else {
            error = submit(request, text, size);
        }
    }
    if (error == -ETIME)
        set_problem(request, late);
    else if (error)
        set_problem(request, xctx_strerror(error));
    else if (more < 0)
        set_problem(request, reader->problem);
    else if (request->pieces == 0)
        set_problem(request, "empty");
}

static int set_variables(struct request *request)
{
    int64_t until = now() + request->demo->time_limit;
    int error = xctx_var_set(&request_id, request->id, NULL);

    if (!error)
        error = xctx_var_set(&request_file, (void *)request->name, NULL);
    if (!error)
        error = xctx_var_set(&request_deadline, deadline_value(until), NULL);
    if (!error)
        error = xctx_var_set(&request_tally, &request->tally, NULL);
    return error;
}

static void *handle(void *argument)
{
    struct request *request = argument;
    struct reader reader;
    int error = set_variables(request);

    if (error) {
        set_problem(request, xctx_strerror(error));
        return NULL;
    }
    bool opened =
        request->text ? reader_open_text(&reader, request->text, PIECES) : reader_open(&reader, request->name, PIECES);
    if (opened)
        read_all(request, &reader);
    else
        set_problem(request, reader.problem);
    reader_close(&reader);
    return NULL;
}

static void handle_in_own_context(struct request *request)
{
    xctx_context *context = xctx_copy_current();
    int error = context ? xctx_run(context, handle, request, NULL) : -ENOMEM;

    if (error)
        set_problem(request, xctx_strerror(error));
    xctx_unref(context);
}

static uint64_t get(atomic_uint_fast64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void print_row(const char *id, const char *name, struct tally *tally)
{
    char numbers[4][32];
    char fitting[4 * NAME_COLUMNS + 4];

    format_fitting(fitting, sizeof(fitting), name, NAME_COLUMNS);
    print("  %-7s %s%*s %13s %9s %9s %8s\n", id, fitting, NAME_COLUMNS - (int)text_columns(fitting), "",
          format_count(numbers[0], sizeof(numbers[0]), get(&tally->bytes)),
          format_count(numbers[1], sizeof(numbers[1]), get(&tally->lines)),
          format_count(numbers[2], sizeof(numbers[2]), get(&tally->words)),
          format_count(numbers[3], sizeof(numbers[3]), get(&tally->longest_line)));
}

/* A row for each file that was read to its end, and one for all of them. */
static void print_summary(struct request requests[], size_t count, bool verbose)
{
    struct tally all = {0};
    uint64_t good = 0;
    uint64_t rows = 0;
    char numbers[2][32];

    print("\n  %s%-7s %-*s %13s %9s %9s %8s%s\n", style_faint(), "request", NAME_COLUMNS, "file", "bytes", "lines",
          "words", "longest", style_end());
    for (size_t i = 0; i < count; i++) {
        struct tally *tally = &requests[i].tally;
        if (requests[i].problem[0])
            continue;
        good++;
        all.bytes += get(&tally->bytes);
        all.lines += get(&tally->lines);
        all.words += get(&tally->words);
        if (get(&tally->longest_line) > all.longest_line)
            all.longest_line = get(&tally->longest_line);
        if (verbose || rows < ROWS_SHOWN) {
            print_row(requests[i].id, requests[i].name, tally);
            rows++;
        }
    }
    if (good > rows)
        print("  ... and %s more files (--verbose shows them all)\n",
              format_count(numbers[0], sizeof(numbers[0]), good - rows));
    if (good > 1) {
        snprintf(numbers[1], sizeof(numbers[1]), "%s files", format_count(numbers[0], sizeof(numbers[0]), good));
        print_row("all", numbers[1], &all);
    }
}

static int report(struct request requests[], size_t count, const struct demo *demo)
{
    uint64_t pieces = 0;
    uint64_t misplaced = 0;
    size_t failed = 0;
    char numbers[2][32];

    for (size_t i = 0; i < count; i++) {
        struct request *request = &requests[i];
        pieces += request->pieces;
        if (!request->problem[0] && get(&request->tally.late_bytes) > 0)
            set_problem(request, late);
        misplaced += get(&request->tally.bytes) + get(&request->tally.late_bytes) != request->bytes_bound ||
                     get(&request->tally.log_lines) != request->pieces;
        failed += request->problem[0] != '\0';
    }
    if (failed < count)
        print_summary(requests, count, demo->verbose);
    if (pieces > 0 && misplaced == 0)
        print("\n  %s pieces of work on %zu plain threads, one log line each; every byte was\n"
              "  booked to the request that it belongs to, which nobody had passed down.\n",
              format_count(numbers[0], sizeof(numbers[0]), pieces), demo->threads);
    for (size_t i = 0; i < count; i++) {
        if (requests[i].problem[0])
            complain("%s: %s", requests[i].name, requests[i].problem);
    }
    if (misplaced > 0) {
        complain("demo: files: %" PRIu64 " requests were booked work that does not belong to them", misplaced);
        return STATUS_FAILED;
    }
    return failed > 0 ? STATUS_FAILED : STATUS_OK;
}

static int work_through(struct request requests[], size_t count, const struct demo *demo)
{
    struct pool *pool;
    int error = pool_create(&pool, demo->threads);

    if (error) {
        complain("demo: files: cannot start %zu threads: %s", demo->threads, strerror(-error));
        return STATUS_FAILED;
    }
    if (demo->verbose)
        log_begin(UINT64_MAX, UINT64_MAX);
    else
        log_begin(count < LOG_SHOWN ? LOG_SHOWN / count : 1, LOG_SHOWN);
    for (size_t i = 0; i < count; i++) {
        requests[i].pool = pool;
        requests[i].demo = demo;
        snprintf(requests[i].id, sizeof(requests[i].id), "r-%zu", i + 1);
        handle_in_own_context(&requests[i]);
    }
    pool_destroy(pool);
    log_end();
    return report(requests, count, demo);
}

/* For an installed command, which need not be where there is a text. */
static const char own_text[] = "A context is what a piece of work has with it wherever it goes: on whose behalf\n"
                               "it is done, until when, and how the thread is to be set that does it.\n"
                               "\n"
                               "Every thread has a current context. Copying it takes a few nanoseconds, however\n"
                               "much is in it, since the copy and the original share what is in them until one\n"
                               "of the two is changed. What is changed in one is never seen in the other.\n"
                               "\n"
                               "Any thread may enter the copy, work with what is there, and leave it again. A\n"
                               "function bound to a copy does that by itself when it is called: this is how a\n"
                               "pool of threads that has never heard of contexts carries them all the same.\n"
                               "\n"
                               "A variable is a key. Its value is looked up in the current context, in about a\n"
                               "nanosecond, by any function at any depth that wants to know it: the one that\n"
                               "writes the log, the one that has to stop when time is over, the one that books\n"
                               "what was used to whoever it was used for.\n"
                               "\n"
                               "Give this command the names of files, many of them, and see the pool work.\n";

static int files_run(const struct demo *demo)
{
    static const char fallback[] = "README.md";
    size_t count = demo->file_count ? demo->file_count : 1;
    struct request *requests = calloc(count, sizeof(*requests));

    if (!requests) {
        complain("demo: files: %s", xctx_strerror(-ENOMEM));
        return STATUS_FAILED;
    }
    for (size_t i = 0; i < demo->file_count; i++)
        requests[i].name = demo->files[i];
    if (demo->file_count == 0) {
        bool exists = access(fallback, R_OK) == 0;
        requests[0].name = exists ? fallback : "(a text of its own)";
        requests[0].text = exists ? NULL : own_text;
    }
    print("  Each piece of a file is handed to the pool by xctx_bind(), which takes along\n"
          "  request, file and deadline. The function that logs reads them from there.\n\n");
    int status = work_through(requests, count, demo);
    free(requests);
    return status;
}

const struct section section_files = {
    .name = "files",
    .title = "A pool of plain threads, each piece of work with its request",
    .run = files_run,
};
