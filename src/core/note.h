/* SPDX-License-Identifier: MIT */
/*
 * The notes of the library's own in an ELF core file: docs/decisions/0012-core-notes.md says why they are like this.
 *
 * Their name is "XCTX". A descriptor is a struct core_note, and behind it records, one after the other: a struct
 * core_record, then its content, then zeros up to a multiple of 8 bytes. Numbers are little-endian and aligned to their
 * size. A reader skips kinds that it does not know, and takes a content that is longer than it knows for one with more
 * fields at its end; a version that is not 1 is another format.
 *
 * A thread has its note XCTX_NOTE_THREAD behind its NT_PRSTATUS. It is about one or more snapshots: CORE_SNAPSHOT
 * begins the thread's own, each further one begins the parent of the one before. The others say more of the snapshot
 * whose record they follow. The file has one note XCTX_NOTE_PROCESS.
 */
#ifndef XCTX_CORE_NOTE_H
#define XCTX_CORE_NOTE_H

#include <stdint.h>

#define XCTX_NOTE_NAME "XCTX"

enum {
    XCTX_NOTE_THREAD = 0x58430001,
    XCTX_NOTE_PROCESS = 0x58430002,
    XCTX_NOTE_VERSION = 1,
};

struct core_note {
    uint32_t version;
    uint32_t reserved; /* 0 */
};

enum core_record_kind {
    /* of XCTX_NOTE_THREAD */
    CORE_SNAPSHOT = 1,  /* struct core_snapshot */
    CORE_REGISTERS = 2, /* struct core_registers */
    CORE_STATE = 3,     /* an xctx_thread_state */
    CORE_ADDRESSES = 4, /* xctx_snapshot_stack(): 64-bit numbers */
    CORE_STACK = 5,     /* a struct core_stack and its bytes; of parents. A thread's own has a PT_LOAD */
    CORE_FPU = 6,       /* 64 bits with the type of a note (NT_FPREGSET, ...), and its content; of parents */
    CORE_VARIABLE = 7,  /* struct core_variable, its name with a final NUL, its text with a final NUL */
    CORE_BLANKS = 8, /* struct core_blanked, each: bytes of its stack, and of memory, that were secret, and are zeros */
    CORE_PIECES = 9, /* struct core_piece and its bytes, each: of the stacks of those who wait for the fiber that runs.
                        A thread's own are without bytes: they have a PT_LOAD */
    /* of XCTX_NOTE_PROCESS */
    CORE_MODULE = 16,    /* struct core_module_id, its build-id, its path with a final NUL */
    CORE_REDACTION = 17, /* a 32-bit enum xctx_redact, the pattern with a final NUL */
    CORE_CUT = 18,       /* struct core_cut: memory that was left out, for its size */
};

struct core_record {
    uint32_t kind; /* enum core_record_kind */
    uint32_t size; /* of the content, in bytes, without what fills it up */
};

struct core_snapshot {
    uint32_t captured;      /* XCTX_CAPTURE_* */
    uint32_t bits;          /* enum core_snapshot_bits */
    uint64_t stack_address; /* of its stack bytes */
    uint64_t stack_size;
};

enum core_snapshot_bits {
    CORE_INTERRUPTED = 1,  /* of code that a signal interrupted */
    CORE_NO_VARIABLES = 2, /* they could not be captured */
    CORE_CHAIN_CUT = 4,    /* it had a parent that was not kept */
    CORE_HIDDEN = 8,       /* some of its registers hold secrets: they are not known here */
};

/* By the numbers of the processor's registers.h. */
struct core_registers {
    uint64_t known;
    uint64_t value[];
};

struct core_stack {
    uint64_t address;
    uint8_t bytes[];
};

struct core_piece {
    uint64_t address;
    uint64_t size; /* in bytes */
    uint8_t bytes[];
};

struct core_blanked {
    uint64_t address;
    uint64_t size; /* in bytes */
};

struct core_variable {
    uint64_t value;     /* the pointer; 0 if it is secret */
    uint32_t flags;     /* enum core_variable_flags */
    uint32_t name_size; /* with the final NUL */
};

enum core_variable_flags {
    CORE_VARIABLE_SECRET = 1,
    CORE_VARIABLE_FORMATTED = 2, /* its text is what its `format` operation wrote; else it is its address */
};

struct core_module_id {
    uint64_t start;
    uint64_t end;
    uint64_t bias;          /* address in memory = address in the file's program headers + bias */
    uint32_t build_id_size; /* 0: it has none */
    uint32_t reserved;
};

struct core_cut {
    uint64_t address;
    uint64_t size; /* of what is missing, in bytes */
};

#endif
