/* SPDX-License-Identifier: MIT */
/*
 * A computation that one thread has half done, carried on by another one, twice: the main thread prices an order in a
 * fiber, which stops in the middle, where it does not know a price. The main thread captures it there. A worker, a
 * plain pthread, makes two shots of that, and resumes each with another price. At last the main thread resumes its own.
 *
 * What each finds is noted by the fiber itself, in ask(), behind the pointer that all of them share. The outcomes are
 * compared with those of the same function called with the price from the beginning.
 */
#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include <xctx/xctx.h>
#if XCTX_TOOL_INSPECT
#include <xctx/inspect.h>
#endif

#include "command.h"
#include "demo.h"
#include "output.h"
#include "request.h"

struct item {
    const char *name;
    int quantity;
    double price; /* 0: to be asked for */
};

enum { ITEMS = 3 };
static const struct item order[ITEMS] = {{"bolt", 8, 0.5}, {"bearing", 12, 0}, {"nut", 40, 0.25}};

/* What a run of the computation has and gets, and what comes out. */
struct view {
    pthread_t thread;
    char thread_name[16];
    int line; /* the first five as ask() has them: from the fiber's stack */
    char item[12];
    double so_far;
    char user[12];
    int rounding;
    long rounded;  /* lrint(2.4) under it */
    double answer; /* 0: none yet */
    double total;
    bool ended;
};

enum row { THREAD, LINE, ITEM, SO_FAR, USER, ROUNDING, ROUNDED, ANSWER, TOTAL, ROWS };
static const char *const row_labels[ROWS] = {"thread",   "stands in line", "at item", "total so far", "user",
                                             "rounding", "rint(2.4)",      "is told", "comes to"};
enum { SAME_ROWS = ROUNDED - LINE + 1 }; /* that are as captured, wherever that goes on */

enum run { CAPTURED, FIRST, SECOND, ORIGINAL, RUNS };
static const double answers[RUNS] = {0, 9.75, 12.5, 8};

/* The same for every shot: it is not on the fiber's stack. */
struct stage {
    struct view views[RUNS];
    enum run run; /* what runs now */
    xctx_continuation *continuation;
    xctx_snapshot *snapshot; /* of the second shot, when it was resumed; NULL: no memory */
    const char *failed;      /* what could not be done; NULL: nothing */
    int error;
};

/* The functions stay what they are in the source, so that the report has the frames that a reader looks for. */
#define FRAME __attribute__((noinline))

static void note(struct view *view, int line, const struct item *item, double so_far)
{
    volatile double number = 2.4; /* volatile: not to be rounded by the compiler */
    const char *user = xctx_var_get(&request_user);

    view->thread = pthread_self();
    prctl(PR_GET_NAME, view->thread_name);
    view->line = line;
    snprintf(view->item, sizeof(view->item), "%s", item->name);
    view->so_far = so_far;
    snprintf(view->user, sizeof(view->user), "%s", user ? user : "-");
    view->rounding = fegetround();
    view->rounded = lrint(number);
}

/* Suspends the fiber until it is told a price. */
static FRAME double ask(struct stage *stage, int line, const struct item *item, double so_far)
{
    note(&stage->views[stage->run], line, item, so_far);
    const double *answer = xctx_fiber_yield(NULL);
    /* Here it goes on, on whatever thread. */
    struct view *view = &stage->views[stage->run];
    note(view, line, item, so_far);
    view->answer = *answer;
    if (stage->run == SECOND)
        stage->snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    return view->answer;
}

static FRAME double price_order(struct stage *stage, double bearing)
{
    double total = 0;

    for (const struct item *item = order; item < order + ITEMS; item++) {
        double price = item->price > 0 ? item->price : bearing;
        if (price <= 0)
            price = ask(stage, __LINE__, item, total);
        total += item->quantity * price;
    }
    return total;
}

static void *compute(void *argument)
{
    static char user[] = "www-a";
    struct stage *stage = argument;

    stage->error = xctx_var_set(&request_user, user, NULL);
    fesetround(FE_UPWARD); /* the fiber's own, as its context is */
    double total = price_order(stage, 0);
    stage->views[stage->run].total = total;
    stage->views[stage->run].ended = true;
    return NULL;
}

