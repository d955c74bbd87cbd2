/* SPDX-License-Identifier: MIT */
/**
 * @file inspect.h
 * Reports: what a snapshot means. In libxctx-inspect, which needs elfutils' libdw.
 *
 * A report has the frames of the call stack, the innermost first, among them inlined calls, and functions that left by
 * a tail call where the debug information tells which; the parameters and local variables of each, with type and value;
 * registers, thread state, variables; and the report of the snapshot's parent.
 * It needs the program's debug information, as gdb does. A value is given where the debug information knows where it
 * was and those bytes were captured. Otherwise the report says why there is none: it never guesses.
 *
 * Unless a function says otherwise it is thread-safe (one thread decodes at a time, others wait), is not
 * async-signal-safe, and was there in 0.1. Functions returning int give 0 or a negative errno; a call that failed has
 * changed nothing and has not written to any `ret_` parameter.
 */
#ifndef XCTX_INSPECT_H
#define XCTX_INSPECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <xctx/base.h>
#include <xctx/snapshot.h>

XCTX_BEGIN

/** A decoded snapshot. Opaque, immutable, reference counted. */
typedef struct xctx_report xctx_report;

/** Where a value came from, or why there is none. */
enum xctx_source {
    XCTX_SOURCE_SNAPSHOT,      /**< "snapshot": from captured bytes */
    XCTX_SOURCE_REGISTER,      /**< "register": from a register, as it was in that frame */
    XCTX_SOURCE_CONSTANT,      /**< "constant": the compiler knew it */
    XCTX_SOURCE_COMPUTED,      /**< "computed": the debug information says how it follows from others */
    XCTX_SOURCE_ENTRY_VALUE,   /**< "entry-value": what the caller passed */
    XCTX_SOURCE_LIVE,          /**< "live": read when the report was made (for a file: when that was written), so it
                                  may have changed since the snapshot */
    XCTX_SOURCE_OPTIMIZED_OUT, /**< "optimized-out": the compiler dropped it */
    XCTX_SOURCE_NOT_CAPTURED,  /**< "not-captured": it was in memory or in a register that the snapshot does not hold */
    XCTX_SOURCE_UNREADABLE,    /**< "unreadable": at an address where no memory is */
    XCTX_SOURCE_UNSUPPORTED,   /**< "unsupported": debug information that this version does not understand, or that
                                  does not describe the type */
    XCTX_SOURCE_REDACTED,      /**< "redacted": marked secret */
};

/** The word for a source, as in reports: "snapshot", "register", ... A static string, "unsupported" for others. */
XCTX_API const char *xctx_source_name(enum xctx_source source);

/** What a report contains: bits of xctx_inspect_options.flags. */
enum {
    XCTX_INSPECT_LIVE = 1u << 0,       /**< also read what pointers point to from the process's memory, as it is now */
    XCTX_INSPECT_NO_STATICS = 1u << 1, /**< do not read static variables, and what points to them, from there */
    XCTX_INSPECT_GLOBALS = 1u << 2,    /**< list the variables of each frame's source file, too */
    XCTX_INSPECT_NO_LOCALS = 1u << 3,  /**< frames alone */
    XCTX_INSPECT_NO_PARENTS = 1u << 4, /**< not the chain of parents */
};

/** How to make a report. Zero for everything is the default. */
typedef struct xctx_inspect_options {
    size_t size;            /**< sizeof(xctx_inspect_options); 0 is taken for the size in 0.1 */
    uint32_t flags;         /**< XCTX_INSPECT_* bits */
    uint32_t max_frames;    /**< of each report, the innermost; 0: 256, and of a stack with more the 128 innermost and
                               the 128 outermost (xctx_frame.omitted). At most 4096 */
    uint32_t max_elements;  /**< of an array or a string that are rendered; 0: 200, as gdb. At most 65536 */
    uint32_t max_parents;   /**< 0: all that the snapshot has */
    const char *debug_path; /**< where separate debug information is looked for, as gdb's debug-file-directory:
                               folders separated by colons; NULL: "/usr/lib/debug", and beside the modules */
    const char *sysroot;    /**< a folder in front of the modules' paths, for files from other machines; NULL: none */
} xctx_inspect_options;

