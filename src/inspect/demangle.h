/* SPDX-License-Identifier: MIT */
/*
 * Names of C++ symbols, where there is no debug information to take them from. The C++ library's own function does it:
 * a process that runs C++ has it. In others names stay as they are.
 *
 * The function is looked for among the modules that are known, not by dlsym(): that takes the dynamic linker's lock,
 * which a constructor that makes a report holds already, and is not to be relied on in a child of fork().
 */
#ifndef XCTX_INSPECT_DEMANGLE_H
#define XCTX_INSPECT_DEMANGLE_H

#include "arena.h"

/* A symbol's name as in the source, without its version; in the arena. With the decode lock held. */
const char *xctx__demangle(struct arena *arena, const char *symbol);

#endif
