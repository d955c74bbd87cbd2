/* SPDX-License-Identifier: MIT */
/*
 * Types without their names (type_name.c): what a DIE's type is, what is under typedefs and qualifiers, how large it
 * is, and whether it is secret.
 *
 * Debug information can be wrong or hostile: every chain is followed for XCTX__TYPE_DEPTH steps at most, every list of
 * children for XCTX__MEMBERS, and sizes that do not fit into 63 bits are not sizes.
 */
#include "type.h"

#include <dwarf.h>
#include <string.h>

#include "marks.h"
#include "render.h"

bool xctx__die_attribute(Dwarf_Die *die, unsigned name, Dwarf_Attribute *ret_attribute)
{
    return dwarf_attr_integrate(die, name, ret_attribute) != NULL;
}

const char *xctx__die_name(Dwarf_Die *die)
{
    Dwarf_Attribute attribute;

    return xctx__die_attribute(die, DW_AT_name, &attribute) ? dwarf_formstring(&attribute) : NULL;
}

bool xctx__die_flag(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    bool flag = false;

    return dwarf_attr(die, name, &attribute) && dwarf_formflag(&attribute, &flag) == 0 && flag;
}

bool xctx__die_is_cxx(Dwarf_Die *die)
{
    Dwarf_Die unit;

    if (!dwarf_diecu(die, &unit, NULL, NULL))
        return false;
    switch (dwarf_srclang(&unit)) {
    case DW_LANG_C_plus_plus:
    case DW_LANG_C_plus_plus_03:
    case DW_LANG_C_plus_plus_11:
    case DW_LANG_C_plus_plus_14:
    case 0x2b: /* C++17 */
    case 0x2c: /* C++20 */
        return true;
    default:
        return false;
    }
}

void xctx__type_complete(Dwarf_Die *type)
{
    Dwarf_Attribute attribute;
    Dwarf_Die whole;

    if (dwarf_attr(type, DW_AT_signature, &attribute) && dwarf_formref_die(&attribute, &whole))
        *type = whole;
}

bool xctx__type_of(Dwarf_Die *die, Dwarf_Die *ret_type)
{
    Dwarf_Attribute attribute;

    if (!xctx__die_attribute(die, DW_AT_type, &attribute) || !dwarf_formref_die(&attribute, ret_type))
        return false;
    xctx__type_complete(ret_type);
    return true;
}

bool xctx__tag_is_qualifier(int tag)
{
    switch (tag) {
    case DW_TAG_const_type:
    case DW_TAG_volatile_type:
    case DW_TAG_restrict_type:
    case DW_TAG_atomic_type:
    case DW_TAG_immutable_type:
    case DW_TAG_packed_type:
    case DW_TAG_shared_type:
        return true;
    default:
        return false;
    }
}

static bool tag_is_alias(int tag)
{
    return tag == DW_TAG_typedef || tag == DW_TAG_template_alias;
}

bool xctx__type_strip(Dwarf_Die *type, Dwarf_Die *ret_type)
{
    Dwarf_Die current = *type;

    xctx__type_complete(&current);
    for (unsigned steps = 0; steps < XCTX__TYPE_DEPTH; ++steps) {
        int tag = dwarf_tag(&current);
        if (!tag_is_alias(tag) && !xctx__tag_is_qualifier(tag)) {
            *ret_type = current;
            return tag > 0;
        }
        Dwarf_Die next;
        if (!xctx__type_of(&current, &next))
            return false;
        current = next;
    }
    return false;
}

/* ---- arrays ---- */

/* How many elements a dimension has. */
static enum xctx_source dimension_count(const struct place *place, Dwarf_Die *range, uint64_t *ret_count)
{
    Dwarf_Attribute attribute;
    int64_t lower = 0;
    int64_t upper = 0;
    enum xctx_source source = XCTX_SOURCE_SNAPSHOT;

    *ret_count = 0;
    if (dwarf_attr_integrate(range, DW_AT_count, &attribute)) {
        source = xctx__number(place, &attribute, &upper);
        if (xctx__source_has_value(source) && upper > 0)
            *ret_count = (uint64_t)upper;
        return source;
    }
    if (dwarf_attr_integrate(range, DW_AT_lower_bound, &attribute))
        source = xctx__number(place, &attribute, &lower);
    /* Without an upper bound it is a flexible array, of which debug information knows no element. */
    if (!xctx__source_has_value(source) || !dwarf_attr_integrate(range, DW_AT_upper_bound, &attribute))
        return source;
    source = xctx__number(place, &attribute, &upper);
    if (!xctx__source_has_value(source))
        return source;
    /* The bound of an array of no elements is -1, and compilers write it in as many bytes as they like. */
    int64_t count;
    if (upper < lower || __builtin_sub_overflow(upper, lower, &count) || upper == UINT32_MAX)
        return XCTX_SOURCE_SNAPSHOT;
    *ret_count = (uint64_t)count + 1;
    return XCTX_SOURCE_SNAPSHOT;
}

