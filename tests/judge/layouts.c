/* SPDX-License-Identifier: MIT */
/* Structures: bit-fields, unions, anonymous members, arrays in arrays, tables of functions, big ones by value. */
#include "judge.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct bits {
    unsigned a : 1, b : 3, : 4, c : 12;
    int negative : 5;
    _Bool flag : 1;
    enum color { RED, GREEN = 2, BLUE = 4 } color : 3;
    uint64_t wide : 40, rest : 24;
};

struct variant {
    enum { V_INT, V_TEXT, V_PAIR } tag;
    union {
        int number;
        const char *text;
        struct {
            short first, second;
        };
        struct pair {
            long x, y;
        } pair;
    };
};

struct __attribute__((packed)) packed {
    char c;
    int i;
    short s;
    double d;
};

struct matrix {
    int cells[3][4];
    char names[2][6];
};

struct flexible {
    size_t count;
    int items[];
};

struct empty {};

typedef int operation(int, int);

struct verb {
    const char *name;
    operation *run;
    unsigned char id[4];
};

struct big {
    long numbers[16];
    struct {
        float x, y;
    } points[3];
    struct big *self;
    void *nothing;
    void (*callback)(const char *);
};

struct chain {
    const struct chain *next;
    volatile int state;
    const char *const *texts;
};

static int add(int a, int b)
{
    return a + b;
}

static int subtract(int a, int b)
{
    return a - b;
}

static const struct verb verbs[] = {{"add", add, {1, 2, 3, 4}}, {"subtract", subtract, "xyz"}, {NULL, NULL, {0}}};

static __attribute__((noinline)) long by_value(struct big big, struct bits bits, struct packed packed,
                                               struct variant variant, struct empty empty)
{
    struct big copy = big;
    copy.numbers[3] = bits.c + packed.i;
    judge_here("by-value");
    judge_touch(&copy), judge_touch(&variant), judge_touch(&empty);
    return copy.numbers[3] + big.numbers[0];
}

static __attribute__((noinline)) struct big make(int seed)
{
    struct big big = {.points = {{1, 2}, {3, 4}, {5, 6}}, .callback = judge_here};
    for (int i = 0; i < 16; i++)
        big.numbers[i] = i < 12 ? seed : i;
    big.self = NULL;
    judge_here("make");
    return big;
}

static __attribute__((noinline)) int apply(const struct verb *verb, int a, int b)
{
    operation *run = verb->run;
    int result = run(a, b);
    operation **indirect = &run;
    judge_here("apply");
    judge_touch(indirect);
    return result;
}

static __attribute__((noinline)) int small_ones(
    struct pair pair, struct variant *variant, const union {
        int i;
        float f;
    } * either)
{
    struct {
        char c;
        struct pair pair;
    } local = {'l', pair};
    union {
        uint32_t word;
        uint8_t bytes[4];
        float real;
    } pun = {.real = 1.5f};
    struct pair pairs[5] = {{1, 2}, {1, 2}, {1, 2}, {3, 4}, {0, 0}};
    struct empty nothing;
    judge_here("small");
    judge_touch(&local), judge_touch(&pun), judge_touch(pairs), judge_touch(&nothing), judge_touch(variant);
    return pun.bytes[3] + (either != NULL);
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    struct bits bits = {
        .a = 1, .b = 5, .c = 0xabc, .negative = -7, .flag = 1, .color = BLUE, .wide = 1ull << 39, .rest = 3};
    struct variant variants[] = {
        {.tag = V_INT, .number = -1}, {.tag = V_TEXT, .text = "a \"text\""}, {.tag = V_PAIR, .pair = {10, 20}}};
    struct packed packed = {'p', 1 << 20, -2, 2.5};
    struct matrix matrix = {.cells = {{1, 2, 3, 4}, {5, 5, 5, 5}, {0}}, .names = {"ab", "cdefgh"}};
    union {
        struct flexible flexible;
        char room[64];
    } storage;
    memset(&storage, 0, sizeof(storage));
    storage.flexible.count = 3;
    for (int i = 0; i < 3; i++)
        storage.flexible.items[i] = i * i;
    struct flexible *flexible = &storage.flexible;
    static const char *const texts[] = {"first", "second", NULL};
    struct chain tail = {NULL, 2, texts}, head = {&tail, 1, NULL};
    struct empty empty = {};
    _Atomic int counter = 4;
    int repeated[300], zeros[20] = {0}, mixed[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 3};
    for (int i = 0; i < 300; i++)
        repeated[i] = i / 2;
    int(*row)[4] = &matrix.cells[1];
    int **pointers[2] = {NULL, NULL};
    const void *opaque = &bits;
    struct big big = make(argc);
    big.self = &big;
    judge_here("main");
    long sum = by_value(big, bits, packed, variants[1], empty);
    for (const struct verb *verb = verbs; verb->name; verb++)
        sum += apply(verb, (int)sum, (*row)[2]);
    sum += small_ones((struct pair){7, 8}, &variants[2], NULL);
    judge_touch(&head), judge_touch(flexible), judge_touch(&counter), judge_touch(repeated), judge_touch(zeros);
    judge_touch(mixed), judge_touch(pointers), judge_touch(opaque), judge_touch(&matrix);
    judge_here("end");
    return sum == 0;
}
