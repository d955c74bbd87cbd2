/* SPDX-License-Identifier: MIT */
/*
 * Crash reports. Each test crashes a child process, and looks at how it ended and at what it left: its standard error,
 * and files in a folder of the test's own. In the place of the command `xctx` there are small scripts.
 */
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xctx/crash.h>

#include "../core/core_support.h"

#define UNCHECKED __attribute__((noinline, no_sanitize("address", "undefined", "thread")))

static volatile int *volatile nowhere;
static volatile int deepest = -1;

static UNCHECKED void write_nowhere(void)
{
    *nowhere = 1;
}

static int format_number(void *value, char *buffer, size_t size)
{
    return snprintf(buffer, size, "number %ld", as_number(value));
}

static int format_crashing(void *value, char *buffer, size_t size)
{
    (void)value;
    (void)buffer;
    (void)size;
    write_nowhere();
    return 0;
}

static int format_endless(void *value, char *buffer, size_t size)
{
    (void)value;
    (void)buffer;
    (void)size;
    while (pause() < 0) {
    }
    return 0;
}

XCTX_VAR_DEFINE(shown, .format = format_number);
XCTX_VAR_DEFINE(crashing, .format = format_crashing);
XCTX_VAR_DEFINE(endless, .format = format_endless);
XCTX_VAR_DEFINE(session, .secret = 1);
XCTX_VAR_DEFINE(other_session, .secret = 1);

static char folder[64];
static char stderr_text[65536];

static const char *in_folder(const char *name)
{
    static char paths[4][128];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

static void read_text(const char *path)
{
    FILE *file = fopen(path, "r");
    memset(stderr_text, 0, sizeof(stderr_text));
    if (!file)
        return;
    CHECK(fread(stderr_text, 1, sizeof(stderr_text) - 1, file) < sizeof(stderr_text));
    fclose(file);
}

static void write_script(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "w");
    CHECK(file);
    fprintf(file, "#!/bin/sh\n%s\n", text);
    fclose(file);
    CHECK(chmod(in_folder(name), 0700) == 0);
}

/* Sanitizers and the like have handlers of their own. */
static void begin_child(void)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
    const struct rlimit none = {0, 0};

    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        signal(signals[i], SIG_DFL);
    setrlimit(RLIMIT_CORE, &none);
    unsetenv("PATH");
    int fd = open(in_folder("stderr"), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
    CHECK(fd >= 0 && dup2(fd, 2) == 2);
    close(fd);
}

/* Runs a function in a child; returns how that ended. Then stderr_text has what it wrote there. */
static int run(void (*function)(void))
{
    int status = 0;
    pid_t child = fork();

    CHECK(child >= 0);
    if (child == 0) {
        begin_child();
        function();
        _exit(99);
    }
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    read_text(in_folder("stderr"));
    return status;
}

static void install(const char *command, const char *core)
{
    const xctx_crash_options options = {.size = sizeof(options), .command = command, .core_path = core};
    CHECK(xctx_crash_install(&options) == 0);
}

static UNCHECKED int overflow(int depth)
{
    volatile char bytes[1024];
    bytes[depth % 1024] = (char)depth;
    if (depth == deepest)
        return 0;
    return overflow(depth + 1) + bytes[0];
}

static void assert_killed(int status, int signal)
{
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), signal);
}

/* ---- how the process ends ---- */

static int raised;

static void crash_as_raised(void)
{
    install(NULL, NULL);
    raise(raised);
}

TEST(signal_that_is_raised_ends_the_process_as_before)
{
    static const int signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGSYS, SIGTRAP};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
        raised = signals[i];
        assert_killed(run(crash_as_raised), raised);
        assert_non_null(strstr(stderr_text, "xctx: SIG"));
    }
}

static void crash_by_abort(void)
{
    install(NULL, NULL);
    abort();
}

TEST(abort_ends_the_process_as_before)
{
    assert_killed(run(crash_by_abort), SIGABRT);
    assert_non_null(strstr(stderr_text, "xctx: SIGABRT in thread "));
}

static void crash_nowhere(void)
{
    install(NULL, NULL);
    write_nowhere();
}

