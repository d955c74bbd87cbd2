/* SPDX-License-Identifier: MIT */
/* The symbols of a module by their address, read once for each module. */
#ifndef XCTX_INSPECT_SYMBOL_INDEX_H
#define XCTX_INSPECT_SYMBOL_INDEX_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct symbol {
    const char *name; /* in the file */
    uint64_t address; /* in memory */
    uint64_t size;    /* 0: not known */
    bool global;
    bool function;
};

struct symbol_index {
    struct symbol *symbols; /* by address */
    size_t count;
    bool made;
};

/* Of a module. Empty, if it has none, or memory ran out. Lasts as long as the module's file is open. */
const struct symbol_index *xctx__symbols_of(Dwfl_Module *module);

void xctx__symbol_index_destroy(struct symbol_index *index);

#endif
