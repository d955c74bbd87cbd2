/* SPDX-License-Identifier: MIT */
/*
 * Values as text: which kind of type is written how. The rest is in render_*.c.
 *
 * The judge is gdb 13. It differs where gdb would be wrong: bytes that are not known are never written as if they were.
 * Where part of a structure or array is not known, the part is written as gdb writes a whole: "<optimized out>",
 * "<error: Cannot access memory at address 0x...>".
 */
#include <dwarf.h>
#include <inttypes.h>
#include <string.h>

#include "render.h"

enum { STEP = 1024 }; /* bytes that are as much to do as a value */

void xctx__render_source(struct render *render, enum xctx_source source)
{
    xctx__text_format(render->text, "<%s>", source == XCTX_SOURCE_OPTIMIZED_OUT ? "optimized out" : "unavailable");
}

/* The worst of the states of a value's bytes. */
static int worst_state(const struct value *value)
{
    static const uint8_t order[] = {BYTE_OPTIMIZED_OUT, BYTE_SYNTHETIC, BYTE_MISSING};

    for (size_t i = 0; i < sizeof(order) && value->states; ++i) {
        if (memchr(value->states, order[i], value->fetched))
            return order[i];
    }
    return BYTE_KNOWN;
}

void xctx__render_no_memory(struct render *render, uint64_t address, uint64_t size)
{
    if (xctx__memory_is_secret(render->place->memory, address, size))
        xctx__text_string(render->text, "<redacted>");
    else
        xctx__text_format(render->text, "<error: Cannot access memory at address 0x%" PRIx64 ">", address);
}

static void write_state(struct render *render, const struct value *value, int state)
{
    if (state == BYTE_OPTIMIZED_OUT)
        xctx__text_string(render->text, "<optimized out>");
    else if (state == BYTE_SYNTHETIC)
        xctx__text_string(render->text, "<synthetic pointer>");
    else if (value->in_memory)
        xctx__render_no_memory(render, value->address, value->size);
    else
        xctx__text_string(render->text, "<unavailable>");
}

bool xctx__render_missing(struct render *render, const struct value *value, bool scalar)
{
    int state = BYTE_KNOWN;

    if (value->size == 0)
        return false;
    /* Where there are states they are looked through, again for each part. */
    render->steps += value->states ? (unsigned)(value->fetched / STEP) : 0;
    if (value->fetched == 0)
        state = value->source == XCTX_SOURCE_OPTIMIZED_OUT ? BYTE_OPTIMIZED_OUT : BYTE_MISSING;
    else if (scalar)
        state = value->fetched < value->size ? BYTE_MISSING : worst_state(value);
    else if (xctx__value_state(value, 0, value->fetched) == BYTE_MISSING)
        state = BYTE_MISSING;
    if (state != BYTE_KNOWN)
        write_state(render, value, state);
    return state != BYTE_KNOWN;
}

bool xctx__render_step(struct render *render)
{
    if (++render->steps > XCTX__RENDER_STEPS || ++render->place->arena->steps > XCTX__REPORT_STEPS)
        render->text->full = true;
    return !render->text->full;
}

bool xctx__render_fetch(struct render *render, uint64_t address, uint64_t size, enum memory_use use,
                        struct value *ret_value)
{
    if (xctx__value_at(render->place, address, size, use, ret_value) != 0) {
        render->text->full = true;
        return false;
    }
    if (ret_value->source == XCTX_SOURCE_LIVE)
        render->out->live = true;
    return true;
}

/* "@0x...: " and what is there. */
static void render_reference(struct render *render, Dwarf_Die *type, const struct value *value)
{
    Dwarf_Die target;
    struct value there;
    uint64_t size = 0;
    bool synthetic = value->size > 0 && xctx__value_state(value, 0, value->fetched) == BYTE_SYNTHETIC;
    bool follow = render->follow;

    if (!synthetic && xctx__render_missing(render, value, true))
        return;
    if (!xctx__type_of(type, &target)) {
        xctx__text_string(render->text, "<unsupported>");
        return;
    }
    enum xctx_source known = xctx__type_size(render->place, &target, &size);
    uint64_t address = synthetic ? 0 : xctx__render_word(value->bytes, value->size);
    if (synthetic) {
        int error = follow ? xctx__value_follow(render->place, value, size, &there) : -1;
        if (error != 0 || !there.in_memory) {
            xctx__text_string(render->text, "<synthetic pointer>");
            if (error != 0)
                return;
        } else {
            xctx__text_format(render->text, "@0x%" PRIx64, there.address);
        }
    } else {
        xctx__text_format(render->text, "@0x%" PRIx64, address);
    }
    if (!follow)
        return;
    xctx__text_string(render->text, ": ");
    if (!xctx__source_has_value(known)) {
        xctx__text_string(render->text, "<incomplete type>");
        return;
    }
    if (!synthetic && !xctx__render_fetch(render, address, size, MEMORY_POINTED, &there))
        return;
    /* There are no references to references, but in damaged debug information: to themselves. */
    render->follow = false;
    xctx__render_value(render, &target, &there);
    render->follow = follow;
}

static void render_pointer(struct render *render, Dwarf_Die *type, const struct value *value)
{
    Dwarf_Die target;

    if (xctx__render_missing(render, value, true))
        return;
    bool has_target = xctx__type_of(type, &target);
    xctx__render_pointer(render, &target, has_target, xctx__render_word(value->bytes, value->size));
}

