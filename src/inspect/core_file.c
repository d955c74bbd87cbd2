/* SPDX-License-Identifier: MIT */
/* See core_file.h. */
#include "core_file.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/core.h"
#include "context/memory.h"
#include "core/note.h"

/* ---- reading ---- */

static size_t page_up(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    return (size + page - 1) / page * page;
}

static ssize_t read_some(int fd, uint8_t *bytes, size_t size)
{
    ssize_t got;

    do
        got = read(fd, bytes, size);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

/* Reads to the end of the file. The memory is as large as xctx__core_file.size says, rounded up to pages. */
static int read_all(int fd, size_t expected, struct core_file *file)
{
    size_t room = page_up(expected + 1);
    ssize_t got = 0;
    size_t size = 0;
    uint8_t *bytes = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (bytes == MAP_FAILED)
        return -ENOMEM;
    while ((got = read_some(fd, bytes + size, room - size)) > 0) {
        size += (size_t)got;
        if (size < room)
            continue;
        if (size > XCTX__FILE_MOST) {
            got = -EFBIG;
            break;
        }
        void *larger = mremap(bytes, room, room * 2, MREMAP_MAYMOVE);
        if (larger == MAP_FAILED) {
            got = -ENOMEM;
            break;
        }
        bytes = larger;
        room *= 2;
    }
    if (got == 0 && size > XCTX__FILE_MOST)
        got = -EFBIG;
    if (got < 0) {
        munmap(bytes, room);
        return (int)got;
    }
    size_t kept = page_up(size + 1);
    if (kept < room)
        munmap(bytes + kept, room - kept);
    file->bytes = bytes;
    file->size = size;
    return 0;
}

static int read_file(const char *path, struct core_file *file)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    struct stat status;
    int result = 0;

    if (fd < 0)
        return -errno;
    file->fd = -1;
    if (fstat(fd, &status) < 0)
        result = -errno;
    else if (S_ISDIR(status.st_mode))
        result = -EISDIR;
    else if (S_ISCHR(status.st_mode))
        result = -ENOEXEC; /* many have no end */
    else if (S_ISREG(status.st_mode) && status.st_size > XCTX__FILE_WHOLE)
        file->fd = fd;
    else
        result = read_all(fd, S_ISREG(status.st_mode) ? (size_t)status.st_size : 0, file);
    if (file->fd >= 0)
        file->size = (uint64_t)status.st_size;
    else
        close(fd);
    return result;
}

static void destroy(struct core_file *file)
{
    struct opened *opened = (struct opened *)file;

    if (file->bytes)
        munmap((void *)(uintptr_t)file->bytes, page_up(file->size + 1));
    if (file->fd >= 0)
        close(file->fd);
    while (opened->notes) {
        struct notes *next = opened->notes->next;
        xctx__free(opened->notes);
        opened->notes = next;
    }
    xctx__free(opened->segments);
    xctx__free(file->ranges);
    xctx__free(file->modules);
    xctx__free(file->marks);
    xctx__free(opened->threads);
    xctx__free(opened);
}

/* ---- headers ---- */

static bool lies_within(const struct core_file *file, uint64_t offset, uint64_t size)
{
    return offset <= file->size && size <= file->size - offset;
}

/* Copies bytes that lie within the file. 0, or -EBADMSG: they do no more. */
static int read_at(const struct core_file *file, uint64_t offset, void *buffer, size_t size)
{
    if (!file->bytes)
        return xctx__file_read_at(file, offset, buffer, size) == size ? 0 : -EBADMSG;
    memcpy(buffer, file->bytes + offset, size);
    return 0;
}

static int read_header(const struct core_file *file, Elf64_Ehdr *ret_header)
{
    Elf64_Ehdr header;

    if (file->size < sizeof(header)) {
        /* Too short to tell what it is, but for the beginning. No large file is. */
        bool elf = file->bytes && file->size >= EI_NIDENT && memcmp(file->bytes, ELFMAG, SELFMAG) == 0;
        return elf ? -EBADMSG : -ENOEXEC;
    }
    if (read_at(file, 0, &header, sizeof(header)) < 0)
        return -EBADMSG;
    if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
        header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_type != ET_CORE || header.e_machine != XCTX__CORE_MACHINE)
        return -ENOEXEC;
    if (header.e_phentsize != sizeof(Elf64_Phdr))
        return -EBADMSG;
    *ret_header = header;
    return 0;
}

/* How many program headers there are: with very many, the first section header has the number. */
static int count_segments(const struct core_file *file, const Elf64_Ehdr *header, uint64_t *ret_count)
{
    Elf64_Shdr section;
    uint64_t count = header->e_phnum;

    if (count == PN_XNUM) {
        if (header->e_shentsize != sizeof(section) || !lies_within(file, header->e_shoff, sizeof(section)) ||
            read_at(file, header->e_shoff, &section, sizeof(section)) < 0)
            return -EBADMSG;
        count = section.sh_info;
    }
    if (!lies_within(file, header->e_phoff, count * sizeof(Elf64_Phdr)))
        return -EBADMSG;
    *ret_count = count;
    return count > XCTX__FILE_SEGMENTS ? -EFBIG : 0;
}

