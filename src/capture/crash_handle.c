/* SPDX-License-Identifier: MIT */
/*
 * The handler of crashes: see crash.h.
 *
 * One thread reports; others that crash meanwhile wait for it, but not for ever, and then go the same way: to what the
 * signal did before. The first crash is the one that is reported. A program whose previous handler carries on after a
 * fault gets no second report.
 *
 * `reporter` is 0 before the first crash, the thread's id during the report, and -1 after it. Acquire and release: who
 * sees it at -1 also sees what was written.
 */
#include "crash.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DONE = -1 };

static _Atomic int reporter;

void xctx__crash_rearm(void)
{
    atomic_store_explicit(&reporter, 0, memory_order_release);
}

bool xctx__crash_is_used(void)
{
    return atomic_load_explicit(&reporter, memory_order_acquire) != 0;
}

/* The kernel's signal sets have 64 bits. */
static void set_mask(uint64_t mask)
{
    syscall(SYS_rt_sigprocmask, SIG_SETMASK, &mask, NULL, sizeof(mask));
}

static uint64_t mask_of(const sigset_t *set)
{
    uint64_t mask;

    memcpy(&mask, set, sizeof(mask));
    return mask;
}

static void wait_for_report(void)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    int64_t turns = xctx__crash.time_limit / moment.tv_nsec + 300;

    while (turns-- > 0 && atomic_load_explicit(&reporter, memory_order_acquire) != DONE)
        nanosleep(&moment, NULL);
}

static struct sigaction *previous_of(int signal)
{
    for (int i = 0; i < CRASH_SIGNALS; i++)
        if (xctx__crash_signals[i] == signal)
            return &xctx__crash.previous[i];
    return NULL;
}

/* Lets the signal do what it does by default: it is sent again, as it was, and waits until this handler returns. */
static void end_process(int signal, const siginfo_t *info)
{
    struct sigaction action = {.sa_handler = SIG_DFL};

    sigaction(signal, &action, NULL);
    if (syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), signal, info) < 0)
        syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), signal);
}

/* As the kernel would have called it. It runs on the stack that this handler runs on. */
static void call_previous(struct sigaction *previous, int signal, siginfo_t *info, void *context)
{
    const struct sigaction action = *previous;
    uint64_t mask = mask_of(&((const ucontext_t *)context)->uc_sigmask) | mask_of(&action.sa_mask);

    if (!(action.sa_flags & SA_NODEFER))
        mask |= UINT64_C(1) << (signal - 1);
    if (action.sa_flags & (int)SA_RESETHAND)
        previous->sa_handler = SIG_DFL;
    set_mask(mask);
    if (action.sa_flags & SA_SIGINFO)
        action.sa_sigaction(signal, info, context);
    else
        action.sa_handler(signal);
}

static bool is_default(const struct sigaction *action)
{
    return action->sa_handler == SIG_DFL;
}

/* Not one that the processor raised: that ends the process also if it is ignored. */
static bool is_ignored(const struct sigaction *action, const siginfo_t *info)
{
    return action->sa_handler == SIG_IGN && info->si_code <= 0;
}

void xctx__crash_handle(int signal, siginfo_t *info, void *context)
{
    int before = errno;
    int self = (int)syscall(SYS_gettid);
    int nobody = 0;
    struct sigaction *previous = previous_of(signal);

    if (!previous || is_ignored(previous, info))
        return;
    if (atomic_compare_exchange_strong_explicit(&reporter, &nobody, self, memory_order_acq_rel, memory_order_acquire)) {
        xctx__crash_report(signal, info, context);
        atomic_store_explicit(&reporter, DONE, memory_order_release);
    } else if (nobody == self) {
        /* The report itself has crashed. */
        end_process(signal, info);
        set_mask(0);
        _exit(128 + signal);
    } else if (nobody != DONE) {
        wait_for_report();
    }
    errno = before;
    if (is_default(previous) || previous->sa_handler == SIG_IGN)
        end_process(signal, info);
    else
        call_previous(previous, signal, info, context);
    errno = before;
}
