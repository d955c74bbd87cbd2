/* SPDX-License-Identifier: MIT */
/*
 * Where work came from: a snapshot of a worker in the middle of its work, and the chain back to the thread that handed
 * the work over, with the local variables of both at their moments.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include <xctx/inspect.h>
#include <xctx/xctx.h>

#include "command.h"
#include "demo.h"
#include "output.h"
#include "request.h"

struct item {
    char name[12];
    int quantity;
    double price;
};

enum {
    ITEMS = 3,
    FRAMES = 3, /* of each thread that are shown: those of this file */
};

struct order {
    long number;
    struct item items[ITEMS];
};

/* What the main thread hands over. */
struct job {
    struct order order;
    unsigned capture;        /* XCTX_CAPTURE_* of both */
    xctx_context *context;   /* of the main thread, with a snapshot */
    xctx_snapshot *snapshot; /* of the worker; NULL: no memory */
    double total;
    int error;
};

/* The functions stay what they are in the source, so that the report has the frames that a reader looks for. */
#define FRAME __attribute__((noinline))

static FRAME double price_item(struct job *job, const struct item *item, double discount)
{
    double full = item->quantity * item->price;
    double reduced = full * (1 - discount);

    /* In the middle of the work, with its variables in use before and after. */
    if (item->quantity > 10)
        job->snapshot = xctx_snapshot_take(job->capture);
    return full > 100 ? reduced : full;
}

static FRAME double price_order(struct job *job, const struct order *order)
{
    double discount = 0.25;
    double total = 0;

    for (size_t i = 0; i < ITEMS; i++)
        total += price_item(job, &order->items[i], discount);
    return total;
}

static FRAME void *worker(void *argument)
{
    struct job *job = argument;

    job->error = xctx_enter(job->context);
    if (job->error)
        return NULL;
    /* The context has the main thread's name: it is that of this thread until now. */
    prctl(PR_SET_NAME, "worker");
    job->total = price_order(job, &job->order);
    job->error = xctx_exit(job->context);
    return NULL;
}

/* Copies the context, and has a worker carry on from the copy. Returns 0 or a negative errno. */
static FRAME int hand_over(struct job *job, const char *reason)
{
    pthread_t thread = 0;

    job->context = xctx_copy_current_with(job->capture);
    if (!job->context)
        return -ENOMEM;
    int error = -pthread_create(&thread, NULL, worker, job);
    if (!error)
        pthread_join(thread, NULL);
    /* `reason` is of use to who reads the report: it is kept until here. */
    __asm__ volatile("" : : "r"(reason));
    return error ? error : job->error;
}

static FRAME int take_order(struct job *job)
{
    static char id[] = "r-4711", user[] = "www-a";

    job->order = (struct order){
        .number = 4711,
        .items = {{"bolt", 8, 0.5}, {"nut", 40, 0.25}, {"bearing", 12, 9.75}},
    };
    int error = xctx_var_set(&request_id, id, NULL);
    if (!error)
        error = xctx_var_set(&request_user, user, NULL);
    if (!error)
        error = xctx_var_set(&request_deadline, deadline_value(now() + INT64_C(2000000000)), NULL);
    if (!error)
        error = hand_over(job, "priced by a worker");
    /* Not the end: the compiler would jump to hand_over(), and this frame be gone. */
    __asm__ volatile("" : : "r"(job) : "memory");
    return error;
}

static int show(const struct job *job, bool verbose)
{
    /* The one copy that this section made; not that in which the demo calls its sections. And of that thread not what
       the demo is made of, unless somebody wants to see all. */
    const xctx_inspect_options options = {
        .size = sizeof(options), .max_parents = 1, .max_frames = verbose ? 0 : FRAMES};
    xctx_report *report;

    if (!job->snapshot) {
        complain("demo: stack: cannot take a snapshot: %s", xctx_strerror(-ENOMEM));
        return STATUS_FAILED;
    }
    int error = xctx_inspect(job->snapshot, &options, &report);
    if (!error) {
        error = xctx_report_write(report, stdout, XCTX_FORMAT_TEXT);
        xctx_report_unref(report);
    }
    if (error && ferror(stdout))
        output_failed(-error);
    else if (error)
        complain("demo: stack: %s", xctx_strerror(error));
    return error ? STATUS_FAILED : STATUS_OK;
}

static int stack_run(const struct demo *demo)
{
    struct job job = {.capture = demo->verbose ? XCTX_CAPTURE_ALL : XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_STATE};

    print("  The main thread takes an order, copies its context together with the place\n"
          "  where it is, and a worker prices the order in the copy. In the middle of that\n"
          "  the worker takes a snapshot. Here is the report of it: the worker first; then,\n"
          "  from \"Copied in thread\" on, where its work came from: the main thread, with\n"
          "  the variables that it had at that moment.%s\n\n",
          demo->verbose ? "" : " (--verbose shows all frames.)");
    int error = take_order(&job);
    int status = STATUS_FAILED;
    if (error)
        complain("demo: stack: cannot hand the order over: %s", xctx_strerror(error));
    else
        status = show(&job, demo->verbose);
    xctx_snapshot_unref(job.snapshot);
    xctx_unref(job.context);
    return status;
}

const struct section section_stack = {
    .name = "stack",
    .title = "What a thread was doing, and on whose behalf",
    .run = stack_run,
};
