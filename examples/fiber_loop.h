/* SPDX-License-Identifier: MIT */
/*
 * Loops of epoll and timers in some threads, and fibers that wait there: the part of http_server.c that any server has.
 *
 * A task is a socket and a fiber. The fiber runs straight code; receive(), send_all() and sleep_for() are what waits in
 * it. They try first, and yield only if there is nothing to be had. The loop resumes the fiber when something has
 * happened to its socket (edge-triggered: at each change, so what is waited for may still not be there) or when its
 * deadline is over. Which task is running, and until when it may wait, are variables of the fiber's context.
 *
 * A task is one thread's at any time: that which runs its fiber, or the loop's where it waits. It changes threads only
 * through hop(): the fiber yields the loop that it wants to be in, its old loop forgets it and puts it into the inbox
 * of the new one. Not before the fiber has yielded: it would be resumed there while it still runs here.
 *
 * `errno` belongs to the thread, and compilers take its address once in a function, however often that yields in
 * between. So it is read in functions that do not: the try_ ones, which are not inlined, and return it.
 */
#ifndef FIBER_LOOP_H
#define FIBER_LOOP_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <xctx/xctx.h>

enum { LOOPS_MOST = 64, LOOP_EVENTS = 64, LOOP_SLOTS = 256, LOOP_TICK = 20 /* ms */, FIBER_STACK = 64 << 10 };

struct task {
    xctx_fiber *fiber;
    struct loop *loop;
    int fd;
    bool idle;          /* it is in suspend_idle() */
    int64_t until;      /* while it waits: the deadline; 0: there is none */
    struct task *next;  /* while it waits, in loop->slots; on the way to a loop, in its inbox */
    struct task **link; /* what points to it there */
};

struct loop {
    pthread_t thread;
    int number;
    int epoll;
    int bell; /* an eventfd: look at the inbox, and whether to stop */
    pthread_mutex_t mutex;
    struct task *inbox;             /* under the mutex */
    struct task *slots[LOOP_SLOTS]; /* those that wait, by the tick after their deadline, modulo */
    int64_t tick;                   /* up to which deadlines were looked at */
};

static struct loop loops[LOOPS_MOST];
static int loop_count;
static atomic_bool stopping;
static atomic_long tasks_alive;

static XCTX_VAR_DEFINE(this_task); /* a struct task */
static XCTX_VAR_DEFINE(deadline);  /* milliseconds of CLOCK_MONOTONIC, in the pointer itself; NULL: none */

static inline int64_t now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* The deadline in so many milliseconds, or the current one where that is sooner: a value for the variable. */
static inline void *within(int64_t milliseconds)
{
    int64_t current = (int64_t)(intptr_t)xctx_var_get(&deadline);
    int64_t wanted = now_ms() + milliseconds;
    return (void *)(intptr_t)(current && current < wanted ? current : wanted);
}

/* --- called in fibers ----------------------------------------------------------------------------------------- */

/* Waits until something has happened to the task's socket. Returns 0, or -ETIMEDOUT: the deadline is over. */
static inline int suspend(void)
{
    struct task *task = xctx_var_get(&this_task);
    task->until = (int64_t)(intptr_t)xctx_var_get(&deadline);
    return (int)(intptr_t)xctx_fiber_yield(NULL);
}

/* As suspend(), for what need not come any more once the loops are to stop. Returns -ECANCELED then. */
static inline int suspend_idle(void)
{
    struct task *task = xctx_var_get(&this_task);

    /* Those that wait already when that is said are told by loop_cancel(). */
    if (atomic_load(&stopping))
        return -ECANCELED;
    task->idle = true;
    int error = suspend();
    task->idle = false;
    return error;
}

/* Goes on in another loop, on its thread. Returns 0 or a negative errno: it is nowhere then, and cannot wait. */
static inline int hop(struct loop *to)
{
    return (int)(intptr_t)xctx_fiber_yield(to);
}

