/* SPDX-License-Identifier: MIT */
/* Opening core files: what was written comes back. */
#include "core_support.h"

static int format_number(void *value, char *buffer, size_t size)
{
    return snprintf(buffer, size, "number %ld", as_number(value));
}

XCTX_VAR_DEFINE(shown, .format = format_number);
XCTX_VAR_DEFINE(hidden, .secret = 1);

static xctx_snapshot *take(unsigned capture)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(capture);
    assert_non_null(snapshot);
    return snapshot;
}

/* Writes and opens; the snapshots that were written are given back. */
static xctx_snapshot **reopen(xctx_snapshot **snapshots, size_t count)
{
    struct image image = write_image(snapshots, count, NULL, 0, 0);
    xctx_snapshot **opened = NULL;
    size_t opened_count = 0;

    assert_int_equal(open_image(&image, &opened, &opened_count), 0);
    assert_int_equal(opened_count, count);
    free(image.bytes);
    return opened;
}

static void check_same_registers(const xctx_snapshot *a, const xctx_snapshot *b)
{
    for (size_t i = 0; xctx_register_name(i); i++) {
        uint64_t first = 0, second = 0;
        const char *name = xctx_register_name(i);
        assert_int_equal(xctx_snapshot_register(a, name, &first), xctx_snapshot_register(b, name, &second));
        assert_int_equal(first, second);
    }
}

static void check_same_state(const xctx_snapshot *a, const xctx_snapshot *b)
{
    assert_memory_equal(xctx_snapshot_thread_state(a), xctx_snapshot_thread_state(b), sizeof(xctx_thread_state));
}

static void check_same_addresses(const xctx_snapshot *a, const xctx_snapshot *b)
{
    uintptr_t first[XCTX_SNAPSHOT_ADDRESSES], second[XCTX_SNAPSHOT_ADDRESSES];
    size_t count = xctx_snapshot_stack(a, first, XCTX_SNAPSHOT_ADDRESSES);

    assert_int_equal(count, xctx_snapshot_stack(b, second, XCTX_SNAPSHOT_ADDRESSES));
    assert_memory_equal(first, second, count * sizeof(first[0]));
}

/* How many bytes from the stack pointer upwards a snapshot has. */
static size_t stack_bytes(const xctx_snapshot *snapshot)
{
    uint64_t sp = 0;
    unsigned char byte;
    size_t size = 0;

    assert_int_equal(xctx_snapshot_register(snapshot, "sp", &sp), 0);
    while (size < XCTX_SNAPSHOT_STACK_MAX && xctx_snapshot_read(snapshot, sp + size, &byte, 1) == 0)
        size++;
    return size;
}

static void check_same_stack(const xctx_snapshot *a, const xctx_snapshot *b)
{
    unsigned char first[256], second[256];
    uint64_t sp = 0;
    size_t size = stack_bytes(a);

    assert_true(size >= sizeof(first));
    assert_true(stack_bytes(b) >= size);
    xctx_snapshot_register(a, "sp", &sp);
    for (size_t at = 0; at + sizeof(first) <= size; at += sizeof(first)) {
        assert_int_equal(xctx_snapshot_read(a, sp + at, first, sizeof(first)), 0);
        assert_int_equal(xctx_snapshot_read(b, sp + at, second, sizeof(second)), 0);
        assert_memory_equal(first, second, sizeof(first));
    }
}

static void check_same(xctx_snapshot *a, xctx_snapshot *b)
{
    assert_int_equal(xctx_snapshot_captured(a), xctx_snapshot_captured(b));
    check_same_registers(a, b);
    check_same_state(a, b);
    check_same_addresses(a, b);
    check_same_stack(a, b);
}

TEST(snapshot_comes_back_as_it_was)
{
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_ALL);
    xctx_snapshot **opened = reopen(&snapshot, 1);

    check_same(snapshot, opened[0]);
    assert_null(xctx_snapshot_parent(opened[0]));
    xctx_snapshot_unref_all(opened, 1);
    xctx_snapshot_unref(snapshot);
}

static void *take_elsewhere(void *arg)
{
    return xctx_snapshot_take(*(unsigned *)arg);
}

TEST(threads_come_back_in_order)
{
    unsigned capture = XCTX_CAPTURE_ALL;
    xctx_snapshot *snapshots[3] = {take(capture), on_thread(take_elsewhere, &capture), NULL};

    /* On a second thread while the first is gone: perhaps at the same addresses. */
    snapshots[2] = on_thread(take_elsewhere, &capture);
    xctx_snapshot **opened = reopen(snapshots, 3);
    check_same(snapshots[0], opened[0]);
    check_same_registers(snapshots[1], opened[1]);
    check_same_registers(snapshots[2], opened[2]);
    check_same_state(snapshots[1], opened[1]);
    check_same_state(snapshots[2], opened[2]);
    xctx_snapshot_unref_all(opened, 3);
    for (int i = 0; i < 3; i++)
        xctx_snapshot_unref(snapshots[i]);
}

static int check_variable(xctx_var *var, void *value, void *user)
{
    char text[64] = "";
    unsigned *seen = user;
    const xctx_var_options *options = xctx_var_get_options(var);

    assert_non_null(options->format);
    assert_true(options->format(value, text, sizeof(text)) > 0);
    if (strcmp(xctx_var_name(var), "shown") == 0) {
        assert_string_equal(text, "number 17");
        *seen |= 1;
    } else if (strcmp(xctx_var_name(var), "hidden") == 0) {
        assert_string_equal(text, "redacted");
        assert_true(options->secret);
        *seen |= 2;
    }
    return 0;
}

