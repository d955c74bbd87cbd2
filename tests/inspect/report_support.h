/* SPDX-License-Identifier: MIT */
/*
 * Reports for tests of what writes them: made by hand, from the library's internal structures, so that everything a
 * report can have is in them, and nothing depends on how a compiler translated something.
 */
#ifndef XCTX_TEST_REPORT_SUPPORT_H
#define XCTX_TEST_REPORT_SUPPORT_H

#include <fenv.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <xctx/inspect.h>

#include "inspect/report_internal.h"
#include "test.h"

/* Bytes that must not reach who reads a report: markup, control sequences, invalid UTF-8, changed direction of text. */
#define HOSTILE "</script><b onload=x>&\"'\033[31m\a\r\n\xff\xc3(\xe2\x80\xae"

static xctx_local sample_add_locals[] = {
    {.name = "a",
     .type = "int",
     .value = "1",
     .parameter = true,
     .source = XCTX_SOURCE_REGISTER,
     .reg = "rdi",
     .size = 4},
    {.name = "b", .type = "long", .value = "-7", .parameter = true, .source = XCTX_SOURCE_ENTRY_VALUE, .size = 8},
    {.name = "gone", .type = "char *", .parameter = true, .source = XCTX_SOURCE_OPTIMIZED_OUT, .size = 8},
    {.name = "sum",
     .type = "int",
     .value = "3",
     .source = XCTX_SOURCE_SNAPSHOT,
     .address = 0x7ffe12345678,
     .size = 4,
     .block = 1,
     .line = 14},
    {.name = "sum",
     .type = "int",
     .value = "2",
     .source = XCTX_SOURCE_SNAPSHOT,
     .address = 0x7ffe12345674,
     .size = 4,
     .line = 11},
    {.name = "calls",
     .type = "unsigned int",
     .value = "41",
     .is_static = true,
     .source = XCTX_SOURCE_LIVE,
     .address = 0x404010,
     .size = 4,
     .line = 10},
};

static xctx_local sample_work_locals[] = {
    {.name = "job",
     .type = "struct job",
     .parameter = true,
     .source = XCTX_SOURCE_SNAPSHOT,
     .address = 0x7ffe12345700,
     .size = 64,
     .value = "{id = 17, name = \"first of many\", '\\000' <repeats 18 times>, at = {x = 1.5, y = -2}, next = 0x0, "
              "run = 0x401136 <add(int, long)>, flags = (READY | URGENT), {low = 1, high = 2}}"},
    {.name = "config",
     .type = "struct config *",
     .source = XCTX_SOURCE_SNAPSHOT,
     .address = 0x7ffe123457e0,
     .size = 8,
     .line = 29,
     .value =
         "{<Base> = {name = \"retries, {limits}\", used = true}, limits = {soft = 1024, hard = 4096, names = {"
         "\"processor\", \"memory\", '\\000' <repeats 9 times>, \"files\"}}, plans = {{after = 10, times = 3} <repeats "
         "4 times>, {after = 60, times = 1, next = {after = 600, times = 1, next = {after = 0, times = 0}}}}}"},
    {.name = "numbers",
     .type = "int [8]",
     .value = "{1, 1, 2, 3, 5, 8, 13, 21}",
     .source = XCTX_SOURCE_SNAPSHOT,
     .address = 0x7ffe12345740,
     .size = 32,
     .line = 30},
    {.name = "points",
     .type = "struct point [3]",
     .value = "{{x = 0, y = 0}, {x = 1, y = 1}, {x = 2, y = 4}}",
     .source = XCTX_SOURCE_SNAPSHOT,
     .address = 0x7ffe12345780,
     .size = 48,
     .line = 31},
    {.name = "text",
     .type = "const char *",
     .value = "0x5581c0de \"a text with {braces, and commas}\"",
     .source = XCTX_SOURCE_REGISTER,
     .reg = "rbx",
     .size = 8,
     .line = 32},
    {.name = "compare",
     .type = "int (*)(const void *, const void *)",
     .value = "(int (*)(const void *, const void *)) 0x401180 <by_number>",
     .source = XCTX_SOURCE_CONSTANT,
     .size = 8,
     .line = 33},
    {.name = "key", .type = "struct key", .source = XCTX_SOURCE_REDACTED, .size = 32, .line = 34},
    {.name = "limit",
     .type = "const int",
     .value = "100",
     .is_static = true,
     .is_global = true,
     .source = XCTX_SOURCE_SNAPSHOT,
     .address = 0x402004,
     .size = 4,
     .line = 5},
};

