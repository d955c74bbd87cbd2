/* SPDX-License-Identifier: MIT */
/*
 * `xctx demo`: shows on this machine what the library does. Each section is a file of its own; they run in the order
 * of the table below.
 */
#include "demo.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include <xctx/xctx.h>

#include "command.h"
#include "output.h"
#include "reader.h"

static const struct section *const sections[] = {
    &section_thread,
#if XCTX_TOOL_INSPECT
    &section_stack,
#endif
    &section_fiber,
    &section_files,
};
enum { SECTIONS = sizeof(sections) / sizeof(sections[0]) };

enum {
    THREADS_DEFAULT = 4,
    THREADS_LIMIT = 64,
    SECONDS_DEFAULT = 10,
    SECONDS_LIMIT = 86400,
};
#define SECOND INT64_C(1000000000)

static int print_help(void)
{
    print("usage: xctx demo [OPTION]... [FILE]...\n"
          "\n"
          "Shows what xctx does, on real threads. Sections:\n");
    for (size_t i = 0; i < SECTIONS; i++)
        print("  %-8s %s\n", sections[i]->name, sections[i]->title);
    print("\n"
          "Text files given are worked through by a pool of threads; without one it is\n"
          "README.md, or where there is none, a text of its own.\n"
          "\n"
          "Options:\n"
          "  -s, --section=NAME   only this section\n"
          "  -t, --threads=N      threads of the pool, 1 to %d (default %d)\n"
          "  -d, --deadline=N     seconds that each file may take, 1 to %d (default %d)\n"
          "  -v, --verbose        every line of the log and of the summary\n"
          "  -h, --help           this help\n"
          "\n"
          "Exit status: 0 all is well, 1 a file or something else failed, 2 wrong usage.\n",
          THREADS_LIMIT, THREADS_DEFAULT, SECONDS_LIMIT, SECONDS_DEFAULT);
    return STATUS_OK;
}

static const struct section *find_section(const char *name)
{
    for (size_t i = 0; i < SECTIONS; i++) {
        if (strcmp(sections[i]->name, name) == 0)
            return sections[i];
    }
    return NULL;
}

/* A whole number from 1 to `limit`; 0 for anything else. */
static unsigned long parse_number(const char *text, unsigned long limit)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(text, &end, 10);
    bool valid = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && number <= limit;
    return valid ? number : 0;
}

struct options {
    struct demo demo;
    const struct section *only; /* NULL: all */
    bool help;
};

static int parse_option(struct options *options, int option, char *argv[])
{
    unsigned long number;

    switch (option) {
    case 's':
        options->only = find_section(optarg);
        return options->only ? STATUS_OK : usage_error("demo", "demo: unknown section '%s'", optarg);
    case 't':
        options->demo.threads = number = parse_number(optarg, THREADS_LIMIT);
        return number ? STATUS_OK : usage_error("demo", "demo: threads: 1 to %d, not '%s'", THREADS_LIMIT, optarg);
    case 'd':
        number = parse_number(optarg, SECONDS_LIMIT);
        options->demo.time_limit = (int64_t)number * SECOND;
        return number ? STATUS_OK : usage_error("demo", "demo: seconds: 1 to %d, not '%s'", SECONDS_LIMIT, optarg);
    case 'v':
        options->demo.verbose = true;
        return STATUS_OK;
    case 'h':
        options->help = true;
        return STATUS_OK;
    case ':':
        return usage_error("demo", "demo: option '%s' needs a value", argv[optind - 1]);
    default:
        /* For a wrong letter getopt has not moved on if others stand behind it. */
        if (optopt && !strchr("hstdv", optopt))
            return usage_error("demo", "demo: unknown option '-%c'", optopt);
        return usage_error("demo", "demo: wrong option '%s'", argv[optind - 1]);
    }
}

static int parse(struct options *ret, int argc, char *argv[])
{
    static const struct option known[] = {
        {"section", required_argument, NULL, 's'},  {"threads", required_argument, NULL, 't'},
        {"deadline", required_argument, NULL, 'd'}, {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":s:t:d:vh", known, NULL)) != -1) {
        int status = parse_option(ret, option, argv);
        if (status != STATUS_OK)
            return status;
    }
    ret->demo.files = argv + optind;
    ret->demo.file_count = (size_t)(argc - optind);
    return STATUS_OK;
}

/* Complains of files that cannot be read, before anything else is shown, and goes on with the others. */
static int check_files(struct demo *demo)
{
    struct reader reader;
    size_t count = 0;
    int status = STATUS_OK;

    for (size_t i = 0; i < demo->file_count; i++) {
        if (reader_check(&reader, demo->files[i])) {
            demo->files[count++] = demo->files[i];
        } else {
            complain("%s: %s", demo->files[i], reader.problem);
            status = STATUS_FAILED;
        }
    }
    demo->file_count = count;
    return status;
}

struct section_call {
    const struct section *section;
    const struct demo *demo;
    int status;
};

static void *call_section(void *argument)
{
    struct section_call *call = argument;
    call->status = call->section->run(call->demo);
    return NULL;
}

/* In a context of its own, that holds the settings of this thread: leaving it brings them back. */
static int run_section(const struct section *section, const struct demo *demo)
{
    struct section_call call = {section, demo, STATUS_FAILED};
    xctx_context *context = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    int error = context ? xctx_run(context, call_section, &call, NULL) : -ENOMEM;

    xctx_unref(context);
    if (error) {
        complain("demo: %s: %s", section->name, xctx_strerror(error));
        return STATUS_FAILED;
    }
    return call.status;
}

static int demo_run(int argc, char *argv[])
{
    struct options options = {.demo = {.threads = THREADS_DEFAULT, .time_limit = SECONDS_DEFAULT * SECOND}};
    int status = parse(&options, argc, argv);

    if (status != STATUS_OK)
        return status;
    if (options.help)
        return print_help();
    if ((!options.only || options.only == &section_files) && options.demo.file_count > 0) {
        status = check_files(&options.demo);
        if (options.demo.file_count == 0)
            return status;
    }
    for (size_t i = 0; i < SECTIONS; i++) {
        if (options.only && sections[i] != options.only)
            continue;
        bool first = i == 0 || options.only;
        print("%s%s%s%s\n\n", first ? "" : "\n", style_strong(), sections[i]->title, style_end());
        if (run_section(sections[i], &options.demo) != STATUS_OK)
            status = STATUS_FAILED;
    }
    return status;
}

const struct command command_demo = {
    .name = "demo",
    .summary = "show what xctx does, on real threads and on your files",
    .run = demo_run,
};
