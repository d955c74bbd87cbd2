/* SPDX-License-Identifier: MIT */
/*
 * Where static members of classes are. Debug information of a class declares them; the definition is looked for in the
 * same unit, and then among the symbols: of the class's module, and of the others.
 *
 * The name that the symbol has is mangled. That of a plain class is made here, by the Itanium C++ ABI: "_ZN1A5countE".
 * In templates it is not: there each symbol that ends as such names do is read back, and its name in the source
 * compared. What was found is kept with the list of modules, for the next object of the class.
 */
#include <dwarf.h>
#include <string.h>

#include "allocate.h"
#include "canonical.h"
#include "core_modules.h"
#include "modules.h"
#include "render.h"
#include "symbol_index.h"

enum {
    STATIC_STEPS = 65536, /* DIEs that are looked at for the definition of a static member */
    NAME_LIMIT = 4096,    /* bytes of a name */
};

/* Finds the variable that is the definition of a member, among the children of a unit and its namespaces. */
static bool find_definition(Dwarf_Die *parent, Dwarf_Off member, unsigned depth, unsigned *steps, Dwarf_Die *ret_die)
{
    Dwarf_Attribute attribute;
    Dwarf_Die child;
    Dwarf_Die declared;

    for (int more = dwarf_child(parent, &child); more == 0 && ++*steps < STATIC_STEPS;
         more = dwarf_siblingof(&child, &child)) {
        int tag = dwarf_tag(&child);
        if (tag == DW_TAG_variable && dwarf_attr(&child, DW_AT_specification, &attribute) &&
            dwarf_formref_die(&attribute, &declared) && dwarf_dieoffset(&declared) == member) {
            *ret_die = child;
            return true;
        }
        if (tag == DW_TAG_namespace && depth < XCTX__TYPE_DEPTH &&
            find_definition(&child, member, depth + 1, steps, ret_die))
            return true;
    }
    return false;
}

/* ---- symbols ---- */

/* What is known of a member's symbol. */
struct wanted {
    struct arena *arena;
    const char *symbol; /* its name; NULL: only these two: */
    const char *ending; /* what that ends in */
    const char *source; /* what it is in the source, with its scopes */
};

/* Writes the mangled name of a member of plain scopes: "ns::Class::". false: they are not. */
static bool mangle(const char *scope, const char *name, struct text *text)
{
    if (strpbrk(scope, "<>( "))
        return false;
    xctx__text_string(text, "_ZN");
    for (const char *part = scope; *part;) {
        const char *end = strstr(part, "::");
        int length = end ? (int)(end - part) : 0;
        if (length == 0)
            return false;
        xctx__text_format(text, "%d%.*s", length, length, part);
        part = end + 2;
    }
    xctx__text_format(text, "%zu%sE", strlen(name), name);
    return true;
}

/* Takes a text that was built; NULL: it did not fit, or there is no memory. */
static const char *take_text(struct arena *arena, struct text *text)
{
    const char *copy = text->bytes && !text->full ? xctx__arena_string(arena, text->bytes) : NULL;

    xctx__text_destroy(text);
    return copy;
}

static bool describe(const struct place *place, Dwarf_Die *member, struct wanted *ret_wanted)
{
    struct text text = {.limit = NAME_LIMIT};
    const char *name = dwarf_diename(member);
    Dwarf_Attribute attribute;

    *ret_wanted = (struct wanted){.arena = place->arena};
    if (xctx__die_attribute(member, DW_AT_linkage_name, &attribute)) {
        ret_wanted->symbol = dwarf_formstring(&attribute);
        return ret_wanted->symbol != NULL;
    }
    xctx__type_scope(member, &text);
    const char *scope = take_text(place->arena, &text);
    if (!name || !scope)
        return false;
    text = (struct text){.limit = NAME_LIMIT};
    bool plain = mangle(scope, name, &text);
    ret_wanted->symbol = take_text(place->arena, &text);
    if (plain)
        return ret_wanted->symbol != NULL;
    ret_wanted->symbol = NULL;
    ret_wanted->ending = xctx__arena_format(place->arena, "%zu%sE", strlen(name), name);
    ret_wanted->source = xctx__arena_format(place->arena, "%s%s", scope, name);
    return ret_wanted->ending && ret_wanted->source;
}

