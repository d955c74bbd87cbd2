/* SPDX-License-Identifier: MIT */
/* Writing core files without what is marked secret in debug information: see inspect.h. */
#include "core/core_internal.h"

#include <errno.h>

#include <xctx/inspect.h>

#include "arena.h"
#include "report_internal.h"

/* Finds what is secret of a snapshot and its parents. */
static int find_secrets(xctx_snapshot *snapshot, struct arena *arena, struct core_secrets **ret_secrets,
                        size_t *ret_count)
{
    size_t count = 0;

    for (xctx_snapshot *at = snapshot; at && count <= XCTX_SNAPSHOT_PARENTS_MAX; at = xctx_snapshot_parent(at))
        count++;
    struct core_secrets *all = xctx__arena_allocate(arena, count * sizeof(*all));
    if (!all)
        return -ENOMEM;
    xctx_snapshot *at = snapshot;
    for (size_t i = 0; i < count; i++, at = xctx_snapshot_parent(at)) {
        struct secrets secrets = {0};
        int result = i == 0 ? xctx__secrets_find(at, arena, &secrets)
                            : xctx__secrets_of_frames(at, NULL, arena, &secrets);
        if (result < 0)
            return result;
        all[i] = (struct core_secrets){
            .snapshot = at,
            .blanks = secrets.blanks,
            .count = secrets.count,
            .registers = secrets.registers,
        };
    }
    *ret_secrets = all;
    *ret_count = count;
    return 0;
}

int xctx_snapshot_write_core(xctx_snapshot *snapshot, int fd)
{
    uint64_t value;
    struct arena arena = {0};
    struct core_secrets *secrets = NULL;
    struct core_request request = {.fd = fd, .snapshots = &snapshot, .count = 1};

    if (!xctx_snapshot_thread_state(snapshot) || fd < 0)
        return -EINVAL;
    if (xctx_snapshot_register(snapshot, "pc", &value) < 0 || xctx_snapshot_register(snapshot, "sp", &value) < 0)
        return -ENODATA;
    int result = find_secrets(snapshot, &arena, &secrets, &request.secret_count);
    request.secrets = secrets;
    if (result == 0)
        result = xctx__core_write(&request);
    xctx__arena_destroy(&arena);
    return result;
}
