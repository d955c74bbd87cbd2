/* SPDX-License-Identifier: MIT */
/*
 * What a parameter was when its function was entered: the compiler says at the call, in DW_TAG_call_site (DWARF 5,
 * section 3.4; DW_TAG_GNU_call_site before), how to compute it from what the caller still has.
 *
 * That holds only if the call which the caller's frame is in is the one that entered this very frame. It is not if the
 * called function left by a tail call, whose parameters nobody knows any more. So the target of the call has to be this
 * function, and this function must not be able to come back to itself by tail calls. gdb has the same rules. Where
 * anything about that is not known, there is no value.
 */
#include <dwarf.h>
#include <gelf.h>
#include <string.h>

#include "calls.h"
#include "evaluate_internal.h"
#include "scopes.h"

enum {
    WALK_ENTRIES = 65536, /* parameters of a call that are looked through */
    TAIL_FUNCTIONS = 16,  /* that can be reached by tail calls */
};

/* ---- functions ---- */

static Dwarf_Die *follow(Dwarf_Die *die, unsigned reference, Dwarf_Die *ret_die)
{
    Dwarf_Attribute attribute;

    return dwarf_formref_die(dwarf_attr(die, reference, &attribute), ret_die);
}

static bool flag_of(Dwarf_Die *die, unsigned name)
{
    Dwarf_Attribute attribute;
    bool flag = false;

    return dwarf_attr_integrate(die, name, &attribute) && dwarf_formflag(&attribute, &flag) == 0 && flag;
}

/* The declaration or abstract function that several entries of one function have in common. */
static Dwarf_Die function_root(Dwarf_Die function)
{
    Dwarf_Die next;

    for (int i = 0; i < 4; i++) {
        if (!follow(&function, DW_AT_abstract_origin, &next) && !follow(&function, DW_AT_specification, &next))
            break;
        function = next;
    }
    return function;
}

/* Whether two entries are of one function in the source. */
static bool same_source(Dwarf_Die *one, Dwarf_Die *other)
{
    Dwarf_Die one_root = function_root(*one);
    Dwarf_Die other_root = function_root(*other);
    const char *one_name = xctx__function_linkage_name(one);
    const char *other_name = xctx__function_linkage_name(other);

    if (one_root.addr == other_root.addr)
        return true;
    return one_name && other_name && strcmp(one_name, other_name) == 0 && flag_of(one, DW_AT_external) &&
           flag_of(other, DW_AT_external);
}

/* Whether an entry stands for all copies of a function. Which of them is called it does not say, and the compiler may
   have changed their parameters, or put a loop in place of calls to itself. Units that were optimized together may name
   a declaration by way of an entry of their own. */
static bool is_abstract(Dwarf_Die *function)
{
    Dwarf_Attribute attribute;
    Dwarf_Addr entry;
    Dwarf_Die named = *function;

    if (xctx__function_entry(function, &entry))
        return false;
    for (int i = 0; i < 4 && !dwarf_attr(&named, DW_AT_declaration, &attribute); i++) {
        if (!follow(&named, DW_AT_abstract_origin, &named))
            return true;
    }
    return !dwarf_attr(&named, DW_AT_declaration, &attribute);
}

/* Whether the code at an address is all of a function, and not a part or a variant that the compiler made of it, which
   have names like "function.part.0". */
static bool is_whole(Dwfl_Module *module, uint64_t address)
{
    GElf_Sym symbol;
    GElf_Off offset = 0;
    const char *found = dwfl_module_addrinfo(module, address, &offset, &symbol, NULL, NULL, NULL);

    /* Behind '@' is the version of the symbol. */
    return found && offset == 0 && found[strcspn(found, ".@")] != '.';
}

/* ---- looking through a function ---- */

struct return_search {
    Dwarf_Addr return_pc;
    bool tail; /* the call is a tail call */
    Dwarf_Die *found;
};

static bool visit_return(Dwarf_Die *call_site, void *user)
{
    struct return_search *search = user;
    Dwarf_Addr address;

    if (xctx__call_is_tail(call_site) != search->tail || !xctx__call_return_pc(call_site, &address) ||
        address != search->return_pc)
        return false;
    *search->found = *call_site;
    return true;
}

