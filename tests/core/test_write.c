/* SPDX-License-Identifier: MIT */
/* Writing core files: what is in them, byte by byte. */
#include "core_support.h"

#include <signal.h>
#include <sys/procfs.h>

static int formats;

static int count_format(void *value, char *buffer, size_t size)
{
    formats++;
    return snprintf(buffer, size, "formatted %ld", (long)(intptr_t)value);
}

static int failing_format(void *value, char *buffer, size_t size)
{
    (void)value;
    (void)buffer;
    (void)size;
    return -EIO;
}

static int endless_format(void *value, char *buffer, size_t size)
{
    (void)value;
    memset(buffer, 'x', size);
    return 1 << 30;
}

XCTX_VAR_DEFINE(formatted, .format = count_format);
XCTX_VAR_DEFINE(password, .secret = 1, .format = count_format);
XCTX_VAR_DEFINE(api_token, .format = count_format);
XCTX_VAR_DEFINE(broken, .format = failing_format);
XCTX_VAR_DEFINE(endless, .format = endless_format);

static long written_global = 1;
static long zeroed_global[512];

static xctx_snapshot *take(unsigned capture)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(capture);
    assert_non_null(snapshot);
    return snapshot;
}

TEST(core_without_snapshots_is_refused)
{
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_ALL);
    xctx_snapshot *none = NULL;
    int fd = memory_file();

    assert_int_equal(xctx_core_write(fd, NULL, 1, NULL, 0, 0), -EINVAL);
    assert_int_equal(xctx_core_write(fd, &snapshot, 0, NULL, 0, 0), -EINVAL);
    assert_int_equal(xctx_core_write(fd, &none, 1, NULL, 0, 0), -EINVAL);
    assert_int_equal(xctx_core_write(-1, &snapshot, 1, NULL, 0, 0), -EINVAL);
    assert_int_equal(xctx_core_write(fd, &snapshot, 1, NULL, 1, 0), -EINVAL);
    assert_int_equal(xctx_core_write(fd, &snapshot, 1, NULL, 0, 2), -EINVAL);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    close(fd);
    xctx_snapshot_unref(snapshot);
}

TEST(core_of_a_snapshot_without_registers_is_refused)
{
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_STACK);
    xctx_snapshot *reserved = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    int fd = memory_file();

    assert_int_equal(xctx_core_write(fd, &snapshot, 1, NULL, 0, 0), -EINVAL);
    assert_int_equal(xctx_core_write(fd, &reserved, 1, NULL, 0, 0), -EINVAL);
    close(fd);
    xctx_snapshot_unref(snapshot);
    xctx_snapshot_unref(reserved);
}

TEST(core_on_a_full_device_returns_what_writing_failed_with)
{
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    int fd = open("/dev/full", O_WRONLY);

    assert_true(fd >= 0);
    assert_int_equal(xctx_core_write(fd, &snapshot, 1, NULL, 0, 0), -ENOSPC);
    close(fd);
    xctx_snapshot_unref(snapshot);
}

TEST(core_leaves_errno_alone)
{
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);

    errno = EDOM;
    struct image image = write_one(snapshot);
    assert_int_equal(errno, EDOM);
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(core_has_segments_in_order_that_do_not_overlap_and_lie_in_the_file)
{
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_ALL);
    struct image image = write_one(snapshot);
    Elf64_Ehdr header = image_header(&image);
    uint64_t address = 0, offset = 0;

    assert_int_equal(header.e_type, ET_CORE);
    assert_true(header.e_phnum > 4);
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment = image_segment(&image, i);
        assert_true(segment.p_offset + segment.p_filesz <= image.size);
        assert_true(segment.p_offset >= offset);
        if (segment.p_type != PT_LOAD)
            continue;
        assert_true(segment.p_vaddr >= address);
        assert_int_equal(segment.p_vaddr % 4096, segment.p_offset % 4096);
        assert_int_equal(segment.p_vaddr % segment.p_align, 0);
        address = segment.p_vaddr + segment.p_filesz;
        offset = segment.p_offset + segment.p_filesz;
    }
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(core_has_globals_as_they_are_now)
{
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    written_global = 0x1122334455667788;
    zeroed_global[300] = 4711;
    struct image image = write_one(snapshot);
    const unsigned char *global = image_memory(&image, &written_global, sizeof(written_global));
    const unsigned char *zeroed = image_memory(&image, zeroed_global, sizeof(zeroed_global));

    assert_non_null(global);
    assert_memory_equal(global, &written_global, sizeof(written_global));
    assert_non_null(zeroed);
    assert_memory_equal(zeroed, zeroed_global, sizeof(zeroed_global));
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

/* Where a local was, and what it held, when the snapshot was taken. */
static uintptr_t changing;

static ON_STACK xctx_snapshot *take_and_change(void)
{
    volatile long local[4] = {0x0123456789abcdef, 2, 3, 4};
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);

    changing = (uintptr_t)local;
    local[0] = 0;
    return snapshot;
}

