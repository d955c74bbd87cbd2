/* SPDX-License-Identifier: MIT */
/**
 * @file snapshot.h
 * Snapshots: what one thread was doing at one moment.
 *
 * A snapshot is an immutable record of a thread: its variables, return addresses, registers, a part of its stack and
 * its settings, each on request. Taking one copies bytes and nothing else; what they mean is worked out later, by
 * libxctx-inspect (inspect.h), on any thread, also when the captured thread has ended, or in another process.
 *
 * A copy of a context can carry the snapshot of the place where it was copied, and a snapshot that is taken in that
 * copy has that one as its parent: the chain of parents tells on whose behalf a thread works, across threads.
 *
 * Snapshots are reference counted; a function that "returns new" gives the caller a reference, to be given back with
 * xctx_snapshot_unref(). Their bytes are overwritten with zeros when they are freed.
 *
 * Unless a function says otherwise it is thread-safe, is not async-signal-safe, and was there in 0.1. Functions
 * returning int give 0 (or what is said) or a negative errno; a call that failed has changed nothing and has not
 * written to any `ret_` parameter.
 */
#ifndef XCTX_SNAPSHOT_H
#define XCTX_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include <xctx/base.h>
#include <xctx/context.h>

XCTX_BEGIN

/** What one thread was doing at one moment. Opaque. */
typedef struct xctx_snapshot xctx_snapshot;

/** Limits of this library. */
enum {
    XCTX_SNAPSHOT_ADDRESSES = 64,          /**< return addresses that are noted at most */
    XCTX_SNAPSHOT_STACK_DEFAULT = 16384,   /**< bytes of stack that are copied at most, unless told otherwise */
    XCTX_SNAPSHOT_STACK_MAX = 16777216,    /**< what xctx_set_stack_limit() takes at most, in bytes */
    XCTX_SNAPSHOT_PARENTS_DEFAULT = 16,    /**< how long a chain of parents gets at most, unless told otherwise */
    XCTX_SNAPSHOT_PARENTS_MAX = 1024,      /**< what xctx_set_chain_limits() takes at most */
    XCTX_SNAPSHOT_CHAIN_DEFAULT = 1048576, /**< bytes that a chain keeps at most, unless told otherwise */
};

/**
 * What xctx_copy_current(), xctx_bind() and xctx_thread_create() capture from now on, in all threads.
 *
 * At the start it is what the environment's `XCTX_CAPTURE` says, names separated by commas or blanks: `stack`,
 * `locals`, `registers`, `state`, `fpu`, `all`; nothing if it is not set. A name that is not known is complained of on
 * standard error, once, and the others are used.
 *
 * @param capture  XCTX_CAPTURE_* bits; 0: variables alone.
 * @return 0; -EINVAL @p capture has bits that this version does not know.
 */
XCTX_API int xctx_set_default_capture(unsigned capture);

/** What xctx_set_default_capture() set. Async-signal-safe. */
XCTX_API unsigned xctx_default_capture(void);

/**
 * How much of a stack snapshots copy from now on, from the stack pointer upwards; XCTX_CAPTURE_LOCALS only.
 *
 * What is beyond is not captured: the frames and local variables there are missing in reports. In a fiber, the stack of
 * whoever has resumed it is copied as well, as far as the fiber's own leaves room.
 *
 * @param bytes  from 0 to XCTX_SNAPSHOT_STACK_MAX; at the start XCTX_SNAPSHOT_STACK_DEFAULT.
 * @return 0; -EINVAL it is more than that.
 */
XCTX_API int xctx_set_stack_limit(size_t bytes);

/**
 * How long chains of parents get from now on. The oldest are dropped, some at a time. A snapshot of
 * xctx_snapshot_fill() ends a chain, as no context carries it, and has the whole of it.
 *
 * @param parents  how many snapshots a chain has at most beside the newest: 0 to XCTX_SNAPSHOT_PARENTS_MAX.
 * @param bytes    how many bytes a chain's snapshots keep at most, the newest one always being kept.
 * @return 0; -EINVAL @p parents is out of range.
 */
XCTX_API int xctx_set_chain_limits(size_t parents, size_t bytes);

