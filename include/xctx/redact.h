/* SPDX-License-Identifier: MIT */
/**
 * @file redact.h
 * Secrets: what no report and no file may show.
 *
 * A context variable is secret if its options say so (xctx_var_options.secret) or its name is marked here; a local
 * variable if it, its type, or its function is marked. Their values are not written out, nor are the bytes that hold
 * them, by any function of libxctx and libxctx-inspect that writes reports and core files. Of a context variable these
 * are the bytes that its value points to, secret_size of them or a text up to its NUL, in static memory or on a
 * captured stack; a value of a snapshot, or of one of its parents, hides them in all that is written. What is known of
 * locals comes from debug information: where that is missing, a marked function is known by its symbol, and nothing of
 * its frame is written.
 *
 * Since 0.1.
 */
#ifndef XCTX_REDACT_H
#define XCTX_REDACT_H

#include <xctx/base.h>

XCTX_BEGIN

/** What is secret. */
enum xctx_redact {
    XCTX_REDACT_VARIABLE, /**< context variables, parameters, locals, and globals of that name */
    XCTX_REDACT_TYPE,     /**< what has that type, points to it, or contains it: "struct key", "key_t", "Vault::Key" */
    XCTX_REDACT_FUNCTION, /**< all parameters and locals of that function */
};

enum {
    XCTX_REDACT_MOST = 64,    /**< how many marks there can be */
    XCTX_REDACT_LENGTH = 128, /**< bytes of a pattern, with its final NUL */
};

/**
 * Marks something secret, for the rest of the process.
 *
 * @param what     kind of thing.
 * @param pattern  its name, or a pattern as fnmatch() has them, with no flags: "*password*". Copied.
 * @return 0, also if it is marked already; -EINVAL @p what is not known, @p pattern is NULL, empty or too long;
 *         -ENOSPC there are too many.
 * Thread-safe; not async-signal-safe.
 */
XCTX_API int xctx_redact(enum xctx_redact what, const char *pattern);

XCTX_END

#endif
