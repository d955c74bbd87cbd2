/* SPDX-License-Identifier: MIT */
/*
 * A place for the evaluator that a test makes up: registers, a few bytes of stack, two frames. Expressions are given as
 * the bytes that stand in debug information, in the unit that this file is compiled in: for its types.
 */
#ifndef XCTX_EVALUATE_SUPPORT_H
#define XCTX_EVALUATE_SUPPORT_H

#include "test.h"

#include <dwarf.h>
#include <fcntl.h>
#include <unistd.h>

#include "inspect/evaluate_internal.h"
#include "inspect/value.h"

enum { SCENE_STACK = 0x70000000, SCENE_STACK_SIZE = 64, SCENE_CFA = SCENE_STACK + 48, SCENE_BIAS = 0x10000000 };

struct scene {
    uint8_t stack[SCENE_STACK_SIZE];
    xctx_snapshot snapshot;
    struct memory memory;
    struct unwound frames[2];
    struct arena arena;
    struct place place;
    int fd;
    Dwarf *dwarf;
};

static struct scene scene;

/* Expressions lie here: libdw remembers what it has parsed by address. */
static uint8_t scene_pool[16384];
static size_t scene_pool_used;

/* The unit of the test program that was compiled from a file. */
static inline bool scene_find_unit(const char *file, Dwarf_Die *ret_unit)
{
    Dwarf_Off offset = 0, next;
    size_t header;

    while (dwarf_nextcu(scene.dwarf, offset, &next, &header, NULL, NULL, NULL) == 0) {
        const char *name = dwarf_offdie(scene.dwarf, offset + header, ret_unit) ? dwarf_diename(ret_unit) : NULL;
        const char *last = name ? strrchr(name, '/') : NULL;
        if (name && strcmp(last ? last + 1 : name, file) == 0)
            return true;
        offset = next;
    }
    return false;
}

/* Frame 0 has rbp's like (the frame pointer) at the CFA, and its registers hold 0x1000 + their number, each plus
   0x1111000000000000; frame 1 has all those that a call preserves. Byte i of the stack is 0xa0 + i. */
static inline void scene_set(const char *file)
{
    const char *last = strrchr(file, '/');

    memset(&scene, 0, sizeof(scene));
    for (unsigned i = 0; i < SCENE_STACK_SIZE; i++)
        scene.stack[i] = (uint8_t)(0xa0 + i);
    scene.snapshot.whole = &scene.snapshot;
    scene.snapshot.stack = scene.stack;
    scene.snapshot.stack_address = SCENE_STACK;
    scene.snapshot.stack_size = SCENE_STACK_SIZE;
    scene.memory = (struct memory){.snapshot = &scene.snapshot};
    for (unsigned i = 0; i < 2; i++) {
        struct unwound *frame = &scene.frames[i];
        frame->cfa = SCENE_CFA;
        frame->registers.known = (UINT64_C(1) << XCTX__DWARF_REGISTERS) - 1;
        for (unsigned reg = 0; reg < XCTX__DWARF_REGISTERS; reg++)
            frame->registers.value[reg] = UINT64_C(0x1111000000001000) + reg;
        frame->registers.value[XCTX__REGISTER_FP] = SCENE_CFA;
        frame->registers.vectors_known = 1;
        for (unsigned j = 0; j < 16; j++)
            frame->registers.vector[0][j] = (uint8_t)(0x10 + j);
    }
    scene.frames[0].exact = true;
    scene.frames[1].registers.known &= XCTX__REGISTERS_OF_CALL;
    scene.frames[1].registers.vectors_known = 0;
    scene.place = (struct place){.arena = &scene.arena,
                                 .memory = &scene.memory,
                                 .frames = scene.frames,
                                 .frame_count = 2,
                                 .bias = SCENE_BIAS,
                                 .max_elements = 200};
    scene.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    scene.dwarf = dwarf_begin(scene.fd, DWARF_C_READ);
    if (!scene.dwarf || !scene_find_unit(last ? last + 1 : file, &scene.place.unit))
        skip(); /* compiled without debug information */
}

static inline void scene_end(void)
{
    xctx__arena_destroy(&scene.arena);
    if (scene.dwarf)
        dwarf_end(scene.dwarf);
    if (scene.fd >= 0)
        close(scene.fd);
}

