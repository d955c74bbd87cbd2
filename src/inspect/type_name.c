/* SPDX-License-Identifier: MIT */
/*
 * The names of types, as gdb's `whatis` writes them.
 *
 * A declarator goes around the name: "int (*)[3]" is a base, what is before the name, and what is after it. Each is
 * written in one walk along the chain of types, of which `after_pointer` says whether brackets are needed.
 */
#include <dwarf.h>
#include <stdlib.h>
#include <string.h>

#include "canonical.h"
#include "render.h"

static void name_at(Dwarf_Die *type, bool has_type, unsigned depth, struct text *text);

/* ---- scopes ---- */

static const char *scope_name(Dwarf_Die *scope)
{
    xctx__type_complete(scope);
    switch (dwarf_tag(scope)) {
    case DW_TAG_namespace: {
        const char *name = xctx__die_name(scope);
        return name ? name : "(anonymous namespace)";
    }
    case DW_TAG_structure_type:
    case DW_TAG_class_type:
    case DW_TAG_union_type:
    case DW_TAG_interface_type:
        return xctx__die_name(scope);
    case DW_TAG_enumeration_type:
        return xctx__die_flag(scope, DW_AT_enum_class) ? xctx__die_name(scope) : NULL;
    default:
        return NULL; /* functions and their blocks do not count */
    }
}

void xctx__type_scope(Dwarf_Die *die, struct text *text)
{
    Dwarf_Attribute attribute;
    Dwarf_Die start = *die;
    Dwarf_Die other;
    Dwarf_Die *scopes = NULL;

    /* A copy is named by what it is one of, a definition outside of its class by its declaration in it. */
    if (dwarf_attr(&start, DW_AT_abstract_origin, &attribute) && dwarf_formref_die(&attribute, &other))
        start = other;
    if (dwarf_attr(&start, DW_AT_specification, &attribute) && dwarf_formref_die(&attribute, &other))
        start = other;
    int count = dwarf_getscopes_die(&start, &scopes);
    for (int i = count - 1; i > 0; --i) {
        const char *name = scope_name(&scopes[i]);
        if (name) {
            xctx__canonical_name(name, text);
            xctx__text_string(text, "::");
        }
    }
    free(scopes);
}

/* ---- names as gdb has them ---- */

void xctx__type_qualified(Dwarf_Die *die, struct text *text)
{
    const char *name = xctx__die_name(die);

    if (dwarf_tag(die) != DW_TAG_base_type && xctx__die_is_cxx(die))
        xctx__type_scope(die, text);
    if (name)
        xctx__canonical_name(name, text);
}

/* ---- the base ---- */

static void tagged_name(Dwarf_Die *type, struct text *text)
{
    const char *keyword = NULL;

    switch (dwarf_tag(type)) {
    case DW_TAG_structure_type:
        keyword = "struct ";
        break;
    case DW_TAG_class_type:
        keyword = "class ";
        break;
    case DW_TAG_union_type:
        keyword = "union ";
        break;
    case DW_TAG_enumeration_type:
        keyword = "enum ";
        break;
    default:
        break;
    }
    bool named = xctx__die_name(type) != NULL;
    if (keyword && (!named || !xctx__die_is_cxx(type)))
        xctx__text_string(text, keyword);
    if (named)
        xctx__type_qualified(type, text);
    else
        xctx__text_string(text, keyword ? "{...}" : "<unnamed>");
}

/* The qualifiers that are written at one place. */
struct qualifiers {
    bool is_const;
    bool is_volatile;
    bool is_restrict;
    bool is_atomic;
};

/* Steps over qualifiers. Returns whether there is a type under them. */
static bool take_qualifiers(Dwarf_Die *type, unsigned *depth, struct qualifiers *qualifiers)
{
    *qualifiers = (struct qualifiers){0};
    for (;;) {
        int tag = dwarf_tag(type);
        if (!xctx__tag_is_qualifier(tag))
            return true;
        qualifiers->is_const |= tag == DW_TAG_const_type;
        qualifiers->is_volatile |= tag == DW_TAG_volatile_type;
        qualifiers->is_restrict |= tag == DW_TAG_restrict_type;
        qualifiers->is_atomic |= tag == DW_TAG_atomic_type;
        Dwarf_Die next;
        if (++*depth >= XCTX__TYPE_DEPTH || !xctx__type_of(type, &next))
            return false;
        *type = next;
    }
}

