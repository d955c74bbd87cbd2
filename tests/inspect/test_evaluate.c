/* SPDX-License-Identifier: MIT */
/* Operations of DWARF expressions, one after the other. Types are those that this file uses. */
#include "evaluate_support.h"

#include <float.h>

/* So that the unit has these types. */
struct types_used {
    signed char s8;
    unsigned char u8;
    short s16;
    unsigned u32;
    int s32;
    long s64;
    unsigned long u64;
    float f32;
    double f64;
    long double f80;
    __extension__ __int128 s128;
    bool flag;
};
volatile struct types_used types_used;

static const uint8_t all_ones[] = {DW_OP_const1s, 0xff};

/* ---- constants and the stack ---- */

SCENE(literal_is_constant)
{
    struct location location = LOCATE(DW_OP_lit31, DW_OP_stack_value);

    scene_expect(location, 31, 8);
    assert_int_equal(location.pieces[0].source, XCTX_SOURCE_CONSTANT);
}

SCENE(constants_extend_their_sign)
{
    EXPECT(0xff, DW_OP_const1u, 0xff);
    EXPECT(-1, DW_OP_const1s, 0xff);
    EXPECT(0xfffe, DW_OP_const2u, 0xfe, 0xff);
    EXPECT(-2, DW_OP_const2s, 0xfe, 0xff);
    EXPECT(0xfffffffd, DW_OP_const4u, 0xfd, 0xff, 0xff, 0xff);
    EXPECT(-3, DW_OP_const4s, 0xfd, 0xff, 0xff, 0xff);
    EXPECT(-4, DW_OP_const8u, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    EXPECT(-4, DW_OP_const8s, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff);
    EXPECT(300, DW_OP_constu, 0xac, 0x02);
    EXPECT(-300, DW_OP_consts, 0xd4, 0x7d);
}

SCENE(stack_operations_move_values)
{
    EXPECT(2, DW_OP_lit1, DW_OP_dup, DW_OP_plus);
    EXPECT(1, DW_OP_lit1, DW_OP_lit2, DW_OP_drop);
    EXPECT(1, DW_OP_lit1, DW_OP_lit2, DW_OP_over);
    EXPECT(1, DW_OP_lit1, DW_OP_lit2, DW_OP_lit3, DW_OP_pick, 2);
    EXPECT(1, DW_OP_lit1, DW_OP_lit2, DW_OP_swap);
    /* 1 2 3 becomes 3 1 2. */
    EXPECT(2, DW_OP_lit1, DW_OP_lit2, DW_OP_lit3, DW_OP_rot);
    EXPECT(1, DW_OP_lit1, DW_OP_lit2, DW_OP_lit3, DW_OP_rot, DW_OP_drop);
    EXPECT(3, DW_OP_lit1, DW_OP_lit2, DW_OP_lit3, DW_OP_rot, DW_OP_drop, DW_OP_drop);
    EXPECT(7, DW_OP_lit7, DW_OP_nop);
}

SCENE(empty_stack_is_refused)
{
    EXPECT_REFUSED(DW_OP_plus);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_plus, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_drop, DW_OP_lit0);
    EXPECT_REFUSED(DW_OP_dup);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_over);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_pick, 1);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_lit2, DW_OP_rot, DW_OP_lit1);
    EXPECT_REFUSED(DW_OP_deref);
    EXPECT_REFUSED(DW_OP_stack_value);
}

SCENE(stack_that_is_full_is_refused)
{
    uint8_t bytes[XCTX__STACK + 2];

    memset(bytes, DW_OP_lit1, sizeof(bytes));
    bytes[XCTX__STACK] = DW_OP_stack_value;
    scene_expect(scene_locate(bytes, XCTX__STACK + 1), 1, 8);
    bytes[XCTX__STACK] = DW_OP_lit2;
    bytes[XCTX__STACK + 1] = DW_OP_stack_value;
    assert_int_equal(scene_locate(bytes, XCTX__STACK + 2).failed, XCTX_SOURCE_UNSUPPORTED);
}

