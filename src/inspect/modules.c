/* SPDX-License-Identifier: MIT */
/*
 * See modules.h.
 *
 * The list is kept as entries that have an epoch in which they came and one in which they went. Those that went are
 * kept for snapshots that were taken before, up to HISTORY of them: what is forgotten is noted in `forgotten`, and for
 * snapshots from before that only modules that can never have been unloaded are found.
 *
 * The main program and what it was started with are never unloaded. The dynamic linker lists modules in the order in
 * which they came, and itself among the first: what is listed before it was there from the start.
 */
#include "modules.h"

#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <unistd.h>

#include "allocate.h"
#include "capture/snapshot_internal.h"
#include "context/memory.h"
#include "core_modules.h"
#include "module.h"

enum { HISTORY = 128 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int cancel_state;       /* what the thread that holds the lock had */
static struct modules process; /* of this process */

void xctx__decode_lock(void)
{
    int state;

    /* elfutils opens and reads files, where a thread can be cancelled. */
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    pthread_mutex_lock(&lock);
    cancel_state = state;
}

void xctx__decode_unlock(void)
{
    int state = cancel_state;

    pthread_mutex_unlock(&lock);
    pthread_setcancelstate(state, &state);
}

static bool covers(const struct module *module, uint64_t address)
{
    return address >= module->start && address < module->end;
}

/* ---- reading the list ---- */

struct walk {
    struct modules *modules;
    struct module **end;   /* where the next entry of the new list goes */
    struct module *old;    /* those of the list before, not found yet */
    struct module *linker; /* the entry that has the dynamic linker */
    bool first;
    bool changed;
    bool failed; /* memory ran out */
};

static void read_range(const struct dl_phdr_info *info, struct module *module)
{
    module->bias = info->dlpi_addr;
    module->start = UINT64_MAX;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type != PT_LOAD || segment->p_memsz == 0)
            continue;
        uint64_t start = (module->bias + segment->p_vaddr) & ~(uint64_t)4095;
        uint64_t end = (module->bias + segment->p_vaddr + segment->p_memsz + 4095) & ~(uint64_t)4095;
        module->start = start < module->start ? start : module->start;
        module->end = end > module->end ? end : module->end;
    }
}

static void read_id(const struct dl_phdr_info *info, struct module *module)
{
    for (int i = 0; i < info->dlpi_phnum && module->id.size == 0; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        uint64_t address = info->dlpi_addr + segment->p_vaddr;
        if (segment->p_type == PT_NOTE && covers(module, address) && segment->p_memsz <= module->end - address)
            xctx__build_id_find((const uint8_t *)address, segment->p_memsz, &module->id);
    }
}

static bool same_module(const struct module *a, const struct module *b)
{
    return a->start == b->start && a->end == b->end && a->bias == b->bias && strcmp(a->path, b->path) == 0 &&
           xctx__build_id_equal(&a->id, &b->id);
}

/* Writes the absolute path of a module. */
static void path_of(const struct dl_phdr_info *info, const struct module *module, char *path, size_t size)
{
    const char *name = info->dlpi_name ? info->dlpi_name : "";
    char folder[2048];
    ssize_t length;

    if (module->vdso)
        snprintf(path, size, "[vdso]");
    else if (module->program && (length = readlink("/proc/self/exe", path, size - 1)) > 0)
        path[length] = '\0';
    else if (name[0] == '/' || !getcwd(folder, sizeof(folder)))
        snprintf(path, size, "%s", name);
    else
        snprintf(path, size, "%s/%s", folder, name);
    /* So it reads when the file is gone. */
    char *deleted = module->program ? strstr(path, " (deleted)") : NULL;
    if (deleted && deleted[strlen(" (deleted)")] == '\0')
        *deleted = '\0';
}

/* Takes the entry that a listed module had before, or makes one. */
static void add_module(struct walk *walk, const struct dl_phdr_info *info)
{
    char path[4096];
    uint64_t vdso = getauxval(AT_SYSINFO_EHDR), linker = getauxval(AT_BASE);
    struct module new = {.path = path}, *module = NULL;

    read_range(info, &new);
    if (new.start >= new.end)
        return;
    read_id(info, &new);
    new.vdso = covers(&new, vdso);
    new.program = walk->first;
    walk->first = false;
    path_of(info, &new, path, sizeof(path));
    for (struct module **at = &walk->old; *at && !module; at = &(*at)->next) {
        if (same_module(*at, &new)) {
            module = *at;
            *at = module->next;
            break;
        }
    }
    if (!module) {
        module = xctx__module_create(path);
        if (!module) {
            walk->failed = true;
            return;
        }
        module->start = new.start;
        module->end = new.end;
        module->bias = new.bias;
        module->id = new.id;
        module->vdso = new.vdso;
        module->program = new.program;
        module->permanent = new.vdso || new.program;
        module->debug_path = walk->modules->debug_path;
        module->born = walk->modules->epoch + 1;
        walk->changed = true;
    }
    if (covers(module, linker))
        walk->linker = module;
    module->next = NULL;
    *walk->end = module;
    walk->end = &module->next;
}

