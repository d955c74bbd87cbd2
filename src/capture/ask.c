/* SPDX-License-Identifier: MIT */
/*
 * Asking another thread for a snapshot of itself.
 *
 * A request is one of a fixed number of *slots*. The asker puts a reserved snapshot into one and sends the thread a
 * real-time signal whose value has the number of the slot and its generation: never a pointer, so that a signal that
 * comes late, or from somebody else, can do no harm. The handler fills the snapshot from the registers that the kernel
 * saved, which makes the frames of the handler itself invisible, counts `answers` up and wakes who waits for that. It
 * allocates nothing and takes no lock. An asker waits with the signal unblocked: two threads can ask each other.
 *
 * A slot's word is its generation and one of these states:
 *
 *   FREE       -> CLAIMED   by an asker, with the next generation
 *   CLAIMED    -> ASKED     by that asker, who then sends the signal
 *   ASKED      -> TAKING    by the handler, on the thread that was asked
 *   TAKING     -> TAKEN     by the handler, when the snapshot is filled
 *   TAKEN      -> FREE      by the asker, who has the snapshot back
 *
 * and where the time runs out:
 *
 *   ASKED      -> ABANDONED by the asker, who has the snapshot back. The signal is still on its way.
 *   ABANDONED  -> FREE      by the handler, when it comes after all
 *   ABANDONED  -> CLAIMED   by an asker: with the same generation if it wants to ask the same thread, and the signal is
 *                           still pending there, so that unanswered signals do not pile up; with the next one if the
 *                           thread has ended
 *   CLAIMED    -> MISSED    by the handler, whose signal was that pending one: the asker sends another
 *   MISSED     -> ASKED     by that asker. (If it takes another thread with the same number for the one that has the
 *                           signal, nobody answers; so it looks from time to time, and sends it again.)
 *   TAKING     -> ORPHANED  by the asker: the snapshot is the handler's until it has done
 *   ORPHANED   -> LEFT      by the handler
 *   LEFT       -> CLAIMED   by an asker, who frees the snapshot that was left
 *   ORPHANED   -> CLAIMED   by an asker, if the thread has ended within the handler (it was cancelled asynchronously);
 *                           the memory of the snapshot is lost. (If another thread has the same number by then, so is
 *                           the slot.)
 *
 * Only who makes the transition to CLAIMED or TAKING may touch the other members, until it makes the next one. Every
 * transition is a compare-and-swap or a store with release and its partner is the one that follows, with acquire: so
 * the handler sees the snapshot as it was reserved, and the asker sees it filled. models/asking.pml checks this.
 *
 * A thread that blocks the signal is not sent one, and neither is one that waits for it in sigwait(): it would become
 * that program's. /proc says so; between looking and sending there is a gap, in which the thread can begin to wait.
 *
 * System calls go on after it: restart.c says which, and how.
 *
 * The handler runs on the alternate signal stack if the thread has one. It needs a few hundred bytes beyond the frame
 * that the kernel makes, which is up to 3 KiB on x86-64 with AVX-512 (and 11 KiB with AMX in use).
 *
 * fork(): the child has no threads that could answer, and no pending signals: all slots become FREE. What was in them
 * is lost there.
 */
#include "ask.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "context/memory.h"
#include "restart.h"
#include "snapshot_internal.h"

#ifdef XCTX_TEST_BUILD
enum { SLOTS = 2 };
#else
enum { SLOTS = 64 };
#endif

enum slot_state { FREE, CLAIMED, ASKED, TAKING, TAKEN, ABANDONED, MISSED, ORPHANED, LEFT };
enum { STATE_BITS = 4, STATE_MASK = (1 << STATE_BITS) - 1 };
#define GENERATION_MASK (UINT32_MAX >> STATE_BITS)

static struct slot {
    _Atomic uint32_t word; /* generation and state */
    _Atomic int32_t tid;   /* atomic, since reclaiming looks at it before it has the slot */
    unsigned capture;
    xctx_snapshot *snapshot;
    struct call call; /* that the thread was in: restart.h */
} slots[SLOTS];

static _Atomic uint32_t answers;  /* a futex */
static _Atomic int signal_number; /* 0: none yet. Installing is idempotent: whoever sees an old number does it again */
/* Signals that can be handled but not sent, where programs are emulated: bit n-1 is n. */
static _Atomic uint64_t unusable;
static atomic_bool fork_handled;

static inline uint32_t make_word(uint32_t generation, enum slot_state state)
{
    return (generation & GENERATION_MASK) << STATE_BITS | (uint32_t)state;
}

static inline enum slot_state word_state(uint32_t word)
{
    return (enum slot_state)(word & STATE_MASK);
}

