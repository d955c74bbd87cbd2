/* SPDX-License-Identifier: MIT */
/*
 * One module's file: opened when it is first needed, and used only if it is the one that is loaded.
 *
 * Build-ids decide that. Without one, what is in memory is compared with the file: the program headers, and the start
 * of the code. If the file is not the one, or is gone, and the module is loaded in this process, an ELF file is made of
 * its memory: that has the unwind information and the exported names. The vdso, which never had a file, is read like
 * that.
 */
#include "module.h"

#include <elfutils/libdwelf.h>
#include <fcntl.h>
#include <gelf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "allocate.h"
#include "context/memory.h"
#include "core_read.h"

enum {
    IMAGE_LIMIT = 128 * 1024 * 1024, /* bytes of a module that are read from memory */
    HEADERS = 64,                    /* program headers */
    CODE = 64 * 1024,                /* bytes of code that are compared */
};

/* ---- build-ids ---- */

void xctx__build_id_find(const uint8_t *notes, size_t size, struct build_id *ret_id)
{
    size_t at = 0;

    ret_id->size = 0;
    while (size - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        memcpy(&note, notes + at, sizeof(note));
        at += sizeof(note);
        size_t name = ((size_t)note.n_namesz + 3) & ~(size_t)3;
        size_t described = ((size_t)note.n_descsz + 3) & ~(size_t)3;
        if (name > size - at || described > size - at - name)
            return;
        if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(notes + at, "GNU", 4) == 0 &&
            note.n_descsz > 0 && note.n_descsz <= XCTX__BUILD_ID) {
            ret_id->size = note.n_descsz;
            memcpy(ret_id->bytes, notes + at + name, note.n_descsz);
            return;
        }
        at += name + described;
    }
}

