/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes opening core files, and whatever can be done with what was opened.
 *
 * Input: options; then either a whole file, or changes to one of two that are made at the start: one that the library
 * wrote, with variables, a parent and marks, and one as the kernel writes it. A change is of a field, of which all that
 * headers, notes and records have are found beforehand, or of bytes anywhere in the headers and notes, or it inserts or
 * removes bytes.
 *
 * Marks for secrets last as long as the process: xctx_redact() is replaced by one that checks and forgets
 * (--wrap=xctx_redact), so that inputs do not depend on those before.
 */
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xctx/inspect.h>
#include <xctx/redact.h>
#include <xctx/xctx.h>

#include "core/note.h"
#include "feed.h"

enum {
    OPTION_FOREIGN = 1, /* of the kernel's kind */
    OPTION_WHOLE = 2,   /* the input is the file */
    OPTION_CORE = 4,    /* write what was opened as a core file again */
    OPTION_GLOBALS = 8,

    FILE_ROOM = 1 << 20,
    FIELDS = 16384,
    PART = 4096,   /* bytes of memory of a part that are kept */
    PARTS = 32768, /* and of all of them, roughly */
    FRAMES = 8,
};

int __real_xctx_redact(enum xctx_redact what, const char *pattern);
int __wrap_xctx_redact(enum xctx_redact what, const char *pattern);

int __wrap_xctx_redact(enum xctx_redact what, const char *pattern)
{
    bool valid = (unsigned)what <= XCTX_REDACT_FUNCTION && pattern && *pattern &&
                 strnlen(pattern, XCTX_REDACT_LENGTH) < XCTX_REDACT_LENGTH;

    return valid ? 0 : -EINVAL;
}

/* A file to begin with, and where its fields are. */
struct sample {
    uint8_t *bytes;
    size_t size;
    size_t headers; /* up to the end of the notes */
    struct field {
        uint32_t offset;
        uint32_t size;
    } * fields;
    size_t field_count;
};

static struct sample samples[2];
static int memory = -1;
static char memory_path[64];
static FILE *nowhere;

/* ---- samples ---- */

static void add_field(struct sample *sample, size_t offset, size_t size)
{
    if (sample->field_count < FIELDS && offset + size <= sample->size)
        sample->fields[sample->field_count++] = (struct field){(uint32_t)offset, (uint32_t)size};
}

static void add_words(struct sample *sample, size_t offset, size_t size)
{
    for (size_t at = 0; at + 8 <= size && at < 256; at += 8)
        add_field(sample, offset + at, 8);
}

static void find_records(struct sample *sample, size_t at, size_t end)
{
    add_field(sample, at, 4);
    at += sizeof(struct core_note);
    while (end - at >= sizeof(struct core_record)) {
        struct core_record record;
        memcpy(&record, sample->bytes + at, sizeof(record));
        add_field(sample, at, 4);
        add_field(sample, at + 4, 4);
        add_words(sample, at + sizeof(record), record.size);
        size_t filled = sizeof(record) + (((size_t)record.size + 7) & ~(size_t)7);
        if (filled > end - at)
            return;
        at += filled;
    }
}

static void find_notes(struct sample *sample, size_t at, size_t end)
{
    while (at + sizeof(Elf64_Nhdr) <= end) {
        Elf64_Nhdr note;
        memcpy(&note, sample->bytes + at, sizeof(note));
        for (size_t i = 0; i < sizeof(note); i += 4)
            add_field(sample, at + i, 4);
        size_t content = at + sizeof(note) + (note.n_namesz + 3) / 4 * 4;
        if (content + note.n_descsz > end)
            return;
        if (strcmp((const char *)sample->bytes + at + sizeof(note), XCTX_NOTE_NAME) == 0)
            find_records(sample, content, content + note.n_descsz);
        else
            add_words(sample, content, note.n_descsz);
        at = content + (note.n_descsz + 3) / 4 * 4;
    }
}

