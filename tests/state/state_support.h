/* SPDX-License-Identifier: MIT */
/*
 * For tests of capsules. They change settings of threads, so they do it on threads of their own and leave the one of
 * the test runner alone: scenarios use CHECK(), not cmocka's assertions.
 */
#ifndef XCTX_TEST_STATE_SUPPORT_H
#define XCTX_TEST_STATE_SUPPORT_H

#include "test.h"
#include "threads.h"

/* A copy of the running thread's context with its settings. */
static inline xctx_context *captured(void)
{
    xctx_context *context = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    CHECK(context != NULL);
    return context;
}

struct made {
    void (*prepare)(void);
};

static inline void *captured_after(void *arg)
{
    struct made *made = arg;
    made->prepare();
    return captured();
}

/* A context with the settings of a thread that has called prepare() and is gone. */
static inline xctx_context *captured_elsewhere(void (*prepare)(void))
{
    struct made made = {prepare};
    return on_thread(captured_after, &made);
}

static inline void *call_plain(void *arg)
{
    struct made *made = arg;
    made->prepare();
    return NULL;
}

/* Runs a scenario on a thread of its own. */
static inline void elsewhere(void (*scenario)(void))
{
    struct made made = {scenario};
    on_thread(call_plain, &made);
}

static inline void enter(xctx_context *context)
{
    CHECK(xctx_enter(context) == 0);
}

static inline void leave(xctx_context *context)
{
    CHECK(xctx_exit(context) == 0);
}

/* The value of a capsule in a context: there is one. */
static inline void *value_in(xctx_context *context, xctx_var *var)
{
    void *value = NULL;
    CHECK(xctx_lookup(context, var, &value) == 1);
    CHECK(value != NULL);
    return value;
}

/* Whether a capsule's value reads like that, and whether a buffer that is too small is treated as snprintf() does. */
static inline void check_format(xctx_context *context, xctx_var *var, const char *expected)
{
    int (*format)(void *, char *, size_t) = xctx_var_get_options(var)->format;
    void *value = value_in(context, var);
    char text[512];
    char small[4];

    int length = format(value, text, sizeof(text));
    if (length != (int)strlen(expected) || strcmp(text, expected) != 0)
        fprintf(stderr, "got \"%s\", expected \"%s\"\n", text, expected);
    CHECK(length == (int)strlen(expected));
    CHECK(strcmp(text, expected) == 0);
    CHECK(format(value, NULL, 0) == length);
    memset(small, '#', sizeof(small));
    CHECK(format(value, small, sizeof(small)) == length);
    CHECK(strlen(small) == (length < 3 ? (size_t)length : 3));
    CHECK(strncmp(small, expected, 3) == 0);
}

/* Sends a capsule's value through encode and decode, and returns a context that holds what came out. */
static inline xctx_context *through_bytes(xctx_context *context, xctx_var *var)
{
    const xctx_var_options *options = xctx_var_get_options(var);
    unsigned char bytes[1024];
    void *value = value_in(context, var);
    void *decoded = NULL;

    int length = options->encode(value, bytes, sizeof(bytes));
    CHECK(length >= 0);
    CHECK((size_t)length <= sizeof(bytes));
    CHECK(options->encode(value, NULL, 0) == length);
    /* Exactly as long as it needs to be, so that a sanitizer sees a byte too many. */
    unsigned char *exact = malloc(length > 0 ? (size_t)length : 1);
    CHECK(exact != NULL);
    CHECK(options->encode(value, exact, (size_t)length) == length);
    CHECK(memcmp(exact, bytes, (size_t)length) == 0);
    CHECK(options->decode(exact, (size_t)length, &decoded) == 0);
    CHECK(decoded != NULL);
    free(exact);

    xctx_context *result = xctx_new();
    CHECK(result != NULL);
    enter(result);
    CHECK(xctx_var_set(var, decoded, NULL) == 0);
    leave(result);
    if (options->release)
        options->release(decoded);
    return result;
}

static inline void check_not_decoded(xctx_var *var, const void *bytes, size_t size, int error)
{
    void *decoded = &decoded;
    CHECK(xctx_var_get_options(var)->decode(bytes, size, &decoded) == error);
    CHECK(decoded == &decoded);
}

/* A capsule that is set to NULL does nothing, and says nothing. */
static inline void check_null_value(xctx_var *var)
{
    const xctx_var_options *options = xctx_var_get_options(var);
    xctx_context *context = xctx_new();
    char text[8] = "#";

    CHECK(context != NULL);
    enter(context);
    CHECK(xctx_var_set(var, NULL, NULL) == 0);
    leave(context);
    enter(context);
    leave(context);
    CHECK(options->format(NULL, text, sizeof(text)) == 0);
    CHECK(text[0] == '\0');
    if (options->encode)
        CHECK(options->encode(NULL, text, sizeof(text)) == -EINVAL);
    xctx_unref(context);
}

#endif
