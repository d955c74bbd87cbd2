/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes how types are named and values are written: an input is turned into the debug information of one compilation
 * unit, well-formed as such, but with any types in it that refer to each other in any way, and variables of them.
 *
 * Input: options; then entries, each a tag, attributes with their values, and whether children follow. A reference is
 * the number of an entry, also of one that comes later.
 */
#include <dwarf.h>
#include <elf.h>

#include "feed.h"
#include "inspect/core_modules.h"
#include "inspect/evaluate.h"
#include "inspect/locals.h"
#include "inspect/type.h"

enum {
    ENTRIES = 96,
    REFERENCES = 512,
    INFO = 16384,
    ABBREVIATIONS = 8192,
    HEADER = 11, /* of a unit of DWARF 4 */
    DEPTH = 24,
    STACK = 0x70000000,
    STACK_SIZE = 4096,
    SECTIONS = 4,
};

struct unit {
    struct feed *feed;
    uint8_t info[INFO];
    size_t info_size;
    uint8_t abbreviations[ABBREVIATIONS];
    size_t abbreviation_size;
    uint32_t entries[ENTRIES]; /* their offsets */
    unsigned entry_count;
    struct {
        size_t at;
        uint8_t entry;
    } references[REFERENCES];
    unsigned reference_count;
};

static void put(uint8_t *bytes, size_t *size, size_t room, uint64_t value, unsigned count)
{
    for (unsigned i = 0; i < count && *size < room; i++)
        bytes[(*size)++] = (uint8_t)(value >> (8 * i));
}

static void put_info(struct unit *unit, uint64_t value, unsigned count)
{
    put(unit->info, &unit->info_size, INFO, value, count);
}

/* All numbers in abbreviations that are used here. */
static void put_abbreviation(struct unit *unit, unsigned value)
{
    while (value > 0x7f) {
        put(unit->abbreviations, &unit->abbreviation_size, ABBREVIATIONS, (value & 0x7f) | 0x80, 1);
        value >>= 7;
    }
    put(unit->abbreviations, &unit->abbreviation_size, ABBREVIATIONS, value, 1);
}

static void put_reference(struct unit *unit)
{
    uint8_t entry = feed_byte(unit->feed);

    if (unit->reference_count < REFERENCES && unit->info_size + 4 <= INFO) {
        unit->references[unit->reference_count].at = unit->info_size;
        unit->references[unit->reference_count++].entry = entry;
    }
    put_info(unit, 0, 4);
}

static void put_expression(struct unit *unit)
{
    unsigned size = feed_byte(unit->feed) % 16;

    put_info(unit, size, 1);
    while (size-- > 0)
        put_info(unit, feed_byte(unit->feed), 1);
}

static void put_name(struct unit *unit)
{
    static const char *const known[] = {
        "a",  "_vptr.x",       "char",   "unsigned char", "long double", "__float128", "_Complex", "operator()",
        "~x", "<lambda(int)>", "s<int>", "this",          "wchar_t",     "char16_t",   "_Float16", "x__2.part"};
    uint8_t which = feed_byte(unit->feed);

    if (which < 2 * sizeof(known) / sizeof(known[0])) {
        const char *name = known[which / 2];
        do
            put_info(unit, (uint8_t)*name, 1);
        while (*name++);
        return;
    }
    for (unsigned size = which % 16; size > 0; size--)
        put_info(unit, feed_byte(unit->feed) | 1u, 1);
    put_info(unit, 0, 1);
}

static void put_value(struct unit *unit, unsigned form)
{
    switch (form) {
    case DW_FORM_string:
        put_name(unit);
        break;
    case DW_FORM_ref4:
        put_reference(unit);
        break;
    case DW_FORM_exprloc:
    case DW_FORM_block1:
        put_expression(unit);
        break;
    case DW_FORM_data8:
        put_info(unit, feed_number(unit->feed), 8);
        break;
    case DW_FORM_sdata:
        put_info(unit, feed_byte(unit->feed) & 0x7f, 1);
        break;
    case DW_FORM_flag_present:
        break;
    default:
        put_info(unit, feed_byte(unit->feed), 1);
        break;
    }
}

