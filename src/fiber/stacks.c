/* SPDX-License-Identifier: MIT */
/*
 * The memory of fibers and their stacks: see stacks.h.
 *
 * Stacks of one size begin at multiples of the same power of two, and what lies at their upper ends would compete for
 * the same few sets of the processor's caches: so these ends are shifted against each other (`colour`).
 *
 * `lock` guards slabs and lists. A record's list belongs to its thread and needs no lock.
 */
#include "stacks.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include "annotate.h"
#include "context/context_internal.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#define SLAB_BYTES ((size_t)4 << 20)   /* of stacks, if there are several */
#define GUARD_BYTES ((size_t)16 << 10) /* a frame of that size cannot step over it unnoticed */

enum {
    SLAB_MOST = 64, /* fibers in a slab */
    COLOURS = 8,
    COLOUR_BYTES = 128,
    DIRTY_MOST = 1024, /* free stacks of a kind whose memory is kept */
    CACHE = XCTX__FREE_LIMIT / 2,
    BATCH = (CACHE + 1) / 2,
    /* Sizes are rounded up to one of four between two powers of two. */
    SIZE_LOG_MIN = 14,
    SIZE_LOG_MAX = 30,
    KINDS = (SIZE_LOG_MAX - SIZE_LOG_MIN + 1) * 4,
};

struct kind {
    struct slab *slabs; /* those with a free fiber */
    uint32_t free_count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct kind kinds[2][KINDS]; /* by guard and size */
static _Atomic bool no_markers;     /* the kernel has none, or they are not wanted */

static struct slab_page *last_page = &xctx__slab_pages;
static struct slab_entry *free_entries; /* linked by `begin` */

void xctx__stacks_before_fork(void)
{
    pthread_mutex_lock(&lock);
}

void xctx__stacks_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static size_t page_size(void)
{
    static _Atomic size_t size;
    size_t known = atomic_load_explicit(&size, memory_order_relaxed);

    if (!known) {
        known = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&size, known, memory_order_relaxed);
    }
    return known;
}

static size_t round_up(size_t size, size_t step)
{
    return (size + step - 1) & ~(step - 1);
}

/* The size that a stack gets, and the index of its kind. */
static size_t size_of(size_t wanted, unsigned *ret_index)
{
    size_t size = wanted < XCTX_FIBER_STACK_MIN ? XCTX_FIBER_STACK_MIN : wanted;
    unsigned log = 63 - (unsigned)__builtin_clzl(size);

    size = round_up(size, (size_t)1 << (log - 2));
    log = 63 - (unsigned)__builtin_clzl(size);
    *ret_index = (log - SIZE_LOG_MIN) * 4 + (unsigned)(size >> (log - 2) & 3);
    return round_up(size, page_size());
}

size_t xctx__stacks_guard(const xctx_fiber *fiber)
{
    return fiber->slab->guard;
}

/* ---- the table of slabs, under the lock ---- */

