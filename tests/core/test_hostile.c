/* SPDX-License-Identifier: MIT */
/* Opening damaged files: an error or a snapshot, and nothing read that is not there (the sanitizers watch). */
#include "core_support.h"

static int format_number(void *value, char *buffer, size_t size)
{
    return snprintf(buffer, size, "number %ld", as_number(value));
}

XCTX_VAR_DEFINE(shown, .format = format_number);

static struct image sample;   /* a core with two threads and a parent */
static size_t sample_headers; /* bytes before the memory: headers and notes */

/* Leaves large parts of memory out, so that many files can be opened. */
static struct image without_large_parts(const struct image *image)
{
    struct image small = {calloc(1, image->size + 8192), 0};
    Elf64_Phdr notes = image_segment(image, 0);

    small.size = notes.p_offset + notes.p_filesz;
    memcpy(small.bytes, image->bytes, small.size);
    for (unsigned i = 1; i < image_header(image).e_phnum; i++) {
        Elf64_Phdr segment = image_segment(image, i);
        uint64_t from = segment.p_offset;
        /* Stacks begin where they begin; data at a page. */
        if (segment.p_filesz > 512 && segment.p_vaddr % 4096 == 0)
            segment.p_filesz = 0;
        small.size = (small.size + 7) / 8 * 8;
        segment.p_offset = small.size;
        memcpy(small.bytes + small.size, image->bytes + from, segment.p_filesz);
        memcpy(small.bytes + sizeof(Elf64_Ehdr) + i * sizeof(segment), &segment, sizeof(segment));
        small.size += segment.p_filesz;
    }
    return small;
}

static void make_sample(void)
{
    if (sample.bytes)
        return;
    assert_int_equal(xctx_var_set(&shown, number(17), NULL), 0);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_enter(copy), 0);
    xctx_snapshot *snapshots[2] = {xctx_snapshot_take(XCTX_CAPTURE_ALL), xctx_snapshot_take(XCTX_CAPTURE_ALL)};
    assert_int_equal(xctx_exit(copy), 0);
    struct image whole = write_image(snapshots, 2, NULL, 0, 0);
    sample = without_large_parts(&whole);
    free(whole.bytes);
    xctx_snapshot_unref(snapshots[0]);
    xctx_snapshot_unref(snapshots[1]);
    xctx_unref(copy);
    Elf64_Phdr notes = image_segment(&sample, 0);
    sample_headers = notes.p_offset + notes.p_filesz;
}

static int no_variable(xctx_var *var, void *value, void *user)
{
    char text[32];
    (void)user;
    return xctx_var_get_options(var)->format(value, text, sizeof(text)) < 0;
}

/* Uses whatever a file gave, all of it. */
static void use(xctx_snapshot **snapshots, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        for (xctx_snapshot *at = snapshots[i]; at; at = xctx_snapshot_parent(at)) {
            uint64_t sp = 0;
            unsigned char bytes[64];
            uintptr_t pcs[XCTX_SNAPSHOT_ADDRESSES];
            xctx_snapshot_register(at, "sp", &sp);
            xctx_snapshot_read(at, sp, bytes, sizeof(bytes));
            xctx_snapshot_stack(at, pcs, XCTX_SNAPSHOT_ADDRESSES);
            const xctx_thread_state *state = xctx_snapshot_thread_state(at);
            CHECK(strlen(state->name) < sizeof(state->name) && strlen(state->locale) < sizeof(state->locale));
            xctx_context *context = xctx_snapshot_context(at);
            if (context)
                CHECK(xctx_each(context, no_variable, NULL) == 0);
        }
    }
    int fd = open("/dev/null", O_WRONLY);
    xctx_core_write(fd, snapshots, count, NULL, 0, 0);
    close(fd);
    xctx_snapshot_unref_all(snapshots, count);
}

static int open_and_use(int fd)
{
    xctx_snapshot **snapshots = NULL;
    size_t count = 0;
    int result = open_descriptor(fd, &snapshots, &count);

    if (result == 0)
        use(snapshots, count);
    else
        CHECK(!snapshots && count == 0);
    return result;
}

