/* SPDX-License-Identifier: MIT */
/* Reads a text in pieces of whole lines: see reader.h. What is left of a piece stays at the beginning of the buffer. */
#include "reader.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    PIECE_LEAST = 256,
    PIECE_MOST = 256 * 1024,
};

static bool fail(struct reader *reader, const char *problem)
{
    snprintf(reader->problem, sizeof(reader->problem), "%s", problem);
    return false;
}

static bool fail_errno(struct reader *reader, int error)
{
    return fail(reader, strerror(error));
}

static void choose_piece_size(struct reader *reader, size_t size, size_t pieces)
{
    size_t piece = size / (pieces ? pieces : 1);
    piece = piece < PIECE_LEAST ? PIECE_LEAST : piece;
    reader->piece_size = piece > PIECE_MOST ? PIECE_MOST : piece;
}

static bool check_kind(struct reader *reader, const struct stat *status)
{
    if (S_ISDIR(status->st_mode))
        return fail_errno(reader, EISDIR);
    if (!S_ISREG(status->st_mode) && !S_ISFIFO(status->st_mode))
        return fail(reader, "neither a regular file nor a pipe");
    return true;
}

bool reader_check(struct reader *reader, const char *path)
{
    struct stat status;

    *reader = (struct reader){.fd = -1};
    if (stat(path, &status) != 0)
        return fail_errno(reader, errno);
    if (!check_kind(reader, &status))
        return false;
    return faccessat(AT_FDCWD, path, R_OK, AT_EACCESS) == 0 || fail_errno(reader, errno);
}

bool reader_open(struct reader *reader, const char *path, size_t pieces)
{
    struct stat status;

    *reader = (struct reader){.fd = -1};
    /* Without O_NONBLOCK a pipe that nobody writes to would stop us here. */
    reader->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (reader->fd < 0 || fstat(reader->fd, &status) != 0)
        return fail_errno(reader, errno);
    if (!check_kind(reader, &status))
        return false;
    if (fcntl(reader->fd, F_SETFL, 0) != 0)
        return fail_errno(reader, errno);
    /* Of pipes, and of files in /proc, the size is not known before. */
    choose_piece_size(reader, status.st_size > 0 ? (size_t)status.st_size : PIECE_MOST, pieces);
    return true;
}

bool reader_open_text(struct reader *reader, const char *text, size_t pieces)
{
    int ends[2];
    size_t size = strlen(text);

    *reader = (struct reader){.fd = -1};
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0)
        return fail_errno(reader, errno);
    reader->fd = ends[0];
    ssize_t written = write(ends[1], text, size);
    close(ends[1]);
    if (written < 0 || (size_t)written != size)
        return fail(reader, "does not fit into a pipe");
    choose_piece_size(reader, size, pieces);
    return true;
}

static bool grow(struct reader *reader)
{
    size_t capacity = reader->capacity ? reader->capacity * 2 : reader->piece_size;
    char *buffer;

    if (reader->capacity >= READER_LINE_LIMIT)
        return fail(reader, "a line of more than 1 MiB: not a text");
    buffer = realloc(reader->buffer, capacity);
    if (!buffer)
        return fail_errno(reader, ENOMEM);
    reader->buffer = buffer;
    reader->capacity = capacity;
    return true;
}

/* Fills the buffer. */
static bool fill(struct reader *reader)
{
    while (!reader->ended && reader->used < reader->capacity) {
        ssize_t got = read(reader->fd, reader->buffer + reader->used, reader->capacity - reader->used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(reader, errno);
        if (memchr(reader->buffer + reader->used, '\0', (size_t)got))
            return fail(reader, "binary, not a text");
        reader->ended = got == 0;
        reader->used += (size_t)got;
    }
    return true;
}

/* How much of the buffer is complete lines, or the end. */
static size_t complete(const struct reader *reader)
{
    if (reader->ended)
        return reader->used;
    const char *last = memrchr(reader->buffer, '\n', reader->used);
    return last ? (size_t)(last - reader->buffer) + 1 : 0;
}

int reader_next(struct reader *reader, char **ret_text, size_t *ret_size)
{
    size_t size = 0;

    while (size == 0) {
        if (reader->used == reader->capacity && !reader->ended && !grow(reader))
            return -1;
        if (!fill(reader))
            return -1;
        size = complete(reader);
        if (size == 0 && reader->ended)
            return 0;
    }
    char *text = malloc(size);
    if (!text) {
        fail_errno(reader, ENOMEM);
        return -1;
    }
    memcpy(text, reader->buffer, size);
    reader->used -= size;
    memmove(reader->buffer, reader->buffer + size, reader->used);
    *ret_text = text;
    *ret_size = size;
    return 1;
}

void reader_close(struct reader *reader)
{
    if (reader->fd >= 0)
        close(reader->fd);
    reader->fd = -1;
    free(reader->buffer);
    reader->buffer = NULL;
}
