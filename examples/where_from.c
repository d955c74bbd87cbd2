/* SPDX-License-Identifier: MIT */
/*
 * Where did this piece of work come from? A stack trace across the threads of a pool.
 *
 * Orders are worked through in steps, each a task of its own: whichever thread is free takes it. When an order cannot
 * be packed, the stack of that thread says nothing but "pool". So the pool's contexts carry snapshots: of each place
 * where a task was submitted, with its local variables. Where packing fails another snapshot is taken, and its chain of
 * parents tells the way of that order. It is decoded when the pool is gone.
 *
 *     cc -g -pthread -o where_from where_from.c $(pkg-config --cflags --libs xctx-inspect)
 *
 * It prints what became of three orders, and for the one that failed each step on its way, with one of its variables.
 * Without optimisation (-O0) the compiler keeps them all; with it some can be gone, and the output says so.
 */
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xctx/inspect.h>
#include <xctx/xctx.h>

/* --- a pool: a queue of bound functions ----------------------------------------------------------------------- */

enum { QUEUE_SIZE = 16, THREADS = 3 };

static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    xctx_bound *queue[QUEUE_SIZE];
    size_t first, count;
    size_t unfinished; /* tasks in the queue, and those that run */
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Works until there is nothing to do, and nothing can come any more. */
static void *pool_thread(void *unused)
{
    pthread_mutex_lock(&pool.mutex);
    while (pool.unfinished > 0) {
        if (pool.count == 0) {
            pthread_cond_wait(&pool.changed, &pool.mutex);
            continue;
        }
        xctx_bound *task = pool.queue[pool.first];
        pool.first = (pool.first + 1) % QUEUE_SIZE;
        pool.count--;
        pthread_mutex_unlock(&pool.mutex);
        xctx_bound_call(task);
        xctx_bound_unref(task);
        pthread_mutex_lock(&pool.mutex);
        pool.unfinished--;
        pthread_cond_broadcast(&pool.changed);
    }
    pthread_mutex_unlock(&pool.mutex);
    return unused;
}

/* xctx_bind() copies the context, and with it, as main() has set the default capture, takes a snapshot. Returns false
   if there is no memory, or no room. */
static bool submit(void *(*fn)(void *), void *arg)
{
    xctx_bound *task = xctx_bind(fn, arg);

    pthread_mutex_lock(&pool.mutex);
    bool room = task && pool.count < QUEUE_SIZE;
    if (room) {
        pool.queue[(pool.first + pool.count++) % QUEUE_SIZE] = task;
        pool.unfinished++;
        pthread_cond_broadcast(&pool.changed);
    }
    pthread_mutex_unlock(&pool.mutex);
    if (!room)
        xctx_bound_unref(task);
    return room;
}

/* --- the work ------------------------------------------------------------------------------------------------- */

enum channel { WEB, PHONE };
enum { CRATE = 50 }; /* pieces that fit into one */

struct shelf {
    int row;
    int place;
};

struct order {
    int number;
    enum channel channel;
    int pieces;
    int way;                 /* to its shelf, in metres */
    const char *result;      /* what became of it */
    xctx_snapshot *snapshot; /* where it failed; NULL: it did not */
};

static void *pack(void *argument)
{
    struct order *order = argument;
    int left = CRATE - order->pieces;

    if (left < 0) {
        order->result = "does not fit into the crate";
        order->snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    } else {
        order->result = "packed";
    }
    return NULL;
}

static void *fetch(void *argument)
{
    struct order *order = argument;
    struct shelf shelf = {.row = order->number % 4, .place = order->number % 9};

    order->way = 10 * shelf.row + shelf.place;
    if (!submit(pack, order))
        order->result = "could not be handed to the packers";
    return NULL;
}

static bool take_order(struct order *order)
{
    enum channel channel = order->channel;

    order->result = channel == WEB ? "came by web" : "came by phone";
    return submit(fetch, order);
}

/* --- the report ----------------------------------------------------------------------------------------------- */

/* Of each step, the variable that whoever looks into a failed order wants to see. */
static const struct {
    const char *function;
    const char *variable;
} steps[] = {{"pack", "left"}, {"fetch", "shelf"}, {"take_order", "channel"}};

static void print_step(const xctx_frame *frame, const char *how)
{
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (!frame->function || strcmp(frame->function, steps[i].function) != 0)
            continue;
        const xctx_local *local = xctx_frame_find(frame, steps[i].variable);
        printf("  %s %s, where %s = %s\n", how, frame->function, steps[i].variable,
               local && local->value ? local->value : "?");
        if (local && !local->value)
            printf("    (%s)\n", xctx_source_name(local->source));
    }
}

static bool print_way(xctx_snapshot *snapshot)
{
    xctx_report *report;

    int error = xctx_inspect(snapshot, NULL, &report);
    if (error) {
        fprintf(stderr, "where_from: %s\n", xctx_strerror(error));
        return false;
    }
    for (xctx_report *at = report; at; at = xctx_report_parent(at))
        for (size_t i = 0; i < xctx_report_frame_count(at); i++)
            print_step(xctx_report_frame(at, i), at == report ? "in" : "submitted by");
    xctx_report_unref(report);
    return true;
}

static bool work_through(struct order *orders, size_t count)
{
    pthread_t threads[THREADS];
    size_t started = 0;
    bool well = true;

    for (size_t i = 0; i < count; i++)
        well = take_order(&orders[i]) && well;
    while (started < THREADS && pthread_create(&threads[started], NULL, pool_thread, NULL) == 0)
        started++;
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return well && started > 0;
}

int main(void)
{
    struct order orders[] = {
        {.number = 4711, .channel = WEB, .pieces = 12},
        {.number = 4712, .channel = PHONE, .pieces = 60},
        {.number = 4713, .channel = WEB, .pieces = 50},
    };
    enum { ORDERS = sizeof(orders) / sizeof(orders[0]) };

    bool well = xctx_set_default_capture(XCTX_CAPTURE_LOCALS) == 0 && work_through(orders, ORDERS);
    for (size_t i = 0; i < ORDERS; i++) {
        printf("order %d, from %d m away: %s\n", orders[i].number, orders[i].way, orders[i].result);
        if (orders[i].snapshot)
            well = print_way(orders[i].snapshot) && well;
        xctx_snapshot_unref(orders[i].snapshot);
    }
    return fflush(stdout) == 0 && well ? EXIT_SUCCESS : EXIT_FAILURE;
}
