/* SPDX-License-Identifier: MIT */
/* The capsule of the thread's name. */
#include <sys/prctl.h>

#include "state_support.h"

static void set_name(const char *name)
{
    CHECK(prctl(PR_SET_NAME, name) == 0);
}

static void check_name(const char *expected)
{
    char name[16] = "";
    CHECK(prctl(PR_GET_NAME, name) == 0);
    CHECK(strcmp(name, expected) == 0);
}

static void be_source(void)
{
    set_name("source");
}

static void be_longest(void)
{
    set_name("fifteen-letters");
}

static void be_nobody(void)
{
    set_name("");
}

static void apply(void)
{
    xctx_context *source = captured_elsewhere(be_source);
    xctx_context *longest = captured_elsewhere(be_longest);
    xctx_context *nobody = captured_elsewhere(be_nobody);

    set_name("worker");
    enter(source);
    check_name("source");
    enter(longest);
    check_name("fifteen-letters");
    enter(nobody);
    check_name("");
    leave(nobody);
    check_name("fifteen-letters");
    leave(longest);
    check_name("source");
    leave(source);
    check_name("worker");
    xctx_unref(source);
    xctx_unref(longest);
    xctx_unref(nobody);
}

TEST(name_is_applied_on_enter_and_restored_on_exit_one_by_one)
{
    elsewhere(apply);
}

static void change_inside(void)
{
    set_name("worker");
    xctx_context *same = captured();

    enter(same);
    set_name("changed");
    leave(same);
    check_name("worker");
    xctx_unref(same);
}

TEST(name_changed_by_the_work_is_restored)
{
    elsewhere(change_inside);
}

static void *enter_and_change(void *context)
{
    enter(context);
    check_name("source");
    set_name("changed");
    leave(context);
    return NULL;
}

static void keep_source(void)
{
    be_source();
    xctx_context *context = captured();
    on_thread(enter_and_change, context);
    check_name("source");
    xctx_unref(context);
}

TEST(name_of_the_source_thread_stays_as_it_is)
{
    elsewhere(keep_source);
}

static void send(void)
{
    xctx_context *source = captured_elsewhere(be_longest);
    xctx_context *nobody = captured_elsewhere(be_nobody);

    xctx_context *sent = through_bytes(source, &xctx_state_name);
    check_format(sent, &xctx_state_name, "fifteen-letters");
    xctx_unref(sent);
    sent = through_bytes(nobody, &xctx_state_name);
    set_name("worker");
    enter(sent);
    check_name("");
    leave(sent);
    check_name("worker");
    xctx_unref(sent);
    check_format(source, &xctx_state_name, "fifteen-letters");
    check_format(nobody, &xctx_state_name, "");
    check_null_value(&xctx_state_name);
    check_not_decoded(&xctx_state_name, "sixteen-letters!", 16, -EINVAL);
    check_not_decoded(&xctx_state_name, "a\0b", 3, -EINVAL);
    xctx_unref(source);
    xctx_unref(nobody);
}

TEST(name_is_told_and_sent)
{
    elsewhere(send);
}

int main(void)
{
    return test_main("capsule name");
}
