/* SPDX-License-Identifier: MIT */
/*
 * Counted values: what retain and release do is counted, a value that is used after it was freed is noticed, and the
 * fixture of test.h fails a test that leaves one behind.
 */
#ifndef XCTX_TEST_COUNTED_H
#define XCTX_TEST_COUNTED_H

#include <stdatomic.h>

#include "test.h"

#define COUNTED_ALIVE 0x600d600du
#define COUNTED_DEAD 0xdeaddeadu

struct counted {
    _Atomic unsigned magic;
    atomic_int refs;
    long number;
};

static atomic_long counted_live_count;
static atomic_long counted_retained;
static atomic_long counted_released;

static inline long counted_live(void)
{
    return atomic_load(&counted_live_count);
}

__attribute__((constructor)) static void counted_tell_fixture(void)
{
    test_live_values = counted_live;
}

static inline void counted_check(const struct counted *value)
{
    CHECK(atomic_load_explicit(&value->magic, memory_order_relaxed) == COUNTED_ALIVE);
}

/* Makes a value that the caller holds one reference to. */
static inline struct counted *counted_new(long n)
{
    struct counted *value = malloc(sizeof(*value));
    CHECK(value != NULL);
    atomic_init(&value->magic, COUNTED_ALIVE);
    atomic_init(&value->refs, 1);
    value->number = n;
    atomic_fetch_add(&counted_live_count, 1);
    return value;
}

/* Gives back the caller's own reference, which was not made by retain. */
static inline void counted_drop(struct counted *value)
{
    counted_check(value);
    if (atomic_fetch_sub(&value->refs, 1) == 1) {
        atomic_store(&value->magic, COUNTED_DEAD);
        atomic_fetch_sub(&counted_live_count, 1);
        free(value);
    }
}

/* The `retain` operation. */
static inline void *counted_retain(void *value)
{
    struct counted *counted = value;
    CHECK(counted != NULL);
    counted_check(counted);
    atomic_fetch_add(&counted->refs, 1);
    atomic_fetch_add(&counted_retained, 1);
    return counted;
}

/* The `release` operation. */
static inline void counted_release(void *value)
{
    CHECK(value != NULL);
    atomic_fetch_add(&counted_released, 1);
    counted_drop(value);
}

/* A `clone` operation: a value of its own with the same number. */
static inline void *counted_clone(void *value)
{
    CHECK(value != NULL);
    counted_check(value);
    atomic_fetch_add(&counted_retained, 1);
    return counted_new(((struct counted *)value)->number);
}

static inline long counted_number(const void *value)
{
    CHECK(value != NULL);
    counted_check(value);
    return ((const struct counted *)value)->number;
}

static inline int counted_refs(struct counted *value)
{
    counted_check(value);
    return atomic_load(&value->refs);
}

static inline void counted_reset(void)
{
    atomic_store(&counted_retained, 0);
    atomic_store(&counted_released, 0);
}

/* Sets a variable of counted values to a new value that only the context holds. */
static inline void counted_set(xctx_var *var, long n)
{
    struct counted *value = counted_new(n);
    CHECK(xctx_var_set(var, value, NULL) == 0);
    counted_drop(value);
}

#endif
