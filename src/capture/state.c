/* SPDX-License-Identifier: MIT */
/*
 * A thread's state: some five system calls, of 100 to 400 ns each. What one of them refuses is left out.
 */
#include "state.h"

#include <fenv.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arch/registers.h"

enum { DEADLINE = 6 };   /* SCHED_DEADLINE, which not every libc names */
enum { SIGNAL_SET = 8 }; /* bytes of the kernel's */

/* As the kernel has it: linux/sched/types.h, which cannot be included beside <sched.h>. */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t deadline[3];
};

static void read_name(xctx_thread_state *state)
{
    if (prctl(PR_GET_NAME, state->name, 0, 0, 0) == 0)
        state->present |= XCTX_THREAD_NAME;
}

static void read_signals(xctx_thread_state *state, const ucontext_t *context)
{
    uint64_t blocked = 0, pending = 0;

    if (syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &blocked, SIGNAL_SET))
        return;
    /* What is said to be pending is blocked, too: the others are on their way. */
    if (blocked && syscall(SYS_rt_sigpending, &pending, SIGNAL_SET))
        return;
    if (context) /* a handler has a mask of its own */
        memcpy(&blocked, &context->uc_sigmask, sizeof(blocked));
    state->blocked = blocked;
    state->pending = pending;
    state->present |= XCTX_THREAD_SIGMASK;
}

/* A handler has a floating-point environment of its own. */
static void read_fenv(xctx_thread_state *state, const ucontext_t *context)
{
    if (context) {
        if (!xctx__fenv_from_ucontext(context, &state->rounding_mode, &state->fp_exceptions, &state->fp_control))
            return;
    } else {
        state->rounding_mode = fegetround();
        state->fp_exceptions = fetestexcept(FE_ALL_EXCEPT);
        state->fp_control = xctx__fp_control();
    }
    state->present |= XCTX_THREAD_FENV;
}

static void note_locale(xctx_thread_state *state, const char *name)
{
    size_t length = strlen(name);

    if (length < sizeof(state->locale)) {
        memcpy(state->locale, name, length + 1);
        state->present |= XCTX_THREAD_LOCALE;
    }
}

#ifdef __GLIBC__
static const struct {
    int category;
    const char *name;
} categories[] = {
    {LC_CTYPE, "LC_CTYPE="},      {LC_NUMERIC, ";LC_NUMERIC="},   {LC_TIME, ";LC_TIME="},
    {LC_COLLATE, ";LC_COLLATE="}, {LC_MONETARY, ";LC_MONETARY="}, {LC_MESSAGES, ";LC_MESSAGES="},
};
enum { CATEGORIES = sizeof(categories) / sizeof(categories[0]) };

/* One name if the categories agree, else one for each. */
static void note_names(xctx_thread_state *state, const char *const *names)
{
    bool same = true;
    char text[sizeof(state->locale)];
    size_t used = 0;

    for (size_t i = 1; i < CATEGORIES; i++)
        same = same && strcmp(names[i], names[0]) == 0;
    if (same) {
        note_locale(state, names[0]);
        return;
    }
    for (size_t i = 0; i < CATEGORIES; i++) {
        const char *parts[] = {categories[i].name, names[i]};
        for (size_t p = 0; p < 2; p++) {
            size_t length = strlen(parts[p]);
            if (length >= sizeof(text) - used)
                return;
            memcpy(text + used, parts[p], length + 1);
            used += length;
        }
    }
    note_locale(state, text);
}

/* Queries take no lock. */
static void read_locale(xctx_thread_state *state, bool safe)
{
    locale_t locale = uselocale((locale_t)0);
    const char *names[CATEGORIES];

    (void)safe;
    if (!locale)
        return;
    for (size_t i = 0; i < CATEGORIES; i++) {
        int category = categories[i].category;
        names[i] = locale == LC_GLOBAL_LOCALE ? setlocale(category, NULL) /* NOLINT(concurrency-mt-unsafe): a query */
                                              : locale->__names[category];
        if (!names[i])
            return;
    }
    note_names(state, names);
}
#else
static void read_locale(xctx_thread_state *state, bool safe)
{
    const char *name = !safe && uselocale((locale_t)0) == LC_GLOBAL_LOCALE ? setlocale(LC_ALL, NULL) : NULL;

    if (name)
        note_locale(state, name);
}
#endif

static void read_sched(xctx_thread_state *state)
{
    struct attributes attributes = {.size = sizeof(attributes)};

    if (syscall(SYS_sched_getaffinity, 0, sizeof(state->affinity), state->affinity) > 0)
        state->present |= XCTX_THREAD_AFFINITY;
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof(attributes), 0) == 0) {
        state->policy = (int32_t)attributes.policy;
        state->priority = (int32_t)attributes.priority;
        state->nice = attributes.nice;
        /* That does not tell the nice value of a thread with a real-time policy; and the kernel's result is 20 less
           the value, so that it is never negative. */
        bool real_time = state->policy == SCHED_FIFO || state->policy == SCHED_RR || state->policy == DEADLINE;
        long priority = real_time ? syscall(SYS_getpriority, PRIO_PROCESS, 0) : 0;
        if (priority > 0)
            state->nice = (int32_t)(20 - priority);
        state->present |= XCTX_THREAD_SCHED;
    }
    state->cpu = sched_getcpu();
    if (state->cpu >= 0)
        state->present |= XCTX_THREAD_CPU;
}

static int64_t read_clock(clockid_t clock)
{
    struct timespec time = {0, 0};

    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

void xctx__state_read(xctx_thread_state *state, const ucontext_t *context, bool safe)
{
    read_fenv(state, context); /* before any arithmetic */
    read_name(state);
    read_signals(state, context);
    read_locale(state, safe);
    read_sched(state);
    state->time = read_clock(CLOCK_REALTIME);
    state->cpu_time = read_clock(CLOCK_THREAD_CPUTIME_ID);
    state->present |= XCTX_THREAD_TIME;
}
