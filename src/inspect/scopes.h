/* SPDX-License-Identifier: MIT */
/*
 * Where a physical frame is in the debug information: the compilation unit, the function, the blocks around the place,
 * and the inlined calls that it is in. Used by whatever looks at frames: frames.c, evaluate_entry.c, secrets.c.
 */
#ifndef XCTX_INSPECT_SCOPES_H
#define XCTX_INSPECT_SCOPES_H

#include "evaluate.h"

struct scopes {
    struct place place;
    Dwarf_Die *dies; /* from the innermost block outwards, as they are nested; the unit is the last */
    int count;
    bool kept;    /* the dies are not the caller's (scope_cache.h) */
    int function; /* which of them is the concrete DW_TAG_subprogram; -1: none, then the place has no function */
};

/* Finds frame `index` of those that `place` names; of `place`, arena, memory, frames, frame_count, max_elements and
   tracer are used and handed on. Returns false if there is no debug information for it: then there is nothing to free.
   With the decode lock held. */
bool xctx__scopes_find(const struct place *place, size_t index, struct scopes *ret_scopes);

void xctx__scopes_free(struct scopes *scopes);

/* The innermost block, inlined call or function of a unit that has the code at an address (of the debug information).
   False: none has. */
bool xctx__scopes_innermost(Dwarf_Die *unit, Dwarf_Addr pc, Dwarf_Die *ret_scope);

/* The unit that has the code at an address in memory; of split DWARF, the one in the .dwo. */
bool xctx__scopes_unit(Dwfl_Module *module, uint64_t address, Dwarf_Die *ret_unit, Dwarf_Addr *ret_bias);

/* Goes on to the unit in the .dwo file, if this one only stands for it. False: that is not there. */
bool xctx__scopes_split(Dwarf_Die *unit);

#endif
