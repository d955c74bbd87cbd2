/* SPDX-License-Identifier: MIT */
/*
 * A processor's registers, for snapshots. Each architecture has a header of its own in a directory beside this one that
 * supplies exactly these things, and capture.S with the entry points that hand their caller's registers on.
 *
 *   struct xctx__registers { uint64_t known; uint64_t value[XCTX__REGISTERS]; };
 *       value[i] holds something if bit i of `known` is set. The order is that of xctx__register_names[], and the
 *       first XCTX__DWARF_REGISTERS have the number that DWARF gives them. XCTX__REGISTER_PC, _SP, _FP, _FLAGS and _TLS
 *       are five of the numbers.
 *
 *   XCTX__REGISTERS_OF_CALL
 *       The `known` of a function call: what it preserves, and what is told of it.
 *
 *   static inline void xctx__registers_from_ucontext(struct xctx__registers *, const ucontext_t *);
 *       All of them, as a signal handler got them.
 *
 *   static inline void xctx__registers_add_control(struct xctx__registers *);
 *       Adds the running thread's floating-point control to what capture.S has stored.
 *
 *   XCTX__RED_ZONE
 *       How many bytes below its stack pointer a function may use.
 *
 *   XCTX__FPU_MAX
 *       The most bytes that floating-point and vector registers take. On x86-64 they are an XSAVE area in its standard
 *       form (of a call: FXSAVE), on aarch64 a struct user_fpsimd_state.
 *
 *   static inline size_t xctx__fpu_of_call(uint8_t *area);
 *       The running thread's. Returns its size; `area` is aligned to 64 bytes and has room for XCTX__FPU_MAX.
 *
 *   static inline size_t xctx__fpu_from_ucontext(uint8_t *area, const ucontext_t *);
 *       Likewise as a signal handler got them; 0: it did not.
 *
 *   static inline bool xctx__fpu_vector(const uint8_t *area, size_t size, unsigned index, uint8_t value[16]);
 *       The low 128 bits of vector register `index`. false: not there.
 *
 *   XCTX__DWARF_VECTOR_FIRST, XCTX__DWARF_VECTORS
 *       The DWARF number of vector register 0, and how many there are.
 *
 *   XCTX__VECTOR_NAME
 *       What vector registers are called, before their number: a literal.
 *
 *   void xctx__words_copy(void *to, const void *from, size_t size);
 *   void xctx__words_clear(void *memory, size_t size);
 *       As memcpy() and memset() to 0, of whole words; in words.c. Async-signal-safe. The program's memcpy() may be a
 *       sanitizer's, which a stack has bytes for that no C program may touch.
 *
 *   static inline uint64_t xctx__fp_control(void);
 *       Floating-point control, as xctx_thread_state.fp_control.
 *
 *   static inline bool xctx__fenv_from_ucontext(const ucontext_t *, int32_t *rounding, int32_t *raised, uint64_t
 * *control); What fegetround(), fetestexcept(FE_ALL_EXCEPT) and xctx__fp_control() gave before a signal handler ran.
 * Returns false where a handler is not told.
 *
 *   For unwinding:
 *   XCTX__VECTORS_OF_CALL
 *       The vector registers, by bits, that a function call preserves.
 *   XCTX__REGISTERS_NOT_SAID
 *       Those that keep their value where call frame information does not mention them, and libdw thinks otherwise.
 *   XCTX__CALL_PUSHES
 *       Whether a call leaves the return address on the stack; else it is in XCTX__REGISTER_LINK.
 *   XCTX__RECORD_ENDS_FRAME
 *       Whether the caller's stack pointer is right above the pair of frame pointer and return address.
 *   XCTX__ADDRESS_MASK
 *       The bits of a return address that are one, without a signature.
 */
#ifndef XCTX_ARCH_REGISTERS_H
#define XCTX_ARCH_REGISTERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#include <xctx/base.h>

#if defined(__x86_64__)
#include "x86_64/registers.h"
#elif defined(__aarch64__)
#include "aarch64/registers.h"
#else
#error "xctx supports x86-64 and aarch64"
#endif

void xctx__words_copy(void *to, const void *from, size_t size);
void xctx__words_clear(void *memory, size_t size);

/* As gdb calls them. Exported for libxctx-inspect. */
XCTX_API extern const char *const xctx__register_names[XCTX__REGISTERS];

#endif
