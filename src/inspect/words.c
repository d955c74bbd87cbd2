/* SPDX-License-Identifier: MIT */
/*
 * See words.h. The C library has texts for some of this, but in the language of the locale, and not in every C library:
 * what is not its own (the names of errors) is taken from it only where it has them untranslated.
 */
#include "words.h"

#include <errno.h>
#include <fenv.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "report_internal.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

const char *xctx__rounding_name(int mode)
{
    return mode == FE_TONEAREST    ? "to-nearest"
           : mode == FE_UPWARD     ? "upward"
           : mode == FE_DOWNWARD   ? "downward"
           : mode == FE_TOWARDZERO ? "toward-zero"
                                   : "unknown";
}

/* By the kernel's numbers, which the C libraries do not all have names for. */
const char *xctx__policy_name(int policy)
{
    static const char *const names[] = {"other", "fifo", "rr", "batch", "iso", "idle", "deadline", "ext"};

    return policy >= 0 && (size_t)policy < COUNT(names) ? names[policy] : "unknown";
}

const char *xctx__signal_name(int number, char buffer[XCTX__WORD])
{
    static const char *const names[] = {
        [SIGHUP] = "SIGHUP",   [SIGINT] = "SIGINT",       [SIGQUIT] = "SIGQUIT", [SIGILL] = "SIGILL",
        [SIGTRAP] = "SIGTRAP", [SIGABRT] = "SIGABRT",     [SIGBUS] = "SIGBUS",   [SIGFPE] = "SIGFPE",
        [SIGKILL] = "SIGKILL", [SIGUSR1] = "SIGUSR1",     [SIGSEGV] = "SIGSEGV", [SIGUSR2] = "SIGUSR2",
        [SIGPIPE] = "SIGPIPE", [SIGALRM] = "SIGALRM",     [SIGTERM] = "SIGTERM", [SIGSTKFLT] = "SIGSTKFLT",
        [SIGCHLD] = "SIGCHLD", [SIGCONT] = "SIGCONT",     [SIGSTOP] = "SIGSTOP", [SIGTSTP] = "SIGTSTP",
        [SIGTTIN] = "SIGTTIN", [SIGTTOU] = "SIGTTOU",     [SIGURG] = "SIGURG",   [SIGXCPU] = "SIGXCPU",
        [SIGXFSZ] = "SIGXFSZ", [SIGVTALRM] = "SIGVTALRM", [SIGPROF] = "SIGPROF", [SIGWINCH] = "SIGWINCH",
        [SIGIO] = "SIGIO",     [SIGPWR] = "SIGPWR",       [SIGSYS] = "SIGSYS",
    };

    if (number > 0 && (size_t)number < COUNT(names) && names[number])
        return names[number];
    snprintf(buffer, XCTX__WORD, "SIG%d", number);
    return buffer;
}

#define CODE(signal, code)                                                                                             \
    {                                                                                                                  \
        signal, code, #code                                                                                            \
    }

const char *xctx__signal_code_name(int number, int code)
{
    static const struct {
        int signal; /* 0: any */
        int code;
        const char *name;
    } codes[] = {
        CODE(0, SI_USER),           CODE(0, SI_TKILL),         CODE(0, SI_QUEUE),        CODE(0, SI_TIMER),
        CODE(0, SI_MESGQ),          CODE(0, SI_ASYNCIO),       CODE(0, SI_KERNEL),       CODE(SIGSEGV, SEGV_MAPERR),
        CODE(SIGSEGV, SEGV_ACCERR), CODE(SIGBUS, BUS_ADRALN),  CODE(SIGBUS, BUS_ADRERR), CODE(SIGBUS, BUS_OBJERR),
        CODE(SIGFPE, FPE_INTDIV),   CODE(SIGFPE, FPE_INTOVF),  CODE(SIGFPE, FPE_FLTDIV), CODE(SIGFPE, FPE_FLTOVF),
        CODE(SIGFPE, FPE_FLTUND),   CODE(SIGFPE, FPE_FLTRES),  CODE(SIGFPE, FPE_FLTINV), CODE(SIGFPE, FPE_FLTSUB),
        CODE(SIGILL, ILL_ILLOPC),   CODE(SIGILL, ILL_ILLOPN),  CODE(SIGILL, ILL_ILLADR), CODE(SIGILL, ILL_ILLTRP),
        CODE(SIGILL, ILL_PRVOPC),   CODE(SIGILL, ILL_PRVREG),  CODE(SIGILL, ILL_COPROC), CODE(SIGILL, ILL_BADSTK),
        CODE(SIGTRAP, TRAP_BRKPT),  CODE(SIGTRAP, TRAP_TRACE),
    };

    for (size_t i = 0; i < COUNT(codes); i++) {
        if (codes[i].code == code && (codes[i].signal == 0 || codes[i].signal == number))
            return codes[i].name;
    }
    return NULL;
}