/* Attributes, each with the forms that it is likely to have. */
static void put_attribute(struct unit *unit)
{
    static const uint16_t attributes[][3] = {
        {DW_AT_name, DW_FORM_string, DW_FORM_string},
        {DW_AT_type, DW_FORM_ref4, DW_FORM_ref4},
        {DW_AT_byte_size, DW_FORM_data1, DW_FORM_data8},
        {DW_AT_encoding, DW_FORM_data1, DW_FORM_data1},
        {DW_AT_upper_bound, DW_FORM_data1, DW_FORM_sdata},
        {DW_AT_count, DW_FORM_data1, DW_FORM_exprloc},
        {DW_AT_data_member_location, DW_FORM_data1, DW_FORM_exprloc},
        {DW_AT_location, DW_FORM_exprloc, DW_FORM_exprloc},
        {DW_AT_const_value, DW_FORM_data8, DW_FORM_block1},
        {DW_AT_bit_size, DW_FORM_data1, DW_FORM_data8},
        {DW_AT_data_bit_offset, DW_FORM_data1, DW_FORM_data8},
        {DW_AT_bit_offset, DW_FORM_data1, DW_FORM_data8},
        {DW_AT_lower_bound, DW_FORM_sdata, DW_FORM_data8},
        {DW_AT_byte_stride, DW_FORM_data1, DW_FORM_data8},
        {DW_AT_containing_type, DW_FORM_ref4, DW_FORM_ref4},
        {DW_AT_specification, DW_FORM_ref4, DW_FORM_ref4},
        {DW_AT_abstract_origin, DW_FORM_ref4, DW_FORM_ref4},
        {DW_AT_declaration, DW_FORM_flag_present, DW_FORM_flag},
        {DW_AT_virtuality, DW_FORM_data1, DW_FORM_data1},
        {DW_AT_artificial, DW_FORM_flag_present, DW_FORM_flag},
        {DW_AT_external, DW_FORM_flag_present, DW_FORM_flag},
        {DW_AT_prototyped, DW_FORM_flag_present, DW_FORM_flag},
        {DW_AT_linkage_name, DW_FORM_string, DW_FORM_string},
        {DW_AT_discr, DW_FORM_ref4, DW_FORM_ref4},
        {DW_AT_discr_value, DW_FORM_data1, DW_FORM_data8},
        {DW_AT_GNU_vector, DW_FORM_flag_present, DW_FORM_flag},
        {DW_AT_upper_bound, DW_FORM_exprloc, DW_FORM_ref4},
        {DW_AT_byte_size, DW_FORM_exprloc, DW_FORM_ref4},
        {DW_AT_import, DW_FORM_ref4, DW_FORM_ref4},
        {DW_AT_signature, DW_FORM_ref4, DW_FORM_ref4},
        {DW_AT_enum_class, DW_FORM_flag_present, DW_FORM_flag},
        {DW_AT_object_pointer, DW_FORM_ref4, DW_FORM_ref4},
    };
    uint8_t which = feed_byte(unit->feed);
    const uint16_t *attribute = attributes[which % 32];
    unsigned form = attribute[which / 32 % 2 ? 2 : 1];

    put_abbreviation(unit, attribute[0]);
    put_abbreviation(unit, form);
    put_value(unit, form);
}

