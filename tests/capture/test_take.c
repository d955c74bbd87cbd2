/* SPDX-License-Identifier: MIT */
/* Taking a snapshot of oneself: what each bit captures, and that it is what the caller has. */
#include <fenv.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "../support/threads.h"
#include "capture_support.h"

#include "capture/snapshot_internal.h"

#define AHEAD (XCTX_CAPTURE_REGISTERS | XCTX_CAPTURE_STACK)

/* ---- addresses ---- */

NOINLINE static xctx_snapshot *take_here(unsigned capture, uintptr_t *ret_frame, uintptr_t *ret_back)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(capture);

    *ret_frame = (uintptr_t)__builtin_frame_address(0);
    *ret_back = (uintptr_t)__builtin_extract_return_addr(__builtin_return_address(0));
    __asm__ volatile("" ::: "memory"); /* not a jump */
    return snapshot;
}

TEST(first_address_is_in_the_caller_and_is_its_program_counter)
{
    uintptr_t frame, back;
    xctx_snapshot *snapshot = take_here(XCTX_CAPTURE_STACK | XCTX_CAPTURE_REGISTERS, &frame, &back);
    uintptr_t pc = first_address(snapshot);

    assert_true(pc > (uintptr_t)take_here && pc - (uintptr_t)take_here < 512);
    assert_int_equal(register_of(snapshot, "pc"), pc);
    assert_int_equal(register_of(snapshot, PC_NAME), pc);
    xctx_snapshot_unref(snapshot);
}

TEST(stack_pointer_is_within_the_callers_frame)
{
    uintptr_t frame, back;
    xctx_snapshot *snapshot = take_here(XCTX_CAPTURE_REGISTERS, &frame, &back);
    uint64_t sp = register_of(snapshot, "sp");

    assert_int_equal(sp % 16, 0); /* as the ABI demands before a call */
    assert_int_equal(sp, register_of(snapshot, SP_NAME));
    assert_true(sp <= frame + 16 && frame - sp < 1024);
    xctx_snapshot_unref(snapshot);
}

/* Frames that have a frame pointer, whatever this is compiled with: it is needed to find what alloca() made. */
NOINLINE static xctx_snapshot *nest(int depth, unsigned capture)
{
    volatile char *some = __builtin_alloca((size_t)depth % 3 * 16 + 16);
    xctx_snapshot *snapshot;

    some[0] = 1;
    keep(some);
    snapshot = depth > 1 ? nest(depth - 1, capture) : xctx_snapshot_take(capture);
    some[0] = 2;
    return snapshot;
}

TEST(addresses_of_callers_with_frame_pointers_are_all_there)
{
    uintptr_t pcs[XCTX_SNAPSHOT_ADDRESSES];
    xctx_snapshot *snapshot = nest(10, XCTX_CAPTURE_STACK);
    size_t count = xctx_snapshot_stack(snapshot, pcs, XCTX_SNAPSHOT_ADDRESSES);

    assert_true(count >= 10);
    for (int i = 0; i < 10; i++)
        assert_true(pcs[i] > (uintptr_t)nest && pcs[i] - (uintptr_t)nest < 1024);
    for (int i = 2; i < 10; i++)
        assert_int_equal(pcs[i], pcs[1]);
    xctx_snapshot_unref(snapshot);
}

TEST(addresses_are_at_most_as_many_as_there_is_room_for)
{
    uintptr_t pcs[XCTX_SNAPSHOT_ADDRESSES] = {0};
    xctx_snapshot *snapshot = nest(2 * XCTX_SNAPSHOT_ADDRESSES, XCTX_CAPTURE_STACK);

    assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), XCTX_SNAPSHOT_ADDRESSES);
    assert_int_equal(xctx_snapshot_stack(snapshot, pcs, 3), XCTX_SNAPSHOT_ADDRESSES);
    assert_int_not_equal(pcs[2], 0);
    assert_int_equal(pcs[3], 0);
    assert_int_equal(xctx_snapshot_stack(snapshot, pcs, XCTX_SNAPSHOT_ADDRESSES), XCTX_SNAPSHOT_ADDRESSES);
    assert_int_not_equal(pcs[XCTX_SNAPSHOT_ADDRESSES - 1], 0);
    xctx_snapshot_unref(snapshot);
}

