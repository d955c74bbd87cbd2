/* SPDX-License-Identifier: MIT */
/*
 * The notes of a core file: those that debuggers know (Linux writes the same), and the library's own (note.h).
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/procfs.h>
#include <unistd.h>

#include "arch/core.h"
#include "capture/redact.h"
#include "context/var_internal.h"
#include "core_internal.h"
#include "note.h"

/* Begins a note, whose content follows; returns where it begins, for note_end(). */
static size_t note_begin(struct core_buffer *notes, const char *name, uint32_t type)
{
    Elf64_Nhdr note = {.n_namesz = (uint32_t)strlen(name) + 1, .n_type = type};
    size_t begin = notes->size;

    xctx__core_append(notes, &note, sizeof(note));
    xctx__core_append(notes, name, note.n_namesz);
    xctx__core_align(notes, 4);
    return begin;
}

static void note_end(struct core_buffer *notes, size_t begin)
{
    Elf64_Nhdr note;

    if (notes->failed)
        return;
    memcpy(&note, notes->bytes + begin, sizeof(note));
    note.n_descsz = (uint32_t)(notes->size - begin - sizeof(note) - ((note.n_namesz + 3) & ~UINT32_C(3)));
    memcpy(notes->bytes + begin, &note, sizeof(note));
    xctx__core_align(notes, 4);
}

static void note(struct core_buffer *notes, const char *name, uint32_t type, const void *content, size_t size)
{
    size_t begin = note_begin(notes, name, type);

    xctx__core_append(notes, content, size);
    note_end(notes, begin);
}

size_t xctx__core_record_begin(struct core_buffer *buffer, uint32_t kind)
{
    struct core_record record = {.kind = kind};
    size_t begin = buffer->size;

    xctx__core_append(buffer, &record, sizeof(record));
    return begin;
}

void xctx__core_record_end(struct core_buffer *buffer, size_t begin)
{
    if (buffer->failed)
        return;
    uint32_t size = (uint32_t)(buffer->size - begin - sizeof(struct core_record));
    memcpy(buffer->bytes + begin + offsetof(struct core_record, size), &size, sizeof(size));
    xctx__core_reserve(buffer, (8 - size % 8) % 8);
}

static void record(struct core_buffer *buffer, uint32_t kind, const void *content, size_t size)
{
    size_t begin = xctx__core_record_begin(buffer, kind);

    xctx__core_append(buffer, content, size);
    xctx__core_record_end(buffer, begin);
}

/* ---- secrets ---- */

void xctx__core_blank_range(xctx_core_blank blank, uint64_t address, uint8_t *bytes, size_t size)
{
    uint64_t end = address + size;
    uint64_t from = blank.address > address ? blank.address : address;
    uint64_t blank_end = blank.address + blank.size;
    uint64_t to = blank_end < blank.address || blank_end > end ? end : blank_end;

    if (from < to)
        memset(bytes + (from - address), 0, to - from);
}

static bool is_written(const struct core_request *request, const xctx_snapshot *snapshot)
{
    for (size_t i = 0; i < request->count; i++)
        if (request->snapshots[i] == snapshot)
            return true;
    return false;
}

/* Whether what is secret of one snapshot is so in a part of memory: the stack of a snapshot, or what is no stack. A
   parent's stack was another one, or is long overwritten: its addresses say nothing about the threads'. */
static bool applies(const struct core_request *request, const struct core_secrets *secrets, const xctx_snapshot *stack)
{
    return !stack || secrets->snapshot == stack ||
           (is_written(request, secrets->snapshot) && is_written(request, stack));
}

void xctx__core_blank(const struct core_request *request, const xctx_snapshot *stack, uint64_t address, uint8_t *bytes,
                      size_t size)
{
    for (size_t i = 0; i < request->blank_count; i++)
        xctx__core_blank_range(request->blanks[i], address, bytes, size);
    for (size_t i = 0; i < request->secret_count; i++) {
        const struct core_secrets *secrets = &request->secrets[i];
        bool is_secret = applies(request, secrets, stack);
        for (size_t j = 0; is_secret && j < secrets->count; j++)
            xctx__core_blank_range(secrets->blanks[j], address, bytes, size);
    }
}

