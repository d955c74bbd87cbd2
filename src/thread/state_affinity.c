/* SPDX-License-Identifier: MIT */
/*
 * The capsule of the affinity: the processors that the thread may run on.
 *
 * The kernel refuses a buffer that is smaller than its own masks, whose size nothing tells, and a cpu_set_t is small
 * for large machines: so the buffer grows until it fits. The system calls are made directly, since the C libraries
 * disagree on what they return.
 *
 * A mask is set only where it differs from the one that is there: setting one, even the same, makes the kernel
 * remember it as asked for, and no longer follow the processors that the thread's cgroup gets or loses.
 *
 * Refused is a mask with no processor that is online and allowed here; of others the kernel takes what there is.
 */
#include <errno.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <xctx/thread.h>

#include "state.h"

enum {
    FIRST_SIZE = 128,       /* bytes: 1,024 processors */
    SIZE_LIMIT = 64 * 1024, /* bytes: 524,288 processors; larger masks are not captured */
};

struct affinity {
    struct state state;
    uint32_t size;        /* of the mask in bytes, a multiple of sizeof(long) */
    unsigned long mask[]; /* processor i is bit i % 8 of byte i / 8: both architectures are little-endian */
};

static struct affinity *affinity_allocate(size_t size)
{
    struct affinity *affinity = xctx__state_allocate(sizeof(*affinity) + size);
    if (affinity) {
        affinity->size = (uint32_t)size;
        memset(affinity->mask, 0, size);
    }
    return affinity;
}

static void *affinity_capture(void)
{
    int error = errno;
    struct affinity *affinity = NULL;

    for (size_t size = FIRST_SIZE; size <= SIZE_LIMIT; size *= 2) {
        affinity = affinity_allocate(size);
        if (!affinity) {
            errno = error;
            return XCTX_RESERVED_VALUE;
        }
        long written = syscall(SYS_sched_getaffinity, 0, size, affinity->mask);
        if (written > 0) {
            affinity->size = (uint32_t)written;
            break;
        }
        xctx__free(affinity);
        affinity = NULL;
        if (errno != EINVAL)
            break;
    }
    errno = error;
    return affinity;
}

static int affinity_same(const struct affinity *a, const struct affinity *b)
{
    const struct affinity *longer = a->size >= b->size ? a : b;
    const struct affinity *shorter = longer == a ? b : a;
    size_t common = shorter->size / sizeof(long);

    for (size_t i = 0; i < longer->size / sizeof(long); i++) {
        if (longer->mask[i] != (i < common ? shorter->mask[i] : 0))
            return 0;
    }
    return 1;
}

static void affinity_apply(const struct affinity *affinity)
{
    int error = errno;
    syscall(SYS_sched_setaffinity, 0, (size_t)affinity->size, affinity->mask);
    errno = error;
}

static void *affinity_enter(void *value)
{
    struct affinity *affinity = value;

    if (!affinity)
        return NULL;
    struct affinity *old = xctx__state_captured(affinity_capture());
    if (old && !affinity_same(old, affinity))
        affinity_apply(affinity);
    return old;
}

static void affinity_leave(void *saved)
{
    struct affinity *old = saved;

    if (!old)
        return;
    struct affinity *now = xctx__state_captured(affinity_capture());
    if (!now || !affinity_same(now, old))
        affinity_apply(old);
    xctx__free(now);
    xctx__free(old);
}

static int affinity_has(const struct affinity *affinity, size_t processor)
{
    const unsigned char *bytes = (const unsigned char *)affinity->mask;
    return processor < (size_t)affinity->size * 8 && (bytes[processor / 8] >> (processor % 8) & 1);
}

/* "0-3,8": as taskset -c has it. */
static int affinity_format(void *value, char *buffer, size_t size)
{
    const struct affinity *affinity = value;
    struct text text = {buffer, size, 0};

    if (!affinity)
        return xctx__text_finish(&text);
    for (size_t first = 0; first < (size_t)affinity->size * 8; first++) {
        if (!affinity_has(affinity, first))
            continue;
        size_t last = first;
        while (affinity_has(affinity, last + 1))
            last++;
        xctx__text_add(&text, text.length > 0 ? "," : "");
        xctx__text_add_number(&text, (long long)first);
        if (last > first) {
            xctx__text_add(&text, "-");
            xctx__text_add_number(&text, (long long)last);
        }
        first = last;
    }
    return xctx__text_finish(&text);
}

static int affinity_encode(void *value, void *buffer, size_t size)
{
    const struct affinity *affinity = value;
    struct text text = {buffer, size, 0};

    if (!affinity)
        return -EINVAL;
    const unsigned char *bytes = (const unsigned char *)affinity->mask;
    size_t length = affinity->size;
    while (length > 0 && bytes[length - 1] == 0)
        length--;
    xctx__text_add_bytes(&text, bytes, length);
    return (int)text.length;
}

static int affinity_decode(const void *data, size_t size, void **ret_value)
{
    if (size == 0 || size > SIZE_LIMIT)
        return -EINVAL;
    struct affinity *affinity = affinity_allocate((size + sizeof(long) - 1) / sizeof(long) * sizeof(long));
    if (!affinity)
        return -ENOMEM;
    memcpy(affinity->mask, data, size);
    *ret_value = affinity;
    return 0;
}

XCTX_VAR_DEFINE(xctx_state_affinity, .retain = xctx__state_retain, .release = xctx__state_release,
                .capture = affinity_capture, .enter = affinity_enter, .leave = affinity_leave,
                .format = affinity_format, .encode = affinity_encode, .decode = affinity_decode);
