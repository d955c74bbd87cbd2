/* SPDX-License-Identifier: MIT */
/* The frames of reports: functions, lines, inlined calls. */
#include "frames_support.h"

static xctx_snapshot *taken;
static int line_of_take, line_of_call;

static NOINLINE void take(unsigned capture)
{
    line_of_take = __LINE__ + 1;
    taken = xctx_snapshot_take(capture);
    NO_TAIL_CALL;
}

static NOINLINE void call_take(unsigned capture)
{
    line_of_call = __LINE__ + 1;
    take(capture);
    NO_TAIL_CALL;
}

static inline __attribute__((always_inline)) void inlined(unsigned capture)
{
    take(capture);
    NO_TAIL_CALL;
}

static NOINLINE void call_inlined(unsigned capture)
{
    line_of_call = __LINE__ + 1;
    inlined(capture);
}

static NOINLINE int compare(const void *a, const void *b)
{
    if (!taken)
        take(XCTX_CAPTURE_ALL);
    return *(const int *)a - *(const int *)b;
}

static NOINLINE void sort(void)
{
    int numbers[] = {3, 1, 2};

    qsort(numbers, 3, sizeof(numbers[0]), compare);
    NO_TAIL_CALL;
}

static NOINLINE void recurse(int depth)
{
    if (depth > 0)
        recurse(depth - 1);
    else
        take(XCTX_CAPTURE_ALL);
    NO_TAIL_CALL;
}

TEST(frame_has_function_file_line_and_module)
{
    call_take(XCTX_CAPTURE_ALL);
    xctx_report *report = report_of(taken, NULL);
    const xctx_frame *frame = xctx_report_frame(report, 0), *caller = xctx_report_frame(report, 1);
    assert_true(frame_is(frame, "take"));
    assert_int_equal(frame->line, line_of_take);
    assert_true(ends_with(frame->file, "test_frames.c"));
    assert_non_null(strstr(frame->module, "frames"));
    assert_false(frame->inlined || frame->guessed || frame->interrupted);
    assert_int_equal(frame->offset, 0);
    assert_true(frame_is(caller, "call_take"));
    assert_int_equal(caller->line, line_of_call);
    assert_true(caller->cfa > frame->cfa);
    xctx_report_unref(report);
}

TEST(frame_of_an_inlined_call_comes_before_the_function_that_it_is_in)
{
    call_inlined(XCTX_CAPTURE_ALL);
    xctx_report *report = report_of(taken, NULL);
    const xctx_frame *call = xctx_report_frame(report, 1), *function = xctx_report_frame(report, 2);
    assert_true(frame_is(call, "inlined"));
    assert_true(call->inlined);
    assert_true(frame_is(function, "call_inlined"));
    assert_false(function->inlined);
    assert_int_equal(function->line, line_of_call);
    assert_int_equal(call->pc, function->pc);
    assert_int_equal(call->cfa, function->cfa);
    xctx_report_unref(report);
}

TEST(frames_go_on_through_functions_without_frame_pointers)
{
    taken = NULL;
    sort();
    xctx_report *report = report_of(taken, NULL);
    int comparator = find_frame(report, "compare", 0);
    assert_int_equal(comparator, 1);
    int sorter = find_frame(report, "sort", comparator);
    assert_true(sorter > comparator + 1);
    assert_true(find_frame(report, __func__, sorter) > sorter);
    for (int i = comparator + 1; i < sorter; i++)
        assert_false(xctx_report_frame(report, (size_t)i)->guessed);
    xctx_report_unref(report);
}

TEST(frames_of_a_complete_stack_have_no_note_on_its_end)
{
    call_take(XCTX_CAPTURE_ALL);
    xctx_report *report = report_of(taken, NULL);
    assert_false(has_note(report, "the stack"));
    xctx_report_unref(report);
}

TEST(frames_end_at_the_most_that_were_asked_for)
{
    xctx_inspect_options options = {.size = sizeof(options), .max_frames = 5};

    recurse(20);
    xctx_report *report = report_of(taken, &options);
    assert_int_equal(xctx_report_frame_count(report), 5);
    assert_int_not_equal(xctx_report_frame(report, 4)->cfa, 0); /* as if there were more of them */
    assert_true(has_note(report, "the stack goes on"));
    xctx_report_unref(report);
}

