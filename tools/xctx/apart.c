/* SPDX-License-Identifier: MIT */
/*
 * See apart.h.
 *
 * This keeps a damaged file from taking more of the machine than it should, and turns a crash into a complaint. It is
 * no fence against a file that was made to take over the process: it has all rights that the command has.
 */
#include "apart.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "command.h"
#include "output.h"

enum { SECONDS = 300 }; /* of processor time */
#define MEMORY (UINT64_C(8) << 30)

/* Bytes of address space that are in use already: sanitizers take a lot. */
static uint64_t used_memory(void)
{
    unsigned long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");

    if (file && fscanf(file, "%llu", &pages) != 1)
        pages = 0;
    if (file)
        fclose(file);
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* Lowers a limit, unless it is lower already. */
static void limit(int resource, uint64_t most)
{
    struct rlimit now;

    if (getrlimit(resource, &now) != 0 || now.rlim_cur <= most)
        return;
    now.rlim_cur = most;
    setrlimit(resource, &now);
}

static void begin(pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(STATUS_FAILED);
    limit(RLIMIT_AS, used_memory() + MEMORY);
    limit(RLIMIT_CPU, SECONDS);
    /* It would have in it what is marked secret. */
    limit(RLIMIT_CORE, 0);
}

/* Signals that nobody sent to end it. */
static bool is_crash(int signal_number)
{
    switch (signal_number) {
    case SIGABRT:
    case SIGBUS:
    case SIGFPE:
    case SIGILL:
    case SIGKILL:
    case SIGSEGV:
    case SIGSYS:
    case SIGTRAP:
        return true;
    default:
        return false;
    }
}

static int judge(int status, const char *command, const char *name)
{
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    int signal_number = WTERMSIG(status);
    if (signal_number == SIGXCPU) {
        complain("%s: %s: takes more than %d seconds: it, or debug information that it names, may be damaged", command,
                 name, SECONDS);
    } else if (is_crash(signal_number)) {
        complain("%s: %s: reading it ended with signal %d (%s): it, or debug information that it names, may be damaged",
                 command, name, signal_number, strsignal(signal_number));
    } else {
        /* Meant for the command: SIGPIPE, SIGTERM. */
        signal(signal_number, SIG_DFL);
        raise(signal_number);
    }
    return STATUS_FAILED;
}

int work_apart(int (*work)(void *user), void *user, const char *command, const char *name)
{
    pid_t parent = getpid();
    int status;

    fflush(stdout);
    fflush(stderr);
    pid_t child = fork();
    if (child < 0) {
        complain("%s: %s", command, strerror(errno));
        return STATUS_FAILED;
    }
    if (child == 0) {
        begin(parent);
        _exit(output_finish(work(user)));
    }
    while (waitpid(child, &status, 0) < 0) {
        if (errno != EINTR)
            return STATUS_FAILED;
    }
    return judge(status, command, name);
}