static void fail(struct stage *stage, const char *what, int error)
{
    if (!stage->failed) {
        stage->failed = what;
        stage->error = error;
    }
}

/* Resumes a fiber with a price, to its end. */
static void carry_on(struct stage *stage, enum run run, xctx_fiber *fiber)
{
    double answer = answers[run];

    stage->run = run;
    int more = xctx_fiber_resume(fiber, &answer, NULL);
    if (more != 0)
        fail(stage, "cannot resume the computation", more < 0 ? more : -EBUSY);
}

static void *worker(void *argument)
{
    struct stage *stage = argument;

    prctl(PR_SET_NAME, "worker");
    for (enum run run = FIRST; run <= SECOND && !stage->failed; run++) {
        xctx_fiber *shot = NULL;
        int error = xctx_continuation_shot(stage->continuation, &shot);
        if (error)
            fail(stage, "cannot make a shot", error);
        else
            carry_on(stage, run, shot);
        xctx_fiber_unref(shot);
    }
    return NULL;
}

static void play(struct stage *stage)
{
    /* Not a copy of this context: entering that would set threads as run_section() wants it. */
    const xctx_fiber_options options = {.size = sizeof(options), .name = "order", .context = XCTX_FIBER_CONTEXT_NONE};
    pthread_t thread = 0;

    xctx_fiber *fiber = xctx_fiber_create(compute, stage, &options);
    int more = fiber ? xctx_fiber_resume(fiber, NULL, NULL) : -ENOMEM;
    if (more < 0 || stage->error) {
        fail(stage, "cannot start the computation", more < 0 ? more : stage->error);
    } else {
        int error = xctx_fiber_capture(fiber, &stage->continuation);
        if (error)
            fail(stage, "cannot capture the computation", error);
    }
    if (!stage->failed) {
        int error = pthread_create(&thread, NULL, worker, stage);
        if (error)
            fail(stage, "cannot start a thread", -error);
        else
            pthread_join(thread, NULL);
    }
    if (!stage->failed)
        carry_on(stage, ORIGINAL, fiber);
    xctx_continuation_unref(stage->continuation);
    xctx_fiber_unref(fiber);
}

static bool row_same(const struct view *a, const struct view *b, enum row row)
{
    switch (row) {
    case LINE:
        return a->line == b->line;
    case ITEM:
        return strcmp(a->item, b->item) == 0;
    case SO_FAR:
        return a->so_far == b->so_far;
    case USER:
        return strcmp(a->user, b->user) == 0;
    case ROUNDING:
        return a->rounding == b->rounding;
    case ROUNDED:
        return a->rounded == b->rounded;
    default:
        return false;
    }
}

static unsigned count_same(const struct view views[RUNS], enum run run)
{
    unsigned count = 0;
    for (int row = LINE; row <= ROUNDED; row++)
        count += row_same(&views[CAPTURED], &views[run], (enum row)row);
    return count;
}

static void draw_amount(struct cell *cell, double amount)
{
    snprintf(cell->text, CELL_SIZE, "%.2f", amount);
}

static void draw(struct cell cells[ROWS], const struct view *view)
{
    snprintf(cells[THREAD].text, CELL_SIZE, "%s", view->thread_name);
    snprintf(cells[LINE].text, CELL_SIZE, "%d", view->line);
    snprintf(cells[ITEM].text, CELL_SIZE, "%s", view->item);
    draw_amount(&cells[SO_FAR], view->so_far);
    snprintf(cells[USER].text, CELL_SIZE, "%s", view->user);
    snprintf(cells[ROUNDING].text, CELL_SIZE, "%s", view->rounding == FE_UPWARD ? "upward" : "other");
    snprintf(cells[ROUNDED].text, CELL_SIZE, "%ld", view->rounded);
    if (view->answer > 0)
        draw_amount(&cells[ANSWER], view->answer);
    if (view->ended)
        draw_amount(&cells[TOTAL], view->total);
    cells[ANSWER].notable = cells[TOTAL].notable = true;
}