SCENE(empty_expression_is_optimized_out)
{
    Dwarf_Attribute attribute = scene_attribute(DW_AT_location, DW_FORM_exprloc, "", 0);
    struct location location;

    xctx__locate(&scene.place, &attribute, 8, &location);
    assert_int_equal(location.failed, XCTX_SOURCE_OPTIMIZED_OUT);
    xctx__locate(&scene.place, NULL, 8, &location);
    assert_int_equal(location.failed, XCTX_SOURCE_OPTIMIZED_OUT);
}

/* ---- arithmetic ---- */

SCENE(arithmetic_of_generic_type_wraps)
{
    EXPECT(5, DW_OP_lit2, DW_OP_lit3, DW_OP_plus);
    EXPECT(-1, DW_OP_lit2, DW_OP_lit3, DW_OP_minus);
    EXPECT(-6, DW_OP_const1s, 0xfe, DW_OP_lit3, DW_OP_mul);
    EXPECT(0, DW_OP_const1s, 0xff, DW_OP_lit1, DW_OP_plus);
    EXPECT(129, DW_OP_lit1, DW_OP_plus_uconst, 0x80, 0x01);
    EXPECT(2, DW_OP_lit6, DW_OP_lit3, DW_OP_and);
    EXPECT(7, DW_OP_lit6, DW_OP_lit3, DW_OP_or);
    EXPECT(5, DW_OP_lit6, DW_OP_lit3, DW_OP_xor);
    EXPECT(-7, DW_OP_lit6, DW_OP_not);
    EXPECT(-6, DW_OP_lit6, DW_OP_neg);
    EXPECT(6, DW_OP_const1s, 0xfa, DW_OP_abs);
}

SCENE(division_is_signed_and_remainder_is_not)
{
    EXPECT(-3, DW_OP_const1s, 0xf9, DW_OP_lit2, DW_OP_div);
    EXPECT(UINT64_MAX % 10, DW_OP_const1s, 0xff, DW_OP_lit10, DW_OP_mod);
    EXPECT(7, DW_OP_const1s, 0xf9, DW_OP_const1s, 0xff, DW_OP_div);
}

SCENE(division_by_zero_is_refused)
{
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_lit0, DW_OP_div, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_lit0, DW_OP_mod, DW_OP_stack_value);
}

SCENE(smallest_number_by_minus_one_does_not_trap)
{
    EXPECT(INT64_MIN, DW_OP_const8u, 0, 0, 0, 0, 0, 0, 0, 0x80, DW_OP_const1s, 0xff, DW_OP_div);
}

SCENE(shifts_are_as_they_are_called)
{
    EXPECT(8, DW_OP_lit1, DW_OP_lit3, DW_OP_shl);
    EXPECT(UINT64_MAX >> 4, all_ones[0], all_ones[1], DW_OP_lit4, DW_OP_shr);
    EXPECT(-1, all_ones[0], all_ones[1], DW_OP_lit4, DW_OP_shra);
    EXPECT(INT64_MIN, DW_OP_lit1, DW_OP_const1u, 63, DW_OP_shl);
}

SCENE(shift_by_too_much_is_refused)
{
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_const1u, 64, DW_OP_shl, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_const1u, 64, DW_OP_shr, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_const1s, 0xff, DW_OP_shra, DW_OP_stack_value);
}

SCENE(comparison_of_generic_type_is_signed)
{
    EXPECT(1, DW_OP_const1s, 0xff, DW_OP_lit1, DW_OP_lt);
    EXPECT(0, DW_OP_const1s, 0xff, DW_OP_lit1, DW_OP_ge);
    EXPECT(1, DW_OP_lit1, DW_OP_lit1, DW_OP_le);
    EXPECT(0, DW_OP_lit1, DW_OP_lit1, DW_OP_gt);
    EXPECT(1, DW_OP_lit1, DW_OP_lit1, DW_OP_eq);
    EXPECT(1, DW_OP_lit1, DW_OP_lit2, DW_OP_ne);
}

