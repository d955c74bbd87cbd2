/* SPDX-License-Identifier: MIT */
/*
 * Reports as pages. Called as `PROGRAM --pages DIR` it tests nothing and writes pages to look at, for
 * scripts/check-html.
 */
#include "inspect/write_html.h"
#include "report_support.h"

static const char judging[] = XCTX_TEST_SOURCE_DIR "/tests/tools/check_page.py";

static void check_sound(struct written page)
{
    check_judged(page, judging, NULL);
}

/* ---- pages ---- */

TEST(page_of_a_report_is_sound)
{
    check_sound(write_report(sample_report(), XCTX_FORMAT_HTML));
}

TEST(page_of_a_hostile_report_is_sound)
{
    check_sound(write_report(hostile_report(), XCTX_FORMAT_HTML));
}

TEST(page_of_a_long_chain_is_sound)
{
    check_sound(write_report(chain_report(300), XCTX_FORMAT_HTML));
}

TEST(page_of_several_reports_is_sound)
{
    xctx_report *reports[] = {sample_report(), hostile_report(), chain_report(5)};

    check_sound(write_reports(reports, 3, XCTX_FORMAT_HTML));
}

TEST(page_of_no_reports_is_sound)
{
    check_sound(write_reports(NULL, 0, XCTX_FORMAT_HTML));
}

TEST(page_that_is_not_sound_is_found_out)
{
    struct written page = write_report(sample_report(), XCTX_FORMAT_HTML);
    char *script = strstr(page.bytes, "<script>(function");

    assert_non_null(script);
    script[9] = ' ';
    int status = judge(&page, judging, NULL);
    free(page.bytes);
    if (status == 77)
        skip();
    assert_int_equal(status, 1);
}

TEST(page_has_frames_and_values)
{
    struct written page = write_report(sample_report(), XCTX_FORMAT_HTML);

    assert_has(&page, "<title>add at add.c:15 \xe2\x80\x93 xctx report</title>");
    assert_has(&page, "<span class=\"fn\">add</span>(<span class=\"nm\">a</span>=<span class=\"va\">1</span>, ");
    assert_has(&page, "<dt>source</dt><dd>/src/shop/add.c:15:9</dd>");
    assert_has(&page, "<span class=\"tag\">inlined</span> work.c:21");
    assert_has(&page, "<span class=\"no\">optimized out</span>");
    assert_has(&page, "<span class=\"so live\">live</span>");
    assert_has(&page, "<tr><th scope=\"row\">errno</th><td>2 ENOENT: No such file or directory</td></tr>");
    assert_has(&page, "<tr><th scope=\"row\">rip</th><td>0x0000000000401150</td></tr>");
    free(page.bytes);
}

TEST(page_has_no_markup_from_names_and_values)
{
    struct written page = write_report(hostile_report(), XCTX_FORMAT_HTML);

    assert_lacks(&page, "<b onload");
    assert_int_equal(count_of(page.bytes, "</script>"), 1);
    assert_has(&page, "&lt;/script&gt;&lt;b onload=x&gt;&amp;&quot;&#39;\\033[31m\\007\\r\\n\\377\\303(\\u202e");
    free(page.bytes);
}

TEST(page_draws_the_chain_from_the_oldest_to_this)
{
    struct written page = write_report(chain_report(4), XCTX_FORMAT_HTML);
    const char *at = strstr(page.bytes, "<ol>");

    assert_int_equal(count_of(page.bytes, "class=\"arrow "), 4);
    assert_int_equal(count_of(page.bytes, "<circle "), 5);
    assert_has(&page, "\xe2\x88\x92"
                      "4.938 ms");
    for (int age = 4; age >= 0; age--) {
        char link[32];
        snprintf(link, sizeof(link), "<a href=\"#r0p%d\">", age);
        assert_non_null(at);
        at = strstr(at, link);
        assert_non_null(at);
    }
    free(page.bytes);
}

TEST(page_of_a_report_without_parents_draws_nothing)
{
    struct written page = write_report(chain_report(0), XCTX_FORMAT_HTML);

    assert_lacks(&page, "<svg");
    free(page.bytes);
}

TEST(page_of_a_chain_that_is_too_long_to_draw_says_so_and_has_all_of_it)
{
    struct written page = write_report(chain_report(300), XCTX_FORMAT_HTML);

    assert_int_equal(count_of(page.bytes, "<circle "), 128);
    assert_has(&page, "The newest of 301 snapshots");
    assert_int_equal(count_of(page.bytes, "<article "), 301);
    free(page.bytes);
}

/* ---- values ---- */

static char *value_of(const char *text)
{
    char *bytes = NULL;
    size_t size = 0;
    struct sink sink = {.file = open_memstream(&bytes, &size)};

    CHECK(sink.file);
    xctx__html_value(&sink, text);
    CHECK(fclose(sink.file) == 0 && sink.error == 0);
    return bytes;
}