/* The C library's own table where it can be asked for untranslated names, else nothing but the number is known. */
#if defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 32)
#define HAVE_ERRNO_NAMES 1
#endif
#endif

const char *xctx__errno_name(int error)
{
#ifdef HAVE_ERRNO_NAMES
    return error > 0 ? strerrorname_np(error) : NULL;
#else
    (void)error;
    return NULL;
#endif
}

const char *xctx__errno_text(int error)
{
#ifdef HAVE_ERRNO_NAMES
    return error > 0 ? strerrordesc_np(error) : NULL;
#else
    (void)error;
    return NULL;
#endif
}

const char *xctx__capture_name(unsigned captured, unsigned index)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[XCTX__CAPTURES] = {
        {XCTX_CAPTURE_STACK, "stack"}, {XCTX_CAPTURE_LOCALS, "locals"}, {XCTX_CAPTURE_REGISTERS, "registers"},
        {XCTX_CAPTURE_STATE, "state"}, {XCTX_CAPTURE_FPU, "fpu"},
    };

    return index < XCTX__CAPTURES && (captured & names[index].bit) ? names[index].name : NULL;
}

const char *xctx__fp_exception_name(int exceptions, unsigned index)
{
    static const struct {
        int bit;
        const char *name;
    } names[XCTX__FP_EXCEPTIONS] = {
        {FE_INVALID, "invalid"},     {FE_DIVBYZERO, "divide-by-zero"}, {FE_OVERFLOW, "overflow"},
        {FE_UNDERFLOW, "underflow"}, {FE_INEXACT, "inexact"},
    };

    return index < XCTX__FP_EXCEPTIONS && (exceptions & names[index].bit) ? names[index].name : NULL;
}

const char *xctx__time_text(int64_t time, char buffer[XCTX__TIME])
{
    enum { SECOND = 1000000000 };
    int64_t nanoseconds = (time % SECOND + SECOND) % SECOND;
    time_t seconds = (time_t)(time / SECOND - (time % SECOND < 0));
    struct tm utc;

    if (!gmtime_r(&seconds, &utc))
        memset(&utc, 0, sizeof(utc));
    snprintf(buffer, XCTX__TIME, "%04d-%02d-%02dT%02d:%02d:%02d.%09dZ", utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday,
             utc.tm_hour, utc.tm_min, utc.tm_sec, (int)nanoseconds);
    return buffer;
}

/* Adds a word to a list in a buffer of XCTX__WORDS bytes, which holds any list there is. */
static size_t list_add(char *buffer, size_t used, const char *separator, const char *word)
{
    int length = snprintf(buffer + used, XCTX__WORDS - used, "%s%s", used > 0 ? separator : "", word);

    return length > 0 && (size_t)length < XCTX__WORDS - used ? used + (size_t)length : used;
}

static const char *list_end(char *buffer, size_t used)
{
    if (used == 0)
        snprintf(buffer, XCTX__WORDS, "none");
    return buffer;
}

const char *xctx__signals_text(uint64_t mask, char buffer[XCTX__WORDS])
{
    char word[XCTX__WORD];
    size_t used = 0;

    for (int number = 1; number <= XCTX__SIGNALS; number++) {
        if (mask >> (number - 1) & 1)
            used = list_add(buffer, used, " ", xctx__signal_name(number, word));
    }
    return list_end(buffer, used);
}

static bool affinity_has(const uint64_t affinity[16], unsigned processor)
{
    return processor < 16 * 64 && (affinity[processor / 64] >> (processor % 64) & 1);
}

const char *xctx__affinity_text(const uint64_t affinity[16], char buffer[XCTX__WORDS])
{
    char word[XCTX__WORD];
    size_t used = 0;

    for (unsigned first = 0; first < 16 * 64; first++) {
        if (!affinity_has(affinity, first))
            continue;
        unsigned last = first;
        while (affinity_has(affinity, last + 1))
            last++;
        if (last > first)
            snprintf(word, sizeof(word), "%u-%u", first, last);
        else
            snprintf(word, sizeof(word), "%u", first);
        used = list_add(buffer, used, ",", word);
        first = last;
    }
    return list_end(buffer, used);
}

const char *xctx__captured_text(unsigned captured, bool variables, char buffer[XCTX__WORDS])
{
    size_t used = variables ? list_add(buffer, 0, "", "variables") : 0;

    for (unsigned i = 0; i < XCTX__CAPTURES; i++) {
        const char *name = xctx__capture_name(captured, i);
        if (name)
            used = list_add(buffer, used, ", ", name);
    }
    return list_end(buffer, used);
}

