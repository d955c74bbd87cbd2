/* SPDX-License-Identifier: MIT */
/**
 * @file crash.h
 * Crashes: a report with local variables, and a core file, from the process that dies.
 *
 * When a signal arrives that ends the process for a fault of its own, a snapshot is taken in the handler, with nothing
 * but system calls, and written as an ELF core. The command `xctx` makes the report of it, in a process of its own, so
 * that nothing depends on the state of the one that crashed. Then what the signal did before is done: the previous
 * handler, or the end of the process.
 *
 * Since 0.1.
 */
#ifndef XCTX_CRASH_H
#define XCTX_CRASH_H

#include <stddef.h>
#include <stdint.h>

#include <xctx/base.h>

XCTX_BEGIN

/** What to do on a crash. Zero for everything is the default. */
typedef struct xctx_crash_options {
    size_t size;             /**< sizeof(xctx_crash_options); 0 is taken for the size in 0.1 */
    const char *core_path;   /**< the core file to write: "%p" is the process id, "%t" the thread id, "%%" a percent
                                sign; NULL: none is kept */
    const char *report_path; /**< where the report goes, likewise; it is appended; NULL: standard error */
    const char *command;     /**< the command `xctx`; NULL: the one beside the library or in PATH, as found when this
                                is installed */
    size_t stack_limit;      /**< bytes of stack in it; 0: 1 MiB */
    int64_t time_limit;      /**< for the report, in nanoseconds; 0: 10 seconds */
    uint32_t flags;          /**< 0 */
} xctx_crash_options;

/**
 * Has crashes reported: SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP. The handler runs on an alternate
 * stack, so that it works after a stack overflow: the running thread gets one if it has none; for other threads see
 * xctx_crash_thread(). Threads that xctx_thread_create() starts from then on have one.
 *
 * Not reported is a fault in a thread that blocks its signal: the kernel then ends the process and calls no handler. A
 * signal that the program ignored before, and that no fault raises, is left alone: with SIGABRT ignored, abort() ends
 * the process without a report.
 *
 * @param options  NULL: the default. Copied.
 * @return 0; -EINVAL an option is out of range or too long (4096 bytes); -EALREADY it is installed, perhaps by `xctx
 *         run --crash`, whose options then hold; -ENOMEM; -ENOENT `command` is given and cannot be executed.
 *         Thread-safe; not async-signal-safe.
 */
XCTX_API int xctx_crash_install(const xctx_crash_options *options);

/**
 * Gives the running thread an alternate signal stack, if it has none, so that an overflow of its stack is reported,
 * too. It is freed when the thread ends.
 *
 * @return 0; -ENOMEM. Thread-safe; not async-signal-safe.
 */
XCTX_API int xctx_crash_thread(void);

/**
 * Puts back what the signals did before, where nobody else has changed that since.
 *
 * @return 0; -EINVAL it is not installed. Thread-safe; not async-signal-safe.
 */
XCTX_API int xctx_crash_uninstall(void);

XCTX_END

#endif
