/* SPDX-License-Identifier: MIT */
/* Modules that come and go between a snapshot and its report, and files that are no longer the ones that are loaded. */
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "capture/snapshot_internal.h"
#include "frames_support.h"
#include "inspect/memory.h"
#include "inspect/modules.h"

#define FIRST XCTX_TEST_MODULE_DIR "/plugin_first.so"
#define SECOND XCTX_TEST_MODULE_DIR "/plugin_second.so"

static xctx_snapshot *taken;
static const char read_only[] = "bytes of the file";
static char writable[] = "bytes of the process";

static NOINLINE int take(void)
{
    taken = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    NO_TAIL_CALL;
    return 1;
}

static void *load(const char *path)
{
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    if (!module)
        fail_msg("%s", dlerror());
    return module;
}

/* Takes a snapshot in a plugin. */
static xctx_snapshot *take_in(void *plugin)
{
    int (*call)(int (*)(void)) = (int (*)(int (*)(void)))(uintptr_t)dlsym(plugin, "plugin_call");

    assert_non_null(call);
    assert_int_equal(call(take), 2);
    return taken;
}

/* What a report is made for here: that the list of modules is looked at. */
static void look(void)
{
    xctx_report_unref(report_of(xctx_snapshot_take(0), NULL));
}

static bool has_frame(xctx_snapshot *snapshot, const char *function)
{
    xctx_report *report = report_of(xctx_snapshot_ref(snapshot), NULL);
    bool has = find_frame(report, function, 0) >= 0;

    xctx_report_unref(report);
    return has;
}

TEST(frame_of_a_loaded_plugin_is_found)
{
    void *plugin = load(FIRST);
    xctx_snapshot *snapshot = take_in(plugin);
    xctx_report *report = report_of(snapshot, NULL);
    const xctx_frame *frame = frame_of(report, "call_first");
    assert_true(ends_with(frame->module, "/plugin_first.so"));
    assert_true(ends_with(frame->file, "plugin_first.c"));
    assert_non_null(xctx_frame_find(frame, "kept_by_first"));
    assert_true(find_frame(report, __func__, 0) > 0);
    xctx_report_unref(report);
    dlclose(plugin);
    look();
}

TEST(frame_of_a_plugin_that_was_unloaded_is_found_in_its_file)
{
    void *plugin = load(FIRST);
    xctx_snapshot *snapshot = take_in(plugin);
    look();
    dlclose(plugin);
    assert_true(has_frame(snapshot, "call_first"));
    xctx_snapshot_unref(snapshot);
}

TEST(frame_of_a_plugin_that_was_replaced_is_found_in_the_old_file)
{
    void *plugin = load(FIRST);
    xctx_snapshot *snapshot = take_in(plugin);
    look();
    dlclose(plugin);
    look();
    plugin = load(SECOND);
    assert_true(has_frame(snapshot, "call_first"));
    assert_false(has_frame(snapshot, "call_second"));
    xctx_snapshot *second = take_in(plugin);
    assert_true(has_frame(second, "call_second"));
    assert_false(has_frame(second, "call_first"));
    xctx_snapshot_unref(snapshot);
    xctx_snapshot_unref(second);
    dlclose(plugin);
    look();
}

TEST(frame_of_a_plugin_that_was_replaced_unseen_is_refused)
{
    void *plugin = load(FIRST);
    xctx_snapshot *snapshot = take_in(plugin);
    dlclose(plugin);
    plugin = load(SECOND);
    xctx_report *report = report_of(snapshot, NULL);
    assert_int_equal(find_frame(report, "call_second", 0), -1);
    assert_int_equal(find_frame(report, "plugin_call", 0), -1);
    /* What cannot have been replaced is there. */
    assert_int_equal(find_frame(report, "take", 0), 0);
    if (xctx_report_frame_count(report) > 1 && !xctx_report_frame(report, 1)->module)
        assert_true(has_note(report, "cannot be told") || has_note(report, "the stack ends early"));
    xctx_report_unref(report);
    dlclose(plugin);
    look();
}

