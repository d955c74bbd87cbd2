/* SPDX-License-Identifier: MIT */
/* The capsule of the locale. */
#include <langinfo.h>
#include <locale.h>

#include "state_support.h"

/* The process stays in "C": a thread's own "C.UTF-8" can be told from it by the code set. */
static bool utf8(void)
{
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

static locale_t use(int mask, const char *name)
{
    locale_t locale = newlocale(mask, name, (locale_t)0);
    CHECK(locale != (locale_t)0);
    uselocale(locale);
    return locale;
}

static void unuse(locale_t locale)
{
    uselocale(LC_GLOBAL_LOCALE);
    freelocale(locale);
}

/* A context with the locale C.UTF-8, of a thread that has freed its locale. */
static void *capture_utf8(void *arg)
{
    (void)arg;
    locale_t locale = use(LC_ALL_MASK, "C.UTF-8");
    xctx_context *context = captured();
    CHECK(uselocale((locale_t)0) == locale);
    unuse(locale);
    return context;
}

static xctx_context *captured_utf8(void)
{
    return on_thread(capture_utf8, NULL);
}

static void apply(void)
{
    xctx_context *context = captured_utf8();

    CHECK(!utf8());
    enter(context);
    CHECK(utf8());
    leave(context);
    CHECK(!utf8());
    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    xctx_unref(context);
}

TEST(locale_is_applied_on_enter_and_restored_on_exit_after_its_owner_freed_it)
{
    elsewhere(apply);
}

static void nothing(void)
{
}

static void go_global(void)
{
    xctx_context *global = captured_elsewhere(nothing);
    xctx_context *own = captured_utf8();
    locale_t mine = use(LC_ALL_MASK, "C.UTF-8");

    enter(global);
    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    enter(own);
    CHECK(utf8());
    leave(own);
    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    leave(global);
    CHECK(uselocale((locale_t)0) == mine);
    unuse(mine);
    xctx_unref(global);
    xctx_unref(own);
}

TEST(locale_of_the_process_is_a_locale_too_and_nested_enters_are_undone_one_by_one)
{
    elsewhere(go_global);
}

static void change_inside(void)
{
    xctx_context *context = captured_utf8();

    enter(context);
    locale_t other = use(LC_ALL_MASK, "C");
    leave(context);
    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    freelocale(other);
    xctx_unref(context);
}

TEST(locale_changed_by_the_work_is_restored)
{
    elsewhere(change_inside);
}

static void unset_inside(void)
{
    xctx_context *context = captured_utf8();

    enter(context);
    xctx_unref(context);
    CHECK(xctx_var_set(&xctx_state_locale, NULL, NULL) == 0);
    CHECK(utf8());
    leave(xctx_current());
    CHECK(!utf8());
}

TEST(locale_in_use_outlives_the_variable_s_value)
{
    elsewhere(unset_inside);
}

static void tell(void)
{
    xctx_context *global = captured_elsewhere(nothing);
    xctx_context *own = captured_utf8();

    check_format(global, &xctx_state_locale, "the process's");
#ifdef __GLIBC__
    check_format(own, &xctx_state_locale, "C.UTF-8");
#else
    /* In musl that name makes a difference for characters only. */
    check_format(own, &xctx_state_locale,
                 "LC_CTYPE=C.UTF-8;LC_NUMERIC=C;LC_TIME=C;LC_COLLATE=C;LC_MONETARY=C;LC_MESSAGES=C");
#endif
    check_null_value(&xctx_state_locale);
    xctx_unref(global);
    xctx_unref(own);
}

TEST(locale_format_tells_the_name)
{
    elsewhere(tell);
}

static void send(void)
{
    xctx_context *own = captured_utf8();
    xctx_context *sent = through_bytes(own, &xctx_state_locale);

    enter(sent);
    CHECK(utf8());
    leave(sent);
    xctx_unref(own);
    xctx_unref(sent);

    xctx_context *global = captured_elsewhere(nothing);
    sent = through_bytes(global, &xctx_state_locale);
    locale_t mine = use(LC_ALL_MASK, "C.UTF-8");
    enter(sent);
    CHECK(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
    leave(sent);
    unuse(mine);
    xctx_unref(global);
    xctx_unref(sent);
}

TEST(locale_is_sent_by_name)
{
    elsewhere(send);
}

static void send_mixed(void)
{
    locale_t mine = use(LC_CTYPE_MASK, "C.UTF-8");
    xctx_context *mixed = captured();
    unuse(mine);
    char name[512];
    const char *start = "LC_CTYPE=C.UTF-8;LC_NUMERIC=C;LC_TIME=C";

    int length = xctx_var_get_options(&xctx_state_locale)->format(value_in(mixed, &xctx_state_locale), name, 512);
    CHECK(length > (int)strlen(start));
    CHECK(strncmp(name, start, strlen(start)) == 0);
    xctx_context *sent = through_bytes(mixed, &xctx_state_locale);
    check_format(sent, &xctx_state_locale, name);
    enter(sent);
    CHECK(utf8());
    leave(sent);
    xctx_unref(mixed);
    xctx_unref(sent);
}

TEST(locale_with_different_categories_is_sent_by_their_names)
{
    elsewhere(send_mixed);
}

static void refuse(void)
{
    char longer[5000];

    memset(longer, 'x', sizeof(longer));
    check_not_decoded(&xctx_state_locale, longer, sizeof(longer), -EINVAL);
    check_not_decoded(&xctx_state_locale, "C\0C", 3, -EINVAL);
    check_not_decoded(&xctx_state_locale, "LC_CTYPE=", 9, -EINVAL);
    check_not_decoded(&xctx_state_locale, "LC_CTYPE=C;nonsense", 19, -EINVAL);
#ifdef __GLIBC__
    /* musl has every locale that one asks for. */
    errno = 77;
    check_not_decoded(&xctx_state_locale, "xx_nowhere", 10, -ENOENT);
    check_not_decoded(&xctx_state_locale, "LC_CTYPE=C.UTF-8;LC_TIME=xx_nowhere", 35, -ENOENT);
    CHECK(errno == 77);
#endif
}

TEST(locale_decode_refuses_what_is_no_locale)
{
    elsewhere(refuse);
}

int main(void)
{
    return test_main("capsule locale");
}
