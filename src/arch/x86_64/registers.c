/* SPDX-License-Identifier: MIT */
/* The names of the registers: see ../registers.h. */
#include "arch/registers.h"

const char *const xctx__register_names[XCTX__REGISTERS] = {
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi",    "rbp",   "rsp",   "r8",      "r9", "r10", "r11",
    "r12", "r13", "r14", "r15", "rip", "rflags", "mxcsr", "fctrl", "fs_base", "cs", "ss",
};
