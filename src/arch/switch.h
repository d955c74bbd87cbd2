/* SPDX-License-Identifier: MIT */
/*
 * Switching between stacks: what each architecture's switch.S supplies.
 *
 * A switch keeps what the ABI has a called function keep: callee-saved registers, the stack pointer, and the control
 * bits of floating point (rounding, traps). Exception flags belong to the thread and go on, as they do over a call. The
 * registers lie on the stack that is left, all stacks with the same layout, so that one description for unwinders is
 * true before and after the stack pointer has changed.
 *
 *   int xctx__switch_in(xctx_fiber *fiber, void *in);
 *       Leaves the caller's stack for that of a fiber which runs from then on: its xctx__switch_out() returns `in`. The
 *       caller has the fiber in state RUNNING. Returns when the fiber switches out: what that gave as `status`.
 *   void *xctx__switch_out(xctx_fiber *fiber, int status, uintptr_t state);
 *       Back from the running fiber's stack to where it was resumed. `state` is stored (release) into *fiber->turn when
 *       the fiber's stack is not needed any more: another thread may resume the fiber, or free it if that is DONE.
 *       Returns the next `in`, perhaps on another thread.
 *   int xctx__switch_begin(xctx_fiber *fiber);
 *       As xctx__switch_in(), for a fiber that starts, at fiber->sp: a multiple of 16 where three words were put, the
 *       fiber, fn and arg. Goes to xctx__switch_entry, which calls fn(arg), then xctx__fiber_finish(),
 *       and stores what that returns as xctx__switch_out() would. Unwinders take
 *       that for a function which was called where the fiber was resumed. Floating-point control is left as it is.
 *   int xctx_fiber_resume(...), void *xctx_fiber_yield(void *out)
 *       The public functions. Where they are worth writing in assembly they do the common cases themselves and jump to
 *       xctx__fiber_resume_slowly(), xctx__fiber_resume_claimed() and xctx__fiber_yield_slowly() for the rest. Turns
 *       are taken by xctx__turn_resume().
 *   static inline bool xctx__has_shadow_stack(void);
 *       Whether the processor keeps return addresses on a stack of its own, which a switch would not switch.
 *   static inline struct switch_saved xctx__switch_saved(const void *sp);
 *       Where the code on a stack that was left goes on, from what lies there. Async-signal-safe.
 *   XCTX__SWITCH_FRAME, XCTX__SWITCH_REGISTERS, XCTX__SWITCH_SP_NAME, XCTX__SWITCH_PC_NAME
 *       The same for debuggers: how many bytes that is with the return address, where which register is, and gdb's
 *       names (fiber/debug.h).
 */
#ifndef XCTX_ARCH_SWITCH_H
#define XCTX_ARCH_SWITCH_H

#include <stdint.h>

#include <xctx/fiber.h>

int xctx__switch_in(xctx_fiber *fiber, void *in);
void *xctx__switch_out(xctx_fiber *fiber, int status, uintptr_t state);
int xctx__switch_begin(xctx_fiber *fiber);

/* Where fibers begin: only the address is of use. */
extern const char xctx__switch_entry[] __attribute__((visibility("hidden")));

struct switch_saved {
    uintptr_t pc; /* a return address */
    uintptr_t sp;
    uintptr_t fp;
};

#if defined(__x86_64__)
#include "x86_64/switch.h"
#elif defined(__aarch64__)
#include "aarch64/switch.h"
#endif

#endif
