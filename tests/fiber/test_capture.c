/* SPDX-License-Identifier: MIT */
/* Snapshots taken in fibers: they go on where the fiber was resumed, whenever that is. */
#include <signal.h>
#include <sys/time.h>
#include <ucontext.h>

#include "../support/threads.h"
#include "capture/snapshot_internal.h"
#include "fiber_support.h"

#define NOINLINE __attribute__((noinline))
/* A frame with a frame pointer, whatever this is compiled with, which is no tail call's. */
#define FRAME __asm__ volatile("" : : "r"(__builtin_frame_address(0)) : "memory")

enum { PCS = XCTX_SNAPSHOT_ADDRESSES, DEPTH = 3 };

static uintptr_t pcs[PCS];
static size_t count;
static xctx_snapshot *taken;
static uint64_t *marks[DEPTH]; /* in the frames of those who wait */

static uintptr_t code_of(void *(*function)(void *))
{
    uintptr_t address;

    memcpy(&address, &function, sizeof(address));
    return address;
}

/* The first address from `from` on that is in a function of at most some bytes; `count` if there is none. */
static size_t find(uintptr_t function, size_t from)
{
    size_t i = from;

    while (i < count && pcs[i] - function >= 1024)
        i++;
    return i;
}

static NOINLINE void *take(void *arg)
{
    unsigned capture = arg ? (unsigned)as_number(arg) : XCTX_CAPTURE_ALL;

    taken = xctx_snapshot_take(capture);
    CHECK(taken);
    FRAME;
    return NULL;
}

static NOINLINE void *trace(void *arg)
{
    count = xctx_backtrace(pcs, PCS);
    FRAME;
    return arg;
}

/* What a fiber does: it yields as often as is said, then calls the innermost function. */
static struct {
    void *(*innermost)(void *);
    void *arg;
    long yields;
    long depth;
} plan;

static NOINLINE void *run_plan(void *arg);

/* AddressSanitizer would have the mark elsewhere. */
static NOINLINE __attribute__((no_sanitize("address"))) void *resume_one(void *arg)
{
    volatile uint64_t mark = 0x5eed0000 + (uint64_t)as_number(arg);
    xctx_fiber *fiber = make(run_plan, arg);

    marks[as_number(arg)] = (uint64_t *)&mark;
    while (xctx_fiber_resume(fiber, NULL, NULL) == 1)
        FRAME;
    xctx_fiber_unref(fiber);
    CHECK(mark == 0x5eed0000 + (uint64_t)as_number(arg));
    FRAME;
    return NULL;
}

static NOINLINE void *run_plan(void *arg)
{
    long level = as_number(arg) + 1;

    for (long i = 0; i < plan.yields; i++)
        xctx_fiber_yield(NULL);
    if (level < plan.depth)
        resume_one(number(level));
    else
        plan.innermost(plan.arg);
    FRAME;
    return NULL;
}

static NOINLINE void *begin(void *arg)
{
    resume_one(number(0));
    FRAME;
    return arg;
}

/* The addresses of the innermost function, of each fiber, of who resumed it, and of who called that. */
static void check_addresses(uintptr_t innermost)
{
    size_t at = find(innermost, 0);

    assert_int_equal(at, 0);
    for (long level = 0; level < plan.depth; level++) {
        at = find(code_of(run_plan), at);
        assert_true(at < count);
        at = find(code_of(resume_one), at);
        assert_true(at < count);
    }
    assert_true(find(code_of(begin), at) < count);
}

/* On this thread and another, with fibers that are resumed by C and by assembly. */
static void for_each_way(void (*check)(void))
{
    for (plan.depth = 1; plan.depth <= DEPTH; plan.depth++) {
        for (plan.yields = 0; plan.yields < 5; plan.yields += 4) {
            begin(NULL);
            check();
            on_thread(begin, NULL);
            check();
        }
    }
}

static void check_trace(void)
{
    /* xctx_backtrace() itself is not in it. */
    check_addresses(code_of(trace));
}

TEST(backtrace_goes_on_where_the_fiber_was_resumed)
{
    plan.innermost = trace;
    for_each_way(check_trace);
}

static void check_taken(void)
{
    count = xctx_snapshot_stack(taken, pcs, PCS);
    check_addresses(code_of(take));
    xctx_snapshot_unref(taken);
}

