/* SPDX-License-Identifier: MIT */
/*
 * Arithmetic of DWARF expressions: see evaluate_internal.h.
 *
 * Integers are computed in 128 bits and cut to the size of their type, so that nothing here overflows. Numbers of the
 * generic type are taken as signed where that matters, but for DW_OP_mod (DWARF 5, section 2.5.1.4). They may meet a
 * typed number of the same size, which compilers let happen, in operations whose result does not depend on the sign.
 *
 * Floating-point numbers are those of the machine: float and double. Wider ones are carried around, and not computed
 * with.
 */
#include <dwarf.h>
#include <string.h>

#include "evaluate_internal.h"

_Static_assert(sizeof(float) == 4 && sizeof(double) == 8, "as DWARF calls them");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low bytes of a number come first");

static wide cut(wide bits, unsigned size)
{
    return size >= XCTX__NUMBER_SIZE ? bits : bits & (((wide)1 << 8 * size) - 1);
}

signed_wide xctx__number_signed(const struct number *number)
{
    wide sign = (wide)1 << (8 * number->size - 1);

    if (number->kind == NUMBER_UNSIGNED || !(number->bits & sign))
        return (signed_wide)number->bits;
    return (signed_wide)(number->bits | ~(sign - 1));
}

bool xctx__number_type(Dwarf_Die *type, struct number *ret_type)
{
    Dwarf_Attribute attribute;
    Dwarf_Word encoding;
    int size = dwarf_bytesize(type);

    if (dwarf_tag(type) != DW_TAG_base_type || size < 1 || size > XCTX__NUMBER_SIZE ||
        dwarf_formudata(dwarf_attr(type, DW_AT_encoding, &attribute), &encoding) != 0)
        return false;
    *ret_type = (struct number){.size = (uint8_t)size};
    switch (encoding) {
    case DW_ATE_address:
    case DW_ATE_boolean:
    case DW_ATE_unsigned:
    case DW_ATE_unsigned_char:
    case DW_ATE_UTF:
        ret_type->kind = NUMBER_UNSIGNED;
        return true;
    case DW_ATE_signed:
    case DW_ATE_signed_char:
        ret_type->kind = NUMBER_SIGNED;
        return true;
    case DW_ATE_float:
        ret_type->kind = NUMBER_FLOAT;
        return true;
    default:
        return false;
    }
}

struct number xctx__number_of(const struct number *type, const void *bytes)
{
    struct number number = *type;

    number.bits = 0;
    memcpy(&number.bits, bytes, number.size);
    return number;
}

/* Whether it is a float or double, and as what. */
static bool to_double(const struct number *number, double *ret_value)
{
    float single;

    switch (number->size) {
    case sizeof(single):
        memcpy(&single, &number->bits, sizeof(single));
        *ret_value = (double)single;
        return true;
    case sizeof(double):
        memcpy(ret_value, &number->bits, sizeof(double));
        return true;
    default:
        return false;
    }
}

/* Rounds to the number's size. For +, -, * and / of floats, rounding to double first changes nothing. */
static bool from_double(double value, struct number *number)
{
    float single = (float)value;

    number->bits = 0;
    switch (number->size) {
    case sizeof(single):
        memcpy(&number->bits, &single, sizeof(single));
        return true;
    case sizeof(double):
        memcpy(&number->bits, &value, sizeof(value));
        return true;
    default:
        return false;
    }
}

static bool float_unary(unsigned operation, struct number *number)
{
    double value;

    if (!to_double(number, &value))
        return false;
    wide sign = (wide)1 << (8 * number->size - 1);
    if (operation == DW_OP_neg)
        number->bits ^= sign;
    else if (operation == DW_OP_abs)
        number->bits &= ~sign;
    else
        return false;
    return true;
}

