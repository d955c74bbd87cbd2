/* SPDX-License-Identifier: MIT */
/* Signal handlers: on the stack and on alternate ones, of faults, in each other, and what they interrupted. */
#include "judge.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static sigjmp_buf escape;
static volatile sig_atomic_t seen;
static char alternate[1024 * 1024]; /* reports are made in handlers, too */

static void on_fault(int signal, siginfo_t *info, void *ucontext)
{
    void *address = info->si_addr;
    int code = info->si_code;
    seen++;
    judge_interrupted("fault", ucontext);
    judge_here("fault-handler");
    judge_touch(address), judge_touch(&code);
    siglongjmp(escape, signal);
}

static void on_second(int signal, siginfo_t *info, void *ucontext)
{
    char note[32];
    snprintf(note, sizeof(note), "signal %d", signal);
    judge_interrupted("second", ucontext);
    judge_here("second-handler");
    judge_touch(note), judge_touch(info);
}

static void on_first(int signal, siginfo_t *info, void *ucontext)
{
    int depth = 1;
    judge_interrupted("first", ucontext);
    raise(SIGUSR2);
    judge_here("first-handler");
    judge_touch(&depth), judge_touch(info);
    seen += signal;
}

static __attribute__((noinline)) int dereference(int *pointer, int scale)
{
    int before = scale * 3;
    judge_touch(&before);
    int value = *pointer;
    return value * scale + before;
}

static __attribute__((noinline)) int divide(int a, int b)
{
    volatile int zero = b;
    int quotient = a / zero;
    return quotient + a;
}

static __attribute__((noinline)) int fault(int *pointer)
{
    double kept = 2.5;
    const char *label = "about to fail";
    judge_touch(&kept), judge_touch(label);
    int result = dereference(pointer, 7);
    return result + (int)kept;
}

static __attribute__((noinline)) void send(int signal)
{
    char text[] = "sending";
    pthread_kill(pthread_self(), signal);
    judge_touch(text);
}

/* Loops, in code of its own, until the signal has come: it arrives between any two instructions. */
static __attribute__((noinline)) unsigned long spin(unsigned long seed)
{
    unsigned long state = seed, rounds = 0;
    while (seen < 100) {
        state = state * 6364136223846793005ul + 1442695040888963407ul;
        rounds++;
    }
    return state + rounds;
}

static void on_alarm(int signal, siginfo_t *info, void *ucontext)
{
    judge_interrupted("spin", ucontext);
    seen = 100;
    judge_touch(&signal), judge_touch(info);
}

static void install(int signal, void (*handler)(int, siginfo_t *, void *), int flags)
{
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_sigaction = handler;
    action.sa_flags = SA_SIGINFO | flags;
    sigemptyset(&action.sa_mask);
    sigaction(signal, &action, NULL);
}

/* A function without a frame: the fault is at its first instruction. */
typedef int jump(int);

static __attribute__((noinline)) int call_nowhere(jump *where)
{
    int arguments = 1;
    int result = where(arguments);
    return result + arguments;
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
    sigaltstack(&stack, NULL);
    install(SIGSEGV, on_fault, SA_ONSTACK);
    install(SIGFPE, on_fault, 0);
    install(SIGBUS, on_fault, SA_ONSTACK);
    install(SIGUSR1, on_first, SA_ONSTACK);
    install(SIGUSR2, on_second, 0);
    install(SIGALRM, on_alarm, 0);
    int *nowhere = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    volatile int total = 0;
    if (!sigsetjmp(escape, 1))
        total += fault(nowhere + argc);
    if (!sigsetjmp(escape, 1))
        total += divide(argc, argc - 2);
    if (!sigsetjmp(escape, 1))
        total += call_nowhere((jump *)(void *)nowhere);
    send(SIGUSR1);
    raise(SIGUSR2);
    ualarm(2000, 0);
    total += (int)spin((unsigned long)argc);
    judge_here("end");
    return seen == 0 && total == 0;
}
