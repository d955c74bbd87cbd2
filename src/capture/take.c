/* SPDX-License-Identifier: MIT */
/*
 * Taking a snapshot: the hot path. It copies, and nothing else: no debug information, no lock, and a system call only
 * for what nothing else tells.
 *
 * In a signal handler the thread may have been interrupted anywhere in this library. What is read of it then is sound
 * at any instruction: the slot's current context, and the snapshot that this carries, never change while they are
 * current; its map is alive as long as it is in the slot. Another reference to the map may be taken unless the thread
 * is just changing the context in a window (record.h): there it relies on the count it has read.
 *
 * In a fiber the stack goes on where that was resumed: what was saved there is known while the stack pointer is on the
 * fiber's stack and the slot has that fiber. Both change in the midst of a switch, one after the other.
 */
#include "take.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "arch/switch.h"
#include "chain.h"
#include "context/follow.h"
#include "fiber/fiber_internal.h"
#include "stack.h"
#include "state.h"

_Atomic uint64_t xctx__module_epoch;

static _Atomic size_t stack_limit = XCTX_SNAPSHOT_STACK_DEFAULT;

int xctx_set_stack_limit(size_t bytes)
{
    if (bytes > XCTX_SNAPSHOT_STACK_MAX)
        return -EINVAL;
    atomic_store_explicit(&stack_limit, bytes, memory_order_relaxed);
    return 0;
}

/* The frames of others may lie in what a sanitizer has told apart. */
#define NOT_SANITIZED __attribute__((no_sanitize_address, no_sanitize_thread))

/* Whether the chain goes on there. One branch for each test, which the compiler must not work out together (hence the
   assembly, which does nothing): all are foreseen, and then nothing waits for their outcome. */
static inline __attribute__((always_inline)) bool is_record(uintptr_t frame, uintptr_t low, uintptr_t last)
{
    if (XCTX__UNLIKELY(frame < low))
        return false;
    __asm__ volatile("");
    if (XCTX__UNLIKELY(frame > last))
        return false;
    __asm__ volatile("");
    return XCTX__LIKELY(frame % sizeof(uintptr_t) == 0);
}

/* Follows frame pointers: each points to the caller's, and behind that is the return address. Every one is further up
   than the one before, so this ends. `low` is the stack pointer. Returns how many addresses there are, the first being
   `pc`. */
NOT_SANITIZED static inline size_t walk(uintptr_t pc, uintptr_t low, uintptr_t frame, uintptr_t high, uintptr_t *pcs,
                                        size_t max)
{
    enum { RECORD = 2 * sizeof(uintptr_t) };
    const uintptr_t last = high >= RECORD ? high - RECORD : 0; /* where a record may be at most */
    uintptr_t *to = pcs;
    uintptr_t *const end = pcs + max;

    *to++ = pc & XCTX__ADDRESS_MASK;
    while (to < end && is_record(frame, low, last)) {
        const uintptr_t *record = (const uintptr_t *)frame; /* NOLINT(performance-no-int-to-ptr) */
        uintptr_t address = record[1]; /* NOLINT(clang-analyzer-core.NullDereference): above `low` */
        if (XCTX__UNLIKELY(!address))
            break;
        *to++ = address & XCTX__ADDRESS_MASK;
        low = frame + RECORD;
        frame = record[0];
    }
    return (size_t)(to - pcs);
}

/* Goes on where the running fiber was resumed, if `sp` is on its stack. Returns how many addresses there are then. */
NOT_SANITIZED static __attribute__((noinline)) size_t walk_on(struct slot *slot, uintptr_t sp, bool safe,
                                                              uintptr_t *pcs, size_t count, size_t max)
{
    uintptr_t low, high;

    if (!xctx__fiber_bounds(slot, sp, &low, &high))
        return count;
    for (const xctx_fiber *fiber = slot->fiber; fiber && count < max; fiber = fiber->resumer) {
        struct switch_saved saved = xctx__switch_saved(fiber->resumer_sp);
        high = fiber->resumer ? fiber->resumer->high : xctx__stack_bounds(slot, saved.sp, safe).high;
        count += walk(saved.pc, saved.sp, saved.fp, high, pcs + count, max - count);
    }
    return count;
}

