/* SPDX-License-Identifier: MIT */
/* ../restart.h for aarch64: x0 has the first argument before and the result after the call; the others, and the number
   in x8, stay. */
#ifndef XCTX_ARCH_AARCH64_RESTART_H
#define XCTX_ARCH_AARCH64_RESTART_H

#include "../restart.h"

static inline bool xctx__restart(ucontext_t *context, const struct call *call)
{
    const uint32_t instruction = UINT32_C(0xd4000001); /* svc #0 */
    mcontext_t *machine = &context->uc_mcontext;
    uint32_t found;

    if (call->number < 0 || (int64_t)machine->regs[0] != -EINTR || machine->pc != call->pc || machine->sp != call->sp ||
        machine->regs[8] != (uint64_t)call->number)
        return false;
    for (unsigned i = 1; i < 6; i++) {
        if (machine->regs[i] != call->arguments[i])
            return false;
    }
    memcpy(&found, (const void *)(uintptr_t)(machine->pc - sizeof(found)), sizeof(found)); /* NOLINT */
    if (found != instruction)
        return false;
    machine->pc -= sizeof(found);
    machine->regs[0] = call->arguments[0];
    return true;
}

#endif
