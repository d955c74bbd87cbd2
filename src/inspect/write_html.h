/* SPDX-License-Identifier: MIT */
/*
 * What the parts of the HTML writer share. The page needs nothing else: its style and its script are in it, and its
 * Content-Security-Policy lets nothing run or load but these two, which it knows by their hashes.
 */
#ifndef XCTX_INSPECT_WRITE_HTML_H
#define XCTX_INSPECT_WRITE_HTML_H

#include "write.h"

/* Lines, with NULL behind the last; as they are, each followed by a newline, they have the hashes in the policy. */
extern const char *const xctx__html_style[];
extern const char *const xctx__html_script[];
extern const char *const xctx__html_policy;

/* Writes a text so that it is one, in content and in attributes in double quotes. */
void xctx__html_text(struct sink *sink, const char *text);
void xctx__html_bytes(struct sink *sink, const char *text, size_t size);

/* Writes " at add.c:15": where a frame is in the source, if that is known. */
void xctx__html_at(struct sink *sink, const xctx_frame *frame);

/* Writes a value; structures and arrays of them as lists that fold out. */
void xctx__html_value(struct sink *sink, const char *value);

/* Draws where a report's work came from, the oldest snapshot first. `number` is the report's on the page: links lead to
   the ids "r<number>p<age>". Nothing if it has no parent. */
void xctx__html_chain(struct sink *sink, const xctx_report *report, size_t number);

#endif
