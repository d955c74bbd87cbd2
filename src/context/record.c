/* SPDX-License-Identifier: MIT */
/*
 * Threads: see record.h.
 *
 * `lock` guards the list of all records and the pool of those without a thread. Locks are taken in the order of
 * before_fork(); otherwise no two of them are held at once. Threads that end are noticed by the destructor of a
 * thread-specific key. Key destructors of others may run later and use contexts again: the thread then gets a record
 * anew and the destructor is called once more (POSIX repeats it while there are values).
 */
#include "record.h"

#include <assert.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "capture/chain.h"
#include "capture/stack.h"
#include "cell.h"
#include "context_internal.h"
#include "fiber/stacks.h"
#include "fork.h"
#include "memory.h"
#include "var_internal.h"

_Thread_local struct slot xctx__slot __attribute__((tls_model("initial-exec"))) = {
    .root = &xctx__map_empty, .record = &xctx__no_record, .exceptions = &xctx__exceptions_unknown};

/* Its lists are empty, and take nothing. */
_Static_assert(XCTX__MAP_SIZES == 6, "each size below");
struct record xctx__no_record = {
    .free_context_count = UINT32_MAX,
    .free_cell_count = UINT32_MAX,
    .free_map_count = {UINT8_MAX, UINT8_MAX, UINT8_MAX, UINT8_MAX, UINT8_MAX, UINT8_MAX},
};

bool xctx__bias;

enum { SERIAL_BLOCK = 4096 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t emergency_lock = PTHREAD_MUTEX_INITIALIZER;
static struct record emergency; /* whoever has `emergency_lock` */
static struct record *all_records;
static struct record *pooled_records;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_once_t fork_once = PTHREAD_ONCE_INIT;
static pthread_key_t key;
static bool has_key;
static bool has_fork_handlers;
static _Atomic uint64_t next_serials = 1;

static int membarrier(int command)
{
    return (int)syscall(SYS_membarrier, command, 0, 0);
}

void xctx__barrier_others(void)
{
    int error = errno;

    /* The kernel may be short of memory for a moment. It cannot refuse what it has registered, unless a filter for
       system calls was set up since: then nothing can be said any more about what other threads see. */
    while (membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) != 0) {
        if (errno != ENOMEM)
            abort();
        sched_yield();
    }
    errno = error;
}

static void thread_end(void *record)
{
    struct slot *slot = &xctx__slot;

    assert(slot->record == record);
    xctx__context_thread_end(slot);
    xctx__fiber_drop_unwound(slot);
    xctx__stacks_trim(record);
    xctx__shots_trim(record);
    xctx__leaf_leave(record);
    xctx__context_trim(slot);
    xctx__snapshot_trim(slot);
    xctx__map_trim(record);
    xctx__cell_trim(record);
    slot->record = &xctx__no_record;
    xctx__record_unreserve(record);
}

static void before_fork(void)
{
    xctx__watch_before_fork();
    xctx__var_before_fork();
    pthread_mutex_lock(&emergency_lock);
    pthread_mutex_lock(&lock);
    xctx__turns_before_fork();
    xctx__stacks_before_fork();
    xctx__pool_before_fork();
}

static void after_fork_in_parent(void)
{
    xctx__pool_after_fork();
    xctx__stacks_after_fork();
    xctx__turns_after_fork();
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&emergency_lock);
    xctx__var_after_fork();
    xctx__watch_after_fork(false);
}

static void after_fork_in_child(void)
{
    struct record *mine = xctx__slot.record;
    struct record *pooled = pooled_records;

    for (struct record *record = all_records; record; record = record->next)
        atomic_store_explicit(&record->gone, record != mine, memory_order_relaxed);
    /* A record in the pool belonged to no thread, so none is missing. */
    for (; pooled; pooled = pooled->next_pooled)
        atomic_store_explicit(&pooled->gone, 0, memory_order_relaxed);
    if (xctx__bias)
        membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED);
    xctx__stack_after_fork(&xctx__slot);
    xctx__pool_after_fork();
    xctx__stacks_after_fork();
    xctx__turns_after_fork();
    pthread_mutex_unlock(&lock);
    pthread_mutex_unlock(&emergency_lock);
    xctx__var_after_fork();
    xctx__watch_after_fork(true);
}

static void register_fork_handlers(void)
{
    has_fork_handlers = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}

/* Before a program can register fork handlers of its own: those that use this library, or hold locks under which it is
   used, must run before ours in fork() and after ours behind it. And before anything leads into this code that keeps a
   plugin which has it linked in from going: a key, a fork handler. */
__attribute__((constructor(101))) static void load(void)
{
    xctx__module_pin(&once);
    pthread_once(&fork_once, register_fork_handlers);
}

static void start(void)
{
    /* Another constructor may have been quicker. */
    pthread_once(&fork_once, register_fork_handlers);
    has_key = pthread_key_create(&key, thread_end) == 0;
    xctx__bias = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
}

struct record *xctx__record_reserve(void)
{
    pthread_once(&once, start);
    if (!has_key || !has_fork_handlers)
        return NULL;
    pthread_mutex_lock(&lock);
    struct record *record = pooled_records;
    if (record) {
        pooled_records = record->next_pooled;
    } else {
        record = xctx__allocate_aligned(_Alignof(struct record), sizeof(*record));
        if (record) {
            memset(record, 0, sizeof(*record));
            atomic_init(&record->new_claim, xctx__claim(record, xctx__bias ? CLAIM_KEPT : CLAIM_FREE));
            record->next = all_records;
            all_records = record;
        }
    }
    pthread_mutex_unlock(&lock);
    return record;
}

void xctx__record_unreserve(struct record *record)
{
    pthread_mutex_lock(&lock);
    record->next_pooled = pooled_records;
    pooled_records = record;
    pthread_mutex_unlock(&lock);
}

void xctx__record_adopt(struct record *record)
{
    xctx__slot.record = record;
    /* Without the value nobody would clean up behind a thread that ends by pthread_exit(): it then leaks its contexts.
       glibc has room for the first 32 keys without allocating. */
    pthread_setspecific(key, record);
}

struct record *xctx__record_attach(void)
{
    struct record *record = xctx__record_reserve();

    if (!record)
        return NULL;
    if (pthread_setspecific(key, record)) {
        xctx__record_unreserve(record);
        return NULL;
    }
    xctx__slot.record = record;
    return record;
}

struct record *xctx__record_borrow(struct slot *slot)
{
    struct record *record = xctx__record_get(slot);

    if (record)
        return record;
    pthread_mutex_lock(&emergency_lock);
    return &emergency;
}

void xctx__record_give_back(struct record *record)
{
    if (record == &emergency)
        pthread_mutex_unlock(&emergency_lock);
}

uint64_t xctx__record_serial(struct record *record)
{
    if (record->next_serial == record->end_serial) {
        record->next_serial = atomic_fetch_add_explicit(&next_serials, SERIAL_BLOCK, memory_order_relaxed);
        record->end_serial = record->next_serial + SERIAL_BLOCK;
    }
    return record->next_serial++;
}

#ifdef XCTX_TEST_BUILD
void xctx__test_set_bias(int on)
{
    pthread_once(&once, start);
    xctx__bias = on && membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
    for (struct record *record = all_records; record; record = record->next)
        atomic_store_explicit(&record->new_claim, xctx__claim(record, xctx__bias ? CLAIM_KEPT : CLAIM_FREE),
                              memory_order_relaxed);
}
#endif
