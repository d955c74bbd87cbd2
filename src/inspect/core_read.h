/* SPDX-License-Identifier: MIT */
/* Bytes that are neither a snapshot's nor a module's: of core files, and of this process as it is now. */
#ifndef XCTX_INSPECT_CORE_READ_H
#define XCTX_INSPECT_CORE_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct core_file;

/* Reads bytes of a core file, all or none. *ret_stack: all of them were captured with a snapshot. */
bool xctx__core_read(const struct core_file *file, uint64_t address, void *buffer, size_t size, bool *ret_stack);

/* Reads this process's memory as it is now, all or none; false where nothing is mapped. */
bool xctx__memory_read_live(uint64_t address, void *buffer, size_t size);

#endif