const struct core_secrets *xctx__core_secrets_of(const struct core_request *request, const xctx_snapshot *snapshot)
{
    for (size_t i = 0; i < request->secret_count; i++)
        if (request->secrets[i].snapshot == snapshot &&
            (request->secrets[i].count > 0 || request->secrets[i].registers != 0))
            return &request->secrets[i];
    return NULL;
}

/* The registers without the secret ones, but always with those without which there is no stack. */
static struct xctx__registers shown_registers(const struct core_request *request, const xctx_snapshot *snapshot)
{
    const uint64_t needed = UINT64_C(1) << XCTX__REGISTER_PC | UINT64_C(1) << XCTX__REGISTER_SP;
    const struct core_secrets *secrets = xctx__core_secrets_of(request, snapshot);
    struct xctx__registers shown = xctx__core_whole(snapshot)->registers;

    if (secrets)
        shown.known &= ~(secrets->registers & ((UINT64_C(1) << XCTX__DWARF_REGISTERS) - 1)) | needed;
    for (size_t i = 0; i < XCTX__REGISTERS; i++)
        if (!(shown.known >> i & 1))
            shown.value[i] = 0;
    return shown;
}

/* Floating-point registers that may be written: where anything is secret, a part of it may have been copied through
   them. */
static size_t shown_fpu(const struct core_request *request, const xctx_snapshot *snapshot)
{
    return xctx__core_secrets_of(request, snapshot) ? 0 : xctx__core_whole(snapshot)->fpu_size;
}

/* ---- the notes that debuggers know ---- */

static void note_status(const struct core_request *request, const xctx_snapshot *snapshot, struct core_buffer *notes)
{
    const xctx_thread_state *state = &xctx__core_whole(snapshot)->state;
    struct xctx__registers registers = shown_registers(request, snapshot);
    struct elf_prstatus status = {0};

    status.pr_pid = state->present & XCTX_THREAD_IDS ? state->tid : 0;
    if (state->present & XCTX_THREAD_SIGNAL) {
        status.pr_info.si_signo = state->signal;
        status.pr_info.si_code = state->signal_code;
        status.pr_cursig = (short)state->signal;
    }
    if (state->present & XCTX_THREAD_SIGMASK) {
        status.pr_sighold = state->blocked;
        status.pr_sigpend = state->pending;
    }
    status.pr_fpvalid = shown_fpu(request, snapshot) > 0;
    xctx__core_put(&status.pr_reg, &registers);
    note(notes, "CORE", NT_PRSTATUS, &status, sizeof(status));
}

/* Reads a text of /proc into a field, with spaces for what separates arguments. */
static void read_field(const char *path, char *field, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, field, size - 1) : 0;

    if (fd >= 0)
        close(fd);
    while (got > 0 && (field[got - 1] == '\0' || field[got - 1] == '\n'))
        field[--got] = '\0';
    for (ssize_t i = 0; i < got; i++)
        if (field[i] == '\0')
            field[i] = ' ';
}

static void note_process(const struct core_layout *layout, struct core_buffer *notes)
{
    const xctx_thread_state *state = &xctx__core_whole(layout->request->snapshots[0])->state;
    struct elf_prpsinfo info = {0};

    if (layout->file) {
        if (layout->file->psinfo)
            note(notes, "CORE", NT_PRPSINFO, layout->file->psinfo, layout->file->psinfo_size);
        return;
    }
    info.pr_sname = 'R';
    info.pr_uid = (__typeof__(info.pr_uid))getuid();
    info.pr_gid = (__typeof__(info.pr_gid))getgid();
    info.pr_pid = getpid();
    info.pr_ppid = getppid();
    /* A child of the process may write its core. */
    if (state->present & XCTX_THREAD_IDS && state->pid != info.pr_pid) {
        info.pr_pid = state->pid;
        info.pr_ppid = 0;
    }
    info.pr_pgrp = getpgrp();
    info.pr_sid = getsid(0);
    read_field("/proc/self/comm", info.pr_fname, sizeof(info.pr_fname));
    read_field("/proc/self/cmdline", info.pr_psargs, sizeof(info.pr_psargs));
    note(notes, "CORE", NT_PRPSINFO, &info, sizeof(info));
}