/* Before a name: each with a space after it. */
static void qualify_before(const struct qualifiers *qualifiers, struct text *text)
{
    if (qualifiers->is_const)
        xctx__text_string(text, "const ");
    if (qualifiers->is_volatile)
        xctx__text_string(text, "volatile ");
    if (qualifiers->is_restrict)
        xctx__text_string(text, "restrict ");
    if (qualifiers->is_atomic)
        xctx__text_string(text, "_Atomic ");
}

/* After a star: each with a space before it. */
static void qualify_after(const struct qualifiers *qualifiers, bool cxx, struct text *text)
{
    if (qualifiers->is_const)
        xctx__text_string(text, " const");
    if (qualifiers->is_volatile)
        xctx__text_string(text, " volatile");
    if (qualifiers->is_restrict)
        xctx__text_string(text, cxx ? " __restrict__" : " restrict");
    if (qualifiers->is_atomic)
        xctx__text_string(text, " _Atomic");
}

static bool is_declarator(int tag)
{
    switch (tag) {
    case DW_TAG_pointer_type:
    case DW_TAG_reference_type:
    case DW_TAG_rvalue_reference_type:
    case DW_TAG_ptr_to_member_type:
    case DW_TAG_array_type:
    case DW_TAG_subroutine_type:
    case DW_TAG_subprogram:
        return true;
    default:
        return false;
    }
}

/* ---- before and after the name ---- */

/* One step of a declarator. */
struct step {
    Dwarf_Die type;
    struct qualifiers qualifiers;
};

static void before_step(struct step *step, bool inner_pointer, struct text *text)
{
    Dwarf_Die self;

    switch (dwarf_tag(&step->type)) {
    case DW_TAG_pointer_type:
        xctx__text_string(text, "*");
        break;
    case DW_TAG_reference_type:
        xctx__text_string(text, "&");
        break;
    case DW_TAG_rvalue_reference_type:
        xctx__text_string(text, "&&");
        break;
    case DW_TAG_ptr_to_member_type: {
        Dwarf_Attribute attribute;
        if (dwarf_attr(&step->type, DW_AT_containing_type, &attribute) && dwarf_formref_die(&attribute, &self)) {
            xctx__type_complete(&self);
            xctx__type_qualified(&self, text);
        }
        xctx__text_string(text, "::*");
        break;
    }
    default:
        if (inner_pointer)
            xctx__text_string(text, "(");
        return;
    }
    qualify_after(&step->qualifiers, xctx__die_is_cxx(&step->type), text);
}

/* What the compiler hands to a member function, as `this`, is constant, whether its type says so or not. */
static void artificial_name(Dwarf_Die *type, bool has_type, unsigned depth, struct text *text)
{
    name_at(type, has_type, depth, text);
    if (has_type && dwarf_tag(type) == DW_TAG_pointer_type)
        xctx__text_string(text, " const");
}

/* `written` is for the name of a function, which has neither what the compiler adds, nor `void` for no parameters. */
static void parameters(Dwarf_Die *function, unsigned depth, bool written, struct text *text)
{
    Dwarf_Die child;
    Dwarf_Die type = {0};
    unsigned count = 0;
    bool any = false;

    xctx__text_string(text, "(");
    for (int more = dwarf_child(function, &child); more == 0 && count < XCTX__MEMBERS;
         more = dwarf_siblingof(&child, &child), ++count) {
        int tag = dwarf_tag(&child);
        if (tag != DW_TAG_formal_parameter && tag != DW_TAG_unspecified_parameters)
            continue;
        bool artificial = xctx__die_flag(&child, DW_AT_artificial);
        /* In C, no parameters are any parameters. */
        bool unknown = tag == DW_TAG_unspecified_parameters && !any && !xctx__die_is_cxx(function);
        if ((written && artificial) || unknown)
            continue;
        if (any)
            xctx__text_string(text, ", ");
        any = true;
        bool has_type = xctx__type_of(&child, &type);
        if (tag == DW_TAG_unspecified_parameters)
            xctx__text_string(text, "...");
        else if (artificial)
            artificial_name(&type, has_type, depth + 1, text);
        else
            name_at(&type, has_type, depth + 1, text);
    }
    if (!any && !written && (xctx__die_flag(function, DW_AT_prototyped) || xctx__die_is_cxx(function)))
        xctx__text_string(text, "void");
    xctx__text_string(text, ")");
}

void xctx__type_parameters(Dwarf_Die *function, struct text *text)
{
    parameters(function, 0, true, text);
}

