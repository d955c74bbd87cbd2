/* SPDX-License-Identifier: MIT */
/* x86-64: see ../registers.h for the contract. */
#ifndef XCTX_ARCH_X86_64_REGISTERS_H
#define XCTX_ARCH_X86_64_REGISTERS_H

/* The first 17 in the order of DWARF (System V ABI, AMD64, figure 3.36). */
enum {
    XCTX__RAX,
    XCTX__RDX,
    XCTX__RCX,
    XCTX__RBX,
    XCTX__RSI,
    XCTX__RDI,
    XCTX__RBP,
    XCTX__RSP,
    XCTX__R8,
    XCTX__R9,
    XCTX__R10,
    XCTX__R11,
    XCTX__R12,
    XCTX__R13,
    XCTX__R14,
    XCTX__R15,
    XCTX__RIP,
    XCTX__RFLAGS,
    XCTX__MXCSR,
    XCTX__FCTRL,
    XCTX__FS_BASE,
    XCTX__CS,
    XCTX__SS,
    XCTX__REGISTERS,

    XCTX__DWARF_REGISTERS = XCTX__RIP + 1,
    XCTX__REGISTER_PC = XCTX__RIP,
    XCTX__REGISTER_SP = XCTX__RSP,
    XCTX__REGISTER_FP = XCTX__RBP,
    XCTX__REGISTER_FLAGS = XCTX__RFLAGS,
    XCTX__REGISTER_TLS = XCTX__FS_BASE,
    XCTX__DWARF_VECTOR_FIRST = 17,
    XCTX__DWARF_VECTORS = 16,
    XCTX__FPU_MAX = 4096,
    XCTX__RED_ZONE = 128,
    XCTX__FXSAVE_SIZE = 512,
};

#define XCTX__VECTORS_OF_CALL 0u
#define XCTX__REGISTERS_NOT_SAID (1u << XCTX__RBX) /* elfutils 0.188 has rax in its place */
#define XCTX__CALL_PUSHES 1
#define XCTX__REGISTER_LINK XCTX__RIP /* not used */
#define XCTX__RECORD_ENDS_FRAME 1
#define XCTX__ADDRESS_MASK UINT64_MAX

#define XCTX__VECTOR_NAME "xmm"

#define XCTX__REGISTERS_OF_CALL                                                                                        \
    (1u << XCTX__RBX | 1u << XCTX__RBP | 1u << XCTX__RSP | 1u << XCTX__R12 | 1u << XCTX__R13 | 1u << XCTX__R14 |       \
     1u << XCTX__R15 | 1u << XCTX__RIP | 1u << XCTX__RFLAGS | 1u << XCTX__MXCSR | 1u << XCTX__FCTRL |                  \
     1u << XCTX__FS_BASE)

/* capture.S writes it. */
struct xctx__registers {
    uint64_t known;
    uint64_t value[XCTX__REGISTERS];
};
_Static_assert(sizeof(struct xctx__registers) == 192 && offsetof(struct xctx__registers, value) == 8, "as capture.S");

static inline uint64_t xctx__fp_control(void)
{
    uint16_t x87;
    uint32_t sse;

    __asm__ volatile("fnstcw %0" : "=m"(x87));
    __asm__ volatile("stmxcsr %0" : "=m"(sse));
    return sse | (uint64_t)x87 << 32;
}

