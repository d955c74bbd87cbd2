/* SPDX-License-Identifier: MIT */
/*
 * Answering `xctx dump`: serve.h says what is spoken.
 *
 * One thread, with all signals blocked, waits for a connection, and serves one client after the other. It allows what
 * the kernel allows a debugger: a client of the same user or root, and root alone if the process may not be dumped
 * (prctl(PR_SET_DUMPABLE)). A client gets little time to send and to receive; what it sends has a fixed size; and the
 * descriptor it brings has to be a file in memory, so that nobody can make the thread wait in a write.
 *
 * `lock` guards `server`. The thread reads neither: it has a copy of what it needs.
 *
 * The listening descriptor may be closed behind our back, by a program that closes all it does not know, and its number
 * taken by another file. So it is compared with the inode that it had before anything is done to it.
 *
 * fork(): the child closes its copy of the descriptor, and starts again under its own process id. posix_spawn() and
 * vfork() are not noticed; the descriptor is closed by exec.
 */
#include "serve.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <xctx/core.h>

#include "capture/threads.h"
#include "context/memory.h"

enum {
    BACKLOG = 4,
    CLIENT_SECONDS = 2, /* to send a request, and to take the reply */
    STACK_SIZE = 256 * 1024,
};

struct listener {
    int fd;
    dev_t device;
    ino_t inode;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct server {
    bool started;
    bool fork_handled;
    pthread_t thread;
    struct listener listener;
} server;

static _Atomic unsigned stops; /* how often a server was stopped; a thread ends when it is not what it began with */

/* What the thread takes along. */
struct task {
    struct listener listener;
    unsigned stops;
};

static bool listener_is_ours(const struct listener *listener)
{
    struct stat status;
    return fstat(listener->fd, &status) == 0 && status.st_dev == listener->device && status.st_ino == listener->inode;
}

/* ---- A client ---- */

/* Whether a client may have this process's memory. */
static bool is_allowed(int client)
{
    struct ucred peer;
    socklen_t size = sizeof(peer);

    if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
        return false;
    return peer.uid == 0 || (peer.uid == geteuid() && prctl(PR_GET_DUMPABLE) == 1);
}

/* Closes all descriptors of a message but the first, which is returned; -1: there is none. */
static int take_descriptor(struct msghdr *message)
{
    int first = -1;

    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
            continue;
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof(fd), sizeof(fd));
            if (first < 0)
                first = fd;
            else
                close(fd);
        }
    }
    return first;
}

/* Returns 0, -EBADMSG (what came is no request) or what receiving failed with. */
static int receive(int client, struct serve_request *ret_request, int *ret_fd)
{
    struct serve_request request;
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {&request, sizeof(request)};
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)};

    ssize_t size = recvmsg(client, &message, MSG_CMSG_CLOEXEC);
    if (size < 0)
        return -errno;
    int fd = take_descriptor(&message);
    bool valid = size == sizeof(request) && !(message.msg_flags & MSG_TRUNC) && request.magic == XCTX__SERVE_MAGIC &&
                 request.version == XCTX__SERVE_VERSION && request.size == sizeof(request) && request.flags == 0 &&
                 request.timeout > 0 && request.timeout <= XCTX__SERVE_TIMEOUT_MAX &&
                 request.stack_limit <= XCTX_SNAPSHOT_STACK_MAX && !(request.capture & ~(unsigned)XCTX_CAPTURE_ALL);
    if (!valid || fd < 0) {
        if (fd >= 0)
            close(fd);
        return -EBADMSG;
    }
    *ret_request = request;
    *ret_fd = fd;
    return 0;
}

/* Only files in memory can be sealed. Writing to them cannot wait for anybody. */
static bool is_in_memory(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISREG(status.st_mode) && fcntl(fd, F_GET_SEALS) >= 0;
}

/* Moves snapshots without registers behind the others, and the first thread's to the front. Returns how many of the
   others there are. */
static size_t sort_out(xctx_snapshot *snapshots[], size_t count, struct serve_reply *reply)
{
    size_t used = 0;

    for (size_t i = 0; i < count; i++) {
        xctx_snapshot *snapshot = snapshots[i];
        const xctx_thread_state *state = xctx_snapshot_thread_state(snapshot);
        if (!(xctx_snapshot_captured(snapshot) & (XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_REGISTERS))) {
            if (reply->silent < XCTX__SERVE_SILENT)
                reply->silent_tids[reply->silent] = state ? state->tid : 0;
            reply->silent++;
            continue;
        }
        snapshots[i] = snapshots[used];
        snapshots[used++] = snapshot;
        if (state && state->tid == state->pid) {
            snapshots[used - 1] = snapshots[0];
            snapshots[0] = snapshot;
        }
    }
    return used;
}

static int write_core(const struct serve_request *request, int fd, struct serve_reply *reply)
{
    const struct take_options options = {
        .capture = request->capture | XCTX_CAPTURE_LOCALS,
        .stack_limit = (size_t)request->stack_limit,
        .timeout = request->timeout,
        .except = (int)syscall(SYS_gettid),
    };
    xctx_snapshot **snapshots;
    size_t count;

    if (!is_in_memory(fd))
        return -EINVAL;
    int error = xctx__take_all(&options, &snapshots, &count);
    if (error)
        return error;
    size_t used = sort_out(snapshots, count, reply);
    reply->threads = (uint32_t)used;
    error = used ? xctx_core_write(fd, snapshots, used, NULL, 0, 0) : -ETIMEDOUT;
    xctx_snapshot_unref_all(snapshots, count);
    return error;
}

