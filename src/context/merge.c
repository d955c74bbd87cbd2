/* SPDX-License-Identifier: MIT */
/*
 * Merging a child's values into the current context.
 *
 * First all `merge` operations are called, on maps that cannot change meanwhile; they may use every function of the
 * library. Then what they gave is put into the context's map as it is by then, all at once.
 */
#include <errno.h>

#include "follow.h"
#include "var_internal.h"

/* A merged value, before it is put into the map. */
struct merged {
    xctx_var *var;
    struct entry entry;
};

struct merge {
    const struct map *here;
    struct merged *merged; /* NULL in the first pass, which only counts */
    size_t count;
};

static int merge_entry(uint32_t id, void *word, bool is_cell, void *user)
{
    struct merge *merge = user;
    xctx_var *var = xctx__var_at(id);

    if (!var->options_.merge)
        return 0;
    if (!merge->merged) {
        merge->count++;
        return 0;
    }
    void *here = xctx__map_get(merge->here, id);
    void *parent = here == XCTX__ABSENT ? var->options_.initial : xctx__var_unwrap(var, here);
    void *child = xctx__var_unwrap(var, word);
    if (parent == child)
        return 0;
    void *value = var->options_.merge(parent, child);
    if (value == XCTX_RESERVED_VALUE)
        return -ENOMEM;
    struct merged *merged = &merge->merged[merge->count];
    merged->var = var;
    merged->entry = (struct entry){.id = id, .flags = xctx__var_map_flags(var), .is_cell = is_cell};
    if (xctx__var_wrap_owned(var, value, &merged->entry.word))
        return -ENOMEM;
    merge->count++;
    return 0;
}

/* Calls the operations for what is set in both maps. 0 or -ENOMEM; what was merged until then is in `merge`. */
static int merge_maps(struct merge *merge, const struct map *there)
{
    xctx__map_each(there, merge_entry, merge);
    merge->merged = xctx__allocate(merge->count * sizeof(*merge->merged) + 1);
    merge->count = 0;
    return merge->merged ? xctx__map_each(there, merge_entry, merge) : -ENOMEM;
}

/* Puts all of it into the current context, or nothing. */
static int merge_commit(struct slot *slot, xctx_context *context, struct merge *merge)
{
    /* The operations may have set variables in it, but it must be the same. */
    if (slot->current != context)
        return -EINVAL;
    if (merge->count == 0)
        return 0;
    struct map *map = xctx__map_clone(context->root);
    for (size_t i = 0; map && i < merge->count; i++) {
        const struct merged *merged = &merge->merged[i];
        void *old = xctx__map_get(map, merged->entry.id);
        struct map *with = xctx__map_has_room(map, merged->entry.id) ? map : xctx__map_with(map, &merged->entry);
        if (!with)
            goto failed;
        if (with == map)
            xctx__map_put(map, &merged->entry);
        xctx__var_ref_word(merged->var, merged->entry.word); /* one for the map, one for our caller */
        if (with == map)
            xctx__var_unref_word(merged->var, old);
        else
            xctx__map_free(map);
        map = with;
    }
    if (!map)
        return -ENOMEM;
    xctx__context_replace_map(slot, context, map, 0);
    return 0;
failed:
    xctx__map_free(map);
    return -ENOMEM;
}

int xctx_merge(xctx_context *child)
{
    struct slot *slot = &xctx__slot;

    if (!child)
        return -EINVAL;
    const xctx_context *before = xctx_current();
    xctx_context *context = xctx__context_ensure(slot);
    struct map *there = context ? xctx__context_share(slot, child) : NULL;
    struct map *here = there ? xctx__context_share(slot, context) : NULL;
    struct merge merge = {.here = here};
    int error = here ? merge_maps(&merge, there) : -ENOMEM;
    if (there)
        xctx__map_unref(slot, there);
    if (here)
        xctx__map_unref(slot, here);
    if (!error)
        error = merge_commit(slot, context, &merge);
    for (size_t i = 0; merge.merged && i < merge.count; i++)
        xctx__var_unref_word(merge.merged[i].var, merge.merged[i].entry.word);
    xctx__free(merge.merged);
    if (error)
        xctx__context_unensure(slot, before);
    else
        xctx__follow_changed(slot);
    return error;
}
