/* SPDX-License-Identifier: MIT */
/*
 * A plugin for plugin.c, where it says how to build this.
 *
 * It reads the host's variable, and keeps a note per request in a variable of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xctx/xctx.h>

/* The host's. */
XCTX_VAR_DECLARE(host_request);

static void *note_retain(void *note)
{
    return strdup(note);
}

static void note_release(void *note)
{
    printf("plugin: releases \"%s\"\n", (const char *)note);
    free(note);
}

static XCTX_VAR_DEFINE(plugin_note, .retain = note_retain, .release = note_release);

int plugin_handle(void);

/* Called by the host within a request. Returns 0 or a negative errno. */
__attribute__((visibility("default"))) int plugin_handle(void)
{
    const char *request = xctx_var_get(&host_request);
    const char *note = xctx_var_get(&plugin_note);
    char text[64];

    if (note) {
        printf("plugin: in the %s again, found \"%s\"\n", request, note);
        return 0;
    }
    printf("plugin: new to the %s\n", request);
    snprintf(text, sizeof(text), "seen in the %s", request);
    return xctx_var_set(&plugin_note, text, NULL);
}
