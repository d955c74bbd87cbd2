/* SPDX-License-Identifier: MIT */
/* Looking into a context as a whole: count, visit, compare. */
#include <errno.h>
#include <pthread.h>

#include "context_internal.h"
#include "var_internal.h"

static int count_entry(uint32_t id, void *word, bool is_cell, void *user)
{
    size_t *count = user;

    (void)id;
    (void)word;
    (void)is_cell;
    ++*count;
    return 0;
}

size_t xctx_count(xctx_context *context)
{
    size_t count = 0;

    if (!context)
        return 0;
    struct record *record = xctx__record_borrow(&xctx__slot);
    uintptr_t claim = xctx__claim_lock(context, record);
    xctx__map_each(context->root, count_entry, &count);
    xctx__claim_unlock(context, claim);
    xctx__record_give_back(record);
    return count;
}

struct visit {
    int (*fn)(xctx_var *var, void *value, void *user);
    void *user;
};

static int visit_entry(uint32_t id, void *word, bool is_cell, void *user)
{
    const struct visit *visit = user;
    xctx_var *var = xctx__var_at(id);

    (void)is_cell;
    return visit->fn(var, xctx__var_unwrap(var, word), visit->user);
}

static void visit_end(void *map)
{
    xctx__map_unref(&xctx__slot, map);
}

int xctx_each(xctx_context *context, int (*fn)(xctx_var *var, void *value, void *user), void *user)
{
    struct visit visit = {.fn = fn, .user = user};

    if (!context || !fn)
        return -EINVAL;
    struct map *map = xctx__context_share(&xctx__slot, context);
    if (!map)
        return -ENOMEM;
    int result;
    /* Also done when an exception or the end of the thread comes through here. */
    pthread_cleanup_push(visit_end, map);
    result = xctx__map_each(map, visit_entry, &visit);
    pthread_cleanup_pop(1);
    return result;
}

static int differs(uint32_t id, void *word, bool is_cell, void *user)
{
    void *other = xctx__map_get(user, id);

    if (!is_cell || other == XCTX__ABSENT)
        return word != other;
    return ((struct cell *)word)->value != ((struct cell *)other)->value;
}

static bool maps_are_equal(const struct map *a, const struct map *b)
{
    size_t count_a = 0;
    size_t count_b = 0;

    if (a == b)
        return true;
    xctx__map_each(a, count_entry, &count_a);
    xctx__map_each(b, count_entry, &count_b);
    return count_a == count_b && !xctx__map_each(a, differs, (void *)b);
}

bool xctx_equal(xctx_context *a, xctx_context *b)
{
    if (a == b || !a || !b)
        return a == b;
    /* Both stay locked for the comparison; always in the same order, so that two threads do not wait for each other. */
    xctx_context *first = (uintptr_t)a < (uintptr_t)b ? a : b;
    xctx_context *second = first == a ? b : a;
    struct record *record = xctx__record_borrow(&xctx__slot);
    uintptr_t first_claim = xctx__claim_lock(first, record);
    uintptr_t second_claim = xctx__claim_lock(second, record);
    bool equal = maps_are_equal(a->root, b->root);
    xctx__claim_unlock(second, second_claim);
    xctx__claim_unlock(first, first_claim);
    xctx__record_give_back(record);
    return equal;
}
