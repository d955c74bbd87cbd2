/* SPDX-License-Identifier: MIT */
/*
 * Threads that follow a runtime: follow.h says how that stays off the quick paths.
 */
#include "follow.h"

#include <errno.h>

#include <xctx/follow.h>

#include "var_internal.h"

struct follower {
    const xctx_follow *what;
    uint64_t version; /* that was seen last */
    bool first;       /* none was seen yet, or it could not be followed */
    bool busy;        /* one of the operations runs */
};

_Atomic uint8_t xctx__follow_asks;

static int (*ask)(void);

void xctx__follow_slowly(struct slot *slot)
{
    struct follower *follower = slot->follower;

    if (!follower) {
        slot->asked = 1;
        bool again = ask() != 0;
        follower = slot->follower;
        if (!follower) {
            slot->asked = !again;
            return;
        }
    }
    uint64_t version = *__atomic_load_n(&follower->what->version, __ATOMIC_ACQUIRE);
    if (follower->busy || (version == follower->version && !follower->first))
        return;
    follower->version = version;
    follower->busy = true;
    follower->first = follower->what->switched(follower->what->user) != 0;
    follower->busy = false;
}

void xctx__follow_changed(struct slot *slot)
{
    struct follower *follower = slot->follower;

    if (XCTX__LIKELY(!follower) || follower->busy || !follower->what->changed)
        return;
    follower->busy = true;
    follower->what->changed(follower->what->user);
    follower->busy = false;
}

void xctx__follow_copied(struct slot *slot, xctx_context *copy)
{
    struct follower *follower = slot->follower;

    if (XCTX__LIKELY(!follower) || follower->busy || !follower->what->copied)
        return;
    follower->busy = true;
    follower->what->copied(copy, follower->what->user);
    follower->busy = false;
}

int xctx_follow_start(const xctx_follow *follow)
{
    struct slot *slot = &xctx__slot;

    if (!follow || follow->size != sizeof(*follow) || !follow->version || !follow->switched)
        return -EINVAL;
    if (slot->follower)
        return -EBUSY;
    /* A record, so that the thread's end is noticed. */
    struct follower *follower = xctx__record_get(slot) ? xctx__allocate(sizeof(*follower)) : NULL;
    if (!follower)
        return -ENOMEM;
    *follower = (struct follower){.what = follow, .first = true};
    xctx__watch_followers();
    if (slot->pin)
        xctx__pin_fold(slot);
    /* In this order: a handler that takes a snapshot in between finds the map in the context. */
    slot->follower = follower;
    xctx__slot_stored();
    xctx__slot_show(slot);
    return 0;
}

static void end(struct slot *slot)
{
    struct follower *follower = slot->follower;

    /* In this order, for the same reason. */
    slot->root = xctx__current_map(slot);
    xctx__slot_stored();
    slot->follower = NULL;
    xctx__free(follower);
}

bool xctx__is_hooked(const xctx_context *context)
{
    return context->root->flags & MAP_HOOKED;
}

int xctx_unfollow(void)
{
    struct slot *slot = &xctx__slot;

    if (!slot->follower || slot->follower->busy)
        return -EINVAL;
    end(slot);
    return 0;
}

void *xctx_following(void)
{
    const struct follower *follower = xctx__slot.follower;

    return follower ? follower->what->user : NULL;
}

int xctx_follow_threads(int (*fn)(void))
{
    static _Atomic uint8_t taken;

    if (!fn)
        return -EINVAL;
    if (atomic_exchange(&taken, 1))
        return -EBUSY;
    xctx__module_pin((const void *)(uintptr_t)fn);
    ask = fn;
    atomic_store(&xctx__follow_asks, 1); /* releases `ask` */
    return 0;
}

void xctx__follow_thread_end(struct slot *slot)
{
    if (!slot->follower)
        return;
    const xctx_follow *what = slot->follower->what;
    end(slot);
    if (what->ended)
        what->ended(what->user);
}
