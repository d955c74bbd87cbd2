/* SPDX-License-Identifier: MIT */
/* Arrays, structures, and bit-fields, as gdb 13 prints them. */
#include "render_support.h"

#include <inttypes.h>

#define P(pointer) ((uintptr_t)(pointer))

struct point {
    int x, y;
};
enum color { RED, GREEN, BLUE };

TEST(arrays_have_their_elements_in_braces)
{
    static int numbers[4] = {1, 2, 3, 4};
    static double floats[3] = {1, 2.5, -3};
    static bool bools[3] = {true, false, true};
    static enum color colors[3] = {RED, BLUE};
    static struct point points[2] = {{1, 2}, {3, 4}};
    static int rows[2][3] = {{1, 2, 3}, {4, 5, 6}};
    static char words[3][4] = {"ab", "abcd", "x"};
    EXPECT_VALUE(numbers, "{1, 2, 3, 4}");
    EXPECT_VALUE(floats, "{1, 2.5, -3}");
    EXPECT_VALUE(bools, "{true, false, true}");
    EXPECT_VALUE(colors, "{RED, BLUE, RED}");
    EXPECT_VALUE(points, "{{x = 1, y = 2}, {x = 3, y = 4}}");
    EXPECT_VALUE(rows, "{{1, 2, 3}, {4, 5, 6}}");
    EXPECT_VALUE(words, "{\"ab\\000\", \"abcd\", \"x\\000\\000\"}");
}

TEST(elements_that_repeat_are_counted_from_the_eleventh_on)
{
    static int ten[10];
    static int eleven[11];
    static int some[15] = {1, 2};
    static struct point points[12];
    static int rows[12][2];
    EXPECT_VALUE(ten, "{0, 0, 0, 0, 0, 0, 0, 0, 0, 0}");
    EXPECT_VALUE(eleven, "{0 <repeats 11 times>}");
    EXPECT_VALUE(some, "{1, 2, 0 <repeats 13 times>}");
    EXPECT_VALUE(points, "{{x = 0, y = 0} <repeats 12 times>}");
    EXPECT_VALUE(rows, "{{0, 0} <repeats 12 times>}");
}

TEST(array_is_cut_after_200_elements)
{
    static int numbers[201];
    char expected[1024] = "{";
    for (int i = 0; i < 201; i++)
        numbers[i] = i;
    for (int i = 0; i < 200; i++)
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%s%d", i ? ", " : "", i);
    EXPECT_VALUE(numbers, "%s...}", expected);
}

TEST(repeated_elements_count_as_ten)
{
    static int groups[300];
    char expected[1024] = "{";
    for (int i = 0; i < 300; i++)
        groups[i] = i / 12;
    for (int i = 0; i < 20; i++)
        snprintf(expected + strlen(expected), sizeof(expected) - strlen(expected), "%s%d <repeats 12 times>",
                 i ? ", " : "", i);
    EXPECT_VALUE(groups, "%s...}", expected);
}

/* Is at the end of its section, so that no symbol is there. */
TEST(array_of_no_elements_is_its_address)
{
    static struct {
        int count;
        int data[];
    } flexible;
    static char text[64];
    snprintf(text, sizeof(text), "{count = 0, data = 0x%" PRIxPTR, P(flexible.data));
    shown(flexible);
    xctx_report *report = report_of(xctx_snapshot_take(XCTX_CAPTURE_LOCALS), NULL);
    const xctx_local *local = xctx_frame_find(frame_of(report, __func__), "flexible");
    assert_non_null(local);
    assert_non_null(local->value);
    assert_memory_equal(local->value, text, strlen(text));
    xctx_report_unref(report);
}

TEST(vectors_are_arrays_of_numbers)
{
    typedef int four __attribute__((vector_size(16)));
    typedef unsigned char sixteen __attribute__((vector_size(16)));
    static four numbers = {1, 2, 3, 4};
    static sixteen bytes = {1, 'a', 3};
    EXPECT_VALUE(numbers, "{1, 2, 3, 4}");
    EXPECT_VALUE(bytes, "{1, 97, 3, 0 <repeats 13 times>}");
}

