/* SPDX-License-Identifier: MIT */
/*
 * What a snapshot is made of.
 *
 * One block of memory holds all that was captured: this structure, and behind it the bytes of the stack and of the
 * floating-point state. It is written once, by whoever captures, and only read from then on.
 *
 * Two counts. `refs` counts who uses this snapshot as a link of a chain: users, contexts, and the snapshots that have
 * it as their parent. `uses` counts who needs the block: the snapshot itself, and *abridged* ones, copies of this
 * structure without its past, which stand for it in a chain that is too long (chain.h) and share its bytes. With `refs`
 * gone the parent and the variables are released, with `uses` gone the memory is.
 *
 * The structure is shared with libxctx-inspect, which reads it, and makes snapshots from files: the two libraries are
 * of one version.
 */
#ifndef XCTX_CAPTURE_SNAPSHOT_INTERNAL_H
#define XCTX_CAPTURE_SNAPSHOT_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <xctx/core.h>
#include <xctx/snapshot.h>

#include "arch/registers.h"

struct map;

/*
 * Bytes of other stacks than the one that the thread ran on, and of what leads to them: where it ran a fiber, those of
 * whoever has resumed that. One after the other, each with this in front.
 */
struct stack_piece {
    uint64_t address;
    uint64_t size; /* of the bytes that follow; a multiple of 8 */
};

/* Counts the lists of modules that libxctx-inspect has seen: 0 until it has looked once. A snapshot notes where that
   was, so that it can be told whether a module may have been replaced since. Exported for libxctx-inspect. */
XCTX_API extern _Atomic uint64_t xctx__module_epoch;

enum snapshot_stage {
    SNAPSHOT_RESERVED, /* nothing in it yet */
    SNAPSHOT_FILLED,
};

enum snapshot_bits {
    SNAPSHOT_INTERRUPTED = 1, /* of code that a signal interrupted: `pc` is the next instruction, all registers known */
    SNAPSHOT_CHANGING = 2,    /* a signal interrupted a change to the variables: they are not captured */
    SNAPSHOT_ABRIDGED = 4,    /* stands for `whole`, with a shorter past */
    SNAPSHOT_OPENED = 8,      /* read from a file: `file` is set */
    SNAPSHOT_CUT = 16,        /* it had a parent that was not kept */
};

/* A part of memory that a file holds, and where. */
struct core_range {
    uint64_t address;
    uint64_t size;
    uint64_t offset;      /* in the file */
    const uint8_t *bytes; /* within core_file.bytes; NULL: that is not all of the file */
    bool stack;           /* captured with the snapshot; else as it was when the file was written */
    bool of_thread;       /* a thread's stack pointer is in it */
};

/* A mapped file, as the core says. */
struct core_module {
    uint64_t start;
    uint64_t end;
    uint64_t offset; /* in the file, of `start`, in bytes */
    const char *path;
};

/* What was marked secret where a core file was written. */
struct core_mark {
    uint32_t what; /* enum xctx_redact */
    const char *pattern;
};

/* What snapshots that were read from one core file share. */
struct core_file {
    _Atomic uint32_t refs;
    int fd;                    /* of a large one, from which ranges are read; -1: none */
    const uint8_t *bytes;      /* the whole file, in memory of its own; NULL: it is large */
    uint64_t size;             /* when it was opened */
    struct core_range *ranges; /* by address, none overlapping */
    size_t range_count;
    struct core_module *modules; /* by address */
    size_t module_count;
    const uint8_t *auxv; /* pairs of 64-bit words */
    size_t auxv_size;
    const uint8_t *psinfo; /* the content of NT_PRPSINFO; NULL: there is none */
    size_t psinfo_size;
    struct core_mark *marks;
    size_t mark_count;
    void (*destroy)(struct core_file *file); /* called with the last reference */
};

/* The range that an address is in; NULL: none. Exported for libxctx-inspect, as the three that follow. */
XCTX_API struct core_range *xctx__file_range(const struct core_file *file, uint64_t address);

/* Reads memory that a file holds: how many bytes could be read, from the start. Async-signal-safe. */
XCTX_API size_t xctx__file_read(const struct core_file *file, uint64_t address, void *buffer, size_t size);

/* The same up to the end of the range that `address` is in. */
XCTX_API size_t xctx__range_read(const struct core_file *file, const struct core_range *range, uint64_t address,
                                 void *buffer, size_t size);

/* Reads a large file at an offset. */
XCTX_API size_t xctx__file_read_at(const struct core_file *file, uint64_t offset, void *buffer, size_t size);

