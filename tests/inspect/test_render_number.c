/* SPDX-License-Identifier: MIT */
/* Numbers, characters, and enumerations, as gdb 13 prints them. */
#include "render_support.h"

#include <uchar.h>
#include <wchar.h>

enum color { RED, GREEN, BLUE };
enum flag { ONE = 1, TWO = 2, FOUR = 4 };
__extension__ enum wide_flag { BIT_40 = 1LL << 40, BIT_1 = 2 };
enum mixed { SINGLE = 1, SEVERAL = 6 };
enum signed_enum { MINUS = -1, PLUS = 1 };

TEST(integers_of_all_sizes_are_decimal)
{
    static short s = -2;
    static unsigned short us = 65535;
    static int i = -42;
    static unsigned u = 4294967295u;
    static long l = INT64_MIN;
    static unsigned long ul = UINT64_MAX;
    EXPECT_VALUE(s, "-2");
    EXPECT_VALUE(us, "65535");
    EXPECT_VALUE(i, "-42");
    EXPECT_VALUE(u, "4294967295");
    EXPECT_VALUE(l, "-9223372036854775808");
    EXPECT_VALUE(ul, "18446744073709551615");
}

TEST(integers_of_128_bits_are_decimal)
{
    __extension__ static __int128 negative;
    __extension__ static unsigned __int128 largest;
    negative = -((__extension__(__int128) 1 << 100) + 12345);
    largest = ~(__extension__(unsigned __int128) 0);
    EXPECT_VALUE(negative, "-1267650600228229401496703217721");
    EXPECT_VALUE(largest, "340282366920938463463374607431768211455");
}

TEST(integers_of_one_byte_are_characters_too)
{
    static char a = 'a';
    static signed char minus = -1;
    static unsigned char high = 200;
    static uint8_t named = 65;
    static char quote = '\'';
    static char backslash = '\\';
    static char newline = '\n';
    static char escape = 27;
    static char nul;
    EXPECT_VALUE(a, "97 'a'");
    EXPECT_VALUE(minus, "-1 '\\377'");
    EXPECT_VALUE(high, "200 '\\310'");
    EXPECT_VALUE(named, "65 'A'");
    EXPECT_VALUE(quote, "39 '\\''");
    EXPECT_VALUE(backslash, "92 '\\\\'");
    EXPECT_VALUE(newline, "10 '\\n'");
    EXPECT_VALUE(escape, "27 '\\033'");
    EXPECT_VALUE(nul, "0 '\\000'");
}

TEST(wide_characters_have_their_prefix)
{
    static wchar_t w = L'A';
    static wchar_t umlaut = 0xe4;
    static char16_t euro = 0x20ac;
    static char32_t last = 0x10ffff;
    EXPECT_VALUE(w, "65 L'A'");
    EXPECT_VALUE(umlaut, "228 L'\303\244'");
    EXPECT_VALUE(euro, "8364 u'\342\202\254'");
    EXPECT_VALUE(last, "1114111 U'\\x10ffff'");
}

TEST(bool_is_true_or_false_or_the_number_that_it_should_not_be)
{
    static bool yes = true;
    static bool no;
    static bool neither;
    memset(&neither, 2, 1);
    EXPECT_VALUE(yes, "true");
    EXPECT_VALUE(no, "false");
    EXPECT_VALUE(neither, "2");
}

TEST(floats_have_as_many_digits_as_tell_them_apart)
{
    static float f = 1.1f;
    static float whole = 3;
    static float large = 1e30f;
    static float least = __FLT_DENORM_MIN__;
    static double d = 0.1;
    static double hundred = 100;
    static double minus_zero = -0.0;
    static double small = 5e-324;
    static double edge = 1e17;
    static double tiny = 1e-5;
    static double close = 1e-4;
    EXPECT_VALUE(f, "1.10000002");
    EXPECT_VALUE(whole, "3");
    EXPECT_VALUE(large, "1.00000002e+30");
    EXPECT_VALUE(least, "1.40129846e-45");
    EXPECT_VALUE(d, "0.10000000000000001");
    EXPECT_VALUE(hundred, "100");
    EXPECT_VALUE(minus_zero, "-0");
    EXPECT_VALUE(small, "4.9406564584124654e-324");
    EXPECT_VALUE(edge, "1e+17");
    EXPECT_VALUE(tiny, "1.0000000000000001e-05");
    EXPECT_VALUE(close, "0.0001");
}

TEST(floats_that_are_no_numbers_say_which)
{
    static double infinite;
    static float minus_infinite;
    static double nan;
    static double minus_nan;
    infinite = __builtin_inf();
    minus_infinite = -__builtin_inff();
    nan = __builtin_nan("");
    minus_nan = -__builtin_nan("0x123");
    EXPECT_VALUE(infinite, "inf");
    EXPECT_VALUE(minus_infinite, "-inf");
    EXPECT_VALUE(nan, "nan(0x8000000000000)");
    EXPECT_VALUE(minus_nan, "-nan(0x8000000000123)");
}

#if defined(__x86_64__)
TEST(long_doubles_of_80_bits_and_of_128_are_exact)
{
    static long double ld = 0.1L;
    static long double least = __LDBL_DENORM_MIN__;
    static long double nan;
    __extension__ static __float128 quad;
    __extension__ static __float128 huge = 1;
    nan = __builtin_nanl("0x45");
    quad = (__extension__(__float128) 1) / 3;
    for (int i = 0; i < 300; i++)
        huge *= 10;
    EXPECT_VALUE(ld, "0.100000000000000000001");
    EXPECT_VALUE(least, "3.64519953188247460253e-4951");
    EXPECT_VALUE(nan, "nan(0xc000000000000045)");
    EXPECT_VALUE(quad, "0.333333333333333333333333333333333317");
    EXPECT_VALUE(huge, "9.9999999999999999999999999999999901e+299");
}
#endif

TEST(complex_numbers_have_two_parts)
{
    __extension__ static float _Complex f = 1 + 2i;
    __extension__ static double _Complex d = 1.5 - 2i;
    EXPECT_VALUE(f, "1 + 2i");
    EXPECT_VALUE(d, "1.5 + -2i");
}

TEST(enumerators_are_named)
{
    static enum color green = GREEN;
    static enum signed_enum minus = MINUS;
    EXPECT_VALUE(green, "GREEN");
    EXPECT_VALUE(minus, "MINUS");
}

TEST(flags_are_named_one_by_one_with_what_is_left)
{
    static enum flag none;
    static enum flag two = FOUR | ONE;
    static enum flag more = 13;
    static enum flag other = 8;
    static enum wide_flag wide = BIT_40 | BIT_1;
    EXPECT_VALUE(none, "0");
    EXPECT_VALUE(two, "(ONE | FOUR)");
    EXPECT_VALUE(more, "(ONE | FOUR | unknown: 0x8)");
    EXPECT_VALUE(other, "(unknown: 0x8)");
    EXPECT_VALUE(wide, "(BIT_40 | BIT_1)");
}

TEST(enumerations_that_are_no_flags_show_numbers_that_have_no_name)
{
    static enum mixed several = 7;
    static enum signed_enum three = 3;
    EXPECT_VALUE(several, "7");
    EXPECT_VALUE(three, "3");
}

TEST(qualifiers_and_typedefs_change_nothing)
{
    static const volatile int i = 3;
    static _Atomic int atomic = 5;
    static size_t size = 6;
    EXPECT_VALUE(i, "3");
    EXPECT_VALUE(atomic, "5");
    EXPECT_VALUE(size, "6");
}

int main(void)
{
    return test_main("numbers in reports");
}
