/* SPDX-License-Identifier: MIT */
/* A module to be replaced by plugin_second.c, which is as large: for test_modules.c. */
#include <xctx/base.h>

int plugin_call(int (*function)(void));

__attribute__((noinline)) static int call_first(int (*function)(void))
{
    volatile int kept_by_first = 1;
    return function() + kept_by_first;
}

XCTX_API int plugin_call(int (*function)(void))
{
    int result = call_first(function);
    __asm__ volatile("");
    return result;
}
