/* SPDX-License-Identifier: MIT */
/* Reports of the threads in a core file: see print_reports.h. */
#include "print_reports.h"

#include "apart.h"
#include "command.h"
#include "output.h"

#if !XCTX_TOOL_INSPECT

bool reports_available(const char *command)
{
    complain("%s: this command was built without libdw, which reports need", command);
    return false;
}

int print_reports(const char *path, const struct report_options *options)
{
    (void)path;
    reports_available(options->command);
    return STATUS_FAILED;
}

#else

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xctx/inspect.h>
#include <xctx/xctx.h>

bool reports_available(const char *command)
{
    (void)command;
    /* Names of C++ are read with its library's help, if that is in the process. */
    dlopen("libstdc++.so.6", RTLD_NOW | RTLD_LOCAL);
    return true;
}

static const char *describe(int error)
{
    switch (-error) {
    case ENOEXEC:
        return "no ELF core file of this processor";
    case EBADMSG:
        return "damaged, or cut off";
    case EFBIG:
        return "too large";
    case ENODATA:
        return "no registers in it";
    default:
        return strerror(-error);
    }
}

static int failed(const struct report_options *options, const char *name, int error)
{
    complain("%s: %s: %s", options->command, name, describe(error));
    return STATUS_FAILED;
}

/* What failed is standard output, or decoding. */
static int write_failed(const struct report_options *options, int error)
{
    if (!ferror(stdout))
        return failed(options, options->name, error);
    output_failed(-error);
    return STATUS_FAILED;
}

/* Each report is written as soon as it is there. */
static int print_text(xctx_snapshot *const snapshots[], size_t count, const struct report_options *options)
{
    int error = 0;

    for (size_t i = 0; i < count && !error; i++) {
        xctx_report *report;
        error = xctx_inspect(snapshots[i], NULL, &report);
        if (error)
            break;
        /* Like this there is an empty line between two. */
        error = xctx_reports_write(&report, 1, stdout, XCTX_FORMAT_TEXT);
        xctx_report_unref(report);
    }
    return error ? write_failed(options, error) : STATUS_OK;
}

/* One object, or one page, of all. */
static int print_whole(xctx_snapshot *const snapshots[], size_t count, const struct report_options *options)
{
    xctx_report **reports = calloc(count, sizeof(xctx_report *));
    int error = reports ? 0 : -ENOMEM;

    for (size_t i = 0; i < count && !error; i++)
        error = xctx_inspect(snapshots[i], NULL, &reports[i]);
    if (!error)
        error = xctx_reports_write(reports, count, stdout,
                                   options->format == REPORT_JSON ? XCTX_FORMAT_JSON : XCTX_FORMAT_HTML);
    for (size_t i = 0; reports && i < count; i++)
        xctx_report_unref(reports[i]);
    free(reports);
    return error ? write_failed(options, error) : STATUS_OK;
}

static bool same_file(const char *a, const char *b)
{
    struct stat of_a, of_b;

    return stat(a, &of_a) == 0 && stat(b, &of_b) == 0 && of_a.st_dev == of_b.st_dev && of_a.st_ino == of_b.st_ino;
}

static int save_core(const char *path, xctx_snapshot *const snapshots[], size_t count,
                     const struct report_options *options)
{
    struct stat status;
    int error = 0;

    if (same_file(path, options->core)) {
        complain("%s: %s: is the file that is shown, and stays as it is", options->command, options->core);
        return STATUS_FAILED;
    }
    /* Memory of a process: for nobody else, also if the file is there already. */
    int fd = open(options->core, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
    if (fd < 0)
        return failed(options, options->core, -errno);
    if (fstat(fd, &status) != 0 || (S_ISREG(status.st_mode) && fchmod(fd, 0600) != 0))
        error = -errno;
    if (!error)
        error = xctx_snapshots_write_core(snapshots, count, fd);
    if (close(fd) != 0 && !error)
        error = -errno;
    return error ? failed(options, options->core, error) : STATUS_OK;
}

struct printing {
    const char *path;
    const struct report_options *options;
};

static int print_file(void *user)
{
    const struct printing *printing = user;
    const struct report_options *options = printing->options;
    xctx_snapshot **snapshots;
    size_t count;

    int error = xctx_snapshot_open_all(printing->path, &snapshots, &count);
    if (error)
        return failed(options, options->name, error);
    size_t wanted = options->all_threads ? count : 1;
    int status = count > 0 ? STATUS_OK : failed(options, options->name, -ENODATA);
    if (status == STATUS_OK && options->core)
        status = save_core(printing->path, snapshots, wanted, options);
    if (status == STATUS_OK)
        status = options->format == REPORT_TEXT ? print_text(snapshots, wanted, options)
                                                : print_whole(snapshots, wanted, options);
    xctx_snapshot_unref_all(snapshots, count);
    return status;
}

int print_reports(const char *path, const struct report_options *options)
{
    struct printing printing = {path, options};

    return work_apart(print_file, &printing, options->command, options->name);
}

#endif