TEST(fault_without_a_command_is_reported_in_short)
{
    assert_killed(run(crash_nowhere), SIGSEGV);
    assert_non_null(strstr(stderr_text, "xctx: SIGSEGV at address 0x0 in thread "));
    assert_non_null(strstr(stderr_text, "  #0 0x"));
    assert_non_null(strstr(stderr_text, "+0x"));
    assert_non_null(strstr(stderr_text, "the command `xctx` was not found"));
}

static UNCHECKED void *crash_in_fiber(void *arg)
{
    write_nowhere();
    return arg;
}

static UNCHECKED void resume_crashing(void)
{
    const xctx_fiber_options options = {.size = sizeof(options), .name = "unlucky"};
    xctx_fiber *fiber = xctx_fiber_create(crash_in_fiber, NULL, &options);

    install(NULL, in_folder("core"));
    xctx_fiber_resume(fiber, NULL, NULL);
    xctx_fiber_unref(fiber);
}

static void assert_frame(const xctx_report *report, const char *function)
{
    for (size_t i = 0; i < xctx_report_frame_count(report); i++) {
        const xctx_frame *frame = xctx_report_frame(report, i);
        if (frame->function && strcmp(frame->function, function) == 0)
            return;
    }
    fail_msg("there is no frame of %s", function);
}

TEST(crash_in_a_fiber_is_reported_with_who_resumed_it)
{
    xctx_snapshot *snapshot;
    xctx_report *report;

    assert_killed(run(resume_crashing), SIGSEGV);
    assert_non_null(strstr(stderr_text, "xctx: SIGSEGV at address 0x0 in thread "));
    assert_non_null(strstr(stderr_text, "  #1 0x"));
    assert_int_equal(xctx_snapshot_open(in_folder("core"), &snapshot), 0);
    assert_int_equal(xctx_inspect(snapshot, NULL, &report), 0);
    assert_frame(report, "write_nowhere");
    assert_frame(report, "crash_in_fiber");
    assert_frame(report, "<fiber \"unlucky\" resumed>");
    assert_frame(report, "resume_crashing");
    assert_frame(report, "main");
    xctx_report_unref(report);
    xctx_snapshot_unref(snapshot);
}

static void crash_by_overflow(void)
{
    install(NULL, NULL);
    overflow(0);
}

TEST(stack_overflow_is_reported)
{
    assert_killed(run(crash_by_overflow), SIGSEGV);
    assert_non_null(strstr(stderr_text, "xctx: SIGSEGV at address 0x"));
}

static void *overflow_on_thread(void *arg)
{
    CHECK(xctx_crash_thread() == 0);
    CHECK(xctx_crash_thread() == 0);
    overflow(0);
    return arg;
}

static void crash_thread_by_overflow(void)
{
    install(NULL, NULL);
    on_thread(overflow_on_thread, NULL);
}

TEST(stack_overflow_of_a_thread_with_a_stack_for_it_is_reported)
{
    assert_killed(run(crash_thread_by_overflow), SIGSEGV);
    assert_non_null(strstr(stderr_text, "xctx: SIGSEGV at address 0x"));
}

static pthread_barrier_t together;

static void *crash_together(void *arg)
{
    pthread_barrier_wait(&together);
    write_nowhere();
    return arg;
}

static void crash_four_threads(void)
{
    pthread_t threads[4];
    install(NULL, NULL);
    pthread_barrier_init(&together, NULL, 4);
    for (int i = 0; i < 4; i++)
        threads[i] = spawn(crash_together, NULL);
    for (int i = 0; i < 4; i++)
        join(threads[i]);
}

TEST(threads_that_crash_together_make_one_report)
{
    assert_killed(run(crash_four_threads), SIGSEGV);
    const char *first = strstr(stderr_text, "xctx: SIGSEGV");
    assert_non_null(first);
    assert_null(strstr(first + 1, "xctx: SIGSEGV"));
}

/* ---- what was there before ---- */

static void previous_with_info(int signal, siginfo_t *info, void *context)
{
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    CHECK(context && signal == SIGSEGV && info->si_addr == NULL);
    CHECK(sigismember(&blocked, SIGUSR1) == 1 && sigismember(&blocked, SIGUSR2) == 0);
    CHECK(sigismember(&blocked, SIGSEGV) == 1);
    _exit(42);
}

