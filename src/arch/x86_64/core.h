/* SPDX-License-Identifier: MIT */
/* x86-64: see ../core.h for the contract. */
#ifndef XCTX_ARCH_X86_64_CORE_H
#define XCTX_ARCH_X86_64_CORE_H

enum { XCTX__CORE_MACHINE = EM_X86_64, XCTX__CORE_TLS_NOTE = 0 };

/* Where registers are in struct user_regs_struct (Linux, asm/user_64.h), in its order; XCTX__REGISTERS: not captured.
 */
static const uint8_t xctx__core_order[27] = {
    XCTX__R15,     XCTX__R14,       XCTX__R13,       XCTX__R12,       XCTX__RBP,       XCTX__RBX,       XCTX__R11,
    XCTX__R10,     XCTX__R9,        XCTX__R8,        XCTX__RAX,       XCTX__RCX,       XCTX__RDX,       XCTX__RSI,
    XCTX__RDI,     XCTX__REGISTERS, XCTX__RIP,       XCTX__CS,        XCTX__RFLAGS,    XCTX__RSP,       XCTX__SS,
    XCTX__FS_BASE, XCTX__REGISTERS, XCTX__REGISTERS, XCTX__REGISTERS, XCTX__REGISTERS, XCTX__REGISTERS,
};
enum { XCTX__CORE_ORIG_RAX = 15 };
_Static_assert(sizeof(elf_gregset_t) == sizeof(xctx__core_order) * 8, "as struct user_regs_struct");

static inline void xctx__core_put(elf_gregset_t *to, const struct xctx__registers *from)
{
    uint64_t values[sizeof(xctx__core_order)] = {0};

    for (size_t i = 0; i < sizeof(xctx__core_order); i++)
        if (xctx__core_order[i] < XCTX__REGISTERS && from->known >> xctx__core_order[i] & 1)
            values[i] = from->value[xctx__core_order[i]];
    values[XCTX__CORE_ORIG_RAX] = UINT64_MAX; /* in no system call that could be restarted */
    memcpy(to, values, sizeof(values));
}

static inline void xctx__core_get(struct xctx__registers *to, const void *from)
{
    uint64_t values[sizeof(xctx__core_order)];

    memcpy(values, from, sizeof(values));
    for (size_t i = 0; i < sizeof(xctx__core_order); i++) {
        if (xctx__core_order[i] >= XCTX__REGISTERS)
            continue;
        to->value[xctx__core_order[i]] = values[i];
        to->known |= UINT64_C(1) << xctx__core_order[i];
    }
}

/* The bytes that FXSAVE leaves to software. In a signal frame: two numbers, then the features; in a core: the features.
 */
enum {
    XCTX__SOFTWARE_AT = 464,
    XCTX__SOFTWARE_SIZE = 48,
    XCTX__FEATURES_AT = XCTX__SOFTWARE_AT + 8,
    XCTX__XSTATE_AT = 512,
    XCTX__XSTATE_AVX_SIZE = 832,
};

/* Where the parts behind AVX lie depends on the processor, and debuggers take them to be where Intel's have them: areas
   that are too short for that are cut to AVX. (gdb 13 refuses them altogether.) */
static inline size_t xctx__core_xstate_size(const uint8_t *area, size_t size)
{
    enum { AVX512 = 0xe0, AVX512_SIZE = 2688, PKRU = 0x200, PKRU_SIZE = 2696 };
    uint64_t features;

    memcpy(&features, area + XCTX__FEATURES_AT, sizeof(features));
    if (size > XCTX__XSTATE_AVX_SIZE &&
        ((features & AVX512 && size < AVX512_SIZE) || (features & PKRU && size < PKRU_SIZE)))
        return XCTX__XSTATE_AVX_SIZE;
    return size;
}

static inline uint32_t xctx__core_fpu_note(unsigned index, const uint8_t *area, size_t size, size_t *ret_size)
{
    if (index == 0 && size >= XCTX__FXSAVE_SIZE) {
        *ret_size = XCTX__FXSAVE_SIZE;
        return NT_FPREGSET;
    }
    if (index == 1 && size > XCTX__XSTATE_AT + sizeof(uint64_t)) {
        *ret_size = xctx__core_xstate_size(area, size);
        return NT_X86_XSTATE;
    }
    return 0;
}

static inline void xctx__core_fpu_finish(uint32_t note, uint8_t *content, size_t size)
{
    enum { X87_SSE_AVX = 7 };
    uint64_t features;
    uint64_t present;

    if (size < XCTX__FXSAVE_SIZE)
        return;
    memcpy(&features, content + XCTX__FEATURES_AT, sizeof(features));
    memset(content + XCTX__SOFTWARE_AT, 0, XCTX__SOFTWARE_SIZE);
    if (note != NT_X86_XSTATE)
        return;
    if (size == XCTX__XSTATE_AVX_SIZE) {
        features &= X87_SSE_AVX;
        memcpy(&present, content + XCTX__XSTATE_AT, sizeof(present));
        present &= X87_SSE_AVX;
        memcpy(content + XCTX__XSTATE_AT, &present, sizeof(present));
    }
    memcpy(content + XCTX__SOFTWARE_AT, &features, sizeof(features));
}

static inline size_t xctx__core_fpu_get(struct xctx__registers *to, uint8_t *area, uint32_t note,
                                        const uint8_t *content, size_t size)
{
    enum { FCTRL_AT = 0, MXCSR_AT = 24 };
    uint64_t features;
    uint16_t fctrl;
    uint32_t mxcsr;

    if ((note != NT_FPREGSET && note != NT_X86_XSTATE) || size < XCTX__FXSAVE_SIZE)
        return 0;
    if (note == NT_FPREGSET || size > XCTX__FPU_MAX)
        size = XCTX__FXSAVE_SIZE;
    memcpy(area, content, size);
    memcpy(&features, content + XCTX__SOFTWARE_AT, sizeof(features));
    memset(area + XCTX__SOFTWARE_AT, 0, XCTX__SOFTWARE_SIZE);
    if (size > XCTX__FXSAVE_SIZE)
        memcpy(area + XCTX__FEATURES_AT, &features, sizeof(features));
    memcpy(&fctrl, content + FCTRL_AT, sizeof(fctrl));
    memcpy(&mxcsr, content + MXCSR_AT, sizeof(mxcsr));
    to->value[XCTX__FCTRL] = fctrl;
    to->value[XCTX__MXCSR] = mxcsr;
    to->known |= UINT64_C(1) << XCTX__FCTRL | UINT64_C(1) << XCTX__MXCSR;
    return size;
}

/* Variant II of the processor's ABI: below the pointer, as near as the alignment lets it be. */
static inline uint64_t xctx__core_tls(uint64_t pointer, uint64_t address, uint64_t size, uint64_t align)
{
    return pointer - (size + (-(size + address) & (align - 1)));
}

#endif