TEST(core_has_the_stack_as_it_was_captured)
{
    xctx_snapshot *snapshot = take_and_change();
    struct image image = write_one(snapshot);
    const unsigned char *local = image_memory(&image, (const void *)changing, 8);
    long captured = 0;

    assert_non_null(local);
    memcpy(&captured, local, sizeof(captured));
    assert_int_equal(captured, 0x0123456789abcdef);
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(core_of_the_same_stack_twice_has_the_first)
{
    xctx_snapshot *snapshots[2] = {take_and_change(), take(XCTX_CAPTURE_LOCALS)};
    struct image image = write_image(snapshots, 2, NULL, 0, 0);
    uint64_t address = 0;
    long captured = 0;

    for (unsigned i = 0; i < image_header(&image).e_phnum; i++) {
        Elf64_Phdr segment = image_segment(&image, i);
        assert_true(segment.p_type != PT_LOAD || segment.p_vaddr >= address);
        address = segment.p_type == PT_LOAD ? segment.p_vaddr + segment.p_filesz : address;
    }
    memcpy(&captured, image_memory(&image, (const void *)changing, 8), sizeof(captured));
    assert_int_equal(captured, 0x0123456789abcdef);
    free(image.bytes);
    xctx_snapshot_unref(snapshots[0]);
    xctx_snapshot_unref(snapshots[1]);
}

static ON_STACK void write_with_blanks(void)
{
    static unsigned char marked[64];
    unsigned char local[64];
    xctx_snapshot *snapshot;

    memset(marked, 0xa5, sizeof(marked));
    memset(local, 0x5a, sizeof(local));
    __asm__ volatile("" : : "r"(local) : "memory");
    snapshot = take(XCTX_CAPTURE_LOCALS);
    xctx_core_blank blanks[] = {
        {(uintptr_t)marked + 3, 40},
        {(uintptr_t)local + 5, 50},
        {UINT64_MAX - 3, 100},
        {(uintptr_t)local + 60, 0},
    };
    struct image image = write_image(&snapshot, 1, blanks, 4, 0);
    const unsigned char *global = image_memory(&image, marked, sizeof(marked));
    const unsigned char *stack = image_memory(&image, local, sizeof(local));
    assert_non_null(global);
    assert_non_null(stack);
    for (int i = 0; i < 64; i++) {
        assert_int_equal(global[i], i >= 3 && i < 43 ? 0 : 0xa5);
        assert_int_equal(stack[i], i >= 5 && i < 55 ? 0 : 0x5a);
    }
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(blanks_are_zeros_in_stack_and_globals)
{
    write_with_blanks();
}

TEST(variables_are_formatted_once)
{
    assert_int_equal(xctx_var_set(&formatted, number(4242), NULL), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    formats = 0;
    struct image image = write_one(snapshot);
    assert_int_equal(formats, 1);
    assert_true(image_contains(&image, "formatted 4242", 15));
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(raw_core_calls_no_format_and_has_addresses)
{
    assert_int_equal(xctx_var_set(&formatted, number(0x4242), NULL), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    formats = 0;
    struct image image = write_image(&snapshot, 1, NULL, 0, XCTX_CORE_RAW);
    assert_int_equal(formats, 0);
    assert_true(image_contains(&image, "formatted\0000x4242", 17));
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(secret_variables_are_redacted)
{
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "*_token"), 0);
    assert_int_equal(xctx_var_set(&password, number(0x5ec4e7), NULL), 0);
    assert_int_equal(xctx_var_set(&api_token, number(0x70ce4), NULL), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    formats = 0;
    for (unsigned flags = 0; flags <= XCTX_CORE_RAW; flags++) {
        struct image image = write_image(&snapshot, 1, NULL, 0, flags);
        assert_true(image_contains(&image, "password\0redacted", 18));
        assert_true(image_contains(&image, "api_token\0redacted", 19));
        free(image.bytes);
    }
    assert_int_equal(formats, 0);
    xctx_snapshot_unref(snapshot);
}

TEST(variable_whose_format_fails_has_its_address)
{
    assert_int_equal(xctx_var_set(&broken, number(0xb40e4), NULL), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    struct image image = write_one(snapshot);
    assert_true(image_contains(&image, "broken\0000xb40e4", 15));
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(text_without_an_end_is_cut)
{
    assert_int_equal(xctx_var_set(&endless, number(1), NULL), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    struct image image = write_one(snapshot);
    assert_true(image_contains(&image, "endless\0xxxx", 12));
    size_t size = 0;
    assert_non_null(image_note(&image, "XCTX", 0x58430001, 0, &size));
    assert_true(size < 1 << 20);
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(core_has_a_status_for_each_thread)
{
    xctx_snapshot *snapshots[2] = {take(XCTX_CAPTURE_ALL), take(XCTX_CAPTURE_ALL)};
    struct image image = write_image(snapshots, 2, NULL, 0, 0);
    struct elf_prstatus status;
    size_t size = 0;

    for (unsigned i = 0; i < 2; i++) {
        const unsigned char *note = image_note(&image, "CORE", NT_PRSTATUS, i, &size);
        assert_non_null(note);
        assert_int_equal(size, sizeof(status));
        memcpy(&status, note, sizeof(status));
        assert_int_equal(status.pr_pid, gettid());
    }
    assert_null(image_note(&image, "CORE", NT_PRSTATUS, 2, &size));
    assert_non_null(image_note(&image, "CORE", NT_AUXV, 0, &size));
    assert_non_null(image_note(&image, "CORE", NT_FILE, 0, &size));
    assert_non_null(image_note(&image, "CORE", NT_FPREGSET, 1, &size));
    assert_non_null(image_note(&image, "CORE", NT_PRPSINFO, 0, &size));
    free(image.bytes);
    xctx_snapshot_unref(snapshots[0]);
    xctx_snapshot_unref(snapshots[1]);
}

static void *drain(void *arg)
{
    struct image *image = arg;
    int fd = (int)image->size;
    image->size = 0;
    for (;;) {
        image->bytes = realloc(image->bytes, image->size + 65536);
        CHECK(image->bytes);
        ssize_t got = read(fd, image->bytes + image->size, 65536);
        CHECK(got >= 0);
        if (got == 0)
            return NULL;
        image->size += (size_t)got;
    }
}

TEST(core_goes_through_a_pipe)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_ALL);
    struct image piped = {NULL, (size_t)ends[0]};
    pthread_t reader = spawn(drain, &piped);
    assert_int_equal(xctx_core_write(ends[1], &snapshot, 1, NULL, 0, 0), 0);
    close(ends[1]);
    join(reader);
    close(ends[0]);
    struct image image = write_one(snapshot);
    assert_int_equal(image_header(&piped).e_type, ET_CORE);
    assert_true(piped.size == image.size || piped.size > 65536);
    for (unsigned i = 0; i < image_header(&piped).e_phnum; i++) {
        Elf64_Phdr segment = image_segment(&piped, i);
        assert_true(segment.p_offset + segment.p_filesz <= piped.size);
    }
    free(image.bytes);
    free(piped.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(memory_that_is_gone_is_zeros_not_a_crash)
{
    /* A library's data segment with a hole: what cannot be read does not end the process. */
    static unsigned char hole[3 * 4096] __attribute__((aligned(4096)));

    memset(hole, 0x77, sizeof(hole));
    assert_int_equal(mprotect(hole + 4096, 4096, PROT_NONE), 0);
    xctx_snapshot *snapshot = take(XCTX_CAPTURE_LOCALS);
    struct image image = write_one(snapshot);
    assert_int_equal(mprotect(hole + 4096, 4096, PROT_READ | PROT_WRITE), 0);
    const unsigned char *bytes = image_memory(&image, hole, sizeof(hole));
    assert_non_null(bytes);
    assert_int_equal(bytes[4095], 0x77);
    assert_int_equal(bytes[4096], 0);
    assert_int_equal(bytes[8191], 0);
    assert_int_equal(bytes[8192], 0x77);
    free(image.bytes);
    xctx_snapshot_unref(snapshot);
}

int main(void)
{
    return test_main("writing core files");
}
