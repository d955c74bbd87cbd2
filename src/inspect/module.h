/* SPDX-License-Identifier: MIT */
/*
 * One module: where it is or was loaded, and its file, which is opened when it is first needed. Between modules.c,
 * which knows which modules there are, and those that read them.
 */
#ifndef XCTX_INSPECT_MODULE_H
#define XCTX_INSPECT_MODULE_H

#include <elfutils/libdwfl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "scope_cache.h"
#include "symbol_index.h"
#include "unit_index.h"

struct core_file;

enum { XCTX__BUILD_ID = 64 }; /* bytes of a build-id that are looked at */

struct build_id {
    size_t size; /* 0: none */
    uint8_t bytes[XCTX__BUILD_ID];
};

enum module_stage {
    MODULE_CLOSED,  /* not tried yet */
    MODULE_OPEN,    /* `dwfl_module` is set */
    MODULE_REFUSED, /* its file is not there, or is another one: `complaint` says so */
};

/* A file that libdwfl has open. */
struct opened_file {
    int fd;
    uint64_t device;
    uint64_t number;
};

enum { XCTX__OPENED = 3 }; /* the module, its debug information, and what that shares with others */

/* Its own Dwfl has each module, so that one that was unloaded and one that came to its place can be used together. */
struct module {
    struct module *next;
    uint64_t start; /* of its segments: page by page */
    uint64_t end;
    uint64_t bias;  /* address in memory = address in the file + bias */
    uint64_t born;  /* the first epoch whose list it is in */
    uint64_t died;  /* the first after that whose list it is not in; UINT64_MAX */
    bool permanent; /* never unloaded: of the program's start */
    bool vdso;
    bool program;   /* the main program */
    bool sharing;   /* in debug_file.c: its shared debug information is being looked for */
    bool unchecked; /* nothing of it was there to compare the file with */
    struct build_id id;
    const struct core_file *core; /* NULL: of this process */
    const char *debug_path;       /* of xctx_inspect_options; NULL: the default */
    const char *sysroot;          /* likewise; "" for this process */
    char *path;                   /* absolute, as loaded, without sysroot */
    enum module_stage stage;
    Dwfl *dwfl;
    Dwfl_Module *dwfl_module;
    struct opened_file opened[XCTX__OPENED];
    int opened_count;
    struct unit_index units;
    struct symbol_index symbols;
    struct scope_cache scopes;
    uint8_t *image; /* made of what is in memory, where there is no file to use */
    size_t image_size;
    char *complaint;
    bool complaint_known;
};

/* NULL: no memory. Copies the path. */
struct module *xctx__module_create(const char *path);
void xctx__module_destroy(struct module *module);

/* Closes its file, so that it is opened anew when needed. */
void xctx__module_close(struct module *module);

/* Opens its file, if that was not tried. NULL: it cannot be used. */
Dwfl_Module *xctx__module_open(struct module *module);

/* Reads bytes of segments that are not writable, from its file. Returns whether all were there. */
bool xctx__module_read(struct module *module, uint64_t address, void *buffer, size_t size);

/* Notes a file that is handed to libdwfl. Returns whether it is a file of the usual kind. */
bool xctx__module_note_file(struct module *module, int fd);

/* The module that elfutils' module belongs to. */
struct module *xctx__module_of(Dwfl_Module *dwfl_module);

/* What is missing; lasts as long as the module. NULL: nothing. */
const char *xctx__module_lack(struct module *module);

/* The build-id in ELF notes. */
void xctx__build_id_find(const uint8_t *notes, size_t size, struct build_id *ret_id);
bool xctx__build_id_equal(const struct build_id *a, const struct build_id *b);

/* The build-id of an ELF file. */
void xctx__build_id_of(Elf *elf, struct build_id *ret_id);

/* The callback of libdwfl that finds separate debug information (debug_file.c). Asks nobody on the network. */
int xctx__debug_file_find(Dwfl_Module *dwfl_module, void **user, const char *name, Dwarf_Addr base,
                          const char *file_name, const char *link, GElf_Word checksum, char **ret_path);

#endif
