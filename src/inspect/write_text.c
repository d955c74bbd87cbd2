/* SPDX-License-Identifier: MIT */
/*
 * Reports as text, for people: what gdb's users know, with the values beside it.
 *
 * On a terminal there is colour, and long lines are wrapped at spaces, with what follows indented below its head.
 * Elsewhere nothing is wrapped, so that one thing is on one line for grep.
 *
 * Text goes through a *pen*: it collects a word, with the colours in it, until a space or the end of the line says that
 * it is complete, and then knows whether it fits. Each report ends with an empty line, so that several in one file read
 * well.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "words.h"
#include "write.h"

enum {
    WIDTH = 80, /* where nothing says otherwise */
    WIDTH_LEAST = 24,
    WIDTH_MOST = 4096,
    WORD_BYTES = 1024,
    ARGUMENT_MOST = 48, /* bytes of a value between a call's parentheses; longer ones are told below */
    REGISTER_NAME = 8,  /* columns, with a space */
};

enum style { STYLE_PLAIN, STYLE_HEADING, STYLE_FUNCTION, STYLE_NAME, STYLE_PLACE, STYLE_FAINT, STYLE_ALARM };

struct pen {
    struct sink sink;
    bool colour;
    unsigned width;  /* columns of a line; 0: no wrapping */
    unsigned column; /* of what has been written of the line */
    unsigned indent; /* of the lines that follow in this paragraph */
    unsigned spaces; /* before the word */
    unsigned word_width;
    size_t word_size;
    char word[WORD_BYTES];
};

static void pen_flush(struct pen *pen)
{
    if (pen->width > 0 && pen->column > pen->indent && pen->column + pen->spaces + pen->word_width > pen->width) {
        xctx__sink_string(&pen->sink, "\n");
        pen->column = 0;
        pen->spaces = pen->indent;
    } else if (pen->width > 0 && pen->column == 0 && pen->spaces + pen->word_width > pen->width) {
        /* Where the line is too narrow, the word is more than what is in front of it. */
        pen->spaces = pen->word_width < pen->width ? pen->width - pen->word_width : 0;
    }
    if (pen->word_width > 0) {
        xctx__sink_format(&pen->sink, "%*s", (int)pen->spaces, "");
        pen->column += pen->spaces + pen->word_width;
        pen->spaces = 0;
    }
    xctx__sink_bytes(&pen->sink, pen->word, pen->word_size);
    pen->word_size = 0;
    pen->word_width = 0;
}

static void pen_line(struct pen *pen)
{
    pen_flush(pen);
    xctx__sink_string(&pen->sink, "\n");
    pen->column = 0;
    pen->spaces = 0;
}

/* A word that is longer than a line is broken where the line ends. */
static void pen_put(struct pen *pen, const struct visible *visible)
{
    unsigned room = pen->width > pen->indent ? pen->width - pen->indent : 1;

    if (pen->word_size + visible->size > WORD_BYTES || (pen->width > 0 && pen->word_width + visible->width > room))
        pen_flush(pen);
    memcpy(pen->word + pen->word_size, visible->bytes, visible->size);
    pen->word_size += visible->size;
    pen->word_width += visible->width;
}

static void pen_space(struct pen *pen, unsigned count)
{
    if (pen->word_size > 0)
        pen_flush(pen);
    pen->spaces += count;
}

/* The name, the sign and what follows stay on one line. */
static bool is_beside_equals(const char *text, size_t size, size_t at)
{
    return (at > 0 && text[at - 1] == '=') || (at + 1 < size && text[at + 1] == '=');
}

static void pen_bytes(struct pen *pen, const char *text, size_t size)
{
    struct visible visible;

    for (size_t at = 0; at < size;) {
        if (text[at] == ' ' && !is_beside_equals(text, size, at)) {
            pen_space(pen, 1);
            at++;
        } else {
            at += xctx__visible_next(text + at, size - at, &visible);
            pen_put(pen, &visible);
        }
    }
}

static void pen_text(struct pen *pen, const char *text)
{
    pen_bytes(pen, text, strlen(text));
}

