/* SPDX-License-Identifier: MIT */
/*
 * See unwind.h.
 *
 * From each frame the next is found: the frame's call frame information says where its canonical frame address (CFA)
 * is, and where the caller's registers were saved. Stacks grow downwards, so each CFA is above the one before, but
 * where a signal handler ran on a stack of its own: this, and the limit of frames, ends it in any case.
 *
 * Without such information: a program counter in no module is one that was called and is not there, so that the return
 * address is where a call leaves it; else the frame pointer is followed; and where all that ends, the addresses are
 * used that were noted when the snapshot was taken.
 *
 * A stack that has overflown has hundreds of thousands of frames. Those that are wanted are its ends: what is between
 * is dropped while it is walked.
 */
#include "unwind.h"

#include <dwarf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "arena.h"
#include "cfi_expression.h"
#include "fiber/offsets.h"
#include "modules.h"

enum { WALKED_MOST = 1 << 18 }; /* frames that are gone through: 8 MiB of the smallest */

struct walk {
    struct arena *arena;
    const struct memory *memory;
    struct unwound *frames;
    size_t count;
    size_t room;
    size_t innermost; /* that are kept; one more is, whose registers say where the last one ends */
    size_t outermost; /* likewise; one more, which says whether the next one is above it */
    uint64_t dropped; /* behind the innermost */
    uint64_t most;    /* with those that were dropped */
    uint64_t record;  /* where the last saved frame pointer was that was followed */
    const char *end;
    bool ended; /* the stack is complete */
    bool failed;
};

enum step {
    STEP_NEXT,    /* the next frame is known */
    STEP_END,     /* there is none: `ended`, or `end` says why */
    STEP_UNKNOWN, /* not by this way */
};

/* Drops what is between the ends, when it has become as much as the outer one: so it costs little. */
static void drop_middle(struct walk *walk)
{
    size_t first = walk->innermost + 1;
    size_t kept = walk->outermost + 1;

    if (!walk->frames || walk->outermost == 0 || walk->count < first + 2 * kept)
        return;
    memmove(walk->frames + first, walk->frames + walk->count - kept, kept * sizeof(*walk->frames));
    walk->dropped += walk->count - first - kept;
    walk->count = first + kept;
}

/* Invalidates pointers to frames, and indices of those behind the innermost. */
static struct unwound *push(struct walk *walk)
{
    drop_middle(walk);
    if (walk->count == walk->room) {
        size_t room = walk->room ? 2 * walk->room : 32;
        struct unwound *frames = xctx__arena_allocate(walk->arena, room * sizeof(*frames));
        if (!frames) {
            walk->failed = true;
            return NULL;
        }
        if (walk->count)
            memcpy(frames, walk->frames, walk->count * sizeof(*frames));
        walk->frames = frames;
        walk->room = room;
    }
    return &walk->frames[walk->count++];
}

static void find_module(struct walk *walk, struct unwound *frame)
{
    frame->module = xctx__modules_find(walk->memory->modules, walk->memory->snapshot, xctx__unwound_lookup(frame));
}

static void set_register(struct frame_registers *registers, unsigned number, uint64_t value, uint64_t saved_at)
{
    registers->known |= UINT64_C(1) << number;
    registers->value[number] = value;
    registers->saved_at[number] = saved_at;
}

static bool get_register(const struct frame_registers *registers, unsigned number, uint64_t *ret_value)
{
    *ret_value = registers->value[number];
    return registers->known >> number & 1;
}

static void complain_missing(struct walk *walk, uint64_t address)
{
    const xctx_snapshot *whole = walk->memory->snapshot->whole;

    walk->end = xctx__arena_format(walk->arena,
                                   "the stack ends here: bytes at 0x%llx were not captured (%u bytes of stack were)",
                                   (unsigned long long)address, (unsigned)whole->stack_size);
}

/* ---- by call frame information ---- */

