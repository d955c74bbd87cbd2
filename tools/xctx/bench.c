/* SPDX-License-Identifier: MIT */
/*
 * `xctx bench`: runs the benchmark, which is a program of the build tree and is not installed.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include "beside.h"
#include "command.h"
#include "output.h"

static int print_help(void)
{
    print("usage: xctx bench [ARGUMENT]...\n"
          "\n"
          "Runs the benchmark of the build tree that this command is in, which measures\n"
          "against CPython and yardsticks, with these arguments. `make bench` builds it, too,\n"
          "and runs it in the way that the published figures come from.\n"
          "\n"
          "Exit status: that of the benchmark, 1 if there is none.\n");
    return STATUS_OK;
}

static int bench_run(int argc, char *argv[])
{
    char path[PATH_MAX];

    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        return print_help();
    if (!find_beside(path, sizeof(path), "../../bench/xctx-bench", X_OK)) {
        complain("bench: not built here: run `make bench` in the sources of xctx");
        return STATUS_FAILED;
    }
    argv[0] = path;
    execv(path, argv);
    complain("bench: %s: %s", path, strerror(errno));
    return STATUS_FAILED;
}

const struct command command_bench = {
    .name = "bench",
    .summary = "run the benchmark, in a build tree",
    .run = bench_run,
};
