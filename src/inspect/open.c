/* SPDX-License-Identifier: MIT */
/* Opening core files: see inspect.h, and core_file.h for how they are read. */
#include <errno.h>
#include <string.h>

#include <xctx/inspect.h>

#include "context/memory.h"
#include "core_file.h"

/* Where each thread's stack is has to be known before memory is looked at, also of threads that are not asked for. */
static void mark_stacks(struct opened *opened)
{
    for (size_t i = 0; i < opened->file.range_count && opened->foreign; i++)
        opened->file.ranges[i].stack = true; /* it is all of one moment */
    for (size_t i = 0; i < opened->thread_count; i++) {
        struct core_range *range = xctx__file_range(&opened->file, xctx__file_sp(&opened->threads[i]));
        if (range) {
            range->stack = true;
            range->of_thread = true;
        }
    }
}

static int open_some(const char *path, size_t most, xctx_snapshot ***ret_snapshots, size_t *ret_count)
{
    struct opened *opened;
    xctx_snapshot **snapshots = NULL;
    size_t count = 0;
    int result = xctx__file_open(path, &opened);

    if (result < 0)
        return result;
    mark_stacks(opened);
    if (most > opened->thread_count)
        most = opened->thread_count;
    snapshots = xctx__allocate(most * sizeof(void *));
    if (!snapshots)
        result = -ENOMEM;
    while (result == 0 && count < most) {
        result = xctx__file_snapshot(opened, count, &snapshots[count]);
        count += result == 0;
    }
    if (result == 0)
        result = xctx__file_marks(opened);
    /* The snapshots have references of their own. */
    if (atomic_fetch_sub_explicit(&opened->file.refs, 1, memory_order_acq_rel) == 1)
        opened->file.destroy(&opened->file);
    if (result < 0) {
        xctx_snapshot_unref_all(snapshots, count);
        return result;
    }
    *ret_snapshots = snapshots;
    *ret_count = count;
    return 0;
}

int xctx_snapshot_open(const char *path, xctx_snapshot **ret_snapshot)
{
    xctx_snapshot **snapshots;
    size_t count;

    if (!path || !ret_snapshot)
        return -EINVAL;
    int result = open_some(path, 1, &snapshots, &count);
    if (result < 0)
        return result;
    *ret_snapshot = xctx_snapshot_ref(snapshots[0]);
    xctx_snapshot_unref_all(snapshots, count);
    return 0;
}

int xctx_snapshot_open_all(const char *path, xctx_snapshot ***ret_snapshots, size_t *ret_count)
{
    if (!path || !ret_snapshots || !ret_count)
        return -EINVAL;
    return open_some(path, XCTX__FILE_THREADS, ret_snapshots, ret_count);
}