static int read_segments(struct opened *opened)
{
    Elf64_Ehdr header;
    int result = read_header(&opened->file, &header);

    if (result == 0)
        result = count_segments(&opened->file, &header, &opened->segment_count);
    if (result < 0)
        return result;
    size_t size = (size_t)opened->segment_count * sizeof(*opened->segments);
    opened->segments = xctx__allocate(size + 1);
    return opened->segments ? read_at(&opened->file, header.e_phoff, opened->segments, size) : -ENOMEM;
}

/* ---- memory ---- */

static int compare_ranges(const void *a, const void *b)
{
    const struct core_range *first = a;
    const struct core_range *second = b;

    if (first->address != second->address)
        return first->address < second->address ? -1 : 1;
    return first->offset < second->offset ? -1 : first->offset > second->offset;
}

static int read_ranges(struct opened *opened)
{
    struct core_file *file = &opened->file;
    size_t kept = 0;

    file->ranges = xctx__allocate((size_t)(opened->segment_count + 1) * sizeof(*file->ranges));
    if (!file->ranges)
        return -ENOMEM;
    for (uint64_t i = 0; i < opened->segment_count; i++) {
        Elf64_Phdr segment = opened->segments[i];
        if (segment.p_type != PT_LOAD || segment.p_filesz == 0)
            continue;
        if (!lies_within(file, segment.p_offset, segment.p_filesz) || segment.p_filesz > segment.p_memsz ||
            segment.p_vaddr > UINT64_MAX - segment.p_filesz)
            return -EBADMSG;
        file->ranges[file->range_count++] = (struct core_range){
            .address = segment.p_vaddr,
            .size = segment.p_filesz,
            .offset = segment.p_offset,
            .bytes = file->bytes ? file->bytes + segment.p_offset : NULL,
        };
    }
    qsort(file->ranges, file->range_count, sizeof(*file->ranges), compare_ranges);
    for (size_t i = 0; i < file->range_count; i++) {
        const struct core_range *last = kept > 0 ? &file->ranges[kept - 1] : NULL;
        if (!last || last->address + last->size <= file->ranges[i].address)
            file->ranges[kept++] = file->ranges[i];
    }
    file->range_count = kept;
    return 0;
}

/* ---- notes ---- */

static int compare_modules(const void *a, const void *b)
{
    const struct core_module *first = a;
    const struct core_module *second = b;

    return first->start < second->start ? -1 : first->start > second->start;
}

/* NT_FILE: see note_files() in src/core/notes.c. */
static int read_modules(struct core_file *file, struct bytes note)
{
    uint64_t head[2];

    if (file->modules)
        return 0; /* there is one in a file; another one is passed over */
    if (note.size < sizeof(head))
        return -EBADMSG;
    memcpy(head, note.at, sizeof(head));
    if (head[0] > (note.size - sizeof(head)) / 24)
        return -EBADMSG;
    file->modules = xctx__allocate((size_t)(head[0] + 1) * sizeof(*file->modules));
    if (!file->modules)
        return -ENOMEM;
    const uint8_t *entry = note.at + sizeof(head);
    const char *path = (const char *)entry + 24 * head[0];
    size_t left = note.size - sizeof(head) - 24 * (size_t)head[0];
    for (uint64_t i = 0; i < head[0]; i++, entry += 24) {
        uint64_t words[3];
        const char *end = memchr(path, '\0', left);
        if (!end)
            return -EBADMSG;
        memcpy(words, entry, sizeof(words));
        if (words[0] < words[1])
            file->modules[file->module_count++] = (struct core_module){words[0], words[1], words[2] * head[1], path};
        left -= (size_t)(end + 1 - path);
        path = end + 1;
    }
    qsort(file->modules, file->module_count, sizeof(*file->modules), compare_modules);
    return 0;
}

static int add_thread(struct opened *opened, struct bytes status)
{
    if (status.size < sizeof(struct elf_prstatus))
        return -EBADMSG;
    if (opened->thread_count == XCTX__FILE_THREADS)
        return -EBADMSG;
    if (opened->thread_count == opened->thread_room) {
        size_t room = opened->thread_room ? opened->thread_room * 2 : 16;
        struct file_thread *threads = xctx__allocate(room * sizeof(*threads));
        if (!threads)
            return -ENOMEM;
        if (opened->thread_count > 0)
            memcpy(threads, opened->threads, opened->thread_count * sizeof(*threads));
        xctx__free(opened->threads);
        opened->threads = threads;
        opened->thread_room = room;
    }
    opened->threads[opened->thread_count++] = (struct file_thread){.status = status};
    return 0;
}

