/* SPDX-License-Identifier: MIT */
/*
 * An HTTP/1.1 server with a fiber for each connection: code that waits reads straight on, and each log line says whose
 * request it belongs to.
 *
 * serve() is what runs in a connection's fiber, in one of a few threads that have a loop each (fiber_loop.h). It reads,
 * waits and writes as if it had a thread of its own.
 *
 * The fiber's context has what belongs to the connection and to the request: who is asking, the request's id, until
 * when it may take. Each is set in one place. log_line() and respond() write the id, whatever waits asks for the
 * deadline, and nothing in between passes them on. They go along when a fiber changes threads, which /hop does in the
 * middle of a request.
 *
 *     cc -D_GNU_SOURCE -O2 -pthread -o http_server http_server.c $(pkg-config --cflags --libs xctx)
 *     ./http_server [-p PORT] [-t THREADS] [-d MILLISECONDS-FOR-A-REQUEST] [-l LOG-FILE]
 *
 * Paths: / greets; /slow/N asks something that takes N milliseconds; /hop changes threads; /stats tells how many fibers
 * there are, and what memory they take. A request's id is its header X-Request-Id. SIGTERM and SIGINT end the server:
 * requests that have begun are answered first. http_server.sh tests it, with http_load.c as the client.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/resource.h>

#include "fiber_loop.h"

enum { IDLE_MS = 60000, LINGER_MS = 200, HEAD_MOST = 2048, BODY_MOST = 256, ID_MOST = 63 };

static struct {
    int64_t request_ms;
    FILE *log;
    long pages_before; /* resident, before the first connection */
    atomic_long connections, requests, timeouts, wrong_ids;
} server = {.request_ms = 1000};

/* --- what belongs to a request, and who uses it ---------------------------------------------------------------- */

static XCTX_VAR_DEFINE(request_id, .initial = (void *)"-");
static XCTX_VAR_DEFINE(request_peer, .initial = (void *)"-");

/* Neither this nor what calls it is told about the request. */
__attribute__((format(printf, 1, 2))) static void log_line(const char *format, ...)
{
    va_list arguments;

    if (!server.log)
        return;
    va_start(arguments, format);
    flockfile(server.log);
    fprintf(server.log, "id=%s peer=%s ", (const char *)xctx_var_get(&request_id),
            (const char *)xctx_var_get(&request_peer));
    vfprintf(server.log, format, arguments);
    fputc('\n', server.log);
    funlockfile(server.log);
    va_end(arguments);
}

/* Returns 0 or a negative errno. */
static int respond(const char *status, const char *body, bool last)
{
    char response[BODY_MOST + 256];
    int length = snprintf(
        response, sizeof(response),
        "HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\nX-Request-Id: %s\r\n%s\r\n%s", status,
        strlen(body), (const char *)xctx_var_get(&request_id), last ? "Connection: close\r\n" : "", body);

    int error = length < (int)sizeof(response) ? send_all(response, (size_t)length) : -EMSGSIZE;
    if (error)
        log_line("cannot respond: %s", strerror(-error));
    else
        log_line("responded %.3s", status);
    return error;
}

/* --- what requests ask for: straight code that waits, and may go on on another thread --------------------------- */

static int greet(char *body)
{
    return snprintf(body, BODY_MOST, "Hello %s, this is request %s\n", (const char *)xctx_var_get(&request_peer),
                    (const char *)xctx_var_get(&request_id));
}

/* Stands for a database or another server. Returns 0 or -ETIMEDOUT: the request has no time left. */
static int ask_backend(long milliseconds)
{
    log_line("asking the backend");
    int error = sleep_for(milliseconds);
    log_line(error ? "no answer in time" : "the backend has answered");
    return error;
}

static int here(void)
{
    return ((struct task *)xctx_var_get(&this_task))->loop->number;
}

static int change_threads(char *body)
{
    int from = here();

    log_line("leaving thread %d", from);
    int error = hop(&loops[(from + 1) % loop_count]);
    if (error)
        return error;
    log_line("now on thread %d", here());
    return snprintf(body, BODY_MOST, "from thread %d to thread %d\n", from, here());
}