/** A local variable or a parameter of a frame. */
typedef struct xctx_local {
    const char *name;        /**< as in the source; NULL: it has none */
    const char *type;        /**< as in the source, for example "const char *"; never NULL */
    const char *value;       /**< as gdb writes it in `bt full`: "65 'A'", "{x = 1, y = 2}", "0x5581 \"text\"",
                                "(ONE | FOUR)"; C++ classes as with gdb's pretty-printers disabled, member by member;
                                NULL: there is none, and `source` says why */
    bool parameter;          /**< of the function */
    bool artificial;         /**< made by the compiler, as C++'s this */
    bool is_static;          /**< lives outside the stack: static, or of the source file */
    bool is_global;          /**< of the source file, not of the function: XCTX_INSPECT_GLOBALS */
    enum xctx_source source; /**< where the value came from */
    uint64_t address;        /**< of the variable, if it was in memory; else 0 */
    uint64_t size;           /**< in bytes; 0: not known */
    const char *reg;         /**< the register that it was in; NULL: it was in none, or in several */
    uint32_t block;          /**< how deep the block it is declared in is nested in the function: 0 is the function's */
    uint32_t line;           /**< of the declaration; 0: not known */
} xctx_local;

/** A frame of the call stack. */
typedef struct xctx_frame {
    const char *function; /**< C++ names are demangled; NULL: not known */
    const char *file;     /**< the source file, as the compiler was called with it; NULL: not known */
    const char *module;   /**< the executable or library; NULL: the address is in none */
    uint64_t pc;          /**< where the frame was: the innermost's next instruction, else a return address */
    uint64_t cfa;         /**< the frame's canonical address: the stack pointer before the call; 0: not known */
    uint32_t line;        /**< 0: not known */
    uint32_t column;      /**< 0: not known */
    bool inlined;         /**< this call was inlined into the next frame in the report */
    bool interrupted;     /**< a signal came here: `pc` is the next instruction, not a return address */
    bool guessed;         /**< found without unwind information, by a frame pointer */
    uint64_t offset;      /**< of pc in the function, in bytes, where only the module's symbols are known */
    uint64_t omitted;     /**< how many frames are left out between the one before in the report and this one: 0, but
                             of the first at the outer end of a stack with very many. Calls that were inlined into them
                             are not counted */
} xctx_frame;

/** A variable of the context, as it was when the snapshot was taken. */
typedef struct xctx_variable {
    const char *name;  /**< of the variable */
    const char *value; /**< as its `format` operation writes it, or its address; NULL: `redacted` */
    bool redacted;     /**< marked secret */
} xctx_variable;

/** A register of the innermost frame. */
typedef struct xctx_register {
    const char *name; /**< see xctx_snapshot_register() */
    uint64_t value;   /**< as it was */
} xctx_register;

/** Formats of a report. */
enum xctx_format {
    XCTX_FORMAT_TEXT, /**< for people: colour and wrapping on a terminal (NO_COLOR is honoured), plain elsewhere */
    XCTX_FORMAT_JSON, /**< for programs: one object, as docs/report-schema.json says */
    XCTX_FORMAT_HTML, /**< one page that needs nothing else */
};

/**
 * Decodes a snapshot.
 *
 * @param snapshot    taken in this process, or opened from a file.
 * @param options     NULL: the default.
 * @param ret_report  receives the report, new.
 * @return 0; -EINVAL an argument is NULL, or out of range, or @p snapshot is not filled; -ENOMEM. Missing debug
 *         information is no error: the report has notes that say what is missing and what to install.
 */
XCTX_API int xctx_inspect(xctx_snapshot *snapshot, const xctx_inspect_options *options, xctx_report **ret_report);

/** Takes another reference. @param report NULL is allowed. @return @p report, new. */
XCTX_API xctx_report *xctx_report_ref(xctx_report *report);

/** Gives a reference back. @param report NULL is allowed. @return NULL. */
XCTX_API xctx_report *xctx_report_unref(xctx_report *report);

/** How many frames a report has. */
XCTX_API size_t xctx_report_frame_count(const xctx_report *report);

/** Frame @p index, 0 being the innermost; borrowed from @p report; NULL beyond the last. */
XCTX_API const xctx_frame *xctx_report_frame(const xctx_report *report, size_t index);

/** How many parameters and local variables a frame has. */
XCTX_API size_t xctx_frame_local_count(const xctx_frame *frame);

/** Local @p index of a frame: parameters first, then variables from the innermost block outwards, each in the order of
 * the source; borrowed from the report; NULL beyond the last. @param frame of xctx_report_frame(), not a copy. */
XCTX_API const xctx_local *xctx_frame_local(const xctx_frame *frame, size_t index);

/** The local of that name that the source would mean at that place: of the innermost block. Borrowed from the report;
 * NULL: there is none. @param frame of xctx_report_frame(), not a copy. */
XCTX_API const xctx_local *xctx_frame_find(const xctx_frame *frame, const char *name);

/** How many context variables a report has. */
XCTX_API size_t xctx_report_variable_count(const xctx_report *report);

/** Context variable @p index, in the order of their first use, the library's own (xctx_state_*) last; borrowed from
 * @p report; NULL beyond the last. */
XCTX_API const xctx_variable *xctx_report_variable(const xctx_report *report, size_t index);

