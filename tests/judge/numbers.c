/* SPDX-License-Identifier: MIT */
/* Scalars of every kind, and how they are spelled. */
#include "judge.h"

#include <complex.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uchar.h>
#include <wchar.h>

enum plain { ZERO, ONE, TWO, TEN = 10, MINUS = -3 };
enum mask { BIT0 = 1, BIT1 = 2, BIT2 = 4, BIT7 = 0x80, LOW = 3 };
enum wide { HUGE_ONE = 1ull << 40, HUGE_TWO = 1ull << 41 };
enum { UNNAMED_A = 5, UNNAMED_B = 6 };

typedef float float4 __attribute__((vector_size(16)));
typedef int int4 __attribute__((vector_size(16)));

static __attribute__((noinline)) double integers(int seed)
{
    signed char sc = (signed char)(seed - 130);
    unsigned char uc = 200;
    char c = (char)('A' + seed), nul = 0, escape = '\n', quote = '\'', high = (char)0xe9;
    short s = SHRT_MIN;
    unsigned short us = USHRT_MAX;
    int i = INT_MIN + seed;
    unsigned u = UINT_MAX;
    long l = LONG_MIN;
    unsigned long ul = ULONG_MAX;
    long long ll = -1;
    size_t size = sizeof(int);
    ptrdiff_t difference = -8;
    int8_t i8 = -8;
    uint8_t u8 = 'x';
    uint64_t u64 = 0x123456789abcdefull;
    bool yes = seed == 3, no = false;
    __int128 big = ((__int128)1 << 100) + seed;
    unsigned __int128 ubig = ~(unsigned __int128)0;
    __int128 negative = -(__int128)seed;
    judge_here("integers");
    judge_touch(&sc), judge_touch(&uc), judge_touch(&c), judge_touch(&nul), judge_touch(&escape), judge_touch(&quote);
    judge_touch(&high), judge_touch(&s), judge_touch(&us), judge_touch(&i), judge_touch(&u), judge_touch(&l);
    judge_touch(&ul), judge_touch(&ll), judge_touch(&big), judge_touch(&ubig), judge_touch(&negative);
    return sc + uc + c + s + us + i + u + (double)l + (double)ul + (double)ll + (double)size + (double)difference + i8 +
           u8 + (double)u64 + yes + no + nul + escape + quote + high;
}

static __attribute__((noinline)) double floats(double seed)
{
    float f = 0.1f, tiny = FLT_MIN / 2, third = 1.0f / 3;
    double d = seed / 3, zero = -0.0, huge = DBL_MAX, infinite = (double)INFINITY, least = -(double)INFINITY,
           none = (double)NAN, whole = 1e6, long_one = 123456789.125, small = 1e-5;
    long double ld = 3.14159265358979323846264338327950288L, lhuge = LDBL_MAX, lnone = -(long double)NAN;
    float _Complex fc = 1.5f - 2.5f * I;
    double _Complex dc = seed - 0.25 * I;
    long double _Complex ldc = 1.0L + 2.0L * I;
    float4 vector = {1, 2.5f, -3, (float)seed};
    int4 ints = {1, -2, 3, INT_MAX};
    double list[] = {1, 1.5, 1e300, -1e-300};
    judge_here("floats");
    judge_touch(&f), judge_touch(&tiny), judge_touch(&third), judge_touch(&d), judge_touch(&zero), judge_touch(&huge);
    judge_touch(&infinite), judge_touch(&least), judge_touch(&none), judge_touch(&ld), judge_touch(&lhuge);
    judge_touch(&lnone), judge_touch(&fc), judge_touch(&dc), judge_touch(&ldc), judge_touch(&vector);
    judge_touch(&ints), judge_touch(list);
    return whole + long_one + small + list[1];
}

static __attribute__((noinline)) int enums(int seed)
{
    enum plain one = ONE, unknown = (enum plain)7, minus = MINUS;
    enum mask single = BIT1, both = (enum mask)(BIT0 | BIT2), all = (enum mask)(LOW | BIT7), none = (enum mask)0,
              strange = (enum mask)(BIT2 | 0x40), odd = (enum mask)seed;
    enum wide wide = HUGE_TWO;
    __typeof__(UNNAMED_A) unnamed = UNNAMED_B;
    judge_here("enums");
    judge_touch(&one), judge_touch(&unknown), judge_touch(&minus), judge_touch(&single), judge_touch(&both);
    judge_touch(&all), judge_touch(&none), judge_touch(&strange), judge_touch(&odd), judge_touch(&wide);
    judge_touch(&unnamed);
    return one;
}

static __attribute__((noinline)) int wide_texts(const wchar_t *text, const char16_t *t16, const char32_t *t32)
{
    wchar_t w = L'\u00e4', array[] = L"wide \u20ac";
    char16_t c16 = u'x', a16[8] = u"sixteen";
    char32_t c32 = U'\U0001F600', a32[] = U"32";
    const char *utf8 = "gr\u00fc\u00df \t\033[0m\"quoted\"\\";
    judge_here("wide");
    judge_touch(&w), judge_touch(array), judge_touch(&c16), judge_touch(a16), judge_touch(&c32), judge_touch(a32);
    return (int)(text[0] + t16[0] + t32[0]) + utf8[0];
}

/* Arguments in registers of both kinds, and on the stack. */
static __attribute__((noinline)) double many(int a, double b, long c, float d, char e, long double f, short g, int h,
                                             unsigned i, double j, double k, double l, double m, double n, double o,
                                             double p, double q, long r, __int128 s, bool t)
{
    double total = a + b + (double)c + d + e + (double)f + g + h + i + j + k + l + m + n + o + p + q + (double)r + t;
    judge_here("many");
    return total + (double)s;
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    double total = integers(argc + 1);
    total += floats(2.0 * argc);
    total += enums(argc + 1);
    total += wide_texts(L"a\u03b1", u"b\u03b2", U"c\U0001F680");
    total += many(1, 2, 3, 4, '5', 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, argc == 2);
    judge_here("end");
    return total == 0;
}
