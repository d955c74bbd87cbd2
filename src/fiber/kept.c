/* SPDX-License-Identifier: MIT */
/*
 * Tokens on fibers' stacks that hold a reference to an old value. Copying a stack copies the token, but not the
 * reference. So where a fiber runs, such a reference is held by a list of the fiber's, by the token's address, and each
 * copy of the fiber gets a list with references of its own. A token that is used somewhere else takes a reference anew,
 * which is sound as long as there is the stack that it lies on.
 */
#include <errno.h>

#include "context/cell.h"
#include "context/fibers.h"
#include "context/memory.h"
#include "fiber_internal.h"

bool xctx__token_is_kept(const struct slot *slot, const xctx_token *token)
{
    const xctx_fiber *fiber = slot->fiber;

    return fiber && (uintptr_t)token >= fiber->low && (uintptr_t)token < fiber->high;
}

int xctx__token_reserve(struct slot *slot)
{
    enum { FIRST_ROOM = 6 };
    struct more *more = xctx__fiber_more(slot->fiber);
    if (!more)
        return -ENOMEM;
    const struct kept *kept = more->kept;
    uint32_t count = kept ? kept->count : 0;
    uint32_t room = kept ? kept->room : 0;

    if (count < room)
        return 0;
    room = room ? 2 * room : FIRST_ROOM;
    struct kept *larger = xctx__allocate(sizeof(*larger) + room * sizeof(larger->entries[0]));
    if (!larger)
        return -ENOMEM;
    larger->count = count;
    larger->room = room;
    for (uint32_t i = 0; i < count; i++)
        larger->entries[i] = kept->entries[i];
    xctx__free(more->kept);
    more->kept = larger;
    return 0;
}

void xctx__token_keep(struct slot *slot, const xctx_token *token, struct cell *cell)
{
    struct kept *kept = slot->fiber->more->kept;

    kept->entries[kept->count].token = token;
    kept->entries[kept->count].cell = cell;
    kept->count++;
}

void xctx__token_unkeep(struct slot *slot, const xctx_token *token)
{
    struct kept *kept = slot->fiber && slot->fiber->more ? slot->fiber->more->kept : NULL;

    /* Almost always the last one. */
    for (uint32_t i = kept ? kept->count : 0; i > 0; i--) {
        if (kept->entries[i - 1].token != token)
            continue;
        struct cell *cell = kept->entries[i - 1].cell;
        for (kept->count--; i <= kept->count; i++)
            kept->entries[i - 1] = kept->entries[i];
        xctx__cell_unref(cell); /* last: it may call the user's code */
        return;
    }
}

int xctx__kept_copy(const struct kept *kept, uintptr_t sp, struct kept **ret_copy)
{
    *ret_copy = NULL;
    if (!kept || kept->count == 0)
        return 0;
    struct kept *copy = xctx__allocate(sizeof(*copy) + kept->count * sizeof(copy->entries[0]));
    if (!copy)
        return -ENOMEM;
    copy->count = 0;
    copy->room = kept->count;
    for (uint32_t i = 0; i < kept->count; i++) {
        if ((uintptr_t)kept->entries[i].token < sp)
            continue;
        copy->entries[copy->count++] = kept->entries[i];
        xctx__cell_ref(kept->entries[i].cell);
    }
    *ret_copy = copy;
    return 0;
}

void xctx__kept_free(struct kept *kept)
{
    for (uint32_t i = kept ? kept->count : 0; i > 0; i--)
        xctx__cell_unref(kept->entries[i - 1].cell);
    xctx__free(kept);
}
