/* SPDX-License-Identifier: MIT */
/*
 * Makes reports, and hands out what is in them.
 *
 * Variables come first, with no lock held, since their `format` operations are the program's. Then the rest is decoded
 * under the decode lock, into the report's own memory: what is in a report refers to nothing outside it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <xctx/redact.h>
#include <xctx/var.h>

#include "allocate.h"
#include "context/memory.h"
#include "marks.h"
#include "modules.h"
#include "report_internal.h"
#include "tail_calls.h"

enum {
    FRAMES_DEFAULT = 256,
    FRAMES_MOST = 4096,
    ELEMENTS_DEFAULT = 200,
    ELEMENTS_MOST = 65536,
    FORMATTED = 256,              /* bytes that a variable's value is formatted into at first */
    FORMATTED_MOST = 1024 * 1024, /* and at most */
    FLAGS = XCTX_INSPECT_LIVE | XCTX_INSPECT_NO_STATICS | XCTX_INSPECT_GLOBALS | XCTX_INSPECT_NO_LOCALS |
            XCTX_INSPECT_NO_PARENTS,
};

void xctx__report_note(xctx_report *report, const char *note)
{
    if (!note || report->note_count == XCTX__NOTES)
        return;
    for (size_t i = 0; i < report->note_count; i++) {
        if (strcmp(report->notes[i], note) == 0)
            return;
    }
    report->notes[report->note_count++] = note;
}

/* ---- variables ---- */

static const char *format_pointer(struct arena *arena, const void *value)
{
    return xctx__arena_format(arena, "0x%llx", (unsigned long long)(uintptr_t)value);
}

/* As the variable's `format` operation writes it. NULL: it cannot, or memory ran out. */
static const char *format_value(struct arena *arena, const xctx_var_options *options, void *value)
{
    char first[FORMATTED] = "";
    int length = options->format(value, first, sizeof(first));

    if (length < 0)
        return NULL;
    if ((size_t)length < sizeof(first)) {
        first[sizeof(first) - 1] = '\0';
        return xctx__arena_string(arena, first);
    }
    size_t size = length < FORMATTED_MOST ? (size_t)length + 1 : FORMATTED_MOST;
    char *text = xctx__arena_allocate(arena, size);
    /* The value may be another by now, and take more: it is cut. */
    if (!text || options->format(value, text, size) < 0)
        return NULL;
    text[size - 1] = '\0';
    return text;
}

struct variables {
    xctx_report *report;
    const xctx_snapshot *snapshot;
    size_t room;
};

static int add_variable(xctx_var *var, void *value, void *user)
{
    struct variables *variables = user;
    xctx_report *report = variables->report;
    const xctx_var_options *options = xctx_var_get_options(var);
    const char *name = xctx_var_name(var);

    if (report->variable_count == variables->room) {
        size_t room = variables->room ? 2 * variables->room : 16;
        xctx_variable *grown = xctx__arena_allocate(&report->arena, room * sizeof(*grown));
        if (!grown)
            return -ENOMEM;
        if (report->variable_count)
            memcpy(grown, report->variables, report->variable_count * sizeof(*grown));
        report->variables = grown;
        variables->room = room;
    }
    xctx_variable *variable = &report->variables[report->variable_count++];
    variable->name = xctx__arena_string(&report->arena, name);
    variable->redacted = options->secret || xctx__marked(variables->snapshot, XCTX_REDACT_VARIABLE, name);
    if (variable->redacted)
        return 0;
    if (options->format)
        variable->value = format_value(&report->arena, options, value);
    if (!variable->value)
        variable->value = format_pointer(&report->arena, value);
    return report->arena.failed ? -ENOMEM : 0;
}

static int read_variables(xctx_report *report, const xctx_snapshot *snapshot)
{
    struct variables variables = {.report = report, .snapshot = snapshot};
    xctx_context *context = xctx_snapshot_context(snapshot);

    if (context)
        return xctx_each(context, add_variable, &variables);
    if (snapshot->root)
        return -ENOMEM;
    if (snapshot->whole->state.present & XCTX_THREAD_OUTSIDE)
        xctx__report_note(report,
                          xctx__arena_string(&report->arena, "the thread takes no signals: this was seen from outside, "
                                                             "without its variables and most registers"));
    else if (snapshot->whole->bits & SNAPSHOT_CHANGING)
        xctx__report_note(report,
                          xctx__arena_string(&report->arena, "the variables are not known: the signal in whose handler "
                                                             "the snapshot was taken interrupted a change to them"));
    return 0;
}

/* ---- registers and state ---- */

