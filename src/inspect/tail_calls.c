/* SPDX-License-Identifier: MIT */
/*
 * See tail_calls.h.
 *
 * The calls are a graph: from the call that the caller is in along tail calls. All ways to the function that returns to
 * the caller are looked for, each call being on a way only once. Of several, the calls that all begin with and end with
 * are certain. Where a call may lead anywhere, as through a pointer, nothing is.
 */
#include "tail_calls.h"

#include <errno.h>
#include <string.h>

#include "arena.h"
#include "calls.h"
#include "modules.h"
#include "render.h"
#include "scopes.h"

enum {
    DEPTH = 24,  /* functions on a way */
    TRIES = 512, /* calls that are followed, for each frame */
};

/* A tail call. */
struct jump {
    uint64_t pc; /* in memory, behind it */
    Dwfl_Module *module;
};

/* Calls on a way. */
struct way {
    struct jump jumps[DEPTH];
    size_t count;
};

struct search {
    const struct memory *memory;
    Dwfl_Module *module; /* of the function that is looked at */
    uint64_t callee;     /* what is looked for: where that function begins */
    unsigned left;       /* TRIES */
    bool failed;         /* anything may be called */
    bool found;
    struct way way;   /* from the caller to here */
    struct way first; /* of those found */
    size_t callers;   /* how many calls at its beginning all have in common */
    size_t callees;   /* and at its end */
};

/* ---- ways ---- */

static void add_way(struct search *search)
{
    const struct way *way = &search->way, *first = &search->first;
    size_t shorter = way->count < first->count ? way->count : first->count;
    size_t callers = 0, callees = 0;

    if (!search->found) {
        search->found = true;
        search->first = *way;
        search->callers = search->callees = way->count;
        return;
    }
    while (callers < shorter && callers < search->callers && way->jumps[callers].pc == first->jumps[callers].pc)
        callers++;
    while (callees < shorter - callers && callees < search->callees &&
           way->jumps[way->count - 1 - callees].pc == first->jumps[first->count - 1 - callees].pc)
        callees++;
    search->callers = callers;
    search->callees = callees;
}

static void follow_call(struct search *search, Dwarf_Die *call_site);

static bool visit(Dwarf_Die *call_site, void *user)
{
    struct search *search = user;
    struct way *way = &search->way;
    Dwarf_Addr pc, bias;

    if (!xctx__call_is_tail(call_site))
        return false;
    if (search->left == 0 || way->count == DEPTH || !xctx__call_return_pc(call_site, &pc) ||
        !dwfl_module_getdwarf(search->module, &bias)) {
        search->failed = true;
        return true;
    }
    search->left--;
    pc += bias;
    for (size_t i = 0; i < way->count; i++) {
        if (way->jumps[i].pc == pc)
            return false;
    }
    way->jumps[way->count++] = (struct jump){.pc = pc, .module = search->module};
    follow_call(search, call_site);
    way->count--;
    return search->failed;
}

/* Goes on where a call leads to. No deeper than ways are long. */
static void follow_call(struct search *search, Dwarf_Die *call_site)
{
    Dwfl_Module *module = search->module;
    struct call_target target;
    Dwarf_Die origin;

    if (!xctx__call_origin(call_site, &origin) || !xctx__call_target(search->memory, module, &origin, &target)) {
        search->failed = true;
        return;
    }
    if (target.address == search->callee) {
        add_way(search);
        return;
    }
    if (!target.has_function || !xctx__calls_complete(&target.function)) {
        search->failed = true;
        return;
    }
    search->module = target.module;
    if (xctx__calls_visit(&target.function, visit, search) != CALLS_SEEN)
        search->failed = true;
    search->module = module;
}

/* ---- one frame ---- */

/* Where the function of a frame begins. */
static bool entry_of(const struct place *seed, size_t index, uint64_t *ret_entry)
{
    const struct unwound *frame = &seed->frames[index];
    uint64_t lookup = xctx__unwound_lookup(frame), offset;
    struct scopes scopes;
    Dwarf_Addr entry;
    const char *name;
    bool found = false;

    if (xctx__scopes_find(seed, index, &scopes)) {
        found = scopes.place.has_function && xctx__function_entry(&scopes.place.function, &entry);
        if (found)
            *ret_entry = entry + scopes.place.bias;
        xctx__scopes_free(&scopes);
    }
    if (!found && frame->module && xctx__symbol_at(seed, lookup, &name, &offset)) {
        *ret_entry = lookup - offset;
        found = true;
    }
    return found;
}

struct call_search {
    Dwarf_Addr pc;
    Dwarf_Die found;
};

