/* SPDX-License-Identifier: MIT */
/*
 * Reports as a page of HTML that needs nothing else.
 *
 * Everything folds by <details>, so that the page works without its script, which only adds buttons and unfolds
 * everything for printers. Names and values go through xctx__html_text(): there is no other way for them into the page.
 */
#include "write_html.h"

#include <inttypes.h>
#include <string.h>

#include "words.h"

void xctx__html_bytes(struct sink *sink, const char *text, size_t size)
{
    struct visible visible;

    for (size_t at = 0; at < size;) {
        at += xctx__visible_next(text + at, size - at, &visible);
        switch (visible.size == 1 ? visible.bytes[0] : 0) {
        case '&':
            xctx__sink_string(sink, "&amp;");
            break;
        case '<':
            xctx__sink_string(sink, "&lt;");
            break;
        case '>':
            xctx__sink_string(sink, "&gt;");
            break;
        case '"':
            xctx__sink_string(sink, "&quot;");
            break;
        case '\'':
            xctx__sink_string(sink, "&#39;");
            break;
        default:
            xctx__sink_bytes(sink, visible.bytes, visible.size);
            break;
        }
    }
}

void xctx__html_text(struct sink *sink, const char *text)
{
    xctx__html_bytes(sink, text, strlen(text));
}

void xctx__html_at(struct sink *sink, const xctx_frame *frame)
{
    if (!frame->file)
        return;
    xctx__sink_string(sink, " at ");
    xctx__html_text(sink, xctx__base_name(frame->file));
    if (frame->line > 0)
        xctx__sink_format(sink, ":%" PRIu32, frame->line);
}

/* <span class="...">text</span> */
static void span(struct sink *sink, const char *class, const char *text)
{
    xctx__sink_format(sink, "<span class=\"%s\">", class);
    xctx__html_text(sink, text);
    xctx__sink_string(sink, "</span>");
}

/* ---- frames ---- */

static void write_missing(struct sink *sink, enum xctx_source source)
{
    char buffer[32];

    span(sink, "no", xctx__source_text(source, buffer));
}

/* An argument in a call is as short as in gdb: what is in braces stands below. */
static void write_arguments(struct sink *sink, const xctx_frame *frame)
{
    enum { MOST = 40 };
    const char *separator = "";

    xctx__sink_string(sink, "(");
    for (size_t i = 0; i < xctx_frame_local_count(frame); i++) {
        const xctx_local *local = xctx_frame_local(frame, i);
        if (!local->parameter)
            continue;
        xctx__sink_string(sink, separator);
        separator = ", ";
        if (local->name) {
            span(sink, "nm", local->name);
            xctx__sink_string(sink, "=");
        }
        if (!local->value)
            write_missing(sink, local->source);
        else if (local->value[0] == '{' || strlen(local->value) > MOST)
            xctx__sink_string(sink, "\xe2\x80\xa6");
        else
            span(sink, "va", local->value);
    }
    xctx__sink_string(sink, ")");
}

static void write_summary(struct sink *sink, const xctx_frame *frame, size_t index)
{
    xctx__sink_format(sink, "<summary><span class=\"ix\">#%zu</span><span class=\"call\">", index);
    span(sink, "fn", frame->function ? frame->function : "??");
    if (frame->offset > 0)
        xctx__sink_format(sink, "+%" PRIu64, frame->offset);
    write_arguments(sink, frame);
    xctx__sink_string(sink, "</span><span class=\"at\">");
    if (frame->inlined)
        xctx__sink_string(sink, "<span class=\"tag\">inlined</span> ");
    if (frame->guessed)
        xctx__sink_string(sink, "<span class=\"tag\">guessed</span> ");
    if (frame->interrupted)
        xctx__sink_string(sink, "<span class=\"tag\">interrupted</span> ");
    if (frame->file || frame->module)
        xctx__html_text(sink, xctx__base_name(frame->file ? frame->file : frame->module));
    if (frame->file && frame->line > 0)
        xctx__sink_format(sink, ":%" PRIu32, frame->line);
    xctx__sink_string(sink, "</span></summary>\n");
}

