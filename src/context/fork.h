/* SPDX-License-Identifier: MIT */
/* What each file with a lock does around fork(): record.c calls these, in this order and the reverse. */
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
