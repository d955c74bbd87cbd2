/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the evaluator share: evaluate.c (expressions), evaluate_stack.c and
 * evaluate_push.c (operations), evaluate_frame.c (registers and frame bases),
 * evaluate_typed.c (arithmetic), evaluate_entry.c (values at the entry of a function), locate.c (attributes).
 */
#ifndef XCTX_INSPECT_EVALUATE_INTERNAL_H
#define XCTX_INSPECT_EVALUATE_INTERNAL_H

#include <stddef.h>
#include <string.h>

#include "evaluate.h"

__extension__ typedef unsigned __int128 wide;
__extension__ typedef __int128 signed_wide;

/* ---- evaluate_typed.c: numbers on the stack of an expression ---- */

enum number_kind {
    NUMBER_GENERIC, /* 8 bytes, of no particular sign (DWARF 5, section 2.5.1) */
    NUMBER_UNSIGNED,
    NUMBER_SIGNED,
    NUMBER_FLOAT,
};

enum { XCTX__NUMBER_SIZE = 16, XCTX__GENERIC_SIZE = 8 };

struct number {
    wide bits;    /* the rest is zero */
    uint8_t kind; /* enum number_kind */
    uint8_t size; /* in bytes: 1 to XCTX__NUMBER_SIZE */
};

static inline struct number xctx__number_generic(uint64_t value)
{
    return (struct number){.bits = value, .kind = NUMBER_GENERIC, .size = XCTX__GENERIC_SIZE};
}

/* A number's value as an integer. */
signed_wide xctx__number_signed(const struct number *number);

/* The type that a DW_TAG_base_type makes of a number: sets kind and size. false: none that is known. */
bool xctx__number_type(Dwarf_Die *type, struct number *ret_type);

/* A number of some bytes. */
struct number xctx__number_of(const struct number *type, const void *bytes);

/* These return false for what has no result that is certain: a division by zero, operands of different types, a shift
   by more than there is. */
bool xctx__number_unary(unsigned operation, struct number *number);
bool xctx__number_binary(unsigned operation, const struct number *left, const struct number *right,
                         struct number *ret_number);
bool xctx__number_convert(const struct number *type, struct number *number);
bool xctx__number_reinterpret(const struct number *type, struct number *number);

/* ---- evaluate.c ---- */

/* What is used up by an evaluation and by all that it needs in turn. */
struct budget {
    unsigned steps;   /* operations left */
    unsigned nesting; /* evaluations within evaluations left */
};

static inline struct budget xctx__budget(void)
{
    return (struct budget){.steps = XCTX__STEPS, .nesting = XCTX__ENTRY_DEPTH};
}

/* What the last operations said of the object, until a piece or the end takes it. */
enum subject {
    SUBJECT_STACK,    /* it is at the address on top of the stack */
    SUBJECT_REGISTER, /* in register `reg` */
    SUBJECT_VALUE,    /* it is the number on top of the stack */
    SUBJECT_BYTES,    /* it is `bytes` */
    SUBJECT_POINTER,  /* it points to variable `target`, `offset` bytes into it */
};

struct evaluation {
    const struct place *place;
    Dwarf_Attribute *attribute; /* that the running expression is of */
    struct budget *budget;
    enum xctx_source failed; /* XCTX_SOURCE_SNAPSHOT: not */
    unsigned calls;          /* DW_OP_call* that are running */
    enum subject subject;
    unsigned reg;
    Dwarf_Block bytes;
    Dwarf_Off target;
    int64_t offset;
    bool used_state;           /* memory or registers were read */
    bool used_entry;           /* an entry value was needed */
    bool live;                 /* memory was read as it is now */
    bool global;               /* an address of the program itself was used */
    struct location *location; /* takes the pieces; NULL: there must be none */
    unsigned depth;
    struct number stack[XCTX__STACK]; /* only what is below `depth` holds anything */
};

/* Of the stack nothing is set: it is large. */
static inline void xctx__evaluation_begin(struct evaluation *evaluation, const struct place *place,
                                          struct budget *budget)
{
    memset(evaluation, 0, offsetof(struct evaluation, stack));
    evaluation->place = place;
    evaluation->budget = budget;
}

/* ---- evaluate_stack.c ---- */

/* Notes why an evaluation has failed, which ends it; the first reason stays. Refusing is for XCTX_SOURCE_UNSUPPORTED.
 */
void xctx__evaluation_fail(struct evaluation *evaluation, enum xctx_source why);
void xctx__evaluation_refuse(struct evaluation *evaluation);

/* An evaluation fails if its stack is full, or empty. */
void xctx__evaluation_push(struct evaluation *evaluation, struct number number);
void xctx__evaluation_push_generic(struct evaluation *evaluation, uint64_t value);
struct number xctx__evaluation_pop(struct evaluation *evaluation);
uint64_t xctx__evaluation_pop_address(struct evaluation *evaluation);

/* The type that an operation names; an offset of 0 is the generic type. */
struct number xctx__evaluation_type(struct evaluation *evaluation, const Dwarf_Op *operation, uint64_t offset);

/* Runs an operation on the stack alone. Returns whether it is one. */
bool xctx__evaluation_run_stack(struct evaluation *evaluation, const Dwarf_Op *operation);

/* ---- evaluate_push.c ---- */

/* Runs an operation that pushes something. Returns whether it is one. */
bool xctx__evaluation_run_push(struct evaluation *evaluation, const Dwarf_Op *operation);

/* ---- evaluate.c: running ---- */

/* Runs an expression; what it found is in the evaluation. */
void xctx__evaluate(struct evaluation *evaluation, const Dwarf_Op *operations, size_t count);

/* The expression of an attribute that is valid at the place, run. */
void xctx__evaluate_attribute(struct evaluation *evaluation, Dwarf_Attribute *attribute);

/* ---- evaluate_frame.c ---- */

/* The number that an expression which ran without pieces has computed: not what is at that address. */
enum xctx_source xctx__evaluation_number(struct evaluation *evaluation, struct number *ret_number);

/* What `reg` held in the place's frame: the low `size` bytes. */
enum xctx_source xctx__register_read(const struct place *place, unsigned reg, void *buffer, size_t size);

/* The bytes that are known of a register, if it is known, in the place's frame. 0: there is no such register. */
size_t xctx__register_size(const struct place *place, unsigned reg);

/* The address that the function's DW_AT_frame_base says. */
enum xctx_source xctx__frame_base(const struct place *place, struct budget *budget, uint64_t *ret_base);

/* Tell the place's tracer. */
void xctx__trace_register(const struct place *place, unsigned reg);
void xctx__trace_memory(const struct place *place, uint64_t address, uint64_t size);

/* ---- evaluate_entry.c ---- */

/* Which parameter of the place's function is meant: what was in a register at its entry (or at the address there:
   `deref`), or the one with that DIE. */
struct entry_parameter {
    bool by_register;
    unsigned reg;
    bool deref;
    unsigned deref_size;
    Dwarf_Die die;
};

/* Its value when the function was entered, as the caller's call site says. */
enum xctx_source xctx__entry_value(const struct place *place, const struct entry_parameter *parameter,
                                   struct budget *budget, struct number *ret_number);

/* ---- locate.c ---- */

/* The number that a variable of a base type holds. */
enum xctx_source xctx__variable_number(const struct place *place, Dwarf_Die *variable, struct budget *budget,
                                       struct number *ret_number);

#endif