static bool visit_call(Dwarf_Die *call_site, void *user)
{
    struct call_search *search = user;
    Dwarf_Addr pc;

    if (xctx__call_is_tail(call_site) || !xctx__call_return_pc(call_site, &pc) || pc != search->pc)
        return false;
    search->found = *call_site;
    return true;
}

/* The call that a frame is in. */
static bool find_call(const struct place *seed, size_t index, Dwarf_Die *ret_call_site)
{
    struct call_search search = {.pc = seed->frames[index].pc};
    struct scopes scopes;
    bool found = false;

    if (!xctx__scopes_find(seed, index, &scopes))
        return false;
    search.pc -= scopes.place.bias;
    found =
        scopes.place.has_function && xctx__calls_visit(&scopes.place.function, visit_call, &search) == CALLS_STOPPED;
    *ret_call_site = search.found;
    xctx__scopes_free(&scopes);
    return found;
}

/* The tail calls between a frame and its caller, from the caller's on. */
static size_t find_way(const struct place *seed, size_t index, struct way *ret_way)
{
    const struct unwound *frame = &seed->frames[index], *caller = frame + 1;
    struct search search = {.memory = seed->memory, .module = caller->module, .left = TRIES};
    Dwarf_Die call_site;

    if (frame->omitted || frame->signal || frame->guessed || caller->guessed || caller->exact || !caller->module ||
        frame->cfa == 0 || !find_call(seed, index + 1, &call_site) || !entry_of(seed, index, &search.callee))
        return 0;
    follow_call(&search, &call_site);
    if (search.failed || !search.found)
        return 0;
    *ret_way = search.first;
    if (search.callers < search.first.count) {
        ret_way->count = search.callers + search.callees;
        memmove(&ret_way->jumps[search.callers], &search.first.jumps[search.first.count - search.callees],
                search.callees * sizeof(ret_way->jumps[0]));
    }
    return ret_way->count;
}

/* ---- all of them ---- */

/* A frame that was left. Its registers are the caller's: it had put back what it had to preserve. What it had on the
   stack is gone. */
static int make_frame(struct arena *arena, const struct memory *memory, const struct unwound *callee,
                      const struct unwound *caller, const struct jump *jump, struct unwound *ret_frame)
{
    struct memory *rest = xctx__arena_allocate(arena, sizeof(*rest));
    struct frame_registers *registers = &ret_frame->registers;
    uint64_t sp = callee->cfa - (XCTX__CALL_PUSHES ? sizeof(uint64_t) : 0);

    if (!rest)
        return -ENOMEM;
    *rest = *memory;
    rest->lost_below = callee->cfa;
    *ret_frame = (struct unwound){
        .pc = jump->pc,
        .cfa = callee->cfa,
        .module = jump->module,
        .tail = true,
        .memory = rest,
        .registers = caller->registers,
    };
    registers->value[XCTX__REGISTER_PC] = jump->pc;
    registers->saved_at[XCTX__REGISTER_PC] = 0;
    registers->value[XCTX__REGISTER_SP] = sp;
    registers->saved_at[XCTX__REGISTER_SP] = 0;
    return 0;
}

/* Puts the frames of a way behind the frame `index`: the innermost is the last of the way. */
static int insert(struct arena *arena, const struct memory *memory, const struct way *way, size_t index,
                  struct unwound **frames, size_t *count)
{
    size_t total = *count + way->count;
    struct unwound *larger = xctx__arena_allocate(arena, total * sizeof(*larger));

    if (!larger)
        return -ENOMEM;
    memcpy(larger, *frames, (index + 1) * sizeof(*larger));
    memcpy(larger + index + 1 + way->count, *frames + index + 1, (*count - index - 1) * sizeof(*larger));
    for (size_t i = 0; i < way->count; i++) {
        if (make_frame(arena, memory, &(*frames)[index], &(*frames)[index + 1], &way->jumps[way->count - 1 - i],
                       &larger[index + 1 + i]) != 0)
            return -ENOMEM;
    }
    *frames = larger;
    *count = total;
    return 0;
}

int xctx__tail_calls_add(struct arena *arena, const struct memory *memory, size_t max_frames, struct unwound **frames,
                         size_t *count)
{
    struct way way;

    for (size_t i = 0; i + 1 < *count; i++) {
        struct place seed = {.arena = arena, .memory = memory, .frames = *frames, .frame_count = *count};
        size_t more = find_way(&seed, i, &way);
        if (more == 0 || *count + more > max_frames)
            continue;
        if (insert(arena, memory, &way, i, frames, count) != 0)
            return -ENOMEM;
        i += more;
    }
    return arena->failed ? -ENOMEM : 0;
}
