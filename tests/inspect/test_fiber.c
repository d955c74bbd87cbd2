/* SPDX-License-Identifier: MIT */
/* Reports of snapshots that were taken in fibers: they have the frames of whoever has resumed them. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xctx/redact.h>

#include "frames_support.h"

/* Locals have to be on the stack: AddressSanitizer keeps them elsewhere. */
#define ON_STACK __attribute__((noinline, no_sanitize("address")))

static xctx_snapshot *taken;

static ON_STACK void *innermost(void *arg)
{
    volatile int in_inner = 4201;

    taken = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    in_inner++;
    return arg;
}

static ON_STACK void *yield_then_resume(void *arg)
{
    volatile int in_middle = 4202;

    xctx_fiber_yield(NULL);
    assert_int_equal(xctx_fiber_resume(arg, NULL, NULL), 0);
    in_middle++;
    return NULL;
}

static ON_STACK void *resume_all(void *arg)
{
    volatile int in_outer = 4203;
    const xctx_fiber_options options = {.size = sizeof(options), .name = "deep thought"};
    xctx_fiber *inner = xctx_fiber_create(innermost, NULL, &options);
    xctx_fiber *middle = xctx_fiber_create(yield_then_resume, inner, NULL);

    assert_int_equal(xctx_fiber_resume(middle, NULL, NULL), 1);
    assert_int_equal(xctx_fiber_resume(middle, NULL, NULL), 0);
    xctx_fiber_unref(middle);
    xctx_fiber_unref(inner);
    in_outer++;
    return arg;
}

static void check_local(const xctx_report *report, const char *function, const char *name, const char *value)
{
    const xctx_local *local = xctx_frame_find(frame_of(report, function), name);

    assert_non_null(local);
    assert_non_null(local->value);
    assert_string_equal(local->value, value);
}

/* Takes the reference to the report. */
static void check_report(xctx_report *report, const char *caller)
{
    int inner = find_frame(report, "innermost", 0);
    int first = find_frame(report, "<fiber \"deep thought\" resumed>", 0);
    int middle = find_frame(report, "yield_then_resume", 0);
    int second = find_frame(report, "<fiber resumed>", 0);
    int outer = find_frame(report, "resume_all", 0);

    assert_true(inner >= 0);
    assert_int_equal(first, inner + 1 + (TEST_ASAN || TEST_TSAN)); /* where a fiber begins that they are told of */
    assert_true(middle > first && second > middle && outer > second);
    assert_true(find_frame(report, caller, 0) > outer);
    for (int i = inner; i <= outer; i++)
        assert_false(xctx_report_frame(report, (size_t)i)->guessed);
    assert_false(xctx_report_frame(report, (size_t)first + 1)->interrupted);
    check_local(report, "innermost", "in_inner", "4201");
    check_local(report, "yield_then_resume", "in_middle", "4202");
    check_local(report, "resume_all", "in_outer", "4203");
    xctx_report_unref(report);
}

static void limit(void)
{
    assert_int_equal(xctx_set_stack_limit(128 << 10), 0); /* with room for what sanitizers add */
}

TEST(report_goes_on_where_the_fiber_was_resumed)
{
    limit();
    resume_all(NULL);
    check_report(report_of(taken, NULL), __func__);
}

static void *resume_and_check(void *arg)
{
    limit();
    resume_all(NULL);
    return arg;
}

/* Which may lie below the fibers'. */
TEST(report_goes_on_on_the_stack_of_another_thread)
{
    pthread_t thread;

    assert_int_equal(pthread_create(&thread, NULL, resume_and_check, NULL), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    check_report(report_of(taken, NULL), "resume_and_check");
}

static xctx_snapshot *through_a_core(xctx_snapshot *snapshot)
{
    xctx_snapshot *opened = NULL;
    char path[64];
    int fd = memfd_create("core", MFD_CLOEXEC);

    assert_true(fd >= 0);
    assert_int_equal(xctx_snapshot_write_core(snapshot, fd), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(xctx_snapshot_open(path, &opened), 0);
    close(fd);
    return opened;
}

TEST(core_file_has_the_stacks_of_those_who_wait)
{
    limit();
    resume_all(NULL);
    xctx_snapshot *opened = through_a_core(taken);
    xctx_snapshot_unref(taken);
    check_report(report_of(opened, NULL), __func__);
}

static ON_STACK void *copy_here(void *arg)
{
    volatile int in_inner = 4201;

    *(xctx_context **)arg = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    in_inner++;
    return NULL;
}

static ON_STACK xctx_context *copy_in_fiber(void)
{
    volatile int in_outer = 4203;
    xctx_context *copy = NULL;
    xctx_fiber *fiber = xctx_fiber_create(copy_here, &copy, NULL);

    assert_int_equal(xctx_fiber_resume(fiber, NULL, NULL), 0);
    xctx_fiber_unref(fiber);
    in_outer++;
    return copy;
}

static void *take_below(void *arg)
{
    taken = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    return arg;
}

/* Of a parent the bytes are in a note. */
TEST(core_file_has_the_stacks_of_those_who_waited_for_a_parent)
{
    limit();
    xctx_context *copy = copy_in_fiber();
    void *result;
    assert_int_equal(xctx_run(copy, take_below, NULL, &result), 0);
    xctx_unref(copy);
    xctx_snapshot *opened = through_a_core(taken);
    xctx_snapshot_unref(taken);
    xctx_report *report = report_of(opened, NULL);
    xctx_report *parent = xctx_report_parent(report);
    assert_non_null(parent);
    check_local(parent, "copy_here", "in_inner", "4201");
    check_local(parent, "copy_in_fiber", "in_outer", "4203");
    assert_true(find_frame(parent, "<fiber resumed>", 0) > 0);
    xctx_report_unref(report);
}

static ON_STACK void *resume_with_secret(void *arg)
{
    volatile uint64_t hidden_word[2] = {UINT64_C(0x4711471147114711), UINT64_C(0x4711471147114711)};
    xctx_fiber *fiber = xctx_fiber_create(innermost, NULL, NULL);

    assert_int_equal(xctx_fiber_resume(fiber, NULL, NULL), 0);
    xctx_fiber_unref(fiber);
    hidden_word[0]++;
    return arg;
}

static bool has_word(int fd, uint64_t word)
{
    off_t size = lseek(fd, 0, SEEK_END);
    const uint8_t *bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_PRIVATE, fd, 0);

    assert_ptr_not_equal(bytes, MAP_FAILED);
    bool found = memmem(bytes, (size_t)size, &word, sizeof(word)) != NULL;
    munmap((void *)(uintptr_t)bytes, (size_t)size);
    return found;
}

TEST(secret_of_who_waits_is_not_in_the_core_file)
{
    limit();
    int before = memfd_create("core", MFD_CLOEXEC), after = memfd_create("core", MFD_CLOEXEC);
    resume_with_secret(NULL);
    assert_int_equal(xctx_snapshot_write_core(taken, before), 0);
    assert_true(has_word(before, UINT64_C(0x4711471147114711)));
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "hidden_word"), 0);
    assert_int_equal(xctx_snapshot_write_core(taken, after), 0);
    assert_false(has_word(after, UINT64_C(0x4711471147114711)));
    xctx_snapshot_unref(taken);
    close(before);
    close(after);
}

int main(void)
{
    return test_main("reports of fibers");
}