/* Returns whether the entry has children. */
static bool put_entry(struct unit *unit)
{
    static const uint16_t tags[] = {
        DW_TAG_variable,
        DW_TAG_base_type,
        DW_TAG_structure_type,
        DW_TAG_member,
        DW_TAG_pointer_type,
        DW_TAG_array_type,
        DW_TAG_subrange_type,
        DW_TAG_union_type,
        DW_TAG_enumeration_type,
        DW_TAG_enumerator,
        DW_TAG_typedef,
        DW_TAG_const_type,
        DW_TAG_class_type,
        DW_TAG_inheritance,
        DW_TAG_reference_type,
        DW_TAG_rvalue_reference_type,
        DW_TAG_subroutine_type,
        DW_TAG_formal_parameter,
        DW_TAG_ptr_to_member_type,
        DW_TAG_variable,
        DW_TAG_volatile_type,
        DW_TAG_restrict_type,
        DW_TAG_atomic_type,
        DW_TAG_unspecified_type,
        DW_TAG_subprogram,
        DW_TAG_namespace,
        DW_TAG_variant_part,
        DW_TAG_variant,
        DW_TAG_template_type_parameter,
        DW_TAG_template_value_parameter,
        DW_TAG_imported_declaration,
        DW_TAG_generic_subrange,
    };
    uint8_t which = feed_byte(unit->feed);
    unsigned tag = tags[which % 32];
    unsigned count = feed_byte(unit->feed) % 8;
    bool parent = which & 32;

    unit->entries[unit->entry_count++] = (uint32_t)unit->info_size;
    put_info(unit, unit->entry_count, 1); /* each has an abbreviation of its own: below 128 */
    put_abbreviation(unit, unit->entry_count);
    put_abbreviation(unit, tag);
    put_abbreviation(unit, parent ? DW_CHILDREN_yes : DW_CHILDREN_no);
    /* The unit itself says the language. */
    while (count-- > 0)
        put_attribute(unit);
    put_abbreviation(unit, 0);
    put_abbreviation(unit, 0);
    return parent;
}

static void put_unit(struct unit *unit, unsigned language)
{
    unit->entries[unit->entry_count++] = (uint32_t)unit->info_size;
    put_info(unit, 1, 1);
    put_info(unit, language, 1);
    put_abbreviation(unit, 1);
    put_abbreviation(unit, DW_TAG_compile_unit);
    put_abbreviation(unit, DW_CHILDREN_yes);
    put_abbreviation(unit, DW_AT_language);
    put_abbreviation(unit, DW_FORM_data1);
    put_abbreviation(unit, 0);
    put_abbreviation(unit, 0);
}

static void make(struct unit *unit, unsigned language)
{
    unsigned depth = 1;

    unit->info_size = HEADER;
    put_unit(unit, language);
    while (unit->feed->left > 0 && unit->entry_count < ENTRIES && depth > 0) {
        if (put_entry(unit))
            depth++;
        /* Lists end now and then, and all of them in the end. */
        uint8_t ends = feed_byte(unit->feed) % 8;
        for (; (ends > 5 || depth >= DEPTH) && depth > 1; depth--, ends--)
            put_info(unit, 0, 1);
    }
    for (; depth > 0; depth--)
        put_info(unit, 0, 1);
    put_abbreviation(unit, 0);
    for (unsigned i = 0; i < unit->reference_count; i++) {
        uint32_t to = unit->entries[unit->references[i].entry % unit->entry_count];
        memcpy(unit->info + unit->references[i].at, &to, sizeof(to));
    }
    uint32_t length = (uint32_t)unit->info_size - 4;
    memcpy(unit->info, &length, sizeof(length));
    unit->info[4] = 4;
    unit->info[10] = 8;
}

/* An ELF file with those two sections. Returns its size. */
static size_t make_file(const struct unit *unit, uint8_t *file)
{
    static const char names[] = "\0.debug_info\0.debug_abbrev\0.shstrtab";
    Elf64_Ehdr header = {
        .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB, EV_CURRENT},
        .e_type = ET_EXEC,
        .e_machine = EM_X86_64,
        .e_version = EV_CURRENT,
        .e_shoff = sizeof(header),
        .e_ehsize = sizeof(header),
        .e_shentsize = sizeof(Elf64_Shdr),
        .e_shnum = SECTIONS,
        .e_shstrndx = SECTIONS - 1,
    };
    size_t at = sizeof(header) + SECTIONS * sizeof(Elf64_Shdr);
    const struct {
        const void *bytes;
        size_t size;
        unsigned name;
    } contents[SECTIONS] = {
        {0},
        {unit->info, unit->info_size, 1},
        {unit->abbreviations, unit->abbreviation_size, 13},
        {names, sizeof(names), 27},
    };

    memcpy(file, &header, sizeof(header));
    for (unsigned i = 0; i < SECTIONS; i++) {
        Elf64_Shdr section = {.sh_name = contents[i].name,
                              .sh_type = i == 0              ? SHT_NULL
                                         : i == SECTIONS - 1 ? SHT_STRTAB
                                                             : SHT_PROGBITS,
                              .sh_offset = at,
                              .sh_size = contents[i].size,
                              .sh_addralign = 1};
        memcpy(file + sizeof(header) + i * sizeof(section), &section, sizeof(section));
        if (contents[i].size > 0)
            memcpy(file + at, contents[i].bytes, contents[i].size);
        at += contents[i].size;
    }
    return at;
}