bool xctx__number_unary(unsigned operation, struct number *number)
{
    if (number->kind == NUMBER_FLOAT)
        return float_unary(operation, number);
    switch (operation) {
    case DW_OP_abs:
        if (xctx__number_signed(number) < 0)
            number->bits = cut(-number->bits, number->size);
        return true;
    case DW_OP_neg:
        number->bits = cut(-number->bits, number->size);
        return true;
    case DW_OP_not:
        number->bits = cut(~number->bits, number->size);
        return true;
    default:
        return false;
    }
}

static bool compare(unsigned operation, bool less, bool equal, bool ordered, struct number *ret_number)
{
    bool holds;

    switch (operation) {
    case DW_OP_eq:
        holds = equal;
        break;
    case DW_OP_ne:
        holds = !equal;
        break;
    case DW_OP_lt:
        holds = less;
        break;
    case DW_OP_le:
        holds = less || equal;
        break;
    case DW_OP_gt:
        holds = ordered && !less && !equal;
        break;
    case DW_OP_ge:
        holds = ordered && !less;
        break;
    default:
        return false;
    }
    *ret_number = xctx__number_generic(holds);
    return true;
}

static bool float_binary(unsigned operation, const struct number *left, const struct number *right,
                         struct number *ret_number)
{
    double a, b;

    if (!to_double(left, &a) || !to_double(right, &b))
        return false;
    *ret_number = *left;
    switch (operation) {
    case DW_OP_plus:
        return from_double(a + b, ret_number);
    case DW_OP_minus:
        return from_double(a - b, ret_number);
    case DW_OP_mul:
        return from_double(a * b, ret_number);
    case DW_OP_div:
        return b != 0 && from_double(a / b, ret_number);
    default:
        return compare(operation, a < b, a == b, a == a && b == b, ret_number);
    }
}

static bool shift(unsigned operation, const struct number *left, const struct number *right, struct number *ret_number)
{
    wide count = right->bits;
    unsigned width = 8u * left->size;

    if ((right->kind == NUMBER_SIGNED && xctx__number_signed(right) < 0) || count >= width)
        return false;
    *ret_number = *left;
    if (operation == DW_OP_shl) {
        ret_number->bits = cut(left->bits << count, left->size);
    } else if (operation == DW_OP_shr) {
        ret_number->bits = left->bits >> count;
    } else {
        /* Arithmetic, whatever the type: that is what the operation is for. */
        struct number value = *left;
        value.kind = NUMBER_SIGNED;
        ret_number->bits = cut((wide)(xctx__number_signed(&value) >> count), left->size);
    }
    return true;
}

static bool divide(unsigned operation, const struct number *left, const struct number *right, struct number *ret_number)
{
    bool is_unsigned = left->kind == NUMBER_UNSIGNED || (left->kind == NUMBER_GENERIC && operation == DW_OP_mod);

    if (right->bits == 0)
        return false;
    *ret_number = *left;
    if (is_unsigned) {
        ret_number->bits = operation == DW_OP_div ? left->bits / right->bits : left->bits % right->bits;
        return true;
    }
    signed_wide a = xctx__number_signed(left);
    signed_wide b = xctx__number_signed(right);
    if (b == -1) /* the smallest number divided by -1 is none */
        ret_number->bits = operation == DW_OP_div ? cut(-(wide)a, left->size) : 0;
    else
        ret_number->bits = cut((wide)(operation == DW_OP_div ? a / b : a % b), left->size);
    return b != -1 || a != (signed_wide)((wide)1 << 127);
}

/* Operations whose result has the same bits for signed and unsigned operands. */
static bool is_modular(unsigned operation)
{
    switch (operation) {
    case DW_OP_and:
    case DW_OP_or:
    case DW_OP_xor:
    case DW_OP_plus:
    case DW_OP_minus:
    case DW_OP_mul:
    case DW_OP_eq:
    case DW_OP_ne:
        return true;
    default:
        return false;
    }
}

static bool integer_binary(unsigned operation, const struct number *left, const struct number *right,
                           struct number *ret_number)
{
    wide bits;