/* Members are written as "name:text", lists as "name:[...]"; previews are left out. */
static void outline(const char *html, char *result, size_t room)
{
    static const struct {
        const char *tag;
        const char *written;
    } tags[] = {
        {"<ul>", "["}, {"</ul>", "]"}, {"</li>", ";"},   {"</span> = ", ":"}, {"&lt;", "<"},
        {"&gt;", ">"}, {"&amp;", "&"}, {"&quot;", "\""}, {"&#39;", "'"},
    };
    size_t used = 0;

    while (*html && used + 2 < room) {
        size_t i = 0;
        if (strncmp(html, "<span class=\"pv\">", 17) == 0) {
            html = strstr(html, "</span>") + 7;
            continue;
        }
        while (i < sizeof(tags) / sizeof(tags[0]) && strncmp(html, tags[i].tag, strlen(tags[i].tag)) != 0)
            i++;
        if (i < sizeof(tags) / sizeof(tags[0])) {
            result[used++] = *tags[i].written;
            html += strlen(tags[i].tag);
        } else if (*html == '<') {
            html = strchr(html, '>') + 1;
        } else {
            result[used++] = *html++;
        }
    }
    result[used] = '\0';
}

#define LONG "0123456789012345678901234567890123456789"

TEST(values_that_are_structures_fold_out)
{
    static const struct {
        const char *text;
        const char *outline;
    } cases[] = {
        {"17", "17"},
        {"{x = 1, y = 2}", "{x = 1, y = 2}"},
        {"{a = " LONG ", b = {x = 1}}", "[a:" LONG ";b:{x = 1};]"},
        {"{a = {b = {c = " LONG ", d = 1}, e = 2}}", "[a:[b:[c:" LONG ";d:1;];e:2;];]"},
        {"{{x = 1, y = " LONG "}, {x = 1, y = 2}}", "[[0]:[x:1;y:" LONG ";];[1]:{x = 1, y = 2};]"},
        {"{{x = " LONG "} <repeats 11 times>, {x = 1}}", "[[0-10]:{x = " LONG "} <repeats 11 times>;[11]:{x = 1};]"},
        {"{{x = 1, y = " LONG "} <repeats 3 times>}", "[[0-2]:[x:1;y:" LONG ";] <repeats 3 times>;]"},
        {"{text = \"a, b = {\\\" }\", more = " LONG "}", "[text:\"a, b = {\\\" }\";more:" LONG ";]"},
        {"{text = \"ab\", '\\000' <repeats 29 times>, more = " LONG "}",
         "[text:\"ab\", '\\000' <repeats 29 times>;more:" LONG ";]"},
        {"{text = '\\000' <repeats 12 times>, \"end\", more = " LONG "}",
         "[text:'\\000' <repeats 12 times>, \"end\";more:" LONG ";]"},
        {"{c = 44 ',', d = 39 '\\'', e = 123 '{', more = " LONG "}", "[c:44 ',';d:39 '\\'';e:123 '{';more:" LONG ";]"},
        {"{run = 0x401136 <add(int, long)>, cast = (void (*)(int, int)) 0x1, n = " LONG "}",
         "[run:0x401136 <add(int, long)>;cast:(void (*)(int, int)) 0x1;n:" LONG ";]"},
        {"{run = 0x1 <S::operator->() const>, m = 0x2 <std::map<int, int>::f()>, n = " LONG "}",
         "[run:0x1 <S::operator->() const>;m:0x2 <std::map<int, int>::f()>;n:" LONG ";]"},
        {"{<Base> = {n = 1}, _vptr.B = 0x1 <vtable for B+16>, own = " LONG "}",
         "[<Base>:{n = 1};_vptr.B:0x1 <vtable for B+16>;own:" LONG ";]"},
        {"{a = 1, {low = 1, high = 2}, c = " LONG "}", "[a:1;{low = 1, high = 2};c:" LONG ";]"},
        {"{1, 2, 3, " LONG LONG "}", "{1, 2, 3, " LONG LONG "}"},
        {"{{1, 2}, {3, 4}, {" LONG LONG "}}", "[[0]:{1, 2};[1]:{3, 4};[2]:{" LONG LONG "};]"},
        {"{a = 1, b = " LONG "...}", "[a:1;b:" LONG "...;]"},
        /* What cannot be understood is left as it is. */
        {"{a = 1, b = {x = " LONG "}", "{a = 1, b = {x = " LONG "}"},
        {"{a = \"" LONG LONG "}", "{a = \"" LONG LONG "}"},
        {"{a = 1} {b = " LONG LONG "}", "{a = 1} {b = " LONG LONG "}"},
        {"}{ = , = }{ " LONG LONG, "}{ = , = }{ " LONG LONG},
    };
    char result[512];

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char *html = value_of(cases[i].text);
        outline(html, result, sizeof(result));
        assert_string_equal(result, cases[i].outline);
        free(html);
    }
}

/* Whether tags are closed in the order they were opened, and none is there that does not belong. */
static bool is_balanced(const char *html)
{
    static const char *const names[] = {"details", "summary", "span", "ul", "li"};
    unsigned char open[256];
    size_t depth = 0;

    while ((html = strchr(html, '<'))) {
        bool end = html[1] == '/';
        size_t name = 0;
        html += end ? 2 : 1;
        while (name < 5 && strncmp(html, names[name], strlen(names[name])) != 0)
            name++;
        if (name == 5 || depth == sizeof(open) || (end && (depth == 0 || open[--depth] != name)))
            return false;
        if (!end)
            open[depth++] = (unsigned char)name;
    }
    return depth == 0;
}