static struct frame sample_frames[] = {
    {.frame = {.function = "add",
               .file = "/src/shop/add.c",
               .module = "/usr/bin/shop",
               .pc = 0x401150,
               .cfa = 0x7ffe12345690,
               .line = 15,
               .column = 9},
     .locals = sample_add_locals,
     .local_count = 6},
    {.frame = {.function = "step",
               .file = "/src/shop/work.c",
               .module = "/usr/bin/shop",
               .pc = 0x401236,
               .cfa = 0x7ffe123457a0,
               .line = 21,
               .inlined = true}},
    {.frame = {.function = "work",
               .file = "/src/shop/work.c",
               .module = "/usr/bin/shop",
               .pc = 0x401236,
               .cfa = 0x7ffe123457a0,
               .line = 40,
               .column = 5},
     .locals = sample_work_locals,
     .local_count = 8},
    {.frame = {.function = "start_thread",
               .module = "/usr/lib/x86_64-linux-gnu/libc.so.6",
               .pc = 0x7f12345678ab,
               .cfa = 0x7ffe123457f0,
               .offset = 740,
               .guessed = true}},
    {.frame = {.pc = 0x7f1234567000}},
};

static xctx_variable sample_variables[] = {
    {.name = "request_id", .value = "\"r-2041\""},
    {.name = "session_key", .redacted = true},
};

static xctx_register sample_registers[] = {
    {"rbx", 0x5581c0de}, {"rbp", 0x7ffe12345680}, {"rsp", 0x7ffe12345650}, {"r12", 0},
    {"r13", UINT64_MAX}, {"rip", 0x401150},       {"rflags", 0x246},       {"fs_base", 0x7f1234000740},
};

static struct frame sample_parent_frames[] = {
    {.frame =
         {.function = "submit", .file = "/src/shop/queue.c", .module = "/usr/bin/shop", .pc = 0x401400, .line = 77}},
    {.frame = {.function = "main", .file = "/src/shop/main.c", .module = "/usr/bin/shop", .pc = 0x401500, .line = 12}},
};

static inline xctx_thread_state sample_state(int tid, const char *name)
{
    xctx_thread_state state = {
        .size = sizeof(state),
        .present = XCTX_THREAD_IDS | XCTX_THREAD_NAME | XCTX_THREAD_SIGMASK | XCTX_THREAD_FENV | XCTX_THREAD_LOCALE |
                   XCTX_THREAD_AFFINITY | XCTX_THREAD_SCHED | XCTX_THREAD_ERRNO | XCTX_THREAD_CPU | XCTX_THREAD_TIME |
                   XCTX_THREAD_STACK,
        .tid = tid,
        .pid = 4700,
        .blocked = UINT64_C(1) << (SIGINT - 1) | UINT64_C(1) << (SIGUSR1 - 1) | UINT64_C(1) << 33,
        .rounding_mode = FE_TONEAREST,
        .fp_exceptions = FE_INEXACT,
        .fp_control = UINT64_C(0x37f00001fa0),
        .locale = "C.UTF-8",
        .affinity = {0x10f},
        .policy = SCHED_OTHER,
        .nice = 5,
        .error_number = ENOENT,
        .cpu = 3,
        .time = INT64_C(1700000000123456789),
        .cpu_time = 1234567,
        .stack_low = 0x7ffe11b46000,
        .stack_high = 0x7ffe12346000,
    };

    snprintf(state.name, sizeof(state.name), "%s", name);
    return state;
}

/* A report of thread 4711 that was handed its work by thread 4700. */
static inline xctx_report *sample_report(void)
{
    static xctx_report parent, report;

    parent = (xctx_report){
        .refs = 1,
        .captured = XCTX_CAPTURE_STACK | XCTX_CAPTURE_STATE,
        .frames = sample_parent_frames,
        .frame_count = 2,
        .state = sample_state(4700, "shop"),
    };
    parent.state.time -= 1250000;
    report = (xctx_report){
        .refs = 1,
        .captured = XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_REGISTERS | XCTX_CAPTURE_STATE,
        .frames = sample_frames,
        .frame_count = 5,
        .variables = sample_variables,
        .variable_count = 2,
        .registers = sample_registers,
        .register_count = 8,
        .state = sample_state(4711, "worker-2"),
        .notes = {"no debug information for /usr/lib/x86_64-linux-gnu/libc.so.6 (Debian: libc6-dbg)"},
        .note_count = 1,
        .parent = &parent,
    };
    return &report;
}