static void write_where(struct sink *sink, const xctx_frame *frame)
{
    xctx__sink_string(sink, "<dl class=\"where\">");
    if (frame->file) {
        xctx__sink_string(sink, "<div><dt>source</dt><dd>");
        xctx__html_text(sink, frame->file);
        if (frame->line > 0)
            xctx__sink_format(sink, ":%" PRIu32, frame->line);
        if (frame->line > 0 && frame->column > 0)
            xctx__sink_format(sink, ":%" PRIu32, frame->column);
        xctx__sink_string(sink, "</dd></div>");
    }
    if (frame->module) {
        xctx__sink_string(sink, "<div><dt>module</dt><dd>");
        xctx__html_text(sink, frame->module);
        xctx__sink_string(sink, "</dd></div>");
    }
    xctx__sink_format(sink, "<div><dt>pc</dt><dd>0x%" PRIx64 "</dd></div>", frame->pc);
    if (frame->cfa != 0)
        xctx__sink_format(sink, "<div><dt>cfa</dt><dd>0x%" PRIx64 "</dd></div>", frame->cfa);
    xctx__sink_string(sink, "</dl>\n");
}

/* Where the value came from: the word, and the place. */
static void write_origin(struct sink *sink, const xctx_local *local)
{
    bool missing = local->source >= XCTX_SOURCE_OPTIMIZED_OUT;

    if (!missing)
        span(sink, local->source == XCTX_SOURCE_LIVE ? "so live" : "so", xctx_source_name(local->source));
    if (local->reg)
        span(sink, "ad", local->reg);
    if (local->address != 0)
        xctx__sink_format(sink, "<span class=\"ad\">0x%" PRIx64 "</span>", local->address);
    if (local->size != 0)
        xctx__sink_format(sink, "<span class=\"ad\">%" PRIu64 " B</span>", local->size);
    if (local->line != 0)
        xctx__sink_format(sink, "<span class=\"ad\">line %" PRIu32 "</span>", local->line);
}

static const char *kind_of(const xctx_local *local)
{
    return local->parameter ? "parameter" : local->is_global ? "file" : local->is_static ? "static" : NULL;
}

static void write_local(struct sink *sink, const xctx_local *local)
{
    const char *kind = kind_of(local);

    xctx__sink_string(sink, "<tr><th scope=\"row\">");
    span(sink, "nm", local->name ? local->name : "(no name)");
    if (kind)
        span(sink, "tag", kind);
    xctx__sink_string(sink, "</th><td class=\"ty\">");
    xctx__html_text(sink, local->type);
    xctx__sink_string(sink, "</td><td class=\"vc\">");
    if (local->value)
        xctx__html_value(sink, local->value);
    else
        write_missing(sink, local->source);
    xctx__sink_string(sink, "</td><td class=\"or\">");
    write_origin(sink, local);
    xctx__sink_string(sink, "</td></tr>\n");
}

static void write_frame(struct sink *sink, const xctx_frame *frame, size_t index)
{
    size_t count = xctx_frame_local_count(frame);

    if (frame->omitted > 0)
        xctx__sink_format(sink, "<p class=\"meta\">%" PRIu64 " %s left out</p>\n", frame->omitted,
                          frame->omitted == 1 ? "frame is" : "frames are");
    xctx__sink_format(sink, "<details class=\"frame%s\"%s>", frame->inlined ? " inlined" : "",
                      index == 0 ? " open" : "");
    write_summary(sink, frame, index);
    xctx__sink_string(sink, "<div class=\"body\">");
    if (count > 0) {
        xctx__sink_string(sink,
                          "<table class=\"locals\"><thead><tr><th scope=\"col\">Name</th><th scope=\"col\">Type</th>"
                          "<th scope=\"col\">Value</th><th scope=\"col\">From</th></tr></thead><tbody>\n");
        for (size_t i = 0; i < count; i++)
            write_local(sink, xctx_frame_local(frame, i));
        xctx__sink_string(sink, "</tbody></table>\n");
    }
    write_where(sink, frame);
    xctx__sink_string(sink, "</div></details>\n");
}

/* ---- the parts of a report ---- */

