/* SPDX-License-Identifier: MIT */
/* The variables of the demo: see request.h. */
#include "request.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "output.h"

static void *text_retain(void *text)
{
    return strdup(text);
}

/* For reports. */
static int text_format(void *text, char *buffer, size_t size)
{
    return snprintf(buffer, size, "%s", text ? (const char *)text : "none");
}

static int deadline_format(void *time, char *buffer, size_t size)
{
    char number[32];

    if (!time)
        return snprintf(buffer, size, "none");
    /* Not how long that is from now: a report is of an earlier moment. */
    return snprintf(buffer, size, "%s after the start of the system",
                    format_seconds(number, sizeof(number), (int64_t)(intptr_t)time));
}

XCTX_VAR_DEFINE(request_id, .retain = text_retain, .release = free, .format = text_format);
XCTX_VAR_DEFINE(request_user, .retain = text_retain, .release = free, .format = text_format);
XCTX_VAR_DEFINE(request_file, .retain = text_retain, .release = free, .format = text_format);
XCTX_VAR_DEFINE(request_deadline, .format = deadline_format);
XCTX_VAR_DEFINE(request_tally);
