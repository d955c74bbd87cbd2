/* SPDX-License-Identifier: MIT */
/*
 * The chain of parents, drawn: a row for each snapshot, the oldest first, and a lane for each thread. An arrow leads
 * from each snapshot to the one that was taken in a copy of its context; a thin line joins what happened on one thread.
 *
 * Rows have a fixed height, so that one drawing beside the list fits all of it. The list has the words; the drawing is
 * hidden from those who have the page read to them.
 */
#include <inttypes.h>
#include <string.h>

#include "words.h"
#include "write_html.h"

enum {
    ROWS = 128, /* that are drawn: the newest */
    LANES = 6,  /* more threads than that share lanes */
    ROW = 60,   /* pixels, as in the style */
    LANE = 24,
    EDGE = 16,
};

struct chain {
    const xctx_report *rows[ROWS]; /* the oldest first */
    uint8_t lane[ROWS];
    size_t count;
    size_t earlier; /* parents that are not drawn */
    unsigned lanes;
    size_t number; /* of the report on the page */
};

static bool same_thread(const xctx_report *a, const xctx_report *b)
{
    const xctx_thread_state *first = xctx_report_thread_state(a);
    const xctx_thread_state *second = xctx_report_thread_state(b);

    return first->tid == second->tid && first->pid == second->pid;
}

/* The row before `row` on the same thread; `row` itself: there is none. */
static size_t row_before(const struct chain *chain, size_t row)
{
    for (size_t i = row; i-- > 0;) {
        if (same_thread(chain->rows[i], chain->rows[row]))
            return i;
    }
    return row;
}

static void collect(struct chain *chain, const xctx_report *report)
{
    unsigned threads = 0;

    for (; report && chain->count < ROWS; report = xctx_report_parent(report))
        chain->rows[chain->count++] = report;
    for (; report && chain->earlier < XCTX__PARENTS_WRITTEN; report = xctx_report_parent(report))
        chain->earlier++;
    for (size_t i = 0; i < chain->count / 2; i++) {
        const xctx_report *swapped = chain->rows[i];
        chain->rows[i] = chain->rows[chain->count - 1 - i];
        chain->rows[chain->count - 1 - i] = swapped;
    }
    for (size_t i = 0; i < chain->count; i++) {
        size_t before = row_before(chain, i);
        chain->lane[i] = before < i ? chain->lane[before] : (uint8_t)(threads++ % LANES);
    }
    chain->lanes = threads < LANES ? threads : LANES;
}

static int lane_x(const struct chain *chain, size_t row)
{
    return EDGE + LANE * chain->lane[row];
}

static int row_y(size_t row)
{
    return ROW / 2 + ROW * (int)row;
}

/* An arrow comes in from above, whatever lane it left from. */
static void draw_arrow(struct sink *sink, const struct chain *chain, size_t row)
{
    int from = lane_x(chain, row - 1), to = lane_x(chain, row), top = row_y(row - 1) + 8, bottom = row_y(row) - 14;

    xctx__sink_format(sink, "<path class=\"arrow lane%u\" d=\"M%d %dC%d %d %d %d %d %d\"/>", chain->lane[row - 1], from,
                      top, from, top + 24, to, bottom - 24, to, bottom);
    xctx__sink_format(sink, "<path class=\"head lane%u\" d=\"M%d %dh9l-4.5 7z\"/>", chain->lane[row - 1], to - 4,
                      bottom - 1);
}

static void draw(struct sink *sink, const struct chain *chain)
{
    int width = 2 * EDGE + LANE * ((int)chain->lanes - 1), height = ROW * (int)chain->count;

    xctx__sink_format(sink, "<svg aria-hidden=\"true\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\">", width,
                      height, width, height);
    for (size_t i = 0; i < chain->count; i++) {
        size_t before = row_before(chain, i);
        if (before + 1 < i)
            xctx__sink_format(sink, "<path class=\"stay lane%u\" d=\"M%d %dV%d\"/>", chain->lane[i], lane_x(chain, i),
                              row_y(before) + 8, row_y(i) - 8);
    }
    for (size_t i = 1; i < chain->count; i++)
        draw_arrow(sink, chain, i);
    for (size_t i = 0; i < chain->count; i++)
        xctx__sink_format(sink, "<circle class=\"dot lane%u\" cx=\"%d\" cy=\"%d\" r=\"%d\"/>", chain->lane[i],
                          lane_x(chain, i), row_y(i), i + 1 == chain->count ? 7 : 6);
    xctx__sink_string(sink, "</svg>");
}