/* Without those that hold secrets. */
static int read_registers(xctx_report *report, const xctx_snapshot *snapshot, const xctx_inspect_options *options)
{
    struct secrets secrets = {0};
    size_t count = 0;
    uint64_t value;
    int result = xctx__secrets_of_frames(snapshot, options, &report->arena, &secrets);

    if (result != 0)
        return result;

    while (xctx_register_name(count))
        count++;
    report->registers = xctx__arena_allocate(&report->arena, count * sizeof(*report->registers));
    if (!report->registers)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        if (!(i < XCTX__DWARF_REGISTERS && secrets.registers >> i & 1) &&
            xctx_snapshot_register(snapshot, xctx_register_name(i), &value) == 0)
            report->registers[report->register_count++] =
                (xctx_register){.name = xctx_register_name(i), .value = value};
    }
    return 0;
}

/* ---- the stack ---- */

static int read_frames(xctx_report *report, const xctx_snapshot *first, const xctx_snapshot *snapshot,
                       const xctx_inspect_options *options)
{
    struct memory memory = {
        .snapshot = snapshot,
        .live = options->flags & XCTX_INSPECT_LIVE && !snapshot->whole->file,
        .statics = !(options->flags & XCTX_INSPECT_NO_STATICS) && !snapshot->whole->file,
    };
    const struct frame_limits limits = {
        .innermost = options->max_frames ? options->max_frames : FRAMES_DEFAULT / 2,
        .outermost = options->max_frames ? 0 : FRAMES_DEFAULT / 2,
    };
    /* With those of tail calls there may be more: of two ends what is too much is dropped between them. */
    size_t most = limits.outermost > 0 ? (size_t)2 * FRAMES_DEFAULT : limits.innermost;
    struct unwound *frames = NULL;
    const char *end = NULL;
    size_t count = 0;
    int result = xctx__hidden_find(first, snapshot, &report->arena, &memory.hidden);

    if (result < 0)
        return result;
    result = -ENOMEM;
    xctx__decode_lock();
    xctx__decode_begin();
    memory.modules = xctx__modules_get(snapshot, options);
    if (memory.modules)
        result = xctx__unwind(&report->arena, &memory, limits.innermost, limits.outermost, &frames, &count, &end);
    if (result == 0)
        result = xctx__tail_calls_add(&report->arena, &memory, most, &frames, &count);
    if (result == 0)
        result = xctx__frames_read(report, &memory, frames, count, &limits, options);
    xctx__modules_put(memory.modules);
    xctx__decode_unlock();
    if (result == 0 && xctx__decode_ran_out())
        result = -ENOMEM;
    if (result == 0)
        xctx__report_note(report, end);
    return result;
}

/* ---- reports ---- */

/* Fills in the defaults, but for that of max_frames. Returns 0 or -EINVAL. */
static int read_options(const xctx_inspect_options *from, xctx_inspect_options *to)
{
    *to = (xctx_inspect_options){.size = sizeof(*to)};
    if (from && from->size != 0 && from->size < sizeof(*to))
        return -EINVAL;
    if (from)
        *to = *from;
    if (to->flags & ~(uint32_t)FLAGS || to->max_frames > FRAMES_MOST || to->max_elements > ELEMENTS_MOST)
        return -EINVAL;
    if (to->max_elements == 0)
        to->max_elements = ELEMENTS_DEFAULT;
    if (to->sysroot && !*to->sysroot)
        to->sysroot = NULL;
    return 0;
}

/* A report without a parent, of a snapshot in the chain that begins with `first`. */
static int create(const xctx_snapshot *first, xctx_snapshot *snapshot, const xctx_inspect_options *options,
                  xctx_report **ret_report)
{
    xctx_report *report = xctx__allocate(sizeof(*report));
    const xctx_thread_state *state = xctx_snapshot_thread_state(snapshot);
    int result;

    if (!report)
        return -ENOMEM;
    memset(report, 0, sizeof(*report));
    atomic_init(&report->refs, 1);
    report->captured = xctx_snapshot_captured(snapshot);
    if (state)
        report->state = *state;
    report->state.size = sizeof(report->state);
    result = read_variables(report, snapshot);
    if (result == 0)
        result = read_registers(report, snapshot, options);
    if (result == 0)
        result = read_frames(report, first, snapshot, options);
    if (result == 0 && report->arena.failed)
        result = -ENOMEM;
    if (result == 0)
        *ret_report = report;
    else
        xctx_report_unref(report);
    return result;
}

