/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the evaluator: expressions of any bytes, at a place with a few registers, a bit of stack, and a caller, in the
 * debug information of a subject (subject.h), which is as the compiler wrote it.
 *
 * Input: which subject; options; the size of the object; then either the bytes of an expression, as they stand in debug
 * information, or operations that libdw would not have let through, each an operation and three numbers.
 */
#include <dwarf.h>

#include "inspect/cfi_expression.h"
#include "inspect/core_modules.h"
#include "inspect/evaluate_internal.h"
#include "inspect/scopes.h"
#include "inspect/value.h"
#include "subject.h"

enum {
    OPTION_OPERATIONS = 1, /* not bytes, but operations */
    OPTION_REGISTERS = 2,  /* all registers are known */
    OPTION_OBJECT = 4,     /* for DW_OP_push_object_address */
    OPTION_CALLER = 8,     /* the place is in the caller */
    OPTION_GLOBAL = 16,    /* the place is in no frame */
    OPTION_BLOCK = 32,     /* the attribute's form is DW_FORM_block1 */
    OPTION_CFI = 64,       /* also as call frame information */
};

enum { STACK = 0x70000000, STACK_SIZE = 256, BIAS = 0x10000000, EXPRESSION = 512, OPERATIONS = 64 };

struct scene {
    uint8_t stack[STACK_SIZE];
    xctx_snapshot snapshot;
    struct modules modules;
    struct memory memory;
    struct unwound frames[2];
    struct arena arena;
    struct place place;
};

static void scene_set(struct scene *scene, unsigned options)
{
    memset(scene, 0, sizeof(*scene));
    for (unsigned i = 0; i < STACK_SIZE; i++)
        scene->stack[i] = (uint8_t)(i % 8 < 4 ? i : i % 8 == 4 ? STACK >> 24 : 0);
    scene->snapshot.whole = &scene->snapshot;
    scene->snapshot.stack = scene->stack;
    scene->snapshot.stack_address = STACK;
    scene->snapshot.stack_size = STACK_SIZE;
    scene->memory = (struct memory){.snapshot = &scene->snapshot, .modules = &scene->modules};
    for (unsigned i = 0; i < 2; i++) {
        struct frame_registers *registers = &scene->frames[i].registers;
        scene->frames[i].cfa = STACK + 64 * (i + 1);
        registers->known = (UINT64_C(1) << XCTX__DWARF_REGISTERS) - 1;
        if (!(options & OPTION_REGISTERS))
            registers->known &= XCTX__REGISTERS_OF_CALL;
        for (unsigned reg = 0; reg < XCTX__DWARF_REGISTERS; reg++)
            registers->value[reg] = reg % 2 ? STACK + 8 * reg : reg;
        registers->vectors_known = options & OPTION_REGISTERS ? 3 : 0;
    }
    scene->frames[0].exact = true;
    scene->place = (struct place){.arena = &scene->arena,
                                  .memory = &scene->memory,
                                  .frames = scene->frames,
                                  .frame_count = 2,
                                  .index = options & OPTION_GLOBAL ? 2u : (options & OPTION_CALLER) != 0,
                                  .bias = BIAS,
                                  .has_object = options & OPTION_OBJECT,
                                  .object = STACK,
                                  .max_elements = 200};
}

/* Puts the place into the function with the most to be found, `innermost` or what it was inlined into. */
static bool scene_find_function(struct scene *scene, Dwarf *dwarf)
{
    Dwarf_Off offset = 0, next;
    size_t header;
    Dwarf_Die child;

    if (dwarf_nextcu(dwarf, offset, &next, &header, NULL, NULL, NULL) != 0 ||
        !dwarf_offdie(dwarf, offset + header, &scene->place.unit) || dwarf_child(&scene->place.unit, &child) != 0)
        return false;
    do {
        Dwarf_Addr entry;
        if (dwarf_tag(&child) != DW_TAG_subprogram || dwarf_entrypc(&child, &entry) != 0)
            continue;
        scene->place.function = child;
        scene->place.has_function = true;
        scene->place.pc = entry + 8;
    } while (dwarf_siblingof(&child, &child) == 0);
    return scene->place.has_function;
}

/* Bytes are read so that the sanitizer sees it. */
static void check_location(const struct location *location)
{
    static volatile uint8_t sum __attribute__((unused));

    EXPECT(location->count <= XCTX__PIECES);
    for (size_t i = 0; i < location->count; i++) {
        const struct piece *piece = &location->pieces[i];
        EXPECT(piece->kind <= PIECE_POINTER);
        for (uint64_t j = 0; piece->kind == PIECE_VALUE && j < piece->byte_count; j++)
            sum ^= piece->bytes[j];
    }
}

