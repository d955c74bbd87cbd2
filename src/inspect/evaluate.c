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

static void fail(struct evaluation *evaluation, enum xctx_source why)
{
    if (evaluation->failed == XCTX_SOURCE_SNAPSHOT)
        evaluation->failed = why;
}

static void refuse(struct evaluation *evaluation)
{
    fail(evaluation, XCTX_SOURCE_UNSUPPORTED);
}

static void push(struct evaluation *evaluation, struct number number)
{
    if (evaluation->depth == XCTX__STACK)
        refuse(evaluation);
    else
        evaluation->stack[evaluation->depth++] = number;
}

static void push_generic(struct evaluation *evaluation, uint64_t value)
{
    push(evaluation, xctx__number_generic(value));
}

static struct number pop(struct evaluation *evaluation)
{
    if (evaluation->depth == 0) {
        refuse(evaluation);
        return xctx__number_generic(0);
    }
    return evaluation->stack[--evaluation->depth];
}

static uint64_t pop_address(struct evaluation *evaluation)
{
    struct number number = pop(evaluation);

    if (number.kind == NUMBER_FLOAT || number.size > XCTX__GENERIC_SIZE)
        refuse(evaluation);
    return (uint64_t)xctx__number_signed(&number);
}

/* ---- registers ---- */

static void push_register(struct evaluation *evaluation, uint64_t reg, int64_t offset)
{
    uint64_t value = 0;
    enum xctx_source source = XCTX_SOURCE_UNSUPPORTED;

    if (reg < XCTX__DWARF_REGISTERS)
        source = xctx__register_read(evaluation->place, (unsigned)reg, &value, sizeof(value));
    if (source != XCTX_SOURCE_SNAPSHOT)
        fail(evaluation, source);
    else
        xctx__trace_register(evaluation->place, (unsigned)reg);
    evaluation->used_state = true;
    push_generic(evaluation, value + (uint64_t)offset);
}

/* ---- operands ---- */

/* The type that an operation names; an offset of 0 is the generic type. */
static struct number operand_type(struct evaluation *evaluation, const Dwarf_Op *operation, uint64_t offset)
{
    struct number type = xctx__number_generic(0);
    Dwarf_Die die;

    if (offset != 0 &&
        (dwarf_getlocation_die(evaluation->attribute, operation, &die) != 0 || !xctx__number_type(&die, &type)))
        refuse(evaluation);
    return type;
}

static void push_typed_constant(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct number type = operand_type(evaluation, operation, operation->number);
    Dwarf_Attribute constant;
    Dwarf_Block block;

    if (dwarf_getlocation_attr(evaluation->attribute, operation, &constant) != 0 ||
        dwarf_formblock(&constant, &block) != 0 || block.length != type.size) {
        refuse(evaluation);
        return;
    }
    push(evaluation, xctx__number_of(&type, block.data));
}

static void push_typed_register(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct number type = operand_type(evaluation, operation, operation->number2);
    uint8_t bytes[XCTX__NUMBER_SIZE] = {0};
    unsigned reg = operation->number <= UINT32_MAX ? (unsigned)operation->number : UINT32_MAX;
    enum xctx_source source = xctx__register_read(evaluation->place, reg, bytes, type.size);

    if (source != XCTX_SOURCE_SNAPSHOT)
        fail(evaluation, source);
    else
        xctx__trace_register(evaluation->place, reg);
    evaluation->used_state = true;
    push(evaluation, xctx__number_of(&type, bytes));
}

/* An address, or a constant, in the unit's table of them. */
static void push_indexed(struct evaluation *evaluation, const Dwarf_Op *operation, bool address)
{
    Dwarf_Attribute entry;
    Dwarf_Word value = 0;
    int failed = dwarf_getlocation_attr(evaluation->attribute, operation, &entry);

    if (failed == 0)
        failed = address ? dwarf_formaddr(&entry, &value) : dwarf_formudata(&entry, &value);
    if (failed != 0)
        refuse(evaluation);
    push_generic(evaluation, address ? value + evaluation->place->bias : value);
}

/* ---- memory ---- */

/* What the stack does not have is looked for where the expression has led: to static variables, or along pointers. */
static enum xctx_source read_memory(struct evaluation *evaluation, uint64_t address, void *buffer, size_t size)
{
    const struct memory *memory = evaluation->place->memory;
    enum xctx_source source = xctx__memory_read(memory, MEMORY_STACK, address, buffer, size);

