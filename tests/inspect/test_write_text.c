/* SPDX-License-Identifier: MIT */
/* Reports as text: what is in them, and what a terminal gets. */
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "inspect/words.h"
#include "inspect/write.h"
#include "report_support.h"

/* ---- a terminal ---- */

struct terminal {
    int master;
    struct written output;
};

static void *drain(void *arg)
{
    struct terminal *terminal = arg;
    FILE *copy = open_memstream(&terminal->output.bytes, &terminal->output.size);
    char buffer[512];
    ssize_t size;

    CHECK(copy);
    /* Ends with EIO when the other side is closed. */
    while ((size = read(terminal->master, buffer, sizeof(buffer))) > 0)
        CHECK(fwrite(buffer, 1, (size_t)size, copy) == (size_t)size);
    CHECK(fclose(copy) == 0);
    return NULL;
}

/* What a terminal of so many columns (0: it does not tell) is sent. */
static struct written on_terminal(const xctx_report *report, enum xctx_format format, unsigned short columns)
{
    struct terminal terminal = {.master = posix_openpt(O_RDWR | O_NOCTTY)};
    struct winsize size = {.ws_row = 24, .ws_col = columns};
    struct termios raw;
    pthread_t reader;

    CHECK(terminal.master >= 0 && grantpt(terminal.master) == 0 && unlockpt(terminal.master) == 0);
    int slave = open(ptsname(terminal.master), O_RDWR | O_NOCTTY);
    CHECK(slave >= 0 && ioctl(slave, TIOCSWINSZ, &size) == 0 && tcgetattr(slave, &raw) == 0);
    cfmakeraw(&raw);
    CHECK(tcsetattr(slave, TCSANOW, &raw) == 0);
    CHECK(pthread_create(&reader, NULL, drain, &terminal) == 0);
    FILE *file = fdopen(slave, "w");
    CHECK(file);
    CHECK(xctx_report_write(report, file, format) == 0);
    CHECK(fclose(file) == 0);
    CHECK(pthread_join(reader, NULL) == 0);
    CHECK(close(terminal.master) == 0);
    return terminal.output;
}

static void environment(const char *no_color, const char *term, const char *columns)
{
    CHECK((no_color ? setenv("NO_COLOR", no_color, 1) : unsetenv("NO_COLOR")) == 0);
    CHECK((term ? setenv("TERM", term, 1) : unsetenv("TERM")) == 0);
    CHECK((columns ? setenv("COLUMNS", columns, 1) : unsetenv("COLUMNS")) == 0);
}

/* Columns of the longest line; colours have none. All characters must be printable. */
static unsigned longest_line(const struct written *written)
{
    unsigned longest = 0, width = 0;
    size_t at = 0;

    while (at < written->size) {
        struct visible visible;
        const char *text = written->bytes + at;
        if (*text == '\033') {
            at += strcspn(text, "m") + 1;
            continue;
        }
        if (*text == '\n') {
            width = 0;
            at++;
            continue;
        }
        at += xctx__visible_next(text, written->size - at, &visible);
        assert_int_not_equal(visible.bytes[0] == '\\' && *text != '\\', 1);
        width += visible.width;
        longest = width > longest ? width : longest;
    }
    return longest;
}

/* ---- content ---- */

TEST(text_has_frames_as_gdb_writes_them)
{
    struct written text = write_report(sample_report(), XCTX_FORMAT_TEXT);

    assert_has(&text, "\n#0  add (a=1, b=-7, gone=<optimized out>) at /src/shop/add.c:15\n");
    assert_has(&text, "\n#1  step () at /src/shop/work.c:21 [inlined]\n");
    assert_has(&text, "\n#3  0x00007f12345678ab in start_thread+740 () from "
                      "/usr/lib/x86_64-linux-gnu/libc.so.6 [guessed]\n");
    assert_has(&text, "\n#4  0x00007f1234567000 in ?? ()\n");
    free(text.bytes);
}

