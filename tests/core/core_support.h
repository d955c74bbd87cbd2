/* SPDX-License-Identifier: MIT */
/* For tests of core files: write one, and look into its bytes without the code that is tested. */
#ifndef XCTX_TEST_CORE_SUPPORT_H
#define XCTX_TEST_CORE_SUPPORT_H

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xctx/core.h>
#include <xctx/inspect.h>
#include <xctx/redact.h>
#include <xctx/snapshot.h>

#include "test.h"
#include "threads.h"

/* For functions whose locals have to be on the stack: AddressSanitizer keeps them elsewhere. */
#define ON_STACK __attribute__((noinline, no_sanitize("address")))

struct image {
    unsigned char *bytes;
    size_t size;
};

static inline struct image image_of(int fd)
{
    struct stat status;
    CHECK(fstat(fd, &status) == 0);
    struct image image = {malloc((size_t)status.st_size + 1), (size_t)status.st_size};
    CHECK(image.bytes);
    CHECK(pread(fd, image.bytes, image.size, 0) == (ssize_t)image.size);
    return image;
}

static inline int memory_file(void)
{
    int fd = memfd_create("core", MFD_CLOEXEC);
    CHECK(fd >= 0);
    return fd;
}

static inline struct image write_image(xctx_snapshot *const snapshots[], size_t count, const xctx_core_blank *blanks,
                                       size_t blank_count, unsigned flags)
{
    int fd = memory_file();
    CHECK(xctx_core_write(fd, snapshots, count, blanks, blank_count, flags) == 0);
    struct image image = image_of(fd);
    close(fd);
    return image;
}

static inline struct image write_one(xctx_snapshot *snapshot)
{
    return write_image(&snapshot, 1, NULL, 0, 0);
}

/* Opens what a descriptor is of. */
static inline int open_descriptor(int fd, xctx_snapshot ***ret_snapshots, size_t *ret_count)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return xctx_snapshot_open_all(path, ret_snapshots, ret_count);
}

/* Opens the bytes of a file. */
static inline int open_image(const struct image *image, xctx_snapshot ***ret_snapshots, size_t *ret_count)
{
    int fd = memory_file();
    CHECK(write(fd, image->bytes, image->size) == (ssize_t)image->size);
    int result = open_descriptor(fd, ret_snapshots, ret_count);
    close(fd);
    return result;
}

static inline Elf64_Ehdr image_header(const struct image *image)
{
    Elf64_Ehdr header;
    CHECK(image->size >= sizeof(header));
    memcpy(&header, image->bytes, sizeof(header));
    return header;
}

static inline Elf64_Phdr image_segment(const struct image *image, unsigned index)
{
    Elf64_Phdr segment;
    Elf64_Ehdr header = image_header(image);
    CHECK(header.e_phoff + (index + 1) * sizeof(segment) <= image->size);
    memcpy(&segment, image->bytes + header.e_phoff + index * sizeof(segment), sizeof(segment));
    return segment;
}

/* Where bytes of memory are in the file; NULL: they are not in it. */
static inline unsigned char *image_memory(const struct image *image, const void *address, size_t size)
{
    uint64_t from = (uintptr_t)address;
    for (unsigned i = 0; i < image_header(image).e_phnum; i++) {
        Elf64_Phdr segment = image_segment(image, i);
        if (segment.p_type == PT_LOAD && from >= segment.p_vaddr && from - segment.p_vaddr <= segment.p_filesz &&
            size <= segment.p_filesz - (from - segment.p_vaddr))
            return image->bytes + segment.p_offset + (from - segment.p_vaddr);
    }
    return NULL;
}

/* The content of the nth note of a type; NULL: there is none. */
static inline unsigned char *image_note(const struct image *image, const char *name, uint32_t type, unsigned nth,
                                        size_t *ret_size)
{
    for (unsigned i = 0; i < image_header(image).e_phnum; i++) {
        Elf64_Phdr segment = image_segment(image, i);
        size_t at = segment.p_offset, end = at + segment.p_filesz;
        while (segment.p_type == PT_NOTE && at + sizeof(Elf64_Nhdr) <= end) {
            Elf64_Nhdr note;
            memcpy(&note, image->bytes + at, sizeof(note));
            size_t content = at + sizeof(note) + (note.n_namesz + 3) / 4 * 4;
            CHECK(content + note.n_descsz <= end);
            if (note.n_type == type && strcmp((char *)image->bytes + at + sizeof(note), name) == 0 && nth-- == 0) {
                *ret_size = note.n_descsz;
                return image->bytes + content;
            }
            at = content + (note.n_descsz + 3) / 4 * 4;
        }
    }
    return NULL;
}

static inline bool image_contains(const struct image *image, const void *bytes, size_t size)
{
    return memmem(image->bytes, image->size, bytes, size) != NULL;
}

#endif
