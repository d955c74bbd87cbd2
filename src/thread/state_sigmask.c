/* SPDX-License-Identifier: MIT */
/*
 * The capsule of the signal mask: which signals are blocked.
 *
 * Linux has 64 signals, and two of them, SIGKILL and SIGSTOP, can never be blocked. So a mask fits into a pointer, with
 * a bit to spare that makes it different from NULL: the bit of SIGKILL. Nothing is allocated, nothing counted, and
 * entering cannot fail. One system call both sets the mask and says what it was, which is cheaper than to ask first.
 *
 * Signals that are pending and become unblocked are delivered at once, in enter() or leave(), as with any change of
 * the mask. The signals that the C library keeps for itself are filtered by pthread_sigmask().
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>

#include <xctx/thread.h>

#include "state.h"

#define PRESENT ((uint64_t)1 << (SIGKILL - 1))

_Static_assert(sizeof(void *) == sizeof(uint64_t), "a signal mask has to fit into a pointer");
_Static_assert(sizeof(sigset_t) >= sizeof(uint64_t), "a sigset_t begins with the 64 bits that the kernel knows");

static void *mask_pack(const sigset_t *set)
{
    uint64_t bits;
    memcpy(&bits, set, sizeof(bits));
    return (void *)(uintptr_t)(bits | PRESENT);
}

static void mask_unpack(const void *value, sigset_t *ret_set)
{
    uint64_t bits = (uintptr_t)value & ~PRESENT;
    sigemptyset(ret_set);
    memcpy(ret_set, &bits, sizeof(bits));
}

static void *sigmask_capture(void)
{
    sigset_t set;
    sigemptyset(&set);
    if (pthread_sigmask(SIG_SETMASK, NULL, &set) != 0)
        return NULL;
    return mask_pack(&set);
}

static void *sigmask_enter(void *value)
{
    sigset_t set;
    sigset_t old;

    if (!value)
        return NULL;
    mask_unpack(value, &set);
    sigemptyset(&old);
    if (pthread_sigmask(SIG_SETMASK, &set, &old) != 0)
        return NULL;
    return mask_pack(&old);
}

static void sigmask_leave(void *saved)
{
    sigset_t old;

    if (!saved)
        return;
    mask_unpack(saved, &old);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static int sigmask_format(void *value, char *buffer, size_t size)
{
    static const char *const names[] = {
        [SIGHUP] = "HUP",   [SIGINT] = "INT",   [SIGQUIT] = "QUIT",     [SIGILL] = "ILL",   [SIGTRAP] = "TRAP",
        [SIGABRT] = "ABRT", [SIGBUS] = "BUS",   [SIGFPE] = "FPE",       [SIGUSR1] = "USR1", [SIGSEGV] = "SEGV",
        [SIGUSR2] = "USR2", [SIGPIPE] = "PIPE", [SIGALRM] = "ALRM",     [SIGTERM] = "TERM", [SIGCHLD] = "CHLD",
        [SIGCONT] = "CONT", [SIGTSTP] = "TSTP", [SIGTTIN] = "TTIN",     [SIGTTOU] = "TTOU", [SIGURG] = "URG",
        [SIGXCPU] = "XCPU", [SIGXFSZ] = "XFSZ", [SIGVTALRM] = "VTALRM", [SIGPROF] = "PROF", [SIGWINCH] = "WINCH",
        [SIGIO] = "IO",     [SIGPWR] = "PWR",   [SIGSYS] = "SYS",
    };
    struct text text = {buffer, size, 0};
    uint64_t bits = (uintptr_t)value & ~PRESENT;

    if (!value)
        return xctx__text_finish(&text);
    for (int number = 1; number <= 64; number++) {
        if (!(bits >> (number - 1) & 1))
            continue;
        xctx__text_add(&text, text.length > 0 ? " " : "");
        if ((size_t)number < sizeof(names) / sizeof(names[0]) && names[number])
            xctx__text_add(&text, names[number]);
        else
            xctx__text_add_number(&text, number);
    }
    if (text.length == 0)
        xctx__text_add(&text, "none");
    return xctx__text_finish(&text);
}

/* Eight bytes, the lowest signals first: signal numbers are the same on all processors that xctx runs on. */
static int sigmask_encode(void *value, void *buffer, size_t size)
{
    unsigned char bytes[8];
    struct text text = {buffer, size, 0};
    uint64_t bits = (uintptr_t)value & ~PRESENT;

    if (!value)
        return -EINVAL;
    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(bits >> (8 * i));
    xctx__text_add_bytes(&text, bytes, sizeof(bytes));
    return (int)text.length;
}

static int sigmask_decode(const void *data, size_t size, void **ret_value)
{
    const unsigned char *bytes = data;
    uint64_t bits = 0;

    if (size != 8)
        return -EINVAL;
    for (unsigned i = 0; i < 8; i++)
        bits |= (uint64_t)bytes[i] << (8 * i);
    *ret_value = (void *)(uintptr_t)(bits | PRESENT);
    return 0;
}

XCTX_VAR_DEFINE(xctx_state_sigmask, .capture = sigmask_capture, .enter = sigmask_enter, .leave = sigmask_leave,
                .format = sigmask_format, .encode = sigmask_encode, .decode = sigmask_decode);