static inline void xctx__registers_from_ucontext(struct xctx__registers *registers, const ucontext_t *context)
{
    const greg_t *from = context->uc_mcontext.gregs;
    uint64_t *to = registers->value;

    to[XCTX__RAX] = (uint64_t)from[REG_RAX];
    to[XCTX__RDX] = (uint64_t)from[REG_RDX];
    to[XCTX__RCX] = (uint64_t)from[REG_RCX];
    to[XCTX__RBX] = (uint64_t)from[REG_RBX];
    to[XCTX__RSI] = (uint64_t)from[REG_RSI];
    to[XCTX__RDI] = (uint64_t)from[REG_RDI];
    to[XCTX__RBP] = (uint64_t)from[REG_RBP];
    to[XCTX__RSP] = (uint64_t)from[REG_RSP];
    to[XCTX__R8] = (uint64_t)from[REG_R8];
    to[XCTX__R9] = (uint64_t)from[REG_R9];
    to[XCTX__R10] = (uint64_t)from[REG_R10];
    to[XCTX__R11] = (uint64_t)from[REG_R11];
    to[XCTX__R12] = (uint64_t)from[REG_R12];
    to[XCTX__R13] = (uint64_t)from[REG_R13];
    to[XCTX__R14] = (uint64_t)from[REG_R14];
    to[XCTX__R15] = (uint64_t)from[REG_R15];
    to[XCTX__RIP] = (uint64_t)from[REG_RIP];
    to[XCTX__RFLAGS] = (uint64_t)from[REG_EFL];
    to[XCTX__CS] = (uint64_t)from[REG_CSGSFS] & 0xffff;
    to[XCTX__SS] = (uint64_t)from[REG_CSGSFS] >> 48;
    /* Handlers run with the thread's own. */
    __asm__("movq %%fs:0, %0" : "=r"(to[XCTX__FS_BASE]));
    registers->known =
        ((UINT64_C(1) << (XCTX__RFLAGS + 1)) - 1) | 1u << XCTX__CS | 1u << XCTX__SS | 1u << XCTX__FS_BASE;
    if (context->uc_mcontext.fpregs) {
        to[XCTX__MXCSR] = context->uc_mcontext.fpregs->mxcsr;
        to[XCTX__FCTRL] = context->uc_mcontext.fpregs->cwd;
        registers->known |= 1u << XCTX__MXCSR | 1u << XCTX__FCTRL;
    }
}

static inline void xctx__registers_add_control(struct xctx__registers *registers)
{
    uint64_t control = xctx__fp_control();

    registers->value[XCTX__MXCSR] = control & UINT32_MAX;
    registers->value[XCTX__FCTRL] = control >> 32;
    registers->known |= 1u << XCTX__MXCSR | 1u << XCTX__FCTRL;
}

static inline bool xctx__fenv_from_ucontext(const ucontext_t *context, int32_t *rounding_mode, int32_t *exceptions,
                                            uint64_t *control)
{
    enum { ROUNDING = 0xc00, EXCEPTIONS = 0x3d }; /* as <fenv.h>: FE_TOWARDZERO, FE_ALL_EXCEPT */

    if (!context->uc_mcontext.fpregs)
        return false;
    *rounding_mode = context->uc_mcontext.fpregs->cwd & ROUNDING;
    *exceptions = (int32_t)((context->uc_mcontext.fpregs->swd | context->uc_mcontext.fpregs->mxcsr) & EXCEPTIONS);
    *control = context->uc_mcontext.fpregs->mxcsr | (uint64_t)context->uc_mcontext.fpregs->cwd << 32;
    return true;
}

static inline size_t xctx__fpu_of_call(uint8_t *area)
{
    enum { UNUSED_AT = 464 }; /* what the processor leaves as it is */

    memset(area + UNUSED_AT, 0, XCTX__FXSAVE_SIZE - UNUSED_AT);
    __asm__ volatile("fxsaveq %0" : "+m"(*(uint8_t(*)[XCTX__FXSAVE_SIZE])area));
    return XCTX__FXSAVE_SIZE;
}

static inline size_t xctx__fpu_from_ucontext(uint8_t *area, const ucontext_t *context)
{
    /* What the kernel puts into the bytes that FXSAVE leaves to software (Linux, asm/sigcontext.h). */
    enum { SOFTWARE_AT = 464, MAGIC = 0x46505853 };
    struct {
        uint32_t magic;
        uint32_t extended_size;
        uint64_t features;
        uint32_t xsave_size;
    } software;
    const uint8_t *from = (const uint8_t *)context->uc_mcontext.fpregs;
    size_t size = XCTX__FXSAVE_SIZE;

    if (!from)
        return 0;
    memcpy(&software, from + SOFTWARE_AT, sizeof(software));
    if (software.magic == MAGIC && software.xsave_size > size && software.xsave_size <= XCTX__FPU_MAX)
        size = software.xsave_size;
    memcpy(area, from, size);
    return size;
}

static inline bool xctx__fpu_vector(const uint8_t *area, size_t size, unsigned index, uint8_t value[16])
{
    enum { XMM_AT = 160 };

    if (size < XCTX__FXSAVE_SIZE || index >= XCTX__DWARF_VECTORS)
        return false;
    memcpy(value, area + XMM_AT + 16 * (size_t)index, 16);
    return true;
}

#endif
