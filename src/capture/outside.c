/* SPDX-License-Identifier: MIT */
/*
 * See outside.h.
 *
 * A thread that blocks all signals, as one that waits for them in sigwait(), cannot be asked. But while a system call
 * keeps it waiting its stack stands still, and /proc tells the call with its arguments, the stack pointer and the
 * program counter. So the stack is copied, and then looked whether the thread has run meanwhile: it has not if the
 * system has not switched away from it (in /proc, *voluntary_ctxt_switches), since a thread that has run and waits
 * again was switched away from once more.
 *
 * Other registers are not known: frames that are found by a frame pointer that nobody has saved further in cannot be
 * followed, and the stack ends early there.
 *
 * The stack must not be copied beyond its end, where the thread's storage begins. That is found by the list of robust
 * mutexes, which every thread registers with the kernel (glibc does so when it starts one), and which has the same
 * place in what pthread_self() points to for all threads. Without it nothing is copied.
 */
#include "outside.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ask.h"
#include "snapshot_internal.h"
#include "stack.h"

enum { TRIES = 10 }; /* for threads that wait for a short time only, and run in between */

/* Where a thread was, and how often it had gone to sleep. */
struct sight {
    uint64_t switches;
    uint64_t blocked;
    uint64_t pending;
    struct call call;
};

static bool read_field(const char *status, const char *name, int base, uint64_t *ret_value)
{
    const char *field = strstr(status, name);

    if (field)
        *ret_value = strtoull(field + strlen(name), NULL, base);
    return field != NULL;
}

static bool read_status(int tid, struct sight *sight)
{
    char text[8192];
    uint64_t others;

    if (xctx__ask_file(tid, "status", text, sizeof(text)) <= 0 ||
        !read_field(text, "\nSigBlk:\t", 16, &sight->blocked) ||
        !read_field(text, "\nSigPnd:\t", 16, &sight->pending) ||
        !read_field(text, "\nvoluntary_ctxt_switches:\t", 10, &sight->switches) ||
        !read_field(text, "\nnonvoluntary_ctxt_switches:\t", 10, &others))
        return false;
    sight->switches += others;
    return true;
}

static bool same_call(const struct call *a, const struct call *b)
{
    return a->number == b->number && a->sp == b->sp && a->pc == b->pc &&
           memcmp(a->arguments, b->arguments, sizeof(a->arguments)) == 0;
}

/* What pthread_self() gives in a thread; 0: not known. */
static uintptr_t thread_address(int tid)
{
    uintptr_t own = 0, other = 0;
    size_t size;

    if (syscall(SYS_get_robust_list, 0, &own, &size) != 0 || syscall(SYS_get_robust_list, tid, &other, &size) != 0 ||
        own == 0 || other == 0)
        return 0;
    return other - (own - (uintptr_t)pthread_self());
}

/* The live part of the stack, as far as there is room. By the kernel: the thread may end at any time. */
static bool copy_stack(xctx_snapshot *snapshot, const struct bounds *bounds, uintptr_t sp)
{
    uintptr_t from = (sp - bounds->low < XCTX__RED_ZONE ? bounds->low : sp - XCTX__RED_ZONE) & ~(uintptr_t)7;
    size_t size = bounds->high - from < snapshot->stack_room ? bounds->high - from : snapshot->stack_room;

    size &= ~(size_t)7;
    struct iovec here = {snapshot->stack, size};
    struct iovec there = {(void *)from, size}; /* NOLINT(performance-no-int-to-ptr) */
    if (size == 0 || process_vm_readv(getpid(), &here, 1, &there, 1, 0) != (ssize_t)size)
        return false;
    snapshot->stack_address = from;
    snapshot->stack_size = (uint32_t)size;
    return true;
}

static void set_register(struct xctx__registers *registers, unsigned number, uint64_t value)
{
    registers->known |= UINT64_C(1) << number;
    registers->value[number] = value;
}

static bool look(xctx_snapshot *snapshot, int tid)
{
    struct sight before = {0}, after = {0};

    if (!read_status(tid, &before))
        return false;
    before.call = xctx__ask_call(tid);
    if (before.call.number < 0)
        return false;
    uintptr_t sp = (uintptr_t)before.call.sp;
    struct bounds bounds = xctx__stack_of_thread(tid, tid == getpid() ? 0 : thread_address(tid), sp);
    if (!bounds.high || !copy_stack(snapshot, &bounds, sp))
        return false;
    after.call = xctx__ask_call(tid);
    if (!same_call(&before.call, &after.call) || !read_status(tid, &after) || after.switches != before.switches) {
        snapshot->stack_address = 0;
        snapshot->stack_size = 0;
        return false;
    }
    set_register(&snapshot->registers, XCTX__REGISTER_PC, before.call.pc);
    set_register(&snapshot->registers, XCTX__REGISTER_SP, before.call.sp);
    snapshot->captured = snapshot->reserved & (XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_REGISTERS);
    snapshot->bits |= SNAPSHOT_INTERRUPTED;
    snapshot->state.blocked = after.blocked;
    snapshot->state.pending = after.pending;
    snapshot->state.stack_low = bounds.low;
    snapshot->state.stack_high = bounds.high;
    snapshot->state.present |= XCTX_THREAD_SIGMASK | XCTX_THREAD_STACK | XCTX_THREAD_OUTSIDE;
    snapshot->epoch = atomic_load_explicit(&xctx__module_epoch, memory_order_relaxed);
    return true;
}

bool xctx__take_outside(xctx_snapshot *snapshot, int tid)
{
    bool seen = false;

    if (!(snapshot->reserved & XCTX_CAPTURE_LOCALS))
        return false;
    for (int i = 0; i < TRIES && !seen; i++)
        seen = look(snapshot, tid);
    return seen;
}
