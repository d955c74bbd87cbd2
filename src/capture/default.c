/* SPDX-License-Identifier: MIT */
/*
 * The default capture, as the program or the environment's XCTX_CAPTURE says: that is read once, when the library is
 * loaded. The variables are here, so that whoever links the static library and copies a context has this file, too.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xctx/snapshot.h>

#include "context/context_internal.h"

_Atomic uint64_t xctx__copy_batch = XCTX__PIN_BATCH;
_Atomic unsigned xctx__copy_captures;

int xctx_set_default_capture(unsigned capture)
{
    if (capture & ~XCTX_CAPTURE_ALL)
        return -EINVAL;
    atomic_store_explicit(&xctx__copy_captures, capture, memory_order_relaxed);
    atomic_store_explicit(&xctx__copy_batch, capture ? 0 : XCTX__PIN_BATCH, memory_order_relaxed);
    return 0;
}

unsigned xctx_default_capture(void)
{
    return atomic_load_explicit(&xctx__copy_captures, memory_order_relaxed);
}

static const struct {
    const char *name;
    unsigned capture;
} names[] = {
    {"stack", XCTX_CAPTURE_STACK}, {"locals", XCTX_CAPTURE_LOCALS}, {"registers", XCTX_CAPTURE_REGISTERS},
    {"state", XCTX_CAPTURE_STATE}, {"fpu", XCTX_CAPTURE_FPU},       {"all", XCTX_CAPTURE_ALL},
};

/* 0: not known. */
static unsigned capture_named(const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strlen(names[i].name) == length && memcmp(names[i].name, name, length) == 0)
            return names[i].capture;
    return 0;
}

static void complain(const char *name, size_t length)
{
    char line[160];
    int shown = length > 40 ? 40 : (int)length;
    int size = snprintf(line, sizeof(line),
                        "xctx: XCTX_CAPTURE: \"%.*s\" is not one of stack, locals, registers, "
                        "state, fpu, all\n",
                        shown, name);

    if (size > 0 && write(STDERR_FILENO, line, (size_t)size) < 0)
        return; /* nobody to complain to */
}

__attribute__((constructor(103))) static void load(void)
{
    const char *wish = getenv("XCTX_CAPTURE"); /* NOLINT(concurrency-mt-unsafe): before there are threads */
    unsigned capture = 0;
    bool complained = false;

    while (wish && *wish) {
        wish += strspn(wish, " ");
        size_t length = strcspn(wish, ", ");
        unsigned named = capture_named(wish, length);
        if (!named && length > 0 && !complained) {
            complain(wish, length);
            complained = true;
        }
        capture |= named;
        wish += length;
        wish += strspn(wish, " ,");
    }
    if (capture)
        xctx_set_default_capture(capture);
}