static void crash_with_previous(void)
{
    struct sigaction action = {.sa_sigaction = previous_with_info, .sa_flags = SA_SIGINFO};
    sigaddset(&action.sa_mask, SIGUSR1);
    sigaction(SIGSEGV, &action, NULL);
    install(NULL, NULL);
    write_nowhere();
}

TEST(previous_handler_is_called_as_the_kernel_would)
{
    int status = run(crash_with_previous);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 42);
    assert_non_null(strstr(stderr_text, "xctx: SIGSEGV"));
}

static volatile sig_atomic_t calls;

static void count_calls(int signal)
{
    sigset_t blocked;
    pthread_sigmask(SIG_SETMASK, NULL, &blocked);
    CHECK(sigismember(&blocked, signal) == 0);
    calls++;
}

static void crash_with_one_time_handler(void)
{
    struct sigaction action = {.sa_handler = count_calls, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
    sigaction(SIGTRAP, &action, NULL);
    install(NULL, NULL);
    raise(SIGTRAP);
    CHECK(calls == 1);
    raise(SIGTRAP);
}

TEST(previous_handler_for_one_time_is_called_once)
{
    assert_killed(run(crash_with_one_time_handler), SIGTRAP);
}

static void raise_ignored(void)
{
    signal(SIGTRAP, SIG_IGN);
    install(NULL, NULL);
    raise(SIGTRAP);
    _exit(7);
}

TEST(ignored_signal_is_not_reported)
{
    int status = run(raise_ignored);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
    assert_string_equal(stderr_text, "");
}

static void fault_ignored(void)
{
    signal(SIGSEGV, SIG_IGN);
    install(NULL, NULL);
    write_nowhere();
}

TEST(fault_is_reported_also_if_ignored)
{
    assert_killed(run(fault_ignored), SIGSEGV);
    assert_non_null(strstr(stderr_text, "xctx: SIGSEGV"));
}

/* ---- the command ---- */

static void crash_with_command(void)
{
    CHECK(xctx_var_set(&shown, number(17), NULL) == 0);
    install(in_folder("command"), NULL);
    write_nowhere();
}

/* What the command was given is in "given". */
static xctx_snapshot *open_given(void)
{
    xctx_snapshot *snapshot = NULL;
    assert_int_equal(xctx_snapshot_open(in_folder("given"), &snapshot), 0);
    return snapshot;
}

static int note_text(xctx_var *var, void *value, void *user)
{
    return xctx_var_get_options(var)->format(value, user, 64) < 0;
}

static void use_command_that_keeps(void)
{
    char script[256];
    snprintf(script, sizeof(script), "echo \"report: $*\"; exec /bin/cat \"$2\" > %s", in_folder("given"));
    write_script("command", script);
    unlink(in_folder("given"));
}

TEST(command_gets_the_core_and_writes_the_report)
{
    char text[64] = "";
    use_command_that_keeps();
    assert_killed(run(crash_with_command), SIGSEGV);
    assert_non_null(strstr(stderr_text, "report: show /dev/stdin\n"));
    assert_null(strstr(stderr_text, "missing"));
    xctx_snapshot *snapshot = open_given();
    const xctx_thread_state *state = xctx_snapshot_thread_state(snapshot);
    assert_true(state->present & XCTX_THREAD_SIGNAL);
    assert_int_equal(state->signal, SIGSEGV);
    assert_int_equal(state->signal_code, SEGV_MAPERR);
    assert_int_equal(xctx_each(xctx_snapshot_context(snapshot), note_text, text), 0);
    assert_string_equal(text, "number 17");
    xctx_snapshot_unref(snapshot);
}

static void crash_with_bad_formats(void)
{
    CHECK(xctx_var_set(raised ? &crashing : &endless, number(0x77), NULL) == 0);
    install(in_folder("command"), NULL);
    write_nowhere();
}

TEST(format_that_crashes_or_hangs_leaves_the_address)
{
    for (raised = 0; raised < 2; raised++) {
        char text[64] = "";
        use_command_that_keeps();
        assert_killed(run(crash_with_bad_formats), SIGSEGV);
        xctx_snapshot *snapshot = open_given();
        assert_int_equal(xctx_each(xctx_snapshot_context(snapshot), note_text, text), 0);
        assert_string_equal(text, "0x77");
        xctx_snapshot_unref(snapshot);
    }
}

TEST(command_that_fails_leaves_a_short_report)
{
    write_script("command", "exit 1");
    assert_killed(run(crash_with_command), SIGSEGV);
    assert_non_null(strstr(stderr_text, "  #0 0x"));
    assert_non_null(strstr(stderr_text, "no report came from "));
}

static void crash_with_slow_command(void)
{
    const xctx_crash_options options = {
        .size = sizeof(options), .command = in_folder("command"), .time_limit = 50000000};
    CHECK(xctx_crash_install(&options) == 0);
    write_nowhere();
}

TEST(command_that_does_not_end_is_ended)
{
    write_script("command", "kill -STOP $$");
    assert_killed(run(crash_with_slow_command), SIGSEGV);
    assert_non_null(strstr(stderr_text, "no report came from "));
}

static void crash_ignoring_children(void)
{
    signal(SIGCHLD, SIG_IGN);
    crash_with_command();
}

TEST(program_that_ignores_its_children_is_reported)
{
    use_command_that_keeps();
    assert_killed(run(crash_ignoring_children), SIGSEGV);
    assert_non_null(strstr(stderr_text, "report: show"));
    xctx_snapshot_unref(open_given());
}

/* ---- files ---- */

static void crash_with_core(void)
{
    CHECK(setenv("XCTX_TEST_TOKEN", "a token that nobody may see", 1) == 0);
    install(in_folder("command"), in_folder("core-%p-%t-%%"));
    write_nowhere();
}

TEST(core_is_kept_under_its_name_without_the_environment)
{
    char name[64];
    write_script("command", "echo \"report: $*\"; echo $PPID > ${0%command}pid");
    assert_killed(run(crash_with_core), SIGSEGV);
    assert_non_null(strstr(stderr_text, "report: show /dev/stdin\n"));
    read_text(in_folder("pid"));
    long pid = atol(stderr_text);
    snprintf(name, sizeof(name), "core-%ld-%ld-%%", pid, pid);
    int fd = open(in_folder(name), O_RDONLY);
    assert_true(fd >= 0);
    struct image image = image_of(fd);
    close(fd);
    assert_int_equal(image_header(&image).e_type, ET_CORE);
    assert_false(image_contains(&image, "a token that nobody may see", 27));
    free(image.bytes);
    unlink(in_folder(name));
}

enum { SECRET = 24 };

static char secret_bytes[2 * SECRET]; /* a value, and what no variable holds */

/* Texts that are nowhere but where they are put. */
static void fill_secret(volatile char *text, unsigned seed)
{
    for (unsigned i = 0; i < SECRET - 1; i++)
        text[i] = (char)('a' + (seed + i * 11) % 26);
    text[SECRET - 1] = '\0';
}

static UNCHECKED void crash_with_secret_values(void)
{
    char text[SECRET];
    fill_secret(text, 1);
    fill_secret(secret_bytes, 2);
    fill_secret(secret_bytes + SECRET, 3);
    CHECK(xctx_var_set(&session, text, NULL) == 0 && xctx_var_set(&other_session, secret_bytes, NULL) == 0);
    install(in_folder("command"), in_folder("core"));
    write_nowhere();
    __asm__ volatile("" : : "r"(text) : "memory");
}

/* The handler writes the core itself, where formatting fails. */
static void crash_with_secret_values_and_failing_format(void)
{
    CHECK(xctx_var_set(&crashing, (void *)1, NULL) == 0);
    crash_with_secret_values();
}

static void check_secret_values(void (*function)(void))
{
    unlink(in_folder("core"));
    write_script("command", "exit 0");
    assert_killed(run(function), SIGSEGV);
    int fd = open(in_folder("core"), O_RDONLY);
    assert_true(fd >= 0);
    struct image image = image_of(fd);
    close(fd);
    for (unsigned seed = 1; seed <= 3; seed++) {
        char text[SECRET];
        fill_secret(text, seed);
        assert_int_equal(image_contains(&image, text, SECRET - 1), seed == 3);
    }
    free(image.bytes);
    unlink(in_folder("core"));
}

TEST(what_secret_values_point_to_is_not_in_the_core)
{
    check_secret_values(crash_with_secret_values);
    check_secret_values(crash_with_secret_values_and_failing_format);
}

static void crash_with_marks(void)
{
    CHECK(xctx_redact(XCTX_REDACT_TYPE, "struct key") == 0);
    install(in_folder("command"), in_folder("core"));
    write_nowhere();
}

TEST(core_with_marks_is_left_to_the_command)
{
    unlink(in_folder("core"));
    write_script("command", "echo \"report: $*\"");
    assert_killed(run(crash_with_marks), SIGSEGV);
    assert_non_null(strstr(stderr_text, "report: show /dev/stdin --core="));
    assert_int_equal(access(in_folder("core"), F_OK), -1);
}

TEST(core_with_marks_is_not_kept_without_the_command)
{
    write_script("command", "exit 3");
    assert_killed(run(crash_with_marks), SIGSEGV);
    assert_non_null(strstr(stderr_text, "no core file is kept"));
    assert_int_equal(access(in_folder("core"), F_OK), -1);
}

static void crash_with_report_path(void)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/report", folder);
    const xctx_crash_options options = {.size = sizeof(options), .command = in_folder("command"), .report_path = path};
    CHECK(xctx_crash_install(&options) == 0);
    write_nowhere();
}