/* A report whose work came through `count` snapshots before it, on three threads in turns; at most 300. */
static inline xctx_report *chain_report(size_t count)
{
    static const char *const names[] = {"listener", "parser", "worker"};
    static xctx_report reports[301];

    CHECK(count < sizeof(reports) / sizeof(reports[0]));
    for (size_t i = 0; i <= count; i++) {
        size_t age = count - i, thread = age * 7 / 5 % 3;
        reports[i] = (xctx_report){
            .refs = 1,
            .captured = XCTX_CAPTURE_STACK | XCTX_CAPTURE_STATE,
            .frames = sample_parent_frames,
            .frame_count = 2,
            .state = sample_state(500 + (int)thread, names[thread]),
            .parent = i < count ? &reports[i + 1] : NULL,
        };
        reports[i].state.time -= (int64_t)i * 1234567;
    }
    return &reports[0];
}

/* A report in which every text is hostile. */
static inline xctx_report *hostile_report(void)
{
    static xctx_local local;
    static struct frame frame;
    static xctx_variable variable;
    static xctx_report report;

    local = (xctx_local){.name = HOSTILE,
                         .type = HOSTILE,
                         .value = HOSTILE,
                         .reg = HOSTILE,
                         .source = XCTX_SOURCE_SNAPSHOT,
                         .size = UINT64_MAX,
                         .address = UINT64_MAX};
    frame = (struct frame){.frame = {.function = HOSTILE, .file = HOSTILE, .module = HOSTILE, .line = 1},
                           .locals = &local,
                           .local_count = 1};
    variable = (xctx_variable){.name = HOSTILE, .value = HOSTILE};
    report = (xctx_report){
        .refs = 1,
        .captured = XCTX_CAPTURE_ALL,
        .frames = &frame,
        .frame_count = 1,
        .variables = &variable,
        .variable_count = 1,
        .state = sample_state(1, "</b>\033[1m\xff"),
        .notes = {HOSTILE},
        .note_count = 1,
    };
    /* As a damaged file might have it: without a final NUL. */
    memset(report.state.locale, '<', sizeof(report.state.locale));
    return &report;
}

/* A file in memory. */
struct written {
    char *bytes;
    size_t size;
};

static inline struct written write_reports(xctx_report *const reports[], size_t count, enum xctx_format format)
{
    struct written written = {0};
    FILE *file = open_memstream(&written.bytes, &written.size);

    CHECK(file);
    CHECK(xctx_reports_write(reports, count, file, format) == 0);
    CHECK(fclose(file) == 0);
    return written;
}

static inline struct written write_report(const xctx_report *report, enum xctx_format format)
{
    struct written written = {0};
    FILE *file = open_memstream(&written.bytes, &written.size);

    CHECK(file);
    CHECK(xctx_report_write(report, file, format) == 0);
    CHECK(fclose(file) == 0);
    return written;
}

static inline void assert_has(const struct written *written, const char *part)
{
    if (!strstr(written->bytes, part))
        fprintf(stderr, "%s\n... has no: %s\n", written->bytes, part);
    assert_non_null(strstr(written->bytes, part));
}

static inline void assert_lacks(const struct written *written, const char *part)
{
    if (strstr(written->bytes, part))
        fprintf(stderr, "%s\n... has: %s\n", written->bytes, part);
    assert_null(strstr(written->bytes, part));
}

static inline size_t count_of(const char *text, const char *part)
{
    size_t count = 0;

    for (const char *at = text; (at = strstr(at, part)); at += strlen(part))
        count++;
    return count;
}

static inline void save(const struct written *written, const char *path)
{
    FILE *file = fopen(path, "w");

    CHECK(file);
    CHECK(fwrite(written->bytes, 1, written->size, file) == written->size && fclose(file) == 0);
}

/* Has a program of tests/tools judge what was written, by a schema if there is one. Returns its exit status; 77: it
   cannot run here. */
static inline int judge(const struct written *written, const char *program, const char *schema)
{
    char path[] = "/tmp/xctx-report-XXXXXX";
    int fd = mkstemp(path);
    int status = 0;

    CHECK(fd >= 0 && close(fd) == 0);
    save(written, path);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        execlp("python3", "python3", program, schema ? schema : path, schema ? path : (char *)NULL, (char *)NULL);
        _exit(77);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    CHECK(unlink(path) == 0);
    return WEXITSTATUS(status);
}

/* The same, which has to find it good; frees it. */
static inline void check_judged(struct written written, const char *program, const char *schema)
{
    int status = judge(&written, program, schema);

    free(written.bytes);
    if (status == 77)
        skip();
    assert_int_equal(status, 0);
}

#endif
