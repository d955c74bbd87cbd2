/* SPDX-License-Identifier: MIT */
/*
 * Characters and strings as text.
 *
 * Strings are UTF-8, UTF-16 or UTF-32, and so is what is written: characters that can be printed stand for themselves,
 * as with gdb in a UTF-8 locale; other ones, and bytes that are no characters, become escapes. The locale of the
 * process has no say in it.
 *
 * A string is written in groups: "text", 'c' <repeats 20 times>, <incomplete sequence \303>.
 */
#include <dwarf.h>
#include <inttypes.h>
#include <locale.h>
#include <string.h>
#include <wctype.h>

#include "render.h"

/* ---- which types are characters ---- */

static bool is_wide_name(const char *name, struct character *character)
{
    static const struct {
        const char *name;
        char prefix;
    } names[] = {{"wchar_t", 'L'}, {"char16_t", 'u'}, {"char32_t", 'U'}};

    for (size_t i = 0; name && i < sizeof(names) / sizeof(names[0]); ++i) {
        if (strcmp(name, names[i].name) == 0) {
            character->prefix = names[i].prefix;
            return true;
        }
    }
    return false;
}

bool xctx__render_is_character(Dwarf_Die *type, struct character *ret_character)
{
    Dwarf_Attribute attribute;
    Dwarf_Die current = *type;
    Dwarf_Word encoding = 0;
    bool wide = false;

    *ret_character = (struct character){0};
    for (unsigned steps = 0; steps < XCTX__TYPE_DEPTH && dwarf_tag(&current) != DW_TAG_base_type; ++steps) {
        Dwarf_Die next;
        int tag = dwarf_tag(&current);
        if (tag != DW_TAG_typedef && tag != DW_TAG_template_alias && !xctx__tag_is_qualifier(tag))
            return false;
        /* wchar_t is a name for a number, in C. */
        if (!wide && tag == DW_TAG_typedef)
            wide = is_wide_name(dwarf_diename(&current), ret_character);
        if (!xctx__type_of(&current, &next))
            return false;
        current = next;
    }
    if (dwarf_tag(&current) != DW_TAG_base_type || !dwarf_attr(&current, DW_AT_encoding, &attribute) ||
        dwarf_formudata(&attribute, &encoding) != 0)
        return false;
    int size = dwarf_bytesize(&current);
    ret_character->width = size > 0 ? (unsigned)size : 0;
    switch (encoding) {
    case DW_ATE_signed:
    case DW_ATE_unsigned:
    case DW_ATE_signed_char:
    case DW_ATE_unsigned_char:
        break;
    case DW_ATE_UTF:
        ret_character->prefix = (char)(size == 2 ? 'u' : size == 4 ? 'U' : 0);
        return size == 1 || size == 2 || size == 4;
    default:
        return false;
    }
    if (size == 1)
        return true;
    return (wide || is_wide_name(dwarf_diename(&current), ret_character)) && (size == 2 || size == 4);
}

/* ---- what can be printed ---- */

static bool is_printable(uint32_t code)
{
    static locale_t locale;
    static bool looked;

    if (code < 0x80)
        return code >= 0x20 && code != 0x7f;
    /* With the decode lock held. Kept for the rest of the process. */
    if (!looked) {
        locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        looked = true;
    }
    return locale && iswprint_l((wint_t)code, locale);
}

/* ---- taking strings apart ---- */

enum unit_kind {
    UNIT_CHARACTER,
    UNIT_INVALID,    /* bytes that are no character */
    UNIT_INCOMPLETE, /* the beginning of one, at the end of the string */
    UNIT_END,
};

struct unit {
    enum unit_kind kind;
    uint32_t code;
    const uint8_t *bytes;
    unsigned size; /* in bytes */
};

static bool is_code_point(uint32_t code)
{
    return code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
}

/* How many bytes a UTF-8 sequence that begins like this has; 0: none does. */
static unsigned utf8_length(uint8_t first)
{
    return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

static struct unit next_utf8(const uint8_t *bytes, const uint8_t *end)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    struct unit unit = {.kind = UNIT_INVALID, .bytes = bytes, .size = 1};
    unsigned length = utf8_length(*bytes);
    uint32_t code = length == 1 ? *bytes : length == 0 ? 0 : *bytes & (0x7fu >> length);

    for (unsigned i = 1; i < length; ++i) {
        if (bytes + i == end) {
            unit.kind = UNIT_INCOMPLETE;
            unit.size = i;
            return unit;
        }
        if ((bytes[i] & 0xc0) != 0x80)
            return unit;
        code = code << 6 | (bytes[i] & 0x3f);
    }
    if (length > 0 && code >= least[length] && is_code_point(code)) {
        unit.kind = UNIT_CHARACTER;
        unit.code = code;
        unit.size = length;
    }
    return unit;
}