/* ---- branches ---- */

SCENE(branch_is_taken_if_true)
{
    EXPECT(5, DW_OP_lit1, DW_OP_bra, 1, 0, DW_OP_lit4, DW_OP_lit5);
    EXPECT(4, DW_OP_lit4, DW_OP_lit0, DW_OP_bra, 1, 0, DW_OP_nop);
    EXPECT(3, DW_OP_lit3, DW_OP_skip, 1, 0, DW_OP_lit4);
}

SCENE(loop_runs_until_its_end)
{
    /* 0, 5: add 5, count down, again while that is not 0. */
    EXPECT(25, DW_OP_lit0, DW_OP_lit5, DW_OP_swap, DW_OP_plus_uconst, 5, DW_OP_swap, DW_OP_lit1, DW_OP_minus, DW_OP_dup,
           DW_OP_bra, 0xf6, 0xff, DW_OP_drop);
}

SCENE(endless_loop_is_refused)
{
    EXPECT_REFUSED(DW_OP_skip, 0xfd, 0xff);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_dup, DW_OP_bra, 0xfc, 0xff);
}

SCENE(branch_to_the_end_ends)
{
    struct location location = LOCATE(DW_OP_lit9, DW_OP_skip, 1, 0, DW_OP_nop);

    assert_int_equal(location.failed, XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(location.pieces[0].address, 9);
}

SCENE(branch_to_nowhere_is_refused)
{
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_skip, 1, 0, DW_OP_const2u, 1, 1, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_skip, 0x7f, 0, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_skip, 0x00, 0x80, DW_OP_stack_value);
}

/* ---- types ---- */

SCENE(typed_constant_has_its_size)
{
    struct scene_type s32 = scene_type("int");

    EXPECT_SIZED(0x80000001, 4, DW_OP_const_type, TYPE(s32), 4, 1, 0, 0, 0x80);
    EXPECT_SIZED(0x80000001, 4, DW_OP_GNU_const_type, TYPE(s32), 4, 1, 0, 0, 0x80);
    EXPECT_REFUSED(DW_OP_const_type, TYPE(s32), 2, 1, 0, DW_OP_stack_value);
}

SCENE(conversion_extends_by_the_sign_of_its_operand)
{
    struct scene_type s8 = scene_type("signed char");
    struct scene_type u8 = scene_type("unsigned char");
    struct scene_type s64 = scene_type("long int");
    struct scene_type u64 = scene_type("long unsigned int");

    EXPECT(-1, DW_OP_const1u, 0xff, DW_OP_convert, TYPE(s8), DW_OP_convert, TYPE(s64));
    EXPECT(-1, DW_OP_const1u, 0xff, DW_OP_convert, TYPE(s8), DW_OP_convert, TYPE(u64));
    EXPECT(255, DW_OP_const1u, 0xff, DW_OP_convert, TYPE(u8), DW_OP_convert, TYPE(s64));
    EXPECT(255, DW_OP_const1u, 0xff, DW_OP_GNU_convert, TYPE(u8), DW_OP_GNU_convert, 0);
    EXPECT_SIZED(0xff, 1, DW_OP_const2u, 0xff, 0x01, DW_OP_convert, TYPE(u8));
}

SCENE(generic_type_that_may_be_negative_is_not_widened)
{
    struct scene_type s128 = scene_type("__int128");

    EXPECT_SIZED(5, 16, DW_OP_lit5, DW_OP_convert, TYPE(s128));
    EXPECT_REFUSED(DW_OP_const1s, 0xff, DW_OP_convert, TYPE(s128), DW_OP_stack_value);
}

