/* SPDX-License-Identifier: MIT */
/* Taking a snapshot of oneself: the registers are the caller's, and those that a call clobbers are not there. */
#include <fenv.h>

#include "capture_support.h"

#include "capture/snapshot_internal.h"

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
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_REGISTERS | XCTX_CAPTURE_STACK);
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

int main(void)
{
    return test_main("registers of snapshots");
}