/* Pages of memory that the process has. */
static long pages(void)
{
    long all = 0;
    long resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    if (file && fscanf(file, "%ld %ld", &all, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident;
}

static int tell_stats(char *body)
{
    long fibers = atomic_load(&tasks_alive);
    return snprintf(body, BODY_MOST,
                    "fibers %ld\nbytes-per-fiber %ld\nconnections %ld\nrequests %ld\ntimeouts %ld\nwrong-ids %ld\n",
                    fibers, (pages() - server.pages_before) * sysconf(_SC_PAGESIZE) / (fibers ? fibers : 1),
                    atomic_load(&server.connections), atomic_load(&server.requests), atomic_load(&server.timeouts),
                    atomic_load(&server.wrong_ids));
}

/* A deadline for saying that the one before is over: a value for the variable. */
static void *a_little_more(void)
{
    return (void *)(intptr_t)(now_ms() + LINGER_MS);
}

static int wait_for_backend(long milliseconds, bool last)
{
    int error = -ENOMEM;

    if (ask_backend(milliseconds) == 0)
        return respond("200 OK", "the backend has answered\n", last);
    atomic_fetch_add(&server.timeouts, 1);
    XCTX_LET (&deadline, a_little_more())
        error = respond("504 Gateway Timeout", "the backend has not answered\n", last);
    return error;
}

/* Returns 0 or a negative errno. */
static int handle(const char *path, bool last)
{
    char body[BODY_MOST];
    int length = 0;
    int milliseconds = 0;

    log_line("GET %s", path);
    if (strlen(path) < 12 && sscanf(path, "/slow/%d", &milliseconds) == 1 && milliseconds >= 0)
        return wait_for_backend(milliseconds, last);
    if (strcmp(path, "/") == 0)
        length = greet(body);
    else if (strcmp(path, "/hop") == 0)
        length = change_threads(body);
    else if (strcmp(path, "/stats") == 0)
        length = tell_stats(body);
    if (length < 0)
        return length;
    return length > 0 ? respond("200 OK", body, last) : respond("404 Not Found", "nothing is there\n", last);
}

/* --- HTTP ------------------------------------------------------------------------------------------------------ */

/* What has been received, and the request at its beginning. */
struct input {
    size_t length;      /* of the bytes */
    size_t head_length; /* of the request */
    char *path;
    char id[ID_MOST + 1];
    bool last; /* the connection is to be closed behind the response */
    char bytes[HEAD_MOST + 1];
};

/* Receives until there is a whole head. Returns its length, 0 at the end, or a negative errno. */
static ssize_t receive_head(struct input *input)
{
    for (;;) {
        const char *end = memmem(input->bytes, input->length, "\r\n\r\n", 4);
        if (end)
            return end + 4 - input->bytes;
        ssize_t count = receive(input->bytes + input->length, HEAD_MOST - input->length, suspend);
        if (count <= 0)
            return input->length == HEAD_MOST ? -EMSGSIZE : count;
        input->length += (size_t)count;
    }
}

/* Whether a text can be written into a log as one word, whatever the other side wanted. */
static bool is_word(const char *text, size_t most)
{
    size_t length = 0;

    while (length <= most && isgraph((unsigned char)text[length]))
        length++;
    return length > 0 && length <= most && !text[length];
}

/* Takes a head apart, in place; it ends with a NUL. Returns the status that refuses it, or NULL. */
static const char *parse(struct input *input, const char *default_id)
{
    char *rest = input->bytes;
    char *line = strsep(&rest, "\r");
    const char *method = strsep(&line, " ");

    input->path = strsep(&line, " ");
    if (!line || strncmp(line, "HTTP/1.", 7) != 0 || !is_word(input->path, HEAD_MOST))
        return "400 Bad Request";
    input->last = strcmp(line, "HTTP/1.0") == 0;
    snprintf(input->id, sizeof(input->id), "%s", default_id);
    while ((line = strsep(&rest, "\r")) && *line++ == '\n' && *line) {
        const char *name = strsep(&line, ":");
        if (!line)
            return "400 Bad Request";
        line += strspn(line, " ");
        if (strcasecmp(name, "X-Request-Id") == 0) {
            if (!is_word(line, ID_MOST))
                return "400 Bad Request";
            snprintf(input->id, sizeof(input->id), "%s", line);
        } else if (strcasecmp(name, "Connection") == 0) {
            input->last = input->last || strcasecmp(line, "close") == 0;
        } else if (strcasecmp(name, "Transfer-Encoding") == 0 ||
                   (strcasecmp(name, "Content-Length") == 0 && strcmp(line, "0") != 0)) {
            return "413 Content Too Large"; /* nothing here takes any */
        }
    }
    return strcmp(method, "GET") == 0 ? NULL : "405 Method Not Allowed";
}

/* Says why there is no request. What is still to come of it is received and not looked at: closing a socket that has
   something to receive would throw the response away. */
static void refuse(const char *status)
{
    const struct task *task = xctx_var_get(&this_task);
    char unseen[256];

    XCTX_LET (&deadline, a_little_more()) {
        int left = respond(status, "", true) == 0 && shutdown(task->fd, SHUT_WR) == 0 ? 64 : 0;
        while (left > 0 && receive(unseen, sizeof(unseen), suspend_idle) > 0)
            left--;
    }
}

/* Returns whether there may be another one. */
static bool serve_request(struct input *input, const char *default_id)
{
    ssize_t length = receive_head(input);

    if (length <= 0) {
        atomic_fetch_add(&server.timeouts, length == -ETIMEDOUT);
        if (length == -ETIMEDOUT || length == -EMSGSIZE)
            refuse(length == -ETIMEDOUT ? "408 Request Timeout" : "431 Request Header Fields Too Large");
        return false;
    }
    input->head_length = (size_t)length;
    input->bytes[length - 1] = '\0';
    const char *refused = parse(input, default_id);
    if (refused) {
        refuse(refused);
        return false;
    }
    XCTX_LET (&request_id, input->id) {
        int error = handle(input->path, input->last);
        /* Whatever happened there, on however many threads: this is still the request that the header named. */
        atomic_fetch_add(&server.wrong_ids, strcmp(xctx_var_get(&request_id), input->id) != 0);
        atomic_fetch_add(&server.requests, 1);
        if (error || input->last)
            return false;
    }
    else
    {
        return false;
    }
    input->length -= input->head_length;
    memmove(input->bytes, input->bytes + input->head_length, input->length);
    return true;
}

/* Waits for a request to begin. Returns whether it has. */
static bool await_request(struct input *input)
{
    if (input->length > 0)
        return true;
    XCTX_LET (&deadline, within(IDLE_MS)) {
        ssize_t count = receive(input->bytes, HEAD_MOST, suspend_idle);
        input->length = count > 0 ? (size_t)count : 0;
    }
    return input->length > 0;
}

/* A connection. Runs in a fiber, in a context of its own. */
static void *serve(void *argument)
{
    struct task *task = argument;
    struct input input;
    char default_id[ID_MOST + 1];
    long connection = atomic_fetch_add(&server.connections, 1);
    bool more = xctx_var_set(&this_task, task, NULL) == 0 &&
                xctx_var_set(&request_peer, (void *)xctx_fiber_name(task->fiber), NULL) == 0;

    input.length = 0;
    for (unsigned request = 1; more && await_request(&input); request++) {
        snprintf(default_id, sizeof(default_id), "%ld-%u", connection, request);
        XCTX_LET (&deadline, within(server.request_ms))
            more = serve_request(&input, default_id);
        else more = false;
        /* One that never has to wait goes to the end of the queue now and then. */
        if (request % 64 == 0)
            more = more && hop(task->loop) == 0;
    }
    return NULL;
}

/* --- the server ----------------------------------------------------------------------------------------------- */

__attribute__((noinline)) static int try_accept(int fd, char *ret_name, size_t size)
{
    struct sockaddr_in peer = {0};
    socklen_t length = sizeof(peer);
    int connection = accept4(fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
    char address[INET_ADDRSTRLEN] = "?";
    const int on = 1;

    if (connection < 0)
        return -errno;
    inet_ntop(AF_INET, &peer.sin_addr, address, sizeof(address));
    snprintf(ret_name, size, "%s:%u", address, ntohs(peer.sin_port));
    setsockopt(connection, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return connection;
}

/* The listening socket has a fiber, too: it starts those of the connections, by turns in each loop. */
static void *accept_connections(void *argument)
{
    struct task *task = argument;
    char name[INET_ADDRSTRLEN + 6]; /* and ':' and a port */
    int error = xctx_var_set(&this_task, task, NULL);

    for (unsigned turn = 0; !error && !atomic_load(&stopping); turn++) {
        int fd = try_accept(task->fd, name, sizeof(name));
        if (fd >= 0) {
            if (task_start(&loops[turn % (unsigned)loop_count], fd, name, serve) != 0) {
                close(fd);
                error = sleep_for(LOOP_TICK);
            }
        } else if (fd == -EAGAIN) {
            error = suspend_idle();
        } else if (fd == -EMFILE || fd == -ENFILE || fd == -ENOMEM || fd == -ENOBUFS) {
            error = sleep_for(LOOP_TICK); /* until others have closed theirs */
        } else if (fd == -EINVAL || fd == -EBADF) {
            error = fd;
        } /* else: a connection that was gone before it was accepted */
    }
    if (error && error != -ECANCELED)
        fprintf(stderr, "http_server: cannot accept: %s\n", strerror(-error));
    return NULL;
}

/* Returns a socket, or -1. The program may have as many as the system allows. */
static int listen_at(const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    struct rlimit files;
    const int on = 1;

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (struct sockaddr *)&address, length) != 0 || listen(fd, 4096) != 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return -1;
    printf("listening at 127.0.0.1:%u\n", ntohs(address.sin_port));
    return fd;
}

int main(int argc, char **argv)
{
    const char *port = "8080";
    int threads = 2;
    sigset_t signals;
    int option;
    int signal_number;

    while ((option = getopt(argc, argv, "p:t:d:l:")) != -1) {
        if (option == 'p')
            port = optarg;
        else if (option == 't')
            threads = atoi(optarg);
        else if (option == 'd')
            server.request_ms = atoi(optarg);
        else if (option != 'l' || !(server.log = fopen(optarg, "w")))
            return fprintf(stderr, "http_server: wrong option, or cannot write the log\n"), 2;
    }
    if (threads < 1 || threads > LOOPS_MOST || server.request_ms < 1)
        return fprintf(stderr, "http_server: from 1 to %d threads, and 1 ms or more\n", LOOPS_MOST), 2;

    /* For all threads: main() waits for them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int fd = listen_at(port);
    if (fd < 0) {
        perror("http_server: cannot listen");
        return EXIT_FAILURE;
    }
    server.pages_before = pages();
    if (loops_start(threads) != threads || task_start(&loops[0], fd, "listener", accept_connections) != 0) {
        fprintf(stderr, "http_server: no thread, or no memory\n");
        return EXIT_FAILURE;
    }
    fflush(stdout);
    sigwait(&signals, &signal_number);
    loops_stop();

    long left = atomic_load(&tasks_alive);
    long wrong = atomic_load(&server.wrong_ids);
    printf("%s: %ld connections, %ld requests, %ld timeouts, %ld wrong ids, %ld fibers left\n",
           signal_number == SIGTERM ? "SIGTERM" : "SIGINT", atomic_load(&server.connections),
           atomic_load(&server.requests), atomic_load(&server.timeouts), wrong, left);
    bool written = (!server.log || fclose(server.log) == 0) && fflush(stdout) == 0;
    return left == 0 && wrong == 0 && written ? EXIT_SUCCESS : EXIT_FAILURE;
}
