/* SPDX-License-Identifier: MIT */
/*
 * What debuggers want of programs and libraries: see core_internal.h.
 *
 * The first page of each mapped ELF file (it tells gdb and elfutils the build-id), the segments that the process can
 * write to, the kernel's library, and the list of what the dynamic linker has loaded: the debugger finds the address of
 * its head in the program's dynamic section (DT_DEBUG). Entries of the list lie on the heap, which is not in the core
 * but for them.
 *
 * Everything is read by layout_read(), which cannot fault, and taken as possibly wrong: a program may map any file.
 */
#include <elf.h>
#include <link.h>
#include <string.h>

#include "arch/core.h"
#include "core_internal.h"
#include "note.h"

enum {
    HEADERS = 64,     /* program headers of a file that are looked at */
    DYNAMIC = 512,    /* entries of the program's dynamic section */
    LIBRARIES = 8192, /* of the dynamic linker's list */
    NAMESPACES = 64,  /* lists: see dlmopen() */
    NOTES = 4096,     /* bytes of notes of a file that are looked at */
    NAME = 4096,      /* bytes of a library's name */
    BUILD_ID = 64,    /* bytes */
};

struct module {
    uint64_t start;
    uint64_t bias;
    size_t count;
    Elf64_Phdr headers[HEADERS];
};

static uint64_t page_down(uint64_t address)
{
    return address & ~(uint64_t)(XCTX__CORE_PAGE - 1);
}

static uint64_t page_up(uint64_t address)
{
    return page_down(address + XCTX__CORE_PAGE - 1);
}

/* How many bytes could be read, from the start. */
static size_t layout_read(const struct core_layout *layout, uint64_t address, void *buffer, size_t size)
{
    return layout->file ? xctx__file_read(layout->file, address, buffer, size)
                        : xctx__core_self_read(&layout->self, address, buffer, size);
}

/* What the file holds already need not be added. */
static void add(struct core_layout *layout, uint64_t address, uint64_t size, uint32_t flags)
{
    struct core_part part = {.address = address, .size = size, .flags = flags};

    if (!layout->file && size > 0 && address + size > address)
        xctx__core_add(layout, &part);
}

/* Reads program headers, and how far they are from where the file is mapped. */
static bool read_module(const struct core_layout *layout, uint64_t start, struct module *ret_module)
{
    Elf64_Ehdr header;

    if (layout_read(layout, start, &header, sizeof(header)) < sizeof(header) ||
        memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_machine != XCTX__CORE_MACHINE || header.e_phentsize != sizeof(Elf64_Phdr) ||
        (header.e_type != ET_DYN && header.e_type != ET_EXEC) || header.e_phoff > XCTX__CORE_PAGE)
        return false;
    ret_module->start = start;
    ret_module->count = header.e_phnum < HEADERS ? header.e_phnum : HEADERS;
    ret_module->count =
        layout_read(layout, start + header.e_phoff, ret_module->headers, ret_module->count * sizeof(Elf64_Phdr)) /
        sizeof(Elf64_Phdr);
    for (size_t i = 0; i < ret_module->count; i++) {
        const Elf64_Phdr *segment = &ret_module->headers[i];
        if (segment->p_type == PT_LOAD && page_down(segment->p_offset) == 0) {
            ret_module->bias = start - page_down(segment->p_vaddr);
            return true;
        }
    }
    return false;
}

/* Whether an address is where that part of the file of a mapping is: a file may be mapped without being loaded. */
static bool is_loaded(const struct core_layout *layout, size_t first, uint64_t address, uint64_t offset)
{
    const struct core_file_mapping *mappings = (const struct core_file_mapping *)(void *)layout->mappings.bytes;
    size_t count = layout->mappings.size / sizeof(*mappings);

    for (size_t i = first; i < count && mappings[i].path == mappings[first].path; i++)
        if (address >= mappings[i].start && address < mappings[i].end)
            return mappings[i].offset + (address - mappings[i].start) == offset;
    return false;
}

static uint32_t find_build_id(const struct core_layout *layout, const struct module *module, uint8_t *ret_id)
{
    for (size_t i = 0; i < module->count; i++) {
        const Elf64_Phdr *segment = &module->headers[i];
        _Alignas(8) uint8_t notes[NOTES];
        if (segment->p_type != PT_NOTE)
            continue;
        size_t size = segment->p_filesz < NOTES ? segment->p_filesz : NOTES;
        size = layout_read(layout, module->bias + segment->p_vaddr, notes, size);
        for (size_t at = 0; size - at >= sizeof(Elf64_Nhdr);) {
            Elf64_Nhdr note;
            memcpy(&note, notes + at, sizeof(note));
            size_t name = at + sizeof(note);
            uint64_t content = name + (((uint64_t)note.n_namesz + 3) & ~UINT64_C(3));
            uint64_t next = content + (((uint64_t)note.n_descsz + 3) & ~UINT64_C(3));
            if (next > size)
                break;
            if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == 4 && memcmp(notes + name, "GNU", 4) == 0 &&
                note.n_descsz <= BUILD_ID) {
                memcpy(ret_id, notes + content, note.n_descsz);
                return note.n_descsz;
            }
            at = (size_t)next;
        }
    }
    return 0;
}

static void record_module(struct core_layout *layout, const struct module *module, const char *path)
{
    struct core_module_id id = {.start = module->start, .end = module->start, .bias = module->bias};
    uint8_t build_id[BUILD_ID];

    for (size_t i = 0; i < module->count; i++) {
        const Elf64_Phdr *segment = &module->headers[i];
        uint64_t end = page_up(module->bias + segment->p_vaddr + segment->p_memsz);
        if (segment->p_type == PT_LOAD && end > id.end)
            id.end = end;
    }
    id.build_id_size = find_build_id(layout, module, build_id);
    size_t begin = xctx__core_record_begin(&layout->modules, CORE_MODULE);
    xctx__core_append(&layout->modules, &id, sizeof(id));
    xctx__core_append(&layout->modules, build_id, id.build_id_size);
    xctx__core_append(&layout->modules, path, strlen(path) + 1);
    xctx__core_record_end(&layout->modules, begin);
}