static int sample_file(void)
{
    int fd = memory_file();
    make_sample();
    CHECK(pwrite(fd, sample.bytes, sample.size, 0) == (ssize_t)sample.size);
    return fd;
}

TEST(file_cut_off_anywhere_is_refused)
{
    int fd = sample_file();
    /* All lengths that end in headers and notes; some of the others. */
    for (size_t size = sample.size; size-- > 0;) {
        if (size >= sample_headers ? size % 241 != 0 : size % (size_t)(16 / scaled(16)) != 0)
            continue;
        assert_int_equal(ftruncate(fd, (off_t)size), 0);
        assert_int_equal(open_and_use(fd), size < EI_NIDENT ? -ENOEXEC : -EBADMSG);
    }
    close(fd);
}

/* Opens the sample with some bytes changed. */
static void open_changed(int fd, size_t at, const unsigned char *bytes, size_t size)
{
    CHECK(pwrite(fd, bytes, size, (off_t)at) == (ssize_t)size);
    int result = open_and_use(fd);
    assert_true(result == 0 || result == -ENOEXEC || result == -EBADMSG || result == -EFBIG);
    CHECK(pwrite(fd, sample.bytes + at, size, (off_t)at) == (ssize_t)size);
}

TEST(file_with_any_byte_changed_is_read_or_refused)
{
    static const unsigned char flips[] = {0xff, 0x80, 0x01};
    int fd = sample_file();
    for (size_t at = 0; at < sample_headers; at += (size_t)(32 / scaled(16))) {
        unsigned char byte = sample.bytes[at] ^ flips[at / 2 % sizeof(flips)];
        open_changed(fd, at, &byte, 1);
    }
    assert_int_equal(open_and_use(fd), 0);
    close(fd);
}

/* One that is not read into memory as a whole. */
TEST(large_file_with_any_byte_changed_is_read_or_refused)
{
    int fd = sample_file();
    assert_int_equal(ftruncate(fd, 65 << 20), 0);
    for (size_t at = 0; at < sample_headers; at += (size_t)(64 / scaled(16))) {
        unsigned char byte = sample.bytes[at] ^ 0xff;
        open_changed(fd, at, &byte, 1);
    }
    assert_int_equal(open_and_use(fd), 0);
    close(fd);
}

TEST(file_with_words_of_all_ones_is_read_or_refused)
{
    static const unsigned char ones[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    int fd = sample_file();
    for (size_t at = 0; at + 8 <= sample_headers; at += (size_t)(64 / scaled(16)))
        open_changed(fd, at, ones, at % 8 ? 4 : 8);
    close(fd);
}

TEST(file_of_noise_is_read_or_refused)
{
    uint64_t state = 88172645463325252;
    struct image noise = {malloc(8192), 8192};

    make_sample();
    for (long round = 0; round < scaled(300); round++) {
        for (size_t i = 0; i < noise.size; i += 8) {
            /* xorshift64, by Marsaglia */
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            memcpy(noise.bytes + i, &state, 8);
        }
        /* A whole header, and sometimes a beginning of what follows. */
        memcpy(noise.bytes, sample.bytes, round % 2 ? sizeof(Elf64_Ehdr) : sizeof(Elf64_Ehdr) + 2048);
        int fd = memory_file();
        CHECK(write(fd, noise.bytes, noise.size) == (ssize_t)noise.size);
        int result = open_and_use(fd);
        close(fd);
        assert_true(result == 0 || result == -EBADMSG);
    }
    free(noise.bytes);
}

TEST(segments_that_overlap_are_dropped)
{
    int fd = sample_file();
    Elf64_Phdr first = image_segment(&sample, 1);
    for (unsigned i = 2; i < image_header(&sample).e_phnum; i++)
        CHECK(pwrite(fd, &first.p_vaddr, sizeof(first.p_vaddr),
                     (off_t)(sizeof(Elf64_Ehdr) + i * sizeof(Elf64_Phdr) + offsetof(Elf64_Phdr, p_vaddr))) == 8);
    assert_int_equal(open_and_use(fd), 0);
    close(fd);
}

int main(void)
{
    int result = test_main("opening damaged core files");
    free(sample.bytes);
    return result;
}
