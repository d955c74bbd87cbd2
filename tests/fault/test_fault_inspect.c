/* SPDX-License-Identifier: MIT */
/*
 * Reports without memory: a call fails with -ENOMEM, or gives all that it gives with memory; and the next call with
 * memory succeeds. What a process keeps from one report to the next is made in children, where there is nothing yet.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xctx/inspect.h>
#include <xctx/xctx.h>

#include "test.h"

#include "context/memory.h"

#ifndef XCTX_TEST_BUILD
#error "tests/fault needs a test build"
#endif

enum { ROUNDS_MOST = 20000 };

enum outcome { FAILED, SUCCEEDED, NOT_REACHED, WRONG };

static xctx_snapshot *snapshot;
static char *expected; /* the report, as text */

/* So that there is something to tell. */
static __attribute__((noinline)) void capture(int depth, const char *text)
{
    char local[32];

    snprintf(local, sizeof(local), "%s %d", text, depth);
    if (depth > 0)
        capture(depth - 1, text);
    else
        snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    __asm__ volatile("" ::"r"(local) : "memory");
}

/* What a report says. NULL: writing it took memory that was not there. */
static char *text_of(const xctx_report *report, enum xctx_format format)
{
    char *text = NULL;
    size_t size;
    FILE *file = open_memstream(&text, &size);

    CHECK(file);
    int error = xctx_report_write(report, file, format);
    CHECK(fclose(file) == 0);
    CHECK(error == 0 || error == -ENOMEM);
    if (error == 0)
        return text;
    free(text);
    return NULL;
}

static char *text_of_snapshot(xctx_snapshot *from)
{
    xctx_report *report;

    CHECK(xctx_inspect(from, NULL, &report) == 0);
    char *text = text_of(report, XCTX_FORMAT_TEXT);
    CHECK(text);
    xctx_report_unref(report);
    return text;
}

/* A call, of which the nth allocation fails. */
typedef enum outcome round_fn(long nth);

static enum outcome outcome_of(int error, long nth)
{
    bool reached = xctx__test_fail_allocation(0) >= nth;

    if (error == -ENOMEM && reached)
        return FAILED;
    if (error != 0)
        return WRONG;
    return reached ? SUCCEEDED : NOT_REACHED;
}

/* Runs rounds until one does not get as far as the allocation that is to fail. */
static void fail_each(round_fn *round)
{
    enum outcome outcome = FAILED;
    long failed = 0;

    for (long nth = 1; outcome != NOT_REACHED; nth++) {
        CHECK(nth < ROUNDS_MOST);
        outcome = round(nth);
        if (outcome == WRONG)
            fprintf(stderr, "with allocation %ld failing:\n", nth);
        CHECK(outcome != WRONG);
        failed += outcome == FAILED;
    }
    CHECK(failed > 0);
}

static enum outcome inspect(long nth)
{
    xctx_report *report = NULL;

    xctx__test_fail_allocation(nth);
    enum outcome outcome = outcome_of(xctx_inspect(snapshot, NULL, &report), nth);
    if (outcome != FAILED && outcome != WRONG) {
        char *text = text_of(report, XCTX_FORMAT_TEXT);
        outcome = text && strcmp(text, expected) == 0 ? outcome : WRONG;
        free(text);
    }
    xctx_report_unref(report);
    char *again = text_of_snapshot(snapshot);
    outcome = strcmp(again, expected) == 0 ? outcome : WRONG;
    free(again);
    return outcome;
}

static enum outcome in_child(round_fn *round, long nth)
{
    int status;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0)
        _exit((int)round(nth));
    CHECK(waitpid(child, &status, 0) == child);
    return WIFEXITED(status) ? (enum outcome)WEXITSTATUS(status) : WRONG;
}

static enum outcome inspect_first(long nth)
{
    return in_child(inspect, nth);
}

/* In a child, since this process is to have none yet. */
static void make_expected(void)
{
    int pipes[2];
    size_t size = 0, room = 1 << 20;
    ssize_t got;

    capture(3, "level");
    CHECK(snapshot && pipe(pipes) == 0);
    expected = calloc(1, room);
    CHECK(expected);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        char *text = text_of_snapshot(snapshot);
        for (size_t at = 0; at < strlen(text); at += (size_t)got) {
            got = write(pipes[1], text + at, strlen(text) - at);
            if (got <= 0)
                _exit(1);
        }
        _exit(0);
    }
    close(pipes[1]);
    while ((got = read(pipes[0], expected + size, room - 1 - size)) > 0)
        size += (size_t)got;
    close(pipes[0]);
    CHECK(waitpid(child, NULL, 0) == child && size > 0);
    /* AddressSanitizer may keep arrays on a stack of its own. */
    CHECK(TEST_ASAN || strstr(expected, "level 2"));
}

/* Before the others: it needs a process that has made no report. */
TEST(first_inspect_without_memory_fails_or_is_complete)
{
    fail_each(inspect_first);
}

TEST(inspect_without_memory_fails_or_is_complete)
{
    free(text_of_snapshot(snapshot));
    fail_each(inspect);
}

static enum xctx_format format;
static xctx_report *written;
static char *written_whole;

static enum outcome write_it(long nth)
{
    xctx__test_fail_allocation(nth);
    char *text = text_of(written, format);
    enum outcome outcome = outcome_of(text ? 0 : -ENOMEM, nth);
    if (text && strcmp(text, written_whole) != 0)
        outcome = WRONG;
    free(text);
    return outcome;
}

TEST(report_write_without_memory_fails_or_is_complete)
{
    static const enum xctx_format formats[] = {XCTX_FORMAT_TEXT, XCTX_FORMAT_JSON, XCTX_FORMAT_HTML};

    CHECK(xctx_inspect(snapshot, NULL, &written) == 0);
    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        enum outcome outcome = FAILED;
        format = formats[i];
        written_whole = text_of(written, format);
        CHECK(written_whole);
        /* Not all formats need memory. */
        for (long nth = 1; outcome != NOT_REACHED; nth++) {
            CHECK(nth < ROUNDS_MOST);
            outcome = write_it(nth);
            CHECK(outcome != WRONG);
        }
        free(written_whole);
    }
    xctx_report_unref(written);
}

static char core_path[] = "/tmp/xctx-fault-XXXXXX";

static enum outcome open_it(long nth)
{
    xctx_snapshot *opened = NULL;

    xctx__test_fail_allocation(nth);
    enum outcome outcome = outcome_of(xctx_snapshot_open(core_path, &opened), nth);
    if ((outcome == FAILED) != !opened)
        outcome = WRONG;
    xctx_snapshot_unref(opened);
    return outcome;
}

TEST(snapshot_open_without_memory_fails_or_opens_all)
{
    int fd = mkstemp(core_path);

    CHECK(fd >= 0);
    CHECK(xctx_snapshot_write_core(snapshot, fd) == 0);
    close(fd);
    fail_each(open_it);
    unlink(core_path);
}

int main(void)
{
    make_expected();
    int failed = test_main("reports without memory");
    xctx_snapshot_unref(snapshot);
    free(expected);
    return failed;
}
