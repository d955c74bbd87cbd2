/* SPDX-License-Identifier: MIT */
/*
 * Which symbol an address belongs to, as gdb sees it.
 *
 * Of the symbols of a module, the last one at or before the address counts, in the same section; one without a size
 * counts only where none with a size is, and one with a size only within it. Code that debug information knows is named
 * by that, unless a symbol begins behind the beginning of the function. Data without a size has no name.
 */
#include <dwarf.h>
#include <elf.h>
#include <stdlib.h>
#include <string.h>

#include "calls.h"
#include "canonical.h"
#include "modules.h"
#include "render.h"
#include "scopes.h"
#include "symbol_index.h"

enum {
    SYMBOL_STEPS = 4096, /* symbols that are looked at for one address */
    NAME_LIMIT = 65536,  /* bytes of a name */
};

/* The section of a module that an address is in. */
struct section {
    uint64_t start;
    uint64_t end;
    bool code;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool section_at(Dwfl_Module *module, uint64_t address, struct section *ret_section)
{
    GElf_Addr bias = 0;
    Elf *elf = dwfl_module_getelf(module, &bias);
    Elf_Scn *scn = NULL;
    GElf_Shdr shdr;

    while (elf && (scn = elf_nextscn(elf, scn)) != NULL) {
        if (!gelf_getshdr(scn, &shdr) || !(shdr.sh_flags & SHF_ALLOC) || (shdr.sh_flags & SHF_TLS))
            continue;
        uint64_t start = shdr.sh_addr + bias;
        if (address >= start && address - start < shdr.sh_size) {
            *ret_section = (struct section){start, start + shdr.sh_size, (shdr.sh_flags & SHF_EXECINSTR) != 0};
            return true;
        }
    }
    return false;
}

/* Whether one is behind the other, as they are sorted: by address, then by where their names are. */
static bool is_behind(const struct symbol *one, const struct symbol *other)
{
    if (!other->name || one->address != other->address)
        return !other->name || one->address > other->address;
    if (one->size == other->size && one->global != other->global)
        return one->global;
    return (uintptr_t)one->name > (uintptr_t)other->name;
}

static bool contains(const struct symbol *symbol, uint64_t address)
{
    return symbol->name && address - symbol->address < symbol->size;
}

/* How many symbols are at an address or before it. */
static size_t count_before(const struct symbol_index *index, uint64_t address)
{
    size_t low = 0;
    size_t high = index->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (index->symbols[middle].address <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Goes backwards from the address, until a symbol with a size is found, and the one in front of that. */
static struct symbol best_symbol(Dwfl_Module *module, const struct section *section, uint64_t address)
{
    const struct symbol_index *index = xctx__symbols_of(module);
    struct symbol sized = {0};
    struct symbol before = {0}; /* the one in front of `sized` */
    struct symbol unsized = {0};
    size_t i = count_before(index, address);

    for (unsigned steps = 0; i-- > 0 && steps < SYMBOL_STEPS; ++steps) {
        const struct symbol *symbol = &index->symbols[i];
        if (symbol->address < section->start || (before.name && symbol->address < before.address))
            break;
        if (symbol->size == 0) {
            if (is_behind(symbol, &unsized))
                unsized = *symbol;
        } else if (is_behind(symbol, &sized)) {
            before = sized;
            sized = *symbol;
        } else if (is_behind(symbol, &before)) {
            before = *symbol;
        }
    }
    if (contains(&sized, address))
        return sized;
    if (contains(&before, address))
        return before;
    return unsized.name && (!sized.name || unsized.address >= sized.address) ? unsized : (struct symbol){0};
}

/* ---- names ---- */

/* How much of a name is left without the number that a compiler puts behind the names of static variables. */
static size_t without_number(const char *name, size_t length)
{
    size_t end = length;

    while (end > 1 && is_digit(name[end - 1]))
        --end;
    if (end == length || end < 2)
        return length;
    if (name[end - 1] == '.' || name[end - 1] == '$')
        return end - 1;
    if (end > 3 && strncmp(name + end - 3, "___", 3) == 0)
        return end - 3;
    return end > 2 && strncmp(name + end - 2, "__", 2) == 0 ? end - 2 : length;
}

/* A name that is not mangled, as gdb reads it: as if it could be one of GNAT's, "package__name.12" being
   "package.name", and "name.part" "name[part]". Names that begin with an underscore or have a capital letter are none.
 */
static const char *plain_name(struct arena *arena, const char *name)
{
    struct text text = {.limit = NAME_LIMIT};
    const char *whole = name;

    if (*name == '.')
        ++name;
    size_t length = strlen(name);
    size_t suffix = length;

    while (suffix > 1 && is_letter(name[suffix - 1]))
        --suffix;
    bool has_suffix = suffix < length && suffix > 1 && name[suffix - 1] == '.';
    size_t end = without_number(name, has_suffix ? suffix - 1 : length);
    const char *three = strstr(name, "___");
    if (name[0] == '_' || (three && (size_t)(three - name) + 3 < end))
        return whole;
    for (size_t i = 0; i < end; ++i) {
        if ((name[i] >= 'A' && name[i] <= 'Z') || name[i] == ' ') {
            xctx__text_destroy(&text);
            return whole;
        }
        bool dot = i > 0 && i + 2 < end && name[i] == '_' && name[i + 1] == '_';
        xctx__text_add(&text, dot ? "." : name + i, 1);
        i += dot;
    }
    if (has_suffix)
        xctx__text_format(&text, "[%s]", name + suffix);
    const char *plain = text.full ? NULL : xctx__arena_string(arena, text.bytes);
    xctx__text_destroy(&text);
    return plain ? plain : whole;
}

static const char *symbol_name(struct arena *arena, const char *name)
{
    return strncmp(name, "_Z", 2) == 0 ? xctx__demangle(arena, name) : plain_name(arena, name);
}

/* Where the name of a function begins in "int ns::max<int>(int, int)": templates are mangled with what they return. */
static const char *skip_return_type(const char *plain)
{
    const char *begin = plain;
    int depth = 0;

    for (const char *at = plain; *at; ++at) {
        if (strncmp(at, "operator", 8) == 0 || (depth == 0 && *at == '(' && strncmp(at, "(anonymous", 10) != 0))
            break;
        depth += (*at == '<' || *at == '(') - (*at == '>' || *at == ')');
        if (depth == 0 && *at == ' ')
            begin = at + 1;
    }
    return begin;
}

const char *xctx__symbol_of_function(const struct place *place, Dwarf_Die *function)
{
    Dwarf_Attribute attribute;
    struct text text = {.limit = NAME_LIMIT};
    const char *linkage = NULL;

    if (xctx__die_attribute(function, DW_AT_linkage_name, &attribute) ||
        xctx__die_attribute(function, DW_AT_MIPS_linkage_name, &attribute))
        linkage = dwarf_formstring(&attribute);
    if (linkage && strncmp(linkage, "_Z", 2) == 0) {
        const char *plain = xctx__demangle(place->arena, linkage);
        return plain ? skip_return_type(plain) : NULL;
    }
    if (linkage)
        return linkage;
    if (!xctx__die_is_cxx(function))
        return xctx__die_name(function);
    struct text whole = {.limit = NAME_LIMIT};
    xctx__type_qualified(function, &whole);
    xctx__type_parameters(function, &whole);
    if (whole.bytes && !whole.full)
        xctx__canonical_function(whole.bytes, &text);
    xctx__text_destroy(&whole);
    const char *name = text.full || !text.bytes ? NULL : xctx__arena_string(place->arena, text.bytes);
    xctx__text_destroy(&text);
    return name;
}

/* The function that debug information knows at an address of code. */
static bool function_at(Dwfl_Module *module, uint64_t address, Dwarf_Die *ret_function, uint64_t *ret_start)
{
    Dwarf_Die unit;
    Dwarf_Addr bias;
    Dwarf_Addr entry;
    Dwarf_Die innermost;
    Dwarf_Die *nested = NULL;
    bool found = false;

    if (!xctx__scopes_unit(module, address, &unit, &bias))
        return false;
    if (!xctx__scopes_innermost(&unit, address - bias, &innermost))
        return false;
    int nested_count = dwarf_getscopes_die(&innermost, &nested);
    for (int i = 0; i < nested_count && !found; ++i) {
        found = dwarf_tag(&nested[i]) == DW_TAG_subprogram && xctx__function_entry(&nested[i], &entry);
        if (found) {
            *ret_function = nested[i];
            *ret_start = entry + bias;
        }
    }
    free(nested);
    return found;
}

bool xctx__symbol_at(const struct place *place, uint64_t address, const char **ret_name, uint64_t *ret_offset)
{
    Dwfl_Module *module = xctx__modules_find(place->memory->modules, place->memory->snapshot, address);
    struct section section;
    Dwarf_Die function;
    const char *name = NULL;
    uint64_t start = 0;

    if (!module || !section_at(module, address, &section))
        return false;
    struct symbol symbol = best_symbol(module, &section, address);
    if (symbol.size == 0 && !section.code)
        symbol.name = NULL;
    if (section.code && function_at(module, address, &function, &start))
        name = xctx__symbol_of_function(place, &function);
    if (symbol.name && (!name || symbol.address > start)) {
        name = symbol_name(place->arena, symbol.name);
        start = symbol.address;
    }
    if (!name)
        return false;
    *ret_name = name;
    *ret_offset = address - start;
    return true;
}
