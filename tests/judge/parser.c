/* SPDX-License-Identifier: MIT */
/* A recursive-descent parser: tokens in unions, string work, errors through varargs. */
#include "judge.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum kind { T_END, T_NUMBER, T_NAME, T_STRING, T_PUNCTUATION };
enum flags { F_NONE = 0, F_NEGATIVE = 1, F_FRACTION = 2, F_EXPONENT = 4 };

typedef struct {
    enum kind kind;
    enum flags flags;
    unsigned line : 20, column : 12;
    union {
        double number;
        char name[16];
        struct {
            const char *start;
            size_t length;
        } string;
        char punctuation;
    } u;
} token;

typedef struct parser {
    const char *text, *at;
    token now;
    int depth;
    char error[64];
    jmp_buf escape;
} parser;

static void complain(parser *p, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(p->error, sizeof(p->error), format, arguments);
    va_end(arguments);
    judge_here("complain");
    if (length > 0)
        longjmp(p->escape, 1);
}

static void skip_space(parser *p)
{
    while (isspace((unsigned char)*p->at)) {
        if (*p->at == '\n')
            p->now.line++;
        p->at++;
    }
}

static void next_number(parser *p)
{
    char *end;
    const char *start = p->at;
    enum flags flags = F_NONE;
    p->now.u.number = strtod(start, &end);
    for (const char *c = start; c < end; c++) {
        if (*c == '.')
            flags |= F_FRACTION;
        if (*c == 'e')
            flags |= F_EXPONENT;
    }
    p->now.kind = T_NUMBER;
    p->now.flags = flags;
    p->at = end;
    if (flags)
        judge_here("number");
    judge_touch(&flags);
}

static void next(parser *p)
{
    skip_space(p);
    p->now.column = (unsigned)(p->at - p->text);
    char c = *p->at;
    if (!c) {
        p->now.kind = T_END;
    } else if (isdigit((unsigned char)c)) {
        next_number(p);
    } else if (isalpha((unsigned char)c)) {
        size_t length = strspn(p->at, "abcdefghijklmnopqrstuvwxyz");
        if (length >= sizeof(p->now.u.name))
            complain(p, "%u: a name of %zu letters", p->now.column, length);
        memset(p->now.u.name, 0, sizeof(p->now.u.name));
        memcpy(p->now.u.name, p->at, length);
        p->now.kind = T_NAME;
        p->at += length;
        judge_here("name");
    } else if (c == '"') {
        const char *end = strchr(p->at + 1, '"');
        if (!end)
            complain(p, "%u: no end of %s%c", p->now.column, "string ", c);
        p->now.kind = T_STRING;
        p->now.u.string.start = p->at + 1;
        p->now.u.string.length = (size_t)(end - p->at - 1);
        p->at = end + 1;
    } else {
        p->now.kind = T_PUNCTUATION;
        p->now.u.punctuation = *p->at++;
    }
}

static double sum(parser *p);

static double atom(parser *p)
{
    double value = 0;
    token start = p->now;
    p->depth++;
    switch (start.kind) {
    case T_NUMBER:
        value = start.u.number;
        next(p);
        break;
    case T_NAME: {
        double argument;
        char name[16];
        memcpy(name, start.u.name, sizeof(name));
        next(p);
        argument = atom(p);
        value = strcmp(name, "twice") == 0 ? 2 * argument : -argument;
        judge_here("call");
        break;
    }
    case T_STRING:
        value = (double)start.u.string.length;
        judge_here("string");
        next(p);
        break;
    case T_PUNCTUATION:
        if (start.u.punctuation == '(') {
            next(p);
            value = sum(p);
            if (p->now.kind != T_PUNCTUATION || p->now.u.punctuation != ')')
                complain(p, "%u: expected %c, depth %d, after %.2f and %ld%%", p->now.column, ')', p->depth, value,
                         123456789L);
            next(p);
            break;
        }
        /* fall through */
    case T_END:
    default:
        complain(p, "unexpected");
    }
    p->depth--;
    return value;
}

static double product(parser *p)
{
    double left = atom(p);
    while (p->now.kind == T_PUNCTUATION && (p->now.u.punctuation == '*' || p->now.u.punctuation == '/')) {
        char operator= p->now.u.punctuation;
        next(p);
        double right = atom(p);
        left = operator== '*' ? left * right : left / right;
        judge_here("product");
    }
    return left;
}

static double sum(parser *p)
{
    double left = product(p);
    while (p->now.kind == T_PUNCTUATION && p->now.u.punctuation == '+') {
        next(p);
        double right = product(p);
        left += right;
    }
    return left;
}

static int parse(const char *text, double *ret_value)
{
    parser p = {.text = text, .at = text};
    if (setjmp(p.escape))
        return -1;
    next(&p);
    *ret_value = sum(&p);
    judge_here("parsed");
    return p.now.kind == T_END ? 0 : -1;
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    double value = 0;
    int bad = 0;
    bad += parse("1.5e3 + twice (2*\n(3 + \"four\")) / 7", &value);
    bad += parse("(((1 + 2) * 3", &value);
    bad += parse("\"open", &value);
    bad += parse("2 * anamethatiswaytoolong", &value);
    judge_here("end");
    return bad != -3;
}
