/* SPDX-License-Identifier: MIT */
/*
 * Snapshots that are filled in signal handlers: the bytes and registers are those of what was interrupted, also where
 * the handler has a stack of its own.
 */
#include <dlfcn.h>
#include <fenv.h>

#include "signal_support.h"

#include "capture/snapshot_internal.h"

/* ---- what was interrupted ---- */

#if defined(__x86_64__)
static const char *const set_names[] = {"rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "r8",
                                        "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

NOINLINE static void interrupt_with(uint64_t first)
{
    __asm__ volatile("subq $128, %%rsp\n\t" /* the red zone */
                     "pushq %%rbx\n\t"
                     "pushq %%rbp\n\t"
                     "movq %0, %%rax\n\t"
                     "leaq 1(%%rax), %%rdx\n\t"
                     "leaq 2(%%rax), %%rcx\n\t"
                     "leaq 3(%%rax), %%rbx\n\t"
                     "leaq 4(%%rax), %%rsi\n\t"
                     "leaq 5(%%rax), %%rdi\n\t"
                     "leaq 6(%%rax), %%rbp\n\t"
                     "leaq 7(%%rax), %%r8\n\t"
                     "leaq 8(%%rax), %%r9\n\t"
                     "leaq 9(%%rax), %%r10\n\t"
                     "leaq 10(%%rax), %%r11\n\t"
                     "leaq 11(%%rax), %%r12\n\t"
                     "leaq 12(%%rax), %%r13\n\t"
                     "leaq 13(%%rax), %%r14\n\t"
                     "leaq 14(%%rax), %%r15\n\t"
                     "movq %%rax, %%xmm7\n\t"
                     "stc\n\t"
                     "int3\n\t"
                     "popq %%rbp\n\t"
                     "popq %%rbx\n\t"
                     "addq $128, %%rsp"
                     :
                     : "r"(first)
                     : "rax", "rdx", "rcx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "xmm7",
                       "memory", "cc");
}
#else
static const char *const set_names[] = {"x0",  "x1",  "x2",  "x3",  "x4",  "x5",  "x6",  "x7",  "x8",  "x9",
                                        "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17", "x20", "x28"};

NOINLINE static void interrupt_with(uint64_t first)
{
    __asm__ volatile("mov x0, %0\n\t"
                     "add x1, x0, #1\n\t"
                     "add x2, x0, #2\n\t"
                     "add x3, x0, #3\n\t"
                     "add x4, x0, #4\n\t"
                     "add x5, x0, #5\n\t"
                     "add x6, x0, #6\n\t"
                     "add x7, x0, #7\n\t"
                     "add x8, x0, #8\n\t"
                     "add x9, x0, #9\n\t"
                     "add x10, x0, #10\n\t"
                     "add x11, x0, #11\n\t"
                     "add x12, x0, #12\n\t"
                     "add x13, x0, #13\n\t"
                     "add x14, x0, #14\n\t"
                     "add x15, x0, #15\n\t"
                     "add x16, x0, #16\n\t"
                     "add x17, x0, #17\n\t"
                     "add x20, x0, #18\n\t"
                     "add x28, x0, #19\n\t"
                     "fmov d7, x0\n\t"
                     "brk #0"
                     :
                     : "r"(first)
                     : "x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14",
                       "x15", "x16", "x17", "x20", "x28", "v7", "memory", "cc");
}
#endif

TEST(registers_are_those_that_were_interrupted)
{
    const uint64_t first = UINT64_C(0x1122334455667700);
    uint64_t vector[2];

    handle(SIGTRAP, fill_in_handler, 0);
    reserve(EVERYTHING, 0);
    interrupt_with(first);
    assert_int_equal(result, 0);
    for (size_t i = 0; i < sizeof(set_names) / sizeof(set_names[0]); i++)
        assert_int_equal(register_of(into, set_names[i]), first + i);
    assert_int_equal(register_of(into, "pc"), pc_told);
    assert_int_equal(first_address(into), pc_told);
    assert_int_equal(register_of(into, "sp"), sp_told);
    assert_true(pc_told - (uintptr_t)interrupt_with < 512);
    assert_true(xctx__fpu_vector(into->fpu, into->fpu_size, 7, (uint8_t *)vector));
    assert_int_equal(vector[0], first);
#if defined(__x86_64__)
    assert_int_equal(register_of(into, "eflags") & 1, 1);
    uint64_t cs;
    __asm__("movq %%cs, %0" : "=r"(cs));
    assert_int_equal(register_of(into, "cs"), cs);
#endif
    assert_true(into->bits & SNAPSHOT_INTERRUPTED);
    release();
}

TEST(every_register_is_known_of_what_was_interrupted)
{
    uint64_t value;

    handle(SIGUSR1, fill_in_handler, 0);
    reserve(XCTX_CAPTURE_REGISTERS, 0);
    assert_int_equal(raise(SIGUSR1), 0);
    for (size_t i = 0; xctx_register_name(i); i++)
        assert_int_equal(xctx_snapshot_register(into, xctx_register_name(i), &value), 0);
    release();
}

TEST(stack_of_what_was_interrupted_is_captured)
{
    uintptr_t address;
    uint64_t copy = 0;

    handle(SIGUSR1, fill_in_handler, 0);
    reserve(XCTX_CAPTURE_LOCALS, 0);
    assert_int_equal(raise_with_local(4711, &address), 4711);
    assert_int_equal(result, 0);
    assert_int_equal(xctx_snapshot_read(into, address, &copy, sizeof(copy)), 0);
    assert_int_equal(copy, 4711);
    /* The handler's own frame is not in it. */
    assert_true(into->stack_address <= sp_told && into->stack_address + 256 > sp_told);
    release();
}

#if defined(__x86_64__)
/* Functions that call nothing keep local variables below the stack pointer. */
NOINLINE static void interrupt_with_red_zone(uint64_t value)
{
    __asm__ volatile("subq $128, %%rsp\n\t"
                     "movq %0, -8(%%rsp)\n\t"
                     "movq %0, -128(%%rsp)\n\t"
                     "int3\n\t"
                     "addq $128, %%rsp"
                     :
                     : "r"(value)
                     : "memory", "cc");
}

TEST(stack_below_the_stack_pointer_that_a_function_may_use_is_captured)
{
    const uint64_t value = UINT64_C(0x1122334455667788);
    uint64_t last = 0, first = 0;

    handle(SIGTRAP, fill_in_handler, 0);
    reserve(XCTX_CAPTURE_LOCALS, 0);
    interrupt_with_red_zone(value);
    assert_int_equal(xctx_snapshot_read(into, sp_told - 8, &last, sizeof(last)), 0);
    assert_int_equal(xctx_snapshot_read(into, sp_told - 128, &first, sizeof(first)), 0);
    assert_int_equal(last, value);
    assert_int_equal(first, value);
    release();
}
#endif

TEST(state_is_of_what_was_interrupted)
{
    sigset_t set, old;

    handle(SIGUSR1, fill_in_handler, 0);
    reserve(EVERYTHING, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN + 3);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
    assert_int_equal(fesetround(FE_DOWNWARD), 0);
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_DIVBYZERO);
    assert_int_equal(raise(SIGUSR1), 0);
    int mode = fegetround(), raised = fetestexcept(FE_ALL_EXCEPT);
    fesetround(FE_TONEAREST);
    feclearexcept(FE_ALL_EXCEPT);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &old, &set), 0);
    const xctx_thread_state *state = state_of(into);
    assert_int_equal(mode, FE_DOWNWARD);
    assert_int_equal(state->rounding_mode, FE_DOWNWARD);
    assert_int_equal(state->fp_exceptions, raised);
    assert_true(raised & FE_DIVBYZERO);
    assert_true(state->blocked >> (SIGRTMIN + 2) & 1);
    assert_false(state->blocked >> (SIGUSR1 - 1) & 1);
    release();
}

