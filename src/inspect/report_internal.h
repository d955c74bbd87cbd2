/* SPDX-License-Identifier: MIT */
/*
 * What a report is made of. Everything in it is in its arena.
 */
#ifndef XCTX_INSPECT_REPORT_INTERNAL_H
#define XCTX_INSPECT_REPORT_INTERNAL_H

#include <stdatomic.h>
#include <stdint.h>

#include <xctx/inspect.h>

#include "arena.h"
#include "evaluate.h"

/* A frame as a report has it: the public structure, and its locals. */
struct frame {
    xctx_frame frame; /* first: xctx_frame_local() finds the rest from it */
    xctx_local *locals;
    size_t local_count;
    size_t physical; /* which of the unwound frames it is (or was inlined into) */
};

enum { XCTX__NOTES = 64 };

struct xctx_report {
    _Atomic uint32_t refs;
    struct arena arena;
    unsigned captured;
    struct frame *frames;
    size_t frame_count;
    xctx_variable *variables;
    size_t variable_count;
    xctx_register *registers;
    size_t register_count;
    xctx_thread_state state;
    const char *notes[XCTX__NOTES];
    size_t note_count;
    xctx_report *parent;
};

/* Adds a note, in the arena already, unless it is there. */
void xctx__report_note(xctx_report *report, const char *note);

/* ---- frames.c ---- */

/* How many frames a report has at most. */
struct frame_limits {
    size_t innermost;
    size_t outermost; /* 0: of a larger stack only the innermost are wanted */
};

/* Makes the frames of the physical ones: inlined calls become frames of their own. With the decode lock held. Locals
   are read unless XCTX_INSPECT_NO_LOCALS. Returns 0 or -ENOMEM. */
int xctx__frames_read(xctx_report *report, const struct memory *memory, const struct unwound *unwound, size_t count,
                      const struct frame_limits *limits, const xctx_inspect_options *options);

/* ---- locals.c ---- */

/* Reads the parameters and locals of one frame, that `place` is in: those of the scopes [0, count), from the innermost
   block outwards, the last one being the function (or the inlined call) itself. Returns 0 or -ENOMEM. */
int xctx__locals_read(xctx_report *report, struct frame *frame, const struct place *place, Dwarf_Die *scopes, int count,
                      const xctx_inspect_options *options);

/* ---- secrets.c ---- */

/* What hides secrets in a core file: the parts of memory that hold values marked secret, and which registers do. The
   registers are bits by DWARF number of the innermost frame. Makes the blanks in `arena`. Returns 0 or -ENOMEM. */
struct secrets {
    struct xctx_core_blank *blanks;
    size_t count;
    uint64_t registers;
};
int xctx__secrets_find(const xctx_snapshot *snapshot, struct arena *arena, struct secrets *ret_secrets);

/* Those of its frames alone, without static variables: these are the same for a snapshot's parents. */
int xctx__secrets_of_frames(const xctx_snapshot *snapshot, const xctx_inspect_options *options, struct arena *arena,
                            struct secrets *ret_secrets);

#endif
