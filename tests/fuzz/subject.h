/* SPDX-License-Identifier: MIT */
/*
 * The modules made of subject.c, a snapshot that was taken in each, and damaged copies of them.
 *
 * XCTX_FUZZ_SUBJECTS is their folder. A damaged copy is the file with some bytes of its debug information replaced:
 * what an input says in records of a section, an offset in it, and the bytes.
 */
#ifndef XCTX_FUZZ_SUBJECT_H
#define XCTX_FUZZ_SUBJECT_H

#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xctx/snapshot.h>

#include "feed.h"

enum { SUBJECTS = 16, SUBJECT_REGIONS = 32, SUBJECT_SIZE = 512 * 1024 };

/* Bytes of the file that are damaged. */
struct subject_region {
    size_t offset;
    size_t size;
};

struct specimen {
    uint8_t *image; /* the file */
    size_t size;
    uint64_t bias;
    uint64_t start; /* where it is loaded */
    uint64_t end;
    uint64_t data; /* its writable segment */
    uint64_t data_size;
    uint8_t *data_bytes; /* as they were */
    xctx_snapshot *snapshot;
    struct subject_region regions[SUBJECT_REGIONS];
    unsigned region_count;
};

static struct specimen subjects[SUBJECTS];
static unsigned subject_count;

static void subject_add_region(struct specimen *subject, size_t offset, size_t size)
{
    if (subject->region_count < SUBJECT_REGIONS && size > 0 && offset <= subject->size &&
        size <= subject->size - offset)
        subject->regions[subject->region_count++] = (struct subject_region){offset, size};
}

static void subject_find_regions(struct specimen *subject)
{
    static const char *const known[] = {".debug_", ".eh_frame", ".symtab", ".strtab", ".note"};
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)(void *)subject->image;
    const Elf64_Shdr *sections = (const Elf64_Shdr *)(void *)(subject->image + header->e_shoff);
    const char *names = (const char *)subject->image + sections[header->e_shstrndx].sh_offset;

    for (unsigned i = 1; i < header->e_shnum; i++) {
        const char *name = names + sections[i].sh_name;
        for (size_t j = 0; j < sizeof(known) / sizeof(known[0]); j++) {
            if (strncmp(name, known[j], strlen(known[j])) == 0)
                subject_add_region(subject, sections[i].sh_offset, sections[i].sh_size);
        }
    }
    subject_add_region(subject, header->e_shoff, header->e_shnum * sizeof(Elf64_Shdr));
    subject_add_region(subject, 0, sizeof(Elf64_Ehdr) + header->e_phnum * sizeof(Elf64_Phdr));
}

static void subject_find_segments(struct specimen *subject)
{
    const Elf64_Ehdr *header = (const Elf64_Ehdr *)(void *)subject->image;
    const Elf64_Phdr *segments = (const Elf64_Phdr *)(void *)(subject->image + header->e_phoff);

    for (unsigned i = 0; i < header->e_phnum; i++) {
        if (segments[i].p_type != PT_LOAD)
            continue;
        uint64_t end = (subject->bias + segments[i].p_vaddr + segments[i].p_memsz + 4095) & ~(uint64_t)4095;
        subject->end = end > subject->end ? end : subject->end;
        if (!(segments[i].p_flags & PF_W))
            continue;
        subject->data = subject->bias + segments[i].p_vaddr;
        subject->data_size = segments[i].p_memsz;
    }
    subject->data_bytes = malloc(subject->data_size);
    EXPECT(subject->data_bytes);
    memcpy(subject->data_bytes, (const void *)subject->data, subject->data_size);
}

static void subject_load(const char *path)
{
    struct specimen *subject = &subjects[subject_count];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    struct link_map *map = NULL;
    struct stat status;
    void *symbol = module ? dlsym(module, "subject_run") : NULL;
    xctx_snapshot *(*run)(xctx_snapshot * (*take)(unsigned), unsigned, int);

    EXPECT(fd >= 0 && symbol && dlinfo(module, RTLD_DI_LINKMAP, &map) == 0 && fstat(fd, &status) == 0);
    memcpy(&run, &symbol, sizeof(run));
    subject->size = (size_t)status.st_size;
    EXPECT(subject->size < SUBJECT_SIZE);
    subject->image = malloc(subject->size);
    EXPECT(subject->image && read(fd, subject->image, subject->size) == (ssize_t)subject->size);
    close(fd);
    subject->bias = map->l_addr;
    subject->start = map->l_addr;
    subject->snapshot = run(xctx_snapshot_take, XCTX_CAPTURE_ALL, 4);
    EXPECT(subject->snapshot);
    subject_find_segments(subject);
    subject_find_regions(subject);
    subject_count++;
}

/* Loads all of them, in the order of their names. */
static void subject_load_all(void)
{
    struct dirent **entries;
    int count = scandir(XCTX_FUZZ_SUBJECTS, &entries, NULL, alphasort);

    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name, *end = strrchr(name, '.');
        char path[4096];
        if (strncmp(name, "subject-", 8) == 0 && end && strcmp(end, ".so") == 0 && subject_count < SUBJECTS) {
            snprintf(path, sizeof(path), "%s/%s", XCTX_FUZZ_SUBJECTS, name);
            subject_load(path);
        }
        free(entries[i]);
    }
    free(entries);
    EXPECT(subject_count > 0);
}

/* Copies the file to `image`, of the same size, and damages it by the rest of the input. */
static inline void subject_damage(const struct specimen *subject, struct feed *feed, uint8_t *image)
{
    memcpy(image, subject->image, subject->size);
    while (feed->left > 4) {
        const struct subject_region *region = &subject->regions[feed_byte(feed) % subject->region_count];
        size_t offset = feed_word(feed);
        uint8_t kind = feed_byte(feed);
        /* Sections are larger than two bytes can say. */
        offset = (offset + ((size_t)(kind >> 4) << 16)) % region->size;
        size_t size = kind % 16u + 1u;
        if (size > region->size - offset)
            size = region->size - offset;
        feed_bytes(feed, image + region->offset + offset, size);
    }
}

#endif
