/* SPDX-License-Identifier: MIT */
/*
 * Rounding and locale that follow the work to another thread.
 *
 * Interval arithmetic computes every sum twice, rounding down and rounding up: the true sum lies in between. The
 * rounding is a setting of the thread, so handing such work to a pool's thread usually loses it, silently. Bound with
 * XCTX_CAPTURE_STATE the work takes the settings of its thread along: the worker has them while it does the work, and
 * its own before and after. So it is with the locale, which decides here what a character is.
 *
 *     cc -pthread -o fpsettings fpsettings.c $(pkg-config --cflags --libs xctx) -lm
 *
 * It prints the sums and the characters that a worker finds, bound with and without the settings.
 */
#include <errno.h>
#include <fenv.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <xctx/xctx.h>

/* What is to be done, and what came out. */
struct job {
    double sum;          /* of ten thousand tenths */
    size_t characters;   /* of a text in UTF-8; 0: this locale does not know them */
    int rounding_after;  /* of the worker, when it had done the work */
    size_t widest_after; /* bytes that a character can take there */
};

static const char text[] = "na\xc3\xafve";

static void *compute(void *argument)
{
    struct job *job = argument;
    volatile double tenth = 0.1; /* volatile: each addition is done here and now, and not by the compiler */
    volatile double sum = 0;

    for (int i = 0; i < 10000; i++)
        sum += tenth;
    job->sum = sum;
    job->characters = MB_CUR_MAX > 1 ? mbstowcs(NULL, text, 0) : 0;
    return NULL;
}

struct errand {
    xctx_bound *work;
    struct job *job;
};

/* A thread with settings of its own: those of a new program, and not the rounding that pthread_create() passes on. */
static void *worker(void *argument)
{
    struct errand *errand = argument;

    fesetround(FE_TONEAREST);
    xctx_bound_call(errand->work);
    errand->job->rounding_after = fegetround();
    errand->job->widest_after = MB_CUR_MAX;
    return NULL;
}

/* Has a worker do the job, with the settings of the running thread or without. Returns 0 or a negative errno. */
static int do_elsewhere(struct job *job, bool with_settings)
{
    pthread_t thread;
    struct errand errand = {.job = job};

    errand.work = with_settings ? xctx_bind_with(compute, job, XCTX_CAPTURE_STATE) : xctx_bind(compute, job);
    if (!errand.work)
        return -ENOMEM;
    int error = pthread_create(&thread, NULL, worker, &errand);
    if (!error)
        pthread_join(thread, NULL);
    xctx_bound_unref(errand.work);
    return -error;
}

/* Does a job under a rounding mode. The mode is as before when this returns, so that printf() is not affected. */
static int do_rounding(struct job *job, int rounding, bool with_settings)
{
    int before = fegetround();

    if (fesetround(rounding) != 0)
        return -ENOTSUP;
    int error = do_elsewhere(job, with_settings);
    fesetround(before);
    return error;
}

static void print_jobs(const char *how, const struct job *down, const struct job *up)
{
    bool own = down->rounding_after == FE_TONEAREST && up->rounding_after == FE_TONEAREST && down->widest_after == 1 &&
               up->widest_after == 1;

    printf("%s\n", how);
    printf("  the sum is between %.12f and %.12f: %s\n", down->sum, up->sum,
           down->sum < 1000 && 1000 < up->sum ? "right" : "wrong");
    if (up->characters > 0)
        printf("  the text has %zu characters\n", up->characters);
    else
        printf("  the text has characters that this locale does not know\n");
    printf("  then the worker had %s settings\n", own ? "its own" : "other");
}

int main(void)
{
    struct job down = {0};
    struct job up = {0};
    int error = 0;

    locale_t utf8 = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
    if (!utf8) {
        perror("fpsettings: C.UTF-8");
        return EXIT_FAILURE;
    }
    locale_t before = uselocale(utf8); /* of this thread alone */
    for (int with = 0; with < 2 && !error; with++) {
        error = do_rounding(&down, FE_DOWNWARD, with);
        if (!error)
            error = do_rounding(&up, FE_UPWARD, with);
        if (!error)
            print_jobs(with ? "bound with the settings:" : "bound without the settings:", &down, &up);
    }
    uselocale(before);
    freelocale(utf8);
    if (error)
        fprintf(stderr, "fpsettings: %s\n", xctx_strerror(error));
    return fflush(stdout) == 0 && !error ? EXIT_SUCCESS : EXIT_FAILURE;
}