static enum xctx_source stride_of(const struct place *place, Dwarf_Die *die, uint64_t *ret_stride)
{
    Dwarf_Attribute attribute;
    int64_t stride = 0;

    *ret_stride = 0;
    if (dwarf_attr(die, DW_AT_bit_stride, &attribute))
        return XCTX_SOURCE_UNSUPPORTED;
    if (!dwarf_attr(die, DW_AT_byte_stride, &attribute))
        return XCTX_SOURCE_SNAPSHOT;
    enum xctx_source source = xctx__number(place, &attribute, &stride);
    if (xctx__source_has_value(source) && stride <= 0)
        return XCTX_SOURCE_UNSUPPORTED;
    *ret_stride = (uint64_t)stride;
    return source;
}

/* Fills strides and the size from the innermost dimension outwards. */
static enum xctx_source array_sizes(struct array *array)
{
    uint64_t size = array->stride ? array->stride : array->element_size;

    if (size < array->element_size)
        return XCTX_SOURCE_UNSUPPORTED;
    for (unsigned i = array->dimensions; i-- > 0;) {
        struct dimension *dimension = &array->dimension[i];
        if (dimension->stride < size)
            dimension->stride = size;
        if (__builtin_mul_overflow(dimension->stride, dimension->count, &size) || size > INT64_MAX)
            return XCTX_SOURCE_UNSUPPORTED;
        dimension->size = size;
    }
    return XCTX_SOURCE_SNAPSHOT;
}

/* Arrays of arrays, by way of typedefs, could go on without an end: `depth` counts. */
static enum xctx_source type_size(const struct place *place, Dwarf_Die *type, unsigned depth, uint64_t *ret_size);

static enum xctx_source array_read(const struct place *place, Dwarf_Die *type, unsigned depth, struct array *ret_array)
{
    Dwarf_Die child;

    *ret_array = (struct array){0};
    if (!xctx__type_of(type, &ret_array->element))
        return XCTX_SOURCE_UNSUPPORTED;
    enum xctx_source source = stride_of(place, type, &ret_array->stride);
    if (!xctx__source_has_value(source))
        return source;
    ret_array->vector = xctx__die_flag(type, DW_AT_GNU_vector);
    for (int more = dwarf_child(type, &child); more == 0; more = dwarf_siblingof(&child, &child)) {
        int tag = dwarf_tag(&child);
        if (tag == DW_TAG_enumeration_type || ret_array->dimensions == XCTX__DIMENSIONS)
            return XCTX_SOURCE_UNSUPPORTED;
        if (tag != DW_TAG_subrange_type)
            continue;
        struct dimension *dimension = &ret_array->dimension[ret_array->dimensions++];
        source = dimension_count(place, &child, &dimension->count);
        if (xctx__source_has_value(source))
            source = stride_of(place, &child, &dimension->stride);
        if (!xctx__source_has_value(source))
            return source;
    }
    if (ret_array->dimensions == 0)
        return XCTX_SOURCE_UNSUPPORTED;
    source = type_size(place, &ret_array->element, depth + 1, &ret_array->element_size);
    return xctx__source_has_value(source) ? array_sizes(ret_array) : source;
}

enum xctx_source xctx__array_read(const struct place *place, Dwarf_Die *type, struct array *ret_array)
{
    return array_read(place, type, 0, ret_array);
}

/* ---- sizes ---- */

static uint64_t address_size(Dwarf_Die *die)
{
    Dwarf_Die unit;
    uint8_t size = 0;

    return dwarf_diecu(die, &unit, &size, NULL) && size > 0 ? size : sizeof(void *);
}

static bool points_to_function(Dwarf_Die *pointer)
{
    Dwarf_Die target;

    return xctx__type_of(pointer, &target) && xctx__type_strip(&target, &target) &&
           dwarf_tag(&target) == DW_TAG_subroutine_type;
}

/* `type` is stripped, and has no size of its own. */
static enum xctx_source implied_size(const struct place *place, Dwarf_Die *type, unsigned depth, uint64_t *ret_size)
{
    Dwarf_Die base;
    struct array array;
    enum xctx_source source = XCTX_SOURCE_SNAPSHOT;

    switch (dwarf_tag(type)) {
    case DW_TAG_pointer_type:
    case DW_TAG_reference_type:
    case DW_TAG_rvalue_reference_type:
        *ret_size = address_size(type);
        return source;
    case DW_TAG_ptr_to_member_type:
        *ret_size = address_size(type) * (points_to_function(type) ? 2 : 1);
        return source;
    case DW_TAG_unspecified_type: {
        const char *name = dwarf_diename(type);
        *ret_size = address_size(type);
        return name && strcmp(name, "decltype(nullptr)") == 0 ? source : XCTX_SOURCE_UNSUPPORTED;
    }
    case DW_TAG_array_type:
        source = array_read(place, type, depth, &array);
        *ret_size = array.dimension[0].size;
        return source;
    case DW_TAG_enumeration_type:
        if (xctx__type_of(type, &base) && xctx__type_strip(&base, &base) && dwarf_tag(&base) == DW_TAG_base_type)
            return type_size(place, &base, depth + 1, ret_size);
        return XCTX_SOURCE_UNSUPPORTED;
    default:
        return XCTX_SOURCE_UNSUPPORTED;
    }
}

