/* SPDX-License-Identifier: MIT */
/*
 * Calls as debug information describes them: DW_TAG_call_site (DWARF 5, section 3.4; DW_TAG_GNU_call_site before). Used
 * by evaluate_entry.c, for what was passed, and tail_calls.c, for functions that left by a jump.
 */
#ifndef XCTX_INSPECT_CALLS_H
#define XCTX_INSPECT_CALLS_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stdint.h>

#include "memory.h"

/* ---- functions ---- */

/* Where a function begins: its DW_AT_low_pc, or the first of its ranges. Without bias. */
bool xctx__function_entry(Dwarf_Die *function, Dwarf_Addr *ret_entry);

/* The name that a function has for the linker. NULL: none. */
const char *xctx__function_linkage_name(Dwarf_Die *function);

/* ---- calls ---- */

enum calls_result {
    CALLS_SEEN,     /* all of them */
    CALLS_STOPPED,  /* by a visit */
    CALLS_TOO_MANY, /* some were not looked at */
};

/* Called for each; true ends it. */
typedef bool xctx__call_visit(Dwarf_Die *call_site, void *user);

/* Visits the calls of a function, those of calls that were inlined into it included. */
enum calls_result xctx__calls_visit(Dwarf_Die *function, xctx__call_visit *visit, void *user);

/* Whether the compiler says that it has described all calls of a function, or all tail calls. */
bool xctx__calls_complete(Dwarf_Die *function);

bool xctx__call_is_tail(Dwarf_Die *call_site);

/* The address behind a call, or behind the jump. Without bias. */
bool xctx__call_return_pc(Dwarf_Die *call_site, Dwarf_Addr *ret_pc);

/* The function that is called, as its source or its declaration has it. false: that is not known before the call. */
bool xctx__call_origin(Dwarf_Die *call_site, Dwarf_Die *ret_function);

/* Its code. */
struct call_target {
    Dwfl_Module *module;
    uint64_t address;   /* in memory, where it begins */
    Dwarf_Die function; /* if `has_function` */
    bool has_function;  /* there is debug information of it */
};

/* Finds the code of a function that is called from a module. false: there is none, or it cannot be told which. */
bool xctx__call_target(const struct memory *memory, Dwfl_Module *module, Dwarf_Die *origin,
                       struct call_target *ret_target);

#endif
