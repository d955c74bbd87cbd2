/* SPDX-License-Identifier: MIT */
/*
 * Types: their names, sizes, and how their values are written. The judge is gdb 13: values are written as its `bt full`
 * and `info locals` do with default settings. Depth, members and elements are bounded; a type that contains itself ends
 * in "...".
 */
#ifndef XCTX_INSPECT_TYPE_H
#define XCTX_INSPECT_TYPE_H

#include "arena.h"
#include "evaluate.h"
#include "value.h"

enum {
    XCTX__TYPE_DEPTH = 64, /* types within types */
    XCTX__MEMBERS = 4096,  /* of a structure, enumerators of an enumeration, parameters of a function */
};

/* The type of a variable, parameter, member, ...: its DW_AT_type, through abstract origins and specifications. Returns
   false if there is none, which is `void`. */
bool xctx__type_of(Dwarf_Die *die, Dwarf_Die *ret_type);

/* Without typedefs and qualifiers. false: it ends in `void`, or is nested too deeply. */
bool xctx__type_strip(Dwarf_Die *type, Dwarf_Die *ret_type);

/* Writes a type's name as the source has it: "const char *", "int [4]", "void (*)(int)". `type` NULL: "void". */
void xctx__type_name(Dwarf_Die *type, struct text *text);

/* Its size in bytes, bounds of variable-length arrays being evaluated. Returns XCTX_SOURCE_SNAPSHOT if *ret_size holds
   it, else why not. */
enum xctx_source xctx__type_size(const struct place *place, Dwarf_Die *type, uint64_t *ret_size);

/*
 * Writes a value of a type. `secret` in the result says that something of a redacted type is in it, which is written
 * as "<redacted>"; `live` that something was read from the process as it is now.
 *
 * Returns XCTX_SOURCE_SNAPSHOT if something was written, else why not (nothing of it known): then nothing was.
 */
struct rendering {
    struct text *text;
    bool secret;
    bool live;
};
enum xctx_source xctx__render(const struct place *place, Dwarf_Die *type, const struct value *value,
                              struct rendering *rendering);

/* Whether a type is marked secret in the place's snapshot, or contains or points to one that is. */
bool xctx__type_secret(const struct place *place, Dwarf_Die *type);

#endif