/**
 * Takes a snapshot of the running thread, as it is in the caller: the first address is where this call returns to.
 *
 * Variables are always in it (xctx_snapshot_context()).
 *
 * @param capture  XCTX_CAPTURE_* bits.
 * @return new; NULL if memory ran out or @p capture has bits that this version does not know.
 */
XCTX_API xctx_snapshot *xctx_snapshot_take(unsigned capture);

/**
 * Reserves memory for a snapshot that xctx_snapshot_fill() takes later: in a signal handler, or where time counts.
 *
 * @param capture      XCTX_CAPTURE_* bits that may be asked for then.
 * @param stack_limit  bytes of stack to have room for, up to XCTX_SNAPSHOT_STACK_MAX; 0 takes what
 *                     xctx_set_stack_limit() says.
 * @return new, with nothing in it; NULL if memory ran out or an argument is out of range.
 */
XCTX_API xctx_snapshot *xctx_snapshot_reserve(unsigned capture, size_t stack_limit);

/**
 * Takes a snapshot of the running thread into reserved memory.
 *
 * Async-signal-safe. Takes no lock, allocates nothing, and makes system calls only for what needs them: the thread's
 * state, and where the bounds of the stack are not known yet.
 *
 * @param snapshot  of xctx_snapshot_reserve(), not filled yet, and no other thread uses it until this call returns.
 * @param capture   XCTX_CAPTURE_* bits, none that was not reserved.
 * @param ucontext  the third argument of a signal handler (a `ucontext_t *`): the snapshot is of the code that was
 *                  interrupted. NULL: of the caller.
 * @return 0; -EINVAL @p snapshot is NULL, or @p capture has bits that were not reserved; -EALREADY it is filled.
 */
XCTX_API int xctx_snapshot_fill(xctx_snapshot *snapshot, unsigned capture, const void *ucontext);

/**
 * Empties a snapshot that was filled, for another xctx_snapshot_fill(): for who takes many into the same memory.
 * Its bytes are overwritten with zeros.
 *
 * @return 0; -EINVAL @p snapshot is NULL or read from a file; -EBUSY somebody else has a reference to it.
 */
XCTX_API int xctx_snapshot_reset(xctx_snapshot *snapshot);

/**
 * Takes a snapshot of another thread of this process, which is interrupted by a signal for it.
 *
 * The signal is a real-time one that nobody had a handler for when this function was first called. System calls go on
 * after it, also those that end with EINTR after other signals: sleep(), or poll() without a time limit. Not those that
 * would begin to wait anew: poll() and epoll_wait() with a limit, usleep(). A thread that blocks the signal, waits for
 * it in sigwait(), or does not get to run, lets the time pass.
 *
 * @param tid      a thread id, as gettid() gives; the running thread's own is allowed.
 * @param capture  XCTX_CAPTURE_* bits.
 * @param timeout  in nanoseconds, at most; below 0: without limit.
 * @param ret_snapshot  receives the snapshot, new.
 * @return 0; -EINVAL @p capture has bits that are not known, or @p ret_snapshot is NULL; -ESRCH there is no such
 *         thread in this process; -ETIMEDOUT; -EAGAIN no signal is free, or too many threads that were asked have not
 *         answered yet; -ENOMEM.
 */
XCTX_API int xctx_snapshot_take_thread(int tid, unsigned capture, int64_t timeout, xctx_snapshot **ret_snapshot);

/**
 * Takes a snapshot of every thread of this process, the running one first, the others by increasing thread id. They
 * are asked all at once and answer each on its own: they are not stopped, nor captured at one moment. A thread that has
 * blocked the signal for a tenth of a second is not waited for any longer.
 *
 * @param capture  XCTX_CAPTURE_* bits.
 * @param timeout  in nanoseconds, for all of them together.
 * @param ret_snapshots  receives an array of references to *ret_count snapshots, new: to be given back with
 *                       xctx_snapshot_unref_all(). Threads that did not answer have a snapshot with the thread id, and
 *                       nothing captured; but of one that waits in a system call, the place and the stack are, if
 *                       XCTX_CAPTURE_LOCALS is wanted and the system lets them be seen: XCTX_THREAD_OUTSIDE.
 * @param ret_count  receives how many there are.
 * @return 0; -EINVAL; -EAGAIN no signal is free; -ENOMEM.
 */
XCTX_API int xctx_snapshot_take_all(unsigned capture, int64_t timeout, xctx_snapshot ***ret_snapshots,
                                    size_t *ret_count);