/* Whether a rule says where, or what, the caller's register is; sets it then. */
static void apply_rule(const struct walk *walk, Dwarf_Frame *rules, const struct frame_registers *from, uint64_t cfa,
                       unsigned number, struct frame_registers *to, uint64_t *ret_missing)
{
    Dwarf_Op memory[3], *ops;
    size_t count;
    struct cfi_result result;
    uint64_t value;

    if (dwarf_frame_register(rules, (int)number, memory, &ops, &count) != 0)
        return;
    if (count == 0) {
        /* Not named, or said to be kept: libdw's own idea of which of the former calls preserve is not quite right. */
        uint64_t kept = ops ? XCTX__REGISTERS_NOT_SAID : XCTX__REGISTERS_OF_CALL;
        if (kept >> number & 1 && from->known >> number & 1)
            set_register(to, number, from->value[number], from->saved_at[number]);
        return;
    }
    if (!xctx__cfi_evaluate(walk->memory, from, &cfa, ops, count, &result)) {
        *ret_missing = result.missing;
        return;
    }
    switch (result.kind) {
    case CFI_REGISTER:
        if (get_register(from, result.number, &value))
            set_register(to, number, value, from->saved_at[result.number]);
        break;
    case CFI_VALUE:
        set_register(to, number, result.value, 0);
        break;
    case CFI_ADDRESS:
        if (xctx__source_has_value(xctx__memory_read(walk->memory, MEMORY_STACK, result.value, &value, sizeof(value))))
            set_register(to, number, value, result.value);
        else
            *ret_missing = result.value;
        break;
    }
}

/* Vector registers that calls preserve: the low half of them. */
static void apply_vector_rule(const struct walk *walk, Dwarf_Frame *rules, const struct frame_registers *from,
                              uint64_t cfa, unsigned index, struct frame_registers *to)
{
    Dwarf_Op memory[3], *ops;
    size_t count;
    struct cfi_result result;
    uint32_t bit = UINT32_C(1) << index;
    int number = XCTX__DWARF_VECTOR_FIRST + (int)index;

    if (dwarf_frame_register(rules, number, memory, &ops, &count) != 0)
        return;
    if (count == 0) {
        if (from->vectors_known & bit) {
            to->vectors_known |= bit;
            memcpy(to->vector[index], from->vector[index], sizeof(to->vector[index]));
            to->vectors_saved_at[index] = from->vectors_saved_at[index];
        }
        return;
    }
    if (xctx__cfi_evaluate(walk->memory, from, &cfa, ops, count, &result) && result.kind == CFI_ADDRESS &&
        xctx__source_has_value(xctx__memory_read(walk->memory, MEMORY_STACK, result.value, to->vector[index], 8))) {
        to->vectors_known |= bit;
        to->vectors_saved_at[index] = result.value;
    }
}

static Dwarf_Frame *find_rules(const struct unwound *frame)
{
    Dwarf_Addr bias;
    Dwarf_Frame *rules;

    if (!frame->module)
        return NULL;
    Dwarf_CFI *cfi = dwfl_module_eh_cfi(frame->module, &bias);
    if (cfi && dwarf_cfi_addrframe(cfi, xctx__unwound_lookup(frame) - bias, &rules) == 0)
        return rules;
    cfi = dwfl_module_dwarf_cfi(frame->module, &bias);
    if (cfi && dwarf_cfi_addrframe(cfi, xctx__unwound_lookup(frame) - bias, &rules) == 0)
        return rules;
    return NULL;
}

/* Whether the return address is said not to be there: of the outermost function. */
static bool is_outermost(Dwarf_Frame *rules, int number)
{
    Dwarf_Op memory[3], *ops;
    size_t count;

    return dwarf_frame_register(rules, number, memory, &ops, &count) == 0 && count == 0 && ops != NULL;
}

/* Whether a frame may have this CFA. */
static bool goes_up(const struct walk *walk, uint64_t cfa)
{
    size_t last = walk->count - 1;

    if (last == 0 || walk->frames[last - 1].signal || walk->frames[last].fiber)
        return true;
    return cfa > walk->frames[last - 1].cfa;
}

/* The caller's registers and pc, by the rules. */
static enum step apply_rules(struct walk *walk, Dwarf_Frame *rules, uint64_t cfa, bool signal, int return_register)
{
    size_t last = walk->count - 1;
    struct unwound next = {.exact = signal};
    uint64_t missing = 0, unused = 0, pc;

    for (unsigned i = 0; i < XCTX__DWARF_REGISTERS; i++)
        apply_rule(walk, rules, &walk->frames[last].registers, cfa, i, &next.registers,
                   (int)i == return_register ? &missing : &unused);
    if (!(next.registers.known >> XCTX__REGISTER_SP & 1))
        set_register(&next.registers, XCTX__REGISTER_SP, cfa, 0);
    for (unsigned i = 0; !signal && i < XCTX__DWARF_VECTORS; i++) {
        if (XCTX__VECTORS_OF_CALL >> i & 1)
            apply_vector_rule(walk, rules, &walk->frames[last].registers, cfa, i, &next.registers);
    }
    if (!get_register(&next.registers, (unsigned)return_register, &pc)) {
        if (!missing)
            return STEP_UNKNOWN;
        complain_missing(walk, missing);
        return STEP_END;
    }
    /* switch.S says one less, so that unwinders take it as it is. */
    pc += walk->frames[last].fiber ? 1 : 0;
    next.pc = pc & XCTX__ADDRESS_MASK;
    if (next.pc == 0) {
        walk->ended = true;
        return STEP_END;
    }
    set_register(&next.registers, XCTX__REGISTER_PC, next.pc, next.registers.saved_at[return_register]);
    struct unwound *frame = push(walk);
    if (!frame)
        return STEP_END;
    *frame = next;
    find_module(walk, frame);
    return STEP_NEXT;
}

