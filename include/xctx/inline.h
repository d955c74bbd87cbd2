/* SPDX-License-Identifier: MIT */
/**
 * @file inline.h
 * xctx_var_get() without a call: included by var.h, not for use by itself.
 *
 * A call into a shared library costs more than all that xctx_var_get() does, so optimised code does it in place: the
 * thread's slot, a bounds check, a load. Everything else is left to the library. The exported function is there all
 * the same, for unoptimised code, pointers to it and other languages; define XCTX_NO_INLINE to always call it.
 *
 * The layouts below are part of the binary interface of libxctx.so.0; map.c, cell.c and value.c assert that they are
 * the library's. The atomics are relaxed: a number and flags that matter were seen by whoever set the variable in the
 * map that is read here (number_locked() in var.c).
 *
 * The slot is read by assembly that the compiler must repeat each time, not by a _Thread_local variable: the compiler
 * may keep the address of one across calls, and a call may switch to another stack that goes on on another thread.
 */
#ifndef XCTX_INLINE_H
#define XCTX_INLINE_H

#include <xctx/var.h>

#if (defined(__x86_64__) || defined(__aarch64__)) && defined(__LP64__) && !defined(XCTX_NO_INLINE)
#define XCTX__HAS_INLINE 1
#endif

#ifdef XCTX__HAS_INLINE

XCTX_BEGIN

/** @cond internal */
/* The beginning of struct map. */
struct xctx__map_head {
    int64_t refs_;
    uint32_t limit_;
    uint32_t flags_;
    uint64_t cells_[4];
    void *rest_;
    uint32_t hole_;
    uint32_t unused_;
    /* `limit_` words follow */
};

enum { XCTX__VAR_CELL = 4 }; /* in flags_ of a variable: its words point to cells, which begin with the value */

extern inline __attribute__((gnu_inline, always_inline)) const struct xctx__map_head *xctx__root(void)
{
    const struct xctx__map_head *root;
#ifdef __x86_64__
    __asm__ volatile("movq xctx__slot@gottpoff(%%rip), %0\n\t"
                     "movq %%fs:(%0), %0"
                     : "=r"(root));
#else
    void *thread;
    __asm__ volatile("mrs %1, tpidr_el0\n\t"
                     "adrp %0, :gottprel:xctx__slot\n\t"
                     "ldr %0, [%0, :gottprel_lo12:xctx__slot]\n\t"
                     "ldr %0, [%1, %0]"
                     : "=&r"(root), "=&r"(thread));
#endif
    return root;
}

XCTX_API void *xctx__var_get_slowly(xctx_var *var);

extern inline __attribute__((gnu_inline)) void *xctx_var_get(xctx_var *var)
{
    const struct xctx__map_head *root = xctx__root();
    uint32_t id = __atomic_load_n(&var->id_, __ATOMIC_RELAXED);

    if (__builtin_expect(id < root->limit_, 1)) {
        void *word = ((void *const *)(root + 1))[id];
        if (__builtin_expect(word != XCTX_RESERVED_VALUE, 1))
            return __atomic_load_n(&var->flags_, __ATOMIC_RELAXED) & XCTX__VAR_CELL ? *(void **)word : word;
    }
    return xctx__var_get_slowly(var);
}
/** @endcond */

XCTX_END

#endif

#endif