#if defined(__x86_64__)
/* Takes a snapshot with some value in the frame pointer. */
NOINLINE static xctx_snapshot *take_with_frame_pointer(uintptr_t value)
{
    xctx_snapshot *snapshot;
    unsigned long capture = XCTX_CAPTURE_STACK | XCTX_CAPTURE_REGISTERS;

    __asm__ volatile("movq %%rbp, %%r12\n\t"
                     "movq %%rsp, %%r13\n\t"
                     "subq $256, %%rsp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "movq %2, %%rbp\n\t"
                     "call *%3\n\t"
                     "movq %%r13, %%rsp\n\t"
                     "movq %%r12, %%rbp"
                     : "=a"(snapshot), "+D"(capture)
                     : "r"(value), "r"(xctx_snapshot_take)
                     : "r12", "r13", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1");
    return snapshot;
}

TEST(frame_pointer_that_points_nowhere_ends_the_addresses)
{
    uintptr_t *loop = __builtin_alloca(4 * sizeof(*loop));
    loop[0] = (uintptr_t)loop;
    loop[1] = 1;
    uintptr_t ends[] = {0, 1, 8, UINTPTR_MAX, UINTPTR_MAX - 15, (uintptr_t)INTPTR_MIN, (uintptr_t)loop + 3};

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        xctx_snapshot *snapshot = take_with_frame_pointer(ends[i]);
        assert_non_null(snapshot);
        assert_int_equal(register_of(snapshot, "rbp"), ends[i]);
        assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), 1);
        xctx_snapshot_unref(snapshot);
    }
    /* A frame that is its own caller. */
    xctx_snapshot *snapshot = take_with_frame_pointer((uintptr_t)loop);
    assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), 2);
    xctx_snapshot_unref(snapshot);
}

TEST(frame_pointer_at_the_end_of_the_stack_ends_the_addresses)
{
    xctx_snapshot *bounds = xctx_snapshot_take(0);
    uintptr_t high = (uintptr_t)state_of(bounds)->stack_high;

    assert_int_not_equal(high, 0);
    for (uintptr_t at = high - 32; at <= high + 32; at += 8)
        xctx_snapshot_unref(take_with_frame_pointer(at));
    xctx_snapshot_unref(bounds);
}
#endif

/* ---- registers ---- */

struct preserved {
    uint64_t value[10]; /* at most */
};

#if defined(__x86_64__)
static const char *const preserved_names[] = {"rbx", "rbp", "r12", "r13", "r14", "r15"};

/* Calls xctx_snapshot_take() with these values in registers that it must preserve; they come back in `values`. */
NOINLINE static xctx_snapshot *take_with(unsigned capture, struct preserved *values)
{
    xctx_snapshot *snapshot;
    unsigned long argument = capture;
    xctx_snapshot *(*function)(unsigned) = xctx_snapshot_take;

    __asm__ volatile("pushq %%rbp\n\t"
                     "pushq %%rbx\n\t"
                     "movq %%rsp, %%rbx\n\t"
                     "subq $256, %%rsp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "pushq %%rbx\n\t"
                     "pushq %%rdx\n\t"
                     "movq 0(%%rdx), %%rbx\n\t"
                     "movq 8(%%rdx), %%rbp\n\t"
                     "movq 16(%%rdx), %%r12\n\t"
                     "movq 24(%%rdx), %%r13\n\t"
                     "movq 32(%%rdx), %%r14\n\t"
                     "movq 40(%%rdx), %%r15\n\t"
                     "call *%%rcx\n\t"
                     "popq %%rdx\n\t"
                     "movq %%rbx, 0(%%rdx)\n\t"
                     "movq %%rbp, 8(%%rdx)\n\t"
                     "movq %%r12, 16(%%rdx)\n\t"
                     "movq %%r13, 24(%%rdx)\n\t"
                     "movq %%r14, 32(%%rdx)\n\t"
                     "movq %%r15, 40(%%rdx)\n\t"
                     "popq %%rsp\n\t"
                     "popq %%rbx\n\t"
                     "popq %%rbp"
                     : "=a"(snapshot), "+d"(values), "+D"(argument), "+c"(function)
                     :
                     : "r12", "r13", "r14", "r15", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1",
                       "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7");
    return snapshot;
}
#else
static const char *const preserved_names[] = {"x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28"};

NOINLINE static xctx_snapshot *take_with(unsigned capture, struct preserved *values)
{
    register uint64_t a0 __asm__("x0") = capture;
    register struct preserved *a1 __asm__("x1") = values;
    register xctx_snapshot *(*a2)(unsigned)__asm__("x2") = xctx_snapshot_take;

    __asm__ volatile("stp x29, x30, [sp, #-32]!\n\t"
                     "str x1, [sp, #16]\n\t"
                     "ldp x19, x20, [x1, #0]\n\t"
                     "ldp x21, x22, [x1, #16]\n\t"
                     "ldp x23, x24, [x1, #32]\n\t"
                     "ldp x25, x26, [x1, #48]\n\t"
                     "ldp x27, x28, [x1, #64]\n\t"
                     "blr x2\n\t"
                     "ldr x1, [sp, #16]\n\t"
                     "stp x19, x20, [x1, #0]\n\t"
                     "stp x21, x22, [x1, #16]\n\t"
                     "stp x23, x24, [x1, #32]\n\t"
                     "stp x25, x26, [x1, #48]\n\t"
                     "stp x27, x28, [x1, #64]\n\t"
                     "ldp x29, x30, [sp], #32"
                     : "+r"(a0), "+r"(a1), "+r"(a2)
                     :
                     : "x3", "x4", "x5", "x6", "x7", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", "x16", "x17",
                       "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", "x30", "memory", "cc");
    return (xctx_snapshot *)(uintptr_t)a0; /* NOLINT(performance-no-int-to-ptr) */
}
#endif

