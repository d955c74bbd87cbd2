/* SPDX-License-Identifier: MIT */
/* aarch64: see ../registers.h for the contract. */
#ifndef XCTX_ARCH_AARCH64_REGISTERS_H
#define XCTX_ARCH_AARCH64_REGISTERS_H

#include <asm/sigcontext.h>

/* The first 33 in the order of DWARF (DWARF for the Arm 64-bit architecture, section 4.1). */
enum {
    XCTX__X0,
    XCTX__X19 = 19,
    XCTX__X29 = 29,
    XCTX__X30,
    XCTX__SP,
    XCTX__PC,
    XCTX__CPSR,
    XCTX__FPSR,
    XCTX__FPCR,
    XCTX__TPIDR,
    XCTX__REGISTERS,

    XCTX__DWARF_REGISTERS = XCTX__PC + 1,
    XCTX__REGISTER_PC = XCTX__PC,
    XCTX__REGISTER_SP = XCTX__SP,
    XCTX__REGISTER_FP = XCTX__X29,
    XCTX__REGISTER_FLAGS = XCTX__CPSR,
    XCTX__REGISTER_TLS = XCTX__TPIDR,
    XCTX__DWARF_VECTOR_FIRST = 64,
    XCTX__DWARF_VECTORS = 32,
    XCTX__FPU_MAX = 528,
    XCTX__RED_ZONE = 0,
};

#define XCTX__VECTORS_OF_CALL 0xff00u /* d8 to d15 */
#define XCTX__REGISTERS_NOT_SAID 0u
#define XCTX__CALL_PUSHES 0
#define XCTX__REGISTER_LINK XCTX__X30
#define XCTX__RECORD_ENDS_FRAME 0
#define XCTX__ADDRESS_MASK UINT64_C(0x0000ffffffffffff) /* pointer authentication signs the others */

#define XCTX__VECTOR_NAME "v"

/* x19 to x30, sp, pc, cpsr, fpsr, fpcr, tpidr. */
#define XCTX__REGISTERS_OF_CALL UINT64_C(0x1ffff80000)

/* capture.S writes it. */
struct xctx__registers {
    uint64_t known;
    uint64_t value[XCTX__REGISTERS];
};
_Static_assert(offsetof(struct xctx__registers, value) == 8, "as capture.S");

static inline uint64_t xctx__fp_control(void)
{
    uint64_t control;

    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    return control;
}

static inline const struct fpsimd_context *xctx__fpsimd(const ucontext_t *context)
{
    const uint8_t *at = (const uint8_t *)context->uc_mcontext.__reserved;
    const uint8_t *end = at + sizeof(context->uc_mcontext.__reserved);

    while (at + sizeof(struct _aarch64_ctx) <= end) {
        const struct _aarch64_ctx *head = (const struct _aarch64_ctx *)at;
        if (head->magic == FPSIMD_MAGIC)
            return (const struct fpsimd_context *)at;
        if (head->magic == 0 || head->size < sizeof(*head))
            break;
        at += head->size;
    }
    return NULL;
}

static inline void xctx__registers_from_ucontext(struct xctx__registers *registers, const ucontext_t *context)
{
    const struct fpsimd_context *fpsimd = xctx__fpsimd(context);
    uint64_t *to = registers->value;

    for (int i = 0; i < XCTX__SP; i++)
        to[i] = context->uc_mcontext.regs[i];
    to[XCTX__SP] = context->uc_mcontext.sp;
    to[XCTX__PC] = context->uc_mcontext.pc;
    to[XCTX__CPSR] = context->uc_mcontext.pstate;
    __asm__("mrs %0, tpidr_el0" : "=r"(to[XCTX__TPIDR]));
    registers->known = ((UINT64_C(1) << (XCTX__CPSR + 1)) - 1) | UINT64_C(1) << XCTX__TPIDR;
    if (fpsimd) {
        to[XCTX__FPSR] = fpsimd->fpsr;
        to[XCTX__FPCR] = fpsimd->fpcr;
        registers->known |= UINT64_C(1) << XCTX__FPSR | UINT64_C(1) << XCTX__FPCR;
    }
}

static inline void xctx__registers_add_control(struct xctx__registers *registers)
{
    __asm__ volatile("mrs %0, fpsr" : "=r"(registers->value[XCTX__FPSR]));
    registers->value[XCTX__FPCR] = xctx__fp_control();
    registers->known |= UINT64_C(1) << XCTX__FPSR | UINT64_C(1) << XCTX__FPCR;
}

static inline bool xctx__fenv_from_ucontext(const ucontext_t *context, int32_t *rounding_mode, int32_t *exceptions,
                                            uint64_t *control)
{
    enum { ROUNDING = 0xc00000, EXCEPTIONS = 0x1f }; /* as <fenv.h>: FE_TOWARDZERO, FE_ALL_EXCEPT */
    const struct fpsimd_context *fpsimd = xctx__fpsimd(context);

    if (!fpsimd)
        return false;
    *rounding_mode = (int32_t)(fpsimd->fpcr & ROUNDING);
    *exceptions = (int32_t)(fpsimd->fpsr & EXCEPTIONS);
    *control = fpsimd->fpcr;
    return true;
}

/* As struct user_fpsimd_state: v0 to v31, fpsr, fpcr, padding. */
static inline size_t xctx__fpu_of_call(uint8_t *area)
{
    uint64_t fpsr, fpcr;

    __asm__ volatile("stp q0, q1, [%0, #0]\n\tstp q2, q3, [%0, #32]\n\t"
                     "stp q4, q5, [%0, #64]\n\tstp q6, q7, [%0, #96]\n\t"
                     "stp q8, q9, [%0, #128]\n\tstp q10, q11, [%0, #160]\n\t"
                     "stp q12, q13, [%0, #192]\n\tstp q14, q15, [%0, #224]\n\t"
                     "stp q16, q17, [%0, #256]\n\tstp q18, q19, [%0, #288]\n\t"
                     "stp q20, q21, [%0, #320]\n\tstp q22, q23, [%0, #352]\n\t"
                     "stp q24, q25, [%0, #384]\n\tstp q26, q27, [%0, #416]\n\t"
                     "stp q28, q29, [%0, #448]\n\tstp q30, q31, [%0, #480]"
                     :
                     : "r"(area)
                     : "memory");
    __asm__ volatile("mrs %0, fpsr\n\tmrs %1, fpcr" : "=r"(fpsr), "=r"(fpcr));
    uint32_t tail[4] = {(uint32_t)fpsr, (uint32_t)fpcr, 0, 0};
    memcpy(area + 512, tail, sizeof(tail));
    return XCTX__FPU_MAX;
}

static inline size_t xctx__fpu_from_ucontext(uint8_t *area, const ucontext_t *context)
{
    const struct fpsimd_context *fpsimd = xctx__fpsimd(context);

    if (!fpsimd)
        return 0;
    uint32_t tail[4] = {fpsimd->fpsr, fpsimd->fpcr, 0, 0};
    memcpy(area, fpsimd->vregs, 512);
    memcpy(area + 512, tail, sizeof(tail));
    return XCTX__FPU_MAX;
}

static inline bool xctx__fpu_vector(const uint8_t *area, size_t size, unsigned index, uint8_t value[16])
{
    if (size < XCTX__FPU_MAX || index >= XCTX__DWARF_VECTORS)
        return false;
    memcpy(value, area + 16 * (size_t)index, 16);
    return true;
}

#endif
