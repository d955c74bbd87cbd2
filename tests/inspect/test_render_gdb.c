/* SPDX-License-Identifier: MIT */
/*
 * Values as gdb prints them: gdb runs this program, which writes down what a report says of one frame and stops there;
 * then gdb is asked for the locals of the same frame. Skipped where there is no gdb, or it may not run programs.
 */
#include "render_support.h"

#include <signal.h>
#include <uchar.h>
#include <unistd.h>
#include <wchar.h>

#define MARK "the locals begin here\n"
#define LETTERS "abcdefghijklmnopqrstuvwxyz"

enum color { RED, GREEN };
enum flag { ONE = 1, TWO = 2, FOUR = 4 };
struct point {
    int x, y;
};
struct node {
    struct node *next;
    const char *name;
    unsigned bits : 3;
    int more : 13;
    union {
        int i;
        float f;
    };
    char text[12];
    struct point points[2];
};

int global_numbers[4] = {1, 2, 3, 4};
volatile int sink;

/* Writes what a report says of the frame that called, then stops. */
NOINLINE static void stop(const char *path)
{
    xctx_inspect_options options = {.size = sizeof(options), .flags = XCTX_INSPECT_LIVE, .max_frames = 8};
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    xctx_report *report = NULL;
    FILE *file = fopen(path, "w");

    CHECK(file && xctx_inspect(snapshot, &options, &report) == 0);
    int index = find_frame(report, "work", 0);
    CHECK(index >= 0);
    const xctx_frame *frame = xctx_report_frame(report, (size_t)index);
    for (size_t i = 0; i < xctx_frame_local_count(frame); i++) {
        const xctx_local *local = xctx_frame_local(frame, i);
        if (!local->parameter)
            fprintf(file, "%s = %s\n", local->name, local->value ? local->value : "<optimized out>");
    }
    fclose(file);
    xctx_report_unref(report);
    xctx_snapshot_unref(snapshot);
    raise(SIGSTOP);
}

UNOPTIMIZED static int work(const char *path)
{
    int i = -5;
    unsigned long ul = 1ul << 63;
    char c = 'x';
    bool yes = true;
    double d = 0.1;
    float f = 1e10f;
    long double ld = 2.5L;
    enum color color = GREEN;
    enum flag flags = 13;
    wchar_t wide[] = L"wide\u20ac";
    char16_t *sixteen = (char16_t[]){'a', 0x20ac, 0};
    const char *text = "text\t\"quoted\" \033 caf\303\251 \377";
    const char *bad = (const char *)0x10;
    char buffer[40] = "buffer";
    char repeated[300];
    int numbers[250];
    int rows[3][4] = {{1, 2}, {3}};
    struct point point = {1, 2};
    struct point zeros[12] = {{0, 0}};
    struct node node = {NULL, "node", 5, -3, {65}, "abc", {{1, 2}, {3, 4}}};
    struct node *list = &node;
    int *pointer = &global_numbers[2];
    int (*function)(const char *) = work;
    void *nothing = NULL;
    const char *names[3] = {"one", LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS, NULL};

    memset(repeated, 'r', sizeof(repeated));
    for (int n = 0; n < 250; n++)
        numbers[n] = n < 30 ? n : n / 20;
    stop(path);
    sink = i + (int)ul + c + yes + (int)d + (int)f + (int)ld + (int)color + (int)flags + (int)wide[0] + sixteen[0] +
           *text + (bad != NULL) + buffer[0] + repeated[0] + numbers[0] + rows[0][0] + point.x + zeros[0].x +
           node.more + (list != NULL) + *pointer + (function != NULL) + (nothing != NULL) + (names[0] != NULL);
    return sink;
}

/* What gdb writes, from the mark on; empty: nothing. */
static void run_gdb(const char *path, char *output, size_t size)
{
    char command[2048];
    char self[512];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    size_t used = 0;
    FILE *pipe;

    assert_true(length > 0);
    self[length] = '\0';
    snprintf(command, sizeof(command),
             "DEBUGINFOD_URLS= LC_ALL=C.UTF-8 ASAN_OPTIONS=detect_leaks=0 timeout 60 gdb -nx -batch "
             "-iex 'set auto-load off' -ex 'set width 0' -ex 'handle SIGSTOP stop nopass' -ex 'run %s' "
             "-ex 'frame function work' -ex 'echo "
             "the locals begin here\\n"
             "' -ex 'info locals' %s 2>/dev/null "
             "</dev/null",
             path, self);
    pipe = popen(command, "r");
    assert_non_null(pipe);
    while (used + 1 < size) {
        size_t got = fread(output + used, 1, size - 1 - used, pipe);
        if (got == 0)
            break;
        used += got;
    }
    output[used] = '\0';
    pclose(pipe);
    char *begin = strstr(output, MARK);
    memmove(output, begin ? begin + strlen(MARK) : "", begin ? strlen(begin + strlen(MARK)) + 1 : 1);
}

static const char *line_of(const char *text, const char *name, size_t length)
{
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, name, length) == 0)
            return line;
    }
    return NULL;
}

/* Compares the lines of gdb with those of the report, whatever their order. Returns how many there were. */
static int compare(const char *gdb, FILE *ours)
{
    static char line[16384];
    int count = 0;

    while (fgets(line, sizeof(line), ours)) {
        char *equals = strstr(line, " = ");
        assert_non_null(equals);
        const char *other = line_of(gdb, line, (size_t)(equals - line) + 3);
        if (!other)
            continue;
        size_t length = strcspn(other, "\n") + 1;
        /* Where the report does not know all, gdb may guess. */
        if (strstr(line, "<optimized out>"))
            continue;
        if (strlen(line) != length || strncmp(line, other, length) != 0)
            fail_msg("the report has %sgdb has %.*s", line, (int)length, other);
        ++count;
    }
    return count;
}

TEST(values_are_what_gdb_prints)
{
    static char output[256 * 1024];
    char path[] = "/tmp/xctx-render-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    close(fd);
    run_gdb(path, output, sizeof(output));
    FILE *ours = fopen(path, "r");
    unlink(path);
    assert_non_null(ours);
    int count = output[0] && strstr(output, " = ") ? compare(output, ours) : -1;
    fclose(ours);
    if (count < 0)
        skip();
    /* A sanitizer may move some of them to where debug information does not look. */
    assert_true(count >= (TEST_ASAN ? 1 : 25));
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return work(argv[1]) == 0;
    return test_main("values in reports and in gdb");
}