/* Nothing but braces, commas, spaces and signs of equality may get lost. */
static bool is_complete(const char *text, const char *html)
{
    char *result = malloc(strlen(html) + 1);
    bool complete = true;

    CHECK(result);
    outline(html, result, strlen(html) + 1);
    const char *at = result;
    for (; *text && complete; text++) {
        if (strchr("{}, =", *text))
            continue;
        at = strchr(at, *text);
        complete = at != NULL;
        at += complete;
    }
    free(result);
    return complete;
}

TEST(values_of_any_bytes_lose_nothing_and_close_what_they_open)
{
    static const char *const parts[] = {"{",  "}", "{a = ", ", ",   "\"",  "'", "\\", "<",    ">", "(",
                                        ")",  "=", " = ",   "1",    "b",   ",", " ",  "{",    "}", "<repeats 12 times>",
                                        "0x", "&", "{{",    "}}, ", "...", "@", "->", "x = {"};
    uint32_t random = 12345;
    char text[1024];

    for (long round = scaled(20000); round > 0; round--) {
        size_t used = 0;
        text[used++] = '{';
        for (int i = 0; i < 60; i++) {
            random = random * 1664525 + 1013904223;
            const char *part = parts[(random >> 16) % (sizeof(parts) / sizeof(parts[0]))];
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s", part);
        }
        /* Close what is open as far as braces alone can tell, so that some of it is understood. */
        if (random & 0x8000) {
            long open = (long)count_of(text, "{") - (long)count_of(text, "}");
            for (; open > 0; open--)
                text[used++] = '}';
            text[used] = '\0';
        }
        char *html = value_of(text);
        if (!is_balanced(html) || !is_complete(text, html))
            fprintf(stderr, "%s\n%s\n", text, html);
        assert_true(is_balanced(html));
        assert_true(is_complete(text, html));
        free(html);
    }
}

TEST(values_that_are_nested_deeply_are_written_in_bounded_time_and_size)
{
    enum { DEEP = 100000 };
    char *text = malloc(3 * DEEP + 1);

    CHECK(text);
    for (size_t i = 0; i < DEEP; i++) {
        text[2 * i] = '{';
        text[2 * i + 1] = 'x';
        text[2 * DEEP + i] = '}';
    }
    text[3 * DEEP] = '\0';
    char *html = value_of(text);
    assert_true(is_balanced(html));
    assert_true(strlen(html) < 5 * DEEP);
    free(html);

    /* And many side by side. */
    for (size_t i = 0; i < DEEP; i++)
        memcpy(text + 1 + 3 * (i % (DEEP - 2)), "{},", 3);
    text[0] = '{';
    text[3 * (DEEP - 2) + 1] = '}';
    text[3 * (DEEP - 2) + 2] = '\0';
    html = value_of(text);
    assert_true(is_balanced(html));
    assert_true(strlen(html) < 200 * 20000 + 4 * DEEP);
    free(html);
    free(text);
}

/* ---- pages to look at ---- */

struct errand {
    int number;
    const char *name;
    double point[2];
};

__attribute__((noinline)) static xctx_snapshot *take_here(const char *text, struct errand errand)
{
    volatile int local = errand.number + (int)strlen(text);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL & ~XCTX_CAPTURE_FPU);

    return local != 0 ? snapshot : NULL;
}

/* In a copy of the context, as work that was handed on is. */
__attribute__((noinline)) static xctx_snapshot *take_in_copy(struct errand errand)
{
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_STATE);

    CHECK(copy && xctx_enter(copy) == 0);
    xctx_snapshot *snapshot = take_here("some text", errand);
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
    return snapshot;
}

static void write_page(const char *directory, const char *name, xctx_report *const reports[], size_t count)
{
    char path[512];
    struct written page =
        count == 1 ? write_report(reports[0], XCTX_FORMAT_HTML) : write_reports(reports, count, XCTX_FORMAT_HTML);

    snprintf(path, sizeof(path), "%s/%s.html", directory, name);
    save(&page, path);
    free(page.bytes);
}

static int write_pages(const char *directory)
{
    struct errand errand = {17, "a real one", {1.5, -2}};
    xctx_snapshot *snapshot = take_in_copy(errand);
    xctx_report *report = NULL;

    CHECK(snapshot && xctx_inspect(snapshot, NULL, &report) == 0);
    write_page(directory, "real", &report, 1);
    xctx_report_unref(report);
    xctx_snapshot_unref(snapshot);

    xctx_report *several[] = {sample_report(), chain_report(9), hostile_report()};
    write_page(directory, "sample", several, 1);
    write_page(directory, "several", several, 3);
    write_page(directory, "hostile", several + 2, 1);
    several[1] = chain_report(200);
    write_page(directory, "chain", several + 1, 1);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--pages") == 0)
        return write_pages(argv[2]);
    return test_main("reports as pages");
}
