/* SPDX-License-Identifier: MIT */
/*
 * The programs and libraries of an address space, and their debug information, by elfutils' libdwfl.
 *
 * There is one `struct modules` for this process, kept from one report to the next and brought up to date when the list
 * of loaded modules has changed, and one for each core file that is open. elfutils is not made for several threads:
 * everything here, and whatever uses a Dwarf or a Dwfl, runs with xctx__decode_lock() held.
 *
 * A module is known by its build-id. A file on disk that is not the one that is loaded is not used, and a snapshot that
 * was taken before a module was replaced by another does not find the new one: it gets none.
 *
 * The list of loaded modules is looked at when this library is loaded and by each xctx__modules_get(). It is numbered:
 * xctx__module_epoch is the number of the newest list, which each snapshot notes, and 0 means that none was looked at.
 * A snapshot that noted number n was taken after list n was read and before list n + 1 was: what is the same in both
 * was so then, unless modules came and went in between, which the dynamic linker counts. What is only in one of them
 * was there if nothing else was at the same address in the other. Otherwise it cannot be told, and nothing is guessed.
 *
 * Nothing here asks anybody on the network for debug information, whatever DEBUGINFOD_URLS says.
 */
#ifndef XCTX_INSPECT_MODULES_H
#define XCTX_INSPECT_MODULES_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stdint.h>

#include <xctx/inspect.h>

struct kept_name;
struct report;
struct modules;

void xctx__decode_lock(void);
void xctx__decode_unlock(void);

/* The modules of the address space that a snapshot is of. NULL: no memory. With the lock held; to be given back. */
struct modules *xctx__modules_get(const xctx_snapshot *snapshot, const xctx_inspect_options *options);
void xctx__modules_put(struct modules *modules);

/* The module at an address, as it was when the snapshot was taken; NULL: there is none, or it cannot be told. */
Dwfl_Module *xctx__modules_find(struct modules *modules, const xctx_snapshot *snapshot, uint64_t address);

/* Why that was NULL, in one line; NULL: nothing is loaded there. Lasts as long as `modules`. */
const char *xctx__modules_refusal(struct modules *modules, const xctx_snapshot *snapshot, uint64_t address);

/* The path of what was loaded there, also if its file cannot be used; NULL: nothing, or it cannot be told. Lasts as
   long as `modules`. */
const char *xctx__modules_path(struct modules *modules, const xctx_snapshot *snapshot, uint64_t address);

/* The path of a module's file, as loaded: "[vdso]" for that. Lasts as long as the module. */
const char *xctx__module_path(Dwfl_Module *module);

/* What is missing of a module, in one line, for a note: "no debug information for /usr/bin/x: ..."; NULL: nothing.
   Lasts as long as the module. */
const char *xctx__module_complaint(struct modules *modules, Dwfl_Module *module);

/* Reads bytes that a module's file has and the process cannot have changed: of segments that are not writable, of the
   modules that the snapshot of xctx__modules_get() had. Returns whether all were there. */
bool xctx__modules_read(struct modules *modules, uint64_t address, void *buffer, size_t size);

/* Whether an address is in a module: what is there is static. */
bool xctx__modules_cover(struct modules *modules, uint64_t address);

/* The function that a name means in a module's code: the module's own, if nobody else sees that, or the first one among
   all modules, in their order, that has it for others. false: there is none, or it cannot be told. */
bool xctx__modules_function(struct modules *modules, const xctx_snapshot *snapshot, Dwfl_Module *from, const char *name,
                            Dwfl_Module **ret_module, uint64_t *ret_address);

/* The modules that a snapshot's process had, opened, in the order of the list: the one behind `previous`, or the first,
   if that is NULL. NULL: there are no more. */
Dwfl_Module *xctx__modules_next(struct modules *modules, const xctx_snapshot *snapshot, Dwfl_Module *previous);

/* Where it is kept what was found for a key as it is seen from a module: `from` and `key` are set if it was. The key is
   the address of something in debug information. NULL: the snapshot is too old for that. */
struct kept_name *xctx__modules_kept(struct modules *modules, const xctx_snapshot *snapshot, Dwfl_Module *from,
                                     const void *key);

/* The number of the newest list of this process's modules. */
uint64_t xctx__modules_own_epoch(void);

/* The address of a function that a module of this process exports, `library` being part of the module's path; 0: there
   is none. */
uint64_t xctx__modules_own_function(const char *library, const char *name);

#endif
