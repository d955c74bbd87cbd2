/* SPDX-License-Identifier: MIT */
/*
 * From an attribute to a location or a number: see evaluate.h.
 */
#include <dwarf.h>
#include <string.h>

#include "evaluate_internal.h"
#include "type.h"

enum attribute_class {
    CLASS_EXPRESSION, /* or a list of them */
    CLASS_CONSTANT,
    CLASS_BLOCK,
    CLASS_STRING,
    CLASS_ADDRESS,
    CLASS_REFERENCE,
    CLASS_OTHER,
};

/* DW_FORM_data4 and data8 were offsets of location lists before DWARF 4, in attributes that may be locations. */
static enum attribute_class class_of(Dwarf_Attribute *attribute)
{
    unsigned code = dwarf_whatattr(attribute);
    Dwarf_Half version = 0;

    switch (dwarf_whatform(attribute)) {
    case DW_FORM_exprloc:
    case DW_FORM_sec_offset:
    case DW_FORM_loclistx:
        return CLASS_EXPRESSION;
    case DW_FORM_data4:
    case DW_FORM_data8:
        if (code == DW_AT_const_value || dwarf_cu_info(attribute->cu, &version, NULL, NULL, NULL, NULL, NULL, NULL) ||
            version >= 4)
            return CLASS_CONSTANT;
        return code == DW_AT_location || code == DW_AT_frame_base ? CLASS_EXPRESSION : CLASS_CONSTANT;
    case DW_FORM_data1:
    case DW_FORM_data2:
    case DW_FORM_sdata:
    case DW_FORM_udata:
    case DW_FORM_implicit_const:
        return CLASS_CONSTANT;
    case DW_FORM_block:
    case DW_FORM_block1:
    case DW_FORM_block2:
    case DW_FORM_block4:
        return code == DW_AT_const_value ? CLASS_BLOCK : CLASS_EXPRESSION;
    case DW_FORM_data16:
        return CLASS_BLOCK;
    case DW_FORM_string:
    case DW_FORM_strp:
    case DW_FORM_line_strp:
    case DW_FORM_strx:
    case DW_FORM_strx1:
    case DW_FORM_strx2:
    case DW_FORM_strx3:
    case DW_FORM_strx4:
    case DW_FORM_GNU_str_index:
    case DW_FORM_GNU_strp_alt:
        return CLASS_STRING;
    case DW_FORM_addr:
    case DW_FORM_addrx:
    case DW_FORM_addrx1:
    case DW_FORM_addrx2:
    case DW_FORM_addrx3:
    case DW_FORM_addrx4:
    case DW_FORM_GNU_addr_index:
        return CLASS_ADDRESS;
    case DW_FORM_ref1:
    case DW_FORM_ref2:
    case DW_FORM_ref4:
    case DW_FORM_ref8:
    case DW_FORM_ref_udata:
    case DW_FORM_ref_addr:
    case DW_FORM_GNU_ref_alt:
        return CLASS_REFERENCE;
    default:
        return CLASS_OTHER;
    }
}

/* A constant. Only two forms have a sign; the others are read as they stand. */
static bool constant_read(Dwarf_Attribute *attribute, int64_t *ret_value, bool *ret_signed)
{
    unsigned form = dwarf_whatform(attribute);
    Dwarf_Sword value;
    Dwarf_Word bits;

    *ret_signed = form == DW_FORM_sdata || form == DW_FORM_implicit_const;
    if (*ret_signed) {
        if (dwarf_formsdata(attribute, &value) != 0)
            return false;
        *ret_value = value;
        return true;
    }
    if (dwarf_formudata(attribute, &bits) != 0)
        return false;
    *ret_value = (int64_t)bits;
    return true;
}

/* ---- locations ---- */

static void locate_failed(struct location *location, enum xctx_source why)
{
    location->count = 0;
    location->failed = why;
}