/* The call that a frame is in, or has left by. */
static bool find_call_site(const struct place *caller, Dwarf_Die *ret_call_site)
{
    const struct unwound *frame = &caller->frames[caller->index];
    struct return_search search = {.return_pc = frame->pc - caller->bias, .tail = frame->tail, .found = ret_call_site};
    Dwarf_Die function = caller->function;

    return xctx__calls_visit(&function, visit_return, &search) == CALLS_STOPPED;
}

/* Whether a frame is what it seems: found by unwind information, or by an address behind a call in its function. */
static bool is_certain(const struct place *place)
{
    Dwarf_Die call_site;

    return !place->frames[place->index].guessed || find_call_site(place, &call_site);
}

/* ---- tail calls ---- */

struct tail_calls {
    const struct place *place;                    /* of the function that must not be reached again */
    struct call_target functions[TAIL_FUNCTIONS]; /* that may run in its stead */
    unsigned count;
    Dwfl_Module *module; /* of the one that is looked at */
};

/* Stops at a tail call that may lead back, or to where that cannot be told. */
static bool visit_tail_call(Dwarf_Die *call_site, void *user)
{
    struct tail_calls *calls = user;
    Dwarf_Die self = calls->place->function;
    struct call_target target;
    Dwarf_Die origin;

    if (!xctx__call_is_tail(call_site))
        return false;
    if (!xctx__call_origin(call_site, &origin) || is_abstract(&origin) || same_source(&origin, &self) ||
        !xctx__call_target(calls->place->memory, calls->module, &origin, &target) || !target.has_function ||
        same_source(&target.function, &self))
        return true;
    for (unsigned i = 0; i < calls->count; i++) {
        if (calls->functions[i].function.addr == target.function.addr)
            return false;
    }
    if (calls->count == TAIL_FUNCTIONS)
        return true;
    calls->functions[calls->count++] = target;
    return false;
}

/* Whether it is certain that a function does not call itself by tail calls, through others or directly. */
static bool never_again(const struct place *place)
{
    struct tail_calls calls = {
        .place = place,
        .functions = {{.module = place->module, .function = place->function}},
        .count = 1,
    };

    for (unsigned i = 0; i < calls.count; i++) {
        Dwarf_Die *function = &calls.functions[i].function;
        calls.module = calls.functions[i].module;
        if (!xctx__calls_complete(function) || xctx__calls_visit(function, visit_tail_call, &calls) != CALLS_SEEN)
            return false;
    }
    return true;
}

/* ---- the call ---- */

/* Computes what an attribute of a call says, in the caller's frame. */
static enum xctx_source caller_number(const struct place *caller, Dwarf_Attribute *attribute, struct budget *budget,
                                      struct number *ret_number)
{
    struct evaluation evaluation;

    xctx__evaluation_begin(&evaluation, caller, budget);
    xctx__evaluate_attribute(&evaluation, attribute);
    return xctx__evaluation_number(&evaluation, ret_number);
}

/* Whether a call enters the place's function. */
static bool call_enters(const struct place *place, const struct place *caller, Dwarf_Die *call_site,
                        struct budget *budget)
{
    Dwarf_Die function = place->function;
    Dwarf_Die origin;
    Dwarf_Attribute attribute;
    Dwarf_Addr entry, called;
    struct number target = {0};
    struct call_target code;

    if (!xctx__function_entry(&function, &entry))
        return false;
    if (xctx__call_origin(call_site, &origin)) {
        if (is_abstract(&origin))
            return false;
        if (xctx__call_target(place->memory, caller->module, &origin, &code))
            return code.address == entry + place->bias;
        if (!same_source(&origin, &function))
            return false;
        if (caller->module == place->module && xctx__function_entry(&origin, &called))
            return called == entry;
        return is_whole(place->module, entry + place->bias);
    }
    if (!dwarf_attr(call_site, DW_AT_call_target, &attribute) &&
        !dwarf_attr(call_site, DW_AT_GNU_call_site_target, &attribute))
        return false;
    struct place untraced = *caller;
    untraced.tracer = NULL;
    return xctx__source_has_value(caller_number(&untraced, &attribute, budget, &target)) &&
           target.kind != NUMBER_FLOAT && target.size == XCTX__GENERIC_SIZE && target.bits == entry + place->bias;
}