SCENE(typed_arithmetic_keeps_to_its_type)
{
    struct scene_type s32 = scene_type("int");
    struct scene_type u32 = scene_type("unsigned int");

    EXPECT_SIZED(0x7fffffff, 4, DW_OP_const1s, 0xfe, DW_OP_convert, TYPE(u32), DW_OP_lit2, DW_OP_convert, TYPE(u32),
                 DW_OP_div);
    EXPECT_SIZED(0xffffffff, 4, DW_OP_const1s, 0xfe, DW_OP_convert, TYPE(s32), DW_OP_lit2, DW_OP_convert, TYPE(s32),
                 DW_OP_div);
    EXPECT(0, DW_OP_const1s, 0xfe, DW_OP_convert, TYPE(u32), DW_OP_lit2, DW_OP_convert, TYPE(u32), DW_OP_lt);
    EXPECT(1, DW_OP_const1s, 0xfe, DW_OP_convert, TYPE(s32), DW_OP_lit2, DW_OP_convert, TYPE(s32), DW_OP_lt);
    EXPECT_SIZED(0xfffffffe, 4, DW_OP_const1s, 0xff, DW_OP_convert, TYPE(u32), DW_OP_lit1, DW_OP_shl);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_convert, TYPE(u32), DW_OP_const1u, 32, DW_OP_shl, DW_OP_stack_value);
}

SCENE(operands_of_different_types_are_refused)
{
    struct scene_type s32 = scene_type("int");
    struct scene_type u32 = scene_type("unsigned int");
    struct scene_type u64 = scene_type("long unsigned int");

    EXPECT_REFUSED(DW_OP_lit1, DW_OP_convert, TYPE(s32), DW_OP_lit1, DW_OP_plus, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_convert, TYPE(s32), DW_OP_lit1, DW_OP_convert, TYPE(u32), DW_OP_plus,
                   DW_OP_stack_value);
    EXPECT(2, DW_OP_lit1, DW_OP_convert, TYPE(u64), DW_OP_lit1, DW_OP_plus);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_convert, TYPE(u64), DW_OP_lit1, DW_OP_div, DW_OP_stack_value);
}

SCENE(floating_point_is_computed)
{
    struct scene_type f64 = scene_type("double");
    struct scene_type f32 = scene_type("float");
    struct scene_type s32 = scene_type("int");
    double third = 1.0 / 3.0;
    uint64_t bits;
    float half = 0.5f;
    uint32_t half_bits;

    memcpy(&bits, &third, sizeof(bits));
    memcpy(&half_bits, &half, sizeof(half_bits));
    EXPECT(bits, DW_OP_lit1, DW_OP_convert, TYPE(f64), DW_OP_lit3, DW_OP_convert, TYPE(f64), DW_OP_div);
    EXPECT_SIZED(half_bits, 4, DW_OP_lit1, DW_OP_convert, TYPE(f32), DW_OP_lit2, DW_OP_convert, TYPE(f32), DW_OP_div);
    EXPECT_SIZED(0xfffffffd, 4, DW_OP_lit7, DW_OP_convert, TYPE(f64), DW_OP_lit2, DW_OP_convert, TYPE(f64), DW_OP_div,
                 DW_OP_neg, DW_OP_convert, TYPE(s32));
    EXPECT(1, DW_OP_lit1, DW_OP_convert, TYPE(f64), DW_OP_lit2, DW_OP_convert, TYPE(f64), DW_OP_lt);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_convert, TYPE(f64), DW_OP_lit0, DW_OP_convert, TYPE(f64), DW_OP_div,
                   DW_OP_stack_value);
}

SCENE(float_that_fits_no_integer_is_refused)
{
    struct scene_type f64 = scene_type("double");
    struct scene_type s8 = scene_type("signed char");
    struct scene_type u8 = scene_type("unsigned char");

    EXPECT_SIZED(0x80, 1, DW_OP_const1u, 0x80, DW_OP_convert, TYPE(f64), DW_OP_neg, DW_OP_convert, TYPE(s8));
    EXPECT_REFUSED(DW_OP_const1u, 0x80, DW_OP_convert, TYPE(f64), DW_OP_convert, TYPE(s8), DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_convert, TYPE(f64), DW_OP_neg, DW_OP_convert, TYPE(u8), DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_const1s, 0xff, DW_OP_convert, TYPE(f64), DW_OP_stack_value);
}

