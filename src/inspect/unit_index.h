/* SPDX-License-Identifier: MIT */
/*
 * Which compilation unit has the code at an address, where the table that compilers may write for that
 * (.debug_aranges) does not say: made of what each unit says of itself, once for each module.
 */
#ifndef XCTX_INSPECT_UNIT_INDEX_H
#define XCTX_INSPECT_UNIT_INDEX_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stddef.h>

struct unit_range {
    Dwarf_Addr start;
    Dwarf_Addr end;
    Dwarf_Off unit; /* of its entry, in .debug_info */
};

struct unit_index {
    struct unit_range *ranges; /* by their start */
    size_t count;
    bool made;
};

/* The unit of an address in memory. `bias` as of dwfl_module_addrdie(). */
bool xctx__unit_find(Dwfl_Module *module, Dwarf_Addr address, Dwarf_Die *ret_unit, Dwarf_Addr *ret_bias);

void xctx__unit_index_destroy(struct unit_index *index);

#endif