/* Colours have no width: a word may have any of them in it. */
static void pen_style(struct pen *pen, enum style style)
{
    static const char *const codes[] = {
        [STYLE_PLAIN] = "\033[0m",    [STYLE_HEADING] = "\033[1m", [STYLE_FUNCTION] = "\033[33m",
        [STYLE_NAME] = "\033[36m",    [STYLE_PLACE] = "\033[32m",  [STYLE_FAINT] = "\033[2m",
        [STYLE_ALARM] = "\033[1;31m",
    };
    size_t size = strlen(codes[style]);

    if (!pen->colour)
        return;
    if (pen->word_size + size > WORD_BYTES)
        pen_flush(pen);
    memcpy(pen->word + pen->word_size, codes[style], size);
    pen->word_size += size;
}

static void pen_styled(struct pen *pen, enum style style, const char *text)
{
    pen_style(pen, style);
    pen_text(pen, text);
    pen_style(pen, STYLE_PLAIN);
}

__attribute__((format(printf, 2, 3))) static void pen_format(struct pen *pen, const char *format, ...)
{
    char buffer[128];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(buffer, sizeof(buffer), format, arguments);
    va_end(arguments);
    pen_text(pen, buffer);
}

/* Begins a paragraph: `first` spaces, then later lines by `indent`. */
static void pen_paragraph(struct pen *pen, unsigned first, unsigned indent)
{
    pen->indent = pen->width > 3 * indent ? indent : 2;
    pen_space(pen, first);
}

/* ---- what a report consists of ---- */

static void write_heading(struct pen *pen, const char *text)
{
    pen->indent = 0;
    pen_styled(pen, STYLE_HEADING, text);
    pen_line(pen);
}

/* The thread, its time, the signal that stopped it, and what was captured. `age` 0 is the report itself. */
static void write_thread(struct pen *pen, const xctx_report *report, size_t age)
{
    const xctx_thread_state *state = xctx_report_thread_state(report);
    char buffer[XCTX__WORDS];
    char time[XCTX__TIME];

    pen_paragraph(pen, 0, 4);
    pen_style(pen, STYLE_HEADING);
    pen_text(pen, age > 0 ? "Copied in thread" : "Thread");
    if (state->present & XCTX_THREAD_IDS)
        pen_format(pen, " %d", state->tid);
    if (state->present & XCTX_THREAD_NAME) {
        pen_text(pen, " \"");
        pen_bytes(pen, state->name, strnlen(state->name, sizeof(state->name)));
        pen_text(pen, "\"");
    }
    pen_style(pen, STYLE_PLAIN);
    if (state->present & XCTX_THREAD_IDS)
        pen_format(pen, " of process %d", state->pid);
    if (state->present & XCTX_THREAD_TIME)
        pen_format(pen, ", %s", xctx__time_text(state->time, time));
    if (age > 0)
        pen_format(pen, " (parent %zu)", age);
    pen_line(pen);
    if (state->present & XCTX_THREAD_SIGNAL) {
        pen_paragraph(pen, 0, 4);
        pen_styled(pen, STYLE_ALARM, xctx__signal_text(state, buffer));
        pen_line(pen);
    }
    pen_paragraph(pen, 0, 4);
    pen_style(pen, STYLE_FAINT);
    pen_text(pen, "Captured: ");
    pen_text(pen, xctx__captured_text(xctx_report_captured(report), xctx_report_variable_count(report) > 0, buffer));
    pen_style(pen, STYLE_PLAIN);
    pen_line(pen);
}

static void write_variables(struct pen *pen, const xctx_report *report)
{
    size_t count = xctx_report_variable_count(report);

    if (count == 0)
        return;
    pen_line(pen);
    write_heading(pen, "Variables");
    for (size_t i = 0; i < count; i++) {
        const xctx_variable *variable = xctx_report_variable(report, i);
        pen_paragraph(pen, 4, 8);
        pen_styled(pen, STYLE_NAME, variable->name ? variable->name : "(no name)");
        pen_text(pen, " = ");
        if (variable->value && !variable->redacted)
            pen_text(pen, variable->value);
        else
            pen_styled(pen, STYLE_FAINT, "<redacted>");
        pen_line(pen);
    }
}

