/* SPDX-License-Identifier: MIT */
/* The version and the texts of errors. */
#include <errno.h>

#include <xctx/base.h>

#define TEXT(number) TEXT_(number)
#define TEXT_(number) #number

const char *xctx_version(void)
{
    return TEXT(XCTX_VERSION_MAJOR) "." TEXT(XCTX_VERSION_MINOR) "." TEXT(XCTX_VERSION_PATCH);
}

const char *xctx_strerror(int error)
{
    switch (error < 0 ? -(unsigned)error : (unsigned)error) {
    case 0:
        return "success";
    case EAGAIN:
        return "a thread could not be started";
    case EALREADY:
        return "the token has been reset or dropped already";
    case EBUSY:
        return "the context is entered already";
    case EINVAL:
        return "an argument is not valid here";
    case ENOMEM:
        return "memory ran out";
    case ENOSPC:
        return "the library's limit is reached";
    case EPERM:
        return "the context is not the thread's current one";
    case EXDEV:
        return "the token was made in another context";
    default:
        return "unknown error";
    }
}
