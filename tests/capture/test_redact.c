/* SPDX-License-Identifier: MIT */
/* Marks for secrets. They are for the rest of the process, so the tests build on each other, in their order. */
#include <xctx/redact.h>

#include "../support/threads.h"
#include "capture_support.h"

#include "capture/redact.h"

static size_t count_marks(void)
{
    enum xctx_redact what;
    size_t count = 0;
    while (xctx__redaction(count, &what))
        count++;
    return count;
}

TEST(nothing_is_secret_at_the_start)
{
    enum xctx_redact what = XCTX_REDACT_FUNCTION;

    assert_null(xctx__redaction(0, &what));
    assert_null(xctx__redaction(SIZE_MAX, &what));
    assert_int_equal(what, XCTX_REDACT_FUNCTION);
    assert_false(xctx__redacted(XCTX_REDACT_VARIABLE, "password"));
    assert_false(xctx__redacted(XCTX_REDACT_VARIABLE, NULL));
    assert_false(xctx__redacted(XCTX_REDACT_VARIABLE, ""));
}

TEST(wrong_arguments_are_refused)
{
    char text[XCTX_REDACT_LENGTH + 1];

    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, NULL), -EINVAL);
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, ""), -EINVAL);
    assert_int_equal(xctx_redact((enum xctx_redact)(XCTX_REDACT_FUNCTION + 1), "x"), -EINVAL);
    assert_int_equal(xctx_redact((enum xctx_redact) - 1, "x"), -EINVAL);
    memset(text, 'x', sizeof(text));
    text[XCTX_REDACT_LENGTH] = '\0';
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, text), -EINVAL);
    assert_int_equal(count_marks(), 0);
}

TEST(name_is_secret_as_what_it_was_marked_as)
{
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "password"), 0);
    assert_true(xctx__redacted(XCTX_REDACT_VARIABLE, "password"));
    assert_false(xctx__redacted(XCTX_REDACT_VARIABLE, "passwords"));
    assert_false(xctx__redacted(XCTX_REDACT_VARIABLE, "Password"));
    assert_false(xctx__redacted(XCTX_REDACT_VARIABLE, NULL));
    assert_false(xctx__redacted(XCTX_REDACT_TYPE, "password"));
    assert_false(xctx__redacted(XCTX_REDACT_FUNCTION, "password"));
}

TEST(pattern_is_as_fnmatch_has_them)
{
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "*secret*"), 0);
    assert_true(xctx__redacted(XCTX_REDACT_VARIABLE, "secret"));
    assert_true(xctx__redacted(XCTX_REDACT_VARIABLE, "my_secret_key"));
    assert_true(xctx__redacted(XCTX_REDACT_VARIABLE, "a/secret/.b")); /* no flags */
    assert_false(xctx__redacted(XCTX_REDACT_VARIABLE, "secre"));
    assert_int_equal(xctx_redact(XCTX_REDACT_TYPE, "struct key[0-9]"), 0);
    assert_true(xctx__redacted(XCTX_REDACT_TYPE, "struct key7"));
    assert_false(xctx__redacted(XCTX_REDACT_TYPE, "struct key"));
    assert_int_equal(xctx_redact(XCTX_REDACT_FUNCTION, "Vault::?pen"), 0);
    assert_true(xctx__redacted(XCTX_REDACT_FUNCTION, "Vault::open"));
}

TEST(pattern_is_copied)
{
    char pattern[] = "token";

    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, pattern), 0);
    memset(pattern, 'x', sizeof(pattern) - 1);
    assert_true(xctx__redacted(XCTX_REDACT_VARIABLE, "token"));
    assert_false(xctx__redacted(XCTX_REDACT_VARIABLE, "xxxxx"));
}

TEST(same_mark_takes_no_more_room)
{
    size_t before = count_marks();

    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "token"), 0);
    assert_int_equal(count_marks(), before);
    assert_int_equal(xctx_redact(XCTX_REDACT_TYPE, "token"), 0);
    assert_int_equal(count_marks(), before + 1);
}

TEST(marks_are_listed_in_the_order_of_their_making)
{
    enum xctx_redact what = XCTX_REDACT_FUNCTION;

    assert_string_equal(xctx__redaction(0, &what), "password");
    assert_int_equal(what, XCTX_REDACT_VARIABLE);
    assert_string_equal(xctx__redaction(2, &what), "struct key[0-9]");
    assert_int_equal(what, XCTX_REDACT_TYPE);
}

TEST(longest_pattern_fits)
{
    char text[XCTX_REDACT_LENGTH];

    memset(text, 'y', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    assert_int_equal(xctx_redact(XCTX_REDACT_FUNCTION, text), 0);
    assert_true(xctx__redacted(XCTX_REDACT_FUNCTION, text));
    text[sizeof(text) - 2] = '\0';
    assert_false(xctx__redacted(XCTX_REDACT_FUNCTION, text));
}

enum { MARKERS = 4, EACH = 6 };

static atomic_bool stop;
static atomic_long matched;

/* Whoever sees that a mark is there sees all of it. */
static void *read_without_pause(void *arg)
{
    while (!atomic_load(&stop)) {
        enum xctx_redact what = XCTX_REDACT_FUNCTION;
        for (size_t i = 0;; i++) {
            const char *pattern = xctx__redaction(i, &what);
            if (!pattern)
                break;
            CHECK(pattern[0] != '\0');
            if (strncmp(pattern, "marked", 6) == 0) {
                CHECK(what == XCTX_REDACT_VARIABLE && xctx__redacted(XCTX_REDACT_VARIABLE, pattern));
                atomic_fetch_add(&matched, 1);
            }
        }
    }
    return arg;
}

static void *mark(void *arg)
{
    char name[32];
    /* All threads mark the same names. */
    for (int i = 0; i < EACH; i++) {
        snprintf(name, sizeof(name), "marked%d", i);
        CHECK(xctx_redact(XCTX_REDACT_VARIABLE, name) == 0);
    }
    return arg;
}

TEST(threads_that_mark_the_same_names_make_each_mark_once)
{
    pthread_t threads[MARKERS], reader = spawn(read_without_pause, NULL);
    size_t before = count_marks();

    for (int i = 0; i < MARKERS; i++)
        threads[i] = spawn(mark, NULL);
    for (int i = 0; i < MARKERS; i++)
        join(threads[i]);
    while (atomic_load(&matched) == 0)
        sched_yield();
    atomic_store(&stop, true);
    join(reader);
    assert_int_equal(count_marks(), before + EACH);
}

TEST(marks_are_limited_in_number)
{
    char name[32];
    size_t count = count_marks();

    for (; count < XCTX_REDACT_MOST; count++) {
        snprintf(name, sizeof(name), "filler%zu", count);
        assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, name), 0);
    }
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "one too many"), -ENOSPC);
    assert_false(xctx__redacted(XCTX_REDACT_VARIABLE, "one too many"));
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "password"), 0); /* it is there already */
    assert_int_equal(count_marks(), XCTX_REDACT_MOST);
}

int main(void)
{
    return test_main("marks for secrets");
}
