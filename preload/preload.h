/* SPDX-License-Identifier: MIT */
/*
 * What the files of libxctx-preload share.
 */
#ifndef XCTX_PRELOAD_H
#define XCTX_PRELOAD_H

#include <stdbool.h>

/* Writes "xctx: ..." to standard error, as one line. */
__attribute__((format(printf, 1, 2))) void preload_complain(const char *format, ...);

/* A function for a new thread. */
struct work {
    void *(*fn)(void *);
    void *arg;
};

/* Opens the file of the trace. Returns whether there is one. */
bool trace_open(const char *path);

/* Notes that the process has begun. */
void trace_process(void);

/* Makes work that notes its beginning and its end around other work, in the running thread's name. Returns whether
   there was memory for it; to be given back with trace_unwrap() if no thread has taken it. */
bool trace_wrap(struct work *work);
void trace_unwrap(struct work *work);

#endif
