/* SPDX-License-Identifier: MIT */
/*
 * Memory for contexts: see pool.h.
 *
 * A slab is an aligned block of pages with its head at the beginning and contexts behind. `slabs` lists those that have
 * a free context; a slab whose contexts are all taken is in no list, and found again by the address of the first one
 * that comes back. `lock` guards slabs and list. A record's list of free contexts belongs to its thread and needs no
 * lock.
 *
 * Builds that look for errors (XCTX__POOLED is 0: address sanitizer, fault injection) take every context from the
 * allocator instead, so that each one counts.
 */
#include "pool.h"

#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>

#include "context_internal.h"
#include "fork.h"
#include "memory.h"

/* How many contexts a thread takes from the slabs at a time, and keeps when it gives back. */
enum { BATCH = XCTX__CONTEXT_LIMIT / 2 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void xctx__pool_before_fork(void)
{
    pthread_mutex_lock(&lock);
}

void xctx__pool_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

#if XCTX__POOLED
#define SLAB_SIZE ((size_t)1 << 16)

struct slab {
    struct slab *next; /* in `slabs`, as long as `free_count` is not 0 */
    struct slab *previous;
    xctx_context *free; /* linked by `previous` */
    uint32_t free_count;
    uint32_t fresh; /* how many contexts, the last ones of the slab, were never used; they are free, too */
};

_Static_assert(sizeof(xctx_context) == 56, "a copy's cost in memory");

enum { CONTEXTS = (SLAB_SIZE - sizeof(struct slab)) / sizeof(xctx_context) };

static struct slab *slabs;

static struct slab *slab_of(xctx_context *context)
{
    return (struct slab *)((uintptr_t)context & ~(uintptr_t)(SLAB_SIZE - 1));
}

static void slab_link(struct slab *slab)
{
    slab->previous = NULL;
    slab->next = slabs;
    if (slabs)
        slabs->previous = slab;
    slabs = slab;
}

static void slab_unlink(struct slab *slab)
{
    if (slab->previous)
        slab->previous->next = slab->next;
    else
        slabs = slab->next;
    if (slab->next)
        slab->next->previous = slab->previous;
}

static void *map_pages(size_t size)
{
    void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    return pages == MAP_FAILED ? NULL : pages;
}

static bool is_aligned(const void *pages)
{
    return ((uintptr_t)pages & (SLAB_SIZE - 1)) == 0;
}

static struct slab *slab_create(void)
{
    /* Usually aligned at once: the system puts mappings side by side, and the neighbour is often another slab. */
    char *pages = map_pages(SLAB_SIZE);
    if (pages && !is_aligned(pages)) {
        munmap(pages, SLAB_SIZE);
        pages = map_pages(2 * SLAB_SIZE);
        if (pages) {
            size_t before = -(uintptr_t)pages & (SLAB_SIZE - 1);
            if (before)
                munmap(pages, before);
            pages += before;
            munmap(pages + SLAB_SIZE, SLAB_SIZE - before);
        }
    }
    struct slab *slab = (struct slab *)(void *)pages;
    if (slab) {
        slab->free_count = CONTEXTS;
        slab->fresh = CONTEXTS;
        slab_link(slab);
    }
    return slab;
}

/* Puts up to `most` free contexts of one slab in front of a list. Under `lock`. Returns how many; 0: no memory. */
static uint32_t take_some(uint32_t most, xctx_context **list)
{
    struct slab *slab = slabs ? slabs : slab_create();
    xctx_context *first, *last;
    uint32_t count = 1;

    if (!slab)
        return 0;
    if (slab->free) {
        first = last = slab->free;
        for (; count < most && last->previous; count++)
            last = last->previous;
        slab->free = last->previous;
    } else {
        count = most < slab->fresh ? most : slab->fresh;
        first = (xctx_context *)(slab + 1) + (CONTEXTS - slab->fresh);
        slab->fresh -= count;
        for (last = first; last < first + count - 1; last++)
            last->previous = last + 1;
    }
    last->previous = *list;
    *list = first;
    slab->free_count -= count;
    if (slab->free_count == 0)
        slab_unlink(slab);
    return count;
}

/* Gives back up to `most` contexts, those of one slab, from the front of a list. Under `lock`. Returns how many. */
static uint32_t put_some(uint32_t most, xctx_context **list)
{
    xctx_context *first = *list, *last = first;
    struct slab *slab = slab_of(first);
    uint32_t count = 1;

    for (; count < most && slab_of(last->previous) == slab; count++)
        last = last->previous;
    *list = last->previous;
    last->previous = slab->free;
    slab->free = first;
    if (slab->free_count == 0)
        slab_link(slab);
    slab->free_count += count;
    /* One slab is kept, so that a single context that comes and goes does not map and unmap it each time. */
    if (slab->free_count == CONTEXTS && (slab->next || slab->previous)) {
        slab_unlink(slab);
        munmap(slab, SLAB_SIZE);
    }
    return count;
}
#else
static uint32_t take_some(uint32_t most, xctx_context **list)
{
    xctx_context *context = xctx__allocate(sizeof(*context));

    (void)most;
    if (!context)
        return 0;
    context->previous = *list;
    *list = context;
    return 1;
}

static uint32_t put_some(uint32_t most, xctx_context **list)
{
    xctx_context *context = *list;

    (void)most;
    *list = context->previous;
    xctx__free(context);
    return 1;
}
#endif

xctx_context *xctx__pool_refill(struct record *record)
{
    /* What stands in for the record of a thread that has none keeps nothing. */
    const bool keeps = record != &xctx__no_record;
    const uint32_t batch = keeps && BATCH > 1 ? BATCH : 1;
    xctx_context *list = NULL;
    uint32_t count = 0;

    pthread_mutex_lock(&lock);
    for (uint32_t got = 1; got && count < batch; count += got)
        got = take_some(batch - count, &list);
    pthread_mutex_unlock(&lock);
    if (keeps && list) {
        record->free_contexts = list->previous;
        record->free_context_count += count - 1;
    }
    return list;
}

/* Gives back all but `keep` contexts of a list. */
static void shrink(struct record *record, uint32_t keep)
{
    pthread_mutex_lock(&lock);
    while (record->free_context_count > keep)
        record->free_context_count -= put_some(record->free_context_count - keep, &record->free_contexts);
    pthread_mutex_unlock(&lock);
}

void xctx__pool_shrink(struct record *record)
{
    shrink(record, BATCH);
}

void xctx__pool_put_alone(xctx_context *context)
{
    context->previous = NULL;
    pthread_mutex_lock(&lock);
    put_some(1, &context);
    pthread_mutex_unlock(&lock);
}

void xctx__pool_trim(struct record *record)
{
    shrink(record, 0);
}
