/* SPDX-License-Identifier: MIT */
/*
 * Writing core files, from the inside.
 *
 * A core is made in two passes: first the notes are built in memory of their own, and a table of all parts of memory
 * that go into the file (struct layout); then headers, notes and parts are written one after the other, so that the
 * file need not be seekable. All memory comes from mmap() alone, which a signal handler may call, and goes before the
 * call returns. Nothing that is read from the process can fault: struct self.
 *
 * Parts do not overlap, and who comes first stays: captured bytes before what memory holds now.
 */
#ifndef XCTX_CORE_CORE_INTERNAL_H
#define XCTX_CORE_CORE_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include <xctx/core.h>
#include <xctx/var.h>

#include "capture/snapshot_internal.h"

enum {
    XCTX__CORE_PAGE = 4096,      /* what offsets in the file are aligned to; pages of memory may be larger */
    XCTX__CORE_PARTS = 16384,    /* of memory, in a core */
    XCTX__CORE_THREADS = 65536,  /* in a core */
    XCTX__CORE_MAPPINGS = 16384, /* of files, in a process */
    XCTX__CORE_DATA = 256 << 20, /* bytes of memory that is not captured, in all */
    XCTX__CORE_TEXT = 65536,     /* bytes of a variable's text */
};

/* What of one snapshot is secret: bytes, and registers, by the numbers of DWARF. */
struct core_secrets {
    const xctx_snapshot *snapshot; /* one that is written, or a parent of one */
    const xctx_core_blank *blanks; /* in its stack; outside of stacks for the whole core */
    size_t count;
    uint64_t registers;
};

struct core_request {
    int fd;
    xctx_snapshot *const *snapshots;
    size_t count;
    const xctx_core_blank *blanks; /* everywhere */
    size_t blank_count;
    const struct core_secrets *secrets;
    size_t secret_count;
    unsigned flags; /* XCTX_CORE_* */
};

/* As xctx_core_write(). Snapshots that were read from a file are all of that file; their memory comes from there.
   Exported for libxctx-inspect. */
XCTX_API int xctx__core_write(const struct core_request *request);

/* ---- hidden.c: what the values of secret context variables point to ---- */

struct core_hidden {
    uint64_t address; /* the value: as good as any number */
    uint64_t size;    /* in bytes; 0: a text, up to its NUL */
};

bool xctx__core_var_is_secret(const xctx_var *var);

/* Calls `each` for what is hidden of a snapshot of this process and its parents, until it returns something else than
   0, and returns that. Exported for libxctx-inspect. */
XCTX_API int xctx__core_hidden_each(const xctx_snapshot *snapshot,
                                    int (*each)(const struct core_hidden *hidden, void *user), void *user);

/* ---- variables.c ---- */

struct map;

/* Makes the map of a snapshot that is read from a file: variables, all different, with their values, which it retains.
   New, one reference. 0, -ENOMEM or -ENOSPC. Exported for libxctx-inspect. */
XCTX_API int xctx__core_map(xctx_var *const vars[], void *const values[], size_t count, struct map **ret_map);

/* ---- buffer.c: memory that grows, of mmap() alone ---- */

struct core_buffer {
    uint8_t *bytes;
    size_t size;
    size_t room;
    bool failed; /* no memory, or too large: what it holds is not whole */
};

/* Room for `size` more bytes, zeros; NULL: there is none. Lasts until the next call. */
void *xctx__core_reserve(struct core_buffer *buffer, size_t size);
void xctx__core_append(struct core_buffer *buffer, const void *bytes, size_t size);
void xctx__core_align(struct core_buffer *buffer, size_t alignment);
void xctx__core_release(struct core_buffer *buffer);

/* ---- self.c: the process's own memory and mappings, as the system knows them ---- */

struct core_self {
    int memory;  /* /proc/self/mem, for systems that do not let one use process_vm_readv(); -1 */
    bool direct; /* process_vm_readv() works */
};

void xctx__core_self_open(struct core_self *self);
void xctx__core_self_close(struct core_self *self);

/* Reads the process's memory; returns how many bytes could be, from the start. */
size_t xctx__core_self_read(const struct core_self *self, uint64_t address, void *buffer, size_t size);

/* A line of /proc/self/maps. */
struct core_mapping {
    uint64_t start;
    uint64_t end;
    uint64_t offset; /* in the file, in bytes */
    bool readable;
    const char *name; /* "" if it has none; until the next line is read */
};

