/* SPDX-License-Identifier: MIT */
/*
 * Which system calls go on as if nothing had been, when a thread was captured in them.
 *
 * The kernel restarts most calls after a handler with SA_RESTART, but not those that wait for a time or for signals:
 * they return EINTR, and sleep() is over. A program that has no signal handlers need not expect that. So the handler of
 * ask.c makes the thread call again, if the asker saw it in that call, at that place and with those arguments, just
 * before. That is done where the second call has what is needed to wait until the same moment: no time limit, an
 * absolute one, or one that the kernel has replaced by what is left of it. Elsewhere (poll() with a limit, usleep())
 * EINTR stays, since a call that is begun again and again would never end.
 *
 * What is lost: a signal of the program's whose handler blocks ours, and that came in the same moment, ended the call
 * as well, and the program does not see EINTR for it. pause() and the like miss that signal, as they do if it comes
 * just before them.
 */
#include "restart.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>

/* Calls that have no limit if one argument is a null pointer, or as an int below 0; or never have one. */
enum limit { LIMIT_POINTER, LIMIT_NUMBER, LIMIT_NONE };

static const struct {
    long number;
    enum limit limit;
    unsigned argument;
} unlimited[] = {
#ifdef SYS_poll
    {SYS_poll, LIMIT_NUMBER, 2},
#endif
#ifdef SYS_epoll_wait
    {SYS_epoll_wait, LIMIT_NUMBER, 3},
#endif
#ifdef SYS_pause
    {SYS_pause, LIMIT_NONE, 0},
#endif
#ifdef SYS_select
    {SYS_select, LIMIT_NONE, 0}, /* the kernel writes what is left, here and in the next two */
#endif
    {SYS_pselect6, LIMIT_NONE, 0},        {SYS_ppoll, LIMIT_NONE, 0},
    {SYS_epoll_pwait, LIMIT_NUMBER, 3},
#ifdef SYS_epoll_pwait2
    {SYS_epoll_pwait2, LIMIT_POINTER, 3},
#endif
    {SYS_rt_sigsuspend, LIMIT_NONE, 0},   {SYS_rt_sigtimedwait, LIMIT_POINTER, 2},
    {SYS_semop, LIMIT_NONE, 0},           {SYS_semtimedop, LIMIT_POINTER, 3},
    {SYS_msgrcv, LIMIT_NONE, 0},          {SYS_msgsnd, LIMIT_NONE, 0},
    {SYS_io_getevents, LIMIT_POINTER, 4},
};

bool xctx__call_restarts(const struct call *call)
{
    const uint64_t *arguments = call->arguments;

    if (call->number == SYS_nanosleep)
        return arguments[0] == arguments[1]; /* what is left replaces what was asked for */
    if (call->number == SYS_clock_nanosleep)
        return (arguments[1] & TIMER_ABSTIME) || arguments[2] == arguments[3];
    if (call->number == SYS_futex)
        return (arguments[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET || arguments[3] == 0; /* absolute, or none */
    for (unsigned i = 0; i < sizeof(unlimited) / sizeof(unlimited[0]); i++) {
        if (call->number != unlimited[i].number)
            continue;
        uint64_t limit = arguments[unlimited[i].argument];
        return unlimited[i].limit == LIMIT_NONE || (unlimited[i].limit == LIMIT_POINTER && limit == 0) ||
               (unlimited[i].limit == LIMIT_NUMBER && (int32_t)(uint32_t)limit < 0);
    }
    return false;
}
