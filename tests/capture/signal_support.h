/* SPDX-License-Identifier: MIT */
/*
 * For tests of snapshots that are filled in signal handlers: a handler that fills one, stacks between guards, and what
 * must not be in any snapshot.
 */
#ifndef XCTX_TEST_SIGNAL_SUPPORT_H
#define XCTX_TEST_SIGNAL_SUPPORT_H

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "capture_support.h"

#include "capture/snapshot_internal.h"

#define EVERYTHING XCTX_CAPTURE_ALL

enum { ALL_OF_IT = 1 << 22 }; /* bytes of stack: more than a test here uses */

static xctx_snapshot *into;            /* what the handler fills next */
static unsigned with = EVERYTHING;     /* and with what */
static volatile sig_atomic_t in_place; /* whether of the handler itself */
static volatile sig_atomic_t result;
static uint64_t pc_told, sp_told;

static inline void tell(const ucontext_t *context)
{
#if defined(__x86_64__)
    pc_told = (uint64_t)context->uc_mcontext.gregs[REG_RIP];
    sp_told = (uint64_t)context->uc_mcontext.gregs[REG_RSP];
#else
    pc_told = context->uc_mcontext.pc;
    sp_told = context->uc_mcontext.sp;
#endif
}

static inline void fill_in_handler(int number_of_signal, siginfo_t *info, void *context)
{
    (void)info;
    tell(context);
    result = xctx_snapshot_fill(into, with, in_place ? NULL : context);
#if defined(__aarch64__)
    if (number_of_signal == SIGTRAP)
        ((ucontext_t *)context)->uc_mcontext.pc += 4; /* goes on behind the instruction */
#else
    (void)number_of_signal;
#endif
}

static inline void handle(int number_of_signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_RESTART | flags};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(number_of_signal, &action, NULL) == 0);
}

static inline void reserve(unsigned capture, size_t limit)
{
    into = xctx_snapshot_reserve(capture, limit);
    CHECK(into != NULL);
    with = capture;
    result = 1;
}

static inline void release(void)
{
    into = xctx_snapshot_unref(into);
}

/* Raises SIGUSR1 with a value in its frame. Returns what is there behind, and where it was. */
NOINLINE __attribute__((unused)) static uint64_t raise_with_local(uint64_t value, uintptr_t *ret_address)
{
    volatile uint64_t *local = __builtin_alloca(64);
    local[0] = value;
    keep(local);
    CHECK(raise(SIGUSR1) == 0);
    uint64_t then = local[0];
    local[0] = 0;
    *ret_address = (uintptr_t)local;
    return then;
}

static _Thread_local uint64_t secrets[4];

/* That a snapshot has nothing of the running thread but its stack: neither thread-local variables, nor what libc keeps
   of the thread, where the canary is. */
static inline void check_no_thread_local_storage(const xctx_snapshot *snapshot)
{
    const xctx_thread_state *state = state_of(snapshot);
    uint64_t low = snapshot->stack_address, high = low + snapshot->stack_size;
    uint64_t self = (uintptr_t)pthread_self(), mine = (uintptr_t)secrets;
    int *error = &errno;

    CHECK(!(self >= low && self < high));
    CHECK(!(mine + sizeof(secrets) > low && mine < high));
    CHECK(!((uintptr_t)error >= low && (uintptr_t)error < high));
    if (state->present & XCTX_THREAD_STACK) {
        CHECK(!(self >= state->stack_low && self < state->stack_high));
        CHECK(!(mine >= state->stack_low && mine < state->stack_high));
        CHECK(high <= state->stack_high);
    }
    uint64_t byte;
    CHECK(xctx_snapshot_read(snapshot, self, &byte, 1) == -EFAULT);
    CHECK(xctx_snapshot_read(snapshot, mine, &byte, 1) == -EFAULT);
}

enum { PAGE = 65536, STACK = 8 * PAGE };

/* Memory between two pages that cannot be touched. */
static inline char *guarded(void)
{
    char *memory = mmap(NULL, STACK + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK(mprotect(memory + PAGE, STACK, PROT_READ | PROT_WRITE) == 0);
    return memory + PAGE;
}

static inline void unguard(char *memory)
{
    CHECK(munmap(memory - PAGE, STACK + 2 * PAGE) == 0);
}

#endif