static bool is_aggregate(int tag)
{
    return tag == DW_TAG_structure_type || tag == DW_TAG_class_type || tag == DW_TAG_union_type ||
           tag == DW_TAG_array_type;
}

static void render_aggregate(struct render *render, Dwarf_Die *type, const struct value *value)
{
    if (render->depth >= XCTX__RENDER_DEPTH) {
        xctx__text_string(render->text, "{...}");
        return;
    }
    if (xctx__render_missing(render, value, false))
        return;
    if (dwarf_tag(type) == DW_TAG_array_type)
        xctx__render_array(render, type, value);
    else
        xctx__render_structure(render, type, value);
}

static void render_stripped(struct render *render, Dwarf_Die *type, const struct value *value)
{
    int tag = dwarf_tag(type);

    if (is_aggregate(tag)) {
        render_aggregate(render, type, value);
        return;
    }
    switch (tag) {
    case DW_TAG_base_type:
        xctx__render_base(render, type, value);
        break;
    case DW_TAG_enumeration_type:
        xctx__render_enumeration(render, type, value);
        break;
    case DW_TAG_pointer_type:
        render_pointer(render, type, value);
        break;
    case DW_TAG_reference_type:
    case DW_TAG_rvalue_reference_type:
        render_reference(render, type, value);
        break;
    case DW_TAG_ptr_to_member_type:
        xctx__render_member_pointer(render, type, value);
        break;
    case DW_TAG_unspecified_type: {
        const char *name = dwarf_diename(type);
        /* There is one value of this type. */
        bool null = name && strcmp(name, "decltype(nullptr)") == 0;
        xctx__text_string(render->text, null ? "0" : "<unsupported>");
        break;
    }
    default:
        xctx__text_string(render->text, "<unsupported>");
        break;
    }
}

void xctx__render_value(struct render *render, Dwarf_Die *type, const struct value *value)
{
    Dwarf_Die stripped;
    struct character character;

    if (!xctx__render_step(render))
        return;
    if (value->source == XCTX_SOURCE_LIVE)
        render->out->live = true;
    if (xctx__type_secret(render->place, type)) {
        render->out->secret = true;
        xctx__text_string(render->text, "<redacted>");
        return;
    }
    if (!xctx__type_strip(type, &stripped)) {
        xctx__text_string(render->text, "void");
        return;
    }
    render_stripped(render, &stripped, value);
    /* A character is a number and a character; what it is called says which kind. */
    if (dwarf_tag(&stripped) == DW_TAG_base_type && !render->in_vector && value->size <= 4 &&
        value->fetched == value->size && (!value->states || xctx__value_state(value, 0, value->size) == BYTE_KNOWN) &&
        xctx__render_is_character(type, &character) && character.width == value->size) {
        xctx__text_string(render->text, " ");
        xctx__render_character(render, &character, value->bytes);
    }
}

static bool is_scalar(Dwarf_Die *type)
{
    Dwarf_Die stripped;

    return xctx__type_strip(type, &stripped) && !is_aggregate(dwarf_tag(&stripped));
}

/* What can be said of a type at all. */
static bool is_supported(struct render *render, Dwarf_Die *type, const struct value *value)
{
    Dwarf_Die stripped;
    struct array array;

    if (!xctx__type_strip(type, &stripped))
        return false;
    switch (dwarf_tag(&stripped)) {
    case DW_TAG_base_type:
        return xctx__render_base_supported(&stripped, value->size);
    case DW_TAG_array_type:
        return xctx__source_has_value(xctx__array_read(render->place, &stripped, &array));
    case DW_TAG_unspecified_type:
    case DW_TAG_enumeration_type:
    case DW_TAG_pointer_type:
    case DW_TAG_reference_type:
    case DW_TAG_rvalue_reference_type:
    case DW_TAG_ptr_to_member_type:
        return true;
    default:
        return is_aggregate(dwarf_tag(&stripped));
    }
}

enum xctx_source xctx__render(const struct place *place, Dwarf_Die *type, const struct value *value,
                              struct rendering *rendering)
{
    struct render render = {
        .place = place,
        .out = rendering,
        .text = rendering->text,
        .elements = place->max_elements ? place->max_elements : XCTX__ELEMENTS,
        .follow = true,
    };

    /* A secret is none the less one if its value is not known. */
    if (!xctx__type_secret(place, type)) {
        if (!is_supported(&render, type, value))
            return XCTX_SOURCE_UNSUPPORTED;
        int state = value->fetched > 0 ? xctx__value_state(value, 0, value->fetched) : BYTE_MISSING;
        if (state == BYTE_OPTIMIZED_OUT)
            return XCTX_SOURCE_OPTIMIZED_OUT;
        if (state == BYTE_MISSING && value->size > 0)
            return xctx__source_has_value(value->source) ? XCTX_SOURCE_NOT_CAPTURED : value->source;
        /* Half a number is none. */
        state = is_scalar(type) ? worst_state(value) : BYTE_KNOWN;
        if (state == BYTE_OPTIMIZED_OUT || state == BYTE_MISSING)
            return state == BYTE_OPTIMIZED_OUT ? XCTX_SOURCE_OPTIMIZED_OUT : XCTX_SOURCE_NOT_CAPTURED;
    }
    xctx__render_value(&render, type, value);
    return XCTX_SOURCE_SNAPSHOT;
}
