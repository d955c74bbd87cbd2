/* SPDX-License-Identifier: MIT */
/* What is marked secret is in no report of any format, nor in core files, however the program was translated. */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <unistd.h>

#include <xctx/core.h>
#include <xctx/inspect.h>
#include <xctx/redact.h>
#include <xctx/snapshot.h>

#include "test.h"
#include "threads.h"

/* For functions whose locals have to be on the stack: AddressSanitizer keeps them elsewhere. */
#define ON_STACK __attribute__((noinline, no_sanitize("address")))

enum { SHOWN = 1, IN_VARIABLE = 10, IN_TYPE = 20, IN_FUNCTION = 30, IN_CALLER = 40, IN_TARGET = 50, IN_GLOBAL = 60 };

struct secrets_pair {
    uint64_t first, second;
};

struct secrets_pair secret_global;

/* Numbers that are nowhere but where they are put. */
static __attribute__((noinline)) uint64_t make(unsigned seed)
{
    static volatile uint64_t factor = UINT64_C(0x5bd1e995c2b2ae35);

    return (factor ^ UINT64_C(0x0123456789abcdef)) + seed * UINT64_C(0x0101020305080d15);
}

/* clang, optimising, leaves copies in registers that no debug information speaks of: docs/guide/secrets.md. */
#ifdef __clang__
#pragma clang optimize off
#endif
#define LEVEL(name) name##_as_built
#define BASE 0u
#include "secrets_program.h"
#undef LEVEL
#undef BASE

#ifdef __clang__
#pragma clang optimize off
#else
#pragma GCC push_options
#pragma GCC optimize("O0")
#endif
#define LEVEL(name) name##_plain
#define BASE 100u
#include "secrets_program.h"
#undef LEVEL
#undef BASE
#ifdef __clang__
#pragma clang optimize on
#else
#pragma GCC pop_options
#endif

static void mark(void)
{
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "secret_*"), 0);
    assert_int_equal(xctx_redact(XCTX_REDACT_TYPE, "struct secrets_pair"), 0);
    assert_int_equal(xctx_redact(XCTX_REDACT_FUNCTION, "secrets_function_*"), 0);
}

static bool contains(const char *bytes, size_t size, const void *part, size_t length)
{
    return memmem(bytes, size, part, length) != NULL;
}

/* Whether a text has a number, in any of the ways that reports write one. */
static bool text_has(const char *text, size_t size, uint64_t number)
{
    char written[3][32];
    bool found = false;

    snprintf(written[0], sizeof(written[0]), "%" PRIu64, number);
    snprintf(written[1], sizeof(written[1]), "%" PRId64, (int64_t)number);
    snprintf(written[2], sizeof(written[2]), "%" PRIx64, number);
    for (size_t i = 0; i < 3; i++)
        found = found || contains(text, size, written[i], strlen(written[i]));
    return found;
}

struct output {
    char *bytes;
    size_t size;
};

static struct output report_as(xctx_snapshot *snapshot, enum xctx_format format)
{
    xctx_inspect_options options = {.size = sizeof(options), .flags = XCTX_INSPECT_GLOBALS};
    struct output output = {NULL, 0};
    xctx_report *report;
    FILE *file = open_memstream(&output.bytes, &output.size);

    CHECK(file);
    assert_int_equal(xctx_inspect(snapshot, &options, &report), 0);
    assert_int_equal(xctx_report_write(report, file, format), 0);
    CHECK(fclose(file) == 0);
    xctx_report_unref(report);
    return output;
}

static struct output core_of(xctx_snapshot *snapshot)
{
    int fd = memfd_create("core", MFD_CLOEXEC);

    CHECK(fd >= 0);
    assert_int_equal(xctx_snapshot_write_core(snapshot, fd), 0);
    struct output output = {NULL, (size_t)lseek(fd, 0, SEEK_END)};
    output.bytes = malloc(output.size);
    CHECK(output.bytes && pread(fd, output.bytes, output.size, 0) == (ssize_t)output.size);
    close(fd);
    return output;
}

