/* SPDX-License-Identifier: MIT */
/*
 * Parameters and locals of functions in this program. Whatever the optimizer does, what is in memory and used has to be
 * there; what it may keep anywhere has to be right if there is a value.
 */
#include "test.h"

#include <xctx/inspect.h>
#include <xctx/redact.h>
#include <xctx/snapshot.h>

#include "core/core_internal.h"
#include "inspect/report_internal.h"
#include "inspect/value.h"

/* The sanitizer would move variables to where no snapshot looks. */
#if defined(__has_attribute)
#if __has_attribute(noipa)
#define PROBE __attribute__((noipa, no_sanitize("address")))
#endif
#endif
#ifndef PROBE
#define PROBE __attribute__((noinline, no_sanitize("address")))
#endif

#define IN_MEMORY(variable) __asm__ volatile("" : : "r"(&(variable)) : "memory")
#define USE(value) __asm__ volatile("" : : "r"(value) : "memory")

static xctx_snapshot *taken;
static xctx_report *report;

static void capture(void)
{
    taken = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    CHECK(taken != NULL);
}

static void drop(void)
{
    report = xctx_report_unref(report);
    taken = xctx_snapshot_unref(taken);
}

static const xctx_frame *frame_of(const char *function, unsigned flags)
{
    xctx_inspect_options options = {.size = sizeof(options), .flags = flags};

    xctx_report_unref(report);
    report = NULL;
    assert_int_equal(xctx_inspect(taken, &options, &report), 0);
    for (size_t i = 0; i < xctx_report_frame_count(report); i++) {
        const xctx_frame *frame = xctx_report_frame(report, i);
        if (!frame->file && i == 0)
            skip(); /* compiled without debug information */
        if (frame->function && strcmp(frame->function, function) == 0)
            return frame;
    }
    fail_msg("no frame of %s", function);
    return NULL;
}

static const xctx_local *local_of(const xctx_frame *frame, const char *name)
{
    const xctx_local *local = xctx_frame_find(frame, name);

    if (!local)
        fail_msg("no local %s", name);
    return local;
}

static void expect(const xctx_frame *frame, const char *name, const char *value)
{
    const xctx_local *local = local_of(frame, name);

    if (!local->value)
        fail_msg("%s has no value: %s", name, xctx_source_name(local->source));
    assert_string_equal(local->value, value);
}

/* For what the optimizer may drop. */
static void expect_or_none(const xctx_frame *frame, const char *name, const char *value)
{
    const xctx_local *local = local_of(frame, name);

    if (local->value)
        assert_string_equal(local->value, value);
    else
        assert_true(local->source >= XCTX_SOURCE_OPTIMIZED_OUT && local->source != XCTX_SOURCE_UNSUPPORTED);
}

/* ---- what is in memory ---- */

struct pair {
    int first;
    long second;
};

static uintptr_t address_of_number;

PROBE static void many(int parameter, const char *text, struct pair pair)
{
    int number = 17;
    unsigned char letter = 'x';
    int array[3] = {1, 2, 3};
    double real = 0.25;
    char name[8] = "abc";
    struct pair *pointer = &pair;

    IN_MEMORY(parameter);
    IN_MEMORY(text);
    IN_MEMORY(number);
    IN_MEMORY(letter);
    IN_MEMORY(array);
    IN_MEMORY(real);
    IN_MEMORY(name);
    IN_MEMORY(pointer);
    IN_MEMORY(pair);
    address_of_number = (uintptr_t)&number;
    capture();
    IN_MEMORY(number);
    IN_MEMORY(letter);
    IN_MEMORY(array);
    IN_MEMORY(real);
    IN_MEMORY(name);
    IN_MEMORY(pointer);
    IN_MEMORY(pair);
    IN_MEMORY(text);
    IN_MEMORY(parameter);
}

TEST(local_in_memory_has_its_value)
{
    many(-5, "word", (struct pair){1, 2});
    const xctx_frame *frame = frame_of("many", 0);
    expect(frame, "number", "17");
    expect(frame, "letter", "120 'x'");
    expect(frame, "array", "{1, 2, 3}");
    expect(frame, "real", "0.25");
    expect(frame, "name", "\"abc\\000\\000\\000\\000\"");
    expect(frame, "pair", "{first = 1, second = 2}");
    expect_or_none(frame, "parameter", "-5");
    const char *text = local_of(frame, "text")->value;
    assert_true(!text || strstr(text, "\"word\""));
    drop();
}

