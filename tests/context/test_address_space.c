/* SPDX-License-Identifier: MIT */
/* What happens when the system gives no more pages: a clean NULL, and everything goes on when there are some again. */
#include <sys/resource.h>

#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(value);

enum { ROOM = 16 << 20, MOST = 1 << 20 };

static size_t address_space(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%lu", &pages) == 1);
    fclose(file);
    return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Copies until there is no memory, and gives everything back: how many there were. */
static size_t fill(xctx_context **copies)
{
    size_t count = 0;
    while (count < MOST && (copies[count] = xctx_copy_current()) != NULL)
        count++;
    CHECK(count < MOST);
    CHECK(xctx_var_get(&value) == number(1));
    for (size_t i = 0; i < count; i++)
        xctx_unref(copies[i]);
    return count;
}

static int in_little_room(void)
{
    xctx_context **copies = calloc(MOST, sizeof(*copies));
    CHECK(copies && xctx_var_set(&value, number(1), NULL) == 0);
    struct rlimit limit = {.rlim_cur = address_space() + ROOM, .rlim_max = RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    size_t first = fill(copies);
    size_t second = fill(copies);
    CHECK(first > 1000);
    CHECK(second >= first - first / 10);
    free(copies);
    return 0;
}

TEST(contexts_made_until_no_pages_are_left_end_in_null_and_come_back)
{
    const char *preloaded = getenv("LD_PRELOAD");
    if (TEST_ASAN || TEST_TSAN || getenv("XCTX_TEST_EMULATED") || (preloaded && strstr(preloaded, "valgrind")))
        skip(); /* what runs the program takes from the same address space */
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        _exit(in_little_room());
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

int main(void)
{
    return test_main("address space");
}
