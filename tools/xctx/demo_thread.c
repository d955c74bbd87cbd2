/* SPDX-License-Identifier: MIT */
/*
 * The main job: one thread copies its context, another carries on from the copy.
 *
 * The worker is a pthread that has been running all along with settings of its own, as in any program with threads.
 * Both threads take turns, so that what each sees is read at known moments; everything shown is read from the thread
 * itself, through the system's own calls, at that moment.
 */
#include <errno.h>
#include <fenv.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include <xctx/xctx.h>

#include "command.h"
#include "demo.h"
#include "output.h"
#include "request.h"

/* What a thread sees and how it is set, at one moment. Texts are cut to what a column takes. */
struct view {
    char id[12];
    char user[12];
    int64_t deadline; /* 0: none */
    int64_t left;     /* until then, at that moment */
    int rounding;     /* FE_UPWARD ... */
    long rounded;     /* lrint(2.4) under it */
    char locale[12];
    int usr1_blocked;
    char name[16];
};

enum row { ID, USER, DEADLINE, ROUNDING, ROUNDED, LOCALE, USR1, NAME, ROWS };
static const char *const row_labels[ROWS] = {"request id", "user",   "time left", "rounding",
                                             "rint(2.4)",  "locale", "SIGUSR1",   "thread name"};

/* What has happened. Each step is made by one side and waited for by the other; who fails skips steps. */
enum step { STARTING, WORKER_RUNS, MAIN_COPIED, WORKER_CHANGED, MAIN_LOOKED };

struct stage {
    pthread_mutex_t mutex;
    pthread_cond_t moved;
    enum step step;
    xctx_context *copy; /* set before MAIN_COPIED; NULL: there is nothing to do */
    struct view main_copied, main_meanwhile;
    struct view own, entered, changed, left;
    const char *failed; /* what the worker could not do; NULL: nothing */
    int error;
};

static void step_make(struct stage *stage, enum step step)
{
    pthread_mutex_lock(&stage->mutex);
    if (stage->step < step)
        stage->step = step;
    pthread_cond_broadcast(&stage->moved);
    pthread_mutex_unlock(&stage->mutex);
}

static void step_await(struct stage *stage, enum step step)
{
    pthread_mutex_lock(&stage->mutex);
    while (stage->step < step)
        pthread_cond_wait(&stage->moved, &stage->mutex);
    pthread_mutex_unlock(&stage->mutex);
}

static const char *locale_name(void)
{
#ifdef _NL_LOCALE_NAME
    return nl_langinfo(_NL_LOCALE_NAME(LC_CTYPE));
#else
    return nl_langinfo(CODESET);
#endif
}

static void copy_text(char *buffer, size_t size, const char *text)
{
    snprintf(buffer, size, "%s", text ? text : "");
}

static struct view look(void)
{
    volatile double number = 2.4; /* volatile: not to be rounded by the compiler */
    struct view view = {.deadline = deadline(), .rounding = fegetround(), .rounded = lrint(number)};
    sigset_t blocked;

    view.left = view.deadline - now();
    copy_text(view.id, sizeof(view.id), xctx_var_get(&request_id));
    copy_text(view.user, sizeof(view.user), xctx_var_get(&request_user));
    copy_text(view.locale, sizeof(view.locale), locale_name());
    sigemptyset(&blocked);
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    view.usr1_blocked = sigismember(&blocked, SIGUSR1);
    prctl(PR_GET_NAME, view.name);
    return view;
}

static bool row_same(const struct view *a, const struct view *b, enum row row)
{
    switch (row) {
    case ID:
        return strcmp(a->id, b->id) == 0;
    case USER:
        return strcmp(a->user, b->user) == 0;
    case DEADLINE:
        return a->deadline == b->deadline;
    case ROUNDING:
        return a->rounding == b->rounding;
    case ROUNDED:
        return a->rounded == b->rounded;
    case LOCALE:
        return strcmp(a->locale, b->locale) == 0;
    case USR1:
        return a->usr1_blocked == b->usr1_blocked;
    case NAME:
        return strcmp(a->name, b->name) == 0;
    default:
        return false;
    }
}

static unsigned count_same(const struct view *a, const struct view *b)
{
    unsigned count = 0;
    for (int row = 0; row < ROWS; row++)
        count += row_same(a, b, (enum row)row);
    return count;
}

static const char *rounding_name(int rounding)
{
    switch (rounding) {
    case FE_TONEAREST:
        return "nearest";
    case FE_UPWARD:
        return "upward";
    case FE_DOWNWARD:
        return "downward";
    case FE_TOWARDZERO:
        return "to zero";
    default:
        return "?";
    }
}