static void find_fields(struct sample *sample)
{
    static const uint8_t header[] = {16, 18, 20, 52, 54, 56, 58, 60, 62};
    Elf64_Ehdr file;
    Elf64_Phdr segment;

    sample->fields = calloc(FIELDS, sizeof(*sample->fields));
    EXPECT(sample->fields);
    memcpy(&file, sample->bytes, sizeof(file));
    for (size_t i = 0; i < sizeof(header); i++)
        add_field(sample, header[i], 2);
    add_field(sample, 32, 8);
    add_field(sample, 40, 8);
    for (unsigned i = 0; i < file.e_phnum; i++) {
        size_t at = file.e_phoff + i * sizeof(segment);
        memcpy(&segment, sample->bytes + at, sizeof(segment));
        add_field(sample, at, 4);
        add_field(sample, at + 4, 4);
        for (size_t word = 8; word < sizeof(segment); word += 8)
            add_field(sample, at + word, 8);
        if (segment.p_type != PT_NOTE)
            continue;
        find_notes(sample, segment.p_offset, segment.p_offset + segment.p_filesz);
        sample->headers = segment.p_offset + segment.p_filesz;
    }
}

/* Takes a core file and leaves out what is large in it. */
static void shorten(struct sample *sample, const uint8_t *bytes)
{
    Elf64_Ehdr file;
    Elf64_Phdr segment;
    size_t end = sizeof(file);

    memcpy(&file, bytes, sizeof(file));
    sample->bytes = calloc(1, FILE_ROOM);
    EXPECT(sample->bytes && file.e_phoff + file.e_phnum * sizeof(segment) < FILE_ROOM / 4);
    memcpy(sample->bytes, bytes, file.e_phoff + file.e_phnum * sizeof(segment));
    end = file.e_phoff + file.e_phnum * sizeof(segment);
    for (unsigned i = 0; i < file.e_phnum; i++) {
        memcpy(&segment, bytes + file.e_phoff + i * sizeof(segment), sizeof(segment));
        if (segment.p_type == PT_LOAD && segment.p_filesz > PART)
            segment.p_filesz = end < PARTS ? PART : 0;
        EXPECT(end + segment.p_filesz < FILE_ROOM);
        end = (end + 7) & ~(size_t)7;
        memcpy(sample->bytes + end, bytes + segment.p_offset, segment.p_filesz);
        segment.p_offset = end;
        end += segment.p_filesz;
        memcpy(sample->bytes + file.e_phoff + i * sizeof(segment), &segment, sizeof(segment));
    }
    sample->size = end;
}

XCTX_VAR_DEFINE(plain_variable);
XCTX_VAR_DEFINE(secret_variable, .secret = true);

static int format_text(void *value, char *buffer, size_t size)
{
    return snprintf(buffer, size, "%s", (const char *)value);
}

XCTX_VAR_DEFINE(text_variable, .format = format_text);

