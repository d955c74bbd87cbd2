/* SPDX-License-Identifier: MIT */
/*
 * Which variables scopes have: see locals.h.
 *
 * Of an inlined or cloned function the debug information has an abstract entry with all variables, and for each copy of
 * the code a concrete one, which refers to it and may leave out what is nowhere any more. Those are visited, too: they
 * were optimized out, or are static and have their address in the abstract entry.
 */
#include <dwarf.h>
#include <errno.h>
#include <string.h>

#include "locals.h"
#include "marks.h"
#include "type.h"

enum { NAMESPACES = 16, CHILDREN = 65536, BLOCKS = 64, ORIGINS = 4 };

static bool flag_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    bool flag = false;

    return dwarf_attr_integrate(die, name, &attribute) && dwarf_formflag(&attribute, &flag) == 0 && flag;
}

static const char *name_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;

    return dwarf_formstring(dwarf_attr_integrate(die, name, &attribute));
}

static bool origin_of(Dwarf_Die *die, Dwarf_Die *ret_origin)
{
    Dwarf_Attribute attribute;

    return dwarf_formref_die(dwarf_attr(die, DW_AT_abstract_origin, &attribute), ret_origin) != NULL;
}

/* What an abstract entry is a form of in turn: one that linking has put together with others, or of a destructor, which
   is there several times, refers to another. Itself, if it is none. */
static Dwarf_Die root_of(Dwarf_Die *die)
{
    Dwarf_Die root = *die, origin;

    for (int i = 0; i < ORIGINS && origin_of(&root, &origin); i++)
        root = origin;
    return root;
}

static Dwarf_Attribute *location_of(Dwarf_Die *die, Dwarf_Attribute *ret_attribute)
{
    Dwarf_Attribute *found = dwarf_attr_integrate(die, DW_AT_location, ret_attribute);

    return found ? found : dwarf_attr_integrate(die, DW_AT_const_value, ret_attribute);
}

/* Whether a variable lives outside the stack: its location begins with an address, or leads to thread-local storage. */
static bool is_static(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;
    Dwarf_Op *operations;
    size_t count;

    if (!dwarf_attr_integrate(die, DW_AT_location, &attribute) ||
        dwarf_getlocation(&attribute, &operations, &count) != 0)
        return flag_of(die, DW_AT_external);
    bool fixed = false;
    for (size_t i = 0; i < count; i++) {
        switch (operations[i].atom) {
        case DW_OP_addr:
        case DW_OP_addrx:
        case DW_OP_GNU_addr_index:
        case DW_OP_form_tls_address:
        case DW_OP_GNU_push_tls_address:
            fixed = true;
            break;
        case DW_OP_stack_value: /* a local variable that holds such an address */
            return false;
        default:
            break;
        }
    }
    return fixed;
}

struct visitor {
    xctx__variable_visit *visit;
    void *user;
    const struct place *place; /* of the unit */
    unsigned left;             /* variables that are still visited */
    unsigned block;
    bool parameters; /* visit those, or the others */
    bool global;
    bool hidden;
};

/* Visits one entry, if it is what is looked for. Declarations of what is elsewhere are not, and with `needs_location`
   neither is what was optimized out. */
static int visit_entry(struct visitor *visitor, Dwarf_Die *die, bool needs_location)
{
    bool parameter = dwarf_tag(die) == DW_TAG_formal_parameter;
    struct variable variable = {.die = *die,
                                .name = name_of(die, DW_AT_name),
                                .parameter = parameter,
                                .global = visitor->global,
                                .hidden = visitor->hidden,
                                .block = visitor->block};
    Dwarf_Attribute attribute;

    if ((!parameter && dwarf_tag(die) != DW_TAG_variable) || parameter != visitor->parameters ||
        (!parameter && !variable.name))
        return 0;
    if ((needs_location || flag_of(die, DW_AT_declaration)) && !location_of(die, &attribute))
        return 0;
    if (visitor->left == 0)
        return 0;
    visitor->left--;
    variable.statics = is_static(die);
    return visitor->visit(&variable, visitor->user);
}

