/* SPDX-License-Identifier: MIT */
/*
 * The program whose debug information is damaged: compiled in several ways (meson.build), loaded by subject.h. It has a
 * bit of everything that a report reads: structures, unions, bit-fields, enumerations, arrays of constant and of
 * variable length, strings, nested blocks, inlined calls, variables that move between registers and the stack, and
 * parameters whose values are only known to the caller.
 */
#include <stddef.h>
#include <stdint.h>

typedef void *take_function(unsigned capture);

void *subject_run(take_function *take, unsigned capture, int count);

enum color { RED = 1, GREEN = 2, BLUE = 4 };

struct point {
    int x;
    short y;
    unsigned flags : 3;
    signed delta : 7;
    enum color color;
};

union number {
    uint64_t whole;
    double real;
    float parts[2];
    unsigned char bytes[8];
};

struct node {
    const char *name;
    struct node *next;
    struct point points[2];
    union number number;
    int (*call)(const struct node *, long);
    struct {
        long long wide;
        _Bool on;
    };
    char tail[];
};

static int call_me(const struct node *node, long value);

static struct node first = {.name = "first", .points = {{1, 2, 3, -4, RED}}, .call = call_me, .on = 1};
static const char *const words[] = {"one", "two", NULL};
int subject_counter = 7;
static void *taken;

static int call_me(const struct node *node, long value)
{
    return node->next ? (int)value : subject_counter;
}

/* Its parameters are dead when the snapshot is taken. */
__attribute__((noinline)) static int innermost(take_function *take, unsigned capture, int dead, struct node *node,
                                               double real)
{
    long kept = (long)node->points[0].x * 3;
    volatile long double longer = real;

    taken = take(capture);
    subject_counter += (int)kept;
    return subject_counter + (longer > 1);
}

static inline __attribute__((always_inline)) int inlined(take_function *take, unsigned capture, int count,
                                                         struct node *node)
{
    int doubled = count * 2;
    const char *word = words[count & 1];

    if (doubled > 2) {
        uint8_t inner[3] = {1, 1, (uint8_t)count};
        struct point copy = node->points[inner[2] & 1];
        doubled += innermost(take, capture, count + 1, node, 1.5 * count);
        doubled += copy.x + inner[0];
    }
    return doubled + (word ? word[0] : 0);
}

__attribute__((noinline)) static int arrays(take_function *take, unsigned capture, int count, int columns)
{
    int numbers[count];
    char table[2][columns];
    struct node local = first;
    _Complex float pair = 1;
    __attribute__((vector_size(16))) int vector = {1, 2, 3, 4};
    static int calls;

    local.next = &first;
    for (int i = 0; i < count; i++)
        numbers[i] = i / 2;
    for (int i = 0; i < columns; i++)
        table[0][i] = table[1][i] = (char)('a' + i);
    calls++;
    int result = inlined(take, capture, count, &local);
    return result + numbers[count - 1] + table[1][0] + local.call(&local, 3) + (int)__real__ pair + vector[1];
}

void *subject_run(take_function *take, unsigned capture, int count)
{
    int result = arrays(take, capture, count, count + 2);

    subject_counter = result ? 7 : 8;
    return taken;
}
