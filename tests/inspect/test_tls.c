/* SPDX-License-Identifier: MIT */
/* Thread-local variables in reports. */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xctx/redact.h>

#include "frames_support.h"
#include "threads.h"

/* Has the compiler keep a variable as it is, not as what can be said of it. */
#define KEEP(variable) __asm__ volatile("" : : "r"(&(variable)) : "memory")

/* The storage of the program has more than one variable, and more alignment than it needs. */
static _Thread_local char first_byte = 'a';
_Thread_local struct {
    long numbers[3];
} __attribute__((aligned(64))) aligned_numbers = {{1, 2, 3}};
_Thread_local const char *thread_text = "at first";
static _Thread_local int zeroed_number;
_Thread_local int marked_number = 5;

static xctx_snapshot *taken;

static NOINLINE int take(void)
{
    static _Thread_local int calls;

    KEEP(calls);
    calls++;
    taken = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    NO_TAIL_CALL;
    return first_byte + zeroed_number + calls;
}

static xctx_report *report_with_globals(xctx_snapshot *snapshot, uint32_t flags)
{
    xctx_inspect_options options = {.size = sizeof(options), .flags = XCTX_INSPECT_GLOBALS | flags};
    xctx_report *report = NULL;

    assert_int_equal(xctx_inspect(snapshot, &options, &report), 0);
    return report;
}

static const xctx_local *local_of(const xctx_report *report, const char *function, const char *name)
{
    const xctx_local *local = xctx_frame_find(frame_of(report, function), name);

    if (!local)
        fail_msg("there is no %s", name);
    return local;
}

static void check(const xctx_report *report, const char *name, const char *value, enum xctx_source source)
{
    const xctx_local *local = local_of(report, "take", name);

    assert_string_equal(xctx_source_name(local->source), xctx_source_name(source));
    if (value)
        assert_non_null(strstr(local->value, value));
    else
        assert_null(local->value);
    assert_true(local->is_static);
}

static void set(long number)
{
    KEEP(first_byte);
    KEEP(zeroed_number);
    first_byte = 'b';
    aligned_numbers.numbers[1] = number;
    thread_text = "of this thread";
    zeroed_number = 17;
}

TEST(thread_local_variables_of_the_running_thread_are_read)
{
    set(22);
    take();
    xctx_report *report = report_with_globals(taken, XCTX_INSPECT_LIVE);
    check(report, "first_byte", "98 'b'", XCTX_SOURCE_LIVE);
    check(report, "aligned_numbers", "{numbers = {1, 22, 3}}", XCTX_SOURCE_LIVE);
    check(report, "thread_text", "\"of this thread\"", XCTX_SOURCE_LIVE);
    check(report, "zeroed_number", "17", XCTX_SOURCE_LIVE);
    const xctx_local *calls = local_of(report, "take", "calls");
    assert_true(calls->is_static && !calls->is_global && calls->value);
    assert_int_equal(local_of(report, "take", "zeroed_number")->address, (uintptr_t)&zeroed_number);
    xctx_report_unref(report);
    /* Without static variables there are none of these. */
    report = report_with_globals(taken, XCTX_INSPECT_NO_STATICS);
    check(report, "zeroed_number", NULL, XCTX_SOURCE_NOT_CAPTURED);
    xctx_report_unref(report);
    xctx_snapshot_unref(taken);
}

TEST(thread_local_variables_of_a_module_are_read)
{
    void *plugin = dlopen(XCTX_TEST_MODULE_DIR "/plugin_tls.so", RTLD_NOW | RTLD_LOCAL);
    assert_non_null(plugin);
    int (*call)(int (*)(void), int) = (int (*)(int (*)(void), int))(uintptr_t)dlsym(plugin, "plugin_call_tls");
    assert_non_null(call);
    call(take, 4711);
    xctx_report *report = report_with_globals(taken, 0);
    assert_string_equal(local_of(report, "plugin_call_tls", "plugin_number")->value, "4711");
    assert_string_equal(local_of(report, "plugin_call_tls", "plugin_calls")->value, "1");
    assert_int_equal(local_of(report, "plugin_call_tls", "plugin_calls")->source, XCTX_SOURCE_LIVE);
    xctx_report_unref(report);
    xctx_snapshot_unref(taken);
    dlclose(plugin);
}