static int show(const struct variable *variable, void *user)
{
    const struct place *place = user;
    Dwarf_Die die = variable->die, type;
    struct text name = {0}, text = {0};
    struct rendering rendering = {.text = &text};
    struct location location;
    struct value value;
    uint64_t size = 0;

    bool typed = xctx__type_of(&die, &type);
    xctx__type_name(typed ? &type : NULL, &name);
    if (typed) {
        xctx__type_secret(place, &type);
        if (xctx__type_size(place, &type, &size) != XCTX_SOURCE_SNAPSHOT)
            size = 0;
        xctx__variable_locate(place, variable, size, &location);
        bool located = location.failed == XCTX_SOURCE_SNAPSHOT &&
                       xctx__value_fetch(place, &location, size, xctx__variable_use(variable), &value) == 0;
        if (located || xctx__value_at(place, STACK, size, MEMORY_STACK, &value) == 0) {
            enum xctx_source source = xctx__render(place, &type, &value, &rendering);
            EXPECT(source == XCTX_SOURCE_SNAPSHOT || text.size == 0);
        }
    }
    EXPECT(!name.bytes || strlen(name.bytes) == name.size);
    xctx__text_destroy(&name);
    xctx__text_destroy(&text);
    return 0;
}

static void show_all(Dwarf *dwarf, unsigned elements)
{
    static uint8_t stack[STACK_SIZE];
    static xctx_snapshot snapshot;
    static struct modules modules;
    struct memory memory = {.snapshot = &snapshot, .modules = &modules};
    struct arena arena = {0};
    struct place place = {.arena = &arena, .memory = &memory, .max_elements = elements};

    for (unsigned i = 0; i < STACK_SIZE; i++)
        stack[i] = (uint8_t)(i % 8 == 3 ? STACK >> 24 : i % 8 > 3 ? 0 : i / 3);
    snapshot.whole = &snapshot;
    snapshot.stack = stack;
    snapshot.stack_address = STACK;
    snapshot.stack_size = STACK_SIZE;
    if (dwarf_offdie(dwarf, HEADER, &place.unit))
        xctx__variables_of_unit(&place, true, show, &place);
    xctx__arena_destroy(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t languages[] = {
        DW_LANG_C11, DW_LANG_C_plus_plus_14, DW_LANG_C99,  DW_LANG_C_plus_plus_11, DW_LANG_Rust,
        DW_LANG_Go,  DW_LANG_Fortran90,      DW_LANG_Ada95};
    static struct unit unit;
    struct feed feed = {data, size};

    elf_version(EV_CURRENT);
    memset(&unit, 0, sizeof(unit));
    unit.feed = &feed;
    uint8_t options = feed_byte(&feed);
    struct feed arming = feed;
    feed_byte(&feed);
    make(&unit, languages[options % sizeof(languages)]);
    uint8_t *file = malloc(INFO + ABBREVIATIONS + 1024);
    EXPECT(file);
    Elf *elf = elf_memory((char *)file, make_file(&unit, file));
    Dwarf *dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
    EXPECT(dwarf);
    feed_arm(&arming);
    show_all(dwarf, options & 128 ? 200 : 3);
    feed_disarm();
    dwarf_end(dwarf);
    elf_end(elf);
    free(file);
    return 0;
}
