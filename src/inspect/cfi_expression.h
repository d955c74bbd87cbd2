/* SPDX-License-Identifier: MIT */
/*
 * Expressions in call frame information (DWARF 5, section 6.4.2): of the CFA, and of where a register was saved. A
 * small part of what expressions can be: numbers, registers, and memory on the stack.
 */
#ifndef XCTX_INSPECT_CFI_EXPRESSION_H
#define XCTX_INSPECT_CFI_EXPRESSION_H

#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

#include "unwind.h"

enum cfi_kind {
    CFI_ADDRESS,  /* `value` is the address of what is looked for */
    CFI_VALUE,    /* `value` is it */
    CFI_REGISTER, /* it is in register `number` */
};

struct cfi_result {
    enum cfi_kind kind;
    uint64_t value;
    unsigned number;
    uint64_t missing; /* the address that could not be read, if it failed for that */
};

/* Returns whether it worked. `cfa` NULL: of the CFA itself. */
bool xctx__cfi_evaluate(const struct memory *memory, const struct frame_registers *registers, const uint64_t *cfa,
                        const Dwarf_Op *ops, size_t count, struct cfi_result *ret_result);

#endif
