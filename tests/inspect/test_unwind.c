/* SPDX-License-Identifier: MIT */
/* Unwinding where it is not plain: signals, stacks that end or are damaged, code that is not there. */
#include <setjmp.h>
#include <signal.h>

#include "capture/snapshot_internal.h"
#include "frames_support.h"
#include "inspect/arena.h"
#include "inspect/modules.h"
#include "inspect/unwind.h"

static xctx_snapshot *taken;
static sigjmp_buf back;
static uintptr_t cfa_of_outer;

static NOINLINE void take(void)
{
    taken = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    NO_TAIL_CALL;
}

static NOINLINE void outer(void)
{
    cfa_of_outer = (uintptr_t)__builtin_dwarf_cfa();
    take();
    NO_TAIL_CALL;
}

static void handle(int number)
{
    (void)number;
    take();
    NO_TAIL_CALL;
}

static NOINLINE void raise_signal(void)
{
    raise(SIGUSR1);
    NO_TAIL_CALL;
}

static void on_signal(int number, void (*handler)(int), int flags)
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};

    assert_int_equal(sigaction(number, &action, NULL), 0);
}

TEST(frame_has_the_cfa_that_the_compiler_gives)
{
    outer();
    xctx_report *report = report_of(taken, NULL);
    assert_int_equal(frame_of(report, "outer")->cfa, cfa_of_outer);
    xctx_report_unref(report);
}

TEST(frames_go_on_through_a_signal_handler)
{
    if (TEST_TSAN)
        skip(); /* it calls handlers itself */
    on_signal(SIGUSR1, handle, 0);
    raise_signal();
    xctx_report *report = report_of(taken, NULL);
    int handler = find_frame(report, "handle", 0);
    int trampoline = find_frame(report, "<signal handler called>", 0);
    assert_true(handler > 0);
    assert_int_equal(trampoline, handler + 1);
    assert_true(xctx_report_frame(report, (size_t)trampoline + 1)->interrupted);
    assert_false(xctx_report_frame(report, (size_t)handler)->interrupted);
    assert_true(find_frame(report, "raise_signal", trampoline) > trampoline);
    assert_true(find_frame(report, __func__, trampoline) > trampoline);
    xctx_report_unref(report);
}

/* The registers in frame `index`, by the internal interface. */
static struct frame_registers registers_of(size_t index)
{
    struct arena arena = {0};
    struct memory memory = {.snapshot = taken};
    struct unwound *frames = NULL;
    struct frame_registers registers;
    size_t count = 0;
    const char *end;

    xctx__decode_lock();
    memory.modules = xctx__modules_get(taken, NULL);
    int result = xctx__unwind(&arena, &memory, 100, 0, &frames, &count, &end);
    xctx__modules_put(memory.modules);
    xctx__decode_unlock();
    assert_int_equal(result, 0);
    assert_true(index < count);
    registers = frames[index].registers;
    xctx__arena_destroy(&arena);
    return registers;
}

TEST(registers_that_calls_do_not_preserve_are_not_known_in_callers)
{
    on_signal(SIGUSR1, handle, 0);
    raise_signal();
    xctx_report *report = report_of(xctx_snapshot_ref(taken), NULL);
    int interrupted = find_frame(report, "<signal handler called>", 0) + 1;
    uint64_t all = (UINT64_C(1) << XCTX__DWARF_REGISTERS) - 1, kept = XCTX__REGISTERS_OF_CALL & all;
    assert_int_equal(registers_of(0).known & ~kept, 0);
    assert_int_equal(registers_of(1).known & ~kept, 0);
    /* The signal's frame has all. */
    assert_int_equal(registers_of((size_t)interrupted).known & all, all);
    assert_int_equal(registers_of((size_t)interrupted + 1).known & ~kept, 0);
    xctx_report_unref(report);
    xctx_snapshot_unref(taken);
}

TEST(registers_that_calls_preserve_are_known_in_callers)
{
    outer();
    uint64_t all = (UINT64_C(1) << XCTX__DWARF_REGISTERS) - 1, kept = XCTX__REGISTERS_OF_CALL & all;
    assert_int_equal(registers_of(1).known & kept, kept);
    assert_int_equal(registers_of(2).known & kept, kept);
    xctx_snapshot_unref(taken);
}

static void handle_fault(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)info;
    CHECK(xctx_snapshot_fill(taken, XCTX_CAPTURE_ALL, context) == 0);
    siglongjmp(back, 1);
}

static NOINLINE void call_it(void (*volatile function)(void))
{
    function();
    NO_TAIL_CALL;
}

