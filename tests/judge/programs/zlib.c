/* SPDX-License-Identifier: MIT */
/* zlib in the middle of compressing and decompressing: what it calls for memory and data is looked at. */
#include "../judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "zlib.h"

struct stream {
    unsigned char *bytes;
    size_t size, at;
};

static void *allocate(void *closure, unsigned items, unsigned size)
{
    judge_here("allocate");
    judge_touch(closure);
    return calloc(items, size);
}

static void release(void *closure, void *block)
{
    judge_here("release");
    judge_touch(closure);
    free(block);
}

static unsigned input(void *closure, unsigned char **ret_bytes)
{
    struct stream *stream = closure;
    unsigned size = (unsigned)(stream->size - stream->at);
    if (size > 600)
        size = 600;
    *ret_bytes = stream->bytes + stream->at;
    stream->at += size;
    judge_here(stream->at > 700 ? "input-later" : "input");
    return size;
}

static int output(void *closure, unsigned char *bytes, unsigned size)
{
    size_t *total = closure;
    *total += size;
    judge_here("output");
    judge_touch(bytes);
    return 0;
}

static int compress_text(const char *text, size_t size, struct stream *out)
{
    z_stream z;
    memset(&z, 0, sizeof(z));
    z.zalloc = allocate;
    z.zfree = release;
    z.next_in = (unsigned char *)(unsigned long)text;
    z.avail_in = (unsigned)size;
    int error = deflateInit2(&z, 9, Z_DEFLATED, -15, 9, Z_DEFAULT_STRATEGY);
    if (error)
        return error;
    z.next_out = out->bytes;
    z.avail_out = (unsigned)out->size;
    error = deflate(&z, Z_FINISH);
    out->size = z.total_out;
    deflateEnd(&z);
    return error == Z_STREAM_END ? 0 : error;
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    static char text[100000];
    static unsigned char packed[200000], window[32768];
    unsigned state = 1;
    for (size_t i = 0; i < sizeof(text); i++) {
        state = state * 1103515245u + 12345u;
        text[i] = (char)('a' + (state >> 16) % (i % 1000 < 500 ? 3 : 20));
    }
    struct stream stream = {packed, sizeof(packed), 0};
    size_t total = 0;
    if (compress_text(text, sizeof(text), &stream))
        return 1;
    z_stream z;
    memset(&z, 0, sizeof(z));
    z.zalloc = allocate;
    z.zfree = release;
    if (inflateBackInit(&z, 15, window))
        return 1;
    int result = inflateBack(&z, input, &stream, output, &total);
    inflateBackEnd(&z);
    return result != Z_STREAM_END || total != sizeof(text);
}
