/* SPDX-License-Identifier: MIT */
/* What the tests of complaints share: variables, and what sets them. */
#ifndef XCTX_TEST_COMPLAINTS_SUPPORT_H
#define XCTX_TEST_COMPLAINTS_SUPPORT_H

#include <fcntl.h>

#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(request);
static XCTX_VAR_DEFINE(user, .initial = (void *)-1);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(own, .flow = XCTX_FLOW_CLONE, .clone = counted_clone, .retain = counted_retain,
                       .release = counted_release);

/* A value that owns a file descriptor. */
struct file {
    atomic_int refs;
    int fd;
};

static inline void *file_retain(void *value)
{
    struct file *file = value;
    atomic_fetch_add(&file->refs, 1);
    return file;
}

static inline void file_release(void *value)
{
    struct file *file = value;
    if (atomic_fetch_sub(&file->refs, 1) == 1) {
        CHECK(close(file->fd) == 0);
        free(file);
    }
}

static XCTX_VAR_DEFINE(output, .retain = file_retain, .release = file_release);

static int last_fd;

static inline void file_set(void)
{
    struct file *file = malloc(sizeof(*file));
    CHECK(file != NULL);
    atomic_init(&file->refs, 1);
    file->fd = last_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(file->fd >= 0);
    CHECK(xctx_var_set(&output, file, NULL) == 0);
    file_release(file);
}

static inline void *set_values(void *unused)
{
    (void)unused;
    counted_set(&counted, 1);
    counted_set(&own, 2);
    file_set();
    return NULL;
}

static inline void *work_in_bound_call(void *bound)
{
    xctx_bound_call(bound);
    return NULL;
}

#endif
