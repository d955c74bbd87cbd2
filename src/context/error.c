/* SPDX-License-Identifier: MIT */
/* The version and the texts of errors. What the library decides itself has words of its own, those that only the system
   says have the system's. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include <xctx/base.h>

#define TEXT(number) TEXT_(number)
#define TEXT_(number) #number

/* NULL: there is no such error. The texts are static. */
static const char *system_text(unsigned error)
{
#ifdef __GLIBC__
    return error <= INT32_MAX ? strerrordesc_np((int)error) : NULL;
#else
    enum { ERRORS = 134 };                               /* that Linux has */
    return error < ERRORS ? strerror((int)error) : NULL; /* NOLINT(concurrency-mt-unsafe): musl's are static */
#endif
}

const char *xctx_version(void)
{
    return TEXT(XCTX_VERSION_MAJOR) "." TEXT(XCTX_VERSION_MINOR) "." TEXT(XCTX_VERSION_PATCH);
}

const char *xctx_strerror(int error)
{
    unsigned number = error < 0 ? -(unsigned)error : (unsigned)error;
    const char *text;

    switch (number) {
    case 0:
        return "success";
    case EAGAIN:
        return "a thread or a signal for it cannot be had now";
    case EALREADY:
        return "that has been done already, and is done once";
    case EBADMSG:
        return "the file is damaged or cut off";
    case EBUSY:
        return "the context, the snapshot or the fiber is in use already";
    case EFAULT:
        return "those bytes were not captured";
    case EFBIG:
        return "the file is too large";
    case EINVAL:
        return "an argument is not valid here";
    case ENODATA:
        return "that was not captured";
    case ENOEXEC:
        return "the file is no core file of this processor";
    case ENOMEM:
        return "memory ran out";
    case ENOSPC:
        return "a limit of the library, or of the system's storage, is reached";
    case EPERM:
        return "the context is not the thread's current one, or the fiber must not be captured there";
    case ESRCH:
        return "there is no such thread";
    case ETIMEDOUT:
        return "there was no answer in time";
    case EXDEV:
        return "the token was made in another context";
    default:
        text = system_text(number);
        return text ? text : "unknown error";
    }
}
