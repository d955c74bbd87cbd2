/* SPDX-License-Identifier: MIT */
/* Prints what libxctx-inspect makes of core files, for the script `judge`: report CORE... */
#include <dlfcn.h>
#include <stdio.h>

#include <xctx/inspect.h>
#include <xctx/xctx.h>

#include "print.h"

int main(int argc, char **argv)
{
    dlopen("libstdc++.so.6", RTLD_NOW); /* for the names of C++ */
    for (int i = 1; i < argc; i++) {
        xctx_snapshot *snapshot;
        xctx_report *report;
        fputs("core", stdout);
        judge_field(stdout, argv[i]);
        putchar('\n');
        int error = xctx_snapshot_open(argv[i], &snapshot);
        if (error) {
            fprintf(stderr, "report: %s: xctx_snapshot_open: %s\n", argv[i], xctx_strerror(error));
            return 1;
        }
        xctx_inspect_options options = {.size = sizeof(options), .flags = XCTX_INSPECT_NO_PARENTS, .max_frames = 4096};
        error = xctx_inspect(snapshot, &options, &report);
        if (error) {
            fprintf(stderr, "report: %s: xctx_inspect: %s\n", argv[i], xctx_strerror(error));
            return 1;
        }
        judge_report(stdout, report);
        xctx_report_unref(report);
        xctx_snapshot_unref(snapshot);
    }
    return 0;
}
