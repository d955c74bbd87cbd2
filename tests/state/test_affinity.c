/* SPDX-License-Identifier: MIT */
/* The capsule of the affinity. Where there is only one processor to run on, there is little to see. */
#include <sched.h>

#include "state_support.h"

enum { MASK_SIZE = 8192 };

struct mask {
    unsigned char bytes[MASK_SIZE];
};

/* As pthread_getaffinity_np(), which has a larger mask here than cpu_set_t. */
static void get_mask(struct mask *mask)
{
    memset(mask, 0, sizeof(*mask));
    CHECK(sched_getaffinity(0, sizeof(*mask), (cpu_set_t *)(void *)mask) == 0);
}

static bool same_mask(const struct mask *a, const struct mask *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

static void set_mask(const struct mask *mask)
{
    CHECK(sched_setaffinity(0, sizeof(*mask), (const cpu_set_t *)(const void *)mask) == 0);
}

/* The nth processor that this thread may use; -1: there are fewer. */
static int processor(int n)
{
    struct mask mask;
    get_mask(&mask);
    for (int i = 0; i < MASK_SIZE * 8; i++) {
        if ((mask.bytes[i / 8] >> (i % 8) & 1) && n-- == 0)
            return i;
    }
    return -1;
}

static void only(int number, struct mask *mask)
{
    memset(mask, 0, sizeof(*mask));
    mask->bytes[number / 8] = (unsigned char)(1 << (number % 8));
}

static void pin_first(void)
{
    struct mask mask;
    only(processor(0), &mask);
    set_mask(&mask);
}

static void pin_second(void)
{
    struct mask mask;
    only(processor(1), &mask);
    set_mask(&mask);
}

static void apply(void)
{
    struct mask all, first, second, now;
    xctx_context *on_first = captured_elsewhere(pin_first);
    xctx_context *on_second = captured_elsewhere(pin_second);

    only(processor(0), &first);
    only(processor(1), &second);
    get_mask(&all);
    enter(on_first);
    get_mask(&now);
    CHECK(same_mask(&now, &first));
    enter(on_second);
    get_mask(&now);
    CHECK(same_mask(&now, &second));
    leave(on_second);
    get_mask(&now);
    CHECK(same_mask(&now, &first));
    leave(on_first);
    get_mask(&now);
    CHECK(same_mask(&now, &all));
    xctx_unref(on_first);
    xctx_unref(on_second);
}

TEST(affinity_is_applied_on_enter_and_restored_on_exit_one_by_one)
{
    if (processor(1) < 0)
        skip();
    elsewhere(apply);
}

static void change_inside(void)
{
    struct mask before, now;
    xctx_context *same = captured();

    get_mask(&before);
    enter(same);
    pin_second();
    leave(same);
    get_mask(&now);
    CHECK(same_mask(&now, &before));
    xctx_unref(same);
}

TEST(affinity_changed_by_the_work_is_restored)
{
    if (processor(1) < 0)
        skip();
    elsewhere(change_inside);
}

static void *enter_pinned(void *context)
{
    enter(context);
    CHECK(processor(1) < 0);
    leave(context);
    return NULL;
}

static void keep_source(void)
{
    struct mask before, now;

    pin_first();
    get_mask(&before);
    xctx_context *context = captured();
    on_thread(enter_pinned, context);
    get_mask(&now);
    CHECK(same_mask(&now, &before));
    xctx_unref(context);
}

TEST(affinity_of_the_source_thread_stays_as_it_is)
{
    elsewhere(keep_source);
}

static xctx_context *decoded(const void *bytes, size_t size)
{
    const xctx_var_options *options = xctx_var_get_options(&xctx_state_affinity);
    xctx_context *context = xctx_new();
    void *value = NULL;

    CHECK(context != NULL);
    CHECK(options->decode(bytes, size, &value) == 0);
    enter(context);
    CHECK(xctx_var_set(&xctx_state_affinity, value, NULL) == 0);
    leave(context);
    options->release(value);
    return context;
}

/* Processors that no machine has: the kernel refuses the mask as a whole. */
static void refuse(void)
{
    struct mask before, now;
    struct mask absent;

    memset(&absent, 0, sizeof(absent));
    absent.bytes[MASK_SIZE - 1] = 0x80;
    xctx_context *context = decoded(&absent, sizeof(absent));
    check_format(context, &xctx_state_affinity, "65535");
    get_mask(&before);
    errno = 77;
    enter(context);
    CHECK(errno == 77);
    get_mask(&now);
    CHECK(same_mask(&now, &before));
    leave(context);
    CHECK(errno == 77);
    get_mask(&now);
    CHECK(same_mask(&now, &before));
    xctx_unref(context);
}

TEST(affinity_that_is_refused_changes_nothing)
{
    elsewhere(refuse);
}

static void send(void)
{
    struct mask first, now;
    char name[16];
    xctx_context *pinned = captured_elsewhere(pin_first);
    xctx_context *sent = through_bytes(pinned, &xctx_state_affinity);

    only(processor(0), &first);
    enter(sent);
    get_mask(&now);
    CHECK(same_mask(&now, &first));
    leave(sent);
    snprintf(name, sizeof(name), "%d", processor(0));
    check_format(pinned, &xctx_state_affinity, name);
    xctx_unref(pinned);
    xctx_unref(sent);

    const unsigned char bytes[] = {0x8f, 0x01, 0x00, 0x40, 0, 0, 0, 0, 0x80};
    sent = decoded(bytes, sizeof(bytes));
    check_format(sent, &xctx_state_affinity, "0-3,7-8,30,71");
    xctx_context *again = through_bytes(sent, &xctx_state_affinity);
    check_format(again, &xctx_state_affinity, "0-3,7-8,30,71");
    xctx_unref(again);
    xctx_unref(sent);
    check_null_value(&xctx_state_affinity);
    check_not_decoded(&xctx_state_affinity, bytes, 0, -EINVAL);
    check_not_decoded(&xctx_state_affinity, bytes, 65537, -EINVAL);
}

TEST(affinity_is_told_and_sent)
{
    elsewhere(send);
}

int main(void)
{
    return test_main("capsule affinity");
}
