/* SPDX-License-Identifier: MIT */
/*
 * The operations of DWARF expressions: see evaluate.h.
 *
 * An expression runs on a stack of typed numbers. Some operations say what the object is instead of where; those are
 * noted in `subject`, and only a piece, DW_OP_GNU_uninit or the end may follow. Every failure is kept in `failed`,
 * which ends the run: there is no other error.
 *
 * Stack values are copied, never pointed to. What lasts (the bytes of pieces) is in the report's arena.
 */
#include <dwarf.h>
#include <string.h>

#include "evaluate_internal.h"

enum { CALLS = 8 }; /* DW_OP_call* within each other */

/* ---- pieces ---- */

static enum xctx_source value_source(const struct evaluation *evaluation)
{
    if (evaluation->live)
        return XCTX_SOURCE_LIVE;
    if (evaluation->used_entry)
        return XCTX_SOURCE_ENTRY_VALUE;
    return evaluation->used_state ? XCTX_SOURCE_COMPUTED : XCTX_SOURCE_CONSTANT;
}

static void piece_of_value(struct evaluation *evaluation, struct piece *piece)
{
    struct number number = xctx__evaluation_pop(evaluation);
    uint8_t *bytes = xctx__arena_allocate(evaluation->place->arena, number.size);

    if (!bytes) {
        xctx__evaluation_refuse(evaluation);
        return;
    }
    memcpy(bytes, &number.bits, number.size);
    *piece = (struct piece){
        .kind = PIECE_VALUE, .source = value_source(evaluation), .bytes = bytes, .byte_count = number.size};
}

/* Adds what the operations have said to the location. */
static void add_piece(struct evaluation *evaluation, uint64_t bit_size, uint64_t bit_offset)
{
    struct location *location = evaluation->location;
    struct piece piece = {.kind = PIECE_NONE};

    if (!location || location->count == XCTX__PIECES) {
        xctx__evaluation_refuse(evaluation);
        return;
    }
    switch (evaluation->subject) {
    case SUBJECT_STACK:
        if (evaluation->depth > 0)
            piece = (struct piece){.kind = PIECE_MEMORY, .address = xctx__evaluation_pop_address(evaluation)};
        break;
    case SUBJECT_REGISTER:
        piece = (struct piece){.kind = PIECE_REGISTER, .reg = evaluation->reg};
        break;
    case SUBJECT_VALUE:
        piece_of_value(evaluation, &piece);
        break;
    case SUBJECT_BYTES:
        piece = (struct piece){.kind = PIECE_VALUE,
                               .source = XCTX_SOURCE_CONSTANT,
                               .bytes = evaluation->bytes.data,
                               .byte_count = evaluation->bytes.length};
        break;
    case SUBJECT_POINTER:
        piece = (struct piece){.kind = PIECE_POINTER, .target = evaluation->target, .offset = evaluation->offset};
        break;
    }
    piece.bit_size = bit_size;
    piece.bit_offset = bit_offset;
    location->pieces[location->count++] = piece;
    evaluation->subject = SUBJECT_STACK;
}

/* Sizes that no object has are refused: nothing computed from them overflows. */
static void take_piece(struct evaluation *evaluation, uint64_t bit_size, uint64_t bit_offset)
{
    const uint64_t most = UINT64_C(1) << 40;

    if (bit_size > most || bit_offset > most)
        xctx__evaluation_refuse(evaluation);
    else if (bit_size > 0)
        add_piece(evaluation, bit_size, bit_offset);
}

/* ---- running ---- */

/* DW_OP_call*: the location of another entry as a part of this expression. */
static void call(struct evaluation *evaluation, const Dwarf_Op *operation);

/* DW_OP_reg*: the object is in a register. */
static bool run_register(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    unsigned atom = operation->atom;

    if (!(atom >= DW_OP_reg0 && atom <= DW_OP_reg31) && atom != DW_OP_regx)
        return false;
    evaluation->reg = atom == DW_OP_regx ? (unsigned)operation->number : atom - DW_OP_reg0;
    evaluation->subject = SUBJECT_REGISTER;
    if (atom == DW_OP_regx && operation->number > UINT32_MAX)
        xctx__evaluation_refuse(evaluation);
    return true;
}

/* Operations that look elsewhere, or say what the object is. What is in none of these functions is not supported: other
   address spaces, what comes after DWARF 5. */
static bool run_other(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    switch (operation->atom) {
    case DW_OP_call2:
    case DW_OP_call4:
    case DW_OP_call_ref:
        call(evaluation, operation);
        return true;
    case DW_OP_stack_value:
        evaluation->subject = SUBJECT_VALUE;
        return true;
    case DW_OP_implicit_value:
        evaluation->subject = SUBJECT_BYTES;
        if (dwarf_getlocation_implicit_value(evaluation->attribute, operation, &evaluation->bytes) != 0)
            xctx__evaluation_refuse(evaluation);
        return true;
    case DW_OP_implicit_pointer:
    case DW_OP_GNU_implicit_pointer:
        evaluation->subject = SUBJECT_POINTER;
        evaluation->target = operation->number;
        evaluation->offset = (int64_t)operation->number2;
        return true;
    default:
        return false;
    }
}

/* Whether an operation is one byte, so that its end is known. */
static bool is_plain(unsigned atom)
{
    return atom == DW_OP_deref || (atom >= DW_OP_dup && atom <= DW_OP_over) ||
           (atom >= DW_OP_swap && atom <= DW_OP_plus) || (atom >= DW_OP_shl && atom <= DW_OP_xor) ||
           (atom >= DW_OP_eq && atom <= DW_OP_ne) || (atom >= DW_OP_lit0 && atom <= DW_OP_reg31) || atom == DW_OP_nop ||
           atom == DW_OP_stack_value;
}

