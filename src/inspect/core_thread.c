/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of what a core file has: see core_file.h.
 *
 * Of a file that this library wrote, its own note has all but the bytes of the thread's stack. Of another one, the
 * thread's registers and what is around its stack pointer become a snapshot. All bytes stay where they are in the file.
 */
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/procfs.h>

#include <xctx/redact.h>

#include "arch/core.h"
#include "context/memory.h"
#include "core/note.h"
#include "core_file.h"

static xctx_snapshot *create(struct opened *opened)
{
    xctx_snapshot *snapshot = xctx__snapshot_create(XCTX_CAPTURE_FPU, 0);

    if (!snapshot)
        return NULL;
    /* Relaxed: the caller has a reference. */
    atomic_fetch_add_explicit(&opened->file.refs, 1, memory_order_relaxed);
    snapshot->file = &opened->file;
    snapshot->stage = SNAPSHOT_FILLED;
    snapshot->bits = SNAPSHOT_OPENED;
    return snapshot;
}

static void take_fpu(xctx_snapshot *snapshot, uint32_t type, struct bytes content)
{
    size_t size = 0;

    if (content.at && snapshot->fpu_room >= XCTX__FPU_MAX)
        size = xctx__core_fpu_get(&snapshot->registers, snapshot->fpu, type, content.at, content.size);
    snapshot->fpu_size = (uint32_t)size;
    if (size > 0)
        snapshot->captured |= XCTX_CAPTURE_FPU;
}

/* Takes the bytes of a stack out of the file's memory, from an address on, as far as they are there. */
static void take_stack(xctx_snapshot *snapshot, uint64_t address, uint64_t size)
{
    const struct core_range *range = xctx__file_range(snapshot->file, address);

    if (!range)
        return;
    uint64_t there = range->address + range->size - address;
    if (size > there)
        size = there;
    snapshot->stack = range->bytes ? (uint8_t *)(uintptr_t)(range->bytes + (address - range->address)) : NULL;
    snapshot->stack_address = address;
    snapshot->stack_size = size < UINT32_MAX ? (uint32_t)size : UINT32_MAX;
}

/* ---- files that others wrote ---- */

static void take_foreign_state(const struct opened *opened, const struct file_thread *thread, xctx_snapshot *snapshot)
{
    xctx_thread_state *state = &snapshot->state;
    struct elf_prstatus status;
    struct elf_prpsinfo process = {0};
    siginfo_t info;

    memcpy(&status, thread->status.at, sizeof(status));
    if (opened->file.psinfo)
        memcpy(&process, opened->file.psinfo, sizeof(process));
    state->tid = status.pr_pid;
    state->pid = process.pr_pid;
    state->blocked = status.pr_sighold;
    state->pending = status.pr_sigpend;
    state->present = XCTX_THREAD_IDS | XCTX_THREAD_SIGMASK;
    if (status.pr_cursig > 0) {
        state->signal = status.pr_cursig;
        state->signal_code = status.pr_info.si_code;
        state->present |= XCTX_THREAD_SIGNAL;
    }
    if (status.pr_cursig > 0 && thread->signal.size >= sizeof(info)) {
        memcpy(&info, thread->signal.at, sizeof(info));
        state->signal_code = info.si_code;
        /* Sent by somebody: there is no address, but who it was. */
        if (info.si_code > 0 && info.si_code != SI_KERNEL &&
            (info.si_signo == SIGSEGV || info.si_signo == SIGBUS || info.si_signo == SIGILL ||
             info.si_signo == SIGFPE || info.si_signo == SIGTRAP))
            state->fault_address = (uintptr_t)info.si_addr;
    }
    snapshot->captured |= XCTX_CAPTURE_STATE;
}

static void take_foreign_stack(xctx_snapshot *snapshot)
{
    enum { RED_ZONE = 128 }; /* what leaf functions use below the stack pointer (System V ABI, AMD64, 3.2.2) */
    uint64_t sp = snapshot->registers.value[XCTX__REGISTER_SP];
    const struct core_range *range = xctx__file_range(snapshot->file, sp);

    if (!range)
        return;
    uint64_t below = sp - range->address < RED_ZONE ? sp - range->address : RED_ZONE;
    take_stack(snapshot, sp - below, UINT64_MAX);
    snapshot->captured |= XCTX_CAPTURE_LOCALS;
    snapshot->state.stack_low = range->address;
    snapshot->state.stack_high = range->address + range->size;
    snapshot->state.present |= XCTX_THREAD_STACK;
}

