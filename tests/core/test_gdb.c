/* SPDX-License-Identifier: MIT */
/* What other programs say of our core files: gdb, lldb and eu-stack, each if it is there. */
#include "core_support.h"

#include <signal.h>

long known_global = 1;
struct pair {
    int x, y;
} known_pair;

static xctx_snapshot *taken;
static xctx_snapshot *reserved;

static void handle(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    CHECK(xctx_snapshot_fill(reserved, XCTX_CAPTURE_ALL, context) == 0);
}

static ON_STACK int innermost(int depth, const char *name)
{
    int numbers[3] = {depth, depth * 10, depth * 100};
    __asm__ volatile("" : : "r"(numbers), "r"(name) : "memory");
    if (depth == 0)
        taken = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    else
        innermost(depth - 1, name);
    __asm__ volatile("" : : "r"(numbers), "r"(name) : "memory");
    return numbers[1];
}

static ON_STACK int compare(const void *a, const void *b)
{
    if (!taken)
        innermost(2, "a name");
    return *(const int *)a - *(const int *)b;
}

static void *interrupted_thread(void *arg)
{
    raise(SIGUSR1);
    return arg;
}

static char core_path[64];
static char text[1 << 20];

/* Runs a command; its output is in `text` then. Returns whether it could be run and ended well. */
static bool run(const char *command)
{
    FILE *pipe = popen(command, "r");
    size_t got;
    size_t size = 0;

    CHECK(pipe);
    while ((got = fread(text + size, 1, sizeof(text) - 1 - size, pipe)) > 0)
        size += got;
    text[size] = '\0';
    return pclose(pipe) == 0;
}

static bool have(const char *program)
{
    char command[128];
    snprintf(command, sizeof(command), "%s --version >/dev/null 2>&1", program);
    return run(command);
}

/* Writes a core of this process, once: of a thread that came through libc without frame pointers, and of one that a
   signal interrupted. */
static ON_STACK void make_core(void)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO};
    int numbers[3] = {3, 1, 2};

    if (core_path[0])
        return;
    /* With room for what sanitizers add. */
    CHECK(xctx_set_stack_limit(1 << 20) == 0);
    known_global = 4711;
    known_pair.x = 17;
    known_pair.y = -4;
    qsort(numbers, 3, sizeof(numbers[0]), compare);
    reserved = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    sigaction(SIGUSR1, &action, NULL);
    on_thread(interrupted_thread, NULL);
    snprintf(core_path, sizeof(core_path), "/tmp/xctx-core-XXXXXX");
    int fd = mkstemp(core_path);
    CHECK(fd >= 0);
    xctx_snapshot *both[2] = {taken, reserved};
    CHECK(xctx_core_write(fd, both, 2, NULL, 0, 0) == 0);
    close(fd);
    xctx_snapshot_unref(taken);
    xctx_snapshot_unref(reserved);
}