struct xctx_snapshot {
    _Atomic uint32_t refs;
    _Atomic uint32_t uses;
    size_t size;           /* of the block, in bytes */
    xctx_snapshot *whole;  /* whose block `stack` and `fpu` are in: itself, unless it is abridged */
    uint8_t *stack;        /* in the block of `whole`; of an opened one in the file; NULL: a range of that has it */
    uint8_t *fpu;          /* likewise, as arch/registers.h says */
    const uint8_t *pieces; /* likewise, stack_piece each; only while `pieces_size` is not 0 */
    uint32_t stack_room;
    uint32_t fpu_room;
    uint32_t reserved;    /* XCTX_CAPTURE_* there is room for */
    uint32_t blank_count; /* of `blanks` */
    /* From here on all is 0 in one that is not filled, */
    uint8_t stage; /* enum snapshot_stage */
    uint8_t bits;  /* enum snapshot_bits */
    uint16_t pc_count;
    uint32_t captured; /* XCTX_CAPTURE_* */
    xctx_snapshot *parent;
    struct map *root;              /* the variables; NULL: not captured */
    struct map *reserved_map;      /* for a copy of them, where they cannot be shared; NULL: none */
    xctx_context *_Atomic context; /* made of `root` when it is first asked for */
    uint32_t depth;                /* of the chain: 0 without a parent */
    uint32_t fpu_size;
    uint32_t stack_size;
    uint32_t pieces_size;
    uint64_t stack_address; /* where `stack` was */
    uint64_t epoch;         /* of the list of modules: modules.h */
    const uint8_t *blanks;  /* of an opened one: xctx_core_blank, not aligned: what is zeros in the file for a secret */
    struct core_file *file;
    struct xctx__registers registers; /* up to `known`, which says what of the rest is valid */
    uint64_t chain_bytes;             /* this snapshot's `size`, and its parents' */
    uintptr_t pcs[XCTX_SNAPSHOT_ADDRESSES];
    xctx_thread_state state; /* `present` says what of it is valid */
};

/* One of the blanks of a snapshot. */
static inline xctx_core_blank xctx__snapshot_blank(const xctx_snapshot *snapshot, uint32_t index)
{
    xctx_core_blank blank;

    memcpy(&blank, snapshot->blanks + index * sizeof(blank), sizeof(blank));
    return blank;
}

/* Whether some of those bytes were secret, and are zeros now. */
static inline bool xctx__snapshot_is_blank(const xctx_snapshot *snapshot, uint64_t address, uint64_t size)
{
    for (uint32_t i = 0; i < snapshot->blank_count; i++) {
        xctx_core_blank blank = xctx__snapshot_blank(snapshot, i);
        if (address - blank.address < blank.size || blank.address - address < size)
            return true;
    }
    return false;
}

/* The piece at *at, which moves on, and its bytes; NULL: there are no more. Those of a file may be anything. */
static inline const uint8_t *xctx__snapshot_piece(const xctx_snapshot *whole, uint32_t *at,
                                                  struct stack_piece *ret_piece)
{
    if (whole->pieces_size - *at < sizeof(*ret_piece))
        return NULL;
    memcpy(ret_piece, whole->pieces + *at, sizeof(*ret_piece));
    const uint8_t *bytes = whole->pieces + *at + sizeof(*ret_piece);
    uint32_t left = whole->pieces_size - *at - (uint32_t)sizeof(*ret_piece);
    if (ret_piece->size > left || ret_piece->address > UINT64_MAX - ret_piece->size)
        return NULL;
    *at += (uint32_t)sizeof(*ret_piece) + (uint32_t)ret_piece->size;
    return bytes;
}

/* The captured bytes of a stack from an address on, and how many there are; NULL: none. */
static inline const uint8_t *xctx__snapshot_bytes(const xctx_snapshot *whole, uint64_t address, uint64_t *ret_size)
{
    uint64_t skip = address - whole->stack_address;
    struct stack_piece piece;
    const uint8_t *bytes;

    if (whole->stack && address >= whole->stack_address && skip < whole->stack_size) {
        *ret_size = whole->stack_size - skip;
        return whole->stack + skip;
    }
    for (uint32_t at = 0; (bytes = xctx__snapshot_piece(whole, &at, &piece)) != NULL;) {
        skip = address - piece.address;
        if (address >= piece.address && skip < piece.size) {
            *ret_size = piece.size - skip;
            return bytes + skip;
        }
    }
    return NULL;
}

/* Memory for a snapshot, all zeros but for the counts and sizes. NULL: there is none. Exported for libxctx-inspect. */
XCTX_API xctx_snapshot *xctx__snapshot_create(unsigned reserved, size_t stack_room);

/* Gives a new snapshot its parent, taking a reference to that, within the limits of chains. */
void xctx__snapshot_link(xctx_snapshot *snapshot, xctx_snapshot *parent);

/* The same for a snapshot that no context will carry, so that the chain ends with it: without limits.
 * Async-signal-safe. */
void xctx__snapshot_link_end(xctx_snapshot *snapshot, xctx_snapshot *parent);

#endif
