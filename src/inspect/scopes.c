/* SPDX-License-Identifier: MIT */
/*
 * See scopes.h.
 *
 * dwarf_getscopes() leaves an inlined call through its abstract origin: what is around it then is where the inlined
 * function was written, not where it was inlined to. dwarf_getscopes_die() of the innermost scope goes by how the
 * entries are nested, which is what a call stack needs. The innermost scope is looked for here, since
 * dwarf_getscopes() loses memory (elfutils 0.188) where it finds the scope, but cannot read what that is made of.
 */
#include "scopes.h"

#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "module.h"
#include "scope_cache.h"
#include "unit_index.h"

enum {
    NESTED = 64,            /* scopes within scopes */
    SCOPE_STEPS = 16777216, /* entries that are looked at; of damaged debug information some may be seen often */
};

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

/* A search for the innermost scope. */
struct search {
    Dwarf_Addr pc;
    unsigned steps; /* that are left */
    bool outer;     /* only in functions that have the address, and the blocks in them that have it */
};

/* Goes on to the next sibling. They follow each other, unless the debug information is damaged. */
static bool next_sibling(struct search *search, Dwarf_Die *die)
{
    const char *before = die->addr;

    return dwarf_siblingof(die, die) == 0 && (const char *)die->addr > before && --search->steps > 0;
}

static bool find_innermost(struct search *search, Dwarf_Die *parent, int depth, Dwarf_Die *ret_scope)
{
    Dwarf_Die child;

    if (depth == NESTED || dwarf_child(parent, &child) != 0)
        return false;
    do {
        switch (dwarf_tag(&child)) {
        case DW_TAG_subprogram:
        case DW_TAG_lexical_block:
        case DW_TAG_inlined_subroutine:
        case DW_TAG_try_block:
        case DW_TAG_catch_block:
        case DW_TAG_with_stmt:
        case DW_TAG_entry_point:
        case DW_TAG_module:
            if (dwarf_haspc(&child, search->pc) == 1) {
                *ret_scope = child;
                find_innermost(search, &child, depth + 1, ret_scope);
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
        if (!search->outer && find_innermost(search, &child, depth + 1, ret_scope))
            return true;
    } while (next_sibling(search, &child));
    return false;
}

/* Assemblers make a function of each of several names that one address has. gdb takes the last. */
static bool find_last(Dwarf_Die *unit, Dwarf_Addr pc, Dwarf_Die *ret_scope)
{
    Dwarf_Die child;
    bool found = false;

    if (dwarf_child(unit, &child) != 0)
        return false;
    do {
        if (dwarf_tag(&child) == DW_TAG_subprogram && dwarf_haspc(&child, pc) == 1) {
            *ret_scope = child;
            found = true;
        }
    } while (dwarf_siblingof(&child, &child) == 0);
    return found;
}

bool xctx__scopes_innermost(Dwarf_Die *unit, Dwarf_Addr pc, Dwarf_Die *ret_scope)
{
    struct search search = {.pc = pc, .steps = SCOPE_STEPS, .outer = true};

    if (dwarf_srclang(unit) == DW_LANG_Mips_Assembler)
        return find_last(unit, pc, ret_scope);
    if (find_innermost(&search, unit, 0, ret_scope))
        return true;
    /* Also in functions that are written within another one, or in a class within one. */
    search.outer = false;
    return find_innermost(&search, unit, 0, ret_scope);
}

/* Finds the scopes around an address in memory. */
static bool find_scopes(Dwfl_Module *module, uint64_t address, struct cached_scopes *scopes)
{
    Dwarf_Die innermost;

    *scopes = (struct cached_scopes){.address = address, .function = -1};
    if (!xctx__scopes_unit(module, address, &scopes->unit, &scopes->bias) ||
        !xctx__scopes_innermost(&scopes->unit, address - scopes->bias, &innermost))
        return false;
    scopes->count = dwarf_getscopes_die(&innermost, &scopes->dies);
    if (scopes->count <= 0)
        return false;
    for (int i = 0; i < scopes->count && scopes->function < 0; i++) {
        if (dwarf_tag(&scopes->dies[i]) == DW_TAG_subprogram)
            scopes->function = i;
    }
    return true;
}

bool xctx__scopes_find(const struct place *place, size_t index, struct scopes *ret_scopes)
{
    const struct unwound *frame = &place->frames[index];
    uint64_t lookup = xctx__unwound_lookup(frame);
    struct module *module = xctx__module_of(frame->module);
    const struct cached_scopes *cached = module ? xctx__scope_cache_find(&module->scopes, lookup) : NULL;
    struct cached_scopes found;
    bool kept = true;

    if (!cached) {
        if (!module || !find_scopes(frame->module, lookup, &found))
            return false;
        cached = xctx__scope_cache_add(&module->scopes, &found);
        kept = cached != NULL;
        cached = kept ? cached : &found;
    }
    *ret_scopes = (struct scopes){
        .place = {.arena = place->arena,
                  .memory = frame->memory ? frame->memory : place->memory,
                  .frames = place->frames,
                  .frame_count = place->frame_count,
                  .index = index,
                  .module = frame->module,
                  .unit = cached->unit,
                  .bias = cached->bias,
                  .pc = lookup - cached->bias,
                  .max_elements = place->max_elements,
                  .tracer = place->tracer},
        .dies = cached->dies,
        .count = cached->count,
        .kept = kept,
        .function = cached->function,
    };
    if (cached->function >= 0) {
        ret_scopes->place.function = cached->dies[cached->function];
        ret_scopes->place.has_function = true;
    }
    return true;
}

void xctx__scopes_free(struct scopes *scopes)
{
    if (!scopes->kept)
        free(scopes->dies);
    scopes->dies = NULL;
    scopes->count = 0;
}
