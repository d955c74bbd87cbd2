/* SPDX-License-Identifier: MIT */
/* Objects that are put together of what is known of them. */
#include "evaluate_support.h"
#include "inspect/type.h"

static struct value fetch(const struct location *location, uint64_t size)
{
    static struct value value;

    memset(&value, 0, sizeof(value));
    assert_int_equal(xctx__value_fetch(&scene.place, location, size, MEMORY_STACK, &value), 0);
    return value;
}

static struct location one_piece(struct piece piece)
{
    static struct location location;

    memset(&location, 0, sizeof(location));
    location.count = 1;
    location.pieces[0] = piece;
    return location;
}

SCENE(memory_is_fetched_as_a_whole)
{
    struct location location = one_piece((struct piece){.kind = PIECE_MEMORY, .address = SCENE_STACK + 4});
    struct value value = fetch(&location, 4);

    assert_memory_equal(value.bytes, "\xa4\xa5\xa6\xa7", 4);
    assert_true(value.in_memory);
    assert_int_equal(value.address, SCENE_STACK + 4);
    assert_int_equal(value.source, XCTX_SOURCE_SNAPSHOT);
    assert_null(value.reg);
    assert_int_equal(xctx__value_state(&value, 0, 4), BYTE_KNOWN);
}

SCENE(memory_that_is_cut_off_is_known_up_to_there)
{
    struct location location = one_piece((struct piece){.kind = PIECE_MEMORY, .address = SCENE_STACK + 59});
    struct value value = fetch(&location, 100);

    assert_int_equal(xctx__value_state(&value, 0, 5), BYTE_KNOWN);
    assert_int_equal(value.bytes[4], 0xdf);
    assert_int_equal(xctx__value_state(&value, 5, 95), BYTE_MISSING);
    assert_int_equal(xctx__value_state(&value, 4, 2), -1);
    assert_int_equal(value.source, XCTX_SOURCE_SNAPSHOT);
}

SCENE(memory_whose_beginning_is_missing_is_known_from_there)
{
    struct location location = one_piece((struct piece){.kind = PIECE_MEMORY, .address = SCENE_STACK - 7});
    struct value value = fetch(&location, 16);

    assert_int_equal(xctx__value_state(&value, 0, 7), BYTE_MISSING);
    assert_int_equal(xctx__value_state(&value, 7, 9), BYTE_KNOWN);
    assert_int_equal(value.bytes[7], 0xa0);
    assert_int_equal(value.bytes[15], 0xa8);
}

SCENE(memory_that_is_not_there_says_why)
{
    struct value value;

    assert_int_equal(xctx__value_at(&scene.place, SCENE_STACK + 4096, 8, MEMORY_STACK, &value), 0);
    assert_int_equal(value.source, XCTX_SOURCE_NOT_CAPTURED);
    assert_int_equal(xctx__value_state(&value, 0, 8), BYTE_MISSING);
    assert_int_equal(xctx__value_at(&scene.place, 16, 8, MEMORY_STACK, &value), 0);
    assert_int_equal(value.source, XCTX_SOURCE_UNREADABLE);
    assert_int_equal(xctx__value_at(&scene.place, UINT64_MAX - 3, 8, MEMORY_STACK, &value), 0);
    assert_int_equal(value.source, XCTX_SOURCE_UNREADABLE);
}

SCENE(large_object_is_fetched_up_to_the_limit)
{
    struct value value;

    assert_int_equal(xctx__value_at(&scene.place, SCENE_STACK, UINT64_C(1) << 40, MEMORY_STACK, &value), 0);
    assert_int_equal(value.size, UINT64_C(1) << 40);
    assert_int_equal(value.fetched, XCTX__VALUE_LIMIT);
    assert_int_equal(xctx__value_state(&value, 0, SCENE_STACK_SIZE), BYTE_KNOWN);
    assert_int_equal(xctx__value_state(&value, SCENE_STACK_SIZE, 1), BYTE_MISSING);
    assert_int_equal(xctx__value_state(&value, XCTX__VALUE_LIMIT, 1), -1);
}

SCENE(register_has_a_name_and_its_low_bytes)
{
    struct location location = one_piece((struct piece){.kind = PIECE_REGISTER, .reg = 3});
    struct value value = fetch(&location, 4);

    assert_memory_equal(value.bytes, "\x03\x10\x00\x00", 4);
    assert_string_equal(value.reg, xctx__register_names[3]);
    assert_int_equal(value.source, XCTX_SOURCE_REGISTER);
    assert_false(value.in_memory);
}