    if (!xctx__source_has_value(source))
        source = xctx__memory_read(memory, evaluation->global ? MEMORY_STATIC : MEMORY_POINTED, address, buffer, size);
    if (source == XCTX_SOURCE_LIVE)
        evaluation->live = true;
    xctx__trace_memory(evaluation->place, address, size);
    return source;
}

static void dereference(struct evaluation *evaluation, const struct number *type, uint64_t size)
{
    uint64_t address = pop_address(evaluation);
    uint8_t bytes[XCTX__NUMBER_SIZE] = {0};

    if (size < 1 || size > type->size || evaluation->failed != XCTX_SOURCE_SNAPSHOT) {
        refuse(evaluation);
        return;
    }
    enum xctx_source source = read_memory(evaluation, address, bytes, size);
    if (!xctx__source_has_value(source))
        fail(evaluation, source);
    evaluation->used_state = true;
    push(evaluation, xctx__number_of(type, bytes));
}

static void dereference_typed(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct number type = operand_type(evaluation, operation, operation->number2);

    if (operation->number != type.size)
        refuse(evaluation);
    dereference(evaluation, &type, type.size);
}

/* ---- what other parts of the debug information say ---- */

static void push_frame_base(struct evaluation *evaluation, int64_t offset)
{
    uint64_t base = 0;
    enum xctx_source source = xctx__frame_base(evaluation->place, evaluation->budget, &base);

    if (source == XCTX_SOURCE_LIVE)
        evaluation->live = true;
    else if (source != XCTX_SOURCE_SNAPSHOT)
        fail(evaluation, source);
    evaluation->used_state = true;
    push_generic(evaluation, base + (uint64_t)offset);
}

static void push_cfa(struct evaluation *evaluation)
{
    const struct place *place = evaluation->place;
    uint64_t cfa = place->index < place->frame_count ? place->frames[place->index].cfa : 0;

    if (cfa == 0)
        fail(evaluation, XCTX_SOURCE_NOT_CAPTURED);
    evaluation->used_state = true;
    push_generic(evaluation, cfa);
}

/* Takes over a number that was found elsewhere. */
static void push_found(struct evaluation *evaluation, enum xctx_source source, const struct number *number)
{
    if (source == XCTX_SOURCE_LIVE)
        evaluation->live = true;
    if (!xctx__source_has_value(source))
        fail(evaluation, source);
    else
        push(evaluation, *number);
}

/* The operand of DW_OP_entry_value is an expression, of which only some can be known from the caller: a register, as a
   type or not, and the memory that a register points to. Returns whether it is one of those. */
static bool entry_operand(struct evaluation *evaluation, const Dwarf_Op *operations, size_t count,
                          struct entry_parameter *ret_parameter, struct number *ret_type)
{
    const Dwarf_Op *first = &operations[0];
    unsigned atom = first->atom;
    struct entry_parameter parameter = {.by_register = true, .deref = count == 2, .deref_size = XCTX__GENERIC_SIZE};

    *ret_type = xctx__number_generic(0);
    if (count == 1 && atom >= DW_OP_reg0 && atom <= DW_OP_reg31) {
        parameter.reg = atom - DW_OP_reg0;
    } else if (count == 1 && (atom == DW_OP_regx || atom == DW_OP_regval_type || atom == DW_OP_GNU_regval_type)) {
        parameter.reg = first->number <= UINT32_MAX ? (unsigned)first->number : UINT32_MAX;
        if (atom != DW_OP_regx)
            *ret_type = operand_type(evaluation, first, first->number2);
    } else if (count == 2 && atom >= DW_OP_breg0 && atom <= DW_OP_breg31 && first->number == 0) {
        parameter.reg = atom - DW_OP_breg0;
        if (operations[1].atom == DW_OP_deref_size && operations[1].number - 1 < XCTX__GENERIC_SIZE)
            parameter.deref_size = (unsigned)operations[1].number;
        else if (operations[1].atom != DW_OP_deref)
            return false;
    } else {
        return false;
    }
    *ret_parameter = parameter;
    return evaluation->failed == XCTX_SOURCE_SNAPSHOT;
}

