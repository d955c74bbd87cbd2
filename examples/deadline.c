/* SPDX-License-Identifier: MIT */
/*
 * A deadline that reaches every function that waits, however deep.
 *
 * Whoever starts something sets until when it may take; whoever waits for something asks how long that still is, and
 * gives it to poll(). A part of the work may be given less time than the whole, for a block of code, with XCTX_LET:
 * never more, and when the block is left the deadline around it counts again. Threads that are started on the way have
 * the deadline of whoever started them.
 *
 *     cc -pthread -o deadline deadline.c $(pkg-config --cflags --libs xctx)
 *
 * It prints what came in time and what did not.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <xctx/xctx.h>

/* Milliseconds of CLOCK_MONOTONIC, in the pointer itself; NULL: none. */
static XCTX_VAR_DEFINE(deadline);

static int64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* The deadline in so many milliseconds, or the current one where that is sooner: a value for the variable. */
static void *deadline_within(int64_t milliseconds)
{
    int64_t current = (int64_t)(intptr_t)xctx_var_get(&deadline);
    int64_t wanted = now() + milliseconds;
    return (void *)(intptr_t)(current && current < wanted ? current : wanted);
}

/* The time left, as poll() wants it: 0 if it is over, -1 if there is no deadline. */
static int time_left(void)
{
    int64_t until = (int64_t)(intptr_t)xctx_var_get(&deadline);
    if (!until)
        return -1;
    int64_t left = until - now();
    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

/* Reads a byte, in time. Returns 0, or a negative errno: -ETIMEDOUT. Nobody tells it how long it may take. */
static int read_byte(int fd, char *ret)
{
    struct pollfd wanted = {.fd = fd, .events = POLLIN};

    for (;;) {
        int ready = poll(&wanted, 1, time_left());
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return ready < 0 ? -errno : -ETIMEDOUT;
        ssize_t count = read(fd, ret, 1);
        return count == 1 ? 0 : count == 0 ? -EPIPE : -errno;
    }
}

/* Something that reads, some calls above that. */
static int ask(const char *what, int fd)
{
    char answer = 0;
    int error = read_byte(fd, &answer);

    if (error)
        printf("%-16s %s\n", what, error == -ETIMEDOUT ? "not in time" : strerror(-error));
    else
        printf("%-16s answered '%c'\n", what, answer);
    return error;
}

static void *in_thread(void *fd)
{
    ask("a thread:", *(int *)fd);
    return NULL;
}

static void say_left(const char *where)
{
    int left = time_left();
    printf("%-16s %s\n", where, left < 0 ? "no deadline" : left > 1000 ? "much time left" : "little time left");
}

/* Returns 0 or a negative errno. */
static int work(int silent, int prompt)
{
    pthread_t thread;
    int error;

    say_left("the work:");
    ask("prompt server:", prompt);

    /* The silent server is not worth more than 50 ms. */
    XCTX_LET (&deadline, deadline_within(50)) {
        say_left("a part of it:");
        ask("silent server:", silent);

        /* To ask for more than there is does not give more: this returns at once. */
        XCTX_LET (&deadline, deadline_within(3600000)) {
            say_left("asked for more:");
            ask("silent server:", silent);
        }
        else
        {
            return -ENOMEM;
        }
        error = xctx_thread_create(&thread, NULL, in_thread, &silent);
        if (error)
            return -error; /* also on this way out the deadline is put back */
        pthread_join(thread, NULL);
    }
    else
    {
        return -ENOMEM;
    }

    say_left("the work again:");
    ask("prompt server:", prompt);
    return 0;
}

int main(void)
{
    int silent[2];
    int prompt[2];
    int error;

    if (pipe(silent) != 0 || pipe(prompt) != 0 || write(prompt[1], "ab", 2) != 2) {
        perror("deadline: cannot make the servers");
        return EXIT_FAILURE;
    }
    say_left("before:");
    XCTX_LET (&deadline, deadline_within(600000))
        error = work(silent[0], prompt[0]);
    else error = -ENOMEM;
    say_left("after:");
    for (int end = 0; end < 2; end++) {
        close(silent[end]);
        close(prompt[end]);
    }
    if (error)
        fprintf(stderr, "deadline: %s\n", xctx_strerror(error));
    return !error && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
