/* SPDX-License-Identifier: MIT */
/* Reports of real snapshots, for tests of what is in them. */
#ifndef XCTX_TEST_FRAMES_SUPPORT_H
#define XCTX_TEST_FRAMES_SUPPORT_H

#include <xctx/inspect.h>

#include "test.h"

#define NOINLINE __attribute__((noinline))
/* Behind a call: else it may become a jump, and its frame is gone. */
#define NO_TAIL_CALL __asm__ volatile("")

/* Takes the reference to the snapshot. */
static inline xctx_report *report_of(xctx_snapshot *snapshot, const xctx_inspect_options *options)
{
    xctx_report *report = NULL;

    assert_non_null(snapshot);
    assert_int_equal(xctx_inspect(snapshot, options, &report), 0);
    assert_non_null(report);
    xctx_snapshot_unref(snapshot);
    return report;
}

static inline bool frame_is(const xctx_frame *frame, const char *function)
{
    return frame->function && strcmp(frame->function, function) == 0;
}

/* The first frame of a function from `from` on: its number, or -1. */
static inline int find_frame(const xctx_report *report, const char *function, int from)
{
    for (size_t i = (size_t)from; i < xctx_report_frame_count(report); i++) {
        if (frame_is(xctx_report_frame(report, i), function))
            return (int)i;
    }
    return -1;
}

static inline const xctx_frame *frame_of(const xctx_report *report, const char *function)
{
    int index = find_frame(report, function, 0);

    if (index < 0)
        fail_msg("there is no frame of %s", function);
    return xctx_report_frame(report, (size_t)index);
}

static inline bool has_note(const xctx_report *report, const char *part)
{
    for (size_t i = 0; i < xctx_report_note_count(report); i++) {
        if (strstr(xctx_report_note(report, i), part))
            return true;
    }
    return false;
}

static inline bool ends_with(const char *text, const char *end)
{
    size_t length = text ? strlen(text) : 0, end_length = strlen(end);

    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

#endif