/* The number that was passed, as one of a type: integers may have been passed in a wider register. */
static bool entry_convert(const struct number *type, struct number *number)
{
    if (type->kind == NUMBER_GENERIC || (type->kind == number->kind && type->size == number->size))
        return true;
    if (type->kind == NUMBER_FLOAT || number->kind == NUMBER_FLOAT || type->size > number->size)
        return false;
    return xctx__number_convert(type, number);
}

static void push_entry_value(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    Dwarf_Attribute *attribute = evaluation->attribute;
    struct entry_parameter parameter;
    struct number number = {0};
    struct number type;
    Dwarf_Attribute inner;
    Dwarf_Op *operations;
    size_t count;

    if (dwarf_getlocation_attr(attribute, operation, &inner) != 0 ||
        dwarf_getlocation(&inner, &operations, &count) != 0 || count == 0) {
        refuse(evaluation);
        return;
    }
    /* Types are found by the unit of the attribute, which `inner` need not have. */
    if (!entry_operand(evaluation, operations, count, &parameter, &type)) {
        refuse(evaluation);
        return;
    }
    evaluation->used_entry = true;
    enum xctx_source source = xctx__entry_value(evaluation->place, &parameter, evaluation->budget, &number);
    if (xctx__source_has_value(source) && !entry_convert(&type, &number))
        source = XCTX_SOURCE_UNSUPPORTED;
    push_found(evaluation, source, &number);
}

static void push_parameter(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct entry_parameter parameter = {.by_register = false};
    struct number number = {0};

    if (dwarf_getlocation_die(evaluation->attribute, operation, &parameter.die) != 0) {
        refuse(evaluation);
        return;
    }
    evaluation->used_entry = true;
    push_found(evaluation, xctx__entry_value(evaluation->place, &parameter, evaluation->budget, &number), &number);
}

static void push_variable(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct number number = {0};
    Dwarf_Die variable;

    if (dwarf_getlocation_die(evaluation->attribute, operation, &variable) != 0) {
        refuse(evaluation);
        return;
    }
    evaluation->used_state = true;
    push_found(evaluation, xctx__variable_number(evaluation->place, &variable, evaluation->budget, &number), &number);
}

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
    struct number number = pop(evaluation);
    uint8_t *bytes = xctx__arena_allocate(evaluation->place->arena, number.size);

    if (!bytes) {
        refuse(evaluation);
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
        refuse(evaluation);
        return;
    }
    switch (evaluation->subject) {
    case SUBJECT_STACK:
        if (evaluation->depth > 0)
            piece = (struct piece){.kind = PIECE_MEMORY, .address = pop_address(evaluation)};
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
        refuse(evaluation);
    else if (bit_size > 0)
        add_piece(evaluation, bit_size, bit_offset);
}

/* ---- running ---- */

static void rotate(struct evaluation *evaluation)
{
    struct number first = pop(evaluation);
    struct number second = pop(evaluation);
    struct number third = pop(evaluation);

    push(evaluation, first);
    push(evaluation, third);
    push(evaluation, second);
}

static void pick(struct evaluation *evaluation, uint64_t index)
{
    if (index >= evaluation->depth)
        refuse(evaluation);
    else
        push(evaluation, evaluation->stack[evaluation->depth - 1 - index]);
}

static void unary(struct evaluation *evaluation, unsigned operation)
{
    struct number number = pop(evaluation);

    if (!xctx__number_unary(operation, &number))
        refuse(evaluation);
    push(evaluation, number);
}

static void binary(struct evaluation *evaluation, unsigned operation)
{
    struct number right = pop(evaluation);
    struct number left = pop(evaluation);
    struct number result = left;

    if (!xctx__number_binary(operation, &left, &right, &result))
        refuse(evaluation);
    push(evaluation, result);
}

static void add_constant(struct evaluation *evaluation, uint64_t addend)
{
    struct number left = pop(evaluation);
    struct number right = left;

    right.bits = addend;
    if (left.kind == NUMBER_FLOAT || left.size != XCTX__GENERIC_SIZE ||
        !xctx__number_binary(DW_OP_plus, &left, &right, &left))
        refuse(evaluation);
    push(evaluation, left);
}

static void convert(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct number number = pop(evaluation);
    struct number type = operand_type(evaluation, operation, operation->number);
    bool reinterpret = operation->atom == DW_OP_reinterpret || operation->atom == DW_OP_GNU_reinterpret;

    if (!(reinterpret ? xctx__number_reinterpret(&type, &number) : xctx__number_convert(&type, &number)))
        refuse(evaluation);
    push(evaluation, number);
}