TEST(text_has_locals_as_declarations_with_what_is_special_about_their_values)
{
    struct written text = write_report(sample_report(), XCTX_FORMAT_TEXT);

    assert_has(&text, "\n        int numbers[8] = {1, 1, 2, 3, 5, 8, 13, 21}\n");
    assert_has(&text, "\n        int (*compare)(const void *, const void *) = (int (*)");
    assert_has(&text, "<by_number>  [constant]\n");
    assert_has(&text, "\n        const char *text = 0x5581c0de \"a text with {braces, and commas}\"\n");
    assert_has(&text, "\n        static unsigned int calls = 41  [live]\n");
    assert_has(&text, "\n        struct key key = <redacted>\n");
    assert_has(&text, "\n      of the file:\n        const int limit = 100\n");
    free(text.bytes);
}

TEST(text_tells_variables_of_one_name_apart)
{
    struct written text = write_report(sample_report(), XCTX_FORMAT_TEXT);

    assert_has(&text, "int sum = 3  [of line 14]\n        int sum = 2  [of line 11]\n");
    free(text.bytes);
}

TEST(text_tells_long_parameters_below_their_call)
{
    struct written text = write_report(sample_report(), XCTX_FORMAT_TEXT);

    assert_has(&text, "#2  work (job=...) at /src/shop/work.c:40\n        struct job job = {id = 17, ");
    assert_lacks(&text, "int a = 1");
    free(text.bytes);
}

TEST(text_has_state_in_words)
{
    struct written text = write_report(sample_report(), XCTX_FORMAT_TEXT);

    assert_has(&text, "Thread 4711 \"worker-2\" of process 4700, 2023-11-14T22:13:20.123456789Z\n");
    assert_has(&text, "Captured: variables, locals, registers, state\n");
    assert_has(&text, "request_id = \"r-2041\"\n");
    assert_has(&text, "session_key = <redacted>\n");
    assert_has(&text, "blocked signals   SIGINT SIGUSR1 SIG34\n");
    assert_has(&text, "rounding          to-nearest\n");
    assert_has(&text, "processors        0-3,8\n");
    assert_has(&text, "errno             2 ENOENT: No such file or directory\n");
    assert_has(&text, "rflags  0x246");
    assert_has(&text, "    - no debug information for");
    free(text.bytes);
}

TEST(text_has_parents_and_of_their_state_what_differs)
{
    struct written text = write_report(sample_report(), XCTX_FORMAT_TEXT);
    const char *parent = strstr(text.bytes, "\n\nCopied in thread 4700 \"shop\" of process 4700");

    assert_non_null(parent);
    assert_non_null(strstr(parent, "#0  submit () at /src/shop/queue.c:77\n"));
    assert_non_null(strstr(parent, "the rest is as above"));
    assert_null(strstr(parent, "SIGUSR1"));
    free(text.bytes);
}

TEST(text_tells_the_signal_that_a_snapshot_was_taken_in)
{
    xctx_report *report = sample_report();

    report->state.present |= XCTX_THREAD_SIGNAL;
    report->state.signal = SIGSEGV;
    report->state.signal_code = SEGV_MAPERR;
    struct written text = write_report(report, XCTX_FORMAT_TEXT);
    assert_has(&text, "\nSIGSEGV (SEGV_MAPERR) at 0x0\n");
    free(text.bytes);
}

TEST(text_of_several_reports_is_separated_by_empty_lines)
{
    xctx_report *reports[] = {sample_report(), hostile_report()};
    struct written both = write_reports(reports, 2, XCTX_FORMAT_TEXT);
    struct written first = write_report(reports[0], XCTX_FORMAT_TEXT);
    struct written second = write_report(reports[1], XCTX_FORMAT_TEXT);

    assert_int_equal(both.size, first.size + second.size);
    assert_memory_equal(both.bytes, first.bytes, first.size);
    assert_memory_equal(both.bytes + first.size, second.bytes, second.size);
    assert_string_equal(first.bytes + first.size - 2, "\n\n");
    free(both.bytes);
    free(first.bytes);
    free(second.bytes);
}