int xctx_inspect(xctx_snapshot *snapshot, const xctx_inspect_options *options, xctx_report **ret_report)
{
    const xctx_snapshot *newest = snapshot;
    xctx_inspect_options checked;
    xctx_report *first = NULL, **at = &first;
    uint32_t parents = 0;
    int result = read_options(options, &checked);

    if (!snapshot || !ret_report || result != 0 || snapshot->whole->stage != SNAPSHOT_FILLED)
        return -EINVAL;
    for (; snapshot; snapshot = xctx_snapshot_parent(snapshot)) {
        result = create(newest, snapshot, &checked, at);
        if (result != 0) {
            xctx_report_unref(first);
            return result;
        }
        if (snapshot->bits & SNAPSHOT_CUT)
            xctx__report_note(*at, "earlier parents were not kept: the chain was longer than the limit for chains");
        at = &(*at)->parent;
        if (checked.flags & XCTX_INSPECT_NO_PARENTS || (checked.max_parents && parents == checked.max_parents))
            break;
        parents++;
    }
    *ret_report = first;
    return 0;
}

xctx_report *xctx_report_ref(xctx_report *report)
{
    if (report)
        atomic_fetch_add_explicit(&report->refs, 1, memory_order_relaxed);
    return report;
}

xctx_report *xctx_report_unref(xctx_report *report)
{
    /* One by one, since chains are long. Release and acquire: whoever frees it sees what others did with it. */
    while (report && atomic_fetch_sub_explicit(&report->refs, 1, memory_order_acq_rel) == 1) {
        xctx_report *parent = report->parent;
        xctx__arena_destroy(&report->arena);
        xctx__free(report);
        report = parent;
    }
    return NULL;
}

/* ---- what is in them ---- */

size_t xctx_report_frame_count(const xctx_report *report)
{
    return report ? report->frame_count : 0;
}

const xctx_frame *xctx_report_frame(const xctx_report *report, size_t index)
{
    return report && index < report->frame_count ? &report->frames[index].frame : NULL;
}

static const struct frame *whole_frame(const xctx_frame *frame)
{
    return (const struct frame *)frame;
}

size_t xctx_frame_local_count(const xctx_frame *frame)
{
    return frame ? whole_frame(frame)->local_count : 0;
}

const xctx_local *xctx_frame_local(const xctx_frame *frame, size_t index)
{
    return index < xctx_frame_local_count(frame) ? &whole_frame(frame)->locals[index] : NULL;
}

const xctx_local *xctx_frame_find(const xctx_frame *frame, const char *name)
{
    const xctx_local *found = NULL;

    for (size_t i = 0; name && i < xctx_frame_local_count(frame); i++) {
        const xctx_local *local = &whole_frame(frame)->locals[i];
        if (!local->name || strcmp(local->name, name) != 0)
            continue;
        /* Of the file only if there is none of the function. */
        if (!found || (found->is_global && !local->is_global) ||
            (found->is_global == local->is_global && local->block > found->block))
            found = local;
    }
    return found;
}

size_t xctx_report_variable_count(const xctx_report *report)
{
    return report ? report->variable_count : 0;
}

const xctx_variable *xctx_report_variable(const xctx_report *report, size_t index)
{
    return report && index < report->variable_count ? &report->variables[index] : NULL;
}

size_t xctx_report_register_count(const xctx_report *report)
{
    return report ? report->register_count : 0;
}

const xctx_register *xctx_report_register(const xctx_report *report, size_t index)
{
    return report && index < report->register_count ? &report->registers[index] : NULL;
}

const xctx_thread_state *xctx_report_thread_state(const xctx_report *report)
{
    return report ? &report->state : NULL;
}

unsigned xctx_report_captured(const xctx_report *report)
{
    return report ? report->captured : 0;
}

size_t xctx_report_note_count(const xctx_report *report)
{
    return report ? report->note_count : 0;
}

const char *xctx_report_note(const xctx_report *report, size_t index)
{
    return report && index < report->note_count ? report->notes[index] : NULL;
}

xctx_report *xctx_report_parent(const xctx_report *report)
{
    return report ? report->parent : NULL;
}

const char *xctx_source_name(enum xctx_source source)
{
    static const char *const names[] = {
        [XCTX_SOURCE_SNAPSHOT] = "snapshot",           [XCTX_SOURCE_REGISTER] = "register",
        [XCTX_SOURCE_CONSTANT] = "constant",           [XCTX_SOURCE_COMPUTED] = "computed",
        [XCTX_SOURCE_ENTRY_VALUE] = "entry-value",     [XCTX_SOURCE_LIVE] = "live",
        [XCTX_SOURCE_OPTIMIZED_OUT] = "optimized-out", [XCTX_SOURCE_NOT_CAPTURED] = "not-captured",
        [XCTX_SOURCE_UNREADABLE] = "unreadable",       [XCTX_SOURCE_UNSUPPORTED] = "unsupported",
        [XCTX_SOURCE_REDACTED] = "redacted",
    };

    return (size_t)source < sizeof(names) / sizeof(names[0]) ? names[source] : "unsupported";
}
