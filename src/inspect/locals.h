/* SPDX-License-Identifier: MIT */
/*
 * The variables of scopes, one after the other: what locals.c reports and secrets.c hides. The same walk for both, so
 * that nothing is shown which is not looked at for secrets.
 */
#ifndef XCTX_INSPECT_LOCALS_H
#define XCTX_INSPECT_LOCALS_H

#include "evaluate.h"
#include "value.h"

enum { XCTX__LOCALS = 4096 }; /* of a frame, at most */

/* A variable or parameter. */
struct variable {
    Dwarf_Die die;
    const char *name; /* NULL: it has none */
    bool parameter;
    bool global;    /* of the source file */
    bool statics;   /* its location is a fixed address, or one of thread-local storage */
    bool hidden;    /* static, in a function that is marked secret: of xctx__variables_of_unit() */
    unsigned block; /* how deep it is nested: xctx_local.block */
};

/* Called for each; 0 goes on, anything else ends the walk, which returns it. */
typedef int xctx__variable_visit(const struct variable *variable, void *user);

/* The parameters of the scopes [0, count), then the variables from the innermost outwards: see xctx__locals_read(). */
int xctx__variables_visit(Dwarf_Die *scopes, int count, xctx__variable_visit *visit, void *user);

/* The variables of the place's unit that have a location, also those in namespaces; with `nested` those in functions
   that have a fixed address, too. */
int xctx__variables_of_unit(const struct place *place, bool nested, xctx__variable_visit *visit, void *user);

/* Finds where a variable is. */
void xctx__variable_locate(const struct place *place, const struct variable *variable, uint64_t size,
                           struct location *ret_location);

/* What its memory is: see xctx__value_fetch(). */
enum memory_use xctx__variable_use(const struct variable *variable);

/* Whether a variable is marked secret in the place's snapshot: by its name, or by its type. */
bool xctx__variable_secret(const struct place *place, const struct variable *variable);

/* Whether a function, or an inlined call of one, is. */
bool xctx__function_secret(const struct place *place, Dwarf_Die *function);

#endif
