/* SPDX-License-Identifier: MIT */
/* What debuggers are told of fibers: see debug.h. The table of slabs is here so that a static program that has fibers
   has this file, too. */
#include "debug.h"

#include <stddef.h>

#include "arch/switch.h"
#include "stacks.h"

struct slab_page xctx__slab_pages;

_Static_assert(sizeof(struct fiber_debug_register) == 16, "read by libxctx-gdb.py");
_Static_assert(offsetof(struct fiber_debug, page_next) == 32, "read by libxctx-gdb.py");
_Static_assert(offsetof(struct fiber_debug, states) == 120, "read by libxctx-gdb.py");
_Static_assert(offsetof(struct fiber_debug, sp_name) == 128, "read by libxctx-gdb.py");

const struct fiber_debug xctx__gdb __attribute__((used)) = {
    .magic = "xctxgdb",
    .version = FIBER_DEBUG_VERSION,
    .size = sizeof(struct fiber_debug),
    .pages = &xctx__slab_pages,
    .entry = xctx__switch_entry,
    .page_next = offsetof(struct slab_page, next),
    .page_used = offsetof(struct slab_page, used),
    .page_entries = offsetof(struct slab_page, entries),
    .entry_size = sizeof(struct slab_entry),
    .entry_begin = offsetof(struct slab_entry, begin),
    .entry_end = offsetof(struct slab_entry, end),
    .slab_count = offsetof(struct slab, count),
    .slab_fibers = offsetof(struct slab, fibers),
    .fiber_size = sizeof(struct xctx_fiber),
    .fiber_state = offsetof(struct xctx_fiber, state),
    .fiber_sp = offsetof(struct xctx_fiber, sp),
    .fiber_resumer_sp = offsetof(struct xctx_fiber, resumer_sp),
    .fiber_resumer = offsetof(struct xctx_fiber, resumer),
    .fiber_low = offsetof(struct xctx_fiber, low),
    .fiber_high = offsetof(struct xctx_fiber, high),
    .fiber_name = offsetof(struct xctx_fiber, name),
    .fiber_more = offsetof(struct xctx_fiber, more),
    .more_place = offsetof(struct more, place),
    .on_stack = FIBER_ON_STACK,
    .turns_state = offsetof(struct fiber_top, turns) + offsetof(struct turns, state),
    .turns_resident = offsetof(struct fiber_top, turns) + offsetof(struct turns, resident),
    .state_mask = FIBER_TAGS,
    .states =
        {
            [FIBER_TAG_FREE] = FIBER_DEBUG_SUSPENDED,
            [FIBER_TAG_KEPT] = FIBER_DEBUG_SUSPENDED,
            [FIBER_TAG_RUNNING] = FIBER_DEBUG_RUNNING,
            [FIBER_TAG_DONE] = FIBER_DEBUG_DONE,
            [FIBER_TAG_CREATED] = FIBER_DEBUG_CREATED,
            [FIBER_TAG_OWN] = FIBER_DEBUG_CREATED,
            [FIBER_TAG_SHARED] = FIBER_DEBUG_SHARED,
        },
    .sp_name = XCTX__SWITCH_SP_NAME,
    .pc_name = XCTX__SWITCH_PC_NAME,
    .frame_size = XCTX__SWITCH_FRAME,
    .registers = XCTX__SWITCH_REGISTERS,
};
