/* SPDX-License-Identifier: MIT */
/* Writing core files without what is marked secret in debug information: see inspect.h. */
#include "core/core_internal.h"

#include <errno.h>

#include <xctx/inspect.h>

#include "arena.h"
#include "report_internal.h"

/* How many snapshots there are with their parents, each as often as it is in a chain. */
static size_t count_all(xctx_snapshot *const snapshots[], size_t count)
{
    size_t all = 0;

    for (size_t i = 0; i < count; i++) {
        size_t depth = 0;
        for (xctx_snapshot *at = snapshots[i]; at && depth <= XCTX_SNAPSHOT_PARENTS_MAX; at = xctx_snapshot_parent(at))
            depth++;
        all += depth;
    }
    return all;
}

/* What is secret of one snapshot. Static variables belong to all of the core: once is enough. */
static int find_of(xctx_snapshot *snapshot, bool statics, struct arena *arena, struct core_secrets *ret)
{
    struct secrets secrets = {0};
    int result = statics ? xctx__secrets_find(snapshot, arena, &secrets)
                         : xctx__secrets_of_frames(snapshot, NULL, arena, &secrets);

    *ret = (struct core_secrets){
        .snapshot = snapshot,
        .blanks = secrets.blanks,
        .count = secrets.count,
        .registers = secrets.registers,
    };
    return result;
}

/* Finds what is secret of all snapshots and their parents. */
static int find_secrets(struct core_request *request, struct arena *arena)
{
    size_t count = count_all(request->snapshots, request->count);
    struct core_secrets *all = xctx__arena_allocate(arena, count * sizeof(*all));
    size_t used = 0;

    if (!all)
        return -ENOMEM;
    for (size_t i = 0; i < request->count; i++) {
        size_t depth = 0;
        for (xctx_snapshot *at = request->snapshots[i]; at && depth <= XCTX_SNAPSHOT_PARENTS_MAX && used < count;
             at = xctx_snapshot_parent(at), depth++) {
            int result = find_of(at, used == 0, arena, &all[used]);
            if (result < 0)
                return result;
            used++;
        }
    }
    request->secrets = all;
    request->secret_count = used;
    return 0;
}

static int check(xctx_snapshot *snapshot)
{
    uint64_t value;

    if (!xctx_snapshot_thread_state(snapshot))
        return -EINVAL;
    if (xctx_snapshot_register(snapshot, "pc", &value) < 0 || xctx_snapshot_register(snapshot, "sp", &value) < 0)
        return -ENODATA;
    return 0;
}

int xctx_snapshots_write_core(xctx_snapshot *const snapshots[], size_t count, int fd)
{
    struct arena arena = {0};
    struct core_request request = {.fd = fd, .snapshots = snapshots, .count = count};
    int result = 0;

    if (!snapshots || count == 0 || count > XCTX__CORE_THREADS || fd < 0)
        return -EINVAL;
    for (size_t i = 0; i < count && result == 0; i++)
        result = check(snapshots[i]);
    if (result == 0)
        result = find_secrets(&request, &arena);
    if (result == 0)
        result = xctx__core_write(&request);
    xctx__arena_destroy(&arena);
    return result;
}

int xctx_snapshot_write_core(xctx_snapshot *snapshot, int fd)
{
    return xctx_snapshots_write_core(&snapshot, 1, fd);
}
