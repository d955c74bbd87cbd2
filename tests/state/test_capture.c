/* SPDX-License-Identifier: MIT */
/* Capsules together: what XCTX_CAPTURE_STATE takes, and capsules of one's own. */
#include <fenv.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <sys/prctl.h>

#include "counted.h"
#include "state_support.h"

static xctx_var *const capsules[] = {
    &xctx_state_fpenv, &xctx_state_locale,   &xctx_state_sigmask,
    &xctx_state_name,  &xctx_state_affinity, &xctx_state_sched,
};
enum { CAPSULES = sizeof(capsules) / sizeof(capsules[0]) };

TEST(capture_state_holds_all_six_capsules)
{
    xctx_context *context = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    assert_non_null(context);
    for (unsigned i = 0; i < CAPSULES; i++)
        assert_non_null(value_in(context, capsules[i]));
    xctx_unref(context);
}

TEST(copy_current_holds_no_capsule)
{
    xctx_context *context = xctx_copy_current();
    assert_non_null(context);
    for (unsigned i = 0; i < CAPSULES; i++)
        assert_int_equal(xctx_lookup(context, capsules[i], NULL), 0);
    xctx_unref(context);
}

TEST(capture_state_leaves_the_current_context_as_it_is)
{
    xctx_context *context = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    assert_non_null(context);
    for (unsigned i = 0; i < CAPSULES; i++)
        assert_int_equal(xctx_lookup(xctx_current(), capsules[i], NULL), 0);
    xctx_unref(context);
}

/* --- A capsule of one's own: a number that each thread has. */

static _Thread_local long setting;

static void *setting_capture(void)
{
    return setting ? counted_new(setting) : NULL;
}

static void *setting_enter(void *value)
{
    long old = setting;
    setting = counted_number(value);
    return number(old + 1);
}

static void setting_leave(void *saved)
{
    setting = as_number(saved) - 1;
}

/* Nothing in this program uses it before the first capture: the tests refer to it only after that. */
static XCTX_VAR_DEFINE(own_setting, .retain = counted_retain, .release = counted_release, .capture = setting_capture,
                       .enter = setting_enter, .leave = setting_leave);

static void use_own(void)
{
    setting = 5;
    xctx_context *context = captured();
    setting = 0;
    xctx_context *without = captured();

    CHECK(xctx_lookup(without, &own_setting, NULL) == 0);
    CHECK(counted_number(value_in(context, &own_setting)) == 5);
    setting = 3;
    enter(context);
    CHECK(setting == 5);
    setting = 9;
    leave(context);
    CHECK(setting == 3);
    xctx_unref(context);
    xctx_unref(without);
}

TEST(capsule_of_one_s_own_is_captured_before_its_first_use)
{
    elsewhere(use_own);
}

static void *enter_own(void *context)
{
    setting = 1;
    enter(context);
    CHECK(setting == 5);
    leave(context);
    CHECK(setting == 1);
    return NULL;
}

static void hand_over_own(void)
{
    setting = 5;
    xctx_context *context = captured();
    setting = 6;
    on_thread(enter_own, context);
    CHECK(setting == 6);
    xctx_unref(context);
}

TEST(capsule_of_one_s_own_is_applied_in_another_thread)
{
    elsewhere(hand_over_own);
}

/* --- All at once. */

struct settings {
    int rounding;
    locale_t locale;
    bool usr1;
    char name[16];
};

static struct settings settings_now(void)
{
    struct settings settings = {.rounding = fegetround(), .locale = uselocale((locale_t)0)};
    sigset_t set;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
    settings.usr1 = sigismember(&set, SIGUSR1) == 1;
    CHECK(prctl(PR_GET_NAME, settings.name) == 0);
    return settings;
}

static void check_settings(const struct settings *expected)
{
    struct settings now = settings_now();
    CHECK(now.rounding == expected->rounding);
    CHECK(now.locale == expected->locale);
    CHECK(now.usr1 == expected->usr1);
    CHECK(strcmp(now.name, expected->name) == 0);
}

static void change_all(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(fesetround(FE_UPWARD) == 0);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    CHECK(prctl(PR_SET_NAME, "source") == 0);
}

static void *source_context(void *arg)
{
    (void)arg;
    locale_t locale = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
    CHECK(locale != (locale_t)0);
    change_all();
    uselocale(locale);
    struct settings before = settings_now();
    xctx_context *context = captured();
    check_settings(&before);
    uselocale(LC_GLOBAL_LOCALE);
    freelocale(locale);
    return context;
}

static void check_source_settings(void)
{
    struct settings now = settings_now();
    CHECK(now.rounding == FE_UPWARD);
    CHECK(now.usr1);
    CHECK(strcmp(now.name, "source") == 0);
    CHECK(strcmp(nl_langinfo(CODESET), "UTF-8") == 0);
}

static struct meeting meeting;

/* Each in a copy of its own, at the same time: the values are shared. */
static void *work_in_copy(void *shared)
{
    struct settings own = settings_now();

    meet(&meeting);
    for (long i = scaled(200); i > 0; i--) {
        xctx_context *context = xctx_copy(shared);
        CHECK(context != NULL);
        enter(context);
        check_source_settings();
        CHECK(fesetround(FE_DOWNWARD) == 0);
        CHECK(prctl(PR_SET_NAME, "changed") == 0);
        leave(context);
        check_settings(&own);
        xctx_unref(context);
    }
    return NULL;
}

TEST(capsules_are_applied_by_several_threads_at_once)
{
    enum { THREADS = 3 };
    pthread_t threads[THREADS];
    xctx_context *context = on_thread(source_context, NULL);

    meeting_init(&meeting, THREADS);
    for (unsigned i = 0; i < THREADS; i++)
        threads[i] = spawn(work_in_copy, context);
    for (unsigned i = 0; i < THREADS; i++)
        join(threads[i]);
    xctx_unref(context);
}

static void *check_inside(void *arg)
{
    (void)arg;
    check_source_settings();
    return number(1);
}

static void bind_all(void)
{
    struct settings own = settings_now();
    xctx_bound *bound;

    change_all();
    locale_t locale = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
    CHECK(locale != (locale_t)0);
    uselocale(locale);
    bound = xctx_bind_with(check_inside, NULL, XCTX_CAPTURE_STATE);
    CHECK(bound != NULL);
    uselocale(own.locale);
    freelocale(locale);
    CHECK(fesetround(own.rounding) == 0);
    CHECK(prctl(PR_SET_NAME, "caller") == 0);
    own = settings_now();
    CHECK(as_number(xctx_bound_call(bound)) == 1);
    check_settings(&own);
    CHECK(as_number(xctx_bound_call(bound)) == 1);
    check_settings(&own);
    xctx_bound_unref(bound);
}

TEST(bound_call_applies_the_capsules_and_restores)
{
    elsewhere(bind_all);
}

static void *end_inside(void *context)
{
    enter(context);
    xctx_unref(context);
    pthread_exit(NULL);
}

TEST(capsules_of_a_thread_that_ends_inside_are_released)
{
    on_thread(end_inside, on_thread(source_context, NULL));
}

int main(void)
{
    return test_main("capsules");
}
