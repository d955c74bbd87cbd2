/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of other threads: who is asked, for how long, and what comes of it. How a thread is asked is in ask.c.
 *
 * All threads are asked at once, each in an asking of its own, and one loop looks after them: it sends what could not
 * be sent yet, collects answers, and notices threads that have ended. It sleeps until there is an answer, or one of
 * them is to be looked at again. A thread that does not take the signal is looked at less and less often, at last every
 * 10 ms. Where all threads are wanted it is given up after a tenth of a second: it is likely to go on like that, as a
 * thread does that handles signals for the others.
 *
 * Threads start and end meanwhile. The list of threads is read again until all that it has are known; a thread that
 * has ended is left out.
 */
#include "threads.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "ask.h"
#include "context/memory.h"
#include "outside.h"
#include "snapshot_internal.h"

enum {
    ROUNDS = 64,            /* how often the list of threads is read at most */
    THREADS_MAX = 1 << 22,  /* what the kernel lets a system have */
    LOOK_FIRST = 50 * 1000, /* nanoseconds until a thread that does not take signals is looked at again */
    LOOK_LAST = 10 * 1000 * 1000,
    PATIENCE = 100 * 1000 * 1000, /* for it, if there are others */
};

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static int64_t deadline_in(int64_t timeout)
{
    int64_t time = now();
    return timeout < 0 || timeout > INT64_MAX - time ? INT64_MAX : time + timeout;
}

static bool capture_is_known(unsigned capture)
{
    return !(capture & ~(unsigned)XCTX_CAPTURE_ALL);
}

static bool is_open(const struct asking *asking)
{
    return asking->state == ASKING_WAITS || asking->state == ASKING_ASKED;
}

/* Ends an asking without an answer. */
static void give_up(struct asking *asking, int error)
{
    if (asking->state == ASKING_ASKED) {
        xctx__ask_give_up(asking);
    } else {
        asking->state = ASKING_SILENT;
        asking->error = error;
    }
}

static void ended(struct asking *asking)
{
    give_up(asking, -ESRCH);
    if (asking->state == ASKING_SILENT)
        asking->state = ASKING_GONE;
}

/* What an asking that waits comes to, after trying to send it. */
static void posted(struct asking *asking, int error, int64_t time, int64_t patience)
{
    if (error == -ESRCH)
        ended(asking);
    else if (error == -EAGAIN || (error == -EBUSY && time >= patience))
        give_up(asking, error == -EAGAIN ? -EAGAIN : -ETIMEDOUT);
    if (!error)
        asking->interval = LOOK_LAST;
    else if (error == -EBUSY)
        asking->interval = 2 * asking->interval < LOOK_LAST ? 2 * asking->interval : LOOK_LAST;
}

/* Does for all what can be done now. Returns how many are open still; *ret_wake receives when to look again. */
static size_t step(struct asking askings[], size_t count, int64_t patience, int64_t *ret_wake)
{
    int64_t time = now();
    size_t open = 0;
    bool full = false; /* there is no slot: do not try again for each of the others */

    *ret_wake = INT64_MAX;
    for (size_t i = 0; i < count; i++) {
        struct asking *asking = &askings[i];
        if (!is_open(asking) || xctx__ask_collect(asking))
            continue;
        if (time >= asking->look) {
            if (asking->state == ASKING_ASKED) {
                if (!xctx__ask_remind(asking))
                    ended(asking);
            } else if (!full) {
                int error = xctx__ask_post(asking);
                full = error == -ENOBUFS;
                posted(asking, error, time, patience);
            }
            asking->look = time + asking->interval;
        }
        open += is_open(asking);
        *ret_wake = is_open(asking) && asking->look < *ret_wake ? asking->look : *ret_wake;
    }
    return open;
}

static void give_up_all(struct asking askings[], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (is_open(&askings[i]))
            give_up(&askings[i], -ETIMEDOUT);
    }
}