static int visit(struct dl_phdr_info *info, size_t size, void *user)
{
    struct walk *walk = user;

    if (walk->first) {
        bool counted = size >= offsetof(struct dl_phdr_info, dlpi_subs) + sizeof(info->dlpi_subs);
        uint64_t adds = counted ? info->dlpi_adds : 0, subs = counted ? info->dlpi_subs : 0;
        if (counted && walk->modules->epoch > 0 && adds == walk->modules->adds && subs == walk->modules->subs)
            return 1;
        walk->changed = true;
        /* With the dynamic linker's lock held, so that whoever runs code of a module that is added later sees it. */
        atomic_store(&xctx__module_epoch, walk->modules->epoch + 1);
        walk->modules->adds = adds;
        walk->modules->subs_now = subs;
        walk->old = walk->modules->loaded;
        walk->modules->loaded = NULL;
    }
    add_module(walk, info);
    return 0;
}

/* ---- history ---- */

/* Forgets the oldest of those that went. */
static void forget(struct modules *modules)
{
    struct module **at = &modules->gone;
    size_t kept = 0;

    while (*at && kept < HISTORY) {
        at = &(*at)->next;
        kept++;
    }
    while (*at) {
        struct module *module = *at;
        *at = module->next;
        if (module->died > modules->forgotten)
            modules->forgotten = module->died;
        xctx__module_destroy(module);
    }
}

/* Whether modules came and went unseen between the list of an epoch and the next. */
static bool was_unsettled(const struct modules *modules, uint64_t epoch)
{
    if (epoch < modules->forgotten || modules->epoch - epoch > EPOCHS)
        return true;
    return modules->unsettled[epoch % EPOCHS / 64] >> (epoch % 64) & 1;
}

static void note_unsettled(struct modules *modules, uint64_t epoch, bool unsettled)
{
    uint64_t bit = UINT64_C(1) << (epoch % 64);

    modules->unsettled[epoch % EPOCHS / 64] &= ~bit;
    modules->unsettled[epoch % EPOCHS / 64] |= unsettled ? bit : 0;
}

static void forget_names(struct modules *modules)
{
    memset(modules->names, 0, sizeof(modules->names));
}

/* Brings the list up to date. */
static void refresh(struct modules *modules)
{
    struct walk walk = {.modules = modules, .end = &modules->loaded, .first = true};
    struct module *next;
    uint64_t went = 0;

    dl_iterate_phdr(visit, &walk);
    if (!walk.changed)
        return;
    forget_names(modules);
    for (struct module *module = walk.old; module; module = next) {
        next = module->next;
        module->died = modules->epoch + 1;
        module->next = modules->gone;
        modules->gone = module;
        went++;
    }
    forget(modules);
    for (struct module *module = modules->loaded; walk.linker && module; module = module->next) {
        module->permanent = true;
        if (module == walk.linker)
            break;
    }
    note_unsettled(modules, modules->epoch, walk.failed || modules->subs_now - modules->subs != went);
    modules->subs = modules->subs_now;
    modules->epoch++;
    if (walk.failed)
        modules->adds = UINT64_MAX; /* try again */
}

/* ---- which module ---- */

static bool is_in(const struct module *module, uint64_t epoch)
{
    return module->born <= epoch && epoch < module->died;
}

/* The module at an address for a snapshot of an epoch. *ret_unknown: it cannot be told. */
static struct module *find(struct modules *modules, uint64_t epoch, uint64_t address, bool *ret_unknown)
{
    struct module *found = NULL;
    struct module *const lists[2] = {modules->loaded, modules->gone};
    bool is_now = epoch >= modules->epoch;
    int count = 0;

    *ret_unknown = false;
    for (int i = 0; i < 2; i++) {
        for (struct module *module = lists[i]; module; module = module->next) {
            if (!covers(module, address))
                continue;
            if (module->permanent)
                return module;
            if (is_in(module, epoch) || (!is_now && is_in(module, epoch + 1))) {
                found = module;
                count++;
            }
        }
    }
    if (count == 0)
        return NULL;
    *ret_unknown = count > 1 || (!is_now && was_unsettled(modules, epoch));
    return *ret_unknown ? NULL : found;
}

static uint64_t epoch_of(const xctx_snapshot *snapshot)
{
    return snapshot->whole->file ? 0 : snapshot->whole->epoch;
}

