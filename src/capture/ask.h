/* SPDX-License-Identifier: MIT */
/*
 * Asking another thread for a snapshot of itself, by a signal: see ask.c for how.
 *
 * An *asking* is the asker's side of one request, in its own memory. It goes from WAITS over ASKED to one of the other
 * three. Its functions are for the asker alone; they are thread-safe as different askings go.
 */
#ifndef XCTX_CAPTURE_ASK_H
#define XCTX_CAPTURE_ASK_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <xctx/snapshot.h>

#include "arch/restart.h"

enum asking_state {
    ASKING_WAITS,  /* not sent yet */
    ASKING_ASKED,  /* sent, and not answered yet */
    ASKING_DONE,   /* `snapshot` is filled */
    ASKING_SILENT, /* given up; `error` says why */
    ASKING_GONE,   /* the thread has ended */
};

struct asking {
    int tid;
    unsigned capture;
    enum asking_state state;
    int error;               /* of SILENT: -ETIMEDOUT or -EAGAIN */
    xctx_snapshot *snapshot; /* reserved by the caller, who owns it but while the thread may write to it: NULL then */
    int64_t look;            /* CLOCK_MONOTONIC in nanoseconds: when to look again */
    int64_t interval;        /* and how long from then on to the next time */
    uint32_t slot;
    uint32_t generation;
};

/* Finds a signal and installs the handler, if that has not been done or the signal is not ours any more.
   Returns 0, -EAGAIN (no signal is free) or -ENOMEM. */
int xctx__ask_prepare(void);

/* Sends a request. Returns 0 (ASKED), -ESRCH (the thread has ended), -EBUSY (it does not take signals now), -ENOBUFS
   (others use all slots now) or -EAGAIN (all slots belong to threads that do not answer, or the signal cannot be
   sent). */
int xctx__ask_post(struct asking *asking);

/* Looks for the answer: from ASKED to DONE if it is there. Returns whether the asking is not open any more. */
bool xctx__ask_collect(struct asking *asking);

/* Gives up: from ASKED to SILENT, or to DONE if the answer has come meanwhile. */
void xctx__ask_give_up(struct asking *asking);

/* Sends the signal again if it was lost: with a thread that had the same number. Returns false if the thread has
   ended. */
bool xctx__ask_remind(const struct asking *asking);

/* Reads the beginning of a file that /proc has of a thread, with a final NUL. Returns how much it was, or -1. */
ssize_t xctx__ask_file(int tid, const char *name, char *buffer, size_t size);

/* The system call in which a thread waits, as /proc says. Its `number` is -1 if it waits in none. */
struct call xctx__ask_call(int tid);

/* How many answers there have been. */
uint32_t xctx__ask_answers(void);

/* Waits until there are others than `seen`, or for `nanoseconds`, or for no reason. */
void xctx__ask_wait(uint32_t seen, int64_t nanoseconds);

#endif
