/* SPDX-License-Identifier: MIT */
/*
 * The bounds of stacks: see stack.h.
 *
 * A thread's own stack: the main thread's ends where the kernel began it (`__libc_stack_end`, or the random bytes that
 * the kernel puts above everything that runs); another thread's is known to libc. In a signal handler libc cannot be
 * asked, as pthread_getattr_np() allocates: then, and for stacks that are no thread's own, the mapping that holds the
 * stack pointer is looked up in /proc/self/maps, with system calls alone. The kernel knows alternate signal stacks.
 *
 * Stacks of fibers lie side by side in one mapping, and so do their guards, which cannot be read: so the mapping says
 * nothing of them. The slot knows the fiber that runs; while it is being switched, the table of stacks does.
 */
#include "stack.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arch/registers.h"
#include "fiber/fiber_internal.h"
#include "fiber/stacks.h"

#pragma weak dlsym /* a static program need not contain it */

_Atomic int32_t xctx__process;

/* Where glibc says that the kernel began the main thread's stack. */
extern void *__libc_stack_end __attribute__((weak)); /* NOLINT(bugprone-reserved-identifier): libc's name */

/* How much of what is below pthread_self() is thread-local storage. Noted when the library is loaded. */
static _Atomic uintptr_t static_tls;

/* The main thread's pthread_self(), if it has loaded the library; else 0. */
static _Atomic uintptr_t main_thread;

enum { NEAR = 1 << 20 };

static int note_tls(struct dl_phdr_info *info, size_t size, void *self)
{
    uintptr_t thread = (uintptr_t)self;
    uintptr_t data = size >= sizeof(*info) ? (uintptr_t)info->dlpi_tls_data : 0;

    if (data && data < thread && thread - data < NEAR &&
        thread - data > atomic_load_explicit(&static_tls, memory_order_relaxed))
        atomic_store_explicit(&static_tls, thread - data, memory_order_relaxed);
    return 0;
}

/* Modules that are loaded later may get storage further below, in what glibc has reserved for that. It tells its
   friends, debuggers and sanitizers, how much that is, together with its thread control block; and how large that is.
 */
static void note_reserve(void)
{
    void (*get_size)(size_t *, size_t *) = NULL;
    const uint32_t *control_block = dlsym ? dlsym(RTLD_DEFAULT, "_thread_db_sizeof_pthread") : NULL;
    void *found = dlsym ? dlsym(RTLD_DEFAULT, "_dl_get_tls_static_info") : NULL;
    size_t size = 0, alignment = 0;

    memcpy(&get_size, &found, sizeof(found));
    if (!get_size || !control_block || atomic_load_explicit(&static_tls, memory_order_relaxed) == 0)
        return; /* or it is above */
    get_size(&size, &alignment);
    if (size > *control_block && size < NEAR)
        atomic_store_explicit(&static_tls, size - *control_block, memory_order_relaxed);
}

__attribute__((constructor(102))) static void load(void)
{
    /* Signal handlers only read it. */
    atomic_store_explicit(&xctx__process, getpid(), memory_order_relaxed);
    if (syscall(SYS_gettid) == getpid())
        atomic_store_explicit(&main_thread, (uintptr_t)pthread_self(), memory_order_relaxed);
    dl_iterate_phdr(note_tls, (void *)pthread_self());
    note_reserve();
}

static uintptr_t below(uintptr_t thread, uintptr_t low, uintptr_t high)
{
    uintptr_t storage = thread - atomic_load_explicit(&static_tls, memory_order_relaxed);

    return storage > low && storage < high ? storage & ~(uintptr_t)15 : high;
}

/* A stack cannot reach into what is the thread's own above it. Nor into what is the main thread's: that is in no stack,
   and the first memory that a program maps, of which it may make stacks, often lies right below it. */
static uintptr_t below_thread(uintptr_t low, uintptr_t high)
{
    high = below((uintptr_t)pthread_self(), low, high);
    return below(atomic_load_explicit(&main_thread, memory_order_relaxed), low, high);
}

