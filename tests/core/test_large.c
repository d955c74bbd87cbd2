/* SPDX-License-Identifier: MIT */
/* Core files that are too large to be read into memory: what is in them is read when it is asked for. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "core_support.h"

enum { MIB = 1 << 20 };
#define MEMORY_AT (INT64_C(5) << 30) /* where the memory is in the file, and how large the hole before it is */
#define HOLE_ADDRESS UINT64_C(0x100000000000)

static int format_text(void *value, char *buffer, size_t size)
{
    return snprintf(buffer, size, "%s", value ? (const char *)value : "");
}

static XCTX_VAR_DEFINE(request, .format = format_text);

static char global_text[] = "a text in static memory";

/* A core of this thread, and of what it was called with. */
static ON_STACK xctx_snapshot *take(int marker)
{
    volatile char local_text[] = "a text on the stack";
    volatile int local_number = marker;
    assert_int_equal(xctx_var_set(&request, global_text, NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    __asm__ volatile("" : : "r"(local_text), "r"(&local_number) : "memory");
    return snapshot;
}

/* Writes the same core with all memory behind a hole of some GiB, which is a range of memory, too. */
static int make_large(const struct image *image)
{
    Elf64_Ehdr header = image_header(image);
    int fd = memory_file();
    uint64_t end = MEMORY_AT;

    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment = image_segment(image, i);
        uint64_t from = segment.p_offset;
        if (segment.p_type == PT_LOAD)
            segment.p_offset += MEMORY_AT;
        CHECK(pwrite(fd, image->bytes + from, segment.p_filesz, (off_t)segment.p_offset) == (ssize_t)segment.p_filesz);
        if (segment.p_offset + segment.p_filesz > end)
            end = segment.p_offset + segment.p_filesz;
    }
    header.e_phoff = (end + 63) / 64 * 64;
    for (unsigned i = 0; i < header.e_phnum; i++) {
        Elf64_Phdr segment = image_segment(image, i);
        segment.p_offset += segment.p_type == PT_LOAD ? MEMORY_AT : 0;
        CHECK(pwrite(fd, &segment, sizeof(segment), (off_t)(header.e_phoff + i * sizeof(segment))) == sizeof(segment));
    }
    const Elf64_Phdr hole = {
        .p_type = PT_LOAD,
        .p_flags = PF_R,
        .p_offset = image->size,
        .p_vaddr = HOLE_ADDRESS,
        .p_filesz = MEMORY_AT - image->size,
        .p_memsz = MEMORY_AT - image->size,
        .p_align = 8,
    };
    CHECK(pwrite(fd, &hole, sizeof(hole), (off_t)(header.e_phoff + header.e_phnum * sizeof(hole))) == sizeof(hole));
    header.e_phnum++;
    CHECK(pwrite(fd, &header, sizeof(header), 0) == sizeof(header));
    return fd;
}

static long most_memory(void)
{
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    return usage.ru_maxrss / 1024;
}

/* The large file, and the same snapshot from a small one. */
static int make_both(xctx_snapshot **ret_snapshot)
{
    xctx_snapshot *snapshot = take(42);
    struct image image = write_one(snapshot);
    int fd = make_large(&image);
    xctx_snapshot **opened = NULL;
    size_t count = 0;

    assert_int_equal(open_image(&image, &opened, &count), 0);
    *ret_snapshot = xctx_snapshot_ref(opened[0]);
    xctx_snapshot_unref_all(opened, count);
    xctx_snapshot_unref(snapshot);
    free(image.bytes);
    return fd;
}

static xctx_snapshot *open_large(int fd)
{
    xctx_snapshot **opened = NULL;
    size_t count = 0;
    assert_int_equal(open_descriptor(fd, &opened, &count), 0);
    assert_int_equal(count, 1);
    xctx_snapshot *snapshot = xctx_snapshot_ref(opened[0]);
    xctx_snapshot_unref_all(opened, count);
    return snapshot;
}

static char *report_of(xctx_snapshot *snapshot)
{
    char *text = NULL;
    size_t size = 0;
    xctx_report *report = NULL;
    FILE *file = open_memstream(&text, &size);
    CHECK(file);
    assert_int_equal(xctx_inspect(snapshot, NULL, &report), 0);
    assert_int_equal(xctx_report_write(report, file, XCTX_FORMAT_TEXT), 0);
    CHECK(fclose(file) == 0);
    xctx_report_unref(report);
    return text;
}

TEST(large_file_gives_the_same_report_as_a_small_one)
{
    xctx_snapshot *small = NULL;
    int fd = make_both(&small);
    long before = most_memory();
    xctx_snapshot *large = open_large(fd);
    char *text = report_of(large), *expected = report_of(small);
    assert_string_equal(text, expected);
    assert_non_null(strstr(text, "request = a text in static memory"));
    /* Sanitizers need some for each byte that is in use. */
    assert_true(most_memory() - before < 512);
    free(text);
    free(expected);
    close(fd);
    xctx_snapshot_unref(large);
    xctx_snapshot_unref(small);
}

TEST(memory_of_a_large_file_is_read)
{
    xctx_snapshot *small = NULL;
    int fd = make_both(&small);
    xctx_snapshot *large = open_large(fd);
    char text[sizeof(global_text)], zeros[16] = {0};
    uint64_t sp = 0;
    unsigned char stack[2][64];
    close(fd);
    assert_int_equal(xctx_snapshot_read(large, (uintptr_t)global_text, text, sizeof(text)), 0);
    assert_string_equal(text, global_text);
    assert_int_equal(xctx_snapshot_register(large, "sp", &sp), 0);
    assert_int_equal(xctx_snapshot_read(large, sp, stack[0], sizeof(stack[0])), 0);
    assert_int_equal(xctx_snapshot_read(small, sp, stack[1], sizeof(stack[1])), 0);
    assert_memory_equal(stack[0], stack[1], sizeof(stack[0]));
    assert_int_equal(xctx_snapshot_read(large, HOLE_ADDRESS + (UINT64_C(4) << 30), text, sizeof(zeros)), 0);
    assert_memory_equal(text, zeros, sizeof(zeros));
    assert_int_equal(xctx_snapshot_read(large, HOLE_ADDRESS + MEMORY_AT, text, sizeof(text)), -EFAULT);
    xctx_snapshot_unref(large);
    xctx_snapshot_unref(small);
}

TEST(large_file_that_is_cut_off_while_it_is_open_is_as_far_as_it_goes)
{
    xctx_snapshot *small = NULL;
    int fd = make_both(&small);
    xctx_snapshot *large = open_large(fd);
    char byte;
    CHECK(ftruncate(fd, MIB) == 0);
    char *text = report_of(large);
    /* What was in headers and notes is there; the rest is not. */
    assert_non_null(strstr(text, "request = a text in static memory"));
    assert_non_null(strstr(text, "#0 "));
    assert_null(strstr(text, "a text on the stack"));
    assert_int_equal(xctx_snapshot_read(large, (uintptr_t)global_text, &byte, 1), -EFAULT);
    free(text);
    close(fd);
    xctx_snapshot_unref(large);
    xctx_snapshot_unref(small);
}

/* All of it would be more than 5 GiB: the beginning shows that it does not wait for the rest. */
TEST(large_file_is_written_piece_by_piece)
{
    xctx_snapshot *small = NULL;
    int fd = make_both(&small), ends[2];
    xctx_snapshot *large = open_large(fd);
    unsigned char head[EI_NIDENT];
    long before = most_memory();
    struct rusage usage;
    CHECK(pipe(ends) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(ends[0]);
        signal(SIGPIPE, SIG_IGN);
        _exit(xctx_core_write(ends[1], &large, 1, NULL, 0, 0) == -EPIPE ? 0 : 1);
    }
    close(ends[1]);
    unsigned char *block = malloc(MIB);
    size_t wanted = 600, blocks = 0;
    CHECK(block && read(ends[0], head, sizeof(head)) == sizeof(head));
    for (size_t left = wanted * MIB; left > 0; blocks++) {
        ssize_t got = read(ends[0], block, MIB);
        CHECK(got > 0);
        left = (size_t)got < left ? left - (size_t)got : 0;
    }
    CHECK(close(ends[0]) == 0);
    assert_memory_equal(head, ELFMAG, SELFMAG);
    int status = 0;
    CHECK(wait4(child, &status, 0, &usage) == child);
    assert_int_equal(status, 0);
    assert_true(usage.ru_maxrss / 1024 - before < 512);
    free(block);
    close(fd);
    xctx_snapshot_unref(large);
    xctx_snapshot_unref(small);
}

TEST(headers_and_notes_that_are_too_large_are_refused)
{
    xctx_snapshot *small = NULL, *opened = NULL;
    int fd = make_both(&small);
    char path[64];
    Elf64_Ehdr header;
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    CHECK(pread(fd, &header, sizeof(header), 0) == sizeof(header));
    const uint32_t type = PT_NOTE;
    /* The hole becomes notes. */
    off_t last = (off_t)(header.e_phoff + (header.e_phnum - 1U) * sizeof(Elf64_Phdr));
    CHECK(pwrite(fd, &type, sizeof(type), last) == sizeof(type));
    assert_int_equal(xctx_snapshot_open(path, &opened), -EFBIG);
    /* As many headers as there is room for. */
    const Elf64_Shdr section = {.sh_info = (2U << 20)};
    header.e_phnum = PN_XNUM;
    header.e_phoff = MIB;
    header.e_shoff = 64;
    header.e_shentsize = sizeof(section);
    CHECK(pwrite(fd, &section, sizeof(section), 64) == sizeof(section));
    CHECK(pwrite(fd, &header, sizeof(header), 0) == sizeof(header));
    assert_int_equal(xctx_snapshot_open(path, &opened), -EFBIG);
    /* No core file at all. */
    CHECK(pwrite(fd, "no ELF", 6, 0) == 6);
    assert_int_equal(xctx_snapshot_open(path, &opened), -ENOEXEC);
    assert_null(opened);
    close(fd);
    xctx_snapshot_unref(small);
}

int main(void)
{
    return test_main("large core files");
}
