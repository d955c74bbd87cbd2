/* SPDX-License-Identifier: MIT */
/*
 * Numbers and enumerations as text. Both processors are little-endian, and so is this.
 */
#include <dwarf.h>
#include <inttypes.h>
#include <string.h>

#include "render.h"

uint64_t xctx__render_word(const uint8_t *bytes, uint64_t size)
{
    uint64_t word = 0;

    memcpy(&word, bytes, size < sizeof(word) ? size : sizeof(word));
    return word;
}

/* ---- integers ---- */

static wide_bits wide(const uint8_t *bytes, uint64_t size, bool is_signed)
{
    wide_bits number = 0;

    memcpy(&number, bytes, size < sizeof(number) ? size : sizeof(number));
    if (is_signed && size > 0 && size < sizeof(number) && (bytes[size - 1] & 0x80))
        number |= ~(wide_bits)0 << (size * 8);
    return number;
}

static void render_integer(struct render *render, const uint8_t *bytes, uint64_t size, bool is_signed)
{
    wide_bits number = wide(bytes, size, is_signed);
    bool negative = is_signed && (number >> 127) != 0;
    char digits[48];
    size_t at = sizeof(digits);

    if (negative)
        number = -number;
    do {
        digits[--at] = (char)('0' + (int)(number % 10));
        number /= 10;
    } while (number != 0);
    if (negative)
        digits[--at] = '-';
    xctx__text_add(render->text, digits + at, sizeof(digits) - at);
}

/* ---- base types ---- */

/* What a base type is, in short. */
struct scalar {
    unsigned encoding; /* DW_ATE_* */
    const char *name;
};

static struct scalar scalar_of(Dwarf_Die *type)
{
    Dwarf_Attribute attribute;
    Dwarf_Word encoding = 0;

    if (dwarf_attr(type, DW_AT_encoding, &attribute) && dwarf_formudata(&attribute, &encoding) != 0)
        encoding = 0;
    return (struct scalar){.encoding = (unsigned)encoding, .name = dwarf_diename(type)};
}

bool xctx__render_base_supported(Dwarf_Die *type, uint64_t size)
{
    static const uint8_t zeros[32];
    struct scalar scalar = scalar_of(type);
    struct text scratch = {0};
    bool supported = false;

    switch (scalar.encoding) {
    case DW_ATE_boolean:
    case DW_ATE_signed:
    case DW_ATE_unsigned:
    case DW_ATE_signed_char:
    case DW_ATE_unsigned_char:
    case DW_ATE_UTF:
        return size > 0 && size <= 16;
    case DW_ATE_float:
        supported = size <= sizeof(zeros) && xctx__render_float(&scratch, zeros, size, scalar.name);
        break;
    case DW_ATE_complex_float:
        supported =
            size <= sizeof(zeros) && size % 2 == 0 && xctx__render_float(&scratch, zeros, size / 2, scalar.name);
        break;
    default:
        break;
    }
    xctx__text_destroy(&scratch);
    return supported;
}

static void render_bool(struct render *render, const struct value *value)
{
    uint64_t number = xctx__render_word(value->bytes, value->size);

    if (number <= 1)
        xctx__text_string(render->text, number ? "true" : "false");
    else
        render_integer(render, value->bytes, value->size, false);
}

void xctx__render_base(struct render *render, Dwarf_Die *type, const struct value *value)
{
    struct scalar scalar = scalar_of(type);
    struct text *text = render->text;

    if (xctx__render_missing(render, value, true))
        return;
    if (!xctx__render_base_supported(type, value->size)) {
        xctx__text_string(text, "<unsupported>");
        return;
    }
    switch (scalar.encoding) {
    case DW_ATE_boolean:
        render_bool(render, value);
        break;
    case DW_ATE_signed:
    case DW_ATE_signed_char:
        render_integer(render, value->bytes, value->size, true);
        break;
    case DW_ATE_float:
        xctx__render_float(text, value->bytes, value->size, scalar.name);
        break;
    case DW_ATE_complex_float:
        xctx__render_float(text, value->bytes, value->size / 2, scalar.name);
        xctx__text_string(text, " + ");
        xctx__render_float(text, value->bytes + value->size / 2, value->size / 2, scalar.name);
        xctx__text_string(text, "i");
        break;
    default:
        render_integer(render, value->bytes, value->size, false);
        break;
    }
}

/* ---- enumerations ---- */

