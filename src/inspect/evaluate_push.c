/* SPDX-License-Identifier: MIT */
/* Operations that push what is elsewhere: registers, memory, the values of other variables. See evaluate_internal.h. */
#include <dwarf.h>

#include "evaluate_internal.h"
#include "operation.h"
#include "tls.h"

/* ---- registers ---- */

static void push_register(struct evaluation *evaluation, uint64_t reg, int64_t offset)
{
    uint64_t value = 0;
    enum xctx_source source = XCTX_SOURCE_UNSUPPORTED;

    if (reg < XCTX__DWARF_REGISTERS)
        source = xctx__register_read(evaluation->place, (unsigned)reg, &value, sizeof(value));
    if (source != XCTX_SOURCE_SNAPSHOT)
        xctx__evaluation_fail(evaluation, source);
    else
        xctx__trace_register(evaluation->place, (unsigned)reg);
    evaluation->used_state = true;
    xctx__evaluation_push_generic(evaluation, value + (uint64_t)offset);
}

/* ---- operands ---- */

static void push_typed_constant(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct number type = xctx__evaluation_type(evaluation, operation, operation->number);
    Dwarf_Attribute constant;
    Dwarf_Block block;

    if (dwarf_getlocation_attr(evaluation->attribute, operation, &constant) != 0 ||
        dwarf_formblock(&constant, &block) != 0 || block.length != type.size) {
        xctx__evaluation_refuse(evaluation);
        return;
    }
    xctx__evaluation_push(evaluation, xctx__number_of(&type, block.data));
}

static void push_typed_register(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct number type = xctx__evaluation_type(evaluation, operation, operation->number2);
    uint8_t bytes[XCTX__NUMBER_SIZE] = {0};
    unsigned reg = operation->number <= UINT32_MAX ? (unsigned)operation->number : UINT32_MAX;
    enum xctx_source source = xctx__register_read(evaluation->place, reg, bytes, type.size);

    if (source != XCTX_SOURCE_SNAPSHOT)
        xctx__evaluation_fail(evaluation, source);
    else
        xctx__trace_register(evaluation->place, reg);
    evaluation->used_state = true;
    xctx__evaluation_push(evaluation, xctx__number_of(&type, bytes));
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
        xctx__evaluation_refuse(evaluation);
    xctx__evaluation_push_generic(evaluation, address ? value + evaluation->place->bias : value);
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
    uint64_t address = xctx__evaluation_pop_address(evaluation);
    uint8_t bytes[XCTX__NUMBER_SIZE] = {0};

    if (size < 1 || size > type->size || evaluation->failed != XCTX_SOURCE_SNAPSHOT) {
        xctx__evaluation_refuse(evaluation);
        return;
    }
    enum xctx_source source = read_memory(evaluation, address, bytes, size);
    if (!xctx__source_has_value(source))
        xctx__evaluation_fail(evaluation, source);
    evaluation->used_state = true;
    xctx__evaluation_push(evaluation, xctx__number_of(type, bytes));
}

static void dereference_typed(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct number type = xctx__evaluation_type(evaluation, operation, operation->number2);

    if (operation->number != type.size)
        xctx__evaluation_refuse(evaluation);
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
        xctx__evaluation_fail(evaluation, source);
    evaluation->used_state = true;
    xctx__evaluation_push_generic(evaluation, base + (uint64_t)offset);
}

/* What is on the stack is an offset into the module's thread-local storage. */
static void push_tls(struct evaluation *evaluation)
{
    uint64_t address = 0;
    uint64_t offset = xctx__evaluation_pop_address(evaluation);
    enum xctx_source source = xctx__tls_address(evaluation->place, offset, &address);

    if (source != XCTX_SOURCE_SNAPSHOT)
        xctx__evaluation_fail(evaluation, source);
    evaluation->global = true;
    xctx__evaluation_push_generic(evaluation, address);
}

static void push_cfa(struct evaluation *evaluation)
{
    const struct place *place = evaluation->place;
    uint64_t cfa = place->index < place->frame_count ? place->frames[place->index].cfa : 0;

    if (cfa == 0)
        xctx__evaluation_fail(evaluation, XCTX_SOURCE_NOT_CAPTURED);
    evaluation->used_state = true;
    xctx__evaluation_push_generic(evaluation, cfa);
}

/* Takes over a number that was found elsewhere. */
static void push_found(struct evaluation *evaluation, enum xctx_source source, const struct number *number)
{
    if (source == XCTX_SOURCE_LIVE)
        evaluation->live = true;
    if (!xctx__source_has_value(source))
        xctx__evaluation_fail(evaluation, source);
    else
        xctx__evaluation_push(evaluation, *number);
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
            *ret_type = xctx__evaluation_type(evaluation, first, first->number2);
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
        xctx__evaluation_refuse(evaluation);
        return;
    }
    /* Types are found by the unit of the attribute, which `inner` need not have. */
    if (!entry_operand(evaluation, operations, count, &parameter, &type)) {
        xctx__evaluation_refuse(evaluation);
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
        xctx__evaluation_refuse(evaluation);
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
        xctx__evaluation_refuse(evaluation);
        return;
    }
    evaluation->used_state = true;
    push_found(evaluation, xctx__variable_number(evaluation->place, &variable, evaluation->budget, &number), &number);
}

/* ---- running ---- */

/* Constants, and addresses of the program. */
static bool run_constant(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    uint64_t constant;

    if (xctx__operation_constant(operation, &constant)) {
        xctx__evaluation_push_generic(evaluation, constant);
        return true;
    }
    switch (operation->atom) {
    case DW_OP_addr:
        evaluation->global = true;
        xctx__evaluation_push_generic(evaluation, operation->number + evaluation->place->bias);
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
    default:
        return false;
    }
}

/* What the frame has, and its memory. */
static bool run_state(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    const struct number generic = xctx__number_generic(0);
    unsigned atom = operation->atom;

    if (atom >= DW_OP_breg0 && atom <= DW_OP_breg31) {
        push_register(evaluation, atom - DW_OP_breg0, (int64_t)operation->number);
        return true;
    }
    switch (atom) {
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
    case DW_OP_form_tls_address:
    case DW_OP_GNU_push_tls_address:
        push_tls(evaluation);
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
            xctx__evaluation_refuse(evaluation);
        evaluation->used_state = true;
        xctx__evaluation_push_generic(evaluation, evaluation->place->object);
        return true;
    default:
        return false;
    }
}

/* What other parts of the debug information say. */
static bool run_found(struct evaluation *evaluation, const Dwarf_Op *operation)
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
    default:
        return false;
    }
}

/* Operations that push something. */
bool xctx__evaluation_run_push(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    return run_constant(evaluation, operation) || run_state(evaluation, operation) || run_found(evaluation, operation);
}