static struct bounds thread_bounds(void)
{
    pthread_attr_t attributes;
    struct bounds bounds = {0};
    void *low;
    size_t size;

    if (pthread_getattr_np(pthread_self(), &attributes))
        return bounds;
    if (pthread_attr_getstack(&attributes, &low, &size) == 0) {
        bounds.low = (uintptr_t)low;
        bounds.high = below_thread(bounds.low, bounds.low + size);
    }
    pthread_attr_destroy(&attributes);
    return bounds;
}

/* ---- /proc/self/maps ---- */

/* System calls are made directly: libc's functions would be points where the thread can be cancelled. */

struct lines {
    int fd;
    size_t used;
    size_t size;
    char bytes[1024];
};

static int next_byte(struct lines *lines)
{
    if (lines->used == lines->size) {
        long got = syscall(SYS_read, lines->fd, lines->bytes, sizeof(lines->bytes));
        if (got <= 0)
            return -1;
        lines->size = (size_t)got;
        lines->used = 0;
    }
    return (unsigned char)lines->bytes[lines->used++];
}

/* A hexadecimal number, and the byte behind it. */
static int next_number(struct lines *lines, uintptr_t *ret_number)
{
    uintptr_t number = 0;

    for (;;) {
        int byte = next_byte(lines);
        if (byte >= '0' && byte <= '9')
            number = number << 4 | (uintptr_t)(byte - '0');
        else if (byte >= 'a' && byte <= 'f')
            number = number << 4 | (uintptr_t)(byte - 'a' + 10);
        else {
            *ret_number = number;
            return byte;
        }
    }
}

/* The readable mapping that holds an address. The kernel lists at most some 65,530 of them, by address. */
static struct bounds mapping_of(uintptr_t address)
{
    struct bounds found = {0};
    struct lines lines = {.fd = (int)syscall(SYS_openat, AT_FDCWD, "/proc/self/maps", O_RDONLY | O_CLOEXEC)};

    if (lines.fd < 0)
        return found;
    for (;;) {
        uintptr_t low, high;
        if (next_number(&lines, &low) != '-' || next_number(&lines, &high) != ' ')
            break;
        int readable = next_byte(&lines);
        if (address < low)
            break;
        if (address < high) {
            if (readable == 'r')
                found = (struct bounds){.low = low, .high = high};
            break;
        }
        int byte = readable;
        while (byte >= 0 && byte != '\n')
            byte = next_byte(&lines);
        if (byte < 0)
            break;
    }
    syscall(SYS_close, lines.fd);
    return found;
}

/* ---- where a stack pointer is ---- */

static bool within(uintptr_t sp, struct bounds bounds)
{
    return sp >= bounds.low && sp < bounds.high;
}

/* Whether there is memory, as far as the kernel tells. */
static bool is_mapped(uintptr_t page)
{
    unsigned char resident;

    return syscall(SYS_mincore, page, 1, &resident) == 0 || errno != ENOMEM;
}

/* The main thread's stack grows, into a gap that the kernel keeps free below it: of 128 MiB at least, less what the
   arguments and the environment take. What lies further down may be anything. So the lower end is the lowest page that
   the stack is known to reach. */
static struct bounds main_bounds(uintptr_t sp)
{
    enum { MOST = 64 << 20, PAGE = 4096 };
    uintptr_t high = &__libc_stack_end ? (uintptr_t)__libc_stack_end : (uintptr_t)getauxval(AT_RANDOM);

    high &= ~(uintptr_t)15;
    if (sp >= high || high - sp > MOST)
        return (struct bounds){.low = high, .high = high};
    uintptr_t page = sp & ~(uintptr_t)(PAGE - 1);
    return (struct bounds){.low = is_mapped(page) ? page : mapping_of(high - 1).low, .high = high};
}

/* In a signal handler: the memory that holds the thread control block holds the stack, too. */
static struct bounds thread_bounds_safely(void)
{
    struct bounds bounds = mapping_of((uintptr_t)pthread_self());

    bounds.high = below_thread(bounds.low, bounds.high);
    return bounds;
}