/* The location is a value that the debug information holds. */
static void locate_bytes(struct location *location, const uint8_t *bytes, uint64_t size)
{
    location->pieces[0] =
        (struct piece){.kind = PIECE_VALUE, .source = XCTX_SOURCE_CONSTANT, .bytes = bytes, .byte_count = size};
    location->count = 1;
}

static void locate_constant(const struct place *place, Dwarf_Attribute *attribute, uint64_t size,
                            struct location *location)
{
    enum { MOST = 16 };
    uint8_t *bytes = xctx__arena_allocate(place->arena, MOST);
    bool is_signed;
    int64_t value;

    if (!bytes || !constant_read(attribute, &value, &is_signed)) {
        locate_failed(location, XCTX_SOURCE_UNSUPPORTED);
        return;
    }
    memset(bytes, is_signed && value < 0 ? 0xff : 0, MOST);
    memcpy(bytes, &value, sizeof(value));
    if (size == 0 || size > MOST)
        size = sizeof(value);
    locate_bytes(location, bytes, size);
}

/* A constant of several bytes. clang leaves away what is only padding in an x87 long double. */
static void locate_block(const struct place *place, const Dwarf_Block *block, uint64_t size, struct location *location)
{
    enum { X87 = 10, PADDED = 16 };
    uint8_t *bytes;

    if (block->length != X87 || size != PADDED) {
        locate_bytes(location, block->data, block->length);
        return;
    }
    bytes = xctx__arena_allocate(place->arena, PADDED);
    if (!bytes) {
        locate_failed(location, XCTX_SOURCE_UNSUPPORTED);
        return;
    }
    memcpy(bytes, block->data, X87);
    locate_bytes(location, bytes, PADDED);
}

static void locate_address(const struct place *place, Dwarf_Attribute *attribute, struct location *location)
{
    uint8_t *bytes = xctx__arena_allocate(place->arena, sizeof(uint64_t));
    Dwarf_Addr address;

    if (!bytes || dwarf_formaddr(attribute, &address) != 0) {
        locate_failed(location, XCTX_SOURCE_UNSUPPORTED);
        return;
    }
    address += place->bias;
    memcpy(bytes, &address, sizeof(address));
    locate_bytes(location, bytes, sizeof(address));
}

/* What comes on the stack before the expression runs: the object, for the location of a member. */
static void start(struct evaluation *evaluation, Dwarf_Attribute *attribute, uint64_t object)
{
    if (dwarf_whatattr(attribute) != DW_AT_data_member_location)
        return;
    evaluation->stack[evaluation->depth++] = xctx__number_generic(object);
    evaluation->used_state = true;
}

static void locate_expression(const struct place *place, Dwarf_Attribute *attribute, struct budget *budget,
                              struct location *location)
{
    struct evaluation evaluation;

    xctx__evaluation_begin(&evaluation, place, budget);
    evaluation.location = location;
    if (dwarf_whatattr(attribute) == DW_AT_data_member_location && !place->has_object)
        evaluation.failed = XCTX_SOURCE_UNSUPPORTED;
    start(&evaluation, attribute, place->object);
    xctx__evaluate_attribute(&evaluation, attribute);
    if (evaluation.failed != XCTX_SOURCE_SNAPSHOT)
        locate_failed(location, evaluation.failed);
}

static void locate_member(const struct place *place, Dwarf_Attribute *attribute, struct location *location)
{
    bool is_signed;
    int64_t offset;

    if (!place->has_object || !constant_read(attribute, &offset, &is_signed)) {
        locate_failed(location, XCTX_SOURCE_UNSUPPORTED);
        return;
    }
    location->pieces[0] = (struct piece){.kind = PIECE_MEMORY, .address = place->object + (uint64_t)offset};
    location->count = 1;
}

/* The location of a variable (DW_AT_location or DW_AT_const_value), with what is left of a budget. */
static void locate_within(const struct place *place, Dwarf_Attribute *attribute, uint64_t size, struct budget *budget,
                          struct location *ret_location)
{
    Dwarf_Block block;
    const char *text;

