/* SPDX-License-Identifier: MIT */
/* aarch64: see ../core.h for the contract. */
#ifndef XCTX_ARCH_AARCH64_CORE_H
#define XCTX_ARCH_AARCH64_CORE_H

enum { XCTX__CORE_MACHINE = EM_AARCH64, XCTX__CORE_TLS_NOTE = NT_ARM_TLS };

/* struct user_pt_regs: x0 to x30, sp, pc, pstate: the order of xctx__registers. */
enum { XCTX__CORE_COUNT = XCTX__CPSR + 1 };
_Static_assert(sizeof(elf_gregset_t) == XCTX__CORE_COUNT * 8, "as struct user_pt_regs");

static inline void xctx__core_put(elf_gregset_t *to, const struct xctx__registers *from)
{
    uint64_t values[XCTX__CORE_COUNT] = {0};

    for (int i = 0; i < XCTX__CORE_COUNT; i++)
        if (from->known >> i & 1)
            values[i] = from->value[i];
    memcpy(to, values, sizeof(values));
}

static inline void xctx__core_get(struct xctx__registers *to, const void *from)
{
    memcpy(to->value, from, XCTX__CORE_COUNT * 8);
    to->known |= (UINT64_C(1) << XCTX__CORE_COUNT) - 1;
}

static inline uint32_t xctx__core_fpu_note(unsigned index, const uint8_t *area, size_t size, size_t *ret_size)
{
    (void)area;
    if (index != 0 || size < XCTX__FPU_MAX)
        return 0;
    *ret_size = XCTX__FPU_MAX;
    return NT_FPREGSET;
}

static inline void xctx__core_fpu_finish(uint32_t note, uint8_t *content, size_t size)
{
    (void)note;
    (void)content;
    (void)size;
}

static inline size_t xctx__core_fpu_get(struct xctx__registers *to, uint8_t *area, uint32_t note,
                                        const uint8_t *content, size_t size)
{
    enum { FPSR_AT = 512, FPCR_AT = 516 };
    uint32_t fpsr;
    uint32_t fpcr;

    if (note != NT_FPREGSET || size < XCTX__FPU_MAX)
        return 0;
    memcpy(area, content, XCTX__FPU_MAX);
    memcpy(&fpsr, content + FPSR_AT, sizeof(fpsr));
    memcpy(&fpcr, content + FPCR_AT, sizeof(fpcr));
    to->value[XCTX__FPSR] = fpsr;
    to->value[XCTX__FPCR] = fpcr;
    to->known |= UINT64_C(1) << XCTX__FPSR | UINT64_C(1) << XCTX__FPCR;
    return XCTX__FPU_MAX;
}

/* Variant I of the processor's ABI: above the pointer and two words that belong to the system. */
static inline uint64_t xctx__core_tls(uint64_t pointer, uint64_t address, uint64_t size, uint64_t align)
{
    (void)size;
    return pointer + 16 + ((address - 16) & (align - 1));
}

#endif