TEST(variables_come_back_as_texts)
{
    unsigned seen = 0;

    assert_int_equal(xctx_var_set(&shown, number(17), NULL), 0);
    assert_int_equal(xctx_var_set(&hidden, number(18), NULL), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    xctx_snapshot **opened = reopen(&snapshot, 1);
    assert_int_equal(xctx_each(xctx_snapshot_context(opened[0]), check_variable, &seen), 0);
    assert_int_equal(seen, 3);
    assert_int_equal(xctx_count(xctx_snapshot_context(opened[0])), 2);
    xctx_snapshot_unref_all(opened, 1);
    xctx_snapshot_unref(snapshot);
}

static int note_variable(xctx_var *var, void *value, void *user)
{
    (void)value;
    *(xctx_var **)user = var;
    return 0;
}

TEST(opening_many_files_uses_variables_again)
{
    assert_int_equal(xctx_var_set(&shown, number(17), NULL), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    xctx_var *vars[3] = {NULL};

    for (int i = 0; i < 3; i++) {
        xctx_snapshot **opened = reopen(&snapshot, 1);
        assert_int_equal(xctx_each(xctx_snapshot_context(opened[0]), note_variable, &vars[i]), 0);
        xctx_snapshot_unref_all(opened, 1);
    }
    assert_non_null(vars[0]);
    assert_ptr_equal(vars[0], vars[1]);
    assert_ptr_equal(vars[0], vars[2]);
    xctx_snapshot_unref(snapshot);
}

TEST(chain_of_parents_comes_back)
{
    assert_int_equal(xctx_var_set(&shown, number(17), NULL), 0);
    xctx_context *first = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    assert_non_null(first);
    assert_int_equal(xctx_enter(first), 0);
    xctx_context *second = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    assert_non_null(second);
    assert_int_equal(xctx_enter(second), 0);
    xctx_snapshot *child_snapshot = take(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_exit(second), 0);
    assert_int_equal(xctx_exit(first), 0);
    assert_non_null(xctx_snapshot_parent(child_snapshot));
    xctx_snapshot **opened = reopen(&child_snapshot, 1);
    xctx_snapshot *was = child_snapshot, *is = opened[0];
    int links = 0;
    for (; was && is; was = xctx_snapshot_parent(was), is = xctx_snapshot_parent(is)) {
        unsigned seen = 0;
        check_same(was, is);
        assert_int_equal(xctx_each(xctx_snapshot_context(is), check_variable, &seen), 0);
        assert_int_equal(seen, 1);
        links++;
    }
    assert_null(was);
    assert_null(is);
    assert_int_equal(links, 3);
    xctx_snapshot_unref_all(opened, 1);
    xctx_snapshot_unref(child_snapshot);
    xctx_unref(second);
    xctx_unref(first);
}

TEST(opened_file_can_be_written_again)
{
    assert_int_equal(xctx_var_set(&shown, number(17), NULL), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_ALL);
    xctx_snapshot **opened = reopen(&snapshot, 1);
    xctx_snapshot **again = reopen(opened, 1);
    unsigned seen = 0;

    check_same(snapshot, again[0]);
    assert_int_equal(xctx_each(xctx_snapshot_context(again[0]), check_variable, &seen), 0);
    assert_int_equal(seen, 1);
    xctx_snapshot_unref_all(again, 1);
    xctx_snapshot_unref_all(opened, 1);
    xctx_snapshot_unref(snapshot);
}

TEST(snapshots_of_two_files_do_not_go_into_one_core)
{
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_ALL);
    xctx_snapshot **opened = reopen(&snapshot, 1);
    xctx_snapshot *both[2] = {snapshot, opened[0]};
    int fd = memory_file();

    assert_int_equal(xctx_core_write(fd, both, 2, NULL, 0, 0), -EINVAL);
    close(fd);
    xctx_snapshot_unref_all(opened, 1);
    xctx_snapshot_unref(snapshot);
}

TEST(first_thread_alone_can_be_opened)
{
    xctx_snapshot *snapshots[2] = {take(XCTX_CAPTURE_ALL), take(XCTX_CAPTURE_ALL)};
    xctx_snapshot *opened = NULL;
    char path[64];
    int fd = memory_file();

    assert_int_equal(xctx_core_write(fd, snapshots, 2, NULL, 0, 0), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(xctx_snapshot_open(path, &opened), 0);
    close(fd);
    check_same(snapshots[0], opened);
    xctx_snapshot_unref(opened);
    xctx_snapshot_unref(snapshots[0]);
    xctx_snapshot_unref(snapshots[1]);
}

TEST(opening_nothing_is_refused)
{
    xctx_snapshot *snapshot = NULL;
    xctx_snapshot **snapshots = NULL;

    assert_int_equal(xctx_snapshot_open(NULL, &snapshot), -EINVAL);
    assert_int_equal(xctx_snapshot_open("/dev/null", NULL), -EINVAL);
    assert_int_equal(xctx_snapshot_open_all("/dev/null", &snapshots, NULL), -EINVAL);
    assert_int_equal(xctx_snapshot_open("/nonexistent/core", &snapshot), -ENOENT);
    assert_int_equal(xctx_snapshot_open("/", &snapshot), -EISDIR);
    assert_int_equal(xctx_snapshot_open("/dev/null", &snapshot), -ENOEXEC);
    assert_int_equal(xctx_snapshot_open("/proc/self/exe", &snapshot), -ENOEXEC);
    assert_null(snapshot);
}

TEST(large_file_of_zeros_is_refused)
{
    char path[64];
    xctx_snapshot *snapshot = NULL;
    int fd = memory_file();

    assert_int_equal(ftruncate(fd, (INT64_C(4) << 30) + 1), 0);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(xctx_snapshot_open(path, &snapshot), -ENOEXEC);
    close(fd);
}

int main(void)
{
    return test_main("opening core files");
}
