/* SPDX-License-Identifier: MIT */
/*
 * Fibers in gdb: what libxctx-gdb.py says of a program that has them in every state, of its core file, and of a program
 * whose libxctx has no debug information. The program is this one, started with an argument.
 */
#include <dlfcn.h>
#include <pthread.h>
#include <unistd.h>

#include "fiber_support.h"

#define SCENE "scene"
#define NOINLINE __attribute__((noinline))

/* ---- the program that is looked at ---- */

static pthread_barrier_t barrier;

static xctx_fiber *named(void *(*fn)(void *), void *arg, const char *name)
{
    const xctx_fiber_options options = {.size = sizeof(options), .name = name, .stack_size = 64 << 10};
    xctx_fiber *fiber = xctx_fiber_create(fn, arg, &options);

    CHECK(fiber);
    return fiber;
}

static NOINLINE long wait_deep(long depth)
{
    volatile long local = depth * 1000;

    if (depth > 0)
        local += wait_deep(depth - 1);
    else
        xctx_fiber_yield(NULL);
    return local;
}

static NOINLINE void *go_deep(void *arg)
{
    volatile long result = wait_deep(as_number(arg)); /* no tail call */

    return number(result);
}

static NOINLINE void *yield_always(void *arg)
{
    for (;;)
        xctx_fiber_yield(arg);
    return arg;
}

static NOINLINE void *end_at_once(void *arg)
{
    return arg;
}

static int *volatile nowhere;

static NOINLINE void *stop_here(void *arg)
{
    *nowhere = 1; /* NOLINT(clang-analyzer-core.NullDereference) */
    return arg;
}

static NOINLINE void *resume_other(void *arg)
{
    xctx_fiber_resume(arg, NULL, NULL);
    return arg;
}

static void *other_thread(void *arg)
{
    step(named(go_deep, number(1), "of a thread"), NULL);
    pthread_barrier_wait(&barrier);
    for (;;)
        pause();
    return arg;
}

static int scene(void)
{
    pthread_t thread;
    xctx_continuation *continuation;
    xctx_fiber *shot;

    alarm(100);
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, other_thread, NULL) == 0);
    pthread_barrier_wait(&barrier);
    xctx_fiber *deep = named(go_deep, number(3), "deep");
    step(deep, NULL);
    CHECK(xctx_fiber_resume(named(end_at_once, NULL, "ended"), NULL, NULL) == 0);
    named(go_deep, NULL, "not yet");
    xctx_fiber_unref(named(end_at_once, NULL, "released"));
    xctx_fiber *origin = named(yield_always, NULL, "origin");
    step(origin, NULL);
    CHECK(xctx_fiber_capture(origin, &continuation) == 0);
    CHECK(xctx_continuation_shot(continuation, &shot) == 0);
    step(shot, NULL);
    xctx_fiber *inner = named(stop_here, NULL, "inner");
    xctx_fiber_resume(named(resume_other, inner, "outer"), NULL, NULL);
    return 0;
}

/* ---- what gdb says ---- */

static char program[512];
static char text[1 << 20];

/* Runs gdb on the program: `before` and `after` are more of its options. Its output is in `text` then. Returns false
   where it cannot be had. */
static bool run_gdb(const char *environment, const char *before, const char *after)
{
    char command[4096];
    size_t got, size = 0;

    if (TEST_ASAN || TEST_TSAN || getenv("XCTX_TEST_EMULATED") || system("gdb --version >/dev/null 2>&1") != 0)
        return false;
    snprintf(command, sizeof(command),
             "%s timeout 60 gdb -nx -batch -iex 'set auto-load python-scripts off' %s %s 2>&1", environment, before,
             after);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    while ((got = fread(text + size, 1, sizeof(text) - 1 - size, pipe)) > 0)
        size += got;
    text[size] = '\0';
    pclose(pipe);
    return !strstr(text, "ptrace: Operation not permitted") && !strstr(text, "Python scripting is not supported");
}

