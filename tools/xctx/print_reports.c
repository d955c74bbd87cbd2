/* SPDX-License-Identifier: MIT */
/* Reports of the threads in a core file: see print_reports.h. */
#include "print_reports.h"

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

static void write_escaped(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '&')
            fputs("&amp;", stdout);
        else if (text[i] == '"')
            fputs("&quot;", stdout);
        else
            putchar(text[i]);
    }
}

/* Each report is a page. Several of them become one that has them in frames, and still needs nothing else. */
static int write_framed(const xctx_report *report)
{
    const xctx_thread_state *state = xctx_report_thread_state(report);
    char *page = NULL;
    size_t size = 0;

    FILE *file = open_memstream(&page, &size);
    if (!file)
        return -ENOMEM;
    int error = xctx_report_write(report, file, XCTX_FORMAT_HTML);
    if (fclose(file) != 0 && !error)
        error = -ENOMEM;
    if (!error) {
        print("<iframe title=\"thread %d\" srcdoc=\"", state && state->present & XCTX_THREAD_IDS ? state->tid : 0);
        write_escaped(page, size);
        print("\"></iframe>\n");
    }
    free(page);
    return error;
}

static int write_report(const xctx_report *report, const struct report_options *options, size_t index)
{
    switch (options->format) {
    case REPORT_JSON:
        if (index > 0)
            print(",\n");
        return xctx_report_write(report, stdout, XCTX_FORMAT_JSON);
    case REPORT_HTML:
        return options->all_threads ? write_framed(report) : xctx_report_write(report, stdout, XCTX_FORMAT_HTML);
    default:
        if (index > 0)
            print("\n");
        return xctx_report_write(report, stdout, XCTX_FORMAT_TEXT);
    }
}

static void write_begin(const struct report_options *options)
{
    if (options->all_threads && options->format == REPORT_JSON)
        print("[\n");
    if (options->all_threads && options->format == REPORT_HTML)
        print(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>xctx: all threads</title>\n"
            "<style>iframe { width: 100%%; height: 90vh; border: 0; border-bottom: 1px solid }</style>\n"
            "</head>\n<body>\n");
}

static void write_end(const struct report_options *options)
{
    if (options->all_threads && options->format == REPORT_JSON)
        print("]\n");
    if (options->all_threads && options->format == REPORT_HTML)
        print("</body>\n</html>\n");
}

/* Shows one thread. Returns 0 or a negative errno. */
static int show(xctx_snapshot *snapshot, const struct report_options *options, size_t index)
{
    xctx_report *report;

    int error = xctx_inspect(snapshot, NULL, &report);
    if (error)
        return error;
    error = write_report(report, options, index);
    xctx_report_unref(report);
    return error;
}

static int save_core(xctx_snapshot *snapshot, const struct report_options *options)
{
    /* Memory of a process: for nobody else. */
    int fd = open(options->core, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(options, options->core, -errno);
    int error = xctx_snapshot_write_core(snapshot, fd);
    if (close(fd) != 0 && !error)
        error = -errno;
    return error ? failed(options, options->core, error) : STATUS_OK;
}

int print_reports(const char *path, const struct report_options *options)
{
    xctx_snapshot **snapshots;
    size_t count;

    int error = xctx_snapshot_open_all(path, &snapshots, &count);
    if (error)
        return failed(options, options->name, error);
    int status = count > 0 ? STATUS_OK : failed(options, options->name, -ENODATA);
    if (status == STATUS_OK && options->core)
        status = save_core(snapshots[0], options);
    size_t wanted = options->all_threads ? count : 1;
    if (status == STATUS_OK)
        write_begin(options);
    for (size_t i = 0; i < wanted && status == STATUS_OK; i++) {
        error = show(snapshots[i], options, i);
        if (error)
            status = failed(options, options->name, error);
    }
    if (status == STATUS_OK)
        write_end(options);
    xctx_snapshot_unref_all(snapshots, count);
    return status;
}

#endif
