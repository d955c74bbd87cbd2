/* SPDX-License-Identifier: MIT */
/* The variables of the demo: see request.h. */
#include "request.h"

#include <stdlib.h>
#include <string.h>

static void *text_retain(void *text)
{
    return strdup(text);
}

XCTX_VAR_DEFINE(request_id, .retain = text_retain, .release = free);
XCTX_VAR_DEFINE(request_user, .retain = text_retain, .release = free);
XCTX_VAR_DEFINE(request_file, .retain = text_retain, .release = free);
XCTX_VAR_DEFINE(request_deadline);
XCTX_VAR_DEFINE(request_tally);
