/* SPDX-License-Identifier: MIT */
/*
 * Snapshots beside other ways of noting a call stack. This file is compiled with frame pointers, which is what a walk
 * along them needs of a program; the peers are at the same place of the same stack, and may note as many addresses.
 *
 * Peers are looked up in their own libraries: whoever links libunwind gets some of its functions in the place of
 * libc's.
 */
#include <dlfcn.h>
#include <execinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "../scene.h"

#define ADDRESSES_MOST 64
#define ROOM 160 /* bytes of a frame beside what the compiler needs */

static int frames;   /* how many there are from where a loop runs to the first that it is to see */
static int depth;    /* of the recursion that makes them */
static size_t bytes; /* of stack */
static int (*unwind_backtrace)(void **, int);
static int (*libc_backtrace)(void **, int);
static int (*absl_stack_trace)(void **, int, int);

/* Runs `loop` below some calls of itself. */
static __attribute__((noinline)) void descend(int left, bench_loop *loop, long n)
{
    char room[ROOM];
    bench_use(room);
    if (left > 0)
        descend(left - 1, loop, n);
    else
        loop(n);
    bench_use(room);
}

/* The frame where the chain of frame pointers ends: what called the loop is not compiled with them. */
static __attribute__((noinline)) void outermost(bench_loop *loop, long n)
{
    char ground[XCTX_SNAPSHOT_STACK_DEFAULT]; /* so that there is as much stack above as any row copies */
    void *volatile *record = __builtin_frame_address(0);
    void *kept = record[0];
    bench_use(ground);
    record[0] = NULL;
    descend(depth, loop, n);
    record[0] = kept;
    bench_use(ground);
}

