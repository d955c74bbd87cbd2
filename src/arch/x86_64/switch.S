/* SPDX-License-Identifier: MIT */
/*
 * Switching between stacks, x86-64: see ../switch.h for the contract.
 *
 * What lies on a stack that was left, from the stack pointer upwards:
 *
 *    0  mxcsr, 4 bytes
 *    4  x87 control word, 2 bytes
 *    8  rbx    16  rbp    24  r12    32  r13    40  r14    48  r15
 *   56  return address
 *
 * Where a function goes on on another stack, it goes there by `jmp`, not by `ret`: the processor predicts that a `ret`
 * goes back to the last `call`, which is not where this one goes, and being wrong costs more than everything else here.
 * For that reason xctx_fiber_resume() and xctx_fiber_yield() are here: a function in C around the switch would return by
 * `ret`. A fiber's end is the exception: calls and returns of a fiber that ran through pair up.
 *
 * Loading mxcsr takes up to 50 ns if exception flags change with it. Its control bits, and the x87 control word, rarely
 * differ: they are compared, and loaded only if they do. They are stored first and compared last: storing mxcsr waits
 * until all that came before it has retired, and what reads the word stored waits for that again. For the same reason
 * mxcsr is first compared as a whole, by one instruction: flags that differ are looked at only then.
 */
#include "arch/x86_64/mark.inc"
#include "fiber/offsets.h"

#define SIZE 56
#define BELOW 88 /* room for three words below SIZE, which keeps calls aligned */
#define FLAGS 0x3f /* exception flags in mxcsr */

#if MARK_FEATURES & 1
#define JUMP notrack jmp
#else
#define JUMP jmp
#endif

/* Into the red zone, where SAVE will have its frame. */
.macro SAVE_CONTROL
    stmxcsr -SIZE(%rsp)
    fnstcw 4 - SIZE(%rsp)
.endm

.macro SAVE
    leaq -SIZE(%rsp), %rsp
    .cfi_adjust_cfa_offset SIZE
    movq %rbx, 8(%rsp)
    movq %rbp, 16(%rsp)
    movq %r12, 24(%rsp)
    movq %r13, 32(%rsp)
    movq %r14, 40(%rsp)
    movq %r15, 48(%rsp)
    .cfi_rel_offset rbx, 8
    .cfi_rel_offset rbp, 16
    .cfi_rel_offset r12, 24
    .cfi_rel_offset r13, 32
    .cfi_rel_offset r14, 40
    .cfi_rel_offset r15, 48
.endm

/* The stack pointer has changed; \old is what it was. Uses rcx and r11. */
.macro RESTORE old
    movq 8(%rsp), %rbx
    movq 16(%rsp), %rbp
    movq 24(%rsp), %r12
    movq 32(%rsp), %r13
    movq 40(%rsp), %r14
    movq 48(%rsp), %r15
    .cfi_restore rbx
    .cfi_restore rbp
    .cfi_restore r12
    .cfi_restore r13
    .cfi_restore r14
    .cfi_restore r15
    movzwl 4(%rsp), %ecx
    cmpw 4(\old), %cx
    jne 93f
94: movl (%rsp), %ecx
    cmpl (\old), %ecx
    jne 91f
92: .cfi_remember_state
.endm

/* What RESTORE rarely does: the flags stay the thread's, only the control bits are loaded. Written over the stack
   itself, as red zones may belong to a signal handler. */
.macro RESTORE_RARELY old
    .cfi_restore_state
91: xorl (\old), %ecx
    testl $~FLAGS, %ecx
    jz 92b
    andl $FLAGS, %ecx
    xorl %ecx, (%rsp)
    ldmxcsr (%rsp)
    jmp 92b
93: fldcw 4(%rsp)
    jmp 94b
.endm

.macro LEAVE
    movq SIZE(%rsp), %rcx
    leaq SIZE + 8(%rsp), %rsp
    .cfi_adjust_cfa_offset -(SIZE + 8)
    .cfi_register rip, rcx
    JUMP *%rcx
    .cfi_adjust_cfa_offset SIZE + 8
    .cfi_offset rip, -8
.endm

