/* SPDX-License-Identifier: MIT */
/* Names of types, as gdb's `whatis` has them. */
#include "render_support.h"

struct point {
    int x, y;
};
union either {
    int i;
    float f;
};
enum color { RED };
typedef struct point point_t;
typedef int (*compare)(const void *, const void *);

TEST(base_types_have_their_short_names)
{
    static long l;
    static unsigned long ul;
    static unsigned short us;
    static long long ll;
    static unsigned int u;
    static bool b;
    static signed char sc;
    EXPECT_TYPE(l, "long");
    EXPECT_TYPE(ul, "unsigned long");
    EXPECT_TYPE(us, "unsigned short");
    EXPECT_TYPE(ll, "long long");
    EXPECT_TYPE(u, "unsigned int");
    EXPECT_TYPE(b, "_Bool");
    EXPECT_TYPE(sc, "signed char");
}

TEST(tags_have_their_keyword_and_typedefs_their_name)
{
    static struct point p;
    static union either e;
    static enum color c;
    static point_t t;
    static struct {
        int a;
    } anonymous;
    EXPECT_TYPE(p, "struct point");
    EXPECT_TYPE(e, "union either");
    EXPECT_TYPE(c, "enum color");
    EXPECT_TYPE(t, "point_t");
    EXPECT_TYPE(anonymous, "struct {...}");
}

TEST(pointers_arrays_and_functions_are_declared_around_the_name)
{
    static const char *text;
    static char **pointers;
    static int numbers[4];
    static int rows[2][3];
    static int(*row)[3];
    static char *words[3];
    static void (*function)(int, const char *);
    static int (*none)(void);
    static int (*several[3])(const char *, ...);
    static int (*(*nested)(int))(char);
    static compare named;
    static void *anything;
    EXPECT_TYPE(text, "const char *");
    EXPECT_TYPE(pointers, "char **");
    EXPECT_TYPE(numbers, "int [4]");
    EXPECT_TYPE(rows, "int [2][3]");
    EXPECT_TYPE(row, "int (*)[3]");
    EXPECT_TYPE(words, "char *[3]");
    EXPECT_TYPE(function, "void (*)(int, const char *)");
    EXPECT_TYPE(none, "int (*)(void)");
    EXPECT_TYPE(several, "int (*[3])(const char *, ...)");
    EXPECT_TYPE(nested, "int (*(*)(int))(char)");
    EXPECT_TYPE(named, "compare");
    EXPECT_TYPE(anything, "void *");
}

TEST(qualifiers_stand_where_they_belong)
{
    static const volatile int both;
    static const char *const text = "";
    static char *volatile pointer;
    static _Atomic int atomic;
    EXPECT_TYPE(both, "const volatile int");
    EXPECT_TYPE(text, "const char * const");
    EXPECT_TYPE(pointer, "char * volatile");
    EXPECT_TYPE(atomic, "_Atomic int");
}

int main(void)
{
    return test_main("names of types");
}
