/* SPDX-License-Identifier: MIT */
/*
 * Crash reports, between the files that make them:
 *
 *   crash.c         installing: everything that the handler needs is prepared here, while the process is sound.
 *   crash_handle.c  the handler: who reports, what becomes of the signal afterwards.
 *   crash_report.c  the report: a core in a file of memory, and a process that reads it.
 *   crash_say.c     text, from a signal handler; the report of the handler's own, where there is no command.
 *
 * The handler uses system calls, and memory that was reserved, alone.
 */
#ifndef XCTX_CAPTURE_CRASH_H
#define XCTX_CAPTURE_CRASH_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <xctx/crash.h>
#include <xctx/snapshot.h>

enum {
    CRASH_SIGNALS = 7,
    CRASH_PATH = 4096,         /* bytes of a path, with its final NUL */
    CRASH_VARIABLES = 1024,    /* of the command's environment */
    CRASH_ENVIRONMENT = 65536, /* bytes of that */
};

/* Written by xctx_crash_install(), under its lock, while `active` is false; read by the handler. */
struct crash {
    xctx_snapshot *snapshot; /* reserved */
    int64_t time_limit;      /* nanoseconds */
    bool has_core;
    bool has_report;
    char core_path[CRASH_PATH];
    char report_path[CRASH_PATH];
    char command[CRASH_PATH]; /* "": none was found */
    char *environment[CRASH_VARIABLES + 1];
    char environment_text[CRASH_ENVIRONMENT];
    struct sigaction previous[CRASH_SIGNALS];
};

extern struct crash xctx__crash __attribute__((visibility("hidden")));
extern const int xctx__crash_signals[CRASH_SIGNALS] __attribute__((visibility("hidden")));

/* The handler. */
void xctx__crash_handle(int signal, siginfo_t *info, void *context);

/* Forgets that something was reported: for the next install. */
void xctx__crash_rearm(void);

/* Whether a report was begun since, so that the handler may be using what was installed. */
bool xctx__crash_is_used(void);

/* Gives a thread that xctx_thread_create() starts an alternate stack, if crashes are reported. */
void xctx__crash_thread_starts(void);

/* ---- crash_report.c ---- */

/* Reports a crash, with all signals blocked. */
void xctx__crash_report(int signal, const siginfo_t *info, const void *context);

/* The address that a signal is about; 0: about none. */
uint64_t xctx__crash_address(const siginfo_t *info);

/* ---- crash_say.c ---- */

/* A line that is put together, and written at once. What does not fit is left out. */
struct line {
    char text[4608];
    size_t length;
};

void xctx__line_add(struct line *line, const char *text);
void xctx__line_write(struct line *line, int fd);

/* A path in which "%p", "%t" and "%%" are replaced. Returns whether it fits. */
bool xctx__crash_path(const char *pattern, char *path, size_t size);

/* What can be said without debug information. */
void xctx__crash_say_signal(int fd, int signal, const siginfo_t *info);
void xctx__crash_say_stack(int fd, const xctx_snapshot *snapshot);

#endif
