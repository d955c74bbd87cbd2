/* SPDX-License-Identifier: MIT */
/* See function_name.h. */
#include "function_name.h"

#include <dwarf.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "canonical.h"
#include "demangle.h"
#include "render.h"

enum { ORIGINS = 16, NAME_LIMIT = 16384 };

/* ---- names ---- */

/* Whether functions of a unit have names that are in no scope. */
static bool is_flat(Dwarf_Die *unit)
{
    switch (dwarf_srclang(unit)) {
    case DW_LANG_C:
    case DW_LANG_C89:
    case DW_LANG_C99:
    case DW_LANG_C11:
    case DW_LANG_Mips_Assembler:
        return true;
    default:
        return false;
    }
}

/* The entry that declares a function: where it was written, and in which scope. */
static Dwarf_Die declaration_of(const Dwarf_Die *function)
{
    Dwarf_Die die = *function, next;
    Dwarf_Attribute attribute;

    for (int i = 0; i < ORIGINS; i++) {
        if (!dwarf_attr(&die, DW_AT_abstract_origin, &attribute) && !dwarf_attr(&die, DW_AT_specification, &attribute))
            break;
        if (!dwarf_formref_die(&attribute, &next))
            break;
        die = next;
    }
    return die;
}

static void add_scope(Dwarf_Die *scope, struct text *text)
{
    const char *name = dwarf_diename(scope);

    switch (dwarf_tag(scope)) {
    case DW_TAG_namespace:
        if (!name)
            name = "(anonymous namespace)";
        break;
    case DW_TAG_class_type:
    case DW_TAG_structure_type:
    case DW_TAG_union_type:
    case DW_TAG_interface_type:
    case DW_TAG_enumeration_type:
    case DW_TAG_module:
        break;
    default:
        return;
    }
    if (!name)
        return;
    xctx__canonical_numbers(name, text);
    xctx__text_string(text, "::");
}

/* The length of a name of C++ without its parameters: of "Box<int>::get(int) const" that of "Box<int>::get". */
static size_t without_parameters(const char *name)
{
    size_t length = strlen(name), at = length;
    int depth = 0;

    while (at > 0 && name[at - 1] != ')')
        at--;
    for (; at > 0; at--) {
        depth += (name[at - 1] == ')') - (name[at - 1] == '(');
        if (depth == 0)
            break;
    }
    return at > 1 ? at - 1 : length;
}

/* The name that the linker's name of a C++ function says. NULL: there is none, or nobody to read it. */
static const char *linkage_name(const struct place *place, Dwarf_Die *function)
{
    Dwarf_Attribute attribute;

    if (!dwarf_attr_integrate(function, DW_AT_linkage_name, &attribute) &&
        !dwarf_attr_integrate(function, DW_AT_MIPS_linkage_name, &attribute))
        return NULL;
    const char *symbol = dwarf_formstring(&attribute);
    /* What adjusts `this`, and jumps to a function: "non-virtual thunk to ns::f(int)" is all of its name. */
    if (symbol && strncmp(symbol, "_ZT", 3) == 0) {
        const char *thunk = xctx__demangle(place->arena, symbol);
        return thunk && strncmp(thunk, "_Z", 2) != 0 ? thunk : NULL;
    }
    const char *whole = xctx__symbol_of_function(place, function);
    if (!whole || strncmp(whole, "_Z", 2) == 0)
        return NULL;
    size_t length = without_parameters(whole);
    return xctx__arena_format(place->arena, "%.*s", (int)length, whole);
}

/* The name that the debug information has, in the scopes that it has. */
static const char *scoped_name(struct arena *arena, Dwarf_Die *function, const char *name)
{
    struct text text = {.limit = NAME_LIMIT};
    Dwarf_Die *scopes = NULL;
    Dwarf_Die declaration = declaration_of(function);
    int count = dwarf_getscopes_die(&declaration, &scopes);
    int outermost = count - 1;

    /* What is in a function is in no scope but those within it. */
    for (int i = 1; i < count && outermost == count - 1; i++) {
        if (dwarf_tag(&scopes[i]) == DW_TAG_subprogram)
            outermost = i;
    }
    for (int i = outermost; i > 0; i--)
        add_scope(&scopes[i], &text);
    if (count > 0)
        free(scopes);
    xctx__canonical_numbers(name, &text);
    const char *copy = xctx__arena_string(arena, text.bytes);
    xctx__text_destroy(&text);
    return copy;
}

const char *xctx__function_name(const struct place *place, Dwarf_Die *function)
{
    Dwarf_Attribute attribute;
    Dwarf_Die unit = place->unit;
    const char *name = dwarf_diename(function);

    if (is_flat(&unit)) {
        /* In C they differ where the source gives a symbol another name, as libc does. gdb shows the symbol's. */
        const char *symbol =
            dwarf_attr_integrate(function, DW_AT_linkage_name, &attribute) ? dwarf_formstring(&attribute) : NULL;
        return xctx__arena_string(place->arena, symbol ? symbol : name);
    }
    const char *linkage = linkage_name(place, function);
    return linkage || !name ? linkage : scoped_name(place->arena, function, name);
}

/* ---- lines ---- */

static const char *compilation_folder(Dwarf_Die *unit)
{
    Dwarf_Attribute attribute;

    return dwarf_attr(unit, DW_AT_comp_dir, &attribute) ? dwarf_formstring(&attribute) : NULL;
}