enum { PRESERVED = sizeof(preserved_names) / sizeof(preserved_names[0]) };

TEST(registers_that_a_call_preserves_hold_what_the_caller_put_there_and_keep_it)
{
    struct preserved values;
    for (int i = 0; i < PRESERVED; i++)
        values.value[i] = UINT64_C(0x1122334455667700) + (uint64_t)i;
    struct preserved after = values;
    xctx_snapshot *snapshot = take_with(XCTX_CAPTURE_ALL, &after);

    assert_non_null(snapshot);
    for (int i = 0; i < PRESERVED; i++) {
        assert_int_equal(after.value[i], values.value[i]);
        assert_int_equal(register_of(snapshot, preserved_names[i]), values.value[i]);
    }
    xctx_snapshot_unref(snapshot);
}

TEST(registers_that_a_call_clobbers_are_not_captured)
{
#if defined(__x86_64__)
    static const char *const names[] = {"rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "cs", "ss"};
#else
    static const char *const names[] = {"x0", "x1", "x8", "x17", "x18"};
#endif
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    uint64_t value = 77;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_int_equal(xctx_snapshot_register(snapshot, names[i], &value), -ENODATA);
    assert_int_equal(value, 77);
    xctx_snapshot_unref(snapshot);
}

TEST(register_with_wrong_arguments_is_refused)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(AHEAD);
    uint64_t value = 77;

    assert_int_equal(xctx_snapshot_register(snapshot, "r99", &value), -ENOENT);
    assert_int_equal(xctx_snapshot_register(snapshot, "", &value), -ENOENT);
    assert_int_equal(xctx_snapshot_register(snapshot, "RIP", &value), -ENOENT);
    assert_int_equal(xctx_snapshot_register(snapshot, NULL, &value), -EINVAL);
    assert_int_equal(xctx_snapshot_register(snapshot, "pc", NULL), -EINVAL);
    assert_int_equal(xctx_snapshot_register(NULL, "pc", &value), -EINVAL);
    assert_int_equal(value, 77);
    xctx_snapshot_unref(snapshot);
}

TEST(registers_are_there_with_registers_or_locals_alone)
{
    uint64_t value;
    volatile uint64_t *words = MARKED_FRAME(2000);

    for (unsigned capture = 0; capture <= XCTX_CAPTURE_ALL; capture++) {
        xctx_snapshot *snapshot = xctx_snapshot_take(capture);
        bool there = capture & (XCTX_CAPTURE_REGISTERS | XCTX_CAPTURE_LOCALS);
        assert_int_equal(xctx_snapshot_captured(snapshot), capture);
        assert_int_equal(xctx_snapshot_register(snapshot, "sp", &value), there ? 0 : -ENODATA);
        assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0) > 0, (capture & XCTX_CAPTURE_STACK) != 0);
        assert_int_equal(holds(snapshot, words, 2000), (capture & XCTX_CAPTURE_LOCALS) != 0);
        assert_int_equal((state_of(snapshot)->present & XCTX_THREAD_NAME) != 0, (capture & XCTX_CAPTURE_STATE) != 0);
        assert_int_equal(snapshot->fpu_size > 0, (capture & XCTX_CAPTURE_FPU) != 0);
        xctx_snapshot_unref(snapshot);
    }
}

TEST(register_names_are_all_known_and_end)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(0);
    size_t count = 0;
    uint64_t value;

    for (const char *name; (name = xctx_register_name(count)); count++) {
        assert_int_equal(xctx_snapshot_register(snapshot, name, &value), -ENODATA);
        for (size_t other = 0; other < count; other++)
            assert_string_not_equal(name, xctx_register_name(other));
    }
    assert_int_equal(count, XCTX__REGISTERS);
    assert_null(xctx_register_name(count + 1));
    assert_null(xctx_register_name(SIZE_MAX));
    xctx_snapshot_unref(snapshot);
}

TEST(aliases_name_the_same_registers)
{
#if defined(__x86_64__)
    static const char *const pairs[][2] = {{"pc", "rip"}, {"sp", "rsp"}, {"fp", "rbp"}, {"eflags", "rflags"}};
#else
    static const char *const pairs[][2] = {{"pc", "pc"}, {"sp", "sp"}, {"fp", "x29"}, {"x30", "x30"}};
#endif
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_REGISTERS);

    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        assert_int_equal(register_of(snapshot, pairs[i][0]), register_of(snapshot, pairs[i][1]));
    xctx_snapshot_unref(snapshot);
}

TEST(register_of_thread_local_storage_is_the_threads)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_REGISTERS);
#if defined(__x86_64__)
    uint64_t base;
    __asm__("movq %%fs:0, %0" : "=r"(base));
    assert_int_equal(register_of(snapshot, "fs_base"), base);
#else
    uint64_t base;
    __asm__("mrs %0, tpidr_el0" : "=r"(base));
    assert_int_equal(register_of(snapshot, "tpidr"), base);