static char *written(const xctx_report *report, enum xctx_format format)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    assert_non_null(file);
    assert_int_equal(xctx_report_write(report, file, format), 0);
    assert_int_equal(fclose(file), 0);
    return text;
}

static void check_written(const xctx_report *report, enum xctx_format format, const char *expected)
{
    char *text = written(report, format);
    int times = 0;
    for (const char *at = text; (at = strstr(at, expected)); at++)
        times++;
    assert_int_equal(times, 1);
    free(text);
}

/* How many frames of `recurse` there are, and which one says how many are left out; 0: none does. */
static size_t count_recursions(const xctx_report *report, size_t *ret_marked)
{
    size_t found = 0, marked = 0;

    for (size_t i = 0; i < xctx_report_frame_count(report); i++) {
        const xctx_frame *frame = xctx_report_frame(report, i);
        found += frame_is(frame, "recurse");
        assert_true(frame->omitted == 0 || marked == 0);
        marked = frame->omitted ? i : marked;
    }
    *ret_marked = marked;
    return found;
}

static const char *depth_in(const xctx_frame *frame)
{
    const xctx_local *depth = xctx_frame_find(frame, "depth");

    return depth && depth->value ? depth->value : "";
}

/* Both ends are as they are in the whole, with the values of their variables. */
static void check_same_ends(const xctx_report *report, const xctx_report *all)
{
    size_t omitted = xctx_report_frame_count(all) - xctx_report_frame_count(report);

    for (size_t i = 0; i < xctx_report_frame_count(report); i++) {
        const xctx_frame *frame = xctx_report_frame(report, i);
        const xctx_frame *same = xctx_report_frame(all, i < 128 ? i : i + omitted);
        assert_true(frame->cfa == same->cfa && frame->pc == same->pc && frame->line == same->line);
        assert_true(frame->inlined == same->inlined && frame->guessed == same->guessed);
        assert_string_equal(depth_in(frame), depth_in(same));
    }
}

TEST(frames_of_a_large_stack_are_its_ends)
{
    xctx_inspect_options options = {.size = sizeof(options), .max_frames = 4096};
    size_t marked = 0;
    char line[64];

    assert_int_equal(xctx_set_stack_limit(4 << 20), 0);
    recurse(2000);
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT), 0);
    xctx_snapshot *snapshot = xctx_snapshot_ref(taken);
    xctx_report *report = report_of(taken, NULL), *all = report_of(snapshot, &options);
    size_t count = xctx_report_frame_count(all), unused;
    assert_int_equal(count_recursions(all, &unused), 2001);
    assert_int_equal(xctx_report_frame_count(report), 256);
    count_recursions(report, &marked);
    assert_int_equal(marked, 128);
    assert_int_equal(xctx_report_frame(report, marked)->omitted, count - 256);
    assert_false(has_note(report, "the stack"));
    assert_true(frame_is(xctx_report_frame(report, 0), "take"));
    check_same_ends(report, all);
    snprintf(line, sizeof(line), "    ... %zu frames are left out ...\n", count - 256);
    check_written(report, XCTX_FORMAT_TEXT, line);
    snprintf(line, sizeof(line), "\"omitted\": %zu", count - 256);
    check_written(report, XCTX_FORMAT_JSON, line);
    snprintf(line, sizeof(line), ">%zu frames are left out<", count - 256);
    check_written(report, XCTX_FORMAT_HTML, line);
    xctx_report_unref(report);
    xctx_report_unref(all);
}

/* Three for each call: the physical one, and two that were inlined into it. */
static inline __attribute__((always_inline)) void innermost_inlined(int depth);

static NOINLINE void recurse_by_inlined(int depth)
{
    innermost_inlined(depth);
    NO_TAIL_CALL;
}

