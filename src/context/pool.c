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
enum { BATCH = XCTX__FREE_LIMIT / 2 };

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
    uint32_t fresh;             /* how many contexts, the last ones of the slab, were never used; they are free, too */
} __attribute__((aligned(64))); /* and so is each context: a cache line of its own */

_Static_assert(sizeof(xctx_context) == 64, "a cache line");

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

/* Under `lock`. */
static xctx_context *take_one(void)
{
    struct slab *slab = slabs ? slabs : slab_create();
    xctx_context *context;

    if (!slab)
        return NULL;
    if (slab->free) {
        context = slab->free;
        slab->free = context->previous;
    } else {
        context = (xctx_context *)(slab + 1) + (CONTEXTS - slab->fresh);
        slab->fresh--;
    }
    if (--slab->free_count == 0)
        slab_unlink(slab);
    return context;
}

/* Under `lock`. */
static void put_one(xctx_context *context)
{
    struct slab *slab = slab_of(context);

    context->previous = slab->free;
    slab->free = context;
    if (slab->free_count++ == 0)
        slab_link(slab);
    /* One slab is kept, so that a single context that comes and goes does not map and unmap it each time. */
    if (slab->free_count == CONTEXTS && (slab->next || slab->previous)) {
        slab_unlink(slab);
        munmap(slab, SLAB_SIZE);
    }
}
#else
static xctx_context *take_one(void)
{
    return xctx__allocate(sizeof(xctx_context));
}

static void put_one(xctx_context *context)
{
    xctx__free(context);
}
#endif

xctx_context *xctx__pool_take(struct record *record)
{
    xctx_context *context = record->free_contexts;

    if (context) {
        record->free_contexts = context->previous;
        record->free_context_count--;
        return context;
    }
    pthread_mutex_lock(&lock);
    context = take_one();
    /* What stands in for the record of a thread that has none takes nothing. */
    uint32_t batch = record == &xctx__no_record ? 1 : BATCH;
    for (uint32_t i = 1; context && i < batch; i++) {
        xctx_context *another = take_one();
        if (!another)
            break;
        another->previous = record->free_contexts;
        record->free_contexts = another;
        record->free_context_count++;
    }
    pthread_mutex_unlock(&lock);
    return context;
}

/* Gives back all but `keep` contexts of a list. */
static void shrink(struct record *record, uint32_t keep)
{
    pthread_mutex_lock(&lock);
    while (record->free_context_count > keep) {
        xctx_context *context = record->free_contexts;
        record->free_contexts = context->previous;
        record->free_context_count--;
        put_one(context);
    }
    pthread_mutex_unlock(&lock);
}

void xctx__pool_put(struct record *record, xctx_context *context)
{
    if (record == &xctx__no_record) {
        pthread_mutex_lock(&lock);
        put_one(context);
        pthread_mutex_unlock(&lock);
        return;
    }
    context->previous = record->free_contexts;
    record->free_contexts = context;
    if (++record->free_context_count > XCTX__FREE_LIMIT)
        shrink(record, BATCH);
}

void xctx__pool_trim(struct record *record)
{
    shrink(record, 0);
}
