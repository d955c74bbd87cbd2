/* SPDX-License-Identifier: MIT */
/* What contexts and values ask of fiber/. */
#ifndef XCTX_CONTEXT_FIBERS_H
#define XCTX_CONTEXT_FIBERS_H

#include <stdbool.h>

#include <xctx/var.h>

#include "cell.h"
#include "record.h"

/* ---- fiber/continuation.c ---- */

/* What a fiber that goes on from a copy has entered in the place of a context that was entered when it was copied; for
   any other context that one itself. */
xctx_context *xctx__fiber_own_context(const struct slot *slot, xctx_context *context);

/* ---- fiber/kept.c: tokens that lie on a fiber's stack, and hold a reference ---- */

/* Whether the reference of a token that is made now belongs to the fiber that runs. */
bool xctx__token_is_kept(const struct slot *slot, const xctx_token *token);

/* Makes room for one more. 0 or -ENOMEM. */
int xctx__token_reserve(struct slot *slot);

/* Takes over the reference of a token, for which room is reserved. */
void xctx__token_keep(struct slot *slot, const xctx_token *token, struct cell *cell);

/* Releases it, if it is the running fiber's. */
void xctx__token_unkeep(struct slot *slot, const xctx_token *token);

#endif
