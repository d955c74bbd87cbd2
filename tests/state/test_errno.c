/* SPDX-License-Identifier: MIT */
/* Capsules run in the midst of other people's code: whatever the system refuses, errno stays as it was. */
#include <sys/resource.h>

#include "../support/seccomp.h"
#include "state_support.h"

enum { UNTOUCHED = 4242 };

static void be_different(void)
{
    unsigned long mask[128] = {0};
    long size = syscall(SYS_sched_getaffinity, 0, sizeof(mask), mask);
    CHECK(size > 0);
    /* One processor less, where there are several. */
    for (long i = 0; i < size / (long)sizeof(long); i++) {
        unsigned long fewer = mask[i] & (mask[i] - 1);
        if (fewer) {
            mask[i] = fewer;
            break;
        }
    }
    CHECK(syscall(SYS_sched_setaffinity, 0, (size_t)size, mask) == 0);
    CHECK(prctl(PR_SET_NAME, "different") == 0);
    struct sched_param param = {0};
    CHECK(syscall(SYS_sched_setscheduler, 0, SCHED_BATCH, &param) == 0);
    CHECK(setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 1) == 0);
}

static void check_errno_in(xctx_context *context)
{
    errno = UNTOUCHED;
    CHECK(xctx_enter(context) == 0);
    CHECK(errno == UNTOUCHED);
    CHECK(xctx_exit(context) == 0);
    CHECK(errno == UNTOUCHED);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    CHECK(copy != NULL);
    CHECK(errno == UNTOUCHED);
    CHECK(xctx_enter(copy) == 0);
    CHECK(xctx_exit(copy) == 0);
    CHECK(errno == UNTOUCHED);
    xctx_unref(copy);
    CHECK(errno == UNTOUCHED);
}

static int check_without_refusals(void *context)
{
    check_errno_in(context);
    return 0;
}

enum { SKIP = 77 };

static int check_where_setting_is_refused(void *context)
{
    if (!deny_system_call(SYS_prctl, PR_SET_NAME, EPERM) || !deny_system_call(SYS_sched_setaffinity, -1, EPERM) ||
        !deny_system_call(SYS_sched_setattr, -1, EPERM) || !deny_system_call(SYS_setpriority, -1, EACCES))
        return SKIP;
    CHECK(prctl(PR_SET_NAME, "refused") == -1);
    check_errno_in(context);
    return 0;
}

static int check_where_asking_is_refused(void *context)
{
    if (!deny_system_call(SYS_sched_getaffinity, -1, EPERM) || !deny_system_call(SYS_sched_getattr, -1, EPERM) ||
        !deny_system_call(SYS_getpriority, -1, EPERM) || !deny_system_call(SYS_prctl, PR_GET_NAME, EPERM))
        return SKIP;
    check_errno_in(context);
    return 0;
}

/* Enters for real, then finds leaving refused. */
static int check_where_leaving_is_refused(void *context)
{
    errno = UNTOUCHED;
    CHECK(xctx_enter(context) == 0);
    CHECK(errno == UNTOUCHED);
    if (!deny_system_call(SYS_prctl, PR_SET_NAME, EPERM) || !deny_system_call(SYS_sched_setaffinity, -1, EPERM) ||
        !deny_system_call(SYS_sched_setattr, -1, EPERM) || !deny_system_call(SYS_setpriority, -1, EACCES))
        return SKIP;
    errno = UNTOUCHED;
    CHECK(xctx_exit(context) == 0);
    CHECK(errno == UNTOUCHED);
    return 0;
}

static void check_in_child(int (*fn)(void *))
{
    xctx_context *context = captured_elsewhere(be_different);
    int status = in_child(fn, context);
    xctx_unref(context);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIP)
        skip();
    assert_int_equal(status, 0);
}

TEST(errno_stays_where_settings_are_captured_applied_and_restored)
{
    check_in_child(check_without_refusals);
}

TEST(errno_stays_where_the_system_refuses_to_apply_settings)
{
    check_in_child(check_where_setting_is_refused);
}

TEST(errno_stays_where_the_system_refuses_to_tell_settings)
{
    check_in_child(check_where_asking_is_refused);
}

TEST(errno_stays_where_the_system_refuses_to_restore_settings)
{
    check_in_child(check_where_leaving_is_refused);
}

int main(void)
{
    return test_main("errno and settings of threads");
}
