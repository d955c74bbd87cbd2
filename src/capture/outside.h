/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of threads that do not answer, from outside.
 */
#ifndef XCTX_CAPTURE_OUTSIDE_H
#define XCTX_CAPTURE_OUTSIDE_H

#include <stdbool.h>

#include <xctx/snapshot.h>

/* Looks at another thread of this process that waits in a system call, and puts into a reserved snapshot what can be
   seen of it: its program counter, its stack pointer and its stack. Returns whether that was seen; if not, the snapshot
   is as it was. Of a snapshot that was reserved without XCTX_CAPTURE_LOCALS there is no room for it. */
bool xctx__take_outside(xctx_snapshot *snapshot, int tid);

#endif
