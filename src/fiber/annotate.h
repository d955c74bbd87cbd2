/* SPDX-License-Identifier: MIT */
/*
 * What tools are told of stacks: AddressSanitizer, ThreadSanitizer, LeakSanitizer, Valgrind. Whether a sanitizer is
 * there is known when the program runs: the library itself need not be built with it.
 */
#ifndef XCTX_FIBER_ANNOTATE_H
#define XCTX_FIBER_ANNOTATE_H

#include <stdbool.h>
#include <stddef.h>

#if defined(__has_include)
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(low, high) ((void)(low), (void)(high), 0u)
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#endif

#include "fiber_internal.h"

/* ThreadSanitizer counts the functions that are entered and left, for each fiber by itself: none may be entered on one
   and left on the other. So these are part of their callers, and a caller that goes on on the same stack is not seen.
 */
#define ANNOTATE static inline __attribute__((always_inline))
#ifdef __clang__
#define ANNOTATE_UNSEEN __attribute__((disable_sanitizer_instrumentation))
#else
#define ANNOTATE_UNSEEN __attribute__((no_sanitize_thread))
#endif

/* NOLINTBEGIN(bugprone-reserved-identifier): the sanitizers' names */
extern void __sanitizer_start_switch_fiber(void **fake, const void *low, size_t size) __attribute__((weak));
extern void __sanitizer_finish_switch_fiber(void *fake, const void **low, size_t *size) __attribute__((weak));
extern void __asan_unpoison_memory_region(const volatile void *at, size_t size) __attribute__((weak));
extern void __lsan_register_root_region(const void *at, size_t size) __attribute__((weak));
extern void __lsan_unregister_root_region(const void *at, size_t size) __attribute__((weak));
extern void *__tsan_get_current_fiber(void) __attribute__((weak));
extern void *__tsan_create_fiber(unsigned flags) __attribute__((weak));
extern void __tsan_destroy_fiber(void *fiber) __attribute__((weak));
extern void __tsan_switch_to_fiber(void *fiber, unsigned flags) __attribute__((weak));
extern void __tsan_acquire(void *at) __attribute__((weak));
extern void __tsan_release(void *at) __attribute__((weak));
extern void __tsan_set_fiber_name(void *fiber, const char *name) __attribute__((weak));

ANNOTATE bool annotate_switches(void)
{
    return &__sanitizer_start_switch_fiber || &__tsan_switch_to_fiber;
}

/* The fiber begins to exist. */
ANNOTATE void annotate_create(xctx_fiber *fiber)
{
    struct fiber_top *top = xctx__fiber_top(fiber);

    if (!annotate_switches())
        return;
    top->address_fake = NULL;
    top->thread = &__tsan_create_fiber ? __tsan_create_fiber(0) : NULL;
    if (&__tsan_set_fiber_name && fiber->name[0])
        __tsan_set_fiber_name(top->thread, fiber->name);
}

ANNOTATE void annotate_destroy(xctx_fiber *fiber)
{
    if (&__tsan_destroy_fiber)
        __tsan_destroy_fiber(xctx__fiber_top(fiber)->thread);
}

/* A fiber was taken that somebody else may have run before. */
ANNOTATE void annotate_taken(xctx_fiber *fiber)
{
    if (&__tsan_acquire)
        __tsan_acquire(&fiber->state);
}

/* Right before and after a switch into a fiber, by who resumes it. */
ANNOTATE void annotate_in(xctx_fiber *fiber, void **ret_fake)
{
    struct fiber_top *top = xctx__fiber_top(fiber);

    if (&__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(ret_fake, (const void *)fiber->low, fiber->high - fiber->low);
    if (&__tsan_switch_to_fiber) {
        top->resumer_thread = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(top->thread, 0);
    }
}

ANNOTATE void annotate_back(void *fake)
{
    if (&__sanitizer_finish_switch_fiber)
        __sanitizer_finish_switch_fiber(fake, NULL, NULL);
}

/* On the fiber's own stack: once it has got there. */
ANNOTATE void annotate_arrived(xctx_fiber *fiber)
{
    struct fiber_top *top = xctx__fiber_top(fiber);

    if (&__sanitizer_finish_switch_fiber)
        __sanitizer_finish_switch_fiber(top->address_fake, &top->resumer_low, &top->resumer_size);
}

/* On the fiber's own stack: before it is left, for good or not. */
ANNOTATE void annotate_out(xctx_fiber *fiber, bool for_good)
{
    struct fiber_top *top = xctx__fiber_top(fiber);

    if (&__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(for_good ? NULL : &top->address_fake, top->resumer_low, top->resumer_size);
    if (&__tsan_switch_to_fiber) {
        void *thread = top->resumer_thread;
        __tsan_release(&fiber->state); /* which assembly does, unseen */
        __tsan_switch_to_fiber(thread, 0);
    }
}
/* NOLINTEND(bugprone-reserved-identifier) */

#endif
