/* SPDX-License-Identifier: MIT */
/*
 * Fibers beside Boost.Context's fcontext, whose switch keeps the same state (callee-saved registers and floating-point
 * control), and beside swapcontext(), which makes a system call.
 *
 * A switch one way is half of a resume and a yield, through the public functions, with all that they check; the peer's
 * is half of two jumps. Where a flag is sticky, one side of the switch has a floating-point exception flag that the
 * other has not: for ever with the peer, which keeps flags on both sides; until the first switch with the library,
 * where they are the thread's. Whether loading mxcsr with other flags costs anything depends on the processor: much on
 * Intel's, nothing on AMD's Zen 5, and there the bound of that row cannot hold. Memory is what a process has more of,
 * resident and in page tables, with all these fibers suspended.
 */
#include "scene.h"

#include <fenv.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

#define STACK ((size_t)32 << 10)

enum fiber_kind { FIBER_SHARING, FIBER_COPYING, FIBER_STICKY };

static xctx_fiber *fiber;
static void *peer_stack;

static xctx_fiber_options options_of(int kind)
{
    return (xctx_fiber_options){.size = sizeof(xctx_fiber_options),
                                .stack_size = STACK,
                                .context = kind == FIBER_COPYING ? XCTX_FIBER_CONTEXT_COPY : XCTX_FIBER_CONTEXT_SHARE};
}

__attribute__((noreturn)) static void yield_for_ever_from(void *out)
{
    for (;;)
        out = xctx_fiber_yield(out);
}

static void *yield_for_ever(void *argument)
{
    yield_for_ever_from(argument);
}

static void *return_at_once(void *argument)
{
    return argument;
}

BENCH_LOOP resume(long n)
{
    void *out;
    for (long i = 0; i < n; i++)
        bench_check(xctx_fiber_resume(fiber, NULL, &out) == 1, "xctx_fiber_resume");
}

static inline void live(int kind)
{
    const xctx_fiber_options options = options_of(kind);
    xctx_fiber *born = xctx_fiber_create(return_at_once, NULL, &options);
    bench_check(born != NULL, "xctx_fiber_create");
    bench_check(xctx_fiber_resume(born, NULL, NULL) == 0, "xctx_fiber_resume");
    xctx_fiber_unref(born);
}

BENCH_LOOP live_copying(long n)
{
    for (long i = 0; i < n; i++)
        live(FIBER_COPYING);
}

BENCH_LOOP live_sharing(long n)
{
    for (long i = 0; i < n; i++)
        live(FIBER_SHARING);
}

/* ---- swapcontext ---- */

static ucontext_t here, there;

static void swap_for_ever(void)
{
    for (;;)
        swapcontext(&there, &here);
}

BENCH_LOOP swap(long n)
{
    for (long i = 0; i < n; i++)
        swapcontext(&here, &there);
}

/* ---- fcontext ---- */

#ifdef BENCH_FCONTEXT
struct transfer {
    void *from;
    void *data;
};

/* As Boost.Context's headers for C++ declare them. */
struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(void *top, size_t size, void (*fn)(struct transfer));

static struct transfer peer;

static void jump_for_ever(struct transfer from)
{
    for (;;)
        from = jump_fcontext(from.from, NULL);
}

static void jump_once(struct transfer from)
{
    jump_fcontext(from.from, NULL);
}

BENCH_LOOP jump(long n)
{
    for (long i = 0; i < n; i++)
        peer = jump_fcontext(peer.from, NULL);
}

/* On a stack that is there already, as from a pool. */
BENCH_LOOP jump_live(long n)
{
    for (long i = 0; i < n; i++) {
        void *made = make_fcontext((char *)peer_stack + STACK, STACK, jump_once);
        bench_use(jump_fcontext(made, NULL).from);
    }
}
#endif

/* ---- the scene ---- */