TEST(structures_have_their_members_by_name)
{
    static struct point point = {1, 2};
    static struct {
        struct point p;
        struct {
            int a;
            union {
                int b;
                char c;
            };
        };
        struct point ps[2];
    } nested = {{1, 2}, {3, {4}}, {{5, 6}, {7, 8}}};
    static struct {
        char *none;
        int (*function)(void);
    } pointers;
    __extension__ static struct {
    } empty;
    EXPECT_VALUE(point, "{x = 1, y = 2}");
    EXPECT_VALUE(nested,
                 "{p = {x = 1, y = 2}, {a = 3, {b = 4, c = 4 '\\004'}}, ps = {{x = 5, y = 6}, {x = 7, y = 8}}}");
    EXPECT_VALUE(pointers, "{none = 0x0, function = 0x0}");
    EXPECT_VALUE(empty, "{<No data fields>}");
}

TEST(union_shows_each_member)
{
    static union {
        int i;
        float f;
        char c[4];
    } all = {.i = 65};
    EXPECT_VALUE(all, "{i = 65, f = 9.10844002e-44, c = \"A\\000\\000\"}");
}

TEST(bit_fields_have_their_sign_and_their_type)
{
    static struct {
        unsigned a : 3;
        int b : 5;
        unsigned c : 1;
        enum color d : 2;
        bool e : 1;
        unsigned long long f : 40;
        signed char g : 7;
    } bits = {5, -3, 1, BLUE, true, 0xffffffffff, 'a' - 128};
    static struct {
        unsigned : 5;
        unsigned a : 4;
        int : 0;
        long b : 33;
    } gaps = {9, -5};
    EXPECT_VALUE(bits, "{a = 5, b = -3, c = 1, d = BLUE, e = true, f = 1099511627775, g = -31 '\\341'}");
    EXPECT_VALUE(gaps, "{a = 9, b = -5}");
}

TEST(packed_members_lie_where_they_lie)
{
    static struct __attribute__((packed)) {
        char a;
        int b;
        short c;
    } packed = {'a', 1, 2};
    EXPECT_VALUE(packed, "{a = 97 'a', b = 1, c = 2}");
}

#define IN(...)                                                                                                        \
    struct {                                                                                                           \
        __VA_ARGS__ m;                                                                                                 \
    }
#define FOUR_IN(...) IN(IN(IN(IN(__VA_ARGS__))))

TEST(structures_within_structures_end_at_depth_20)
{
    static FOUR_IN(FOUR_IN(FOUR_IN(FOUR_IN(FOUR_IN(IN(int)))))) deep;
    EXPECT_VALUE(deep, "{m = {m = {m = {m = {m = {m = {m = {m = {m = {m = {m = {m = {m = {m = {m = {m = {m = {m = {m = "
                       "{m = {...}}}}}}}}}}}}}}}}}}}}}");
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wvla"
__attribute__((noinline)) static int with_variable_length(int count, int columns)
{
    int numbers[count];
    int rows[count][columns];
    char text[count];
    for (int i = 0; i < count; i++) {
        numbers[i] = i;
        text[i] = (char)('a' + i);
        for (int j = 0; j < columns; j++)
            rows[i][j] = 10 * i + j;
    }
    EXPECT_VALUE(numbers, "{0, 1, 2}");
    EXPECT_VALUE(rows, "{{0, 1}, {10, 11}, {20, 21}}");
    EXPECT_VALUE(text, "\"abc\"");
    return numbers[0] + rows[0][0] + text[0];
}
#pragma GCC diagnostic pop

TEST(arrays_of_variable_length_have_the_length_they_had)
{
    /* The sanitizer moves them to where debug information does not look. */
    if (TEST_ASAN)
        skip();
    assert_int_equal(with_variable_length(3, 2), 'a');
}

int main(void)
{
    return test_main("arrays and structures in reports");
}
