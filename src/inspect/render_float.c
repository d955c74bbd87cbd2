/* SPDX-License-Identifier: MIT */
/*
 * Floating-point numbers as text: as many digits as tell any two numbers of the format apart, as printf's %g writes
 * them.
 *
 * The formats are decoded here and not by the compiler, which may not have them, and the digits are worked out here and
 * not by printf, which asks the locale for a decimal point and the processor how to round. A number is an integer times
 * a power of two, and that is done exactly, in base 10^9.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "render.h"

struct format {
    unsigned precision; /* bits of the significand, the leading one included */
    unsigned exponent;  /* bits */
    bool leading;       /* the leading bit is stored */
    int digits;         /* that tell any two numbers apart */
};

static const struct format half = {11, 5, false, 5};
static const struct format single = {24, 8, false, 9};
static const struct format twice = {53, 11, false, 17};
static const struct format quad = {113, 15, false, 36};
#if defined(__x86_64__)
static const struct format extended = {64, 15, true, 21};
#endif

static const struct format *format_of(uint64_t size, const char *name)
{
    if (name && (strstr(name, "bf16") || strstr(name, "bfloat") || strstr(name, "Decimal")))
        return NULL;
    switch (size) {
    case 2:
        return &half;
    case 4:
        return &single;
    case 8:
        return &twice;
#if defined(__x86_64__)
    case 10:
    case 12:
        return &extended;
    case 16:
        return name && strstr(name, "loat128") ? &quad : &extended;
#else
    case 16:
        return &quad;
#endif
    default:
        return NULL;
    }
}

/* A number taken apart: significand * 2 ^ power. */
struct parts {
    bool negative;
    bool special; /* infinite, or not a number */
    wide_bits significand;
    int power;
};

static struct parts take_apart(const struct format *format, const uint8_t *bytes, uint64_t size)
{
    wide_bits bits = 0;
    struct parts parts = {0};
    unsigned stored = format->precision - !format->leading;

    memcpy(&bits, bytes, size < sizeof(bits) ? size : sizeof(bits));
    unsigned mask = (1u << format->exponent) - 1;
    unsigned biased = (unsigned)(bits >> stored) & mask;
    parts.negative = (bits >> (stored + format->exponent)) & 1;
    parts.significand = bits & (((wide_bits)1 << stored) - 1);
    parts.special = biased == mask;
    if (!format->leading && biased != 0 && !parts.special)
        parts.significand |= (wide_bits)1 << stored;
    parts.power = (int)(biased ? biased : 1) - (int)(mask / 2) - (int)format->precision + 1;
    return parts;
}

static void write_special(struct text *text, const struct format *format, const struct parts *parts)
{
    wide_bits fraction = parts->significand;
    const char *sign = parts->negative ? "-" : "";

    if (format->leading)
        fraction &= ((wide_bits)1 << (format->precision - 1)) - 1;
    if (fraction == 0) {
        xctx__text_format(text, "%sinf", sign);
        return;
    }
    uint64_t high = (uint64_t)(parts->significand >> 64);
    uint64_t low = (uint64_t)parts->significand;
    if (high)
        xctx__text_format(text, "%snan(0x%" PRIx64 "%016" PRIx64 ")", sign, high, low);
    else
        xctx__text_format(text, "%snan(0x%" PRIx64 ")", sign, low);
}

/* ---- exact decimals ---- */

enum {
    BASE = 1000000000,
    BASE_DIGITS = 9,
    LIMBS = 1320, /* 5^16494 times 113 bits has 11563 digits, and no number of these formats has more */
    DIGITS_MOST = LIMBS * BASE_DIGITS,
};

/* A decimal integer: the least significant limb first. */
struct decimal {
    unsigned count;
    uint32_t limbs[LIMBS];
};

/* Returns false if it does not fit. */
static bool decimal_multiply(struct decimal *decimal, uint32_t factor)
{
    uint64_t carry = 0;

    for (unsigned i = 0; i < decimal->count; ++i) {
        carry += (uint64_t)decimal->limbs[i] * factor;
        decimal->limbs[i] = (uint32_t)(carry % BASE);
        carry /= BASE;
    }
    while (carry > 0) {
        if (decimal->count == LIMBS)
            return false;
        decimal->limbs[decimal->count++] = (uint32_t)(carry % BASE);
        carry /= BASE;
    }
    return true;
}