#if XCTX_TOOL_INSPECT
static bool is_own(const xctx_frame *frame)
{
    static const char *const names[] = {"ask", "price_order", "compute"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (frame->function && strcmp(frame->function, names[i]) == 0)
            return true;
    return false;
}

/* A frame, and the local variables that the compiler kept. */
static void print_frame(const xctx_frame *frame)
{
    enum { COLUMNS = 48 };
    char value[4 * COLUMNS + 4];
    const char *slash = frame->file ? strrchr(frame->file, '/') : NULL;

    print("    %s at %s:%u\n", frame->function, slash ? slash + 1 : "?", frame->line);
    for (size_t i = 0; i < xctx_frame_local_count(frame); i++) {
        const xctx_local *local = xctx_frame_local(frame, i);
        if (local->value)
            print("      %-8s = %s\n", local->name, format_fitting(value, sizeof(value), local->value, COLUMNS));
    }
}

/* Returns a STATUS_. */
static int show_place(const struct stage *stage)
{
    xctx_report *report;
    int error = stage->snapshot ? xctx_inspect(stage->snapshot, NULL, &report) : -ENOMEM;

    if (error) {
        complain("demo: fiber: %s", xctx_strerror(error));
        return STATUS_FAILED;
    }
    print("\n"
          "  A snapshot that the second shot took there, on the worker:\n\n");
    for (size_t i = 0; i < xctx_report_frame_count(report); i++) {
        const xctx_frame *frame = xctx_report_frame(report, i);
        if (is_own(frame))
            print_frame(frame);
    }
    xctx_report_unref(report);
    return STATUS_OK;
}
#else
static int show_place(const struct stage *stage)
{
    (void)stage;
    return STATUS_OK;
}
#endif

/* Whether all is as it should be. */
static bool report(struct stage *stage)
{
    static const char *const titles[RUNS] = {"captures it", "first shot", "second shot", "goes on"};
    struct cell cells[RUNS][ROWS] = {0};
    struct moment moments[RUNS];
    unsigned same = 0;
    unsigned right = 0;

    for (int run = 0; run < RUNS; run++) {
        bool elsewhere = run == FIRST || run == SECOND;
        const struct view *view = &stage->views[run];
        draw(cells[run], view);
        moments[run] = (struct moment){elsewhere ? "WORKER THREAD" : "MAIN THREAD", titles[run], cells[run]};
        if (run == CAPTURED)
            continue;
        same += count_same(stage->views, (enum run)run);
        right += view->ended && view->total == price_order(stage, answers[run]) &&
                 !pthread_equal(view->thread, stage->views[CAPTURED].thread) == elsewhere;
    }
    print_side_by_side(row_labels, ROWS, moments, RUNS);
    print("\n"
          "  %u of %d: each goes on where the main thread was, with what it had there.\n"
          "  %u of %d: each comes to what the price makes of it.\n",
          same, (RUNS - 1) * SAME_ROWS, right, RUNS - 1);
    return same == (RUNS - 1) * SAME_ROWS && right == RUNS - 1;
}

static int fiber_run(const struct demo *demo)
{
    struct stage stage = {.run = CAPTURED};
    int status = STATUS_FAILED;

    (void)demo;
    print("  The main thread prices an order, in a fiber, and stops half-way: it does not\n"
          "  know what a bearing costs. It captures the computation there. The worker, a\n"
          "  plain pthread, makes two shots of that, and resumes each with another price.\n\n");
    play(&stage);
    if (stage.failed)
        complain("demo: fiber: %s: %s", stage.failed, xctx_strerror(stage.error));
    else if (!report(&stage))
        complain("demo: fiber: the computation did not go on as it should have");
    else
        status = show_place(&stage);
    xctx_snapshot_unref(stage.snapshot);
    return status;
}

const struct section section_fiber = {
    .name = "fiber",
    .title = "A half-finished computation, carried on by another thread, twice",
    .run = fiber_run,
};