SCENE(reinterpretation_keeps_the_bits)
{
    struct scene_type f64 = scene_type("double");
    struct scene_type s32 = scene_type("int");
    double one = 1.0;
    uint64_t bits;

    memcpy(&bits, &one, sizeof(bits));
    EXPECT(bits, DW_OP_lit1, DW_OP_convert, TYPE(f64), DW_OP_reinterpret, 0);
    EXPECT(bits, DW_OP_lit1, DW_OP_convert, TYPE(f64), DW_OP_GNU_reinterpret, 0);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_reinterpret, TYPE(s32), DW_OP_stack_value);
}

SCENE(type_that_is_no_base_type_is_refused)
{
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_convert, 11, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_convert, 0xff, 0xff, 0x7f, DW_OP_stack_value);
}

/* ---- registers and memory ---- */

SCENE(register_and_offset_is_computed)
{
    struct location location = LOCATE(DW_OP_breg3, 0x7f, DW_OP_stack_value);

    scene_expect(location, UINT64_C(0x1111000000001002), 8);
    assert_int_equal(location.pieces[0].source, XCTX_SOURCE_COMPUTED);
    EXPECT(UINT64_C(0x1111000000001005), DW_OP_bregx, 3, 2);
}

SCENE(register_that_is_not_known_says_why)
{
    unsigned clobbered = XCTX__DWARF_REGISTERS, preserved = XCTX__DWARF_REGISTERS;

    for (unsigned i = 0; i < XCTX__REGISTER_PC; i++) {
        if (XCTX__REGISTERS_OF_CALL >> i & 1)
            preserved = i;
        else
            clobbered = i;
    }
    scene.frames[0].registers.known = 0;
    EXPECT_FAILED(XCTX_SOURCE_NOT_CAPTURED, (uint8_t)(DW_OP_breg0 + clobbered), 0, DW_OP_stack_value);
    scene.place.index = 1;
    EXPECT_FAILED(XCTX_SOURCE_OPTIMIZED_OUT, (uint8_t)(DW_OP_breg0 + clobbered), 0, DW_OP_stack_value);
    scene.frames[1].registers.known = 0;
    EXPECT_FAILED(XCTX_SOURCE_NOT_CAPTURED, (uint8_t)(DW_OP_breg0 + preserved), 0, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_bregx, 60, 0);
}

SCENE(registers_of_no_frame_are_refused)
{
    scene.place.index = scene.place.frame_count;
    EXPECT_REFUSED(DW_OP_breg3, 0);
    EXPECT_FAILED(XCTX_SOURCE_NOT_CAPTURED, DW_OP_call_frame_cfa);
}

SCENE(typed_register_has_the_low_bytes)
{
    struct scene_type s16 = scene_type("short int");
    struct scene_type f64 = scene_type("double");

    EXPECT_SIZED(0x1003, 2, DW_OP_regval_type, 3, TYPE(s16));
    EXPECT_SIZED(UINT64_C(0x1716151413121110), 8, DW_OP_GNU_regval_type, XCTX__DWARF_VECTOR_FIRST, TYPE(f64));
    EXPECT_FAILED(XCTX_SOURCE_NOT_CAPTURED, DW_OP_regval_type, XCTX__DWARF_VECTOR_FIRST + 1, TYPE(f64));
}

