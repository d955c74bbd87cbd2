/* SPDX-License-Identifier: MIT */
/*
 * Inside of type*.c, render*.c: what they share. See type.h for what they do.
 */
#ifndef XCTX_INSPECT_RENDER_H
#define XCTX_INSPECT_RENDER_H

#include "demangle.h"
#include "type.h"

enum {
    XCTX__DIMENSIONS = 16,        /* of an array */
    XCTX__REPEATS = 10,           /* gdb's "repeats" */
    XCTX__RENDER_DEPTH = 20,      /* gdb's "max-depth" */
    XCTX__RENDER_STEPS = 1048576, /* xctx__render_step() for one variable */
    XCTX__ELEMENTS = 200,         /* gdb's "elements", if a place has no limit of its own */
};

__extension__ typedef unsigned __int128 wide_bits;

/* ---- type.c ---- */

bool xctx__die_attribute(Dwarf_Die *die, unsigned name, Dwarf_Attribute *ret_attribute);
const char *xctx__die_name(Dwarf_Die *die);
bool xctx__die_flag(Dwarf_Die *die, unsigned name);
bool xctx__die_is_cxx(Dwarf_Die *die);
bool xctx__tag_is_qualifier(int tag);
/* A type that stands for one in a type unit is replaced by that. */
void xctx__type_complete(Dwarf_Die *type);

struct dimension {
    uint64_t count;
    uint64_t stride; /* bytes from one to the next */
    uint64_t size;   /* of all */
};

struct array {
    Dwarf_Die element;
    uint64_t element_size;
    uint64_t stride; /* that it says itself; 0: none */
    unsigned dimensions;
    struct dimension dimension[XCTX__DIMENSIONS]; /* the outermost first */
    bool vector;
};

/* `type` is stripped. */
enum xctx_source xctx__array_read(const struct place *place, Dwarf_Die *type, struct array *ret_array);

/* ---- type_name.c ---- */

/* A name with the namespaces and classes that it is in: "ns::Class::name". */
void xctx__type_qualified(Dwarf_Die *die, struct text *text);
/* The scopes alone: "ns::Class::". */
void xctx__type_scope(Dwarf_Die *die, struct text *text);
/* The parameters of a function, as they are part of its name in C++: "(int, const char *)". */
void xctx__type_parameters(Dwarf_Die *function, struct text *text);

/* ---- render*.c ---- */

struct render {
    const struct place *place;
    struct rendering *out;
    struct text *text;
    unsigned elements; /* of an array or a string that are written */
    unsigned depth;
    unsigned steps;
    bool follow;    /* references are followed: not those in structures */
    bool in_static; /* within a static member: those of its type are not gone into again */
    bool in_vector; /* its elements are numbers, even if they are of a byte */
};

/* One kind of character, by the type's name. */
struct character {
    unsigned width; /* in bytes: 1, 2, 4 */
    bool is_signed;
    char prefix; /* 'u', 'U', 'L' or 0 */
};

/* To be asked for each value, member and element: damaged types can have more of them, in each other, than can ever be
   written. False: it is enough, and the text is full. */
bool xctx__render_step(struct render *render);

/* Writes a value of a type, whatever it is. */
void xctx__render_value(struct render *render, Dwarf_Die *type, const struct value *value);

/* Writes why a value is none, if it is none: a scalar of which any byte is not known, a structure of which memory holds
   no byte. */
bool xctx__render_missing(struct render *render, const struct value *value, bool scalar);

/* Writes why there is nothing of some bytes of memory. */
void xctx__render_no_memory(struct render *render, uint64_t address, uint64_t size);

void xctx__render_source(struct render *render, enum xctx_source source);

/* Fetches what is at an address, and takes note of how old it is. */
bool xctx__render_fetch(struct render *render, uint64_t address, uint64_t size, enum memory_use use,
                        struct value *ret_value);

/* Writes an address and the symbol there. */
void xctx__render_address(struct render *render, uint64_t address);
/* Writes a pointer to a type: the text or the symbol that it points to as well. */
void xctx__render_pointer(struct render *render, Dwarf_Die *target, bool has_target, uint64_t address);

bool xctx__render_is_character(Dwarf_Die *type, struct character *ret_character);
void xctx__render_character(struct render *render, const struct character *character, const uint8_t *bytes);
void xctx__render_string(struct render *render, const struct character *character, const uint8_t *bytes, uint64_t count,
                         bool ellipsis);
void xctx__render_string_at(struct render *render, const struct character *character, uint64_t address);

void xctx__render_array(struct render *render, Dwarf_Die *type, const struct value *value);
void xctx__render_structure(struct render *render, Dwarf_Die *type, const struct value *value);
bool xctx__render_base_supported(Dwarf_Die *type, uint64_t size);
void xctx__render_enumeration(struct render *render, Dwarf_Die *type, const struct value *value);
bool xctx__enumeration_is_signed(Dwarf_Die *type);
void xctx__render_base(struct render *render, Dwarf_Die *type, const struct value *value);
void xctx__render_member_pointer(struct render *render, Dwarf_Die *type, const struct value *value);
bool xctx__render_float(struct text *text, const uint8_t *bytes, uint64_t size, const char *name);

/* A number of up to eight bytes. */
uint64_t xctx__render_word(const uint8_t *bytes, uint64_t size);

/* ---- symbol.c ---- */

/* The symbol at an address, as gdb would choose it. In the place's arena. false: none. */
bool xctx__symbol_at(const struct place *place, uint64_t address, const char **ret_name, uint64_t *ret_offset);

/* The name of a function as its symbol is shown: in C++ with its parameters. */
const char *xctx__symbol_of_function(const struct place *place, Dwarf_Die *function);

/* ---- static_member.c ---- */

/* Where a static member of a class is. false: that is not known. */
bool xctx__static_member_locate(const struct place *place, Dwarf_Die *member, struct location *ret_location);

#endif
