/* SPDX-License-Identifier: MIT */
/* Strings: escapes, long ones, repeats, arrays with and without a final NUL, on the heap, tables of them. */
#include "judge.h"

#include <ctype.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct line {
    char *text;
    size_t length;
    char head[8];
};

static char kept[32] = "in writable data";
static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz";

static __attribute__((noinline)) size_t arrays(int seed)
{
    char plain[16] = "plain", full[4] = {'f', 'u', 'l', 'l'}, empty[4] = "", zeros[16] = {0};
    char embedded[8] = {'a', 0, 'b', 0, 0, 'c', 0, 0}, escapes[] = "tab\t nl\n bell\a esc\033 quote\" back\\ \177 \001";
    char high[] = "caf\303\251 \377", digits[] = "\0011 \0019";
    char repeats[64], runs[40], long_one[300], signs[3] = {1, -1, 127};
    unsigned char bytes[12] = {0, 1, 2, 'A', 0x80, 0xff}, texts[2][4] = {"one", "two"};
    signed char small[3] = {-1, 'b', 0};
    memset(repeats, 'r', sizeof(repeats));
    memset(runs, 'x', 15);
    memset(runs + 15, 'y', 3);
    memset(runs + 18, 'z', 22);
    for (size_t i = 0; i < sizeof(long_one); i++)
        long_one[i] = (char)('a' + (i + (size_t)seed) % 26);
    judge_here("arrays");
    judge_touch(plain), judge_touch(full), judge_touch(empty), judge_touch(zeros), judge_touch(embedded);
    judge_touch(escapes), judge_touch(high), judge_touch(digits), judge_touch(repeats), judge_touch(runs);
    judge_touch(long_one), judge_touch(signs), judge_touch(bytes), judge_touch(texts), judge_touch(small);
    return strlen(plain);
}

static __attribute__((noinline)) size_t pointers(const char *given, char *heap)
{
    const char *none = NULL, *empty = "", *middle = alphabet + 20, *bad = (const char *)16;
    char local[] = "on the stack", *into = local + 3;
    const char *table[] = {"first", given, NULL, into};
    const unsigned char *unsigned_text = (const unsigned char *)"unsigned";
    char **argument = &into;
    void *any = local;
    char *writable = kept;
    const char *repeated = "----------------------------------------------------------------";
    const char *mixed = "abc==============================def";
    judge_here("pointers");
    judge_touch(none), judge_touch(empty), judge_touch(middle), judge_touch(bad), judge_touch(table);
    judge_touch(unsigned_text), judge_touch(argument), judge_touch(any), judge_touch(writable);
    return strlen(given) + strlen(heap) + strlen(repeated) + strlen(mixed);
}

static void reverse(char *text, size_t length)
{
    for (size_t i = 0, k = length; i < k--; i++) {
        char swap = text[i];
        text[i] = text[k];
        text[k] = swap;
        if (i == 2)
            judge_here("reverse");
    }
}

static __attribute__((noinline)) int words(const char *text)
{
    struct line lines[4];
    int count = 0;
    char copy[80], *rest = NULL;
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *word = strtok_r(copy, " ", &rest); word && count < 4; word = strtok_r(NULL, " ", &rest)) {
        struct line *line = &lines[count++];
        line->length = strlen(word);
        line->text = word;
        strncpy(line->head, word, sizeof(line->head));
        for (char *c = line->head; c < line->head + sizeof(line->head) && *c; c++)
            *c = (char)toupper((unsigned char)*c);
        reverse(word, line->length);
    }
    judge_here("words");
    judge_touch(lines);
    return count;
}

static int order(const void *a, const void *b)
{
    const char *x = a, *y = b;
    int result = strcmp(x, y);
    if (*x == 'm')
        judge_here("tree-order");
    return result;
}

static void visit(const void *node, VISIT when, int depth)
{
    const char *key = *(const char *const *)node;
    if (when == leaf || when == postorder)
        judge_here("tree-walk");
    judge_touch(key), judge_touch(&depth);
}

static __attribute__((noinline)) int tree(void)
{
    void *root = NULL;
    static const char *const keys[] = {"h", "d", "m", "a"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        tsearch(keys[i], &root, order);
    twalk(root, visit);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        tdelete(keys[i], &root, order);
    return root == NULL;
}

static void at_end(void)
{
    const char *last_words = "bye";
    judge_here("at-exit");
    judge_touch(last_words);
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    atexit(at_end);
    char *heap = strdup("on the heap");
    size_t total = arrays(argc) + pointers(argv[0], heap);
    total += (size_t)words("the quick brown foxes jump");
    total += (size_t)tree();
    judge_here("end");
    free(heap);
    return total == 0;
}
