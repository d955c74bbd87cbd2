/* SPDX-License-Identifier: MIT */
/*
 * DWARF expressions: where a variable is, and numbers that debug information computes (DWARF 5, sections 2.5, 2.6).
 *
 * Everything is bounded: steps of an expression, calls and entry values within it, pieces of a location. Whatever is
 * not understood ends in XCTX_SOURCE_UNSUPPORTED, never in a guess.
 */
#ifndef XCTX_INSPECT_EVALUATE_H
#define XCTX_INSPECT_EVALUATE_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "memory.h"
#include "unwind.h"

enum {
    XCTX__STEPS = 10000,   /* operations of one evaluation, those of what it calls included */
    XCTX__STACK = 256,     /* values on the stack of an expression */
    XCTX__PIECES = 64,     /* of a location */
    XCTX__ENTRY_DEPTH = 8, /* entry values that need entry values */
};

struct place;

/* Is told what values are computed from: a register of the place's frame, or memory if `size` is not 0. For who hides
   secrets: what only leads to a place is left out. */
struct tracer {
    void (*used)(void *user, const struct place *place, unsigned reg, uint64_t address, uint64_t size);
    void *user;
};

/* Where an expression is evaluated. */
struct place {
    struct arena *arena; /* for what lasts as long as the report */
    const struct memory *memory;
    const struct unwound *frames; /* all of the stack */
    size_t frame_count;
    size_t index; /* the physical frame that it is about; frame_count: none (a global) */
    Dwfl_Module *module;
    Dwarf_Die unit;     /* the compilation unit (of split DWARF, the one in the .dwo) */
    Dwarf_Addr bias;    /* of the module's DWARF: address in memory = address in DWARF + bias */
    uint64_t pc;        /* to look up in location lists: without bias */
    Dwarf_Die function; /* the concrete DW_TAG_subprogram, whose frame base it is */
    bool has_function;
    bool has_object; /* for DW_OP_push_object_address: */
    uint64_t object;
    unsigned max_elements;       /* of arrays and strings that are rendered */
    const struct tracer *tracer; /* NULL: nobody wants to know */
};

/* A part of a location. */
enum piece_kind {
    PIECE_NONE,     /* nowhere: optimized out */
    PIECE_MEMORY,   /* at `address` */
    PIECE_REGISTER, /* DWARF register `reg`, in frame `frame` */
    PIECE_VALUE,    /* it is `bytes` */
    PIECE_POINTER,  /* a pointer to what is no address: the variable `target`, `offset` bytes into it */
};

struct piece {
    enum piece_kind kind;
    enum xctx_source source; /* for PIECE_VALUE: CONSTANT, COMPUTED, ENTRY_VALUE; for the others where the address or
                                the value came from, if that matters more than the kind: else XCTX_SOURCE_SNAPSHOT */
    uint64_t bit_size;       /* 0: the whole object */
    uint64_t bit_offset;     /* in the register or memory */
    uint64_t address;
    unsigned reg;
    const uint8_t *bytes;
    uint64_t byte_count;
    Dwarf_Off target; /* of a DIE in the same Dwarf */
    int64_t offset;
};

struct location {
    enum xctx_source failed; /* if it is not known: OPTIMIZED_OUT, NOT_CAPTURED, UNREADABLE, UNSUPPORTED; else
                                XCTX_SOURCE_SNAPSHOT */
    size_t count;
    struct piece pieces[XCTX__PIECES];
};

/* Where a variable is: DW_AT_location, DW_AT_const_value, and DW_AT_data_member_location are forms of what `attribute`
   may be. `size` is that of the object, in bytes, 0 if not known. */
void xctx__locate(const struct place *place, Dwarf_Attribute *attribute, uint64_t size, struct location *ret_location);

/* A number that debug information gives as a constant, an expression, or a reference to a variable: a bound of an
   array, a size, the offset of a member. Returns XCTX_SOURCE_SNAPSHOT if *ret_number holds it, else why not. */
enum xctx_source xctx__number(const struct place *place, Dwarf_Attribute *attribute, int64_t *ret_number);

/* The address of a member whose location is an expression on the address of its structure. Likewise. */
enum xctx_source xctx__member_address(const struct place *place, Dwarf_Attribute *attribute, uint64_t base,
                                      uint64_t *ret_address);

#endif
