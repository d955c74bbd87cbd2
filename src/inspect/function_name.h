/* SPDX-License-Identifier: MIT */
/* The name of a function as its debug information has it, and where its lines are. */
#ifndef XCTX_INSPECT_FUNCTION_NAME_H
#define XCTX_INSPECT_FUNCTION_NAME_H

#include <elfutils/libdw.h>
#include <stdint.h>

#include "evaluate.h"

/* Of a function or an inlined call, in the place's unit: "sort", in C++ "ns::Sorter<int>::sort", as gdb writes it in
   its lines of a call stack. In the arena; NULL: it has none. */
const char *xctx__function_name(const struct place *place, Dwarf_Die *function);

/* A place in the source. */
struct source_place {
    const char *file; /* as the compiler was called with it; in the arena; NULL: not known */
    uint32_t line;    /* 0: not known */
    uint32_t column;
};

/* The one of an address (as in the debug information). Of split debug information `unit` is the skeleton. */
struct source_place xctx__source_of_address(struct arena *arena, Dwarf_Die *unit, Dwarf_Addr address);

/* The one that an inlined call was at. `skeleton` is `unit`, or of split debug information what stands for it. */
struct source_place xctx__source_of_call(struct arena *arena, Dwarf_Die *unit, Dwarf_Die *skeleton, Dwarf_Die *inlined);

#endif
