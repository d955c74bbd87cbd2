/* SPDX-License-Identifier: MIT */
/* The allocator of test builds: counts, and fails on demand. See memory.h. */
#include "memory.h"

#ifdef XCTX_TEST_BUILD
#include <stdatomic.h>

static atomic_long allocations;
static atomic_long failing;

long xctx__test_fail_allocation(long nth)
{
    atomic_store(&failing, nth);
    return atomic_exchange(&allocations, 0);
}

bool xctx__allocation_fails(void)
{
    atomic_fetch_add(&allocations, 1);
    return atomic_load(&failing) > 0 && atomic_fetch_sub(&failing, 1) == 1;
}

void *xctx__allocate(size_t size)
{
    return xctx__allocation_fails() ? NULL : malloc(size);
}

void *xctx__allocate_aligned(size_t alignment, size_t size)
{
    return xctx__allocation_fails() ? NULL : aligned_alloc(alignment, size);
}
#endif
