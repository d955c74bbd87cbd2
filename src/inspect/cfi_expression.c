/* SPDX-License-Identifier: MIT */
/* See cfi_expression.h. What is not understood fails. */
#include "cfi_expression.h"

#include <dwarf.h>
#include <string.h>

#include "memory.h"
#include "operation.h"

enum { STACK = 64, STEPS = 1000 };

struct machine {
    const struct memory *memory;
    const struct frame_registers *registers;
    const uint64_t *cfa;
    struct cfi_result *result;
    uint64_t stack[STACK];
    size_t depth;
};

static bool push(struct machine *machine, uint64_t value)
{
    if (machine->depth == STACK)
        return false;
    machine->stack[machine->depth++] = value;
    return true;
}

static bool push_register(struct machine *machine, uint64_t number, uint64_t offset)
{
    return number < XCTX__DWARF_REGISTERS && machine->registers->known >> number & 1 &&
           push(machine, machine->registers->value[number] + offset);
}

static bool dereference(struct machine *machine, uint64_t size)
{
    uint64_t value = 0;

    if (machine->depth == 0 || size == 0 || size > sizeof(value))
        return false;
    uint64_t *top = &machine->stack[machine->depth - 1];
    /* Little-endian. */
    if (!xctx__source_has_value(xctx__memory_read(machine->memory, MEMORY_STACK, *top, &value, size))) {
        machine->result->missing = *top;
        return false;
    }
    *top = value;
    return true;
}

static bool is_unary(uint8_t atom)
{
    return atom == DW_OP_abs || atom == DW_OP_neg || atom == DW_OP_not || atom == DW_OP_plus_uconst;
}

static bool unary(struct machine *machine, const Dwarf_Op *op)
{
    if (machine->depth == 0)
        return false;
    uint64_t *top = &machine->stack[machine->depth - 1];
    switch (op->atom) {
    case DW_OP_abs:
        *top = (int64_t)*top < 0 ? -*top : *top;
        return true;
    case DW_OP_neg:
        *top = -*top;
        return true;
    case DW_OP_not:
        *top = ~*top;
        return true;
    default:
        *top += op->number;
        return true;
    }
}

static bool divide(uint8_t atom, uint64_t a, uint64_t b, uint64_t *ret_result)
{
    if (b == 0 || ((int64_t)a == INT64_MIN && (int64_t)b == -1))
        return false;
    *ret_result = atom == DW_OP_div ? (uint64_t)((int64_t)a / (int64_t)b) : a % b;
    return true;
}

static bool binary(struct machine *machine, uint8_t atom)
{
    if (machine->depth < 2)
        return false;
    uint64_t b = machine->stack[--machine->depth];
    uint64_t *top = &machine->stack[machine->depth - 1];
    uint64_t a = *top;
    switch (atom) {
    case DW_OP_and:
        *top = a & b;
        return true;
    case DW_OP_or:
        *top = a | b;
        return true;
    case DW_OP_xor:
        *top = a ^ b;
        return true;
    case DW_OP_plus:
        *top = a + b;
        return true;
    case DW_OP_minus:
        *top = a - b;
        return true;
    case DW_OP_mul:
        *top = a * b;
        return true;
    case DW_OP_div:
    case DW_OP_mod:
        return divide(atom, a, b, top);
    case DW_OP_shl:
        *top = b < 64 ? a << b : 0;
        return true;
    case DW_OP_shr:
        *top = b < 64 ? a >> b : 0;
        return true;
    case DW_OP_shra:
        /* cppcheck-suppress shiftTooManyBitsSigned; gcc and clang shift the sign in */
        *top = (uint64_t)((int64_t)a >> (b < 64 ? b : 63));
        return true;
    case DW_OP_eq:
        *top = a == b;
        return true;
    case DW_OP_ne:
        *top = a != b;
        return true;
    case DW_OP_lt:
        *top = (int64_t)a < (int64_t)b;
        return true;
    case DW_OP_le:
        *top = (int64_t)a <= (int64_t)b;
        return true;
    case DW_OP_gt:
        *top = (int64_t)a > (int64_t)b;
        return true;
    case DW_OP_ge:
        *top = (int64_t)a >= (int64_t)b;
        return true;
    default:
        return false;
    }
}

