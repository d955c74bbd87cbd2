/* SPDX-License-Identifier: MIT */
/*
 * See canonical.h. A parser that writes as it goes: of names, template arguments, types, and numbers. Expressions, and
 * what compilers make up ("<lambda(int)>"), are not understood.
 */
#include "canonical.h"

#include <stdint.h>
#include <string.h>

enum { NESTED = 64 }; /* types within types */

struct parser {
    const char *at;
    struct text *text;
    unsigned depth;
};

static bool parse_type(struct parser *parser);

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '_' || c == '$' ||
           (uint8_t)c >= 0x80;
}

static void skip_blanks(struct parser *parser)
{
    parser->at += strspn(parser->at, " ");
}

/* The name of a type of numbers that gcc names at length, which a text begins with; NULL: none. */
static const char *number_name(const char *text, size_t *ret_length)
{
    static const char *const names[][2] = {
        {"long long unsigned int", "unsigned long long"}, {"long long int", "long long"},
        {"long unsigned int", "unsigned long"},           {"long int", "long"},
        {"short unsigned int", "unsigned short"},         {"short int", "short"},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); ++i) {
        *ret_length = strlen(names[i][0]);
        if (strncmp(text, names[i][0], *ret_length) == 0 && !is_word(text[*ret_length]))
            return names[i][1];
    }
    return NULL;
}

/* Goes beyond a mark, if it is next. */
static bool take(struct parser *parser, const char *mark)
{
    skip_blanks(parser);
    size_t length = strlen(mark);

    if (strncmp(parser->at, mark, length) != 0 || (is_word(mark[0]) && is_word(parser->at[length])))
        return false;
    parser->at += length;
    return true;
}

static void put(struct parser *parser, const char *string)
{
    xctx__text_string(parser->text, string);
}

static bool ends_with(const struct parser *parser, char c)
{
    const struct text *text = parser->text;

    return text->size > 0 && text->bytes[text->size - 1] == c;
}

/* ---- arguments ---- */

/* "-1", "4u", "0UL". What it is of is written in small letters. */
static bool parse_number(struct parser *parser)
{
    if (take(parser, "-"))
        put(parser, "-");
    if (!is_digit(*parser->at))
        return false;
    for (; is_digit(*parser->at); ++parser->at)
        xctx__text_add(parser->text, parser->at, 1);
    for (; *parser->at == 'u' || *parser->at == 'U' || *parser->at == 'l' || *parser->at == 'L'; ++parser->at)
        put(parser, *parser->at == 'u' || *parser->at == 'U' ? "u" : "l");
    return !is_word(*parser->at) && *parser->at != '.';
}

/* "(Unit)1" */
static bool parse_cast(struct parser *parser)
{
    put(parser, "(");
    if (!parse_type(parser) || !take(parser, ")"))
        return false;
    put(parser, ")");
    skip_blanks(parser);
    return parse_number(parser);
}

/* A plain one, "'a'": it is written as a number. */
static bool parse_character(struct parser *parser)
{
    const char *at = parser->at;

    if (at[1] == '\\' || at[1] < ' ' || at[1] > '~' || at[2] != '\'')
        return false;
    xctx__text_format(parser->text, "(char)%d", at[1]);
    parser->at += 3;
    return true;
}

static bool parse_argument(struct parser *parser)
{
    skip_blanks(parser);
    if (is_digit(*parser->at) || *parser->at == '-')
        return parse_number(parser);
    if (*parser->at == '\'')
        return parse_character(parser);
    if (*parser->at == '(' && strncmp(parser->at, "(anonymous", 10) != 0) {
        ++parser->at;
        return parse_cast(parser);
    }
    return parse_type(parser);
}

static bool parse_arguments(struct parser *parser)
{
    bool first = true;

    put(parser, "<");
    while (!take(parser, ">")) {
        if (!first && !take(parser, ","))
            return false;
        if (!first)
            put(parser, ", ");
        if (!parse_argument(parser))
            return false;
        first = false;
    }
    if (ends_with(parser, '>'))
        put(parser, " ");
    put(parser, ">");
    return true;
}

/* ---- names ---- */

/* One part of a name, without its template arguments. */
static bool parse_word(struct parser *parser)
{
    static const char anonymous[] = "(anonymous namespace)";
    size_t length = 0;

    if (strncmp(parser->at, anonymous, sizeof(anonymous) - 1) == 0)
        length = sizeof(anonymous) - 1;
    else if (!is_digit(*parser->at))
        while (is_word(parser->at[length]))
            ++length;
    /* An operator can look like anything. */
    if (length == 0 || (length == 8 && strncmp(parser->at, "operator", 8) == 0))
        return false;
    xctx__text_add(parser->text, parser->at, length);
    parser->at += length;
    return true;
}

/* "ns::Class<int>::name" */
static bool parse_name(struct parser *parser)
{
    for (;;) {
        skip_blanks(parser);
        if (!parse_word(parser) || (take(parser, "<") && !parse_arguments(parser)))
            return false;
        if (!take(parser, "::"))
            return true;
        put(parser, "::");
    }
}

/* ---- types ---- */

/* The words that types of numbers are made of, how often each is there. */
struct words {
    unsigned is_unsigned, is_signed, is_long, is_short, is_int, is_char, is_double;
};

static bool take_word(struct parser *parser, struct words *words)
{
    struct {
        const char *word;
        unsigned *count;
    } all[] = {
        {"unsigned", &words->is_unsigned}, {"signed", &words->is_signed}, {"long", &words->is_long},
        {"short", &words->is_short},       {"int", &words->is_int},       {"char", &words->is_char},
        {"double", &words->is_double},
    };

    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); ++i) {
        if (take(parser, all[i].word)) {
            ++*all[i].count;
            return true;
        }
    }
    return false;
}

