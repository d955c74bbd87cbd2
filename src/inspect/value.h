/* SPDX-License-Identifier: MIT */
/*
 * Values: the bytes of an object, wherever they were, and which of them are known.
 */
#ifndef XCTX_INSPECT_VALUE_H
#define XCTX_INSPECT_VALUE_H

#include <stdbool.h>
#include <stdint.h>

#include "evaluate.h"

enum { XCTX__VALUE_LIMIT = 1024 * 1024 }; /* bytes of an object that are fetched at most */

/* What is known of a byte. */
enum byte_state {
    BYTE_KNOWN,
    BYTE_OPTIMIZED_OUT,
    BYTE_MISSING,   /* not captured, or unreadable: as gdb's <error: Cannot access memory at address 0x...> */
    BYTE_SYNTHETIC, /* of a pointer that is no address: gdb's (synthetic pointer) */
};

struct value {
    uint64_t size;    /* of the object, in bytes */
    uint64_t fetched; /* how many of them are in `bytes`: all but of very large ones */
    uint8_t *bytes;
    uint8_t *states;  /* enum byte_state of each: why any bit of it is not known; NULL: all are known */
    uint8_t *unknown; /* with `states`: the bits of each byte that are not known */
    bool in_memory;   /* as a whole, at `address` */
    uint64_t address;
    enum xctx_source source; /* where the bytes came from; if none is known, why */
    const char *reg;         /* the register that all of it was in, or NULL */
    enum memory_use use;     /* how its memory was reached */
    struct location
        *pointer;            /* if synthetic pointers are in it: where all of the object is, with their PIECE_POINTER */
    uint64_t pointer_offset; /* where this part of the object begins, in bytes */
};

/* Fetches an object of `size` bytes from where it is. In the place's arena. Returns 0 or -ENOMEM. */
int xctx__value_fetch(const struct place *place, const struct location *location, uint64_t size, enum memory_use use,
                      struct value *ret_value);

/* Fetches one from memory. */
int xctx__value_at(const struct place *place, uint64_t address, uint64_t size, enum memory_use use,
                   struct value *ret_value);

/* A part of a value, sharing its bytes. `offset + size` lies within. */
struct value xctx__value_part(const struct value *value, uint64_t offset, uint64_t size);

/* Whether all bytes of a part are in one state; the state is returned then, else -1: also if some bits of a byte are
   known and others are not. */
int xctx__value_state(const struct value *value, uint64_t offset, uint64_t size);

/* The states of the bytes that some bits are in, each as if it were nothing but those. Of a bit-field, whose neighbours
   in a byte need not be known. ret_states: as many as there are bytes. */
void xctx__value_bit_states(const struct value *value, uint64_t first, uint64_t count, uint8_t *ret_states);

/* What a synthetic pointer points to: fetches `size` bytes from `offset` on of the variable it means. Returns 0,
   -ENOMEM, or -ENODATA if that is not known. */
int xctx__value_follow(const struct place *place, const struct value *pointer, uint64_t size, struct value *ret_value);

#endif