static void serve(int client)
{
    const struct timeval patience = {.tv_sec = CLIENT_SECONDS};
    struct serve_reply reply = {.magic = XCTX__SERVE_MAGIC, .version = XCTX__SERVE_VERSION, .size = sizeof(reply)};
    struct serve_request request = {0};
    int fd = -1;

    if (setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) != 0 ||
        setsockopt(client, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) != 0)
        return;
    reply.error = is_allowed(client) ? receive(client, &request, &fd) : -EPERM;
    if (!reply.error) {
        reply.error = write_core(&request, fd, &reply);
        close(fd);
    }
    /* Nobody may be there any more, which is their affair. */
    send(client, &reply, sizeof(reply), MSG_NOSIGNAL);
}

/* ---- The thread ---- */

static void *run(void *argument)
{
    struct task task = *(struct task *)argument;

    xctx__free(argument);
    prctl(PR_SET_NAME, "xctx-serve");
    while (atomic_load_explicit(&stops, memory_order_acquire) == task.stops) {
        struct pollfd wait = {.fd = task.listener.fd, .events = POLLIN};
        if (poll(&wait, 1, -1) < 0 && errno != EINTR && errno != ENOMEM)
            break;
        if (wait.revents & ~POLLIN || !listener_is_ours(&task.listener))
            break;
        int client = accept4(task.listener.fd, NULL, NULL, SOCK_CLOEXEC);
        if (client >= 0) {
            serve(client);
            close(client);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            poll(NULL, 0, 100); /* the client waits in the backlog meanwhile */
        }
    }
    return NULL;
}

/* As bind(). A child that has just been forked holds its parent's listener until its fork handler has run: the name is
   waited for that long. */
static int bind_name(int fd, const struct sockaddr *address, socklen_t size)
{
    const struct timespec moment = {.tv_nsec = 5000000};
    int result;

    for (unsigned turns = 0; (result = bind(fd, address, size)) != 0 && errno == EADDRINUSE && turns < 40; turns++)
        nanosleep(&moment, NULL);
    return result;
}

/* Returns 0 or a negative errno. */
static int listener_open(struct listener *ret)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat status;
    int length = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, XCTX__SERVE_NAME, (int)getpid());
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)length);

    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (bind_name(fd, (const struct sockaddr *)&address, size) != 0 || listen(fd, BACKLOG) != 0 ||
        fstat(fd, &status) != 0) {
        int error = -errno;
        close(fd);
        return error;
    }
    *ret = (struct listener){.fd = fd, .device = status.st_dev, .inode = status.st_ino};
    return 0;
}

/* Starts a thread on which no signal handler runs. Returns 0 or a negative errno. */
static int thread_start(pthread_t *ret_thread, void *argument)
{
    pthread_attr_t attributes;
    sigset_t all, before;

    int error = pthread_attr_init(&attributes);
    if (error)
        return -error;
    pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(ret_thread, &attributes, run, argument);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    return -error;
}

/* With the lock held. */
static int start(void)
{
    struct listener listener = {.fd = -1};

    int error = listener_open(&listener);
    if (error)
        return error;
    struct task *task = xctx__allocate(sizeof(*task));
    if (task)
        *task = (struct task){.listener = listener, .stops = atomic_load_explicit(&stops, memory_order_relaxed)};
    error = task ? thread_start(&server.thread, task) : -ENOMEM;
    if (error) {
        xctx__free(task);
        close(listener.fd);
        return error;
    }
    /* The thread has the task. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    server.listener = listener;
    server.started = true;
    return 0;
}

/* ---- fork() ---- */

static void before_fork(void)
{
    pthread_mutex_lock(&lock);
}

static void after_fork_in_parent(void)
{
    pthread_mutex_unlock(&lock);
}

static void after_fork_in_child(void)
{
    if (server.started) {
        if (listener_is_ours(&server.listener))
            close(server.listener.fd);
        server.started = false;
        /* If that fails there is nobody to tell: the child does not answer. */
        start();
    }
    pthread_mutex_unlock(&lock);
}

int xctx_serve_start(void)
{
    int error = 0;

    pthread_mutex_lock(&lock);
    if (server.started)
        error = -EALREADY;
    if (!error && !server.fork_handled) {
        error = -pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
        server.fork_handled = !error;
    }
    if (!error)
        error = start();
    pthread_mutex_unlock(&lock);
    return error;
}

int xctx_serve_stop(void)
{
    pthread_mutex_lock(&lock);
    struct server stopped = server;
    if (!stopped.started) {
        pthread_mutex_unlock(&lock);
        return -EINVAL;
    }
    server.started = false;
    /* Partner: the load in run(). */
    atomic_fetch_add_explicit(&stops, 1, memory_order_release);
    bool ours = listener_is_ours(&stopped.listener);
    if (ours)
        shutdown(stopped.listener.fd, SHUT_RDWR);
    pthread_mutex_unlock(&lock);
    /* If the program closed the descriptor, the thread cannot be woken: it ends when somebody connects. A `format`
       operation that stops the server runs on that thread. */
    if (!ours || pthread_equal(stopped.thread, pthread_self()))
        pthread_detach(stopped.thread);
    else
        pthread_join(stopped.thread, NULL);
    if (ours)
        close(stopped.listener.fd);
    return 0;
}
