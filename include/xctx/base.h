/* SPDX-License-Identifier: MIT */
/**
 * @file base.h
 * What every header of xctx needs: linkage, the version, the text of an error.
 */
#ifndef XCTX_BASE_H
#define XCTX_BASE_H

/** Version of these headers; compare with xctx_version() for that of the library. */
#define XCTX_VERSION_MAJOR 0
#define XCTX_VERSION_MINOR 1 /**< @see XCTX_VERSION_MAJOR */
#define XCTX_VERSION_PATCH 0 /**< @see XCTX_VERSION_MAJOR */

#ifdef __cplusplus
#define XCTX_BEGIN extern "C" {
#define XCTX_END }
#else
#define XCTX_BEGIN
#define XCTX_END
#endif

/** A symbol of the library's public interface. */
#define XCTX_API __attribute__((visibility("default")))

XCTX_BEGIN

/**
 * The library's version, as in "0.1.0".
 *
 * @return a static string.
 * Thread-safe; async-signal-safe. Since 0.1.
 */
XCTX_API const char *xctx_version(void);

/**
 * What an error of this library means, in a few words without a final period.
 *
 * @param error  what a call returned: a negative errno (its absolute value is understood too).
 *               0 gives "success".
 * @return a static string, never NULL: the library's words for what it decides itself, the system's for other errors;
 *         "unknown error" for a number that is none.
 * Thread-safe; async-signal-safe. Since 0.1.
 */
XCTX_API const char *xctx_strerror(int error);

XCTX_END

#endif