/* Where a branch leads: which operation is next, `count` for the end. */
static size_t branch(struct evaluation *evaluation, const Dwarf_Op *operations, size_t count, size_t from)
{
    enum { BRANCH_SIZE = 3 };
    uint64_t target = operations[from].offset + BRANCH_SIZE + operations[from].number;

    for (size_t low = 0, high = count; low < high;) {
        size_t middle = low + (high - low) / 2;
        if (operations[middle].offset == target)
            return middle;
        if (operations[middle].offset < target)
            low = middle + 1;
        else
            high = middle;
    }
    const Dwarf_Op *last = &operations[count - 1];
    unsigned size = is_plain(last->atom) ? 1 : last->atom == DW_OP_skip || last->atom == DW_OP_bra ? BRANCH_SIZE : 0;
    if (size == 0 || target != last->offset + size)
        xctx__evaluation_refuse(evaluation);
    return count;
}

static bool run_plain(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    return run_register(evaluation, operation) || xctx__evaluation_run_stack(evaluation, operation) ||
           xctx__evaluation_run_push(evaluation, operation) || run_other(evaluation, operation);
}

/* Runs an operation. Returns which is next. */
static size_t step(struct evaluation *evaluation, const Dwarf_Op *operations, size_t count, size_t index)
{
    const Dwarf_Op *operation = &operations[index];
    unsigned atom = operation->atom;
    bool located = evaluation->subject != SUBJECT_STACK; /* nothing is computed any more */

    if (atom == DW_OP_piece)
        take_piece(evaluation, operation->number > UINT64_MAX / 8 ? UINT64_MAX : operation->number * 8, 0);
    else if (atom == DW_OP_bit_piece)
        take_piece(evaluation, operation->number, operation->number2);
    else if (atom == DW_OP_skip && !located)
        return branch(evaluation, operations, count, index);
    else if (atom == DW_OP_bra && !located)
        return xctx__evaluation_pop_address(evaluation) != 0 ? branch(evaluation, operations, count, index) : index + 1;
    else if (!(atom == DW_OP_GNU_uninit && index + 1 == count) && (located || !run_plain(evaluation, operation)))
        xctx__evaluation_refuse(evaluation);
    return index + 1;
}

static void run(struct evaluation *evaluation, const Dwarf_Op *operations, size_t count)
{
    for (size_t i = 0; i < count && evaluation->failed == XCTX_SOURCE_SNAPSHOT;) {
        if (evaluation->budget->steps == 0) {
            xctx__evaluation_refuse(evaluation);
            return;
        }
        evaluation->budget->steps--;
        i = step(evaluation, operations, count, i);
    }
}

/* The expression of an attribute that is valid at the place. NULL with `failed` set: it has none. */
static const Dwarf_Op *expression(struct evaluation *evaluation, Dwarf_Attribute *attribute, size_t *ret_count)
{
    Dwarf_Op *operations = NULL;
    int found = dwarf_getlocation_addr(attribute, evaluation->place->pc, &operations, ret_count, 1);

    if (found < 0)
        xctx__evaluation_refuse(evaluation);
    else if (found == 0 || *ret_count == 0)
        xctx__evaluation_fail(evaluation, XCTX_SOURCE_OPTIMIZED_OUT);
    return evaluation->failed == XCTX_SOURCE_SNAPSHOT ? operations : NULL;
}

static void call(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    Dwarf_Attribute *caller = evaluation->attribute;
    Dwarf_Attribute called;
    Dwarf_Die die;
    size_t count = 0;

    if (evaluation->calls == CALLS || dwarf_getlocation_die(caller, operation, &die) != 0) {
        xctx__evaluation_refuse(evaluation);
        return;
    }
    if (!dwarf_attr_integrate(&die, DW_AT_location, &called))
        return; /* then it has no effect (DWARF 5, section 2.5.1.5) */
    evaluation->calls++;
    evaluation->attribute = &called;
    const Dwarf_Op *operations = expression(evaluation, &called, &count);
    if (operations)
        run(evaluation, operations, count);
    evaluation->attribute = caller;
    evaluation->calls--;
}

void xctx__evaluate(struct evaluation *evaluation, const Dwarf_Op *operations, size_t count)
{
    struct location *location = evaluation->location;

    if (evaluation->budget->nesting == 0) {
        xctx__evaluation_refuse(evaluation);
        return;
    }
    evaluation->budget->nesting--;
    run(evaluation, operations, count);
    evaluation->budget->nesting++;
    if (!location || evaluation->failed != XCTX_SOURCE_SNAPSHOT)
        return;
    /* Without pieces, what is left is all of the object. After one, nothing may be left. */
    if (location->count == 0 && (evaluation->depth > 0 || evaluation->subject != SUBJECT_STACK))
        add_piece(evaluation, 0, 0);
    else if (location->count > 0 && evaluation->subject != SUBJECT_STACK)
        xctx__evaluation_refuse(evaluation);
    else if (location->count == 0)
        xctx__evaluation_fail(evaluation, XCTX_SOURCE_OPTIMIZED_OUT);
}

void xctx__evaluate_attribute(struct evaluation *evaluation, Dwarf_Attribute *attribute)
{
    size_t count = 0;

    evaluation->attribute = attribute;
    const Dwarf_Op *operations = expression(evaluation, attribute, &count);
    if (operations)
        xctx__evaluate(evaluation, operations, count);
}