static void take_foreign(struct opened *opened, const struct file_thread *thread, xctx_snapshot *snapshot)
{
    snapshot->bits |= SNAPSHOT_INTERRUPTED;
    snapshot->captured |= XCTX_CAPTURE_REGISTERS;
    take_foreign_state(opened, thread, snapshot);
    take_foreign_stack(snapshot);
}

/* ---- the library's own note ---- */

enum { BLANKS_MOST = 65536 }; /* of a snapshot */

/* Reading one: the snapshot that records are about, and its variables so far. */
struct reading {
    struct opened *opened;
    xctx_snapshot *first;
    xctx_snapshot *last;
    unsigned count;
    struct core_snapshot head; /* of `last` */
    struct file_variable *variables;
    size_t variable_count;
};

/* Gives the last snapshot its variables. */
static int finish_snapshot(struct reading *reading)
{
    int result = 0;

    if (reading->last && !(reading->head.bits & CORE_NO_VARIABLES))
        result = xctx__file_variables(reading->variables, reading->variable_count, &reading->last->root);
    reading->variable_count = 0;
    return result;
}

static int begin_snapshot(struct reading *reading, struct bytes content)
{
    struct core_snapshot head;
    xctx_snapshot *snapshot;

    if (content.size < sizeof(head))
        return -EBADMSG;
    int result = finish_snapshot(reading);
    if (result < 0)
        return result;
    memcpy(&head, content.at, sizeof(head));
    if (reading->count++ == 0) {
        snapshot = reading->first;
        take_stack(snapshot, head.stack_address, head.stack_size);
    } else {
        if (reading->count > XCTX_SNAPSHOT_PARENTS_MAX + 1)
            return -EBADMSG;
        snapshot = create(reading->opened);
        if (!snapshot)
            return -ENOMEM;
        reading->last->parent = snapshot;
    }
    snapshot->captured |= head.captured & XCTX_CAPTURE_ALL; /* a later version may know more */
    if (head.bits & CORE_INTERRUPTED)
        snapshot->bits |= SNAPSHOT_INTERRUPTED;
    if (head.bits & CORE_CHAIN_CUT)
        snapshot->bits |= SNAPSHOT_CUT;
    if (head.bits & CORE_NO_VARIABLES)
        snapshot->bits |= SNAPSHOT_CHANGING;
    reading->last = snapshot;
    reading->head = head;
    return 0;
}

static int take_registers(xctx_snapshot *snapshot, struct bytes content)
{
    struct xctx__registers *registers = &snapshot->registers;
    uint64_t values = content.size / sizeof(uint64_t);

    if (values < 1)
        return -EBADMSG;
    values -= 1;
    if (values > XCTX__REGISTERS)
        values = XCTX__REGISTERS;
    memcpy(&registers->known, content.at, sizeof(registers->known));
    memcpy(registers->value, content.at + sizeof(registers->known), (size_t)values * sizeof(uint64_t));
    registers->known &= (UINT64_C(1) << values) - 1;
    return 0;
}

static void take_state(xctx_snapshot *snapshot, struct bytes content)
{
    xctx_thread_state *state = &snapshot->state;

    memcpy(state, content.at, content.size < sizeof(*state) ? content.size : sizeof(*state));
    state->size = sizeof(*state);
    state->name[sizeof(state->name) - 1] = '\0';
    state->locale[sizeof(state->locale) - 1] = '\0';
}

static void take_addresses(xctx_snapshot *snapshot, struct bytes content)
{
    size_t count = content.size / sizeof(snapshot->pcs[0]);

    if (count > XCTX_SNAPSHOT_ADDRESSES)
        count = XCTX_SNAPSHOT_ADDRESSES;
    memcpy(snapshot->pcs, content.at, count * sizeof(snapshot->pcs[0]));
    snapshot->pc_count = (uint16_t)count;
}

static int take_parent_stack(const struct reading *reading, struct bytes content)
{
    xctx_snapshot *snapshot = reading->last;
    uint64_t address;

    if (content.size < sizeof(address) || snapshot == reading->first)
        return -EBADMSG;
    memcpy(&address, content.at, sizeof(address));
    size_t size = content.size - sizeof(address);
    /* Without an end beyond the address space. */
    if (size > UINT32_MAX || address > UINT64_MAX - size)
        return -EBADMSG;
    snapshot->stack = (uint8_t *)(uintptr_t)(content.at + sizeof(address));
    snapshot->stack_address = address;
    snapshot->stack_size = (uint32_t)size;
    return 0;
}

