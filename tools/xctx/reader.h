/* SPDX-License-Identifier: MIT */
/*
 * Reads a text in pieces of whole lines.
 */
#ifndef XCTX_TOOL_READER_H
#define XCTX_TOOL_READER_H

#include <stdbool.h>
#include <stddef.h>

enum { READER_LINE_LIMIT = 1024 * 1024 }; /* bytes */

struct reader {
    int fd;
    size_t piece_size; /* about that much at a time */
    char *buffer;
    size_t capacity;
    size_t used;
    bool ended;
    char problem[80]; /* what is wrong, if something is */
};

/*
 * Whether a file looks as if reader_open() would take it: it is there, of the right kind, and may be read. Opens
 * nothing: whoever writes to a pipe would notice.
 *
 * Returns false with `problem` set. There is nothing to close.
 */
bool reader_check(struct reader *reader, const char *path);

/*
 * Opens a file. Regular files and pipes are taken, directories and devices are not. A regular file is divided into
 * about `pieces` pieces, within limits.
 *
 * Returns false with `problem` set if it cannot be read. reader_close() is due in any case.
 */
bool reader_open(struct reader *reader, const char *path, size_t pieces);

/* The same for a text in memory, which is copied; it has to be shorter than a pipe takes at once, 64 KiB. */
bool reader_open_text(struct reader *reader, const char *text, size_t pieces);

/*
 * Reads the next piece: some lines, the last one complete unless the text ends without a line feed.
 *
 * Returns 1 and the piece, for free(); 0 at the end; -1 with `problem` set.
 */
int reader_next(struct reader *reader, char **ret_text, size_t *ret_size);

void reader_close(struct reader *reader);

#endif