TEST(report_is_appended_to_its_file)
{
    unlink(in_folder("report"));
    write_script("command", "echo \"report: $*\"");
    assert_killed(run(crash_with_report_path), SIGSEGV);
    assert_killed(run(crash_with_report_path), SIGSEGV);
    assert_string_equal(stderr_text, "");
    read_text(in_folder("report"));
    const char *first = strstr(stderr_text, "report: show");
    assert_non_null(first);
    assert_non_null(strstr(first + 1, "report: show"));
}

/* ---- installing ---- */

static void check_errors(void)
{
    xctx_crash_options options = {.size = sizeof(options)};
    static char long_path[5000];

    CHECK(xctx_crash_uninstall() == -EINVAL);
    options.size = 8;
    CHECK(xctx_crash_install(&options) == -EINVAL);
    options = (xctx_crash_options){.size = sizeof(options), .flags = 1};
    CHECK(xctx_crash_install(&options) == -EINVAL);
    options = (xctx_crash_options){.size = sizeof(options), .time_limit = -1};
    CHECK(xctx_crash_install(&options) == -EINVAL);
    options = (xctx_crash_options){.size = sizeof(options), .stack_limit = XCTX_SNAPSHOT_STACK_MAX + 1};
    CHECK(xctx_crash_install(&options) == -EINVAL);
    memset(long_path, 'x', sizeof(long_path) - 1);
    options = (xctx_crash_options){.size = sizeof(options), .core_path = long_path};
    CHECK(xctx_crash_install(&options) == -EINVAL);
    options = (xctx_crash_options){.size = sizeof(options), .command = "/nonexistent/xctx"};
    CHECK(xctx_crash_install(&options) == -ENOENT);
    CHECK(xctx_crash_install(NULL) == 0);
    CHECK(xctx_crash_install(NULL) == -EALREADY);
    CHECK(xctx_crash_uninstall() == 0);
    CHECK(xctx_crash_uninstall() == -EINVAL);
    CHECK(xctx_crash_install(NULL) == 0);
    _exit(0);
}

TEST(wrong_options_are_refused)
{
    assert_int_equal(run(check_errors), 0);
}

static void check_uninstall(void)
{
    struct sigaction now;
    signal(SIGTRAP, count_calls);
    install(NULL, NULL);
    signal(SIGBUS, count_calls);
    CHECK(xctx_crash_uninstall() == 0);
    CHECK(sigaction(SIGTRAP, NULL, &now) == 0 && now.sa_handler == count_calls);
    CHECK(sigaction(SIGBUS, NULL, &now) == 0 && now.sa_handler == count_calls);
    CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_handler == SIG_DFL);
    write_nowhere();
}

TEST(uninstalling_puts_back_what_was_there)
{
    assert_killed(run(check_uninstall), SIGSEGV);
    assert_string_equal(stderr_text, "");
}

int main(void)
{
    snprintf(folder, sizeof(folder), "/tmp/xctx-crash-XXXXXX");
    CHECK(mkdtemp(folder));
    int result = test_main("crash reports");
    static const char *const names[] = {"stderr", "command", "given", "pid", "report", "core"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        unlink(in_folder(names[i]));
    rmdir(folder);
    return result;
}
