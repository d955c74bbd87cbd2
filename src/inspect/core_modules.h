/* SPDX-License-Identifier: MIT */
/* A list of modules: of this process (modules.c) or of a core file (core_modules.c). */
#ifndef XCTX_INSPECT_CORE_MODULES_H
#define XCTX_INSPECT_CORE_MODULES_H

#include <elfutils/libdwfl.h>
#include <stddef.h>
#include <stdint.h>

struct core_file;
struct module;

enum { EPOCHS = 1024 }; /* of which it is known whether modules came and went unseen */

enum { XCTX__NAMES_KEPT = 256 }; /* a power of two */

/* What xctx__modules_function() has found, or another who looked for a name in several modules. Names are known by
   where they, or the entries that have them, are in debug information. */
struct kept_name {
    Dwfl_Module *from; /* NULL: nothing is kept here */
    const void *key;
    Dwfl_Module *module; /* NULL: there is none of that name */
    uint64_t address;
};

struct modules {
    struct module *loaded;
    struct module *gone; /* of earlier epochs, the latest first */
    uint64_t epoch;      /* of the list; 0: it was not read yet; of a core file always 0 */
    uint64_t forgotten;  /* before this epoch `gone` is not complete */
    uint64_t adds, subs; /* what the dynamic linker counted when it was read */
    uint64_t subs_now;
    uint64_t unsettled[EPOCHS / 64];          /* bit: modules came and went unseen after that epoch's list */
    uint64_t wanted;                          /* the epoch of the snapshot that is decoded */
    struct kept_name names[XCTX__NAMES_KEPT]; /* by their hash; of the newest list */
    unsigned users;                           /* between get and put */
    char *debug_path;                         /* of xctx_inspect_options, a copy; NULL: the default */
    /* Of a core file: */
    char *sysroot; /* likewise */
    struct core_file *file;
    void (*destroy)(struct core_file *file); /* what `file` had */
    struct modules *next;
};

/* The modules of a core file, kept until it is closed. NULL: no memory. */
struct modules *xctx__core_modules_get(struct core_file *file, const char *sysroot);

/* Frees what is in it. */
void xctx__modules_finish(struct modules *modules);

#endif