static bool grow_table(void)
{
    if (xctx__allocation_fails())
        return false;
    void *memory = mmap(NULL, sizeof(struct slab_page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return false;
    /* Release: whoever finds it sees it empty. */
    atomic_store_explicit(&last_page->next, memory, memory_order_release);
    last_page = memory;
    return true;
}

/* NULL: no memory. */
static struct slab_entry *take_entry(void)
{
    struct slab_entry *entry = free_entries;

    if (entry) {
        uintptr_t next = atomic_load_explicit(&entry->begin, memory_order_relaxed);
        free_entries = (struct slab_entry *)next; /* NOLINT(performance-no-int-to-ptr) */
        return entry;
    }
    uint64_t used = atomic_load_explicit(&last_page->used, memory_order_relaxed);
    if (used == STACKS_PAGE_SLABS) {
        if (!grow_table())
            return NULL;
        used = 0;
    }
    atomic_store_explicit(&last_page->used, used + 1, memory_order_release);
    return &last_page->entries[used];
}

static void put_entry(struct slab_entry *entry)
{
    atomic_store_explicit(&entry->end, 0, memory_order_relaxed);
    atomic_store_explicit(&entry->begin, (uintptr_t)free_entries, memory_order_release);
    free_entries = entry;
}

static void publish(struct slab *slab)
{
    uintptr_t begin = (uintptr_t)slab;

    atomic_store_explicit(&slab->entry->begin, begin, memory_order_relaxed);
    atomic_store_explicit(&slab->entry->end, begin + slab->bytes, memory_order_release);
}

/* The slab that an address is in. What changes meanwhile is not the slab that the caller runs on: it is passed over. */
static const struct slab *slab_of(uintptr_t address)
{
    for (struct slab_page *page = &xctx__slab_pages; page;
         page = atomic_load_explicit(&page->next, memory_order_acquire)) {
        uint64_t used = atomic_load_explicit(&page->used, memory_order_acquire);
        for (uint64_t i = 0; i < used; i++) {
            struct slab_entry *entry = &page->entries[i];
            uintptr_t end = atomic_load_explicit(&entry->end, memory_order_acquire);
            uintptr_t begin = atomic_load_explicit(&entry->begin, memory_order_acquire);
            if (address >= begin && address < end && atomic_load_explicit(&entry->end, memory_order_relaxed) == end)
                return (const struct slab *)begin; /* NOLINT(performance-no-int-to-ptr) */
        }
    }
    return NULL;
}

bool xctx__stacks_bounds(uintptr_t address, uintptr_t *ret_low, uintptr_t *ret_high)
{
    const struct slab *slab = slab_of(address);

    if (!slab || address < (uintptr_t)slab->stacks)
        return false;
    size_t index = (address - (uintptr_t)slab->stacks) / (slab->guard + slab->size);
    const xctx_fiber *fiber = &slab->fibers[index];
    /* Above the upper end there is what is not the stack's. */
    if (address >= fiber->high)
        return false;
    *ret_low = fiber->low;
    *ret_high = fiber->high;
    return true;
}

/* ---- slabs, under the lock ---- */

static void link_slab(struct slab *slab)
{
    struct kind *kind = slab->kind;

    slab->previous = NULL;
    slab->next = kind->slabs;
    if (kind->slabs)
        kind->slabs->previous = slab;
    kind->slabs = slab;
}

static void unlink_slab(struct slab *slab)
{
    if (slab->previous)
        slab->previous->next = slab->next;
    else
        slab->kind->slabs = slab->next;
    if (slab->next)
        slab->next->previous = slab->previous;
}

static char *stack_of(const struct slab *slab, size_t index)
{
    return slab->stacks + index * (slab->guard + slab->size) + slab->guard;
}

static struct slab *create_slab(struct kind *kind, size_t size, size_t guard)
{
    size_t count = SLAB_BYTES / (size + guard);
    count = count < 1 ? 1 : count > SLAB_MOST ? SLAB_MOST : count;
    size_t head = round_up(sizeof(struct slab) + count * sizeof(xctx_fiber), page_size());
    size_t bytes = head + count * (size + guard);

    if (xctx__allocation_fails())
        return NULL;
    char *pages =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (pages == MAP_FAILED)
        return NULL;
#ifdef MADV_NOHUGEPAGE
    /* A huge page would hold stacks that nobody uses. A kernel without them refuses. */
    (void)madvise(pages, bytes, MADV_NOHUGEPAGE);
#endif
    struct slab *slab = (struct slab *)(void *)pages;
    slab->entry = take_entry();
    if (!slab->entry) {
        munmap(pages, bytes);
        return NULL;
    }
    slab->kind = kind;
    slab->stacks = pages + head;
    slab->bytes = bytes;
    slab->guard = guard;
    slab->size = size;
    slab->free_count = (uint32_t)count;
    slab->fresh = (uint32_t)count;
    slab->count = (uint32_t)count;
    kind->free_count += (uint32_t)count;
    link_slab(slab);
    publish(slab);
    return slab;
}

static void destroy_slab(struct slab *slab)
{
    for (uint32_t i = 0; i < slab->count - slab->fresh; i++) {
        VALGRIND_STACK_DEREGISTER(slab->fibers[i].valgrind);
        if (&__lsan_unregister_root_region)
            __lsan_unregister_root_region(stack_of(slab, i), slab->size);
    }
    slab->kind->free_count -= slab->count;
    unlink_slab(slab);
    put_entry(slab->entry);
    munmap(slab, slab->bytes);
}

/* Emulators of processors take advice that they do not know for granted: then this, which nobody knows, too. */
static bool is_advised(char *guard)
{
    enum { NONSENSE = 0x7fff };
    static _Atomic bool known;

    if (!atomic_load_explicit(&known, memory_order_relaxed) && madvise(guard, page_size(), NONSENSE) == 0)
        return false;
    atomic_store_explicit(&known, true, memory_order_relaxed);
    return true;
}

/* LeakSanitizer reads whatever its roots are said to be, unless they are mapped as not readable. */
static bool install_guard(char *guard, size_t size)
{
    if (size == 0)
        return true;
    if (xctx__allocation_fails())
        return false;
    if (!atomic_load_explicit(&no_markers, memory_order_relaxed) && !&__lsan_register_root_region) {
        bool installed = madvise(guard, size, MADV_GUARD_INSTALL) == 0;
        if (!installed && errno != EINVAL)
            return false;
        if (installed && is_advised(guard))
            return true;
        atomic_store_explicit(&no_markers, true, memory_order_relaxed);
    }
    return mprotect(guard, size, PROT_NONE) == 0;
}

/* Puts a fiber to use that never was. */
static xctx_fiber *begin_fresh(struct slab *slab)
{
    uint32_t index = slab->count - slab->fresh;
    xctx_fiber *fiber = &slab->fibers[index];
    char *stack = stack_of(slab, index);

    if (!install_guard(stack - slab->guard, slab->guard))
        return NULL;
    fiber->slab = slab;
    fiber->low = (uintptr_t)stack;
    fiber->high = fiber->low + slab->size - sizeof(struct fiber_top) - (size_t)(index % COLOURS) * (size_t)COLOUR_BYTES;
    fiber->valgrind = VALGRIND_STACK_REGISTER(fiber->low, fiber->low + slab->size);
    if (&__lsan_register_root_region)
        __lsan_register_root_region(stack, slab->size);
    slab->fresh--;
    return fiber;
}

static xctx_fiber *take_one(struct kind *kind, size_t size, size_t guard)
{
    struct slab *slab = kind->slabs ? kind->slabs : create_slab(kind, size, guard);
    xctx_fiber *fiber = NULL;

    if (!slab)
        return NULL;
    if (slab->free) {
        fiber = slab->free;
        slab->free = fiber->next;
    } else {
        fiber = begin_fresh(slab);
    }
    if (!fiber) {
        if (slab->free_count == slab->count)
            destroy_slab(slab);
        return NULL;
    }
    kind->free_count--;
    if (--slab->free_count == 0)
        unlink_slab(slab);
    return fiber;
}

static void put_one(xctx_fiber *fiber)
{
    struct slab *slab = fiber->slab;

    fiber->next = slab->free;
    slab->free = fiber;
    if (slab->free_count++ == 0)
        link_slab(slab);
    /* One slab is kept, so that a single fiber that comes and goes does not map and unmap it each time. */
    if (++slab->kind->free_count > DIRTY_MOST)
        (void)madvise((void *)fiber->low, slab->size, MADV_DONTNEED);
    if (slab->free_count == slab->count && (slab->next || slab->previous || XCTX__FREE_LIMIT == 0))
        destroy_slab(slab);
}

/* ---- the threads' lists ---- */

static bool is_of(const xctx_fiber *fiber, size_t size, size_t guard)
{
    return fiber->slab->size == size && fiber->slab->guard == guard;
}

static void shrink(struct record *record, uint32_t keep)
{
    pthread_mutex_lock(&lock);
    while (record->free_fiber_count > keep) {
        xctx_fiber *fiber = record->free_fibers;
        record->free_fibers = fiber->next;
        record->free_fiber_count--;
        put_one(fiber);
    }
    pthread_mutex_unlock(&lock);
}

static __attribute__((noinline)) xctx_fiber *take_slowly(struct record *record, size_t wanted, uint32_t guard)
{
    unsigned index;
    size_t size = size_of(wanted, &index);
    size_t guard_size = guard == XCTX_FIBER_GUARD_NONE ? 0 : round_up(GUARD_BYTES, page_size());
    struct kind *kind = &kinds[guard][index];
    xctx_fiber *fiber = record->free_fibers;

    if (fiber && is_of(fiber, size, guard_size)) {
        record->free_fibers = fiber->next;
        record->free_fiber_count--;
        record->free_fiber_wanted = wanted;
        return fiber;
    }
    shrink(record, 0);
    record->free_fiber_wanted = wanted;
    record->free_fiber_size = size;
    record->free_fiber_guard = guard_size;
    pthread_mutex_lock(&lock);
    fiber = take_one(kind, size, guard_size);
    /* Some more that are used already: a fresh one costs a system call whenever it is taken. */
    for (int i = 1; i < BATCH && fiber && kind->slabs && kind->slabs->free; i++) {
        xctx_fiber *another = take_one(kind, size, guard_size);
        another->next = record->free_fibers;
        record->free_fibers = another;
        record->free_fiber_count++;
    }
    pthread_mutex_unlock(&lock);
    return fiber;
}

xctx_fiber *xctx__stacks_take(struct record *record, size_t stack_size, uint32_t guard)
{
    xctx_fiber *fiber = record->free_fibers;

    if (XCTX__LIKELY(fiber && record->free_fiber_wanted == stack_size &&
                     (record->free_fiber_guard == 0) == (guard == XCTX_FIBER_GUARD_NONE))) {
        record->free_fibers = fiber->next;
        record->free_fiber_count--;
    } else {
        fiber = take_slowly(record, stack_size, guard);
    }
    /* Frames that were abandoned leave their marks. */
    if (fiber && &__asan_unpoison_memory_region)
        __asan_unpoison_memory_region((void *)fiber->low, fiber->slab->size);
    return fiber;
}

void xctx__stacks_put(struct record *record, xctx_fiber *fiber)
{
    fiber->name = NULL; /* by which debuggers know that it is nobody's */
    if (XCTX__UNLIKELY(record == &xctx__no_record || record->free_fiber_count >= CACHE ||
                       !is_of(fiber, record->free_fiber_size, record->free_fiber_guard))) {
        if (record != &xctx__no_record && record->free_fiber_count >= CACHE)
            shrink(record, BATCH);
        pthread_mutex_lock(&lock);
        put_one(fiber);
        pthread_mutex_unlock(&lock);
        return;
    }
    fiber->next = record->free_fibers;
    record->free_fibers = fiber;
    record->free_fiber_count++;
}

void xctx__stacks_trim(struct record *record)
{
    shrink(record, 0);
}