TEST(frame_of_a_plugin_that_came_and_went_unseen_twice_is_refused)
{
    void *plugin = load(SECOND);
    look();
    dlclose(plugin);
    plugin = load(FIRST);
    xctx_snapshot *snapshot = take_in(plugin);
    dlclose(plugin);
    plugin = load(SECOND);
    assert_false(has_frame(snapshot, "call_second"));
    xctx_snapshot_unref(snapshot);
    dlclose(plugin);
    look();
}

static void copy_file(const char *from, const char *to)
{
    char bytes[4096];
    ssize_t size;
    int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);

    assert_true(in >= 0 && out >= 0);
    while ((size = read(in, bytes, sizeof(bytes))) > 0)
        assert_int_equal(write(out, bytes, (size_t)size), size);
    close(in);
    close(out);
}

TEST(file_that_is_not_the_loaded_one_is_not_used)
{
    char folder[] = "/tmp/xctx-test-XXXXXX", path[64], other[64];

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/plugin.so", folder);
    snprintf(other, sizeof(other), "%s/other.so", folder);
    copy_file(FIRST, path);
    void *plugin = load(path);
    xctx_snapshot *snapshot = take_in(plugin);
    copy_file(SECOND, other);
    assert_int_equal(rename(other, path), 0);
    xctx_report *report = report_of(snapshot, NULL);
    assert_int_equal(find_frame(report, "call_second", 0), -1);
    /* By its memory it is unwound and named. */
    int call = find_frame(report, "plugin_call", 0);
    assert_int_equal(call, 2);
    assert_true(find_frame(report, __func__, call) > call);
    xctx_report_unref(report);
    dlclose(plugin);
    look();
    unlink(path);
    rmdir(folder);
}

TEST(file_that_was_deleted_is_done_without)
{
    char folder[] = "/tmp/xctx-test-XXXXXX", path[64];

    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/plugin.so", folder);
    copy_file(FIRST, path);
    void *plugin = load(path);
    unlink(path);
    rmdir(folder);
    xctx_report *report = report_of(take_in(plugin), NULL);
    int call = find_frame(report, "plugin_call", 0);
    assert_int_equal(call, 2);
    assert_true(ends_with(xctx_report_frame(report, 2)->module, "/plugin.so"));
    assert_true(find_frame(report, __func__, call) > call);
    xctx_report_unref(report);
    dlclose(plugin);
    look();
}

TEST(files_of_the_program_are_not_closed_with_a_module)
{
    void *plugin = load(FIRST);
    xctx_snapshot *snapshot = take_in(plugin);
    xctx_inspect_options options = {.size = sizeof(options), .debug_path = "/nowhere"};

    assert_true(has_frame(snapshot, "call_first"));
    /* As a daemon does, which then uses the numbers for its own files. */
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    for (int fd = 3; fd < 64; fd++)
        assert_int_equal(open("/dev/null", O_RDONLY | O_CLOEXEC), fd);
    /* Another path for debug information: all modules are opened anew. */
    xctx_report_unref(report_of(snapshot, &options));
    for (int fd = 3; fd < 64; fd++)
        assert_true(fcntl(fd, F_GETFD) >= 0);
    for (int fd = 3; fd < 64; fd++)
        close(fd);
    dlclose(plugin);
    look();
}

/* ---- by the internal interface ---- */

static struct modules *modules;

static void begin(xctx_snapshot *snapshot)
{
    xctx__decode_lock();
    modules = xctx__modules_get(snapshot, NULL);
    CHECK(modules);
}

static void end(void)
{
    xctx__modules_put(modules);
    xctx__decode_unlock();
}

TEST(vdso_is_a_module_without_a_file)
{
    uint64_t address = getauxval(AT_SYSINFO_EHDR);
    xctx_snapshot *snapshot = xctx_snapshot_take(0);

    if (address == 0)
        skip();
    begin(snapshot);
    Dwfl_Module *module = xctx__modules_find(modules, snapshot, address);
    CHECK(module);
    CHECK(strcmp(xctx__module_path(module), "[vdso]") == 0);
    CHECK(!xctx__module_complaint(modules, module));
    CHECK(dwfl_module_getsymtab(module) > 1);
    end();
    xctx_snapshot_unref(snapshot);
}