TEST(local_in_memory_has_its_address_and_size)
{
    many(0, "", (struct pair){1, 2});
    const xctx_local *number = local_of(frame_of("many", 0), "number");
    assert_int_equal(number->address, address_of_number);
    assert_int_equal(number->size, sizeof(int));
    assert_int_equal(number->source, XCTX_SOURCE_SNAPSHOT);
    assert_string_equal(number->type, "int");
    assert_null(number->reg);
    assert_true(number->line > 0);
    assert_false(number->parameter);
    assert_false(number->is_static);
    drop();
}

TEST(parameters_come_first_in_the_order_of_the_source)
{
    static const char *const names[] = {"parameter", "text", "pair", "number", "letter",
                                        "array",     "real", "name", "pointer"};

    many(0, "", (struct pair){1, 2});
    const xctx_frame *frame = frame_of("many", 0);
    assert_int_equal(xctx_frame_local_count(frame), sizeof(names) / sizeof(names[0]));
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const xctx_local *local = xctx_frame_local(frame, i);
        assert_string_equal(local->name, names[i]);
        assert_int_equal(local->parameter, i < 3);
    }
    drop();
}

/* ---- blocks ---- */

PROBE static void nested(int n)
{
    int shadowed = 1;
    int outer = 10;

    IN_MEMORY(shadowed);
    IN_MEMORY(outer);
    for (int i = 0; i < n; i++) {
        int inner = 20 + i;
        IN_MEMORY(inner);
        {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
            int shadowed = 2;
#pragma GCC diagnostic pop
            IN_MEMORY(shadowed);
            capture();
            IN_MEMORY(shadowed);
        }
        IN_MEMORY(inner);
    }
    IN_MEMORY(outer);
    IN_MEMORY(shadowed);
}

TEST(local_of_inner_block_hides_that_of_outer)
{
    nested(1);
    const xctx_frame *frame = frame_of("nested", 0);
    size_t found = 0;
    uint32_t blocks[2] = {0};
    expect(frame, "shadowed", "2");
    expect(frame, "inner", "20");
    expect(frame, "outer", "10");
    for (size_t i = 0; i < xctx_frame_local_count(frame); i++) {
        const xctx_local *local = xctx_frame_local(frame, i);
        if (strcmp(local->name, "shadowed") == 0 && found < 2)
            blocks[found++] = local->block;
    }
    assert_int_equal(found, 2);
    assert_true(blocks[0] > blocks[1]);
    assert_int_equal(blocks[1], 0);
    drop();
}

/* ---- static variables ---- */

int visible_elsewhere = 5;

PROBE static void statics(void)
{
    extern int visible_elsewhere;
    static int counter = 40;
    static const int fixed = 41;

    counter++;
    USE(fixed);
    IN_MEMORY(fixed);
    USE(visible_elsewhere);
    capture();
    IN_MEMORY(counter);
}

TEST(static_variable_is_read_as_it_is_now)
{
    statics();
    const xctx_frame *frame = frame_of("statics", 0);
    const xctx_local *counter = local_of(frame, "counter");
    assert_string_equal(counter->value, "41");
    assert_true(counter->is_static);
    assert_false(counter->is_global);
    assert_int_equal(counter->source, XCTX_SOURCE_LIVE);
    const xctx_local *fixed = local_of(frame, "fixed");
    assert_string_equal(fixed->value, "41");
    assert_true(fixed->source == XCTX_SOURCE_SNAPSHOT || fixed->source == XCTX_SOURCE_CONSTANT);
    drop();
}

TEST(static_variable_is_not_read_if_told_so)
{
    statics();
    const xctx_local *counter = local_of(frame_of("statics", XCTX_INSPECT_NO_STATICS), "counter");
    assert_null(counter->value);
    assert_int_equal(counter->source, XCTX_SOURCE_NOT_CAPTURED);
    drop();
}

TEST(declaration_of_what_is_elsewhere_is_no_local)
{
    statics();
    assert_null(xctx_frame_find(frame_of("statics", 0), "visible_elsewhere"));
    drop();
}

TEST(globals_are_listed_if_asked_for)
{
    statics();
    const xctx_frame *frame = frame_of("statics", XCTX_INSPECT_GLOBALS);
    const xctx_local *global = local_of(frame, "visible_elsewhere");
    assert_string_equal(global->value, "5");
    assert_true(global->is_global);
    assert_true(global->is_static);
    assert_int_equal(global->source, XCTX_SOURCE_LIVE);
    drop();
}

/* ---- variable-length arrays ---- */

PROBE static void variable_length(int n)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wvla"
    int array[n];
#pragma GCC diagnostic pop

    for (int i = 0; i < n; i++)
        array[i] = 7 * i;
    USE(array);
    capture();
    USE(array);
    USE(n);
}

