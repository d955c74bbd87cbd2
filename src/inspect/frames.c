/* SPDX-License-Identifier: MIT */
/*
 * Makes the frames of a report. A physical frame becomes several if calls were inlined into its function: the innermost
 * is at the line that the address has, each other at the line of the call that was inlined into it.
 *
 * What there is no debug information for has its name from the module's symbols.
 */
#include <dwarf.h>
#include <errno.h>
#include <string.h>

#include "fiber/fiber_internal.h"
#include "function_name.h"
#include "modules.h"
#include "render.h"
#include "report_internal.h"
#include "scopes.h"
#include "unit_index.h"

struct builder {
    xctx_report *report;
    const struct memory *memory;
    const struct unwound *unwound;
    size_t count; /* of them */
    size_t max;   /* frames of the report */
    const xctx_inspect_options *options;
    size_t room;
    bool full;
};

/* A frame more, with what all frames of a physical one have. */
static struct frame *add_frame(struct builder *builder, size_t physical)
{
    xctx_report *report = builder->report;
    const struct unwound *unwound = &builder->unwound[physical];

    if (report->frame_count == builder->max) {
        builder->full = true;
        return NULL;
    }
    if (report->frame_count == builder->room) {
        size_t room = builder->room ? 2 * builder->room : 32;
        struct frame *frames = xctx__arena_allocate(&report->arena, room * sizeof(*frames));
        if (!frames)
            return NULL;
        if (report->frame_count)
            memcpy(frames, report->frames, report->frame_count * sizeof(*frames));
        report->frames = frames;
        builder->room = room;
    }
    struct frame *frame = &report->frames[report->frame_count++];
    frame->physical = physical;
    frame->frame.pc = unwound->pc;
    frame->frame.cfa = unwound->cfa;
    frame->frame.guessed = unwound->guessed;
    frame->frame.interrupted = unwound->exact;
    frame->frame.module =
        xctx__arena_string(&report->arena, xctx__modules_path(builder->memory->modules, builder->memory->snapshot,
                                                              xctx__unwound_lookup(unwound)));
    return frame;
}

/* What is the same for all frames. */
static struct place seed_of(const struct builder *builder)
{
    return (struct place){
        .arena = &builder->report->arena,
        .memory = builder->memory,
        .frames = builder->unwound,
        .frame_count = builder->count,
        .max_elements = builder->options->max_elements,
    };
}

/* Of an image of what is in memory it cannot be told where the section of a symbol ends. */
static bool has_no_sections(Dwfl_Module *module)
{
    GElf_Addr bias;
    Elf *elf = dwfl_module_getelf(module, &bias);
    size_t count;

    return elf && elf_getshdrnum(elf, &count) == 0 && count == 0;
}

/* Names a frame by the symbols of its module. */
static void name_by_symbol(struct builder *builder, struct frame *frame, const struct unwound *unwound)
{
    struct place place = seed_of(builder);
    uint64_t lookup = xctx__unwound_lookup(unwound), offset = 0;
    GElf_Sym symbol;
    const char *name;

    if (!unwound->module)
        return;
    if (xctx__symbol_at(&place, lookup, &name, &offset))
        frame->frame.function = xctx__arena_string(place.arena, name);
    else if (has_no_sections(unwound->module) &&
             (name = dwfl_module_addrinfo(unwound->module, lookup, &offset, &symbol, NULL, NULL, NULL)) != NULL)
        frame->frame.function = xctx__demangle(place.arena, name);
    if (frame->frame.function)
        frame->frame.offset = offset + (unwound->pc - lookup);
}

static void set_source(struct frame *frame, struct source_place source)
{
    frame->frame.file = source.file;
    frame->frame.line = source.line;
    frame->frame.column = source.column;
}

/* The frame of scopes [first, last], the last being a function or an inlined call. */
static int add_scopes(struct builder *builder, struct scopes *scopes, int first, int last, struct source_place source)
{
    struct frame *frame = add_frame(builder, scopes->place.index);

    if (!frame)
        return builder->full ? 0 : -ENOMEM;
    set_source(frame, source);
    frame->frame.inlined = last < scopes->function;
    frame->frame.function = xctx__function_name(&scopes->place, &scopes->dies[last]);
    if (!frame->frame.function)
        name_by_symbol(builder, frame, &builder->unwound[scopes->place.index]);
    if (builder->options->flags & XCTX_INSPECT_NO_LOCALS)
        return 0;
    return xctx__locals_read(builder->report, frame, &scopes->place, &scopes->dies[first], last - first + 1,
                             builder->options);
}