TEST(handler_can_capture_itself)
{
    handle(SIGUSR1, fill_in_handler, 0);
    reserve(EVERYTHING, 0);
    in_place = 1;
    assert_int_equal(raise(SIGUSR1), 0);
    in_place = 0;
    assert_int_equal(result, 0);
    assert_true(first_address(into) - (uintptr_t)fill_in_handler < 1024);
    assert_true(register_of(into, "sp") < sp_told);
    assert_true(state_of(into)->blocked >> (SIGUSR1 - 1) & 1);
    release();
}

/* ---- alternate signal stacks ---- */

static xctx_snapshot *another;

static void fill_both(int number_of_signal, siginfo_t *info, void *context)
{
    (void)number_of_signal;
    (void)info;
    tell(context);
    result = xctx_snapshot_fill(into, EVERYTHING, context) || xctx_snapshot_fill(another, EVERYTHING, NULL);
}

static void capture_both(char *stack, size_t size)
{
    stack_t alternate = {.ss_sp = stack, .ss_size = size}, before;

    CHECK(sigaltstack(&alternate, &before) == 0);
    handle(SIGUSR1, fill_both, SA_ONSTACK);
    reserve(EVERYTHING, ALL_OF_IT);
    another = xctx_snapshot_reserve(EVERYTHING, ALL_OF_IT);
    uintptr_t address;
    uint64_t copy = 0;
    CHECK(raise_with_local(4711, &address) == 4711);
    CHECK(result == 0);
    CHECK(xctx_snapshot_read(into, address, &copy, sizeof(copy)) == 0 && copy == 4711);
    CHECK(state_of(into)->stack_high > address);
    check_no_thread_local_storage(into);
    /* The handler's stack, and nothing behind its end. */
    uint64_t low = another->stack_address, high = low + another->stack_size;
    CHECK(low > (uintptr_t)stack && high == (uintptr_t)stack + size);
    check_no_thread_local_storage(another);
    another = xctx_snapshot_unref(another);
    release();
    CHECK(sigaltstack(&before, NULL) == 0);
}

