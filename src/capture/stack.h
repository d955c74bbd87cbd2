/* SPDX-License-Identifier: MIT */
/*
 * The bounds of the stack that a thread runs on: how far its bytes may be copied.
 *
 * The bounds of a thread's own stack are found once and kept in its slot. Their upper end is below the thread control
 * block and the thread's static thread-local storage, which lie at the top of the same memory: neither the stack
 * protector's canary nor thread-local variables are ever copied. A stack pointer that is outside of the bounds runs on
 * another stack (an alternate signal stack, a coroutine's, that of a thread made by clone()): the kernel is asked what
 * memory is there.
 *
 * The thread's id is kept together with the bounds, as proof that the slot is the thread's: one that was made by
 * clone() may share that of its creator.
 */
#ifndef XCTX_CAPTURE_STACK_H
#define XCTX_CAPTURE_STACK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "context/record.h"

struct bounds {
    uintptr_t low;  /* above the stack pointer only where the stack has overflowed: nothing is mapped in between */
    uintptr_t high; /* exclusive; 0: not known */
    int32_t tid;    /* of the thread */
};

/* The process's id. Known as soon as bounds are. */
extern _Atomic int32_t xctx__process __attribute__((visibility("hidden")));

/* The bounds of the stack that `sp` is on, if they are not those in the slot. `safe`: nothing but system calls. */
struct bounds xctx__stack_find(struct slot *slot, uintptr_t sp, bool safe);

/* The same, quickly where they are known. */
static inline struct bounds xctx__stack_bounds(struct slot *slot, uintptr_t sp, bool safe)
{
    if (XCTX__LIKELY(sp >= slot->stack_low && sp < slot->stack_high))
        return (struct bounds){slot->stack_low, slot->stack_high, slot->tid};
    return xctx__stack_find(slot, sp, safe);
}

/* The bounds of another thread's own stack: `thread` is what pthread_self() gives there, which the main thread does not
   need. `high` is 0 if the stack pointer is not on it, or that cannot be told. Not async-signal-safe. */
struct bounds xctx__stack_of_thread(int tid, uintptr_t thread, uintptr_t sp);

/* In the child of fork(): thread and process have other ids. */
void xctx__stack_after_fork(struct slot *slot);

#endif
