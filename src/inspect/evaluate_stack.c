/* SPDX-License-Identifier: MIT */
/* The stack of an expression, and the operations that need nothing else: see evaluate_internal.h. */
#include <dwarf.h>

#include "evaluate_internal.h"

void xctx__evaluation_fail(struct evaluation *evaluation, enum xctx_source why)
{
    if (evaluation->failed == XCTX_SOURCE_SNAPSHOT)
        evaluation->failed = why;
}

void xctx__evaluation_refuse(struct evaluation *evaluation)
{
    xctx__evaluation_fail(evaluation, XCTX_SOURCE_UNSUPPORTED);
}

void xctx__evaluation_push(struct evaluation *evaluation, struct number number)
{
    if (evaluation->depth == XCTX__STACK)
        xctx__evaluation_refuse(evaluation);
    else
        evaluation->stack[evaluation->depth++] = number;
}

void xctx__evaluation_push_generic(struct evaluation *evaluation, uint64_t value)
{
    xctx__evaluation_push(evaluation, xctx__number_generic(value));
}

struct number xctx__evaluation_pop(struct evaluation *evaluation)
{
    if (evaluation->depth == 0) {
        xctx__evaluation_refuse(evaluation);
        return xctx__number_generic(0);
    }
    return evaluation->stack[--evaluation->depth];
}

uint64_t xctx__evaluation_pop_address(struct evaluation *evaluation)
{
    struct number number = xctx__evaluation_pop(evaluation);

    if (number.kind == NUMBER_FLOAT || number.size > XCTX__GENERIC_SIZE)
        xctx__evaluation_refuse(evaluation);
    return (uint64_t)xctx__number_signed(&number);
}

/* ---- operations ---- */

/* The type that an operation names; an offset of 0 is the generic type. */
struct number xctx__evaluation_type(struct evaluation *evaluation, const Dwarf_Op *operation, uint64_t offset)
{
    struct number type = xctx__number_generic(0);
    Dwarf_Die die;

    if (offset != 0 &&
        (dwarf_getlocation_die(evaluation->attribute, operation, &die) != 0 || !xctx__number_type(&die, &type)))
        xctx__evaluation_refuse(evaluation);
    return type;
}

static void rotate(struct evaluation *evaluation)
{
    struct number first = xctx__evaluation_pop(evaluation);
    struct number second = xctx__evaluation_pop(evaluation);
    struct number third = xctx__evaluation_pop(evaluation);

    xctx__evaluation_push(evaluation, first);
    xctx__evaluation_push(evaluation, third);
    xctx__evaluation_push(evaluation, second);
}

static void pick(struct evaluation *evaluation, uint64_t index)
{
    if (index >= evaluation->depth)
        xctx__evaluation_refuse(evaluation);
    else
        xctx__evaluation_push(evaluation, evaluation->stack[evaluation->depth - 1 - index]);
}

static void unary(struct evaluation *evaluation, unsigned operation)
{
    struct number number = xctx__evaluation_pop(evaluation);

    if (!xctx__number_unary(operation, &number))
        xctx__evaluation_refuse(evaluation);
    xctx__evaluation_push(evaluation, number);
}

static void binary(struct evaluation *evaluation, unsigned operation)
{
    struct number right = xctx__evaluation_pop(evaluation);
    struct number left = xctx__evaluation_pop(evaluation);
    struct number result = left;

    if (!xctx__number_binary(operation, &left, &right, &result))
        xctx__evaluation_refuse(evaluation);
    xctx__evaluation_push(evaluation, result);
}

static void add_constant(struct evaluation *evaluation, uint64_t addend)
{
    struct number left = xctx__evaluation_pop(evaluation);
    struct number right = left;

    right.bits = addend;
    if (left.kind == NUMBER_FLOAT || left.size != XCTX__GENERIC_SIZE ||
        !xctx__number_binary(DW_OP_plus, &left, &right, &left))
        xctx__evaluation_refuse(evaluation);
    xctx__evaluation_push(evaluation, left);
}

static void convert(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    struct number number = xctx__evaluation_pop(evaluation);
    struct number type = xctx__evaluation_type(evaluation, operation, operation->number);
    bool reinterpret = operation->atom == DW_OP_reinterpret || operation->atom == DW_OP_GNU_reinterpret;

    if (!(reinterpret ? xctx__number_reinterpret(&type, &number) : xctx__number_convert(&type, &number)))
        xctx__evaluation_refuse(evaluation);
    xctx__evaluation_push(evaluation, number);
}

/* Operations that compute. */
static bool run_arithmetic(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    switch (operation->atom) {
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
    default:
        return false;
    }
}

/* Operations that move what is there. */
static bool run_moves(struct evaluation *evaluation, const Dwarf_Op *operation)
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
        xctx__evaluation_pop(evaluation);
        return true;
    case DW_OP_swap: {
        struct number first = xctx__evaluation_pop(evaluation);
        struct number second = xctx__evaluation_pop(evaluation);
        xctx__evaluation_push(evaluation, first);
        xctx__evaluation_push(evaluation, second);
        return true;
    }
    case DW_OP_rot:
        rotate(evaluation);
        return true;
    case DW_OP_nop:
        return true;
    default:
        return false;
    }
}

/* Operations on the stack alone. */
bool xctx__evaluation_run_stack(struct evaluation *evaluation, const Dwarf_Op *operation)
{
    return run_moves(evaluation, operation) || run_arithmetic(evaluation, operation);
}