/* On a stack with the fiber at (rsp): CFA: *(*(rsp) + FIBER_RESUMER_SP) + SIZE + 8 */
.macro CFA_OF_RESUMER
    .cfi_escape 0x0f, 8, 0x77, 0, 0x06, 0x23, FIBER_RESUMER_SP, 0x06, 0x23, SIZE + 8
.endm

/* Behind SAVE: rdi fiber, for the first time. */
.macro GO_TO_ENTRY
    movq %rsp, FIBER_RESUMER_SP(%rdi)
    xorl %ebp, %ebp
    movq FIBER_SP(%rdi), %rsp
    CFA_OF_RESUMER
    jmp xctx__switch_entry
.endm

.macro BEGIN name
    .p2align 6
    .type \name, @function
\name:
    .cfi_startproc
    MARK_ENTRY
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
    .hidden xctx__fiber_resume_claimed
    .hidden xctx__turn_resume
    .hidden xctx__fiber_yield_slowly
    .hidden xctx__fiber_finish
    .hidden xctx__fiber_personality
    .hidden xctx__enter_mask
    .hidden xctx__watchers

    .text

/*
 * int xctx_fiber_resume(xctx_fiber *fiber, void *in, void **ret_out)
 *
 *   rdi fiber   rsi in   rdx ret_out   rax slot, then result   rcx, r8 to r11 anything
 *
 * In the common case the fiber is KEPT by this thread: it is taken without an atomic operation (fiber_internal.h). So is
 * a new one that is the thread's OWN.
 */
    .globl xctx_fiber_resume
    BEGIN xctx_fiber_resume
    SAVE_CONTROL
    testq %rdi, %rdi
    jz 9f
    movq xctx__slot@gottpoff(%rip), %rax
    addq %fs:0, %rax
    movq SLOT_RECORD(%rax), %rcx
    movq %rdi, RECORD_WINDOW(%rcx)
    leaq FIBER_TAG_KEPT(%rcx), %r8
    cmpq %r8, FIBER_STATE(%rdi)
    jne 8f
    incq %r8
    movq %r8, FIBER_STATE(%rdi)
    movq $0, RECORD_WINDOW(%rcx)
    /* Exceptions that are being handled belong to the resumer: C moves them out of the way. */
5:  movq SLOT_EXCEPTIONS(%rax), %r9
    movq SLOT_CURRENT(%rax), %r10
    movl 8(%r9), %ecx
    orq (%r9), %rcx
    jnz 7f
    movq FIBER_TOP(%rdi), %r11
    testq %r11, %r11
    jz 1f
    movq CONTEXT_ROOT(%r11), %r9
    movl MAP_FLAGS(%r9), %ecx
    testl %ecx, xctx__enter_mask(%rip)
    jnz 7f
    movq SLOT_ROOT(%rax), %rcx
    movq %rcx, FIBER_OUTER_ROOT(%rdi)
    movq %r11, SLOT_CURRENT(%rax)
    movq %r9, SLOT_ROOT(%rax)
1:  movq %r10, FIBER_OUTER(%rdi)
    movq SLOT_FIBER(%rax), %r9
    movq %r9, FIBER_RESUMER(%rdi) /* first: signal handlers follow them */
    movq %rdi, SLOT_FIBER(%rax)
    movq %rdx, FIBER_RET_OUT(%rdi)
    SAVE
    movq %rsp, %r8
    movq %rsp, FIBER_RESUMER_SP(%rdi)
    movq %rsi, %rax
    movq FIBER_SP(%rdi), %rsp
    RESTORE %r8
    LEAVE
    RESTORE_RARELY %r8
    .cfi_def_cfa_offset 8
7:  jmp xctx__fiber_resume_claimed

    /* A new fiber that the running thread has made begins, if all is as above: looked at before it is taken, as what
       leads to C here starts with taking. */
8:  leaq FIBER_TAG_OWN(%rcx), %r8
    cmpq %r8, FIBER_STATE(%rdi)
    jne 6f
    cmpq $0, FIBER_REST(%rdi)
    je 6f
    movq SLOT_EXCEPTIONS(%rax), %r9
    movl 8(%r9), %r10d
    orq (%r9), %r10
    jnz 6f
    movq FIBER_TOP(%rdi), %r11
    testq %r11, %r11
    jz 3f
    movq CONTEXT_ROOT(%r11), %r9
    movl MAP_FLAGS(%r9), %r10d
    testl %r10d, xctx__enter_mask(%rip)
    jnz 6f
