/* SPDX-License-Identifier: MIT */
/* An input, taken off piece by piece. At its end come zeros. */
#ifndef XCTX_FUZZ_FEED_H
#define XCTX_FUZZ_FEED_H

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef XCTX_TEST_BUILD
#include "context/memory.h"
#endif

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct feed {
    const uint8_t *at;
    size_t left;
};

static inline size_t feed_bytes(struct feed *feed, void *to, size_t size)
{
    size_t taken = size < feed->left ? size : feed->left;

    memset(to, 0, size);
    if (taken > 0)
        memcpy(to, feed->at, taken);
    feed->at += taken;
    feed->left -= taken;
    return taken;
}

static inline uint8_t feed_byte(struct feed *feed)
{
    uint8_t byte;

    feed_bytes(feed, &byte, 1);
    return byte;
}

/* Of two bytes. */
static inline unsigned feed_word(struct feed *feed)
{
    unsigned low = feed_byte(feed);

    return low | (unsigned)feed_byte(feed) << 8;
}

/* Numbers that are more often the wrong ones than others. */
static inline uint64_t feed_number(struct feed *feed)
{
    static const uint64_t known[] = {0,
                                     1,
                                     2,
                                     8,
                                     0x7f,
                                     0x80,
                                     0xff,
                                     0xffff,
                                     0x7fffffff,
                                     0x80000000,
                                     0xffffffff,
                                     0x100000000,
                                     UINT64_C(0x7fffffffffffffff),
                                     UINT64_C(0x8000000000000000),
                                     UINT64_C(0xfffffffffffffff8),
                                     UINT64_MAX};
    uint8_t which = feed_byte(feed);
    uint64_t number = 0;

    if (which < 16)
        return known[which];
    if (which < 128)
        return which - 16u;
    feed_bytes(feed, &number, which % 8 + 1u);
    return number;
}

#define EXPECT(condition)                                                                                              \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                                    \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

/* In a test build the allocation that the input says fails. */
static inline void feed_arm(struct feed *feed)
{
#ifdef XCTX_TEST_BUILD
    xctx__test_fail_allocation(feed_byte(feed));
#else
    (void)feed;
#endif
}

static inline void feed_disarm(void)
{
#ifdef XCTX_TEST_BUILD
    xctx__test_fail_allocation(0);
#endif
}

#endif