static void check_reports(xctx_snapshot *snapshot, const uint64_t *secrets, size_t count)
{
    static const enum xctx_format formats[] = {XCTX_FORMAT_TEXT, XCTX_FORMAT_JSON, XCTX_FORMAT_HTML};

    for (size_t i = 0; i < sizeof(formats) / sizeof(formats[0]); i++) {
        struct output output = report_as(snapshot, formats[i]);
        for (size_t j = 0; j < count; j++)
            assert_false(text_has(output.bytes, output.size, secrets[j]));
        assert_true(text_has(output.bytes, output.size, make(SHOWN)));
        free(output.bytes);
    }
}

/* No format has two secrets, which begin with `seed`; what is not marked is shown. Frees the snapshot. */
static void check_hidden(xctx_snapshot *snapshot, unsigned seed)
{
    uint64_t secrets[2] = {make(seed), make(seed + 1)}, shown = make(SHOWN);
    struct output core = core_of(snapshot);

    for (size_t i = 0; i < 2; i++)
        assert_false(contains(core.bytes, core.size, &secrets[i], sizeof(secrets[i])));
    assert_true(contains(core.bytes, core.size, &shown, sizeof(shown)));
    check_reports(snapshot, secrets, 2);
    memset(secrets, 0, sizeof(secrets));
    shown = 0;
    free(core.bytes);
    xctx_snapshot_unref(snapshot);
}

struct taking {
    xctx_snapshot *(*take)(void);
    xctx_snapshot *taken;
};

static void *take(void *arg)
{
    struct taking *taking = arg;

    taking->taken = taking->take();
    return NULL;
}

/* On a stack of its own: on this one are remains of what was looked for before. */
static xctx_snapshot *take_apart(xctx_snapshot *(*function)(void))
{
    if (TEST_ASAN || TEST_TSAN)
        skip(); /* their code keeps copies that no debug information speaks of */
    struct taking taking = {function, NULL};

    join(spawn(take, &taking));
    assert_non_null(taking.taken);
    return taking.taken;
}

/* Takes a snapshot of both, the one as the tests are built, the other without optimisation. */
static void check_both(xctx_snapshot *(*as_built)(void), xctx_snapshot *(*plain)(void), unsigned seed)
{
    mark();
    check_hidden(take_apart(as_built), seed);
    check_hidden(take_apart(plain), 100 + seed);
}

TEST(marked_variables_are_written_nowhere)
{
    check_both(variables_as_built, variables_plain, IN_VARIABLE);
}

TEST(variables_of_marked_types_are_written_nowhere)
{
    check_both(types_as_built, types_plain, IN_TYPE);
}

TEST(variables_of_marked_functions_are_written_nowhere)
{
    check_both(functions_as_built, functions_plain, IN_FUNCTION);
}

TEST(what_marked_variables_are_computed_from_is_written_nowhere)
{
    check_both(passed_as_built, passed_plain, IN_CALLER);
}

TEST(marked_global_variables_are_written_nowhere)
{
    check_both(globals_as_built, globals_plain, IN_GLOBAL);
    memset(&secret_global, 0, sizeof(secret_global));
}

static void check_target(xctx_snapshot *snapshot, unsigned seed)
{
    uint64_t target = make(seed), shown = make(SHOWN);
    struct output core = core_of(snapshot);

    assert_false(contains(core.bytes, core.size, &target, sizeof(target)));
    assert_true(contains(core.bytes, core.size, &shown, sizeof(shown)));
    free(core.bytes);
    xctx_snapshot_unref(snapshot);
}

TEST(what_marked_pointers_lead_to_is_not_in_cores)
{
    mark();
    check_target(take_apart(pointers_as_built), IN_TARGET);
    check_target(take_apart(pointers_plain), 100 + IN_TARGET);
}

int main(void)
{
    return test_main("secrets");
}
