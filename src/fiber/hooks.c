/* SPDX-License-Identifier: MIT */
/*
 * Hooks: values that belong to one copy of a fiber.
 *
 * Hooks and the variables that hold their values lie on the fiber's stack, so they are copied with it, and their
 * addresses are true in each copy: a copy's bytes from `sp` on are at `bytes`.
 */
#include <errno.h>
#include <string.h>

#include "fiber_internal.h"

static void *at(uintptr_t address, uintptr_t sp, const void *bytes)
{
    return (char *)(uintptr_t)bytes + (address - sp);
}

static const xctx_fiber_hook *hook_in(const xctx_fiber_hook *hook, uintptr_t sp, const void *bytes)
{
    return hook ? at((uintptr_t)hook, sp, bytes) : NULL;
}

/* Drops the values of the hooks before `end`, or of all; `cloned`: of those that were cloned alone. */
static void drop_until(const xctx_fiber_hook *hooks, const xctx_fiber_hook *end, bool cloned, uintptr_t sp,
                       const void *bytes)
{
    const xctx_fiber_hook *next;

    for (const xctx_fiber_hook *hook = hook_in(hooks, sp, bytes); hook && hook != end; hook = next) {
        void *value = *(void **)at((uintptr_t)hook->place_, sp, bytes);
        next = hook_in(hook->next_, sp, bytes);
        if (value && hook->on_drop && (hook->on_clone || !cloned))
            hook->on_drop(value);
    }
}

void xctx__fiber_hooks_drop(const xctx_fiber_hook *hooks, uintptr_t sp, const void *bytes)
{
    drop_until(hooks, NULL, false, sp, bytes);
}

int xctx__fiber_hooks_clone(const xctx_fiber_hook *hooks, uintptr_t sp, void *bytes)
{
    for (const xctx_fiber_hook *hook = hook_in(hooks, sp, bytes); hook; hook = hook_in(hook->next_, sp, bytes)) {
        void **place = at((uintptr_t)hook->place_, sp, bytes);
        void *value = *place;
        if (!value || !hook->on_clone)
            continue;
        int error = hook->on_clone(value, &value);
        if (error) {
            drop_until(hooks, hook, true, sp, bytes);
            return error < 0 ? error : -EINVAL;
        }
        *place = value;
    }
    return 0;
}

static bool is_on_stack(const xctx_fiber *fiber, const void *at_address, size_t size)
{
    uintptr_t address = (uintptr_t)at_address;

    return address >= fiber->low && address <= fiber->high - size;
}

int xctx_fiber_hook_push(xctx_fiber_hook *hook, void *place)
{
    xctx_fiber *fiber = xctx__slot.fiber;

    if (!hook || !place)
        return -EINVAL;
    for (const xctx_fiber_hook *other = fiber && fiber->more ? fiber->more->hooks : NULL; other; other = other->next_)
        if (other == hook)
            return -EALREADY;
    hook->place_ = NULL;
    hook->next_ = NULL;
    if (!fiber)
        return 0;
    if (!is_on_stack(fiber, hook, sizeof(*hook)) || !is_on_stack(fiber, place, sizeof(void *)))
        return -EINVAL;
    struct more *more = xctx__fiber_more(fiber);
    if (!more)
        return -ENOMEM;
    hook->place_ = place;
    hook->next_ = more->hooks;
    more->hooks = hook;
    return 0;
}

void xctx_fiber_hook_pop(xctx_fiber_hook *hook)
{
    const xctx_fiber *fiber = xctx__slot.fiber;

    if (!hook || !hook->place_ || !fiber || !fiber->more)
        return;
    for (xctx_fiber_hook **link = &fiber->more->hooks; *link; link = &(*link)->next_) {
        if (*link == hook) {
            *link = hook->next_;
            hook->place_ = NULL;
            return;
        }
    }
}
