/* SPDX-License-Identifier: MIT */
/*
 * Looks at a program that uses libxctx whenever it makes one of a few calls. Preloaded; JUDGE_DIRECTORY is where the
 * core files go.
 */
#include "judge.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdlib.h>

#include <xctx/xctx.h>

/* What happens on the way into a core file is not looked at. */
static __thread bool busy;

static void look(const char *label)
{
    if (busy)
        return;
    busy = true;
    judge_here(label);
    busy = false;
}

__attribute__((constructor)) static void start(void)
{
    char name[] = "preload", *arguments[] = {name, getenv("JUDGE_DIRECTORY"), NULL};
    busy = true;
    judge_start(2, arguments);
    unsetenv("LD_PRELOAD");
    busy = false;
}

#define WRAP(type, name, parameters, ...)                                                                              \
    type name parameters                                                                                               \
    {                                                                                                                  \
        static type(*real) parameters;                                                                                 \
        if (!real)                                                                                                     \
            *(void **)&real = dlsym(RTLD_NEXT, #name);                                                                 \
        look(#name);                                                                                                   \
        return real(__VA_ARGS__);                                                                                      \
    }

WRAP(xctx_context *, xctx_copy_current_with, (unsigned capture), capture)
WRAP(int, xctx_run, (xctx_context * context, void *(*fn)(void *), void *argument, void **ret_result), context, fn,
     argument, ret_result)
WRAP(void *, xctx_bound_call, (xctx_bound * bound), bound)
WRAP(xctx_bound *, xctx_bind, (void *(*fn)(void *), void *argument), fn, argument)
WRAP(int, xctx_enter, (xctx_context * context), context)
WRAP(int, xctx_exit, (xctx_context * context), context)
