/* SPDX-License-Identifier: MIT */
/*
 * Copying and clearing whole words, x86-64: see ../registers.h.
 *
 * With AVX by blocks of 128 bytes, the last of which begins inside the one before it: faster than the string
 * instructions, which need a while to begin (`make bench`: "+ stack, 4 KiB"). Those do the rest: what is much shorter
 * than a block, and all that is longer on a processor without AVX.
 *
 * A signal handler may use these registers, as the kernel saves them; vzeroupper leaves them as a program without AVX
 * has them, so that nothing that follows is slower, nor is there more to save.
 */
#include <cpuid.h>

#include "arch/registers.h"

enum { BLOCK = 128, HALF = 64, FEW = 32 };

/* Written before the program runs, or its dlopen() returns. Whoever comes before that does without. */
static bool has_avx;

/* Whether the processor has it, and the system saves its registers. */
__attribute__((constructor(101))) static void look(void)
{
    enum { SSE_AND_AVX_STATE = 6 };
    uint32_t a, b, c, d;

    if (!__get_cpuid(1, &a, &b, &c, &d) || (c & (bit_OSXSAVE | bit_AVX)) != (bit_OSXSAVE | bit_AVX))
        return;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
    has_avx = (a & SSE_AND_AVX_STATE) == SSE_AND_AVX_STATE;
}

/* 32 to 128 bytes: the first and the last ones, each half of them or more. */
static inline void copy_few(void *to, const void *from, size_t size)
{
    if (size >= HALF)
        __asm__ volatile("movups (%[from]), %%xmm0\n\t"
                         "movups 16(%[from]), %%xmm1\n\t"
                         "movups 32(%[from]), %%xmm2\n\t"
                         "movups 48(%[from]), %%xmm3\n\t"
                         "movups -64(%[from], %[size]), %%xmm4\n\t"
                         "movups -48(%[from], %[size]), %%xmm5\n\t"
                         "movups -32(%[from], %[size]), %%xmm6\n\t"
                         "movups -16(%[from], %[size]), %%xmm7\n\t"
                         "movups %%xmm0, (%[to])\n\t"
                         "movups %%xmm1, 16(%[to])\n\t"
                         "movups %%xmm2, 32(%[to])\n\t"
                         "movups %%xmm3, 48(%[to])\n\t"
                         "movups %%xmm4, -64(%[to], %[size])\n\t"
                         "movups %%xmm5, -48(%[to], %[size])\n\t"
                         "movups %%xmm6, -32(%[to], %[size])\n\t"
                         "movups %%xmm7, -16(%[to], %[size])"
                         :
                         : [to] "r"(to), [from] "r"(from), [size] "r"(size)
                         : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "memory");
    else
        __asm__ volatile("movups (%[from]), %%xmm0\n\t"
                         "movups 16(%[from]), %%xmm1\n\t"
                         "movups -32(%[from], %[size]), %%xmm2\n\t"
                         "movups -16(%[from], %[size]), %%xmm3\n\t"
                         "movups %%xmm0, (%[to])\n\t"
                         "movups %%xmm1, 16(%[to])\n\t"
                         "movups %%xmm2, -32(%[to], %[size])\n\t"
                         "movups %%xmm3, -16(%[to], %[size])"
                         :
                         : [to] "r"(to), [from] "r"(from), [size] "r"(size)
                         : "xmm0", "xmm1", "xmm2", "xmm3", "memory");
}

void xctx__words_copy(void *to, const void *from, size_t size)
{
    size_t words = size / sizeof(uint64_t);

    if (size <= BLOCK && size >= FEW) {
        copy_few(to, from, size);
        return;
    }
    if (!has_avx || size < BLOCK) {
        __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
        return;
    }
    size_t last = size - BLOCK; /* where the last block begins */
    size_t at = 0;
    __asm__ volatile("1:\n\t"
                     "vmovdqu (%[from], %[at]), %%ymm0\n\t"
                     "vmovdqu 32(%[from], %[at]), %%ymm1\n\t"
                     "vmovdqu 64(%[from], %[at]), %%ymm2\n\t"
                     "vmovdqu 96(%[from], %[at]), %%ymm3\n\t"
                     "vmovdqu %%ymm0, (%[to], %[at])\n\t"
                     "vmovdqu %%ymm1, 32(%[to], %[at])\n\t"
                     "vmovdqu %%ymm2, 64(%[to], %[at])\n\t"
                     "vmovdqu %%ymm3, 96(%[to], %[at])\n\t"
                     "addq $128, %[at]\n\t"
                     "cmpq %[last], %[at]\n\t"
                     "jb 1b\n\t"
                     "vmovdqu (%[from], %[last]), %%ymm0\n\t"
                     "vmovdqu 32(%[from], %[last]), %%ymm1\n\t"
                     "vmovdqu 64(%[from], %[last]), %%ymm2\n\t"
                     "vmovdqu 96(%[from], %[last]), %%ymm3\n\t"
                     "vmovdqu %%ymm0, (%[to], %[last])\n\t"
                     "vmovdqu %%ymm1, 32(%[to], %[last])\n\t"
                     "vmovdqu %%ymm2, 64(%[to], %[last])\n\t"
                     "vmovdqu %%ymm3, 96(%[to], %[last])\n\t"
                     "vzeroupper"
                     : [at] "+r"(at)
                     : [to] "r"(to), [from] "r"(from), [last] "r"(last)
                     : "xmm0", "xmm1", "xmm2", "xmm3", "memory", "cc");
}

void xctx__words_clear(void *memory, size_t size)
{
    size_t words = size / sizeof(uint64_t);

    if (!has_avx || size < BLOCK) {
        __asm__ volatile("rep stosq" : "+D"(memory), "+c"(words) : "a"(0) : "memory");
        return;
    }
    size_t last = size - BLOCK;
    size_t at = 0;
    __asm__ volatile("vpxor %%xmm0, %%xmm0, %%xmm0\n\t"
                     "1:\n\t"
                     "vmovdqu %%ymm0, (%[to], %[at])\n\t"
                     "vmovdqu %%ymm0, 32(%[to], %[at])\n\t"
                     "vmovdqu %%ymm0, 64(%[to], %[at])\n\t"
                     "vmovdqu %%ymm0, 96(%[to], %[at])\n\t"
                     "addq $128, %[at]\n\t"
                     "cmpq %[last], %[at]\n\t"
                     "jb 1b\n\t"
                     "vmovdqu %%ymm0, (%[to], %[last])\n\t"
                     "vmovdqu %%ymm0, 32(%[to], %[last])\n\t"
                     "vmovdqu %%ymm0, 64(%[to], %[last])\n\t"
                     "vmovdqu %%ymm0, 96(%[to], %[last])\n\t"
                     "vzeroupper"
                     : [at] "+r"(at)
                     : [to] "r"(memory), [last] "r"(last)
                     : "xmm0", "memory", "cc");
}
