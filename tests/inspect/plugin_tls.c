/* SPDX-License-Identifier: MIT */
/* A module with thread-local variables: for test_tls.c. */
#include <xctx/base.h>

int plugin_call_tls(int (*function)(void), int number);

static _Thread_local int plugin_number = 3;

XCTX_API int plugin_call_tls(int (*function)(void), int number)
{
    static _Thread_local int plugin_calls;
    int result;

    plugin_calls++;
    plugin_number = number;
    result = function() + plugin_number;
    __asm__ volatile("");
    return result + plugin_calls;
}