/* Whether a call's parameter is the one that is meant. */
static bool parameter_matches(Dwarf_Die *die, const struct entry_parameter *parameter)
{
    Dwarf_Attribute attribute;
    Dwarf_Op *operations;
    size_t count;
    Dwarf_Die formal;

    if (!parameter->by_register) {
        return (follow(die, DW_AT_call_parameter, &formal) || follow(die, DW_AT_abstract_origin, &formal)) &&
               formal.addr == parameter->die.addr;
    }
    if (!dwarf_attr(die, DW_AT_location, &attribute) || dwarf_getlocation(&attribute, &operations, &count) != 0 ||
        count != 1)
        return false;
    if (operations[0].atom == DW_OP_regx)
        return operations[0].number == parameter->reg;
    return operations[0].atom >= DW_OP_reg0 && operations[0].atom <= DW_OP_reg31 &&
           (unsigned)operations[0].atom - DW_OP_reg0 == parameter->reg;
}

/* The attribute that says what was passed. */
static bool find_parameter(Dwarf_Die *call_site, const struct entry_parameter *parameter, Dwarf_Attribute *ret_value)
{
    unsigned standard = parameter->deref ? DW_AT_call_data_value : DW_AT_call_value;
    unsigned gnu = parameter->deref ? DW_AT_GNU_call_site_data_value : DW_AT_GNU_call_site_value;
    unsigned left = WALK_ENTRIES;
    Dwarf_Die die;

    if (dwarf_child(call_site, &die) != 0)
        return false;
    do {
        int tag = dwarf_tag(&die);
        if ((tag == DW_TAG_call_site_parameter || tag == DW_TAG_GNU_call_site_parameter) &&
            parameter_matches(&die, parameter))
            return dwarf_attr(&die, standard, ret_value) || dwarf_attr(&die, gnu, ret_value);
    } while (--left > 0 && dwarf_siblingof(&die, &die) == 0);
    return false;
}

static enum xctx_source entry_value_from(const struct place *place, const struct place *caller,
                                         const struct entry_parameter *parameter, struct budget *budget,
                                         struct number *ret_number)
{
    Dwarf_Die call_site;
    Dwarf_Attribute value;

    if (!caller->has_function || !find_call_site(caller, &call_site) ||
        !find_parameter(&call_site, parameter, &value) || !call_enters(place, caller, &call_site, budget) ||
        !never_again(place))
        return XCTX_SOURCE_OPTIMIZED_OUT;
    enum xctx_source source = caller_number(caller, &value, budget, ret_number);
    if (xctx__source_has_value(source) && parameter->deref && parameter->deref_size < ret_number->size) {
        ret_number->bits &= ((wide)1 << 8 * parameter->deref_size) - 1;
    }
    return source;
}

enum xctx_source xctx__entry_value(const struct place *place, const struct entry_parameter *parameter,
                                   struct budget *budget, struct number *ret_number)
{
    struct scopes scopes;
    size_t index = place->index;

    /* A frame below a signal's was not called. */
    if (!place->has_function || index >= place->frame_count)
        return XCTX_SOURCE_OPTIMIZED_OUT;
    if (index + 1 >= place->frame_count || place->frames[index].omitted)
        return XCTX_SOURCE_NOT_CAPTURED;
    if (place->frames[index + 1].exact || place->frames[index + 1].guessed || !is_certain(place) ||
        !xctx__scopes_find(place, index + 1, &scopes))
        return XCTX_SOURCE_OPTIMIZED_OUT;
    enum xctx_source source = entry_value_from(place, &scopes.place, parameter, budget, ret_number);
    xctx__scopes_free(&scopes);
    return source;
}
