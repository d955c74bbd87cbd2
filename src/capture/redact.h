/* SPDX-License-Identifier: MIT */
/*
 * What is marked secret: for who writes. Marks are only ever added, so reading them takes no lock, and is
 * async-signal-safe. Exported for libxctx-inspect.
 */
#ifndef XCTX_CAPTURE_REDACT_H
#define XCTX_CAPTURE_REDACT_H

#include <stdbool.h>
#include <stddef.h>

#include <xctx/redact.h>

/* Whether a name matches a mark. NULL does not. */
XCTX_API bool xctx__redacted(enum xctx_redact what, const char *name);

/* Mark number `index`, and what it is for; NULL beyond the last. */
XCTX_API const char *xctx__redaction(size_t index, enum xctx_redact *ret_what);

#endif
