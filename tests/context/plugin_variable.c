/* SPDX-License-Identifier: MIT */
/*
 * A module that defines a variable and its operations, for test_dlclose.c. The numbers of live values are counted in
 * the program, through the pointer that the module is given.
 */
#include <stdlib.h>

#include <xctx/xctx.h>

static long *live;

static void *retain_copy(void *value)
{
    long *copy = malloc(sizeof(*copy));
    if (copy) {
        *copy = *(long *)value;
        ++*live;
    }
    return copy;
}

static void release_copy(void *value)
{
    free(value);
    --*live;
}

static XCTX_VAR_DEFINE(plugin_value, .retain = retain_copy, .release = release_copy);

void plugin_count_in(long *counter);
int plugin_set(long value);
xctx_var *plugin_var(void);

XCTX_API void plugin_count_in(long *counter)
{
    live = counter;
}

XCTX_API int plugin_set(long value)
{
    return xctx_var_set(&plugin_value, &value, NULL);
}

XCTX_API xctx_var *plugin_var(void)
{
    return &plugin_value;
}