/* Whether that is how a fiber's first frame finds whoever has resumed it: *(*sp + FIBER_RESUMER_SP) + a number. */
static bool leads_to_resumer(const Dwarf_Op *ops, size_t count)
{
    return count == 5 && ops[0].atom == DW_OP_breg0 + XCTX__REGISTER_SP && ops[0].number == 0 &&
           ops[1].atom == DW_OP_deref && ops[2].atom == DW_OP_plus_uconst && ops[2].number == FIBER_RESUMER_SP &&
           ops[3].atom == DW_OP_deref && ops[4].atom == DW_OP_plus_uconst;
}

static enum step step_by_rules(struct walk *walk)
{
    struct unwound *frame = &walk->frames[walk->count - 1];
    Dwarf_Frame *rules = find_rules(frame);
    Dwarf_Op *ops;
    size_t count;
    bool signal = false;
    struct cfi_result cfa = {0};
    enum step step = STEP_UNKNOWN;

    if (!rules)
        return STEP_UNKNOWN;
    int return_register = dwarf_frame_info(rules, NULL, NULL, &signal);
    if (return_register < 0 || return_register >= XCTX__DWARF_REGISTERS)
        goto done;
    if (dwarf_frame_cfa(rules, &ops, &count) != 0 || count == 0)
        goto done;
    if (!xctx__cfi_evaluate(walk->memory, &frame->registers, NULL, ops, count, &cfa) || cfa.kind == CFI_REGISTER) {
        if (cfa.missing) {
            complain_missing(walk, cfa.missing);
            step = STEP_END;
        }
        goto done;
    }
    frame->fiber = signal && leads_to_resumer(ops, count);
    signal = signal && !frame->fiber;
    frame->signal = signal;
    frame->cfa = cfa.value;
    if (is_outermost(rules, return_register)) {
        walk->ended = true;
        step = STEP_END;
    } else if (!goes_up(walk, cfa.value)) {
        walk->end = xctx__arena_format(
            walk->arena, "the stack ends early: its unwind information leads from 0x%llx back to 0x%llx",
            (unsigned long long)walk->frames[walk->count - 2].cfa, (unsigned long long)cfa.value);
        step = STEP_END;
    } else {
        step = apply_rules(walk, rules, cfa.value, signal, return_register);
    }
done:
    free(rules);
    return step;
}

/* ---- without it ---- */

static bool read_word(const struct walk *walk, uint64_t address, uint64_t *ret_word)
{
    return xctx__source_has_value(xctx__memory_read(walk->memory, MEMORY_STACK, address, ret_word, sizeof(*ret_word)));
}

/* Adds the frame that a return address leads to. It must be code; where `from` is not in a module either, code that was
   made at run time may call such code. */
static enum step push_guessed(struct walk *walk, uint64_t pc, const struct frame_registers *registers)
{
    struct unwound next = {.pc = pc & XCTX__ADDRESS_MASK, .guessed = true, .registers = *registers};
    bool from_module = walk->frames[walk->count - 1].module != NULL;

    find_module(walk, &next);
    if (next.pc < 4096 || (!next.module && from_module))
        return STEP_UNKNOWN;
    set_register(&next.registers, XCTX__REGISTER_PC, next.pc, 0);
    struct unwound *frame = push(walk);
    if (!frame)
        return STEP_END;
    *frame = next;
    return STEP_NEXT;
}

/* A call of what is no function, as of NULL: nothing has run since. */
static enum step step_from_nowhere(struct walk *walk)
{
    struct unwound *frame = &walk->frames[walk->count - 1];
    struct frame_registers registers = frame->registers;
    uint64_t sp, pc;

