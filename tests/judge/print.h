/* SPDX-License-Identifier: MIT */
/*
 * How reports are printed for the script `judge`: a line for each thing, its fields separated by tabs. A field is "+"
 * and its text, in which "\t", "\n" and "\\" stand for themselves, or "-", a NULL.
 */
#ifndef JUDGE_PRINT_H
#define JUDGE_PRINT_H

#include <stdio.h>

#include <xctx/inspect.h>

static inline void judge_field(FILE *file, const char *text)
{
    fputc('\t', file);
    fputc(text ? '+' : '-', file);
    for (; text && *text; text++)
        if (*text == '\t')
            fputs("\\t", file);
        else if (*text == '\n')
            fputs("\\n", file);
        else if (*text == '\\')
            fputs("\\\\", file);
        else
            fputc(*text, file);
}

static inline void judge_locals(FILE *file, const xctx_frame *frame)
{
    for (size_t i = 0; i < xctx_frame_local_count(frame); i++) {
        const xctx_local *local = xctx_frame_local(frame, i);
        fputs("local", file);
        judge_field(file, local->name);
        judge_field(file, local->type);
        judge_field(file, local->value);
        judge_field(file, xctx_source_name(local->source));
        fprintf(file, "\t+%d\n", local->parameter);
    }
}

static inline void judge_report(FILE *file, const xctx_report *report)
{
    for (size_t i = 0; i < xctx_report_note_count(report); i++) {
        fputs("note", file);
        judge_field(file, xctx_report_note(report, i));
        fputc('\n', file);
    }
    for (size_t i = 0; i < xctx_report_frame_count(report); i++) {
        const xctx_frame *frame = xctx_report_frame(report, i);
        fputs("frame", file);
        judge_field(file, frame->function);
        judge_field(file, frame->file);
        fprintf(file, "\t+%u\t+%d\t+%#lx", (unsigned)frame->line, frame->inlined, (unsigned long)frame->pc);
        judge_field(file, frame->module);
        fprintf(file, "\t+%d\t+%#lx\n", frame->interrupted, (unsigned long)frame->cfa);
        judge_locals(file, frame);
    }
}

#endif