TEST(array_of_variable_length_has_its_elements)
{
    variable_length(4);
    const xctx_frame *frame = frame_of("variable_length", 0);
    const xctx_local *array = local_of(frame, "array");
    if (array->value) {
        assert_string_equal(array->value, "{0, 7, 14, 21}");
        assert_int_equal(array->size, 4 * sizeof(int));
    } else {
        assert_true(array->source >= XCTX_SOURCE_OPTIMIZED_OUT);
    }
    drop();
}

/* ---- what the optimizer may do anything with ---- */

PROBE static long callee(long a, int b, double c)
{
    capture();
    return a + b + (long)c;
}

PROBE static long caller(long seed)
{
    long kept = seed * 3;
    long result = callee(kept, 77, 1.5);

    USE(kept);
    return result + kept;
}

TEST(value_of_an_optimized_function_is_right_or_none)
{
    assert_int_equal(caller(11), 33 + 77 + 1 + 33);
    const xctx_frame *frame = frame_of("callee", 0);
    expect_or_none(frame, "a", "33");
    expect_or_none(frame, "b", "77");
    expect_or_none(frame, "c", "1.5");
    frame = frame_of("caller", 0);
    expect_or_none(frame, "seed", "11");
    expect(frame, "kept", "33");
    drop();
}

/* Entered by a call, and once more by a tail call: what was passed first must not be taken for what it has now. */
PROBE static long even(long n);

PROBE static long odd(long n)
{
    return even(n - 1);
}

PROBE static long even(long n)
{
    if (n > 4)
        return odd(n - 1);
    capture();
    return 1;
}

TEST(parameter_after_a_tail_call_is_right_or_none)
{
    assert_int_equal(even(8), 1);
    expect_or_none(frame_of("even", 0), "n", "4");
    drop();
}

static inline __attribute__((always_inline)) int inlined(int argument)
{
    int local = argument + 1;

    IN_MEMORY(local);
    capture();
    IN_MEMORY(local);
    return local;
}

PROBE static int inlines(int n)
{
    int own = n * 2;

    IN_MEMORY(own);
    int result = inlined(n + 100);
    IN_MEMORY(own);
    return result;
}

TEST(inlined_call_has_its_own_locals)
{
    assert_int_equal(inlines(4), 105);
    const xctx_frame *frame = frame_of("inlined", 0);
    assert_true(frame->inlined);
    expect(frame, "local", "105");
    expect_or_none(frame, "argument", "104");
    assert_null(xctx_frame_find(frame, "own"));
    frame = frame_of("inlines", 0);
    expect(frame, "own", "8");
    assert_null(xctx_frame_find(frame, "local"));
    drop();
}

/* ---- what is not captured ---- */

PROBE static long below(long depth)
{
    if (depth == 0)
        capture();
    else
        USE(below(depth - 1));
    return depth;
}

PROBE static void above(void)
{
    char room[1024];
    char *pointer = room;

    memset(room, 'r', sizeof(room));
    IN_MEMORY(pointer);
    IN_MEMORY(room);
    below(2);
    IN_MEMORY(room);
    IN_MEMORY(pointer);
}

TEST(local_beyond_what_was_captured_is_not_known)
{
    /* All of the stack, then so much of it that only a part of the array is there. */
    above();
    const xctx_local *room = local_of(frame_of("above", 0), "room");
    uint64_t sp = 0;
    assert_int_equal(xctx_snapshot_register(taken, "sp", &sp), 0);
    size_t limit = (size_t)(room->address - sp) + 64;
    struct value value;
    struct memory memory = {.snapshot = taken};
    struct arena arena = {0};
    struct place place = {.arena = &arena, .memory = &memory};
    uint64_t address = room->address;
    assert_int_equal(xctx__value_at(&place, address, 1024, MEMORY_STACK, &value), 0);
    assert_int_equal(xctx__value_state(&value, 0, 1024), BYTE_KNOWN);
    drop();
    assert_int_equal(xctx_set_stack_limit(limit), 0);
    above();
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT), 0);
    memory.snapshot = taken;
    assert_int_equal(xctx__value_at(&place, address, 1024, MEMORY_STACK, &value), 0);
    assert_int_equal(xctx__value_state(&value, 0, 64), BYTE_KNOWN);
    assert_int_equal(xctx__value_state(&value, 64, 960), BYTE_MISSING);
    xctx__arena_destroy(&arena);
    drop();
}

/* ---- secrets ---- */

struct locals_key {
    char bytes[16];
};

static uintptr_t secret_begin, secret_end, plain_begin;
static int locals_secret_global = 99;
static char secret_text[] = "open sesame";

