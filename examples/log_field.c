/* SPDX-License-Identifier: MIT */
/*
 * A log field that follows a request through a thread pool.
 *
 * A server handles each request in three steps, each a task for a pool of threads that is as simple as can be and
 * knows nothing of requests. What follows the request is its id and its user: set once, where the request comes in,
 * and read in one place, where log lines are written. No function in between has a parameter for them.
 *
 *     cc -pthread -o log_field log_field.c $(pkg-config --cflags --libs xctx)
 *
 * It prints the lines that each of three requests logged, every one with the right id and user.
 */
#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xctx/xctx.h>

/* --- the pool: a queue of functions and arguments ------------------------------------------------------------- */

enum { QUEUE_SIZE = 32, THREADS = 3 };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct {
        void (*fn)(void *);
        void *arg;
    } queue[QUEUE_SIZE];
    size_t first, count;
    bool closed;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void *pool_thread(void *unused)
{
    pthread_mutex_lock(&pool.mutex);
    for (;;) {
        while (pool.count == 0 && !pool.closed)
            pthread_cond_wait(&pool.changed, &pool.mutex);
        if (pool.count == 0)
            break;
        void (*fn)(void *) = pool.queue[pool.first].fn;
        void *arg = pool.queue[pool.first].arg;
        pool.first = (pool.first + 1) % QUEUE_SIZE;
        pool.count--;
        pthread_mutex_unlock(&pool.mutex);
        fn(arg);
        pthread_mutex_lock(&pool.mutex);
    }
    pthread_mutex_unlock(&pool.mutex);
    return unused;
}

/* Returns false if the queue is full. */
static bool pool_submit(void (*fn)(void *), void *arg)
{
    pthread_mutex_lock(&pool.mutex);
    bool room = pool.count < QUEUE_SIZE;
    if (room) {
        size_t last = (pool.first + pool.count++) % QUEUE_SIZE;
        pool.queue[last].fn = fn;
        pool.queue[last].arg = arg;
        pthread_cond_broadcast(&pool.changed);
    }
    pthread_mutex_unlock(&pool.mutex);
    return room;
}

/* --- the log: the only place that reads the variables --------------------------------------------------------- */

static void *text_retain(void *text)
{
    return strdup(text);
}

/* The contexts keep copies of these texts of their own, and free them when the last one that has them goes. */
static XCTX_VAR_DEFINE(request_id, .initial = (void *)"-", .retain = text_retain, .release = free);
static XCTX_VAR_DEFINE(request_user, .initial = (void *)"nobody", .retain = text_retain, .release = free);
/* Where lines go: a struct log of whoever handles the request. A borrowed pointer needs no operations. */
static XCTX_VAR_DEFINE(request_log);

/* One step of a request runs at a time, so its log needs no lock. */
struct log {
    char text[1024];
    size_t length;
};

__attribute__((format(printf, 1, 2))) static void log_line(const char *format, ...)
{
    struct log *log = xctx_var_get(&request_log);
    char message[128];
    char line[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    int length = snprintf(line, sizeof(line), "request=%s user=%s %s\n", (const char *)xctx_var_get(&request_id),
                          (const char *)xctx_var_get(&request_user), message);
    if (!log) {
        fputs(line, stdout);
    } else if (length > 0 && (size_t)length < sizeof(line) && log->length + (size_t)length < sizeof(log->text)) {
        memcpy(log->text + log->length, line, (size_t)length);
        log->length += (size_t)length;
    }
}

/* --- from one step to the next -------------------------------------------------------------------------------- */

static void call_bound(void *bound)
{
    xctx_bound_call(bound);
    xctx_bound_unref(bound);
}

/* Has the pool call `fn` in a copy of the context of here. This is all that it takes to carry the fields along. */
static bool continue_with(void *(*fn)(void *), void *arg)
{
    xctx_bound *bound = xctx_bind(fn, arg);

    if (bound && pool_submit(call_bound, bound))
        return true;
    log_line("error: %s", bound ? "the queue is full" : "no memory");
    xctx_bound_unref(bound);
    return false;
}

/* --- the server ----------------------------------------------------------------------------------------------- */

struct request {
    const char *id;
    const char *user;
    const char *path;
    struct log log;
};

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    size_t count;
} unfinished = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void unfinished_add(long change)
{
    pthread_mutex_lock(&unfinished.mutex);
    unfinished.count += (size_t)change;
    pthread_cond_broadcast(&unfinished.changed);
    pthread_mutex_unlock(&unfinished.mutex);
}

static void *render(void *path)
{
    log_line("rendered %s", (const char *)path);
    unfinished_add(-1);
    return NULL;
}

static void *query(void *path)
{
    log_line("found %zu rows", strlen(path) * 3);
    if (!continue_with(render, path))
        unfinished_add(-1);
    return NULL;
}

static void *parse(void *path)
{
    log_line("parsed %s", (const char *)path);
    if (!continue_with(query, path))
        unfinished_add(-1);
    return NULL;
}

/* Takes a request in. Runs in a context of its own, so that what it sets is for this request alone. */
static void *accept_request(void *argument)
{
    struct request *request = argument;
    int error = xctx_var_set(&request_id, (void *)request->id, NULL);

    if (!error)
        error = xctx_var_set(&request_user, (void *)request->user, NULL);
    if (!error)
        error = xctx_var_set(&request_log, &request->log, NULL);
    if (error) {
        fprintf(stderr, "log_field: %s: %s\n", request->id, xctx_strerror(error));
        return NULL;
    }
    unfinished_add(1);
    if (!continue_with(parse, (void *)request->path))
        unfinished_add(-1);
    return NULL;
}

static bool serve(struct request *request)
{
    xctx_context *own = xctx_new();
    int error = own ? xctx_run(own, accept_request, request, NULL) : -ENOMEM;

    if (error)
        fprintf(stderr, "log_field: %s: %s\n", request->id, xctx_strerror(error));
    xctx_unref(own);
    return error == 0;
}

int main(void)
{
    struct request requests[] = {
        {.id = "r-1", .user = "www-a", .path = "/index"},
        {.id = "r-2", .user = "www-b", .path = "/search?q=context"},
        {.id = "r-3", .user = "www-c", .path = "/about"},
    };
    enum { REQUESTS = sizeof(requests) / sizeof(requests[0]) };
    pthread_t threads[THREADS];
    size_t thread_count = 0;
    bool well = true;

    while (thread_count < THREADS && pthread_create(&threads[thread_count], NULL, pool_thread, NULL) == 0)
        thread_count++;
    if (thread_count == 0) {
        fprintf(stderr, "log_field: cannot start a thread\n");
        return EXIT_FAILURE;
    }
    for (size_t i = 0; i < REQUESTS; i++)
        well = serve(&requests[i]) && well;

    pthread_mutex_lock(&unfinished.mutex);
    while (unfinished.count > 0)
        pthread_cond_wait(&unfinished.changed, &unfinished.mutex);
    pthread_mutex_unlock(&unfinished.mutex);
    pthread_mutex_lock(&pool.mutex);
    pool.closed = true;
    pthread_cond_broadcast(&pool.changed);
    pthread_mutex_unlock(&pool.mutex);
    for (size_t i = 0; i < thread_count; i++)
        pthread_join(threads[i], NULL);

    for (size_t i = 0; i < REQUESTS; i++)
        fwrite(requests[i].log.text, 1, requests[i].log.length, stdout);
    log_line("outside of any request");
    return fflush(stdout) == 0 && well ? EXIT_SUCCESS : EXIT_FAILURE;
}