    if (walk->count > 1 || !frame->exact || frame->module || !get_register(&registers, XCTX__REGISTER_SP, &sp))
        return STEP_UNKNOWN;
    if (XCTX__CALL_PUSHES) {
        if (!read_word(walk, sp, &pc))
            return STEP_UNKNOWN;
        sp += sizeof(pc);
    } else if (!get_register(&registers, XCTX__REGISTER_LINK, &pc)) {
        return STEP_UNKNOWN;
    }
    registers.known &= XCTX__REGISTERS_OF_CALL;
    registers.vectors_known = 0;
    set_register(&registers, XCTX__REGISTER_SP, sp, 0);
    size_t index = walk->count - 1;
    if (!xctx__modules_find(walk->memory->modules, walk->memory->snapshot, (pc & XCTX__ADDRESS_MASK) - 1))
        return STEP_UNKNOWN;
    enum step step = push_guessed(walk, pc, &registers);
    if (step == STEP_NEXT)
        walk->frames[index].cfa = sp;
    return step;
}

/* By the frame pointer: it points to the caller's, and the return address is above that. */
static enum step step_by_frame_pointer(struct walk *walk)
{
    const struct frame_registers *from = &walk->frames[walk->count - 1].registers;
    struct frame_registers registers = {0};
    uint64_t fp, sp, pc, next;

    /* Upwards only, so that it ends. */
    if (!get_register(from, XCTX__REGISTER_FP, &fp) || fp % sizeof(fp) != 0 || fp <= walk->record)
        return STEP_UNKNOWN;
    if (get_register(from, XCTX__REGISTER_SP, &sp) && fp < sp)
        return STEP_UNKNOWN;
    if (!read_word(walk, fp, &next) || !read_word(walk, fp + sizeof(fp), &pc))
        return STEP_UNKNOWN;
    set_register(&registers, XCTX__REGISTER_FP, next, fp);
    if (XCTX__RECORD_ENDS_FRAME)
        set_register(&registers, XCTX__REGISTER_SP, fp + 2 * sizeof(fp), 0);
    if (XCTX__RECORD_ENDS_FRAME && !goes_up(walk, fp + 2 * sizeof(fp)))
        return STEP_UNKNOWN;
    walk->record = fp;
    enum step step = push_guessed(walk, pc, &registers);
    if (step == STEP_NEXT && XCTX__RECORD_ENDS_FRAME)
        walk->frames[walk->count - 2].cfa = fp + 2 * sizeof(fp);
    return step;
}

/* How often an address is among the first frames; of frames that were dropped nobody knows. */
static size_t count_found(const struct walk *walk, size_t count, uint64_t pc)
{
    size_t found = walk->dropped ? SIZE_MAX - count : 0;

    for (size_t i = 0; i < count; i++)
        found += walk->frames[i].pc == pc;
    return found;
}

/* Behind which of the noted addresses those are that lie beyond the first `count` frames; 0: the last of these was not
   noted. A function that calls itself has one as often as it is there. */
static size_t find_noted(const struct walk *walk, size_t count)
{
    const xctx_snapshot *whole = walk->memory->snapshot->whole;
    uint64_t pc = walk->frames[count - 1].pc;
    size_t left = 0, at = 0;

    for (size_t i = 0; i < whole->pc_count && (at == 0 || left > 0); i++) {
        if (whole->pcs[i] != pc)
            continue;
        left = (at == 0 ? count_found(walk, count, pc) : left) - 1;
        at = i + 1;
    }
    return at;
}

/* The addresses that were noted beyond the last frame that they have in common with those found. */
static void add_noted(struct walk *walk)
{
    const xctx_snapshot *whole = walk->memory->snapshot->whole;
    size_t found = walk->count, at = 0;

    for (size_t i = walk->count; i > 0 && at == 0; i--) {
        at = find_noted(walk, i);
        /* What was found beyond it has no noted frame pointer: it stays. */
        found = at > 0 ? i : found;
    }
    if (walk->count > 0 && (at == 0 || found < walk->count))
        return;
    for (; at < whole->pc_count && walk->count < walk->most; at++) {
        struct unwound *frame = push(walk);
        if (!frame)
            return;
        *frame = (struct unwound){
            .pc = whole->pcs[at],
            .exact = walk->count == 1 && whole->bits & SNAPSHOT_INTERRUPTED,
            .guessed = walk->count > 1,
        };
        find_module(walk, frame);
    }
}

/* ---- all of it ---- */

