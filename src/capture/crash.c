/* SPDX-License-Identifier: MIT */
/*
 * Installing crash reports: see crash.h.
 *
 * `lock` protects what is installed. The handler takes no lock: it reads what was prepared before it was installed, and
 * which is not changed as long as it might run.
 */
#include "crash.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

enum { STACK_LIMIT = 1 << 20, STACK_ROOM = 128 * 1024 };
#define TIME_LIMIT INT64_C(10000000000)

const int xctx__crash_signals[CRASH_SIGNALS] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};

struct crash xctx__crash;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool installed; /* changes under the lock; read by threads that start */

/* ---- alternate signal stacks ---- */

static pthread_once_t key_once = PTHREAD_ONCE_INIT;
static pthread_key_t key; /* of the stack that xctx_crash_thread() made for a thread, with its guard page */
static int key_error;

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* For the handler, and what the kernel needs for the registers. */
static size_t stack_size(void)
{
    size_t page = page_size();
    size_t least = getauxval(AT_MINSIGSTKSZ);

    return (STACK_ROOM + least + page - 1) / page * page;
}

static void free_stack(void *memory)
{
    stack_t now;

    /* Somebody may have put another one in its place. */
    if (sigaltstack(NULL, &now) == 0 && now.ss_sp == (char *)memory + page_size()) {
        const stack_t none = {.ss_flags = SS_DISABLE};
        sigaltstack(&none, NULL);
    }
    munmap(memory, page_size() + stack_size());
}

static void make_key(void)
{
    key_error = pthread_key_create(&key, free_stack);
}