/* The name of a unit: of split debug information it is in the other part. */
static const char *unit_name(Dwarf_Die *unit)
{
    const char *name = dwarf_diename(unit);
    Dwarf_Die split;

    if (name || dwarf_cu_info(unit->cu, NULL, NULL, NULL, &split, NULL, NULL, NULL) != 0 || !split.addr)
        return name;
    return dwarf_diename(&split);
}

/* What is behind a folder and a slash. NULL: it does not begin so. */
static const char *within(const char *path, const char *folder)
{
    size_t length = strlen(folder);

    return length > 0 && strncmp(path, folder, length) == 0 && path[length] == '/' ? path + length + 1 : NULL;
}

/* Whether a table of files has a path from one of its own folders, and not from the one that the compiler ran in. */
static bool is_in_folder(Dwarf_Files *files, const char *path, size_t length)
{
    const char *const *folders;
    size_t count;

    if (dwarf_getsrcdirs(files, &folders, &count) != 0)
        return false;
    for (size_t i = 1; i < count; i++) {
        if (folders[i] && strlen(folders[i]) >= length && within(path, folders[i]))
            return true;
    }
    return false;
}

/* Whether two names, which are relative to a folder unless they begin with a slash, are of one file. */
static bool same_file(const char *one, const char *other, const char *folder)
{
    const char *rest;

    if ((one[0] == '/') == (other[0] == '/'))
        return strcmp(one, other) == 0;
    rest = within(one[0] == '/' ? one : other, folder);
    return rest && strcmp(rest, one[0] == '/' ? other : one) == 0;
}

/*
 * The name of a file as gdb has it: folder and name as they are in the table, but what is the unit's own file as the
 * unit says. Before version 5 the folder that the compiler ran in was not in the table: libdw puts it there.
 */
static const char *file_name(struct arena *arena, Dwarf_Die *unit, const char *path)
{
    const char *folder = compilation_folder(unit), *primary = unit_name(unit);
    const char *rest = path && folder ? within(path, folder) : NULL;
    Dwarf_Half version = 0;
    Dwarf_Files *files;
    size_t count;

    if (path && folder && primary && same_file(path, primary, folder))
        path = primary;
    else if (rest && dwarf_cu_info(unit->cu, &version, NULL, NULL, NULL, NULL, NULL, NULL) == 0 && version < 5 &&
             dwarf_getsrcfiles(unit, &files, &count) == 0 && !is_in_folder(files, path, strlen(folder)))
        path = rest;
    return xctx__arena_string(arena, path);
}

/* The last line that begins at an address or before it: its number, or -1. */
static ptrdiff_t line_before(Dwarf_Lines *lines, size_t count, Dwarf_Addr address)
{
    size_t low = 0, high = count;
    Dwarf_Addr at;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (dwarf_lineaddr(dwarf_onesrcline(lines, middle), &at) != 0)
            return -1;
        if (at <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return (ptrdiff_t)low - 1;
}

/* Among the lines of one address, that one which a statement begins with, if the last is none. */
static Dwarf_Line *statement_at(Dwarf_Lines *lines, size_t index)
{
    Dwarf_Line *line = dwarf_onesrcline(lines, index), *earlier;
    Dwarf_Addr address, at;
    bool is_statement = true;

    dwarf_lineaddr(line, &address);
    for (size_t i = index + 1; i > 0; i--) {
        earlier = dwarf_onesrcline(lines, i - 1);
        if (dwarf_lineaddr(earlier, &at) != 0 || at != address)
            break;
        if (dwarf_linebeginstatement(earlier, &is_statement) == 0 && is_statement)
            return earlier;
    }
    return line;
}

struct source_place xctx__source_of_address(struct arena *arena, Dwarf_Die *unit, Dwarf_Addr address)
{
    struct source_place place = {0};
    Dwarf_Lines *lines;
    size_t count;
    bool ends = false;
    int number = 0;

    if (dwarf_getsrclines(unit, &lines, &count) != 0)
        return place;
    ptrdiff_t index = line_before(lines, count, address);
    if (index < 0)
        return place;
    Dwarf_Line *line = dwarf_onesrcline(lines, (size_t)index);
    if (dwarf_lineendsequence(line, &ends) != 0 || ends)
        return place;
    line = statement_at(lines, (size_t)index);
    place.file = file_name(arena, unit, dwarf_linesrc(line, NULL, NULL));
    if (dwarf_lineno(line, &number) == 0)
        place.line = (uint32_t)number;
    if (dwarf_linecol(line, &number) == 0)
        place.column = (uint32_t)number;
    return place;
}

static uint32_t number_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    Dwarf_Word word;

    return dwarf_attr(die, name, &attribute) && dwarf_formudata(&attribute, &word) == 0 && word <= UINT32_MAX
               ? (uint32_t)word
               : 0;
}

struct source_place xctx__source_of_call(struct arena *arena, Dwarf_Die *unit, Dwarf_Die *skeleton, Dwarf_Die *inlined)
{
    struct source_place place = {
        .line = number_of(inlined, DW_AT_call_line),
        .column = number_of(inlined, DW_AT_call_column),
    };
    Dwarf_Attribute attribute;
    Dwarf_Files *files;
    Dwarf_Word index;
    size_t count;

    if (dwarf_attr(inlined, DW_AT_call_file, &attribute) && dwarf_formudata(&attribute, &index) == 0 &&
        place.line > 0 && dwarf_getsrcfiles(unit, &files, &count) == 0 && index < count)
        place.file = file_name(arena, skeleton, dwarf_filesrc(files, index, NULL, NULL));
    return place;
}