static struct unit next_utf16(const uint8_t *bytes, const uint8_t *end)
{
    struct unit unit = {.kind = UNIT_INVALID, .bytes = bytes, .size = 2};
    uint32_t first = (uint32_t)xctx__render_word(bytes, 2);

    if (is_code_point(first)) {
        unit.kind = UNIT_CHARACTER;
        unit.code = first;
        return unit;
    }
    if (first >= 0xdc00)
        return unit;
    if (end - bytes < 4) {
        unit.kind = UNIT_INCOMPLETE;
        return unit;
    }
    uint32_t second = (uint32_t)xctx__render_word(bytes + 2, 2);
    if (second >= 0xdc00 && second <= 0xdfff) {
        unit.kind = UNIT_CHARACTER;
        unit.code = 0x10000 + ((first & 0x3ff) << 10 | (second & 0x3ff));
        unit.size = 4;
    }
    return unit;
}

static struct unit next_unit(unsigned width, const uint8_t *bytes, const uint8_t *end)
{
    if ((size_t)(end - bytes) < width)
        return (struct unit){.kind = UNIT_END, .bytes = bytes};
    if (width == 1)
        return next_utf8(bytes, end);
    if (width == 2)
        return next_utf16(bytes, end);
    struct unit unit = {.kind = UNIT_INVALID, .code = (uint32_t)xctx__render_word(bytes, 4), .bytes = bytes, .size = 4};
    if (is_code_point(unit.code))
        unit.kind = UNIT_CHARACTER;
    return unit;
}

static bool same_unit(const struct unit *one, const struct unit *other)
{
    return one->kind == other->kind && one->kind != UNIT_END && one->size == other->size &&
           memcmp(one->bytes, other->bytes, one->size) == 0;
}

/* ---- writing ---- */

struct writer {
    struct text *text;
    unsigned width;
    char quote;
    bool hex; /* the last was a hexadecimal escape: a digit after it would belong to it */
};

static void write_code(struct text *text, uint32_t code)
{
    char bytes[4];
    size_t size = 0;

    if (code < 0x80) {
        bytes[size++] = (char)code;
    } else if (code < 0x800) {
        bytes[size++] = (char)(0xc0 | code >> 6);
    } else if (code < 0x10000) {
        bytes[size++] = (char)(0xe0 | code >> 12);
        bytes[size++] = (char)(0x80 | (code >> 6 & 0x3f));
    } else {
        bytes[size++] = (char)(0xf0 | code >> 18);
        bytes[size++] = (char)(0x80 | (code >> 12 & 0x3f));
        bytes[size++] = (char)(0x80 | (code >> 6 & 0x3f));
    }
    if (code >= 0x80)
        bytes[size++] = (char)(0x80 | (code & 0x3f));
    xctx__text_add(text, bytes, size);
}

static void write_escape(struct writer *writer, const struct unit *unit)
{
    for (unsigned i = 0; i + writer->width <= unit->size; i += writer->width) {
        uint64_t word = xctx__render_word(unit->bytes + i, writer->width);
        writer->hex = word > 0777;
        xctx__text_format(writer->text, writer->hex ? "\\x%" PRIx64 : "\\%.3" PRIo64, word);
    }
}

static void write_unit(struct writer *writer, const struct unit *unit)
{
    static const char named[] = "\a\b\f\n\r\t\v";
    static const char letters[] = "abfnrtv";
    bool after_hex = writer->hex;
    const char *found = NULL;

    writer->hex = false;
    if (unit->kind == UNIT_CHARACTER && unit->code != 0 && unit->code < 0x80)
        found = strchr(named, (int)unit->code);
    if (found) {
        xctx__text_format(writer->text, "\\%c", letters[found - named]);
        return;
    }
    bool digit = unit->code >= '0' && unit->code <= '9';
    if (unit->kind != UNIT_CHARACTER || !is_printable(unit->code) || (after_hex && digit)) {
        write_escape(writer, unit);
        return;
    }
    if (unit->code == (uint32_t)writer->quote || unit->code == '\\')
        xctx__text_string(writer->text, "\\");
    write_code(writer->text, unit->code);
}

void xctx__render_character(struct render *render, const struct character *character, const uint8_t *bytes)
{
    struct writer writer = {.text = render->text, .width = character->width, .quote = '\''};
    struct unit unit = next_unit(character->width, bytes, bytes + character->width);

    if (character->prefix)
        xctx__text_add(render->text, &character->prefix, 1);
    xctx__text_string(render->text, "'");
    write_unit(&writer, &unit);
    xctx__text_string(render->text, "'");
}

/* ---- groups ---- */

enum group {
    GROUP_NONE,
    GROUP_QUOTED,
    GROUP_REPEATED,
    GROUP_INCOMPLETE,
};