/* Returns 0, or -ETIMEDOUT if the deadline comes before that. */
static inline int sleep_for(int64_t milliseconds)
{
    XCTX_LET (&deadline, within(milliseconds)) {
        int error;
        do
            error = suspend();
        while (error == 0);
        if (error != -ETIMEDOUT)
            return error;
    }
    else
    {
        return -ENOMEM;
    }
    int64_t until = (int64_t)(intptr_t)xctx_var_get(&deadline);
    return until && until <= now_ms() ? -ETIMEDOUT : 0;
}

__attribute__((noinline)) static ssize_t try_recv(int fd, void *to, size_t size)
{
    ssize_t count = recv(fd, to, size, 0);
    return count < 0 ? -errno : count;
}

__attribute__((noinline)) static ssize_t try_send(int fd, const void *from, size_t size)
{
    ssize_t count = send(fd, from, size, MSG_NOSIGNAL);
    return count < 0 ? -errno : count;
}

/* Receives up to `size` bytes, waiting as `wait` does. Returns how many, 0 at the end, or a negative errno. */
static inline ssize_t receive(void *to, size_t size, int (*wait)(void))
{
    const struct task *task = xctx_var_get(&this_task);
    ssize_t count;
    int error = 0;

    while (!error && (count = try_recv(task->fd, to, size)) == -EAGAIN)
        error = wait();
    return error ? error : count;
}

/* Returns 0 or a negative errno. */
static inline int send_all(const char *from, size_t size)
{
    const struct task *task = xctx_var_get(&this_task);

    while (size > 0) {
        ssize_t count = try_send(task->fd, from, size);
        int error = count == -EAGAIN ? suspend() : count < 0 ? (int)count : 0;
        if (error)
            return error;
        if (count > 0) {
            from += count;
            size -= (size_t)count;
        }
    }
    return 0;
}

/* --- called in loops ------------------------------------------------------------------------------------------ */

static inline void loop_ring(struct loop *loop)
{
    eventfd_write(loop->bell, 1);
}

static inline void loop_send(struct loop *loop, struct task *task)
{
    task->loop = loop;
    pthread_mutex_lock(&loop->mutex);
    task->next = loop->inbox;
    loop->inbox = task;
    pthread_mutex_unlock(&loop->mutex);
    loop_ring(loop);
}

/* Runs a task's fiber until it waits, leaves for another loop, or ends. */
static inline void loop_run(struct loop *loop, struct task *task, int result)
{
    void *to = NULL;
    int status = xctx_fiber_resume(task->fiber, (void *)(intptr_t)result, &to);

    if (status == 1 && !to) {
        int64_t tick = task->until / LOOP_TICK;
        struct task **slot = &loop->slots[((tick > loop->tick ? tick : loop->tick) + 1) % LOOP_SLOTS];
        task->next = *slot;
        task->link = slot;
        if (task->next)
            task->next->link = &task->next;
        *slot = task;
    } else if (status == 1) {
        epoll_ctl(loop->epoll, EPOLL_CTL_DEL, task->fd, NULL);
        loop_send(to, task);
    } else {
        if (status < 0)
            fprintf(stderr, "fiber %s: %s\n", xctx_fiber_name(task->fiber), xctx_strerror(status));
        close(task->fd);
        xctx_fiber_unref(task->fiber);
        free(task);
        atomic_fetch_sub(&tasks_alive, 1);
    }
}

/* The same of a task that waits. */
static inline void loop_wake(struct loop *loop, struct task *task, int result)
{
    *task->link = task->next;
    if (task->next)
        task->next->link = task->link;
    loop_run(loop, task, result);
}

static inline void loop_open_inbox(struct loop *loop)
{
    eventfd_t count;
    struct task *next;

    eventfd_read(loop->bell, &count);
    pthread_mutex_lock(&loop->mutex);
    struct task *task = loop->inbox;
    loop->inbox = NULL;
    pthread_mutex_unlock(&loop->mutex);
    for (; task; task = next) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = task};
        next = task->next;
        int status = epoll_ctl(loop->epoll, EPOLL_CTL_ADD, task->fd, &event);
        loop_run(loop, task, status == 0 ? 0 : -errno);
    }
}