/* Multiplies by 2 ^ power, or by 5 ^ -power, which is the same but for the decimal point. */
static bool decimal_scale(struct decimal *decimal, int power)
{
    uint32_t base = power >= 0 ? 2 : 5;
    uint32_t chunk = power >= 0 ? 1u << 28 : 1220703125; /* 5 ^ 13 */
    int step = power >= 0 ? 28 : 13;
    int left = power >= 0 ? power : -power;
    bool fits = true;

    for (; left >= step && fits; left -= step)
        fits = decimal_multiply(decimal, chunk);
    for (; left > 0 && fits; --left)
        fits = decimal_multiply(decimal, base);
    return fits;
}

/* Rounds a string of digits to `digits` of them, to nearest, ties to even. Returns whether that made it one longer
   (then it is a one and zeros). */
static bool round_digits(char *text, size_t length, size_t digits)
{
    if (length <= digits)
        return false;
    bool up = text[digits] > '5';
    if (text[digits] == '5') {
        up = (text[digits - 1] - '0') % 2 == 1;
        for (size_t i = digits + 1; i < length; ++i)
            up = up || text[i] != '0';
    }
    for (size_t i = digits; up && i-- > 0;) {
        up = text[i] == '9';
        text[i] = (char)(up ? '0' : text[i] + 1);
    }
    if (up)
        text[0] = '1';
    return up;
}

/* As %g does: `text` holds the significant digits, `exponent` is that of the first. */
static void write_general(struct text *text, char *digits, size_t count, int exponent, int precision)
{
    while (count > 1 && digits[count - 1] == '0')
        --count;
    if (exponent < -4 || exponent >= precision) {
        xctx__text_add(text, digits, 1);
        if (count > 1)
            xctx__text_format(text, ".%.*s", (int)count - 1, digits + 1);
        xctx__text_format(text, "e%c%02d", exponent < 0 ? '-' : '+', exponent < 0 ? -exponent : exponent);
    } else if (exponent < 0) {
        xctx__text_format(text, "0.%.*s%.*s", -exponent - 1, "0000", (int)count, digits);
    } else {
        size_t whole = (size_t)exponent + 1;
        for (size_t i = 0; i < whole; ++i)
            xctx__text_add(text, i < count ? digits + i : "0", 1);
        if (count > whole)
            xctx__text_format(text, ".%.*s", (int)(count - whole), digits + whole);
    }
}

/* Writes a number exactly, to that many digits. About 18 KiB of stack. */
static bool write_exact(struct text *text, const struct parts *parts, int precision)
{
    struct decimal decimal = {0};
    char digits[DIGITS_MOST + 1];
    wide_bits left = parts->significand;
    size_t length = 0;

    if (parts->negative)
        xctx__text_string(text, "-");
    if (left == 0) {
        xctx__text_string(text, "0");
        return true;
    }
    for (; left > 0; left /= BASE)
        decimal.limbs[decimal.count++] = (uint32_t)(left % BASE);
    if (!decimal_scale(&decimal, parts->power))
        return false;
    for (unsigned i = decimal.count; i-- > 0;) {
        char limb[BASE_DIGITS + 2];
        int written = snprintf(limb, sizeof(limb), length ? "%09" PRIu32 : "%" PRIu32, decimal.limbs[i]);
        memcpy(digits + length, limb, (size_t)written);
        length += (size_t)written;
    }
    int exponent = (int)length - 1 + (parts->power < 0 ? parts->power : 0);
    exponent += round_digits(digits, length, (size_t)precision);
    write_general(text, digits, length < (size_t)precision ? length : (size_t)precision, exponent, precision);
    return true;
}

bool xctx__render_float(struct text *text, const uint8_t *bytes, uint64_t size, const char *name)
{
    const struct format *format = format_of(size, name);

    if (!format)
        return false;
    struct parts parts = take_apart(format, bytes, size);
    if (parts.special) {
        write_special(text, format, &parts);
        return true;
    }
    return write_exact(text, &parts, format->digits);
}