bool xctx__build_id_equal(const struct build_id *a, const struct build_id *b)
{
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

void xctx__build_id_of(Elf *elf, struct build_id *ret_id)
{
    const void *bytes;
    ssize_t size = dwelf_elf_gnu_build_id(elf, &bytes);

    ret_id->size = 0;
    if (size > 0 && size <= XCTX__BUILD_ID) {
        ret_id->size = (size_t)size;
        memcpy(ret_id->bytes, bytes, (size_t)size);
    }
}

/* ---- create, destroy ---- */

struct module *xctx__module_create(const char *path)
{
    size_t size = strlen(path) + 1;
    struct module *module = xctx__decode_allocate(sizeof(*module));
    char *copy = xctx__decode_allocate(size);

    if (!module || !copy) {
        xctx__free(module);
        xctx__free(copy);
        return NULL;
    }
    *module = (struct module){.died = UINT64_MAX, .sysroot = "", .path = memcpy(copy, path, size)};
    return module;
}

bool xctx__module_note_file(struct module *module, int fd)
{
    struct stat status;

    if (module->opened_count == XCTX__OPENED || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
        return false;
    module->opened[module->opened_count++] = (struct opened_file){fd, status.st_dev, status.st_ino};
    return true;
}

/* Programs close files that they do not know of, as daemons do when they start, and use their numbers again: libdwfl
   must not close those. Nor does it need the files any more, since they are mapped. */
static bool has_its_files(const struct module *module)
{
    struct stat status;

    for (int i = 0; i < module->opened_count; i++) {
        const struct opened_file *file = &module->opened[i];
        if (fstat(file->fd, &status) != 0 || status.st_dev != file->device || status.st_ino != file->number)
            return false;
    }
    return true;
}

/* Those that cannot be ended: better some memory lost than a file of the program's. Kept in sight of leak checkers. */
static struct abandoned {
    struct abandoned *next;
    Dwfl *dwfl;
} * abandoned;

static void abandon(Dwfl *dwfl)
{
    struct abandoned *entry = xctx__decode_allocate(sizeof(*entry));

    if (!entry)
        return;
    *entry = (struct abandoned){abandoned, dwfl};
    abandoned = entry;
}

static void end_dwfl(struct module *module)
{
    if (module->dwfl && has_its_files(module))
        dwfl_end(module->dwfl);
    else if (module->dwfl)
        abandon(module->dwfl);
    module->dwfl = NULL;
    module->dwfl_module = NULL;
    module->opened_count = 0;
}

void xctx__module_close(struct module *module)
{
    end_dwfl(module);
    xctx__unit_index_destroy(&module->units);
    xctx__symbol_index_destroy(&module->symbols);
    xctx__scope_cache_destroy(&module->scopes);
    xctx__free(module->image);
    xctx__free(module->complaint);
    module->image = NULL;
    module->image_size = 0;
    module->complaint = NULL;
    module->complaint_known = false;
    module->stage = MODULE_CLOSED;
}

void xctx__module_destroy(struct module *module)
{
    xctx__module_close(module);
    xctx__free(module->path);
    xctx__free(module);
}

__attribute__((format(printf, 2, 3))) static void complain(struct module *module, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    xctx__free(module->complaint);
    module->complaint = length < 0 ? NULL : xctx__decode_allocate((size_t)length + 1);
    if (!module->complaint)
        return;
    va_start(arguments, format);
    vsnprintf(module->complaint, (size_t)length + 1, format, arguments);
    va_end(arguments);
    module->complaint_known = true;
}

/* ---- what is in memory ---- */

/* Reads the module's bytes as the process, or the core file, has them. */
static bool read_memory(const struct module *module, uint64_t address, void *buffer, size_t size)
{
    bool stack;

    if (address < module->start || address > module->end || size > module->end - address)
        return false;
    if (module->core)
        return xctx__core_read(module->core, address, buffer, size, &stack);
    return module->died == UINT64_MAX && xctx__memory_read_live(address, buffer, size);
}

/* The headers of the module as they are in memory: the ELF header is at its start. */
struct headers {
    Elf64_Ehdr file;
    Elf64_Phdr segment[HEADERS];
};

static bool read_headers(const struct module *module, struct headers *headers)
{
    Elf64_Ehdr *file = &headers->file;

    if (!read_memory(module, module->start, file, sizeof(*file)))
        return false;
    if (memcmp(file->e_ident, ELFMAG, SELFMAG) != 0 || file->e_ident[EI_CLASS] != ELFCLASS64 ||
        file->e_phentsize != sizeof(Elf64_Phdr) || file->e_phnum > HEADERS)
        return false;
    return read_memory(module, module->start + file->e_phoff, headers->segment, file->e_phnum * sizeof(Elf64_Phdr));
}

/* Whether the same bytes are in a file and in memory, as far as memory is there. */
static bool code_is_equal(const struct module *module, Elf *elf, const Elf64_Phdr *segment)
{
    size_t size = segment->p_filesz < CODE ? segment->p_filesz : CODE;
    size_t file_size;
    const char *file = elf_rawfile(elf, &file_size);
    uint8_t *code = xctx__decode_allocate(size + 1);
    bool equal = false;

    if (code && file && segment->p_offset <= file_size && size <= file_size - segment->p_offset) {
        bool is_there = read_memory(module, module->bias + segment->p_vaddr, code, size);
        equal = is_there ? memcmp(code, file + segment->p_offset, size) == 0 : module->core != NULL;
    }
    xctx__free(code);
    return equal;
}

/* For modules without a build-id. */
static bool contents_fit(struct module *module, Elf *elf)
{
    struct headers headers;
    GElf_Phdr segment;
    size_t count = 0;

    if (!read_headers(module, &headers)) {
        /* A core file need not have a module's first page: gdb takes the file for granted then, and so is done here,
           but not without saying so. */
        module->unchecked = module->core != NULL;
        return module->unchecked;
    }
    if (elf_getphdrnum(elf, &count) != 0 || count != headers.file.e_phnum)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!gelf_getphdr(elf, (int)i, &segment) || memcmp(&segment, &headers.segment[i], sizeof(segment)) != 0)
            return false;
        if (segment.p_type == PT_LOAD && segment.p_flags & PF_X && !(segment.p_flags & PF_W) &&
            !code_is_equal(module, elf, &segment))
            return false;
    }
    return true;
}

/* ---- opening ---- */

static int find_elf(Dwfl_Module *dwfl_module, void **user, const char *name, Dwarf_Addr base, char **ret_path,
                    Elf **ret_elf)
{
    struct module *module = *user;

    (void)dwfl_module;
    (void)name;
    (void)base;
    *ret_path = NULL;
    *ret_elf = module && module->image ? elf_memory((char *)module->image, module->image_size) : NULL;
    return -1;
}

static const Dwfl_Callbacks callbacks = {
    .find_elf = find_elf,
    .find_debuginfo = xctx__debug_file_find,
    .section_address = dwfl_offline_section_address,
};

