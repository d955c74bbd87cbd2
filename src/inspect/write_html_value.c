/* SPDX-License-Identifier: MIT */
/*
 * Values as lists that fold out: "{a = 1, b = {x = 2}}" has two members, and the second has one.
 *
 * What is read here is what gdb's users see, not a language: a value may hold any bytes. So nothing is believed. Where
 * the braces do not match, or a limit is reached, the text is written as it is. Nothing of it is ever left out.
 */
#include <string.h>

#include "write_html.h"

enum {
    DEPTH = 24,    /* lists in each other */
    NODES = 20000, /* of one value */
    SHORT = 48,    /* bytes of a value that is easier to read on one line */
    PREVIEW = 100, /* bytes of a value that are shown where it is folded */
};

struct tree {
    struct sink *sink;
    const char *text;
    unsigned nodes;
};

/* The end of a quoted part that begins at `at`, or `to` if it has none. */
static size_t skip_quotes(const char *text, size_t at, size_t to)
{
    char quote = text[at];

    for (at++; at < to && text[at] != quote; at++) {
        if (text[at] == '\\' && at + 1 < to)
            at++;
    }
    return at < to ? at + 1 : to;
}

static bool is_quote(char c)
{
    return c == '"' || c == '\'';
}

/* Where the brace at `at` is closed, behind that; 0: nowhere before `to`. */
static size_t match_brace(const char *text, size_t at, size_t to)
{
    size_t open = 0;

    while (at < to) {
        if (is_quote(text[at])) {
            at = skip_quotes(text, at, to);
            continue;
        }
        if (text[at] == '{')
            open++;
        else if (text[at] == '}' && --open == 0)
            return at + 1;
        at++;
    }
    return 0;
}

/* A comma that is part of a string: "abc", '\000' <repeats 9 times>. In an array, whose elements have no names, a
   string after a string is the next element. */
static bool is_within_string(const char *text, size_t from, size_t comma, size_t to, bool named)
{
    bool quoted = memchr(text + from, '"', comma - from) || memchr(text + from, '\'', comma - from);

    if (comma + 2 >= to || text[comma + 1] != ' ')
        return false;
    return quoted && (text[comma + 2] == '\'' || (named && text[comma + 2] == '"'));
}

/* The end of the member that begins at `from`: at a comma, or `to`. `ret_name` receives how many bytes its name has, 0
   for none. Commas in parentheses and in the angle brackets of symbols do not end it. */
static size_t member_end(const char *text, size_t from, size_t to, size_t *ret_name)
{
    size_t braces = 0, parentheses = 0, angles = 0, at = from;

    *ret_name = 0;
    while (at < to) {
        char c = text[at];
        bool outside = braces == 0 && parentheses == 0 && angles == 0;
        if (is_quote(c)) {
            at = skip_quotes(text, at, to);
            continue;
        }
        if (c == ',' && outside && !is_within_string(text, from, at, to, *ret_name > 0))
            return at;
        if (c == '=' && outside && *ret_name == 0 && at > from + 1 && text[at - 1] == ' ')
            *ret_name = at - 1 - from;
        braces += c == '{';
        braces -= c == '}' && braces > 0;
        parentheses += c == '(';
        parentheses -= c == ')' && parentheses > 0;
        angles += c == '<';
        angles -= c == '>' && angles > 0 && text[at - 1] != '-';
        at++;
    }
    return to;
}

/* Whether it is worth folding: it has members with names, or lists in it; and is not short. */
static bool is_list(const char *text, size_t from, size_t to)
{
    size_t name;

    if (to - from <= SHORT || text[from] != '{' || match_brace(text, from, to) == 0)
        return false;
    if (memchr(text + from + 1, '{', to - from - 1))
        return true;
    member_end(text, from + 1, to - 1, &name);
    return name > 0;
}

static void write_plain(struct tree *tree, size_t from, size_t to)
{
    xctx__sink_string(tree->sink, "<span class=\"va\">");
    xctx__html_bytes(tree->sink, tree->text + from, to - from);
    xctx__sink_string(tree->sink, "</span>");
}

