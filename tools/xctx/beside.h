/* SPDX-License-Identifier: MIT */
/*
 * Files that belong to this command, found from where it is itself: installed, or in the build tree.
 */
#ifndef XCTX_TOOL_BESIDE_H
#define XCTX_TOOL_BESIDE_H

#include <stdbool.h>
#include <stddef.h>

/* Makes the path of a file out of the folder of this command and `relative`. Returns whether there is a file that
   access() allows `mode`. */
bool find_beside(char *path, size_t size, const char *relative, int mode);

/* The path of this command itself. Returns whether it is known, and fits. */
bool find_self(char *path, size_t size);

#endif
