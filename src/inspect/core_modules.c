/* SPDX-License-Identifier: MIT */
/*
 * The modules of a core file: of its list of mapped files (NT_FILE) those that are ELF files, and the vdso, whose
 * address is in the auxiliary vector.
 *
 * They are kept as long as the file is open, since several snapshots come from one file: the file's `destroy` is
 * replaced by one that frees them first.
 */
#include "core_modules.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "allocate.h"
#include "capture/snapshot_internal.h"
#include "context/memory.h"
#include "core_read.h"
#include "module.h"
#include "modules.h"

enum { NOTES = 4096, HEADERS = 64 };

static struct modules *cores; /* of the files that are open; with the decode lock */

/* What the core has of a module's program headers. */
struct headers {
    Elf64_Ehdr file;
    Elf64_Phdr segment[HEADERS];
};

static bool read_headers(const struct core_file *file, uint64_t start, struct headers *headers)
{
    const Elf64_Ehdr *head = &headers->file;
    bool stack;

    return xctx__core_read(file, start, &headers->file, sizeof(*head), &stack) &&
           memcmp(head->e_ident, ELFMAG, SELFMAG) == 0 && head->e_ident[EI_CLASS] == ELFCLASS64 &&
           head->e_phentsize == sizeof(Elf64_Phdr) && head->e_phnum <= HEADERS &&
           xctx__core_read(file, start + head->e_phoff, headers->segment, head->e_phnum * sizeof(Elf64_Phdr), &stack);
}

static void read_id(const struct core_file *file, const struct headers *headers, struct module *module)
{
    uint8_t notes[NOTES];
    bool stack;

    for (int i = 0; i < headers->file.e_phnum && module->id.size == 0; i++) {
        const Elf64_Phdr *segment = &headers->segment[i];
        if (segment->p_type == PT_NOTE && segment->p_filesz <= sizeof(notes) &&
            xctx__core_read(file, module->bias + segment->p_vaddr, notes, segment->p_filesz, &stack))
            xctx__build_id_find(notes, segment->p_filesz, &module->id);
    }
}

/* Where the first segment says that it belongs, so much is all of the module moved. */
static void read_range(const struct headers *headers, struct module *module)
{
    bool first = true;

    for (int i = 0; i < headers->file.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers->segment[i];
        if (segment->p_type != PT_LOAD)
            continue;
        if (first)
            module->bias = module->start - (segment->p_vaddr & ~(uint64_t)4095);
        first = false;
        uint64_t end = (module->bias + segment->p_vaddr + segment->p_memsz + 4095) & ~(uint64_t)4095;
        module->end = end > module->end ? end : module->end;
    }
}

/* Without headers in the core the file on disk has to do: it says where its first segment belongs. */
static bool read_file_headers(struct module *module, struct headers *headers)
{
    char path[4096];
    struct stat status;
    bool done = false;
    int length = snprintf(path, sizeof(path), "%s%s", module->sysroot, module->path);
    int fd = length > 0 && (size_t)length < sizeof(path) ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;

    if (fd < 0)
        return false;
    if (fstat(fd, &status) == 0 && S_ISREG(status.st_mode) &&
        pread(fd, &headers->file, sizeof(headers->file), 0) == (ssize_t)sizeof(headers->file) &&
        memcmp(headers->file.e_ident, ELFMAG, SELFMAG) == 0 && headers->file.e_ident[EI_CLASS] == ELFCLASS64 &&
        headers->file.e_phentsize == sizeof(Elf64_Phdr) && headers->file.e_phnum <= HEADERS) {
        size_t size = headers->file.e_phnum * sizeof(Elf64_Phdr);
        done = pread(fd, headers->segment, size, (off_t)headers->file.e_phoff) == (ssize_t)size;
    }
    close(fd);
    return done;
}

static struct module *add(struct modules *modules, const char *path, uint64_t start)
{
    struct module *module = xctx__module_create(path);

    if (!module)
        return NULL;
    module->start = start;
    module->core = modules->file;
    module->permanent = true;
    module->sysroot = modules->sysroot ? modules->sysroot : "";
    module->next = modules->loaded;
    modules->loaded = module;
    return module;
}