/* The cells of a view; those are notable that are not as in `before`. */
static void draw(struct cell cells[ROWS], const struct view *view, const struct view *before)
{
    char seconds[CELL_SIZE] = "-";

    if (view->deadline)
        format_seconds(seconds, sizeof(seconds), view->left);
    copy_text(cells[ID].text, CELL_SIZE, view->id[0] ? view->id : "-");
    copy_text(cells[USER].text, CELL_SIZE, view->user[0] ? view->user : "-");
    copy_text(cells[DEADLINE].text, CELL_SIZE, seconds);
    copy_text(cells[ROUNDING].text, CELL_SIZE, rounding_name(view->rounding));
    snprintf(cells[ROUNDED].text, CELL_SIZE, "%ld", view->rounded);
    copy_text(cells[LOCALE].text, CELL_SIZE, view->locale);
    copy_text(cells[USR1].text, CELL_SIZE, view->usr1_blocked ? "blocked" : "open");
    copy_text(cells[NAME].text, CELL_SIZE, view->name);
    for (int row = 0; row < ROWS; row++)
        cells[row].notable = before && !row_same(view, before, (enum row)row);
}

/* What a thread is to become. */
struct change {
    const char *id;
    const char *user;
    int64_t time; /* until the deadline */
    int rounding;
    int usr1; /* SIG_BLOCK or SIG_UNBLOCK */
    const char *name;
};

/* Changes the running thread and its current context, but for the locale. Returns 0 or a negative errno. */
static int apply(const struct change *change)
{
    sigset_t usr1;
    int error = xctx_var_set(&request_id, (void *)change->id, NULL);

    if (!error)
        error = xctx_var_set(&request_user, (void *)change->user, NULL);
    if (!error)
        error = xctx_var_set(&request_deadline, deadline_value(now() + change->time), NULL);
    if (error)
        return error;
    if (fesetround(change->rounding) != 0)
        return -ENOTSUP;
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    error = -pthread_sigmask(change->usr1, &usr1, NULL);
    if (!error && prctl(PR_SET_NAME, change->name) != 0)
        error = -errno;
    return error;
}

/* The worker's part, within the copy. */
static void carry_on(struct stage *stage)
{
    static const struct change other = {
        .id = "r-4711/a",
        .user = "nobody",
        .time = 250000000,
        .rounding = FE_DOWNWARD,
        .usr1 = SIG_UNBLOCK,
        .name = "side-job",
    };

    stage->error = xctx_enter(stage->copy);
    if (stage->error) {
        stage->failed = "cannot enter the copy";
        return;
    }
    stage->entered = look();
    locale_t c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (c_locale)
        uselocale(c_locale);
    stage->error = c_locale ? apply(&other) : -errno;
    if (stage->error)
        stage->failed = "cannot change its settings";
    stage->changed = look();
    step_make(stage, WORKER_CHANGED);
    step_await(stage, MAIN_LOOKED);
    int error = xctx_exit(stage->copy);
    if (error && !stage->failed) {
        stage->failed = "cannot leave the copy";
        stage->error = error;
    }
    stage->left = look();
    if (c_locale)
        freelocale(c_locale);
}

static void *worker(void *argument)
{
    struct stage *stage = argument;

    prctl(PR_SET_NAME, "worker");
    stage->own = look();
    step_make(stage, WORKER_RUNS);
    step_await(stage, MAIN_COPIED);
    if (stage->copy)
        carry_on(stage);
    step_make(stage, WORKER_CHANGED); /* if it could not enter: the other side is waiting for it */
    return NULL;
}

