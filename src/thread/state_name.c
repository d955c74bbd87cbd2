/* SPDX-License-Identifier: MIT */
/*
 * The capsule of the thread's name, up to 15 bytes: what ps, top and gdb show.
 *
 * Through prctl(), which both C libraries have and which speaks of the running thread alone. Setting a name cannot
 * fail. On the main thread it is the name of the process, too, until it is restored.
 */
#include <errno.h>
#include <sys/prctl.h>

#include <xctx/thread.h>

#include "state.h"

enum { NAME_SIZE = 16 }; /* with the final NUL: the kernel's TASK_COMM_LEN */

struct name {
    struct state state;
    char text[NAME_SIZE];
};

static void *name_capture(void)
{
    struct name *name = xctx__state_allocate(sizeof(*name));
    if (!name)
        return XCTX_RESERVED_VALUE;
    memset(name->text, 0, sizeof(name->text));
    int error = errno;
    int result = prctl(PR_GET_NAME, name->text);
    errno = error;
    if (result != 0) {
        xctx__free(name);
        return NULL;
    }
    return name;
}

/* Of the running thread; a name that is refused leaves it as it is. */
static void name_apply(const struct name *name)
{
    int error = errno;
    prctl(PR_SET_NAME, name->text);
    errno = error;
}

static void *name_enter(void *value)
{
    struct name *name = value;

    if (!name)
        return NULL;
    struct name *old = xctx__state_captured(name_capture());
    if (old && strcmp(old->text, name->text) != 0)
        name_apply(name);
    return old;
}

static void name_leave(void *saved)
{
    struct name *old = saved;

    if (!old)
        return;
    /* To ask first would cost as much as to set. */
    name_apply(old);
    xctx__free(old);
}

static int name_format(void *value, char *buffer, size_t size)
{
    const struct name *name = value;
    struct text text = {buffer, size, 0};

    if (name)
        xctx__text_add(&text, name->text);
    return xctx__text_finish(&text);
}

static int name_encode(void *value, void *buffer, size_t size)
{
    const struct name *name = value;
    struct text text = {buffer, size, 0};

    if (!name)
        return -EINVAL;
    xctx__text_add(&text, name->text);
    return (int)text.length;
}

static int name_decode(const void *data, size_t size, void **ret_value)
{
    if (size >= NAME_SIZE || (size > 0 && memchr(data, '\0', size)))
        return -EINVAL;
    struct name *name = xctx__state_allocate(sizeof(*name));
    if (!name)
        return -ENOMEM;
    memset(name->text, 0, sizeof(name->text));
    if (size > 0)
        memcpy(name->text, data, size);
    *ret_value = name;
    return 0;
}

XCTX_VAR_DEFINE(xctx_state_name, .retain = xctx__state_retain, .release = xctx__state_release, .capture = name_capture,
                .enter = name_enter, .leave = name_leave, .format = name_format, .encode = name_encode,
                .decode = name_decode);
