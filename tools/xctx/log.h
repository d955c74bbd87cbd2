/* SPDX-License-Identifier: MIT */
/*
 * The log of the demo. Each line says on whose behalf and about which file it was written, and how much time is left:
 * log_line() finds that in the current context.
 */
#ifndef XCTX_TOOL_LOG_H
#define XCTX_TOOL_LOG_H

#include <stdint.h>

/* Begins the log: prints its heading, and takes the time that its lines count from. Of each request `per_request`
   lines are shown, and `total` lines altogether. Before any thread writes. */
void log_begin(uint64_t per_request, uint64_t total);

/* Writes a line. Any thread. */
__attribute__((format(printf, 1, 2))) void log_line(const char *format, ...);

/* Ends the log, after the last thread has written: says how many lines were not shown. */
void log_end(void);

#endif