static void note_signal(const xctx_snapshot *snapshot, struct core_buffer *notes)
{
    const xctx_thread_state *state = &xctx__core_whole(snapshot)->state;
    siginfo_t info;

    if (!(state->present & XCTX_THREAD_SIGNAL))
        return;
    memset(&info, 0, sizeof(info));
    info.si_signo = state->signal;
    info.si_code = state->signal_code;
    if (state->fault_address)
        info.si_addr = (void *)(uintptr_t)state->fault_address;
    note(notes, "CORE", NT_SIGINFO, &info, sizeof(info));
}

/* Count, size of a page, then start, end, and offset in pages of each mapping, then their paths. */
static void note_files(const struct core_layout *layout, struct core_buffer *notes)
{
    const struct core_file_mapping *mappings = (const struct core_file_mapping *)(void *)layout->mappings.bytes;
    size_t all = layout->mappings.size / sizeof(*mappings);
    const char *paths = (const char *)layout->paths.bytes;
    uint64_t head[2] = {0, XCTX__CORE_PAGE};

    for (size_t i = 0; i < all; i++)
        head[0] += paths[mappings[i].path] == '/';
    if (head[0] == 0)
        return;
    size_t begin = note_begin(notes, "CORE", NT_FILE);
    xctx__core_append(notes, head, sizeof(head));
    for (size_t i = 0; i < all; i++) {
        uint64_t words[3] = {mappings[i].start, mappings[i].end, mappings[i].offset / XCTX__CORE_PAGE};
        if (paths[mappings[i].path] == '/')
            xctx__core_append(notes, words, sizeof(words));
    }
    for (size_t i = 0; i < all; i++)
        if (paths[mappings[i].path] == '/')
            xctx__core_append(notes, paths + mappings[i].path, strlen(paths + mappings[i].path) + 1);
    note_end(notes, begin);
}

static void note_fpu(const struct core_request *request, const xctx_snapshot *snapshot, struct core_buffer *notes)
{
    const uint8_t *area = xctx__core_whole(snapshot)->fpu;
    size_t all = shown_fpu(request, snapshot);
    size_t size = 0;
    uint32_t type;

    for (unsigned i = 0; all > 0 && (type = xctx__core_fpu_note(i, area, all, &size)) != 0; i++) {
        size_t begin = note_begin(notes, type == NT_FPREGSET ? "CORE" : "LINUX", type);
        uint8_t *content = xctx__core_reserve(notes, size);
        if (content) {
            memcpy(content, area, size);
            xctx__core_fpu_finish(type, content, size);
        }
        note_end(notes, begin);
    }
}

static void note_tls(const struct xctx__registers *registers, struct core_buffer *notes)
{
    if (XCTX__CORE_TLS_NOTE && registers->known >> XCTX__REGISTER_TLS & 1)
        note(notes, "LINUX", XCTX__CORE_TLS_NOTE, &registers->value[XCTX__REGISTER_TLS], sizeof(uint64_t));
}

/* ---- the library's own ---- */

struct writing {
    const struct core_layout *layout;
    const struct core_request *request;
    struct core_buffer *notes;
    bool raw;
};

/* Writes an address as "0x..." */
static void append_address(struct core_buffer *notes, uint64_t value)
{
    char text[19] = "0x";
    size_t digits = 1;

    while (digits < 16 && value >> (4 * digits) != 0)
        digits++;
    for (size_t i = 0; i < digits; i++)
        text[2 + i] = "0123456789abcdef"[value >> (4 * (digits - 1 - i)) & 15];
    xctx__core_append(notes, text, 2 + digits + 1);
}