/* Makes a transition, if the slot is in the state and generation that it starts from. */
static bool change(struct slot *slot, uint32_t from, uint32_t to)
{
    return atomic_compare_exchange_strong_explicit(&slot->word, &from, to, memory_order_acq_rel, memory_order_acquire);
}

/* ---- The side that is asked ---- */

static void announce(void)
{
    atomic_fetch_add_explicit(&answers, 1, memory_order_release);
    syscall(SYS_futex, &answers, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void answer(struct slot *slot, uint32_t generation, ucontext_t *ucontext)
{
    atomic_load_explicit(&slot->word, memory_order_acquire); /* `tid` is of that word, or of a later one */
    /* A signal that somebody else made up finds a slot of another thread. */
    if (atomic_load_explicit(&slot->tid, memory_order_relaxed) != (int32_t)syscall(SYS_gettid))
        return;
    if (change(slot, make_word(generation, ASKED), make_word(generation, TAKING))) {
        xctx_snapshot_fill(slot->snapshot, slot->capture, ucontext);
        if (xctx__call_restarts(&slot->call))
            xctx__restart(ucontext, &slot->call);
        if (!change(slot, make_word(generation, TAKING), make_word(generation, TAKEN)))
            change(slot, make_word(generation, ORPHANED), make_word(generation, LEFT));
        announce();
    } else if (!change(slot, make_word(generation, ABANDONED), make_word(generation, FREE))) {
        change(slot, make_word(generation, CLAIMED), make_word(generation, MISSED));
    }
}

static void on_signal(int number, siginfo_t *info, void *ucontext)
{
    int error_number = errno;
    uint64_t value = (uintptr_t)info->si_value.sival_ptr;

    (void)number;
    if (info->si_code == SI_QUEUE && info->si_pid == getpid() && value >> 32 < SLOTS)
        answer(&slots[value >> 32], (uint32_t)value, ucontext);
    errno = error_number;
}

/* ---- The signal ---- */

static bool is_ours(const struct sigaction *action)
{
    return (action->sa_flags & SA_SIGINFO) && action->sa_sigaction == on_signal;
}

/* Takes a signal that has no handler. Two threads that do this at once take the same one. */
static bool install(int number)
{
    struct sigaction before, action = {.sa_flags = SA_SIGINFO | SA_RESTART | SA_ONSTACK};
    const int faults[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT};

    if (atomic_load_explicit(&unusable, memory_order_relaxed) >> (number - 1) & 1 ||
        sigaction(number, NULL, &before) != 0)
        return false;
    if (is_ours(&before))
        return true;
    if ((before.sa_flags & SA_SIGINFO) || before.sa_handler != SIG_DFL)
        return false;
    action.sa_sigaction = on_signal;
    sigfillset(&action.sa_mask); /* nothing of the program's runs while a snapshot is being taken */
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        sigdelset(&action.sa_mask, faults[i]);
    if (sigaction(number, &action, &before) != 0)
        return false;
    if (is_ours(&before) || (!(before.sa_flags & SA_SIGINFO) && before.sa_handler == SIG_DFL))
        return true;
    sigaction(number, &before, NULL); /* somebody else was faster */
    return false;
}

static void after_fork_in_child(void)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        uint32_t word = atomic_load_explicit(&slots[i].word, memory_order_relaxed);
        if (word_state(word) != FREE)
            atomic_store_explicit(&slots[i].word, make_word((word >> STATE_BITS) + 1, FREE), memory_order_relaxed);
    }
}

int xctx__ask_prepare(void)
{
    struct sigaction now;
    int number = atomic_load_explicit(&signal_number, memory_order_acquire);

    if (!atomic_exchange_explicit(&fork_handled, true, memory_order_acq_rel) &&
        pthread_atfork(NULL, NULL, after_fork_in_child) != 0) {
        atomic_store_explicit(&fork_handled, false, memory_order_release);
        return -ENOMEM;
    }
    if (number && sigaction(number, NULL, &now) == 0 && is_ours(&now))
        return 0;
    for (number = SIGRTMAX; number >= SIGRTMIN; number--) {
        if (install(number)) {
            atomic_store_explicit(&signal_number, number, memory_order_release);
            return 0;
        }
    }
    return -EAGAIN;
}

/* Goes over to another signal. */
static int give_up_signal(int number)
{
    struct sigaction now, none = {.sa_handler = SIG_DFL};

    atomic_fetch_or_explicit(&unusable, UINT64_C(1) << (number - 1), memory_order_relaxed);
    if (sigaction(number, NULL, &now) == 0 && is_ours(&now))
        sigaction(number, &none, NULL);
    return xctx__ask_prepare();
}

/* ---- What /proc says of a thread ---- */

