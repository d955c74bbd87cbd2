/* SPDX-License-Identifier: MIT */
/* ../restart.h for x86-64: rax has the number before and the result after the call; the arguments stay. */
#ifndef XCTX_ARCH_X86_64_RESTART_H
#define XCTX_ARCH_X86_64_RESTART_H

#include "../restart.h"

static inline bool xctx__restart(ucontext_t *context, const struct call *call)
{
    static const int arguments[] = {REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9};
    static const uint8_t instruction[] = {0x0f, 0x05}; /* syscall */
    greg_t *registers = context->uc_mcontext.gregs;
    uint64_t pc = (uint64_t)registers[REG_RIP];

    if (call->number < 0 || registers[REG_RAX] != -EINTR || pc != call->pc || (uint64_t)registers[REG_RSP] != call->sp)
        return false;
    for (unsigned i = 0; i < 6; i++) {
        if ((uint64_t)registers[arguments[i]] != call->arguments[i])
            return false;
    }
    /* NOLINTNEXTLINE(performance-no-int-to-ptr) */
    if (memcmp((const void *)(uintptr_t)(pc - sizeof(instruction)), instruction, sizeof(instruction)) != 0)
        return false;
    registers[REG_RIP] = (greg_t)(pc - sizeof(instruction));
    registers[REG_RAX] = call->number;
    return true;
}

#endif