3:  leaq FIBER_TAG_RUNNING(%rcx), %r8
    movq %r8, FIBER_STATE(%rdi)
    movq $0, RECORD_WINDOW(%rcx)
    movq SLOT_CURRENT(%rax), %r10
    movq %r10, FIBER_OUTER(%rdi)
    testq %r11, %r11
    jz 4f
    orb $CONTEXT_BITS_FIRST, CONTEXT_BITS(%r11)
    movb $1, CONTEXT_USED(%r11)
    leaq CLAIM_TAG_HELD(%rcx), %r8
    movq %r8, CONTEXT_CLAIM(%r11)
    movq SLOT_ROOT(%rax), %rcx
    movq %rcx, FIBER_OUTER_ROOT(%rdi)
    movq %r11, SLOT_CURRENT(%rax)
    movq %r9, SLOT_ROOT(%rax)
4:  movq SLOT_FIBER(%rax), %r9
    movq %r9, FIBER_RESUMER(%rdi) /* first: signal handlers follow them */
    movq %rdi, SLOT_FIBER(%rax)
    movq %rdx, FIBER_RET_OUT(%rdi)
    .cfi_remember_state
    SAVE
    GO_TO_ENTRY
    .cfi_restore_state

    /* Fibers that take turns: C takes this one's, and whatever is not common leads there again. */
6:  movq $0, RECORD_WINDOW(%rcx)
    cmpq $FIBER_TAG_SHARED, FIBER_STATE(%rdi)
    jne 9f
    subq $BELOW, %rsp
    .cfi_adjust_cfa_offset BELOW
    movq %rdi, (%rsp)
    movq %rsi, 8(%rsp)
    movq %rdx, 16(%rsp)
    call xctx__turn_resume
    movq (%rsp), %rdi
    movq 8(%rsp), %rsi
    movq 16(%rsp), %rdx
    addq $BELOW, %rsp
    .cfi_adjust_cfa_offset -BELOW
    testl %eax, %eax
    js 10f
    jnz 9f
    movq xctx__slot@gottpoff(%rip), %rax
    addq %fs:0, %rax
    jmp 5b
9:  jmp xctx__fiber_resume_slowly
10: ret
    END xctx_fiber_resume

/*
 * void *xctx_fiber_yield(void *out)
 *
 *   rdi fiber   rsi out   rax slot, then result   rdx state   rcx, r8 to r11 anything
 */
    .globl xctx_fiber_yield
    BEGIN xctx_fiber_yield
    SAVE_CONTROL
    movq xctx__slot@gottpoff(%rip), %rax
    addq %fs:0, %rax
    movq %rdi, %rsi
    movq SLOT_FIBER(%rax), %rdi
    testq %rdi, %rdi
    jz 9f
    movq FIBER_REST(%rdi), %rdx
    testq %rdx, %rdx
    jz 9f
    movq SLOT_EXCEPTIONS(%rax), %r9
    movq SLOT_CURRENT(%rax), %r10
    movl 8(%r9), %ecx
    orq (%r9), %rcx
    jnz 9f
    movq FIBER_TOP(%rdi), %r11
    movq FIBER_OUTER(%rdi), %r9
    testq %r11, %r11
    jz 2f
    cmpq %r10, %r11
    jne 9f
    testb $CONTEXT_BITS_SLOW, CONTEXT_BITS(%r11)
    jnz 9f
    cmpq %r11, SLOT_PIN(%rax)
    je 9f
    cmpl $0, xctx__watchers(%rip)
    jne 9f
    movq FIBER_OUTER_ROOT(%rdi), %rcx
    movq %r9, SLOT_CURRENT(%rax)
    movq %rcx, SLOT_ROOT(%rax)
1:  movq FIBER_RESUMER(%rdi), %r9
    movq FIBER_RET_OUT(%rdi), %r10
    movq %r9, SLOT_FIBER(%rax)
    testq %r10, %r10
    jz 3f
    movq %rsi, (%r10)