struct standing {
    bool ended;
    bool blocks;  /* the signal cannot reach it now, or would not reach our handler */
    bool pending; /* one is waiting for it */
    struct call call;
};

ssize_t xctx__ask_file(int tid, const char *name, char *buffer, size_t size)
{
    char path[64];
    size_t used = 0;

    snprintf(path, sizeof(path), "/proc/self/task/%d/%s", tid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    while (used < size - 1) {
        ssize_t got = read(fd, buffer + used, size - 1 - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        used += (size_t)got;
    }
    close(fd);
    buffer[used] = '\0';
    return (ssize_t)used;
}

static bool field_has(const char *status, const char *name, int number)
{
    const char *field = strstr(status, name);
    return field && (strtoull(field + strlen(name), NULL, 16) >> (number - 1) & 1);
}

struct call xctx__ask_call(int tid)
{
    struct call call = {.number = -1};
    char text[512];
    char *end = text;

    /* "0 0x3 ...": the number, six arguments, the stack pointer and the program counter; or "running". */
    if (xctx__ask_file(tid, "syscall", text, sizeof(text)) <= 0)
        return call;
    long number = strtol(text, &end, 10);
    if (end == text)
        return call;
    for (unsigned i = 0; i < 6; i++)
        call.arguments[i] = strtoull(end, &end, 16);
    call.sp = strtoull(end, &end, 16);
    call.pc = strtoull(end, &end, 16);
    call.number = call.pc ? number : -1;
    return call;
}

/* Whether a thread of this process has not ended. */
static bool exists(int tid)
{
    return syscall(SYS_tgkill, getpid(), tid, 0) == 0 || errno != ESRCH;
}

/* While a thread is in sigwait() its mask does not show what it waits for. */
static bool waits_for(const struct call *call, int number)
{
    uint64_t set = UINT64_MAX;

    if (call->number != SYS_rt_sigtimedwait)
        return false;
    /* Read by the kernel: the thread may have gone on, and its stack be unmapped. */
    void *address = (void *)(uintptr_t)call->arguments[0]; /* NOLINT(performance-no-int-to-ptr) */
    struct iovec here = {&set, sizeof(set)}, there = {address, sizeof(set)};
    if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) != (ssize_t)sizeof(set))
        return true;
    return set >> (number - 1) & 1;
}

static struct standing look_at(int tid, int number)
{
    struct standing standing = {.ended = !exists(tid), .call = {.number = -1}};
    char text[8192];

    if (standing.ended || xctx__ask_file(tid, "status", text, sizeof(text)) <= 0)
        return standing;
    const char *state = strstr(text, "\nState:\t");
    if (state && (state[8] == 'Z' || state[8] == 'X'))
        standing.ended = true; /* the first thread stays as long as there are others */
    standing.pending = field_has(text, "\nSigPnd:\t", number);
    standing.call = xctx__ask_call(tid);
    standing.blocks = field_has(text, "\nSigBlk:\t", number) || waits_for(&standing.call, number);
    return standing;
}

/* ---- The asker ---- */

/* Takes a slot for a new request. */
static bool claim(struct slot *slot, uint32_t word)
{
    if (!change(slot, word, make_word((word >> STATE_BITS) + 1, CLAIMED)))
        return false;
    if (word_state(word) == LEFT)
        xctx_snapshot_unref(slot->snapshot);
    return true;
}

/* Finds a slot whose signal is still pending at the thread. */
static bool find_pending(const struct asking *asking, uint32_t *ret_index)
{
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t word = atomic_load_explicit(&slots[i].word, memory_order_acquire);
        if (word_state(word) == ABANDONED && atomic_load_explicit(&slots[i].tid, memory_order_relaxed) == asking->tid &&
            change(&slots[i], word, make_word(word >> STATE_BITS, CLAIMED))) {
            *ret_index = i;
            return true;
        }
    }
    return false;
}

/* Finds a slot for a new request. Returns 0, -ENOBUFS or -EAGAIN. */
static int find_slot(const struct asking *asking, bool pending, uint32_t *ret_index)
{
    bool used = false;

    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t word = atomic_load_explicit(&slots[i].word, memory_order_acquire);
        enum slot_state state = word_state(word);
        int32_t tid = atomic_load_explicit(&slots[i].tid, memory_order_relaxed);
        bool unused = state == FREE || state == LEFT;
        bool stuck = state == ABANDONED || state == ORPHANED;
        /* Of a thread that had the same number; or its handler is about to run, and will find the next generation. */
        bool stale = state == ABANDONED && tid == asking->tid && !pending;
        if ((unused || stale || (stuck && !exists(tid))) && claim(&slots[i], word)) {
            *ret_index = i;
            return 0;
        }
        used = used || !stuck;
    }
    return used ? -ENOBUFS : -EAGAIN;
}