/* How often "... <repeats 12 times>" stands for; 1 for others. */
static size_t repeats(const char *text, size_t from, size_t to)
{
    static const char word[] = "<repeats ";
    size_t count = 0, at = to;

    while (at > from && text[at - 1] != '<')
        at--;
    if (at == from || to - (at - 1) < sizeof(word) || memcmp(text + at - 1, word, sizeof(word) - 1) != 0)
        return 1;
    for (at += sizeof(word) - 2; at < to && text[at] >= '0' && text[at] <= '9' && count < 1000000000; at++)
        count = count * 10 + (size_t)(text[at] - '0');
    return count > 0 ? count : 1;
}

static void write_list(struct tree *tree, size_t from, size_t to, unsigned depth);

/* What is behind a name: a list that folds out, with what stands before and behind its braces; or a text. */
static void write_member(struct tree *tree, size_t from, size_t to, const char *label, size_t label_size,
                         unsigned depth)
{
    const char *text = tree->text;
    size_t end = from < to && text[from] == '{' ? match_brace(text, from, to) : 0;
    bool list = end > 0 && depth < DEPTH && tree->nodes < NODES && is_list(text, from, end);

    tree->nodes++;
    xctx__sink_string(tree->sink, list ? "<li><details><summary>" : "<li>");
    if (label_size > 0) {
        xctx__sink_string(tree->sink, "<span class=\"nm\">");
        xctx__html_bytes(tree->sink, label, label_size);
        xctx__sink_string(tree->sink, "</span> = ");
    }
    if (list) {
        write_list(tree, from, end, depth);
        if (end < to)
            write_plain(tree, end, to);
        xctx__sink_string(tree->sink, "</details></li>");
    } else {
        write_plain(tree, from, to);
        xctx__sink_string(tree->sink, "</li>");
    }
}

static void write_preview(struct tree *tree, size_t from, size_t to)
{
    size_t end = to - from > PREVIEW ? from + PREVIEW : to;

    /* Not in the middle of a character. */
    while (end < to && end > from && ((unsigned char)tree->text[end] & 0xc0) == 0x80)
        end--;
    xctx__sink_string(tree->sink, "<span class=\"pv\">");
    xctx__html_bytes(tree->sink, tree->text + from, end - from);
    xctx__sink_string(tree->sink, end < to ? "\xe2\x80\xa6</span>" : "</span>");
}

/* The rest of a summary, and the members of what is in braces from `from` to `to`. */
static void write_list(struct tree *tree, size_t from, size_t to, unsigned depth)
{
    const char *text = tree->text;
    size_t at = from + 1, end = to - 1, index = 0;
    bool array = true;
    char label[64];

    write_preview(tree, from, to);
    xctx__sink_string(tree->sink, "</summary><ul>");
    while (at < end) {
        size_t name = 0;
        size_t next = tree->nodes < NODES ? member_end(text, at, end, &name) : end;
        size_t value = name > 0 ? at + name + 2 : at;
        while (value < next && text[value] == ' ')
            value++;
        if (name > 0) {
            array = false;
            write_member(tree, value, next, text + at, name, depth + 1);
        } else if (array && tree->nodes < NODES) {
            size_t count = repeats(text, at, next);
            int size = count > 1 ? snprintf(label, sizeof(label), "[%zu-%zu]", index, index + count - 1)
                                 : snprintf(label, sizeof(label), "[%zu]", index);
            index += count;
            write_member(tree, value, next, label, (size_t)size, depth + 1);
        } else {
            write_member(tree, value, next, NULL, 0, depth + 1);
        }
        at = next + 1;
        while (at < end && text[at] == ' ')
            at++;
    }
    xctx__sink_string(tree->sink, "</ul>");
}

void xctx__html_value(struct sink *sink, const char *value)
{
    struct tree tree = {.sink = sink, .text = value};
    size_t size = strlen(value);

    if (size > 0 && is_list(value, 0, size) && match_brace(value, 0, size) == size) {
        xctx__sink_string(sink, "<details class=\"tree\"><summary>");
        write_list(&tree, 0, size, 0);
        xctx__sink_string(sink, "</details>");
    } else {
        write_plain(&tree, 0, size);
    }
}
