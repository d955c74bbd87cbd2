/* SPDX-License-Identifier: MIT */
/*
 * What the files with a lock do around fork(): record.c calls these, outermost lock first, and in reverse afterwards.
 * pycontext.c, which stands on the public functions, has fork handlers of its own.
 */
#ifndef XCTX_CONTEXT_FORK_H
#define XCTX_CONTEXT_FORK_H

#include <stdbool.h>

void xctx__pool_before_fork(void);
void xctx__pool_after_fork(void);
void xctx__var_before_fork(void);
void xctx__var_after_fork(void); /* in parent and child */
void xctx__watch_before_fork(void);
void xctx__watch_after_fork(bool in_child);

#endif