static bool is_wanted(const struct wanted *wanted, const struct symbol *symbol)
{
    struct text text = {.limit = NAME_LIMIT};
    size_t length = strcspn(symbol->name, "@"); /* behind that is a version */

    if (symbol->function)
        return false;
    if (wanted->symbol)
        return strlen(wanted->symbol) == length && strncmp(symbol->name, wanted->symbol, length) == 0;
    size_t ending = strlen(wanted->ending);
    if (length < ending || strncmp(symbol->name, "_ZN", 3) != 0 ||
        strncmp(symbol->name + length - ending, wanted->ending, ending) != 0)
        return false;
    const char *source = xctx__demangle(wanted->arena, symbol->name);
    if (source)
        xctx__canonical_name(source, &text);
    bool same = text.bytes && !text.full && strcmp(text.bytes, wanted->source) == 0;
    xctx__text_destroy(&text);
    return same;
}

static bool find_in(const struct wanted *wanted, Dwfl_Module *module, uint64_t *ret_address)
{
    const struct symbol_index *index = xctx__symbols_of(module);

    for (size_t i = 0; i < index->count; ++i) {
        if (is_wanted(wanted, &index->symbols[i])) {
            *ret_address = index->symbols[i].address;
            return true;
        }
    }
    return false;
}

/* In the class's own module, or in the one of all others that has it. */
static Dwfl_Module *find_symbol(const struct place *place, const struct wanted *wanted, uint64_t *ret_address)
{
    struct modules *modules = place->memory->modules;
    const xctx_snapshot *snapshot = place->memory->snapshot;
    Dwfl_Module *found = NULL;
    uint64_t address = 0;

    if (find_in(wanted, place->module, ret_address))
        return place->module;
    for (Dwfl_Module *module = xctx__modules_next(modules, snapshot, NULL); module;
         module = xctx__modules_next(modules, snapshot, module)) {
        if (module == place->module || !find_in(wanted, module, &address))
            continue;
        if (found)
            return NULL;
        found = module;
        *ret_address = address;
    }
    return found;
}

static bool symbol_address(const struct place *place, Dwarf_Die *member, uint64_t *ret_address)
{
    struct kept_name found = {.from = place->module, .key = member->addr};
    struct wanted wanted;

    if (!place->module || !place->memory->modules)
        return false;
    struct kept_name *kept = xctx__modules_kept(place->memory->modules, place->memory->snapshot, found.from, found.key);
    if (kept && kept->from) {
        found = *kept;
    } else {
        if (describe(place, member, &wanted))
            found.module = find_symbol(place, &wanted, &found.address);
        if (kept && !xctx__decode_ran_out() && !place->arena->failed)
            *kept = found;
    }
    *ret_address = found.address;
    return found.module != NULL;
}

bool xctx__static_member_locate(const struct place *place, Dwarf_Die *member, struct location *ret_location)
{
    Dwarf_Attribute attribute;
    Dwarf_Die unit;
    Dwarf_Die definition;
    unsigned steps = 0;

    if (dwarf_diecu(member, &unit, NULL, NULL) &&
        find_definition(&unit, dwarf_dieoffset(member), 0, &steps, &definition) &&
        dwarf_attr(&definition, DW_AT_location, &attribute)) {
        xctx__locate(place, &attribute, 0, ret_location);
        return xctx__source_has_value(ret_location->failed);
    }
    *ret_location = (struct location){.failed = XCTX_SOURCE_SNAPSHOT, .count = 1};
    ret_location->pieces[0].kind = PIECE_MEMORY;
    return symbol_address(place, member, &ret_location->pieces[0].address);
}