/* A core file of this program, with a parent and variables. */
static void make_own(struct sample *sample)
{
    struct stat status;
    int fd = memfd_create("sample", MFD_CLOEXEC);

    EXPECT(__real_xctx_redact(XCTX_REDACT_TYPE, "struct secret*") == 0);
    EXPECT(xctx_var_set(&plain_variable, &status, NULL) == 0);
    EXPECT(xctx_var_set(&secret_variable, &status, NULL) == 0);
    EXPECT(xctx_var_set(&text_variable, (void *)(uintptr_t) "text", NULL) == 0);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    EXPECT(copy && xctx_enter(copy) == 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    EXPECT(xctx_exit(copy) == 0);
    EXPECT(snapshot && xctx_snapshot_write_core(snapshot, fd) == 0 && fstat(fd, &status) == 0);
    uint8_t *bytes = mmap(NULL, (size_t)status.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    EXPECT(bytes != MAP_FAILED);
    shorten(sample, bytes);
    munmap(bytes, (size_t)status.st_size);
    close(fd);
    xctx_snapshot_unref(snapshot);
    xctx_unref(copy);
}

static void put_note(struct sample *sample, const char *name, uint32_t type, const void *content, size_t size)
{
    Elf64_Nhdr note = {.n_namesz = (uint32_t)strlen(name) + 1, .n_descsz = (uint32_t)size, .n_type = type};

    memcpy(sample->bytes + sample->size, &note, sizeof(note));
    sample->size += sizeof(note);
    strcpy((char *)sample->bytes + sample->size, name);
    sample->size += (note.n_namesz + 3) / 4 * 4;
    memcpy(sample->bytes + sample->size, content, size);
    sample->size += (size + 3) / 4 * 4;
}

/* As the kernel writes them: two threads, a list of files, and a stack. */
static void make_foreign(struct sample *sample, const struct sample *own)
{
    enum { STACK = 0x7ffe0000, STACK_SIZE = 1024, SEGMENTS = 2 };
    struct elf_prstatus status = {.pr_pid = 12, .pr_cursig = 11};
    struct elf_prpsinfo process = {.pr_pid = 12, .pr_fname = "program"};
    struct elf_fpregset {
        uint8_t bytes[512];
    } fpu = {{0}};
    struct {
        uint64_t head[2];
        uint64_t entries[2][3];
        char paths[32];
    } files = {{2, 4096}, {{0x400000, 0x401000, 0}, {0x401000, 0x402000, 1}}, "/nowhere/program\0/nowhere/prog"};
    uint64_t auxiliary[] = {AT_SYSINFO_EHDR, 0x7fff0000, AT_PAGESZ, 4096, AT_NULL, 0};
    uint8_t signal[128] = {11, 0, 0, 0, 0, 0, 0, 0, 1};
    Elf64_Ehdr header;
    Elf64_Phdr segments[SEGMENTS] = {
        {.p_type = PT_NOTE, .p_offset = sizeof(header) + sizeof(segments)},
        {.p_type = PT_LOAD, .p_flags = PF_R | PF_W, .p_vaddr = STACK, .p_filesz = STACK_SIZE, .p_memsz = STACK_SIZE},
    };

    for (size_t i = 0; i < sizeof(status.pr_reg) / sizeof(status.pr_reg[0]); i++)
        status.pr_reg[i] = STACK + 16 * i; /* one of them is the stack pointer */
    sample->bytes = calloc(1, FILE_ROOM);
    EXPECT(sample->bytes);
    memcpy(&header, own->bytes, sizeof(header));
    header.e_phnum = SEGMENTS;
    header.e_phoff = sizeof(header);
    sample->size = sizeof(header) + sizeof(segments);
    put_note(sample, "CORE", NT_PRSTATUS, &status, sizeof(status));
    put_note(sample, "CORE", NT_PRPSINFO, &process, sizeof(process));
    put_note(sample, "CORE", NT_SIGINFO, signal, sizeof(signal));
    put_note(sample, "CORE", NT_AUXV, auxiliary, sizeof(auxiliary));
    put_note(sample, "CORE", NT_FILE, &files, sizeof(files));
    put_note(sample, "CORE", NT_FPREGSET, &fpu, sizeof(fpu));
    put_note(sample, "CORE", NT_PRSTATUS, &status, sizeof(status));
    segments[0].p_filesz = sample->size - segments[0].p_offset;
    segments[1].p_offset = sample->size;
    for (unsigned i = 0; i < STACK_SIZE; i += 8) {
        uint64_t word = i % 16 ? 0x400100 : STACK + i + 32;
        memcpy(sample->bytes + sample->size, &word, sizeof(word));
        sample->size += sizeof(word);
    }
    memcpy(sample->bytes, &header, sizeof(header));
    memcpy(sample->bytes + sizeof(header), segments, sizeof(segments));
}

static void start(void)
{
    const char *output = getenv("XCTX_FUZZ_OUTPUT");

    if (nowhere)
        return;
    memory = memfd_create("core", MFD_CLOEXEC);
    nowhere = fopen(output ? output : "/dev/null", "w");
    EXPECT(memory >= 0 && nowhere);
    snprintf(memory_path, sizeof(memory_path), "/proc/self/fd/%d", memory);
    make_own(&samples[0]);
    make_foreign(&samples[1], &samples[0]);
    find_fields(&samples[0]);
    find_fields(&samples[1]);
}

/* ---- changes ---- */

enum change { CHANGE_FIELD, CHANGE_FIELD_BY_LITTLE, CHANGE_BYTES, CHANGE_INSERT, CHANGE_REMOVE, CHANGE_CUT, CHANGES };

static void change_field(const struct sample *sample, struct feed *feed, uint8_t *bytes, size_t size, bool by_little)
{
    const struct field *field = &sample->fields[feed_word(feed) % sample->field_count];
    uint64_t value = 0;

    if (field->offset + field->size > size)
        return;
    memcpy(&value, bytes + field->offset, field->size);
    if (by_little)
        value += feed_byte(feed) - UINT64_C(128);
    else
        value = feed_number(feed);
    memcpy(bytes + field->offset, &value, field->size);
}

/* Returns the file's new size. */
static size_t change(const struct sample *sample, struct feed *feed, uint8_t *bytes, size_t size)
{
    enum change kind = feed_byte(feed) % CHANGES;
    size_t at, count;

    if (kind <= CHANGE_FIELD_BY_LITTLE) {
        change_field(sample, feed, bytes, size, kind == CHANGE_FIELD_BY_LITTLE);
        return size;
    }
    at = feed_word(feed) % (sample->headers + 1);
    if (kind == CHANGE_CUT)
        return at < size ? at : size;
    count = feed_byte(feed) % 64;
    if (at > size || count > size - at || size + count > FILE_ROOM)
        return size;
    if (kind == CHANGE_BYTES) {
        feed_bytes(feed, bytes + at, count % 16);
    } else if (kind == CHANGE_INSERT) {
        memmove(bytes + at + count, bytes + at, size - at);
        size += count;
    } else {
        memmove(bytes + at, bytes + at + count, size - at - count);
        size -= count;
    }
    return size;
}

/* ---- use ---- */

static int format_variable(xctx_var *var, void *value, void *user)
{
    char text[32];

    (void)user;
    EXPECT(xctx_var_name(var));
    return xctx_var_get_options(var)->format(value, text, sizeof(text)) < 0;
}

static void use(xctx_snapshot *snapshot)
{
    for (xctx_snapshot *at = snapshot; at; at = xctx_snapshot_parent(at)) {
        uint64_t sp = 0;
        int64_t time;
        unsigned char bytes[64];
        uintptr_t pcs[XCTX_SNAPSHOT_ADDRESSES];
        for (size_t i = 0; xctx_register_name(i); i++)
            xctx_snapshot_register(at, xctx_register_name(i), &sp);
        xctx_snapshot_register(at, "sp", &sp);
        xctx_snapshot_read(at, sp, bytes, sizeof(bytes));
        EXPECT(xctx_snapshot_stack(at, pcs, XCTX_SNAPSHOT_ADDRESSES) <= XCTX_SNAPSHOT_ADDRESSES);
        xctx_snapshot_time(at, &time);
        const xctx_thread_state *state = xctx_snapshot_thread_state(at);
        EXPECT(strlen(state->name) < sizeof(state->name) && strlen(state->locale) < sizeof(state->locale));
        xctx_context *context = xctx_snapshot_context(at);
        EXPECT(!context || xctx_each(context, format_variable, NULL) == 0);
    }
}

static void show(xctx_snapshot *snapshot, unsigned flags)
{
    const xctx_inspect_options options = {
        .size = sizeof(options),
        .flags = flags & OPTION_GLOBALS ? XCTX_INSPECT_GLOBALS : 0,
        .max_frames = FRAMES,
        .max_elements = 10,
        .debug_path = "/nowhere",
        .sysroot = "/nowhere",
    };
    xctx_report *report = NULL;
    int result = xctx_inspect(snapshot, &options, &report);

    EXPECT(result == 0 ? report != NULL : result == -ENOMEM);
    for (int format = XCTX_FORMAT_TEXT; report && format <= XCTX_FORMAT_HTML; format++)
        EXPECT(xctx_report_write(report, nowhere, (enum xctx_format)format) == 0);
    xctx_report_unref(report);
}

static void open_file(unsigned options)
{
    xctx_snapshot **snapshots = NULL;
    size_t count = 0;
    int result = xctx_snapshot_open_all(memory_path, &snapshots, &count);

    EXPECT(result == 0 ? count > 0 && snapshots : !snapshots && count == 0);
    EXPECT(result == 0 || result == -ENOEXEC || result == -EBADMSG || result == -ENOMEM);
    for (size_t i = 0; i < count && i < 4; i++) {
        use(snapshots[i]);
        show(snapshots[i], options);
        if (!(options & OPTION_CORE))
            continue;
        result = xctx_snapshot_write_core(snapshots[i], fileno(nowhere));
        EXPECT(result == 0 || result == -ENODATA || result == -ENOMEM);
    }
    if (count > 0)
        xctx_snapshot_unref_all(snapshots, count);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t bytes[FILE_ROOM];
    struct feed feed = {data, size};

    start();
    unsigned options = feed_byte(&feed);
    const struct sample *sample = &samples[options & OPTION_FOREIGN];
    struct feed arming = feed;
    feed_byte(&feed);
    size_t file_size = sample->size;
    if (options & OPTION_WHOLE) {
        file_size = feed_bytes(&feed, bytes, feed.left < FILE_ROOM ? feed.left : FILE_ROOM);
    } else {
        memcpy(bytes, sample->bytes, sample->size);
        while (feed.left > 2)
            file_size = change(sample, &feed, bytes, file_size);
    }
    EXPECT(ftruncate(memory, 0) == 0 && pwrite(memory, bytes, file_size, 0) == (ssize_t)file_size);
    feed_arm(&arming);
    open_file(options);
    feed_disarm();
    return 0;
}
