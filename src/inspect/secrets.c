/* SPDX-License-Identifier: MIT */
/*
 * Where secrets are: see report_internal.h.
 *
 * What is marked is found as reports find it: the variables of each frame by debug information, static ones by that of
 * all modules, and both by the symbols of modules that have none. Of a marked function all of the frame is hidden but
 * for what it has saved for its caller: the return address, and registers that the call preserves. Without those no
 * debugger would get beyond it, and they are not its own.
 *
 * A marked pointer leads to a secret, too: what it points to is hidden, one step far.
 */
#include <dwarf.h>
#include <errno.h>
#include <gelf.h>
#include <link.h>
#include <string.h>

#include "allocate.h"
#include "evaluate_internal.h"
#include "function_name.h"
#include "locals.h"
#include "marks.h"
#include "modules.h"
#include "report_internal.h"
#include "scopes.h"
#include "type.h"
#include "xctx/core.h"

enum {
    FRAMES = 8192,        /* that are looked at, at each end of the stack */
    MODULES = 4096,       /* likewise */
    TEXT = 64 * 1024,     /* bytes of a string that a marked pointer leads to */
    RED_ZONE = 128,       /* bytes below the stack pointer that a function may use (System V ABI, AMD64) */
    VECTOR_REGISTER = 63, /* the bit that stands for all of them */
};

/* What a value was computed from. */
struct use {
    size_t frame;
    unsigned reg;
    uint64_t address;
    uint64_t size; /* 0: the register */
};

struct search {
    struct arena *arena;
    const struct memory *memory;
    const struct place *place;
    struct secrets found;
    size_t room;
    struct use *uses; /* of the variable that was located last */
    size_t use_count;
    size_t use_room;
    bool all; /* every variable that is visited is secret */
};

static int blank(struct search *search, uint64_t address, uint64_t size)
{
    struct secrets *found = &search->found;

    if (size == 0 || address + size < address)
        return 0;
    if (found->count == search->room) {
        size_t room = search->room ? 2 * search->room : 64;
        xctx_core_blank *blanks = xctx__arena_allocate(search->arena, room * sizeof(*blanks));
        if (!blanks)
            return -ENOMEM;
        if (found->count)
            memcpy(blanks, found->blanks, found->count * sizeof(*blanks));
        found->blanks = blanks;
        search->room = room;
    }
    found->blanks[found->count++] = (xctx_core_blank){.address = address, .size = size};
    return 0;
}

/* ---- variables ---- */

/* A register of a frame: where it was saved, or still is. */
static int hide_register(struct search *search, const struct place *place, unsigned reg)
{
    const struct frame_registers *registers;

    if (place->index >= place->frame_count)
        return 0;
    registers = &place->frames[place->index].registers;
    if (reg < XCTX__DWARF_REGISTERS) {
        if (registers->saved_at[reg])
            return blank(search, registers->saved_at[reg], XCTX__GENERIC_SIZE);
        if (registers->known >> reg & 1)
            search->found.registers |= UINT64_C(1) << reg;
        return 0;
    }
    search->found.registers |= UINT64_C(1) << VECTOR_REGISTER;
    reg -= XCTX__DWARF_VECTOR_FIRST;
    if (reg < XCTX__DWARF_VECTORS && registers->vectors_saved_at[reg])
        return blank(search, registers->vectors_saved_at[reg], XCTX__NUMBER_SIZE);
    return 0;
}

/* Takes note of what a value is computed from: a register, or memory. */
static void note_use(void *user, const struct place *place, unsigned reg, uint64_t address, uint64_t size)
{
    struct search *search = user;

    if (search->use_count == search->use_room) {
        size_t room = search->use_room ? 2 * search->use_room : 64;
        struct use *uses = xctx__arena_allocate(search->arena, room * sizeof(*uses));
        if (!uses)
            return; /* the arena has failed then, and the search with it */
        if (search->use_count)
            memcpy(uses, search->uses, search->use_count * sizeof(*uses));
        search->uses = uses;
        search->use_room = room;
    }
    search->uses[search->use_count++] =
        (struct use){.frame = place->index, .reg = reg, .address = address, .size = size};
}

