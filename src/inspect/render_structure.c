/* SPDX-License-Identifier: MIT */
/*
 * Structures, unions, and classes as text: "{<Base> = {a = 1}, b = 2, static count = 3}".
 *
 * Bases come first, and a virtual base where it is met first. Static members that are nowhere are "<optimized out>".
 */
#include <dwarf.h>
#include <string.h>

#include "render.h"

enum {
    VIRTUAL_BASES = 64, /* of an object that are written */
};

/* What one object and its bases share. */
struct object {
    Dwarf_Off virtual_bases[VIRTUAL_BASES];
    unsigned virtual_count;
};

static void render_members(struct render *render, Dwarf_Die *type, const struct value *value, struct object *object);

/* ---- where a member is ---- */

/* Takes the part of a structure that a member or base at an attribute is, `size` bytes of it; or fetches it, where it
   is elsewhere, as virtual bases may be. */
static enum xctx_source locate_part(struct render *render, Dwarf_Die *die, const struct value *value, uint64_t size,
                                    struct value *ret_part)
{
    Dwarf_Attribute attribute;
    Dwarf_Attribute virtuality;
    int64_t offset = 0;
    uint64_t address = 0;
    enum xctx_source source = XCTX_SOURCE_SNAPSHOT;

    if (dwarf_attr(die, DW_AT_data_member_location, &attribute)) {
        if (dwarf_attr(die, DW_AT_virtuality, &virtuality)) {
            if (!value->in_memory)
                return XCTX_SOURCE_UNSUPPORTED;
            source = xctx__member_address(render->place, &attribute, value->address, &address);
            offset = (int64_t)(address - value->address);
        } else {
            source = xctx__number(render->place, &attribute, &offset);
        }
    }
    if (!xctx__source_has_value(source))
        return source;
    if (offset >= 0 && (uint64_t)offset <= value->fetched && size <= value->fetched - (uint64_t)offset) {
        *ret_part = xctx__value_part(value, (uint64_t)offset, size);
        return source;
    }
    if (!value->in_memory || (offset < 0 && !address))
        return XCTX_SOURCE_UNSUPPORTED;
    return xctx__render_fetch(render, value->address + (uint64_t)offset, size, value->use, ret_part)
               ? source
               : XCTX_SOURCE_UNSUPPORTED;
}

/* ---- bit-fields ---- */

static bool type_is_signed(Dwarf_Die *type)
{
    Dwarf_Attribute attribute;
    Dwarf_Die stripped;
    Dwarf_Word encoding = 0;

    if (!xctx__type_strip(type, &stripped))
        return false;
    if (dwarf_tag(&stripped) == DW_TAG_enumeration_type)
        return xctx__enumeration_is_signed(&stripped);
    if (!dwarf_attr(&stripped, DW_AT_encoding, &attribute) || dwarf_formudata(&attribute, &encoding) != 0)
        return false;
    return encoding == DW_ATE_signed || encoding == DW_ATE_signed_char;
}

static bool constant(Dwarf_Die *die, unsigned name, uint64_t *ret_number)
{
    Dwarf_Attribute attribute;
    Dwarf_Word number;

    if (!dwarf_attr(die, name, &attribute) || dwarf_formudata(&attribute, &number) != 0)
        return false;
    *ret_number = number;
    return true;
}

/* Where the lowest bit of a bit-field is, counted from the structure's. DWARF 3 counts from the highest bit of a unit
   of storage. */
static bool bit_position(struct render *render, Dwarf_Die *member, uint64_t type_size, uint64_t bits, uint64_t *ret_bit)
{
    uint64_t offset = 0;
    uint64_t storage = type_size;
    uint64_t from_high = 0;

    if (constant(member, DW_AT_data_bit_offset, ret_bit))
        return *ret_bit <= INT64_MAX;
    Dwarf_Attribute attribute;
    int64_t at = 0;
    if (dwarf_attr(member, DW_AT_data_member_location, &attribute) &&
        (!xctx__source_has_value(xctx__number(render->place, &attribute, &at)) || at < 0))
        return false;
    offset = (uint64_t)at;
    constant(member, DW_AT_byte_size, &storage);
    if (offset > INT64_MAX / 16 || storage > 64)
        return false;
    if (!constant(member, DW_AT_bit_offset, &from_high)) {
        *ret_bit = offset * 8;
        return true;
    }
    /* It may be negative, of members that straddle. */
    if ((int64_t)from_high < 0 && (int64_t)from_high > -1024)
        *ret_bit = offset * 8 + storage * 8 - bits + (uint64_t) - (int64_t)from_high;
    else if (from_high + bits <= offset * 8 + storage * 8)
        *ret_bit = offset * 8 + storage * 8 - bits - from_high;
    else
        return false;
    return true;
}