/* All frames of a physical one whose function is known. */
static int add_function(struct builder *builder, struct scopes *scopes)
{
    struct arena *arena = &builder->report->arena;
    Dwarf_Die skeleton = scopes->place.unit;
    Dwarf_Addr bias;
    int first = 0, result = 0;

    xctx__unit_find(scopes->place.module, scopes->place.pc + scopes->place.bias, &skeleton, &bias);
    struct source_place source = xctx__source_of_address(arena, &skeleton, scopes->place.pc);

    for (int i = 0; i <= scopes->function && result == 0; i++) {
        if (i < scopes->function && dwarf_tag(&scopes->dies[i]) != DW_TAG_inlined_subroutine)
            continue;
        result = add_scopes(builder, scopes, first, i, source);
        first = i + 1;
        if (i < scopes->function)
            source = xctx__source_of_call(arena, &scopes->place.unit, &skeleton, &scopes->dies[i]);
    }
    return result;
}

/* One whose function is not known; the line may be, as of assembly code. */
static int add_unknown(struct builder *builder, size_t index)
{
    const struct unwound *unwound = &builder->unwound[index];
    struct frame *frame = add_frame(builder, index);
    Dwarf_Addr bias;
    Dwarf_Die unit;

    if (!frame)
        return builder->full ? 0 : -ENOMEM;
    name_by_symbol(builder, frame, unwound);
    if (unwound->module && xctx__unit_find(unwound->module, xctx__unwound_lookup(unwound), &unit, &bias))
        set_source(frame,
                   xctx__source_of_address(&builder->report->arena, &unit, xctx__unwound_lookup(unwound) - bias));
    return 0;
}

/* What the system put on the stack to have a signal handler called: it returns to this. Named as gdb does. */
static int add_signal(struct builder *builder, size_t index)
{
    struct frame *frame = add_frame(builder, index);

    if (!frame)
        return builder->full ? 0 : -ENOMEM;
    frame->frame.function = xctx__arena_string(&builder->report->arena, "<signal handler called>");
    return 0;
}

/* The name that a fiber was given; NULL: it has none, or that is not known. */
static const char *fiber_name(struct builder *builder, const struct unwound *unwound)
{
    const struct memory *memory = builder->memory;
    uint64_t fiber, at;
    char name[XCTX_FIBER_NAME_MAX + 1];

    if (!(unwound->registers.known >> XCTX__REGISTER_SP & 1) ||
        !xctx__source_has_value(xctx__memory_read(memory, MEMORY_STACK, unwound->registers.value[XCTX__REGISTER_SP],
                                                  &fiber, sizeof(fiber))) ||
        !xctx__source_has_value(
            xctx__memory_read(memory, MEMORY_STACK, fiber + offsetof(struct xctx_fiber, name), &at, sizeof(at))) ||
        !xctx__source_has_value(xctx__memory_read(memory, MEMORY_STACK, at, name, sizeof(name))))
        return NULL;
    size_t length = strnlen(name, sizeof(name));
    for (size_t i = 0; i < length; i++)
        if ((unsigned char)name[i] < ' ' || name[i] == 127)
            return NULL;
    return length > 0 && length < sizeof(name) ? xctx__arena_string(&builder->report->arena, name) : NULL;
}

/* Where a fiber begins. Its caller has resumed it. */
static int add_fiber(struct builder *builder, size_t index)
{
    struct frame *frame = add_frame(builder, index);

    if (!frame)
        return builder->full ? 0 : -ENOMEM;
    const char *name = fiber_name(builder, &builder->unwound[index]);
    frame->frame.function = name ? xctx__arena_format(&builder->report->arena, "<fiber \"%s\" resumed>", name)
                                 : xctx__arena_string(&builder->report->arena, "<fiber resumed>");
    return 0;
}