/* Hides what a value was computed from, in whichever frame that was. Registers that stand for a frame are addresses. */
static int hide_uses(struct search *search, const struct place *place)
{
    int error = 0;

    for (size_t i = 0; i < search->use_count && error == 0; i++) {
        const struct use *use = &search->uses[i];
        struct place there = *place;
        there.index = use->frame;
        if (use->size > 0)
            error = blank(search, use->address, use->size);
        else if (use->reg != XCTX__REGISTER_SP && use->reg != XCTX__REGISTER_FP)
            error = hide_register(search, &there, use->reg);
    }
    return error;
}

static int hide_location(struct search *search, const struct place *place, const struct location *location,
                         uint64_t size)
{
    bool computed = false;
    int error = 0;

    for (size_t i = 0; i < location->count && error == 0; i++) {
        const struct piece *piece = &location->pieces[i];
        uint64_t bits = piece->bit_size ? piece->bit_size : 8 * size;
        if (piece->kind == PIECE_MEMORY)
            error = blank(search, piece->address + piece->bit_offset / 8, (piece->bit_offset % 8 + bits + 7) / 8);
        else if (piece->kind == PIECE_REGISTER)
            error = hide_register(search, place, piece->reg);
        else if (piece->kind == PIECE_VALUE && piece->source != XCTX_SOURCE_CONSTANT)
            computed = true;
    }
    return error == 0 && computed ? hide_uses(search, place) : error;
}

/* Finds where a variable is, and hides that. */
static int hide_located(struct search *search, const struct place *place, const struct variable *variable,
                        uint64_t size, struct location *ret_location)
{
    struct tracer tracer = {.used = note_use, .user = search};
    struct place traced = *place;

    traced.tracer = &tracer;
    search->use_count = 0;
    xctx__variable_locate(&traced, variable, size, ret_location);
    if (search->arena->failed)
        return -ENOMEM;
    if (ret_location->failed != XCTX_SOURCE_SNAPSHOT)
        return 0;
    /* Of an array of unknown length at least its beginning. */
    return hide_location(search, place, ret_location, size ? size : XCTX__GENERIC_SIZE);
}

/* How long the text at an address is, with its final NUL, as far as it is known. */
static uint64_t text_size(const struct place *place, uint64_t address)
{
    uint8_t bytes[64];
    uint64_t size = 0;

    while (size < TEXT) {
        size_t part = sizeof(bytes);
        while (part > 0 &&
               !xctx__source_has_value(xctx__memory_read(place->memory, MEMORY_STATIC, address + size, bytes, part)))
            part /= 2;
        const uint8_t *end = memchr(bytes, 0, part);
        if (end)
            return size + (uint64_t)(end - bytes) + 1;
        if (part == 0)
            break;
        size += part;
    }
    return size;
}

static int hide_target(struct search *search, const struct place *place, Dwarf_Die *type, const struct value *value)
{
    Dwarf_Die pointer, target;
    uint64_t address, size;

    if (!xctx__type_strip(type, &pointer) ||
        (dwarf_tag(&pointer) != DW_TAG_pointer_type && dwarf_tag(&pointer) != DW_TAG_reference_type &&
         dwarf_tag(&pointer) != DW_TAG_rvalue_reference_type) ||
        !xctx__type_of(&pointer, &target) || value->size != sizeof(address) ||
        xctx__value_state(value, 0, sizeof(address)) != BYTE_KNOWN ||
        xctx__type_size(place, &target, &size) != XCTX_SOURCE_SNAPSHOT)
        return 0;
    memcpy(&address, value->bytes, sizeof(address));
    return blank(search, address, size == 1 ? text_size(place, address) : size);
}

