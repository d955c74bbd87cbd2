/* SPDX-License-Identifier: MIT */
/*
 * What demo.c and the sections of the demo agree on. A section is a file demo_<name>.c that defines a
 * `struct section`, declared below and listed in demo.c.
 */
#ifndef XCTX_TOOL_DEMO_H
#define XCTX_TOOL_DEMO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What the demo was asked for. */
struct demo {
    char **files;
    size_t file_count;  /* 0: the section chooses */
    size_t threads;     /* of the pool */
    int64_t time_limit; /* for each file, in nanoseconds */
    bool verbose;
};

struct section {
    const char *name; /* for --section */
    const char *title;
    /* Returns a STATUS_, having complained. Runs in a context of its own: the variables and the settings of the thread
       that it changes (those that XCTX_CAPTURE_STATE knows) are as before when it returns. */
    int (*run)(const struct demo *demo);
};

extern const struct section section_stack;
extern const struct section section_thread;
extern const struct section section_fiber;
extern const struct section section_files;

#endif
