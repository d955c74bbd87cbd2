/* SPDX-License-Identifier: MIT */
/* What the tests of captures share: places that take snapshots, and looking into snapshots. */
#ifndef XCTX_TEST_CAPTURE_SUPPORT_H
#define XCTX_TEST_CAPTURE_SUPPORT_H

#include <fcntl.h>
#include <unistd.h>

#include <xctx/snapshot.h>
#include <xctx/thread.h>

#include "../support/threads.h"

#if defined(__x86_64__)
#define PC_NAME "rip"
#define SP_NAME "rsp"
#define FP_NAME "rbp"
#else
#define PC_NAME "pc"
#define SP_NAME "sp"
#define FP_NAME "x29"
#endif

#define NOINLINE __attribute__((noinline))

static inline bool under_valgrind(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    return preloaded && strstr(preloaded, "valgrind");
}

/* Some system calls are not emulated. */
static inline bool emulated(void)
{
    return getenv("XCTX_TEST_EMULATED") || under_valgrind();
}

/* The value of a register that was captured. */
static inline uint64_t register_of(const xctx_snapshot *snapshot, const char *name)
{
    uint64_t value = 0;

    CHECK(xctx_snapshot_register(snapshot, name, &value) == 0);
    return value;
}

static inline uintptr_t first_address(const xctx_snapshot *snapshot)
{
    uintptr_t pc = 0;

    CHECK(xctx_snapshot_stack(snapshot, &pc, 1) >= 1);
    return pc;
}

static inline const xctx_thread_state *state_of(const xctx_snapshot *snapshot)
{
    const xctx_thread_state *state = xctx_snapshot_thread_state(snapshot);

    CHECK(state != NULL);
    return state;
}

/* The compiler has to have the memory, and all of it. */
static inline void keep(volatile void *memory)
{
    __asm__ volatile("" : : "r"(memory) : "memory");
}

/* Memory in the stack frame of the function that this is in, and the words in it that a test looks for. A local
   variable need not be there: AddressSanitizer puts it elsewhere. */
enum { MARK_WORDS = 4 };
#define MARKED_FRAME(n) mark_frame(__builtin_alloca(MARK_WORDS * sizeof(uint64_t)), n)

static inline volatile uint64_t *mark_frame(volatile uint64_t *words, uint64_t n)
{
    for (unsigned i = 0; i < MARK_WORDS; i++)
        words[i] = n + i;
    keep(words);
    return words;
}

/* Whether a snapshot holds that mark at that address. */
static inline bool holds(const xctx_snapshot *snapshot, const volatile uint64_t *words, uint64_t n)
{
    uint64_t read[MARK_WORDS] = {0};

    if (xctx_snapshot_read(snapshot, (uintptr_t)words, read, sizeof(read)) != 0)
        return false;
    for (unsigned i = 0; i < MARK_WORDS; i++)
        if (read[i] != n + i)
            return false;
    return true;
}

/* How many bytes of stack a snapshot has from its stack pointer on. */
static inline size_t stack_size(const xctx_snapshot *snapshot)
{
    uint64_t sp = register_of(snapshot, "sp") & ~UINT64_C(7);
    size_t low = 0, high = XCTX_SNAPSHOT_STACK_MAX + 1;
    unsigned char byte;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (xctx_snapshot_read(snapshot, sp + middle, &byte, 1) == 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Pages of memory that the process has. */
static inline long resident_pages(void)
{
    char text[128];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0);
    ssize_t size = read(fd, text, sizeof(text) - 1);
    CHECK(size > 0);
    close(fd);
    text[size] = '\0';
    long total = 0, resident = 0;
    CHECK(sscanf(text, "%ld %ld", &total, &resident) == 2);
    return resident;
}

static inline void restore_defaults(void)
{
    CHECK(xctx_set_default_capture(0) == 0);
    CHECK(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT) == 0);
    CHECK(xctx_set_chain_limits(XCTX_SNAPSHOT_PARENTS_DEFAULT, XCTX_SNAPSHOT_CHAIN_DEFAULT) == 0);
}

#endif
