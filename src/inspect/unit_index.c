/* SPDX-License-Identifier: MIT */
/* See unit_index.h. */
#include "unit_index.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "allocate.h"
#include "context/memory.h"
#include "module.h"

enum { RANGES = 1 << 22, OF_UNIT = 1 << 20 }; /* at most, of a module and of a unit */

static bool grow(struct unit_index *index, size_t *room)
{
    size_t larger = *room ? 2 * *room : 256;
    struct unit_range *ranges = larger > RANGES ? NULL : xctx__decode_allocate(larger * sizeof(*ranges));

    if (!ranges)
        return false;
    if (index->count)
        memcpy(ranges, index->ranges, index->count * sizeof(*ranges));
    xctx__free(index->ranges);
    index->ranges = ranges;
    *room = larger;
    return true;
}

static bool add_unit(struct unit_index *index, size_t *room, Dwarf_Die *unit)
{
    Dwarf_Addr base, start, end;
    ptrdiff_t at = 0;

    for (int i = 0; i < OF_UNIT && (at = dwarf_ranges(unit, at, &base, &start, &end)) > 0; i++) {
        if (start >= end)
            continue;
        if (index->count == *room && !grow(index, room))
            return false;
        index->ranges[index->count++] = (struct unit_range){start, end, dwarf_dieoffset(unit)};
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct unit_range *one = a, *other = b;

    return one->start < other->start ? -1 : one->start > other->start;
}

static void make(struct unit_index *index, Dwfl_Module *module)
{
    Dwarf_Die *unit = NULL;
    Dwarf_Addr bias;
    size_t room = 0;

    index->made = true;
    while ((unit = dwfl_module_nextcu(module, unit, &bias)) != NULL) {
        if (!add_unit(index, &room, unit)) {
            xctx__unit_index_destroy(index); /* tried again next time */
            return;
        }
    }
    if (index->count)
        qsort(index->ranges, index->count, sizeof(*index->ranges), compare);
}

/* The last range that starts at an address or before it, if it reaches so far. */
static const struct unit_range *find(const struct unit_index *index, Dwarf_Addr address)
{
    size_t low = 0, high = index->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->ranges[middle].start <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 && address < index->ranges[low - 1].end ? &index->ranges[low - 1] : NULL;
}

bool xctx__unit_find(Dwfl_Module *dwfl_module, Dwarf_Addr address, Dwarf_Die *ret_unit, Dwarf_Addr *ret_bias)
{
    struct module *module = xctx__module_of(dwfl_module);
    Dwarf_Addr bias;
    Dwarf_Die *unit = dwfl_module_addrdie(dwfl_module, address, &bias);
    Dwarf *dwarf;

    /* It gives the last unit before the address: also one that ends before it. */
    if (unit && dwarf_haspc(unit, address - bias) == 1) {
        *ret_unit = *unit;
        *ret_bias = bias;
        return true;
    }
    dwarf = dwfl_module_getdwarf(dwfl_module, &bias);
    if (!dwarf)
        return false;
    if (!module->units.made)
        make(&module->units, dwfl_module);
    const struct unit_range *range = find(&module->units, address - bias);
    if (!range || !dwarf_offdie(dwarf, range->unit, ret_unit))
        return false;
    *ret_bias = bias;
    return true;
}

void xctx__unit_index_destroy(struct unit_index *index)
{
    xctx__free(index->ranges);
    *index = (struct unit_index){0};
}