SCENE(memory_is_dereferenced)
{
    struct scene_type s16 = scene_type("short int");

    EXPECT(UINT64_C(0xa7a6a5a4a3a2a1a0), DW_OP_const4u, 0, 0, 0, 0x70, DW_OP_deref);
    EXPECT(0xa2a1, DW_OP_const4u, 1, 0, 0, 0x70, DW_OP_deref_size, 2);
    EXPECT_SIZED(0xa2a1, 2, DW_OP_const4u, 1, 0, 0, 0x70, DW_OP_deref_type, 2, TYPE(s16));
    EXPECT_SIZED(0xa2a1, 2, DW_OP_const4u, 1, 0, 0, 0x70, DW_OP_GNU_deref_type, 2, TYPE(s16));
    EXPECT_REFUSED(DW_OP_const4u, 1, 0, 0, 0x70, DW_OP_deref_type, 4, TYPE(s16));
    EXPECT_REFUSED(DW_OP_const4u, 1, 0, 0, 0x70, DW_OP_deref_size, 9);
    EXPECT_REFUSED(DW_OP_const4u, 1, 0, 0, 0x70, DW_OP_deref_size, 0);
}

SCENE(memory_that_is_not_captured_is_said_so)
{
    EXPECT_FAILED(XCTX_SOURCE_NOT_CAPTURED, DW_OP_const4u, 60, 0, 0, 0x70, DW_OP_deref);
    EXPECT_FAILED(XCTX_SOURCE_UNREADABLE, DW_OP_lit0, DW_OP_deref);
}

SCENE(frame_address_is_known)
{
    EXPECT(SCENE_CFA, DW_OP_call_frame_cfa);
    scene.frames[0].cfa = 0;
    EXPECT_FAILED(XCTX_SOURCE_NOT_CAPTURED, DW_OP_call_frame_cfa);
}

/* A function whose frame base is the frame pointer or the CFA, as compilers have it: the scene has both at one place.
 */
__attribute__((noinline)) static int framed(int argument)
{
    volatile int local = argument;

    return local;
}

SCENE(frame_base_is_that_of_the_function)
{
    Dwarf_Die die;
    Dwarf_Attribute base;
    bool found = false;

    assert_int_equal(framed(3), 3);
    EXPECT_REFUSED(DW_OP_fbreg, 0);
    assert_int_equal(dwarf_child(&scene.place.unit, &die), 0);
    do {
        const char *name = dwarf_diename(&die);
        found = dwarf_tag(&die) == DW_TAG_subprogram && name && strcmp(name, "framed") == 0 &&
                dwarf_attr(&die, DW_AT_frame_base, &base);
    } while (!found && dwarf_siblingof(&die, &die) == 0);
    assert_true(found);
    scene.place.has_function = true;
    scene.place.function = die;
    scene.frames[0].registers.value[XCTX__REGISTER_SP] = SCENE_CFA;
    EXPECT(SCENE_CFA - 16, DW_OP_fbreg, 0x70);
}

SCENE(object_address_is_pushed_if_there_is_one)
{
    EXPECT_REFUSED(DW_OP_push_object_address);
    scene.place.has_object = true;
    scene.place.object = 0x5555;
    EXPECT(0x5556, DW_OP_push_object_address, DW_OP_lit1, DW_OP_plus);
}

SCENE(other_address_spaces_are_refused)
{
    EXPECT_REFUSED(DW_OP_lit0, DW_OP_form_tls_address);
    EXPECT_REFUSED(DW_OP_lit0, DW_OP_GNU_push_tls_address);
    EXPECT_REFUSED(DW_OP_lit0, DW_OP_lit0, DW_OP_xderef);
    EXPECT_REFUSED(DW_OP_lit0, DW_OP_lit0, DW_OP_xderef_size, 1);
}

SCENE(entry_value_without_a_caller_is_not_known)
{
    EXPECT_FAILED(XCTX_SOURCE_OPTIMIZED_OUT, DW_OP_entry_value, 1, DW_OP_reg5, DW_OP_stack_value);
    EXPECT_FAILED(XCTX_SOURCE_OPTIMIZED_OUT, DW_OP_GNU_entry_value, 1, DW_OP_reg5, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_entry_value, 2, DW_OP_lit1, DW_OP_lit2, DW_OP_stack_value);
    EXPECT_REFUSED(DW_OP_entry_value, 3, DW_OP_breg5, 8, DW_OP_deref, DW_OP_stack_value);
}

