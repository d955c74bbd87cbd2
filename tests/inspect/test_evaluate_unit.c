/* SPDX-License-Identifier: MIT */
/* Expressions that need more of the debug information than their own bytes: a unit that is written by hand here. */
#include "evaluate_support.h"

#include <link.h>

uint64_t evaluate_unit_object = 7;

/* A compilation unit of DWARF 5: the entries follow each other below that of the unit. */
__asm__(".pushsection .debug_abbrev,\"\",%progbits\n"
        ".Lhand_abbrev:\n"
        ".byte 1, 0x11, 1, 0x03, 0x08, 0x73, 0x17, 0, 0\n"             /* compile_unit: name, addr_base */
        ".byte 2, 0x24, 0, 0x03, 0x08, 0x0b, 0x0b, 0x3e, 0x0b, 0, 0\n" /* base_type: name, byte_size, encoding */
        ".byte 3, 0x34, 0, 0x03, 0x08, 0x49, 0x13, 0x02, 0x18, 0, 0\n" /* variable: name, type, location */
        ".byte 4, 0x36, 0, 0x02, 0x18, 0, 0\n"                         /* dwarf_procedure: location */
        ".byte 0\n"
        ".popsection\n"
        ".pushsection .debug_addr,\"\",%progbits\n"
        ".4byte .Lhand_addr_end - .Lhand_addr_begin\n"
        ".Lhand_addr_begin: .2byte 5\n"
        ".byte 8, 0\n"
        ".Lhand_addr: .8byte evaluate_unit_object\n"
        ".8byte 0x1234\n"
        ".Lhand_addr_end:\n"
        ".popsection\n"
        ".pushsection .debug_info,\"\",%progbits\n"
        ".Lhand_unit: .4byte .Lhand_end - .Lhand_begin\n"
        ".Lhand_begin: .2byte 5\n"
        ".byte 1, 8\n"
        ".4byte .Lhand_abbrev\n"
        ".byte 1\n .asciz \"written_by_hand.c\"\n .4byte .Lhand_addr\n"
        ".Lhand_type: .byte 2\n .asciz \"long\"\n .byte 8, 5\n"
        ".Lhand_procedure: .byte 4, 2, 0x23, 5\n" /* plus_uconst 5 */
        ".Lhand_empty: .byte 4, 0\n"
        ".byte 3\n .asciz \"call2\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 5, 0x31, 0x98\n"
        ".2byte .Lhand_procedure - .Lhand_unit\n .byte 0x9f\n" /* lit1, call2, stack_value */
        ".byte 3\n .asciz \"call4\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 7, 0x32, 0x99\n"
        ".4byte .Lhand_procedure - .Lhand_unit\n .byte 0x9f\n"
        ".byte 3\n .asciz \"call_ref\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 7, 0x33, 0x9a\n"
        ".4byte .Lhand_procedure\n .byte 0x9f\n"
        ".Lhand_loop: .byte 3\n .asciz \"loop\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 7, 0x33, 0x99\n"
        ".4byte .Lhand_loop - .Lhand_unit\n .byte 0x9f\n"
        ".Lhand_addr_variable: .byte 3\n .asciz \"addr\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 9, 0x03\n"
        ".8byte evaluate_unit_object\n"
        ".byte 3\n .asciz \"addrx\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 2, 0xa1, 0\n"
        ".byte 3\n .asciz \"constx\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 3, 0xa2, 1, 0x9f\n"
        ".byte 3\n .asciz \"constx_beyond\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 4, 0xa2, 0xff, 0x7f, 0x9f\n"
        ".Lhand_value: .byte 3\n .asciz \"value\"\n .4byte .Lhand_type - .Lhand_unit\n"
        ".byte 4, 0x0a, 0xef, 0xbe, 0x9f\n" /* const2u 0xbeef, stack_value */
        ".byte 3\n .asciz \"pointer\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 6, 0xa0\n"
        ".4byte .Lhand_value\n .byte 0\n" /* implicit_pointer value, 0 */
        ".byte 3\n .asciz \"beyond\"\n .4byte .Lhand_type - .Lhand_unit\n .byte 6, 0xa0\n"
        ".4byte .Lhand_value\n .byte 8\n"
        ".byte 0\n"
        ".Lhand_end:\n"
        ".popsection\n");

