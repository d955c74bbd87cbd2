/* SPDX-License-Identifier: MIT */
/*
 * `xctx dump`: asks a program that `xctx run` started for a core file of all its threads, and shows it. The file is in
 * memory, and gone when the command ends. src/core/serve.h says what is spoken.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <xctx/xctx.h>

#include "command.h"
#include "core/serve.h"
#include "output.h"
#include "print_reports.h"

enum {
    TIMEOUT_DEFAULT = 5, /* seconds */
    TIMEOUT_LIMIT = 60,
    STACK_LIMIT = 256 * 1024, /* bytes of each stack */
};
#define SECOND INT64_C(1000000000)

struct dump {
    pid_t pid;
    int64_t timeout; /* nanoseconds, for everything */
    struct report_options report;
    bool help;
};

static int print_help(void)
{
    print("usage: xctx dump [OPTION]... PID\n"
          "\n"
          "Shows what every thread of a process is doing now. The process was started by\n"
          "`xctx run`, or calls xctx_serve_start() itself; it goes on meanwhile. It has to\n"
          "belong to the same user, unless that is root.\n"
          "\n"
          "System calls that wait for a time, as poll() with a limit or usleep(), can\n"
          "return EINTR in its threads. Threads that block signals are only shown while\n"
          "they wait in a system call, without most of their registers.\n"
          "\n"
          "Options:\n"
          "  -j, --json             for programs: one object, its `reports` an array\n"
          "  -H, --html             one page that needs nothing else\n"
          "  -c, --core=OUT         also write a core file, for gdb and `xctx show`,\n"
          "                         without what is marked secret\n"
          "  -t, --timeout=SECONDS  how long to wait, up to %d (default %d); also 0.5\n"
          "  -h, --help             this help\n"
          "\n"
          "Exit status: 0 all is well, 1 there was no answer, 2 wrong usage.\n",
          TIMEOUT_LIMIT, TIMEOUT_DEFAULT);
    return STATUS_OK;
}

/* A process id; 0 for anything else. */
static pid_t parse_pid(const char *text)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && number <= INT_MAX ? (pid_t)number : 0;
}

/* Seconds as nanoseconds; 0 for what is out of range. */
static int64_t parse_timeout(const char *text)
{
    char *end;
    double seconds = strtod(text, &end);
    bool valid = end != text && *end == '\0' && isfinite(seconds) && seconds > 0 && seconds <= TIMEOUT_LIMIT;
    int64_t nanoseconds = valid ? (int64_t)(seconds * (double)SECOND) : 0;
    return nanoseconds;
}

static int parse_option(struct dump *dump, int option, char *argv[])
{
    switch (option) {
    case 'j':
        dump->report.format = REPORT_JSON;
        return STATUS_OK;
    case 'H':
        dump->report.format = REPORT_HTML;
        return STATUS_OK;
    case 'c':
        dump->report.core = optarg;
        return STATUS_OK;
    case 't':
        dump->timeout = parse_timeout(optarg);
        return dump->timeout
                   ? STATUS_OK
                   : usage_error("dump", "dump: seconds: more than 0, up to %d, not '%s'", TIMEOUT_LIMIT, optarg);
    case 'h':
        dump->help = true;
        return STATUS_OK;
    case ':':
        return usage_error("dump", "dump: option '%s' needs a value", argv[optind - 1]);
    default:
        return usage_error("dump", "dump: wrong option '%s'", argv[optind - 1]);
    }
}

static int parse(struct dump *dump, int argc, char *argv[])
{
    static const struct option known[] = {
        {"json", no_argument, NULL, 'j'},       {"html", no_argument, NULL, 'H'},
        {"core", required_argument, NULL, 'c'}, {"timeout", required_argument, NULL, 't'},
        {"help", no_argument, NULL, 'h'},       {NULL, 0, NULL, 0},
    };
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":jHc:t:h", known, NULL)) != -1) {
        int status = parse_option(dump, option, argv);
        if (status != STATUS_OK || dump->help)
            return status;
    }
    if (argc - optind != 1)
        return usage_error("dump",
                           argc == optind ? "dump: no process id given" : "dump: more than one process id given");
    dump->pid = parse_pid(argv[optind]);
    return dump->pid > 0 ? STATUS_OK : usage_error("dump", "dump: not a process id: '%s'", argv[optind]);
}

/* ---- Asking ---- */

/* Whether who answers is the process, and not somebody who took its name; if not, complains. */
static bool is_process(int connection, pid_t pid)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        complain("dump: process %d: %s", (int)pid, strerror(errno));
    else if (peer.pid != pid)
        complain("dump: process %d: another process answers in its name", (int)pid);
    else if (peer.uid != geteuid() && geteuid() != 0)
        complain("dump: process %d belongs to another user", (int)pid);
    else
        return true;
    return false;
}

/* What the system says of a process: 'S' if it sleeps, 'T' if it is stopped, 'Z' if it has ended; 0: not known. */
static char process_state(pid_t pid)
{
    char path[64], text[512];
    size_t size = 0;

    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "re");
    if (file) {
        size = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[size] = '\0';
    /* Behind its name, which may have anything in it. */
    const char *end = strrchr(text, ')');
    if (!end || end[1] != ' ')
        return '\0';
    return end[2];
}

static void complain_late(const struct dump *dump)
{
    char state = process_state(dump->pid);

    if (state == 'T' || state == 't')
        complain("dump: process %d is stopped, and does not answer until it goes on", (int)dump->pid);
    else
        complain("dump: process %d did not answer in time", (int)dump->pid);
}