SCENE(object_wider_than_its_register_is_not_guessed)
{
    struct location location = one_piece((struct piece){.kind = PIECE_REGISTER, .reg = 3});
    struct value value = fetch(&location, 16);

    assert_int_equal(xctx__value_state(&value, 0, 8), BYTE_KNOWN);
    assert_int_equal(xctx__value_state(&value, 8, 8), BYTE_OPTIMIZED_OUT);
}

SCENE(wide_vector_register_is_captured_in_part)
{
    struct location location = one_piece((struct piece){.kind = PIECE_REGISTER, .reg = XCTX__DWARF_VECTOR_FIRST});
    struct value value = fetch(&location, 32);

    assert_int_equal(xctx__value_state(&value, 0, 16), BYTE_KNOWN);
    assert_int_equal(value.bytes[15], 0x1f);
    assert_int_equal(xctx__value_state(&value, 16, 16), BYTE_MISSING);
    assert_string_equal(value.reg, XCTX__VECTOR_NAME "0");
}

SCENE(register_that_is_not_known_has_no_bytes)
{
    struct location location = one_piece((struct piece){.kind = PIECE_REGISTER, .reg = 3});

    scene.frames[0].registers.known = 0;
    struct value value = fetch(&location, 8);
    assert_int_equal(value.source, XCTX_SOURCE_NOT_CAPTURED);
    assert_int_equal(xctx__value_state(&value, 0, 8), BYTE_MISSING);
}

SCENE(pieces_that_are_known_show_among_those_that_are_not)
{
    struct location location = LOCATE(DW_OP_reg3, DW_OP_piece, 4, DW_OP_piece, 2, DW_OP_lit5, DW_OP_stack_value,
                                      DW_OP_piece, 2, DW_OP_const4u, 8, 0, 0, 0x70, DW_OP_piece, 4);
    struct value value = fetch(&location, 16);

    assert_memory_equal(value.bytes, "\x03\x10\x00\x00", 4);
    assert_int_equal(xctx__value_state(&value, 0, 4), BYTE_KNOWN);
    assert_int_equal(xctx__value_state(&value, 4, 2), BYTE_OPTIMIZED_OUT);
    assert_int_equal(xctx__value_state(&value, 6, 6), BYTE_KNOWN);
    assert_memory_equal(value.bytes + 6, "\5\0\xa8\xa9\xaa\xab", 6);
    assert_int_equal(xctx__value_state(&value, 12, 4), BYTE_OPTIMIZED_OUT);
    assert_null(value.reg);
    assert_false(value.in_memory);
    assert_int_equal(value.source, XCTX_SOURCE_REGISTER);
}

SCENE(pieces_of_bits_are_put_together)
{
    /* Bits 4 to 6 of 0b1010000, then bits 1 to 5 of the stack's first byte, 0b10100000, then nothing. */
    struct location location =
        LOCATE(DW_OP_const1u, 0x50, DW_OP_stack_value, DW_OP_bit_piece, 3, 4, DW_OP_const4u, 0, 0, 0, 0x70,
               DW_OP_bit_piece, 5, 1, DW_OP_bit_piece, 4, 0, DW_OP_lit3, DW_OP_stack_value, DW_OP_bit_piece, 4, 0);
    struct value value = fetch(&location, 2);

    assert_int_equal(value.bytes[0], 0x5 | 0x10 << 3);
    assert_int_equal(xctx__value_state(&value, 0, 1), BYTE_KNOWN);
    /* The second byte is known in part. */
    assert_int_equal(xctx__value_state(&value, 1, 1), -1);
    assert_int_equal(value.bytes[1] >> 4, 3);
    uint8_t states[2];
    xctx__value_bit_states(&value, 12, 4, states);
    assert_int_equal(states[0], BYTE_KNOWN);
    xctx__value_bit_states(&value, 11, 2, states);
    assert_int_equal(states[0], BYTE_OPTIMIZED_OUT);
    xctx__value_bit_states(&value, 7, 3, states);
    assert_int_equal(states[0], BYTE_KNOWN);
    assert_int_equal(states[1], BYTE_OPTIMIZED_OUT);
}

struct bit_fields {
    unsigned low : 3;
    unsigned middle : 5;
    int high : 4;
    int straddling : 6;
    unsigned last : 6;
    unsigned char byte;
};