Dwfl_Module *xctx__modules_find(struct modules *modules, const xctx_snapshot *snapshot, uint64_t address)
{
    bool unknown;
    struct module *module = find(modules, epoch_of(snapshot), address, &unknown);

    return module ? xctx__module_open(module) : NULL;
}

const char *xctx__modules_path(struct modules *modules, const xctx_snapshot *snapshot, uint64_t address)
{
    bool unknown;
    struct module *module = find(modules, epoch_of(snapshot), address, &unknown);

    return module ? module->path : NULL;
}

const char *xctx__modules_refusal(struct modules *modules, const xctx_snapshot *snapshot, uint64_t address)
{
    bool unknown;
    struct module *module = find(modules, epoch_of(snapshot), address, &unknown);

    if (unknown)
        return "modules were loaded and unloaded after the snapshot was taken: what was at some of its addresses then "
               "cannot be told";
    return module && module->stage == MODULE_REFUSED ? module->complaint : NULL;
}

const char *xctx__module_path(Dwfl_Module *module)
{
    return xctx__module_of(module)->path;
}

const char *xctx__module_complaint(struct modules *modules, Dwfl_Module *module)
{
    (void)modules;
    return xctx__module_lack(xctx__module_of(module));
}

bool xctx__modules_read(struct modules *modules, uint64_t address, void *buffer, size_t size)
{
    bool unknown;
    struct module *module = find(modules, modules->wanted, address, &unknown);

    return module && xctx__module_read(module, address, buffer, size);
}

bool xctx__modules_cover(struct modules *modules, uint64_t address)
{
    bool unknown;

    return find(modules, modules->wanted, address, &unknown) != NULL;
}

/* ---- functions by name ---- */

/* Behind a name may be the version that it has if none is asked for. */
static bool has_name(const struct symbol *symbol, const char *name, size_t length)
{
    const char *rest = symbol->name + length;

    return strncmp(symbol->name, name, length) == 0 && (!*rest || (rest[0] == '@' && rest[1] == '@'));
}

/* The symbol of a name in a module, one that is seen from other modules or not. *ret_several: there are, of different
   addresses. */
static const struct symbol *symbol_named(struct module *module, const char *name, bool global, bool *ret_several)
{
    const struct symbol_index *index = xctx__symbols_of(module->dwfl_module);
    size_t length = strlen(name);
    const struct symbol *found = NULL;

    *ret_several = false;
    for (size_t i = 0; i < index->count; i++) {
        const struct symbol *symbol = &index->symbols[i];
        if (symbol->global != global || !has_name(symbol, name, length))
            continue;
        *ret_several = *ret_several || (found && found->address != symbol->address);
        found = symbol;
    }
    return found;
}

/* Whether a module of the newest list was there when a snapshot of an epoch was taken. */
static bool was_there(const struct modules *modules, const struct module *module, uint64_t epoch)
{
    return module->permanent || is_in(module, epoch) || epoch >= modules->epoch;
}

Dwfl_Module *xctx__modules_next(struct modules *modules, const xctx_snapshot *snapshot, Dwfl_Module *previous)
{
    struct module *module = previous ? xctx__module_of(previous)->next : modules->loaded;

    while (module && (!was_there(modules, module, epoch_of(snapshot)) || !xctx__module_open(module)))
        module = module->next;
    return module ? module->dwfl_module : NULL;
}

struct kept_name *xctx__modules_kept(struct modules *modules, const xctx_snapshot *snapshot, Dwfl_Module *from,
                                     const void *key)
{
    struct kept_name *kept =
        &modules->names[(uintptr_t)key * UINT64_C(0x9e3779b97f4a7c15) >> 32 & (XCTX__NAMES_KEPT - 1)];

    if (!modules->file && epoch_of(snapshot) < modules->epoch)
        return NULL;
    if (kept->from != from || kept->key != key)
        *kept = (struct kept_name){0};
    return kept;
}

/* Among all modules. The list of this process is in the order in which the dynamic linker looks; that of a core file is
   not: there must be only one. */
static const struct symbol *exported(struct modules *modules, const xctx_snapshot *snapshot, const char *name,
                                     struct module **ret_module, bool *ret_several)
{
    uint64_t epoch = epoch_of(snapshot);
    const struct symbol *found = NULL;
    bool several = false;

    *ret_several = false;
    for (struct module *module = modules->loaded; module && !(found && !modules->file); module = module->next) {
        if (!was_there(modules, module, epoch) || !xctx__module_open(module))
            continue;
        const struct symbol *symbol = symbol_named(module, name, true, &several);
        if (!symbol)
            continue;
        *ret_several = several || found;
        *ret_module = module;
        found = symbol;
    }
    return found;
}

