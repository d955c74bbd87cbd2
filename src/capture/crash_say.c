/* SPDX-License-Identifier: MIT */
/* Text from a signal handler: see crash.h. */
#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/core_internal.h"
#include "crash.h"
#include "fiber/fiber_internal.h"

void xctx__line_add(struct line *line, const char *text)
{
    size_t room = sizeof(line->text) - line->length;
    size_t length = strlen(text);

    length = length < room ? length : room;
    memcpy(line->text + line->length, text, length);
    line->length += length;
}

static void add_hex(struct line *line, uint64_t number)
{
    char text[19] = "0x";
    size_t digits = 1;

    while (digits < 16 && number >> (4 * digits) != 0)
        digits++;
    for (size_t i = 0; i < digits; i++)
        text[2 + i] = "0123456789abcdef"[number >> (4 * (digits - 1 - i)) & 15];
    xctx__line_add(line, text);
}

static void add_number(struct line *line, int64_t number)
{
    char text[24] = "";
    char *at = text + sizeof(text) - 1;
    uint64_t left = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        *--at = '-';
    xctx__line_add(line, at);
}

void xctx__line_write(struct line *line, int fd)
{
    size_t done = 0;

    while (done < line->length) {
        ssize_t count = write(fd, line->text + done, line->length - done);
        if (count <= 0 && errno != EINTR)
            break;
        done += count > 0 ? (size_t)count : 0;
    }
    line->length = 0;
}

bool xctx__crash_path(const char *pattern, char *path, size_t size)
{
    struct line line;

    line.length = 0;
    for (const char *at = pattern; *at; at++) {
        char one[2] = {*at, '\0'};
        if (*at == '%' && at[1] == 'p')
            add_number(&line, getpid());
        else if (*at == '%' && at[1] == 't')
            add_number(&line, syscall(SYS_gettid));
        else
            xctx__line_add(&line, one);
        at += *at == '%' && (at[1] == 'p' || at[1] == 't' || at[1] == '%');
    }
    if (line.length >= size)
        return false;
    memcpy(path, line.text, line.length);
    path[line.length] = '\0';
    return true;
}

static const char *signal_name(int signal)
{
    switch (signal) {
    case SIGSEGV:
        return "SIGSEGV";
    case SIGBUS:
        return "SIGBUS";
    case SIGILL:
        return "SIGILL";
    case SIGFPE:
        return "SIGFPE";
    case SIGABRT:
        return "SIGABRT";
    case SIGSYS:
        return "SIGSYS";
    case SIGTRAP:
        return "SIGTRAP";
    default:
        return "a signal";
    }
}

void xctx__crash_say_signal(int fd, int signal, const siginfo_t *info)
{
    struct line line;

    line.length = 0;
    xctx__line_add(&line, "xctx: ");
    xctx__line_add(&line, signal_name(signal));
    if (info->si_code > 0) {
        xctx__line_add(&line, " at address ");
        add_hex(&line, xctx__crash_address(info));
    }
    xctx__line_add(&line, " in thread ");
    add_number(&line, syscall(SYS_gettid));
    xctx__line_add(&line, " of process ");
    add_number(&line, getpid());
    xctx__line_add(&line, "\n");
    xctx__line_write(&line, fd);
    const xctx_fiber *fiber =
        info->si_code > 0 ? xctx__fiber_overflowed(&xctx__slot, (uintptr_t)xctx__crash_address(info)) : NULL;
    if (fiber) {
        xctx__line_add(&line, "xctx: the stack of the fiber \"");
        xctx__line_add(&line, xctx_fiber_name(fiber));
        xctx__line_add(&line, "\" has overflowed: it has ");
        add_number(&line, (int64_t)((fiber->high - fiber->low + 1023) / 1024));
        xctx__line_add(&line, " KiB\n");
        xctx__line_write(&line, fd);
    }
}

/* Looking for the file that an address is in. */
struct lookup {
    uint64_t address;
    struct line *line;
};

static bool look(const struct core_mapping *mapping, void *user)
{
    const struct lookup *lookup = user;

    if (lookup->address >= mapping->end)
        return true;
    if (lookup->address >= mapping->start && mapping->name[0]) {
        xctx__line_add(lookup->line, " ");
        xctx__line_add(lookup->line, mapping->name);
        xctx__line_add(lookup->line, "+");
        add_hex(lookup->line, lookup->address - mapping->start + mapping->offset);
    }
    return false;
}

void xctx__crash_say_stack(int fd, const xctx_snapshot *snapshot)
{
    uintptr_t pcs[XCTX_SNAPSHOT_ADDRESSES];
    size_t count = xctx_snapshot_stack(snapshot, pcs, XCTX_SNAPSHOT_ADDRESSES);
    struct core_buffer buffer = {0};
    struct line line;

    line.length = 0;
    for (size_t i = 0; i < count && i < XCTX_SNAPSHOT_ADDRESSES; i++) {
        struct lookup lookup = {pcs[i], &line};
        xctx__line_add(&line, "  #");
        add_number(&line, (int64_t)i);
        xctx__line_add(&line, " ");
        add_hex(&line, pcs[i]);
        (void)xctx__core_self_mappings(&buffer, look, &lookup);
        xctx__line_add(&line, "\n");
        xctx__line_write(&line, fd);
    }
    xctx__core_release(&buffer);
}
