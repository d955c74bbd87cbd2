/* SPDX-License-Identifier: MIT */
/*
 * What the programs share that gdb is asked about: a place where one of them is looked at.
 *
 * judge_here() takes a snapshot of the calling thread and writes it as a core file, DIR/LABEL-NUMBER.core, and what the
 * process itself makes of it beside that, LABEL-NUMBER.report. The script `judge` asks gdb and libxctx-inspect what is
 * in the core file, and compares all three.
 */
#ifndef JUDGE_H
#define JUDGE_H

#ifdef __cplusplus
extern "C" {
#endif

/* DIR is the program's only argument. */
void judge_start(int argc, char **argv);

/* Looks at the caller. Of one label the first few are kept. */
void judge_here(const char *label);

/* In a signal handler, with its third argument: looks at what was interrupted. */
void judge_interrupted(const char *label, const void *ucontext);

/* The compiler must believe that this reads and changes whatever it can reach from `what`. */
static inline void judge_touch(const void *what)
{
    __asm__ volatile("" : : "r"(what) : "memory");
}

#ifdef __cplusplus
}
#endif

#endif