static enum xctx_source type_size(const struct place *place, Dwarf_Die *type, unsigned depth, uint64_t *ret_size)
{
    Dwarf_Attribute attribute;
    Dwarf_Die stripped;
    int64_t number = 0;
    uint64_t size = 0;
    enum xctx_source source = XCTX_SOURCE_SNAPSHOT;

    if (depth >= XCTX__TYPE_DEPTH || !xctx__type_strip(type, &stripped))
        return XCTX_SOURCE_UNSUPPORTED;
    if (dwarf_attr(&stripped, DW_AT_byte_size, &attribute)) {
        source = xctx__number(place, &attribute, &number);
        size = (uint64_t)number;
    } else if (dwarf_attr(&stripped, DW_AT_bit_size, &attribute)) {
        source = xctx__number(place, &attribute, &number);
        size = ((uint64_t)number + 7) / 8;
    } else {
        source = implied_size(place, &stripped, depth, &size);
    }
    if (xctx__source_has_value(source) && (number < 0 || size > INT64_MAX))
        source = XCTX_SOURCE_UNSUPPORTED;
    if (xctx__source_has_value(source))
        *ret_size = size;
    return source;
}

enum xctx_source xctx__type_size(const struct place *place, Dwarf_Die *type, uint64_t *ret_size)
{
    return type_size(place, type, 0, ret_size);
}

/* ---- secrets ---- */

enum {
    SECRET_STEPS = 4096, /* types that are looked at to find out about one */
    NAME_LIMIT = 65536,  /* bytes of a type's name that are compared */
};

static bool type_is_marked(const xctx_snapshot *snapshot, Dwarf_Die *type)
{
    struct text text = {.limit = NAME_LIMIT};
    const char *name = dwarf_diename(type);
    bool marked = xctx__marked(snapshot, XCTX_REDACT_TYPE, name);

    if (name && !marked) {
        xctx__type_name(type, &text);
        /* A name that cannot be had might be one that is marked. */
        marked = text.full || xctx__marked(snapshot, XCTX_REDACT_TYPE, text.bytes);
    }
    xctx__text_destroy(&text);
    return marked;
}

struct secret_search {
    const xctx_snapshot *snapshot;
    unsigned steps;
};

static bool type_secret(struct secret_search *search, Dwarf_Die *type, unsigned depth);

/* Whether a member's or base's type is. */
static bool members_secret(struct secret_search *search, Dwarf_Die *type, unsigned depth)
{
    Dwarf_Die child;
    Dwarf_Die member;
    unsigned count = 0;

    for (int more = dwarf_child(type, &child); more == 0 && count < XCTX__MEMBERS;
         more = dwarf_siblingof(&child, &child), ++count) {
        int tag = dwarf_tag(&child);
        if ((tag == DW_TAG_member || tag == DW_TAG_inheritance) && xctx__type_of(&child, &member) &&
            type_secret(search, &member, depth + 1))
            return true;
    }
    return false;
}

/* Follows typedefs, pointers, and arrays to what they are of. What a pointer leads to is looked at by name only: a
   structure that contains a secret is not in the pointer. */
static bool type_secret(struct secret_search *search, Dwarf_Die *type, unsigned depth)
{
    Dwarf_Die current = *type;
    bool pointed = false;

    for (unsigned i = 0; i < XCTX__TYPE_DEPTH && depth < XCTX__TYPE_DEPTH && ++search->steps < SECRET_STEPS; ++i) {
        Dwarf_Die next;
        switch (dwarf_tag(&current)) {
        case DW_TAG_structure_type:
        case DW_TAG_class_type:
        case DW_TAG_union_type:
            return type_is_marked(search->snapshot, &current) || (!pointed && members_secret(search, &current, depth));
        case DW_TAG_typedef:
        case DW_TAG_template_alias:
        case DW_TAG_base_type:
        case DW_TAG_enumeration_type:
        case DW_TAG_unspecified_type:
            if (type_is_marked(search->snapshot, &current))
                return true;
            break;
        case DW_TAG_pointer_type:
        case DW_TAG_ptr_to_member_type:
            pointed = true;
            break;
        case DW_TAG_subroutine_type:
            return false;
        default:
            break;
        }
        if (!xctx__type_of(&current, &next))
            return false;
        current = next;
    }
    /* Too much to look at: then it may be. */
    return true;
}

bool xctx__type_secret(const struct place *place, Dwarf_Die *type)
{
    const xctx_snapshot *snapshot = place->memory ? place->memory->snapshot : NULL;
    struct secret_search search = {.snapshot = snapshot};

    return xctx__marks_of(snapshot, XCTX_REDACT_TYPE) && type_secret(&search, type, 0);
}
