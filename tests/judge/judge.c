/* SPDX-License-Identifier: MIT */
#include "judge.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xctx/inspect.h>
#include <xctx/xctx.h>

#include "print.h"

#define LABELS 64
#define KEPT 3
#define STACK (1u << 20)

static const char *directory;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct {
    const char *label;
    int count;
} labels[LABELS];

static void fail(const char *what, int error)
{
    fprintf(stderr, "judge: %s: %s\n", what, error ? xctx_strerror(error) : "failed");
    exit(1);
}

void judge_start(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: %s DIR\n", argv[0]);
        exit(2);
    }
    directory = argv[1];
    int error = xctx_set_stack_limit(STACK);
    if (error)
        fail("xctx_set_stack_limit", error);
}

/* Which one of its label this is; -1: one too many. */
static int number(const char *label)
{
    int result = -1;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < LABELS; i++)
        if (!labels[i].label || strcmp(labels[i].label, label) == 0) {
            labels[i].label = label;
            if (labels[i].count < KEPT)
                result = labels[i].count++;
            break;
        }
    pthread_mutex_unlock(&lock);
    return result;
}

/* What this process itself makes of a snapshot. */
static void decode(xctx_snapshot *snapshot, const char *path)
{
    xctx_report *report;
    xctx_inspect_options options = {.size = sizeof(options), .flags = XCTX_INSPECT_NO_PARENTS, .max_frames = 4096};
    FILE *file = fopen(path, "w");
    if (!file)
        fail(path, 0);
    int error = xctx_inspect(snapshot, &options, &report);
    if (error)
        fail("xctx_inspect", error);
    judge_report(file, report);
    if (fclose(file))
        fail(path, 0);
    xctx_report_unref(report);
}

static void keep(xctx_snapshot *snapshot, const char *label, int which)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/%s-%d.core", directory, label, which);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        fail(path, 0);
    int error = xctx_snapshot_write_core(snapshot, fd);
    if (error)
        fail("xctx_snapshot_write_core", error);
    close(fd);
    snprintf(path, sizeof(path), "%s/%s-%d.report", directory, label, which);
    decode(snapshot, path);
}

void judge_here(const char *label)
{
    int which = number(label);
    if (which < 0)
        return;
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    if (!snapshot)
        fail("xctx_snapshot_take", 0);
    keep(snapshot, label, which);
    xctx_snapshot_unref(snapshot);
}

/* Only for signals that the program sends itself: nothing here is meant for handlers but the filling. */
void judge_interrupted(const char *label, const void *ucontext)
{
    int which = number(label);
    if (which < 0)
        return;
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, STACK);
    if (!snapshot)
        fail("xctx_snapshot_reserve", 0);
    int error = xctx_snapshot_fill(snapshot, XCTX_CAPTURE_ALL, ucontext);
    if (error)
        fail("xctx_snapshot_fill", error);
    keep(snapshot, label, which);
    xctx_snapshot_unref(snapshot);
}
