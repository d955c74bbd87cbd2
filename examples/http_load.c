/* SPDX-License-Identifier: MIT */
/*
 * A client that loads http_server with many connections at once, and looks at every response. Plain sockets, on
 * purpose: nothing of what it tests is used here.
 *
 * It opens all connections, and in each round sends a request on every one before it reads the first response: with an
 * id of its own in X-Request-Id, which has to come back in the header and the body, with the address that this end of
 * the connection has. Some requests wait, some change threads, some come two in one packet. Then it sends what is wrong
 * and what takes too long. At last, while all connections are still open and one request is not answered yet, it ends
 * the server: the request has to be answered, and all connections have to be closed.
 *
 *     cc -D_GNU_SOURCE -o http_load http_load.c
 *     ./http_load PORT CONNECTIONS ROUNDS PID-OF-SERVER
 *
 * Connections: as many as asked for, or as the limit of open files allows.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum { PORTS_PER_ADDRESS = 4000, WAIT_S = 10, RESPONSE_MOST = 1024 };

static in_port_t server_port;

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
    va_list arguments;

    fputs("http_load: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

static double seconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Opens the n-th connection. Addresses of our own are 127.0.0.1, 127.0.0.2 and so on: each has only so many
   ports, and to find a free one among few takes long. */
static int connect_nth(size_t n)
{
    struct sockaddr_in own = {.sin_family = AF_INET,
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK + (in_addr_t)(n / PORTS_PER_ADDRESS))};
    struct sockaddr_in server = {
        .sin_family = AF_INET, .sin_port = server_port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct timeval most = {.tv_sec = WAIT_S};
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &most, sizeof(most)) != 0)
        fail("connection %zu: %s", n, strerror(errno));
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof(on));
    if (bind(fd, (struct sockaddr *)&own, sizeof(own)) != 0 ||
        connect(fd, (struct sockaddr *)&server, sizeof(server)) != 0)
        fail("connection %zu: %s", n, strerror(errno));
    return fd;
}

static void send_text(int fd, const char *text)
{
    size_t length = strlen(text);
    if (send(fd, text, length, MSG_NOSIGNAL) != (ssize_t)length)
        fail("cannot send: %s", strerror(errno));
}

static void send_request(int fd, const char *path, const char *id)
{
    char request[256];
    snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: %s\r\n\r\n", path, id);
    send_text(fd, request);
}

struct response {
    char text[RESPONSE_MOST + 1];
    int status;
    const char *id;
    const char *body;
};

/* The length of the response at the beginning of a text, or 0: it is not there as a whole. */
static size_t response_length(const char *text)
{
    const char *end = strstr(text, "\r\n\r\n");
    const char *length = strcasestr(text, "\r\nContent-Length: ");

    if (!end || !length || length > end)
        return 0;
    size_t whole = (size_t)(end + 4 - text) + strtoul(length + 18, NULL, 10);
    return whole <= strlen(text) ? whole : 0;
}

/* Receives one response, and not a byte of the next one. Returns false if the connection has ended instead. */
static bool receive_response(int fd, struct response *ret)
{
    size_t length = 0;

    for (int tries = 0; length == 0 && tries < WAIT_S * 1000; tries++) {
        ssize_t count = recv(fd, ret->text, RESPONSE_MOST, MSG_PEEK); /* what follows is not ours */
        if (count == 0)
            return false;
        if (count < 0)
            fail("no response: %s", strerror(errno));
        ret->text[count] = '\0';
        length = response_length(ret->text);
        if (length == 0)
            usleep(1000); /* only a part of it is there */
    }
    if (length == 0 || recv(fd, ret->text, length, 0) != (ssize_t)length)
        fail("not a whole response: %s", ret->text);
    ret->text[length] = '\0';
    char *id = strcasestr(ret->text, "\r\nX-Request-Id: ");
    if (!id || sscanf(ret->text, "HTTP/1.1 %d", &ret->status) != 1)
        fail("not a response: %s", ret->text);
    ret->body = strstr(ret->text, "\r\n\r\n") + 4;
    ret->id = id + 16;
    ret->text[strcspn(ret->id, "\r") + (size_t)(ret->id - ret->text)] = '\0';
    return true;
}

