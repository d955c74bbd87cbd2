/* SPDX-License-Identifier: MIT */
/*
 * Reports as JSON (RFC 8259), as docs/report-schema.json describes it.
 *
 * Members are always there, with `null` where something is not known, but for those of "thread" and what was not
 * captured. Addresses and register values are strings of hexadecimal digits; other numbers are numbers unless they are
 * beyond 2^53, where many readers would round them: then they are strings of hexadecimal digits, too. Bytes that are
 * not UTF-8 become U+FFFD, one for each byte.
 *
 * The parents of a report are an array in it, the nearest first, and not nested in each other: readers limit depth.
 */
#include <inttypes.h>
#include <string.h>

#include "words.h"
#include "write.h"

enum {
    VERSION = 1, /* of the schema */
    DEPTH = 16,  /* arrays and objects in each other: fixed by what is written below */
};

struct json {
    struct sink sink;
    unsigned depth;
    bool filled[DEPTH]; /* something is in the array or object at that depth already */
    bool flat[DEPTH];   /* it is written on one line */
};

static void write_string(struct json *json, const char *text, size_t size)
{
    uint32_t character;

    xctx__sink_string(&json->sink, "\"");
    for (size_t at = 0; at < size;) {
        size_t length = xctx__utf8_next(text + at, size - at, &character);
        if (length == 0) {
            xctx__sink_string(&json->sink, "\\ufffd");
            length = 1;
        } else if (character == '"' || character == '\\') {
            xctx__sink_format(&json->sink, "\\%c", (int)character);
        } else if (character == '\n') {
            xctx__sink_string(&json->sink, "\\n");
        } else if (character < 0x20 || (character >= 0x7f && character < 0xa0) || character == 0x2028 ||
                   character == 0x2029) {
            xctx__sink_format(&json->sink, "\\u%04x", (unsigned)character);
        } else {
            xctx__sink_bytes(&json->sink, text + at, length);
        }
        at += length;
    }
    xctx__sink_string(&json->sink, "\"");
}

/* What stands before a value: a comma, a line, and in an object its name. `name` NULL: in an array. */
static void begin_value(struct json *json, const char *name)
{
    bool flat = json->flat[json->depth];

    if (json->filled[json->depth])
        xctx__sink_string(&json->sink, flat ? ", " : ",");
    json->filled[json->depth] = true;
    if (!flat && json->depth > 0)
        xctx__sink_format(&json->sink, "\n%*s", (int)(2 * json->depth), "");
    if (name) {
        write_string(json, name, strlen(name));
        xctx__sink_string(&json->sink, ": ");
    }
}

static void open_value(struct json *json, const char *name, const char *bracket, bool flat)
{
    begin_value(json, name);
    xctx__sink_string(&json->sink, bracket);
    flat = flat || json->flat[json->depth];
    json->depth++;
    json->filled[json->depth] = false;
    json->flat[json->depth] = flat;
}

static void close_value(struct json *json, const char *bracket)
{
    bool line = json->filled[json->depth] && !json->flat[json->depth];

    json->depth--;
    if (line)
        xctx__sink_format(&json->sink, "\n%*s", (int)(2 * json->depth), "");
    xctx__sink_string(&json->sink, bracket);
}

static void put_null(struct json *json, const char *name)
{
    begin_value(json, name);
    xctx__sink_string(&json->sink, "null");
}

static void put_string(struct json *json, const char *name, const char *text)
{
    if (!text) {
        put_null(json, name);
        return;
    }
    begin_value(json, name);
    write_string(json, text, strlen(text));
}

static void put_bool(struct json *json, const char *name, bool value)
{
    begin_value(json, name);
    xctx__sink_string(&json->sink, value ? "true" : "false");
}

static void put_integer(struct json *json, const char *name, int64_t value)
{
    begin_value(json, name);
    xctx__sink_format(&json->sink, "%" PRId64, value);
}

static void put_hex(struct json *json, const char *name, uint64_t value)
{
    begin_value(json, name);
    xctx__sink_format(&json->sink, "\"0x%" PRIx64 "\"", value);
}

static void put_number(struct json *json, const char *name, uint64_t value)
{
    if (value <= UINT64_C(1) << 53)
        put_integer(json, name, (int64_t)value);
    else
        put_hex(json, name, value);
}

/* Those where 0 says that it is not known. */
static void put_known_number(struct json *json, const char *name, uint64_t value)
{
    if (value == 0)
        put_null(json, name);
    else
        put_number(json, name, value);
}