#endif
    xctx_snapshot_unref(snapshot);
}

TEST(registers_of_floating_point_control_are_as_set)
{
    assert_int_equal(fesetround(FE_UPWARD), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_REGISTERS);
    assert_int_equal(fegetround(), FE_UPWARD);
    fesetround(FE_TONEAREST);
#if defined(__x86_64__)
    assert_int_equal(register_of(snapshot, "mxcsr") >> 13 & 3, 2); /* Intel SDM 1, 10.2.3 */
    assert_int_equal(register_of(snapshot, "fctrl") >> 10 & 3, 2);
#else
    assert_int_equal(register_of(snapshot, "fpcr") >> 22 & 3, 1);
#endif
    xctx_snapshot_unref(snapshot);
}

#if defined(__x86_64__)
TEST(flags_are_the_callers)
{
    xctx_snapshot *snapshots[2];

    for (int carry = 0; carry < 2; carry++) {
        unsigned long capture = XCTX_CAPTURE_REGISTERS;
        __asm__ volatile("movq %%rsp, %%r12\n\t"
                         "subq $256, %%rsp\n\t"
                         "andq $-16, %%rsp\n\t"
                         "btq $0, %2\n\t"
                         "call *%3\n\t"
                         "movq %%r12, %%rsp"
                         : "=a"(snapshots[carry]), "+D"(capture)
                         : "r"((unsigned long)carry), "r"(xctx_snapshot_take)
                         : "r12", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm0", "xmm1");
    }
    for (int carry = 0; carry < 2; carry++) {
        assert_int_equal(register_of(snapshots[carry], "eflags") & 1, carry);
        xctx_snapshot_unref(snapshots[carry]);
    }
}
#endif

/* ---- floating-point and vector registers ---- */

TEST(vector_registers_are_captured)
{
    double value = 1234.5;
    double found[2];
#if defined(__x86_64__)
    xctx_snapshot *snapshot;
    unsigned long capture = XCTX_CAPTURE_FPU;
    __asm__ volatile("movq %%rsp, %%r12\n\t"
                     "subq $256, %%rsp\n\t"
                     "andq $-16, %%rsp\n\t"
                     "movsd %2, %%xmm15\n\t"
                     "call *%3\n\t"
                     "movq %%r12, %%rsp"
                     : "=a"(snapshot), "+D"(capture)
                     : "x"(value), "r"(xctx_snapshot_take)
                     : "r12", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "memory", "cc", "xmm15");
    unsigned index = 15;
#else
    register double held __asm__("d15") = value;
    __asm__ volatile("" : "+w"(held));
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_FPU);
    __asm__ volatile("" : "+w"(held));
    unsigned index = 15;
#endif
    assert_non_null(snapshot);
    assert_true(snapshot->fpu_size > 0);
    assert_true(xctx__fpu_vector(snapshot->fpu, snapshot->fpu_size, index, (uint8_t *)found));
    assert_memory_equal(found, &value, sizeof(value));
    xctx_snapshot_unref(snapshot);
}

#if defined(__x86_64__)
/* FXSAVE leaves some bytes as they are: they must not be what the memory held before. */
TEST(bytes_that_the_processor_does_not_write_are_zero)
{
    enum { UNUSED_AT = 464, UNUSED = 48 };
    static const uint8_t zero[UNUSED];
    enum { SIZE = 8192 };

    xctx_snapshot *first = xctx_snapshot_take(XCTX_CAPTURE_FPU);
    for (int i = 0; i < 64; i++) {
        void *dirt = malloc(first->size);
        memset(dirt, 0xd1, first->size);
        __asm__ volatile("" : : "r"(dirt) : "memory");
        free(dirt);
        xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_FPU);
        assert_memory_equal(snapshot->fpu + UNUSED_AT, zero, UNUSED);
        xctx_snapshot *another = xctx_snapshot_take(XCTX_CAPTURE_FPU);
        assert_memory_equal(another->fpu + UNUSED_AT, zero, UNUSED);
        xctx_snapshot_unref(another);
        xctx_snapshot_unref(snapshot);
    }
    xctx_snapshot_unref(first);
}
#endif

/* ---- bytes of the stack ---- */

TEST(stack_holds_what_is_in_the_callers_frame)
{
    volatile uint64_t *words = MARKED_FRAME(1000);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);

    assert_true(holds(snapshot, words, 1000));
    words[0] = 0;
    assert_true(holds(snapshot, words, 1000)); /* it is a copy */
    xctx_snapshot_unref(snapshot);
}

TEST(stack_from_the_stack_pointer_on_is_captured_and_nothing_below)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    uint64_t sp = register_of(snapshot, "sp");
    unsigned char byte;

    assert_int_equal(xctx_snapshot_read(snapshot, sp, &byte, 1), 0);
    assert_int_equal(xctx_snapshot_read(snapshot, sp - 1, &byte, 1), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, sp + stack_size(snapshot), &byte, 0), 0);
    assert_int_equal(xctx_snapshot_read(snapshot, sp + stack_size(snapshot), &byte, 1), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, sp + stack_size(snapshot) - 1, &sp, 2), -EFAULT);
    xctx_snapshot_unref(snapshot);
}

