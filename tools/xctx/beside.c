/* SPDX-License-Identifier: MIT */
/* Files that belong to this command: see beside.h. */
#include "beside.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool find_self(char *path, size_t size)
{
    ssize_t length = readlink("/proc/self/exe", path, size);

    if (length <= 0 || (size_t)length >= size)
        return false;
    path[length] = '\0';
    return true;
}

bool find_beside(char *path, size_t size, const char *relative, int mode)
{
    char own[PATH_MAX], joined[PATH_MAX], real[PATH_MAX];
    char *slash = find_self(own, sizeof(own)) ? strrchr(own, '/') : NULL;

    if (!slash)
        return false;
    *slash = '\0';
    int needed = relative[0] == '/' ? snprintf(joined, sizeof(joined), "%s", relative)
                                    : snprintf(joined, sizeof(joined), "%s/%s", own, relative);
    if (needed < 0 || (size_t)needed >= sizeof(joined) || access(joined, mode) != 0 || !realpath(joined, real))
        return false;
    needed = snprintf(path, size, "%s", real);
    return needed >= 0 && (size_t)needed < size;
}