/* Calls a variable's `format`; false: there is none, or it failed. */
static bool append_formatted(struct core_buffer *notes, const xctx_var *var, void *value)
{
    size_t begin = notes->size;
    char *text = var->options_.format ? xctx__core_reserve(notes, XCTX__CORE_TEXT) : NULL;
    int length = text ? var->options_.format(value, text, XCTX__CORE_TEXT) : -1;

    if (!text)
        return false;
    notes->size = begin;
    if (length < 0)
        return false;
    /* The operation may have written less than it says. */
    text[XCTX__CORE_TEXT - 1] = '\0';
    notes->size += strlen(text) + 1;
    return true;
}

static int write_variable(uint32_t id, void *word, bool is_cell, void *user)
{
    const struct writing *writing = user;
    struct core_buffer *notes = writing->notes;
    const xctx_var *var = xctx__var_at(id);
    void *value = xctx__var_unwrap(var, word);
    bool secret = xctx__core_var_is_secret(var);
    struct core_variable variable = {.name_size = (uint32_t)strlen(var->name_) + 1};

    (void)is_cell;
    variable.flags = secret ? CORE_VARIABLE_SECRET : 0;
    variable.value = secret ? 0 : (uintptr_t)value;
    size_t begin = xctx__core_record_begin(notes, CORE_VARIABLE);
    size_t at = notes->size;
    xctx__core_append(notes, &variable, sizeof(variable));
    xctx__core_append(notes, var->name_, variable.name_size);
    if (secret) {
        xctx__core_append(notes, "redacted", sizeof("redacted"));
    } else if (!writing->raw && append_formatted(notes, var, value)) {
        variable.flags |= CORE_VARIABLE_FORMATTED;
        memcpy(notes->bytes + at, &variable, sizeof(variable));
    } else {
        append_address(notes, variable.value);
    }
    xctx__core_record_end(notes, begin);
    return notes->failed;
}

static void append_blank(struct core_buffer *notes, const xctx_snapshot *whole, xctx_core_blank blank)
{
    struct core_blanked blanked = {.address = blank.address, .size = blank.size};

    bool touches =
        blank.address < whole->stack_address + whole->stack_size && blank.address + blank.size > whole->stack_address;
    struct stack_piece piece;
    for (uint32_t at = 0; !touches && xctx__snapshot_piece(whole, &at, &piece);)
        touches = blank.address < piece.address + piece.size && blank.address + blank.size > piece.address;
    if (touches)
        xctx__core_append(notes, &blanked, sizeof(blanked));
}

/* A parent's with their bytes. */
static void record_pieces(const struct writing *writing, const xctx_snapshot *snapshot, bool with_bytes)
{
    const xctx_snapshot *whole = xctx__core_whole(snapshot);
    size_t begin = xctx__core_record_begin(writing->notes, CORE_PIECES);
    struct stack_piece piece;
    const uint8_t *from;
    uint64_t goes_on_at = 0;

    _Static_assert(sizeof(struct stack_piece) == sizeof(struct core_piece), "one is written as the other");
    for (uint32_t at = 0; (from = xctx__snapshot_piece(whole, &at, &piece)) != NULL;) {
        xctx__core_append(writing->notes, &piece, sizeof(piece));
        uint8_t *bytes = with_bytes ? xctx__core_reserve(writing->notes, piece.size) : NULL;
        if (!bytes)
            continue;
        memcpy(bytes, from, piece.size);
        xctx__core_hide(writing->layout, piece.address, bytes, piece.size, &goes_on_at);
        xctx__core_blank(writing->request, snapshot, piece.address, bytes, piece.size);
    }
    xctx__core_record_end(writing->notes, begin);
}

