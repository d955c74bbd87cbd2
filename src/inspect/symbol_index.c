/* SPDX-License-Identifier: MIT */
/* See symbol_index.h. */
#include "symbol_index.h"

#include <elf.h>
#include <stdlib.h>

#include "allocate.h"
#include "context/memory.h"
#include "module.h"

enum { SYMBOLS = 1 << 24 }; /* of a module, at most */

/* Reads a symbol. false: it is none that an address could have the name of. */
static bool read_symbol(Dwfl_Module *module, int number, struct symbol *ret_symbol)
{
    GElf_Sym symbol;
    GElf_Addr address;
    GElf_Word section;
    const char *name = dwfl_module_getsym_info(module, number, &symbol, &address, &section, NULL, NULL);
    int type = name ? GELF_ST_TYPE(symbol.st_info) : STT_FILE;

    if (!name || !*name || section == SHN_UNDEF || section == SHN_ABS || type == STT_FILE || type == STT_SECTION ||
        type == STT_TLS)
        return false;
    /* Marks in the code, which assemblers make. */
    if (name[0] == '$' || (name[0] == '.' && name[1] == 'L'))
        return false;
    *ret_symbol = (struct symbol){
        .name = name,
        .address = address,
        .size = symbol.st_size,
        .global = GELF_ST_BIND(symbol.st_info) != STB_LOCAL,
        .function = type == STT_FUNC,
    };
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct symbol *one = a;
    const struct symbol *other = b;

    return one->address < other->address ? -1 : one->address > other->address;
}

static void make(struct symbol_index *index, Dwfl_Module *module)
{
    int count = dwfl_module_getsymtab(module);

    if (count <= 0 || count > SYMBOLS) {
        index->made = true;
        return;
    }
    index->symbols = xctx__decode_allocate((size_t)count * sizeof(*index->symbols));
    if (!index->symbols)
        return; /* tried again next time */
    index->made = true;
    for (int i = 1; i < count; ++i)
        index->count += read_symbol(module, i, &index->symbols[index->count]);
    qsort(index->symbols, index->count, sizeof(*index->symbols), compare);
}

const struct symbol_index *xctx__symbols_of(Dwfl_Module *module)
{
    struct symbol_index *index = &xctx__module_of(module)->symbols;

    if (!index->made)
        make(index, module);
    return index;
}

void xctx__symbol_index_destroy(struct symbol_index *index)
{
    xctx__free(index->symbols);
    *index = (struct symbol_index){0};
}
