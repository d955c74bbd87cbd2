/* SPDX-License-Identifier: MIT */
/* Reports as JSON: what docs/report-schema.json says, and what of it only a person can say. */
#include "report_support.h"

static const char judging[] = XCTX_TEST_SOURCE_DIR "/tests/tools/check_report_schema.py";
static const char schema[] = XCTX_TEST_SOURCE_DIR "/docs/report-schema.json";

static void check_valid(struct written written)
{
    check_judged(written, judging, schema);
}

TEST(json_of_a_report_is_as_the_schema_says)
{
    check_valid(write_report(sample_report(), XCTX_FORMAT_JSON));
}

TEST(json_of_a_hostile_report_is_as_the_schema_says)
{
    check_valid(write_report(hostile_report(), XCTX_FORMAT_JSON));
}

TEST(json_of_a_long_chain_is_as_the_schema_says)
{
    check_valid(write_report(chain_report(300), XCTX_FORMAT_JSON));
}

TEST(json_of_several_reports_is_as_the_schema_says)
{
    xctx_report *reports[] = {sample_report(), hostile_report(), chain_report(3)};

    check_valid(write_reports(reports, 3, XCTX_FORMAT_JSON));
}

TEST(json_of_no_reports_is_as_the_schema_says)
{
    check_valid(write_reports(NULL, 0, XCTX_FORMAT_JSON));
}

TEST(json_of_a_report_in_which_nothing_was_captured_is_as_the_schema_says)
{
    static xctx_report nothing = {.refs = 1, .state = {.size = sizeof(xctx_thread_state)}};

    check_valid(write_report(&nothing, XCTX_FORMAT_JSON));
}

TEST(json_of_a_report_taken_in_a_signal_handler_is_as_the_schema_says)
{
    xctx_report *report = sample_report();

    report->state.present |= XCTX_THREAD_SIGNAL;
    report->state.signal = SIGFPE;
    report->state.signal_code = FPE_INTDIV;
    report->state.fault_address = 0x401150;
    struct written json = write_report(report, XCTX_FORMAT_JSON);
    assert_has(&json, "\"signal\": {\"number\": 8, \"name\": \"SIGFPE\", \"code\": 1, \"code_name\": \"FPE_INTDIV\", "
                      "\"fault_address\": \"0x401150\"}");
    check_valid(json);
}

/* A judge that lets everything pass would not be noticed. */
TEST(json_that_is_not_as_the_schema_says_is_refused)
{
    static const char *const wrong[] = {"{}", "[]", "{\"version\": 1, \"reports\": [{}]}",
                                        "{\"version\": 2, \"reports\": []}"};

    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        struct written written = {(char *)(uintptr_t)wrong[i], strlen(wrong[i])};
        int status = judge(&written, judging, schema);
        if (status == 77)
            skip();
        assert_int_equal(status, 1);
    }
}

TEST(json_has_frames_and_locals)
{
    struct written json = write_report(sample_report(), XCTX_FORMAT_JSON);

    assert_has(&json, "\"function\": \"add\",\n      \"file\": \"/src/shop/add.c\",\n      \"line\": 15,");
    assert_has(&json,
               "{\"name\": \"sum\", \"type\": \"int\", \"value\": \"3\", \"source\": \"snapshot\", \"parameter\": "
               "false, \"artificial\": false, \"static\": false, \"global\": false, \"address\": "
               "\"0x7ffe12345678\", \"size\": 4, \"register\": null, \"block\": 1, \"line\": 14}");
    assert_has(&json, "{\"name\": \"gone\", \"type\": \"char *\", \"value\": null, \"source\": \"optimized-out\"");
    assert_has(&json, "\"rip\": \"0x401150\"");
    assert_has(&json, "\"blocked\": [\"SIGINT\", \"SIGUSR1\", \"SIG34\"]");
    assert_has(&json, "\"errno\": {\"number\": 2, \"name\": \"ENOENT\", \"text\": \"No such file or directory\"}");
    free(json.bytes);
}

TEST(json_has_no_value_of_a_redacted_variable)
{
    static xctx_variable secret = {.name = "key", .value = "hunter2", .redacted = true};
    static xctx_report report = {.refs = 1, .variables = &secret, .variable_count = 1};

    for (enum xctx_format format = XCTX_FORMAT_TEXT; format <= XCTX_FORMAT_HTML; format++) {
        struct written written = write_report(&report, format);
        assert_has(&written, "key");
        assert_has(&written, "redacted");
        assert_lacks(&written, "hunter2");
        free(written.bytes);
    }
}

TEST(json_has_parents_beside_each_other)
{
    struct written json = write_report(chain_report(300), XCTX_FORMAT_JSON);
    size_t depth = 0, deepest = 0;

    assert_int_equal(count_of(json.bytes, "\"frames\": ["), 301);
    assert_int_equal(count_of(json.bytes, "\"parents\": ["), 1);
    for (size_t i = 0; i < json.size; i++) {
        depth += strchr("[{", json.bytes[i]) != NULL;
        depth -= strchr("]}", json.bytes[i]) != NULL;
        deepest = depth > deepest ? depth : deepest;
    }
    assert_in_range(deepest, 5, 8);
    free(json.bytes);
}

TEST(json_escapes_what_is_no_text)
{
    struct written json = write_report(hostile_report(), XCTX_FORMAT_JSON);

    assert_has(&json, "\"</script><b onload=x>&\\\"'\\u001b[31m\\u0007\\u000d\\n\\ufffd\\ufffd(\xe2\x80\xae\"");
    free(json.bytes);
}

TEST(json_has_numbers_beyond_2_to_53_as_text)
{
    struct written json = write_report(hostile_report(), XCTX_FORMAT_JSON);

    assert_has(&json, "\"size\": \"0xffffffffffffffff\"");
    free(json.bytes);

    xctx_local local = {.name = "n", .type = "t", .size = UINT64_C(1) << 53, .source = XCTX_SOURCE_SNAPSHOT};
    struct frame frame = {.locals = &local, .local_count = 1};
    xctx_report report = {.refs = 1, .frames = &frame, .frame_count = 1};
    json = write_report(&report, XCTX_FORMAT_JSON);
    assert_has(&json, "\"size\": 9007199254740992,");
    free(json.bytes);
    local.size++;
    json = write_report(&report, XCTX_FORMAT_JSON);
    assert_has(&json, "\"size\": \"0x20000000000001\",");
    free(json.bytes);
}

TEST(json_of_one_report_in_a_list_is_a_list)
{
    xctx_report *reports[] = {sample_report()};
    struct written json = write_reports(reports, 1, XCTX_FORMAT_JSON);

    assert_has(&json, "{\n  \"version\": 1,\n  \"reports\": [\n    {");
    assert_int_equal(count_of(json.bytes, "\"version\""), 1);
    free(json.bytes);
}

int main(void)
{
    return test_main("reports as JSON");
}