static void *take_on_thread(void *arg)
{
    (void)arg;
    set(33);
    take();
    return NULL;
}

TEST(thread_local_variables_of_another_thread_are_not_captured)
{
    set(22);
    join(spawn(take_on_thread, NULL));
    xctx_report *report = report_with_globals(taken, XCTX_INSPECT_LIVE);
    check(report, "aligned_numbers", NULL, XCTX_SOURCE_NOT_CAPTURED);
    check(report, "first_byte", NULL, XCTX_SOURCE_NOT_CAPTURED);
    xctx_report_unref(report);
    xctx_snapshot_unref(taken);
}

TEST(thread_local_variable_that_is_marked_is_not_shown)
{
    set(44);
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "marked_number"), 0);
    take();
    xctx_report *report = report_with_globals(taken, 0);
    check(report, "marked_number", NULL, XCTX_SOURCE_REDACTED);
    check(report, "zeroed_number", "17", XCTX_SOURCE_LIVE);
    xctx_report_unref(report);
    xctx_snapshot_unref(taken);
}

/* ---- core files ---- */

/* A core of a thread, and with it what others write, but this library does not: its thread-local storage. */
static int write_core(bool with_storage)
{
    int fd = memfd_create("core", MFD_CLOEXEC);
    Elf64_Ehdr header;
    uint64_t low = (uintptr_t)&aligned_numbers & ~UINT64_C(4095);

    CHECK(fd >= 0);
    assert_int_equal(xctx_snapshot_write_core(taken, fd), 0);
    CHECK(pread(fd, &header, sizeof(header), 0) == sizeof(header));
    off_t end = lseek(fd, 0, SEEK_END);
    const Elf64_Phdr storage = {
        .p_type = with_storage ? PT_LOAD : PT_NULL,
        .p_flags = PF_R | PF_W,
        .p_offset = (uint64_t)end,
        .p_vaddr = low,
        .p_filesz = 4096,
        .p_memsz = 4096,
        .p_align = 8,
    };
    Elf64_Phdr *segments = malloc((header.e_phnum + 1U) * sizeof(*segments));
    ssize_t size = (ssize_t)(header.e_phnum * sizeof(*segments));
    CHECK(segments && pread(fd, segments, (size_t)size, (off_t)header.e_phoff) == size);
    segments[header.e_phnum++] = storage;
    CHECK(pwrite(fd, (const void *)low, 4096, end) == 4096); /* NOLINT(performance-no-int-to-ptr) */
    header.e_phoff = (uint64_t)end + 4096;
    CHECK(pwrite(fd, segments, header.e_phnum * sizeof(*segments), (off_t)header.e_phoff) ==
          (ssize_t)(header.e_phnum * sizeof(*segments)));
    CHECK(pwrite(fd, &header, sizeof(header), 0) == sizeof(header));
    free(segments);
    return fd;
}

static xctx_report *report_of_core(int fd)
{
    char path[64];
    xctx_snapshot *snapshot = NULL;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    assert_int_equal(xctx_snapshot_open(path, &snapshot), 0);
    xctx_report *report = report_with_globals(snapshot, 0);
    xctx_snapshot_unref(snapshot);
    close(fd);
    return report;
}

static void *write_on_thread(void *arg)
{
    int *fds = arg;

    set(55);
    take();
    fds[0] = write_core(true);
    fds[1] = write_core(false);
    xctx_snapshot_unref(taken);
    return NULL;
}

static void check_cores(const int fds[2])
{
    xctx_report *report = report_of_core(fds[0]);
    const xctx_local *numbers = local_of(report, "take", "aligned_numbers");
    assert_non_null(numbers->value);
    assert_string_equal(numbers->value, "{numbers = {1, 55, 3}}");
    xctx_report_unref(report);
    report = report_of_core(fds[1]);
    check(report, "aligned_numbers", NULL, XCTX_SOURCE_NOT_CAPTURED);
    xctx_report_unref(report);
}

TEST(thread_local_variables_of_the_program_are_found_in_cores)
{
    int fds[2];
    write_on_thread(fds);
    check_cores(fds);
    join(spawn(write_on_thread, fds));
    check_cores(fds);
}

int main(void)
{
    return test_main("thread-local variables");
}
