/* SPDX-License-Identifier: MIT */
/*
 * The command `xctx`: finds the subcommand and runs it. Results go to standard output, errors to standard error in
 * one line each; output that could not be written is an error too.
 */
#include <string.h>

#include <xctx/xctx.h>

#include "command.h"
#include "output.h"

static const struct command *const commands[] = {
    &command_demo, &command_run, &command_dump, &command_show, &command_bench,
};
enum { COMMANDS = sizeof(commands) / sizeof(commands[0]) };

static int print_help(void)
{
    print("usage: xctx COMMAND [OPTION]... [ARGUMENT]...\n"
          "       xctx --help | --version\n"
          "\n"
          "Execution contexts for C: copy what a thread has, carry on from it elsewhere.\n"
          "\n"
          "Commands:\n");
    for (size_t i = 0; i < COMMANDS; i++)
        print("  %-8s %s\n", commands[i]->name, commands[i]->summary);
    print("\n"
          "`xctx COMMAND --help` says more about each.\n"
          "Exit status: 0 all is well, 1 something failed, 2 wrong usage.\n");
    return STATUS_OK;
}

static int print_version(void)
{
    print("xctx %s\n", xctx_version());
    return STATUS_OK;
}

static int run(int argc, char *argv[])
{
    if (argc < 2)
        return usage_error(NULL, "no command given");
    const char *name = argv[1];
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "--version") == 0) {
        if (argc > 2)
            return usage_error(NULL, "%s takes no arguments", name);
        return strcmp(name, "--version") == 0 ? print_version() : print_help();
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        if (strcmp(name, commands[i]->name) == 0)
            return commands[i]->run(argc - 1, argv + 1);
    }
    return usage_error(NULL, name[0] == '-' ? "unknown option '%s'" : "unknown command '%s'", name);
}

int main(int argc, char *argv[])
{
    int status = run(argc, argv);
    return output_finish(status);
}
