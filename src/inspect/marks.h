/* SPDX-License-Identifier: MIT */
/*
 * What is secret in a snapshot: what is marked in this process (capture/redact.h), and of a snapshot that was read from
 * a core file also what was marked where that was written. Those marks hold for that file alone.
 */
#ifndef XCTX_INSPECT_MARKS_H
#define XCTX_INSPECT_MARKS_H

#include <stdbool.h>

#include <xctx/redact.h>

#include "capture/snapshot_internal.h"

/* Whether a name matches a mark. A name of NULL does not. `snapshot` NULL: of no file. */
bool xctx__marked(const xctx_snapshot *snapshot, enum xctx_redact what, const char *name);

/* Whether there is a mark at all, and one of a kind. */
bool xctx__marks_any(const xctx_snapshot *snapshot);
bool xctx__marks_of(const xctx_snapshot *snapshot, enum xctx_redact what);

#endif
