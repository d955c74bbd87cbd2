/* SPDX-License-Identifier: MIT */
/* What only C++ has, as gdb 13 prints it. */
#include <cinttypes>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h> /* says nothing of C++ itself */
}

/* Designated initializers are C++20. */
#pragma GCC diagnostic ignored "-Wc++20-extensions"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

#include "render_support.h"

#define P(pointer) ((uintptr_t)(pointer))

struct Base {
    int a = 1;
    static int count;
};
int Base::count = 3;
struct Derived : Base {
    int b = 2;
};
struct Empty {};
struct FromEmpty : Empty {
    int x = 1;
};
struct Left : virtual Base {
    int left = 11;
};
struct Right : virtual Base {
    int right = 12;
};
struct Most : Left, Right {
    int most = 13;
};
struct Shape {
    virtual ~Shape() = default;
    virtual int area(int scale)
    {
        return scale;
    }
    int sides = 4;
};
struct Methods {
    int x, y;
    void set(int value)
    {
        x = value;
    }
    int get() const
    {
        return y;
    }
    static const int constant = 5;
};
struct Refs {
    int &r;
    int *p;
};
namespace ns {
enum Plain { ONE, TWO };
enum class Scoped { ONE = 1, TWO = 2 };
struct Inner {
    int q = 5;
    enum class Kind : unsigned char { A, B } kind = Kind::B;
};
int value = 4;
int function(int number)
{
    return number;
}
template <typename T> struct Pair {
    T one;
    T other;
};
} // namespace ns
namespace {
int hidden = 3;
}

TEST(base_classes_come_first)
{
    static Derived derived;
    static Empty empty;
    static FromEmpty from_empty;
    EXPECT_VALUE(derived, "{<Base> = {a = 1, static count = 3}, b = 2}");
    EXPECT_VALUE(empty, "{<No data fields>}");
    EXPECT_VALUE(from_empty, "{<Empty> = {<No data fields>}, x = 1}");
}

TEST(virtual_base_is_shown_once)
{
    static Most most;
    shown(most);
    xctx_report *report = report_of(xctx_snapshot_take(XCTX_CAPTURE_LOCALS), nullptr);
    const xctx_local *local = xctx_frame_find(frame_of(report, __func__), "most");
    assert_non_null(local);
    assert_non_null(local->value);
    const char *base = strstr(local->value, "{<Left> = {<Base> = {a = 1, static count = 3}, ");
    assert_ptr_equal(base, local->value);
    assert_null(strstr(base + 20, "<Base> ="));
    assert_true(ends_with(local->value, "right = 12}, most = 13}"));
    xctx_report_unref(report);
}

TEST(pointer_to_the_virtual_table_names_it)
{
    static Shape shape;
    static Shape *pointer = &shape;
    uintptr_t table;
    memcpy(&table, static_cast<void *>(&shape), sizeof(table));
#if defined(__clang__)
    EXPECT_VALUE(shape, "{_vptr$Shape = 0x%" PRIxPTR " <vtable for Shape+16>, sides = 4}", table);
#else
    EXPECT_VALUE(shape, "{_vptr.Shape = 0x%" PRIxPTR " <vtable for Shape+16>, sides = 4}", table);
#endif
    shown(pointer);
}

UNOPTIMIZED static void with_references(int &to_number, Methods &to_object)
{
    EXPECT_VALUE(to_number, "@0x%" PRIxPTR ": 5", P(&to_number));
    EXPECT_VALUE(to_object, "@0x%" PRIxPTR ": {x = 1, y = 2, static constant = 5}", P(&to_object));
}

TEST(references_show_what_they_refer_to)
{
    static int number = 5;
    static Methods object = {1, 2};
    with_references(number, object);
}

TEST(references_in_structures_show_their_address_only)
{
    static int number = 5;
    static Refs refs = {number, nullptr};
    EXPECT_VALUE(refs, "{r = @0x%" PRIxPTR ", p = 0x0}", P(&number));
}

TEST(pointers_to_members_name_them)
{
    static int Methods::*member = &Methods::y;
    static int Methods::*none = nullptr;
    static int (Shape::*by_table)(int) = &Shape::area;
    static void (Methods::*no_function)(int) = nullptr;
    EXPECT_VALUE(member, "&Methods::y");
    EXPECT_VALUE(none, "NULL");
    EXPECT_VALUE(by_table, "&virtual Shape::area(int)");
    EXPECT_VALUE(no_function, "NULL");
}

TEST(pointer_to_a_member_function_shows_its_type_and_its_name)
{
    static int (Methods::*function)() const = &Methods::get;
    uintptr_t address;
    memcpy(&address, &function, sizeof(address));
    EXPECT_VALUE(function, "(int (Methods::*)(const Methods * const)) 0x%" PRIxPTR " <Methods::get() const>", address);
}

TEST(enumerators_have_their_scopes)
{
    static ns::Plain plain = ns::TWO;
    static ns::Scoped scoped = ns::Scoped::TWO;
    static ns::Scoped both = static_cast<ns::Scoped>(3);
    static ns::Inner inner;
    EXPECT_VALUE(plain, "ns::TWO");
    EXPECT_VALUE(scoped, "ns::Scoped::TWO");
    EXPECT_VALUE(both, "(ns::Scoped::ONE | ns::Scoped::TWO)");
    EXPECT_VALUE(inner, "{q = 5, kind = ns::Inner::Kind::B}");
}

TEST(symbols_are_demangled)
{
    static int *variable = &ns::value;
    static int *unnamed = &hidden;
    static int (*function)(int) = ns::function;
    EXPECT_VALUE(variable, "0x%" PRIxPTR " <ns::value>", P(variable));
    EXPECT_VALUE(unnamed, "0x%" PRIxPTR " <(anonymous namespace)::hidden>", P(unnamed));
    EXPECT_VALUE(function, "0x%" PRIxPTR " <ns::function(int)>", P(function));
}

TEST(characters_of_cxx_have_their_prefix)
{
    static char16_t sixteen = u'x';
    static char32_t euro = U'\u20ac';
    static wchar_t wide = L'w';
    EXPECT_VALUE(sixteen, "120 u'x'");
    EXPECT_VALUE(euro, "8364 U'\342\202\254'");
    EXPECT_VALUE(wide, "119 L'w'");
}

TEST(types_have_their_scopes_and_no_keyword)
{
    static ns::Pair<int> pair = {1, 2};
    static const Methods *constant;
    static ns::Inner::Kind kind;
    static int(&array)[3] = *new int[1][3]();
    static int Methods::*member;
    static void (Methods::*function)(int);
    EXPECT_TYPE(pair, "ns::Pair<int>");
    EXPECT_TYPE(constant, "const Methods *");
    EXPECT_TYPE(kind, "ns::Inner::Kind");
    EXPECT_TYPE(array, "int (&)[3]");
    EXPECT_TYPE(member, "int Methods::*");
    EXPECT_TYPE(function, "void (Methods::*)(Methods * const, int)");
    delete[] reinterpret_cast<int(*)[3]>(&array);
}

int main()
{
    return test_main("values of C++ in reports");
}