TEST(read_with_wrong_arguments_is_refused)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    unsigned char byte = 9;

    assert_int_equal(xctx_snapshot_read(NULL, 0, &byte, 1), -EINVAL);
    assert_int_equal(xctx_snapshot_read(snapshot, register_of(snapshot, "sp"), NULL, 1), -EINVAL);
    assert_int_equal(xctx_snapshot_read(snapshot, 0, &byte, 1), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, UINT64_MAX, &byte, 1), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, register_of(snapshot, "sp"), &byte, SIZE_MAX), -EFAULT);
    assert_int_equal(xctx_snapshot_read(snapshot, UINT64_MAX - 3, &byte, SIZE_MAX), -EFAULT);
    assert_int_equal(byte, 9);
    xctx_snapshot_unref(snapshot);
}

NOINLINE static size_t stack_size_below(size_t more)
{
    volatile char *some = __builtin_alloca(more);
    some[0] = 1;
    some[more - 1] = 1;
    keep(some);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    size_t size = stack_size(snapshot);
    xctx_snapshot_unref(snapshot);
    return size;
}

TEST(stack_limit_bounds_what_is_copied)
{
    enum { DEEP = 100000 };

    assert_int_equal(stack_size_below(DEEP), XCTX_SNAPSHOT_STACK_DEFAULT);
    assert_int_equal(xctx_set_stack_limit(4096), 0);
    assert_int_equal(stack_size_below(DEEP), 4096);
    assert_int_equal(xctx_set_stack_limit(0), 0);
    assert_int_equal(stack_size_below(DEEP), 0);
    /* Nothing but whole words. */
    assert_int_equal(xctx_set_stack_limit(4099), 0);
    assert_int_equal(stack_size_below(DEEP), 4096);
    assert_int_equal(xctx_set_stack_limit(7), 0);
    assert_int_equal(stack_size_below(DEEP), 0);
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_MAX), 0);
    size_t all = stack_size_below(DEEP);
    assert_true(all > DEEP && all < XCTX_SNAPSHOT_STACK_MAX);
    assert_int_equal(xctx_set_stack_limit((size_t)XCTX_SNAPSHOT_STACK_MAX + 1), -EINVAL);
    assert_int_equal(xctx_set_stack_limit(SIZE_MAX), -EINVAL);
    assert_int_equal(stack_size_below(DEEP), all);
    restore_defaults();
}

TEST(stack_without_limit_ends_where_the_state_says)
{
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_MAX), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    const xctx_thread_state *state = state_of(snapshot);

    assert_true(state->present & XCTX_THREAD_STACK);
    assert_int_equal(register_of(snapshot, "sp") + stack_size(snapshot), state->stack_high);
    assert_true(state->stack_low <= register_of(snapshot, "sp"));
    xctx_snapshot_unref(snapshot);
    restore_defaults();
}

/* ---- the thread's state ---- */

static void *check_name(void *arg)
{
    (void)arg;
    CHECK(prctl(PR_SET_NAME, "fifteen letters", 0, 0, 0) == 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    const xctx_thread_state *state = state_of(snapshot);
    CHECK(state->present & XCTX_THREAD_NAME && strcmp(state->name, "fifteen letters") == 0);
    CHECK(state->tid == own_tid() && state->tid != getpid());
    CHECK(state->pid == getpid());
    xctx_snapshot_unref(snapshot);
    return NULL;
}

TEST(state_has_name_and_ids)
{
    on_thread(check_name, NULL);
    for (unsigned capture = 0; capture <= XCTX_CAPTURE_ALL; capture++) {
        xctx_snapshot *snapshot = xctx_snapshot_take(capture);
        const xctx_thread_state *state = state_of(snapshot);
        assert_int_equal(state->size, sizeof(*state));
        assert_true(state->present & XCTX_THREAD_IDS);
        assert_int_equal(state->tid, own_tid());
        assert_int_equal(state->pid, getpid());
        assert_int_equal(state->reserved, 0);
        xctx_snapshot_unref(snapshot);
    }
}

static uint64_t bits_of(const sigset_t *set)
{
    uint64_t bits = 0;
    for (int i = 1; i <= 64; i++)
        bits |= (uint64_t)(sigismember(set, i) == 1) << (i - 1);
    return bits;
}

TEST(state_has_signals_that_are_blocked_and_that_wait)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN + 3);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
    assert_int_equal(raise(SIGUSR2), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    const xctx_thread_state *state = state_of(snapshot);

    assert_true(state->present & XCTX_THREAD_SIGMASK);
    uint64_t pending = state->pending, blocked = state->blocked;
    int got = 0;
    uint64_t both = bits_of(&set);
    sigdelset(&set, SIGRTMIN + 3);
    assert_int_equal(sigwait(&set, &got), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
    assert_int_equal(blocked, bits_of(&old) | both);
    assert_int_equal(pending, UINT64_C(1) << (SIGUSR2 - 1));
    xctx_snapshot_unref(snapshot);
}

TEST(state_has_the_floating_point_environment)
{
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(fesetround(modes[i]), 0);
        feclearexcept(FE_ALL_EXCEPT);
        feraiseexcept(i % 2 ? FE_OVERFLOW : FE_DIVBYZERO);
        int raised = fetestexcept(FE_ALL_EXCEPT);
        xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
        int after = fetestexcept(FE_ALL_EXCEPT);
        int mode = fegetround();
        feclearexcept(FE_ALL_EXCEPT);
        fesetround(FE_TONEAREST);
        const xctx_thread_state *state = state_of(snapshot);
        assert_true(state->present & XCTX_THREAD_FENV);
        assert_int_equal(state->rounding_mode, modes[i]);
        assert_int_equal(state->fp_exceptions, raised);
        assert_int_equal(after, raised);
        assert_int_equal(mode, modes[i]);
        xctx_snapshot_unref(snapshot);
    }
}