/* What a debugger says when it is given this program, an option, and the core. */
static const char *ask(const char *debugger, const char *option)
{
    char command[1024];
    char program[512] = "";

    make_core();
    CHECK(readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    snprintf(command, sizeof(command), "%s %s %s %s 2>&1", debugger, program, option, core_path);
    run(command);
    return text;
}

TEST(gdb_shows_the_whole_stack_with_locals)
{
    if (!have("gdb"))
        skip();
    const char *output = ask("gdb -nx -batch -ex 'bt full'", "");
    assert_non_null(strstr(output, "numbers = {0, 0, 0}"));
    assert_non_null(strstr(output, "numbers = {1, 10, 100}"));
    assert_non_null(strstr(output, "numbers = {2, 20, 200}"));
    if (!TEST_ASAN) /* which has strings in places of its own */
        assert_non_null(strstr(output, "\"a name\""));
    assert_non_null(strstr(output, "compare ("));
    assert_non_null(strstr(output, "qsort"));
    assert_non_null(strstr(output, "make_core ()"));
    assert_non_null(strstr(output, "main ("));
}

TEST(gdb_shows_both_threads)
{
    if (!have("gdb"))
        skip();
    const char *output = ask("gdb -nx -batch -ex 'thread apply all bt'", "");
    assert_non_null(strstr(output, "Thread 1 (LWP "));
    assert_non_null(strstr(output, "Thread 2 (LWP "));
    assert_non_null(strstr(output, "interrupted_thread (arg=0x0)"));
}

TEST(gdb_shows_globals_and_libraries)
{
    if (!have("gdb"))
        skip();
    const char *output = ask("gdb -nx -batch -ex 'p known_global' -ex 'p known_pair' -ex 'info sharedlibrary'", "");
    assert_non_null(strstr(output, " = 4711\n"));
    assert_non_null(strstr(output, " = {x = 17, y = -4}\n"));
    assert_non_null(strstr(output, "libxctx.so"));
    assert_non_null(strstr(output, "libc"));
}

TEST(gdb_complains_of_nothing_in_the_file)
{
    if (!have("gdb"))
        skip();
    const char *output = ask("gdb -nx -batch -ex 'thread 2' -ex 'p $xmm0' -ex 'info auxv'", "");
    assert_null(strstr(output, "too small"));
    assert_null(strstr(output, "truncated"));
    assert_non_null(strstr(output, "AT_PHDR"));
}

TEST(lldb_shows_the_whole_stack)
{
    if (!have("lldb"))
        skip();
    const char *output = ask("lldb -x -b -o 'bt' -o 'frame variable'", "-c");
    assert_non_null(strstr(output, "innermost("));
    assert_non_null(strstr(output, "qsort"));
    assert_non_null(strstr(output, "make_core"));
    assert_non_null(strstr(output, "numbers = ([0] = 0, [1] = 0, [2] = 0)"));
}

TEST(eu_stack_shows_the_whole_stack)
{
    if (!have("eu-stack"))
        skip();
    const char *output = ask("eu-stack -e", "--core");
    assert_non_null(strstr(output, "innermost"));
    assert_non_null(strstr(output, "qsort"));
    assert_non_null(strstr(output, "main"));
    assert_non_null(strstr(output, "interrupted_thread"));
}

/* A process that a debugger writes the core of. */
static ON_STACK int stop_here(int number)
{
    int numbers[3] = {number, number * 10, number * 100};
    __asm__ volatile("" : : "r"(numbers) : "memory");
    raise(SIGTRAP);
    return numbers[0];
}

static int check_foreign(xctx_snapshot *snapshot)
{
    uint64_t sp = 0, pc = 0, word = 0;
    const xctx_thread_state *state = xctx_snapshot_thread_state(snapshot);

    assert_int_equal(xctx_snapshot_register(snapshot, "sp", &sp), 0);
    assert_int_equal(xctx_snapshot_register(snapshot, "pc", &pc), 0);
    assert_int_equal(xctx_snapshot_read(snapshot, sp, &word, sizeof(word)), 0);
    assert_true(xctx_snapshot_captured(snapshot) & XCTX_CAPTURE_LOCALS);
    assert_true(state->present & XCTX_THREAD_SIGNAL);
    assert_int_equal(state->signal, SIGTRAP);
    assert_null(xctx_snapshot_context(snapshot));
    assert_null(xctx_snapshot_parent(snapshot));
    return 0;
}

TEST(core_that_gdb_wrote_can_be_opened)
{
    char command[1024];
    char program[512] = "";
    char path[] = "/tmp/xctx-gcore-XXXXXX";
    xctx_snapshot *snapshot = NULL;
    xctx_report *report = NULL;

    if (TEST_ASAN || TEST_TSAN)
        skip(); /* such a process maps terabytes, which gdb would write */
    int fd = mkstemp(path);

    CHECK(fd >= 0 && readlink("/proc/self/exe", program, sizeof(program) - 1) > 0);
    snprintf(command, sizeof(command), "gdb -nx -batch -ex run -ex 'gcore %s' --args %s stop 2>&1", path, program);
    run(command);
    /* Without gdb, or where it may not debug. */
    if (lseek(fd, 0, SEEK_END) == 0) {
        close(fd);
        unlink(path);
        skip();
    }
    close(fd);
    assert_int_equal(xctx_snapshot_open(path, &snapshot), 0);
    unlink(path);
    check_foreign(snapshot);
    assert_int_equal(xctx_inspect(snapshot, NULL, &report), 0);
    bool found = false;
    for (size_t i = 0; i < xctx_report_frame_count(report); i++) {
        const xctx_local *local = xctx_frame_find(xctx_report_frame(report, i), "numbers");
        if (local) {
            assert_string_equal(local->value, "{7, 70, 700}");
            assert_int_equal(local->source, XCTX_SOURCE_SNAPSHOT);
            found = true;
        }
    }
    assert_true(found);
    xctx_report_unref(report);
    xctx_snapshot_unref(snapshot);
}

int main(int argc, char *argv[])
{
    if (argc == 2 && strcmp(argv[1], "stop") == 0)
        return stop_here(7);
    int result = test_main("core files in debuggers");
    if (core_path[0])
        unlink(core_path);
    return result;
}
