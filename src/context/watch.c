/* SPDX-License-Identifier: MIT */
/*
 * Watchers.
 *
 * A bit in xctx__watchers says that a place is taken, and xctx__enter_mask that there are any: while nobody watches,
 * leaving looks at the one and entering at the other, and at nothing more. These looks are relaxed: a switch that is
 * made at the moment of xctx_watch() may go unreported. A thread that notifies first counts itself into `running`, then
 * looks at the bit; xctx_unwatch() first clears the bit, then looks at `running`. These four are sequentially
 * consistent, so that one of the two sees the other. A place is given away again only while nobody is counted into it.
 */
#include <errno.h>
#include <pthread.h>

#include "follow.h"
#include "fork.h"
#include "var_internal.h"

enum { WATCHERS = 16 };

static struct {
    xctx_watcher fn;
    void *user;
    _Atomic uint32_t running;
} places[WATCHERS];

_Atomic uint32_t xctx__watchers;
_Atomic uint32_t xctx__enter_mask = MAP_HOOKED;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for those who change xctx__watchers */

void xctx__watch_before_fork(void)
{
    pthread_mutex_lock(&lock);
}

void xctx__watch_after_fork(bool in_child)
{
    if (in_child)
        for (int i = 0; i < WATCHERS; i++)
            atomic_store(&places[i].running, xctx__slot.notifying == i + 1 ? 1 : 0);
    pthread_mutex_unlock(&lock);
}

static void notify_end(void *unused)
{
    (void)unused;
    atomic_fetch_sub(&places[xctx__slot.notifying - 1].running, 1);
    xctx__slot.notifying = 0;
}

static void notify_one(struct slot *slot, int i)
{
    atomic_fetch_add(&places[i].running, 1);
    slot->notifying = (int8_t)(i + 1);
    /* Also done when an exception or the end of the thread comes through here. */
    pthread_cleanup_push(notify_end, NULL);
    if (atomic_load(&xctx__watchers) >> i & 1)
        places[i].fn(slot->current, places[i].user);
    pthread_cleanup_pop(1);
}

void xctx__watch_followers(void)
{
    pthread_mutex_lock(&lock);
    atomic_fetch_or(&xctx__watchers, UINT32_C(1) << FOLLOW_WATCHER);
    atomic_store(&xctx__enter_mask, MAP_HOOKED | MAP_ANY);
    pthread_mutex_unlock(&lock);
}

void xctx__watch_notify(struct slot *slot)
{
    if (slot->follower)
        xctx__slot_show(slot);
    if (slot->notifying)
        return; /* a watcher's own switch */
    uint32_t watchers = atomic_load_explicit(&xctx__watchers, memory_order_relaxed) & ((UINT32_C(1) << WATCHERS) - 1);
    for (; watchers; watchers &= watchers - 1)
        notify_one(slot, __builtin_ctz(watchers));
}

int xctx_watch(xctx_watcher fn, void *user)
{
    int id = -ENOSPC;

    if (!fn)
        return -EINVAL;
    xctx__module_pin((const void *)(uintptr_t)fn);
    pthread_mutex_lock(&lock);
    for (int i = 0; i < WATCHERS && id < 0; i++) {
        if (atomic_load(&xctx__watchers) >> i & 1 || atomic_load(&places[i].running))
            continue;
        places[i].fn = fn;
        places[i].user = user;
        atomic_fetch_or(&xctx__watchers, UINT32_C(1) << i);
        atomic_store(&xctx__enter_mask, MAP_HOOKED | MAP_ANY);
        id = i;
    }
    pthread_mutex_unlock(&lock);
    return id;
}

int xctx_unwatch(int id)
{
    unsigned tries = 0;

    if (id < 0 || id >= WATCHERS)
        return -EINVAL;
    pthread_mutex_lock(&lock);
    uint32_t before = atomic_fetch_and(&xctx__watchers, ~(UINT32_C(1) << id));
    if (!atomic_load(&xctx__watchers))
        atomic_store(&xctx__enter_mask, MAP_HOOKED);
    pthread_mutex_unlock(&lock);
    if (!(before >> id & 1))
        return -EINVAL;
    if (!xctx__slot.notifying)
        while (atomic_load(&places[id].running))
            xctx__claim_wait(&tries);
    return 0;
}