/* The same of pointers that are no addresses, to variables which have none. */
static int hide_synthetic(struct search *search, const struct place *place, const struct location *location)
{
    Dwarf *dwarf = place->unit.cu ? dwarf_cu_getdwarf(place->unit.cu) : NULL;
    int error = 0;

    for (size_t i = 0; i < location->count && error == 0; i++) {
        struct variable target = {.name = NULL};
        struct location there;
        uint64_t size = 0;
        Dwarf_Die type;
        if (location->pieces[i].kind != PIECE_POINTER || !dwarf_offdie(dwarf, location->pieces[i].target, &target.die))
            continue;
        if (xctx__type_of(&target.die, &type) && xctx__type_size(place, &type, &size) != XCTX_SOURCE_SNAPSHOT)
            size = 0;
        error = hide_located(search, place, &target, size, &there);
    }
    return error;
}

static int hide_variable(const struct variable *variable, void *user)
{
    struct search *search = user;
    const struct place *place = search->place;
    Dwarf_Die die = variable->die;
    struct location location;
    struct value value;
    uint64_t size = 0;
    Dwarf_Die type;

    if (!search->all && !variable->hidden && !xctx__variable_secret(place, variable))
        return 0;
    bool typed = xctx__type_of(&die, &type);
    if (typed && xctx__type_size(place, &type, &size) != XCTX_SOURCE_SNAPSHOT)
        size = 0;
    int error = hide_located(search, place, variable, size, &location);
    if (error == 0 && location.failed == XCTX_SOURCE_SNAPSHOT)
        error = hide_synthetic(search, place, &location);
    if (error || location.failed != XCTX_SOURCE_SNAPSHOT || !typed || size != XCTX__GENERIC_SIZE)
        return error;
    error = xctx__value_fetch(place, &location, size, xctx__variable_use(variable), &value);
    return error ? error : hide_target(search, place, &type, &value);
}

/* ---- frames ---- */

/* All of a frame but for what is saved there for the caller. */
static int hide_frame(struct search *search, const struct unwound *frames, size_t count, size_t index)
{
    const struct unwound *frame = &frames[index];
    const struct xctx_snapshot *whole = search->memory->snapshot->whole;
    const struct frame_registers *caller = index + 1 < count ? &frames[index + 1].registers : NULL;
    struct place place = {.frames = frames, .frame_count = count, .index = index};
    int error = 0;

    if (!(frame->registers.known >> XCTX__REGISTER_SP & 1))
        return 0;
    uint64_t at = frame->registers.value[XCTX__REGISTER_SP] - (frame->exact || index == 0 ? RED_ZONE : 0);
    uint64_t left = 0;
    uint64_t end = frame->cfa                                    ? frame->cfa
                   : xctx__snapshot_bytes(whole, at, &left) != 0 ? at + left
                                                                 : whole->stack_address + whole->stack_size;
    while (at < end && error == 0) {
        uint64_t saved = end;
        for (unsigned reg = 0; caller && reg < XCTX__DWARF_REGISTERS; reg++) {
            uint64_t slot = caller->saved_at[reg];
            if (slot >= at && slot < saved)
                saved = slot;
        }
        error = blank(search, at, saved - at);
        at = saved + XCTX__GENERIC_SIZE;
    }
    /* Its own registers: those that it has saved first, and those that no call preserves. */
    for (unsigned reg = 0; reg < XCTX__DWARF_REGISTERS && error == 0; reg++) {
        uint64_t slot = caller ? caller->saved_at[reg] : 0;
        bool preserved = XCTX__REGISTERS_OF_CALL >> reg & 1;
        bool own = !caller || !preserved || (slot >= frame->registers.value[XCTX__REGISTER_SP] && slot < end);
        if (own && reg != XCTX__REGISTER_SP && reg != XCTX__REGISTER_PC && reg != XCTX__REGISTER_FP)
            error = hide_register(search, &place, reg);
    }
    return error;
}