TEST(modules_read_gives_what_cannot_be_written_and_nothing_else)
{
    char bytes[sizeof(read_only)];
    xctx_snapshot *snapshot = xctx_snapshot_take(0);

    begin(snapshot);
    CHECK(xctx__modules_read(modules, (uintptr_t)read_only, bytes, sizeof(bytes)));
    CHECK(memcmp(bytes, read_only, sizeof(bytes)) == 0);
    CHECK(!xctx__modules_read(modules, (uintptr_t)writable, bytes, sizeof(bytes)));
    CHECK(!xctx__modules_read(modules, (uintptr_t)bytes, bytes, sizeof(bytes)));
    end();
    xctx_snapshot_unref(snapshot);
}

TEST(memory_of_the_process_is_read_only_where_that_is_allowed)
{
    char bytes[sizeof(writable)];
    xctx_snapshot *snapshot = xctx_snapshot_take(0);
    uint64_t address = (uintptr_t)writable;

    begin(snapshot);
    struct memory memory = {.snapshot = snapshot, .modules = modules};
    CHECK(xctx__memory_read(&memory, MEMORY_POINTED, address, bytes, sizeof(bytes)) == XCTX_SOURCE_NOT_CAPTURED);
    CHECK(xctx__memory_read(&memory, MEMORY_STATIC, address, bytes, sizeof(bytes)) == XCTX_SOURCE_NOT_CAPTURED);
    memory.statics = true;
    CHECK(xctx__memory_read(&memory, MEMORY_STATIC, address, bytes, sizeof(bytes)) == XCTX_SOURCE_LIVE);
    CHECK(memcmp(bytes, writable, sizeof(bytes)) == 0);
    /* A pointer to something static leads to it; one to the heap does not. */
    char *heap = strdup("heap");
    CHECK(xctx__memory_read(&memory, MEMORY_POINTED, address, bytes, sizeof(bytes)) == XCTX_SOURCE_LIVE);
    CHECK(xctx__memory_read(&memory, MEMORY_POINTED, (uintptr_t)heap, bytes, 5) == XCTX_SOURCE_NOT_CAPTURED);
    memory.live = true;
    CHECK(xctx__memory_read(&memory, MEMORY_POINTED, (uintptr_t)heap, bytes, 5) == XCTX_SOURCE_LIVE);
    CHECK(strcmp(bytes, "heap") == 0);
    free(heap);
    CHECK(xctx__memory_read(&memory, MEMORY_STACK, address, bytes, sizeof(bytes)) == XCTX_SOURCE_NOT_CAPTURED);
    CHECK(xctx__memory_read(&memory, MEMORY_POINTED, 16, bytes, sizeof(bytes)) == XCTX_SOURCE_UNREADABLE);
    CHECK(xctx__memory_read(&memory, MEMORY_POINTED, UINT64_MAX - 2, bytes, 8) == XCTX_SOURCE_UNREADABLE);
    CHECK(xctx__memory_read(&memory, MEMORY_POINTED, 4096 * 16, bytes, 8) == XCTX_SOURCE_UNREADABLE);
    CHECK(xctx__memory_read(&memory, MEMORY_POINTED, (uintptr_t)read_only, bytes, 8) == XCTX_SOURCE_SNAPSHOT);
    end();
    xctx_snapshot_unref(snapshot);
}

/* ---- other threads, other processes ---- */

static atomic_bool stop;

static void *decode(void *snapshot)
{
    while (!atomic_load(&stop)) {
        xctx_report *report = NULL;
        CHECK(xctx_inspect(snapshot, NULL, &report) == 0);
        CHECK(xctx_report_frame_count(report) > 2);
        xctx_report_unref(report);
    }
    return NULL;
}

TEST(report_can_be_made_in_a_child_of_fork_while_other_threads_make_some)
{
    pthread_t threads[2];

    if (TEST_ASAN)
        skip(); /* a child of several threads may wait for its allocator for ever */
    take();
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, decode, taken), 0);
    for (long i = 0; i < scaled(20); i++) {
        int status;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            xctx_report *report = NULL;
            alarm(60);
            CHECK(xctx_inspect(taken, NULL, &report) == 0);
            CHECK(frame_is(xctx_report_frame(report, 0), "take"));
            _exit(0);
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (status != 0)
            fprintf(stderr, "child: %#x\n", (unsigned)status);
        CHECK(status == 0);
    }
    atomic_store(&stop, true);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    xctx_snapshot_unref(taken);
}

int main(void)
{
    return test_main("modules");
}