NOT_SANITIZED size_t xctx_backtrace(uintptr_t *pcs, size_t max)
{
    const uintptr_t *record = __builtin_frame_address(0); /* the caller's frame pointer, and the return address */
    uintptr_t sp = (uintptr_t)(record + 2);

    if (!pcs || max == 0)
        return 0;
    struct slot *slot = &xctx__slot;
    struct bounds bounds = xctx__stack_bounds(slot, sp, true);
    size_t count = walk(record[1], sp, record[0], bounds.high, pcs, max);
    return XCTX__UNLIKELY(slot->fiber != NULL) ? walk_on(slot, sp, true, pcs, count, max) : count;
}

/* Where the captured stack begins. */
static inline uintptr_t from_of(const struct xctx__registers *registers, uintptr_t low)
{
    uintptr_t sp = registers->value[XCTX__REGISTER_SP];

    return XCTX__LIKELY(sp >= low) ? sp : low;
}

/* What a function may use below its stack pointer: where a signal interrupted it, that is part of its frame. */
static uintptr_t below(uintptr_t sp, uintptr_t low)
{
    return sp - low < XCTX__RED_ZONE ? low : sp - XCTX__RED_ZONE;
}

static void take_stack(xctx_snapshot *snapshot, uintptr_t low, uintptr_t high)
{
    uintptr_t from = low & ~(uintptr_t)7;
    size_t size = high > from ? high - from : 0;

    if (size > snapshot->stack_room)
        size = snapshot->stack_room & ~(size_t)7;
    xctx__words_copy(snapshot->stack, (const void *)from, size); /* NOLINT(performance-no-int-to-ptr) */
    snapshot->stack_address = from;
    snapshot->stack_size = (uint32_t)size;
}

/* Adds bytes of memory to what is captured, as far as there is room. False: there is none for all. */
static bool add_piece(xctx_snapshot *snapshot, const void *from, size_t size)
{
    size_t used = (snapshot->stack_size + (size_t)7) / 8 * 8;
    struct stack_piece piece = {(uintptr_t)from, size};

    snapshot->pieces = snapshot->stack + used;
    if (snapshot->stack_room - used < snapshot->pieces_size + sizeof(piece))
        return false;
    size_t room = (snapshot->stack_room - used - snapshot->pieces_size - sizeof(piece)) / 8 * 8;
    piece.size = size < room ? size : room;
    uint8_t *to = snapshot->stack + used + snapshot->pieces_size;
    memcpy(to, &piece, sizeof(piece));
    xctx__words_copy(to + sizeof(piece), from, piece.size);
    snapshot->pieces_size += (uint32_t)(sizeof(piece) + piece.size);
    return piece.size == size;
}

/* The stacks of those who wait for the running fiber, if `sp` is on its stack, and what unwinders read to get there. */
static __attribute__((noinline)) void take_resumers(xctx_snapshot *snapshot, struct slot *slot, uintptr_t sp, bool safe)
{
    uintptr_t low, high;
    bool whole = xctx__fiber_bounds(slot, sp, &low, &high);

    for (const xctx_fiber *fiber = slot->fiber; fiber && whole; fiber = fiber->resumer) {
        uintptr_t from = (uintptr_t)fiber->resumer_sp;
        high = fiber->resumer ? fiber->resumer->high : xctx__stack_bounds(slot, from, safe).high;
        whole = add_piece(snapshot, fiber, sizeof(*fiber)) &&
                (!fiber->name[0] || add_piece(snapshot, fiber->name, sizeof(xctx__fiber_top(fiber)->name))) &&
                high > from && add_piece(snapshot, fiber->resumer_sp, (high - from) & ~(size_t)7);
    }
}

static void take_registers(xctx_snapshot *snapshot, const struct xctx__registers *registers, const ucontext_t *context)
{
    /* Word by word, as they were stored a moment ago: a wider load would have to wait for all of those stores. */
    const volatile uint64_t *from = registers->value;

    for (size_t i = 0; i < XCTX__REGISTERS; i++)
        snapshot->registers.value[i] = from[i];
    snapshot->registers.known = registers->known;
    if (!context)
        xctx__registers_add_control(&snapshot->registers);
}

static void take_fpu(xctx_snapshot *snapshot, const ucontext_t *context)
{
    size_t size = context ? xctx__fpu_from_ucontext(snapshot->fpu, context) : xctx__fpu_of_call(snapshot->fpu);

    snapshot->fpu_size = (uint32_t)size;
}

