/* SPDX-License-Identifier: MIT */
/* See allocate.h. */
#include "allocate.h"

#include "context/memory.h"

static _Thread_local bool ran_out;

void *xctx__decode_allocate(size_t size)
{
    void *memory = xctx__allocate(size);

    ran_out = ran_out || !memory;
    return memory;
}

bool xctx__decode_ran_out(void)
{
    return ran_out;
}

void xctx__decode_begin(void)
{
    ran_out = false;
}