static void fetch(const struct place *place, const struct location *location, uint64_t size)
{
    struct value value, there;

    check_location(location);
    if (location->failed != XCTX_SOURCE_SNAPSHOT || xctx__value_fetch(place, location, size, MEMORY_STACK, &value) != 0)
        return;
    EXPECT(value.fetched <= value.size && value.fetched <= XCTX__VALUE_LIMIT);
    if (value.fetched > 0 && xctx__value_state(&value, 0, value.fetched) == BYTE_SYNTHETIC)
        xctx__value_follow(place, &value, 8, &there);
    uint64_t middle = value.fetched / 2;
    struct value part = xctx__value_part(&value, middle, value.fetched - middle);
    EXPECT(part.size == value.fetched - middle);
}

/* An attribute that libdw parses: the expression lies behind its size. */
static void run_bytes(const struct place *place, unsigned options, struct feed *feed, uint64_t size, uint8_t *bytes)
{
    size_t length = feed->left < EXPRESSION ? feed->left : EXPRESSION;
    Dwarf_Attribute attribute = {.code = DW_AT_location, .form = DW_FORM_block2, .valp = bytes, .cu = place->unit.cu};
    struct location location;
    int64_t number;
    uint64_t address;

    if (options & OPTION_BLOCK) {
        attribute.form = DW_FORM_exprloc;
        length = length < 127 ? length : 127;
        bytes[0] = (uint8_t)length;
        feed_bytes(feed, bytes + 1, length);
    } else {
        bytes[0] = (uint8_t)length;
        bytes[1] = (uint8_t)(length >> 8);
        feed_bytes(feed, bytes + 2, length);
    }
    xctx__locate(place, &attribute, size, &location);
    fetch(place, &location, size);
    xctx__number(place, &attribute, &number);
    attribute.code = DW_AT_data_member_location;
    xctx__member_address(place, &attribute, STACK + 8, &address);
    Dwarf_Op *operations;
    size_t count;
    struct cfi_result result;
    uint64_t cfa = place->frames[0].cfa;
    if (options & OPTION_CFI && dwarf_getlocation(&attribute, &operations, &count) == 0)
        xctx__cfi_evaluate(place->memory, &place->frames[0].registers, &cfa, operations, count, &result);
}

static void run_operations(const struct place *place, unsigned options, struct feed *feed, uint64_t size,
                           uint8_t *bytes)
{
    static struct evaluation evaluation;
    static struct location location;
    Dwarf_Op operations[OPERATIONS];
    size_t count = 0;
    struct budget budget = xctx__budget();
    Dwarf_Attribute attribute = {.code = DW_AT_location, .form = DW_FORM_exprloc, .valp = bytes, .cu = place->unit.cu};
    struct number number;
    struct cfi_result result;

    while (count < OPERATIONS && feed->left > 0) {
        Dwarf_Op *operation = &operations[count++];
        *operation = (Dwarf_Op){.atom = feed_byte(feed)};
        /* What libdw reads as blocks are pointers to it: only to where there is something. */
        if (operation->atom == DW_OP_implicit_value || operation->atom == DW_OP_entry_value ||
            operation->atom == DW_OP_GNU_entry_value || operation->atom == DW_OP_const_type ||
            operation->atom == DW_OP_GNU_const_type)
            operation->atom = DW_OP_nop;
        operation->number = feed_number(feed);
        operation->number2 = feed_number(feed);
        operation->offset = feed_byte(feed);
    }
    memset(&location, 0, sizeof(location));
    memset(&evaluation, 0, sizeof(evaluation));
    evaluation.place = place;
    evaluation.attribute = &attribute;
    evaluation.budget = &budget;
    evaluation.location = options & OPTION_BLOCK ? NULL : &location;
    xctx__evaluate(&evaluation, operations, count);
    EXPECT(evaluation.depth <= XCTX__STACK && location.count <= XCTX__PIECES);
    if (!evaluation.location)
        xctx__evaluation_number(&evaluation, &number);
    fetch(place, &location, size);
    xctx__cfi_evaluate(place->memory, &place->frames[0].registers, NULL, operations, count, &result);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct scene scene;
    struct feed feed = {data, size};

    if (subject_count == 0)
        subject_load_all();
    elf_version(EV_CURRENT);
    const struct specimen *subject = &subjects[feed_byte(&feed) % subject_count];
    unsigned options = feed_byte(&feed);
    uint64_t object_size = feed_byte(&feed);
    struct feed arming = feed;
    feed_byte(&feed);
    /* Anew for each: libdw remembers by address what it has read. */
    uint8_t *bytes = calloc(1, EXPRESSION + 2);
    Elf *elf = elf_memory((char *)subject->image, subject->size);
    Dwarf *dwarf = dwarf_begin_elf(elf, DWARF_C_READ, NULL);
    scene_set(&scene, options);
    EXPECT(bytes && dwarf && scene_find_function(&scene, dwarf));
    feed_arm(&arming);
    if (options & OPTION_OPERATIONS)
        run_operations(&scene.place, options, &feed, object_size, bytes);
    else
        run_bytes(&scene.place, options, &feed, object_size, bytes);
    feed_disarm();
    xctx__arena_destroy(&scene.arena);
    dwarf_end(dwarf);
    elf_end(elf);
    free(bytes);
    return 0;
}
