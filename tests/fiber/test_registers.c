/* SPDX-License-Identifier: MIT */
/* Registers that the ABI has a function keep: each of them, by name, over switches and in shots. */
#include "fiber_support.h"

/*
 * void call_with_registers(const uint64_t values[REGISTERS], void (*call)(void), uint64_t ret_values[REGISTERS]):
 * loads all of these registers, calls, and stores what is in them then.
 */
#if defined(__x86_64__)
enum { REGISTERS = 6 };
__asm__(".text\n"
        "    .type call_with_registers, @function\n"
        "call_with_registers:\n"
        "    .cfi_startproc\n"
        "    pushq %rbx\n"
        "    pushq %rbp\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    pushq %rdx\n"
        "    .cfi_adjust_cfa_offset 56\n"
        "    movq (%rdi), %rbx\n"
        "    movq 8(%rdi), %rbp\n"
        "    movq 16(%rdi), %r12\n"
        "    movq 24(%rdi), %r13\n"
        "    movq 32(%rdi), %r14\n"
        "    movq 40(%rdi), %r15\n"
        "    call *%rsi\n"
        "    popq %rdx\n"
        "    movq %rbx, (%rdx)\n"
        "    movq %rbp, 8(%rdx)\n"
        "    movq %r12, 16(%rdx)\n"
        "    movq %r13, 24(%rdx)\n"
        "    movq %r14, 32(%rdx)\n"
        "    movq %r15, 40(%rdx)\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbp\n"
        "    popq %rbx\n"
        "    .cfi_adjust_cfa_offset -56\n"
        "    ret\n"
        "    .cfi_endproc\n"
        "    .size call_with_registers, . - call_with_registers\n");
#elif defined(__aarch64__)
enum { REGISTERS = 19 };
__asm__(".text\n"
        "    .type call_with_registers, %function\n"
        "call_with_registers:\n"
        "    .cfi_startproc\n"
        "    stp x29, x30, [sp, #-176]!\n"
        "    .cfi_def_cfa_offset 176\n"
        "    .cfi_offset x29, -176\n"
        "    .cfi_offset x30, -168\n"
        "    stp x19, x20, [sp, #16]\n"
        "    stp x21, x22, [sp, #32]\n"
        "    stp x23, x24, [sp, #48]\n"
        "    stp x25, x26, [sp, #64]\n"
        "    stp x27, x28, [sp, #80]\n"
        "    stp d8, d9, [sp, #96]\n"
        "    stp d10, d11, [sp, #112]\n"
        "    stp d12, d13, [sp, #128]\n"
        "    stp d14, d15, [sp, #144]\n"
        "    str x2, [sp, #160]\n"
        "    ldp x19, x20, [x0]\n"
        "    ldp x21, x22, [x0, #16]\n"
        "    ldp x23, x24, [x0, #32]\n"
        "    ldp x25, x26, [x0, #48]\n"
        "    ldp x27, x28, [x0, #64]\n"
        "    ldr x29, [x0, #80]\n"
        "    ldp d8, d9, [x0, #88]\n"
        "    ldp d10, d11, [x0, #104]\n"
        "    ldp d12, d13, [x0, #120]\n"
        "    ldp d14, d15, [x0, #136]\n"
        "    blr x1\n"
        "    ldr x2, [sp, #160]\n"
        "    stp x19, x20, [x2]\n"
        "    stp x21, x22, [x2, #16]\n"
        "    stp x23, x24, [x2, #32]\n"
        "    stp x25, x26, [x2, #48]\n"
        "    stp x27, x28, [x2, #64]\n"
        "    str x29, [x2, #80]\n"
        "    stp d8, d9, [x2, #88]\n"
        "    stp d10, d11, [x2, #104]\n"
        "    stp d12, d13, [x2, #120]\n"
        "    stp d14, d15, [x2, #136]\n"
        "    ldp x19, x20, [sp, #16]\n"
        "    ldp x21, x22, [sp, #32]\n"
        "    ldp x23, x24, [sp, #48]\n"
        "    ldp x25, x26, [sp, #64]\n"
        "    ldp x27, x28, [sp, #80]\n"
        "    ldp d8, d9, [sp, #96]\n"
        "    ldp d10, d11, [sp, #112]\n"
        "    ldp d12, d13, [sp, #128]\n"
        "    ldp d14, d15, [sp, #144]\n"
        "    ldp x29, x30, [sp], #176\n"
        "    .cfi_def_cfa_offset 0\n"
        "    ret\n"
        "    .cfi_endproc\n"
        "    .size call_with_registers, . - call_with_registers\n");
#endif
extern void call_with_registers(const uint64_t *values, void (*call)(void), uint64_t *ret_values)
    __attribute__((visibility("hidden")));

/* Whether all registers have after a call what they had before it. */
static bool are_kept(uint64_t seed, void (*call)(void))
{
    uint64_t values[REGISTERS], after[REGISTERS];

    for (uint64_t i = 0; i < REGISTERS; i++)
        values[i] = (seed * REGISTERS + i + 1) * UINT64_C(0x9e3779b97f4a7c15);
    memset(after, 0, sizeof(after));
    call_with_registers(values, call, after);
    return memcmp(values, after, sizeof(values)) == 0;
}

static void yield_nothing(void)
{
    xctx_fiber_yield(NULL);
}

enum { ROUNDS = 6 };

static void *keep_in_fiber(void *argument)
{
    for (uint64_t i = 0; i < ROUNDS; i++)
        CHECK(are_kept((uint64_t)as_number(argument) + i, yield_nothing));
    return number(1);
}

static xctx_fiber *stepped;

static void step_once(void)
{
    step(stepped, NULL);
}

static void step_last(void)
{
    CHECK(last_step(stepped, NULL) == number(1));
}

TEST(each_register_is_kept_on_both_sides)
{
    stepped = make(keep_in_fiber, number(100));
    for (uint64_t i = 0; i < ROUNDS; i++)
        assert_true(are_kept(i, step_once));
    assert_true(are_kept(ROUNDS, step_last));
}

TEST(each_register_is_kept_in_every_shot)
{
    xctx_continuation *continuation = NULL;
    xctx_fiber *fiber = make(keep_in_fiber, number(200));

    step(fiber, NULL);
    assert_int_equal(xctx_fiber_capture(fiber, &continuation), 0);
    for (int shot = 0; shot < 3; shot++) {
        assert_int_equal(xctx_continuation_shot(continuation, &stepped), 0);
        for (uint64_t i = 1; i < ROUNDS; i++)
            assert_true(are_kept(i, step_once));
        assert_true(are_kept(ROUNDS, step_last));
    }
    xctx_continuation_unref(continuation);
    xctx_fiber_unref(fiber);
}

int main(void)
{
    return test_main("registers in fibers");
}
