/* SPDX-License-Identifier: MIT */
/* A module that takes snapshots, for test_ends.c. */
#include <xctx/snapshot.h>

xctx_snapshot *plugin_take(unsigned capture);
xctx_context *plugin_copy(unsigned capture);

XCTX_API xctx_snapshot *plugin_take(unsigned capture)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(capture);
    __asm__ volatile("" ::: "memory"); /* not a jump */
    return snapshot;
}

XCTX_API xctx_context *plugin_copy(unsigned capture)
{
    xctx_context *copy = xctx_copy_current_with(capture);
    __asm__ volatile("" ::: "memory");
    return copy;
}