static void write_missing(struct pen *pen, enum xctx_source source)
{
    char buffer[32];

    pen_style(pen, STYLE_FAINT);
    pen_text(pen, "<");
    pen_text(pen, xctx__source_text(source, buffer));
    pen_text(pen, ">");
    pen_style(pen, STYLE_PLAIN);
}

/* Whether a parameter's value is left out of the call's parentheses: structures and long texts are, as in gdb. */
static bool is_long(const xctx_local *local)
{
    return local->value && (local->value[0] == '{' || strlen(local->value) > ARGUMENT_MOST);
}

static void write_arguments(struct pen *pen, const xctx_frame *frame)
{
    const char *separator = "";

    pen_text(pen, " (");
    for (size_t i = 0; i < xctx_frame_local_count(frame); i++) {
        const xctx_local *local = xctx_frame_local(frame, i);
        if (!local->parameter)
            continue;
        pen_text(pen, separator);
        separator = ", ";
        if (local->name) {
            pen_styled(pen, STYLE_NAME, local->name);
            pen_text(pen, "=");
        }
        if (is_long(local))
            pen_text(pen, "...");
        else if (local->value)
            pen_text(pen, local->value);
        else
            write_missing(pen, local->source);
    }
    pen_text(pen, ")");
}

static void write_place(struct pen *pen, const xctx_frame *frame)
{
    if (frame->file) {
        pen_text(pen, " at ");
        pen_style(pen, STYLE_PLACE);
        pen_text(pen, frame->file);
        if (frame->line > 0)
            pen_format(pen, ":%" PRIu32, frame->line);
        pen_style(pen, STYLE_PLAIN);
    } else if (frame->module) {
        pen_text(pen, " from ");
        pen_styled(pen, STYLE_PLACE, frame->module);
    }
    if (frame->inlined)
        pen_styled(pen, STYLE_FAINT, " [inlined]");
    if (frame->guessed)
        pen_styled(pen, STYLE_FAINT, " [guessed]");
}

/* Whether the name is declared in another block of the function, too. */
static bool is_shadowed(const xctx_frame *frame, size_t index)
{
    const char *name = xctx_frame_local(frame, index)->name;

    for (size_t i = 0; name && i < xctx_frame_local_count(frame); i++) {
        const xctx_local *other = xctx_frame_local(frame, i);
        if (i != index && other->name && !other->is_global && strcmp(other->name, name) == 0)
            return true;
    }
    return false;
}

static void write_declaration(struct pen *pen, const xctx_local *local)
{
    bool space;
    size_t split = xctx__declaration_split(local->type, &space);

    if (local->is_static && !local->is_global)
        pen_styled(pen, STYLE_FAINT, "static ");
    pen_style(pen, STYLE_FAINT);
    pen_bytes(pen, local->type, split);
    pen_style(pen, STYLE_PLAIN);
    if (space && local->name)
        pen_text(pen, " ");
    if (local->name)
        pen_styled(pen, STYLE_NAME, local->name);
    const char *rest = local->type + split + strspn(local->type + split, " ");
    if (*rest != '\0')
        pen_styled(pen, STYLE_FAINT, rest);
}

static void write_local(struct pen *pen, const xctx_frame *frame, size_t index)
{
    const xctx_local *local = xctx_frame_local(frame, index);

    pen_paragraph(pen, 8, 12);
    write_declaration(pen, local);
    pen_text(pen, " = ");
    if (local->value)
        pen_text(pen, local->value);
    else
        write_missing(pen, local->source);
    if (xctx__source_remarkable(local->source)) {
        pen_style(pen, STYLE_FAINT);
        pen_format(pen, "  [%s]", xctx_source_name(local->source));
        pen_style(pen, STYLE_PLAIN);
    }
    if (!local->is_global && local->line > 0 && is_shadowed(frame, index)) {
        pen_style(pen, STYLE_FAINT);
        pen_format(pen, "  [of line %" PRIu32 "]", local->line);
        pen_style(pen, STYLE_PLAIN);
    }
    pen_line(pen);
}

