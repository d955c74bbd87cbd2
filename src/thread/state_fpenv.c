/* SPDX-License-Identifier: MIT */
/*
 * The capsule of the floating-point environment: rounding, exception flags, traps, and what else the processor keeps
 * in its control words (flush-to-zero, denormals-are-zero, the x87's precision, default NaN), as an fenv_t.
 *
 * The flags are part of it. A computation that carries on elsewhere and asks fetestexcept() afterwards must find what
 * was raised before the copy; and what it raises must not show up in the thread that lent itself for it.
 *
 * fesetenv() installs flags without raising them. An fenv_t means something on the processor that wrote it, and some
 * bit patterns in it make the processor fault, so it is not sent to other processes: no `encode`.
 */
#include <errno.h>
#include <fenv.h>

#include <xctx/thread.h>

#include "state.h"

struct fpenv {
    struct state state;
    fenv_t env;
};

static int fpenv_read(fenv_t *ret_env)
{
    if (fegetenv(ret_env) != 0)
        return -1;
#ifndef __GLIBC__
    /* On x86-64 the instruction that stores the environment also masks the traps of the x87. glibc loads it again;
       musl does not, and reading must not change anything. */
    fesetenv(ret_env);
#endif
    return 0;
}

static void *fpenv_capture(void)
{
    struct fpenv *fpenv = xctx__state_allocate(sizeof(*fpenv));
    if (!fpenv)
        return XCTX_RESERVED_VALUE;
    /* What fegetenv() does not write must compare equal, too. */
    memset(&fpenv->env, 0, sizeof(fpenv->env));
    if (fpenv_read(&fpenv->env) != 0) {
        xctx__free(fpenv);
        return NULL;
    }
    return fpenv;
}

static void *fpenv_enter(void *value)
{
    struct fpenv *fpenv = value;

    if (!fpenv)
        return NULL;
    struct fpenv *old = xctx__state_captured(fpenv_capture());
    /* Loading control words makes the processor wait for what is under way: compare first. */
    if (old && memcmp(&old->env, &fpenv->env, sizeof(old->env)) != 0)
        fesetenv(&fpenv->env);
    return old;
}

static void fpenv_leave(void *saved)
{
    struct fpenv *old = saved;
    fenv_t now;

    if (!old)
        return;
    memset(&now, 0, sizeof(now));
    if (fpenv_read(&now) != 0 || memcmp(&now, &old->env, sizeof(now)) != 0)
        fesetenv(&old->env);
    xctx__free(old);
}

static void add_exceptions(struct text *text, int exceptions)
{
    static const struct {
        int bit;
        const char *name;
    } table[] = {
        {FE_INVALID, "invalid"},     {FE_DIVBYZERO, "divide-by-zero"}, {FE_OVERFLOW, "overflow"},
        {FE_UNDERFLOW, "underflow"}, {FE_INEXACT, "inexact"},
    };
    const char *separator = " ";

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        if (exceptions & table[i].bit) {
            xctx__text_add(text, separator);
            xctx__text_add(text, table[i].name);
            separator = ",";
        }
    }
    if (*separator == ' ')
        xctx__text_add(text, " none");
}

/* Only the functions of <fenv.h> understand an fenv_t, and only one that is installed. */
static int fpenv_format(void *value, char *buffer, size_t size)
{
    struct fpenv *fpenv = value;
    struct text text = {buffer, size, 0};
    int traps = 0;
    fenv_t own;

    if (!fpenv)
        return xctx__text_finish(&text);
    if (fpenv_read(&own) != 0 || fesetenv(&fpenv->env) != 0)
        return -ENOTSUP;
    int rounding = fegetround();
    int raised = fetestexcept(FE_ALL_EXCEPT);
#ifdef __GLIBC__
    traps = fegetexcept();
#endif
    fesetenv(&own);

    xctx__text_add(&text, "rounding ");
    xctx__text_add(&text, rounding == FE_TONEAREST    ? "to-nearest"
                          : rounding == FE_UPWARD     ? "upward"
                          : rounding == FE_DOWNWARD   ? "downward"
                          : rounding == FE_TOWARDZERO ? "toward-zero"
                                                      : "unknown");
    xctx__text_add(&text, ", raised");
    add_exceptions(&text, raised);
    xctx__text_add(&text, ", traps");
    add_exceptions(&text, traps);
    return xctx__text_finish(&text);
}

XCTX_VAR_DEFINE(xctx_state_fpenv, .retain = xctx__state_retain, .release = xctx__state_release,
                .capture = fpenv_capture, .enter = fpenv_enter, .leave = fpenv_leave, .format = fpenv_format);
