/* SPDX-License-Identifier: MIT */
/*
 * Pointers as text: an address, the symbol there, and the string that a pointer to characters leads to. Pointers to
 * members are laid out as the Itanium C++ ABI says (2.3), of which aarch64 has its own variant.
 */
#include <dwarf.h>
#include <inttypes.h>
#include <string.h>

#include "render.h"

void xctx__render_address(struct render *render, uint64_t address)
{
    const char *name;
    uint64_t offset;

    xctx__text_format(render->text, "0x%" PRIx64, address);
    if (!xctx__symbol_at(render->place, address, &name, &offset))
        return;
    if (offset)
        xctx__text_format(render->text, " <%s+%" PRIu64 ">", name, offset);
    else
        xctx__text_format(render->text, " <%s>", name);
}

void xctx__render_pointer(struct render *render, Dwarf_Die *target, bool has_target, uint64_t address)
{
    struct character character;

    xctx__render_address(render, address);
    if (address == 0 || !has_target || !xctx__render_is_character(target, &character))
        return;
    xctx__text_string(render->text, " ");
    xctx__render_string_at(render, &character, address);
}

/* ---- pointers to members ---- */

static bool containing_class(Dwarf_Die *type, Dwarf_Die *ret_class)
{
    Dwarf_Attribute attribute;

    return dwarf_attr(type, DW_AT_containing_type, &attribute) && dwarf_formref_die(&attribute, ret_class) &&
           xctx__type_strip(ret_class, ret_class);
}

/* Finds the data member at an offset in a class or a base of it. */
static bool find_member(struct render *render, Dwarf_Die *type, int64_t offset, unsigned depth)
{
    Dwarf_Die child;
    Dwarf_Die base;
    Dwarf_Attribute attribute;
    unsigned count = 0;

    for (int more = dwarf_child(type, &child); more == 0 && count < XCTX__MEMBERS;
         more = dwarf_siblingof(&child, &child), ++count) {
        int64_t at = 0;
        int tag = dwarf_tag(&child);
        if (tag != DW_TAG_member && tag != DW_TAG_inheritance)
            continue;
        bool placed = dwarf_attr(&child, DW_AT_data_member_location, &attribute) != NULL;
        if (xctx__die_flag(&child, DW_AT_external) || xctx__die_flag(&child, DW_AT_declaration) ||
            (placed && !xctx__source_has_value(xctx__number(render->place, &attribute, &at))))
            continue;
        if (tag == DW_TAG_member && at == offset) {
            const char *name = dwarf_diename(&child);
            xctx__text_string(render->text, "&");
            xctx__type_qualified(type, render->text);
            xctx__text_format(render->text, "::%s", name ? name : "");
            return true;
        }
        if (tag == DW_TAG_inheritance && depth < XCTX__TYPE_DEPTH && at <= offset && xctx__type_of(&child, &base) &&
            xctx__type_strip(&base, &base) && find_member(render, &base, offset - at, depth + 1))
            return true;
    }
    return false;
}

static void render_data_member(struct render *render, Dwarf_Die *type, const struct value *value)
{
    Dwarf_Die class;
    int64_t offset = (int64_t)xctx__render_word(value->bytes, value->size);

    if (value->size == 4)
        offset = (int32_t)offset;
    if (offset == -1)
        xctx__text_string(render->text, "NULL");
    else if (offset < 0 || !containing_class(type, &class) || !find_member(render, &class, offset, 0))
        xctx__text_format(render->text, "%" PRId64, offset);
}

struct method_search {
    uint64_t index; /* in the virtual table */
    Dwarf_Die method;
};

/* Finds the virtual function of an index, in a class or its primary bases. */
static bool find_virtual(struct render *render, Dwarf_Die *type, struct method_search *search, unsigned depth)
{
    Dwarf_Die child;
    Dwarf_Die base;
    Dwarf_Attribute attribute;
    unsigned count = 0;

    for (int more = dwarf_child(type, &child); more == 0 && count < XCTX__MEMBERS;
         more = dwarf_siblingof(&child, &child), ++count) {
        int tag = dwarf_tag(&child);
        int64_t at = -1;
        if (tag == DW_TAG_subprogram && dwarf_attr(&child, DW_AT_vtable_elem_location, &attribute)) {
            Dwarf_Op *ops;
            size_t length;
            if (dwarf_getlocation(&attribute, &ops, &length) == 0 && length == 1 && ops[0].atom == DW_OP_constu)
                at = (int64_t)ops[0].number;
            if (at >= 0 && (uint64_t)at == search->index) {
                search->method = child;
                return true;
            }
        }
        if (tag == DW_TAG_inheritance && depth < XCTX__TYPE_DEPTH && xctx__type_of(&child, &base) &&
            xctx__type_strip(&base, &base) && find_virtual(render, &base, search, depth + 1))
            return true;
    }
    return false;
}

static void write_virtual(struct render *render, Dwarf_Die *type, uint64_t offset)
{
    Dwarf_Die class;
    struct method_search search = {.index = offset / sizeof(void *)};

    if (!containing_class(type, &class) || !find_virtual(render, &class, &search, 0)) {
        xctx__text_format(render->text, "&virtual table offset %" PRIu64, offset);
        return;
    }
    const char *name = xctx__symbol_of_function(render->place, &search.method);
    xctx__text_format(render->text, "&virtual %s", name ? name : "");
}

static void render_method(struct render *render, Dwarf_Die *type, const struct value *value)
{
    uint64_t pointer = xctx__render_word(value->bytes, sizeof(uint64_t));
    int64_t adjustment = (int64_t)xctx__render_word(value->bytes + sizeof(uint64_t), sizeof(uint64_t));

#if defined(__aarch64__)
    bool is_virtual = adjustment & 1;
    adjustment >>= 1;
#else
    bool is_virtual = pointer & 1;
    pointer &= ~(uint64_t)1;
#endif
    if (pointer == 0 && !is_virtual) {
        xctx__text_string(render->text, "NULL");
        return;
    }
    if (is_virtual) {
        write_virtual(render, type, pointer);
    } else {
        xctx__text_string(render->text, "(");
        xctx__type_name(type, render->text);
        xctx__text_string(render->text, ") ");
        xctx__render_address(render, pointer);
    }
    if (adjustment)
        xctx__text_format(render->text, ", this adjustment %" PRId64, adjustment);
}

void xctx__render_member_pointer(struct render *render, Dwarf_Die *type, const struct value *value)
{
    Dwarf_Die target;

    if (xctx__render_missing(render, value, true))
        return;
    bool method = xctx__type_of(type, &target) && xctx__type_strip(&target, &target) &&
                  dwarf_tag(&target) == DW_TAG_subroutine_type;
    if (method && value->size == 2 * sizeof(uint64_t))
        render_method(render, type, value);
    else if (!method && value->size > 0 && value->size <= sizeof(uint64_t))
        render_data_member(render, type, value);
    else
        xctx__text_string(render->text, "<unsupported>");
}