static void open_fibers(const bench_row *row)
{
    const xctx_fiber_options options = options_of(row->kind);

    scene_open(row);
    feclearexcept(FE_ALL_EXCEPT);
    fiber = xctx_fiber_create(yield_for_ever, NULL, &options);
    peer_stack = aligned_alloc(4096, STACK);
    bench_check(fiber && peer_stack, "memory");
    resume(8);
    bench_check(getcontext(&there) == 0, "getcontext");
    there.uc_stack = (stack_t){.ss_sp = peer_stack, .ss_size = STACK};
    there.uc_link = NULL;
    makecontext(&there, swap_for_ever, 0);
#ifdef BENCH_FCONTEXT
    if (row->run[BENCH_PEER] == jump) {
        peer.from = make_fcontext((char *)peer_stack + STACK, STACK, jump_for_ever);
        jump(8);
    }
#endif
    if (row->kind == FIBER_STICKY)
        feraiseexcept(FE_DIVBYZERO);
}

static void close_fibers(const bench_row *row)
{
    feclearexcept(FE_ALL_EXCEPT);
    xctx_fiber_unref(fiber);
    free(peer_stack);
    scene_close(row);
}

/* ---- memory ---- */

static double taken(void)
{
    char line[256];
    double bytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    bench_check(file != NULL, "/proc/self/status");
    while (fgets(line, sizeof(line), file)) {
        long kilobytes;
        if (sscanf(line, "VmRSS: %ld", &kilobytes) == 1 || sscanf(line, "VmPTE: %ld", &kilobytes) == 1)
            bytes += (double)kilobytes * 1024;
    }
    fclose(file);
    return bytes;
}

/* What the child process that measures does. Prints MiB. */
int bench_fibers_child(const char *what)
{
    long count = atol(what);
    const xctx_fiber_options options = options_of(FIBER_COPYING);
    bench_check(count > 0, "--fibers");
    double before = taken();
    xctx_fiber **fibers = malloc(sizeof(*fibers) * (size_t)count);
    bench_check(fibers != NULL, "malloc");
    for (long i = 0; i < count; i++) {
        fibers[i] = xctx_fiber_create(yield_for_ever, NULL, &options);
        bench_check(fibers[i] && xctx_fiber_resume(fibers[i], NULL, NULL) == 1, "a fiber");
    }
    printf("%.1f\n", (taken() - before) / (1 << 20));
    fflush(stdout);
    _exit(0);
}

static double sample(const bench_row *row, enum bench_side side)
{
    char command[4096 + 64];
    double figure;
    if (side == BENCH_PEER)
        return row->must_value;
    snprintf(command, sizeof(command), "exec '%s' --fibers %d", bench_program(), row->kind);
    FILE *child = popen(command, "r");
    bench_check(child != NULL, "popen");
    bench_check(fscanf(child, "%lf", &figure) == 1 && pclose(child) == 0, "the memory measurement");
    return figure;
}

#define FIBER_ROW .setup = open_fibers, .teardown = close_fibers, .variables = 8

static const bench_row *rows(int *ret_count)
{
    static const bench_row rows[] = {
#ifdef BENCH_FCONTEXT
        {.name = "a switch, one way",
         .run = {resume, jump},
         .per = 2,
         .must = 1,
         .must_value = 3.5,
         .kind = FIBER_SHARING,
         FIBER_ROW},
        {.name = "  with the context",
         .run = {resume, jump},
         .per = 2,
         .must_value = 6,
         .kind = FIBER_COPYING,
         FIBER_ROW},
        {.name = "  a sticky flag differs",
         .run = {resume, jump},
         .per = 2,
         .must = 0.1,
         .kind = FIBER_STICKY,
         FIBER_ROW},
        {.name = "create + run + destroy", .run = {live_copying, jump_live}, .must_value = 25, FIBER_ROW},
        {.name = "  sharing the context", .run = {live_sharing, jump_live}, .must_value = 25, FIBER_ROW},
#endif
        {.name = "a switch, swapcontext's",
         .run = {resume, swap},
         .per = 2,
         .peer_name = "swapcontext",
         .kind = FIBER_SHARING,
         FIBER_ROW},
        {.name = "100,000 suspended, MiB",
         .sample = sample,
         .kind = 100000,
         .peer_name = "what they may take",
         .must_value = 460,
         .rounds = 1,
         .unit = "MiB",
         .uncounted = true},
        {.name = "1,000,000 suspended, MiB",
         .sample = sample,
         .kind = 1000000,
         .peer_name = "what they may take",
         .must_value = 4.6 * 1024,
         .rounds = 1,
         .unit = "MiB",
         .uncounted = true},
    };
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const bench_group bench_fibers = {"Fibers", "fcontext", rows};