/* Of a thread: they are memory of the file. Of a parent: they are here. */
static int take_pieces(const struct reading *reading, struct bytes content)
{
    struct core_piece piece;

    if (reading->last != reading->first) {
        reading->last->pieces = content.at;
        reading->last->pieces_size = content.size < UINT32_MAX ? (uint32_t)content.size : UINT32_MAX;
        return 0;
    }
    for (size_t at = 0; content.size - at >= sizeof(piece); at += sizeof(piece)) {
        memcpy(&piece, content.at + at, sizeof(piece));
        struct core_range *range = xctx__file_range(reading->last->file, piece.address);
        if (range && range->address == piece.address)
            range->stack = true;
    }
    return 0;
}

static int take_parent_fpu(const struct reading *reading, struct bytes content)
{
    uint64_t type;

    if (content.size < sizeof(type))
        return -EBADMSG;
    memcpy(&type, content.at, sizeof(type));
    take_fpu(reading->last, (uint32_t)type, (struct bytes){content.at + sizeof(type), content.size - sizeof(type)});
    return 0;
}

static int take_variable(struct reading *reading, struct bytes content)
{
    struct core_variable head;

    if (content.size < sizeof(head))
        return -EBADMSG;
    memcpy(&head, content.at, sizeof(head));
    size_t left = content.size - sizeof(head);
    const char *name = (const char *)content.at + sizeof(head);
    if (head.name_size == 0 || head.name_size > left || name[head.name_size - 1] != '\0')
        return -EBADMSG;
    const char *text = name + head.name_size;
    if (!memchr(text, '\0', left - head.name_size))
        return -EBADMSG;
    if (reading->variable_count < XCTX__FILE_VARIABLES)
        reading->variables[reading->variable_count++] =
            (struct file_variable){name, text, (head.flags & CORE_VARIABLE_SECRET) != 0};
    return 0;
}

/* They stay in the file's bytes. */
static int take_blanks(xctx_snapshot *snapshot, struct bytes content)
{
    _Static_assert(sizeof(struct core_blanked) == sizeof(xctx_core_blank), "one is read as the other");
    if (content.size / sizeof(struct core_blanked) > BLANKS_MOST)
        return -EBADMSG;
    snapshot->blanks = content.at;
    snapshot->blank_count = (uint32_t)(content.size / sizeof(struct core_blanked));
    return 0;
}

static int take_record(void *user, uint32_t kind, struct bytes content)
{
    struct reading *reading = user;

    if (kind == CORE_SNAPSHOT)
        return begin_snapshot(reading, content);
    if (!reading->last)
        return -EBADMSG;
    switch (kind) {
    case CORE_REGISTERS:
        return take_registers(reading->last, content);
    case CORE_STATE:
        take_state(reading->last, content);
        return 0;
    case CORE_ADDRESSES:
        take_addresses(reading->last, content);
        return 0;
    case CORE_BLANKS:
        return take_blanks(reading->last, content);
    case CORE_STACK:
        return take_parent_stack(reading, content);
    case CORE_PIECES:
        return take_pieces(reading, content);
    case CORE_FPU:
        return take_parent_fpu(reading, content);
    case CORE_VARIABLE:
        return take_variable(reading, content);
    default:
        return 0; /* of a later version */
    }
}

/* Calls `take` for each record of a note, until it returns an error. */
static int each_record(struct bytes note, int (*take)(void *user, uint32_t kind, struct bytes content), void *user)
{
    struct core_note head;
    size_t at = sizeof(head);
    int result = 0;

    if (note.size < sizeof(head))
        return -EBADMSG;
    memcpy(&head, note.at, sizeof(head));
    if (head.version != XCTX_NOTE_VERSION)
        return -EBADMSG;
    while (result == 0 && note.size - at >= sizeof(struct core_record)) {
        struct core_record record;
        memcpy(&record, note.at + at, sizeof(record));
        at += sizeof(record);
        if (record.size > note.size - at)
            return -EBADMSG;
        result = take(user, record.kind, (struct bytes){note.at + at, record.size});
        size_t filled = ((size_t)record.size + 7) & ~(size_t)7;
        at = filled < note.size - at ? at + filled : note.size;
    }
    return result;
}

