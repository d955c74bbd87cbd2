/* SPDX-License-Identifier: MIT */
/* Core files without what is marked secret in debug information. */
#include "core_support.h"

struct vault_key {
    unsigned char bytes[32];
};

/* Patterns that are nowhere but where they are put. */
static void fill(volatile unsigned char *bytes, size_t size, unsigned seed)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(seed + i * 37);
}

static bool has(const struct image *image, unsigned seed)
{
    unsigned char bytes[32];
    fill(bytes, sizeof(bytes), seed);
    bool found = image_contains(image, bytes, sizeof(bytes));
    memset(bytes, 0, sizeof(bytes));
    return found;
}

enum { PASSWORD = 1, PLAIN = 2, KEY = 3, IN_FUNCTION = 4, GLOBAL = 5 };

struct vault_key global_key;

static ON_STACK xctx_snapshot *marked_function(void)
{
    unsigned char whatever[32];
    fill(whatever, sizeof(whatever), IN_FUNCTION);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    __asm__ volatile("" : : "r"(whatever) : "memory");
    return snapshot;
}

static ON_STACK xctx_snapshot *take_with_secrets(void)
{
    unsigned char password[32], plain[32];
    struct vault_key key;
    fill(password, sizeof(password), PASSWORD);
    fill(plain, sizeof(plain), PLAIN);
    fill(key.bytes, sizeof(key.bytes), KEY);
    xctx_snapshot *snapshot = marked_function();
    __asm__ volatile("" : : "r"(password), "r"(plain), "r"(&key) : "memory");
    return snapshot;
}

enum { DEPTH = 20000 };

static ON_STACK xctx_snapshot *recurse(int depth);

static ON_STACK xctx_snapshot *recurse_with_password(int depth)
{
    unsigned char password[32];
    fill(password, sizeof(password), PASSWORD);
    xctx_snapshot *snapshot = recurse(depth);
    __asm__ volatile("" : : "r"(password) : "memory");
    fill(password, sizeof(password), 0);
    return snapshot;
}

/* A secret in the middle of a very large stack. */
static ON_STACK xctx_snapshot *recurse(int depth)
{
    xctx_snapshot *snapshot = NULL;
    if (depth == 0)
        snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    else if (depth == DEPTH / 2)
        snapshot = recurse_with_password(depth - 1);
    else
        snapshot = recurse(depth - 1);
    __asm__ volatile("" : : : "memory");
    return snapshot;
}

static struct image write_redacted(xctx_snapshot *snapshot)
{
    int fd = memory_file();
    assert_int_equal(xctx_snapshot_write_core(snapshot, fd), 0);
    struct image image = image_of(fd);
    close(fd);
    return image;
}

TEST(core_without_marks_has_everything)
{
    fill(global_key.bytes, sizeof(global_key.bytes), GLOBAL);
    xctx_snapshot *snapshot = take_with_secrets();
    struct image image = write_redacted(snapshot);
    for (unsigned seed = PASSWORD; seed <= GLOBAL; seed++)
        assert_true(has(&image, seed));
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

static void mark(void)
{
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "password"), 0);
    assert_int_equal(xctx_redact(XCTX_REDACT_TYPE, "struct vault_key"), 0);
    assert_int_equal(xctx_redact(XCTX_REDACT_FUNCTION, "marked_function"), 0);
}

static void check_redacted(const struct image *image)
{
    assert_true(has(image, PLAIN));
    assert_false(has(image, PASSWORD));
    assert_false(has(image, KEY));
    assert_false(has(image, IN_FUNCTION));
    assert_false(has(image, GLOBAL));
}

