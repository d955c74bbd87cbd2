/* SPDX-License-Identifier: MIT */
/*
 * Work that may go wrong in ways that cannot be reported: reading what others wrote with libraries that trust it.
 */
#ifndef XCTX_TOOL_APART_H
#define XCTX_TOOL_APART_H

/*
 * Calls `work` in a process of its own, with limits for memory and time, and returns what that did, a STATUS_. If the
 * process ends by itself in another way, it complains: "COMMAND: NAME: ..." says what it was about.
 *
 * What `work` wrote to standard output is written before this returns.
 */
int work_apart(int (*work)(void *user), void *user, const char *command, const char *name);

#endif