static void complain_refused(const struct dump *dump)
{
    if (kill(dump->pid, 0) != 0 && errno == ESRCH)
        complain("dump: there is no process %d", (int)dump->pid);
    else if (process_state(dump->pid) == 'Z')
        complain("dump: process %d has ended", (int)dump->pid);
    else
        complain("dump: process %d does not answer: it was not started by `xctx run`", (int)dump->pid);
}

/* Returns a connection, or -1 after complaining. */
static int connect_to(const struct dump *dump)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct timeval patience = {.tv_sec = (time_t)(dump->timeout / SECOND),
                               .tv_usec = (suseconds_t)(dump->timeout % SECOND / 1000)};
    int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, XCTX__SERVE_NAME, (int)dump->pid);
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);

    /* No time at all would be no limit. */
    patience.tv_usec += patience.tv_sec == 0 && patience.tv_usec == 0;
    int connection = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (connection < 0 || setsockopt(connection, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(connection, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0) {
        complain("dump: %s", strerror(errno));
    } else if (connect(connection, (const struct sockaddr *)&address, size) != 0) {
        if (errno == EAGAIN)
            complain_late(dump);
        else if (errno == ECONNREFUSED)
            complain_refused(dump);
        else
            complain("dump: process %d: %s", (int)dump->pid, strerror(errno));
    } else if (is_process(connection, dump->pid)) {
        return connection;
    }
    if (connection >= 0)
        close(connection);
    return -1;
}

static bool send_request(int connection, int64_t timeout, int file)
{
    const struct serve_request request = {
        .magic = XCTX__SERVE_MAGIC,
        .version = XCTX__SERVE_VERSION,
        .size = sizeof(request),
        .capture = XCTX_CAPTURE_ALL,
        .stack_limit = STACK_LIMIT,
        .timeout = timeout,
    };
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec part = {(void *)(uintptr_t)&request, sizeof(request)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};
    struct cmsghdr *rights = CMSG_FIRSTHDR(&message);

    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(rights), &file, sizeof(file));
    return sendmsg(connection, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(request);
}

static int refuse(const struct dump *dump, int error)
{
    if (error == -EPERM)
        complain("dump: process %d does not let this user see it", (int)dump->pid);
    else if (error == -EBADMSG)
        complain("dump: process %d has another version of libxctx", (int)dump->pid);
    else if (error == -ETIMEDOUT)
        complain("dump: no thread of process %d answered in time", (int)dump->pid);
    else
        complain("dump: process %d: %s", (int)dump->pid, strerror(-error));
    return STATUS_FAILED;
}

/* Has the core file written to `file`. */
static int ask(const struct dump *dump, int file, struct serve_reply *ret_reply)
{
    int connection = connect_to(dump);
    if (connection < 0)
        return STATUS_FAILED;
    /* The threads get less than all of the time: something has to be left for writing. */
    ssize_t size = -1;
    if (send_request(connection, dump->timeout / 2 + 1, file))
        size = recv(connection, ret_reply, sizeof(*ret_reply), 0);
    int error = errno;
    close(connection);
    if (size < 0 && error == EAGAIN) {
        complain_late(dump);
        return STATUS_FAILED;
    }
    if (size < 0 && error != EPIPE && error != ECONNRESET)
        return refuse(dump, -error);
    if (size <= 0) {
        complain("dump: process %d ended, or stopped to answer", (int)dump->pid);
        return STATUS_FAILED;
    }
    if (size != sizeof(*ret_reply) || ret_reply->magic != XCTX__SERVE_MAGIC ||
        ret_reply->version != XCTX__SERVE_VERSION)
        return refuse(dump, -EBADMSG);
    return ret_reply->error ? refuse(dump, ret_reply->error) : STATUS_OK;
}

/* ---- Showing ---- */

/* Says which threads are missing: errors are no place for it, and in JSON and HTML there is none. */
static void print_silent(const struct serve_reply *reply)
{
    uint32_t named = reply->silent < XCTX__SERVE_SILENT ? reply->silent : XCTX__SERVE_SILENT;

    if (reply->silent == 0)
        return;
    print("\nNot shown, since they take no signals, and do not wait either:");
    for (uint32_t i = 0; i < named; i++)
        print("%s thread %d", i ? "," : "", reply->silent_tids[i]);
    if (named < reply->silent)
        print(", and %u more", (unsigned)(reply->silent - named));
    print(".\n");
}

static int show(const struct dump *dump, int file)
{
    struct report_options report = dump->report;
    struct serve_reply reply;
    char name[64], path[64];

    int status = ask(dump, file, &reply);
    if (status != STATUS_OK)
        return status;
    snprintf(name, sizeof(name), "process %d", (int)dump->pid);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
    report.name = name;
    status = print_reports(path, &report);
    if (status == STATUS_OK && dump->report.format == REPORT_TEXT)
        print_silent(&reply);
    return status;
}

static int dump_run(int argc, char *argv[])
{
    struct dump dump = {.timeout = TIMEOUT_DEFAULT * SECOND, .report = {.all_threads = true, .command = "dump"}};

    int status = parse(&dump, argc, argv);
    if (status != STATUS_OK)
        return status;
    if (dump.help)
        return print_help();
    if (!reports_available("dump"))
        return STATUS_FAILED;
    int file = memfd_create("xctx-dump", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0) {
        complain("dump: %s", strerror(errno));
        return STATUS_FAILED;
    }
    status = show(&dump, file);
    close(file);
    return status;
}

const struct command command_dump = {
    .name = "dump",
    .summary = "show every thread of a program that `xctx run` started",
    .run = dump_run,
};
