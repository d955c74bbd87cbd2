/* SPDX-License-Identifier: MIT */
/* See calls.h. */
#include "calls.h"

#include <dwarf.h>

#include "modules.h"
#include "scopes.h"

enum {
    WALK_DEPTH = 64,      /* entries within entries that are looked through */
    WALK_ENTRIES = 65536, /* of a function */
};

static bool follow(Dwarf_Die *die, unsigned reference, Dwarf_Die *ret_die)
{
    Dwarf_Attribute attribute;

    return dwarf_formref_die(dwarf_attr(die, reference, &attribute), ret_die) != NULL;
}

static const char *string_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;

    return dwarf_formstring(dwarf_attr_integrate(die, name, &attribute));
}

static bool flag_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    bool flag = false;

    return dwarf_attr_integrate(die, name, &attribute) && dwarf_formflag(&attribute, &flag) == 0 && flag;
}

/* ---- functions ---- */

bool xctx__function_entry(Dwarf_Die *function, Dwarf_Addr *ret_entry)
{
    Dwarf_Addr base, end;

    if (dwarf_entrypc(function, ret_entry) == 0)
        return true;
    return dwarf_ranges(function, 0, &base, ret_entry, &end) > 0;
}

const char *xctx__function_linkage_name(Dwarf_Die *function)
{
    const char *name = string_of(function, DW_AT_linkage_name);

    if (!name)
        name = string_of(function, DW_AT_MIPS_linkage_name);
    return name ? name : string_of(function, DW_AT_name);
}

/* The concrete function that begins at an address in memory. */
static bool function_at(Dwfl_Module *module, uint64_t address, Dwarf_Die *ret_function)
{
    struct unwound frame = {.pc = address, .exact = true, .module = module};
    struct place place = {.frames = &frame, .frame_count = 1};
    struct scopes scopes;
    Dwarf_Addr entry;

    if (!xctx__scopes_find(&place, 0, &scopes))
        return false;
    bool found = scopes.place.has_function && xctx__function_entry(&scopes.place.function, &entry) &&
                 entry + scopes.place.bias == address;
    *ret_function = scopes.place.function;
    xctx__scopes_free(&scopes);
    return found;
}

/* ---- calls ---- */

struct walk {
    unsigned left; /* entries that are still looked at */
    xctx__call_visit *visit;
    void *user;
};

/* Calls in an entry and what is nested in it, but not in functions that are. Returns whether a visit ended it; `left`
   is 0 if there were too many entries. */
static bool walk_entries(struct walk *walk, Dwarf_Die *parent, unsigned depth)
{
    Dwarf_Die die;

    if (depth == WALK_DEPTH)
        walk->left = 0;
    if (walk->left == 0 || dwarf_child(parent, &die) != 0)
        return false;
    do {
        int tag = dwarf_tag(&die);
        if (walk->left == 0)
            return false;
        walk->left--;
        if (tag == DW_TAG_call_site || tag == DW_TAG_GNU_call_site) {
            if (walk->visit(&die, walk->user))
                return true;
        } else if (tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine || tag == DW_TAG_try_block ||
                   tag == DW_TAG_catch_block) {
            if (walk_entries(walk, &die, depth + 1))
                return true;
        }
    } while (dwarf_siblingof(&die, &die) == 0);
    return false;
}

enum calls_result xctx__calls_visit(Dwarf_Die *function, xctx__call_visit *visit, void *user)
{
    struct walk walk = {.left = WALK_ENTRIES, .visit = visit, .user = user};

    if (walk_entries(&walk, function, 0))
        return CALLS_STOPPED;
    return walk.left == 0 ? CALLS_TOO_MANY : CALLS_SEEN;
}

bool xctx__calls_complete(Dwarf_Die *function)
{
    static const unsigned names[] = {
        DW_AT_call_all_calls,     DW_AT_call_all_tail_calls,     DW_AT_call_all_source_calls,
        DW_AT_GNU_all_call_sites, DW_AT_GNU_all_tail_call_sites, DW_AT_GNU_all_source_call_sites,
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (flag_of(function, names[i]))
            return true;
    }
    return false;
}

bool xctx__call_is_tail(Dwarf_Die *call_site)
{
    return flag_of(call_site, DW_AT_call_tail_call) || flag_of(call_site, DW_AT_GNU_tail_call);
}

bool xctx__call_return_pc(Dwarf_Die *call_site, Dwarf_Addr *ret_pc)
{
    Dwarf_Attribute attribute;

    return (dwarf_attr(call_site, DW_AT_call_return_pc, &attribute) ||
            dwarf_attr(call_site, DW_AT_low_pc, &attribute)) &&
           dwarf_formaddr(&attribute, ret_pc) == 0;
}

bool xctx__call_origin(Dwarf_Die *call_site, Dwarf_Die *ret_function)
{
    return follow(call_site, DW_AT_call_origin, ret_function) || follow(call_site, DW_AT_abstract_origin, ret_function);
}

bool xctx__call_target(const struct memory *memory, Dwfl_Module *module, Dwarf_Die *origin,
                       struct call_target *ret_target)
{
    const char *name = xctx__function_linkage_name(origin);
    struct call_target target = {.module = module};
    Dwarf_Addr entry, bias;

    if (xctx__function_entry(origin, &entry) && dwfl_module_getdwarf(module, &bias)) {
        target.address = entry + bias;
        target.function = *origin;
        target.has_function = true;
    } else {
        if (!name ||
            !xctx__modules_function(memory->modules, memory->snapshot, module, name, &target.module, &target.address))
            return false;
        target.has_function = function_at(target.module, target.address, &target.function);
    }
    *ret_target = target;
    return true;
}