/* ---- hostile content ---- */

TEST(text_has_no_control_characters_and_no_invalid_characters)
{
    struct written text = write_report(hostile_report(), XCTX_FORMAT_TEXT);

    assert_has(&text, "</script><b onload=x>&\"'\\033[31m\\007\\r\\n\\377\\303(\\u202e");
    for (size_t at = 0; at < text.size;) {
        struct visible visible;
        size_t length = xctx__visible_next(text.bytes + at, text.size - at, &visible);
        if (text.bytes[at] != '\n')
            assert_memory_equal(visible.bytes, text.bytes + at, length);
        at += length;
    }
    free(text.bytes);
}

TEST(characters_that_are_no_text_become_escapes)
{
    static const struct {
        const char *text;
        size_t taken;
        const char *shown;
        unsigned width;
    } cases[] = {
        {"a", 1, "a", 1},
        {"\xc3\xa4", 2, "\xc3\xa4", 1},
        {"\xe6\xbc\xa2", 3, "\xe6\xbc\xa2", 2}, /* a wide one */
        {"\xcc\x81", 2, "\xcc\x81", 0},         /* a combining one */
        {"\xf0\x9f\x98\x80", 4, "\xf0\x9f\x98\x80", 2},
        {"\033", 1, "\\033", 4},
        {"\x7f", 1, "\\177", 4},
        {"\xc2\x9b", 2, "\\u009b", 6}, /* what ESC [ is in one character */
        {"\xe2\x80\xae", 3, "\\u202e", 6},
        {"\xc0\x80", 1, "\\300", 4},         /* a NUL, encoded too long */
        {"\xed\xa0\x80", 1, "\\355", 4},     /* half a surrogate pair */
        {"\xf4\x90\x80\x80", 1, "\\364", 4}, /* beyond Unicode */
        {"\xf0\x9f\x98", 1, "\\360", 4},     /* cut off */
        {"\x80", 1, "\\200", 4},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct visible visible;
        assert_int_equal(xctx__visible_next(cases[i].text, strlen(cases[i].text), &visible), cases[i].taken);
        assert_int_equal(visible.size, strlen(cases[i].shown));
        assert_memory_equal(visible.bytes, cases[i].shown, visible.size);
        assert_int_equal(visible.width, cases[i].width);
    }
}

/* ---- terminals ---- */

TEST(text_is_not_wrapped_and_not_coloured_in_a_file)
{
    environment(NULL, "xterm-256color", "40");
    struct written text = write_report(sample_report(), XCTX_FORMAT_TEXT);

    assert_true(longest_line(&text) > 150);
    assert_null(memchr(text.bytes, '\033', text.size));
    free(text.bytes);
}

TEST(text_is_wrapped_to_the_width_of_a_terminal)
{
    static const unsigned short widths[] = {24, 40, 80, 132, 200};

    environment(NULL, "xterm-256color", "17");
    for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
        struct written sample = on_terminal(sample_report(), XCTX_FORMAT_TEXT, widths[i]);
        struct written hostile = on_terminal(hostile_report(), XCTX_FORMAT_TEXT, widths[i]);
        assert_true(longest_line(&sample) <= widths[i]);
        assert_true(longest_line(&sample) > widths[i] / 2);
        assert_true(longest_line(&hostile) <= widths[i]);
        free(sample.bytes);
        free(hostile.bytes);
    }
}

TEST(text_is_wrapped_by_COLUMNS_where_the_terminal_does_not_tell)
{
    environment("1", "xterm", "50");
    struct written fifty = on_terminal(sample_report(), XCTX_FORMAT_TEXT, 0);
    environment("1", "xterm", NULL);
    struct written eighty = on_terminal(sample_report(), XCTX_FORMAT_TEXT, 0);

    assert_in_range(longest_line(&fifty), 40, 50);
    assert_in_range(longest_line(&eighty), 70, 80);
    free(fifty.bytes);
    free(eighty.bytes);
}