static inline size_t scene_uleb(uint8_t *to, uint64_t value)
{
    size_t size = 0;

    do {
        to[size++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value);
    return size;
}

/* An attribute with an expression. */
static inline Dwarf_Attribute scene_attribute(unsigned code, unsigned form, const void *bytes, size_t size)
{
    uint8_t *at = scene_pool + scene_pool_used;

    assert_true(scene_pool_used + size + 8 < sizeof(scene_pool));
    size_t length = scene_uleb(at, size);
    memcpy(at + length, bytes, size);
    scene_pool_used += length + size;
    return (Dwarf_Attribute){.code = code, .form = form, .valp = at, .cu = scene.place.unit.cu};
}

/* Where a type of the test program is, from the beginning of its unit: as three bytes of an ULEB128, to be put into an
   expression. */
struct scene_type {
    uint8_t bytes[3];
};

static inline bool scene_is_named(const char *found, const char *name)
{
    /* As gcc writes them, and clang. */
    static const char *const names[][2] = {
        {"long int", "long"},
        {"long unsigned int", "unsigned long"},
        {"short int", "short"},
        {"short unsigned int", "unsigned short"},
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i][0]) == 0 && strcmp(found, names[i][1]) == 0)
            return true;
    return strcmp(found, name) == 0;
}

static inline struct scene_type scene_type(const char *name)
{
    struct scene_type type = {{0x80, 0x80, 0}};
    Dwarf_Die die;

    assert_int_equal(dwarf_child(&scene.place.unit, &die), 0);
    do {
        const char *found = dwarf_diename(&die);
        if (dwarf_tag(&die) != DW_TAG_base_type || !found || !scene_is_named(found, name))
            continue;
        Dwarf_Off offset = dwarf_cuoffset(&die);
        assert_true(offset < 1u << 21);
        type.bytes[0] = (uint8_t)(0x80 | (offset & 0x7f));
        type.bytes[1] = (uint8_t)(0x80 | (offset >> 7 & 0x7f));
        type.bytes[2] = (uint8_t)(offset >> 14);
        return type;
    } while (dwarf_siblingof(&die, &die) == 0);
    fail_msg("no type %s", name);
    return type;
}

#define TYPE(type) (type).bytes[0], (type).bytes[1], (type).bytes[2]

/* What an expression of these bytes locates. */
#define LOCATE(...) scene_locate((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static inline struct location scene_locate(const uint8_t *bytes, size_t size)
{
    static struct location location;
    Dwarf_Attribute attribute = scene_attribute(DW_AT_location, DW_FORM_exprloc, bytes, size);

    xctx__locate(&scene.place, &attribute, 8, &location);
    return location;
}

/* Asserts that the expression, followed by DW_OP_stack_value, has a value of `size` bytes. */
static inline void scene_expect(struct location location, uint64_t value, uint64_t size)
{
    uint64_t found = 0;

    assert_int_equal(location.failed, XCTX_SOURCE_SNAPSHOT);
    assert_int_equal(location.count, 1);
    assert_int_equal(location.pieces[0].kind, PIECE_VALUE);
    assert_int_equal(location.pieces[0].byte_count, size);
    memcpy(&found, location.pieces[0].bytes, size < 8 ? size : 8);
    assert_int_equal(found, value);
}

#define EXPECT(value, ...) scene_expect(LOCATE(__VA_ARGS__, DW_OP_stack_value), (uint64_t)(value), 8)
#define EXPECT_SIZED(value, size, ...) scene_expect(LOCATE(__VA_ARGS__, DW_OP_stack_value), (uint64_t)(value), size)
#define EXPECT_FAILED(source, ...) assert_int_equal(LOCATE(__VA_ARGS__).failed, source)
#define EXPECT_REFUSED(...) EXPECT_FAILED(XCTX_SOURCE_UNSUPPORTED, __VA_ARGS__)

/* A test in such a place. */
#define SCENE(name)                                                                                                    \
    static void name##_in_scene(void);                                                                                 \
    TEST(name)                                                                                                         \
    {                                                                                                                  \
        scene_set(__FILE__);                                                                                           \
        name##_in_scene();                                                                                             \
        scene_end();                                                                                                   \
    }                                                                                                                  \
    static void name##_in_scene(void)

#endif
