/* SPDX-License-Identifier: MIT */
/*
 * The work of the demo: counts what is in a text. Nobody tells these functions whose text it is: what they count goes
 * to the tally, and what they log under the name, of the request that the current context says.
 */
#ifndef XCTX_TOOL_COUNT_H
#define XCTX_TOOL_COUNT_H

#include <stddef.h>

/* Counts a piece of a text that ends with a line, or with the text. Once the deadline has passed it only books that. */
void count_piece(const char *text, size_t size);

#endif
