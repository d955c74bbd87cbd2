/* SPDX-License-Identifier: MIT */
/* Strings, and pointers with what they point to, as gdb 13 prints them. */
#include "render_support.h"

#include <inttypes.h>
#include <sys/mman.h>
#include <uchar.h>
#include <unistd.h>
#include <wchar.h>

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define P(pointer) ((uintptr_t)(pointer))

/* Two pages, of which the second cannot be read. */
static char *edge_of_memory(void)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(pages, MAP_FAILED);
    assert_int_equal(munmap(pages + page, page), 0);
    return pages + page;
}

TEST(array_of_characters_is_a_string_without_its_end)
{
    static char whole[] = "text";
    static char full[4] = {'f', 'u', 'l', 'l'};
    static char inside[] = "a\0b\0c";
    static char few[12] = "abcdefgh";
    static char many[16] = "abc";
    static char zeros[16];
    EXPECT_VALUE(whole, "\"text\"");
    EXPECT_VALUE(full, "\"full\"");
    EXPECT_VALUE(inside, "\"a\\000b\\000c\"");
    EXPECT_VALUE(few, "\"abcdefgh\\000\\000\\000\"");
    EXPECT_VALUE(many, "\"abc\", '\\000' <repeats 12 times>");
    EXPECT_VALUE(zeros, "'\\000' <repeats 15 times>");
}

TEST(characters_that_repeat_are_counted_from_the_eleventh_on)
{
    static char ten[] = "zzzzzzzzzz";
    static char eleven[] = "zzzzzzzzzzz";
    static char groups[] = "ab"
                           "cccccccccccc"
                           "dddddddddddd"
                           "e";
    static char newlines[] = "x\n\n\n\n\n\n\n\n\n\n\n\n";
    EXPECT_VALUE(ten, "\"zzzzzzzzzz\"");
    EXPECT_VALUE(eleven, "'z' <repeats 11 times>");
    EXPECT_VALUE(groups, "\"ab\", 'c' <repeats 12 times>, 'd' <repeats 12 times>, \"e\"");
    EXPECT_VALUE(newlines, "\"x\", '\\n' <repeats 12 times>");
}

TEST(string_is_cut_after_200_characters_of_which_repeated_ones_count_too)
{
    static char letters[250];
    static char repeated[300];
    static char late[] = LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS "sssssssssssssssssssssssssssssssssss"
                                                                                 "t";
    for (int i = 0; i < 249; i++)
        letters[i] = LETTERS[i % 26];
    memset(repeated, 'x', 299);
    EXPECT_VALUE(letters, "\"%.200s\"...", letters);
    EXPECT_VALUE(repeated, "'x' <repeats 299 times>");
    EXPECT_VALUE(late, "\"%.182s\", 's' <repeats 35 times>...", late);
}

TEST(escapes_are_c_and_octal)
{
    static char escapes[] = "tab\t quote\" bs\\ nl\n bell\a esc\033[0m it's \1772";
    static unsigned char bytes[] = {0xff, 'a', 0x80};
    EXPECT_VALUE(escapes, "\"tab\\t quote\\\" bs\\\\ nl\\n bell\\a esc\\033[0m it's \\1772\"");
    EXPECT_VALUE(bytes, "\"\\377a\\200\"");
}

TEST(utf8_is_shown_and_bytes_that_are_none_are_escaped)
{
    static char utf8[] = "caf\303\251 \342\202\254 \360\237\230\200";
    static char latin1[] = "caf\351 x";
    static char overlong[] = "\300\200 x";
    static char surrogate[] = "\355\240\200 x";
    static char cut[] = "abc\342\202";
    static char control[] = "\302\205 x";
    EXPECT_VALUE(utf8, "\"caf\303\251 \342\202\254 \360\237\230\200\"");
    EXPECT_VALUE(latin1, "\"caf\\351 x\"");
    EXPECT_VALUE(overlong, "\"\\300\\200 x\"");
    EXPECT_VALUE(surrogate, "\"\\355\\240\\200 x\"");
    EXPECT_VALUE(cut, "\"abc\", <incomplete sequence \\342\\202>");
    EXPECT_VALUE(control, "\"\\302\\205 x\"");
}

