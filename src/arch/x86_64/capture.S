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
 *   uses  rax, rcx, and the register of the additional argument
 *   out   rax, as the C function returns it
 *
 * The instruction and stack pointers and the frame pointer, which a walk along the stack begins with, are always stored.
 * The others are where `capture` asks for something else than addresses; the flags first, as no instruction before them
 * changes any. mxcsr and fctrl are read by the C function, which only does that where somebody wants them, and before
 * any arithmetic.
 */
#include "arch/x86_64/mark.inc"

#define SIZE 192 /* sizeof(struct xctx__registers) */
#define FRAME (SIZE + 8) /* at the call the stack is 8 off a multiple of 16 */
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
#define KNOWN_POINTERS ((1 << RBP) | (1 << RSP) | (1 << RIP))
#define KNOWN (KNOWN_POINTERS | (1 << RBX) | (1 << R12) | (1 << R13) | (1 << R14) | (1 << R15) | (1 << RFLAGS) | \
               (1 << FS_BASE))

.macro ENTRY_BEGIN name
    .p2align 5
    .globl \name
    .type \name, @function
\name:
    .cfi_startproc
    MARK_ENTRY
    leaq -FRAME(%rsp), %rsp
    .cfi_adjust_cfa_offset FRAME
    movq FRAME(%rsp), %rax
    movq %rax, AT(RIP)
    leaq FRAME + 8(%rsp), %rax
    movq %rax, AT(RSP)
    movq %rbp, AT(RBP)
    movq $KNOWN_POINTERS, (%rsp)
.endm

.macro STORE_OTHERS
    pushfq
    .cfi_adjust_cfa_offset 8
    popq AT(RFLAGS)
    .cfi_adjust_cfa_offset -8
    movq %rbx, AT(RBX)
    movq %r12, AT(R12)
    movq %r13, AT(R13)
    movq %r14, AT(R14)
    movq %r15, AT(R15)
    movq %fs:0, %rax
    movq %rax, AT(FS_BASE)
    movq $KNOWN, (%rsp)
.endm

.macro ENTRY_END name, function, argument
    movq %rsp, \argument
    call \function
    addq $FRAME, %rsp
    .cfi_adjust_cfa_offset -FRAME
    ret
    .cfi_endproc
    .size \name, . - \name
.endm

/* `capture` is the register of that argument. Its bits for LOCALS and REGISTERS, 1 and 2, become rcx without any flag
   being changed: shifted to the top of a byte, and from there to the bottom of the next one. rcx holds no argument, or
   the additional one, which follows. */
.macro ENTRY name, function, argument, capture
    ENTRY_BEGIN \name
    leal (,\capture,8), %eax
    leal (,%rax,4), %eax
    movzbl %al, %eax
    leal (,%rax,4), %eax
    movzbl %ah, %ecx
    jrcxz 1f
    STORE_OTHERS
1:
    ENTRY_END \name, \function, \argument
.endm

/* Without such an argument. */
.macro ENTRY_ALL name, function, argument
    ENTRY_BEGIN \name
    STORE_OTHERS
    ENTRY_END \name, \function, \argument
.endm

    .hidden xctx__snapshot_take_from
    .hidden xctx__snapshot_fill_from
    .hidden xctx__copy_current_from
    .hidden xctx__bind_from
    .hidden xctx__thread_create_from
    .hidden xctx__thread_create_capturing

    .text
    ENTRY xctx_snapshot_take, xctx__snapshot_take_from, %rsi, %rdi
    ENTRY xctx_snapshot_fill, xctx__snapshot_fill_from, %rcx, %rsi
    ENTRY xctx_copy_current_with, xctx__copy_current_from, %rsi, %rdi
    ENTRY xctx_bind_with, xctx__bind_from, %rcx, %rdx
    ENTRY_ALL xctx__thread_create_capturing, xctx__thread_create_from, %r8

    MARK_OBJECT
