/* SPDX-License-Identifier: MIT */
/* Captures where something begins or ends: the process, a thread, a module. */
#include <dlfcn.h>

#include "../support/counted.h"
#include "../support/threads.h"
#include "capture_support.h"

static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static void capture_all(void)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    xctx_snapshot *filled = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    CHECK(snapshot && filled && xctx_snapshot_fill(filled, XCTX_CAPTURE_ALL, NULL) == 0);
    CHECK(state_of(snapshot)->tid == own_tid() && state_of(filled)->tid == own_tid());
    CHECK(stack_size(snapshot) > 0 && stack_size(filled) > 0);
    CHECK(xctx_snapshot_context(snapshot) != NULL);
    xctx_snapshot_unref(snapshot);
    xctx_snapshot_unref(filled);
}

/* ---- the process ---- */

static xctx_snapshot *from_constructor;

__attribute__((constructor(101))) static void capture_in_constructor(void)
{
    from_constructor = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    capture_all();
}

TEST(constructor_of_the_program_captures_itself)
{
    assert_non_null(from_constructor);
    assert_int_equal(xctx_snapshot_captured(from_constructor), XCTX_CAPTURE_ALL);
    assert_int_equal(state_of(from_constructor)->tid, getpid());
    assert_int_equal(state_of(from_constructor)->pid, getpid());
    assert_true(first_address(from_constructor) - (uintptr_t)capture_in_constructor < 1024);
    from_constructor = xctx_snapshot_unref(from_constructor);
}

static void capture_at_exit(void)
{
    capture_all();
    _exit(7); /* whoever has not come here exits with another status */
}

static int exit_with_handler(void *arg)
{
    CHECK(atexit(capture_at_exit) == 0);
    capture_all();
    (void)arg;
    exit(1); /* NOLINT(concurrency-mt-unsafe): the child's only thread */
}

static void *exit_on_thread(void *arg)
{
    exit_with_handler(arg);
    return NULL;
}

static int exit_with_handler_on_thread(void *arg)
{
    on_thread(exit_on_thread, arg);
    return 1;
}

TEST(exit_handler_captures_itself)
{
    int status = in_child(exit_with_handler, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
    status = in_child(exit_with_handler_on_thread, NULL);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
}

/* ---- a thread ---- */

enum { KEYS = 6, ROUNDS = TEST_TSAN ? 1 : 3 }; /* ThreadSanitizer's runtime has then ended the thread itself */

static pthread_key_t keys[KEYS];
static atomic_int destructions;

/* Before and behind the library's own end of the thread, again and again. */
static void capture_in_destructor(void *value)
{
    intptr_t round = (intptr_t)value;

    capture_all();
    if (round > 1) {
        counted_set(&counted, round);
        capture_all();
        xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STACK | XCTX_CAPTURE_LOCALS);
        CHECK(copy && xctx_snapshot_of(copy));
        xctx_unref(copy);
    }
    atomic_fetch_add(&destructions, 1);
    for (int i = 0; i < KEYS && round < ROUNDS; i++)
        if (!pthread_getspecific(keys[i])) {
            CHECK(pthread_setspecific(keys[i], (void *)(round + 1)) == 0); /* NOLINT(performance-no-int-to-ptr) */
            break;
        }
}

static void *end_with_destructors(void *arg)
{
    for (int i = 0; i < KEYS; i++)
        CHECK(pthread_setspecific(keys[i], (void *)1) == 0); /* NOLINT(performance-no-int-to-ptr) */
    if (arg) {
        counted_set(&counted, 1);
        capture_all();
    }
    return NULL;
}

TEST(destructors_of_a_thread_capture_it)
{
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(pthread_key_create(&keys[i], capture_in_destructor), 0);
    for (int i = 0; i < 20; i++)
        on_thread(end_with_destructors, i % 2 ? &keys : NULL);
    assert_true(atomic_load(&destructions) >= 20 * KEYS);
    for (int i = 0; i < KEYS; i++)
        assert_int_equal(pthread_key_delete(keys[i]), 0);
    assert_int_equal(counted_live(), 0);
}

static void *take_and_end(void *arg)
{
    counted_set(&counted, 5);
    (void)arg;
    return xctx_snapshot_take(XCTX_CAPTURE_ALL);
}

TEST(snapshot_of_a_thread_that_has_ended_has_its_variables_and_its_stack)
{
    for (int i = 0; i < 50; i++) {
        xctx_snapshot *snapshot = on_thread(take_and_end, NULL);
        void *value = NULL;
        assert_int_equal(counted_live(), 1);
        assert_int_equal(xctx_lookup(xctx_snapshot_context(snapshot), &counted, &value), 1);
        assert_int_equal(counted_number(value), 5);
        assert_true(stack_size(snapshot) > 0);
        xctx_snapshot_unref(snapshot);
        assert_int_equal(counted_live(), 0);
    }
}

static void *keep_many(void *arg)
{
    xctx_snapshot *snapshots[32];
    (void)arg;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < 32; i++)
            CHECK((snapshots[i] = xctx_snapshot_take((unsigned)i)) != NULL);
        for (int i = 0; i < 32; i++)
            xctx_snapshot_unref(snapshots[(i * 7 + round) % 32]);
    }
    return NULL;
}

/* What a thread keeps for its next snapshot goes with it. */
TEST(thread_that_ends_leaves_no_memory_behind)
{
    enum { MEBIBYTE = 1 << 20 };

    if (emulated())
        skip(); /* an emulator needs memory for each thread, or keeps what is freed for a while */
    assert_int_equal(xctx_set_stack_limit(50000), 0);
    for (long i = 0; i < 20; i++)
        on_thread(keep_many, NULL);
    long before = resident_pages();
    for (long i = 0; i < scaled(1000); i++)
        on_thread(keep_many, NULL);
    long after = resident_pages();
    restore_defaults();
    long most = TEST_ASAN || TEST_TSAN ? 600 : 4;
    assert_true((after - before) * sysconf(_SC_PAGESIZE) < most * MEBIBYTE);
}

/* ---- a module ---- */

TEST(snapshot_that_a_module_took_outlives_it)
{
    for (int i = 0; i < 5; i++) {
        xctx_snapshot *(*take)(unsigned);
        xctx_context *(*copy)(unsigned);
        void *module = dlopen(XCTX_TEST_MODULE_DIR "/plugin_capture.so", RTLD_NOW);
        if (!module)
            fail_msg("%s", dlerror());
        void *found = dlsym(module, "plugin_take");
        memcpy(&take, &found, sizeof(take));
        xctx_snapshot *snapshot = take(XCTX_CAPTURE_ALL);
        assert_true(first_address(snapshot) - (uintptr_t)take < 512);
        found = dlsym(module, "plugin_copy");
        memcpy(&copy, &found, sizeof(copy));
        xctx_context *context = copy(XCTX_CAPTURE_ALL);
        assert_true(first_address(xctx_snapshot_of(context)) - (uintptr_t)copy < 512);
        assert_int_equal(dlclose(module), 0);
        assert_true(stack_size(snapshot) > 0);
        assert_int_equal(xctx_snapshot_captured(xctx_snapshot_of(context)), XCTX_CAPTURE_ALL);
        xctx_snapshot_unref(snapshot);
        xctx_unref(context);
    }
}

int main(void)
{
    return test_main("captures at the ends of things");
}
