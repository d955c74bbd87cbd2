/* SPDX-License-Identifier: MIT */
/* Core files and reports without what the values of secret context variables point to. */
#include "core_support.h"

static int format_text(void *value, char *buffer, size_t size)
{
    return snprintf(buffer, size, "%s", value ? (const char *)value : "");
}

static XCTX_VAR_DEFINE(session, .format = format_text, .secret = 1);
static XCTX_VAR_DEFINE(other_session, .secret = 1);
static XCTX_VAR_DEFINE(vault_key, .secret = 1, .secret_size = 32);
static XCTX_VAR_DEFINE(renamed_token, .format = format_text);
static XCTX_VAR_DEFINE(shown, .format = format_text);

enum { SIZE = 32, LARGE = 200 * 1024 };

enum { IN_STATIC = 1, ON_STACK_TEXT, SHOWN, BINARY, BEHIND, IN_PARENT, IN_LARGE, MARKED, UNMAPPED };

/* Texts of SIZE - 1 bytes that are nowhere but where they are put. */
static void fill_text(volatile char *text, unsigned seed)
{
    for (unsigned i = 0; i < SIZE - 1; i++)
        text[i] = (char)('A' + (seed * 5 + i * 7) % 26);
    text[SIZE - 1] = '\0';
}

static bool has_text(const struct image *image, unsigned seed)
{
    char text[SIZE];
    fill_text(text, seed);
    bool found = image_contains(image, text, SIZE - 1);
    memset(text, 0, sizeof(text));
    return found;
}

/* Bytes with zeros among them. */
static void fill_binary(volatile unsigned char *bytes, unsigned seed)
{
    for (unsigned i = 0; i < SIZE; i++)
        bytes[i] = (unsigned char)(i % 8 == 3 ? 0 : seed + i * 37);
}

/* The last bytes, behind all zeros but the last. */
static bool has_binary(const struct image *image, unsigned seed)
{
    unsigned char bytes[SIZE];
    fill_binary(bytes, seed);
    bool found = image_contains(image, bytes + 12, 7) || image_contains(image, bytes + SIZE - 4, 4);
    memset(bytes, 0, sizeof(bytes));
    return found;
}

static struct {
    char text[SIZE];
    char behind[SIZE];
    unsigned char binary[SIZE];
    char large[LARGE];
} statics;

typedef struct image write_function(xctx_snapshot *snapshot);

static struct image write_raw(xctx_snapshot *snapshot)
{
    return write_image(&snapshot, 1, NULL, 0, XCTX_CORE_RAW);
}

static struct image write_decoded(xctx_snapshot *snapshot)
{
    int fd = memory_file();
    assert_int_equal(xctx_snapshot_write_core(snapshot, fd), 0);
    struct image image = image_of(fd);
    close(fd);
    return image;
}

static write_function *const writers[] = {write_one, write_raw, write_decoded};
enum { WRITERS = sizeof(writers) / sizeof(writers[0]) };