static void put_known_hex(struct json *json, const char *name, uint64_t value)
{
    if (value == 0)
        put_null(json, name);
    else
        put_hex(json, name, value);
}

/* ---- what a report consists of ---- */

static void put_captured(struct json *json, unsigned captured)
{
    open_value(json, "captured", "[", true);
    for (unsigned i = 0; i < XCTX__CAPTURES; i++) {
        const char *name = xctx__capture_name(captured, i);
        if (name)
            put_string(json, NULL, name);
    }
    close_value(json, "]");
}

static void put_signals(struct json *json, const char *name, uint64_t mask)
{
    char word[XCTX__WORD];

    open_value(json, name, "[", true);
    for (int number = 1; number <= XCTX__SIGNALS; number++) {
        if (mask >> (number - 1) & 1)
            put_string(json, NULL, xctx__signal_name(number, word));
    }
    close_value(json, "]");
}

static void put_fenv(struct json *json, const xctx_thread_state *state)
{
    put_string(json, "rounding", xctx__rounding_name(state->rounding_mode));
    open_value(json, "fp_exceptions", "[", true);
    for (unsigned i = 0; i < XCTX__FP_EXCEPTIONS; i++) {
        const char *name = xctx__fp_exception_name(state->fp_exceptions, i);
        if (name)
            put_string(json, NULL, name);
    }
    close_value(json, "]");
    put_hex(json, "fp_control", state->fp_control);
}

static void put_signal(struct json *json, const xctx_thread_state *state)
{
    char word[XCTX__WORD];

    open_value(json, "signal", "{", true);
    put_integer(json, "number", state->signal);
    put_string(json, "name", xctx__signal_name(state->signal, word));
    put_integer(json, "code", state->signal_code);
    put_string(json, "code_name", xctx__signal_code_name(state->signal, state->signal_code));
    put_hex(json, "fault_address", state->fault_address);
    close_value(json, "}");
}

static void put_scheduling(struct json *json, const xctx_thread_state *state)
{
    put_string(json, "policy", xctx__policy_name(state->policy));
    put_integer(json, "priority", state->priority);
    put_integer(json, "nice", state->nice);
}

static void put_errno(struct json *json, int error)
{
    open_value(json, "errno", "{", true);
    put_integer(json, "number", error);
    put_string(json, "name", xctx__errno_name(error));
    put_string(json, "text", xctx__errno_text(error));
    close_value(json, "}");
}

/* A text in an array of bytes, which hostile files may have left without a NUL. */
static void put_array(struct json *json, const char *name, const char *bytes, size_t size)
{
    begin_value(json, name);
    write_string(json, bytes, strnlen(bytes, size));
}

static void put_thread(struct json *json, const xctx_thread_state *state)
{
    char text[XCTX__WORDS];
    uint32_t present = state->present;

    open_value(json, "thread", "{", false);
    if (present & XCTX_THREAD_IDS) {
        put_integer(json, "tid", state->tid);
        put_integer(json, "pid", state->pid);
    }
    if (present & XCTX_THREAD_NAME)
        put_array(json, "name", state->name, sizeof(state->name));
    if (present & XCTX_THREAD_TIME) {
        put_string(json, "time", xctx__time_text(state->time, text));
        put_number(json, "cpu_time_ns", state->cpu_time > 0 ? (uint64_t)state->cpu_time : 0);
    }
    if (present & XCTX_THREAD_SIGNAL)
        put_signal(json, state);
    if (present & XCTX_THREAD_SIGMASK) {
        put_signals(json, "blocked", state->blocked);
        put_signals(json, "pending", state->pending);
    }
    if (present & XCTX_THREAD_FENV)
        put_fenv(json, state);
    if (present & XCTX_THREAD_LOCALE)
        put_array(json, "locale", state->locale, sizeof(state->locale));
    if (present & XCTX_THREAD_AFFINITY)
        put_string(json, "affinity", xctx__affinity_text(state->affinity, text));
    if (present & XCTX_THREAD_SCHED)
        put_scheduling(json, state);
    if (present & XCTX_THREAD_ERRNO)
        put_errno(json, state->error_number);
    if (present & XCTX_THREAD_CPU)
        put_integer(json, "cpu", state->cpu);
    if (present & XCTX_THREAD_STACK) {
        put_hex(json, "stack_low", state->stack_low);
        put_hex(json, "stack_high", state->stack_high);
    }
    close_value(json, "}");
}