    ret_location->count = 0;
    ret_location->failed = XCTX_SOURCE_SNAPSHOT;
    if (!attribute) {
        locate_failed(ret_location, XCTX_SOURCE_OPTIMIZED_OUT);
        return;
    }
    switch (class_of(attribute)) {
    case CLASS_EXPRESSION:
        locate_expression(place, attribute, budget, ret_location);
        return;
    case CLASS_CONSTANT:
        if (dwarf_whatattr(attribute) == DW_AT_data_member_location)
            locate_member(place, attribute, ret_location);
        else
            locate_constant(place, attribute, size, ret_location);
        return;
    case CLASS_ADDRESS:
        locate_address(place, attribute, ret_location);
        return;
    case CLASS_BLOCK:
        if (dwarf_formblock(attribute, &block) == 0) {
            locate_block(place, &block, size, ret_location);
            return;
        }
        break;
    case CLASS_STRING:
        text = dwarf_formstring(attribute);
        if (text) {
            locate_bytes(ret_location, (const uint8_t *)text, strlen(text) + 1);
            return;
        }
        break;
    case CLASS_REFERENCE:
    case CLASS_OTHER:
        break;
    }
    locate_failed(ret_location, XCTX_SOURCE_UNSUPPORTED);
}

void xctx__locate(const struct place *place, Dwarf_Attribute *attribute, uint64_t size, struct location *ret_location)
{
    struct budget budget = xctx__budget();

    locate_within(place, attribute, size, &budget, ret_location);
}

/* ---- numbers ---- */

/* Reads what one piece locates, if it is all of the object. */
static enum xctx_source piece_read(const struct place *place, const struct location *location, void *buffer,
                                   size_t size)
{
    const struct piece *piece = &location->pieces[0];

    if (location->failed != XCTX_SOURCE_SNAPSHOT)
        return location->failed;
    if (location->count != 1 || piece->bit_size != 0 || piece->bit_offset != 0)
        return XCTX_SOURCE_UNSUPPORTED;
    switch (piece->kind) {
    case PIECE_MEMORY: {
        xctx__trace_memory(place, piece->address, size);
        enum xctx_source source = xctx__memory_read(place->memory, MEMORY_STACK, piece->address, buffer, size);
        if (!xctx__source_has_value(source))
            source = xctx__memory_read(place->memory, MEMORY_STATIC, piece->address, buffer, size);
        return source;
    }
    case PIECE_REGISTER:
        xctx__trace_register(place, piece->reg);
        return xctx__register_read(place, piece->reg, buffer, size);
    case PIECE_VALUE:
        if (piece->byte_count < size)
            return XCTX_SOURCE_UNSUPPORTED;
        memcpy(buffer, piece->bytes, size);
        return piece->source == XCTX_SOURCE_LIVE ? XCTX_SOURCE_LIVE : XCTX_SOURCE_SNAPSHOT;
    case PIECE_NONE:
        return XCTX_SOURCE_OPTIMIZED_OUT;
    case PIECE_POINTER:
        break;
    }
    return XCTX_SOURCE_UNSUPPORTED;
}

/* Like xctx__number_type(), of what is behind typedefs and qualifiers, with enumerations as what they are made of, and
   pointers as numbers. */
static bool number_type(Dwarf_Die *variable, struct number *ret_type)
{
    Dwarf_Attribute attribute;
    Dwarf_Die type;

    if (!dwarf_formref_die(dwarf_attr_integrate(variable, DW_AT_type, &attribute), &type) ||
        dwarf_peel_type(&type, &type) != 0)
        return false;
    if (dwarf_tag(&type) == DW_TAG_pointer_type) {
        *ret_type = (struct number){.kind = NUMBER_UNSIGNED, .size = XCTX__GENERIC_SIZE};
        return true;
    }
    if (dwarf_tag(&type) == DW_TAG_enumeration_type &&
        (!dwarf_formref_die(dwarf_attr_integrate(&type, DW_AT_type, &attribute), &type) ||
         dwarf_peel_type(&type, &type) != 0))
        return false;
    return xctx__number_type(&type, ret_type);
}