/* Wakes those whose deadline is over. A task that is woken touches no other one, so the next one stays where it is. */
static inline void loop_expire(struct loop *loop)
{
    int64_t now = now_ms();
    int64_t last = now / LOOP_TICK;
    struct task *next;

    if (loop->tick < last - LOOP_SLOTS)
        loop->tick = last - LOOP_SLOTS;
    while (loop->tick < last) {
        for (struct task *task = loop->slots[++loop->tick % LOOP_SLOTS]; task; task = next) {
            next = task->next;
            if (task->until && task->until <= now)
                loop_wake(loop, task, -ETIMEDOUT);
        }
    }
}

static inline void loop_cancel(struct loop *loop)
{
    struct task *next;

    for (size_t slot = 0; slot < LOOP_SLOTS; slot++) {
        for (struct task *task = loop->slots[slot]; task; task = next) {
            next = task->next;
            if (task->idle)
                loop_wake(loop, task, -ECANCELED);
        }
    }
}

static inline void *loop_thread(void *argument)
{
    struct loop *loop = argument;
    struct epoll_event events[LOOP_EVENTS];

    loop->tick = now_ms() / LOOP_TICK;
    while (!atomic_load(&stopping) || atomic_load(&tasks_alive) > 0) {
        int count = epoll_wait(loop->epoll, events, LOOP_EVENTS, LOOP_TICK);
        bool rung = false;
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr)
                loop_wake(loop, events[i].data.ptr, 0);
            else
                rung = true;
        }
        /* Behind the events: these may end tasks that have events there. */
        if (rung)
            loop_open_inbox(loop);
        loop_expire(loop);
        if (rung && atomic_load(&stopping))
            loop_cancel(loop);
    }
    return NULL;
}

/* --- called from anywhere ------------------------------------------------------------------------------------- */

/* Starts a fiber for a socket, in a loop; `name` is for people. Its context is a copy of the current one. Returns 0,
   the socket being the task's; or -ENOMEM. */
static inline int task_start(struct loop *loop, int fd, const char *name, void *(*fn)(void *))
{
    const xctx_fiber_options options = {.size = sizeof(options), .stack_size = FIBER_STACK, .name = name};
    struct task *task = calloc(1, sizeof(*task));

    if (!task)
        return -ENOMEM;
    task->fd = fd;
    task->fiber = xctx_fiber_create(fn, task, &options);
    if (!task->fiber) {
        free(task);
        return -ENOMEM;
    }
    atomic_fetch_add(&tasks_alive, 1);
    loop_send(loop, task);
    return 0;
}

/* Starts loops, each in a thread. Returns how many there are: 0 if there is not even one. */
static inline int loops_start(int count)
{
    for (; loop_count < count; loop_count++) {
        struct loop *loop = &loops[loop_count];
        struct epoll_event event = {.events = EPOLLIN};
        *loop = (struct loop){.number = loop_count, .mutex = PTHREAD_MUTEX_INITIALIZER};
        loop->epoll = epoll_create1(EPOLL_CLOEXEC);
        loop->bell = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (loop->epoll < 0 || loop->bell < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->bell, &event) != 0 ||
            pthread_create(&loop->thread, NULL, loop_thread, loop) != 0)
            break;
    }
    return loop_count;
}

/* Tells tasks that are idle to end, waits for the others, and ends the loops. */
static inline void loops_stop(void)
{
    atomic_store(&stopping, true);
    for (int i = 0; i < loop_count; i++)
        loop_ring(&loops[i]);
    for (int i = 0; i < loop_count; i++) {
        pthread_join(loops[i].thread, NULL);
        close(loops[i].epoll);
        close(loops[i].bell);
    }
}

#endif