static void write_variables(struct sink *sink, const xctx_report *report)
{
    size_t count = xctx_report_variable_count(report);

    if (count == 0)
        return;
    xctx__sink_string(sink, "<section><h3>Context variables</h3>\n<table class=\"pairs\"><tbody>\n");
    for (size_t i = 0; i < count; i++) {
        const xctx_variable *variable = xctx_report_variable(report, i);
        xctx__sink_string(sink, "<tr><th scope=\"row\">");
        span(sink, "nm", variable->name ? variable->name : "(no name)");
        xctx__sink_string(sink, "</th><td>");
        if (variable->value && !variable->redacted)
            xctx__html_value(sink, variable->value);
        else
            write_missing(sink, XCTX_SOURCE_REDACTED);
        xctx__sink_string(sink, "</td></tr>\n");
    }
    xctx__sink_string(sink, "</tbody></table></section>\n");
}

static void write_frames(struct sink *sink, const xctx_report *report)
{
    size_t count = xctx_report_frame_count(report);

    xctx__sink_string(sink, "<section><h3>Call stack</h3>\n");
    for (size_t i = 0; i < count; i++)
        write_frame(sink, xctx_report_frame(report, i), i);
    if (count == 0)
        xctx__sink_string(sink, "<p class=\"meta\">No call stack was captured.</p>\n");
    xctx__sink_string(sink, "</section>\n");
}

static void state_row(void *user, const char *label, const char *text)
{
    struct sink *sink = user;

    xctx__sink_format(sink, "<tr><th scope=\"row\">%s</th><td>", label);
    xctx__html_text(sink, text);
    xctx__sink_string(sink, "</td></tr>\n");
}

static void write_state(struct sink *sink, const xctx_report *report)
{
    if (!(xctx_report_captured(report) & XCTX_CAPTURE_STATE))
        return;
    xctx__sink_string(sink, "<details class=\"more\"><summary><h3>Thread state</h3></summary>\n"
                            "<table class=\"pairs\"><tbody>\n");
    xctx__state_rows(xctx_report_thread_state(report), state_row, sink);
    xctx__sink_string(sink, "</tbody></table></details>\n");
}

static void write_registers(struct sink *sink, const xctx_report *report)
{
    size_t count = xctx_report_register_count(report);

    if (count == 0)
        return;
    xctx__sink_string(sink, "<details class=\"more\"><summary><h3>Registers</h3></summary>\n"
                            "<table class=\"registers\"><tbody>\n");
    for (size_t i = 0; i < count; i++) {
        const xctx_register *reg = xctx_report_register(report, i);
        xctx__sink_string(sink, "<tr><th scope=\"row\">");
        xctx__html_text(sink, reg->name);
        xctx__sink_format(sink, "</th><td>0x%016" PRIx64 "</td></tr>\n", reg->value);
    }
    xctx__sink_string(sink, "</tbody></table></details>\n");
}

static void write_notes(struct sink *sink, const xctx_report *report)
{
    size_t count = xctx_report_note_count(report);

    if (count == 0)
        return;
    xctx__sink_string(sink, "<section class=\"notes\"><h3>Notes</h3><ul>\n");
    for (size_t i = 0; i < count; i++) {
        xctx__sink_string(sink, "<li>");
        xctx__html_text(sink, xctx_report_note(report, i));
        xctx__sink_string(sink, "</li>\n");
    }
    xctx__sink_string(sink, "</ul></section>\n");
}

/* "worker-2, thread 4711" */
static void write_thread_name(struct sink *sink, const xctx_report *report)
{
    const xctx_thread_state *state = xctx_report_thread_state(report);
    size_t size = strnlen(state->name, sizeof(state->name));

    if ((state->present & XCTX_THREAD_NAME) && size > 0) {
        xctx__html_bytes(sink, state->name, size);
        xctx__sink_string(sink, ", ");
    }
    xctx__sink_format(sink, "thread %" PRId32, state->tid);
}

static void write_heading(struct sink *sink, const xctx_report *report, size_t age)
{
    const xctx_thread_state *state = xctx_report_thread_state(report);
    char buffer[XCTX__WORDS];
    char time[XCTX__TIME];

    xctx__sink_string(sink, age > 0 ? "<h2><small>Copied in</small> " : "<h2>");
    write_thread_name(sink, report);
    xctx__sink_string(sink, "</h2>\n<p class=\"meta\">");
    xctx__sink_format(sink, "process %" PRId32, state->pid);
    if (state->present & XCTX_THREAD_TIME) {
        xctx__time_text(state->time, time);
        xctx__sink_format(sink, " \xc2\xb7 <time datetime=\"%s\">%s</time>", time, time);
    }
    xctx__sink_format(
        sink, " \xc2\xb7 captured: %s</p>\n",
        xctx__captured_text(xctx_report_captured(report), xctx_report_variable_count(report) > 0, buffer));
    if (state->present & XCTX_THREAD_SIGNAL)
        xctx__sink_format(sink, "<p class=\"alarm\">%s</p>\n", xctx__signal_text(state, buffer));
}

