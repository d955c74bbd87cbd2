/* SPDX-License-Identifier: MIT */
/*
 * Finds files with separate debug information: by build-id under the debug folders, then by the name in .gnu_debuglink,
 * beside the module, in .debug beside it, and under the debug folders (as GDB's manual says, "Separate Debug Files");
 * and the files that .gnu_debugaltlink names, which several modules share (dwz).
 *
 * elfutils has a function for this, which also asks servers on the network if the environment names some. A report must
 * not wait for a network, nor tell anybody what a program runs, so that one is not used.
 */
#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "module.h"

static const char default_path[] = "/usr/lib/debug";

/* What is looked for. */
struct search {
    struct module *module;
    struct build_id id; /* of the file; size 0: not known */
    bool checked;       /* `checksum` must fit if there is no build-id */
    uint32_t checksum;
    char **ret_path;
};

/* CRC-32 as in .gnu_debuglink: that of ISO 3309, bit by bit through a table of 16. */
static uint32_t checksum_add(uint32_t sum, const uint8_t *bytes, size_t size)
{
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };

    for (size_t i = 0; i < size; i++) {
        sum ^= bytes[i];
        sum = sum >> 4 ^ table[sum & 15];
        sum = sum >> 4 ^ table[sum & 15];
    }
    return sum;
}

static bool checksum_fits(int fd, uint32_t expected)
{
    uint8_t bytes[4096];
    uint32_t sum = UINT32_MAX;
    off_t at = 0;
    ssize_t got;

    while ((got = pread(fd, bytes, sizeof(bytes), at)) > 0) {
        sum = checksum_add(sum, bytes, (size_t)got);
        at += got;
    }
    return got == 0 && ~sum == expected;
}

static bool file_fits(const struct search *search, int fd)
{
    struct build_id id = {0};
    Elf *elf = elf_begin(fd, ELF_C_READ_MMAP, NULL);

    if (!elf)
        return false;
    bool is_elf = elf_kind(elf) == ELF_K_ELF;
    if (is_elf)
        xctx__build_id_of(elf, &id);
    elf_end(elf);
    if (!is_elf)
        return false;
    if (search->id.size > 0)
        return xctx__build_id_equal(&id, &search->id);
    return search->checked && checksum_fits(fd, search->checksum);
}

/* Opens a file if it is the one. Returns its descriptor, or -1. */
static int try_file(const struct search *search, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return -1;
    char *copy = strdup(path); /* libdwfl frees it */
    if (copy && xctx__module_note_file(search->module, fd)) {
        if (file_fits(search, fd)) {
            *search->ret_path = copy;
            return fd;
        }
        search->module->opened_count--;
    }
    free(copy);
    close(fd);
    return -1;
}

__attribute__((format(printf, 2, 3))) static int try_format(const struct search *search, const char *format, ...)
{
    char path[4096];
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(path, sizeof(path), format, arguments);
    va_end(arguments);
    return length > 0 && (size_t)length < sizeof(path) ? try_file(search, path) : -1;
}

static int try_build_id(const struct search *search, const char *sysroot, const char *folder, int length)
{
    char name[2 * XCTX__BUILD_ID + 1] = "";

    if (search->id.size < 2)
        return -1;
    for (size_t i = 0; i < search->id.size; i++)
        snprintf(name + 2 * i, 3, "%02x", search->id.bytes[i]);
    return try_format(search, "%s%.*s/.build-id/%.2s/%s.debug", sysroot, length, folder, name, name + 2);
}

/* The debug folders, one after the other: the length of the one at `*at`, which is moved to the next; -1: no more. */
static int next_folder(const char **at, const char **ret_folder)
{
    if (!*at)
        return -1;
    size_t length = strcspn(*at, ":");
    *ret_folder = *at;
    *at = (*at)[length] ? *at + length + 1 : NULL;
    return (int)length;
}

static const char *debug_folders(const struct search *search)
{
    const char *path = search->module->debug_path;

    return path && *path ? path : default_path;
}

static int find_by_build_id(const struct search *search)
{
    const char *folder, *at = debug_folders(search);
    int length, fd = -1;

    while (fd < 0 && (length = next_folder(&at, &folder)) >= 0) {
        if (search->module->sysroot[0])
            fd = try_build_id(search, search->module->sysroot, folder, length);
        if (fd < 0)
            fd = try_build_id(search, "", folder, length);
    }
    return fd;
}

static int find_by_link(const struct search *search, const char *link)
{
    const struct module *module = search->module;
    const char *folder, *at = debug_folders(search);
    const char *slash = strrchr(module->path, '/');
    int beside = slash ? (int)(slash - module->path) : 0;
    int length;

    int fd = try_format(search, "%s%.*s/%s", module->sysroot, beside, module->path, link);
    if (fd < 0)
        fd = try_format(search, "%s%.*s/.debug/%s", module->sysroot, beside, module->path, link);
    while (fd < 0 && (length = next_folder(&at, &folder)) >= 0)
        fd = try_format(search, "%.*s%.*s/%s", length, folder, beside, module->path, link);
    return fd;
}

/* The file that a module's debug information shares parts with, by the name that it has there. */
static int find_shared(struct search *search, Dwfl_Module *dwfl_module, const char *name)
{
    Dwarf_Addr bias;
    Dwarf *dwarf = dwfl_module_getdwarf(dwfl_module, &bias);
    const char *link;
    const void *id;
    ssize_t size = dwarf ? dwelf_dwarf_gnu_debugaltlink(dwarf, &link, &id) : -1;
    const char *file = NULL;

    if (size <= 0 || size > XCTX__BUILD_ID)
        return -1;
    search->id.size = (size_t)size;
    memcpy(search->id.bytes, id, (size_t)size);
    int fd = find_by_build_id(search);
    if (fd < 0 && name[0] == '/')
        fd = try_format(search, "%s%s", search->module->sysroot, name);
    if (fd < 0 && name[0] != '/') {
        dwfl_module_info(dwfl_module, NULL, NULL, NULL, NULL, NULL, NULL, &file);
        const char *slash = file ? strrchr(file, '/') : NULL;
        if (slash)
            fd = try_format(search, "%.*s/%s", (int)(slash - file), file, name);
    }
    return fd;
}

int xctx__debug_file_find(Dwfl_Module *dwfl_module, void **user, const char *name, Dwarf_Addr base,
                          const char *file_name, const char *link, GElf_Word checksum, char **ret_path)
{
    struct module *module = *user;
    struct search search = {.module = module, .id = module->id, .ret_path = ret_path};

    (void)name;
    (void)base;
    (void)file_name;
    /* libdwfl asks for a shared file in the same way, when it has the debug information that refers to it: then it has
       no checksum. */
    if (link && checksum == 0) {
        if (module->sharing)
            return -1;
        module->sharing = true;
        int shared = find_shared(&search, dwfl_module, link);
        module->sharing = false;
        return shared;
    }
    int fd = find_by_build_id(&search);
    if (fd < 0 && link) {
        search.checked = true;
        search.checksum = checksum;
        fd = find_by_link(&search, link);
    }
    return fd;
}