TEST(state_has_the_global_locale)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    assert_true(state_of(snapshot)->present & XCTX_THREAD_LOCALE);
    assert_string_equal(state_of(snapshot)->locale, setlocale(LC_ALL, NULL));
    xctx_snapshot_unref(snapshot);
}

#ifdef __GLIBC__
static const char *mixed = "LC_CTYPE=C.UTF-8;LC_NUMERIC=C;LC_TIME=C.UTF-8;LC_COLLATE=C.UTF-8;LC_MONETARY=C.UTF-8;"
                           "LC_MESSAGES=C.UTF-8";

TEST(state_has_the_global_locale_where_categories_differ)
{
    assert_non_null(setlocale(LC_ALL, "C.UTF-8"));
    assert_non_null(setlocale(LC_NUMERIC, "C"));
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    setlocale(LC_ALL, "C");
    assert_true(state_of(snapshot)->present & XCTX_THREAD_LOCALE);
    assert_string_equal(state_of(snapshot)->locale, mixed);
    xctx_snapshot_unref(snapshot);
}

static void *check_own_locale(void *arg)
{
    locale_t base = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
    CHECK(base);
    uselocale(base);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    CHECK(strcmp(state_of(snapshot)->locale, "C.UTF-8") == 0);
    xctx_snapshot_unref(snapshot);
    locale_t one = newlocale(LC_NUMERIC_MASK, "C", base);
    CHECK(one);
    uselocale(one);
    snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    CHECK(strcmp(state_of(snapshot)->locale, mixed) == 0);
    xctx_snapshot_unref(snapshot);
    uselocale(LC_GLOBAL_LOCALE);
    freelocale(one);
    return arg;
}

TEST(state_has_the_threads_own_locale)
{
    on_thread(check_own_locale, NULL);
}
#endif

/* A snapshot's memory is not cleared before: nothing of what was there may show. */
static void *check_affinity(void *arg)
{
    cpu_set_t set, all;
    CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        if (sched_setaffinity(0, sizeof(set), &set) != 0)
            continue;
        xctx_snapshot *first = xctx_snapshot_take(XCTX_CAPTURE_STATE);
        void *dirt = malloc(first->size);
        memset(dirt, 0xd1, first->size);
        __asm__ volatile("" : : "r"(dirt) : "memory");
        free(dirt);
        xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
        const xctx_thread_state *state = state_of(snapshot);
        CHECK(state->present & XCTX_THREAD_AFFINITY);
        for (unsigned i = 0; i < 16; i++)
            CHECK(state->affinity[i] == (i == (unsigned)cpu / 64 ? UINT64_C(1) << cpu % 64 : 0));
        CHECK(state->present & XCTX_THREAD_CPU && state->cpu == cpu);
        xctx_snapshot_unref(snapshot);
        xctx_snapshot_unref(first);
    }
    return arg;
}

TEST(state_has_the_processors_that_the_thread_may_run_on)
{
    on_thread(check_affinity, NULL);
}

static void *check_nice(void *arg)
{
    CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    const xctx_thread_state *state = state_of(snapshot);
    CHECK(state->present & XCTX_THREAD_SCHED);
    CHECK(state->nice == 7 && state->policy == SCHED_OTHER && state->priority == 0);
    xctx_snapshot_unref(snapshot);
    /* Where one is allowed to: a real-time policy, behind which the nice value is still there. */
    struct sched_param param = {.sched_priority = 3};
    if (sched_setscheduler(0, SCHED_FIFO, &param) == 0) {
        snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
        state = state_of(snapshot);
        CHECK(state->policy == SCHED_FIFO && state->priority == 3 && state->nice == 7);
        xctx_snapshot_unref(snapshot);
    }
    return arg;
}

TEST(state_has_policy_priority_and_nice)
{
    on_thread(check_nice, NULL);
}