/* ---- what the object is ---- */

SCENE(register_is_where_the_object_is)
{
    struct location location = LOCATE(DW_OP_reg3);

    assert_int_equal(location.count, 1);
    assert_int_equal(location.pieces[0].kind, PIECE_REGISTER);
    assert_int_equal(location.pieces[0].reg, 3);
    assert_int_equal(LOCATE(DW_OP_regx, 40).pieces[0].reg, 40);
}

SCENE(implicit_value_is_constant)
{
    struct location location = LOCATE(DW_OP_implicit_value, 3, 7, 8, 9);

    assert_int_equal(location.count, 1);
    assert_int_equal(location.pieces[0].kind, PIECE_VALUE);
    assert_int_equal(location.pieces[0].source, XCTX_SOURCE_CONSTANT);
    assert_int_equal(location.pieces[0].byte_count, 3);
    assert_memory_equal(location.pieces[0].bytes, "\7\10\11", 3);
}

SCENE(nothing_may_follow_a_value)
{
    EXPECT_REFUSED(DW_OP_lit1, DW_OP_stack_value, DW_OP_lit1);
    EXPECT_REFUSED(DW_OP_reg3, DW_OP_lit1);
    EXPECT_REFUSED(DW_OP_reg3, DW_OP_reg2);
    EXPECT_REFUSED(DW_OP_reg3, DW_OP_piece, 4, DW_OP_reg2);
}

SCENE(uninitialized_is_allowed_at_the_end)
{
    assert_int_equal(LOCATE(DW_OP_reg3, DW_OP_GNU_uninit).pieces[0].kind, PIECE_REGISTER);
    EXPECT_REFUSED(DW_OP_GNU_uninit, DW_OP_lit1);
}