/* Asks until all have answered, or the time is over. */
static void ask_all(struct asking askings[], size_t count, int64_t deadline, int64_t patience)
{
    for (;;) {
        uint32_t seen = xctx__ask_answers();
        int64_t wake;
        if (step(askings, count, patience, &wake) == 0)
            return;
        int64_t time = now();
        if (time >= deadline) {
            give_up_all(askings, count);
            return;
        }
        xctx__ask_wait(seen, (wake < deadline ? wake : deadline) - time);
    }
}

int xctx_snapshot_take_thread(int tid, unsigned capture, int64_t timeout, xctx_snapshot **ret_snapshot)
{
    struct asking asking = {.tid = tid, .capture = capture, .interval = LOOK_FIRST};
    int64_t deadline = deadline_in(timeout);

    if (!ret_snapshot || !capture_is_known(capture))
        return -EINVAL;
    if (tid <= 0)
        return -ESRCH;
    bool own = tid == (int)syscall(SYS_gettid);
    int error = own ? 0 : xctx__ask_prepare();
    if (error)
        return error;
    asking.snapshot = own ? xctx_snapshot_take(capture) : xctx_snapshot_reserve(capture, 0);
    if (!asking.snapshot)
        return -ENOMEM;
    if (own) {
        *ret_snapshot = asking.snapshot;
        return 0;
    }
    ask_all(&asking, 1, deadline, INT64_MAX);
    if (asking.state == ASKING_DONE) {
        *ret_snapshot = asking.snapshot;
        return 0;
    }
    xctx_snapshot_unref(asking.snapshot);
    return asking.state == ASKING_GONE ? -ESRCH : asking.error;
}

/* ---- All of them ---- */

/* The threads that have been found, by increasing number. */
struct crowd {
    struct asking *askings;
    size_t count;
    size_t room;
};

static void crowd_free(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++)
        xctx_snapshot_unref(crowd->askings[i].snapshot);
    xctx__free(crowd->askings);
}

static int compare(const void *a, const void *b)
{
    const struct asking *left = a, *right = b;
    return (left->tid > right->tid) - (left->tid < right->tid);
}

static int crowd_add(struct crowd *crowd, const struct take_options *options, int tid)
{
    if (crowd->count == crowd->room) {
        size_t room = crowd->room ? 2 * crowd->room : 16;
        struct asking *more = xctx__allocate(room * sizeof(*more));
        if (!more)
            return -ENOMEM;
        if (crowd->count)
            memcpy(more, crowd->askings, crowd->count * sizeof(*more));
        xctx__free(crowd->askings);
        crowd->askings = more;
        crowd->room = room;
    }
    xctx_snapshot *snapshot = xctx_snapshot_reserve(options->capture, options->stack_limit);
    if (!snapshot)
        return -ENOMEM;
    crowd->askings[crowd->count++] =
        (struct asking){.tid = tid, .capture = options->capture, .interval = LOOK_FIRST, .snapshot = snapshot};
    return 0;
}

/* Adds the threads that are not known yet. Returns how many there were, or an error. */
static int crowd_find(struct crowd *crowd, const struct take_options *options)
{
    int self = (int)syscall(SYS_gettid);
    size_t known = crowd->count;
    const struct dirent *entry;
    int error = 0;

    DIR *folder = opendir("/proc/self/task");
    if (!folder)
        return errno == ENOMEM ? -ENOMEM : -EAGAIN;
    while (!error && (entry = readdir(folder)) != NULL && crowd->count < THREADS_MAX) {
        struct asking key = {.tid = atoi(entry->d_name)};
        if (key.tid > 0 && key.tid != self && key.tid != options->except &&
            (known == 0 || !bsearch(&key, crowd->askings, known, sizeof(key), compare)))
            error = crowd_add(crowd, options, key.tid);
    }
    closedir(folder);
    int found = (int)(crowd->count - known);
    if (found > 0)
        qsort(crowd->askings, crowd->count, sizeof(*crowd->askings), compare);
    return error ? error : found;
}

