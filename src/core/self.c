/* SPDX-License-Identifier: MIT */
/*
 * What the system says of this process: see core_internal.h.
 *
 * Memory is read by process_vm_readv() on oneself, which gives EFAULT where a load would end the process. Where that
 * system call is forbidden (older container runtimes), /proc/self/mem does the same. Paths of /proc that begin with
 * "self" stay right after fork().
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "core_internal.h"

void xctx__core_self_open(struct core_self *self)
{
    char from = 1;
    char to = 0;
    struct iovec local = {&to, 1};
    struct iovec remote = {&from, 1};

    self->direct = process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == 1;
    self->memory = self->direct ? -1 : open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
}

void xctx__core_self_close(struct core_self *self)
{
    if (self->memory >= 0)
        close(self->memory);
    self->memory = -1;
}

size_t xctx__core_self_read(const struct core_self *self, uint64_t address, void *buffer, size_t size)
{
    size_t done = 0;

    while (done < size) {
        struct iovec local = {(uint8_t *)buffer + done, size - done};
        struct iovec remote = {(void *)(uintptr_t)(address + done), size - done};
        ssize_t got = self->direct ? process_vm_readv(getpid(), &local, 1, &remote, 1, 0)
                                   : pread(self->memory, local.iov_base, local.iov_len, (off_t)(address + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        done += (size_t)got;
    }
    return done;
}

/* Fills a buffer of fixed room from a file; returns how many bytes came, 0 at the end, or a negative errno. */
static ssize_t read_some(int fd, void *bytes, size_t size)
{
    ssize_t got;

    do
        got = read(fd, bytes, size);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

static const char *parse_hex(const char *at, uint64_t *ret_number)
{
    uint64_t number = 0;

    for (;; at++) {
        if (*at >= '0' && *at <= '9')
            number = number << 4 | (uint64_t)(*at - '0');
        else if (*at >= 'a' && *at <= 'f')
            number = number << 4 | (uint64_t)(*at - 'a' + 10);
        else
            break;
    }
    *ret_number = number;
    return at;
}

/* "start-end rwxp offset major:minor inode    name", which ends with a NUL here. */
static bool parse_mapping(const char *line, struct core_mapping *ret_mapping)
{
    struct core_mapping mapping = {0};
    const char *at = parse_hex(line, &mapping.start);

    if (*at++ != '-')
        return false;
    at = parse_hex(at, &mapping.end);
    if (*at++ != ' ' || strlen(at) < 5)
        return false;
    mapping.readable = at[0] == 'r';
    at = parse_hex(at + 5, &mapping.offset);
    for (int field = 0; field < 2 && *at == ' '; field++) /* device, inode */
        at += 1 + strcspn(at + 1, " ");
    mapping.name = at + strspn(at, " ");
    *ret_mapping = mapping;
    return true;
}

/* Hands whole lines on; returns how many bytes they took, and SIZE_MAX if that is enough. */
static size_t take_lines(char *text, size_t size, bool (*each)(const struct core_mapping *, void *), void *user)
{
    size_t done = 0;
    char *end;

    while ((end = memchr(text + done, '\n', size - done))) {
        struct core_mapping mapping;
        *end = '\0';
        if (parse_mapping(text + done, &mapping) && !each(&mapping, user))
            return SIZE_MAX;
        done = (size_t)(end - text) + 1;
    }
    return done;
}

int xctx__core_self_mappings(struct core_buffer *line, bool (*each)(const struct core_mapping *mapping, void *user),
                             void *user)
{
    enum { ROOM = 32768 }; /* a line has a path of at most 4096 bytes, each of which may take four */
    int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;
    size_t held = 0;

    if (fd < 0)
        return -errno;
    line->size = 0;
    char *text = xctx__core_reserve(line, ROOM);
    while (text && held < ROOM && (got = read_some(fd, text + held, ROOM - held)) > 0) {
        held += (size_t)got;
        size_t done = take_lines(text, held, each, user);
        if (done == SIZE_MAX)
            break;
        memmove(text, text + done, held - done);
        held -= done;
    }
    close(fd);
    if (!text)
        return -ENOMEM;
    return got < 0 ? (int)got : 0;
}

void xctx__core_self_file(const char *path, struct core_buffer *buffer, size_t limit)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 1;

    while (fd >= 0 && got > 0 && buffer->size < limit) {
        uint8_t block[1024];
        size_t room = limit - buffer->size;
        got = read_some(fd, block, room < sizeof(block) ? room : sizeof(block));
        if (got > 0)
            xctx__core_append(buffer, block, (size_t)got);
    }
    if (fd >= 0)
        close(fd);
}