    switch (operation) {
    case DW_OP_and:
        bits = left->bits & right->bits;
        break;
    case DW_OP_or:
        bits = left->bits | right->bits;
        break;
    case DW_OP_xor:
        bits = left->bits ^ right->bits;
        break;
    case DW_OP_plus:
        bits = left->bits + right->bits;
        break;
    case DW_OP_minus:
        bits = left->bits - right->bits;
        break;
    case DW_OP_mul:
        bits = left->bits * right->bits;
        break;
    case DW_OP_div:
    case DW_OP_mod:
        return divide(operation, left, right, ret_number);
    default:
        if (left->kind == NUMBER_UNSIGNED)
            return compare(operation, left->bits < right->bits, left->bits == right->bits, true, ret_number);
        return compare(operation, xctx__number_signed(left) < xctx__number_signed(right), left->bits == right->bits,
                       true, ret_number);
    }
    *ret_number = *left;
    ret_number->bits = cut(bits, left->size);
    return true;
}

bool xctx__number_binary(unsigned operation, const struct number *left, const struct number *right,
                         struct number *ret_number)
{
    struct number typed = *left;

    if (operation == DW_OP_shl || operation == DW_OP_shr || operation == DW_OP_shra) {
        return left->kind != NUMBER_FLOAT && right->kind != NUMBER_FLOAT && shift(operation, left, right, ret_number);
    }
    if (left->size != right->size)
        return false;
    if (left->kind != right->kind) {
        bool generic = left->kind == NUMBER_GENERIC || right->kind == NUMBER_GENERIC;
        bool floating = left->kind == NUMBER_FLOAT || right->kind == NUMBER_FLOAT;
        bool is_unsigned = left->kind == NUMBER_UNSIGNED || right->kind == NUMBER_UNSIGNED;
        if (!generic || floating || (is_unsigned && !is_modular(operation)))
            return false;
        typed.kind = is_unsigned ? NUMBER_UNSIGNED : NUMBER_SIGNED;
    }
    if (left->kind == NUMBER_FLOAT)
        return float_binary(operation, left, right, ret_number);
    return integer_binary(operation, &typed, right, ret_number);
}

static bool float_to_integer(const struct number *type, struct number *number)
{
    bool is_signed = type->kind != NUMBER_UNSIGNED;
    double limit = is_signed ? 0.5 : 1.0;
    double value;

    for (int i = 0; i < 8 * type->size; i++)
        limit *= 2;
    if (!to_double(number, &value) || !(is_signed ? value >= -limit : value > -1.0) || !(value < limit))
        return false;
    wide bits = value < 0 ? -(wide)-value : (wide)value;
    *number = *type;
    number->bits = cut(bits, type->size);
    return true;
}

bool xctx__number_convert(const struct number *type, struct number *number)
{
    struct number result = *type;

    if (number->kind == type->kind && number->size == type->size)
        return true;
    if (number->kind == NUMBER_FLOAT && type->kind == NUMBER_FLOAT) {
        double value;
        if (!to_double(number, &value) || !from_double(value, &result))
            return false;
        *number = result;
        return true;
    }
    if (number->kind == NUMBER_FLOAT)
        return float_to_integer(type, number);
    /* The generic type does not say what its highest bit means. */
    bool vague = number->kind == NUMBER_GENERIC && number->bits >> 63;
    if (vague && (type->kind == NUMBER_FLOAT || type->size > number->size))
        return false;
    signed_wide value = xctx__number_signed(number);
    if (type->kind != NUMBER_FLOAT) {
        result.bits = cut((wide)value, type->size);
    } else if (type->size == sizeof(float)) {
        float single = number->kind == NUMBER_UNSIGNED ? (float)number->bits : (float)value;
        result.bits = 0;
        memcpy(&result.bits, &single, sizeof(single));
    } else if (!from_double(number->kind == NUMBER_UNSIGNED ? (double)number->bits : (double)value, &result)) {
        return false;
    }
    *number = result;
    return true;
}

bool xctx__number_reinterpret(const struct number *type, struct number *number)
{
    if (type->size != number->size)
        return false;
    number->kind = type->kind;
    return true;
}
