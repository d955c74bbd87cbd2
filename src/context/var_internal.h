/* SPDX-License-Identifier: MIT */
/*
 * Variables from the inside: their numbers, and how a value becomes the word that maps hold.
 *
 * A variable gets its number when it is first set (or captured): until then no context can hold it, and reading it
 * gives the default. Numbers are never used again, and a variable that has one is never freed, so that whoever finds a
 * number in a map can look its variable up without a lock.
 */
#ifndef XCTX_CONTEXT_VAR_INTERNAL_H
#define XCTX_CONTEXT_VAR_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include <xctx/var.h>

#include "cell.h"
#include "map.h"

/* xctx_var.flags_; but for VAR_DYNAMIC they are set together with the number. */
enum var_flags {
    VAR_HOOKED = MAP_HOOKED,                           /* has `enter` and `leave` */
    VAR_FLOWS = MAP_FLOWS,                             /* its flow is not XCTX_FLOW_SHARE */
    VAR_CELL = 4,                                      /* its words are cells */
    VAR_PLAIN = 8,                                     /* none of the three, and no `retain` */
    VAR_CELL_ONLY = VAR_HOOKED | VAR_FLOWS | VAR_CELL, /* a mask, to find the variables with VAR_CELL alone */
    VAR_DYNAMIC = 16,                                  /* made by xctx_var_create() */
};

static inline uint32_t xctx__var_flags(const xctx_var *var)
{
    return __atomic_load_n(&var->flags_, __ATOMIC_RELAXED);
}

static inline uint32_t xctx__var_map_flags(const xctx_var *var)
{
    return xctx__var_flags(var) & (VAR_HOOKED | VAR_FLOWS);
}

/* The number of a variable, or XCTX__VAR_NO_ID. */
static inline uint32_t xctx__var_id(const xctx_var *var)
{
    return __atomic_load_n(&var->id_, __ATOMIC_RELAXED);
}

/* Gives a variable its number, if it has none. 0; -EINVAL its options are not valid; -ENOMEM; -ENOSPC. */
int xctx__var_number(xctx_var *var);

/* The variable with that number, which some map holds. */
xctx_var *xctx__var_at(uint32_t id);

/* The variables with a `capture` operation, newest first, linked by reserved_[0]. */
xctx_var *xctx__var_captured(void);
static inline xctx_var *xctx__var_captured_next(const xctx_var *var)
{
    return var->reserved_[0];
}

static inline void *xctx__var_unwrap(const xctx_var *var, void *word)
{
    return xctx__var_flags(var) & VAR_CELL ? ((struct cell *)word)->value : word;
}

/* Makes a word of a value: `take` (retain, clone; may be NULL) is called for a value that is not NULL. 0 or -ENOMEM. */
int xctx__var_wrap(const xctx_var *var, void *(*take)(void *), void *value, void **ret_word);

/* The same for a value that the caller owns, which is released if that fails. */
int xctx__var_wrap_owned(const xctx_var *var, void *value, void **ret_word);

static inline void xctx__var_ref_word(const xctx_var *var, void *word)
{
    if (xctx__var_flags(var) & VAR_CELL && word != XCTX__ABSENT)
        xctx__cell_ref(word);
}

static inline void xctx__var_unref_word(const xctx_var *var, void *word)
{
    if (xctx__var_flags(var) & VAR_CELL && word != XCTX__ABSENT)
        xctx__cell_unref(word);
}

/* Keeps the module in which an address lies from being unloaded. */
void xctx__module_pin(const void *address);

#endif