TEST(state_has_errno_and_taking_does_not_change_it)
{
    for (unsigned capture = 0; capture <= XCTX_CAPTURE_ALL; capture++) {
        errno = 4711;
        xctx_snapshot *snapshot = xctx_snapshot_take(capture);
        int after = errno;
        assert_int_equal(after, 4711);
        const xctx_thread_state *state = state_of(snapshot);
        assert_int_equal((state->present & XCTX_THREAD_ERRNO) != 0, (capture & XCTX_CAPTURE_STATE) != 0);
        if (capture & XCTX_CAPTURE_STATE)
            assert_int_equal(state->error_number, 4711);
        xctx_snapshot_unref(snapshot);
    }
    errno = 0;
}

static int64_t now(clockid_t clock)
{
    struct timespec time;
    CHECK(clock_gettime(clock, &time) == 0);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

TEST(state_has_the_times)
{
    int64_t time = 77, cpu = now(CLOCK_THREAD_CPUTIME_ID), before = now(CLOCK_REALTIME);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    const xctx_thread_state *state = state_of(snapshot);

    assert_true(state->present & XCTX_THREAD_TIME);
    assert_int_equal(xctx_snapshot_time(snapshot, &time), 0);
    assert_true(time == state->time && time >= before && time <= now(CLOCK_REALTIME));
    assert_true(state->cpu_time >= cpu && state->cpu_time <= now(CLOCK_THREAD_CPUTIME_ID));
    xctx_snapshot_unref(snapshot);
}

TEST(time_is_refused_where_it_was_not_captured)
{
    int64_t time = 77;
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STACK);

    assert_int_equal(xctx_snapshot_time(snapshot, &time), -ENODATA);
    assert_int_equal(xctx_snapshot_time(NULL, &time), -EINVAL);
    assert_int_equal(xctx_snapshot_time(snapshot, NULL), -EINVAL);
    assert_int_equal(time, 77);
    xctx_snapshot_unref(snapshot);
}

/* ---- wrong arguments, references ---- */

TEST(unknown_bits_are_refused)
{
    for (unsigned bit = XCTX_CAPTURE_ALL + 1; bit; bit <<= 1) {
        assert_null(xctx_snapshot_take(bit));
        assert_null(xctx_snapshot_take(bit | XCTX_CAPTURE_ALL));
        assert_null(xctx_snapshot_reserve(bit, 0));
        assert_int_equal(xctx_set_default_capture(bit), -EINVAL);
        assert_null(xctx_copy_current_with(bit));
    }
    assert_int_equal(xctx_default_capture(), 0);
}

TEST(nothing_is_known_of_no_snapshot)
{
    assert_null(xctx_snapshot_unref(NULL));
    assert_null(xctx_snapshot_ref(NULL));
    assert_null(xctx_snapshot_parent(NULL));
    assert_null(xctx_snapshot_of(NULL));
    assert_null(xctx_snapshot_context(NULL));
    assert_null(xctx_snapshot_thread_state(NULL));
    assert_int_equal(xctx_snapshot_captured(NULL), 0);
    assert_int_equal(xctx_snapshot_stack(NULL, NULL, 0), 0);
    xctx_snapshot_unref_all(NULL, 3);
}

TEST(references_are_counted)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);

    assert_ptr_equal(xctx_snapshot_ref(snapshot), snapshot);
    assert_null(xctx_snapshot_unref(snapshot));
    assert_int_equal(xctx_snapshot_captured(snapshot), XCTX_CAPTURE_ALL);
    assert_null(xctx_snapshot_unref(snapshot));
}

/* ---- reserved memory ---- */

TEST(reserved_snapshot_has_nothing_in_it)
{
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    uint64_t value;
    int64_t time;

    assert_non_null(snapshot);
    assert_int_equal(xctx_snapshot_captured(snapshot), 0);
    assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), 0);
    assert_int_equal(xctx_snapshot_register(snapshot, "pc", &value), -ENODATA);
    assert_int_equal(xctx_snapshot_time(snapshot, &time), -ENODATA);
    assert_int_equal(xctx_snapshot_read(snapshot, (uintptr_t)&value, &time, 8), -EFAULT);
    assert_null(xctx_snapshot_thread_state(snapshot));
    assert_null(xctx_snapshot_context(snapshot));
    assert_null(xctx_snapshot_parent(snapshot));
    xctx_snapshot_unref(snapshot);
}

NOINLINE static int fill_here(xctx_snapshot *snapshot, unsigned capture)
{
    int result = xctx_snapshot_fill(snapshot, capture, NULL);
    __asm__ volatile("" ::: "memory");
    return result;
}

TEST(filled_snapshot_is_of_the_caller)
{
    volatile uint64_t *words = MARKED_FRAME(3000);
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);

    assert_int_equal(fill_here(snapshot, XCTX_CAPTURE_ALL), 0);
    assert_true(first_address(snapshot) - (uintptr_t)fill_here < 512);
    assert_int_equal(register_of(snapshot, "pc"), first_address(snapshot));
    assert_true(holds(snapshot, words, 3000));
    assert_int_equal(state_of(snapshot)->tid, own_tid());
    xctx_snapshot_unref(snapshot);
}