TEST(text_in_static_memory_is_not_in_cores)
{
    fill_text(statics.text, IN_STATIC);
    fill_text(statics.behind, BEHIND);
    xctx_snapshot *before = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_var_set(&session, statics.text, NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    struct image plain = write_one(before);
    assert_true(has_text(&plain, IN_STATIC));
    for (size_t i = 0; i < WRITERS; i++) {
        struct image image = writers[i](snapshot);
        assert_false(has_text(&image, IN_STATIC));
        assert_true(has_text(&image, BEHIND));
        free(image.bytes);
    }
    assert_int_equal(xctx_var_set(&session, NULL, NULL), 0);
    free(plain.bytes);
    xctx_snapshot_unref(before);
    xctx_snapshot_unref(snapshot);
}

/* A text on the stack that is a value, beside one that is not. */
static ON_STACK xctx_snapshot *take_with_text(xctx_var *var)
{
    char text[SIZE], plain[SIZE];
    fill_text(text, ON_STACK_TEXT);
    fill_text(plain, SHOWN);
    assert_int_equal(xctx_var_set(var, text, NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_var_set(var, NULL, NULL), 0);
    __asm__ volatile("" : : "r"(text), "r"(plain) : "memory");
    fill_text(text, 0);
    fill_text(plain, 0);
    return snapshot;
}

TEST(text_on_the_captured_stack_is_not_in_cores)
{
    xctx_snapshot *control = take_with_text(&shown), *snapshot = take_with_text(&session);
    struct image plain = write_raw(control);
    assert_true(has_text(&plain, ON_STACK_TEXT));
    for (size_t i = 0; i < WRITERS; i++) {
        struct image image = writers[i](snapshot);
        assert_false(has_text(&image, ON_STACK_TEXT));
        assert_true(has_text(&image, SHOWN));
        free(image.bytes);
    }
    free(plain.bytes);
    xctx_snapshot_unref(control);
    xctx_snapshot_unref(snapshot);
}

TEST(value_of_a_given_size_is_hidden_with_the_zeros_in_it)
{
    fill_binary(statics.binary, BINARY);
    assert_int_equal(xctx_var_set(&shown, statics.binary, NULL), 0);
    xctx_snapshot *control = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_var_set(&vault_key, statics.binary, NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    struct image plain = write_raw(control);
    assert_true(has_binary(&plain, BINARY));
    for (size_t i = 0; i < WRITERS; i++) {
        struct image image = writers[i](snapshot);
        assert_false(has_binary(&image, BINARY));
        free(image.bytes);
    }
    assert_int_equal(xctx_var_set(&shown, NULL, NULL), 0);
    assert_int_equal(xctx_var_set(&vault_key, NULL, NULL), 0);
    free(plain.bytes);
    xctx_snapshot_unref(control);
    xctx_snapshot_unref(snapshot);
}

/* Longer than what is written at once, and one value in the middle of another one's text. */
TEST(long_texts_that_overlap_are_not_in_cores)
{
    memset(statics.large, 'x', LARGE - 1);
    for (size_t at = 0; at + SIZE < LARGE; at += LARGE / 16)
        fill_text(statics.large + at, IN_LARGE);
    for (size_t at = SIZE - 1; at < LARGE; at += LARGE / 16)
        statics.large[at] = 'x';
    assert_int_equal(strlen(statics.large), LARGE - 1);
    assert_int_equal(xctx_var_set(&session, statics.large, NULL), 0);
    assert_int_equal(xctx_var_set(&other_session, statics.large + LARGE / 2 + 5, NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    for (size_t i = 0; i < WRITERS; i++) {
        struct image image = writers[i](snapshot);
        assert_false(has_text(&image, IN_LARGE));
        assert_false(image_contains(&image, "xxxxxxxx", 8));
        free(image.bytes);
    }
    assert_int_equal(xctx_var_set(&session, NULL, NULL), 0);
    assert_int_equal(xctx_var_set(&other_session, NULL, NULL), 0);
    memset(statics.large, 0, LARGE);
    xctx_snapshot_unref(snapshot);
}

TEST(blank_within_a_text_does_not_end_it)
{
    fill_text(statics.text, IN_STATIC);
    assert_int_equal(xctx_var_set(&session, statics.text, NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    const xctx_core_blank blank = {(uintptr_t)statics.text + 8, 2};
    struct image image = write_image(&snapshot, 1, &blank, 1, 0);
    assert_false(image_contains(&image, statics.text + 10, SIZE - 11));
    free(image.bytes);
    assert_int_equal(xctx_var_set(&session, NULL, NULL), 0);
    xctx_snapshot_unref(snapshot);
}

TEST(variable_that_is_marked_by_name_hides_its_text)
{
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "*_token"), 0);
    fill_text(statics.text, MARKED);
    assert_int_equal(xctx_var_set(&renamed_token, statics.text, NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    for (size_t i = 0; i < WRITERS; i++) {
        struct image image = writers[i](snapshot);
        assert_false(has_text(&image, MARKED));
        free(image.bytes);
    }
    assert_int_equal(xctx_var_set(&renamed_token, NULL, NULL), 0);
    xctx_snapshot_unref(snapshot);
}

/* The copy is made before the variable is set: only the child has it, and only the parent's stack the text. */
static ON_STACK xctx_context *copy_with_text(uint64_t *ret_address, xctx_snapshot **ret_child)
{
    char text[SIZE];
    fill_text(text, IN_PARENT);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(xctx_var_set(&session, text, NULL), 0);
    *ret_child = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    assert_int_equal(xctx_var_set(&session, NULL, NULL), 0);
    assert_int_equal(xctx_exit(copy), 0);
    *ret_address = (uintptr_t)text;
    __asm__ volatile("" : : "r"(text) : "memory");
    fill_text(text, 0);
    return copy;
}

TEST(text_on_the_stack_of_a_parent_is_not_in_cores)
{
    xctx_snapshot *child = NULL;
    uint64_t address = 0;
    xctx_context *copy = copy_with_text(&address, &child);
    xctx_snapshot *parent = xctx_snapshot_parent(child);
    char captured[SIZE];
    assert_non_null(parent);
    assert_int_equal(xctx_snapshot_read(parent, address, captured, SIZE), 0);
    for (size_t i = 0; i < WRITERS; i++) {
        struct image image = writers[i](child);
        assert_false(image_contains(&image, captured, SIZE - 1));
        free(image.bytes);
    }
    struct image plain = write_raw(parent);
    assert_true(image_contains(&plain, captured, SIZE - 1));
    free(plain.bytes);
    xctx_snapshot_unref(child);
    xctx_unref(copy);
}

TEST(values_that_are_no_addresses_do_no_harm)
{
    char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    void *const values[] = {
        (void *)(uintptr_t)1, (void *)(uintptr_t)42,        (void *)(intptr_t)-1,
        (void *)(intptr_t)-8, (void *)((uintptr_t)1 << 55), page,
        page + 4095,
    };
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        assert_int_equal(xctx_var_set(&session, values[i], NULL), 0);
        assert_int_equal(xctx_var_set(&vault_key, values[i], NULL), 0);
        xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
        xctx_report *report = NULL;
        /* `format` is not called for what is secret: it would crash. */
        for (size_t j = 0; j < WRITERS; j++) {
            struct image image = writers[j](snapshot);
            free(image.bytes);
        }
        assert_int_equal(xctx_inspect(snapshot, NULL, &report), 0);
        xctx_report_unref(report);
        xctx_snapshot_unref(snapshot);
    }
    assert_int_equal(xctx_var_set(&session, NULL, NULL), 0);
    assert_int_equal(xctx_var_set(&vault_key, NULL, NULL), 0);
    CHECK(munmap(page, 4096) == 0);
}

/* ---- reports ---- */

const char *global_pointer = statics.text;

static ON_STACK xctx_snapshot *take_to_report(void)
{
    char text[SIZE], plain[SIZE];
    const char *pointer = text, *plain_pointer = plain;
    fill_text(text, ON_STACK_TEXT);
    fill_text(plain, SHOWN);
    fill_text(statics.text, IN_STATIC);
    assert_int_equal(xctx_var_set(&session, text, NULL), 0);
    assert_int_equal(xctx_var_set(&other_session, statics.text, NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_var_set(&session, NULL, NULL), 0);
    assert_int_equal(xctx_var_set(&other_session, NULL, NULL), 0);
    __asm__ volatile("" : : "r"(pointer), "r"(plain_pointer), "r"(text), "r"(plain) : "memory");
    fill_text(text, 0);
    fill_text(plain, 0);
    return snapshot;
}

static void check_report(xctx_snapshot *snapshot, bool statics_too)
{
    xctx_inspect_options options = {.size = sizeof(options), .flags = XCTX_INSPECT_GLOBALS | XCTX_INSPECT_LIVE};
    struct image text = {0};
    char *bytes = NULL;
    xctx_report *report = NULL;
    FILE *file = open_memstream(&bytes, &text.size);
    CHECK(file && global_pointer);
    assert_int_equal(xctx_inspect(snapshot, &options, &report), 0);
    assert_int_equal(xctx_report_write(report, file, XCTX_FORMAT_JSON), 0);
    CHECK(fclose(file) == 0);
    text.bytes = (unsigned char *)bytes;
    assert_false(has_text(&text, ON_STACK_TEXT));
    assert_true(has_text(&text, SHOWN));
    if (statics_too) {
        assert_false(has_text(&text, IN_STATIC));
        assert_non_null(strstr(bytes, "global_pointer"));
    }
    assert_non_null(strstr(bytes, "take_to_report"));
    const xctx_frame *frame = NULL;
    for (size_t i = 0; (frame = xctx_report_frame(report, i)); i++)
        if (frame->function && strcmp(frame->function, "take_to_report") == 0)
            break;
    assert_non_null(frame);
    const xctx_local *local = xctx_frame_find(frame, "text");
    assert_non_null(local);
    assert_non_null(local->value);
    assert_non_null(strstr(local->value, "{<redacted> <repeats 31 times>, "));
    xctx_report_unref(report);
    free(bytes);
}

TEST(reports_of_this_process_have_no_text_of_a_secret_value)
{
    xctx_snapshot *snapshot = take_to_report();
    check_report(snapshot, true);
    xctx_snapshot_unref(snapshot);
}

TEST(reports_of_cores_say_that_a_text_is_hidden)
{
    xctx_snapshot *snapshot = take_to_report(), **opened = NULL, **again = NULL;
    size_t count = 0;
    struct image image = write_raw(snapshot);
    assert_int_equal(open_image(&image, &opened, &count), 0);
    check_report(opened[0], true);
    struct image rewritten = write_decoded(opened[0]);
    assert_false(has_text(&rewritten, IN_STATIC));
    assert_false(has_text(&rewritten, ON_STACK_TEXT));
    assert_int_equal(open_image(&rewritten, &again, &count), 0);
    check_report(again[0], true);
    free(image.bytes);
    free(rewritten.bytes);
    xctx_snapshot_unref_all(opened, 1);
    xctx_snapshot_unref_all(again, 1);
    xctx_snapshot_unref(snapshot);
}

int main(void)
{
    return test_main("core files without secret values");
}
