/* SPDX-License-Identifier: MIT */
/*
 * libxctx-preload: what `xctx run` puts into a program that knows nothing of xctx.
 *
 * It starts to answer `xctx dump`, has crashes reported if XCTX_CRASH says so, notes threads in a trace if XCTX_TRACE
 * does, and makes every thread that the program creates start in a copy of its creator's context: with XCTX_CAPTURE a
 * dump then tells where each thread was created. XCTX_CAPTURE itself is read by libxctx.
 *
 * It writes nothing but errors, one line each, and goes on after them. LD_PRELOAD is left as it is, so that programs
 * that this one starts are served, too.
 *
 * pthread_create() is replaced by a function that calls xctx_thread_create(), which in turn calls what it takes for
 * pthread_create(): `inside` tells that the call comes from there. Calls that libxctx makes on its own account, and
 * those before this library is initialised (of constructors that run earlier), are passed on as they are. If there is
 * no memory for a context the thread is created without one. Threads of thrd_create() in glibc, and of a raw clone(),
 * do not come by here.
 *
 * A program that has libxctx linked in statically has two of it: its own contexts, and those of this library, which has
 * the threads' origins. Dumps work, and show the variables of the latter only.
 */
#include "preload.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <xctx/xctx.h>

typedef int create_function(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);

/* As visible as the system's. NOLINTNEXTLINE(readability-redundant-declaration) */
XCTX_API create_function pthread_create;

/* The next one after ours. Found by whoever comes first: all find the same. */
static create_function *_Atomic real_create;
static _Thread_local bool inside;

/* Set once, by the constructor, with release: the rest is there for who sees it. */
static atomic_bool ready;
static bool traced;
static uintptr_t library_low, library_high; /* where libxctx is */

void preload_complain(const char *format, ...)
{
    char line[512] = "xctx: ";
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line + 6, sizeof(line) - 7, format, arguments);
    va_end(arguments);
    size_t length = strlen(line);
    line[length] = '\n';
    ssize_t written = write(STDERR_FILENO, line, length + 1);
    (void)written; /* there is no other place to complain */
}

static create_function *find_create(void)
{
    create_function *create = atomic_load_explicit(&real_create, memory_order_relaxed);

    if (!create) {
        void *symbol = dlsym(RTLD_NEXT, "pthread_create");
        memcpy(&create, &symbol, sizeof(create));
        atomic_store_explicit(&real_create, create, memory_order_relaxed);
    }
    return create;
}

static bool is_library(const void *address)
{
    return (uintptr_t)address >= library_low && (uintptr_t)address < library_high;
}

int pthread_create(pthread_t *ret_thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *arg)
{
    create_function *create = find_create();
    struct work work = {fn, arg};

    if (!create)
        return EAGAIN;
    if (!atomic_load_explicit(&ready, memory_order_acquire) || inside || is_library(__builtin_return_address(0)))
        return create(ret_thread, attributes, fn, arg);
    bool wrapped = traced && trace_wrap(&work);
    inside = true;
    int error = xctx_thread_create(ret_thread, attributes, work.fn, work.arg);
    inside = false;
    if (error == EAGAIN)
        error = create(ret_thread, attributes, work.fn, work.arg);
    if (error && wrapped)
        trace_unwrap(&work);
    return error;
}

static int find_library(struct dl_phdr_info *info, size_t size, void *user)
{
    uintptr_t inside_it = (uintptr_t)user;

    (void)size;
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        uintptr_t low = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
        uintptr_t high = low + info->dlpi_phdr[i].p_memsz;
        if (info->dlpi_phdr[i].p_type == PT_LOAD && (info->dlpi_phdr[i].p_flags & PF_X) && inside_it >= low &&
            inside_it < high) {
            library_low = low;
            library_high = high;
            return 1;
        }
    }
    return 0;
}

/* An environment variable with something in it; else NULL. */
static const char *setting(const char *name)
{
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

static void start_crash_reports(void)
{
    const xctx_crash_options options = {
        .size = sizeof(options),
        .core_path = setting("XCTX_CRASH_CORE"),
        .report_path = setting("XCTX_CRASH_REPORT"),
        .command = setting("XCTX_CRASH_COMMAND"),
    };

    int error = xctx_crash_install(&options);
    if (error)
        preload_complain("crashes are not reported: %s", xctx_strerror(error));
}

__attribute__((constructor)) static void preload_start(void)
{
    const char *trace = setting("XCTX_TRACE");

    dl_iterate_phdr(find_library, (void *)(uintptr_t)xctx_thread_create); /* NOLINT(performance-no-int-to-ptr) */
    int error = xctx_serve_start();
    if (error)
        preload_complain("`xctx dump` will get no answer from process %d: %s", (int)getpid(), strerror(-error));
    if (setting("XCTX_CRASH"))
        start_crash_reports();
    if (trace) {
        traced = trace_open(trace);
        if (traced)
            trace_process();
    }
    /* Partner: the load in pthread_create(). */
    atomic_store_explicit(&ready, true, memory_order_release);
}