SCENE(pieces_are_put_together)
{
    struct location location = LOCATE(DW_OP_reg3, DW_OP_piece, 4, DW_OP_piece, 2, DW_OP_lit5, DW_OP_stack_value,
                                      DW_OP_bit_piece, 3, 1, DW_OP_const4u, 8, 0, 0, 0x70, DW_OP_piece, 8);

    assert_int_equal(location.failed, XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(location.count, 4);
    assert_int_equal(location.pieces[0].kind, PIECE_REGISTER);
    assert_int_equal(location.pieces[0].bit_size, 32);
    assert_int_equal(location.pieces[1].kind, PIECE_NONE);
    assert_int_equal(location.pieces[1].bit_size, 16);
    assert_int_equal(location.pieces[2].kind, PIECE_VALUE);
    assert_int_equal(location.pieces[2].bit_size, 3);
    assert_int_equal(location.pieces[2].bit_offset, 1);
    assert_int_equal(location.pieces[3].kind, PIECE_MEMORY);
    assert_int_equal(location.pieces[3].address, SCENE_STACK + 8);
}

SCENE(too_many_pieces_are_refused)
{
    uint8_t bytes[3 * (XCTX__PIECES + 1)];

    for (unsigned i = 0; i <= XCTX__PIECES; i++) {
        bytes[3 * i] = DW_OP_reg3;
        bytes[3 * i + 1] = DW_OP_piece;
        bytes[3 * i + 2] = 1;
    }
    assert_int_equal(scene_locate(bytes, 3 * XCTX__PIECES).count, XCTX__PIECES);
    assert_int_equal(scene_locate(bytes, sizeof(bytes)).failed, XCTX_SOURCE_UNSUPPORTED);
}

SCENE(piece_of_absurd_size_is_refused)
{
    EXPECT_REFUSED(DW_OP_reg3, DW_OP_piece, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01);
    EXPECT_REFUSED(DW_OP_reg3, DW_OP_bit_piece, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01);
}

/* ---- constants and numbers ---- */

static struct location locate_form(unsigned form, const uint8_t *bytes, uint64_t size)
{
    static struct location location;
    Dwarf_Attribute attribute = {
        .code = DW_AT_const_value, .form = form, .valp = (unsigned char *)(uintptr_t)bytes, .cu = scene.place.unit.cu};

    xctx__locate(&scene.place, &attribute, size, &location);
    return location;
}

SCENE(constant_value_has_the_size_of_its_object)
{
    static const uint8_t minus_two[] = {0x7e}, data[] = {0xfe}, text[] = "hi", block[] = {2, 5, 6};
    uint8_t ones[16];

    memset(ones, 0xff, sizeof(ones));
    scene_expect(locate_form(DW_FORM_sdata, minus_two, 4), 0xfffffffe, 4);
    scene_expect(locate_form(DW_FORM_sdata, minus_two, 8), (uint64_t)-2, 8);
    scene_expect(locate_form(DW_FORM_sdata, minus_two, 16), (uint64_t)-2, 16);
    assert_memory_equal(locate_form(DW_FORM_sdata, minus_two, 16).pieces[0].bytes + 1, ones, 15);
    scene_expect(locate_form(DW_FORM_data1, data, 4), 0xfe, 4);
    scene_expect(locate_form(DW_FORM_string, text, 3), 0x6968, 3);
    scene_expect(locate_form(DW_FORM_block1, block, 2), 0x0605, 2);
}

SCENE(number_is_what_an_expression_computes)
{
    int64_t number = 0;
    static const uint8_t bytes[] = {DW_OP_const4u, 0, 0, 0, 0x70, DW_OP_deref_size, 1};
    static const uint8_t failing[] = {DW_OP_const4u, 60, 0, 0, 0x70, DW_OP_deref};
    Dwarf_Attribute attribute = scene_attribute(DW_AT_upper_bound, DW_FORM_exprloc, bytes, sizeof(bytes));
    Dwarf_Attribute unknown = scene_attribute(DW_AT_upper_bound, DW_FORM_exprloc, failing, sizeof(failing));

    assert_int_equal(xctx__number(&scene.place, &attribute, &number), XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(number, 0xa0);
    assert_int_equal(xctx__number(&scene.place, &unknown, &number), XCTX_SOURCE_NOT_CAPTURED);
    assert_int_equal(xctx__number(&scene.place, NULL, &number), XCTX_SOURCE_UNSUPPORTED);
}

SCENE(member_is_at_its_offset)
{
    static const uint8_t offset[] = {12}, plus[] = {DW_OP_plus_uconst, 12};
    Dwarf_Attribute constant = {.code = DW_AT_data_member_location,
                                .form = DW_FORM_data1,
                                .valp = (unsigned char *)(uintptr_t)offset,
                                .cu = scene.place.unit.cu};
    Dwarf_Attribute computed = scene_attribute(DW_AT_data_member_location, DW_FORM_exprloc, plus, sizeof(plus));
    uint64_t address = 0;
    int64_t number = 0;

    assert_int_equal(xctx__member_address(&scene.place, &constant, 1000, &address), XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(address, 1012);
    assert_int_equal(xctx__member_address(&scene.place, &computed, 2000, &address), XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(address, 2012);
    assert_int_equal(xctx__number(&scene.place, &constant, &number), XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(number, 12);
    assert_int_equal(xctx__number(&scene.place, &computed, &number), XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(number, 12);
}

/* Any bytes at all: nothing may crash, hang or be undefined. */
SCENE(random_expressions_end)
{
    uint64_t random = 88172645463325252u;
    uint8_t bytes[24];

    for (long round = 0; round < scaled(400); round++) {
        for (size_t i = 0; i < sizeof(bytes); i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes[i] = (uint8_t)(random >> 32);
        }
        struct location location = scene_locate(bytes, 1 + random % sizeof(bytes));
        assert_true(location.failed == XCTX_SOURCE_SNAPSHOT || location.failed >= XCTX_SOURCE_OPTIMIZED_OUT);
        assert_true(location.failed != XCTX_SOURCE_SNAPSHOT || location.count > 0);
    }
}

int main(void)
{
    return test_main("inspect: expressions");
}
