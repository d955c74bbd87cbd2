/* SPDX-License-Identifier: MIT */
/*
 * `xctx show`: the report of a core file.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>

#include "command.h"
#include "output.h"
#include "print_reports.h"

static int print_help(void)
{
    print("usage: xctx show [OPTION]... FILE\n"
          "\n"
          "Shows what the first thread in an ELF core file was doing: its call stack with\n"
          "local variables, registers and state, and where its work came from.\n"
          "\n"
          "FILE is of xctx, or of the kernel or gdb for a program of this processor. The\n"
          "program and its debug information are looked for where the file says they were.\n"
          "\n"
          "Options:\n"
          "  -a, --all-threads    every thread in the file\n"
          "  -j, --json           for programs: one object, its `reports` an array\n"
          "  -H, --html           one page that needs nothing else\n"
          "  -c, --core=OUT       also write what is shown to a core file of its own,\n"
          "                       without what is marked secret\n"
          "  -h, --help           this help\n"
          "\n"
          "Exit status: 0 all is well, 1 the file cannot be shown, 2 wrong usage.\n");
    return STATUS_OK;
}

static int show_run(int argc, char *argv[])
{
    static const struct option known[] = {
        {"all-threads", no_argument, NULL, 'a'}, {"json", no_argument, NULL, 'j'}, {"html", no_argument, NULL, 'H'},
        {"core", required_argument, NULL, 'c'},  {"help", no_argument, NULL, 'h'}, {NULL, 0, NULL, 0},
    };
    struct report_options options = {.format = REPORT_TEXT, .command = "show"};
    int option;

    opterr = 0;
    while ((option = getopt_long(argc, argv, ":ajHc:h", known, NULL)) != -1) {
        switch (option) {
        case 'a':
            options.all_threads = true;
            break;
        case 'j':
            options.format = REPORT_JSON;
            break;
        case 'H':
            options.format = REPORT_HTML;
            break;
        case 'c':
            options.core = optarg;
            break;
        case 'h':
            return print_help();
        case ':':
            return usage_error("show", "show: option '%s' needs a value", argv[optind - 1]);
        default:
            return usage_error("show", "show: wrong option '%s'", argv[optind - 1]);
        }
    }
    if (argc - optind != 1)
        return usage_error("show", argc == optind ? "show: no file given" : "show: more than one file given");
    if (!reports_available("show"))
        return STATUS_FAILED;
    options.name = argv[optind];
    return print_reports(argv[optind], &options);
}

const struct command command_show = {
    .name = "show",
    .summary = "show what is in a core file: stack, variables, registers",
    .run = show_run,
};
