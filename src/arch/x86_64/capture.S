/* SPDX-License-Identifier: MIT */
/*
 * Entry points that hand their caller's registers on, x86-64.
 *
 * What a function finds in its registers is its caller's only before it has touched them: so these functions of the
 * public interface begin here. Each stores the registers into a struct xctx__registers on its stack, as they will be in
 * the caller when the call has returned, and calls the C function that does the work with a pointer to it behind the
 * other arguments.
 *
 *   in    arguments as the public function has them, in rdi, rsi, rdx, rcx
 *   uses  rax, and the register of the additional argument
 *   out   rax, as the C function returns it
 *
 * Flags, the return address and the stack pointer come first, since the others do not change meanwhile. mxcsr and fctrl
 * are read by the C function, which only does that where somebody wants them, and before any arithmetic.
 */
#include "arch/x86_64/mark.inc"

#define SIZE 192 /* sizeof(struct xctx__registers) */
#define AT(i) (8 + 8 * (i))(%rsp)

/* The numbers of XCTX__REGISTERS_OF_CALL, without those that C reads. */
#define RBX 3
#define RBP 6
#define RSP 7
#define R12 12
#define R13 13
#define R14 14
#define R15 15
#define RIP 16
#define RFLAGS 17
#define FS_BASE 20
#define KNOWN ((1 << RBX) | (1 << RBP) | (1 << RSP) | (1 << R12) | (1 << R13) | (1 << R14) | (1 << R15) | \
               (1 << RIP) | (1 << RFLAGS) | (1 << FS_BASE))

/* At the call the stack is 8 off a multiple of 16; the flags, the structure and one more word make up for that. */
.macro ENTRY name, function, argument
    .p2align 5
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
    MARK_ENTRY
    pushfq
    .cfi_adjust_cfa_offset 8
    subq $(SIZE + 0), %rsp
    .cfi_adjust_cfa_offset SIZE + 0
    movq SIZE(%rsp), %rax
    movq %rax, AT(RFLAGS)
    movq SIZE + 8(%rsp), %rax
    movq %rax, AT(RIP)
    leaq SIZE + 16(%rsp), %rax
    movq %rax, AT(RSP)
    movq %rbx, AT(RBX)
    movq %rbp, AT(RBP)
    movq %r12, AT(R12)
    movq %r13, AT(R13)
    movq %r14, AT(R14)
    movq %r15, AT(R15)
    movq %fs:0, %rax
    movq %rax, AT(FS_BASE)
    movq $KNOWN, (%rsp)
    movq %rsp, \argument
    call \function
    addq $(SIZE + 8), %rsp
    .cfi_adjust_cfa_offset -(SIZE + 8)
    ret
    .cfi_endproc
    .size \name, . - \name
.endm

    .hidden xctx__snapshot_take_from
    .hidden xctx__snapshot_fill_from
    .hidden xctx__copy_current_from
    .hidden xctx__bind_from
    .hidden xctx__thread_create_from
    .hidden xctx__thread_create_capturing

    .text
    ENTRY xctx_snapshot_take, xctx__snapshot_take_from, %rsi
    ENTRY xctx_snapshot_fill, xctx__snapshot_fill_from, %rcx
    ENTRY xctx_copy_current_with, xctx__copy_current_from, %rsi
    ENTRY xctx_bind_with, xctx__bind_from, %rcx
    ENTRY xctx__thread_create_capturing, xctx__thread_create_from, %r8

    MARK_OBJECT