/** Gives back what xctx_snapshot_take_all() returned. NULL is allowed. */
XCTX_API void xctx_snapshot_unref_all(xctx_snapshot **snapshots, size_t count);

/**
 * The snapshot that was taken when a context was copied.
 *
 * @return borrowed from @p context; NULL if there is none, or @p context is NULL.
 */
XCTX_API xctx_snapshot *xctx_snapshot_of(xctx_context *context);

/**
 * The snapshot that the context in which this one was taken carried: where the work came from.
 *
 * @return borrowed from @p snapshot; NULL: there is none.
 */
XCTX_API xctx_snapshot *xctx_snapshot_parent(xctx_snapshot *snapshot);

/** Takes another reference. @param snapshot NULL is allowed. @return @p snapshot, new. Async-signal-safe. */
XCTX_API xctx_snapshot *xctx_snapshot_ref(xctx_snapshot *snapshot);

/** Gives a reference back. @param snapshot NULL is allowed. @return NULL. */
XCTX_API xctx_snapshot *xctx_snapshot_unref(xctx_snapshot *snapshot);

/** Which XCTX_CAPTURE_* bits a snapshot holds; 0 for NULL. Async-signal-safe. */
XCTX_API unsigned xctx_snapshot_captured(const xctx_snapshot *snapshot);

/**
 * When a snapshot was taken, by CLOCK_REALTIME in nanoseconds; noted together with the thread's state.
 *
 * @return 0; -ENODATA it was not captured; -EINVAL @p snapshot is NULL. Async-signal-safe.
 */
XCTX_API int xctx_snapshot_time(const xctx_snapshot *snapshot, int64_t *ret_time);

/**
 * The return addresses on the stack, the innermost first; captured by XCTX_CAPTURE_STACK.
 *
 * Found by following frame pointers, so that it takes nanoseconds: functions that were compiled without one are
 * missing, and a list ends early where the chain is broken. A report (inspect.h) of a snapshot with
 * XCTX_CAPTURE_LOCALS has all frames. The first address is where the thread was; each other is where a call returns to.
 * From a fiber they go on in whoever has resumed it.
 *
 * @param pcs  receives at most @p max addresses; may be NULL if @p max is 0.
 * @return how many there are, which may be more than @p max; at most XCTX_SNAPSHOT_ADDRESSES. Async-signal-safe.
 */
XCTX_API size_t xctx_snapshot_stack(const xctx_snapshot *snapshot, uintptr_t *pcs, size_t max);

/**
 * The return addresses on the running thread's stack, as xctx_snapshot_stack() has them, without a snapshot.
 *
 * Async-signal-safe.
 *
 * @param pcs  receives at most @p max addresses, the first being where this call returns to.
 * @return how many were written; 0 if @p pcs is NULL or @p max 0.
 */
XCTX_API size_t xctx_backtrace(uintptr_t *pcs, size_t max);

/**
 * The value of a register; captured by XCTX_CAPTURE_REGISTERS and XCTX_CAPTURE_LOCALS.
 *
 * A snapshot that the thread took itself has the registers that a function call preserves, the program counter, the
 * stack pointer, flags and floating-point control; one that was taken in a signal handler has all of them.
 *
 * @param name  as gdb calls it: on x86-64 "rip", "rsp", "rbp", "rbx", "r12", ..., "rflags" ("eflags"), "fs_base",
 *              "mxcsr", "fctrl"; on aarch64 "pc", "sp", "x0" ... "x30", "cpsr", "fpsr", "fpcr", "tpidr". "pc" and "sp"
 *              are known on both.
 * @return 0; -ENODATA it was not captured; -ENOENT there is no such register; -EINVAL an argument is NULL.
 *         Async-signal-safe.
 */
XCTX_API int xctx_snapshot_register(const xctx_snapshot *snapshot, const char *name, uint64_t *ret_value);

/** The name of register @p index, from 0, as xctx_snapshot_register() knows them; NULL after the last. A static
 * string. Async-signal-safe. */
XCTX_API const char *xctx_register_name(size_t index);

/**
 * Reads bytes that a snapshot holds: of the stack, or of the file that it was read from.
 *
 * @return 0; -EFAULT some of them were not captured; -EINVAL an argument is NULL. Async-signal-safe.
 */
