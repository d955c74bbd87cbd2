/* SPDX-License-Identifier: MIT */
/*
 * What the capsules (state_*.c) share.
 *
 * A capsule is a variable whose value is a setting of a thread. Its operations:
 *
 *   capture  reads the setting of the running thread; NULL if that cannot be told, XCTX_RESERVED_VALUE if memory ran
 *            out.
 *   enter    reads the setting of the running thread as what to restore, applies the value, returns what it read.
 *   leave    restores that, whatever happened in between.
 *
 * enter() has no way to report an error, so the rules are: without memory for what is to be restored, nothing is
 * applied; what the system refuses is left as it was; what could not be undone is not done. An enter() that applied
 * nothing returns NULL, and leave() and enter() do nothing for NULL. System calls that would change nothing are not
 * made where asking first is cheaper or has fewer side effects than setting. None of the operations changes errno, as
 * they run in the middle of other people's code.
 *
 * Values are immutable blocks that begin with a reference count, so that any number of contexts can hold one and any
 * thread can release it. Where the setting fits into a pointer (the signal mask) there is no block at all.
 */
#ifndef XCTX_THREAD_STATE_H
#define XCTX_THREAD_STATE_H

#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <xctx/var.h>

#include "context/memory.h"

/* The beginning of every value. */
struct state {
    _Atomic uint32_t refs;
};

/* A block of `size` bytes that begins with a struct state, with one reference. NULL: no memory. */
static inline void *xctx__state_allocate(size_t size)
{
    struct state *state = xctx__allocate(size);
    if (state)
        atomic_init(&state->refs, 1);
    return state;
}

/* Relaxed: who retains has a reference, and handing the new one on to another thread is the core's business. */
static inline void *xctx__state_retain(void *value)
{
    struct state *state = value;
    atomic_fetch_add_explicit(&state->refs, 1, memory_order_relaxed);
    return value;
}

/* Whether that was the last reference. Release and acquire: what other holders read, they read before it is freed. */
static inline int xctx__state_drop(void *value)
{
    struct state *state = value;
    return atomic_fetch_sub_explicit(&state->refs, 1, memory_order_acq_rel) == 1;
}

/* What `capture` gave, for an `enter` that wants to restore it: NULL if there is none. */
static inline void *xctx__state_captured(void *value)
{
    return value == XCTX_RESERVED_VALUE ? NULL : value;
}

static inline void xctx__state_release(void *value)
{
    if (xctx__state_drop(value))
        xctx__free(value);
}

/* Text (or bytes) on its way into a caller's buffer: `length` counts what there is, the buffer gets what fits. */
struct text {
    char *buffer;
    size_t size;
    size_t length;
};

static inline void xctx__text_add_bytes(struct text *text, const void *bytes, size_t count)
{
    if (text->length < text->size) {
        size_t room = text->size - text->length;
        memcpy(text->buffer + text->length, bytes, count < room ? count : room);
    }
    text->length += count;
}

static inline void xctx__text_add(struct text *text, const char *string)
{
    xctx__text_add_bytes(text, string, strlen(string));
}

static inline void xctx__text_add_number(struct text *text, long long number)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%lld", number);
    xctx__text_add(text, digits);
}

/* Ends a text with NUL, as snprintf() does, and gives its whole length. */
static inline int xctx__text_finish(struct text *text)
{
    if (text->size > 0)
        text->buffer[text->length < text->size ? text->length : text->size - 1] = '\0';
    return (int)text->length;
}

#endif