/* What is zeros in a snapshot's stack, and what secret values point to: a reader must not take it for values. */
static void record_blanks(const struct writing *writing, const xctx_snapshot *snapshot)
{
    const struct core_request *request = writing->request;
    const xctx_snapshot *whole = xctx__core_whole(snapshot);
    size_t begin = xctx__core_record_begin(writing->notes, CORE_BLANKS);

    if (whole->blank_count > 0)
        xctx__core_append(writing->notes, whole->blanks, whole->blank_count * sizeof(struct core_blanked));
    xctx__core_hidden_blanks(writing->layout, snapshot, writing->notes);
    for (size_t i = 0; i < request->blank_count; i++)
        append_blank(writing->notes, whole, request->blanks[i]);
    for (size_t i = 0; i < request->secret_count; i++) {
        const struct core_secrets *secrets = &request->secrets[i];
        bool is_secret = applies(request, secrets, snapshot);
        for (size_t j = 0; is_secret && j < secrets->count; j++)
            append_blank(writing->notes, whole, secrets->blanks[j]);
    }
    xctx__core_record_end(writing->notes, begin);
}

static void record_snapshot(const struct writing *writing, const xctx_snapshot *snapshot)
{
    const xctx_snapshot *whole = xctx__core_whole(snapshot);
    const struct core_secrets *secrets = xctx__core_secrets_of(writing->request, snapshot);
    struct core_snapshot begin = {
        .captured = whole->captured,
        .bits = (whole->bits & SNAPSHOT_INTERRUPTED ? CORE_INTERRUPTED : 0) |
                (!snapshot->root ? CORE_NO_VARIABLES : 0) | (snapshot->bits & SNAPSHOT_CUT ? CORE_CHAIN_CUT : 0) |
                (secrets && secrets->registers ? CORE_HIDDEN : 0),
        .stack_address = whole->stack_address,
        .stack_size = whole->stack_size,
    };
    struct xctx__registers registers = shown_registers(writing->request, snapshot);

    record(writing->notes, CORE_SNAPSHOT, &begin, sizeof(begin));
    record_blanks(writing, snapshot);
    if (registers.known)
        record(writing->notes, CORE_REGISTERS, &registers, sizeof(registers));
    if (whole->state.present)
        record(writing->notes, CORE_STATE, &whole->state, sizeof(whole->state));
    if (whole->pc_count > 0)
        record(writing->notes, CORE_ADDRESSES, whole->pcs, whole->pc_count * sizeof(whole->pcs[0]));
    if (snapshot->root)
        xctx__map_each(snapshot->root, write_variable, (void *)(uintptr_t)writing);
}

/* What a thread has PT_LOADs and notes for, and a parent cannot have. */
static void record_parent(const struct writing *writing, const xctx_snapshot *parent)
{
    const xctx_snapshot *whole = xctx__core_whole(parent);
    size_t fpu = shown_fpu(writing->request, parent);
    size_t size = 0;
    uint32_t last = 0;
    uint64_t goes_on_at = 0;

    record_snapshot(writing, parent);
    if (whole->stack_size > 0 && whole->stack) {
        size_t begin = xctx__core_record_begin(writing->notes, CORE_STACK);
        xctx__core_append(writing->notes, &whole->stack_address, sizeof(whole->stack_address));
        uint8_t *bytes = xctx__core_reserve(writing->notes, whole->stack_size);
        if (bytes) {
            memcpy(bytes, whole->stack, whole->stack_size);
            xctx__core_hide(writing->layout, whole->stack_address, bytes, whole->stack_size, &goes_on_at);
            xctx__core_blank(writing->request, parent, whole->stack_address, bytes, whole->stack_size);
        }
        xctx__core_record_end(writing->notes, begin);
    }
    if (whole->pieces_size > 0)
        record_pieces(writing, parent, true);
    for (unsigned i = 0; fpu > 0 && xctx__core_fpu_note(i, whole->fpu, fpu, &size); i++)
        last = xctx__core_fpu_note(i, whole->fpu, fpu, &size);
    if (last) {
        size_t begin = xctx__core_record_begin(writing->notes, CORE_FPU);
        uint64_t type = last;
        xctx__core_append(writing->notes, &type, sizeof(type));
        uint8_t *content = xctx__core_reserve(writing->notes, size);
        if (content) {
            memcpy(content, whole->fpu, size);
            xctx__core_fpu_finish(last, content, size);
        }
        xctx__core_record_end(writing->notes, begin);
    }
}

