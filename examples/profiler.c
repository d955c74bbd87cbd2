/* SPDX-License-Identifier: MIT */
/*
 * A profiler that knows values: not only in which function the time goes, but with which arguments.
 *
 * A timer interrupts the program as it uses the processor. The signal handler fills a snapshot that was reserved
 * before: that takes no lock and no memory, so it may interrupt whatever it likes. Later the snapshots are decoded, and
 * counted by function, and by the value of a parameter, which no list of addresses can tell.
 *
 *     cc -g -o profiler profiler.c $(pkg-config --cflags --libs xctx-inspect)
 *
 * It looks up numbers in a table by two methods, and prints which one costs the time.
 */
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#include <xctx/inspect.h>
#include <xctx/xctx.h>

/* --- taking samples ------------------------------------------------------------------------------------------- */

enum { SAMPLES = 50, STACK_BYTES = 4096, INTERVAL = 1000 /* microseconds */ };

static xctx_snapshot *samples[SAMPLES];
static _Atomic int taken;

static void take_sample(int number, siginfo_t *info, void *ucontext)
{
    int before = errno;
    int next = atomic_load_explicit(&taken, memory_order_relaxed);

    (void)number;
    (void)info;
    if (next < SAMPLES && xctx_snapshot_fill(samples[next], XCTX_CAPTURE_LOCALS, ucontext) == 0)
        atomic_store_explicit(&taken, next + 1, memory_order_relaxed);
    errno = before;
}

static int start_sampling(void)
{
    const struct sigaction action = {.sa_sigaction = take_sample, .sa_flags = SA_SIGINFO | SA_RESTART};
    const struct itimerval timer = {.it_interval = {.tv_usec = INTERVAL}, .it_value = {.tv_usec = INTERVAL}};

    for (size_t i = 0; i < SAMPLES; i++) {
        samples[i] = xctx_snapshot_reserve(XCTX_CAPTURE_LOCALS, STACK_BYTES);
        if (!samples[i])
            return -ENOMEM;
    }
    if (sigaction(SIGPROF, &action, NULL) != 0 || setitimer(ITIMER_PROF, &timer, NULL) != 0)
        return -errno;
    return 0;
}

static void stop_sampling(void)
{
    const struct itimerval none = {.it_value = {0}};

    setitimer(ITIMER_PROF, &none, NULL);
}

/* --- the program that is measured ----------------------------------------------------------------------------- */

enum method { LINEAR, BINARY };
enum { NUMBERS = 4096 };

static int numbers[NUMBERS];

static bool find_linear(int number)
{
    for (size_t i = 0; i < NUMBERS; i++) {
        if (numbers[i] == number)
            return true;
    }
    return false;
}

static bool find_binary(int number)
{
    size_t low = 0, high = NUMBERS;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (numbers[middle] == number)
            return true;
        if (numbers[middle] < number)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

static bool look_up(enum method method, int number)
{
    bool found = method == LINEAR ? find_linear(number) : find_binary(number);
    return found;
}

/* The same number of calls for each method, until all samples are taken. */
static bool work(void)
{
    bool well = true;

    for (int i = 0; i < NUMBERS; i++)
        numbers[i] = 2 * i;
    for (int i = 0; atomic_load_explicit(&taken, memory_order_relaxed) < SAMPLES; i++) {
        int number = i % (2 * NUMBERS);
        well = look_up(LINEAR, number) == look_up(BINARY, number) && well;
    }
    return well;
}

/* --- what the samples say ------------------------------------------------------------------------------------- */

struct profile {
    int in_look_up;
    int linear;
    int binary;
};

static int count(xctx_snapshot *snapshot, struct profile *profile)
{
    xctx_report *report;

    int error = xctx_inspect(snapshot, NULL, &report);
    if (error)
        return error;
    for (size_t i = 0; i < xctx_report_frame_count(report); i++) {
        const xctx_frame *frame = xctx_report_frame(report, i);
        if (!frame->function || strcmp(frame->function, "look_up") != 0)
            continue;
        const xctx_local *method = xctx_frame_find(frame, "method");
        profile->in_look_up++;
        if (method && method->value)
            *(strcmp(method->value, "LINEAR") == 0 ? &profile->linear : &profile->binary) += 1;
        break;
    }
    xctx_report_unref(report);
    return 0;
}

int main(void)
{
    struct profile profile = {0};

    int error = start_sampling();
    bool well = !error && work();
    stop_sampling();
    for (size_t i = 0; i < SAMPLES && !error; i++)
        error = count(samples[i], &profile);
    for (size_t i = 0; i < SAMPLES; i++)
        xctx_snapshot_unref(samples[i]);
    if (error || !well) {
        fprintf(stderr, "profiler: %s\n", error ? xctx_strerror(error) : "the methods do not agree");
        return EXIT_FAILURE;
    }
    printf("%s of the time goes into look_up\n", profile.in_look_up > SAMPLES / 2 ? "most" : "little");
    printf("%s of that is with method = LINEAR\n", profile.linear > 2 * profile.binary ? "most" : "little");
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