/* One snapshot: the report itself (`age` 0), or one of its parents. */
static void write_snapshot(struct sink *sink, const xctx_report *report, size_t number, size_t age)
{
    xctx__sink_format(sink, "<article id=\"r%zup%zu\"%s>\n", number, age, age > 0 ? " class=\"parent\"" : "");
    write_heading(sink, report, age);
    write_notes(sink, report);
    if (age == 0)
        xctx__html_chain(sink, report, number);
    write_variables(sink, report);
    write_frames(sink, report);
    write_state(sink, report);
    write_registers(sink, report);
    xctx__sink_string(sink, "</article>\n");
}

/* ---- the page ---- */

static void write_lines(struct sink *sink, const char *const *lines)
{
    for (; *lines; lines++) {
        xctx__sink_string(sink, *lines);
        xctx__sink_string(sink, "\n");
    }
}

/* "add at add.c:15": of one report where it is, since its thread is below; of several how many. */
static void write_title(struct sink *sink, xctx_report *const reports[], size_t count)
{
    const xctx_frame *frame = count == 1 ? xctx_report_frame(reports[0], 0) : NULL;

    if (count != 1) {
        xctx__sink_format(sink, "%zu threads", count);
    } else if (frame && frame->function) {
        xctx__html_text(sink, frame->function);
        xctx__html_at(sink, frame);
    } else {
        write_thread_name(sink, reports[0]);
    }
}

static void write_head(struct sink *sink, xctx_report *const reports[], size_t count)
{
    xctx__sink_string(sink, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    xctx__sink_format(sink, "<meta http-equiv=\"Content-Security-Policy\" content=\"%s\">\n", xctx__html_policy);
    xctx__sink_string(sink, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                            "<meta name=\"color-scheme\" content=\"light dark\">\n"
                            "<meta name=\"referrer\" content=\"no-referrer\">\n<title>");
    write_title(sink, reports, count);
    xctx__sink_string(sink, " \xe2\x80\x93 xctx report</title>\n<style>");
    write_lines(sink, xctx__html_style);
    xctx__sink_string(sink, "</style>\n</head>\n<body>\n<header><p class=\"brand\">xctx report</p><h1>");
    write_title(sink, reports, count);
    xctx__sink_string(sink,
                      "</h1>\n<p class=\"tools\" id=\"tools\" hidden><button type=\"button\" id=\"unfold\">Unfold "
                      "all</button> <button type=\"button\" id=\"fold\">Fold all</button></p></header>\n");
}

static void write_contents(struct sink *sink, xctx_report *const reports[], size_t count)
{
    xctx__sink_string(sink, "<nav aria-label=\"Threads\"><ol>\n");
    for (size_t i = 0; i < count; i++) {
        const xctx_frame *frame = xctx_report_frame(reports[i], 0);
        xctx__sink_format(sink, "<li><a href=\"#r%zup0\">", i);
        write_thread_name(sink, reports[i]);
        xctx__sink_string(sink, "</a>");
        if (frame && frame->function) {
            xctx__sink_string(sink, " in ");
            span(sink, "fn", frame->function);
        }
        xctx__sink_string(sink, "</li>\n");
    }
    xctx__sink_string(sink, "</ol></nav>\n");
}

int xctx__write_html(xctx_report *const reports[], size_t count, FILE *file)
{
    struct sink sink = {.file = file};

    write_head(&sink, reports, count);
    if (count > 1)
        write_contents(&sink, reports, count);
    xctx__sink_string(&sink, "<main>\n");
    for (size_t i = 0; i < count; i++) {
        const xctx_report *report = reports[i];
        for (size_t age = 0; report && age <= XCTX__PARENTS_WRITTEN; age++) {
            write_snapshot(&sink, report, i, age);
            report = xctx_report_parent(report);
        }
    }
    xctx__sink_string(&sink, "</main>\n<script>");
    write_lines(&sink, xctx__html_script);
    xctx__sink_string(&sink, "</script>\n</body>\n</html>\n");
    return sink.error;
}