enum xctx_source xctx__variable_number(const struct place *place, Dwarf_Die *variable, struct budget *budget,
                                       struct number *ret_number)
{
    struct location location;
    struct number type;
    Dwarf_Attribute attribute;
    uint8_t bytes[XCTX__NUMBER_SIZE] = {0};

    if (!number_type(variable, &type))
        return XCTX_SOURCE_UNSUPPORTED;
    if (!dwarf_attr_integrate(variable, DW_AT_location, &attribute) &&
        !dwarf_attr_integrate(variable, DW_AT_const_value, &attribute))
        return XCTX_SOURCE_OPTIMIZED_OUT;
    locate_within(place, &attribute, type.size, budget, &location);
    enum xctx_source source = piece_read(place, &location, bytes, type.size);
    if (xctx__source_has_value(source))
        *ret_number = xctx__number_of(&type, bytes);
    return source;
}

/* A number as the callers want it: fits. */
static enum xctx_source number_fit(enum xctx_source source, const struct number *number, int64_t *ret_number)
{
    if (!xctx__source_has_value(source))
        return source;
    if (number->kind == NUMBER_FLOAT || number->size > sizeof(*ret_number))
        return XCTX_SOURCE_UNSUPPORTED;
    *ret_number = (int64_t)xctx__number_signed(number);
    return XCTX_SOURCE_SNAPSHOT;
}

enum xctx_source xctx__number(const struct place *place, Dwarf_Attribute *attribute, int64_t *ret_number)
{
    struct budget budget = xctx__budget();
    struct evaluation evaluation;
    struct number number = {0};
    enum xctx_source source = XCTX_SOURCE_UNSUPPORTED;
    bool is_signed;
    Dwarf_Die die;

    if (!attribute)
        return XCTX_SOURCE_UNSUPPORTED;
    switch (class_of(attribute)) {
    case CLASS_CONSTANT:
        return constant_read(attribute, ret_number, &is_signed) ? XCTX_SOURCE_SNAPSHOT : XCTX_SOURCE_UNSUPPORTED;
    case CLASS_REFERENCE:
        if (dwarf_formref_die(attribute, &die))
            source = xctx__variable_number(place, &die, &budget, &number);
        break;
    case CLASS_EXPRESSION:
        xctx__evaluation_begin(&evaluation, place, &budget);
        start(&evaluation, attribute, 0);
        xctx__evaluate_attribute(&evaluation, attribute);
        source = xctx__evaluation_number(&evaluation, &number);
        break;
    default:
        break;
    }
    return number_fit(source, &number, ret_number);
}

enum xctx_source xctx__member_address(const struct place *place, Dwarf_Attribute *attribute, uint64_t base,
                                      uint64_t *ret_address)
{
    struct budget budget = xctx__budget();
    struct place object = *place;
    struct evaluation evaluation;
    struct number number = {0};
    int64_t offset;
    bool is_signed;

    object.has_object = true;
    object.object = base;
    if (class_of(attribute) == CLASS_CONSTANT) {
        if (!constant_read(attribute, &offset, &is_signed))
            return XCTX_SOURCE_UNSUPPORTED;
        *ret_address = base + (uint64_t)offset;
        return XCTX_SOURCE_SNAPSHOT;
    }
    xctx__evaluation_begin(&evaluation, &object, &budget);
    start(&evaluation, attribute, base);
    /* What is read there are the program's own tables: those that say where virtual bases are. */
    evaluation.global = true;
    xctx__evaluate_attribute(&evaluation, attribute);
    enum xctx_source source = xctx__evaluation_number(&evaluation, &number);
    if (number_fit(source, &number, &offset) != XCTX_SOURCE_SNAPSHOT)
        return xctx__source_has_value(source) ? XCTX_SOURCE_UNSUPPORTED : source;
    *ret_address = (uint64_t)offset;
    return XCTX_SOURCE_SNAPSHOT;
}