/* A locale that is not the one of a program that has just started. */
static locale_t other_locale(void)
{
    static const char *const names[] = {"C.UTF-8", "C.utf8", "en_US.UTF-8"};
    locale_t locale = (locale_t)0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && !locale; i++)
        locale = newlocale(LC_ALL_MASK, names[i], (locale_t)0);
    return locale ? locale : newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static int compare_times(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a;
    int64_t y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

enum { BATCHES = 301, BATCH = 100 };

/* What copying the current context takes: the median of many batches, in tenths of a nanosecond; -1: a copy failed. */
static int64_t time_copy(unsigned capture)
{
    static int64_t times[BATCHES];
    xctx_context *copies[BATCH];
    bool complete = true;

    for (size_t batch = 0; batch < BATCHES; batch++) {
        int64_t start = now();
        if (capture == 0) {
            for (size_t i = 0; i < BATCH; i++)
                copies[i] = xctx_copy_current();
        } else {
            for (size_t i = 0; i < BATCH; i++)
                copies[i] = xctx_copy_current_with(capture);
        }
        times[batch] = now() - start;
        for (size_t i = 0; i < BATCH; i++) {
            complete = complete && copies[i];
            xctx_unref(copies[i]);
        }
    }
    qsort(times, BATCHES, sizeof(times[0]), compare_times);
    return complete ? times[BATCHES / 2] * 10 / BATCH : -1;
}

static int report_times(void)
{
    int64_t plain = time_copy(0);
    int64_t with_state = time_copy(XCTX_CAPTURE_STATE);

    if (plain < 0 || with_state < 0) {
        complain("demo: thread: cannot copy the context: %s", xctx_strerror(-ENOMEM));
        return STATUS_FAILED;
    }
    print("  One copy takes %lld.%lld ns; with the settings of the thread, %lld ns.\n"
          "  (Medians of %d batches of %d copies, here and now.)\n",
          (long long)(plain / 10), (long long)(plain % 10), (long long)(with_state / 10), BATCHES, BATCH);
    return STATUS_OK;
}

static int report(const struct stage *stage)
{
    struct cell cells[6][ROWS];
    const struct moment moments[] = {
        {"MAIN THREAD", "copies", cells[0]},    {"MAIN THREAD", "meanwhile", cells[1]},
        {"WORKER THREAD", "its own", cells[2]}, {"WORKER THREAD", "in the copy", cells[3]},
        {"WORKER THREAD", "changed", cells[4]}, {"WORKER THREAD", "has left", cells[5]},
    };
    unsigned carried = count_same(&stage->entered, &stage->main_copied);
    unsigned kept = count_same(&stage->main_meanwhile, &stage->main_copied);
    unsigned back = count_same(&stage->left, &stage->own);

    draw(cells[0], &stage->main_copied, NULL);
    draw(cells[1], &stage->main_meanwhile, &stage->main_copied);
    draw(cells[2], &stage->own, NULL);
    draw(cells[3], &stage->entered, &stage->own);
    draw(cells[4], &stage->changed, &stage->entered);
    draw(cells[5], &stage->left, &stage->own);
    print_side_by_side(row_labels, ROWS, moments, sizeof(moments) / sizeof(moments[0]));
    print("\n"
          "  %u of %d: in the copy the worker has what the main thread had.\n"
          "  %u of %d: in the main thread nothing changed, whatever the worker did.\n"
          "  %u of %d: out of the copy the worker has its own back.\n\n",
          carried, ROWS, kept, ROWS, back, ROWS);
    if (carried != ROWS || kept != ROWS || back != ROWS) {
        complain("demo: thread: the context did not go with the work as it should have");
        return STATUS_FAILED;
    }
    return STATUS_OK;
}

/* The main thread's part, while the worker waits. Returns what it could not do; NULL: it went well. */
static const char *hand_over(struct stage *stage, int *ret_error)
{
    static const struct change mine = {
        .id = "r-4711",
        .user = "www-a",
        .time = 2000000000,
        .rounding = FE_UPWARD,
        .usr1 = SIG_BLOCK,
        .name = "main-job",
    };

    *ret_error = apply(&mine);
    if (*ret_error)
        return "cannot set up the main thread";
    stage->copy = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    *ret_error = stage->copy ? 0 : -ENOMEM;
    if (!stage->copy)
        return "cannot copy the context";
    stage->main_copied = look();
    step_make(stage, MAIN_COPIED);
    step_await(stage, WORKER_CHANGED);
    stage->main_meanwhile = look();
    return NULL;
}

static int play(struct stage *stage)
{
    pthread_t thread;
    int error = -pthread_create(&thread, NULL, worker, stage);

    if (error) {
        complain("demo: thread: cannot start a thread: %s", strerror(-error));
        return STATUS_FAILED;
    }
    step_await(stage, WORKER_RUNS);
    const char *failed = hand_over(stage, &error);
    step_make(stage, MAIN_LOOKED);
    pthread_join(thread, NULL);
    if (!failed && stage->failed) {
        failed = stage->failed;
        error = stage->error;
    }
    int status = STATUS_FAILED;
    if (failed)
        complain("demo: thread: %s: %s", failed, strerror(-error));
    else
        status = report(stage);
    if (status == STATUS_OK)
        status = report_times();
    xctx_unref(stage->copy);
    return status;
}

static int thread_run(const struct demo *demo)
{
    struct stage stage = {.mutex = PTHREAD_MUTEX_INITIALIZER, .moved = PTHREAD_COND_INITIALIZER, .step = STARTING};

    (void)demo;
    print("  The main thread sets three variables and four settings, and copies its\n"
          "  context, settings included: xctx_copy_current_with(XCTX_CAPTURE_STATE).\n"
          "  A worker, a plain pthread, enters the copy, changes everything, leaves it.\n\n");
    locale_t locale = other_locale();
    locale_t before = locale ? uselocale(locale) : (locale_t)0;
    int status = play(&stage);
    if (locale) {
        uselocale(before);
        freelocale(locale);
    }
    return status;
}

const struct section section_thread = {
    .name = "thread",
    .title = "A thread's context, carried on by another thread",
    .run = thread_run,
};
