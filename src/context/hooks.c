/* SPDX-License-Identifier: MIT */
/*
 * The `enter` and `leave` operations of the variables in a context.
 *
 * Room to remember what is to be undone is made before anything is switched, so that entering either fails and has done
 * nothing, or goes through. The operations may change the context: they are called for the map as it was.
 */
#include <errno.h>

#include "context_internal.h"
#include "var_internal.h"

static int count_hooked(uint32_t id, void *word, bool is_cell, void *user)
{
    uint32_t *count = user;

    (void)word;
    (void)is_cell;
    if (xctx__var_at(id)->options_.enter)
        ++*count;
    return 0;
}

int xctx__hooks_reserve(struct extra *extra, const struct map *map)
{
    uint32_t count = 0;

    xctx__map_each(map, count_hooked, &count);
    if (count <= extra->applied_room)
        return 0;
    struct applied *applied = xctx__allocate(count * sizeof(*applied));
    if (!applied)
        return -ENOMEM;
    xctx__free(extra->applied);
    extra->applied = applied;
    extra->applied_room = count;
    return 0;
}

static int apply_one(uint32_t id, void *word, bool is_cell, void *user)
{
    xctx_context *context = user;
    struct extra *extra = xctx__extra(context);
    xctx_var *var = xctx__var_at(id);
    uint32_t count = extra->applied_count;

    (void)is_cell;
    if (!var->options_.enter)
        return 0;
    void *saved = var->options_.enter(xctx__var_unwrap(var, word));
    if (xctx__slot.current != context || extra->applied_count != count) {
        /* The operation has left the context, and perhaps entered it again: this entering is over. */
        var->options_.leave(saved);
        return 1;
    }
    extra->applied[extra->applied_count++] = (struct applied){.var = var, .saved = saved};
    return 0;
}

void xctx__hooks_apply(struct slot *slot, xctx_context *context)
{
    struct map *map = context->root;

    atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
    xctx__extra(context)->applied_count = 0;
    xctx__map_each(map, apply_one, context);
    xctx__map_unref(slot, map);
}

void xctx__hooks_undo(xctx_context *context)
{
    struct extra *extra = xctx__extra(context);

    while (extra->applied_count > 0) {
        struct applied applied = extra->applied[--extra->applied_count];
        applied.var->options_.leave(applied.saved);
    }
}