static void expect(int fd, int status, const char *id, const char *body)
{
    struct response response;

    if (!receive_response(fd, &response))
        fail("closed instead of a response to %s", id);
    if (response.status != status || strcmp(response.id, id) != 0 || strncmp(response.body, body, strlen(body)) != 0)
        fail("%d %s, \"%s\" instead of %d %s, \"%s\"", response.status, response.id, response.body, status, id, body);
}

static void expect_end(int fd)
{
    struct response response;

    if (receive_response(fd, &response))
        fail("%d %s instead of the connection's end", response.status, response.id);
    close(fd);
}

/* --- rounds: each connection asks, then each reads ------------------------------------------------------------- */

/* What the n-th connection asks for in a round. */
static const char *path_of(size_t n, unsigned round)
{
    static const char *const paths[] = {"/", "/hop", "/", "/slow/20", "/", "/hop", "/lost"};
    return paths[(n + round) % (sizeof(paths) / sizeof(paths[0]))];
}

static void ask(int fd, size_t n, unsigned round)
{
    char id[64];
    snprintf(id, sizeof(id), "c%zu-r%u", n, round);
    send_request(fd, path_of(n, round), id);
}

static void check(int fd, size_t n, unsigned round)
{
    const char *path = path_of(n, round);
    struct sockaddr_in own = {0};
    socklen_t length = sizeof(own);
    char address[INET_ADDRSTRLEN] = "";
    char id[64];
    char body[256];

    snprintf(id, sizeof(id), "c%zu-r%u", n, round);
    if (getsockname(fd, (struct sockaddr *)&own, &length) != 0)
        fail("no address");
    inet_ntop(AF_INET, &own.sin_addr, address, sizeof(address));
    snprintf(body, sizeof(body), "Hello %s:%u, this is request %s\n", address, ntohs(own.sin_port), id);
    expect(fd, strcmp(path, "/lost") == 0 ? 404 : 200, id,
           strcmp(path, "/") == 0       ? body
           : strcmp(path, "/hop") == 0  ? "from thread "
           : strcmp(path, "/lost") == 0 ? "nothing is there\n"
                                        : "the backend has answered\n");
}

static void do_rounds(const int *fds, size_t count, unsigned rounds)
{
    for (unsigned round = 0; round < rounds; round += 2) {
        for (size_t n = 0; n < count; n++) {
            ask(fds[n], n, round);
            if (n % 5 == 0)
                ask(fds[n], n, round + 1); /* not waiting for the first response */
        }
        for (size_t n = 0; n < count; n++) {
            check(fds[n], n, round);
            if (n % 5 != 0)
                ask(fds[n], n, round + 1);
        }
        for (size_t n = 0; n < count; n++)
            check(fds[n], n, round + 1);
    }
}

/* --- what is wrong, or takes too long -------------------------------------------------------------------------- */

static void refused(const char *request, int status)
{
    int fd = connect_nth(0);
    send_text(fd, request);
    expect(fd, status, "-", "");
    expect_end(fd);
}

static void do_wrong_ones(void)
{
    char long_one[4096];

    refused("nonsense\r\n\r\n", 400);
    refused("GET / HTTP/1.1\r\nX-Request-Id: two words\r\n\r\n", 400);
    refused("GET /a\nid=forged HTTP/1.1\r\n\r\n", 400);
    refused("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", 413);
    refused("DELETE / HTTP/1.1\r\n\r\n", 405);
    snprintf(long_one, sizeof(long_one), "GET /%02047d", 0);
    refused(long_one, 431);

    int fd = connect_nth(0);
    send_text(fd, "GET / HTTP/1.1\r\nX-Request-Id: last\r\nConnection: close\r\n\r\n");
    expect(fd, 200, "last", "Hello ");
    expect_end(fd);
}