TEST(wide_strings_have_one_prefix)
{
    static wchar_t wide[] = L"hello";
    static char16_t sixteen[] = u"a\U0001F600b";
    static char32_t thirty_two[8] = U"abc";
    static wchar_t groups[20] = L"aaaaaaaaaaaaaaa";
    static wchar_t hex[] = {'a', 0x10ffff, '1', 'b', 0};
    EXPECT_VALUE(wide, "L\"hello\"");
    EXPECT_VALUE(sixteen, "u\"a\360\237\230\200b\"");
    EXPECT_VALUE(thirty_two, "U\"abc\\000\\000\\000\\000\"");
    EXPECT_VALUE(groups, "L'a' <repeats 15 times>, \"\\000\\000\\000\\000\"");
    EXPECT_VALUE(hex, "L\"a\\x10ffff\\061b\"");
}

TEST(pointer_to_characters_shows_the_string)
{
    static char *text;
    static unsigned char *bytes;
    static wchar_t *wide;
    static char *empty;
    static char *null;
    /* Where no symbol is. */
    text = strdup("hello");
    bytes = (unsigned char *)strdup("bytes");
    wide = wcsdup(L"wide");
    empty = strdup("");
    assert_true(text && bytes && wide && empty);
    EXPECT_VALUE(text, "0x%" PRIxPTR " \"hello\"", P(text));
    EXPECT_VALUE(bytes, "0x%" PRIxPTR " \"bytes\"", P(bytes));
    EXPECT_VALUE(wide, "0x%" PRIxPTR " L\"wide\"", P(wide));
    EXPECT_VALUE(empty, "0x%" PRIxPTR " \"\"", P(empty));
    EXPECT_VALUE(null, "0x0");
    free(text);
    free(bytes);
    free(wide);
    free(empty);
}

TEST(pointer_to_a_long_string_shows_200_characters)
{
    char *heap = malloc(300);
    static char *exact;
    static char *longer;
    assert_non_null(heap);
    for (int i = 0; i < 299; i++)
        heap[i] = LETTERS[i % 26];
    heap[200] = '\0';
    exact = heap;
    EXPECT_VALUE(exact, "0x%" PRIxPTR " \"%.200s\"", P(heap), heap);
    heap[200] = 'x';
    longer = heap;
    EXPECT_VALUE(longer, "0x%" PRIxPTR " \"%.200s\"...", P(heap), heap);
    memset(heap, 'y', 299);
    EXPECT_VALUE(longer, "0x%" PRIxPTR " 'y' <repeats 200 times>...", P(heap));
    free(heap);
}

TEST(string_that_cannot_be_read_says_where)
{
    static char *nowhere = (char *)0x10;
    static char *cut;
    char *edge = edge_of_memory();
    cut = edge - 3;
    memcpy(cut, "abc", 3);
    EXPECT_VALUE(nowhere, "0x10 <error: Cannot access memory at address 0x10>");
    EXPECT_VALUE(cut, "0x%" PRIxPTR " \"abc\"<error: Cannot access memory at address 0x%" PRIxPTR ">", P(cut), P(edge));
}

/* With a name of its own: compilers give static variables of functions others. */
int test_data[10];
static int test_function(int number)
{
    return number + 1;
}

TEST(pointers_show_the_symbol_and_how_far_behind_it_they_are)
{
    static int *first = test_data;
    static int *later = &test_data[3];
    static int (*function)(int) = test_function;
    static void *inside;
    static void *outside = (void *)0x1234;
    inside = (char *)P(test_function) + 1;
    EXPECT_VALUE(first, "0x%" PRIxPTR " <test_data>", P(first));
    EXPECT_VALUE(later, "0x%" PRIxPTR " <test_data+12>", P(later));
    EXPECT_VALUE(function, "0x%" PRIxPTR " <test_function>", P(function));
    EXPECT_VALUE(inside, "0x%" PRIxPTR " <test_function+1>", P(inside));
    EXPECT_VALUE(outside, "0x1234");
}

TEST(static_variables_have_their_name_without_the_number_that_the_compiler_gave_it)
{
#if !defined(__clang__)
    static int counter;
    static int *pointer = &counter;
    EXPECT_VALUE(pointer, "0x%" PRIxPTR " <counter>", P(pointer));
#else
    skip();
#endif
}

int main(void)
{
    return test_main("strings and pointers in reports");
}
