/* SPDX-License-Identifier: MIT */
/*
 * Copying and clearing whole words, aarch64: see ../registers.h. By blocks of 64 bytes, then word by word. In assembly,
 * as the compiler would make calls of memcpy() and memset() of plain loops, and sanitizers look at what those touch.
 */
#include "arch/registers.h"

enum { BLOCK = 64 };

void xctx__words_copy(void *to, const void *from, size_t size)
{
    for (; size >= BLOCK; size -= BLOCK)
        __asm__ volatile("ldp q0, q1, [%1]\n\t"
                         "ldp q2, q3, [%1, #32]\n\t"
                         "add %1, %1, #64\n\t"
                         "stp q0, q1, [%0]\n\t"
                         "stp q2, q3, [%0, #32]\n\t"
                         "add %0, %0, #64"
                         : "+r"(to), "+r"(from)
                         :
                         : "v0", "v1", "v2", "v3", "memory");
    for (uint64_t word; size >= sizeof(word); size -= sizeof(word))
        __asm__ volatile("ldr %2, [%1], #8\n\t"
                         "str %2, [%0], #8"
                         : "+r"(to), "+r"(from), "=&r"(word)
                         :
                         : "memory");
}

void xctx__words_clear(void *memory, size_t size)
{
    for (; size >= BLOCK; size -= BLOCK)
        __asm__ volatile("stp xzr, xzr, [%0]\n\t"
                         "stp xzr, xzr, [%0, #16]\n\t"
                         "stp xzr, xzr, [%0, #32]\n\t"
                         "stp xzr, xzr, [%0, #48]\n\t"
                         "add %0, %0, #64"
                         : "+r"(memory)
                         :
                         : "memory");
    for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t))
        __asm__ volatile("str xzr, [%0], #8" : "+r"(memory) : : "memory");
}