static void set_user(struct module *module)
{
    void **user;

    dwfl_module_info(module->dwfl_module, &user, NULL, NULL, NULL, NULL, NULL, NULL);
    *user = module;
}

static bool file_fits(struct module *module)
{
    struct build_id id;
    GElf_Addr bias;
    Elf *elf = dwfl_module_getelf(module->dwfl_module, &bias);

    if (!elf || bias != module->bias)
        return false;
    xctx__build_id_of(elf, &id);
    if (module->id.size > 0)
        return xctx__build_id_equal(&id, &module->id);
    return contents_fit(module, elf);
}

/* Opens the file at a path, if it is the one. */
static bool open_file(struct module *module, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return false;
    if (!xctx__module_note_file(module, fd) || !(module->dwfl = dwfl_begin(&callbacks)))
        goto fail;
    dwfl_report_begin(module->dwfl);
    module->dwfl_module = dwfl_report_elf(module->dwfl, module->path, path, fd, module->bias, true);
    bool reported = dwfl_report_end(module->dwfl, NULL, NULL) == 0;
    if (!module->dwfl_module)
        goto fail;
    set_user(module);
    if (reported && file_fits(module))
        return true;
    end_dwfl(module);
    return false;
fail:
    module->opened_count = 0;
    end_dwfl(module);
    close(fd);
    return false;
}

/* The dynamic linker puts addresses where the file has offsets. */
static void unrelocate(const struct module *module, uint8_t *bytes, size_t size)
{
    for (size_t at = 0; size - at >= sizeof(Elf64_Dyn); at += sizeof(Elf64_Dyn)) {
        Elf64_Dyn entry;
        memcpy(&entry, bytes + at, sizeof(entry));
        if (entry.d_tag == DT_NULL)
            return;
        if (entry.d_tag == DT_STRSZ || entry.d_tag == DT_SYMENT || entry.d_un.d_ptr < module->start ||
            entry.d_un.d_ptr >= module->end)
            continue;
        entry.d_un.d_ptr -= module->bias;
        memcpy(bytes + at, &entry, sizeof(entry));
    }
}

static bool is_in_image(const Elf64_Phdr *segment)
{
    return (segment->p_type == PT_LOAD && !(segment->p_flags & PF_W) && segment->p_flags & PF_R) ||
           segment->p_type == PT_DYNAMIC;
}

/* Makes an ELF file of what is in memory. */
static bool make_image(struct module *module)
{
    struct headers headers;
    uint64_t size = 0;

    if (!read_headers(module, &headers))
        return false;
    for (int i = 0; i < headers.file.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers.segment[i];
        if (!is_in_image(segment))
            continue;
        if (segment->p_offset > IMAGE_LIMIT || segment->p_filesz > IMAGE_LIMIT - segment->p_offset)
            return false;
        if (segment->p_offset + segment->p_filesz > size)
            size = segment->p_offset + segment->p_filesz;
    }
    module->image = size < sizeof(Elf64_Ehdr) ? NULL : xctx__decode_allocate((size_t)size);
    if (!module->image)
        return false;
    memset(module->image, 0, (size_t)size);
    module->image_size = (size_t)size;
    for (int i = 0; i < headers.file.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers.segment[i];
        uint8_t *to = module->image + segment->p_offset;
        if (!is_in_image(segment))
            continue;
        if (!read_memory(module, module->bias + segment->p_vaddr, to, segment->p_filesz))
            return false;
        if (segment->p_type == PT_DYNAMIC)
            unrelocate(module, to, segment->p_filesz);
    }
    headers.file.e_shoff = 0;
    headers.file.e_shnum = 0;
    headers.file.e_shstrndx = 0;
    memcpy(module->image, &headers.file, sizeof(headers.file));
    return true;
}

static bool open_image(struct module *module)
{
    GElf_Addr bias;

    if (!make_image(module) || !(module->dwfl = dwfl_begin(&callbacks)))
        goto fail;
    dwfl_report_begin(module->dwfl);
    module->dwfl_module = dwfl_report_module(module->dwfl, module->path, module->start, module->end);
    if (module->dwfl_module)
        set_user(module);
    if (dwfl_report_end(module->dwfl, NULL, NULL) == 0 && module->dwfl_module &&
        dwfl_module_getelf(module->dwfl_module, &bias) && bias == module->bias)
        return true;
fail:
    end_dwfl(module);
    xctx__free(module->image);
    module->image = NULL;
    return false;
}

