/* SPDX-License-Identifier: MIT */
/*
 * What every assembly file for x86-64 says of itself: that it needs no executable stack, and that its functions can be
 * called where the processor checks the targets of indirect calls (CET).
 */
#if defined(__CET__) && (__CET__ & 1)
#define MARK_ENTRY endbr64
#else
#define MARK_ENTRY
#endif

#ifdef __CET__
#define MARK_FEATURES __CET__
#else
#define MARK_FEATURES 0
#endif

/* GNU property note: GNU_PROPERTY_X86_FEATURE_1_AND. */
.macro MARK_OBJECT
    .section .note.gnu.property, "a", @note
    .p2align 3
    .long 4
    .long 16
    .long 5
    .asciz "GNU"
    .long 0xc0000002
    .long 4
    .long MARK_FEATURES
    .long 0
    .section .note.GNU-stack, "", @progbits
.endm
