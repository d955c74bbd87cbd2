/* SPDX-License-Identifier: MIT */
/*
 * Reports of the threads in a core file, on standard output: what `xctx show` and `xctx dump` have in common.
 */
#ifndef XCTX_TOOL_PRINT_REPORTS_H
#define XCTX_TOOL_PRINT_REPORTS_H

#include <stdbool.h>

/* Whether this command was built with libxctx-inspect; if not, it complains. */
bool reports_available(const char *command);

enum report_format { REPORT_TEXT, REPORT_JSON, REPORT_HTML };

struct report_options {
    enum report_format format;
    bool all_threads;    /* else the first one in the file */
    const char *core;    /* a core file to write, without what is marked secret; NULL: none */
    const char *command; /* for complaints: "show" */
    const char *name;    /* of what is shown, likewise */
};

/* Prints what is in the core file `path`. Returns a STATUS_, after complaining if that is not STATUS_OK. JSON and HTML
   are what xctx_reports_write() makes, also of one thread. */
int print_reports(const char *path, const struct report_options *options);

#endif
