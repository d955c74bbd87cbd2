/* SPDX-License-Identifier: MIT */
/* Where thread-local variables are. */
#ifndef XCTX_INSPECT_TLS_H
#define XCTX_INSPECT_TLS_H

#include <xctx/inspect.h>

#include "evaluate.h"

/* The address of what is `offset` bytes into the thread-local storage of the place's module. Returns
   XCTX_SOURCE_SNAPSHOT, XCTX_SOURCE_NOT_CAPTURED: that of another thread is meant, or there is none yet, or
   XCTX_SOURCE_UNSUPPORTED: it cannot be found. */
enum xctx_source xctx__tls_address(const struct place *place, uint64_t offset, uint64_t *ret_address);

#endif