XCTX_API int xctx_snapshot_read(const xctx_snapshot *snapshot, uint64_t address, void *buffer, size_t size);

/** What is in a xctx_thread_state: bits of `present`. */
enum {
    XCTX_THREAD_IDS = 1u << 0,      /**< tid, pid */
    XCTX_THREAD_NAME = 1u << 1,     /**< name */
    XCTX_THREAD_SIGMASK = 1u << 2,  /**< blocked, pending */
    XCTX_THREAD_FENV = 1u << 3,     /**< rounding_mode, fp_exceptions, fp_control */
    XCTX_THREAD_LOCALE = 1u << 4,   /**< locale */
    XCTX_THREAD_AFFINITY = 1u << 5, /**< affinity */
    XCTX_THREAD_SCHED = 1u << 6,    /**< policy, priority, nice */
    XCTX_THREAD_ERRNO = 1u << 7,    /**< error_number */
    XCTX_THREAD_CPU = 1u << 8,      /**< cpu */
    XCTX_THREAD_TIME = 1u << 9,     /**< time, cpu_time */
    XCTX_THREAD_STACK = 1u << 10,   /**< stack_low, stack_high */
    XCTX_THREAD_SIGNAL = 1u << 11,  /**< signal, signal_code, fault_address: taken in a signal handler */
    XCTX_THREAD_OUTSIDE = 1u << 12, /**< of a thread that did not answer, while it waited in a system call: of its
                                       registers pc and sp are known, and its variables are not */
};

/** A thread's settings and what it had to do with the system at the moment of a snapshot. */
typedef struct xctx_thread_state {
    size_t size;            /**< of this structure, in the library's version */
    uint32_t present;       /**< XCTX_THREAD_* bits: which of the others hold something */
    int32_t tid;            /**< thread id, as gettid() */
    int32_t pid;            /**< process id */
    char name[16];          /**< as pthread_getname_np(), with a final NUL */
    uint64_t blocked;       /**< signal mask: bit n-1 is signal n */
    uint64_t pending;       /**< signals that wait to be delivered to this thread, likewise */
    int32_t rounding_mode;  /**< as fegetround() */
    int32_t fp_exceptions;  /**< flags that are raised, as fetestexcept(FE_ALL_EXCEPT) */
    uint64_t fp_control;    /**< x86-64: mxcsr, and the x87 control word shifted by 32; aarch64: fpcr */
    char locale[128];       /**< the thread's LC_ALL: one name, or "LC_CTYPE=...;..." as setlocale() writes it */
    uint64_t affinity[16];  /**< processors that the thread may run on: bit n of the whole is processor n */
    int32_t policy;         /**< SCHED_OTHER, ... */
    int32_t priority;       /**< for real-time policies */
    int32_t nice;           /**< -20 to 19 */
    int32_t error_number;   /**< errno */
    int32_t cpu;            /**< the processor it ran on */
    int32_t signal;         /**< the signal whose handler took the snapshot */
    int32_t signal_code;    /**< its si_code */
    uint32_t reserved;      /**< 0 */
    uint64_t fault_address; /**< its si_addr, where it has one; else 0 */
    int64_t time;           /**< CLOCK_REALTIME, in nanoseconds */
    int64_t cpu_time;       /**< of the thread, in nanoseconds */
    uint64_t stack_low;     /**< the bounds of its stack, as far as known: from here */
    uint64_t stack_high;    /**< up to here, exclusive */
} xctx_thread_state;

/**
 * The thread's state; captured by XCTX_CAPTURE_STATE. The ids, and the bounds of the stack, are there in any case.
 *
 * @return borrowed from @p snapshot; NULL only for NULL, or one that is not filled. Async-signal-safe.
 */
XCTX_API const xctx_thread_state *xctx_snapshot_thread_state(const xctx_snapshot *snapshot);

/**
 * The variables at that moment, in a context that is nobody's but the snapshot's.
 *
 * In a snapshot that was read from a file the variables have that file's names, and values that are texts, as their
 * `format` operation wrote them.
 *
 * @return borrowed from @p snapshot; NULL if memory ran out, or the variables could not be captured: a signal
 *         interrupted a change to them, or the thread did not answer.
 */
XCTX_API xctx_context *xctx_snapshot_context(const xctx_snapshot *snapshot);

XCTX_END

#endif