/* What moves values on the stack. */
static bool move(struct machine *machine, const Dwarf_Op *op)
{
    uint64_t *top = machine->stack + machine->depth; /* one above the top */
    uint64_t value;

    switch (op->atom) {
    case DW_OP_dup:
        return machine->depth >= 1 && push(machine, top[-1]);
    case DW_OP_drop:
        if (machine->depth == 0)
            return false;
        machine->depth--;
        return true;
    case DW_OP_over:
        return machine->depth >= 2 && push(machine, top[-2]);
    case DW_OP_pick:
        return op->number < machine->depth && push(machine, top[-1 - (ptrdiff_t)op->number]);
    case DW_OP_swap:
        if (machine->depth < 2)
            return false;
        value = top[-1];
        top[-1] = top[-2];
        top[-2] = value;
        return true;
    case DW_OP_rot:
        if (machine->depth < 3)
            return false;
        value = top[-1];
        top[-1] = top[-2];
        top[-2] = top[-3];
        top[-3] = value;
        return true;
    default:
        return binary(machine, op->atom);
    }
}

static bool execute(struct machine *machine, const Dwarf_Op *op)
{
    uint8_t atom = op->atom;
    uint64_t constant;

    if (xctx__operation_constant(op, &constant))
        return push(machine, constant);
    if (atom >= DW_OP_breg0 && atom <= DW_OP_breg31)
        return push_register(machine, atom - (uint64_t)DW_OP_breg0, op->number);
    if (is_unary(atom))
        return unary(machine, op);
    switch (atom) {
    case DW_OP_nop:
        return true;
    case DW_OP_bregx:
        return push_register(machine, op->number, op->number2);
    case DW_OP_call_frame_cfa:
        return machine->cfa && push(machine, *machine->cfa);
    case DW_OP_deref:
        return dereference(machine, sizeof(uint64_t));
    case DW_OP_deref_size:
        return dereference(machine, op->number);
    default:
        return move(machine, op);
    }
}

/* The operation that a jump goes to: its index; `count` is the end; -1: there is none. */
static ptrdiff_t target_of(const Dwarf_Op *ops, size_t count, size_t at)
{
    uint64_t offset = ops[at].offset + 3 + (uint64_t)(int64_t)(int16_t)ops[at].number;

    for (size_t i = 0; i < count; i++) {
        if (ops[i].offset == offset)
            return (ptrdiff_t)i;
    }
    /* libdw does not say where the last operation ends: a jump there is one beyond all of them. */
    return offset > ops[count - 1].offset ? (ptrdiff_t)count : -1;
}

/* Whether it is a jump, which sets *at. */
static bool jump(struct machine *machine, const Dwarf_Op *ops, size_t count, size_t *at, bool *ret_failed)
{
    const Dwarf_Op *op = &ops[*at];
    bool taken = op->atom == DW_OP_skip;

    *ret_failed = false;
    if (op->atom != DW_OP_skip && op->atom != DW_OP_bra)
        return false;
    if (op->atom == DW_OP_bra) {
        *ret_failed = machine->depth == 0;
        if (*ret_failed)
            return true;
        taken = machine->stack[--machine->depth] != 0;
    }
    ptrdiff_t target = taken ? target_of(ops, count, *at) : (ptrdiff_t)*at + 1;
    *ret_failed = target < 0;
    *at = (size_t)target;
    return true;
}

/* A location that is a register: an expression of one operation. */
static bool is_register(const Dwarf_Op *op, struct cfi_result *result)
{
    result->kind = CFI_REGISTER;
    if (op->atom >= DW_OP_reg0 && op->atom <= DW_OP_reg31)
        result->number = op->atom - (unsigned)DW_OP_reg0;
    else if (op->atom == DW_OP_regx)
        result->number = (unsigned)op->number;
    else
        return false;
    return true;
}

bool xctx__cfi_evaluate(const struct memory *memory, const struct frame_registers *registers, const uint64_t *cfa,
                        const Dwarf_Op *ops, size_t count, struct cfi_result *ret_result)
{
    struct machine machine = {.memory = memory, .registers = registers, .cfa = cfa, .result = ret_result};
    size_t at = 0;
    bool failed;

    *ret_result = (struct cfi_result){.kind = CFI_ADDRESS};
    if (count == 1 && is_register(&ops[0], ret_result))
        return ret_result->number < XCTX__DWARF_REGISTERS;
    ret_result->kind = CFI_ADDRESS;
    for (int steps = 0; at < count; steps++) {
        if (steps == STEPS)
            return false;
        if (ops[at].atom == DW_OP_stack_value) {
            ret_result->kind = CFI_VALUE;
            break;
        }
        if (jump(&machine, ops, count, &at, &failed)) {
            if (failed)
                return false;
            continue;
        }
        if (!execute(&machine, &ops[at]))
            return false;
        at++;
    }
    if (machine.depth == 0)
        return false;
    ret_result->value = machine.stack[machine.depth - 1];
    return true;
}
