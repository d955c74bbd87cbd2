/* SPDX-License-Identifier: MIT */
/**
 * @file core.h
 * ELF core files from inside a process, and answering who asks for one.
 *
 * Since 0.1.
 */
#ifndef XCTX_CORE_H
#define XCTX_CORE_H

#include <stddef.h>
#include <stdint.h>

#include <xctx/base.h>
#include <xctx/snapshot.h>

XCTX_BEGIN

/** Bytes that are written as zeros. */
typedef struct xctx_core_blank {
    uint64_t address; /**< in the process, of the first byte */
    uint64_t size;    /**< in bytes */
} xctx_core_blank;

/**
 * Writes an ELF core file of one or several threads of this process.
 *
 * Uses nothing but system calls and a few kilobytes of stack: no lock, no memory. What xctx_redact() marked of context
 * variables is not in it; marked types and functions are only known to xctx_snapshot_write_core() (inspect.h), which
 * calls this with what it has found. Values of variables that have a `format` operation are formatted by it, unless
 * XCTX_CORE_RAW is given.
 *
 * @param fd          open for writing; need not be seekable.
 * @param snapshots   @p count of them, each with registers; the first is the one that debuggers show.
 * @param blanks      @p blank_count ranges that hold secrets; may be NULL if there are none.
 * @param flags       XCTX_CORE_RAW, or 0.
 * @return 0; -EINVAL an argument is out of range, or a snapshot has no registers; what writing failed with.
 * Thread-safe; async-signal-safe with XCTX_CORE_RAW.
 */
XCTX_API int xctx_core_write(int fd, xctx_snapshot *const snapshots[], size_t count, const xctx_core_blank blanks[],
                             size_t blank_count, unsigned flags);

enum {
    XCTX_CORE_RAW = 1u << 0, /**< call no `format` operation: variables appear with their address */
};

/**
 * Starts to answer `xctx dump`: a thread that waits until somebody of the same user (or root) asks, takes snapshots of
 * all threads, and hands them over. The program goes on meanwhile. `xctx run` starts it in a program by itself.
 * After fork() the child answers under its own process id.
 *
 * @return 0; -EALREADY it is started; -EADDRINUSE somebody else answers for this process id; -ENOMEM, -EAGAIN as
 *         pthread_create(); what socket() failed with. Thread-safe; not async-signal-safe.
 */
XCTX_API int xctx_serve_start(void);

/** Ends that. @return 0; -EINVAL it was not started. Thread-safe; not async-signal-safe. */
XCTX_API int xctx_serve_stop(void);

XCTX_END

#endif