/* A note of the thread that the last NT_PRSTATUS began. */
static void add_to_thread(struct file_thread *thread, uint32_t type, struct bytes content)
{
    struct xctx__registers registers = {0};
    _Alignas(64) uint8_t area[XCTX__FPU_MAX];
    size_t size;

    if (type == NT_SIGINFO)
        thread->signal = content;
    else if (XCTX__CORE_TLS_NOTE && type == (uint32_t)XCTX__CORE_TLS_NOTE && content.size >= sizeof(uint64_t))
        thread->tls = content;
    else if ((size = xctx__core_fpu_get(&registers, area, type, content.at, content.size)) > 0 &&
             size > thread->fpu.size) {
        thread->fpu = content;
        thread->fpu_type = type;
    }
}

static int take_note(struct opened *opened, const char *name, uint32_t type, struct bytes content)
{
    struct file_thread *thread = opened->thread_count > 0 ? &opened->threads[opened->thread_count - 1] : NULL;
    bool own = strcmp(name, XCTX_NOTE_NAME) == 0;

    if (own) {
        if (type == XCTX_NOTE_THREAD && thread && !thread->own.at)
            thread->own = content;
        if (type == XCTX_NOTE_PROCESS && !opened->process.at)
            opened->process = content;
        opened->foreign = false;
        return 0;
    }
    if (strcmp(name, "CORE") != 0 && strcmp(name, "LINUX") != 0)
        return 0;
    if (type == NT_PRSTATUS)
        return add_thread(opened, content);
    if (type == NT_FILE)
        return read_modules(&opened->file, content);
    if (type == NT_AUXV && !opened->file.auxv) {
        opened->file.auxv = content.at;
        opened->file.auxv_size = content.size / sizeof(Elf64_auxv_t) * sizeof(Elf64_auxv_t);
    } else if (type == NT_PRPSINFO && !opened->file.psinfo && content.size >= sizeof(struct elf_prpsinfo)) {
        opened->file.psinfo = content.at;
        opened->file.psinfo_size = sizeof(struct elf_prpsinfo);
    } else if (thread) {
        add_to_thread(thread, type, content);
    }
    return 0;
}

static int read_notes(struct opened *opened, struct bytes notes)
{
    enum { NAME = 16 }; /* bytes of a name that is known, at most */
    size_t at = 0;

    while (notes.size - at >= sizeof(Elf64_Nhdr)) {
        Elf64_Nhdr note;
        char name[NAME + 1] = "";
        memcpy(&note, notes.at + at, sizeof(note));
        uint64_t name_at = at + sizeof(note);
        uint64_t content_at = name_at + (((uint64_t)note.n_namesz + 3) & ~UINT64_C(3));
        uint64_t end = content_at + note.n_descsz;
        if (end > notes.size)
            return -EBADMSG;
        if (note.n_namesz <= NAME)
            memcpy(name, notes.at + name_at, note.n_namesz);
        int result = take_note(opened, name, note.n_type, (struct bytes){notes.at + content_at, note.n_descsz});
        if (result < 0)
            return result;
        /* What fills it up may be missing behind the last. */
        end = (end + 3) & ~UINT64_C(3);
        at = end < notes.size ? (size_t)end : notes.size;
    }
    return 0;
}

/* The bytes of a segment that lies within the file, for as long as that is open. */
static int load_notes(struct opened *opened, const Elf64_Phdr *segment, struct bytes *ret_notes)
{
    struct core_file *file = &opened->file;

    *ret_notes = (struct bytes){.size = segment->p_filesz};
    if (file->bytes) {
        ret_notes->at = file->bytes + segment->p_offset;
        return 0;
    }
    if (segment->p_filesz > XCTX__FILE_NOTES - opened->notes_size)
        return -EFBIG;
    struct notes *notes = xctx__allocate(sizeof(*notes) + segment->p_filesz);
    if (!notes)
        return -ENOMEM;
    notes->next = opened->notes;
    opened->notes = notes;
    opened->notes_size += segment->p_filesz;
    ret_notes->at = notes->bytes;
    return read_at(file, segment->p_offset, notes->bytes, segment->p_filesz);
}

static int parse(struct opened *opened)
{
    int result = read_segments(opened);

    if (result == 0)
        result = read_ranges(opened);
    for (uint64_t i = 0; i < opened->segment_count && result == 0; i++) {
        const Elf64_Phdr *segment = &opened->segments[i];
        struct bytes notes;
        if (segment->p_type != PT_NOTE)
            continue;
        if (!lies_within(&opened->file, segment->p_offset, segment->p_filesz))
            return -EBADMSG;
        result = load_notes(opened, segment, &notes);
        if (result == 0)
            result = read_notes(opened, notes);
    }
    if (result == 0 && opened->thread_count == 0)
        result = -EBADMSG;
    xctx__free(opened->segments);
    opened->segments = NULL;
    return result;
}

int xctx__file_open(const char *path, struct opened **ret_opened)
{
    struct opened *opened = xctx__allocate(sizeof(*opened));

    if (!opened)
        return -ENOMEM;
    *opened = (struct opened){.file = {.destroy = destroy, .fd = -1}, .foreign = true};
    atomic_init(&opened->file.refs, 1);
    int result = read_file(path, &opened->file);
    if (result == 0)
        result = parse(opened);
    if (result < 0) {
        destroy(&opened->file);
        return result;
    }
    *ret_opened = opened;
    return 0;
}
