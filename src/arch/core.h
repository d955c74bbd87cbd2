/* SPDX-License-Identifier: MIT */
/*
 * A processor's registers as ELF core files have them. The header in the directory of each architecture supplies:
 *
 *   XCTX__CORE_MACHINE
 *       e_machine of its files.
 *
 *   static inline void xctx__core_put(elf_gregset_t *, const struct xctx__registers *);
 *       For NT_PRSTATUS. What is not known is 0.
 *   static inline void xctx__core_get(struct xctx__registers *, const void *);
 *       Of an elf_gregset_t. All that are in it become known.
 *   XCTX__CORE_TLS_NOTE
 *       The type of a note with the 64-bit thread pointer, which NT_PRSTATUS has no place for; 0: it has.
 *
 *   static inline uint32_t xctx__core_fpu_note(unsigned index, const uint8_t *area, size_t size, size_t *ret_size);
 *       The notes that floating-point registers make: the type of the one with that index, from 0, and how many bytes
 * of `area` it has; 0: there is none. static inline void xctx__core_fpu_finish(uint32_t note, uint8_t *content, size_t
 * size); Turns what xctx__fpu_from_ucontext() gives into the content of such a note. static inline size_t
 * xctx__core_fpu_get(struct xctx__registers *, uint8_t *area, uint32_t note, const uint8_t *content, size_t size); The
 * reverse, for a note of a file: makes an area, with room for XCTX__FPU_MAX, as xctx__fpu_from_ucontext() does, and the
 * registers known that are in it. Returns its size; 0: it is another note, or too short.
 *
 *   static inline uint64_t xctx__core_tls(uint64_t pointer, uint64_t address, uint64_t size, uint64_t align);
 *       Where the thread-local storage of the program itself is, of the thread with that pointer: the first that is
 *       laid out, so that it follows from its segment's p_vaddr, p_memsz and p_align, which is a power of two.
 */
#ifndef XCTX_ARCH_CORE_H
#define XCTX_ARCH_CORE_H

#include <elf.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/procfs.h>

#include "registers.h"

#if defined(__x86_64__)
#include "x86_64/core.h"
#elif defined(__aarch64__)
#include "aarch64/core.h"
#else
#error "xctx supports x86-64 and aarch64"
#endif

#endif