/* DW_OP_call*: the location of another entry as a part of this expression. */
static void call(struct evaluation *evaluation, const Dwarf_Op *operation);

/* Operations with a range of codes. Returns whether it was one. */
static bool run_ranged(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    unsigned atom = operation->atom;

    if (atom >= DW_OP_lit0 && atom <= DW_OP_lit31) {
        push_generic(evaluation, atom - DW_OP_lit0);
    } else if (atom >= DW_OP_breg0 && atom <= DW_OP_breg31) {
        push_register(evaluation, atom - DW_OP_breg0, (int64_t)operation->number);
    } else if ((atom >= DW_OP_reg0 && atom <= DW_OP_reg31) || atom == DW_OP_regx) {
        evaluation->reg = atom == DW_OP_regx ? (unsigned)operation->number : atom - DW_OP_reg0;
        evaluation->subject = SUBJECT_REGISTER;
        if (atom == DW_OP_regx && operation->number > UINT32_MAX)
            refuse(evaluation);
    } else {
        return false;
    }
    return true;
}

/* Operations on the stack alone. */
static bool run_stack(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    switch (operation->atom) {
    case DW_OP_dup:
        pick(evaluation, 0);
        return true;
    case DW_OP_over:
        pick(evaluation, 1);
        return true;
    case DW_OP_pick:
        pick(evaluation, operation->number);
        return true;
    case DW_OP_drop:
        pop(evaluation);
        return true;
    case DW_OP_swap: {
        struct number first = pop(evaluation);
        struct number second = pop(evaluation);
        push(evaluation, first);
        push(evaluation, second);
        return true;
    }
    case DW_OP_rot:
        rotate(evaluation);
        return true;
    case DW_OP_abs:
    case DW_OP_neg:
    case DW_OP_not:
        unary(evaluation, operation->atom);
        return true;
    case DW_OP_and:
    case DW_OP_div:
    case DW_OP_minus:
    case DW_OP_mod:
    case DW_OP_mul:
    case DW_OP_or:
    case DW_OP_plus:
    case DW_OP_shl:
    case DW_OP_shr:
    case DW_OP_shra:
    case DW_OP_xor:
    case DW_OP_eq:
    case DW_OP_ge:
    case DW_OP_gt:
    case DW_OP_le:
    case DW_OP_lt:
    case DW_OP_ne:
        binary(evaluation, operation->atom);
        return true;
    case DW_OP_plus_uconst:
        add_constant(evaluation, operation->number);
        return true;
    case DW_OP_convert:
    case DW_OP_GNU_convert:
    case DW_OP_reinterpret:
    case DW_OP_GNU_reinterpret:
        convert(evaluation, operation);
        return true;
    case DW_OP_nop:
        return true;
    default:
        return false;
    }
}

/* Operations that push something. */
static bool run_push(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    const struct number generic = xctx__number_generic(0);

    switch (operation->atom) {
    case DW_OP_const1u:
    case DW_OP_const1s:
    case DW_OP_const2u:
    case DW_OP_const2s:
    case DW_OP_const4u:
    case DW_OP_const4s:
    case DW_OP_const8u:
    case DW_OP_const8s:
    case DW_OP_constu:
    case DW_OP_consts:
        push_generic(evaluation, operation->number); /* libdw has extended the sign */
        return true;
    case DW_OP_addr:
        evaluation->global = true;
        push_generic(evaluation, operation->number + evaluation->place->bias);
        return true;
    case DW_OP_addrx:
    case DW_OP_GNU_addr_index:
        evaluation->global = true;
        push_indexed(evaluation, operation, true);
        return true;
    case DW_OP_constx:
    case DW_OP_GNU_const_index:
        push_indexed(evaluation, operation, false);
        return true;
    case DW_OP_const_type:
    case DW_OP_GNU_const_type:
        push_typed_constant(evaluation, operation);
        return true;
    case DW_OP_bregx:
        push_register(evaluation, operation->number, (int64_t)operation->number2);
        return true;
    case DW_OP_regval_type:
    case DW_OP_GNU_regval_type:
        push_typed_register(evaluation, operation);
        return true;
    case DW_OP_fbreg:
        push_frame_base(evaluation, (int64_t)operation->number);
        return true;
    case DW_OP_call_frame_cfa:
        push_cfa(evaluation);
        return true;
    case DW_OP_deref:
        dereference(evaluation, &generic, XCTX__GENERIC_SIZE);
        return true;
    case DW_OP_deref_size:
        dereference(evaluation, &generic, operation->number);
        return true;
    case DW_OP_deref_type:
    case DW_OP_GNU_deref_type:
        dereference_typed(evaluation, operation);
        return true;
    case DW_OP_push_object_address:
        if (!evaluation->place->has_object)
            refuse(evaluation);
        evaluation->used_state = true;
        push_generic(evaluation, evaluation->place->object);
        return true;
    default:
        return false;
    }
}

