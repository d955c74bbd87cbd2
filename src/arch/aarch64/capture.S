/* SPDX-License-Identifier: MIT */
/*
 * Entry points that hand their caller's registers on, aarch64. See ../x86_64/capture.S for what and why.
 *
 *   in    arguments as the public function has them, in x0 to x3
 *   uses  x9, x10, and the register of the additional argument
 *   out   x0, as the C function returns it
 *
 * The link register is stored signed where the processor signs return addresses; as the program counter of the caller it
 * is stored plain.
 */
#if defined(__ARM_FEATURE_BTI_DEFAULT) || defined(__ARM_FEATURE_PAC_DEFAULT)
#define FEATURES 3
#else
#define FEATURES 0
#endif

#define SIZE 304 /* sizeof(struct xctx__registers) */
#define FRAME 320 /* and the frame record, which is below it */
#define AT(i) [sp, #(16 + 8 + 8 * (i))]

#define SP_AT 31
#define PC_AT 32
#define CPSR_AT 33
#define TPIDR_AT 36

.macro ENTRY name, function, argument
    .p2align 4
    .globl \name
    .type \name, %function
\name:
    .cfi_startproc
    hint #34 /* bti c */
    stp x29, x30, [sp, #-FRAME]!
    .cfi_adjust_cfa_offset FRAME
    .cfi_rel_offset x29, 0
    .cfi_rel_offset x30, 8
    str x19, AT(19)
    str x20, AT(20)
    str x21, AT(21)
    str x22, AT(22)
    str x23, AT(23)
    str x24, AT(24)
    str x25, AT(25)
    str x26, AT(26)
    str x27, AT(27)
    str x28, AT(28)
    str x29, AT(29)
    str x30, AT(30)
    add x9, sp, #FRAME
    str x9, AT(SP_AT)
    str x30, AT(PC_AT)
    mrs x9, nzcv
    str x9, AT(CPSR_AT)
    mrs x9, tpidr_el0
    str x9, AT(TPIDR_AT)
    /* x19 to x30, sp, pc, cpsr, tpidr */
    movz x9, #0x13, lsl #32
    movk x9, #0xfff8, lsl #16
    str x9, [sp, #16]
    add \argument, sp, #16
    mov x29, sp
    bl \function
    ldp x29, x30, [sp], #FRAME
    .cfi_adjust_cfa_offset -FRAME
    .cfi_restore x29
    .cfi_restore x30
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
    ENTRY xctx_snapshot_take, xctx__snapshot_take_from, x1
    ENTRY xctx_snapshot_fill, xctx__snapshot_fill_from, x3
    ENTRY xctx_copy_current_with, xctx__copy_current_from, x1
    ENTRY xctx_bind_with, xctx__bind_from, x3
    ENTRY xctx__thread_create_capturing, xctx__thread_create_from, x4

#if FEATURES
    /* GNU property note: GNU_PROPERTY_AARCH64_FEATURE_1_AND. */
    .section .note.gnu.property, "a", %note
    .p2align 3
    .long 4
    .long 16
    .long 5
    .asciz "GNU"
    .long 0xc0000000
    .long 4
    .long FEATURES
    .long 0
#endif
    .section .note.GNU-stack, "", %progbits