/* Whether a function or an inlined call is marked, by any of the names it has. */
static bool scope_secret(struct scopes *scopes, int index)
{
    return xctx__function_secret(&scopes->place, &scopes->dies[index]) ||
           xctx__marked(scopes->place.memory->snapshot, XCTX_REDACT_FUNCTION,
                        xctx__function_name(&scopes->place, &scopes->dies[index]));
}

static int search_scopes(struct search *search, struct scopes *scopes)
{
    struct place *place = &scopes->place;
    int error = 0;
    int first = 0;

    search->place = place;
    search->all = false;
    for (int i = 0; i <= scopes->function; i++) {
        int tag = dwarf_tag(&scopes->dies[i]);
        if (tag == DW_TAG_inlined_subroutine || tag == DW_TAG_subprogram)
            search->all = search->all || scope_secret(scopes, i);
    }
    if (search->all)
        error = hide_frame(search, place->frames, place->frame_count, place->index);
    for (int i = 0; i <= scopes->function && error == 0; i++) {
        if (i < scopes->function && dwarf_tag(&scopes->dies[i]) != DW_TAG_inlined_subroutine)
            continue;
        error = xctx__variables_visit(&scopes->dies[first], i - first + 1, hide_variable, search);
        first = i + 1;
    }
    search->all = false;
    search->place = NULL;
    return error;
}

/* A function that only its symbol is known of. */
static int search_symbol(struct search *search, const struct unwound *frames, size_t count, size_t index)
{
    const struct unwound *frame = &frames[index];
    GElf_Off offset;
    GElf_Sym symbol;
    const char *name = frame->module ? dwfl_module_addrinfo(frame->module, xctx__unwound_lookup(frame), &offset,
                                                            &symbol, NULL, NULL, NULL)
                                     : NULL;

    if (!xctx__marked(search->memory->snapshot, XCTX_REDACT_FUNCTION, name))
        return 0;
    return hide_frame(search, frames, count, index);
}

/* What is between the ends of the stack: nobody has looked for secrets there, so all of it is hidden. */
static int hide_omitted(struct search *search, const struct unwound *frames, size_t count, size_t index)
{
    const struct xctx_snapshot *whole = search->memory->snapshot->whole;
    const struct frame_registers *first = &frames[index].registers;
    uint64_t known = UINT64_C(1) << XCTX__REGISTER_SP;
    uint64_t from = first->known & known ? first->value[XCTX__REGISTER_SP] : whole->stack_address;
    uint64_t end = whole->stack_address + whole->stack_size;

    struct stack_piece piece;
    int error = 0;

    if (index + 1 < count && frames[index + 1].registers.known & known &&
        frames[index + 1].registers.value[XCTX__REGISTER_SP] > from)
        end = frames[index + 1].registers.value[XCTX__REGISTER_SP];
    /* They may go on on other stacks. */
    for (uint32_t at = 0; error == 0 && xctx__snapshot_piece(whole, &at, &piece);)
        error = blank(search, piece.address, piece.size);
    return error == 0 && end > from ? blank(search, from, end - from) : error;
}

static int search_frames(struct search *search)
{
    struct unwound *frames = NULL;
    size_t count = 0;
    const char *end;
    int error = xctx__unwind(search->arena, search->memory, FRAMES, FRAMES, &frames, &count, &end);

    for (size_t i = 0; i < count && error == 0; i++) {
        struct place seed = {.arena = search->arena, .memory = search->memory, .frames = frames, .frame_count = count};
        struct scopes scopes;
        if (frames[i].omitted) {
            error = hide_omitted(search, frames, count, i);
        } else if (xctx__scopes_find(&seed, i, &scopes)) {
            error = scopes.function >= 0 ? search_scopes(search, &scopes) : search_symbol(search, frames, count, i);
            xctx__scopes_free(&scopes);
        } else {
            error = search_symbol(search, frames, count, i);
        }
    }
    return error;
}

