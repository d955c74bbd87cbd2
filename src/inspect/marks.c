/* SPDX-License-Identifier: MIT */
/* See marks.h. */
#include "marks.h"

#include <fnmatch.h>

#include "capture/redact.h"

/* Mark number `index` of a file; NULL: it has no more. */
static const struct core_mark *file_mark(const xctx_snapshot *snapshot, size_t index)
{
    const struct core_file *file = snapshot ? snapshot->whole->file : NULL;

    return file && index < file->mark_count ? &file->marks[index] : NULL;
}

bool xctx__marked(const xctx_snapshot *snapshot, enum xctx_redact what, const char *name)
{
    const struct core_mark *mark;

    if (!name)
        return false;
    for (size_t i = 0; (mark = file_mark(snapshot, i)) != NULL; i++) {
        if (mark->what == (uint32_t)what && fnmatch(mark->pattern, name, 0) == 0)
            return true;
    }
    return xctx__redacted(what, name);
}

bool xctx__marks_any(const xctx_snapshot *snapshot)
{
    enum xctx_redact what;

    return xctx__redaction(0, &what) || file_mark(snapshot, 0);
}

bool xctx__marks_of(const xctx_snapshot *snapshot, enum xctx_redact what)
{
    const struct core_mark *mark;
    enum xctx_redact found;

    for (size_t i = 0; xctx__redaction(i, &found); i++) {
        if (found == what)
            return true;
    }
    for (size_t i = 0; (mark = file_mark(snapshot, i)) != NULL; i++) {
        if (mark->what == (uint32_t)what)
            return true;
    }
    return false;
}
