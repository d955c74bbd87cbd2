/* SPDX-License-Identifier: MIT */
/*
 * What main.c and the subcommands agree on. A subcommand is a file that defines a `struct command`, declared below and
 * listed in main.c.
 */
#ifndef XCTX_TOOL_COMMAND_H
#define XCTX_TOOL_COMMAND_H

/* Exit codes of the command, and what functions return that decide on them. */
enum {
    STATUS_OK = 0,
    STATUS_FAILED = 1,
    STATUS_USAGE = 2,
};

struct command {
    const char *name;
    const char *summary;                /* for xctx --help */
    int (*run)(int argc, char *argv[]); /* argv[0] is the command's name; returns a STATUS_ */
};

extern const struct command command_bench;
extern const struct command command_demo;
extern const struct command command_dump;
extern const struct command command_run;
extern const struct command command_show;

#endif