/* Finds the concrete form of an abstract entry among a scope's entries and those of blocks in it: it may have been put
   into one. Every entry that is looked at is taken off `left`. Returns how deep it was, 0 being the scope itself, or
   -1. */
static int find_concrete(Dwarf_Die *scope, Dwarf_Die *abstract, unsigned depth, unsigned *left, Dwarf_Die *ret_die)
{
    Dwarf_Die die, origin;
    Dwarf_Die root = root_of(abstract);

    if (dwarf_child(scope, &die) != 0)
        return -1;
    do {
        if (*left == 0)
            return -1;
        --*left;
        if (origin_of(&die, &origin) && (origin.addr == abstract->addr || origin.addr == root.addr)) {
            *ret_die = die;
            return (int)depth;
        }
        if (dwarf_tag(&die) == DW_TAG_lexical_block && depth < BLOCKS) {
            int found = find_concrete(&die, abstract, depth + 1, left, ret_die);
            if (found >= 0)
                return found;
        }
    } while (dwarf_siblingof(&die, &die) == 0);
    return -1;
}

/* Visits what an abstract scope has, in the order of the source. */
static int visit_abstract(struct visitor *visitor, Dwarf_Die *scope, Dwarf_Die *abstract)
{
    unsigned left = CHILDREN;
    int result = 0;
    Dwarf_Die die, concrete;

    if (dwarf_child(abstract, &die) != 0)
        return 0;
    do {
        int tag = dwarf_tag(&die);
        if (tag != DW_TAG_variable && tag != DW_TAG_formal_parameter)
            continue;
        int depth = find_concrete(scope, &die, 0, &left, &concrete);
        if (depth == 0)
            result = visit_entry(visitor, &concrete, false);
        else if (depth < 0)
            result = visit_entry(visitor, &die, false);
    } while (result == 0 && left > 0 && dwarf_siblingof(&die, &die) == 0);
    return result;
}

/* Whether an entry is a concrete form of one directly in an abstract scope: then that was visited. */
static bool is_form_of(Dwarf_Die *die, Dwarf_Die *abstract)
{
    unsigned left = CHILDREN;
    Dwarf_Die origin, other, unused;
    bool has_roots = origin_of(abstract, &unused);

    if (!origin_of(die, &origin) || dwarf_child(abstract, &other) != 0)
        return false;
    do {
        if (other.addr == origin.addr || (has_roots && root_of(&other).addr == origin.addr))
            return true;
    } while (--left > 0 && dwarf_siblingof(&other, &other) == 0);
    return false;
}

/* Whether a scope has another form of the same entry before this one: gcc makes several of a parameter that it knows
   the value of. */
static bool is_again(Dwarf_Die *scope, Dwarf_Die *die)
{
    unsigned left = CHILDREN;
    Dwarf_Die origin, other, other_origin;

    if (!origin_of(die, &origin) || dwarf_child(scope, &other) != 0)
        return false;
    do {
        if (other.addr == die->addr)
            return false;
        if (origin_of(&other, &other_origin) && other_origin.addr == origin.addr)
            return true;
    } while (--left > 0 && dwarf_siblingof(&other, &other) == 0);
    return false;
}

static int visit_scope(struct visitor *visitor, Dwarf_Die *scope)
{
    unsigned left = CHILDREN;
    Dwarf_Die die, abstract;
    bool has_abstract = origin_of(scope, &abstract);
    int result = has_abstract ? visit_abstract(visitor, scope, &abstract) : 0;

    if (result != 0 || dwarf_child(scope, &die) != 0)
        return result;
    do {
        if (!has_abstract || !is_form_of(&die, &abstract) || is_again(scope, &die))
            result = visit_entry(visitor, &die, false);
    } while (result == 0 && --left > 0 && dwarf_siblingof(&die, &die) == 0);
    return result;
}

