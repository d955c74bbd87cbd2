/* SPDX-License-Identifier: MIT */
/*
 * The report of a crash: see crash.h.
 *
 * The core is written by a child process first, in which the `format` operations of variables may be called: whatever
 * state the program is in, they can only bring down that child, or keep it until its time is over. Without it the core
 * is written by the handler, and has the variables' addresses.
 *
 * The core goes into a file of memory, which a child process gets as its standard input: the command `xctx show`, which
 * writes the report to where it belongs. The child is made by the system call alone, as fork() runs handlers of the
 * program, and has no other files open. It is waited for, with a limit.
 *
 * Whatever is marked secret by name or type is only known to who reads debug information. So where there are marks, the
 * core that is kept is the one that the command writes.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <xctx/core.h>

#include "crash.h"
#include "redact.h"
#include "snapshot_internal.h"

enum { NOT_EXECUTED = 127 };
#define FORMAT_LIMIT INT64_C(1000000000) /* nanoseconds */

struct reporting {
    xctx_snapshot *snapshot;
    int report; /* where the report goes */
    int core;   /* the file of memory */
    bool has_core;
    char core_path[CRASH_PATH];
};

uint64_t xctx__crash_address(const siginfo_t *info)
{
    /* What somebody has sent says who that was, in the same place. */
    if (info->si_code <= 0 || info->si_code == SI_KERNEL)
        return 0;
    return (uintptr_t)(info->si_signo == SIGSYS ? info->si_call_addr : info->si_addr);
}

static void say(int fd, const char *what, const char *name)
{
    struct line line;

    line.length = 0;
    xctx__line_add(&line, "xctx: ");
    xctx__line_add(&line, what);
    xctx__line_add(&line, name);
    xctx__line_add(&line, "\n");
    xctx__line_write(&line, fd);
}