static void render_bits(struct render *render, Dwarf_Die *member, Dwarf_Die *type, uint64_t bits,
                        const struct value *value)
{
    uint8_t bytes[sizeof(wide_bits)] = {0};
    uint8_t states[sizeof(wide_bits) + 1]; /* the first byte may be shared */
    wide_bits number = 0;
    uint64_t size = 0;
    uint64_t first = 0;

    if (!xctx__source_has_value(xctx__type_size(render->place, type, &size)) || size == 0 || size > sizeof(bytes) ||
        bits == 0 || bits > size * 8 || !bit_position(render, member, size, bits, &first) ||
        (first + bits + 7) / 8 > value->fetched) {
        xctx__text_string(render->text, "<unsupported>");
        return;
    }
    uint64_t begin = first / 8;
    struct value storage = xctx__value_part(value, begin, (first + bits + 7) / 8 - begin);
    xctx__value_bit_states(value, first, bits, states);
    storage.states = states;
    if (xctx__render_missing(render, &storage, true))
        return;
    /* At most 17 bytes: the first is shifted out in part. */
    for (uint64_t i = storage.size; i-- > 0;) {
        int64_t shift = (int64_t)(i * 8) - (int64_t)(first % 8);
        number |= shift < 0 ? (wide_bits)storage.bytes[i] >> -shift : (wide_bits)storage.bytes[i] << shift;
    }
    if (bits < 128) {
        number &= ((wide_bits)1 << bits) - 1;
        if (type_is_signed(type) && (number >> (bits - 1)) & 1)
            number |= ~(wide_bits)0 << bits;
    }
    memcpy(bytes, &number, sizeof(bytes));
    struct value field = {.size = size, .fetched = size, .bytes = bytes, .source = value->source};
    xctx__render_value(render, type, &field);
}

/* ---- static members ---- */

static bool static_value(struct render *render, Dwarf_Die *member, uint64_t size, struct value *ret_value)
{
    Dwarf_Attribute attribute;
    struct location *location = xctx__arena_allocate(render->place->arena, sizeof(*location));

    if (!location)
        return false;
    if (dwarf_attr(member, DW_AT_const_value, &attribute))
        xctx__locate(render->place, &attribute, size, location);
    else if (!xctx__static_member_locate(render->place, member, location))
        return false;
    if (!xctx__source_has_value(location->failed) ||
        xctx__value_fetch(render->place, location, size, MEMORY_STATIC, ret_value) != 0)
        return false;
    if (ret_value->source == XCTX_SOURCE_LIVE)
        render->out->live = true;
    return true;
}

static void render_static(struct render *render, Dwarf_Die *member, Dwarf_Die *type)
{
    Dwarf_Die stripped;
    struct value value;
    uint64_t size = 0;

    int tag = xctx__type_strip(type, &stripped) ? dwarf_tag(&stripped) : 0;
    bool aggregate = tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_array_type;
    /* A class may well have a static member of itself. */
    if (aggregate && render->in_static) {
        xctx__text_string(render->text, "<same as static member of an already seen type>");
        return;
    }
    if (!xctx__source_has_value(xctx__type_size(render->place, type, &size)) ||
        !static_value(render, member, size, &value)) {
        xctx__text_string(render->text, "<optimized out>");
        return;
    }
    bool in_static = render->in_static;
    render->in_static = in_static || aggregate;
    xctx__render_value(render, type, &value);
    render->in_static = in_static;
}

/* ---- members ---- */

/* Compilers leave types out that are defined elsewhere, too. */
static void render_no_member(struct render *render, Dwarf_Die *type)
{
    Dwarf_Die stripped;
    bool incomplete = xctx__type_strip(type, &stripped) && xctx__die_flag(&stripped, DW_AT_declaration);

    xctx__text_string(render->text, incomplete ? "<incomplete type>" : "<unsupported>");
}

static void render_member(struct render *render, Dwarf_Die *member, const struct value *value, bool is_static)
{
    Dwarf_Die type;
    struct value part;
    uint64_t bits = 0;
    uint64_t size = 0;
    const char *name = dwarf_diename(member);

    if (is_static)
        xctx__text_string(render->text, "static ");
    if (name)
        xctx__text_format(render->text, "%s = ", name);
    if (!xctx__type_of(member, &type)) {
        xctx__text_string(render->text, "<unsupported>");
        return;
    }
    if (is_static) {
        render_static(render, member, &type);
    } else if (dwarf_attr(member, DW_AT_bit_size, &(Dwarf_Attribute){0})) {
        if (constant(member, DW_AT_bit_size, &bits))
            render_bits(render, member, &type, bits, value);
        else
            xctx__text_string(render->text, "<unsupported>");
    } else if (!xctx__source_has_value(xctx__type_size(render->place, &type, &size)) ||
               !xctx__source_has_value(locate_part(render, member, value, size, &part))) {
        render_no_member(render, &type);
    } else {
        xctx__render_value(render, &type, &part);
    }
}