3:  SAVE
    movq %rsp, %r8
    movq %rsp, FIBER_SP(%rdi)
    movl $1, %eax
    movq FIBER_RESUMER_SP(%rdi), %rsp
    movq FIBER_TURN(%rdi), %r9
    RESTORE %r8
    movq %rdx, (%r9)
    LEAVE
    RESTORE_RARELY %r8
    .cfi_def_cfa_offset 8
2:  cmpq %r10, %r9
    je 1b
9:  movq %rsi, %rdi
    jmp xctx__fiber_yield_slowly
    END xctx_fiber_yield

/* rdi fiber, rsi in */
    .globl xctx__switch_in
    BEGIN xctx__switch_in
    SAVE_CONTROL
    SAVE
    movq %rsp, %r8
    movq %rsp, FIBER_RESUMER_SP(%rdi)
    movq %rsi, %rax
    movq FIBER_SP(%rdi), %rsp
    RESTORE %r8
    LEAVE
    RESTORE_RARELY %r8
    END xctx__switch_in

/* rdi fiber, esi status, rdx state */
    .globl xctx__switch_out
    BEGIN xctx__switch_out
    SAVE_CONTROL
    SAVE
    movq %rsp, %r8
    movq %rsp, FIBER_SP(%rdi)
    movl %esi, %eax
    movq FIBER_RESUMER_SP(%rdi), %rsp
    movq FIBER_TURN(%rdi), %r9
    RESTORE %r8
    movq %rdx, (%r9)
    LEAVE
    RESTORE_RARELY %r8
    END xctx__switch_out

/*
 * A fiber's first frame: the fiber at (rsp), fn behind it, then arg.
 *
 * To unwinders its caller is the function that has resumed the fiber. That one's registers were saved at
 * fiber->resumer_sp, and the canonical frame address is behind them. It is marked as a signal's frame, since debuggers
 * allow only for those that the stack goes on somewhere else; the address in the caller is then taken as it is, not as
 * one behind a call, so it is given as one less.
 */
    .globl xctx__switch_entry
    .p2align 6
    .type xctx__switch_entry, @function
    .cfi_startproc
    .cfi_signal_frame
    .cfi_personality 0x1b, xctx__fiber_personality /* relative to the place, 4 bytes signed */
    CFA_OF_RESUMER
    .cfi_offset rbx, -SIZE
    .cfi_offset rbp, -(SIZE - 8)
    .cfi_offset r12, -(SIZE - 16)
    .cfi_offset r13, -(SIZE - 24)
    .cfi_offset r14, -(SIZE - 32)
    .cfi_offset r15, -(SIZE - 40)
    /* Return address: *(CFA - 8) - 1 */
    .cfi_escape 0x16, 16, 5, 0x38, 0x1c, 0x06, 0x31, 0x1c
    nop /* so that the address before the entry is described, too */
xctx__switch_entry:
    movq 16(%rsp), %rdi
    call *8(%rsp)
    stmxcsr 24(%rsp)
    fnstcw 28(%rsp)
    movq (%rsp), %rdi
    movq %rax, %rsi
    call xctx__fiber_finish
    movq %rax, %rdx
    movq (%rsp), %rdi
    leaq 24(%rsp), %r8
    movq FIBER_RESUMER_SP(%rdi), %rsp
    .cfi_def_cfa rsp, SIZE + 8
    .cfi_offset rip, -8
    movq FIBER_TURN(%rdi), %r9
    RESTORE %r8
    movq %rdx, (%r9)
    xorl %eax, %eax
    cmpq %rdi, %r9
    jne 1f /* it takes turns */
    leaq SIZE(%rsp), %rsp
    .cfi_def_cfa_offset 8
    ret
    .cfi_def_cfa_offset SIZE + 8
1:  LEAVE
    RESTORE_RARELY %r8
    .cfi_endproc
    .size xctx__switch_entry, . - xctx__switch_entry

/* rdi fiber: the first time. Floating-point control stays as it is. */
    .globl xctx__switch_begin
    BEGIN xctx__switch_begin
    SAVE_CONTROL
    SAVE
    GO_TO_ENTRY
    END xctx__switch_begin

    MARK_OBJECT