/* A function that runs NAME_below, which has a loop, below `depth` calls. */
#define DESCEND(name)                                                                                                  \
    BENCH_LOOP name(long n)                                                                                            \
    {                                                                                                                  \
        outermost(name##_below, n);                                                                                    \
    }

/* A loop over an operation, there. */
#define BELOW(name, ...)                                                                                               \
    static __attribute__((noinline, aligned(64))) void name##_below(long n)                                            \
    {                                                                                                                  \
        for (long i = 0; i < n; i++) {                                                                                 \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }                                                                                                                  \
    DESCEND(name)

#define TAKE(name, capture)                                                                                            \
    BELOW(name, {                                                                                                      \
        xctx_snapshot *snapshot = xctx_snapshot_take(capture);                                                         \
        bench_check(snapshot != NULL, "xctx_snapshot_take");                                                           \
        xctx_snapshot_unref(snapshot);                                                                                 \
    })

/* Into reserved memory, which is emptied each time: what it holds is overwritten then. */
#define FILL(name, capture)                                                                                            \
    static __attribute__((noinline, aligned(64))) void name##_below(long n)                                            \
    {                                                                                                                  \
        xctx_snapshot *snapshot = xctx_snapshot_reserve(capture, 0);                                                   \
        for (long i = 0; i < n; i++) {                                                                                 \
            bench_check(xctx_snapshot_fill(snapshot, capture, NULL) == 0, "xctx_snapshot_fill");                       \
            bench_check(xctx_snapshot_reset(snapshot) == 0, "xctx_snapshot_reset");                                    \
        }                                                                                                              \
        xctx_snapshot_unref(snapshot);                                                                                 \
    }                                                                                                                  \
    DESCEND(name)

#define BYTES (XCTX_CAPTURE_STACK | XCTX_CAPTURE_REGISTERS | XCTX_CAPTURE_LOCALS)

TAKE(take_addresses, XCTX_CAPTURE_STACK)
TAKE(take_bytes, BYTES)
TAKE(take_state, BYTES | XCTX_CAPTURE_STATE)
TAKE(take_all, XCTX_CAPTURE_ALL)
FILL(fill_addresses, XCTX_CAPTURE_STACK)
FILL(fill_registers, XCTX_CAPTURE_REGISTERS)
FILL(fill_bytes, BYTES)

BELOW(copy_stack, {
    xctx_context *context = xctx_copy_current_with(XCTX_CAPTURE_STACK);
    bench_check(context != NULL, "xctx_copy_current_with");
    xctx_unref(context);
})

BELOW(copy_plain, {
    xctx_context *context = xctx_copy_current();
    bench_check(context != NULL, "xctx_copy_current");
    xctx_unref(context);
})

BELOW(use_backtrace, {
    uintptr_t addresses[ADDRESSES_MOST];
    bench_check(xctx_backtrace(addresses, (size_t)frames) == (size_t)frames, "xctx_backtrace");
    bench_use(addresses);
})

BELOW(use_libc, {
    void *addresses[ADDRESSES_MOST];
    bench_check(libc_backtrace(addresses, frames) == frames, "backtrace");
    bench_use(addresses);
})

BELOW(use_libunwind, {
    void *addresses[ADDRESSES_MOST];
    bench_check(unwind_backtrace(addresses, frames) == frames, "unw_backtrace");
    bench_use(addresses);
})

BELOW(use_absl, {
    void *addresses[ADDRESSES_MOST];
    /* It has no frame pointer itself, and takes its caller for itself. */
    bench_check(absl_stack_trace(addresses, frames, 0) >= frames - 1, "absl::GetStackTrace");
    bench_use(addresses);
})

/* Apart, since compilers are careful around what can return twice. */
static __attribute__((noinline)) void get_context(ucontext_t *context)
{
    bench_check(getcontext(context) == 0, "getcontext");
}

BELOW(use_getcontext, {
    ucontext_t context;
    get_context(&context);
    bench_use(&context);
})

/* What there is by other means of registers and stack. */
BELOW(use_getcontext_and_memcpy, {
    static char copy[XCTX_SNAPSHOT_STACK_DEFAULT];
    ucontext_t context;
    get_context(&context);
    memcpy(copy, __builtin_frame_address(0), bytes);
    bench_use(&context);
    bench_use(copy);
})

/* How many addresses a snapshot has that is taken in a loop. */
static size_t found;

BELOW(probe, {
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STACK);
    found = xctx_snapshot_stack(snapshot, NULL, 0);
    xctx_snapshot_unref(snapshot);
})

/* Makes the stack as deep, and as much of it captured, as the row says: `kind` frames, `variables` bytes. */
static void open_stack(const bench_row *row)
{
    static const bench_row eight = {.variables = 8};
    scene_open(&eight);
    frames = row->kind;
    bytes = (size_t)row->variables;
    bench_check(xctx_set_stack_limit(bytes ? bytes : XCTX_SNAPSHOT_STACK_DEFAULT) == 0, "xctx_set_stack_limit");
    depth = 0;
    probe(1);
    depth = frames - (int)found;
    probe(1);
    bench_check(found == (size_t)frames, "the walk along frame pointers: not all addresses are found");
}

static void close_stack(const bench_row *row)
{
    (void)row;
    bench_check(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT) == 0, "xctx_set_stack_limit");
    scene_close(NULL);
}

/* backtrace() must be libc's; libunwind and Abseil, as Debian 12 names it, are there or not. */
static void find_peers(void)
{
    Dl_info info;
    void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_LOCAL),
         *unwind = dlopen("libunwind.so.8", RTLD_LAZY | RTLD_LOCAL),
         *absl = dlopen("libabsl_stacktrace.so.20220623", RTLD_LAZY | RTLD_LOCAL);
    bench_check(libc != NULL, "libc.so.6");
    *(void **)&libc_backtrace = dlsym(libc, "backtrace");
    bench_check(libc_backtrace && dladdr(*(void **)&libc_backtrace, &info) && strstr(info.dli_fname, "libc.so"),
                "libc's backtrace()");
    if (unwind)
        *(void **)&unwind_backtrace = dlsym(unwind, "unw_backtrace");
    if (absl)
        *(void **)&absl_stack_trace = dlsym(absl, "_ZN4absl7debian313GetStackTraceEPPvii");
}