PROBE static void vault(int locals_password, int argument)
{
    int plain = argument;
    struct locals_key key = {"0123456789abcde"};
    struct locals_key *pointer = &key;
    char *locals_secret_pointer = secret_text;

    IN_MEMORY(locals_password);
    IN_MEMORY(plain);
    IN_MEMORY(key);
    IN_MEMORY(pointer);
    IN_MEMORY(locals_secret_pointer);
    secret_begin = (uintptr_t)&key;
    secret_end = secret_begin + sizeof(key);
    plain_begin = (uintptr_t)&plain;
    capture();
    IN_MEMORY(locals_password);
    IN_MEMORY(plain);
    IN_MEMORY(key);
    IN_MEMORY(pointer);
    IN_MEMORY(locals_secret_pointer);
}

PROBE static void locals_hidden(int argument)
{
    int inside = argument + 1;

    IN_MEMORY(inside);
    secret_begin = (uintptr_t)&inside;
    capture();
    IN_MEMORY(inside);
    USE(argument);
}

static void mark_all(void)
{
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "locals_password"), 0);
    assert_int_equal(xctx_redact(XCTX_REDACT_VARIABLE, "locals_secret_*"), 0);
    assert_int_equal(xctx_redact(XCTX_REDACT_TYPE, "struct locals_key"), 0);
    assert_int_equal(xctx_redact(XCTX_REDACT_FUNCTION, "locals_hidden"), 0);
}

static void expect_redacted(const xctx_frame *frame, const char *name)
{
    const xctx_local *local = local_of(frame, name);

    assert_null(local->value);
    assert_int_equal(local->source, XCTX_SOURCE_REDACTED);
}

TEST(marked_variables_and_types_have_no_value)
{
    mark_all();
    vault(1234, 5678);
    const xctx_frame *frame = frame_of("vault", XCTX_INSPECT_GLOBALS);
    expect_redacted(frame, "locals_password");
    expect_redacted(frame, "key");
    expect_redacted(frame, "pointer");
    expect_redacted(frame, "locals_secret_pointer");
    expect_redacted(frame, "locals_secret_global");
    expect(frame, "plain", "5678");
    drop();
}

TEST(marked_function_has_no_values)
{
    mark_all();
    locals_hidden(3);
    const xctx_frame *frame = frame_of("locals_hidden", 0);
    expect_redacted(frame, "argument");
    expect_redacted(frame, "inside");
    drop();
}

static bool is_blank(const struct secrets *secrets, uintptr_t address)
{
    for (size_t i = 0; i < secrets->count; i++) {
        if (address - secrets->blanks[i].address < secrets->blanks[i].size)
            return true;
    }
    return false;
}

TEST(secrets_in_memory_are_found)
{
    struct arena arena = {0};
    struct secrets secrets = {0};

    mark_all();
    vault(1, 2);
    frame_of("vault", 0);
    assert_int_equal(xctx__secrets_find(taken, &arena, &secrets), 0);
    assert_true(is_blank(&secrets, secret_begin));
    assert_true(is_blank(&secrets, secret_end - 1));
    assert_false(is_blank(&secrets, plain_begin));
    assert_true(is_blank(&secrets, (uintptr_t)&locals_secret_global));
    assert_true(is_blank(&secrets, (uintptr_t)secret_text));
    assert_true(is_blank(&secrets, (uintptr_t)secret_text + sizeof(secret_text) - 1));
    assert_false(is_blank(&secrets, (uintptr_t)&visible_elsewhere));
    xctx__arena_destroy(&arena);
    drop();
}

TEST(frame_of_marked_function_is_hidden_but_the_stack_goes_on)
{
    struct arena arena = {0};
    struct secrets secrets = {0};
    const xctx_frame *frame;

    mark_all();
    locals_hidden(3);
    frame = frame_of("locals_hidden", 0);
    assert_int_equal(xctx__secrets_find(taken, &arena, &secrets), 0);
    assert_true(is_blank(&secrets, secret_begin));
    assert_true(frame->cfa != 0);
    for (size_t i = 0; i + 1 < xctx_report_frame_count(report); i++) {
        uintptr_t pc = 0;
        const xctx_frame *next = xctx_report_frame(report, i + 1);
        if (xctx_report_frame(report, i) != frame)
            continue;
        for (uintptr_t at = secret_begin & ~(uintptr_t)7; at < frame->cfa && pc != next->pc; at += sizeof(pc)) {
            if (xctx_snapshot_read(taken, at, &pc, sizeof(pc)) == 0 && pc == next->pc)
                assert_false(is_blank(&secrets, at));
        }
    }
    xctx__arena_destroy(&arena);
    drop();
}

int main(void)
{
    return test_main("inspect: locals");
}
