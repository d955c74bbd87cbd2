/* SPDX-License-Identifier: MIT */
/*
 * Memory as a report sees it. An address is looked for in the captured stack, then in the core file that the snapshot
 * came from, then in the read-only contents of modules' files, then, if that is allowed, in this process as it is now.
 */
#ifndef XCTX_INSPECT_MEMORY_H
#define XCTX_INSPECT_MEMORY_H

#include <stdbool.h>
#include <stdint.h>

#include <xctx/inspect.h>

#include "capture/snapshot_internal.h"
#include "hidden.h"

struct modules;

struct memory {
    const xctx_snapshot *snapshot;
    struct modules *modules;
    bool live;    /* read this process's memory for what pointers point to: XCTX_INSPECT_LIVE */
    bool statics; /* and for static variables, also where a pointer leads to one: not XCTX_INSPECT_NO_STATICS */
    struct hidden hidden;
    uint64_t lost_below; /* for MEMORY_STACK: the stack below it was used by others since; 0: all is there */
};

enum memory_use {
    MEMORY_STACK,   /* for unwinding, and variables that the debug information finds on the stack */
    MEMORY_STATIC,  /* static variables, and what is in them */
    MEMORY_POINTED, /* what a pointer's value leads to */
};

/* Reads `size` bytes, all or none. Returns XCTX_SOURCE_SNAPSHOT or XCTX_SOURCE_LIVE if that worked, else
   XCTX_SOURCE_NOT_CAPTURED (memory may be there, and is not looked at), XCTX_SOURCE_UNREADABLE (none is there),
   XCTX_SOURCE_OPTIMIZED_OUT (its stack was given up) or XCTX_SOURCE_REDACTED. */
enum xctx_source xctx__memory_read(const struct memory *memory, enum memory_use use, uint64_t address, void *buffer,
                                   size_t size);

/* Whether some of those bytes are secret: then none of them can be read. */
bool xctx__memory_is_secret(const struct memory *memory, uint64_t address, uint64_t size);

static inline bool xctx__source_has_value(enum xctx_source source)
{
    return source < XCTX_SOURCE_OPTIMIZED_OUT;
}

#endif
