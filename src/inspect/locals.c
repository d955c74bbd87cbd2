/* SPDX-License-Identifier: MIT */
/*
 * Parameters and local variables of a frame: see report_internal.h.
 *
 * Each variable is located, fetched and rendered on its own: what goes wrong with one is said of that one alone. Only
 * memory that runs out ends the list, and then the report.
 */
#include <dwarf.h>
#include <errno.h>
#include <string.h>

#include "context/memory.h"
#include "locals.h"
#include "marks.h"
#include "report_internal.h"
#include "type.h"

struct reading {
    const struct place *place;
    struct frame *frame;
    size_t room; /* of frame->locals */
    bool secret; /* all of the frame is */
};

/* A slot for one more. */
static xctx_local *add_local(struct reading *reading)
{
    struct frame *frame = reading->frame;

    if (frame->local_count == reading->room) {
        size_t room = reading->room ? 2 * reading->room : 16;
        xctx_local *locals = xctx__arena_allocate(reading->place->arena, room * sizeof(*locals));
        if (!locals)
            return NULL;
        if (reading->room)
            memcpy(locals, frame->locals, frame->local_count * sizeof(*locals));
        frame->locals = locals;
        reading->room = room;
    }
    return &frame->locals[frame->local_count++];
}

/* A text that was built, in the arena. Returns 0 or -ENOMEM. */
static int take_text(const struct place *place, struct text *text, const char **ret_text)
{
    const char *copy = xctx__arena_string(place->arena, text->bytes ? text->bytes : "");

    xctx__text_destroy(text);
    *ret_text = copy;
    return copy ? 0 : -ENOMEM;
}

/* Renders what was fetched. */
static int read_value(const struct place *place, Dwarf_Die *type, const struct value *value, xctx_local *local)
{
    struct text text = {0};
    struct rendering rendering = {.text = &text};
    enum xctx_source source = xctx__render(place, type, value, &rendering);

    if (source != XCTX_SOURCE_SNAPSHOT) {
        xctx__text_destroy(&text);
        local->source = source;
        return place->arena->failed ? -ENOMEM : 0;
    }
    local->source = rendering.live ? XCTX_SOURCE_LIVE : value->source;
    /* Something of it is known, and its source is that of the part. */
    if (!xctx__source_has_value(local->source))
        local->source = XCTX_SOURCE_COMPUTED;
    return take_text(place, &text, &local->value);
}

/* Finds the value of a variable, and what else is known of where it is. */
static int read_located(const struct place *place, const struct variable *variable, Dwarf_Die *type, bool secret,
                        xctx_local *local)
{
    struct location location;
    struct value value;

    xctx__variable_locate(place, variable, local->size, &location);
    if (location.failed != XCTX_SOURCE_SNAPSHOT) {
        local->source = secret ? XCTX_SOURCE_REDACTED : location.failed;
        return place->arena->failed ? -ENOMEM : 0;
    }
    int error = xctx__value_fetch(place, &location, local->size, xctx__variable_use(variable), &value);
    if (error)
        return error;
    local->address = value.in_memory ? value.address : 0;
    local->reg = value.reg;
    local->source = XCTX_SOURCE_REDACTED;
    return secret ? 0 : read_value(place, type, &value, local);
}

static int read_variable(const struct variable *variable, void *user)
{
    struct reading *reading = user;
    const struct place *place = reading->place;
    bool secret = reading->secret || xctx__variable_secret(place, variable);
    xctx_local *local = add_local(reading);
    Dwarf_Die die = variable->die;
    struct text text = {0};
    Dwarf_Attribute attribute;
    Dwarf_Die type;
    int line;

    if (!local)
        return -ENOMEM;
    local->name = xctx__arena_string(place->arena, variable->name);
    local->parameter = variable->parameter;
    local->is_static = variable->statics;
    local->is_global = variable->global;
    local->block = variable->block;
    local->line = dwarf_decl_line(&die, &line) == 0 && line > 0 ? (uint32_t)line : 0;
    if (dwarf_formflag(dwarf_attr_integrate(&die, DW_AT_artificial, &attribute), &local->artificial) != 0)
        local->artificial = false;
    bool typed = xctx__type_of(&die, &type);
    xctx__type_name(typed ? &type : NULL, &text);
    int error = take_text(place, &text, &local->type);
    if (error || !typed) {
        local->source = secret ? XCTX_SOURCE_REDACTED : XCTX_SOURCE_UNSUPPORTED;
        return error;
    }
    enum xctx_source source = xctx__type_size(place, &type, &local->size);
    if (source == XCTX_SOURCE_SNAPSHOT)
        return read_located(place, variable, &type, secret, local);
    local->size = 0;
    local->source = secret ? XCTX_SOURCE_REDACTED : source;
    return 0;
}

/* Whether a frame is of a marked function, or is inlined, at whatever depth, into one: its parameters may be the
   secrets of that. */
static bool frame_secret(const struct frame *frame, const struct place *place, Dwarf_Die *scope)
{
    Dwarf_Die *around = NULL;
    Dwarf_Die function = place->function;
    const xctx_snapshot *snapshot = place->memory->snapshot;

    if (!xctx__marks_any(snapshot))
        return false;
    if (xctx__marked(snapshot, XCTX_REDACT_FUNCTION, frame->frame.function) || xctx__function_secret(place, scope) ||
        (place->has_function && xctx__function_secret(place, &function)))
        return true;
    bool secret = false;
    int count = dwarf_tag(scope) == DW_TAG_inlined_subroutine ? dwarf_getscopes_die(scope, &around) : 0;
    for (int i = 0; i < count && !secret; i++)
        secret = xctx__function_secret(place, &around[i]);
    free(around);
    return secret;
}

/* Puts the variables of each block into the order of the source, which not every compiler keeps. There are few that are
   not in it. */
static void sort_by_line(xctx_local *locals, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        xctx_local moving = locals[i];
        size_t at = i;
        for (; at > 0 && !moving.parameter && !locals[at - 1].parameter && locals[at - 1].block == moving.block &&
               moving.line && locals[at - 1].line > moving.line;
             at--)
            locals[at] = locals[at - 1];
        locals[at] = moving;
    }
}

int xctx__locals_read(xctx_report *report, struct frame *frame, const struct place *place, Dwarf_Die *scopes, int count,
                      const xctx_inspect_options *options)
{
    struct reading reading = {.place = place, .frame = frame};
    int error = 0;

    (void)report;
    frame->locals = NULL;
    frame->local_count = 0;
    if (count > 0) {
        reading.secret = frame_secret(frame, place, &scopes[count - 1]);
        error = xctx__variables_visit(scopes, count, read_variable, &reading);
    }
    sort_by_line(frame->locals, frame->local_count);
    reading.secret = false;
    if (error == 0 && options && (options->flags & XCTX_INSPECT_GLOBALS))
        error = xctx__variables_of_unit(place, false, read_variable, &reading);
    return error;
}