static uint64_t auxiliary(const struct core_file *file, uint64_t type)
{
    uint64_t pair[2];

    for (size_t at = 0; file->auxv_size - at >= sizeof(pair); at += sizeof(pair)) {
        memcpy(pair, file->auxv + at, sizeof(pair));
        if (pair[0] == type)
            return pair[1];
    }
    return 0;
}

/* Whether a file that has one mapping is loaded: programs also read such files by mapping them whole. */
static bool is_loaded(const struct headers *headers, size_t mappings)
{
    size_t segments = 0;

    for (int i = 0; i < headers->file.e_phnum; i++)
        segments += headers->segment[i].p_type == PT_LOAD;
    return mappings > 1 || segments <= 1;
}

/* The mapped file `index` and those that belong to the same module. False: no memory. */
static bool add_mapped(struct modules *modules, size_t index)
{
    const struct core_file *file = modules->file;
    const struct core_module *mapped = &file->modules[index];
    uint64_t end = mapped->end;
    size_t mappings = 1;
    struct headers headers;

    struct module *module = add(modules, mapped->path, mapped->start);
    if (!module)
        return false;
    for (size_t i = index + 1; i < file->module_count; i++) {
        const struct core_module *next = &file->modules[i];
        if (next->offset == 0 || strcmp(next->path, mapped->path) != 0)
            break;
        end = next->end;
        mappings++;
    }
    module->end = end;
    bool in_core = read_headers(file, module->start, &headers);
    if ((in_core || read_file_headers(module, &headers)) && is_loaded(&headers, mappings)) {
        read_range(&headers, module);
        if (in_core)
            read_id(file, &headers, module);
        return true;
    }
    /* No ELF file, or not loaded. */
    modules->loaded = module->next;
    xctx__module_destroy(module);
    return true;
}

static bool add_vdso(struct modules *modules)
{
    uint64_t start = auxiliary(modules->file, AT_SYSINFO_EHDR);
    struct headers headers;

    if (start == 0 || !read_headers(modules->file, start, &headers))
        return true;
    struct module *module = add(modules, "[vdso]", start);
    if (!module)
        return false;
    module->vdso = true;
    read_range(&headers, module);
    return true;
}

static void destroy(struct modules *modules)
{
    xctx__modules_finish(modules);
    xctx__free(modules->sysroot);
    xctx__free(modules);
}

static void file_destroy(struct core_file *file)
{
    void (*next)(struct core_file *) = NULL;

    xctx__decode_lock();
    for (struct modules **at = &cores; *at; at = &(*at)->next) {
        struct modules *modules = *at;
        if (modules->file == file) {
            *at = modules->next;
            next = modules->destroy;
            destroy(modules);
            break;
        }
    }
    xctx__decode_unlock();
    if (next)
        next(file);
}

static struct modules *create(struct core_file *file, const char *sysroot)
{
    struct modules *modules = xctx__decode_allocate(sizeof(*modules));
    size_t size = sysroot ? strlen(sysroot) + 1 : 0;
    bool done = true;

    if (!modules)
        return NULL;
    *modules = (struct modules){.file = file, .sysroot = sysroot ? xctx__decode_allocate(size) : NULL};
    if (sysroot && modules->sysroot)
        memcpy(modules->sysroot, sysroot, size);
    done = !sysroot || modules->sysroot;
    for (size_t i = 0; done && i < file->module_count; i++) {
        if (file->modules[i].offset == 0)
            done = add_mapped(modules, i);
    }
    if (done && add_vdso(modules))
        return modules;
    destroy(modules);
    return NULL;
}

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

struct modules *xctx__core_modules_get(struct core_file *file, const char *sysroot)
{
    struct modules **at = &cores, *modules;

    while (*at && (*at)->file != file)
        at = &(*at)->next;
    if (*at && ((*at)->users > 0 || same_text((*at)->sysroot, sysroot)))
        return *at;
    modules = create(file, sysroot);
    if (!modules)
        return NULL;
    if (*at) {
        modules->destroy = (*at)->destroy;
        modules->next = (*at)->next;
        destroy(*at);
    } else {
        modules->destroy = file->destroy;
        file->destroy = file_destroy;
    }
    *at = modules;
    return modules;
}
