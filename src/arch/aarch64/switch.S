/* SPDX-License-Identifier: MIT */
/*
 * Switching between stacks, aarch64: see ../switch.h for the contract.
 *
 * What lies on a stack that was left, from the stack pointer upwards:
 *
 *    0  x29, x30      16  x19 to x28      96  d8 to d15      160  fpcr
 *
 * The return address is that of the caller, who signs its own where the processor does that: what these functions were
 * called with in x30 is never signed, and is stored plain, as in capture.S. Returning is by `ret`, which needs no
 * landing pad. Floating-point flags are in fpsr, which is not touched: they are the thread's.
 */
#include "fiber/offsets.h"

#if defined(__ARM_FEATURE_BTI_DEFAULT) || defined(__ARM_FEATURE_PAC_DEFAULT)
#define FEATURES 3
#else
#define FEATURES 0
#endif

#define SIZE 176
#define X19 16
#define D8 96
#define FPCR 160

.macro SAVE
    stp x29, x30, [sp, #-SIZE]!
    .cfi_adjust_cfa_offset SIZE
    stp x19, x20, [sp, #X19]
    stp x21, x22, [sp, #X19 + 16]
    stp x23, x24, [sp, #X19 + 32]
    stp x25, x26, [sp, #X19 + 48]
    stp x27, x28, [sp, #X19 + 64]
    stp d8, d9, [sp, #D8]
    stp d10, d11, [sp, #D8 + 16]
    stp d12, d13, [sp, #D8 + 32]
    stp d14, d15, [sp, #D8 + 48]
    mrs x9, fpcr
    str x9, [sp, #FPCR]
    SAVED cfi_rel_offset, 0
.endm

/* Says of each register where it is, from a base on. */
.macro SAVED directive, base
    .\directive x29, \base
    .\directive x30, \base + 8
    OTHERS \directive, \base
.endm

/* 72 to 79: d8 to d15. */
.macro OTHERS directive, base
    .\directive x19, \base + X19
    .\directive x20, \base + X19 + 8
    .\directive x21, \base + X19 + 16
    .\directive x22, \base + X19 + 24
    .\directive x23, \base + X19 + 32
    .\directive x24, \base + X19 + 40
    .\directive x25, \base + X19 + 48
    .\directive x26, \base + X19 + 56
    .\directive x27, \base + X19 + 64
    .\directive x28, \base + X19 + 72
    .\directive 72, \base + D8
    .\directive 73, \base + D8 + 8
    .\directive 74, \base + D8 + 16
    .\directive 75, \base + D8 + 24
    .\directive 76, \base + D8 + 32
    .\directive 77, \base + D8 + 40
    .\directive 78, \base + D8 + 48
    .\directive 79, \base + D8 + 56
.endm

/* The stack pointer has changed; the control register is still that of the stack which was left. Uses x9 and x10. */
.macro RESTORE
    ldr x10, [sp, #FPCR]
    mrs x9, fpcr
    cmp x9, x10
    b.eq 91f
    msr fpcr, x10
91: ldp x19, x20, [sp, #X19]
    ldp x21, x22, [sp, #X19 + 16]
    ldp x23, x24, [sp, #X19 + 32]
    ldp x25, x26, [sp, #X19 + 48]
    ldp x27, x28, [sp, #X19 + 64]
    ldp d8, d9, [sp, #D8]
    ldp d10, d11, [sp, #D8 + 16]
    ldp d12, d13, [sp, #D8 + 32]
    ldp d14, d15, [sp, #D8 + 48]
.endm

.macro LEAVE
    ldp x29, x30, [sp], #SIZE
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    ret
.endm

/* On a stack with the fiber at [sp]: CFA: *(*(sp) + FIBER_RESUMER_SP) + SIZE, which is 0xb0, 0x01 as ULEB128 */
.macro CFA_OF_RESUMER
    .cfi_escape 0x0f, 9, 0x8f, 0, 0x06, 0x23, FIBER_RESUMER_SP, 0x06, 0x23, 0xb0, 0x01
.endm

.macro BEGIN name
    .p2align 4
    .globl \name
    .type \name, %function
\name:
    .cfi_startproc
    hint #34 /* bti c */
.endm

.macro END name
    .cfi_endproc
    .size \name, . - \name
.endm

    .hidden xctx__switch_in
    .hidden xctx__switch_out
    .hidden xctx__switch_entry
    .hidden xctx__switch_begin
    .hidden xctx__fiber_resume_slowly
    .hidden xctx__fiber_yield_slowly
    .hidden xctx__fiber_finish
    .hidden xctx__fiber_personality

    .text

    BEGIN xctx_fiber_resume
    b xctx__fiber_resume_slowly
    END xctx_fiber_resume

    BEGIN xctx_fiber_yield
    b xctx__fiber_yield_slowly
    END xctx_fiber_yield

/* x0 fiber, x1 in */
    BEGIN xctx__switch_in
    SAVE
    mov x9, sp
    str x9, [x0, #FIBER_RESUMER_SP]
    ldr x9, [x0, #FIBER_SP]
    mov sp, x9
    mov x0, x1
    RESTORE
    LEAVE
    END xctx__switch_in

/* x0 fiber, w1 status, x2 state */
    BEGIN xctx__switch_out
    SAVE
    mov x9, sp
    str x9, [x0, #FIBER_SP]
    ldr x9, [x0, #FIBER_RESUMER_SP]
    mov sp, x9
    RESTORE
    ldr x9, [x0, #FIBER_TURN]
    stlr x2, [x9]
    mov w0, w1
    LEAVE
    END xctx__switch_out

/* A fiber's first frame: the fiber at [sp], fn behind it, then arg. See ../x86_64/switch.S for what unwinders are told. */
    .globl xctx__switch_entry
    .p2align 4
    .type xctx__switch_entry, %function
    .cfi_startproc
    .cfi_signal_frame
    .cfi_personality 0x1b, xctx__fiber_personality
    CFA_OF_RESUMER
    .cfi_offset x29, -SIZE
    OTHERS cfi_offset, -SIZE
    /* x30: *(CFA - SIZE + 8) - 1 */
    .cfi_escape 0x16, 30, 6, 0x08, SIZE - 8, 0x1c, 0x06, 0x31, 0x1c
    nop
xctx__switch_entry:
    mov x29, #0
    ldr x0, [sp, #16]
    ldr x9, [sp, #8]
    blr x9
    mov x1, x0
    ldr x0, [sp]
    bl xctx__fiber_finish
    mov x2, x0
    ldr x0, [sp]
    ldr x9, [x0, #FIBER_RESUMER_SP]
    mov sp, x9
    .cfi_def_cfa sp, SIZE
    .cfi_offset x30, 8 - SIZE
    RESTORE
    ldr x9, [x0, #FIBER_TURN]
    stlr x2, [x9]
    mov w0, #0
    ldp x29, x30, [sp], #SIZE
    .cfi_def_cfa_offset 0
    .cfi_restore x29
    .cfi_restore x30
    ret
    .cfi_endproc
    .size xctx__switch_entry, . - xctx__switch_entry

/* x0 fiber: the first time. Floating-point control stays as it is. */
    BEGIN xctx__switch_begin
    SAVE
    mov x9, sp
    str x9, [x0, #FIBER_RESUMER_SP]
    ldr x9, [x0, #FIBER_SP]
    mov sp, x9
    CFA_OF_RESUMER
    b xctx__switch_entry
    END xctx__switch_begin

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