/** How many registers a report has. */
XCTX_API size_t xctx_report_register_count(const xctx_report *report);

/** Register @p index; borrowed from @p report; NULL beyond the last. */
XCTX_API const xctx_register *xctx_report_register(const xctx_report *report, size_t index);

/** The thread's state; borrowed from @p report. */
XCTX_API const xctx_thread_state *xctx_report_thread_state(const xctx_report *report);

/** Which XCTX_CAPTURE_* bits the snapshot holds. */
XCTX_API unsigned xctx_report_captured(const xctx_report *report);

/** How many notes a report has. */
XCTX_API size_t xctx_report_note_count(const xctx_report *report);

/** Note @p index: one line on what is missing and why: where the stack ends early, debug information that is not
 * there and what to install; borrowed from @p report; NULL beyond the last. */
XCTX_API const char *xctx_report_note(const xctx_report *report, size_t index);

/** The report of the snapshot's parent: where the work came from; borrowed from @p report; NULL: there is none. */
XCTX_API xctx_report *xctx_report_parent(const xctx_report *report);

/**
 * Writes a report and its parents, and flushes the file.
 *
 * @param file  open for writing. If it is a terminal, text is coloured (unless NO_COLOR is set or TERM is "dumb") and
 *              wrapped to its width; else, and for the other formats, nothing depends on it.
 * @return 0; -EINVAL an argument is NULL or the format not known; what writing failed with.
 */
XCTX_API int xctx_report_write(const xctx_report *report, FILE *file, enum xctx_format format);

/**
 * Writes several reports, as of all threads of a program, each with its parents.
 *
 * As text they follow each other, each ending with an empty line, as from xctx_report_write(). JSON is one object that
 * has them in an array, `reports`; HTML is one page with all of them.
 *
 * @param reports  @p count of them, in the order in which they are written; may be NULL if there are none.
 * @param file     as for xctx_report_write().
 * @return 0; -EINVAL an argument is NULL, or one of the reports is, or the format is not known; what writing failed
 *         with.
 */
XCTX_API int xctx_reports_write(xctx_report *const reports[], size_t count, FILE *file, enum xctx_format format);

/**
 * Writes a snapshot as an ELF core file, for gdb, lldb and xctx_snapshot_open().
 *
 * In it are the captured registers and stack, the writable data of the program and its libraries as they are now,
 * the notes that debuggers look for, and in a note of the library's own the variables, the thread's state and the
 * parents. What xctx_redact() marked is overwritten with zeros.
 *
 * @param fd  open for writing at its current position; need not be seekable.
 * @return 0; -EINVAL @p snapshot is NULL or not filled, or @p fd below 0; -ENODATA it has no registers
 *         (XCTX_CAPTURE_LOCALS); -ENOMEM; what writing failed with.
 */
XCTX_API int xctx_snapshot_write_core(xctx_snapshot *snapshot, int fd);

/**
 * As xctx_snapshot_write_core(), for several threads: the file has all of them, the first being the one that debuggers
 * show.
 *
 * @param snapshots  @p count of them, of this process, or all read from one file.
 * @return as xctx_snapshot_write_core(); also -EINVAL: there are none, more than 65536, or they belong to different
 *         processes.
 */
XCTX_API int xctx_snapshots_write_core(xctx_snapshot *const snapshots[], size_t count, int fd);

/**
 * Opens an ELF core file. What xctx_redact() had marked where it was written is secret in reports and files made of it,
 * beside what is marked here.
 *
 * @param path          a file that xctx_snapshot_write_core() wrote, or another ELF core file of this processor: that
 *                      gives stack, registers and thread state of the thread that is first in it.
 * @param ret_snapshot  receives the snapshot, new. It needs a file of up to 64 MiB no more; a larger one stays open,
 *                      and is read when something in it is asked for. What it does not have any more then, because
 *                      somebody has cut it off, is not captured.
 * @return 0; -EINVAL an argument is NULL; -ENOEXEC it is no ELF core file of this processor; -EBADMSG it is one,
 *         but is damaged or cut off; -EFBIG it has too many segments (2^20), more than 1 GiB of
 *         notes, or is no regular file and larger than 4 GiB; -ENOSPC it brings more marks than there can be;
 *         -ENOMEM; what opening and reading failed with.
 */
XCTX_API int xctx_snapshot_open(const char *path, xctx_snapshot **ret_snapshot);

/**
 * As xctx_snapshot_open(), for every thread in the file, in the file's order.
 *
 * @param ret_snapshots  receives an array, new: for xctx_snapshot_unref_all().
 */
XCTX_API int xctx_snapshot_open_all(const char *path, xctx_snapshot ***ret_snapshots, size_t *ret_count);

XCTX_END

#endif