static bool enumerator_value(Dwarf_Die *enumerator, int64_t *ret_value)
{
    Dwarf_Attribute attribute;
    Dwarf_Word number;
    Dwarf_Sword signed_number;

    if (!dwarf_attr(enumerator, DW_AT_const_value, &attribute))
        return false;
    /* data1 and the like have no sign: compilers use sdata for negative ones. */
    if (dwarf_whatform(&attribute) == DW_FORM_sdata || dwarf_whatform(&attribute) == DW_FORM_implicit_const) {
        if (dwarf_formsdata(&attribute, &signed_number) != 0)
            return false;
        *ret_value = signed_number;
        return true;
    }
    if (dwarf_formudata(&attribute, &number) != 0)
        return false;
    *ret_value = (int64_t)number;
    return true;
}

struct enumeration {
    Dwarf_Die type;
    uint64_t mask;  /* the bits that a value has */
    bool is_signed; /* one of them is negative */
    bool is_flags;  /* each is one bit, or none */
};

/* Calls `step` for each enumerator until it returns true. */
static bool enumerators(struct enumeration *enumeration, bool (*step)(void *user, Dwarf_Die *enumerator, int64_t value),
                        void *user)
{
    Dwarf_Die child;
    int64_t value;
    unsigned count = 0;

    for (int more = dwarf_child(&enumeration->type, &child); more == 0 && count < XCTX__MEMBERS;
         more = dwarf_siblingof(&child, &child), ++count) {
        if (dwarf_tag(&child) == DW_TAG_enumerator && enumerator_value(&child, &value) && step(user, &child, value))
            return true;
    }
    return false;
}

static bool classify_step(void *user, Dwarf_Die *enumerator, int64_t value)
{
    struct enumeration *enumeration = user;

    (void)enumerator;
    if (value < 0)
        enumeration->is_signed = true;
    if (value < 0 || __builtin_popcountll((unsigned long long)value) > 1)
        enumeration->is_flags = false;
    return false;
}

bool xctx__enumeration_is_signed(Dwarf_Die *type)
{
    struct enumeration enumeration = {.type = *type};

    enumerators(&enumeration, classify_step, &enumeration);
    return enumeration.is_signed;
}

struct enumerator_search {
    struct render *render;
    struct enumeration *enumeration;
    uint64_t value; /* what is left of it */
    bool first;
};

static void write_enumerator(struct enumerator_search *search, Dwarf_Die *enumerator)
{
    const char *name = dwarf_diename(enumerator);

    if (xctx__die_is_cxx(enumerator)) {
        /* The scopes of a plain enumeration are those of its enumerators; a scoped one is a scope itself. */
        xctx__type_scope(&search->enumeration->type, search->render->text);
        if (xctx__die_flag(&search->enumeration->type, DW_AT_enum_class)) {
            const char *type = xctx__die_name(&search->enumeration->type);
            xctx__text_string(search->render->text, type ? type : "");
            xctx__text_string(search->render->text, "::");
        }
    }
    xctx__text_string(search->render->text, name ? name : "");
}

static bool exact_step(void *user, Dwarf_Die *enumerator, int64_t value)
{
    struct enumerator_search *search = user;

    if (((uint64_t)value & search->enumeration->mask) != search->value)
        return false;
    write_enumerator(search, enumerator);
    return true;
}

static bool flag_step(void *user, Dwarf_Die *enumerator, int64_t value)
{
    struct enumerator_search *search = user;

    if ((search->value & (uint64_t)value) != 0) {
        xctx__text_string(search->render->text, search->first ? "(" : " | ");
        search->first = false;
        search->value &= ~(uint64_t)value;
        write_enumerator(search, enumerator);
    }
    return false;
}

void xctx__render_enumeration(struct render *render, Dwarf_Die *type, const struct value *value)
{
    struct enumeration enumeration = {.type = *type, .is_flags = true};

    if (xctx__render_missing(render, value, true))
        return;
    if (value->size == 0 || value->size > sizeof(uint64_t)) {
        xctx__text_string(render->text, "<unsupported>");
        return;
    }
    enumeration.mask = value->size == sizeof(uint64_t) ? UINT64_MAX : ((uint64_t)1 << (value->size * 8)) - 1;
    enumerators(&enumeration, classify_step, &enumeration);
    struct enumerator_search search = {.render = render, .enumeration = &enumeration, .first = true};
    search.value = xctx__render_word(value->bytes, value->size);
    if (enumerators(&enumeration, exact_step, &search))
        return;
    if (!enumeration.is_flags) {
        render_integer(render, value->bytes, value->size, enumeration.is_signed);
        return;
    }
    enumerators(&enumeration, flag_step, &search);
    if (search.value != 0)
        xctx__text_format(render->text, "%sunknown: 0x%" PRIx64 ")", search.first ? "(" : " | ", search.value);
    else
        xctx__text_string(render->text, search.first ? "0" : ")");
}
