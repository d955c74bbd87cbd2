/* SPDX-License-Identifier: MIT */
/* Debug information apart from the module that it is of, or not there. Needs objcopy, and dwz for one test. */
#include <dlfcn.h>
#include <sys/wait.h>
#include <unistd.h>

#include "frames_support.h"

#define FIRST XCTX_TEST_MODULE_DIR "/plugin_first.so"
#define SECOND XCTX_TEST_MODULE_DIR "/plugin_second.so"

static xctx_snapshot *taken;
static char folder[64];

static NOINLINE int take(void)
{
    taken = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    NO_TAIL_CALL;
    return 1;
}

static void remove_folder(void)
{
    char command[128];

    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

/* Runs a command of the shell in a new folder, $first and $second being the modules. Skips the test if that fails: its
   programs are not there, or are not for this processor. */
static void make(const char *script)
{
    char command[4096];

    if (TEST_ASAN || TEST_TSAN)
        skip(); /* the modules are compiled with more than their source says */
    snprintf(folder, sizeof(folder), "/tmp/xctx-debug-file-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(command, sizeof(command), "exec 2>/dev/null; cd %s && first=%s && second=%s && %s", folder, FIRST, SECOND,
             script);
    int status = system(command);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return;
    remove_folder();
    print_message("objcopy or dwz is not there, or cannot read these files\n");
    skip();
}

/* The report of a snapshot that is taken in a module of the folder. */
static xctx_report *report_in(const char *name, const char *debug_path)
{
    char path[256];
    xctx_inspect_options options = {.size = sizeof(options), .debug_path = debug_path};

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module)
        fail_msg("%s", dlerror());
    int (*call)(int (*)(void)) = (int (*)(int (*)(void)))(uintptr_t)dlsym(module, "plugin_call");
    assert_non_null(call);
    assert_int_equal(call(take), 2);
    xctx_report *report = report_of(taken, &options);
    dlclose(module);
    /* So that it is seen that the module is gone: the next one comes to its place. */
    xctx_report_unref(report_of(xctx_snapshot_take(0), NULL));
    return report;
}

static void check_complete(xctx_report *report)
{
    const xctx_frame *frame = frame_of(report, "call_first");
    const xctx_local *local = xctx_frame_find(frame, "kept_by_first");

    assert_true(ends_with(frame->file, "plugin_first.c"));
    assert_non_null(local);
    assert_string_equal(local->type, "volatile int");
    assert_string_equal(local->value, "1");
    xctx_report_unref(report);
    remove_folder();
}

/* Names of the module are known, if it has symbols, but nothing else. */
static void check_stripped(xctx_report *report)
{
    const xctx_frame *frame = frame_of(report, "plugin_call");

    assert_int_equal(find_frame(report, "call_first", 0), -1);
    assert_null(frame->file);
    assert_int_equal(xctx_frame_local_count(frame), 0);
    assert_true(has_note(report, "no debug information for"));
    xctx_report_unref(report);
    remove_folder();
}

TEST(debug_file_beside_the_module_is_found_by_its_link)
{
    make("objcopy --only-keep-debug $first first.debug && "
         "objcopy --strip-all --add-gnu-debuglink=first.debug $first module.so");
    check_complete(report_in("module.so", NULL));
}

TEST(debug_file_in_the_debug_folder_beside_the_module_is_found_by_its_link)
{
    make("mkdir .debug && objcopy --only-keep-debug $first .debug/first.debug && "
         "objcopy --strip-all --add-gnu-debuglink=.debug/first.debug $first module.so");
    check_complete(report_in("module.so", NULL));
}

TEST(debug_file_under_the_debug_path_is_found_by_build_id)
{
    make("id=$(readelf -n $first | sed -n 's/.*Build ID: //p') && test -n \"$id\" && "
         "rest=${id#??} && sub=d/.build-id/${id%%\"$rest\"} && mkdir -p $sub && "
         "objcopy --only-keep-debug $first $sub/$rest.debug && objcopy --strip-all $first module.so");
    char path[256];
    snprintf(path, sizeof(path), "%s/nowhere:%s/d", folder, folder);
    check_complete(report_in("module.so", path));
}

TEST(debug_file_of_another_module_is_not_used)
{
    make("objcopy --only-keep-debug $second first.debug && "
         "objcopy --strip-all --add-gnu-debuglink=first.debug $first module.so");
    check_stripped(report_in("module.so", NULL));
}

TEST(debug_file_that_was_changed_is_not_used)
{
    /* Without a build-id the checksum decides. */
    make("objcopy --remove-section=.note.gnu.build-id $first first.so && "
         "objcopy --only-keep-debug first.so first.debug && "
         "objcopy --strip-all --add-gnu-debuglink=first.debug first.so module.so && echo >>first.debug");
    check_stripped(report_in("module.so", NULL));
}

TEST(debug_file_without_build_id_is_found_by_its_checksum)
{
    make("objcopy --remove-section=.note.gnu.build-id $first first.so && "
         "objcopy --only-keep-debug first.so first.debug && "
         "objcopy --strip-all --add-gnu-debuglink=first.debug first.so module.so");
    check_complete(report_in("module.so", NULL));
}

TEST(stripped_module_has_names_of_exported_functions_and_a_note)
{
    make("objcopy --strip-all $first module.so");
    check_stripped(report_in("module.so", NULL));
}

TEST(compressed_debug_information_is_read)
{
    make("objcopy --compress-debug-sections $first module.so");
    check_complete(report_in("module.so", NULL));
}

TEST(debug_information_that_modules_share_is_read)
{
    make("cp $first module.so && cp $second other.so && objcopy --decompress-debug-sections module.so && "
         "objcopy --decompress-debug-sections other.so && dwz -m shared.debug -r module.so other.so && "
         "test -e shared.debug");
    check_complete(report_in("module.so", NULL));
}

int main(void)
{
    return test_main("debug information apart from its module");
}