static void *capture_on_alternate_stack(void *arg)
{
    char *memory = guarded();
    capture_both(memory, STACK);
    capture_both(memory + PAGE, STACK - 2 * PAGE);
    unguard(memory);
    return arg;
}

TEST(handler_on_an_alternate_stack_captures_both_stacks)
{
    capture_on_alternate_stack(NULL);
    on_thread(capture_on_alternate_stack, NULL);
}

/* ---- stacks that have overflowed ---- */

static void fill_and_end(int number_of_signal, siginfo_t *info, void *context)
{
    (void)number_of_signal;
    (void)info;
    int error = xctx_snapshot_fill(into, EVERYTHING, context);
    tell(context);
    bool ok = error == 0 && into->stack_size > 0 && register_of(into, "sp") == sp_told &&
              into->stack_address + 256 >= sp_told && xctx_snapshot_stack(into, NULL, 0) > 1;
    _exit(ok ? 0 : 1);
}

NOINLINE static size_t recurse(size_t frame, size_t depth)
{
    volatile char *some = __builtin_alloca(frame);
    some[frame / 2] = 1;
    some[0] = (char)depth;
    keep(some);
    return depth > 100000000 ? 0 : recurse(frame, depth + 1) + (size_t)some[0];
}

static void *overflow(void *arg)
{
    const size_t *frame = arg;
    stack_t alternate = {.ss_sp = guarded(), .ss_size = STACK};
    CHECK(sigaltstack(&alternate, NULL) == 0);
    handle(SIGSEGV, fill_and_end, SA_ONSTACK);
    reserve(EVERYTHING, 0);
    return number((long)recurse(*frame, 0));
}

static int overflow_main(void *frame)
{
    overflow(frame);
    return 2;
}

static int overflow_thread(void *frame)
{
    on_thread(overflow, frame);
    return 2;
}

static int overflow_thread_that_was_captured(void *frame)
{
    xctx_snapshot_unref(xctx_snapshot_take(XCTX_CAPTURE_LOCALS));
    return overflow_thread(frame);
}

TEST(overflow_of_the_stack_is_captured)
{
    static const size_t frames[] = {32, 500, 3000};

    if (TEST_ASAN || TEST_TSAN)
        skip(); /* they have handlers of their own */
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        size_t frame = frames[i];
        assert_int_equal(in_child(overflow_main, &frame), 0);
        assert_int_equal(in_child(overflow_thread, &frame), 0);
        assert_int_equal(in_child(overflow_thread_that_was_captured, &frame), 0);
    }
}

/* ---- deep recursion ---- */

NOINLINE static void recurse_and_raise(int depth)
{
    volatile char *some = __builtin_alloca(200);
    some[0] = 1;
    keep(some);
    if (depth > 0)
        recurse_and_raise(depth - 1);
    else
        CHECK(raise(SIGUSR1) == 0);
    some[0] = 2;
}

TEST(deep_recursion_is_captured_up_to_the_limit)
{
    handle(SIGUSR1, fill_in_handler, 0);
    reserve(EVERYTHING, 0);
    recurse_and_raise(5000);
    assert_int_equal(result, 0);
    assert_int_equal(into->stack_size, XCTX_SNAPSHOT_STACK_DEFAULT);
    release();
    reserve(EVERYTHING, ALL_OF_IT);
    recurse_and_raise(5000);
    assert_true(into->stack_size > 5000 * 200);
    release();
}

/* ---- what must not be called in a handler ---- */

static atomic_int asked_libc;

/* In place of libc's, which allocates. */
int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes);
XCTX_API int pthread_getattr_np(pthread_t thread, pthread_attr_t *attributes)
{
    int (*next)(pthread_t, pthread_attr_t *);
    void *found = dlsym(RTLD_NEXT, "pthread_getattr_np");
    memcpy(&next, &found, sizeof(next));
    atomic_fetch_add(&asked_libc, 1);
    return next(thread, attributes);
}

static void *fill_first(void *arg)
{
    xctx_snapshot *snapshot = xctx_snapshot_reserve(EVERYTHING, ALL_OF_IT);
    int before = atomic_load(&asked_libc);
    CHECK(xctx_snapshot_fill(snapshot, EVERYTHING, NULL) == 0);
    CHECK(atomic_load(&asked_libc) == before);
    CHECK(stack_size(snapshot) > 0);
    check_no_thread_local_storage(snapshot);
    xctx_snapshot_unref(snapshot);
    return arg;
}

TEST(fill_does_not_ask_libc_also_without_a_ucontext)
{
    on_thread(fill_first, NULL);
}

int main(void)
{
    return test_main("snapshots in signal handlers");
}
