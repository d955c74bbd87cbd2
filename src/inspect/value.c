/* SPDX-License-Identifier: MIT */
/*
 * Bytes of objects: see value.h.
 *
 * An object is put together of pieces, the first one at its lowest bits (both processors are little-endian). A byte of
 * which not all bits are known is not known, but the bit-fields in it may be. The pieces follow each other without
 * gaps, so that what is behind the last one is all that none of them says anything about.
 */
#include "value.h"

#include <dwarf.h>
#include <errno.h>
#include <string.h>

#include "evaluate_internal.h"
#include "type.h"

/* Copies bits. The bytes of both have room for them. */
static void copy_bits(uint8_t *to, uint64_t to_bit, const uint8_t *from, uint64_t from_bit, uint64_t count)
{
    if (to_bit % 8 == 0 && from_bit % 8 == 0) {
        memcpy(to + to_bit / 8, from + from_bit / 8, count / 8);
        to_bit += count - count % 8;
        from_bit += count - count % 8;
        count %= 8;
    }
    for (; count > 0; count--, to_bit++, from_bit++) {
        unsigned bit = from[from_bit / 8] >> (from_bit % 8) & 1u;
        uint8_t mask = (uint8_t)(1u << (to_bit % 8));
        if (bit)
            to[to_bit / 8] |= mask;
        else
            to[to_bit / 8] &= (uint8_t)~mask;
    }
}

/* ---- states ---- */

static enum byte_state state_of(enum xctx_source why)
{
    return why == XCTX_SOURCE_NOT_CAPTURED || why == XCTX_SOURCE_UNREADABLE ? BYTE_MISSING : BYTE_OPTIMIZED_OUT;
}

/* The bits of a byte that are within a range of bits which touches it. */
static uint8_t bits_within(uint64_t byte, uint64_t bit, uint64_t count)
{
    unsigned first = bit > 8 * byte ? (unsigned)(bit - 8 * byte) : 0;
    uint64_t end = bit + count - 8 * byte;

    return (uint8_t)(0xffu << first & 0xffu >> (end < 8 ? 8 - end : 0));
}

/* Marks bits that are not known, and the bytes that they are in. Those that lie beyond what is fetched are left. */
static int mark(const struct place *place, struct value *value, uint64_t bit, uint64_t count, enum byte_state state)
{
    uint64_t first = bit / 8;
    uint64_t end = (bit + count + 7) / 8;

    if (end > value->fetched)
        end = value->fetched;
    if (count == 0 || first >= end)
        return 0;
    if (!value->states) {
        uint8_t *states = xctx__arena_allocate(place->arena, 2 * value->fetched);
        if (!states)
            return -ENOMEM;
        value->states = states;
        value->unknown = states + value->fetched;
    }
    memset(value->states + first, state, end - first);
    for (uint64_t i = first; i < end; i++)
        value->unknown[i] |= bits_within(i, bit, count);
    return 0;
}

/* ---- where the bytes came from ---- */

/* Of several sources, the one that a reader has to know. */
static enum xctx_source stronger(enum xctx_source one, enum xctx_source other)
{
    static const uint8_t rank[] = {
        [XCTX_SOURCE_CONSTANT] = 0, [XCTX_SOURCE_SNAPSHOT] = 1,    [XCTX_SOURCE_REGISTER] = 2,
        [XCTX_SOURCE_COMPUTED] = 3, [XCTX_SOURCE_ENTRY_VALUE] = 4, [XCTX_SOURCE_LIVE] = 5,
    };

    return rank[one] >= rank[other] ? one : other;
}

struct sources {
    bool any; /* something is known */
    enum xctx_source known;
    bool missed;
    enum xctx_source missing;
};

static void note_source(struct sources *sources, enum xctx_source source)
{
    if (xctx__source_has_value(source)) {
        sources->known = sources->any ? stronger(sources->known, source) : source;
        sources->any = true;
    } else if (!sources->missed) {
        sources->missed = true;
        sources->missing = source;
    }
}

/* ---- memory ---- */

/* Reads as much as there is at the beginning of a range (`end`: at its end), which as a whole cannot be read. Memory is
   there up to some point, so halving finds it. Returns how much it was. */