/* Variables of the source file stand below those of the function. */
static void write_locals(struct pen *pen, const xctx_frame *frame)
{
    size_t count = xctx_frame_local_count(frame);
    bool headed = false;

    for (size_t i = 0; i < count; i++) {
        const xctx_local *local = xctx_frame_local(frame, i);
        bool told = local->parameter && !is_long(local) && !xctx__source_remarkable(local->source);
        if (!local->is_global && !told)
            write_local(pen, frame, i);
    }
    for (size_t i = 0; i < count; i++) {
        if (!xctx_frame_local(frame, i)->is_global)
            continue;
        if (!headed) {
            pen_paragraph(pen, 6, 8);
            pen_styled(pen, STYLE_FAINT, "of the file:");
            pen_line(pen);
        }
        headed = true;
        write_local(pen, frame, i);
    }
}

static void write_frame(struct pen *pen, const xctx_frame *frame, size_t index)
{
    if (frame->omitted > 0) {
        pen_paragraph(pen, 4, 8);
        pen_format(pen, "... %" PRIu64 " %s left out ...", frame->omitted,
                   frame->omitted == 1 ? "frame is" : "frames are");
        pen_line(pen);
    }
    if (frame->interrupted && index > 0) {
        pen_paragraph(pen, 4, 8);
        pen_styled(pen, STYLE_ALARM, "<a signal came here>");
        pen_line(pen);
    }
    pen_paragraph(pen, 0, 6);
    pen_format(pen, "#%-2zu ", index);
    if (!frame->file)
        pen_format(pen, "0x%016" PRIx64 " in ", frame->pc);
    pen_styled(pen, STYLE_FUNCTION, frame->function ? frame->function : "??");
    if (frame->offset > 0)
        pen_format(pen, "+%" PRIu64, frame->offset);
    write_arguments(pen, frame);
    write_place(pen, frame);
    pen_line(pen);
    write_locals(pen, frame);
}

static void write_frames(struct pen *pen, const xctx_report *report)
{
    size_t count = xctx_report_frame_count(report);

    if (count == 0)
        return;
    pen_line(pen);
    write_heading(pen, "Call stack");
    for (size_t i = 0; i < count; i++)
        write_frame(pen, xctx_report_frame(report, i), i);
}

/* How many columns the longest value takes, so that as many as possible stand side by side. */
static unsigned longest_value(const xctx_report *report)
{
    unsigned longest = 0;

    for (size_t i = 0; i < xctx_report_register_count(report); i++) {
        int length = snprintf(NULL, 0, "0x%" PRIx64, xctx_report_register(report, i)->value);
        longest = (unsigned)length > longest ? (unsigned)length : longest;
    }
    return longest;
}

static void write_registers(struct pen *pen, const xctx_report *report)
{
    size_t count = xctx_report_register_count(report);
    unsigned cell = longest_value(report) + 2;
    unsigned columns = ((pen->width > 0 ? pen->width : WIDTH) - 2) / (REGISTER_NAME + cell);
    char value[XCTX__WORD];

    /* Whoever asked for locals alone has some, too, but did not want to see them. */
    if (count == 0 || !(xctx_report_captured(report) & XCTX_CAPTURE_REGISTERS))
        return;
    pen_line(pen);
    write_heading(pen, "Registers");
    columns = columns > 0 ? columns : 1;
    for (size_t i = 0; i < count; i++) {
        const xctx_register *reg = xctx_report_register(report, i);
        bool last = i + 1 == count || (i + 1) % columns == 0;
        if (i % columns == 0)
            pen_paragraph(pen, 4, 4);
        snprintf(value, sizeof(value), "0x%" PRIx64, reg->value);
        pen_style(pen, STYLE_NAME);
        pen_format(pen, "%-*s", REGISTER_NAME, reg->name);
        pen_style(pen, STYLE_PLAIN);
        pen_format(pen, "%-*s", last ? 0 : (int)cell, value);
        if (last)
            pen_line(pen);
    }
}

static void state_row(void *user, const char *label, const char *text)
{
    struct pen *pen = user;

    pen_paragraph(pen, 4, 22);
    pen_style(pen, STYLE_NAME);
    pen_format(pen, "%-18s", label);
    pen_style(pen, STYLE_PLAIN);
    pen_text(pen, text);
    pen_line(pen);
}