static int take_redaction(void *user, uint32_t kind, struct bytes content)
{
    struct core_file *file = user;
    struct core_mark mark;
    size_t length;

    if (kind != CORE_REDACTION)
        return 0;
    if (content.size < sizeof(mark.what))
        return -EBADMSG;
    memcpy(&mark.what, content.at, sizeof(mark.what));
    mark.pattern = (const char *)content.at + sizeof(mark.what);
    length = strnlen(mark.pattern, content.size - sizeof(mark.what));
    if (mark.what > XCTX_REDACT_FUNCTION || length == 0 || length >= XCTX_REDACT_LENGTH ||
        length == content.size - sizeof(mark.what))
        return -EBADMSG;
    if (file->mark_count == XCTX__FILE_MARKS)
        return -ENOSPC;
    file->marks[file->mark_count++] = mark;
    return 0;
}

int xctx__file_marks(struct opened *opened)
{
    if (!opened->process.at)
        return 0;
    opened->file.marks = xctx__allocate(XCTX__FILE_MARKS * sizeof(*opened->file.marks));
    if (!opened->file.marks)
        return -ENOMEM;
    return each_record(opened->process, take_redaction, &opened->file);
}

static int take_records(struct reading *reading, struct bytes note)
{
    int result = each_record(note, take_record, reading);

    if (result == 0)
        result = reading->count > 0 ? finish_snapshot(reading) : -EBADMSG;
    return result;
}

/* Counts a chain from its end, now that it is whole. */
static void count_chain(xctx_snapshot *first)
{
    uint32_t links = 0;
    uint64_t bytes = 0;

    for (xctx_snapshot *at = first; at; at = at->parent) {
        links++;
        bytes += at->size;
    }
    for (xctx_snapshot *at = first; at; at = at->parent) {
        at->depth = --links;
        at->chain_bytes = bytes;
        bytes -= at->size;
    }
}

static int take_own(struct opened *opened, const struct file_thread *thread, xctx_snapshot *snapshot)
{
    struct reading reading = {.opened = opened, .first = snapshot};

    /* A variable's record has 24 bytes at least. */
    size_t most = thread->own.size / (sizeof(struct core_record) + sizeof(struct core_variable));
    if (most > XCTX__FILE_VARIABLES)
        most = XCTX__FILE_VARIABLES;
    reading.variables = xctx__allocate((most + 1) * sizeof(*reading.variables));
    if (!reading.variables)
        return -ENOMEM;
    int result = take_records(&reading, thread->own);
    xctx__free(reading.variables);
    count_chain(snapshot);
    return result;
}

/* ---- all ---- */

static void take_status(const struct file_thread *thread, xctx_snapshot *snapshot)
{
    struct elf_prstatus status;

    memcpy(&status, thread->status.at, sizeof(status));
    xctx__core_get(&snapshot->registers, &status.pr_reg);
    if (thread->tls.size >= sizeof(uint64_t)) {
        memcpy(&snapshot->registers.value[XCTX__REGISTER_TLS], thread->tls.at, sizeof(uint64_t));
        snapshot->registers.known |= UINT64_C(1) << XCTX__REGISTER_TLS;
    }
}

uint64_t xctx__file_sp(const struct file_thread *thread)
{
    struct elf_prstatus status;
    struct xctx__registers registers = {0};

    memcpy(&status, thread->status.at, sizeof(status));
    xctx__core_get(&registers, &status.pr_reg);
    return registers.value[XCTX__REGISTER_SP];
}

int xctx__file_snapshot(struct opened *opened, size_t index, xctx_snapshot **ret_snapshot)
{
    const struct file_thread *thread = &opened->threads[index];
    xctx_snapshot *snapshot = create(opened);
    int result = 0;

    if (!snapshot)
        return -ENOMEM;
    take_status(thread, snapshot);
    take_fpu(snapshot, thread->fpu_type, thread->fpu);
    if (thread->own.at)
        result = take_own(opened, thread, snapshot);
    else
        take_foreign(opened, thread, snapshot);
    if (result < 0) {
        xctx_snapshot_unref(snapshot);
        return result;
    }
    *ret_snapshot = snapshot;
    return 0;
}
