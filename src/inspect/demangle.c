/* SPDX-License-Identifier: MIT */
/* See demangle.h. */
#include "demangle.h"

#include <stdlib.h>
#include <string.h>

#include "modules.h"

typedef char *(*demangle_fn)(const char *name, char *buffer, size_t *size, int *ret_status);

/* NULL: there is none. */
static demangle_fn find(void)
{
    static const char *const libraries[] = {"/libstdc++.so.", "/libc++abi.so."};
    demangle_fn function = NULL;
    uint64_t address = 0;

    for (size_t i = 0; i < sizeof(libraries) / sizeof(libraries[0]) && address == 0; i++)
        address = xctx__modules_own_function(libraries[i], "__cxa_demangle");
    memcpy(&function, &address, sizeof(function));
    return function;
}

const char *xctx__demangle(struct arena *arena, const char *symbol)
{
    static demangle_fn function;
    static uint64_t searched; /* the epoch of the list of modules that was searched */
    size_t length = strcspn(symbol, "@");
    char *name = xctx__arena_allocate(arena, length + 1);
    int status = -1;

    if (!name)
        return NULL;
    memcpy(name, symbol, length);
    if (strncmp(name, "_Z", 2) != 0)
        return name;
    if (searched != xctx__modules_own_epoch()) {
        searched = xctx__modules_own_epoch();
        function = find();
    }
    char *readable = function ? function(name, NULL, NULL, &status) : NULL;
    const char *copy = readable && status == 0 ? xctx__arena_string(arena, readable) : name;
    free(readable);
    return copy;
}