static bool find_function_named(struct modules *modules, const xctx_snapshot *snapshot, Dwfl_Module *from,
                                const char *name, Dwfl_Module **ret_module, uint64_t *ret_address)
{
    struct module *module = xctx__module_of(from);
    bool several;
    const struct symbol *symbol = symbol_named(module, name, false, &several);

    if (!symbol && (module->program || modules->file))
        symbol = symbol_named(module, name, true, &several);
    if (!symbol)
        symbol = exported(modules, snapshot, name, &module, &several);
    if (!symbol || several || !symbol->function)
        return false;
    *ret_module = module->dwfl_module;
    *ret_address = symbol->address;
    return true;
}

bool xctx__modules_function(struct modules *modules, const xctx_snapshot *snapshot, Dwfl_Module *from, const char *name,
                            Dwfl_Module **ret_module, uint64_t *ret_address)
{
    struct kept_name *kept = xctx__modules_kept(modules, snapshot, from, name);

    if (!kept)
        return find_function_named(modules, snapshot, from, name, ret_module, ret_address);
    if (!kept->from) {
        struct kept_name found = {.from = from, .key = name};
        if (!find_function_named(modules, snapshot, from, name, &found.module, &found.address))
            found.module = NULL;
        if (xctx__decode_ran_out())
            return false;
        *kept = found;
    }
    *ret_module = kept->module;
    *ret_address = kept->address;
    return kept->module != NULL;
}

/* ---- this process's ---- */

uint64_t xctx__modules_own_epoch(void)
{
    return process.epoch;
}

static uint64_t find_function(Dwfl_Module *module, const char *name)
{
    int count = dwfl_module_getsymtab(module);
    GElf_Sym symbol;
    GElf_Addr address;

    for (int i = 1; i < count; i++) {
        const char *found = dwfl_module_getsym_info(module, i, &symbol, &address, NULL, NULL, NULL);
        if (found && GELF_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_shndx != SHN_UNDEF &&
            strcmp(found, name) == 0)
            return address;
    }
    return 0;
}

uint64_t xctx__modules_own_function(const char *library, const char *name)
{
    for (struct module *module = process.loaded; module; module = module->next) {
        if (strstr(module->path, library) && xctx__module_open(module))
            return find_function(module->dwfl_module, name);
    }
    return 0;
}

/* ---- get, put ---- */

static bool same_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* Modules are opened anew for another path. False: no memory. */
static bool set_debug_path(struct modules *modules, const char *path)
{
    size_t size = path ? strlen(path) + 1 : 0;
    char *copy = NULL;

    if (same_text(modules->debug_path, path))
        return true;
    if (path && !(copy = xctx__decode_allocate(size)))
        return false;
    if (copy)
        memcpy(copy, path, size);
    forget_names(modules);
    for (int i = 0; i < 2; i++) {
        for (struct module *module = i ? modules->gone : modules->loaded; module; module = module->next) {
            xctx__module_close(module);
            module->debug_path = copy;
        }
    }
    xctx__free(modules->debug_path);
    modules->debug_path = copy;
    return true;
}

struct modules *xctx__modules_get(const xctx_snapshot *snapshot, const xctx_inspect_options *options)
{
    const struct core_file *file = snapshot->whole->file;
    struct modules *modules =
        file ? xctx__core_modules_get(snapshot->whole->file, options ? options->sysroot : NULL) : &process;

    if (!modules)
        return NULL;
    if (modules->users == 0 && !set_debug_path(modules, options ? options->debug_path : NULL))
        return NULL;
    modules->users++;
    /* Not while modules that may be forgotten are in use. This process's are needed for other files, too: what reads
       names is in one of them (demangle.c). */
    if (process.users == (file ? 0 : 1))
        refresh(&process);
    modules->wanted = epoch_of(snapshot);
    return modules;
}

void xctx__modules_put(struct modules *modules)
{
    if (modules)
        modules->users--;
}

static void list_destroy(struct module **list)
{
    struct module *next;

    for (struct module *module = *list; module; module = next) {
        next = module->next;
        xctx__module_destroy(module);
    }
    *list = NULL;
}

void xctx__modules_finish(struct modules *modules)
{
    forget_names(modules);
    list_destroy(&modules->loaded);
    list_destroy(&modules->gone);
    xctx__free(modules->debug_path);
    modules->debug_path = NULL;
}

/* ---- with the library ---- */

__attribute__((constructor)) static void start(void)
{
    /* After libxctx has registered its own: then this lock is taken before the locks that are taken within it. */
    pthread_atfork(xctx__decode_lock, xctx__decode_unlock, xctx__decode_unlock);
    xctx__decode_lock();
    refresh(&process);
    xctx__decode_unlock();
}

__attribute__((destructor)) static void end(void)
{
    xctx__decode_lock();
    xctx__modules_finish(&process);
    process.adds = UINT64_MAX; /* read anew, should a thread make another report */
    xctx__decode_unlock();
}