static bool put_words(struct parser *parser, const struct words *words)
{
    if (words->is_double)
        put(parser, words->is_long ? "long double" : "double");
    else if (words->is_char)
        put(parser, words->is_unsigned ? "unsigned char" : words->is_signed ? "signed char" : "char");
    else if (words->is_unsigned || words->is_signed || words->is_long || words->is_short || words->is_int) {
        put(parser, words->is_unsigned ? "unsigned " : "");
        put(parser, words->is_short       ? "short"
                    : words->is_long > 1  ? "long long"
                    : words->is_long == 1 ? "long"
                                          : "int");
    } else {
        return false;
    }
    return true;
}

static void put_qualifiers(struct parser *parser, bool is_const, bool is_volatile)
{
    put(parser, is_const ? " const" : "");
    put(parser, is_volatile ? " volatile" : "");
}

/* The type that declarators are put to, with its qualifiers, which are written behind it. */
static bool parse_base(struct parser *parser)
{
    struct words words = {0};
    bool is_const = false;
    bool is_volatile = false;
    bool named = false;
    bool number = false;

    for (;;) {
        if (take(parser, "const")) {
            is_const = true;
        } else if (take(parser, "volatile")) {
            is_volatile = true;
        } else if (!named && take_word(parser, &words)) {
            number = true;
        } else if (!named && !number && (is_word(*parser->at) || *parser->at == '(')) {
            if (!parse_name(parser))
                return false;
            named = true;
        } else {
            break;
        }
    }
    if (!named && !put_words(parser, &words))
        return false;
    put_qualifiers(parser, is_const, is_volatile);
    return true;
}

/* Behind the opening bracket. */
static bool parse_parameters(struct parser *parser)
{
    bool first = true;

    put(parser, "(");
    while (!take(parser, ")")) {
        if (!first && !take(parser, ","))
            return false;
        if (!first)
            put(parser, ", ");
        first = false;
        if (take(parser, "..."))
            put(parser, "...");
        else if (!parse_type(parser))
            return false;
    }
    put(parser, ")");
    return true;
}

/* "*", "&", "&&", with their qualifiers. */
static bool parse_pointer(struct parser *parser)
{
    bool is_const = false;
    bool is_volatile = false;

    if (take(parser, "*"))
        put(parser, "*");
    else if (take(parser, "&&"))
        put(parser, "&&");
    else if (take(parser, "&"))
        put(parser, "&");
    else
        return false;
    for (;;) {
        if (take(parser, "const"))
            is_const = true;
        else if (take(parser, "volatile"))
            is_volatile = true;
        else
            break;
    }
    put_qualifiers(parser, is_const, is_volatile);
    return true;
}

/* "(int)" of a function, "(*)(int)" and "(Class::*)(int)" of a pointer to one, "(&) [3]" of a reference to an array. */
static bool parse_brackets(struct parser *parser)
{
    const char *inside = parser->at + strspn(parser->at, " ");
    size_t scope = 0;

    put(parser, " ");
    while (is_word(inside[scope]) || inside[scope] == ':')
        ++scope;
    bool member = scope > 2 && inside[scope] == '*' && inside[scope - 1] == ':';
    if (*inside != '*' && *inside != '&' && !member)
        return parse_parameters(parser);
    put(parser, "(");
    if (member) {
        xctx__text_add(parser->text, inside, scope);
        parser->at = inside + scope;
    }
    while (parse_pointer(parser))
        continue;
    if (!take(parser, ")"))
        return false;
    put(parser, ")");
    return !take(parser, "(") || parse_parameters(parser);
}

static bool parse_type(struct parser *parser)
{
    if (parser->depth == NESTED || parser->text->full)
        return false;
    ++parser->depth;
    bool done = parse_base(parser);
    while (done && parse_pointer(parser))
        continue;
    if (done && take(parser, "("))
        done = parse_brackets(parser);
    bool array = false;
    while (done && take(parser, "[")) {
        put(parser, array ? "[" : " [");
        array = true;
        skip_blanks(parser);
        if (is_digit(*parser->at) && !parse_number(parser))
            return false;
        done = take(parser, "]");
        put(parser, "]");
    }
    --parser->depth;
    return done;
}

/* ---- the interface ---- */

/* Adds what `parse` makes of a text, if it understands all of it, else the text. */
static void rewrite(const char *from, bool (*parse)(struct parser *parser), struct text *text)
{
    struct text made = {.limit = XCTX__TEXT_LIMIT};
    struct parser parser = {.at = from, .text = &made};
    bool done = parse(&parser);

    skip_blanks(&parser);
    if (done && *parser.at == '\0' && !made.full && made.bytes)
        xctx__text_add(text, made.bytes, made.size);
    else
        xctx__text_string(text, from);
    xctx__text_destroy(&made);
}

void xctx__canonical_name(const char *name, struct text *text)
{
    size_t length;
    const char *number = number_name(name, &length);

    /* Of other names only template arguments can be written in several ways. */
    if (number && name[length] == '\0')
        xctx__text_string(text, number);
    else if (strchr(name, '<'))
        rewrite(name, parse_name, text);
    else
        xctx__text_string(text, name);
}

void xctx__canonical_numbers(const char *name, struct text *text)
{
    size_t length;

    for (const char *at = name; *at; at += length) {
        bool begins = at == name || !is_word(at[-1]);
        const char *number = begins ? number_name(at, &length) : NULL;
        if (!number)
            length = 1;
        xctx__text_add(text, number ? number : at, number ? strlen(number) : 1);
    }
}

static bool parse_function(struct parser *parser)
{
    return parse_name(parser) && take(parser, "(") && parse_parameters(parser);
}

void xctx__canonical_function(const char *function, struct text *text)
{
    rewrite(function, parse_function, text);
}
