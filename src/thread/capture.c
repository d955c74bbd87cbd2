/* SPDX-License-Identifier: MIT */
/*
 * Copies of the current context that hold more than its variables.
 *
 * The thread's state is read by the `capture` operations of variables, the library's own capsules and the program's
 * alike, and put into the copy while nobody else knows it: its map is changed without a claim.
 */
#include <errno.h>

#include <xctx/thread.h>

#include "capture/take.h"
#include "context/context_internal.h"
#include "context/var_internal.h"

/* A program that is linked with the static library has the capsules also if it does not name them. */
static xctx_var *const capsules[] __attribute__((used)) = {
    &xctx_state_fpenv, &xctx_state_locale,   &xctx_state_sigmask,
    &xctx_state_name,  &xctx_state_affinity, &xctx_state_sched,
};

static int capture_one(struct slot *slot, xctx_context *copy, xctx_var *var)
{
    int error = xctx__var_number(var);
    void *value = error ? NULL : var->options_.capture();

    if (error || !value)
        return error;
    if (value == XCTX_RESERVED_VALUE)
        return -ENOMEM;
    struct entry entry = {
        .id = xctx__var_id(var), .flags = xctx__var_map_flags(var), .is_cell = xctx__var_flags(var) & VAR_CELL};
    if (xctx__var_wrap_owned(var, value, &entry.word))
        return -ENOMEM;
    struct map *with = xctx__map_with(copy->root, &entry);
    if (!with) {
        xctx__var_unref_word(var, entry.word);
        return -ENOMEM;
    }
    xctx__map_unref(slot, copy->root);
    copy->root = with;
    return 0;
}

/* The settings, into a copy that nobody else knows yet. 0 or a negative errno. */
static int capture_settings(struct slot *slot, xctx_context *copy)
{
    int error = 0;

    for (xctx_var *var = xctx__var_captured(); var && !error; var = xctx__var_captured_next(var))
        error = capture_one(slot, copy, var);
    return error;
}

xctx_context *xctx__copy_current_from(unsigned capture, struct xctx__registers *registers)
{
    struct slot *slot = &xctx__slot;
    xctx_snapshot *snapshot = NULL;
    int error = 0;

    if (capture & ~XCTX_CAPTURE_ALL)
        return NULL;
    const xctx_context *before = xctx_current();
    xctx_context *copy = xctx__context_copy_current(slot);
    if (!copy || !capture)
        return copy;
    snapshot = xctx__snapshot_take_from(capture, registers);
    if (!snapshot)
        error = -ENOMEM;
    else if (capture & XCTX_CAPTURE_STATE)
        error = capture_settings(slot, copy);
    if (error) {
        xctx_snapshot_unref(snapshot);
        xctx_unref(copy);
        xctx__context_unensure(slot, before);
        return NULL;
    }
    /* In place of the one that it has from its original, which is the new one's parent. */
    if (xctx__carried(copy))
        xctx_snapshot_unref(xctx__carried(copy));
    xctx__carry(copy, snapshot);
    return copy;
}