/* Calls `each` for all mappings, by address, until it returns false. 0, or what opening and reading failed with. */
int xctx__core_self_mappings(struct core_buffer *line, bool (*each)(const struct core_mapping *mapping, void *user),
                             void *user);

/* Reads a whole small file of /proc. */
void xctx__core_self_file(const char *path, struct core_buffer *buffer, size_t limit);

/* ---- layout.c: which parts of memory go into the file ---- */

struct core_part {
    uint64_t address;
    uint64_t size;
    uint64_t offset;            /* in the file */
    const uint8_t *bytes;       /* NULL: the process's memory, now; what the opened file has, if there is one */
    const xctx_snapshot *stack; /* whose stack it is; NULL: of none */
    uint32_t flags;             /* PF_* */
};

/* A mapping of a file, or of the kernel's library. */
struct core_file_mapping {
    uint64_t start;
    uint64_t end;
    uint64_t offset;
    uint64_t path; /* where it is in `paths` */
};

struct core_layout {
    const struct core_request *request;
    const struct core_file *file; /* the one that the snapshots were read from; NULL: they are of this process */
    struct core_self self;
    struct core_buffer line;     /* for reading files of /proc */
    struct core_buffer parts;    /* struct core_part, by address, none overlapping */
    struct core_buffer mappings; /* struct core_file_mapping, by address */
    struct core_buffer paths;
    struct core_buffer modules; /* records CORE_MODULE */
    struct core_buffer cuts;    /* records CORE_CUT */
    struct core_buffer auxv;
    struct core_buffer hidden; /* struct core_hidden, all different */
    uint64_t data;             /* bytes of parts that are not captured */
};

/* Finds everything that goes into the core but for the notes. 0 or -ENOMEM. */
int xctx__core_layout(struct core_layout *layout);
void xctx__core_layout_release(struct core_layout *layout);

static inline struct core_part *xctx__core_parts(const struct core_layout *layout, size_t *ret_count)
{
    *ret_count = layout->parts.size / sizeof(struct core_part);
    return (struct core_part *)(void *)layout->parts.bytes;
}

/* Adds memory to the core, but for what is in it already. */
void xctx__core_add(struct core_layout *layout, const struct core_part *part);

/* modules.c: adds what debuggers want of programs and libraries: their data, first pages, and ld.so's list. */
void xctx__core_add_modules(struct core_layout *layout);

/* hidden.c: finds what secret values of all snapshots point to. */
void xctx__core_find_hidden(struct core_layout *layout);

/* Overwrites that with zeros, in bytes that were at `address`. *goes_on_at: where a text goes on that the bytes before
   these did not end; 0: none does. Before xctx__core_blank(), whose zeros are no end of a text. */
void xctx__core_hide(const struct core_layout *layout, uint64_t address, uint8_t *bytes, size_t size,
                     uint64_t *goes_on_at);

/* Appends an xctx_core_blank for each: what a reader of that snapshot finds zeros for. */
void xctx__core_hidden_blanks(const struct core_layout *layout, const xctx_snapshot *snapshot,
                              struct core_buffer *blanks);

/* ---- notes.c ---- */

/* Builds all notes. 0 or -ENOMEM. */
int xctx__core_notes(struct core_layout *layout, struct core_buffer *notes);

/* Begins a record, whose content follows; ends it. */
size_t xctx__core_record_begin(struct core_buffer *buffer, uint32_t kind);
void xctx__core_record_end(struct core_buffer *buffer, size_t begin);

/* Where the captured bytes of a snapshot are: itself, unless it is abridged. */
static inline const xctx_snapshot *xctx__core_whole(const xctx_snapshot *snapshot)
{
    return snapshot->whole ? snapshot->whole : snapshot;
}

/* Overwrites what one blank covers of bytes that were at `address` with zeros. */
void xctx__core_blank_range(xctx_core_blank blank, uint64_t address, uint8_t *bytes, size_t size);

/* Overwrites what is secret of bytes that were at `address` with zeros. `stack`: of that snapshot's stack, else NULL.
 */
void xctx__core_blank(const struct core_request *request, const xctx_snapshot *stack, uint64_t address, uint8_t *bytes,
                      size_t size);

/* What is said to be secret of a snapshot; NULL: nothing. */
const struct core_secrets *xctx__core_secrets_of(const struct core_request *request, const xctx_snapshot *snapshot);

#endif
