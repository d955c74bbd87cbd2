/* SPDX-License-Identifier: MIT */
/*
 * All memory of libxctx comes from here, so that test builds can make any one allocation fail and shrink the sizes at
 * which structures change shape.
 */
#ifndef XCTX_CONTEXT_MEMORY_H
#define XCTX_CONTEXT_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

/* gcc says it by a macro of its own, clang by a feature. */
#if defined(__SANITIZE_ADDRESS__)
#define XCTX__HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define XCTX__HAS_ASAN 1
#endif
#endif

enum {
    XCTX__SMALLEST_MAP = 8, /* words; each size of a map's array is twice the one before */
    XCTX__MAP_SIZES = 6,    /* 8 to 256 words */
};

#ifdef XCTX_TEST_BUILD
#include <xctx/base.h>

enum {
    XCTX__FLAT_LIMIT = 8,    /* variables with a smaller number live in the map's array: 256 as shipped */
    XCTX__TRIE_BITS = 2,     /* log2 of a trie node's children */
    XCTX__FREE_LIMIT = 2,    /* objects of a kind that a thread keeps for its next allocation */
    XCTX__CONTEXT_LIMIT = 2, /* the same for contexts: there are more of them, and they are small */
    XCTX__HAND_OVERS = 2,    /* see record.h */
    XCTX__VAR_PAGE_BITS = 4, /* log2 of the variables in one page of the table of variables */
    XCTX__VAR_PAGES = 64,    /* how many pages there can be */
    XCTX__PIN_BITS = 12,     /* log2 of a pin: see context_internal.h */
    XCTX__PIN_BATCH = 1 << 8,
    XCTX__LEAF_MOST = 1 << 4, /* see share.h */
};

/* The nth allocation from now on fails, once; 0: none. Returns how many were made since the last call. */
XCTX_API long xctx__test_fail_allocation(long nth);
/* 0: behave as where the kernel has no membarrier(). */
XCTX_API void xctx__test_set_bias(int on);

/* Whether what is to be asked of the system now shall fail, as an allocation that counts as one. */
bool xctx__allocation_fails(void);
void *xctx__allocate(size_t size);
void *xctx__allocate_aligned(size_t alignment, size_t size);
#else
enum {
    XCTX__FLAT_LIMIT = 256,
    XCTX__TRIE_BITS = 5,
#ifdef XCTX__HAS_ASAN
    XCTX__FREE_LIMIT = 0, /* let the sanitizer see each object freed */
    XCTX__CONTEXT_LIMIT = 0,
#else
    XCTX__FREE_LIMIT = 128,
    XCTX__CONTEXT_LIMIT = 512,
#endif
    XCTX__HAND_OVERS = 64,
    XCTX__VAR_PAGE_BITS = 10,
    XCTX__VAR_PAGES = 4096,
    XCTX__PIN_BITS = 36,
    XCTX__PIN_BATCH = 1 << 30,
    XCTX__LEAF_MOST = 1 << 16,
};

static inline bool xctx__allocation_fails(void)
{
    return false;
}

static inline void *xctx__allocate(size_t size)
{
    return malloc(size);
}

static inline void *xctx__allocate_aligned(size_t alignment, size_t size)
{
    return aligned_alloc(alignment, size);
}
#endif

#if defined(XCTX_TEST_BUILD) || defined(XCTX__HAS_ASAN)
#define XCTX__POOLED 0 /* see pool.h */
#else
#define XCTX__POOLED 1
#endif

static inline void xctx__free(void *memory)
{
    free(memory);
}

#define XCTX__LIKELY(condition) __builtin_expect(!!(condition), 1)
#define XCTX__UNLIKELY(condition) __builtin_expect(!!(condition), 0)

#endif