static int64_t now(void)
{
    struct timespec time = {0};

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* ---- child processes ---- */

enum child_end {
    CHILD_DONE,
    CHILD_FAILED,
    CHILD_UNKNOWN, /* it has ended, but the program ignores SIGCHLD, or another thread waited for it */
};

/* Waits for the child, and ends it when its time is over. */
static enum child_end wait_for(pid_t pid, int64_t limit)
{
    struct timespec moment = {.tv_nsec = 1000000};
    int64_t deadline = now() + limit;
    bool killed = false;
    int status = 0;

    for (;;) {
        pid_t ended = waitpid(pid, &status, __WALL | (killed ? 0 : WNOHANG));
        if (ended == pid)
            return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? CHILD_DONE : CHILD_FAILED;
        if (ended < 0 && errno != EINTR)
            return CHILD_UNKNOWN;
        if (!killed && now() > deadline) {
            kill(pid, SIGKILL);
            killed = true;
        } else if (!killed) {
            nanosleep(&moment, NULL);
            if (moment.tv_nsec < 20000000)
                moment.tv_nsec *= 2;
        }
    }
}

/* ---- the snapshot and its core ---- */

static void take(int signal, const siginfo_t *info, const void *context)
{
    xctx_snapshot *snapshot = xctx__crash.snapshot;

    if (xctx_snapshot_fill(snapshot, XCTX_CAPTURE_ALL, context) < 0)
        return;
    snapshot->state.signal = signal;
    snapshot->state.signal_code = info->si_code;
    snapshot->state.fault_address = xctx__crash_address(info);
    snapshot->state.present |= XCTX_THREAD_SIGNAL;
}

/* The environment is nobody's business: its copy here would be in the core with all other data. */
static int write_core(xctx_snapshot *snapshot, int fd, unsigned flags)
{
    const xctx_core_blank blank = {(uintptr_t)xctx__crash.environment_text, sizeof(xctx__crash.environment_text)};

    return xctx_core_write(fd, &snapshot, 1, &blank, 1, flags);
}

/* In the child. Should it crash, its own core is of no use to anybody. */
static void write_formatted(const struct reporting *reporting)
{
    const struct rlimit none = {0, 0};

    setrlimit(RLIMIT_CORE, &none);
    _exit(write_core(reporting->snapshot, reporting->core, 0) == 0 ? 0 : 1);
}

static void make_core(struct reporting *reporting)
{
    int64_t limit = xctx__crash.time_limit < FORMAT_LIMIT ? xctx__crash.time_limit : FORMAT_LIMIT;

    reporting->core = memfd_create("xctx-core", MFD_CLOEXEC);
    if (reporting->core < 0)
        return;
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        write_formatted(reporting);
    if (pid > 0 && wait_for((pid_t)pid, limit) == CHILD_DONE)
        return;
    if (ftruncate(reporting->core, 0) < 0 || lseek(reporting->core, 0, SEEK_SET) != 0 ||
        write_core(reporting->snapshot, reporting->core, XCTX_CORE_RAW) < 0) {
        close(reporting->core);
        reporting->core = -1;
    }
}

static bool copy(int from, int to)
{
    char bytes[8192];
    ssize_t got;
    off_t at = 0;

    while ((got = pread(from, bytes, sizeof(bytes), at)) > 0) {
        ssize_t done = 0;
        while (done < got) {
            ssize_t put = write(to, bytes + done, (size_t)(got - done));
            if (put <= 0 && errno != EINTR)
                return false;
            done += put > 0 ? put : 0;
        }
        at += got;
    }
    return got == 0;
}

static bool has_marks(void)
{
    enum xctx_redact what;

    return xctx__redaction(0, &what) != NULL;
}

/* Writes the core file that is kept, where nothing has to be left out of it. */
static void keep_core(struct reporting *reporting)
{
    if (!reporting->has_core || has_marks())
        return;
    int fd = open(reporting->core_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOCTTY, 0600);
    bool written = false;
    if (fd >= 0 && reporting->core >= 0)
        written = copy(reporting->core, fd);
    else if (fd >= 0)
        written = write_core(reporting->snapshot, fd, XCTX_CORE_RAW) == 0;
    if (!written)
        say(reporting->report, "the core file could not be written: ", reporting->core_path);
    if (fd >= 0)
        close(fd);
    reporting->has_core = false; /* done */
}

/* ---- the command ---- */

static void child(const struct reporting *reporting)
{
    char option[CRASH_PATH + 8] = "--core=";
    char *arguments[] = {xctx__crash.command, (char *)"show", (char *)"/dev/stdin", NULL, NULL};
    uint64_t none = 0;

    if (reporting->has_core) {
        memcpy(option + strlen(option), reporting->core_path, strlen(reporting->core_path) + 1);
        arguments[3] = option;
    }
    /* The report may be 0 or the core 1: neither is overwritten before it has been copied. */
    int core = fcntl(reporting->core, F_DUPFD, 3);
    int report = fcntl(reporting->report, F_DUPFD, 3);
    if (core < 0 || report < 0 || dup2(core, 0) < 0 || dup2(report, 1) < 0)
        _exit(NOT_EXECUTED);
    if (fcntl(2, F_GETFD) < 0)
        dup2(report, 2);
#ifdef SYS_close_range
    syscall(SYS_close_range, 3, ~0u, 0); /* on an older kernel the child just has them, too */
#endif
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
    execve(xctx__crash.command, arguments, xctx__crash.environment);
    _exit(NOT_EXECUTED);
}

static bool run_command(const struct reporting *reporting)
{
    if (!xctx__crash.command[0] || reporting->core < 0)
        return false;
    long pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (pid == 0)
        child(reporting);
    return pid > 0 && wait_for((pid_t)pid, xctx__crash.time_limit) != CHILD_FAILED;
}

/* ---- all ---- */

static int open_report(void)
{
    char path[CRASH_PATH];
    int fd = -1;

    if (xctx__crash.has_report && xctx__crash_path(xctx__crash.report_path, path, sizeof(path)))
        fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);
    if (xctx__crash.has_report && fd < 0)
        say(STDERR_FILENO, "the report could not be written: ", xctx__crash.report_path);
    return fd >= 0 ? fd : STDERR_FILENO;
}

static void report_without_command(const struct reporting *reporting)
{
    xctx__crash_say_stack(reporting->report, reporting->snapshot);
    if (xctx__crash.command[0])
        say(reporting->report, "local variables are missing: no report came from ", xctx__crash.command);
    else
        say(reporting->report, "local variables are missing: the command `xctx` was not found", "");
    if (reporting->has_core)
        say(reporting->report, "no core file is kept: only the command could leave out what is marked secret", "");
}

void xctx__crash_report(int signal, const siginfo_t *info, const void *context)
{
    struct reporting reporting = {.snapshot = xctx__crash.snapshot, .report = open_report()};

    reporting.has_core = xctx__crash.has_core &&
                         xctx__crash_path(xctx__crash.core_path, reporting.core_path, sizeof(reporting.core_path));
    xctx__crash_say_signal(reporting.report, signal, info);
    take(signal, info, context);
    make_core(&reporting);
    keep_core(&reporting);
    if (!run_command(&reporting))
        report_without_command(&reporting);
    if (reporting.core >= 0)
        close(reporting.core);
    if (reporting.report != STDERR_FILENO)
        close(reporting.report);
}