TEST(frames_go_on_from_a_call_of_null)
{
    struct sigaction action = {.sa_sigaction = handle_fault, .sa_flags = SA_SIGINFO}, old;

    taken = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    assert_int_equal(sigaction(SIGSEGV, &action, &old), 0);
    if (!sigsetjmp(back, 1))
        call_it(NULL);
    assert_int_equal(sigaction(SIGSEGV, &old, NULL), 0);
    xctx_report *report = report_of(taken, NULL);
    assert_int_equal(xctx_report_frame(report, 0)->pc, 0);
    assert_null(xctx_report_frame(report, 0)->module);
    assert_true(xctx_report_frame(report, 0)->interrupted);
    assert_int_equal(find_frame(report, "call_it", 0), 1);
    assert_true(xctx_report_frame(report, 1)->guessed);
    assert_true(find_frame(report, __func__, 0) > 1);
    xctx_report_unref(report);
}

/* clang makes several calls one. */
#ifdef __clang__
__attribute__((optnone))
#endif
static NOINLINE void
recurse(int depth)
{
    volatile char space[512];

    space[0] = (char)depth;
    if (depth > 0)
        recurse(depth - 1);
    else
        take();
    space[1] = space[0];
}

TEST(frames_end_with_a_note_where_the_captured_stack_does)
{
    assert_int_equal(xctx_set_stack_limit(4096), 0);
    recurse(20);
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT), 0);
    xctx_report *report = report_of(taken, NULL);
    assert_true(has_note(report, "were not captured (4096 bytes of stack were)"));
    assert_int_equal(find_frame(report, "recurse", 0), 1);
    /* Those that are known to the end of the captured bytes, and at most those that frame pointers lead to. */
    for (size_t i = 0; i < xctx_report_frame_count(report); i++) {
        const xctx_frame *frame = xctx_report_frame(report, i);
        assert_true(frame->guessed || frame->cfa != 0 || i == 0);
    }
    xctx_report_unref(report);
}

/* A snapshot of code in no module, with the given stack. */
static xctx_snapshot *make(const void *stack, uint32_t size, uint64_t address, uint64_t fp)
{
    xctx_snapshot *snapshot = xctx__snapshot_create(XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_REGISTERS, size);

    assert_non_null(snapshot);
    memcpy(snapshot->stack, stack, size);
    snapshot->stack_size = size;
    snapshot->stack_address = address;
    snapshot->captured = XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_REGISTERS;
    snapshot->registers.known = XCTX__REGISTERS_OF_CALL;
    snapshot->registers.value[XCTX__REGISTER_PC] = 0x2000;
    snapshot->registers.value[XCTX__REGISTER_SP] = address;
    snapshot->registers.value[XCTX__REGISTER_FP] = fp;
    snapshot->stage = SNAPSHOT_FILLED;
    return snapshot;
}

TEST(frames_end_where_frame_pointers_lead_back)
{
    /* Two records that point to each other. */
    uint64_t stack[8] = {0x10020, 0x3000, 0, 0, 0x10000, 0x4000, 0, 0};
    xctx_report *report = report_of(make(stack, sizeof(stack), 0x10000, 0x10000), NULL);
    assert_int_equal(xctx_report_frame_count(report), 3);
    assert_true(xctx_report_frame(report, 1)->guessed && xctx_report_frame(report, 2)->guessed);
    assert_true(has_note(report, "the stack ends early"));
    xctx_report_unref(report);
}

TEST(frames_of_damaged_stacks_end)
{
    outer();
    xctx_snapshot *good = taken;
    uint32_t seed = 1;
    for (long round = 0; round < scaled(200); round++) {
        xctx_snapshot *bad = xctx__snapshot_create(XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_REGISTERS, good->stack_size);
        assert_non_null(bad);
        memcpy(bad->stack, good->stack, good->stack_size);
        bad->stack_size = good->stack_size;
        bad->stack_address = good->stack_address;
        bad->captured = good->captured;
        bad->registers = good->registers;
        bad->epoch = good->epoch;
        for (int i = 0; i < 20; i++) {
            seed = seed * 1664525 + 1013904223;
            bad->stack[(seed >> 8) % bad->stack_size] = (uint8_t)(seed >> 24);
        }
        bad->stage = SNAPSHOT_FILLED;
        xctx_report *report = report_of(bad, NULL);
        assert_true(xctx_report_frame_count(report) >= 1 && xctx_report_frame_count(report) <= 256);
        assert_true(frame_is(xctx_report_frame(report, 0), "take"));
        xctx_report_unref(report);
    }
    xctx_snapshot_unref(good);
}

int main(void)
{
    return test_main("unwind");
}
