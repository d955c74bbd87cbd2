/* SPDX-License-Identifier: MIT */
/*
 * Snapshots: memory, references, and what can be asked of them. snapshot_internal.h says what they are made of.
 *
 * `refs` and `uses` are given back with release and acquire: whoever frees the memory has seen every read of it. What
 * is read of a filled snapshot does not change any more, so nothing else needs an order: but for `context`, which the
 * first who asks for it makes and publishes.
 */
#include "snapshot_internal.h"

#include <errno.h>
#include <string.h>

#include "chain.h"
#include "context/context_internal.h"

#define ALIGNMENT 64 /* of the floating-point area */

/* Overwrites memory made of whole words, in a way that is not optimised away. For few bytes: a call takes longer than
   they do. */
static inline void zero(void *memory, size_t size)
{
    enum { PART = 32 };
    uint8_t *at = memory;
    uint8_t *const end = at + size;

    /* The assembly also keeps the compiler from counting ahead. */
    for (uint8_t *const parts = end - size % PART; at < parts; at += PART) {
        memset(at, 0, PART);
        __asm__ volatile("" : "+r"(at) : : "memory");
    }
    for (; at < end; at += sizeof(uint64_t)) {
        memset(at, 0, sizeof(uint64_t));
        __asm__ volatile("" : "+r"(at) : : "memory");
    }
}