int xctx_crash_thread(void)
{
    stack_t now;
    size_t guard = page_size();

    if (sigaltstack(NULL, &now) < 0 || !(now.ss_flags & SS_DISABLE))
        return 0;
    pthread_once(&key_once, make_key);
    if (key_error)
        return -ENOMEM;
    char *memory = mmap(NULL, guard + stack_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -ENOMEM;
    const stack_t stack = {.ss_sp = memory + guard, .ss_size = stack_size()};
    if (mprotect(memory, guard, PROT_NONE) < 0 || pthread_setspecific(key, memory) || sigaltstack(&stack, NULL) < 0) {
        pthread_setspecific(key, NULL);
        munmap(memory, guard + stack_size());
        return -ENOMEM;
    }
    return 0;
}

void xctx__crash_thread_starts(void)
{
    /* Without memory for it the thread goes on without. */
    if (atomic_load_explicit(&installed, memory_order_relaxed))
        (void)xctx_crash_thread();
}

/* ---- the command ---- */

/* Copies a path, which fits; NULL is "". */
static void copy_path(char *to, const char *path)
{
    if (path)
        memcpy(to, path, strlen(path) + 1);
    else
        to[0] = '\0';
}

static bool is_executable(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

/* Puts a path together, and looks whether a program is there. */
static bool try_command(const char *folder, size_t length, const char *name)
{
    char path[CRASH_PATH];

    if (length + strlen(name) + 1 > sizeof(path))
        return false;
    memcpy(path, folder, length);
    copy_path(path + length, name);
    if (!is_executable(path))
        return false;
    copy_path(xctx__crash.command, path);
    return true;
}

/* `bin/xctx` beside the folder that the library is in, or in PATH. */
static void find_command(void)
{
    Dl_info info;
    const char *path = getenv("PATH");

    xctx__crash.command[0] = '\0';
    if (dladdr(&xctx__crash, &info) && info.dli_fname) {
        const char *slash = strrchr(info.dli_fname, '/');
        if (slash && try_command(info.dli_fname, (size_t)(slash - info.dli_fname), "/../bin/xctx"))
            return;
    }
    for (size_t length; path && *path; path += length + (path[length] == ':')) {
        length = strcspn(path, ":");
        /* Not the current folder, which is another one by the time of the crash. */
        if (path[0] == '/' && try_command(path, length, "/xctx"))
            return;
    }
}

/* What the command runs with: this process's environment, but for what would have other libraries loaded into it, or
   crashes of its own reported. */
static void copy_environment(void)
{
    static const char *const without[] = {"LD_PRELOAD=", "LD_AUDIT=", "XCTX_"};
    size_t used = 0, count = 0;

    for (char **at = environ; at && *at && count < CRASH_VARIABLES; at++) {
        size_t size = strlen(*at) + 1;
        bool wanted = size <= CRASH_ENVIRONMENT - used;
        for (size_t i = 0; i < sizeof(without) / sizeof(without[0]); i++)
            wanted = wanted && strncmp(*at, without[i], strlen(without[i])) != 0;
        if (!wanted)
            continue;
        xctx__crash.environment[count++] = memcpy(xctx__crash.environment_text + used, *at, size);
        used += size;
    }
    xctx__crash.environment[count] = NULL;
}

/* ---- installing ---- */

static bool fits(const char *path)
{
    return !path || strnlen(path, CRASH_PATH) < CRASH_PATH;
}

static int check(const xctx_crash_options *options)
{
    if ((options->size != 0 && options->size != sizeof(*options)) || options->flags || options->time_limit < 0 ||
        options->stack_limit > XCTX_SNAPSHOT_STACK_MAX || !fits(options->core_path) || !fits(options->report_path) ||
        !fits(options->command))
        return -EINVAL;
    return options->command && !is_executable(options->command) ? -ENOENT : 0;
}

/* Everything but the handlers. With the lock held. */
static int prepare(const xctx_crash_options *options)
{
    xctx_snapshot *snapshot =
        xctx_snapshot_reserve(XCTX_CAPTURE_ALL, options->stack_limit ? options->stack_limit : STACK_LIMIT);

    if (!snapshot)
        return -ENOMEM;
    int result = xctx_crash_thread();
    if (result < 0) {
        xctx_snapshot_unref(snapshot);
        return result;
    }
    /* A handler that came late may still use the one before: it stays then. */
    if (!xctx__crash_is_used())
        xctx_snapshot_unref(xctx__crash.snapshot);
    xctx__crash.snapshot = snapshot;
    xctx__crash.time_limit = options->time_limit ? options->time_limit : TIME_LIMIT;
    xctx__crash.has_core = options->core_path;
    xctx__crash.has_report = options->report_path;
    copy_path(xctx__crash.core_path, options->core_path);
    copy_path(xctx__crash.report_path, options->report_path);
    if (options->command)
        copy_path(xctx__crash.command, options->command);
    else
        find_command();
    copy_environment();
    xctx__crash_rearm();
    return 0;
}

static bool is_ours(const struct sigaction *action)
{
    return action->sa_flags & SA_SIGINFO && action->sa_sigaction == xctx__crash_handle;
}

/* Puts the previous action back, where ours is still there. */
static void restore(int index)
{
    struct sigaction now;

    if (sigaction(xctx__crash_signals[index], NULL, &now) == 0 && is_ours(&now))
        sigaction(xctx__crash_signals[index], &xctx__crash.previous[index], NULL);
}

int xctx_crash_install(const xctx_crash_options *options)
{
    const xctx_crash_options none = {.size = sizeof(none)};
    struct sigaction action = {.sa_sigaction = xctx__crash_handle, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    options = options ? options : &none;
    int result = check(options);
    if (result < 0)
        return result;
    /* A fault in the handler itself then ends the process at once. */
    sigfillset(&action.sa_mask);
    pthread_mutex_lock(&lock);
    result = atomic_load_explicit(&installed, memory_order_relaxed) ? -EALREADY : prepare(options);
    if (result == 0) {
        /* All of these can be caught: this cannot fail. The previous actions are known before ours are there. */
        for (int i = 0; i < CRASH_SIGNALS; i++)
            sigaction(xctx__crash_signals[i], NULL, &xctx__crash.previous[i]);
        for (int i = 0; i < CRASH_SIGNALS; i++)
            sigaction(xctx__crash_signals[i], &action, NULL);
        atomic_store_explicit(&installed, true, memory_order_relaxed);
    }
    pthread_mutex_unlock(&lock);
    return result;
}

int xctx_crash_uninstall(void)
{
    int result = -EINVAL;

    pthread_mutex_lock(&lock);
    if (atomic_load_explicit(&installed, memory_order_relaxed)) {
        for (int i = 0; i < CRASH_SIGNALS; i++)
            restore(i);
        atomic_store_explicit(&installed, false, memory_order_relaxed);
        result = 0;
    }
    pthread_mutex_unlock(&lock);
    return result;
}
