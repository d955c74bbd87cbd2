/* SPDX-License-Identifier: MIT */
/*
 * Runs a fuzzer without libFuzzer, for compilers, sanitizers and machines that have none:
 *
 *     fuzz_api FILE...                         each file once
 *     fuzz_api --seconds N [--seed S] [--from I] [--runs R]
 *     fuzz_api --test FOLDER [--runs R]        each file in the folder once, then made-up inputs; writes TAP
 *
 * The second makes inputs from a fixed seed, S, beginning with number I. When one fails, its number is printed, and
 * `--seed S --from NUMBER --runs 1` runs it again.
 */
#include <dirent.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { SIZE_MOST = 2048 };

static uint8_t buffer[1 << 20];
static volatile unsigned long running;
static volatile unsigned long seed = 1;

static uint64_t random_next(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static const char *volatile running_file; /* NULL: it is one that was made up */

static void say_which(int signal_number)
{
    char text[4224];
    int length = running_file ? snprintf(text, sizeof(text), "failed: %s\n", running_file)
                              : snprintf(text, sizeof(text), "failed: --seed %lu --from %lu --runs 1\n", seed, running);

    if (length > 0 && write(STDERR_FILENO, text, (size_t)length) < 0)
        _exit(2);
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

static void run_number(unsigned long number)
{
    uint64_t state = seed * UINT64_C(1000003) + number;
    size_t size = random_next(&state) % (number % 8 ? SIZE_MOST / 8 : SIZE_MOST);

    running = number;
    for (size_t i = 0; i < size; i++)
        buffer[i] = (uint8_t)random_next(&state);
    LLVMFuzzerTestOneInput(buffer, size);
}

static int run_file(const char *name)
{
    FILE *file = fopen(name, "rb");

    if (!file) {
        perror(name);
        return 1;
    }
    size_t size = fread(buffer, 1, sizeof(buffer), file);
    fclose(file);
    running_file = name;
    LLVMFuzzerTestOneInput(buffer, size);
    running_file = NULL;
    return 0;
}

static int select_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* As a test: a point for each file, and one for the inputs that are made up. */
static int run_test(const char *folder, unsigned long runs)
{
    struct dirent **entries;
    char path[4096];
    int count = scandir(folder, &entries, select_visible, alphasort);
    int failed = 0;
    const char *scale = getenv("XCTX_TEST_SCALE");

    if (count < 0) {
        perror(folder);
        return 1;
    }
    printf("1..%d\n", count + 1);
    for (int i = 0; i < count; i++) {
        fflush(stdout);
        snprintf(path, sizeof(path), "%s/%s", folder, entries[i]->d_name);
        int result = run_file(path);
        printf("%sok %d - %s\n", result ? "not " : "", i + 1, entries[i]->d_name);
        failed |= result;
        free(entries[i]);
    }
    free(entries);
    fflush(stdout);
    if (scale && atol(scale) > 0)
        runs = runs / (unsigned long)atol(scale) + 1;
    for (unsigned long number = 0; number < runs; number++)
        run_number(number);
    printf("ok %d - %lu inputs that are made up\n", count + 1, runs);
    return failed;
}

int main(int argc, char **argv)
{
    unsigned long seconds = 10;
    unsigned long from = 0;
    unsigned long runs = 0;
    const char *folder = NULL;
    struct timespec start;
    struct timespec now;

    if (argc > 1 && argv[1][0] != '-') {
        int failed = 0;
        for (int i = 1; i < argc; i++) {
            int result = run_file(argv[i]);
            if (!result)
                printf("%s: fine\n", argv[i]);
            failed |= result;
        }
        return failed;
    }
    for (int i = 1; i + 1 < argc; i += 2) {
        unsigned long number = strtoul(argv[i + 1], NULL, 10);
        if (strcmp(argv[i], "--test") == 0) {
            folder = argv[i + 1];
        } else if (strcmp(argv[i], "--seconds") == 0) {
            seconds = number;
        } else if (strcmp(argv[i], "--seed") == 0) {
            seed = number;
        } else if (strcmp(argv[i], "--from") == 0) {
            from = number;
        } else if (strcmp(argv[i], "--runs") == 0) {
            runs = number;
        } else {
            fprintf(stderr, "%s: what is %s?\n", argv[0], argv[i]);
            return 2;
        }
    }
    signal(SIGABRT, say_which);
    signal(SIGSEGV, say_which);
    if (folder)
        return run_test(folder, runs);
    clock_gettime(CLOCK_MONOTONIC, &start);
    unsigned long number = from;
    do {
        run_number(number++);
        clock_gettime(CLOCK_MONOTONIC, &now);
    } while (runs ? number < from + runs : (unsigned long)(now.tv_sec - start.tv_sec) < seconds);
    printf("%lu inputs, seed %lu\n", number - from, seed);
    return 0;
}