static const char *exceptions_text(int exceptions, char buffer[XCTX__WORDS])
{
    size_t used = 0;

    for (unsigned i = 0; i < XCTX__FP_EXCEPTIONS; i++) {
        const char *name = xctx__fp_exception_name(exceptions, i);
        if (name)
            used = list_add(buffer, used, ", ", name);
    }
    return list_end(buffer, used);
}

static const char *errno_text(int error, char buffer[XCTX__WORDS])
{
    const char *name = xctx__errno_name(error);
    const char *text = xctx__errno_text(error);

    if (name && text)
        snprintf(buffer, XCTX__WORDS, "%d %s: %s", error, name, text);
    else
        snprintf(buffer, XCTX__WORDS, "%d", error);
    return buffer;
}

static const char *scheduling_text(const xctx_thread_state *state, char buffer[XCTX__WORDS])
{
    if (state->policy == SCHED_FIFO || state->policy == SCHED_RR)
        snprintf(buffer, XCTX__WORDS, "%s, priority %d, nice %d", xctx__policy_name(state->policy), state->priority,
                 state->nice);
    else
        snprintf(buffer, XCTX__WORDS, "%s, nice %d", xctx__policy_name(state->policy), state->nice);
    return buffer;
}

static const char *stack_text(const xctx_thread_state *state, char buffer[XCTX__WORDS])
{
    uint64_t size = state->stack_high > state->stack_low ? state->stack_high - state->stack_low : 0;

    snprintf(buffer, XCTX__WORDS, "0x%" PRIx64 " to 0x%" PRIx64 ", %" PRIu64 " KiB", state->stack_low,
             state->stack_high, size / 1024);
    return buffer;
}

static const char *cpu_time_text(int64_t time, char buffer[XCTX__WORDS])
{
    uint64_t nanoseconds = time > 0 ? (uint64_t)time : 0;

    snprintf(buffer, XCTX__WORDS, "%" PRIu64 ".%06" PRIu64 " s", nanoseconds / 1000000000,
             nanoseconds % 1000000000 / 1000);
    return buffer;
}

void xctx__state_rows(const xctx_thread_state *state, void (*row)(void *user, const char *label, const char *text),
                      void *user)
{
    char buffer[XCTX__WORDS];
    uint32_t present = state->present;

    if (present & XCTX_THREAD_SIGMASK) {
        row(user, "blocked signals", xctx__signals_text(state->blocked, buffer));
        row(user, "pending signals", xctx__signals_text(state->pending, buffer));
    }
    if (present & XCTX_THREAD_FENV) {
        row(user, "rounding", xctx__rounding_name(state->rounding_mode));
        row(user, "fp exceptions", exceptions_text(state->fp_exceptions, buffer));
        snprintf(buffer, sizeof(buffer), "0x%" PRIx64, state->fp_control);
        row(user, "fp control", buffer);
    }
    if (present & XCTX_THREAD_LOCALE) {
        snprintf(buffer, sizeof(buffer), "%.*s", (int)sizeof(state->locale), state->locale);
        row(user, "locale", buffer);
    }
    if (present & XCTX_THREAD_AFFINITY)
        row(user, "processors", xctx__affinity_text(state->affinity, buffer));
    if (present & XCTX_THREAD_CPU) {
        snprintf(buffer, sizeof(buffer), "%d", state->cpu);
        row(user, "ran on", buffer);
    }
    if (present & XCTX_THREAD_SCHED)
        row(user, "scheduling", scheduling_text(state, buffer));
    if (present & XCTX_THREAD_ERRNO)
        row(user, "errno", errno_text(state->error_number, buffer));
    if (present & XCTX_THREAD_TIME)
        row(user, "cpu time", cpu_time_text(state->cpu_time, buffer));
    if (present & XCTX_THREAD_STACK)
        row(user, "stack", stack_text(state, buffer));
}

const char *xctx__signal_text(const xctx_thread_state *state, char buffer[XCTX__WORDS])
{
    char word[XCTX__WORD];
    const char *name = xctx__signal_name(state->signal, word);
    const char *code = xctx__signal_code_name(state->signal, state->signal_code);
    int used = snprintf(buffer, XCTX__WORDS, "%s", name);

    if (code)
        used += snprintf(buffer + used, XCTX__WORDS - (size_t)used, " (%s)", code);
    else
        used += snprintf(buffer + used, XCTX__WORDS - (size_t)used, " (code %d)", state->signal_code);
    if (state->fault_address != 0 || (code && strncmp(code, "SEGV_", 5) == 0))
        snprintf(buffer + used, XCTX__WORDS - (size_t)used, " at 0x%" PRIx64, state->fault_address);
    return buffer;
}
