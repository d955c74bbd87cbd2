/* SPDX-License-Identifier: MIT */
/* A module that replaces plugin_first.c, and is as large: for test_modules.c. */
#include <xctx/base.h>

int plugin_call(int (*function)(void));

__attribute__((noinline)) static int call_second(int (*function)(void))
{
    volatile int kept_by_second = 1;
    return function() + kept_by_second;
}

XCTX_API int plugin_call(int (*function)(void))
{
    int result = call_second(function);
    __asm__ volatile("");
    return result;
}
