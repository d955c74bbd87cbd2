/* SPDX-License-Identifier: MIT */
/*
 * What `xctx dump` and a program that answers it say to each other.
 *
 * The program listens at an abstract unix socket (SOCK_SEQPACKET) that has its process id in the name. Who asks
 * connects and sends one request, with a descriptor of a file in memory (memfd_create) for the core file. The program
 * writes the file, sends one reply, and closes the connection. Each side looks at the credentials of the other: names
 * of abstract sockets are free for all to take.
 */
#ifndef XCTX_CORE_SERVE_H
#define XCTX_CORE_SERVE_H

#include <stdint.h>

#define XCTX__SERVE_NAME "xctx/serve/%d" /* behind a NUL */
#define XCTX__SERVE_MAGIC UINT32_C(0x78637478)

enum {
    XCTX__SERVE_VERSION = 1,
    XCTX__SERVE_SILENT = 64, /* threads that could not be captured which a reply names */
};

struct serve_request {
    uint32_t magic;
    uint16_t version;
    uint16_t size; /* of this structure */
    uint32_t capture;
    uint32_t flags;       /* 0 */
    uint64_t stack_limit; /* bytes of each stack; 0: what the program says */
    int64_t timeout;      /* nanoseconds for the threads to answer; 1 to SERVE_TIMEOUT_MAX */
};

struct serve_reply {
    uint32_t magic;
    uint16_t version;
    uint16_t size;
    int32_t error;                           /* 0 or a negative errno: then there is no core file */
    uint32_t threads;                        /* in the core file */
    uint32_t silent;                         /* threads that could not be captured, and are not in it */
    int32_t silent_tids[XCTX__SERVE_SILENT]; /* the first of them */
};

#define XCTX__SERVE_TIMEOUT_MAX INT64_C(60000000000)

#endif
