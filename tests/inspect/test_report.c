/* SPDX-License-Identifier: MIT */
/* Reports as a whole: arguments, variables, registers, state, parents, how long they last. */
#include <xctx/redact.h>

#include "frames_support.h"

static int format_number(void *value, char *buffer, size_t size)
{
    return snprintf(buffer, size, "number %ld", as_number(value));
}

static int format_long(void *value, char *buffer, size_t size)
{
    return snprintf(buffer, size, "%*ld", 1000, as_number(value));
}

static int format_not(void *value, char *buffer, size_t size)
{
    (void)value;
    (void)buffer;
    (void)size;
    return -EINVAL;
}

static XCTX_VAR_DEFINE(shown, .format = format_number);
static XCTX_VAR_DEFINE(shown_long, .format = format_long);
static XCTX_VAR_DEFINE(not_formatted, .format = format_not);
static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(secret, .format = format_number, .secret = 1);
static XCTX_VAR_DEFINE(marked_variable, .format = format_number);

static const xctx_variable *variable_of(const xctx_report *report, const char *name)
{
    for (size_t i = 0; i < xctx_report_variable_count(report); i++) {
        const xctx_variable *variable = xctx_report_variable(report, i);
        if (strcmp(variable->name, name) == 0)
            return variable;
    }
    fail_msg("there is no variable %s", name);
    return NULL;
}

TEST(inspect_of_wrong_arguments_is_refused)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(0), *reserved = xctx_snapshot_reserve(XCTX_CAPTURE_STACK, 0);
    xctx_report *report = NULL;
    xctx_inspect_options options = {.size = sizeof(options)};

    assert_int_equal(xctx_inspect(NULL, NULL, &report), -EINVAL);
    assert_int_equal(xctx_inspect(snapshot, NULL, NULL), -EINVAL);
    assert_int_equal(xctx_inspect(reserved, NULL, &report), -EINVAL);
    options.max_frames = 4097;
    assert_int_equal(xctx_inspect(snapshot, &options, &report), -EINVAL);
    options = (xctx_inspect_options){.size = sizeof(options), .max_elements = 65537};
    assert_int_equal(xctx_inspect(snapshot, &options, &report), -EINVAL);
    options = (xctx_inspect_options){.size = sizeof(options), .flags = 1u << 31};
    assert_int_equal(xctx_inspect(snapshot, &options, &report), -EINVAL);
    options = (xctx_inspect_options){.size = 8};
    assert_int_equal(xctx_inspect(snapshot, &options, &report), -EINVAL);
    assert_null(report);
    xctx_snapshot_unref(snapshot);
    xctx_snapshot_unref(reserved);
}

TEST(inspect_takes_options_of_zeros_for_the_default)
{
    xctx_inspect_options options = {0};
    xctx_report *report = report_of(xctx_snapshot_take(XCTX_CAPTURE_ALL), &options);

    assert_true(xctx_report_frame_count(report) > 0);
    xctx_report_unref(report);
}

TEST(variables_are_written_as_their_format_operation_does)
{
    assert_int_equal(xctx_var_set(&shown, number(5), NULL), 0);
    assert_int_equal(xctx_var_set(&shown_long, number(6), NULL), 0);
    assert_int_equal(xctx_var_set(&plain, number(0xbeef), NULL), 0);
    assert_int_equal(xctx_var_set(&not_formatted, number(0xcafe), NULL), 0);
    xctx_report *report = report_of(xctx_snapshot_take(0), NULL);
    assert_int_equal(xctx_report_variable_count(report), 4);
    assert_string_equal(variable_of(report, "shown")->value, "number 5");
    assert_int_equal(strlen(variable_of(report, "shown_long")->value), 1000);
    assert_true(ends_with(variable_of(report, "shown_long")->value, "   6"));
    assert_string_equal(variable_of(report, "plain")->value, "0xbeef");
    assert_string_equal(variable_of(report, "not_formatted")->value, "0xcafe");
    assert_null(xctx_report_variable(report, 4));
    xctx_report_unref(report);
}

TEST(variables_that_are_secret_have_no_value)
{
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "marked_*"), 0);
    assert_int_equal(xctx_var_set(&secret, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&marked_variable, number(2), NULL), 0);
    assert_int_equal(xctx_var_set(&shown, number(3), NULL), 0);
    xctx_report *report = report_of(xctx_snapshot_take(0), NULL);
    assert_true(variable_of(report, "secret")->redacted);
    assert_null(variable_of(report, "secret")->value);
    assert_true(variable_of(report, "marked_variable")->redacted);
    assert_null(variable_of(report, "marked_variable")->value);
    assert_false(variable_of(report, "shown")->redacted);
    xctx_report_unref(report);
}

TEST(variables_are_those_of_the_moment_of_the_snapshot)
{
    assert_int_equal(xctx_var_set(&shown, number(1), NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(0);
    assert_int_equal(xctx_var_set(&shown, number(2), NULL), 0);
    xctx_report *report = report_of(snapshot, NULL);
    assert_string_equal(variable_of(report, "shown")->value, "number 1");
    xctx_report_unref(report);
}

TEST(registers_are_those_of_the_snapshot)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_REGISTERS);
    xctx_report *report = report_of(xctx_snapshot_ref(snapshot), NULL);
    uint64_t value;

    assert_true(xctx_report_register_count(report) > 5);
    for (size_t i = 0; i < xctx_report_register_count(report); i++) {
        const xctx_register *reg = xctx_report_register(report, i);
        assert_int_equal(xctx_snapshot_register(snapshot, reg->name, &value), 0);
        assert_int_equal(reg->value, value);
    }
    assert_null(xctx_report_register(report, xctx_report_register_count(report)));
    xctx_report_unref(report);
    xctx_snapshot_unref(snapshot);
}