static inline __attribute__((always_inline)) void outer_inlined(int depth)
{
    if (depth > 0)
        recurse_by_inlined(depth - 1);
    else
        take(XCTX_CAPTURE_ALL);
    NO_TAIL_CALL;
}

static inline __attribute__((always_inline)) void innermost_inlined(int depth)
{
    outer_inlined(depth);
    NO_TAIL_CALL;
}

static void check_ends_with_inlined(int depth, bool omits)
{
    xctx_inspect_options options = {.size = sizeof(options), .max_frames = 4096};
    size_t marked = 0;

    assert_int_equal(xctx_set_stack_limit(1 << 20), 0);
    recurse_by_inlined(depth);
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT), 0);
    xctx_snapshot *snapshot = xctx_snapshot_ref(taken);
    xctx_report *report = report_of(taken, NULL), *all = report_of(snapshot, &options);
    count_recursions(report, &marked);
    assert_int_equal(marked, omits ? 128 : 0);
    assert_true(xctx_report_frame_count(all) >= (size_t)(3 * depth));
    assert_int_equal(xctx_report_frame_count(report), omits ? 256 : xctx_report_frame_count(all));
    check_same_ends(report, all);
    assert_false(has_note(report, "the stack"));
    xctx_report_unref(report);
    xctx_report_unref(all);
}

TEST(frames_of_a_large_stack_with_inlined_calls_are_its_ends)
{
    check_ends_with_inlined(60, false);
    check_ends_with_inlined(90, true);
    check_ends_with_inlined(250, true);
    check_ends_with_inlined(1000, true);
}

/* With a frame pointer in each frame. */
#ifdef __clang__
#define PLAIN __attribute__((noinline, optnone))
#else
#define PLAIN __attribute__((noinline, optimize("O0", "no-omit-frame-pointer")))
#endif

static PLAIN void recurse_plainly(int depth)
{
    if (depth > 0)
        recurse_plainly(depth - 1);
    else
        take(XCTX_CAPTURE_ALL);
    NO_TAIL_CALL;
}

/* The bytes end within the recursion, and the addresses that were noted are all of it. */
TEST(noted_addresses_of_a_recursive_function_are_no_further_frames)
{
    assert_int_equal(xctx_set_stack_limit(4096), 0);
    recurse_plainly(500);
    assert_int_equal(xctx_set_stack_limit(XCTX_SNAPSHOT_STACK_DEFAULT), 0);
    if (xctx_snapshot_stack(taken, NULL, 0) < XCTX_SNAPSHOT_ADDRESSES) {
        xctx_snapshot_unref(taken);
        skip(); /* clang, and gcc where it instruments, leave the frame pointers out */
    }
    xctx_report *report = report_of(taken, NULL);
    assert_true(has_note(report, "the stack ends here"));
    size_t guessed = 0, count = xctx_report_frame_count(report);
    for (size_t i = 0; i < count; i++)
        guessed += xctx_report_frame(report, i)->guessed;
    assert_true(guessed == 0 || count <= XCTX_SNAPSHOT_ADDRESSES);
    xctx_report_unref(report);
}

TEST(frames_of_a_recursive_function_are_all_there)
{
    recurse(20);
    xctx_report *report = report_of(taken, NULL);
    int count = 0;
    for (int i = find_frame(report, "recurse", 0); i >= 0; i = find_frame(report, "recurse", i + 1))
        count++;
    assert_int_equal(count, 21);
    xctx_report_unref(report);
}

TEST(frames_of_addresses_alone_have_names_and_no_registers)
{
    call_take(XCTX_CAPTURE_STACK);
    xctx_report *report = report_of(taken, NULL);
    assert_true(xctx_report_frame_count(report) >= 1);
    assert_true(frame_is(xctx_report_frame(report, 0), "take"));
    assert_int_equal(xctx_report_frame(report, 0)->cfa, 0);
    assert_int_equal(xctx_report_register_count(report), 0);
    for (size_t i = 1; i < xctx_report_frame_count(report); i++)
        assert_true(xctx_report_frame(report, i)->guessed);
    xctx_report_unref(report);
}

