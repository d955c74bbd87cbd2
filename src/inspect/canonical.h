/* SPDX-License-Identifier: MIT */
/*
 * Names of C++ in one spelling. Compilers write the arguments of a template each in their own way: "const char *",
 * "0UL", "long unsigned int" are "char const*", "0ul", "unsigned long" here, which is how demangled names have them,
 * and gdb.
 */
#ifndef XCTX_INSPECT_CANONICAL_H
#define XCTX_INSPECT_CANONICAL_H

#include "arena.h"

/* Adds the name of a type, or of a function without its parameters. One that is not understood is added as it is. */
void xctx__canonical_name(const char *name, struct text *text);

/* Adds a text as it is, but for the types of numbers in it: "Box<unsigned long>" for "Box<long unsigned int>". */
void xctx__canonical_numbers(const char *name, struct text *text);

/* Adds the name of a function with its parameters. Likewise. */
void xctx__canonical_function(const char *function, struct text *text);

#endif
