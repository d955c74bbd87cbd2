/* SPDX-License-Identifier: MIT */
/*
 * What every test program starts with: cmocka, the library, and a fixture.
 *
 * TEST(name) { ... } defines a test and adds it to the program's table, in the order of the file; main() is
 * `return test_main("title");`. Each test runs in an empty context of its own, which is left behind it together with
 * whatever the test left entered, and fails if a counted value (counted.h) has outlived it.
 *
 * cmocka's assertions jump back to the runner, so they are for the runner's own thread. Code that may run on another
 * thread or in a forked child uses CHECK(), which says what failed and ends the program.
 */
#ifndef XCTX_TEST_H
#define XCTX_TEST_H

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <xctx/xctx.h>

#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif

#if defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif
#ifndef TEST_ASAN
#define TEST_ASAN 0
#endif

#define CHECK(condition) test_check((condition) ? 1 : 0, #condition, __FILE__, __LINE__)

static inline void test_check(int holds, const char *text, const char *file, int line)
{
    if (holds)
        return;
    fprintf(stderr, "%s:%d: check failed: %s\n", file, line, text);
    abort();
}

/* Small numbers as values of variables whose values are plain pointers. */
static inline void *number(long n)
{
    return (void *)(intptr_t)n;
}

static inline long as_number(const void *value)
{
    return (long)(intptr_t)value;
}

/*
 * How often to repeat: n divided by XCTX_TEST_SCALE, or by what suits the sanitizer that the program was built with;
 * at least 1. Valgrind and emulators want XCTX_TEST_SCALE=20 or so.
 */
static inline long scaled(long n)
{
    const char *text = getenv("XCTX_TEST_SCALE");
    long divisor = text ? atol(text) : TEST_TSAN ? 10 : TEST_ASAN ? 4 : 1;
    long result = n / (divisor > 0 ? divisor : 1);
    return result > 0 ? result : 1;
}

/* Set by counted.h, so that the fixture can look for values that were never released. */
static long (*test_live_values)(void);

static xctx_context *test_context;

static inline int test_setup(void **state)
{
    *state = NULL;
    test_context = xctx_new();
    if (!test_context || xctx_enter(test_context) != 0)
        return -1;
    xctx_unref(test_context);
    return 0;
}

static inline int test_teardown(void **state)
{
    (void)state;
    for (xctx_context *current; (current = xctx_current()) != test_context;) {
        if (!current || xctx_exit(current) != 0)
            return -1;
    }
    if (xctx_exit(test_context) != 0)
        return -1;
    if (test_live_values && test_live_values() != 0) {
        fprintf(stderr, "%ld counted values were never released\n", test_live_values());
        return -1;
    }
    return 0;
}

/* Entries without a name are passed over by cmocka. */
static struct CMUnitTest test_table[96];
static unsigned test_table_used;

static inline void test_add(const char *name, void (*function)(void **))
{
    CHECK(test_table_used < sizeof(test_table) / sizeof(test_table[0]));
    struct CMUnitTest *test = &test_table[test_table_used++];
    test->name = name;
    test->test_func = function;
    test->setup_func = test_setup;
    test->teardown_func = test_teardown;
}

static inline int test_main(const char *title)
{
    return cmocka_run_group_tests_name(title, test_table, NULL, NULL);
}

#define TEST(name)                                                                                                     \
    static void name(void **test_state_);                                                                              \
    __attribute__((constructor)) static void test_add_##name(void)                                                     \
    {                                                                                                                  \
        test_add(#name, name);                                                                                         \
    }                                                                                                                  \
    static void name(__attribute__((unused)) void **test_state_)

#endif