/* "-1.250 ms", with a proper minus: before the report's own snapshot, in the unit that suits. */
static void write_age(struct sink *sink, int64_t age)
{
    static const struct {
        int64_t size;
        int64_t thousandth;
        const char *name;
    } units[] = {{1000000000, 1000000, "s"}, {1000000, 1000, "ms"}, {1000, 1, "\xc2\xb5s"}};
    size_t unit = 0;

    while (unit < 2 && age < units[unit].size)
        unit++;
    xctx__sink_format(sink, "\xe2\x88\x92%" PRId64 ".%03" PRId64 " %s", age / units[unit].size,
                      age % units[unit].size / units[unit].thousandth, units[unit].name);
}

static void write_when(struct sink *sink, const struct chain *chain, size_t row)
{
    const xctx_thread_state *state = xctx_report_thread_state(chain->rows[row]);
    const xctx_thread_state *last = xctx_report_thread_state(chain->rows[chain->count - 1]);

    xctx__sink_string(sink, "<span class=\"when\">");
    if (row + 1 == chain->count)
        xctx__sink_string(sink, "this snapshot");
    else if ((state->present & last->present & XCTX_THREAD_TIME) && state->time >= 0 && last->time >= state->time)
        write_age(sink, last->time - state->time);
    xctx__sink_string(sink, "</span>");
}

static void write_place(struct sink *sink, const xctx_report *report)
{
    const xctx_frame *frame = xctx_report_frame(report, 0);

    xctx__sink_string(sink, "<span class=\"place\">");
    if (frame) {
        xctx__sink_string(sink, "<span class=\"fn\">");
        xctx__html_text(sink, frame->function ? frame->function : "??");
        xctx__sink_string(sink, "</span>");
        xctx__html_at(sink, frame);
    } else {
        xctx__sink_string(sink, "no call stack");
    }
    xctx__sink_string(sink, "</span>");
}

static void write_row(struct sink *sink, const struct chain *chain, size_t row)
{
    const xctx_report *report = chain->rows[row];
    const xctx_thread_state *state = xctx_report_thread_state(report);

    xctx__sink_format(sink, "<li><a href=\"#r%zup%zu\">", chain->number, chain->count - 1 - row);
    if (state->present & XCTX_THREAD_NAME) {
        xctx__sink_string(sink, "<b>");
        xctx__html_bytes(sink, state->name, strnlen(state->name, sizeof(state->name)));
        xctx__sink_string(sink, "</b> ");
    }
    xctx__sink_format(sink, "thread %" PRId32 "</a> ", state->tid);
    write_when(sink, chain, row);
    write_place(sink, report);
    xctx__sink_string(sink, "</li>\n");
}

void xctx__html_chain(struct sink *sink, const xctx_report *report, size_t number)
{
    struct chain chain = {.number = number};

    if (!xctx_report_parent(report))
        return;
    collect(&chain, report);
    xctx__sink_string(sink, "<section><h3>Where the work came from</h3>\n");
    if (chain.earlier > 0)
        xctx__sink_format(sink, "<p class=\"meta\">The newest of %zu snapshots; the others are below.</p>\n",
                          chain.count + chain.earlier);
    xctx__sink_format(sink, "<div class=\"chain lanes%u\">", chain.lanes);
    draw(sink, &chain);
    xctx__sink_string(sink, "\n<ol>\n");
    for (size_t i = 0; i < chain.count; i++)
        write_row(sink, &chain, i);
    xctx__sink_string(sink, "</ol></div></section>\n");
}
