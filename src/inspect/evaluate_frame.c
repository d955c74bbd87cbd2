/* SPDX-License-Identifier: MIT */
/*
 * What expressions take from a frame, and the numbers that they end in: see evaluate_internal.h.
 */
#include <dwarf.h>
#include <string.h>

#include "evaluate_internal.h"

/* ---- registers ---- */

size_t xctx__register_size(const struct place *place, unsigned reg)
{
    if (reg < XCTX__DWARF_REGISTERS)
        return XCTX__GENERIC_SIZE;
    if (reg < XCTX__DWARF_VECTOR_FIRST || reg >= XCTX__DWARF_VECTOR_FIRST + XCTX__DWARF_VECTORS)
        return 0;
    /* Where a call preserves one at all, it preserves the low half. */
    bool called = place->index > 0 && place->index < place->frame_count && !place->frames[place->index].exact;
    return called ? XCTX__GENERIC_SIZE : 2 * XCTX__GENERIC_SIZE;
}

/* Why a register is not known. What a call may change is lost in the callers' frames; the others were not captured, or
   the stack where they were saved was not. */
static enum xctx_source register_missing(const struct place *place, unsigned reg)
{
    bool preserved = reg < XCTX__DWARF_REGISTERS && (XCTX__REGISTERS_OF_CALL >> reg & 1);

    return place->frames[place->index].exact || place->index == 0 || preserved ? XCTX_SOURCE_NOT_CAPTURED
                                                                               : XCTX_SOURCE_OPTIMIZED_OUT;
}

enum xctx_source xctx__register_read(const struct place *place, unsigned reg, void *buffer, size_t size)
{
    size_t room = xctx__register_size(place, reg);

    if (place->index >= place->frame_count || room == 0)
        return XCTX_SOURCE_UNSUPPORTED;
    const struct frame_registers *registers = &place->frames[place->index].registers;
    if (reg < XCTX__DWARF_REGISTERS) {
        if (!(registers->known >> reg & 1))
            return register_missing(place, reg);
        if (size > room)
            return XCTX_SOURCE_UNSUPPORTED;
        memcpy(buffer, &registers->value[reg], size);
        return XCTX_SOURCE_SNAPSHOT;
    }
    unsigned vector = reg - XCTX__DWARF_VECTOR_FIRST;
    if (!(registers->vectors_known >> vector & 1))
        return register_missing(place, reg);
    if (size > room)
        return XCTX_SOURCE_NOT_CAPTURED;
    memcpy(buffer, registers->vector[vector], size);
    return XCTX_SOURCE_SNAPSHOT;
}

/* ---- tracing ---- */

void xctx__trace_register(const struct place *place, unsigned reg)
{
    if (place->tracer)
        place->tracer->used(place->tracer->user, place, reg, 0, 0);
}

void xctx__trace_memory(const struct place *place, uint64_t address, uint64_t size)
{
    if (place->tracer)
        place->tracer->used(place->tracer->user, place, 0, address, size);
}

/* ---- numbers ---- */

enum xctx_source xctx__evaluation_number(struct evaluation *evaluation, struct number *ret_number)
{
    enum xctx_source source = evaluation->failed;

    if (source != XCTX_SOURCE_SNAPSHOT)
        return source;
    if (evaluation->subject == SUBJECT_REGISTER) {
        uint64_t value = 0;
        if (evaluation->reg >= XCTX__DWARF_REGISTERS)
            return XCTX_SOURCE_UNSUPPORTED;
        xctx__trace_register(evaluation->place, evaluation->reg);
        source = xctx__register_read(evaluation->place, evaluation->reg, &value, sizeof(value));
        if (source == XCTX_SOURCE_SNAPSHOT)
            *ret_number = xctx__number_generic(value);
        return source;
    }
    if ((evaluation->subject != SUBJECT_STACK && evaluation->subject != SUBJECT_VALUE) || evaluation->depth == 0)
        return XCTX_SOURCE_UNSUPPORTED;
    *ret_number = evaluation->stack[evaluation->depth - 1];
    return evaluation->live ? XCTX_SOURCE_LIVE : XCTX_SOURCE_SNAPSHOT;
}

enum xctx_source xctx__frame_base(const struct place *place, struct budget *budget, uint64_t *ret_base)
{
    struct place untraced = *place;
    struct evaluation evaluation;
    struct number base = {0};
    Dwarf_Attribute attribute;
    Dwarf_Die function = place->function;

    if (!place->has_function || !dwarf_attr_integrate(&function, DW_AT_frame_base, &attribute))
        return XCTX_SOURCE_UNSUPPORTED;
    untraced.tracer = NULL;
    xctx__evaluation_begin(&evaluation, &untraced, budget);
    xctx__evaluate_attribute(&evaluation, &attribute);
    enum xctx_source source = xctx__evaluation_number(&evaluation, &base);
    if (xctx__source_has_value(source) && (base.kind == NUMBER_FLOAT || base.size != XCTX__GENERIC_SIZE))
        return XCTX_SOURCE_UNSUPPORTED;
    *ret_base = (uint64_t)base.bits;
    return source;
}