static struct bounds own_bounds(const struct slot *slot, pid_t tid, uintptr_t sp, bool safe)
{
    if (tid == getpid())
        return main_bounds(sp);
    if (slot->stack_high)
        return (struct bounds){.low = slot->stack_low, .high = slot->stack_high};
    return safe ? thread_bounds_safely() : thread_bounds();
}

static struct bounds alternate_bounds(uintptr_t sp)
{
    stack_t stack;

    if (syscall(SYS_sigaltstack, NULL, &stack) != 0 || stack.ss_flags & SS_DISABLE ||
        sp - (uintptr_t)stack.ss_sp >= stack.ss_size)
        return (struct bounds){0};
    return (struct bounds){.low = (uintptr_t)stack.ss_sp, .high = (uintptr_t)stack.ss_sp + stack.ss_size};
}

/* Of any stack that is not the thread's own. */
static struct bounds other_bounds(uintptr_t sp)
{
    struct bounds bounds = alternate_bounds(sp);

    if (!bounds.high && xctx__stacks_bounds(sp, &bounds.low, &bounds.high))
        return bounds;
    if (!bounds.high) {
        bounds = mapping_of(sp);
        bounds.high = below_thread(sp, bounds.high);
        if (bounds.low <= (uintptr_t)pthread_self() && (uintptr_t)pthread_self() < sp)
            bounds.low = sp; /* the thread's own things are right below */
    }
    return within(sp, bounds) ? bounds : (struct bounds){0};
}

static struct bounds find(struct slot *slot, uintptr_t sp, bool safe)
{
    enum { GUARD_MOST = 1 << 20 };
    pid_t tid = (pid_t)syscall(SYS_gettid);
    bool own_slot = slot->tid == 0 || slot->tid == tid; /* a thread made by clone() may use its creator's */
    struct bounds own = {0};
    struct bounds bounds = {0};

    if (atomic_load_explicit(&xctx__process, memory_order_relaxed) == 0) /* before it was noted */
        atomic_store_explicit(&xctx__process, getpid(), memory_order_relaxed);
    if (own_slot)
        own = own_bounds(slot, tid, sp, safe);
    if (own_slot && within(sp, own)) {
        bounds = own;
        slot->tid = tid;
        slot->stack_low = bounds.low;
        slot->stack_high = bounds.high;
    } else if (own_slot && xctx__fiber_bounds(slot, sp, &bounds.low, &bounds.high)) {
        slot->tid = tid;
    } else {
        bounds = other_bounds(sp);
        /* Nothing there, and the thread's own stack close above: it has overflowed. */
        if (!bounds.high && sp < own.low && own.low - sp < GUARD_MOST)
            bounds = own;
    }
    bounds.tid = tid;
    return bounds;
}

struct bounds xctx__stack_find(struct slot *slot, uintptr_t sp, bool safe)
{
    int error = errno;
    struct bounds bounds;

    if (slot->tid && xctx__fiber_bounds(slot, sp, &bounds.low, &bounds.high))
        bounds.tid = slot->tid;
    else
        bounds = find(slot, sp, safe);
    errno = error;
    return bounds;
}

struct bounds xctx__stack_of_thread(int tid, uintptr_t thread, uintptr_t sp)
{
    struct bounds bounds = tid == getpid() ? main_bounds(sp) : mapping_of(sp);

    if (tid != getpid()) {
        /* Its storage is in the same memory, right above: nothing else is known to end a stack. */
        uintptr_t high = thread > sp && thread < bounds.high ? below(thread, sp, bounds.high) : bounds.high;
        if (high == bounds.high)
            return (struct bounds){0};
        bounds.high = below(atomic_load_explicit(&main_thread, memory_order_relaxed), sp, high);
    }
    bounds.tid = tid;
    return within(sp, bounds) ? bounds : (struct bounds){0};
}

void xctx__stack_after_fork(struct slot *slot)
{
    atomic_store_explicit(&xctx__process, getpid(), memory_order_relaxed);
    slot->tid = 0;
    slot->stack_low = 0;
    slot->stack_high = 0;
}