TEST(core_has_nothing_that_is_marked)
{
    mark();
    fill(global_key.bytes, sizeof(global_key.bytes), GLOBAL);
    xctx_snapshot *snapshot = take_with_secrets();
    struct image image = write_redacted(snapshot);
    size_t size = 0;
    check_redacted(&image);
    /* Copies of secrets may be in floating-point registers. */
    assert_null(image_note(&image, "CORE", NT_FPREGSET, 0, &size));
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(core_of_a_very_large_stack_has_nothing_that_is_marked)
{
    mark();
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_MAX), 0);
    xctx_snapshot *snapshot = recurse(DEPTH);
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT), 0);
    struct image raw = write_one(snapshot), image = write_redacted(snapshot);
    assert_true(has(&raw, PASSWORD));
    assert_false(has(&image, PASSWORD));
    free(raw.bytes);
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

static ON_STACK xctx_context *copy_with_secrets(void)
{
    unsigned char password[32], plain[32];
    fill(password, sizeof(password), PASSWORD);
    fill(plain, sizeof(plain), PLAIN);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    __asm__ volatile("" : : "r"(password), "r"(plain) : "memory");
    fill(password, sizeof(password), 0);
    fill(plain, sizeof(plain), 0);
    return copy;
}

TEST(core_of_a_parent_has_nothing_that_is_marked)
{
    mark();
    xctx_context *copy = copy_with_secrets();
    assert_int_equal(xctx_enter(copy), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_exit(copy), 0);
    assert_non_null(xctx_snapshot_parent(snapshot));
    struct image raw = write_one(snapshot);
    struct image image = write_redacted(snapshot);
    assert_true(has(&raw, PASSWORD));
    assert_false(has(&image, PASSWORD));
    assert_true(has(&image, PLAIN));
    free(raw.bytes);
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
    xctx_unref(copy);
}

TEST(raw_core_is_redacted_when_it_is_opened_and_written_again)
{
    mark();
    fill(global_key.bytes, sizeof(global_key.bytes), GLOBAL);
    xctx_snapshot *snapshot = take_with_secrets();
    struct image raw = write_image(&snapshot, 1, NULL, 0, XCTX_CORE_RAW);
    xctx_snapshot **opened = NULL;
    size_t count = 0;
    assert_true(has(&raw, PASSWORD));
    assert_int_equal(open_image(&raw, &opened, &count), 0);
    struct image image = write_redacted(opened[0]);
    check_redacted(&image);
    free(image.bytes);
    free(raw.bytes);
    xctx_snapshot_unref_all(opened, count);
    xctx_snapshot_unref(snapshot);
}

/* A thread that waits for its end with secrets on its stack, and one that nobody marked. */
struct keeper {
    sem_t ready, end;
    atomic_int tid;
};

static ON_STACK void *keep_secrets(void *arg)
{
    struct keeper *keeper = arg;
    unsigned char password[32], plain[32];
    fill(password, sizeof(password), PASSWORD);
    fill(plain, sizeof(plain), PLAIN);
    atomic_store(&keeper->tid, own_tid());
    CHECK(sem_post(&keeper->ready) == 0);
    sem_wait_for(&keeper->end);
    __asm__ volatile("" : : "r"(password), "r"(plain) : "memory");
    return NULL;
}

static struct image write_all_redacted(xctx_snapshot *const snapshots[], size_t count)
{
    int fd = memory_file();
    assert_int_equal(xctx_snapshots_write_core(snapshots, count, fd), 0);
    struct image image = image_of(fd);
    close(fd);
    return image;
}

static void check_of_two(const struct image *image)
{
    xctx_snapshot **opened = NULL;
    size_t count = 0;
    assert_false(has(image, PASSWORD));
    assert_false(has(image, KEY));
    assert_false(has(image, IN_FUNCTION));
    assert_false(has(image, GLOBAL));
    assert_true(has(image, PLAIN));
    assert_int_equal(open_image(image, &opened, &count), 0);
    assert_int_equal(count, 2);
    xctx_snapshot_unref_all(opened, count);
}

