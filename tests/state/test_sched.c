/* SPDX-License-Identifier: MIT */
/*
 * The capsule of scheduling. What needs rights is tried where there are rights, and what happens without them in a
 * child process that has given them up.
 */
#include <grp.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "state_support.h"

static int niceness(void)
{
    errno = 0;
    int value = getpriority(PRIO_PROCESS, 0);
    CHECK(errno == 0);
    return value;
}

static bool set_nice(int value)
{
    return setpriority(PRIO_PROCESS, 0, value) == 0;
}

/* By system calls: pthread_getschedparam() of glibc remembers instead of asking, musl has no sched_getscheduler(). */
static bool set_policy(int policy, int priority)
{
    struct sched_param param = {.sched_priority = priority};
    return syscall(SYS_sched_setscheduler, 0, policy, &param) == 0;
}

static bool has_policy(int policy, int priority)
{
    struct sched_param param;
    CHECK(syscall(SYS_sched_getparam, 0, &param) == 0);
    return syscall(SYS_sched_getscheduler, 0) == policy && param.sched_priority == priority;
}

/* Whether this process may do as it likes. */
static void *try_rights(void *arg)
{
    int nice = niceness();
    (void)arg;
    return number(set_policy(SCHED_FIFO, 10) && set_policy(SCHED_OTHER, 0) && nice < 15 && set_nice(nice + 1) &&
                  set_nice(nice));
}

static bool has_rights(void)
{
    return as_number(on_thread(try_rights, NULL)) != 0;
}

/* For a child: gives up every right to a higher priority, but for the resource limits. */
static void be_nobody(void)
{
    if (geteuid() == 0) {
        CHECK(setgroups(0, NULL) == 0);
        CHECK(setgid(65534) == 0);
        CHECK(setuid(65534) == 0);
    }
}

static bool limit(int resource, int value)
{
    struct rlimit both = {(rlim_t)value, (rlim_t)value};
    return setrlimit((__typeof__(RLIMIT_NICE))resource, &both) == 0;
}

static void give_up_rights(void)
{
    CHECK(limit(RLIMIT_NICE, 0));
    CHECK(limit(RLIMIT_RTPRIO, 0));
    be_nobody();
}