int xctx__variables_visit(Dwarf_Die *scopes, int count, xctx__variable_visit *visit, void *user)
{
    struct visitor visitor = {.visit = visit, .user = user, .left = XCTX__LOCALS, .parameters = true};
    int result = count > 0 ? visit_scope(&visitor, &scopes[count - 1]) : 0;

    visitor.parameters = false;
    for (int i = 0; i < count && result == 0; i++) {
        visitor.block = (unsigned)(count - 1 - i);
        result = visit_scope(&visitor, &scopes[i]);
    }
    return result;
}

/* ---- units ---- */

/* Static variables of a function. */
static int visit_statics(struct visitor *visitor, Dwarf_Die *parent, unsigned depth)
{
    int result = 0;
    Dwarf_Die die;

    if (depth == BLOCKS || dwarf_child(parent, &die) != 0)
        return 0;
    do {
        int tag = dwarf_tag(&die);
        if (tag == DW_TAG_variable && is_static(&die))
            result = visit_entry(visitor, &die, true);
        else if (tag == DW_TAG_lexical_block || tag == DW_TAG_inlined_subroutine || tag == DW_TAG_subprogram)
            result = visit_statics(visitor, &die, depth + 1);
    } while (result == 0 && dwarf_siblingof(&die, &die) == 0);
    return result;
}

static int visit_unit(struct visitor *visitor, Dwarf_Die *parent, bool nested, unsigned depth)
{
    int result = 0;
    Dwarf_Die die;

    if (depth == NAMESPACES || dwarf_child(parent, &die) != 0)
        return 0;
    do {
        int tag = dwarf_tag(&die);
        if (tag == DW_TAG_variable) {
            result = visit_entry(visitor, &die, true);
        } else if (tag == DW_TAG_namespace) {
            result = visit_unit(visitor, &die, nested, depth + 1);
        } else if (nested && tag == DW_TAG_subprogram) {
            visitor->hidden = xctx__function_secret(visitor->place, &die);
            result = visit_statics(visitor, &die, 0);
            visitor->hidden = false;
        }
    } while (result == 0 && dwarf_siblingof(&die, &die) == 0);
    return result;
}

int xctx__variables_of_unit(const struct place *place, bool nested, xctx__variable_visit *visit, void *user)
{
    struct visitor visitor = {
        .visit = visit, .user = user, .place = place, .left = nested ? UINT32_MAX : XCTX__LOCALS, .global = true};
    Dwarf_Die unit = place->unit;

    return visit_unit(&visitor, &unit, nested, 0);
}

/* ---- one of them ---- */

void xctx__variable_locate(const struct place *place, const struct variable *variable, uint64_t size,
                           struct location *ret_location)
{
    Dwarf_Die die = variable->die;
    Dwarf_Attribute attribute;

    xctx__locate(place, location_of(&die, &attribute), size, ret_location);
}

enum memory_use xctx__variable_use(const struct variable *variable)
{
    return variable->statics ? MEMORY_STATIC : MEMORY_STACK;
}

bool xctx__variable_secret(const struct place *place, const struct variable *variable)
{
    Dwarf_Die die = variable->die;
    const xctx_snapshot *snapshot = place->memory->snapshot;
    Dwarf_Die type;

    if (xctx__marked(snapshot, XCTX_REDACT_VARIABLE, variable->name) ||
        xctx__marked(snapshot, XCTX_REDACT_VARIABLE, name_of(&die, DW_AT_linkage_name)))
        return true;
    return xctx__type_of(&die, &type) && xctx__type_secret(place, &type);
}

bool xctx__function_secret(const struct place *place, Dwarf_Die *function)
{
    const xctx_snapshot *snapshot = place->memory->snapshot;

    return xctx__marked(snapshot, XCTX_REDACT_FUNCTION, name_of(function, DW_AT_name)) ||
           xctx__marked(snapshot, XCTX_REDACT_FUNCTION, name_of(function, DW_AT_linkage_name));
}
