/* SPDX-License-Identifier: MIT */
/*
 * What debuggers are told of fibers: where they are, and how they are laid out. The script libxctx-gdb.py reads it, in
 * a process or its core file, without debug information: it is data, found by its name among the exported ones.
 *
 * Later versions add members at the end, and never change what is there; another magic number otherwise.
 */
#ifndef XCTX_FIBER_DEBUG_H
#define XCTX_FIBER_DEBUG_H

#include <stdint.h>

#include <xctx/base.h>

enum { FIBER_DEBUG_VERSION = 1, FIBER_DEBUG_REGISTERS = 32, FIBER_DEBUG_NAME = 8 };

/* What a fiber's state means, by its tag. */
enum fiber_debug_state {
    FIBER_DEBUG_UNKNOWN,
    FIBER_DEBUG_CREATED,
    FIBER_DEBUG_SUSPENDED,
    FIBER_DEBUG_RUNNING, /* or it waits for another one that it has resumed */
    FIBER_DEBUG_DONE,
    FIBER_DEBUG_SHARED, /* it takes turns on its stack with others */
};

struct fiber_debug_register {
    char name[FIBER_DEBUG_NAME]; /* gdb's; "": there are no more */
    uint32_t offset;             /* from the stack pointer of a stack that was left, in bytes */
    uint32_t unused;
};

/* Offsets in bytes. */
struct fiber_debug {
    char magic[8];
    uint32_t version;
    uint32_t size;     /* of this structure */
    const void *pages; /* the table of slabs: stacks.h */
    const void *entry; /* xctx__switch_entry: the first frame of each fiber, at whose stack pointer its address is */

    uint32_t page_next;
    uint32_t page_used;
    uint32_t page_entries;
    uint32_t entry_size;
    uint32_t entry_begin;
    uint32_t entry_end;
    uint32_t slab_count; /* of fibers, side by side */
    uint32_t slab_fibers;
    uint32_t fiber_size;
    uint32_t fiber_state; /* a word, of which `state_mask` is the tag */
    uint32_t fiber_sp;
    uint32_t fiber_resumer_sp;
    uint32_t fiber_resumer;
    uint32_t fiber_low;
    uint32_t fiber_high;
    uint32_t fiber_name; /* NULL: it is nobody's */
    /* Of one that takes turns: it runs if the turns' state, which is at turns_state from fiber_high on, says so, and it
       is the resident. Else its stack is there only if the byte more_place, from *fiber_more on, is on_stack. */
    uint32_t fiber_more;
    uint32_t more_place;
    uint32_t on_stack;
    uint32_t turns_state;
    uint32_t turns_resident; /* from fiber_high on; NULL, or it may be one that is in no slab: a shot */

    uint32_t state_mask;
    uint8_t states[8]; /* enum fiber_debug_state, by tag */

    char sp_name[FIBER_DEBUG_NAME];
    char pc_name[FIBER_DEBUG_NAME];
    uint32_t frame_size; /* of what lies on a stack that was left, with the return address */
    uint32_t unused;
    struct fiber_debug_register registers[FIBER_DEBUG_REGISTERS];
};

XCTX_API extern const struct fiber_debug xctx__gdb;

#endif