#define LIBC "glibc's backtrace()"
#define LIBUNWIND "libunwind's unw_backtrace()"
#define ABSL "absl::GetStackTrace()"
#define GETCONTEXT "getcontext() and memcpy()"
#define ROW(name_, ours_, peer_, peer_name_, frames_, bytes_, ...)                                                     \
    {                                                                                                                  \
        .name = name_, .run = {ours_, peer_}, .peer_name = peer_name_, .setup = open_stack, .teardown = close_stack,   \
        .kind = frames_, .variables = bytes_, __VA_ARGS__                                                              \
    }

static const bench_row *rows(int *ret_count)
{
    static const bench_row rows[] = {
        ROW("backtrace, 16 frames", use_backtrace, use_libc, LIBC, 16, 0, .must_value = 20),
        ROW("backtrace, 64 frames", use_backtrace, use_libc, LIBC, 64, 0, .must = 0.10),
        ROW("backtrace, 16", use_backtrace, use_libunwind, LIBUNWIND, 16, 0, .must = 0.20),
        ROW("backtrace, 64", use_backtrace, use_libunwind, LIBUNWIND, 64, 0, .must = 0.20),
        ROW("16 addresses, fill + reset", fill_addresses, use_libunwind, LIBUNWIND, 16, 0, .must = 0.20),
        ROW("64 addresses, fill + reset", fill_addresses, use_libunwind, LIBUNWIND, 64, 0, .must = 0.20),
        ROW("16 addresses, take + unref", take_addresses, use_libunwind, LIBUNWIND, 16, 0, .must = 0.20),
        ROW("backtrace, 16 and Abseil", use_backtrace, use_absl, ABSL, 16, 0, ),
        ROW("backtrace, 64 and Abseil", use_backtrace, use_absl, ABSL, 64, 0, ),
        ROW("registers, fill + reset", fill_registers, use_getcontext, "getcontext()", 16, 0, .must = 1.0),
        ROW("+ stack, 4 KiB, fill + reset", fill_bytes, use_getcontext_and_memcpy, GETCONTEXT, 16, 4096,
            .must_value = 80),
        ROW("+ stack, 4 KiB, take + unref", take_bytes, use_getcontext_and_memcpy, GETCONTEXT, 16, 4096,
            .must_value = 80),
        ROW("15 KiB of 64 frames, take", take_bytes, use_getcontext_and_memcpy, GETCONTEXT, 64, 15360,
            .must_value = 350),
        ROW("4 KiB and thread state", take_state, use_getcontext_and_memcpy, GETCONTEXT, 16, 4096, .must_value = 1500),
        ROW("4 KiB, state, SIMD: all", take_all, use_getcontext_and_memcpy, GETCONTEXT, 16, 4096, ),
        ROW("copy with 16 addresses, 8", copy_stack, copy_plain, "a copy without", 16, 0, .must = 2.5, .slack = 20),
    };
    static bench_row filled[sizeof(rows) / sizeof(rows[0])];
    find_peers();
    *ret_count = 0;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if ((unwind_backtrace || rows[i].run[BENCH_PEER] != use_libunwind) &&
            (absl_stack_trace || rows[i].run[BENCH_PEER] != use_absl))
            filled[(*ret_count)++] = rows[i];
    if (!unwind_backtrace)
        fputs("bench: no rows against libunwind: libunwind.so.8 is not there\n", stderr);
    if (!absl_stack_trace)
        fputs("bench: no rows against Abseil: libabsl_stacktrace.so.20220623 is not there\n", stderr);
    return filled;
}

const bench_group bench_snapshots = {"Snapshots", NULL, rows};