/* Fills the snapshot of a thread that did not answer, as far as that can be seen. What it was reserved with goes, if it
   is not needed. Returns it, or NULL: no memory. */
static xctx_snapshot *fill_silent(const struct asking *asking)
{
    xctx_snapshot *snapshot = asking->snapshot;
    char name[32];

    if (!snapshot || !xctx__take_outside(snapshot, asking->tid)) {
        xctx_snapshot_unref(snapshot);
        snapshot = xctx__snapshot_create(0, 0);
    }
    if (!snapshot)
        return NULL;
    snapshot->state.size = sizeof(snapshot->state);
    snapshot->state.present |= XCTX_THREAD_IDS;
    snapshot->state.tid = asking->tid;
    snapshot->state.pid = getpid();
    ssize_t size = xctx__ask_file(asking->tid, "comm", name, sizeof(name));
    if (size > 0 && (size_t)size <= sizeof(snapshot->state.name)) {
        memcpy(snapshot->state.name, name, (size_t)size - 1); /* without the end of the line */
        snapshot->state.present |= XCTX_THREAD_NAME;
    }
    snapshot->stage = SNAPSHOT_FILLED;
    return snapshot;
}

/* The array for the caller, of the running thread's (may be NULL) and of all that have been found. */
static int crowd_result(struct crowd *crowd, xctx_snapshot *own, xctx_snapshot ***ret_snapshots, size_t *ret_count)
{
    xctx_snapshot **result = xctx__allocate((crowd->count + 1) * sizeof(xctx_snapshot *));
    size_t count = 0;

    if (!result)
        return -ENOMEM;
    for (size_t i = 0; i < crowd->count; i++) {
        struct asking *asking = &crowd->askings[i];
        if (asking->state != ASKING_SILENT)
            continue;
        asking->snapshot = fill_silent(asking);
        if (!asking->snapshot) {
            xctx__free(result);
            return -ENOMEM;
        }
    }
    if (own)
        result[count++] = own;
    for (size_t i = 0; i < crowd->count; i++) {
        if (crowd->askings[i].state == ASKING_GONE)
            continue;
        result[count++] = crowd->askings[i].snapshot;
        crowd->askings[i].snapshot = NULL;
    }
    *ret_snapshots = result;
    *ret_count = count;
    return 0;
}

int xctx__take_all(const struct take_options *options, xctx_snapshot ***ret_snapshots, size_t *ret_count)
{
    struct crowd crowd = {0};
    int64_t deadline = deadline_in(options->timeout);
    xctx_snapshot *own = NULL;

    int error = xctx__ask_prepare();
    if (!error && options->except != (int)syscall(SYS_gettid)) {
        own = xctx_snapshot_take(options->capture);
        error = own ? 0 : -ENOMEM;
    }
    for (int round = 0, found = 1; round < ROUNDS && !error && found > 0; round++) {
        found = crowd_find(&crowd, options);
        error = found < 0 ? found : 0;
        if (!error)
            ask_all(crowd.askings, crowd.count, deadline, deadline_in(PATIENCE));
    }
    if (!error)
        error = crowd_result(&crowd, own, ret_snapshots, ret_count);
    if (error) {
        give_up_all(crowd.askings, crowd.count);
        xctx_snapshot_unref(own);
    }
    crowd_free(&crowd);
    return error;
}

int xctx_snapshot_take_all(unsigned capture, int64_t timeout, xctx_snapshot ***ret_snapshots, size_t *ret_count)
{
    const struct take_options options = {.capture = capture, .timeout = timeout};

    if (!ret_snapshots || !ret_count || !capture_is_known(capture))
        return -EINVAL;
    return xctx__take_all(&options, ret_snapshots, ret_count);
}