TEST(core_of_several_threads_has_nothing_that_is_marked_in_any)
{
    struct keeper keeper;
    xctx_snapshot *snapshots[2], **opened = NULL;
    size_t count = 0;
    if (TEST_TSAN)
        skip(); /* it keeps signals back */
    mark();
    fill(global_key.bytes, sizeof(global_key.bytes), GLOBAL);
    CHECK(sem_init(&keeper.ready, 0, 0) == 0 && sem_init(&keeper.end, 0, 0) == 0);
    pthread_t thread = spawn(keep_secrets, &keeper);
    sem_wait_for(&keeper.ready);
    assert_int_equal(xctx_snapshot_take_thread(keeper.tid, XCTX_CAPTURE_ALL, -1, &snapshots[1]), 0);
    snapshots[0] = take_with_secrets();
    struct image raw = write_image(snapshots, 2, NULL, 0, XCTX_CORE_RAW);
    assert_true(has(&raw, PASSWORD));
    struct image image = write_all_redacted(snapshots, 2);
    check_of_two(&image);
    free(image.bytes);
    /* The other thread alone, and both as whoever got the raw file writes them. */
    image = write_all_redacted(&snapshots[1], 1);
    assert_false(has(&image, PASSWORD));
    assert_true(has(&image, PLAIN));
    free(image.bytes);
    assert_int_equal(open_image(&raw, &opened, &count), 0);
    image = write_all_redacted(opened, count);
    check_of_two(&image);
    free(image.bytes);
    free(raw.bytes);
    xctx_snapshot_unref_all(opened, count);
    CHECK(sem_post(&keeper.end) == 0);
    join(thread);
    xctx_snapshot_unref(snapshots[0]);
    xctx_snapshot_unref(snapshots[1]);
}

TEST(snapshots_of_several_processes_are_refused_in_one_core)
{
    xctx_snapshot *snapshots[2] = {xctx_snapshot_take(XCTX_CAPTURE_ALL)}, **opened = NULL;
    size_t count = 0;
    int fd = memory_file();
    struct image raw = write_one(snapshots[0]);
    assert_int_equal(open_image(&raw, &opened, &count), 0);
    snapshots[1] = opened[0];
    assert_int_equal(xctx_snapshots_write_core(snapshots, 2, fd), -EINVAL);
    assert_int_equal(xctx_snapshots_write_core(snapshots, 0, fd), -EINVAL);
    assert_int_equal(xctx_snapshots_write_core(NULL, 1, fd), -EINVAL);
    snapshots[1] = NULL;
    assert_int_equal(xctx_snapshots_write_core(snapshots, 2, fd), -EINVAL);
    assert_int_equal(lseek(fd, 0, SEEK_CUR), 0);
    close(fd);
    free(raw.bytes);
    xctx_snapshot_unref_all(opened, count);
    xctx_snapshot_unref(snapshots[0]);
}

TEST(writing_nothing_is_refused)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STACK);
    xctx_snapshot *reserved = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    int fd = memory_file();
    assert_int_equal(xctx_snapshot_write_core(NULL, fd), -EINVAL);
    assert_int_equal(xctx_snapshot_write_core(reserved, fd), -EINVAL);
    assert_int_equal(xctx_snapshot_write_core(snapshot, -1), -EINVAL);
    assert_int_equal(xctx_snapshot_write_core(snapshot, fd), -ENODATA);
    close(fd);
    xctx_snapshot_unref(snapshot);
    xctx_snapshot_unref(reserved);
}

static void *write_on_thread(void *arg)
{
    struct image *image = arg;
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    *image = write_image(&snapshot, 1, NULL, 0, 0);
    xctx_snapshot_unref(snapshot);
    return NULL;
}

TEST(marks_are_in_the_file)
{
    struct image image;
    mark();
    on_thread(write_on_thread, &image);
    assert_true(image_contains(&image, "struct vault_key", 17));
    free(image.bytes);
}

int main(void)
{
    return test_main("core files without secrets");
}