TEST(addresses_go_on_where_the_fiber_was_resumed)
{
    plan.innermost = take;
    plan.arg = number(XCTX_CAPTURE_STACK);
    for_each_way(check_taken);
}

static void check_marks(void)
{
    for (long level = 0; level < plan.depth; level++) {
        uint64_t mark = 0;
        assert_int_equal(xctx_snapshot_read(taken, (uintptr_t)marks[level], &mark, sizeof(mark)), 0);
        assert_int_equal(mark, 0x5eed0000 + level);
    }
    xctx_snapshot_unref(taken);
}

TEST(stacks_of_those_who_wait_are_captured)
{
    CHECK(xctx_set_stack_limit(1 << 20) == 0);
    plan.innermost = take;
    plan.arg = NULL;
    for_each_way(check_marks);
    CHECK(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT) == 0);
}

TEST(stacks_of_those_who_wait_are_within_the_limit)
{
    plan.innermost = take;
    plan.arg = NULL;
    plan.depth = DEPTH;
    for (size_t limit = 0; limit < 3000; limit += 8) {
        CHECK(xctx_set_stack_limit(limit) == 0);
        begin(NULL);
        assert_true(taken->stack_size + taken->pieces_size <= limit);
        xctx_snapshot_unref(taken);
    }
    CHECK(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT) == 0);
}

/* ---- signals at any moment ---- */

static xctx_snapshot *reserved;
static volatile sig_atomic_t filled;
static volatile long in_fibers, with_resumers;

static void fill(int number_of_signal, siginfo_t *info, void *context)
{
    int error = errno;

    (void)number_of_signal;
    (void)info;
    if (!filled) {
        CHECK(xctx_snapshot_fill(reserved, XCTX_CAPTURE_ALL, context) == 0);
        filled = 1;
    }
    errno = error;
}

static void *yield_always(void *arg)
{
    for (;;)
        xctx_fiber_yield(arg);
    return NULL;
}

static void *resume_always(void *arg)
{
    for (;;) {
        CHECK(xctx_fiber_resume(arg, NULL, NULL) == 1);
        xctx_fiber_yield(NULL);
    }
    return NULL;
}

static void look_at(const xctx_snapshot *snapshot, const void *own)
{
    const xctx_thread_state *state = xctx_snapshot_thread_state(snapshot);
    uint64_t sp = 0;

    CHECK(xctx_snapshot_register(snapshot, "sp", &sp) == 0);
    CHECK(state->present & XCTX_THREAD_STACK);
    CHECK(sp >= state->stack_low && sp < state->stack_high);
    CHECK(snapshot->stack_size > 0);
    /* The stack of a fiber, not the memory that it is in. */
    if (sp < (uintptr_t)own - (1 << 20) || sp > (uintptr_t)own + (1 << 20)) {
        CHECK(state->stack_high - state->stack_low <= 64 << 10);
        in_fibers++;
        with_resumers += snapshot->pieces_size > 0;
    }
}

TEST(captures_that_interrupt_switches_do_no_harm)
{
    const xctx_fiber_options options = {.size = sizeof(options), .stack_size = 64 << 10};
    const struct sigaction action = {.sa_sigaction = fill, .sa_flags = SA_SIGINFO | SA_RESTART};
    const struct itimerval often = {{0, 97}, {0, 97}}, never = {{0, 0}, {0, 0}};
    xctx_fiber *inner = xctx_fiber_create(yield_always, NULL, &options);
    xctx_fiber *outer = xctx_fiber_create(resume_always, inner, &options);

    if (TEST_TSAN)
        skip(); /* its runtime calls handlers later */
    CHECK(inner && outer);
    reserved = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    CHECK(reserved && sigaction(SIGALRM, &action, NULL) == 0);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    for (long n = scaled(2000); n > 0;) {
        for (int i = 0; i < 50; i++)
            step(outer, NULL);
        if (filled) {
            look_at(reserved, &n);
            CHECK(xctx_snapshot_reset(reserved) == 0);
            filled = 0;
            n--;
        }
    }
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    signal(SIGALRM, SIG_IGN);
    xctx_snapshot_unref(reserved);
    xctx_fiber_unref(outer);
    xctx_fiber_unref(inner);
    assert_true(in_fibers > 0);
    assert_true(with_resumers > 0);
}

int main(void)
{
    return test_main("snapshots in fibers");
}