static int send_signal(const struct asking *asking, int number)
{
    siginfo_t info;

    memset(&info, 0, sizeof(info));
    info.si_signo = number;
    info.si_code = SI_QUEUE;
    info.si_pid = getpid();
    info.si_uid = getuid();
    uintptr_t value = (uintptr_t)asking->slot << 32 | asking->generation;
    info.si_value.sival_ptr = (void *)value; /* NOLINT(performance-no-int-to-ptr) */
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), asking->tid, number, &info) == 0)
        return 0;
    if (errno == EINVAL)
        return give_up_signal(number) ? -EAGAIN : -ENOBUFS;
    return errno == ESRCH ? -ESRCH : errno == EAGAIN ? -EBUSY : -EAGAIN;
}

int xctx__ask_post(struct asking *asking)
{
    int number = atomic_load_explicit(&signal_number, memory_order_acquire);
    struct standing standing = look_at(asking->tid, number);

    if (standing.ended)
        return -ESRCH;
    bool pending = standing.pending && find_pending(asking, &asking->slot);
    if (standing.blocks && !pending)
        return -EBUSY;
    int error = pending ? 0 : find_slot(asking, standing.pending, &asking->slot);
    if (error)
        return error;
    struct slot *slot = &slots[asking->slot];
    asking->generation = atomic_load_explicit(&slot->word, memory_order_relaxed) >> STATE_BITS;
    slot->snapshot = asking->snapshot;
    slot->capture = asking->capture;
    slot->call = standing.call;
    atomic_store_explicit(&slot->tid, asking->tid, memory_order_relaxed);
    uint32_t asked = make_word(asking->generation, ASKED);
    if (!pending || !change(slot, make_word(asking->generation, CLAIMED), asked)) {
        atomic_store_explicit(&slot->word, asked, memory_order_release);
        error = send_signal(asking, number);
    }
    if (error) {
        /* Nobody has seen it: no signal of this generation is on its way. */
        atomic_store_explicit(&slot->word, make_word(asking->generation, FREE), memory_order_release);
        return error;
    }
    asking->state = ASKING_ASKED;
    return 0;
}

bool xctx__ask_remind(const struct asking *asking)
{
    int number = atomic_load_explicit(&signal_number, memory_order_acquire);
    struct standing standing = look_at(asking->tid, number);

    if (standing.ended)
        return false;
    /* The handler may be about to begin. Then one of the two signals finds the request answered, and does nothing. */
    if (!standing.pending && !standing.blocks &&
        atomic_load_explicit(&slots[asking->slot].word, memory_order_acquire) == make_word(asking->generation, ASKED))
        send_signal(asking, number);
    return true;
}

bool xctx__ask_collect(struct asking *asking)
{
    struct slot *slot = &slots[asking->slot];
    uint32_t word = atomic_load_explicit(&slot->word, memory_order_acquire);

    if (asking->state != ASKING_ASKED)
        return asking->state != ASKING_WAITS;
    if (word >> STATE_BITS != asking->generation) {
        /* A signal handler of the program's has called fork() while this thread was asking. */
        asking->snapshot = NULL;
        asking->state = ASKING_SILENT;
        asking->error = -EAGAIN;
        return true;
    }
    if (word_state(word) != TAKEN)
        return false;
    atomic_store_explicit(&slot->word, make_word(asking->generation, FREE), memory_order_release);
    bool filled = asking->snapshot->stage == SNAPSHOT_FILLED;
    asking->state = filled ? ASKING_DONE : ASKING_SILENT;
    asking->error = filled ? 0 : -EAGAIN;
    return true;
}

void xctx__ask_give_up(struct asking *asking)
{
    struct slot *slot = &slots[asking->slot];
    uint32_t generation = asking->generation;

    if (asking->state != ASKING_ASKED)
        return;
    if (!change(slot, make_word(generation, ASKED), make_word(generation, ABANDONED))) {
        if (!change(slot, make_word(generation, TAKING), make_word(generation, ORPHANED))) {
            xctx__ask_collect(asking);
            return;
        }
        asking->snapshot = NULL;
    }
    asking->state = ASKING_SILENT;
    asking->error = -ETIMEDOUT;
}

uint32_t xctx__ask_answers(void)
{
    return atomic_load_explicit(&answers, memory_order_acquire);
}

void xctx__ask_wait(uint32_t seen, int64_t nanoseconds)
{
    const int64_t second = 1000000000;
    struct timespec time = {.tv_sec = nanoseconds / second, .tv_nsec = nanoseconds % second};

    if (nanoseconds > 0)
        syscall(SYS_futex, &answers, FUTEX_WAIT_PRIVATE, seen, &time, NULL, 0);
}