static size_t align(size_t size)
{
    return (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

/* As a snapshot is before it is filled, but for its memory and references. Of the registers, the addresses, and the
   state it is enough that none is said to be valid. */
static inline void clear(xctx_snapshot *snapshot)
{
    enum { FROM = offsetof(xctx_snapshot, stage), END = offsetof(xctx_snapshot, registers.value) };

    /* In halves: all at once would be a loop or a string instruction. */
    memset(&snapshot->stage, 0, (END - FROM) / 2);
    memset(&snapshot->stage + (END - FROM) / 2, 0, (END - FROM) / 2);
    snapshot->blank_count = 0;
    snapshot->chain_bytes = snapshot->size;
    snapshot->state.size = sizeof(snapshot->state);
    snapshot->state.present = 0;
}

/* Memory of that kind: the spare one if it is large enough. */
static __attribute__((noinline)) xctx_snapshot *allocate(struct slot *slot, unsigned reserved, size_t stack_room)
{
    size_t fpu_room = reserved & XCTX_CAPTURE_FPU ? align(XCTX__FPU_MAX) : 0;
    size_t size = align(sizeof(xctx_snapshot)) + fpu_room + align(stack_room);

    xctx_snapshot *snapshot = slot->spare_snapshot;
    if (snapshot && snapshot->size >= size) {
        slot->spare_snapshot = NULL;
    } else {
        int error_number = errno; /* which a snapshot captures only when it has memory */
        snapshot = xctx__allocate_aligned(ALIGNMENT, size);
        errno = error_number;
        if (!snapshot)
            return NULL;
        snapshot->size = size;
        /* What of it is not captured goes into files, too. */
        memset(&snapshot->state, 0, sizeof(snapshot->state));
    }
    snapshot->whole = snapshot;
    snapshot->reserved = reserved;
    snapshot->fpu = (uint8_t *)snapshot + align(sizeof(xctx_snapshot));
    snapshot->fpu_room = (uint32_t)fpu_room;
    snapshot->stack = snapshot->fpu + fpu_room;
    snapshot->stack_room = (uint32_t)stack_room;
    return snapshot;
}

xctx_snapshot *xctx__snapshot_allocate(struct slot *slot, unsigned reserved, size_t stack_room)
{
    xctx_snapshot *snapshot = slot->spare_snapshot; /* what this thread freed last */

    if (XCTX__LIKELY(snapshot && snapshot->reserved == reserved && snapshot->stack_room == stack_room))
        slot->spare_snapshot = NULL;
    else
        snapshot = allocate(slot, reserved, stack_room);
    if (!snapshot)
        return NULL;
    atomic_init(&snapshot->refs, 1);
    atomic_init(&snapshot->uses, 1);
    clear(snapshot);
    return snapshot;
}

xctx_snapshot *xctx__snapshot_create(unsigned reserved, size_t stack_room)
{
    xctx_snapshot *snapshot = NULL;

    if (stack_room <= XCTX_SNAPSHOT_STACK_MAX)
        snapshot = xctx__snapshot_allocate(&xctx__slot, reserved, stack_room);
    if (snapshot)
        memset(&snapshot->state, 0, sizeof(snapshot->state));
    return snapshot;
}

/* Of what was captured nothing shall stay in memory: what is in the structure, */
static inline void wipe_structure(xctx_snapshot *snapshot)
{
    const size_t some = 4; /* of which the array is made */
    size_t count = (snapshot->pc_count + some - 1) / some * some;

    zero(snapshot->pcs, count * sizeof(snapshot->pcs[0]));
    if (snapshot->registers.known)
        zero(&snapshot->registers, sizeof(snapshot->registers));
    if (snapshot->captured & XCTX_CAPTURE_STATE)
        xctx__words_clear(&snapshot->state, sizeof(snapshot->state));
}

/* and behind it. */
static inline void wipe_captured(xctx_snapshot *snapshot)
{
    if (snapshot->stack_size)
        xctx__words_clear(snapshot->stack, snapshot->stack_size);
    if (XCTX__UNLIKELY(snapshot->pieces_size))
        xctx__words_clear((uint8_t *)(uintptr_t)snapshot->pieces, snapshot->pieces_size);
    if (snapshot->fpu_size)
        xctx__words_clear(snapshot->fpu, snapshot->fpu_size);
    wipe_structure(snapshot);
}

/* Keeps the larger one of this block and what the thread has for its next snapshot. */
static inline void keep_spare(struct slot *slot, xctx_snapshot *snapshot)
{
    xctx_snapshot *spare = slot->spare_snapshot;

    if (XCTX__FREE_LIMIT > 0 && xctx__has_record(slot) && snapshot->size <= XCTX__SNAPSHOT_SPARE_MOST &&
        (!spare || spare->size < snapshot->size)) {
        slot->spare_snapshot = snapshot;
        snapshot = spare;
    }
    if (XCTX__UNLIKELY(snapshot))
        xctx__free(snapshot);
}

/* The last one who needs the bytes is gone. */
static inline void free_whole(xctx_snapshot *snapshot)
{
    struct slot *slot = &xctx__slot;

    if (snapshot->file) {
        struct core_file *file = snapshot->file;
        if (atomic_fetch_sub_explicit(&file->refs, 1, memory_order_acq_rel) == 1)
            file->destroy(file);
        snapshot->reserved = UINT32_MAX; /* of no kind: it is not as it was made */
    } else {
        wipe_captured(snapshot);
    }
    keep_spare(slot, snapshot);
}

static inline void drop_use(xctx_snapshot *snapshot)
{
    /* Alone: a load is cheaper than what locks the bus. */
    if (atomic_load_explicit(&snapshot->uses, memory_order_acquire) == 1 ||
        atomic_fetch_sub_explicit(&snapshot->uses, 1, memory_order_acq_rel) == 1)
        free_whole(snapshot);
}

static inline void drop_variables(xctx_snapshot *snapshot)
{
    xctx_context *context = atomic_load_explicit(&snapshot->context, memory_order_acquire);

    if (context)
        xctx_unref(context);
    if (snapshot->root)
        xctx__map_unref(&xctx__slot, snapshot->root);
    if (snapshot->reserved_map)
        xctx__map_unreserve(snapshot->reserved_map);
}

xctx_snapshot *xctx_snapshot_unref(xctx_snapshot *snapshot)
{
    /* A chain is released link by link: its length does not cost stack. */
    while (snapshot && (atomic_load_explicit(&snapshot->refs, memory_order_acquire) == 1 ||
                        atomic_fetch_sub_explicit(&snapshot->refs, 1, memory_order_acq_rel) == 1)) {
        xctx_snapshot *parent = snapshot->parent;
        xctx_snapshot *whole = snapshot->whole;
        drop_variables(snapshot);
        drop_use(whole);
        if (whole != snapshot) {
            wipe_structure(snapshot);
            xctx__free(snapshot);
        }
        snapshot = parent;
    }
    return NULL;
}

xctx_snapshot *xctx_snapshot_ref(xctx_snapshot *snapshot)
{
    if (snapshot)
        atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    return snapshot;
}

void xctx__snapshot_trim(struct slot *slot)
{
    xctx__free(slot->spare_snapshot);
    slot->spare_snapshot = NULL;
}

int xctx_snapshot_reset(xctx_snapshot *snapshot)
{
    if (!snapshot || snapshot->file || snapshot->whole != snapshot)
        return -EINVAL;
    if (atomic_load_explicit(&snapshot->refs, memory_order_acquire) != 1 ||
        atomic_load_explicit(&snapshot->uses, memory_order_acquire) != 1)
        return -EBUSY;
    struct map *reserved = snapshot->reserved_map;
    snapshot->reserved_map = NULL;
    drop_variables(snapshot);
    xctx_snapshot_unref(snapshot->parent);
    wipe_captured(snapshot);
    clear(snapshot);
    snapshot->reserved_map = reserved ? reserved : xctx__map_reserve();
    return 0;
}

/* ---- what can be asked ---- */

xctx_snapshot *xctx_snapshot_of(xctx_context *context)
{
    return context ? xctx__carried(context) : NULL;
}

xctx_snapshot *xctx_snapshot_parent(xctx_snapshot *snapshot)
{
    return snapshot ? snapshot->parent : NULL;
}

unsigned xctx_snapshot_captured(const xctx_snapshot *snapshot)
{
    return snapshot ? snapshot->captured : 0;
}

int xctx_snapshot_time(const xctx_snapshot *snapshot, int64_t *ret_time)
{
    if (!snapshot || !ret_time)
        return -EINVAL;
    const xctx_thread_state *state = &snapshot->state;
    if (!(state->present & XCTX_THREAD_TIME))
        return -ENODATA;
    *ret_time = state->time;
    return 0;
}

size_t xctx_snapshot_stack(const xctx_snapshot *snapshot, uintptr_t *pcs, size_t max)
{
    if (!snapshot)
        return 0;
    size_t count = max < snapshot->pc_count ? max : snapshot->pc_count;
    if (pcs && count)
        memcpy(pcs, snapshot->pcs, count * sizeof(*pcs));
    return snapshot->pc_count;
}

/* Names that are not those of xctx__register_names[]: gdb's, and what both processors have. */
static const struct {
    const char *name;
    unsigned index;
} aliases[] = {
    {"pc", XCTX__REGISTER_PC},
    {"sp", XCTX__REGISTER_SP},
    {"fp", XCTX__REGISTER_FP},
    {"eflags", XCTX__REGISTER_FLAGS},
};

static int find_register(const char *name)
{
    for (unsigned i = 0; i < XCTX__REGISTERS; i++)
        if (strcmp(name, xctx__register_names[i]) == 0)
            return (int)i;
    for (size_t i = 0; i < sizeof(aliases) / sizeof(aliases[0]); i++)
        if (strcmp(name, aliases[i].name) == 0)
            return (int)aliases[i].index;
    return -ENOENT;
}

int xctx_snapshot_register(const xctx_snapshot *snapshot, const char *name, uint64_t *ret_value)
{
    if (!snapshot || !name || !ret_value)
        return -EINVAL;
    int index = find_register(name);
    if (index < 0)
        return index;
    const struct xctx__registers *registers = &snapshot->registers;
    if (!(registers->known >> index & 1))
        return -ENODATA;
    *ret_value = registers->value[index];
    return 0;
}

const char *xctx_register_name(size_t index)
{
    return index < XCTX__REGISTERS ? xctx__register_names[index] : NULL;
}

int xctx_snapshot_read(const xctx_snapshot *snapshot, uint64_t address, void *buffer, size_t size)
{
    if (!snapshot || (!buffer && size))
        return -EINVAL;
    if (xctx__snapshot_is_blank(snapshot, address, size))
        return -EFAULT;
    uint64_t skip = address - snapshot->stack_address;
    if (size == 0 && snapshot->stack && address >= snapshot->stack_address && skip <= snapshot->stack_size)
        return 0;
    uint64_t there = 0;
    const uint8_t *bytes = xctx__snapshot_bytes(snapshot, address, &there);
    if (bytes && size <= there) {
        if (size)
            memcpy(buffer, bytes, size);
        return 0;
    }
    if (snapshot->file && address + size >= address && xctx__file_read(snapshot->file, address, buffer, size) == size)
        return 0;
    return -EFAULT;
}

const xctx_thread_state *xctx_snapshot_thread_state(const xctx_snapshot *snapshot)
{
    return snapshot && snapshot->stage == SNAPSHOT_FILLED ? &snapshot->state : NULL;
}

xctx_context *xctx_snapshot_context(const xctx_snapshot *snapshot)
{
    if (!snapshot || !snapshot->root)
        return NULL;
    /* The one field that changes: the snapshot is const for its user. */
    xctx_snapshot *changing = (xctx_snapshot *)(uintptr_t)snapshot;
    xctx_context *made, *context = atomic_load_explicit(&changing->context, memory_order_acquire);
    if (context)
        return context;
    struct slot *slot = &xctx__slot;
    struct record *record = xctx__record_get(slot);
    if (!record)
        return NULL;
    atomic_fetch_add_explicit(&snapshot->root->refs, 1, memory_order_relaxed);
    made = xctx__context_create(record, snapshot->root);
    if (!made) {
        xctx__map_unref(slot, snapshot->root);
        return NULL;
    }
    /* Release: what was made is visible to who finds it. Acquire: so is another's. */
    if (atomic_compare_exchange_strong_explicit(&changing->context, &context, made, memory_order_acq_rel,
                                                memory_order_acquire))
        return made;
    xctx_unref(made);
    return context;
}

void xctx_snapshot_unref_all(xctx_snapshot **snapshots, size_t count)
{
    for (size_t i = 0; snapshots && i < count; i++)
        xctx_snapshot_unref(snapshots[i]);
    xctx__free(snapshots);
}