/* Notes what is missing of a frame's module. */
static void note_module(struct builder *builder, const struct unwound *unwound)
{
    const struct memory *memory = builder->memory;
    const char *note = unwound->module
                           ? xctx__module_complaint(memory->modules, unwound->module)
                           : xctx__modules_refusal(memory->modules, memory->snapshot, xctx__unwound_lookup(unwound));

    if (note)
        xctx__report_note(builder->report, xctx__arena_string(&builder->report->arena, note));
}

/* Notes split debug information that is not there: the unit is a skeleton then. */
static void note_split(struct builder *builder, const struct unwound *unwound)
{
    Dwarf_Die unit;
    Dwarf_Addr bias;
    Dwarf_Attribute attribute;

    if (!unwound->module || !xctx__unit_find(unwound->module, xctx__unwound_lookup(unwound), &unit, &bias) ||
        xctx__scopes_split(&unit))
        return;
    const char *name = dwarf_formstring(dwarf_attr(&unit, DW_AT_dwo_name, &attribute));
    if (!name)
        name = dwarf_formstring(dwarf_attr(&unit, DW_AT_GNU_dwo_name, &attribute));
    xctx__report_note(builder->report,
                      xctx__arena_format(&builder->report->arena,
                                         "the debug information of a part of %s is in %s, which is not there (it is "
                                         "looked for where it was compiled; .dwp files are not read)",
                                         xctx__module_path(unwound->module), name ? name : "a .dwo file"));
}

static int add_physical(struct builder *builder, size_t index)
{
    struct place seed = seed_of(builder);
    struct scopes scopes;
    int result;

    if (builder->unwound[index].signal)
        return add_signal(builder, index);
    if (builder->unwound[index].fiber)
        return add_fiber(builder, index);
    note_module(builder, &builder->unwound[index]);
    if (!xctx__scopes_find(&seed, index, &scopes)) {
        note_split(builder, &builder->unwound[index]);
        return add_unknown(builder, index);
    }
    result = scopes.function >= 0 ? add_function(builder, &scopes) : add_unknown(builder, index);
    xctx__scopes_free(&scopes);
    return result;
}

/* Adds the frames at the outer end, from the physical one `next` on, and drops those between the ends. There are as
   many as are wanted at the inner end, at least. */
static int add_outermost(struct builder *builder, size_t next, const struct frame_limits *limits)
{
    xctx_report *report = builder->report;
    size_t wanted = limits->innermost + limits->outermost;
    uint64_t omitted = 0;
    int result = 0;

    if (next < builder->count && builder->unwound[next].omitted)
        omitted = builder->unwound[next++].omitted;
    if (builder->count - next > limits->outermost) {
        omitted += builder->count - next - limits->outermost;
        next = builder->count - limits->outermost;
    }
    for (; next < builder->count && result == 0; next++)
        result = add_physical(builder, next);
    /* With some left out the frames that are there are as many as are wanted, at least. */
    if (result != 0 || (omitted == 0 && report->frame_count <= wanted))
        return result;
    struct frame *outer = report->frames + limits->innermost;
    omitted += report->frame_count - wanted;
    memmove(outer, report->frames + report->frame_count - limits->outermost, limits->outermost * sizeof(*outer));
    report->frame_count = wanted;
    outer->frame.omitted = omitted;
    return 0;
}

int xctx__frames_read(xctx_report *report, const struct memory *memory, const struct unwound *unwound, size_t count,
                      const struct frame_limits *limits, const xctx_inspect_options *options)
{
    size_t most = limits->innermost + limits->outermost;
    struct builder builder = {
        .report = report,
        .memory = memory,
        .unwound = unwound,
        .count = count,
        .max = limits->outermost > 0 ? SIZE_MAX : most,
        .options = options,
    };
    size_t next = 0;
    int result = 0;

    while (next < count && unwound[next].omitted == 0 && result == 0 && !builder.full && report->frame_count <= most)
        result = add_physical(&builder, next++);
    if (result == 0 && limits->outermost > 0)
        result = add_outermost(&builder, next, limits);
    if (builder.full)
        xctx__report_note(report, xctx__arena_format(&report->arena,
                                                     "the stack goes on: %zu frames are the most that "
                                                     "were asked for",
                                                     builder.max));
    return result == 0 && report->arena.failed ? -ENOMEM : result;
}
