/* SPDX-License-Identifier: MIT */
/*
 * Reading ELF core files that may be damaged, or made to do damage.
 *
 * What is looked at is read into memory of its own before: so the file may be cut off or written to meanwhile. Of a
 * small one that is everything, and it is needed no more; of a large one the headers and notes, and the rest is read
 * when it is asked for (src/capture/file.c). A mapping would be less to do, but to cut off a mapped file is to end the
 * process. Every offset and size is checked before it is followed, every loop is bounded by the file's size or a limit
 * here.
 */
#ifndef XCTX_INSPECT_CORE_FILE_H
#define XCTX_INSPECT_CORE_FILE_H

#include <elf.h>
#include <stddef.h>
#include <stdint.h>

#include "capture/snapshot_internal.h"

enum {
    XCTX__FILE_THREADS = 65536,
    XCTX__FILE_VARIABLES = 65536, /* of a snapshot that are read */
    XCTX__FILE_SEGMENTS = 1 << 20,
    XCTX__FILE_WHOLE = 64 << 20, /* bytes of a file that is read as a whole; of one that cannot be read at an offset up
                                    to XCTX__FILE_MOST */
    XCTX__FILE_NOTES = 1 << 30,  /* bytes of a large file's notes: our own writes no more */
    XCTX__FILE_MARKS = 256, /* of secrets: a file that was opened and written again has those of several processes */
};
#define XCTX__FILE_MOST (UINT64_C(4) << 30) /* bytes */

struct bytes {
    const uint8_t *at;
    size_t size;
};

/* What the notes say of one thread. */
struct file_thread {
    struct bytes status; /* NT_PRSTATUS */
    struct bytes signal; /* NT_SIGINFO */
    struct bytes fpu;    /* the note with the most floating-point registers */
    uint32_t fpu_type;
    struct bytes tls; /* the thread pointer, where that has a note of its own */
    struct bytes own; /* XCTX_NOTE_THREAD */
};

/* A segment of notes of a large file. */
struct notes {
    struct notes *next;
    uint8_t bytes[];
};

struct opened {
    struct core_file file; /* first: a snapshot's `file` */
    struct notes *notes;
    uint64_t notes_size;  /* in all, in bytes */
    Elf64_Phdr *segments; /* while it is opened */
    uint64_t segment_count;
    struct file_thread *threads;
    size_t thread_count;
    size_t thread_room;
    struct bytes process; /* XCTX_NOTE_PROCESS */
    bool foreign;         /* it has no note of this library's */
};

/* Reads a file and takes it apart; one reference. Errors as xctx_snapshot_open(). */
int xctx__file_open(const char *path, struct opened **ret_opened);

/* ---- core_thread.c ---- */

/* A thread's stack pointer. */
uint64_t xctx__file_sp(const struct file_thread *thread);

/* Makes the snapshot of a thread, and its parents; takes references to the file. Returns 0, -ENOMEM or -EBADMSG. */
int xctx__file_snapshot(struct opened *opened, size_t index, xctx_snapshot **ret_snapshot);

/* Reads what was marked secret where the file was written: whoever writes a report of it has to know. Returns 0,
   -ENOMEM, -EBADMSG, or -ENOSPC: there are too many marks, so that the file cannot be shown safely. */
int xctx__file_marks(struct opened *opened);

/* ---- core_variables.c ---- */

/* A variable as the file has it. */
struct file_variable {
    const char *name; /* both end with a NUL */
    const char *text;
    bool secret;
};

/*
 * Makes variables of those, with texts as values.
 *
 * Variables live as long as the process, so they are kept by name, and used again for the next file: a variable of that
 * name, the second of that name in one snapshot, and so on. There is a limit to how many there can be; what is beyond
 * is left out. Returns 0 or -ENOMEM.
 */
int xctx__file_variables(const struct file_variable *variables, size_t count, struct map **ret_root);

#endif