static void put_variables(struct json *json, const xctx_report *report)
{
    open_value(json, "variables", "[", false);
    for (size_t i = 0; i < xctx_report_variable_count(report); i++) {
        const xctx_variable *variable = xctx_report_variable(report, i);
        open_value(json, NULL, "{", true);
        put_string(json, "name", variable->name);
        put_string(json, "value", variable->redacted ? NULL : variable->value);
        put_bool(json, "redacted", variable->redacted);
        close_value(json, "}");
    }
    close_value(json, "]");
}

static void put_local(struct json *json, const xctx_local *local)
{
    open_value(json, NULL, "{", true);
    put_string(json, "name", local->name);
    put_string(json, "type", local->type);
    put_string(json, "value", local->value);
    put_string(json, "source", xctx_source_name(local->source));
    put_bool(json, "parameter", local->parameter);
    put_bool(json, "artificial", local->artificial);
    put_bool(json, "static", local->is_static);
    put_bool(json, "global", local->is_global);
    put_known_hex(json, "address", local->address);
    put_known_number(json, "size", local->size);
    put_string(json, "register", local->reg);
    put_integer(json, "block", local->block);
    put_known_number(json, "line", local->line);
    close_value(json, "}");
}

static void put_frame(struct json *json, const xctx_frame *frame, size_t index)
{
    open_value(json, NULL, "{", false);
    put_number(json, "index", index);
    put_string(json, "function", frame->function);
    put_string(json, "file", frame->file);
    put_known_number(json, "line", frame->line);
    put_known_number(json, "column", frame->column);
    put_string(json, "module", frame->module);
    put_hex(json, "pc", frame->pc);
    put_known_hex(json, "cfa", frame->cfa);
    put_number(json, "offset", frame->offset);
    put_number(json, "omitted", frame->omitted);
    put_bool(json, "inlined", frame->inlined);
    put_bool(json, "interrupted", frame->interrupted);
    put_bool(json, "guessed", frame->guessed);
    open_value(json, "locals", "[", false);
    for (size_t i = 0; i < xctx_frame_local_count(frame); i++)
        put_local(json, xctx_frame_local(frame, i));
    close_value(json, "]");
    close_value(json, "}");
}

static void put_registers(struct json *json, const xctx_report *report)
{
    open_value(json, "registers", "{", false);
    for (size_t i = 0; i < xctx_report_register_count(report); i++) {
        const xctx_register *reg = xctx_report_register(report, i);
        put_hex(json, reg->name, reg->value);
    }
    close_value(json, "}");
}

static void put_content(struct json *json, const xctx_report *report)
{
    put_captured(json, xctx_report_captured(report));
    put_thread(json, xctx_report_thread_state(report));
    put_variables(json, report);
    open_value(json, "frames", "[", false);
    for (size_t i = 0; i < xctx_report_frame_count(report); i++)
        put_frame(json, xctx_report_frame(report, i), i);
    close_value(json, "]");
    put_registers(json, report);
    open_value(json, "notes", "[", false);
    for (size_t i = 0; i < xctx_report_note_count(report); i++)
        put_string(json, NULL, xctx_report_note(report, i));
    close_value(json, "]");
}

/* The report, and its parents beside what it has itself. `version` only where it is the whole of what is written. */
static void put_report(struct json *json, const xctx_report *report, bool version)
{
    open_value(json, NULL, "{", false);
    if (version)
        put_integer(json, "version", VERSION);
    put_content(json, report);
    open_value(json, "parents", "[", false);
    const xctx_report *parent = xctx_report_parent(report);
    for (size_t age = 0; parent && age < XCTX__PARENTS_WRITTEN; age++) {
        open_value(json, NULL, "{", false);
        put_content(json, parent);
        close_value(json, "}");
        parent = xctx_report_parent(parent);
    }
    close_value(json, "]");
    close_value(json, "}");
}

int xctx__write_json(xctx_report *const reports[], size_t count, bool single, FILE *file)
{
    struct json json = {.sink.file = file};

    if (single) {
        put_report(&json, reports[0], true);
    } else {
        open_value(&json, NULL, "{", false);
        put_integer(&json, "version", VERSION);
        open_value(&json, "reports", "[", false);
        for (size_t i = 0; i < count; i++)
            put_report(&json, reports[i], false);
        close_value(&json, "]");
        close_value(&json, "}");
    }
    xctx__sink_string(&json.sink, "\n");
    return json.sink.error;
}