/* Also a file that was deleted can be had by where it is mapped, which is for the privileged only. */
static bool open_by_mapping(struct module *module)
{
    struct headers headers;
    char path[128];

    if (module->core || !read_headers(module, &headers))
        return false;
    for (int i = 0; i < headers.file.e_phnum; i++) {
        const Elf64_Phdr *segment = &headers.segment[i];
        if (segment->p_type != PT_LOAD)
            continue;
        uint64_t end = (module->bias + segment->p_vaddr + segment->p_filesz + 4095) & ~(uint64_t)4095;
        snprintf(path, sizeof(path), "/proc/self/map_files/%llx-%llx", (unsigned long long)module->start,
                 (unsigned long long)end);
        return open_file(module, path);
    }
    return false;
}

static bool open_by_path(struct module *module)
{
    char path[4096];

    if (module->vdso)
        return false;
    /* That is there also when the file was deleted. */
    if (module->program && !module->core && open_file(module, "/proc/self/exe"))
        return true;
    int length = snprintf(path, sizeof(path), "%s%s", module->sysroot, module->path);
    return (length > 0 && (size_t)length < sizeof(path) && open_file(module, path)) || open_by_mapping(module);
}

Dwfl_Module *xctx__module_open(struct module *module)
{
    if (module->stage != MODULE_CLOSED)
        return module->dwfl_module;
    bool ran_out_before = xctx__decode_ran_out();
    elf_version(EV_CURRENT);
    if (open_by_path(module)) {
        module->stage = MODULE_OPEN;
        if (module->unchecked)
            complain(module, "%s%s may be another file than the one that was loaded: the core file does not say",
                     module->sysroot, module->path);
    } else if (open_image(module)) {
        module->stage = MODULE_OPEN;
        if (!module->vdso)
            complain(module,
                     "%s is not the file that is loaded, or is gone: of its functions only exported names are known",
                     module->path);
    } else {
        module->stage = MODULE_REFUSED;
        complain(module, "%s%s is not the file that was loaded, or is not there: nothing of it is used",
                 module->sysroot, module->path);
    }
    /* Tried again next time. */
    if (!ran_out_before && xctx__decode_ran_out())
        xctx__module_close(module);
    return module->dwfl_module;
}

struct module *xctx__module_of(Dwfl_Module *dwfl_module)
{
    void **user = NULL;

    if (!dwfl_module)
        return NULL;
    dwfl_module_info(dwfl_module, &user, NULL, NULL, NULL, NULL, NULL, NULL);
    return *user;
}

const char *xctx__module_lack(struct module *module)
{
    Dwarf_Addr bias;

    if (module->complaint_known)
        return module->complaint;
    module->complaint_known = true;
    if (!module->vdso && !dwfl_module_getdwarf(module->dwfl_module, &bias))
        complain(module,
                 "no debug information for %s: compile it with -g, or install what the system has for it (Debian: the "
                 "package with -dbgsym behind its name)",
                 module->path);
    return module->complaint;
}

/* ---- reading ---- */

bool xctx__module_read(struct module *module, uint64_t address, void *buffer, size_t size)
{
    size_t count = 0, file_size = 0;
    GElf_Addr bias;
    GElf_Phdr segment;

    if (!xctx__module_open(module) || module->unchecked)
        return false;
    Elf *elf = dwfl_module_getelf(module->dwfl_module, &bias);
    const char *file = elf ? elf_rawfile(elf, &file_size) : NULL;
    if (!file || elf_getphdrnum(elf, &count) != 0)
        return false;
    address -= bias;
    for (size_t i = 0; i < count; i++) {
        if (!gelf_getphdr(elf, (int)i, &segment) || segment.p_type != PT_LOAD || segment.p_flags & PF_W ||
            address < segment.p_vaddr || address - segment.p_vaddr > segment.p_filesz)
            continue;
        uint64_t skip = address - segment.p_vaddr;
        if (size > segment.p_filesz - skip || segment.p_offset > file_size || skip > file_size - segment.p_offset ||
            size > file_size - segment.p_offset - skip)
            continue;
        memcpy(buffer, file + segment.p_offset + skip, size);
        return true;
    }
    return false;
}