/* What takes longer than addresses. Apart, so that those do not wait for it. */
static __attribute__((noinline)) void take_more(xctx_snapshot *snapshot, struct slot *slot,
                                                const struct xctx__registers *registers, const ucontext_t *context,
                                                uintptr_t low, uintptr_t high, bool safe)
{
    const unsigned capture = snapshot->captured;
    xctx_thread_state *state = &snapshot->state;
    uintptr_t from = from_of(registers, low);

    if (capture & (XCTX_CAPTURE_REGISTERS | XCTX_CAPTURE_LOCALS))
        take_registers(snapshot, registers, context);
    if (capture & XCTX_CAPTURE_LOCALS)
        take_stack(snapshot, context ? below(from, low) : from, high);
    if (XCTX__UNLIKELY(slot->fiber != NULL) && capture & XCTX_CAPTURE_LOCALS)
        take_resumers(snapshot, slot, registers->value[XCTX__REGISTER_SP], safe);
    if (capture & XCTX_CAPTURE_STATE) {
        int error_number = errno; /* nothing has changed it yet */
        state->error_number = error_number;
        state->present |= XCTX_THREAD_ERRNO;
        xctx__state_read(state, context, safe);
        errno = error_number;
    }
}

/* Everything but the variables and the parent. Into memory that is reserved for it. `safe`: this may be a signal
   handler, also without a `context`. */
static inline __attribute__((always_inline)) void take(xctx_snapshot *snapshot, struct slot *slot, unsigned capture,
                                                       const struct xctx__registers *registers,
                                                       const ucontext_t *context, bool safe)
{
    xctx_thread_state *state = &snapshot->state;

    /* First what this function would change itself. */
    if (XCTX__UNLIKELY(capture & XCTX_CAPTURE_FPU))
        take_fpu(snapshot, context);
    struct bounds bounds = xctx__stack_bounds(slot, registers->value[XCTX__REGISTER_SP], safe);
    if (capture & XCTX_CAPTURE_STACK)
        snapshot->pc_count =
            (uint16_t)walk(registers->value[XCTX__REGISTER_PC], from_of(registers, bounds.low),
                           registers->value[XCTX__REGISTER_FP], bounds.high, snapshot->pcs, XCTX_SNAPSHOT_ADDRESSES);
    if (XCTX__UNLIKELY(slot->fiber != NULL) && capture & XCTX_CAPTURE_STACK)
        snapshot->pc_count = (uint16_t)walk_on(slot, registers->value[XCTX__REGISTER_SP], safe, snapshot->pcs,
                                               snapshot->pc_count, XCTX_SNAPSHOT_ADDRESSES);
    state->tid = bounds.tid;
    state->pid = atomic_load_explicit(&xctx__process, memory_order_relaxed);
    state->present = XCTX_THREAD_IDS;
    if (XCTX__LIKELY(bounds.high)) {
        state->stack_low = bounds.low;
        state->stack_high = bounds.high;
        state->present |= XCTX_THREAD_STACK;
    }
    snapshot->captured = capture;
    snapshot->epoch = atomic_load_explicit(&xctx__module_epoch, memory_order_relaxed);
    snapshot->bits |= context ? SNAPSHOT_INTERRUPTED : 0;
    if (capture & ~XCTX_CAPTURE_STACK)
        take_more(snapshot, slot, registers, context, bounds.low, bounds.high, safe);
    snapshot->stage = SNAPSHOT_FILLED;
}

static size_t stack_room(unsigned capture)
{
    return capture & XCTX_CAPTURE_LOCALS ? atomic_load_explicit(&stack_limit, memory_order_relaxed) : 0;
}

/* The thread's errno is captured only afterwards. */
static struct map *share_keeping_errno(struct slot *slot, xctx_context *current)
{
    int error_number = errno;
    struct map *map = xctx__context_share_current(slot, current);

    errno = error_number;
    return map;
}

/* The variables as they are: a reference to the current context's map. 0 or -ENOMEM. */
static int take_variables(xctx_snapshot *snapshot, struct slot *slot)
{
    xctx_context *current = slot->current;

    if (XCTX__LIKELY(current && slot->pin == current))
        snapshot->root = xctx__map_ref(slot, slot->pin_map);
    else if (current)
        snapshot->root = share_keeping_errno(slot, current);
    else
        snapshot->root = xctx__map_ref(slot, &xctx__map_empty);
    return snapshot->root ? 0 : -ENOMEM;
}

