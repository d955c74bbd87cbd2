/* SPDX-License-Identifier: MIT */
/*
 * Where thread-local variables are: see tls.h.
 *
 * Each thread has a block for each module. Where those are only the dynamic linker knows, in structures of its own, but
 * for two cases. Of the running thread it says so by dl_iterate_phdr(). And the block of the program itself, not of a
 * library, is at a place that the processor's ABI fixes: so in a core file it is known, too. For the others in a core
 * one would have to read the dynamic linker's structures as libthread_db does.
 *
 * Snapshots do not hold thread-local storage: what is read of this process is as it is now. Of another thread nothing
 * is: it may have ended, and another one have its memory.
 */
#include "tls.h"

#include <elf.h>
#include <gelf.h>
#include <link.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/core.h"
#include "module.h"

/* ---- of this process ---- */

struct search {
    const struct module *module;
    bool found;
    uint64_t block; /* 0: the thread has none yet */
    uint64_t size;
};

static int look_at(struct dl_phdr_info *info, size_t size, void *user)
{
    struct search *search = user;

    if (info->dlpi_addr != search->module->bias ||
        size < offsetof(struct dl_phdr_info, dlpi_tls_data) + sizeof(info->dlpi_tls_data))
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uint64_t start = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_TLS)
            search->size = segment->p_memsz;
        if (segment->p_type == PT_LOAD && start >= search->module->start && start < search->module->end)
            search->found = true;
    }
    search->block = (uintptr_t)info->dlpi_tls_data;
    return search->found;
}

static bool is_running_thread(const xctx_thread_state *state)
{
    return state->present & XCTX_THREAD_IDS && state->tid == (int)syscall(SYS_gettid) && state->pid == getpid();
}

static enum xctx_source find_own(const struct place *place, const struct module *module, uint64_t *ret_block,
                                 uint64_t *ret_size)
{
    struct search search = {.module = module};

    if (!is_running_thread(&place->memory->snapshot->whole->state))
        return XCTX_SOURCE_NOT_CAPTURED;
    dl_iterate_phdr(look_at, &search);
    if (!search.found || search.block == 0)
        return XCTX_SOURCE_NOT_CAPTURED;
    *ret_block = search.block;
    *ret_size = search.size;
    return XCTX_SOURCE_SNAPSHOT;
}

/* ---- of core files ---- */

/* Where the program's headers were in memory; 0: not known. */
static uint64_t program_headers(const struct core_file *file)
{
    Elf64_auxv_t entry;

    for (size_t at = 0; file->auxv_size - at >= sizeof(entry); at += sizeof(entry)) {
        memcpy(&entry, file->auxv + at, sizeof(entry));
        if (entry.a_type == AT_PHDR)
            return entry.a_un.a_val;
    }
    return 0;
}

static enum xctx_source find_in_core(const struct place *place, const struct module *module, uint64_t *ret_block,
                                     uint64_t *ret_size)
{
    const xctx_snapshot *whole = place->memory->snapshot->whole;
    uint64_t headers = program_headers(whole->file);
    GElf_Addr bias;
    Elf *elf = dwfl_module_getelf(place->module, &bias);
    size_t count = 0;

    if (headers < module->start || headers >= module->end || !elf || elf_getphdrnum(elf, &count) != 0)
        return XCTX_SOURCE_UNSUPPORTED;
    if (!(whole->registers.known >> XCTX__REGISTER_TLS & 1))
        return XCTX_SOURCE_NOT_CAPTURED;
    for (size_t i = 0; i < count; i++) {
        GElf_Phdr segment;
        if (!gelf_getphdr(elf, (int)i, &segment) || segment.p_type != PT_TLS)
            continue;
        uint64_t align = segment.p_align ? segment.p_align : 1;
        if (align & (align - 1))
            break;
        *ret_block =
            xctx__core_tls(whole->registers.value[XCTX__REGISTER_TLS], segment.p_vaddr, segment.p_memsz, align);
        *ret_size = segment.p_memsz;
        return XCTX_SOURCE_SNAPSHOT;
    }
    return XCTX_SOURCE_UNSUPPORTED;
}

enum xctx_source xctx__tls_address(const struct place *place, uint64_t offset, uint64_t *ret_address)
{
    const struct module *module = place->module ? xctx__module_of(place->module) : NULL;
    uint64_t block = 0, size = 0;

    *ret_address = 0;
    if (!module)
        return XCTX_SOURCE_UNSUPPORTED;
    enum xctx_source source = place->memory->snapshot->whole->file ? find_in_core(place, module, &block, &size)
                                                                   : find_own(place, module, &block, &size);
    if (source != XCTX_SOURCE_SNAPSHOT)
        return source;
    if (offset >= size)
        return XCTX_SOURCE_UNSUPPORTED;
    *ret_address = block + offset;
    return XCTX_SOURCE_SNAPSHOT;
}
