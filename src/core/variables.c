/* SPDX-License-Identifier: MIT */
/* The variables of a snapshot that was read from a file. */
#include <errno.h>

#include "context/context_internal.h"
#include "context/var_internal.h"
#include "core_internal.h"

int xctx__core_map(xctx_var *const vars[], void *const values[], size_t count, struct map **ret_map)
{
    struct map *map = &xctx__map_empty;
    int result = 0;

    atomic_fetch_add_explicit(&map->refs, 1, memory_order_relaxed);
    for (size_t i = 0; i < count && result == 0; i++) {
        struct entry entry = {0};
        result = xctx__var_number(vars[i]);
        if (result == 0)
            result = xctx__var_wrap(vars[i], vars[i]->options_.retain, values[i], &entry.word);
        if (result < 0)
            break;
        entry.id = xctx__var_id(vars[i]);
        entry.flags = xctx__var_map_flags(vars[i]);
        entry.is_cell = xctx__var_flags(vars[i]) & VAR_CELL;
        struct map *with = xctx__map_with(map, &entry);
        if (with) {
            xctx__map_unref(&xctx__slot, map);
            map = with;
        } else {
            xctx__var_unref_word(vars[i], entry.word);
            result = -ENOMEM;
        }
    }
    if (result < 0)
        xctx__map_unref(&xctx__slot, map);
    else
        *ret_map = map;
    return result;
}