/* What the current context carries; NULL: nothing. */
static inline xctx_snapshot *carried(const struct slot *slot)
{
    return slot->current ? xctx__carried(slot->current) : NULL;
}

/* A new snapshot with everything. NULL: no memory. */
static xctx_snapshot *take_new(struct slot *slot, unsigned capture, const struct xctx__registers *registers)
{
    xctx_snapshot *snapshot = xctx__snapshot_allocate(slot, capture, stack_room(capture));

    if (!snapshot)
        return NULL;
    if (take_variables(snapshot, slot)) {
        xctx_snapshot_unref(snapshot);
        return NULL;
    }
    take(snapshot, slot, capture, registers, NULL, false);
    xctx_snapshot *parent = carried(slot);
    if (parent)
        xctx__snapshot_link(snapshot, parent);
    return snapshot;
}

xctx_snapshot *xctx__snapshot_take_from(unsigned capture, struct xctx__registers *registers)
{
    return capture & ~XCTX_CAPTURE_ALL ? NULL : take_new(&xctx__slot, capture, registers);
}

xctx_snapshot *xctx_snapshot_reserve(unsigned capture, size_t limit)
{
    if (capture & ~XCTX_CAPTURE_ALL || limit > XCTX_SNAPSHOT_STACK_MAX)
        return NULL;
    size_t room = capture & XCTX_CAPTURE_LOCALS ? limit ? limit : stack_room(capture) : 0;
    struct map *map = xctx__map_reserve();
    xctx_snapshot *snapshot = map ? xctx__snapshot_create(capture, room) : NULL;
    if (!snapshot) {
        xctx__map_unreserve(map);
        return NULL;
    }
    snapshot->reserved_map = map;
    return snapshot;
}

/* Whether a signal has interrupted the thread while it changes its variables: in a window, or, where claims cannot be
   kept or others ask for the context again and again, with the claim locked (claim.h). */
static bool is_changing(const struct slot *slot)
{
    const xctx_context *current = slot->current;

    return atomic_load_explicit(&slot->record->window, memory_order_relaxed) ||
           (current &&
            atomic_load_explicit(&current->claim, memory_order_relaxed) == xctx__claim(slot->record, CLAIM_LOCKED));
}

/* Whether that map, which the slot shows, may get one more reference: not while scoped bindings are open. Not either if
   the context has another map: between the stores with which the thread enters a context, the slot shows the map of the
   one around it, where bindings may be open. */
static bool can_share(const xctx_context *current, const struct map *root)
{
    return !current || (!current->lets && current->root == root);
}

/* In a signal handler. Without them if the thread is just changing them. A map that cannot be shared is copied into
   reserved memory; without them if that does not hold all of it. */
static void take_variables_safely(xctx_snapshot *snapshot, struct slot *slot)
{
    const xctx_context *current = slot->current;
    bool changing = is_changing(slot);
    struct map *root = xctx__slot_map(slot);

    if (!changing && can_share(current, root)) {
        atomic_fetch_add_explicit(&root->refs, 1, memory_order_relaxed);
        snapshot->root = root;
    } else if (!changing && snapshot->reserved_map && xctx__map_copy_into(snapshot->reserved_map, root)) {
        snapshot->root = snapshot->reserved_map;
        snapshot->reserved_map = NULL;
    } else {
        snapshot->bits |= SNAPSHOT_CHANGING;
    }
}

int xctx__snapshot_fill_from(xctx_snapshot *snapshot, unsigned capture, const void *ucontext,
                             struct xctx__registers *registers)
{
    struct slot *slot = &xctx__slot;

    if (!snapshot || capture & ~snapshot->reserved)
        return -EINVAL;
    if (snapshot->stage != SNAPSHOT_RESERVED)
        return -EALREADY;
    if (ucontext)
        xctx__registers_from_ucontext(registers, ucontext);
    take_variables_safely(snapshot, slot);
    take(snapshot, slot, capture, registers, ucontext, true);
    xctx_snapshot *parent = carried(slot);
    if (parent)
        xctx__snapshot_link_end(snapshot, parent);
    return 0;
}