TEST(text_that_is_wrapped_is_indented_below_its_head)
{
    environment("1", "xterm", NULL);
    struct written text = on_terminal(sample_report(), XCTX_FORMAT_TEXT, 80);

    assert_has(&text, "        struct job job = {id = 17, name = \"first of many\", '\\000' <repeats 18\n"
                      "            times>, at = {x = 1.5, y = -2}, next = 0x0, run = 0x401136 <add(int,\n"
                      "            long)>, flags = (READY | URGENT), {low = 1, high = 2}}\n");
    assert_has(&text, "{{x = 0, y = 0}, {x = 1, y = 1}, {x = 2,\n            y = 4}}\n");
    free(text.bytes);
}

TEST(text_that_is_wrapped_loses_nothing)
{
    environment("1", "xterm", NULL);
    struct written plain = write_report(sample_report(), XCTX_FORMAT_TEXT);
    struct written wrapped = on_terminal(sample_report(), XCTX_FORMAT_TEXT, 61);
    size_t at = 0;

    for (size_t i = 0; i < plain.size; i++) {
        if (strchr(" \n", plain.bytes[i]))
            continue;
        at += strspn(wrapped.bytes + at, " \n");
        assert_int_equal(wrapped.bytes[at], plain.bytes[i]);
        at++;
    }
    free(plain.bytes);
    free(wrapped.bytes);
}