static bool is_static_member(Dwarf_Die *child)
{
    return dwarf_tag(child) == DW_TAG_variable ||
           /* In an unnamed namespace it is not external. */
           (dwarf_tag(child) == DW_TAG_member &&
            (xctx__die_flag(child, DW_AT_external) || xctx__die_flag(child, DW_AT_declaration)));
}

/* Whether a virtual base is met for the first time. */
static bool first_time(struct object *object, Dwarf_Die *base)
{
    Dwarf_Off offset = dwarf_dieoffset(base);

    for (unsigned i = 0; i < object->virtual_count; ++i) {
        if (object->virtual_bases[i] == offset)
            return false;
    }
    if (object->virtual_count == VIRTUAL_BASES)
        return false;
    object->virtual_bases[object->virtual_count++] = offset;
    return true;
}

/* Where a virtual base is, is in memory that the object points to. */
static void render_no_base(struct render *render, Dwarf_Die *base, enum xctx_source source)
{
    if (xctx__die_flag(base, DW_AT_declaration))
        xctx__text_string(render->text, "<incomplete type>");
    else
        xctx__text_string(render->text, source == XCTX_SOURCE_UNSUPPORTED ? "<unsupported>" : "<invalid address>");
}

static void render_base_class(struct render *render, Dwarf_Die *inheritance, const struct value *value,
                              struct object *object)
{
    Dwarf_Die base;
    Dwarf_Attribute attribute;
    struct value part;
    uint64_t size = 0;

    if (!xctx__type_of(inheritance, &base) || !xctx__type_strip(&base, &base))
        return;
    if (dwarf_attr(inheritance, DW_AT_virtuality, &attribute) && !first_time(object, &base))
        return;
    xctx__text_string(render->text, "<");
    xctx__type_qualified(&base, render->text);
    xctx__text_string(render->text, "> = ");
    enum xctx_source source = xctx__type_size(render->place, &base, &size);
    if (xctx__source_has_value(source))
        source = locate_part(render, inheritance, value, size, &part);
    if (!xctx__source_has_value(source)) {
        render_no_base(render, &base, source);
    } else if (xctx__type_secret(render->place, &base)) {
        render->out->secret = true;
        xctx__text_string(render->text, "<redacted>");
    } else if (++render->depth >= XCTX__RENDER_DEPTH) {
        --render->depth;
        xctx__text_string(render->text, "{...}");
    } else {
        if (!xctx__render_missing(render, &part, false))
            render_members(render, &base, &part, object);
        --render->depth;
    }
    xctx__text_string(render->text, ", ");
}

static void render_members(struct render *render, Dwarf_Die *type, const struct value *value, struct object *object)
{
    Dwarf_Die child;
    unsigned count = 0;
    bool any = false;
    bool follow = render->follow;

    render->follow = false;
    xctx__text_string(render->text, "{");
    for (int more = dwarf_child(type, &child); more == 0 && count < XCTX__MEMBERS && xctx__render_step(render);
         more = dwarf_siblingof(&child, &child), ++count) {
        if (dwarf_tag(&child) == DW_TAG_inheritance)
            render_base_class(render, &child, value, object);
    }
    count = 0;
    ++render->depth;
    for (int more = dwarf_child(type, &child); more == 0 && xctx__render_step(render);
         more = dwarf_siblingof(&child, &child)) {
        bool is_static = is_static_member(&child);
        if (dwarf_tag(&child) != DW_TAG_member && !is_static)
            continue;
        if (any)
            xctx__text_string(render->text, ", ");
        any = true;
        if (++count > XCTX__MEMBERS) {
            xctx__text_string(render->text, "...");
            break;
        }
        render_member(render, &child, value, is_static);
    }
    --render->depth;
    if (!any)
        xctx__text_string(render->text, "<No data fields>");
    xctx__text_string(render->text, "}");
    render->follow = follow;
}

void xctx__render_structure(struct render *render, Dwarf_Die *type, const struct value *value)
{
    struct object object = {0};

    if (xctx__die_flag(type, DW_AT_declaration)) {
        xctx__text_string(render->text, "<incomplete type>");
        return;
    }
    render_members(render, type, value, &object);
}
