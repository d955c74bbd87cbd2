/* SPDX-License-Identifier: MIT */
/*
 * See scopes.h.
 *
 * dwarf_getscopes() leaves an inlined call through its abstract origin: what is around it then is where the inlined
 * function was written, not where it was inlined to. dwarf_getscopes_die() of the innermost scope goes by how the
 * entries are nested, which is what a call stack needs.
 */
#include "scopes.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "unit_index.h"

enum { NESTED = 64 }; /* scopes within scopes */

bool xctx__scopes_split(Dwarf_Die *unit)
{
    Dwarf_Die split;
    uint8_t type = 0;

    if (dwarf_cu_info(unit->cu, NULL, &type, NULL, &split, NULL, NULL, NULL) != 0)
        return true;
    if (type != DW_UT_skeleton)
        return true;
    if (!split.addr)
        return false;
    *unit = split;
    return true;
}

bool xctx__scopes_unit(Dwfl_Module *module, uint64_t address, Dwarf_Die *ret_unit, Dwarf_Addr *ret_bias)
{
    return module && xctx__unit_find(module, address, ret_unit, ret_bias) && xctx__scopes_split(ret_unit);
}

/* Finds the innermost scope, also in functions that are written within another one, or in a class within one: for these
   dwarf_getscopes() looks only where the outer function's code is. */
static bool find_nested(Dwarf_Die *parent, Dwarf_Addr pc, int depth, Dwarf_Die *ret_scope)
{
    Dwarf_Die child;

    if (depth == NESTED || dwarf_child(parent, &child) != 0)
        return false;
    do {
        switch (dwarf_tag(&child)) {
        case DW_TAG_subprogram:
        case DW_TAG_lexical_block:
        case DW_TAG_inlined_subroutine:
            if (dwarf_haspc(&child, pc) == 1) {
                *ret_scope = child;
                find_nested(&child, pc, depth + 1, ret_scope);
                return true;
            }
            break;
        case DW_TAG_namespace:
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
        case DW_TAG_union_type:
            break;
        default:
            continue;
        }
        if (find_nested(&child, pc, depth + 1, ret_scope))
            return true;
    } while (dwarf_siblingof(&child, &child) == 0);
    return false;
}

bool xctx__scopes_find(const struct place *place, size_t index, struct scopes *ret_scopes)
{
    const struct unwound *frame = &place->frames[index];
    Dwarf_Die *found = NULL;
    struct scopes scopes = {.function = -1};
    uint64_t lookup = xctx__unwound_lookup(frame);

    scopes.place = (struct place){
        .arena = place->arena,
        .memory = place->memory,
        .frames = place->frames,
        .frame_count = place->frame_count,
        .index = index,
        .module = frame->module,
        .max_elements = place->max_elements,
    };
    if (!xctx__scopes_unit(frame->module, lookup, &scopes.place.unit, &scopes.place.bias))
        return false;
    scopes.place.pc = lookup - scopes.place.bias;
    int count = dwarf_getscopes(&scopes.place.unit, scopes.place.pc, &found);
    Dwarf_Die innermost = count > 0 ? found[0] : scopes.place.unit;
    if (count > 0)
        free(found);
    if (count <= 1 && dwarf_srclang(&scopes.place.unit) != DW_LANG_Mips_Assembler &&
        find_nested(&scopes.place.unit, scopes.place.pc, 0, &innermost))
        count = 1;
    if (count > 0)
        scopes.count = dwarf_getscopes_die(&innermost, &scopes.dies);
    if (count <= 0 || scopes.count <= 0)
        return false;
    for (int i = 0; i < scopes.count && scopes.function < 0; i++) {
        if (dwarf_tag(&scopes.dies[i]) == DW_TAG_subprogram)
            scopes.function = i;
    }
    if (scopes.function >= 0) {
        scopes.place.function = scopes.dies[scopes.function];
        scopes.place.has_function = true;
    }
    *ret_scopes = scopes;
    return true;
}

void xctx__scopes_free(struct scopes *scopes)
{
    free(scopes->dies);
    scopes->dies = NULL;
    scopes->count = 0;
}