static void begin_group(struct writer *writer, enum group last, enum group next)
{
    if (last == next && next == GROUP_QUOTED)
        return;
    if (last == GROUP_QUOTED)
        xctx__text_string(writer->text, "\"");
    if (last != GROUP_NONE)
        xctx__text_string(writer->text, ", ");
    if (next == GROUP_QUOTED)
        xctx__text_string(writer->text, "\"");
    writer->hex = false;
}

/* Writes a unit that is there `repeats` times. Returns the group that it was written in. */
static enum group write_group(struct writer *writer, enum group last, const struct unit *unit, uint64_t repeats)
{
    enum group group = unit->kind == UNIT_INCOMPLETE ? GROUP_INCOMPLETE
                       : repeats > XCTX__REPEATS     ? GROUP_REPEATED
                                                     : GROUP_QUOTED;

    begin_group(writer, last, group);
    switch (group) {
    case GROUP_QUOTED:
        writer->quote = '"';
        for (uint64_t i = 0; i < repeats; ++i)
            write_unit(writer, unit);
        break;
    case GROUP_REPEATED:
        writer->quote = '\'';
        xctx__text_string(writer->text, "'");
        write_unit(writer, unit);
        xctx__text_format(writer->text, "' <repeats %" PRIu64 " times>", repeats);
        break;
    default:
        xctx__text_string(writer->text, "<incomplete sequence ");
        write_escape(writer, unit);
        xctx__text_string(writer->text, ">");
        break;
    }
    return group;
}

void xctx__render_string(struct render *render, const struct character *character, const uint8_t *bytes, uint64_t count,
                         bool ellipsis)
{
    struct writer writer = {.text = render->text, .width = character->width};
    enum group group = GROUP_NONE;
    const uint8_t *end = bytes + count * character->width;
    uint64_t written = 0;

    /* The character that ends a string is not written. */
    if (!ellipsis && count > 0 && xctx__render_word(end - character->width, character->width) == 0)
        end -= character->width;
    if (character->prefix)
        xctx__text_add(render->text, &character->prefix, 1);
    while (written < render->elements && !render->text->full) {
        struct unit unit = next_unit(character->width, bytes, end);
        if (unit.kind == UNIT_END)
            break;
        struct unit next = unit;
        uint64_t repeats = 0;
        for (; same_unit(&unit, &next); ++repeats)
            next = next_unit(character->width, next.bytes + next.size, end);
        group = write_group(&writer, group, &unit, repeats);
        bytes = next.bytes;
        written += repeats;
    }
    if (group == GROUP_NONE)
        xctx__text_string(render->text, "\"");
    if (group == GROUP_QUOTED || group == GROUP_NONE)
        xctx__text_string(render->text, "\"");
    if (ellipsis || bytes + character->width <= end)
        xctx__text_string(render->text, "...");
}

/* ---- strings that pointers lead to ---- */

/* How many characters can be read at an address, up to the one that ends the string. */
struct found {
    uint8_t *bytes;
    uint64_t count;
    bool ended;
    bool failed; /* what is behind them cannot be read */
    bool more;   /* there are more, which are not written */
};

/* Reads piece by piece, each of whole characters. */
static bool find_string(struct render *render, const struct character *character, uint64_t address, struct found *found)
{
    enum { PIECE = 64 };
    uint64_t limit = (uint64_t)render->elements * character->width;
    struct value piece;

    *found = (struct found){.bytes = xctx__arena_allocate(render->place->arena, limit)};
    if (!found->bytes)
        return false;
    for (uint64_t read = 0, step = PIECE; read < limit && !found->ended;) {
        uint64_t size = step < limit - read ? step : limit - read;
        if (!xctx__render_fetch(render, address + read, size, MEMORY_POINTED, &piece))
            return false;
        if (piece.fetched < size || xctx__value_state(&piece, 0, size) != BYTE_KNOWN) {
            if (step == character->width) {
                found->failed = true;
                return true;
            }
            /* Then by single characters, up to the first that cannot be read. */
            step = character->width;
            continue;
        }
        memcpy(found->bytes + read, piece.bytes, size);
        read += size;
        for (; (found->count + 1) * character->width <= read && !found->ended; ++found->count)
            found->ended = xctx__render_word(found->bytes + found->count * character->width, character->width) == 0;
    }
    if (found->ended)
        return true;
    if (!xctx__render_fetch(render, address + limit, character->width, MEMORY_POINTED, &piece))
        return false;
    found->more = xctx__value_state(&piece, 0, character->width) == BYTE_KNOWN &&
                  xctx__render_word(piece.bytes, character->width) != 0;
    return true;
}

void xctx__render_string_at(struct render *render, const struct character *character, uint64_t address)
{
    struct found found;

    if (!find_string(render, character, address, &found))
        return;
    if (!found.failed || found.count > 0)
        xctx__render_string(render, character, found.bytes, found.count, found.more);
    if (found.failed)
        xctx__render_no_memory(render, address + found.count * character->width, character->width);
}
