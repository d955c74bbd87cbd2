/* SPDX-License-Identifier: MIT */
/*
 * The physical frames of a snapshot: what each function had in its registers.
 *
 * The rules are those of the call frame information (DWARF 5, section 6.4), which libdw finds and parses: .eh_frame or
 * .debug_frame. Where there is none, or it leads nowhere, the frame pointer is tried, and the frame marked as guessed.
 */
#ifndef XCTX_INSPECT_UNWIND_H
#define XCTX_INSPECT_UNWIND_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stdint.h>

#include "arch/registers.h"
#include "memory.h"

struct arena;

/* Registers in one frame, by DWARF number. */
struct frame_registers {
    uint64_t known; /* bit i: value[i] holds something */
    uint64_t value[XCTX__DWARF_REGISTERS];
    uint64_t saved_at[XCTX__DWARF_REGISTERS]; /* where on the stack it was saved; 0: it was in the register still */
    uint32_t vectors_known;                   /* bit i: vector[i] holds something */
    uint64_t vectors_saved_at[XCTX__DWARF_VECTORS];
    uint8_t vector[XCTX__DWARF_VECTORS][16];
};

struct unwound {
    uint64_t pc;
    bool exact;                  /* `pc` is where the thread was; else a return address: look up what is before it */
    bool guessed;                /* found by a frame pointer */
    bool signal;                 /* this is the frame that a signal handler returns to (its pc is in the trampoline) */
    bool fiber;                  /* a fiber's first one: the next has resumed that */
    bool tail;                   /* it left by a tail call: `pc` is behind the jump (tail_calls.h) */
    uint64_t cfa;                /* 0: not known */
    uint64_t omitted;            /* not 0: the first of so many that are left out. The next is not its caller */
    Dwfl_Module *module;         /* NULL: the pc is in none */
    const struct memory *memory; /* what of the memory is still there for it; NULL: all */
    struct frame_registers registers;
};

/* The address to look up for a frame. */
static inline uint64_t xctx__unwound_lookup(const struct unwound *frame)
{
    return frame->pc - (frame->exact ? 0 : 1);
}

/*
 * Unwinds a snapshot. With the decode lock held.
 *
 * Of a stack with more frames there are the innermost and the outermost, so many of each, and between them the first
 * of those that are left out: it is where the one before it was called.
 *
 * `ret_end` receives a line that says where and why the stack ends if it does so early; NULL: it is complete.
 * Returns 0 or -ENOMEM. All in the arena.
 */
int xctx__unwind(struct arena *arena, const struct memory *memory, size_t innermost, size_t outermost,
                 struct unwound **ret_frames, size_t *ret_count, const char **ret_end);

#endif