TEST(state_is_that_of_the_snapshot)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    xctx_report *report = report_of(xctx_snapshot_ref(snapshot), NULL);

    assert_memory_equal(xctx_report_thread_state(report), xctx_snapshot_thread_state(snapshot),
                        sizeof(xctx_thread_state));
    assert_int_equal(xctx_report_captured(report), XCTX_CAPTURE_STATE);
    xctx_report_unref(report);
    xctx_snapshot_unref(snapshot);
}

static NOINLINE xctx_context *submit(void)
{
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    NO_TAIL_CALL;
    return copy;
}

/* A snapshot with `count` parents. */
static xctx_snapshot *take_with_parents(int count)
{
    xctx_snapshot *snapshot;
    xctx_context *context = NULL;

    if (count == 0)
        return xctx_snapshot_take(XCTX_CAPTURE_ALL);
    context = submit();
    assert_non_null(context);
    assert_int_equal(xctx_enter(context), 0);
    snapshot = take_with_parents(count - 1);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    return snapshot;
}

static size_t count_parents(const xctx_report *report)
{
    size_t count = 0;

    while ((report = xctx_report_parent(report)) != NULL)
        count++;
    return count;
}

TEST(parents_have_reports_of_their_own)
{
    xctx_report *report = report_of(take_with_parents(3), NULL);

    assert_int_equal(count_parents(report), 3);
    for (xctx_report *parent = xctx_report_parent(report); parent; parent = xctx_report_parent(parent))
        assert_true(frame_is(xctx_report_frame(parent, 0), "submit"));
    xctx_report_unref(report);
}

TEST(parents_are_as_many_as_were_asked_for)
{
    xctx_inspect_options options = {.size = sizeof(options), .max_parents = 2};
    xctx_snapshot *snapshot = take_with_parents(3);

    xctx_report *report = report_of(xctx_snapshot_ref(snapshot), &options);
    assert_int_equal(count_parents(report), 2);
    xctx_report_unref(report);
    options = (xctx_inspect_options){.size = sizeof(options), .flags = XCTX_INSPECT_NO_PARENTS};
    report = report_of(snapshot, &options);
    assert_int_equal(count_parents(report), 0);
    xctx_report_unref(report);
}

TEST(report_of_a_parent_lasts_longer_than_the_child)
{
    xctx_report *report = report_of(take_with_parents(2), NULL);
    xctx_report *parent = xctx_report_ref(xctx_report_parent(report));

    assert_null(xctx_report_unref(report));
    assert_int_equal(count_parents(parent), 1);
    assert_true(frame_is(xctx_report_frame(parent, 0), "submit"));
    xctx_report_unref(parent);
}

TEST(report_functions_take_null)
{
    assert_null(xctx_report_ref(NULL));
    assert_null(xctx_report_unref(NULL));
    assert_int_equal(xctx_report_frame_count(NULL), 0);
    assert_null(xctx_report_frame(NULL, 0));
    assert_int_equal(xctx_frame_local_count(NULL), 0);
    assert_null(xctx_frame_local(NULL, 0));
    assert_null(xctx_frame_find(NULL, "x"));
    assert_int_equal(xctx_report_variable_count(NULL), 0);
    assert_null(xctx_report_variable(NULL, 0));
    assert_int_equal(xctx_report_register_count(NULL), 0);
    assert_null(xctx_report_register(NULL, 0));
    assert_null(xctx_report_thread_state(NULL));
    assert_int_equal(xctx_report_captured(NULL), 0);
    assert_int_equal(xctx_report_note_count(NULL), 0);
    assert_null(xctx_report_note(NULL, 0));
    assert_null(xctx_report_parent(NULL));
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
static NOINLINE xctx_snapshot *take_in_block(int number)
{
    xctx_snapshot *snapshot = NULL;
    volatile int shadowed = number;

    if (number > 0) {
        volatile int shadowed_outside = shadowed;
        {
            volatile int shadowed = 7;
            snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
            shadowed_outside += shadowed;
        }
        CHECK(shadowed_outside == number + 7);
    }
    return snapshot;
}

#pragma GCC diagnostic pop

TEST(frame_find_gives_the_variable_of_the_innermost_block)
{
    /* Its stacks of variables are not on the stack. */
    if (TEST_ASAN)
        skip();
    xctx_report *report = report_of(take_in_block(3), NULL);
    const xctx_frame *frame = frame_of(report, "take_in_block");
    const xctx_local *local = xctx_frame_find(frame, "shadowed");

    assert_non_null(local);
    assert_string_equal(local->value, "7");
    assert_null(xctx_frame_find(frame, "there_is_none"));
    xctx_report_unref(report);
}

TEST(source_names_are_the_words_of_reports)
{
    assert_string_equal(xctx_source_name(XCTX_SOURCE_SNAPSHOT), "snapshot");
    assert_string_equal(xctx_source_name(XCTX_SOURCE_ENTRY_VALUE), "entry-value");
    assert_string_equal(xctx_source_name(XCTX_SOURCE_REDACTED), "redacted");
    assert_string_equal(xctx_source_name((enum xctx_source)99), "unsupported");
}

int main(void)
{
    return test_main("report");
}