static void do_slow_ones(void)
{
    int half = connect_nth(0);
    int slow = connect_nth(0);

    send_text(half, "GET / HTTP/1.1\r\nX-Request-Id: half\r\n"); /* and never the rest */
    send_request(slow, "/slow/60000", "slow");
    send_request(slow, "/", "after-slow");
    expect(half, 408, "-", "");
    expect_end(half);
    expect(slow, 504, "slow", "the backend has not answered\n");
    expect(slow, 200, "after-slow", "Hello "); /* it has time of its own */
    close(slow);
}

/* --------------------------------------------------------------------------------------------------------------- */

/* As many connections as the limit of open files allows. */
static size_t most_connections(size_t wanted)
{
    enum { OTHERS = 32 }; /* on the server's side, too */
    struct rlimit files;

    if (getrlimit(RLIMIT_NOFILE, &files) != 0)
        fail("no limit of files: %s", strerror(errno));
    files.rlim_cur = files.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0)
        fail("cannot raise the limit of files: %s", strerror(errno));
    if (wanted + OTHERS <= files.rlim_cur)
        return wanted;
    printf("%zu connections wanted, but no more than %zu files may be open\n", wanted, (size_t)files.rlim_cur);
    return (size_t)files.rlim_cur - OTHERS;
}

/* Prints the server's figures. */
static void check_stats(int fd, size_t connections)
{
    struct response response;
    long fibers = 0;
    long bytes = 0;
    long wrong = -1;

    send_request(fd, "/stats", "stats");
    if (!receive_response(fd, &response) ||
        sscanf(response.body, "fibers %ld\nbytes-per-fiber %ld\n", &fibers, &bytes) != 2)
        fail("no stats");
    const char *wrong_text = strstr(response.body, "wrong-ids ");
    if (!wrong_text || sscanf(wrong_text, "wrong-ids %ld", &wrong) != 1 || wrong != 0)
        fail("wrong ids: %ld", wrong);
    if (fibers < (long)connections)
        fail("%ld fibers for %zu connections", fibers, connections);
    printf("%ld fibers, %ld bytes each\n", fibers, bytes);
}

/* Ends the server, with all connections open and a request not answered. */
static void end_server(const int *fds, size_t count, pid_t server)
{
    const struct timespec begun = {.tv_nsec = 300000000};

    send_request(fds[0], "/slow/600", "in-flight");
    nanosleep(&begun, NULL);
    if (kill(server, SIGTERM) != 0)
        fail("no server: %s", strerror(errno));
    for (size_t n = 1; n < count; n++)
        expect_end(fds[n]);
    expect(fds[0], 200, "in-flight", "the backend has answered\n");
    expect_end(fds[0]);
}

int main(int argc, char **argv)
{
    if (argc != 5 || strtoul(argv[2], NULL, 10) < 1)
        fail("usage: http_load PORT CONNECTIONS ROUNDS PID-OF-SERVER");
    server_port = htons((in_port_t)strtoul(argv[1], NULL, 10));
    size_t count = most_connections(strtoul(argv[2], NULL, 10));
    unsigned rounds = (unsigned)strtoul(argv[3], NULL, 10) & ~1U;
    int *fds = calloc(count, sizeof(*fds));

    if (!fds)
        fail("no memory");
    double start = seconds();
    for (size_t n = 0; n < count; n++)
        fds[n] = connect_nth(n);
    double connected = seconds();
    do_rounds(fds, count, rounds);
    double done = seconds();
    printf("%zu connections in %.1f s, %zu responses in %.1f s\n", count, connected - start, count * rounds,
           done - connected);
    check_stats(fds[0], count);
    do_wrong_ones();
    do_slow_ones();
    end_server(fds, count, (pid_t)strtol(argv[4], NULL, 10));
    printf("all responses are right, and the server has ended\n");
    free(fds);
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
