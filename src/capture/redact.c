/* SPDX-License-Identifier: MIT */
/*
 * Marks for secrets: see redact.h.
 *
 * `count` is written with release after the mark it counts, and read with acquire: whoever sees the count sees the
 * marks. Writers take turns by `lock`.
 */
#include "redact.h"

#include <errno.h>
#include <fnmatch.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

struct mark {
    enum xctx_redact what;
    char pattern[XCTX_REDACT_LENGTH];
};

static struct mark marks[XCTX_REDACT_MOST];
static _Atomic size_t count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int add(enum xctx_redact what, const char *pattern)
{
    size_t used = atomic_load_explicit(&count, memory_order_relaxed);

    for (size_t i = 0; i < used; i++)
        if (marks[i].what == what && strcmp(marks[i].pattern, pattern) == 0)
            return 0;
    if (used == XCTX_REDACT_MOST)
        return -ENOSPC;
    marks[used].what = what;
    memcpy(marks[used].pattern, pattern, strlen(pattern) + 1);
    atomic_store_explicit(&count, used + 1, memory_order_release);
    return 0;
}

int xctx_redact(enum xctx_redact what, const char *pattern)
{
    if ((unsigned)what > XCTX_REDACT_FUNCTION || !pattern || !*pattern ||
        strnlen(pattern, XCTX_REDACT_LENGTH) == XCTX_REDACT_LENGTH)
        return -EINVAL;
    pthread_mutex_lock(&lock);
    int error = add(what, pattern);
    pthread_mutex_unlock(&lock);
    return error;
}

const char *xctx__redaction(size_t index, enum xctx_redact *ret_what)
{
    if (index >= atomic_load_explicit(&count, memory_order_acquire))
        return NULL;
    *ret_what = marks[index].what;
    return marks[index].pattern;
}

bool xctx__redacted(enum xctx_redact what, const char *name)
{
    size_t used = atomic_load_explicit(&count, memory_order_acquire);

    for (size_t i = 0; name && i < used; i++)
        if (marks[i].what == what && fnmatch(marks[i].pattern, name, 0) == 0)
            return true;
    return false;
}