static uint64_t read_part(const struct place *place, enum memory_use use, uint64_t address, uint8_t *buffer,
                          uint64_t size, bool end, struct sources *sources)
{
    uint64_t low = 0;
    uint64_t high = size; /* so much cannot be read */

    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        uint64_t skip = end ? size - middle : 0;
        enum xctx_source source = xctx__memory_read(place->memory, use, address + skip, buffer + skip, middle);
        if (xctx__source_has_value(source)) {
            note_source(sources, source);
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Reads whole bytes from memory, or what there is of them. */
static int read_bytes(const struct place *place, struct value *value, uint64_t offset, uint64_t address, uint64_t size,
                      struct sources *sources)
{
    uint8_t *buffer = value->bytes + offset;
    enum xctx_source source = XCTX_SOURCE_UNREADABLE;

    if (size == 0)
        return 0;
    if (address + size >= address)
        source = xctx__memory_read(place->memory, value->use, address, buffer, size);
    note_source(sources, source);
    if (xctx__source_has_value(source))
        return 0;
    uint64_t first = 0;
    uint64_t last = 0;
    if (address + size >= address) {
        first = read_part(place, value->use, address, buffer, size, false, sources);
        last = read_part(place, value->use, address + first, buffer + first, size - first, true, sources);
    }
    /* What failed may have been written to. */
    memset(buffer + first, 0, size - first - last);
    return mark(place, value, 8 * (offset + first), 8 * (size - first - last), BYTE_MISSING);
}

/* ---- pieces ---- */

/* Takes the bits of a piece from bytes that were fetched for it: `known` of them. */
static int take_bits(const struct place *place, struct value *value, uint64_t bit, uint64_t count,
                     const struct piece *piece, const uint8_t *bytes, uint64_t known, enum byte_state missing)
{
    uint64_t there = 8 * known > piece->bit_offset ? 8 * known - piece->bit_offset : 0;
    uint64_t taken = count < there ? count : there;

    if (taken > 0)
        copy_bits(value->bytes, bit, bytes, piece->bit_offset, taken);
    return mark(place, value, bit + taken, count - taken, missing);
}

static int fetch_register(const struct place *place, struct value *value, uint64_t bit, uint64_t count,
                          const struct piece *piece, struct sources *sources)
{
    uint8_t bytes[16] = {0};
    size_t size = xctx__register_size(place, piece->reg);
    enum xctx_source source = xctx__register_read(place, piece->reg, bytes, size);

    if (source != XCTX_SOURCE_SNAPSHOT) {
        note_source(sources, source);
        return mark(place, value, bit, count, state_of(source));
    }
    note_source(sources, XCTX_SOURCE_REGISTER);
    /* The rest of a wide vector register is not captured; a general register has none. */
    return take_bits(place, value, bit, count, piece, bytes, size,
                     piece->reg >= XCTX__DWARF_REGISTERS ? BYTE_MISSING : BYTE_OPTIMIZED_OUT);
}

static int fetch_memory(const struct place *place, struct value *value, uint64_t bit, uint64_t count,
                        const struct piece *piece, struct sources *sources)
{
    uint64_t address = piece->address + piece->bit_offset / 8;
    uint64_t shift = piece->bit_offset % 8;

    if (bit % 8 == 0 && shift == 0 && count % 8 == 0)
        return read_bytes(place, value, bit / 8, address, count / 8, sources);
    /* Bits: whatever they are in is read as a whole, or not at all. */
    uint64_t size = (shift + count + 7) / 8;
    uint8_t *bytes = xctx__arena_allocate(place->arena, size);
    if (!bytes)
        return -ENOMEM;
    enum xctx_source source = address + size < address
                                  ? XCTX_SOURCE_UNREADABLE
                                  : xctx__memory_read(place->memory, value->use, address, bytes, size);
    note_source(sources, source);
    if (!xctx__source_has_value(source))
        return mark(place, value, bit, count, BYTE_MISSING);
    copy_bits(value->bytes, bit, bytes, shift, count);
    return 0;
}

/* Fetches `count` bits of one piece to where they belong. All of them are within what is fetched. */
static int fetch_piece(const struct place *place, struct value *value, uint64_t bit, uint64_t count,
                       const struct piece *piece, struct sources *sources)
{
    switch (piece->kind) {
    case PIECE_MEMORY:
        return fetch_memory(place, value, bit, count, piece, sources);
    case PIECE_REGISTER:
        return fetch_register(place, value, bit, count, piece, sources);
    case PIECE_VALUE:
        note_source(sources, piece->source);
        return take_bits(place, value, bit, count, piece, piece->bytes, piece->byte_count, BYTE_OPTIMIZED_OUT);
    case PIECE_POINTER:
        note_source(sources, XCTX_SOURCE_COMPUTED);
        return mark(place, value, bit, count, BYTE_SYNTHETIC);
    case PIECE_NONE:
        break;
    }
    note_source(sources, XCTX_SOURCE_OPTIMIZED_OUT);
    return mark(place, value, bit, count, BYTE_OPTIMIZED_OUT);
}

static int fetch_pieces(const struct place *place, const struct location *location, struct value *value,
                        struct sources *sources)
{
    uint64_t room = 8 * value->fetched;
    uint64_t bit = 0;
    int error = 0;

    for (size_t i = 0; i < location->count && bit < room && error == 0; i++) {
        const struct piece *piece = &location->pieces[i];
        uint64_t count = piece->bit_size == 0 || piece->bit_size > room - bit ? room - bit : piece->bit_size;
        error = fetch_piece(place, value, bit, count, piece, sources);
        bit += count;
    }
    if (error == 0 && bit < room) {
        note_source(sources, XCTX_SOURCE_OPTIMIZED_OUT);
        error = mark(place, value, bit, room - bit, BYTE_OPTIMIZED_OUT);
    }
    return error;
}

/* ---- the interface ---- */

static int value_start(const struct place *place, uint64_t size, enum memory_use use, struct value *ret_value)
{
    *ret_value =
        (struct value){.size = size, .fetched = size < XCTX__VALUE_LIMIT ? size : XCTX__VALUE_LIMIT, .use = use};
    ret_value->bytes = xctx__arena_allocate(place->arena, ret_value->fetched);
    return ret_value->bytes ? 0 : -ENOMEM;
}

static const char *register_name(const struct place *place, unsigned reg)
{
    if (reg < XCTX__DWARF_REGISTERS)
        return xctx__register_names[reg];
    return xctx__arena_format(place->arena, XCTX__VECTOR_NAME "%u", reg - XCTX__DWARF_VECTOR_FIRST);
}

/* What can be said of the object as a whole. */
static int value_finish(const struct place *place, const struct location *location, const struct sources *sources,
                        struct value *value)
{
    const struct piece *piece = &location->pieces[0];
    bool whole =
        location->count == 1 && piece->bit_offset == 0 && (piece->bit_size == 0 || piece->bit_size == 8 * value->size);

    value->source = sources->any ? sources->known : sources->missed ? sources->missing : XCTX_SOURCE_SNAPSHOT;
    if (whole && piece->kind == PIECE_MEMORY) {
        value->in_memory = true;
        value->address = piece->address;
    } else if (whole && piece->kind == PIECE_REGISTER && xctx__register_size(place, piece->reg) > 0) {
        value->reg = register_name(place, piece->reg);
    }
    for (size_t i = 0; i < location->count; i++) {
        if (location->pieces[i].kind != PIECE_POINTER || value->pointer)
            continue;
        value->pointer = xctx__arena_allocate(place->arena, sizeof(*location));
        if (!value->pointer)
            return -ENOMEM;
        *value->pointer = *location;
    }
    return 0;
}

int xctx__value_fetch(const struct place *place, const struct location *location, uint64_t size, enum memory_use use,
                      struct value *ret_value)
{
    struct sources sources = {0};
    struct value value;
    int error = value_start(place, size, use, &value);

    if (error)
        return error;
    if (location->failed != XCTX_SOURCE_SNAPSHOT) {
        value.source = location->failed;
        error = mark(place, &value, 0, 8 * value.fetched, state_of(location->failed));
    } else {
        error = fetch_pieces(place, location, &value, &sources);
        if (error == 0)
            error = value_finish(place, location, &sources, &value);
    }
    if (error == 0)
        *ret_value = value;
    return error;
}

int xctx__value_at(const struct place *place, uint64_t address, uint64_t size, enum memory_use use,
                   struct value *ret_value)
{
    struct sources sources = {0};
    struct value value;
    int error = value_start(place, size, use, &value);

    if (error == 0)
        error = read_bytes(place, &value, 0, address, value.fetched, &sources);
    if (error)
        return error;
    value.in_memory = true;
    value.address = address;
    value.source = sources.any ? sources.known : sources.missed ? sources.missing : XCTX_SOURCE_SNAPSHOT;
    *ret_value = value;
    return 0;
}

struct value xctx__value_part(const struct value *value, uint64_t offset, uint64_t size)
{
    struct value part = *value;
    uint64_t begin = offset < value->fetched ? offset : value->fetched;

    part.size = size;
    part.fetched = size < value->fetched - begin ? size : value->fetched - begin;
    part.bytes = value->bytes + begin;
    part.states = value->states ? value->states + begin : NULL;
    part.unknown = value->states ? value->unknown + begin : NULL;
    part.address = value->in_memory ? value->address + offset : 0;
    part.pointer_offset = value->pointer_offset + offset;
    return part;
}

int xctx__value_state(const struct value *value, uint64_t offset, uint64_t size)
{
    if (offset > value->fetched || size > value->fetched - offset)
        return -1;
    if (!value->states || size == 0)
        return BYTE_KNOWN;
    /* Each is as the one in front of it. */
    const uint8_t *states = value->states + offset;
    const uint8_t *unknown = value->unknown + offset;
    if (memcmp(states, states + 1, size - 1) != 0 || memcmp(unknown, unknown + 1, size - 1) != 0)
        return -1;
    return states[0] == BYTE_KNOWN || unknown[0] == UINT8_MAX ? states[0] : -1;
}

void xctx__value_bit_states(const struct value *value, uint64_t first, uint64_t count, uint8_t *ret_states)
{
    for (uint64_t i = first / 8; i < (first + count + 7) / 8; i++, ret_states++) {
        bool missing = value->states && i < value->fetched && value->unknown[i] & bits_within(i, first, count);
        *ret_states = missing ? value->states[i] : BYTE_KNOWN;
    }
}

/* ---- synthetic pointers ---- */

/* The piece of a location that is all of a pointer at some place of the object. */
static const struct piece *pointer_piece(const struct location *location, uint64_t offset)
{
    uint64_t bit = 0;

    for (size_t i = 0; i < location->count && bit <= 8 * offset; i++) {
        const struct piece *piece = &location->pieces[i];
        if (bit == 8 * offset && piece->kind == PIECE_POINTER &&
            (piece->bit_size == 0 || piece->bit_size == UINT64_C(8) * XCTX__GENERIC_SIZE))
            return piece;
        bit += piece->bit_size;
    }
    return NULL;
}

/* Whether bytes lie within a variable. One that has no type (DW_TAG_dwarf_procedure) has what its location has. */
static bool lies_within(const struct place *place, Dwarf_Die *variable, uint64_t offset, uint64_t size)
{
    uint64_t whole;
    Dwarf_Die type;

    if (!xctx__type_of(variable, &type))
        return dwarf_tag(variable) == DW_TAG_dwarf_procedure;
    return xctx__type_size(place, &type, &whole) == XCTX_SOURCE_SNAPSHOT && offset <= whole && size <= whole - offset;
}

int xctx__value_follow(const struct place *place, const struct value *pointer, uint64_t size, struct value *ret_value)
{
    Dwarf *dwarf = dwarf_cu_getdwarf(place->unit.cu);
    const struct piece *piece = pointer->pointer ? pointer_piece(pointer->pointer, pointer->pointer_offset) : NULL;
    struct location location;
    struct value whole;
    Dwarf_Attribute attribute;
    Dwarf_Die variable;

    if (!piece || piece->offset < 0 || (uint64_t)piece->offset > XCTX__VALUE_LIMIT || size > XCTX__VALUE_LIMIT ||
        !dwarf_offdie(dwarf, piece->target, &variable) || !lies_within(place, &variable, (uint64_t)piece->offset, size))
        return -ENODATA;
    if (!dwarf_attr_integrate(&variable, DW_AT_location, &attribute) &&
        !dwarf_attr_integrate(&variable, DW_AT_const_value, &attribute))
        return -ENODATA;
    uint64_t end = (uint64_t)piece->offset + size;
    xctx__locate(place, &attribute, end, &location);
    if (location.failed != XCTX_SOURCE_SNAPSHOT)
        return -ENODATA;
    int error = xctx__value_fetch(place, &location, end, pointer->use, &whole);
    if (error)
        return error;
    *ret_value = xctx__value_part(&whole, (uint64_t)piece->offset, size);
    /* What is said of the variable as a whole holds for a part of it, too, but not which register it was. */
    if (piece->offset != 0)
        ret_value->reg = NULL;
    return 0;
}
