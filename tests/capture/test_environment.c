/* SPDX-License-Identifier: MIT */
/* XCTX_CAPTURE in the environment: what a program captures by default that says nothing itself. */
#include <spawn.h>

#include "../support/threads.h"
#include "capture_support.h"

enum { CAPTURE_BASE = 64 };

/* Runs this program anew with XCTX_CAPTURE set; its status is CAPTURE_BASE and the default capture that it found. What
   it writes to standard error is put into `text`. */
static unsigned default_with(const char *wish, char *text, size_t size)
{
    static char variable[256];
    char *arguments[] = {(char *)"child", (char *)"--print-default", NULL};
    char *environment[] = {variable, NULL};
    posix_spawn_file_actions_t actions;
    int ends[2], status;
    size_t used = 0;
    pid_t child;

    snprintf(variable, sizeof(variable), "XCTX_CAPTURE%s%s", wish ? "=" : "_NOT=", wish ? wish : "");
    CHECK(pipe(ends) == 0);
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO) == 0);
    CHECK(posix_spawn_file_actions_addclose(&actions, ends[0]) == 0);
    CHECK(posix_spawn(&child, "/proc/self/exe", &actions, NULL, arguments, environment) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    for (ssize_t got; used < size - 1 && (got = read(ends[0], text + used, size - 1 - used)) > 0;)
        used += (size_t)got;
    text[used] = '\0';
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0)
        CHECK(errno == EINTR);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) >= CAPTURE_BASE);
    return (unsigned)WEXITSTATUS(status) - CAPTURE_BASE;
}

TEST(environment_says_what_is_captured_at_the_start)
{
    static const struct {
        const char *wish;
        unsigned capture;
    } cases[] = {
        {NULL, 0},
        {"", 0},
        {"stack", XCTX_CAPTURE_STACK},
        {"locals", XCTX_CAPTURE_LOCALS},
        {"registers", XCTX_CAPTURE_REGISTERS},
        {"state", XCTX_CAPTURE_STATE},
        {"fpu", XCTX_CAPTURE_FPU},
        {"all", XCTX_CAPTURE_ALL},
        {"stack,state", XCTX_CAPTURE_STACK | XCTX_CAPTURE_STATE},
        {",,fpu,,stack,", XCTX_CAPTURE_FPU | XCTX_CAPTURE_STACK},
        {"stack,stack", XCTX_CAPTURE_STACK},
        {" stack , fpu ", XCTX_CAPTURE_FPU | XCTX_CAPTURE_STACK},
    };
    char text[1024];

    if (emulated())
        skip(); /* the program cannot be run by its name */
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(default_with(cases[i].wish, text, sizeof(text)), cases[i].capture);
        assert_string_equal(text, "");
    }
}

TEST(name_that_is_not_known_is_complained_of_once_and_the_others_are_used)
{
    char text[1024];

    if (emulated())
        skip(); /* the program cannot be run by its name */
    assert_int_equal(default_with("stack,stak,fpu,Locals", text, sizeof(text)), XCTX_CAPTURE_STACK | XCTX_CAPTURE_FPU);
    assert_non_null(strstr(text, "xctx: XCTX_CAPTURE: \"stak\""));
    assert_null(strstr(text, "Locals"));
    assert_ptr_equal(strchr(text, '\n'), strrchr(text, '\n'));
    assert_int_equal(default_with("stackx", text, sizeof(text)), 0);
    assert_non_null(strstr(text, "\"stackx\""));
    assert_int_equal(default_with("stac", text, sizeof(text)), 0);
    assert_int_equal(default_with("stack state", text, sizeof(text)), XCTX_CAPTURE_STACK | XCTX_CAPTURE_STATE);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--print-default") == 0)
        return CAPTURE_BASE + (int)xctx_default_capture();
    return test_main("the environment");
}
