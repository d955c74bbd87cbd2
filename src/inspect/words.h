/* SPDX-License-Identifier: MIT */
/*
 * The words that reports use for numbers of the system, the same in all formats and in all locales.
 */
#ifndef XCTX_INSPECT_WORDS_H
#define XCTX_INSPECT_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <xctx/inspect.h>

enum {
    XCTX__WORD = 32,         /* bytes that a single word needs at most, with its NUL */
    XCTX__TIME = 64,         /* bytes that a time needs at most */
    XCTX__WORDS = 3072,      /* bytes that a list of them needs at most: 512 ranges of processors */
    XCTX__SIGNALS = 64,      /* signals have the numbers from 1 to this */
    XCTX__CAPTURES = 5,      /* XCTX_CAPTURE_* bits that have a name */
    XCTX__FP_EXCEPTIONS = 5, /* exceptions of floating point that have a name */
};

/* "SIGINT"; "SIG34" for one without a name, in `buffer`. */
const char *xctx__signal_name(int number, char buffer[XCTX__WORD]);

/* "SEGV_MAPERR"; NULL: it has no name. */
const char *xctx__signal_code_name(int number, int code);

/* "ENOENT", and "No such file or directory"; NULL: not known. */
const char *xctx__errno_name(int error);
const char *xctx__errno_text(int error);

/* The name of a bit in `captured`, by its index below XCTX__CAPTURES; NULL: the bit is not set. */
const char *xctx__capture_name(unsigned captured, unsigned index);

/* Likewise of floating-point exceptions. */
const char *xctx__fp_exception_name(int exceptions, unsigned index);

/* "to-nearest" of FE_TONEAREST, "other" of SCHED_OTHER; "unknown" of what has no name. */
const char *xctx__rounding_name(int mode);
const char *xctx__policy_name(int policy);

/* "2026-11-22T11:20:33.123456789Z" of nanoseconds since 1970. */
const char *xctx__time_text(int64_t time, char buffer[XCTX__TIME]);

/* Lists, in `buffer`: "SIGINT SIGUSR1", "0-3,8", "stack, locals", "invalid, inexact"; "none" if there is nothing. */
const char *xctx__signals_text(uint64_t mask, char buffer[XCTX__WORDS]);
const char *xctx__affinity_text(const uint64_t affinity[16], char buffer[XCTX__WORDS]);
const char *xctx__captured_text(unsigned captured, bool variables, char buffer[XCTX__WORDS]);

/* Calls `row` for each line of a thread's state that is for people: a label, and text. What the heading of a report has
   already is not among them: ids, name, time, and the signal. */
void xctx__state_rows(const xctx_thread_state *state, void (*row)(void *user, const char *label, const char *text),
                      void *user);

/* "SIGSEGV (SEGV_MAPERR) at 0x10": the signal whose handler took the snapshot. In `buffer`. */
const char *xctx__signal_text(const xctx_thread_state *state, char buffer[XCTX__WORDS]);

#endif