TEST(frames_of_registers_alone_are_one)
{
    call_take(XCTX_CAPTURE_REGISTERS);
    xctx_report *report = report_of(taken, NULL);
    assert_int_equal(xctx_report_frame_count(report), 1);
    assert_true(frame_is(xctx_report_frame(report, 0), "take"));
    xctx_report_unref(report);
}

TEST(frames_are_none_if_nothing_was_captured)
{
    call_take(0);
    xctx_report *report = report_of(taken, NULL);
    assert_int_equal(xctx_report_frame_count(report), 0);
    assert_null(xctx_report_frame(report, 0));
    xctx_report_unref(report);
}

TEST(frames_have_no_locals_if_none_are_asked_for)
{
    xctx_inspect_options options = {.size = sizeof(options), .flags = XCTX_INSPECT_NO_LOCALS};

    call_take(XCTX_CAPTURE_ALL);
    xctx_report *report = report_of(taken, &options);
    assert_int_equal(xctx_frame_local_count(frame_of(report, "call_take")), 0);
    xctx_report_unref(report);
}

/* ---- tail calls ---- */

/* clang does not say enough of them, and code that is not optimised has none. */
#if defined(__OPTIMIZE__) && !defined(__clang__) && !TEST_ASAN && !TEST_TSAN
#define JUMPS __attribute__((noipa, optimize("optimize-sibling-calls")))

static volatile int choice = 1;

static JUMPS int arrive(int value)
{
    take(XCTX_CAPTURE_ALL);
    NO_TAIL_CALL;
    return value;
}

static JUMPS int leave(int value)
{
    return arrive(value + 1);
}

static JUMPS int leave_otherwise(int value)
{
    return arrive(value * 3);
}

static JUMPS int leave_twice(int value)
{
    return leave(value + 2);
}

static JUMPS int leave_in_either_way(int value)
{
    return choice ? leave(value) : leave_otherwise(value);
}

static JUMPS int call(int (*function)(int), int kind)
{
    int result = kind == 0 ? leave_twice(1) : kind == 1 ? leave_in_either_way(1) : function(1);
    NO_TAIL_CALL;
    return result;
}

TEST(frames_that_left_by_tail_calls_are_found)
{
    assert_int_equal(call(NULL, 0), 4);
    xctx_report *report = report_of(taken, NULL);
    int first = find_frame(report, "arrive", 0);
    assert_true(first > 0);
    assert_int_equal(find_frame(report, "leave", 0), first + 1);
    assert_int_equal(find_frame(report, "leave_twice", 0), first + 2);
    assert_int_equal(find_frame(report, "call", 0), first + 3);
    const xctx_frame *left = frame_of(report, "leave");
    assert_true(ends_with(left->file, "test_frames.c"));
    assert_true(left->line > 0);
    assert_int_equal(left->cfa, frame_of(report, "arrive")->cfa);
    assert_string_equal(xctx_frame_local(left, 0)->name, "value");
    xctx_report_unref(report);
    taken = NULL;
}

TEST(frames_that_may_have_left_by_tail_calls_are_not_made_up)
{
    assert_int_equal(call(NULL, 1), 2);
    xctx_report *report = report_of(taken, NULL);
    int first = find_frame(report, "arrive", 0);
    /* Nor the first function, which was there: it is not known by which of its two jumps it left. */
    assert_int_equal(find_frame(report, "leave_in_either_way", 0), -1);
    assert_int_equal(find_frame(report, "call", 0), first + 1);
    assert_int_equal(find_frame(report, "leave", 0), -1);
    assert_int_equal(find_frame(report, "leave_otherwise", 0), -1);
    xctx_report_unref(report);
    taken = NULL;
}

TEST(frames_behind_a_call_through_a_pointer_are_not_made_up)
{
    assert_int_equal(call(leave, 2), 2);
    xctx_report *report = report_of(taken, NULL);
    assert_int_equal(find_frame(report, "call", 0), find_frame(report, "arrive", 0) + 1);
    xctx_report_unref(report);
    taken = NULL;
}
#endif

int main(void)
{
    return test_main("frames");
}