/* ---- static variables ---- */

static int search_symbols(struct search *search, Dwfl_Module *module)
{
    int count = dwfl_module_getsymtab(module);
    int error = 0;

    for (int i = 0; i < count && error == 0; i++) {
        GElf_Sym symbol;
        GElf_Addr address;
        GElf_Word section;
        const char *name = dwfl_module_getsym_info(module, i, &symbol, &address, &section, NULL, NULL);
        if (name && section != SHN_UNDEF && GELF_ST_TYPE(symbol.st_info) == STT_OBJECT &&
            xctx__marked(search->memory->snapshot, XCTX_REDACT_VARIABLE, name))
            error = blank(search, address, symbol.st_size);
    }
    return error;
}

static int search_module(struct search *search, Dwfl_Module *module)
{
    struct place place = {.arena = search->arena, .memory = search->memory, .module = module};
    Dwarf_Die *unit = NULL;
    int error = search_symbols(search, module);

    search->place = &place;
    while (error == 0 && (unit = dwfl_module_nextcu(module, unit, &place.bias)) != NULL) {
        place.unit = *unit;
        if (xctx__scopes_split(&place.unit))
            error = xctx__variables_of_unit(&place, true, hide_variable, search);
    }
    search->place = NULL;
    return error;
}

struct module_list {
    uint64_t *addresses; /* one in each */
    size_t count;
};

static int add_module(struct dl_phdr_info *info, size_t size, void *user)
{
    struct module_list *list = user;

    (void)size;
    for (int i = 0; i < info->dlpi_phnum && list->count < MODULES; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            list->addresses[list->count++] = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            break;
        }
    }
    return 0;
}

static int search_modules(struct search *search)
{
    const struct core_file *file = search->memory->snapshot->whole->file;
    struct module_list list = {.addresses = xctx__arena_allocate(search->arena, MODULES * sizeof(uint64_t))};
    int error = 0;

    if (!list.addresses)
        return -ENOMEM;
    for (size_t i = 0; file && i < file->module_count && list.count < MODULES; i++) {
        if (file->modules[i].offset == 0)
            list.addresses[list.count++] = file->modules[i].start;
    }
    if (!file)
        dl_iterate_phdr(add_module, &list);
    for (size_t i = 0; i < list.count && error == 0; i++) {
        Dwfl_Module *module = xctx__modules_find(search->memory->modules, search->memory->snapshot, list.addresses[i]);
        if (module)
            error = search_module(search, module);
    }
    return error;
}

static int find(const xctx_snapshot *snapshot, const xctx_inspect_options *options, bool globals, struct arena *arena,
                struct secrets *ret_secrets)
{
    struct memory memory = {.snapshot = snapshot, .statics = true};
    struct search search = {.arena = arena, .memory = &memory};
    int error = -ENOMEM;

    if (!xctx__marks_any(snapshot)) {
        *ret_secrets = (struct secrets){0};
        return 0;
    }
    xctx__decode_lock();
    xctx__decode_begin();
    memory.modules = xctx__modules_get(snapshot, options);
    if (memory.modules) {
        error = search_frames(&search);
        if (error == 0 && globals)
            error = search_modules(&search);
        xctx__modules_put(memory.modules);
    }
    xctx__decode_unlock();
    if (error == 0 && (arena->failed || xctx__decode_ran_out()))
        error = -ENOMEM;
    if (error == 0)
        *ret_secrets = search.found;
    return error;
}

int xctx__secrets_find(const xctx_snapshot *snapshot, struct arena *arena, struct secrets *ret_secrets)
{
    return find(snapshot, NULL, true, arena, ret_secrets);
}

int xctx__secrets_of_frames(const xctx_snapshot *snapshot, const xctx_inspect_options *options, struct arena *arena,
                            struct secrets *ret_secrets)
{
    return find(snapshot, options, false, arena, ret_secrets);
}