static void note_thread(const struct writing *writing, const xctx_snapshot *snapshot)
{
    struct core_note head = {.version = XCTX_NOTE_VERSION};
    size_t begin = note_begin(writing->notes, XCTX_NOTE_NAME, XCTX_NOTE_THREAD);
    unsigned count = 0;

    xctx__core_append(writing->notes, &head, sizeof(head));
    record_snapshot(writing, snapshot);
    if (xctx__core_whole(snapshot)->pieces_size > 0)
        record_pieces(writing, snapshot, false);
    for (const xctx_snapshot *parent = snapshot->parent; parent && count < XCTX_SNAPSHOT_PARENTS_MAX; count++) {
        record_parent(writing, parent);
        parent = parent->parent;
    }
    note_end(writing->notes, begin);
}

static void record_mark(struct core_buffer *notes, uint32_t what, const char *pattern)
{
    size_t mark = xctx__core_record_begin(notes, CORE_REDACTION);

    xctx__core_append(notes, &what, sizeof(what));
    xctx__core_append(notes, pattern, strlen(pattern) + 1);
    xctx__core_record_end(notes, mark);
}

/* What is marked secret in this process, and what was where the file was written that the snapshots are from. */
static void record_marks(const struct core_file *file, struct core_buffer *notes)
{
    enum xctx_redact what = XCTX_REDACT_VARIABLE;
    const char *pattern;

    for (size_t i = 0; i < XCTX_REDACT_MOST && (pattern = xctx__redaction(i, &what)); i++)
        record_mark(notes, what, pattern);
    for (size_t i = 0; file && i < file->mark_count; i++) {
        bool known = false;
        for (size_t j = 0; j < XCTX_REDACT_MOST && !known && (pattern = xctx__redaction(j, &what)); j++)
            known = file->marks[i].what == (uint32_t)what && strcmp(file->marks[i].pattern, pattern) == 0;
        if (!known)
            record_mark(notes, file->marks[i].what, file->marks[i].pattern);
    }
}

static void note_own_process(const struct core_layout *layout, struct core_buffer *notes)
{
    struct core_note head = {.version = XCTX_NOTE_VERSION};
    size_t begin = note_begin(notes, XCTX_NOTE_NAME, XCTX_NOTE_PROCESS);

    xctx__core_append(notes, &head, sizeof(head));
    xctx__core_append(notes, layout->modules.bytes, layout->modules.size);
    record_marks(layout->file, notes);
    xctx__core_append(notes, layout->cuts.bytes, layout->cuts.size);
    note_end(notes, begin);
}

int xctx__core_notes(struct core_layout *layout, struct core_buffer *notes)
{
    const struct core_request *request = layout->request;
    /* The texts of an opened file are texts already. */
    struct writing writing = {layout, request, notes, request->flags & XCTX_CORE_RAW && !layout->file};

    for (size_t i = 0; i < request->count; i++) {
        const xctx_snapshot *snapshot = request->snapshots[i];
        note_status(request, snapshot, notes);
        if (i == 0)
            note_process(layout, notes);
        note_signal(snapshot, notes);
        if (i == 0 && layout->auxv.size > 0)
            note(notes, "CORE", NT_AUXV, layout->auxv.bytes, layout->auxv.size);
        if (i == 0)
            note_files(layout, notes);
        note_fpu(request, snapshot, notes);
        note_tls(&xctx__core_whole(snapshot)->registers, notes);
        note_thread(&writing, snapshot);
    }
    note_own_process(layout, notes);
    return notes->failed ? -ENOMEM : 0;
}