/* Where a variable of that unit is. */
static struct location locate(const char *name)
{
    static struct location location;
    Dwarf_Attribute attribute;
    Dwarf_Die die;

    assert_int_equal(dwarf_child(&scene.place.unit, &die), 0);
    do {
        const char *found = dwarf_diename(&die);
        if (!found || strcmp(found, name) != 0 || dwarf_tag(&die) != DW_TAG_variable)
            continue;
        assert_non_null(dwarf_attr(&die, DW_AT_location, &attribute));
        xctx__locate(&scene.place, &attribute, 8, &location);
        return location;
    } while (dwarf_siblingof(&die, &die) == 0);
    fail_msg("no variable %s", name);
    return location;
}

#define UNIT(name)                                                                                                     \
    static void name##_in_unit(void);                                                                                  \
    TEST(name)                                                                                                         \
    {                                                                                                                  \
        scene_set("written_by_hand.c");                                                                                \
        name##_in_unit();                                                                                              \
        scene_end();                                                                                                   \
    }                                                                                                                  \
    static void name##_in_unit(void)

UNIT(called_expressions_run_on_the_callers_stack)
{
    scene_expect(locate("call2"), 6, 8);
    scene_expect(locate("call4"), 7, 8);
    scene_expect(locate("call_ref"), 8, 8);
}

UNIT(expression_that_calls_itself_is_refused)
{
    assert_int_equal(locate("loop").failed, XCTX_SOURCE_UNSUPPORTED);
}

static int load_bias(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    *(uint64_t *)user = info->dlpi_addr;
    return 1; /* the first is the program */
}

static void expect_object(struct location location)
{
    uint64_t bias = 0;

    dl_iterate_phdr(load_bias, &bias);
    assert_int_equal(location.failed, XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(location.count, 1);
    assert_int_equal(location.pieces[0].kind, PIECE_MEMORY);
    assert_int_equal(location.pieces[0].address, (uintptr_t)&evaluate_unit_object - bias + SCENE_BIAS);
}

UNIT(addresses_are_where_the_module_was_loaded)
{
    expect_object(locate("addr"));
    expect_object(locate("addrx"));
}

UNIT(constant_of_the_table_is_no_address)
{
    scene_expect(locate("constx"), 0x1234, 8);
    assert_int_equal(locate("constx_beyond").failed, XCTX_SOURCE_UNSUPPORTED);
}

UNIT(pointer_to_a_variable_without_an_address_is_followed)
{
    struct location location = locate("pointer");
    struct value pointer, target;
    uint64_t number = 0;

    assert_int_equal(location.pieces[0].kind, PIECE_POINTER);
    assert_int_equal(xctx__value_fetch(&scene.place, &location, 8, MEMORY_STACK, &pointer), 0);
    assert_int_equal(xctx__value_state(&pointer, 0, 8), BYTE_SYNTHETIC);
    assert_int_equal(xctx__value_follow(&scene.place, &pointer, 8, &target), 0);
    memcpy(&number, target.bytes, sizeof(number));
    assert_int_equal(number, 0xbeef);
}

UNIT(pointer_beyond_its_variable_leads_nowhere)
{
    struct location location = locate("beyond");
    struct value pointer, target;

    assert_int_equal(xctx__value_fetch(&scene.place, &location, 8, MEMORY_STACK, &pointer), 0);
    assert_int_equal(xctx__value_follow(&scene.place, &pointer, 8, &target), -ENODATA);
}

int main(void)
{
    return test_main("inspect: expressions in a unit");
}