static void set_vectors(const xctx_snapshot *whole, struct frame_registers *registers)
{
    uint32_t all = whole->bits & SNAPSHOT_INTERRUPTED ? UINT32_MAX : XCTX__VECTORS_OF_CALL;

    for (unsigned i = 0; whole->fpu_size > 0 && i < XCTX__DWARF_VECTORS; i++) {
        if (all >> i & 1 && xctx__fpu_vector(whole->fpu, whole->fpu_size, i, registers->vector[i]))
            registers->vectors_known |= UINT32_C(1) << i;
    }
}

/* Where the thread was. Returns whether its registers are known. */
static bool push_first(struct walk *walk)
{
    const xctx_snapshot *whole = walk->memory->snapshot->whole;
    struct unwound *frame;

    if (!(whole->registers.known >> XCTX__REGISTER_PC & 1) || !(frame = push(walk)))
        return false;
    *frame = (struct unwound){
        .pc = whole->registers.value[XCTX__REGISTER_PC],
        .exact = whole->bits & SNAPSHOT_INTERRUPTED,
    };
    frame->registers.known = whole->registers.known & ((UINT64_C(1) << XCTX__DWARF_REGISTERS) - 1);
    memcpy(frame->registers.value, whole->registers.value, sizeof(frame->registers.value));
    set_vectors(whole, &frame->registers);
    find_module(walk, frame);
    return true;
}

static enum step step(struct walk *walk)
{
    enum step step = step_by_rules(walk);

    if (step == STEP_UNKNOWN)
        step = step_from_nowhere(walk);
    if (step == STEP_UNKNOWN)
        step = step_by_frame_pointer(walk);
    return step;
}

static void complain_unknown(struct walk *walk)
{
    const struct unwound *last = &walk->frames[walk->count - 1];

    /* Of a thread that was seen from outside most registers are missing. */
    bool outside = walk->memory->snapshot->whole->state.present & XCTX_THREAD_OUTSIDE;

    walk->end = xctx__arena_format(
        walk->arena, "the stack ends early: there is no %s for 0x%llx%s%s",
        outside ? "unwind information, or not the register that it needs," : "unwind information",
        (unsigned long long)last->pc, last->module ? " in " : "", last->module ? xctx__module_path(last->module) : "");
}

/* Cuts the frames down to those that are wanted. */
static void keep_ends(struct walk *walk)
{
    size_t wanted = walk->innermost + walk->outermost;
    uint64_t total = walk->count + walk->dropped;

    if (total <= wanted)
        return;
    if (walk->outermost == 0) {
        walk->count = wanted;
        walk->end =
            xctx__arena_format(walk->arena, "the stack goes on: %zu frames are the most that were asked for", wanted);
        return;
    }
    struct unwound *frames = walk->frames;
    frames[walk->innermost].omitted = total - wanted;
    memmove(frames + walk->innermost + 1, frames + walk->count - walk->outermost, walk->outermost * sizeof(*frames));
    walk->count = wanted + 1;
    if (total >= walk->most)
        walk->end = xctx__arena_format(walk->arena, "the stack goes on: it has more than %u frames", WALKED_MOST);
}

int xctx__unwind(struct arena *arena, const struct memory *memory, size_t innermost, size_t outermost,
                 struct unwound **ret_frames, size_t *ret_count, const char **ret_end)
{
    struct walk walk = {
        .arena = arena,
        .memory = memory,
        .innermost = innermost,
        .outermost = outermost,
        /* One more than is wanted: where the last frame ends is known from its caller. */
        .most = outermost > 0 ? WALKED_MOST : innermost + 1,
    };
    const xctx_snapshot *whole = memory->snapshot->whole;
    bool has_stack = whole->stack_size > 0 || whole->file;
    enum step last = STEP_NEXT;

    if (push_first(&walk) && has_stack) {
        while (last == STEP_NEXT && walk.count + walk.dropped < walk.most)
            last = step(&walk);
        if (last == STEP_UNKNOWN)
            complain_unknown(&walk);
    }
    size_t count = walk.count;
    bool lost = !walk.ended && last != STEP_NEXT;
    if (!walk.failed && (lost || !has_stack))
        add_noted(&walk);
    if (walk.end && walk.count > count)
        walk.end =
            xctx__arena_format(arena, "%s; of %zu more frames the addresses are known", walk.end, walk.count - count);
    keep_ends(&walk);
    if (!has_stack && !walk.end)
        walk.end = "only return addresses were captured, along frame pointers: functions without one are missing, and "
                   "so is what is behind them";
    if (walk.failed || arena->failed)
        return -ENOMEM;
    *ret_frames = walk.frames;
    *ret_count = walk.count;
    *ret_end = walk.end;
    return 0;
}