/* Takes out what two states have in common. Returns whether there was anything. */
static bool drop_common(xctx_thread_state *state, const xctx_thread_state *other)
{
    uint32_t before = state->present;

    if (state->blocked == other->blocked && state->pending == other->pending)
        state->present &= ~(uint32_t)XCTX_THREAD_SIGMASK;
    if (state->rounding_mode == other->rounding_mode && state->fp_exceptions == other->fp_exceptions &&
        state->fp_control == other->fp_control)
        state->present &= ~(uint32_t)XCTX_THREAD_FENV;
    if (strncmp(state->locale, other->locale, sizeof(state->locale)) == 0)
        state->present &= ~(uint32_t)XCTX_THREAD_LOCALE;
    if (memcmp(state->affinity, other->affinity, sizeof(state->affinity)) == 0)
        state->present &= ~(uint32_t)XCTX_THREAD_AFFINITY;
    if (state->policy == other->policy && state->priority == other->priority && state->nice == other->nice)
        state->present &= ~(uint32_t)XCTX_THREAD_SCHED;
    if (state->error_number == other->error_number)
        state->present &= ~(uint32_t)XCTX_THREAD_ERRNO;
    state->present |= before & ~other->present;
    return state->present != before;
}

/* Of a parent only what it does not share with the report above it, whose state is `above`. */
static void write_state(struct pen *pen, const xctx_report *report, const xctx_thread_state *above)
{
    xctx_thread_state state = *xctx_report_thread_state(report);
    bool common = above && drop_common(&state, above);

    if (!(xctx_report_captured(report) & XCTX_CAPTURE_STATE))
        return;
    pen_line(pen);
    write_heading(pen, "Thread state");
    xctx__state_rows(&state, state_row, pen);
    if (common) {
        pen_paragraph(pen, 4, 4);
        pen_styled(pen, STYLE_FAINT, "the rest is as above");
        pen_line(pen);
    }
}

static void write_notes(struct pen *pen, const xctx_report *report)
{
    size_t count = xctx_report_note_count(report);

    if (count == 0)
        return;
    pen_line(pen);
    write_heading(pen, "Notes");
    for (size_t i = 0; i < count; i++) {
        pen_paragraph(pen, 4, 6);
        pen_text(pen, "- ");
        pen_text(pen, xctx_report_note(report, i));
        pen_line(pen);
    }
}

static void write_report(struct pen *pen, const xctx_report *report, size_t age, const xctx_thread_state *above)
{
    write_thread(pen, report, age);
    write_variables(pen, report);
    write_frames(pen, report);
    write_registers(pen, report);
    write_state(pen, report, above);
    write_notes(pen, report);
    pen_line(pen);
}

/* ---- the terminal ---- */

static bool wants_colour(void)
{
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");

    return (!no_colour || *no_colour == '\0') && terminal && *terminal != '\0' && strcmp(terminal, "dumb") != 0;
}

static unsigned terminal_width(int fd)
{
    struct winsize size = {0};
    const char *columns = getenv("COLUMNS");
    long width = WIDTH;

    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        width = size.ws_col;
    else if (columns && strtol(columns, NULL, 10) > 0)
        width = strtol(columns, NULL, 10);
    return width < WIDTH_LEAST ? WIDTH_LEAST : width > WIDTH_MOST ? WIDTH_MOST : (unsigned)width;
}

int xctx__write_text(xctx_report *const reports[], size_t count, FILE *file)
{
    struct pen pen = {.sink.file = file};
    int fd = fileno(file);

    if (fd >= 0 && isatty(fd)) {
        pen.colour = wants_colour();
        pen.width = terminal_width(fd);
    }
    for (size_t i = 0; i < count; i++) {
        const xctx_report *report = reports[i];
        const xctx_thread_state *above = NULL;
        for (size_t age = 0; report && age <= XCTX__PARENTS_WRITTEN; age++) {
            write_report(&pen, report, age, above);
            above = xctx_report_thread_state(report);
            report = xctx_report_parent(report);
        }
    }
    return pen.sink.error;
}
