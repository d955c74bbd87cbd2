/* SPDX-License-Identifier: MIT */
/* What expressions of variables (evaluate.h) and of call frame information (cfi_expression.h) have in common. */
#ifndef XCTX_INSPECT_OPERATION_H
#define XCTX_INSPECT_OPERATION_H

#include <dwarf.h>
#include <elfutils/libdw.h>
#include <stdbool.h>
#include <stdint.h>

/* Whether an operation pushes a number that it has in itself, and which. */
static inline bool xctx__operation_constant(const Dwarf_Op *operation, uint64_t *ret_number)
{
    switch (operation->atom) {
    case DW_OP_const1u:
    case DW_OP_const1s:
    case DW_OP_const2u:
    case DW_OP_const2s:
    case DW_OP_const4u:
    case DW_OP_const4s:
    case DW_OP_const8u:
    case DW_OP_const8s:
    case DW_OP_constu:
    case DW_OP_consts:
        *ret_number = operation->number; /* libdw has extended the sign */
        return true;
    default:
        if (operation->atom < DW_OP_lit0 || operation->atom > DW_OP_lit31)
            return false;
        *ret_number = operation->atom - (uint64_t)DW_OP_lit0;
        return true;
    }
}

#endif