static void add_module(struct core_layout *layout, size_t index)
{
    const struct core_file_mapping mapping = ((const struct core_file_mapping *)(void *)layout->mappings.bytes)[index];
    struct module module;

    if (mapping.offset != 0 || !read_module(layout, mapping.start, &module))
        return;
    record_module(layout, &module, (const char *)layout->paths.bytes + mapping.path);
    for (size_t i = 0; i < module.count; i++) {
        const Elf64_Phdr *segment = &module.headers[i];
        uint64_t address = page_down(module.bias + segment->p_vaddr);
        if (segment->p_type == PT_LOAD && segment->p_flags & PF_W &&
            is_loaded(layout, index, address, page_down(segment->p_offset)))
            add(layout, address, page_up(module.bias + segment->p_vaddr + segment->p_memsz) - address, PF_R | PF_W);
    }
    add(layout, mapping.start, XCTX__CORE_PAGE, PF_R);
}

/* The kernel's library is no file: all of it. */
static void add_vdso(struct core_layout *layout, size_t index)
{
    const struct core_file_mapping mapping = ((const struct core_file_mapping *)(void *)layout->mappings.bytes)[index];
    struct module module;

    add(layout, mapping.start, mapping.end - mapping.start, PF_R | PF_X);
    if (read_module(layout, mapping.start, &module))
        record_module(layout, &module, "[vdso]");
}

static uint64_t auxiliary(const struct core_layout *layout, uint64_t type)
{
    for (size_t at = 0; at + sizeof(Elf64_auxv_t) <= layout->auxv.size; at += sizeof(Elf64_auxv_t)) {
        Elf64_auxv_t entry;
        memcpy(&entry, layout->auxv.bytes + at, sizeof(entry));
        if (entry.a_type == type)
            return entry.a_un.a_val;
    }
    return 0;
}

/* Where the dynamic linker's `struct r_debug` is; 0: not known. */
static uint64_t find_list(const struct core_layout *layout)
{
    uint64_t headers = auxiliary(layout, AT_PHDR);
    uint64_t count = auxiliary(layout, AT_PHNUM);
    uint64_t bias = 0;
    uint64_t dynamic = 0;

    for (uint64_t i = 0; i < count && i < HEADERS; i++) {
        Elf64_Phdr segment;
        if (layout_read(layout, headers + i * sizeof(segment), &segment, sizeof(segment)) < sizeof(segment))
            return 0;
        if (segment.p_type == PT_PHDR)
            bias = headers - segment.p_vaddr;
        if (segment.p_type == PT_DYNAMIC)
            dynamic = bias + segment.p_vaddr; /* PT_PHDR comes before all others (ELF specification) */
    }
    for (uint64_t i = 0; dynamic && i < DYNAMIC; i++) {
        Elf64_Dyn entry;
        if (layout_read(layout, dynamic + i * sizeof(entry), &entry, sizeof(entry)) < sizeof(entry) ||
            entry.d_tag == DT_NULL)
            break;
        if (entry.d_tag == DT_DEBUG)
            return entry.d_un.d_ptr;
    }
    return 0;
}

static void add_name(struct core_layout *layout, uint64_t address)
{
    char name[256];

    for (uint64_t size = 0; size < NAME; size += sizeof(name)) {
        size_t got = layout_read(layout, address + size, name, sizeof(name));
        const char *end = memchr(name, '\0', got);
        if (end) {
            /* In whole words: gdb reads texts like that. */
            uint64_t from = address & ~UINT64_C(7);
            uint64_t to = (address + size + (uint64_t)(end - name) + 8) & ~UINT64_C(7);
            add(layout, from, to - from, PF_R | PF_W);
        }
        if (end || got < sizeof(name))
            break;
    }
}

static void add_list(struct core_layout *layout)
{
    uint64_t at = layout->file ? 0 : find_list(layout);

    for (int lists = 0; at && lists < NAMESPACES; lists++) {
        struct {
            struct r_debug debug;
            uint64_t next; /* struct r_debug_extended, from r_version 2 on */
        } list = {0};
        struct link_map entry;
        if (layout_read(layout, at, &list, sizeof(list)) < sizeof(list.debug))
            break;
        add(layout, at, list.debug.r_version >= 2 ? sizeof(list) : sizeof(list.debug), PF_R | PF_W);
        uint64_t library = (uintptr_t)list.debug.r_map;
        for (int i = 0; library && i < LIBRARIES; i++) {
            if (layout_read(layout, library, &entry, sizeof(entry)) < sizeof(entry))
                break;
            add(layout, library, sizeof(entry), PF_R | PF_W);
            add_name(layout, (uintptr_t)entry.l_name);
            library = (uintptr_t)entry.l_next;
        }
        at = list.debug.r_version >= 2 ? list.next : 0;
    }
}

void xctx__core_add_modules(struct core_layout *layout)
{
    size_t count = layout->mappings.size / sizeof(struct core_file_mapping);

    /* The list first, so that a large library does not push it out. */
    add_list(layout);
    for (size_t i = 0; i < count && !layout->parts.failed; i++) {
        const struct core_file_mapping *mapping =
            &((const struct core_file_mapping *)(void *)layout->mappings.bytes)[i];
        if (((const char *)layout->paths.bytes)[mapping->path] == '[')
            add_vdso(layout, i);
        else
            add_module(layout, i);
    }
}
