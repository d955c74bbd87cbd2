/* SPDX-License-Identifier: MIT */
/*
 * Continuations of fibers with so many bytes of their stack in use, registers included. A shot is its whole life: made,
 * resumed to its end, released. The peer is memcpy() of as many bytes, below which nothing that copies a stack can be.
 */
#include "scene.h"

#include <alloca.h>
#include <stdlib.h>
#include <string.h>

static xctx_fiber *fiber;
static xctx_continuation *continuation;
static char *bytes[2];
static size_t used;

static void *yield_over(void *argument)
{
    size_t size = (size_t)(uintptr_t)argument;

    if (size > 0)
        bench_use(memset(alloca(size), 1, size));
    return xctx_fiber_yield(NULL);
}

BENCH_LOOP shoot(long n)
{
    for (long i = 0; i < n; i++) {
        xctx_fiber *shot;
        bench_check(xctx_continuation_shot(continuation, &shot) == 0, "xctx_continuation_shot");
        bench_check(xctx_fiber_resume(shot, NULL, NULL) == 0, "xctx_fiber_resume");
        xctx_fiber_unref(shot);
    }
}

BENCH_LOOP capture(long n)
{
    for (long i = 0; i < n; i++) {
        xctx_continuation *captured;
        bench_check(xctx_fiber_capture(fiber, &captured) == 0, "xctx_fiber_capture");
        xctx_continuation_unref(captured);
    }
}

BENCH_LOOP copy(long n)
{
    for (long i = 0; i < n; i++) {
        memcpy(bytes[0], bytes[1], used);
        bench_use(bytes[0]);
    }
}

static xctx_fiber *begin(size_t size)
{
    xctx_fiber *begun = xctx_fiber_create(yield_over, (void *)(uintptr_t)size, NULL); /* NOLINT */

    bench_check(begun && xctx_fiber_resume(begun, NULL, NULL) == 1, "a fiber");
    bench_check(xctx_fiber_capture(begun, &continuation) == 0, "xctx_fiber_capture");
    return begun;
}

/* The scene's variables, which are of the first kind. */
static bench_row scene_row(const bench_row *row)
{
    bench_row plain = *row;

    plain.kind = 0;
    return plain;
}

/* With `row->kind` bytes in use, or as few as there can be. */
static void open_continuation(const bench_row *row)
{
    const bench_row plain = scene_row(row);

    scene_open(&plain);
    fiber = begin(0);
    used = xctx_continuation_size(continuation);
    if (row->kind > 0) {
        size_t least = used;
        xctx_fiber_unref(fiber);
        xctx_continuation_unref(continuation);
        fiber = begin((size_t)row->kind - least);
        used = xctx_continuation_size(continuation);
        bench_check(used >= (size_t)row->kind && used <= (size_t)row->kind + 64, "the stack's size");
    }
    for (int i = 0; i < 2; i++) {
        bytes[i] = calloc(1, used);
        bench_check(bytes[i] != NULL, "memory");
    }
}

static void close_continuation(const bench_row *row)
{
    xctx_continuation_unref(continuation);
    xctx_fiber_unref(fiber);
    free(bytes[0]);
    free(bytes[1]);
    const bench_row plain = scene_row(row);
    scene_close(&plain);
}

#define CONTINUATION_ROW(bytes)                                                                                        \
    .setup = open_continuation, .teardown = close_continuation, .variables = 8, .kind = (bytes)

static const bench_row *rows(int *ret_count)
{
    static const bench_row rows[] = {
        {.name = "a shot, the least", .run = {shoot, copy}, .must_value = 25, CONTINUATION_ROW(0)},
        {.name = "  1 KiB in use", .run = {shoot, copy}, .must_value = 30, CONTINUATION_ROW(1 << 10)},
        {.name = "  4 KiB", .run = {shoot, copy}, .must_value = 75, CONTINUATION_ROW(4 << 10)},
        {.name = "  16 KiB", .run = {shoot, copy}, .must_value = 140, CONTINUATION_ROW(16 << 10)},
        {.name = "  64 KiB", .run = {shoot, copy}, CONTINUATION_ROW(64 << 10)},
        {.name = "capture + release, the least", .run = {capture, copy}, .must_value = 25, CONTINUATION_ROW(0)},
    };
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const bench_group bench_continuations = {"Continuations", "memcpy()", rows};