TEST(text_is_coloured_on_a_terminal_unless_told_otherwise)
{
    static const struct {
        const char *no_color;
        const char *term;
        bool coloured;
    } cases[] = {
        {NULL, "xterm", true}, {"", "xterm", true}, {"1", "xterm", false}, {NULL, "dumb", false}, {NULL, NULL, false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        environment(cases[i].no_color, cases[i].term, NULL);
        struct written text = on_terminal(sample_report(), XCTX_FORMAT_TEXT, 80);
        assert_int_equal(memchr(text.bytes, '\033', text.size) != NULL, cases[i].coloured);
        free(text.bytes);
    }
}

TEST(colour_that_is_set_is_taken_back_on_the_same_line)
{
    environment(NULL, "xterm", NULL);
    struct written text = on_terminal(sample_report(), XCTX_FORMAT_TEXT, 400);
    const char *end;

    for (const char *line = text.bytes; (end = strchr(line, '\n')); line = end + 1) {
        const char *last = memrchr(line, '\033', (size_t)(end - line));
        if (last)
            assert_memory_equal(last, "\033[0m", 4);
    }
    free(text.bytes);
}

TEST(other_formats_do_not_depend_on_a_terminal)
{
    environment(NULL, "xterm", "30");
    for (enum xctx_format format = XCTX_FORMAT_JSON; format <= XCTX_FORMAT_HTML; format++) {
        struct written file = write_report(sample_report(), format);
        struct written terminal = on_terminal(sample_report(), format, 40);
        assert_int_equal(file.size, terminal.size);
        assert_memory_equal(file.bytes, terminal.bytes, file.size);
        free(file.bytes);
        free(terminal.bytes);
    }
}

/* ---- errors ---- */

TEST(write_to_a_full_device_is_reported_in_every_format)
{
    xctx_report *reports[] = {sample_report()};

    for (enum xctx_format format = XCTX_FORMAT_TEXT; format <= XCTX_FORMAT_HTML; format++) {
        for (int buffered = 0; buffered < 2; buffered++) {
            FILE *full = fopen("/dev/full", "w");
            assert_non_null(full);
            assert_int_equal(setvbuf(full, NULL, buffered ? _IOFBF : _IONBF, buffered ? 1 << 20 : 0), 0);
            assert_int_equal(xctx_report_write(reports[0], full, format), -ENOSPC);
            assert_int_equal(xctx_reports_write(reports, 1, full, format), -ENOSPC);
            fclose(full);
        }
    }
}

TEST(write_to_a_file_that_is_not_open_for_writing_is_refused)
{
    FILE *file = fopen("/dev/null", "r");

    assert_non_null(file);
    assert_int_equal(xctx_report_write(sample_report(), file, XCTX_FORMAT_TEXT), -EBADF);
    fclose(file);
}

TEST(write_without_its_arguments_is_refused)
{
    xctx_report *reports[] = {sample_report(), NULL};

    assert_int_equal(xctx_report_write(NULL, stdout, XCTX_FORMAT_TEXT), -EINVAL);
    assert_int_equal(xctx_report_write(reports[0], NULL, XCTX_FORMAT_TEXT), -EINVAL);
    assert_int_equal(xctx_report_write(reports[0], stdout, (enum xctx_format)7), -EINVAL);
    assert_int_equal(xctx_reports_write(NULL, 1, stdout, XCTX_FORMAT_TEXT), -EINVAL);
    assert_int_equal(xctx_reports_write(reports, 2, stdout, XCTX_FORMAT_TEXT), -EINVAL);
    assert_int_equal(xctx_reports_write(reports, 1, NULL, XCTX_FORMAT_TEXT), -EINVAL);
    assert_int_equal(xctx_reports_write(reports, 1, stdout, (enum xctx_format)7), -EINVAL);
}

/* ---- words ---- */

TEST(processors_are_written_as_ranges)
{
    char buffer[XCTX__WORDS];
    uint64_t all[16], none[16] = {0}, every_other[16], ends[16] = {UINT64_C(1) << 63, 1, [15] = UINT64_C(1) << 63};

    memset(all, 0xff, sizeof(all));
    memset(every_other, 0x55, sizeof(every_other));
    assert_string_equal(xctx__affinity_text(all, buffer), "0-1023");
    assert_string_equal(xctx__affinity_text(none, buffer), "none");
    assert_string_equal(xctx__affinity_text(ends, buffer), "63-64,1023");
    xctx__affinity_text(every_other, buffer);
    assert_int_equal(strlen(buffer) - strlen(",1022"), (size_t)(strstr(buffer, ",1022") - buffer));
}

TEST(signals_are_all_written)
{
    char buffer[XCTX__WORDS];

    xctx__signals_text(UINT64_MAX, buffer);
    assert_int_equal(count_of(buffer, "SIG"), 64);
    assert_non_null(strstr(buffer, " SIG64"));
}

TEST(time_before_1970_is_a_time_too)
{
    char buffer[XCTX__TIME];

    assert_string_equal(xctx__time_text(-1, buffer), "1969-12-31T23:59:59.999999999Z");
    assert_string_equal(xctx__time_text(0, buffer), "1970-01-01T00:00:00.000000000Z");
    assert_string_equal(xctx__time_text(INT64_MIN, buffer), "1677-09-21T00:12:43.145224192Z");
    assert_string_equal(xctx__time_text(INT64_MAX, buffer), "2262-04-11T23:47:16.854775807Z");
}

TEST(declarations_have_the_name_where_the_language_has_it)
{
    static const struct {
        const char *type;
        const char *before;
        const char *after;
        bool space;
    } cases[] = {
        {"int", "int", "", true},
        {"char *", "char *", "", false},
        {"int [4]", "int", "[4]", true},
        {"struct point [2][3]", "struct point", "[2][3]", true},
        {"char *[4]", "char *", "[4]", false},
        {"void (*)(int)", "void (*", ")(int)", false},
        {"int (*)[5]", "int (*", ")[5]", false},
        {"std::array<int [4], 2>", "std::array<int [4], 2>", "", true},
        {"std::function<void (*)(int)> &", "std::function<void (*)(int)> &", "", false},
        {"", "", "", false},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        bool space = !cases[i].space;
        size_t split = xctx__declaration_split(cases[i].type, &space);
        assert_int_equal(split, strlen(cases[i].before));
        const char *rest = cases[i].type + split;
        assert_string_equal(rest + strspn(rest, " "), cases[i].after);
        assert_int_equal(space, cases[i].space);
    }
}

int main(void)
{
    return test_main("reports as text");
}