#define SCRIPT " -ex 'source " XCTX_TEST_SOURCE_DIR "/src/fiber/libxctx-gdb.py'"
#define COMMANDS " -ex 'xctx fibers' -ex 'xctx fiber apply all bt'"

static const char *to_run(const char *more)
{
    static char options[2048];

    snprintf(options, sizeof(options), "-ex 'run " SCENE "' %s --args '%s'", more, program);
    return options;
}

/* An address in the library. */
static const void *library_code(void)
{
    const xctx_fiber *(*function)(void) = (const xctx_fiber *(*)(void))xctx_fiber_current;
    const void *address;

    memcpy(&address, &function, sizeof(address));
    return address;
}

/* Of several strings, whether they are there in this order. */
static void assert_in_order(const char *const strings[], size_t count)
{
    const char *at = text;

    for (size_t i = 0; i < count; i++) {
        at = strstr(at, strings[i]);
        if (!at)
            fail_msg("\"%s\" is missing, or not in its place, in:\n%s", strings[i], text);
        at += strlen(strings[i]);
    }
}

#define ASSERT_IN_ORDER(...)                                                                                           \
    assert_in_order((const char *const[]){__VA_ARGS__},                                                                \
                    sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static void check_fibers(void)
{
    ASSERT_IN_ORDER("suspended", "\"of a thread\" wait_deep", "suspended", "\"deep\" wait_deep", "done", "\"ended\"",
                    "created", "\"not yet\" to begin in go_deep", "parked ", "\"origin\"", "suspended ",
                    "\"origin\" yield_always", "running    1", "\"inner\" stop_here", "waiting    1",
                    "\"outer\" resume_other");
    assert_null(strstr(text, "released"));
    ASSERT_IN_ORDER(" \"deep\": suspended\n", "#1 ", " wait_deep (", "#2 ", " wait_deep (", "#3 ", " wait_deep (",
                    "#4 ", " wait_deep (", "#5 ", " go_deep (", "#6 ", "switch_entry",
                    "\n\nFiber "); /* gdb takes two underscores for Ada in what clang has assembled */
    ASSERT_IN_ORDER("\"ended\": done\n", "it has nothing on its stack");
    ASSERT_IN_ORDER("\"not yet\": created\n", "to begin in go_deep");
    /* A shot has its turn on the stack of the fiber that was captured. */
    ASSERT_IN_ORDER("\"origin\": parked\n", "its stack is another one's now", "\"origin\": suspended\n", "#1 ",
                    " yield_always (");
    /* The running one's callers are those of whoever resumed it. */
    ASSERT_IN_ORDER("\"inner\": running, thread 1\n", " stop_here (", " resume_other (", " scene (", " main (");
    ASSERT_IN_ORDER("\"outer\": waiting, thread 1\n", " resume_other (", " scene (", " main (");
    assert_null(strstr(text, "Traceback"));
    assert_null(strstr(text, "Backtrace stopped"));
}

TEST(fibers_of_a_process_are_listed_with_their_stacks)
{
    if (!run_gdb("", "", to_run(SCRIPT COMMANDS " -ex kill")))
        skip();
    check_fibers();
}

/* Not gdb's own `generate-core-file`: it gives up a megabyte of memory if it finds a guard in it. */
TEST(fibers_of_a_core_file_are_listed_with_their_stacks)
{
    static char options[1024], folder[64];
    FILE *pattern = fopen("/proc/sys/kernel/core_pattern", "r");
    bool here = pattern && fgets(options, sizeof(options), pattern) && !strpbrk(options, "|/");

    if (pattern)
        fclose(pattern);
    if (!here || !run_gdb("", "", "--version"))
        skip();
    snprintf(folder, sizeof(folder), "/tmp/xctx-fibers-%d", (int)getpid());
    snprintf(options, sizeof(options),
             "mkdir %s && cd %s && ulimit -c unlimited && '%s' " SCENE " 2>/dev/null; mv core* the-core", folder,
             folder, program);
    bool dumped = system(options) == 0;
    snprintf(options, sizeof(options), SCRIPT COMMANDS " '%s' '%s/the-core'", program, folder);
    dumped = dumped && run_gdb("", "", options);
    snprintf(options, sizeof(options), "rm -rf %s", folder);
    CHECK(system(options) == 0);
    if (!dumped)
        skip(); /* the limit cannot be raised, or nobody dumps anything here */
    check_fibers();
}

TEST(command_sees_the_fibers_frame_and_leaves_the_selected_one)
{
    if (!run_gdb("", "", "--version") ||
        !run_gdb("", "",
                 to_run(SCRIPT " -ex 'frame function stop_here' -ex 'xctx fiber 2 print local' -ex 'xctx fiber 2 frame "
                               "apply level 3 print local' -ex 'xctx fiber 2 up 2'"
                               " -ex 'xctx fiber 99' -ex 'xctx fiber 2 bt 1' -ex 'frame' -ex kill")))
        skip();
    ASSERT_IN_ORDER("\"deep\": suspended\n$1 = 0\n", "\"deep\": suspended\n#3 ", " = 2000\n",
                    "\"deep\": suspended\n#3 ", " wait_deep (", "there is no fiber 99", "\"deep\": suspended\n",
                    "stop_here (arg=0x0)");
}

TEST(debug_information_of_the_library_is_not_needed)
{
    static char environment[2048], folder[64];
    Dl_info info;

    memset(&info, 0, sizeof(info));
    if (!run_gdb("", "", "--version") || dladdr(library_code(), &info) == 0 || !strstr(info.dli_fname, ".so"))
        skip();
    snprintf(folder, sizeof(folder), "/tmp/xctx-stripped-%d", (int)getpid());
    snprintf(environment, sizeof(environment), "mkdir %s && strip -o %s/libxctx.so.0 '%s'", folder, folder,
             info.dli_fname);
    bool ran = system(environment) == 0;
    snprintf(environment, sizeof(environment), "LD_LIBRARY_PATH=%s", folder);
    ran = ran && run_gdb(environment, "", to_run(SCRIPT COMMANDS " -ex 'info sharedlibrary' -ex kill"));
    snprintf(environment, sizeof(environment), "rm -r %s", folder);
    CHECK(system(environment) == 0);
    if (!ran)
        skip();
    ASSERT_IN_ORDER("Yes (*)", folder);
    ASSERT_IN_ORDER("suspended", "\"deep\" wait_deep", "waiting    1", "\"outer\" resume_other");
    ASSERT_IN_ORDER(" \"deep\": suspended\n", " wait_deep (", " wait_deep (", " wait_deep (", " wait_deep (",
                    " go_deep (", "\n\nFiber ");
    ASSERT_IN_ORDER("\"inner\": running, thread 1\n", " stop_here (", " resume_other (", " scene (", " main (");
    assert_null(strstr(text, "Traceback"));
}

TEST(script_is_loaded_with_the_library)
{
    static char before[1024];
    Dl_info info;

    memset(&info, 0, sizeof(info));
    if (!run_gdb("", "", "--version") || dladdr(library_code(), &info) == 0 || !strstr(info.dli_fname, ".so"))
        skip();
    snprintf(before, sizeof(before), "-iex 'set auto-load python-scripts on' -iex 'add-auto-load-safe-path /'");
    if (!run_gdb("", before, to_run("-ex 'xctx fibers' -ex kill")))
        skip();
    ASSERT_IN_ORDER("suspended", "\"deep\" wait_deep");
}

int main(int argc, char **argv)
{
    CHECK(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    return argc > 1 && strcmp(argv[1], SCENE) == 0 ? scene() : test_main("fibers in gdb");
}
