/* SPDX-License-Identifier: MIT */
/* What optimisers do: inlining in many levels, tail calls, constants, split and cloned functions, loops. */
#include "judge.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct {
    uint8_t *data;
    size_t length, room;
} buffer;

typedef struct {
    int16_t x, y;
} point;

typedef struct {
    point low, high;
} box;

static inline int min(int a, int b)
{
    int smaller = a < b ? a : b;
    return smaller;
}

static inline __attribute__((always_inline)) void put(buffer *b, uint8_t byte)
{
    size_t at = b->length;
    if (at < b->room)
        b->data[b->length++] = byte;
    if (byte == 0x7f)
        judge_here("put");
}

static inline __attribute__((always_inline)) void put16(buffer *b, uint16_t value)
{
    uint8_t low = (uint8_t)value, high = (uint8_t)(value >> 8);
    put(b, low);
    put(b, high);
}

static inline void put32(buffer *b, uint32_t value)
{
    uint16_t half = (uint16_t)value;
    put16(b, half);
    put16(b, (uint16_t)(value >> 16));
}

static void put_point(buffer *b, point p)
{
    put16(b, (uint16_t)p.x);
    put16(b, (uint16_t)p.y);
}

static __attribute__((noinline)) size_t encode(buffer *b, const box *boxes, int count)
{
    for (int i = 0; i < count; i++) {
        box one = boxes[i];
        put_point(b, one.low);
        put_point(b, one.high);
        put32(b, (uint32_t)(one.high.x - one.low.x) << 16 | (uint32_t)i);
    }
    return b->length;
}

static inline point middle(box b)
{
    point result = {(int16_t)((b.low.x + b.high.x) / 2), (int16_t)((b.low.y + b.high.y) / 2)};
    if (result.x == 55)
        judge_here("middle");
    return result;
}

static inline int distance(point a, point b)
{
    int dx = a.x - b.x, dy = a.y - b.y;
    int squares = dx * dx + dy * dy;
    return squares;
}

static __attribute__((noinline)) int nearest(const box *boxes, int count, point from, int *ret_index)
{
    int best = INT32_MAX, index = -1;
    for (int i = 0; i < count; i++) {
        int d = distance(middle(boxes[i]), from);
        if (d < best) {
            best = d;
            index = i;
        }
    }
    *ret_index = index;
    judge_here("nearest");
    return min(best, 1000);
}

static __attribute__((noinline)) int last(int value, const char *why)
{
    int doubled = value * 2;
    judge_here("tail");
    judge_touch(why);
    return doubled;
}

static __attribute__((noinline)) int middle_call(int value)
{
    int changed = value + 3;
    judge_touch(&changed);
    return last(value * 7, "called last");
}

static __attribute__((noinline)) int tail(int value)
{
    return middle_call(value - 1);
}

/* Called with one constant only, so that compilers make a copy of it or drop the parameter. */
static __attribute__((noinline)) int scaled(int value, int factor, const char *unit)
{
    int result = value * factor;
    judge_here("scaled");
    return result + unit[0];
}

static __attribute__((noinline)) long fold(const int *numbers, int count, long (*step)(long, int))
{
    long state = 0;
    for (const int *at = numbers, *end = numbers + count; at != end; at++)
        state = step(state, *at);
    return state;
}

static long step_sum(long state, int number)
{
    long next = state + number;
    if (number == 8)
        judge_here("fold");
    return next;
}

static __attribute__((noinline)) int sum_squares(const int *numbers, int n)
{
    int sum = 0;
    for (int i = 0; i < n; i++)
        sum += numbers[i] * numbers[i];
    judge_here("vectorised");
    return sum;
}

static int ackermann(int m, int n)
{
    if (m == 0) {
        if (n == 4)
            judge_here("ackermann");
        return n + 1;
    }
    if (n == 0)
        return ackermann(m - 1, 1);
    return ackermann(m - 1, ackermann(m, n - 1));
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    uint8_t room[64];
    memset(room, 0xee, sizeof(room));
    buffer b = {room, 0, sizeof(room)};
    box boxes[] = {{{1, 2}, {3, 4}}, {{10, 0x7f}, {100, 5}}, {{-5, -6}, {7, 8}}};
    int index, numbers[16];
    for (int i = 0; i < 16; i++)
        numbers[i] = i;
    size_t length = encode(&b, boxes, 3);
    int near = nearest(boxes, 3, (point){50, 50}, &index);
    int t = tail(argc + 10);
    int s = scaled(argc, 10, "mm") + scaled(t, 10, "mm");
    long sum = fold(numbers, 16, step_sum);
    int squares = sum_squares(numbers, 16), a = ackermann(2, 2);
    judge_here("end");
    judge_touch(room);
    return (int)length + near + s + index + (int)sum + squares + a == 0;
}