/* The bounds, as numbers where they are numbers. */
static void bounds(Dwarf_Die *array, struct text *text)
{
    Dwarf_Die child;
    unsigned count = 0;
    bool vector = xctx__die_flag(array, DW_AT_GNU_vector);

    for (int more = dwarf_child(array, &child); more == 0 && count < XCTX__DIMENSIONS;
         more = dwarf_siblingof(&child, &child), ++count) {
        Dwarf_Attribute attribute;
        Dwarf_Sword number = -1;
        bool has_count = dwarf_attr_integrate(&child, DW_AT_count, &attribute) != NULL;
        bool bounded = has_count || dwarf_attr_integrate(&child, DW_AT_upper_bound, &attribute);
        int form = bounded ? (int)dwarf_whatform(&attribute) : 0;
        bool is_constant = form == DW_FORM_data1 || form == DW_FORM_data2 || form == DW_FORM_data4 ||
                           form == DW_FORM_data8 || form == DW_FORM_udata || form == DW_FORM_sdata ||
                           form == DW_FORM_implicit_const;
        xctx__text_string(text, vector ? " __attribute__ ((vector_size(" : "[");
        /* Only sdata has a sign. */
        bool is_signed = form == DW_FORM_sdata || form == DW_FORM_implicit_const;
        Dwarf_Word word = 0;
        if (is_constant &&
            (is_signed ? dwarf_formsdata(&attribute, &number) : dwarf_formudata(&attribute, &word)) == 0) {
            if (!is_signed)
                number = (Dwarf_Sword)word;
            bool none = number < 0 || (!has_count && number == UINT32_MAX);
            xctx__text_format(text, "%lld", none ? 0LL : (long long)number + !has_count);
        } else if (bounded && !is_constant) {
            xctx__text_string(text, "variable length");
        }
        xctx__text_string(text, vector ? ")))" : "]");
    }
}

static void after_step(struct step *step, bool inner_pointer, unsigned depth, struct text *text)
{
    switch (dwarf_tag(&step->type)) {
    case DW_TAG_array_type:
        if (inner_pointer)
            xctx__text_string(text, ")");
        bounds(&step->type, text);
        break;
    case DW_TAG_subroutine_type:
    case DW_TAG_subprogram:
        if (inner_pointer)
            xctx__text_string(text, ")");
        parameters(&step->type, depth, false, text);
        break;
    default:
        break;
    }
}

static bool step_is_pointer(struct step *step)
{
    int tag = dwarf_tag(&step->type);

    return tag != DW_TAG_array_type && tag != DW_TAG_subroutine_type && tag != DW_TAG_subprogram;
}

/* Writes a type's name. The chain from it down to the base is kept, and walked backwards for what is before the name.
 */
static void name_at(Dwarf_Die *type, bool has_type, unsigned depth, struct text *text)
{
    struct step steps[XCTX__TYPE_DEPTH];
    struct qualifiers qualifiers = {0};
    Dwarf_Die base = *type;
    unsigned count = 0;

    if (depth >= XCTX__RENDER_DEPTH || text->full) {
        xctx__text_string(text, "...");
        return;
    }
    for (unsigned walked = 0; has_type; ++walked) {
        has_type = take_qualifiers(&base, &walked, &qualifiers);
        if (walked >= XCTX__TYPE_DEPTH) {
            xctx__text_string(text, "...");
            return;
        }
        if (!has_type || !is_declarator(dwarf_tag(&base)))
            break;
        steps[count++] = (struct step){.type = base, .qualifiers = qualifiers};
        qualifiers = (struct qualifiers){0};
        Dwarf_Die next;
        has_type = xctx__type_of(&base, &next);
        base = next;
    }
    qualify_before(&qualifiers, text);
    if (has_type)
        tagged_name(&base, text);
    else
        xctx__text_string(text, "void");
    bool vector = count > 0 && xctx__die_flag(&steps[count - 1].type, DW_AT_GNU_vector);
    if (count > (vector ? 1 : 0))
        xctx__text_string(text, " ");
    for (unsigned i = count; i-- > 0;)
        before_step(&steps[i], i > 0 && step_is_pointer(&steps[i - 1]), text);
    for (unsigned i = 0; i < count; ++i)
        after_step(&steps[i], i > 0 && step_is_pointer(&steps[i - 1]), depth, text);
}

void xctx__type_name(Dwarf_Die *type, struct text *text)
{
    Dwarf_Die none = {0};

    name_at(type ? type : &none, type != NULL, 0, text);
}
