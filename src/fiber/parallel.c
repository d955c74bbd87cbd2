/* SPDX-License-Identifier: MIT */
/*
 * Shots in forked processes, where each has the stack's addresses for itself; and memory that these processes share.
 *
 * The processes take the next index from a counter in shared memory, and note there what they have taken: of one that
 * has died it is known which index it was at, and another one is forked to go on with the rest.
 */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xctx/continuation.h>

#include "context/memory.h"

/* ---- arenas ---- */

enum { ALIGNMENT = 16 };

struct xctx_arena {
    size_t size;         /* of the mapping */
    _Atomic size_t used; /* with this header */
};

static void *map_shared(size_t size)
{
    if (xctx__allocation_fails())
        return NULL;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

xctx_arena *xctx_arena_create(size_t size)
{
    const size_t header = (sizeof(xctx_arena) + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);

    if (size > SIZE_MAX / 2)
        return NULL;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1); /* so that one allocation can have all of it */
    xctx_arena *arena = map_shared(header + size);
    if (!arena)
        return NULL;
    arena->size = header + size;
    atomic_init(&arena->used, header);
    return arena;
}

void *xctx_arena_allocate(xctx_arena *arena, size_t size)
{
    if (!arena || size > arena->size)
        return NULL;
    size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    size_t used = atomic_load_explicit(&arena->used, memory_order_relaxed);
    do {
        if (size > arena->size - used)
            return NULL;
    } while (!atomic_compare_exchange_weak_explicit(&arena->used, &used, used + size, memory_order_relaxed,
                                                    memory_order_relaxed));
    return (char *)arena + used;
}

xctx_arena *xctx_arena_destroy(xctx_arena *arena)
{
    if (arena)
        munmap(arena, arena->size);
    return NULL;
}

/* ---- forking ---- */

struct outcome {
    _Atomic int result;
    _Atomic int known;
};

/* What the processes share. */
struct board {
    _Atomic size_t next; /* the first index that nobody has taken */
    struct outcome outcomes[];
};

struct job {
    xctx_continuation *continuation;
    size_t count;
    int (*fn)(xctx_fiber *, size_t, void *);
    void *arg;
    pid_t parent;
    struct board *board;
};

static void work(const struct job *job)
{
    for (;;) {
        size_t index = atomic_fetch_add_explicit(&job->board->next, 1, memory_order_relaxed);
        xctx_fiber *shot;
        if (index >= job->count)
            return;
        int result = xctx_continuation_shot(job->continuation, &shot);
        if (!result) {
            result = job->fn(shot, index, job->arg);
            xctx_fiber_unref(shot);
        }
        struct outcome *outcome = &job->board->outcomes[index];
        atomic_store_explicit(&outcome->result, result, memory_order_relaxed);
        /* Release: partner is the end of the process, and this for those that die later. */
        atomic_store_explicit(&outcome->known, 1, memory_order_release);
    }
}

/* 0, or the error of fork(). */
static int start(const struct job *job, pid_t *ret_child)
{
    *ret_child = fork();
    if (*ret_child < 0) {
        *ret_child = 0;
        return -errno;
    }
    if (*ret_child == 0) {
        /* Nobody wants the results of a process that is gone. */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != job->parent)
            _exit(1);
        work(job);
        _exit(0);
    }
    return 0;
}

static void await(pid_t child)
{
    while (waitpid(child, NULL, 0) < 0 && errno == EINTR)
        ;
}

static size_t taken(const struct job *job)
{
    return atomic_load_explicit(&job->board->next, memory_order_relaxed);
}

static bool is_taken(const struct job *job)
{
    return taken(job) >= job->count;
}

static unsigned processors(void)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    return sched_getaffinity(0, sizeof(set), &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

int xctx_continuation_fork(xctx_continuation *continuation, size_t count, unsigned processes,
                           int (*fn)(xctx_fiber *shot, size_t index, void *arg), void *arg, int *ret_results)
{
    struct job job = {.continuation = continuation, .count = count, .fn = fn, .arg = arg, .parent = getpid()};
    const size_t size = sizeof(*job.board) + count * sizeof(job.board->outcomes[0]);
    int error = 0;

    if (!continuation || !fn || count > (SIZE_MAX / 2 - sizeof(*job.board)) / sizeof(job.board->outcomes[0]))
        return -EINVAL;
    if (processes == 0)
        processes = processors();
    if (processes > count)
        processes = (unsigned)count;
    if (count == 0)
        return 0;
    pid_t *children = xctx__allocate(processes * sizeof(*children));
    if (children)
        job.board = map_shared(size);
    if (!job.board) {
        xctx__free(children);
        return -ENOMEM;
    }
    unsigned running = 0;
    while (running < processes && !error && !(error = start(&job, &children[running])))
        running++;
    /* In the order of their start: each ends when nothing is left to take, so none is waited for in vain. One that has
       died left work that another one can do; unless that dies before it takes any. */
    for (unsigned i = 0; i < running; i++) {
        await(children[i]);
        while (!is_taken(&job) && !error) {
            size_t before = taken(&job);
            error = start(&job, &children[i]);
            if (!error) {
                await(children[i]);
                error = taken(&job) == before ? -EAGAIN : 0;
            }
        }
    }
    for (size_t i = 0; i < count; i++) {
        const struct outcome *outcome = &job.board->outcomes[i];
        bool known = atomic_load_explicit(&outcome->known, memory_order_acquire);
        if (ret_results)
            ret_results[i] = known ? atomic_load_explicit(&outcome->result, memory_order_relaxed) : -ECANCELED;
    }
    if (is_taken(&job))
        error = 0; /* others did what was left */
    munmap(job.board, size);
    xctx__free(children);
    return error;
}