/* What is written of such a structure at a location. */
static const char *written(const struct location *location)
{
    static struct bit_fields object;
    struct value value = fetch(location, sizeof(object));
    struct text text = {.limit = 1024};
    struct rendering rendering = {.text = &text};
    Dwarf_Die die;

    __asm__ volatile("" : : "r"(&object) : "memory");
    assert_int_equal(dwarf_child(&scene.place.unit, &die), 0);
    while (!dwarf_diename(&die) || strcmp(dwarf_diename(&die), "bit_fields") != 0)
        assert_int_equal(dwarf_siblingof(&die, &die), 0);
    assert_int_equal(xctx__render(&scene.place, &die, &value, &rendering), XCTX_SOURCE_SNAPSHOT);
    const char *copy = xctx__arena_string(&scene.arena, text.bytes);
    xctx__text_destroy(&text);
    return copy;
}

SCENE(bit_fields_do_not_need_their_neighbours)
{
    /* Bits 3 to 11, then nothing, then bits 18 to 23 and the last byte. */
    struct location location =
        LOCATE(DW_OP_bit_piece, 3, 0, DW_OP_const2u, 0x91, 0x1, DW_OP_stack_value, DW_OP_bit_piece, 9, 0,
               DW_OP_bit_piece, 6, 0, DW_OP_const2u, 0xaa, 0x41, DW_OP_stack_value, DW_OP_bit_piece, 14, 0);

    assert_string_equal(written(&location), "{low = <optimized out>, middle = 17, high = -4, "
                                            "straddling = <optimized out>, last = 42, byte = 6 '\\006'}");
}

SCENE(number_that_is_known_in_part_is_none)
{
    struct location location = LOCATE(DW_OP_const1u, 0xff, DW_OP_stack_value, DW_OP_bit_piece, 30, 0);

    assert_string_equal(written(&location), "{low = 7, middle = 31, high = 0, straddling = 0, last = 0, "
                                            "byte = <optimized out>}");
}

SCENE(constant_x87_number_may_come_without_its_padding)
{
    static const uint8_t six[10] = {[7] = 0xc0, [8] = 0x01, [9] = 0x40};
    Dwarf_Attribute attribute = scene_attribute(DW_AT_const_value, DW_FORM_block, six, sizeof(six));
    struct location location;

    xctx__locate(&scene.place, &attribute, 16, &location);
    struct value value = fetch(&location, 16);
    assert_int_equal(xctx__value_state(&value, 0, 16), BYTE_KNOWN);
    assert_memory_equal(value.bytes, six, sizeof(six));
    assert_int_equal(value.source, XCTX_SOURCE_CONSTANT);
    /* What is no such number is not made longer. */
    xctx__locate(&scene.place, &attribute, 12, &location);
    value = fetch(&location, 12);
    assert_int_equal(xctx__value_state(&value, 10, 2), BYTE_OPTIMIZED_OUT);
}

SCENE(failed_location_has_no_bytes)
{
    struct location location = {.failed = XCTX_SOURCE_UNSUPPORTED};
    struct value value = fetch(&location, 8);

    assert_int_equal(value.source, XCTX_SOURCE_UNSUPPORTED);
    assert_int_equal(xctx__value_state(&value, 0, 8), BYTE_OPTIMIZED_OUT);
}

SCENE(part_of_a_value_shares_its_bytes)
{
    struct location location = one_piece((struct piece){.kind = PIECE_MEMORY, .address = SCENE_STACK + 60});
    struct value value = fetch(&location, 8);
    struct value part = xctx__value_part(&value, 2, 4);

    assert_int_equal(part.size, 4);
    assert_ptr_equal(part.bytes, value.bytes + 2);
    assert_int_equal(part.address, SCENE_STACK + 62);
    assert_int_equal(xctx__value_state(&part, 0, 2), BYTE_KNOWN);
    assert_int_equal(xctx__value_state(&part, 2, 2), BYTE_MISSING);
}

SCENE(empty_object_has_nothing_missing)
{
    struct location location = one_piece((struct piece){.kind = PIECE_MEMORY, .address = SCENE_STACK});
    struct value value = fetch(&location, 0);

    assert_int_equal(value.source, XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(xctx__value_state(&value, 0, 0), BYTE_KNOWN);
}

SCENE(synthetic_pointer_is_marked_and_leads_nowhere_without_a_target)
{
    struct location location = one_piece((struct piece){.kind = PIECE_POINTER, .target = 1, .offset = 0});
    struct value value = fetch(&location, 8);
    struct value target;

    assert_int_equal(xctx__value_state(&value, 0, 8), BYTE_SYNTHETIC);
    assert_non_null(value.pointer);
    assert_int_equal(xctx__value_follow(&scene.place, &value, 4, &target), -ENODATA);
}

int main(void)
{
    return test_main("inspect: values");
}
