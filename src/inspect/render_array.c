/* SPDX-License-Identifier: MIT */
/*
 * Arrays as text: "{1, 2, 3 <repeats 10 times>, 4...}", and arrays of characters as strings.
 */
#include <inttypes.h>
#include <string.h>

#include "render.h"

/* One dimension of an array, or what is left of one. */
struct row {
    struct array *array;
    unsigned dimension;
    const struct value *value;
};

static void render_row(struct render *render, const struct row *row);

/* How many elements of a row there are bytes of. */
static uint64_t known_count(const struct row *row)
{
    const struct dimension *dimension = &row->array->dimension[row->dimension];
    uint64_t count = dimension->stride ? row->value->fetched / dimension->stride : dimension->count;

    return count < dimension->count ? count : dimension->count;
}

static bool same_element(const struct row *row, uint64_t one, uint64_t other)
{
    uint64_t stride = row->array->dimension[row->dimension].stride;
    const struct value *value = row->value;

    return memcmp(value->bytes + one * stride, value->bytes + other * stride, stride) == 0 &&
           (!value->states || (memcmp(value->states + one * stride, value->states + other * stride, stride) == 0 &&
                               memcmp(value->unknown + one * stride, value->unknown + other * stride, stride) == 0));
}

/* How many elements from one on are the same. */
static uint64_t count_same(const struct row *row, uint64_t index, uint64_t count)
{
    uint64_t next = index + 1;

    while (next < count && same_element(row, index, next))
        ++next;
    return next - index;
}

static void render_element(struct render *render, const struct row *row, uint64_t index)
{
    struct array *array = row->array;
    uint64_t stride = array->dimension[row->dimension].stride;
    bool innermost = row->dimension + 1 == array->dimensions;
    uint64_t size = innermost ? array->element_size : array->dimension[row->dimension + 1].size;
    struct value part = xctx__value_part(row->value, index * stride, size);

    ++render->depth;
    if (innermost) {
        xctx__render_value(render, &array->element, &part);
    } else if (render->depth >= XCTX__RENDER_DEPTH) {
        xctx__text_string(render->text, "{...}");
    } else if (!xctx__render_missing(render, &part, false)) {
        struct row inner = {.array = array, .dimension = row->dimension + 1, .value = &part};
        render_row(render, &inner);
    }
    --render->depth;
}

/* An array of characters all of which are known is a string. */
static bool render_text(struct render *render, const struct row *row, uint64_t count)
{
    struct character character;
    const struct value *value = row->value;

    if (row->array->vector || row->dimension + 1 != row->array->dimensions ||
        row->array->dimension[row->dimension].stride != row->array->element_size ||
        !xctx__render_is_character(&row->array->element, &character) || character.width != row->array->element_size ||
        (value->states && xctx__value_state(value, 0, count * character.width) != BYTE_KNOWN))
        return false;
    if (xctx__type_secret(render->place, &row->array->element))
        return false;
    xctx__render_string(render, &character, value->bytes, count, count < row->array->dimension[row->dimension].count);
    return true;
}

/* An array that debug information knows no element of is written as a pointer to it. */
static void render_nothing(struct render *render, const struct row *row)
{
    struct array *array = row->array;
    struct character character;

    if (!row->value->in_memory) {
        xctx__text_string(render->text, "{}");
        return;
    }
    xctx__render_address(render, row->value->address);
    if (row->dimension + 1 == array->dimensions && xctx__render_is_character(&array->element, &character) &&
        !xctx__type_secret(render->place, &array->element)) {
        xctx__text_string(render->text, " ");
        xctx__render_string_at(render, &character, row->value->address);
    }
}

static void render_row(struct render *render, const struct row *row)
{
    uint64_t count = known_count(row);
    uint64_t written = 0;
    uint64_t index = 0;

    if (row->array->dimension[row->dimension].size == 0) {
        render_nothing(render, row);
        return;
    }
    if (render_text(render, row, count))
        return;
    xctx__text_string(render->text, "{");
    while (index < count && written < render->elements && !render->text->full) {
        if (index > 0)
            xctx__text_string(render->text, ", ");
        uint64_t same = count_same(row, index, count);
        render_element(render, row, index);
        if (same > XCTX__REPEATS) {
            xctx__text_format(render->text, " <repeats %" PRIu64 " times>", same);
            index += same;
            written += XCTX__REPEATS;
        } else {
            ++index;
            ++written;
        }
    }
    if (index < row->array->dimension[row->dimension].count)
        xctx__text_string(render->text, "...");
    xctx__text_string(render->text, "}");
}

void xctx__render_array(struct render *render, Dwarf_Die *type, const struct value *value)
{
    struct array array;
    enum xctx_source source = xctx__array_read(render->place, type, &array);

    if (!xctx__source_has_value(source)) {
        xctx__text_string(render->text, "<unsupported>");
        return;
    }
    struct row row = {.array = &array, .value = value};
    bool in_vector = render->in_vector;
    render->in_vector = array.vector;
    render_row(render, &row);
    render->in_vector = in_vector;
}
