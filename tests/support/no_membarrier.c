/* SPDX-License-Identifier: MIT */
/*
 * no-membarrier PROGRAM [ARGUMENT]...: runs a program for which membarrier() fails with ENOSYS, as on kernels and in
 * sandboxes without it. For `meson test --wrapper`. Ends with 77, which is a skipped test, where it cannot do that.
 */
#include <errno.h>
#include <stdio.h>

#include "seccomp.h"

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: no-membarrier PROGRAM [ARGUMENT]...\n");
        return 2;
    }
    if (!deny_system_call(SYS_membarrier, -1, ENOSYS)) {
        perror("no-membarrier: system calls cannot be filtered");
        return 77;
    }
    execvp(argv[1], argv + 1);
    perror(argv[1]);
    return 127;
}
