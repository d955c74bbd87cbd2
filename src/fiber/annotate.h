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
#if __has_include(<valgrind/memcheck.h>)
#include <valgrind/memcheck.h>
#endif
#endif
#ifndef VALGRIND_STACK_REGISTER
#define VALGRIND_STACK_REGISTER(low, high) ((void)(low), (void)(high), 0u)
#define VALGRIND_STACK_DEREGISTER(id) ((void)(id))
#define VALGRIND_MAKE_MEM_UNDEFINED(low, size) ((void)(low), (void)(size))
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
extern void __tsan_func_entry(void *pc) __attribute__((weak));
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
    struct annotations *top = &xctx__fiber_top(fiber)->annotations;

    if (!annotate_switches())
        return;
    top->address_fake = NULL;
    top->thread = &__tsan_create_fiber ? __tsan_create_fiber(0) : NULL;
    if (&__tsan_set_fiber_name && fiber->name[0])
        __tsan_set_fiber_name(top->thread, fiber->name);
}

ANNOTATE void annotate_destroy(xctx_fiber *fiber)
{
    const struct annotations *annotations =
        xctx__has_turns(fiber) ? &fiber->more->annotations : &xctx__fiber_top(fiber)->annotations;

    if (&__tsan_destroy_fiber)
        __tsan_destroy_fiber(annotations->thread);
}

/* A shot begins to exist, which has not got the stack. */
ANNOTATE void annotate_shot(xctx_fiber *fiber)
{
    if (&__tsan_create_fiber)
        fiber->more->annotations.thread = __tsan_create_fiber(0);
}

/* How deep the calls are that a shot goes on in is not known: at most as many as have room on the stack. */
ANNOTATE void annotate_depth(const xctx_fiber *fiber)
{
    enum { FRAME_MIN = 16, MOST = 60000 };
    size_t depth = (fiber->high - (uintptr_t)fiber->sp) / FRAME_MIN;

    if (!&__tsan_func_entry)
        return;
    for (size_t i = 0; i < depth && i < MOST; i++)
        __tsan_func_entry(NULL);
}

/* A stack gets other bytes, from fiber->sp on. */
ANNOTATE void annotate_overwritten(const xctx_fiber *fiber)
{
    VALGRIND_MAKE_MEM_UNDEFINED(fiber->sp, fiber->high - (uintptr_t)fiber->sp);
    if (&__asan_unpoison_memory_region)
        __asan_unpoison_memory_region((void *)fiber->low, fiber->high - fiber->low);
}

/* Whether AddressSanitizer keeps a suspended fiber's local variables elsewhere. */
ANNOTATE bool annotate_has_fake(const xctx_fiber *fiber)
{
    bool parked = xctx__has_turns(fiber) && fiber->more->place != FIBER_ON_STACK;

    return fiber->bits & FIBER_SLOWLY &&
           (parked ? fiber->more->annotations : xctx__fiber_top(fiber)->annotations).address_fake;
}

/* A fiber was taken that somebody else may have run before. */
ANNOTATE void annotate_taken(xctx_fiber *fiber)
{
    if (&__tsan_acquire)
        __tsan_acquire(fiber->turn);
}

/* Right before and after a switch into a fiber, by who resumes it. */
ANNOTATE void annotate_in(xctx_fiber *fiber, void **ret_fake)
{
    struct annotations *top = &xctx__fiber_top(fiber)->annotations;

    if (&__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(ret_fake, (const void *)fiber->low, fiber->high - fiber->low);
    if (&__tsan_switch_to_fiber) {
        top->resumer_thread = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(top->thread, 0);
        if (fiber->bits & FIBER_FRESH)
            annotate_depth(fiber);
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
    struct annotations *top = &xctx__fiber_top(fiber)->annotations;

    if (&__sanitizer_finish_switch_fiber)
        __sanitizer_finish_switch_fiber(top->address_fake, &top->resumer_low, &top->resumer_size);
}

/* An exception leaves the fiber, and frames of its resumer that thus do not clear their marks. */
ANNOTATE void annotate_unwound(const xctx_fiber *fiber)
{
    const struct annotations *top = &xctx__fiber_top(fiber)->annotations;

    if (&__asan_unpoison_memory_region)
        __asan_unpoison_memory_region(fiber->resumer_sp,
                                      (uintptr_t)top->resumer_low + top->resumer_size - (uintptr_t)fiber->resumer_sp);
}

/* On the fiber's own stack: before it is left, for good or not. */
ANNOTATE void annotate_out(xctx_fiber *fiber, bool for_good)
{
    struct annotations *top = &xctx__fiber_top(fiber)->annotations;

    if (&__sanitizer_start_switch_fiber)
        __sanitizer_start_switch_fiber(for_good ? NULL : &top->address_fake, top->resumer_low, top->resumer_size);
    if (&__tsan_switch_to_fiber) {
        void *thread = top->resumer_thread;
        __tsan_release(fiber->turn); /* which assembly does, unseen */
        __tsan_switch_to_fiber(thread, 0);
    }
}
/* NOLINTEND(bugprone-reserved-identifier) */

#endif