/* Operations that look elsewhere, or say what the object is. What is in none of these functions is not supported: other
   address spaces, thread-local storage (the thread may be gone), what comes after DWARF 5. */
static bool run_other(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    switch (operation->atom) {
    case DW_OP_entry_value:
    case DW_OP_GNU_entry_value:
        push_entry_value(evaluation, operation);
        return true;
    case DW_OP_GNU_parameter_ref:
        push_parameter(evaluation, operation);
        return true;
    case DW_OP_GNU_variable_value:
        push_variable(evaluation, operation);
        return true;
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
            refuse(evaluation);
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
        refuse(evaluation);
    return count;
}

static void run(struct evaluation *evaluation, const Dwarf_Op *operations, size_t count)
{
    for (size_t i = 0; i < count && evaluation->failed == XCTX_SOURCE_SNAPSHOT;) {
        const Dwarf_Op *operation = &operations[i];
        unsigned atom = operation->atom;
        size_t next = i + 1;

        if (evaluation->budget->steps-- == 0) {
            evaluation->budget->steps = 0;
            refuse(evaluation);
            return;
        }
        if (atom == DW_OP_piece) {
            take_piece(evaluation, operation->number > UINT64_MAX / 8 ? UINT64_MAX : operation->number * 8, 0);
        } else if (atom == DW_OP_bit_piece) {
            take_piece(evaluation, operation->number, operation->number2);
        } else if (atom == DW_OP_GNU_uninit && next == count) {
            return;
        } else if (evaluation->subject != SUBJECT_STACK) {
            refuse(evaluation);
        } else if (atom == DW_OP_skip) {
            next = branch(evaluation, operations, count, i);
        } else if (atom == DW_OP_bra) {
            if (pop_address(evaluation) != 0)
                next = branch(evaluation, operations, count, i);
        } else if (!run_ranged(evaluation, operation) && !run_stack(evaluation, operation) &&
                   !run_push(evaluation, operation) && !run_other(evaluation, operation)) {
            refuse(evaluation);
        }
        i = next;
    }
}

/* The expression of an attribute that is valid at the place. NULL with `failed` set: it has none. */
static const Dwarf_Op *expression(struct evaluation *evaluation, Dwarf_Attribute *attribute, size_t *ret_count)
{
    Dwarf_Op *operations = NULL;
    int found = dwarf_getlocation_addr(attribute, evaluation->place->pc, &operations, ret_count, 1);

    if (found < 0)
        refuse(evaluation);
    else if (found == 0 || *ret_count == 0)
        fail(evaluation, XCTX_SOURCE_OPTIMIZED_OUT);
    return evaluation->failed == XCTX_SOURCE_SNAPSHOT ? operations : NULL;
}

static void call(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    Dwarf_Attribute *caller = evaluation->attribute;
    Dwarf_Attribute called;
    Dwarf_Die die;
    size_t count = 0;

    if (evaluation->calls == CALLS || dwarf_getlocation_die(caller, operation, &die) != 0) {
        refuse(evaluation);
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
        refuse(evaluation);
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
        refuse(evaluation);
    else if (location->count == 0)
        fail(evaluation, XCTX_SOURCE_OPTIMIZED_OUT);
}

void xctx__evaluate_attribute(struct evaluation *evaluation, Dwarf_Attribute *attribute)
{
    size_t count = 0;

    evaluation->attribute = attribute;
    const Dwarf_Op *operations = expression(evaluation, attribute, &count);
    if (operations)
        xctx__evaluate(evaluation, operations, count);
}
