/* SPDX-License-Identifier: MIT */
/*
 * Values of variables as reports write them. A test has static variables, which no compiler drops once shown() has seen
 * their address, and says what gdb 13 prints for them.
 */
#ifndef XCTX_TEST_RENDER_SUPPORT_H
#define XCTX_TEST_RENDER_SUPPORT_H

#include "frames_support.h"

/* The compiler has to expect that anyone reads and writes it. */
#define shown(variable) __asm__ volatile("" : : "r"(&(variable)) : "memory")

/* Compiled so that all of its variables are there. */
#if defined(__clang__)
#define UNOPTIMIZED __attribute__((noinline, optnone))
#else
#define UNOPTIMIZED __attribute__((noinline, optimize("O0")))
#endif

/* What a report says of a variable of the function that this is called from. */
#define EXPECT_VALUE(variable, ...)                                                                                    \
    do {                                                                                                               \
        char expected_[2048];                                                                                          \
        shown(variable);                                                                                               \
        snprintf(expected_, sizeof(expected_), __VA_ARGS__);                                                           \
        expect_local(__func__, #variable, expected_, NULL, 0, __LINE__);                                               \
        NO_TAIL_CALL;                                                                                                  \
    } while (0)

#define EXPECT_TYPE(variable, name)                                                                                    \
    do {                                                                                                               \
        shown(variable);                                                                                               \
        expect_local(__func__, #variable, NULL, name, 0, __LINE__);                                                    \
        NO_TAIL_CALL;                                                                                                  \
    } while (0)

/* The report may say nothing but that it does not know. */
#define EXPECT_NONE(variable, why)                                                                                     \
    do {                                                                                                               \
        shown(variable);                                                                                               \
        expect_local(__func__, #variable, NULL, NULL, why, __LINE__);                                                  \
        NO_TAIL_CALL;                                                                                                  \
    } while (0)

__attribute__((noinline, unused)) static void expect_local(const char *function, const char *name, const char *value,
                                                           const char *type, int why, int line)
{
    xctx_inspect_options options = {
        .size = sizeof(options), .flags = XCTX_INSPECT_LIVE | XCTX_INSPECT_NO_PARENTS, .max_frames = 8};
    xctx_report *report = report_of(xctx_snapshot_take(XCTX_CAPTURE_LOCALS), &options);
    if (xctx_report_frame_count(report) > 0 && !xctx_report_frame(report, 0)->file) {
        xctx_report_unref(report);
        skip(); /* compiled without debug information */
    }
    const xctx_local *local = xctx_frame_find(frame_of(report, function), name);

    if (!local)
        fail_msg("line %d: there is no %s", line, name);
    else if (value && (!local->value || strcmp(local->value, value) != 0))
        fail_msg("line %d: %s is %s, not %s", line, name, local->value ? local->value : xctx_source_name(local->source),
                 value);
    else if (type && strcmp(local->type, type) != 0)
        fail_msg("line %d: %s is of type %s, not %s", line, name, local->type, type);
    else if (!value && !type && (local->value || (int)local->source != why))
        fail_msg("line %d: %s is %s", line, name, local->value ? local->value : xctx_source_name(local->source));
    xctx_report_unref(report);
}

#endif