static bool child_succeeds(int (*fn)(void *))
{
    int status = in_child(fn, NULL);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void be_batch(void)
{
    CHECK(set_policy(SCHED_BATCH, 0));
}

static void be_idle(void)
{
    CHECK(set_policy(SCHED_IDLE, 0));
}

static void be_fifo(void)
{
    CHECK(set_policy(SCHED_FIFO, 7));
}

static void be_nicer(void)
{
    CHECK(set_nice(niceness() + 3));
}

static void be_ordinary(void)
{
}

/* Needs no rights. */
static void apply_batch(void)
{
    int nice = niceness();
    xctx_context *batch = captured_elsewhere(be_batch);

    CHECK(has_policy(SCHED_OTHER, 0));
    enter(batch);
    CHECK(has_policy(SCHED_BATCH, 0));
    CHECK(niceness() == nice);
    leave(batch);
    CHECK(has_policy(SCHED_OTHER, 0));
    xctx_unref(batch);
}

TEST(sched_policy_is_applied_on_enter_and_restored_on_exit)
{
    elsewhere(apply_batch);
}

static void change_inside(void)
{
    xctx_context *same = captured();

    enter(same);
    be_batch();
    leave(same);
    CHECK(has_policy(SCHED_OTHER, 0));
    xctx_unref(same);
}

TEST(sched_policy_changed_by_the_work_is_restored)
{
    elsewhere(change_inside);
}

static void apply_fifo(void)
{
    xctx_context *fifo = captured_elsewhere(be_fifo);
    xctx_context *idle = captured_elsewhere(be_idle);
    xctx_context *nicer = captured_elsewhere(be_nicer);
    int nice = niceness();

    enter(fifo);
    CHECK(has_policy(SCHED_FIFO, 7));
    enter(idle);
    CHECK(has_policy(SCHED_IDLE, 0));
    enter(nicer);
    CHECK(has_policy(SCHED_OTHER, 0));
    CHECK(niceness() == nice + 3);
    leave(nicer);
    CHECK(has_policy(SCHED_IDLE, 0));
    CHECK(niceness() == nice);
    leave(idle);
    CHECK(has_policy(SCHED_FIFO, 7));
    leave(fifo);
    CHECK(has_policy(SCHED_OTHER, 0));
    CHECK(niceness() == nice);
    xctx_unref(fifo);
    xctx_unref(idle);
    xctx_unref(nicer);
}

TEST(sched_nested_enters_are_undone_one_by_one)
{
    if (!has_rights())
        skip();
    elsewhere(apply_fifo);
}

/* A thread with a real-time policy has a nice value too, which shows when it goes back. */
static void hide_nice(void)
{
    int nice = niceness();
    xctx_context *nicer = captured_elsewhere(be_nicer);

    be_fifo();
    enter(nicer);
    CHECK(niceness() == nice + 3);
    leave(nicer);
    CHECK(has_policy(SCHED_FIFO, 7));
    CHECK(niceness() == nice);
    CHECK(set_policy(SCHED_OTHER, 0));
    CHECK(niceness() == nice);
    xctx_unref(nicer);
}

TEST(sched_nice_of_a_real_time_thread_is_restored_too)
{
    if (!has_rights())
        skip();
    elsewhere(hide_nice);
}

static void *enter_and_change(void *context)
{
    enter(context);
    CHECK(set_nice(niceness() + 1));
    be_idle();
    leave(context);
    return NULL;
}

static void keep_source(void)
{
    int nice = niceness();
    be_batch();
    xctx_context *context = captured();
    on_thread(enter_and_change, context);
    CHECK(has_policy(SCHED_BATCH, 0));
    CHECK(niceness() == nice);
    xctx_unref(context);
}

TEST(sched_of_the_source_thread_stays_as_it_is)
{
    elsewhere(keep_source);
}

/* What may be set only with rights is made with them and entered without. */
static xctx_context *prepared;

static void enter_fifo_without_rights(void)
{
    errno = 77;
    enter(prepared);
    CHECK(errno == 77);
    CHECK(has_policy(SCHED_OTHER, 0));
    leave(prepared);
    CHECK(errno == 77);
    CHECK(has_policy(SCHED_OTHER, 0));
}

static int refused_fifo(void *arg)
{
    (void)arg;
    prepared = captured_elsewhere(be_fifo);
    give_up_rights();
    CHECK(!as_number(on_thread(try_rights, NULL)));
    elsewhere(enter_fifo_without_rights);
    xctx_unref(prepared);
    return 0;
}

TEST(sched_policy_that_is_refused_changes_nothing)
{
    if (!has_rights())
        skip();
    assert_true(child_succeeds(refused_fifo));
}

static void enter_nicer_without_rights(void)
{
    int nice = niceness();
    enter(prepared);
    leave(prepared);
    CHECK(niceness() == nice);
    CHECK(has_policy(SCHED_OTHER, 0));
}

/* Anybody may become nicer, but not come back. */
static int kept_nice(void *arg)
{
    (void)arg;
    prepared = captured_elsewhere(be_nicer);
    give_up_rights();
    elsewhere(enter_nicer_without_rights);
    xctx_unref(prepared);
    prepared = captured_elsewhere(be_idle);
    elsewhere(enter_nicer_without_rights);
    xctx_unref(prepared);
    return 0;
}

TEST(sched_that_could_not_be_restored_is_not_applied)
{
    assert_true(child_succeeds(kept_nice));
}

static void enter_nicer_with_limit(void)
{
    int nice = niceness();
    enter(prepared);
    CHECK(niceness() == nice + 3);
    leave(prepared);
    CHECK(niceness() == nice);
}

static int limited_nice(void *arg)
{
    (void)arg;
    prepared = captured_elsewhere(be_nicer);
    CHECK(limit(RLIMIT_NICE, 20 - niceness()));
    be_nobody();
    elsewhere(enter_nicer_with_limit);
    xctx_unref(prepared);
    return 0;
}

static int can_raise_limit(void *arg)
{
    (void)arg;
    return limit(RLIMIT_NICE, 40) && limit(RLIMIT_RTPRIO, 99) ? 0 : 1;
}

TEST(sched_that_the_resource_limit_lets_return_is_applied)
{
    if (!has_rights() || !child_succeeds(can_raise_limit))
        skip();
    assert_true(child_succeeds(limited_nice));
}

static void enter_nicer_and_fifo_with_limit(void)
{
    CHECK(set_policy(SCHED_FIFO, 5));
    int nice = niceness();
    enter(prepared);
    CHECK(has_policy(SCHED_OTHER, 0));
    CHECK(niceness() == nice + 3);
    leave(prepared);
    CHECK(has_policy(SCHED_FIFO, 5));
    CHECK(niceness() == nice);
}

static int limited_fifo(void *arg)
{
    (void)arg;
    prepared = captured_elsewhere(be_nicer);
    CHECK(limit(RLIMIT_NICE, 20 - niceness()));
    CHECK(limit(RLIMIT_RTPRIO, 5));
    be_nobody();
    elsewhere(enter_nicer_and_fifo_with_limit);
    xctx_unref(prepared);
    return 0;
}

TEST(sched_real_time_that_the_resource_limit_lets_return_is_left)
{
    if (!has_rights() || !child_succeeds(can_raise_limit))
        skip();
    assert_true(child_succeeds(limited_fifo));
}

/* A thread that got its real-time policy while there were rights to it keeps it: it could not come back. */
static int kept_fifo(void *arg)
{
    (void)arg;
    prepared = captured_elsewhere(be_ordinary);
    be_fifo();
    give_up_rights();
    CHECK(has_policy(SCHED_FIFO, 7));
    enter(prepared);
    CHECK(has_policy(SCHED_FIFO, 7));
    leave(prepared);
    CHECK(has_policy(SCHED_FIFO, 7));
    xctx_unref(prepared);
    return 0;
}

TEST(sched_real_time_thread_that_could_not_return_keeps_its_policy)
{
    if (!has_rights())
        skip();
    assert_true(child_succeeds(kept_fifo));
}

/* The policy is refused, being none; the nice value that comes with it is not. */
static void refuse_half(void)
{
    const xctx_var_options *options = xctx_var_get_options(&xctx_state_sched);
    unsigned char bytes[48];
    void *value = NULL;
    int nice = niceness();

    xctx_context *context = captured_elsewhere(be_nicer);
    CHECK(options->encode(value_in(context, &xctx_state_sched), bytes, sizeof(bytes)) == (int)sizeof(bytes));
    bytes[4] = 99; /* the policy */
    CHECK(options->decode(bytes, sizeof(bytes), &value) == 0);
    enter(context);
    CHECK(xctx_var_set(&xctx_state_sched, value, NULL) == 0);
    leave(context);
    options->release(value);

    enter(context);
    CHECK(has_policy(SCHED_OTHER, 0));
    CHECK(niceness() == nice + 3);
    leave(context);
    CHECK(has_policy(SCHED_OTHER, 0));
    CHECK(niceness() == nice);
    xctx_unref(context);
}

TEST(sched_refusing_the_policy_leaves_the_nice_value_applied)
{
    if (!has_rights())
        skip();
    elsewhere(refuse_half);
}

static void send(void)
{
    char text[32];
    xctx_context *batch = captured_elsewhere(be_batch);
    xctx_context *ordinary = captured_elsewhere(be_ordinary);

    snprintf(text, sizeof(text), "batch, nice %d", niceness());
    check_format(batch, &xctx_state_sched, text);
    snprintf(text, sizeof(text), "other, nice %d", niceness());
    check_format(ordinary, &xctx_state_sched, text);
    check_null_value(&xctx_state_sched);
    xctx_context *sent = through_bytes(batch, &xctx_state_sched);
    enter(sent);
    CHECK(has_policy(SCHED_BATCH, 0));
    leave(sent);
    CHECK(has_policy(SCHED_OTHER, 0));
    xctx_unref(sent);

    unsigned char bytes[48];
    const xctx_var_options *options = xctx_var_get_options(&xctx_state_sched);
    CHECK(options->encode(value_in(batch, &xctx_state_sched), bytes, sizeof(bytes)) == (int)sizeof(bytes));
    check_not_decoded(&xctx_state_sched, bytes, sizeof(bytes) - 1, -EINVAL);
    bytes[16] = 40; /* the nice value */
    check_not_decoded(&xctx_state_sched, bytes, sizeof(bytes), -EINVAL);
    xctx_unref(batch);
    xctx_unref(ordinary);
}

TEST(sched_is_told_and_sent)
{
    elsewhere(send);
}

static void send_fifo(void)
{
    char text[32];
    xctx_context *fifo = captured_elsewhere(be_fifo);
    snprintf(text, sizeof(text), "fifo 7, nice %d", niceness());
    check_format(fifo, &xctx_state_sched, text);
    xctx_unref(fifo);
}

TEST(sched_format_tells_a_priority)
{
    if (!has_rights())
        skip();
    elsewhere(send_fifo);
}

int main(void)
{
    return test_main("capsule sched");
}