TEST(fill_takes_no_more_than_what_was_reserved)
{
    for (unsigned reserved = 0; reserved <= XCTX_CAPTURE_ALL; reserved++)
        for (unsigned capture = 0; capture <= 2 * XCTX_CAPTURE_ALL + 1; capture++) {
            xctx_snapshot *snapshot = xctx_snapshot_reserve(reserved, 0);
            bool too_much = capture & ~reserved;
            assert_int_equal(xctx_snapshot_fill(snapshot, capture, NULL), too_much ? -EINVAL : 0);
            assert_int_equal(xctx_snapshot_captured(snapshot), too_much ? 0 : capture);
            assert_int_equal(xctx_snapshot_fill(snapshot, 0, NULL), too_much ? 0 : -EALREADY);
            xctx_snapshot_unref(snapshot);
        }
    assert_int_equal(xctx_snapshot_fill(NULL, 0, NULL), -EINVAL);
}

TEST(reserve_has_room_for_the_stack_that_is_asked_for)
{
    enum { DEEP = 50000 };
    static const size_t asked[] = {8, 100, 4096, 40000};
    volatile char deep[DEEP];
    deep[0] = 1;
    keep(deep);

    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_LOCALS, asked[i]);
        assert_int_equal(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_LOCALS, NULL), 0);
        assert_int_equal(stack_size(snapshot), asked[i] & ~(size_t)7);
        xctx_snapshot_unref(snapshot);
    }
    assert_int_equal(xctx_set_stack_limit(1024), 0);
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_LOCALS, 0);
    restore_defaults();
    assert_int_equal(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_LOCALS, NULL), 0);
    assert_int_equal(stack_size(snapshot), 1024);
    xctx_snapshot_unref(snapshot);
    assert_null(xctx_snapshot_reserve(XCTX_CAPTURE_LOCALS, (size_t)XCTX_SNAPSHOT_STACK_MAX + 1));
    assert_null(xctx_snapshot_reserve(0, SIZE_MAX));
    assert_int_equal(deep[0], 1);
}

TEST(reset_empties_for_another_fill)
{
    volatile uint64_t *words = MARKED_FRAME(4000);
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    uint64_t value;

    for (int i = 0; i < 3; i++) {
        assert_int_equal(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_ALL, NULL), 0);
        assert_true(holds(snapshot, words, 4000));
        assert_non_null(xctx_snapshot_context(snapshot));
        assert_int_equal(xctx_snapshot_reset(snapshot), 0);
        assert_int_equal(xctx_snapshot_captured(snapshot), 0);
        assert_int_equal(xctx_snapshot_register(snapshot, "pc", &value), -ENODATA);
        assert_int_equal(xctx_snapshot_stack(snapshot, NULL, 0), 0);
        assert_false(holds(snapshot, words, 4000));
        assert_null(xctx_snapshot_context(snapshot));
        assert_null(xctx_snapshot_thread_state(snapshot));
        assert_int_equal(xctx_snapshot_reset(snapshot), 0);
    }
    xctx_snapshot_unref(snapshot);
}

TEST(reset_overwrites_what_was_captured)
{
    xctx_snapshot *snapshot = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);

    assert_int_equal(xctx_snapshot_fill(snapshot, XCTX_CAPTURE_ALL, NULL), 0);
    uint32_t stack_filled = snapshot->stack_size, fpu_filled = snapshot->fpu_size;
    size_t addresses = snapshot->pc_count;
    assert_true(stack_filled > 0 && fpu_filled > 0 && addresses > 0);
    assert_int_equal(xctx_snapshot_reset(snapshot), 0);
    for (uint32_t i = 0; i < stack_filled; i++)
        assert_int_equal(snapshot->stack[i], 0);
    for (uint32_t i = 0; i < fpu_filled; i++)
        assert_int_equal(snapshot->fpu[i], 0);
    for (size_t i = 0; i < addresses; i++)
        assert_int_equal(snapshot->pcs[i], 0);
    for (size_t i = 0; i < XCTX__REGISTERS; i++)
        assert_int_equal(snapshot->registers.value[i], 0);
    assert_int_equal(snapshot->state.stack_high, 0);
    xctx_snapshot_unref(snapshot);
}

TEST(reset_of_what_others_use_is_refused)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STACK);

    xctx_snapshot_ref(snapshot);
    assert_int_equal(xctx_snapshot_reset(snapshot), -EBUSY);
    assert_int_equal(xctx_snapshot_captured(snapshot), XCTX_CAPTURE_STACK);
    xctx_snapshot_unref(snapshot);
    assert_int_equal(xctx_snapshot_reset(snapshot), 0);
    xctx_snapshot_unref(snapshot);
    assert_int_equal(xctx_snapshot_reset(NULL), -EINVAL);
}

int main(void)
{
    return test_main("taking snapshots");
}
