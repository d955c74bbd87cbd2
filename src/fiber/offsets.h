/* SPDX-License-Identifier: MIT */
/* Where the assembly of src/arch finds what; numbers alone, as it is included there. switch.c asserts that they hold.
 */
#ifndef XCTX_FIBER_OFFSETS_H
#define XCTX_FIBER_OFFSETS_H

/* struct xctx_fiber */
#define FIBER_STATE 0
#define FIBER_SP 8
#define FIBER_RESUMER_SP 16
#define FIBER_RET_OUT 24
#define FIBER_TOP 32
#define FIBER_OUTER 40
#define FIBER_OUTER_ROOT 48
#define FIBER_RESUMER 56
#define FIBER_REST 64
#define FIBER_TURN 80

/* Tags of FIBER_STATE. */
#define FIBER_TAG_FREE 0
#define FIBER_TAG_KEPT 1
#define FIBER_TAG_RUNNING 2
#define FIBER_TAG_DONE 3
#define FIBER_TAG_CREATED 4
#define FIBER_TAG_OWN 5
#define FIBER_TAG_SHARED 6
#define FIBER_TAG_LOCKED 7

/* struct slot */
#define SLOT_ROOT 0
#define SLOT_CURRENT 8
#define SLOT_RECORD 16
#define SLOT_PIN 32
#define SLOT_FIBER 136
#define SLOT_EXCEPTIONS 144

/* struct record, struct xctx_context, struct map */
#define RECORD_WINDOW 0
#define CONTEXT_USED 6
#define CONTEXT_BITS 7
#define CONTEXT_CLAIM 8
#define CONTEXT_ROOT 16
#define MAP_FLAGS 12

/* Bits of an xctx_context that ask for more than switching when it is left: CONTEXT_APPLIED. */
#define CONTEXT_BITS_SLOW 2

/* CONTEXT_FIRST, CLAIM_HELD. */
#define CONTEXT_BITS_FIRST 4
#define CLAIM_TAG_HELD 2

#endif
