/* SPDX-License-Identifier: MIT */
/*
 * The trace of `xctx run --trace=FILE`: one JSON object in each line, for a process that begins, and for each of its
 * threads that begins or ends. Lines of several processes in one file do not mix: each is one write() to its end.
 *
 *   {"event": "process", "time": 1700000000.000000001, "pid": 7, "tid": 7, "program": "/usr/bin/example"}
 *   {"event": "thread-begin", "time": 1700000000.000000002, "pid": 7, "tid": 8, "creator": 7}
 *   {"event": "thread-end", "time": 1700000000.000000003, "pid": 7, "tid": 8, "name": "worker", "cpu": 0.000000004}
 *
 * Times are in seconds: `time` since 1970, `cpu` what the thread has used. A thread ends here also by pthread_exit() or
 * when it is cancelled; not if the process ends before.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "preload.h"

enum { LINE_SIZE = 1024 };

/* The program may close the descriptor behind our back, and its number be taken by another file: it is compared with
   the inode before each line. */
static int trace_fd = -1;
static struct stat trace_status;

/* A thread's work, and who created it. */
struct traced_work {
    struct work work;
    int creator;
};

bool trace_open(const char *path)
{
    trace_fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (trace_fd >= 0 && fstat(trace_fd, &trace_status) == 0)
        return true;
    preload_complain("%s: %s", path, strerror(errno));
    return false;
}

/* Makes a text fit for a JSON string: what would need an escape becomes "?". */
static void make_plain(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < ' ' || *text == '"' || *text == '\\' || (unsigned char)*text > 126)
            *text = '?';
    }
}

static void write_line(const char *event, const char *rest)
{
    char line[LINE_SIZE];
    struct timespec time;
    struct stat now;
    int error_number = errno;

    if (fstat(trace_fd, &now) != 0 || now.st_dev != trace_status.st_dev || now.st_ino != trace_status.st_ino) {
        errno = error_number;
        return;
    }
    clock_gettime(CLOCK_REALTIME, &time);
    int length =
        snprintf(line, sizeof(line), "{\"event\": \"%s\", \"time\": %lld.%09ld, \"pid\": %d, \"tid\": %d, %s}\n", event,
                 (long long)time.tv_sec, time.tv_nsec, (int)getpid(), (int)syscall(SYS_gettid), rest);
    if (length > 0 && (size_t)length < sizeof(line)) {
        ssize_t written = write(trace_fd, line, (size_t)length);
        (void)written; /* a full disk must not disturb the program */
    }
    errno = error_number;
}

void trace_process(void)
{
    char path[512], rest[600];

    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);
    path[length > 0 ? length : 0] = '\0';
    make_plain(path);
    snprintf(rest, sizeof(rest), "\"program\": \"%s\"", path);
    write_line("process", rest);
}

static void note_end(void *unused)
{
    char name[16] = "", rest[128];
    struct timespec cpu = {0};

    (void)unused;
    prctl(PR_GET_NAME, name);
    make_plain(name);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &cpu);
    snprintf(rest, sizeof(rest), "\"name\": \"%s\", \"cpu\": %lld.%09ld", name, (long long)cpu.tv_sec, cpu.tv_nsec);
    write_line("thread-end", rest);
}

static void *run_traced(void *argument)
{
    struct traced_work traced = *(struct traced_work *)argument;
    char rest[64];
    void *result;

    free(argument);
    snprintf(rest, sizeof(rest), "\"creator\": %d", traced.creator);
    write_line("thread-begin", rest);
    pthread_cleanup_push(note_end, NULL);
    result = traced.work.fn(traced.work.arg);
    pthread_cleanup_pop(1);
    return result;
}

bool trace_wrap(struct work *work)
{
    struct traced_work *traced = malloc(sizeof(*traced));

    if (!traced)
        return false;
    *traced = (struct traced_work){.work = *work, .creator = (int)syscall(SYS_gettid)};
    *work = (struct work){run_traced, traced};
    /* cppcheck-suppress memleak */
    return true;
}

void trace_unwrap(struct work *work)
{
    free(work->arg);
}
