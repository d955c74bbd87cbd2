/* SPDX-License-Identifier: MIT */
/* Writing reports: the entry points, and what write.h says. */
#include "write.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

void xctx__sink_bytes(struct sink *sink, const char *bytes, size_t size)
{
    if (sink->error != 0 || size == 0)
        return;
    errno = 0;
    if (fwrite(bytes, 1, size, sink->file) != size)
        sink->error = errno > 0 ? -errno : -EIO;
}

void xctx__sink_string(struct sink *sink, const char *string)
{
    xctx__sink_bytes(sink, string, strlen(string));
}

void xctx__sink_format(struct sink *sink, const char *format, ...)
{
    va_list arguments;

    if (sink->error != 0)
        return;
    errno = 0;
    va_start(arguments, format);
    if (vfprintf(sink->file, format, arguments) < 0)
        sink->error = errno > 0 ? -errno : -EIO;
    va_end(arguments);
}

size_t xctx__utf8_next(const char *text, size_t size, uint32_t *ret_character)
{
    const unsigned char *bytes = (const unsigned char *)text;
    uint32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = bytes[0] < 0x80           ? 1
                    : (bytes[0] >> 5) == 0x06 ? 2
                    : (bytes[0] >> 4) == 0x0e ? 3
                    : (bytes[0] >> 3) == 0x1e ? 4
                                              : 0;

    if (length == 0 || length > size)
        return 0;
    uint32_t character = length == 1 ? bytes[0] : bytes[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (bytes[i] & 0x3fu);
    }
    if (character < smallest[length] || character > 0x10ffff || (character >= 0xd800 && character <= 0xdfff))
        return 0;
    *ret_character = character;
    return length;
}

struct range {
    uint32_t first;
    uint32_t last;
};

static bool within(uint32_t character, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (character >= ranges[i].first && character <= ranges[i].last)
            return true;
    }
    return false;
}

/* Characters that move the cursor, change the direction of text, or are there without being seen. */
static bool is_hidden(uint32_t character)
{
    static const struct range ranges[] = {
        {0x00, 0x1f},     {0x7f, 0x9f},     {0xad, 0xad},       {0x61c, 0x61c},     {0x180e, 0x180e},
        {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},   {0xfeff, 0xfeff},   {0xfff9, 0xfffb},
        {0xfdd0, 0xfdef}, {0xfffe, 0xffff}, {0x1d173, 0x1d17a}, {0xe0000, 0xe0fff},
    };

    return within(character, ranges, sizeof(ranges) / sizeof(ranges[0]));
}

/* Columns on a terminal: in outline that of Unicode's East Asian Width and of combining marks, for wrapping alone. */
static uint8_t width_of(uint32_t character)
{
    static const struct range none[] = {
        {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x64b, 0x65f},   {0x1ab0, 0x1aff},
        {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f},
    };
    static const struct range two[] = {
        {0x1100, 0x115f},   {0x2e80, 0x303e},   {0x3041, 0xa4cf},   {0xac00, 0xd7a3},
        {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
        {0x1f300, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f900, 0x1f9ff}, {0x20000, 0x3fffd},
    };

    if (character < 0x300)
        return 1;
    return within(character, none, sizeof(none) / sizeof(none[0])) ? 0
           : within(character, two, sizeof(two) / sizeof(two[0]))  ? 2
                                                                   : 1;
}

static void escape(struct visible *visible, uint32_t character, bool is_byte)
{
    int size;

    if (character == '\n' || character == '\t' || character == '\r')
        size = snprintf(visible->bytes, sizeof(visible->bytes), "\\%c",
                        character == '\n'   ? 'n'
                        : character == '\t' ? 't'
                                            : 'r');
    else if (is_byte || character < 0x80)
        size = snprintf(visible->bytes, sizeof(visible->bytes), "\\%03o", (unsigned)character);
    else
        size = snprintf(visible->bytes, sizeof(visible->bytes), "\\u%04x", (unsigned)character);
    visible->size = (uint8_t)size;
    visible->width = (uint8_t)size;
}

size_t xctx__visible_next(const char *text, size_t size, struct visible *ret_visible)
{
    uint32_t character = 0;
    size_t length = xctx__utf8_next(text, size, &character);

    if (length == 0) {
        escape(ret_visible, (unsigned char)text[0], true);
        return 1;
    }
    if (is_hidden(character)) {
        escape(ret_visible, character, false);
        return length;
    }
    memcpy(ret_visible->bytes, text, length);
    ret_visible->size = (uint8_t)length;
    ret_visible->width = width_of(character);
    return length;
}

const char *xctx__source_text(enum xctx_source source, char buffer[32])
{
    const char *name = xctx_source_name(source);
    size_t size = strnlen(name, 31);

    memcpy(buffer, name, size);
    buffer[size] = '\0';
    for (size_t i = 0; i < size; i++) {
        if (buffer[i] == '-')
            buffer[i] = ' ';
    }
    return buffer;
}

bool xctx__source_remarkable(enum xctx_source source)
{
    return source == XCTX_SOURCE_CONSTANT || source == XCTX_SOURCE_COMPUTED || source == XCTX_SOURCE_ENTRY_VALUE ||
           source == XCTX_SOURCE_LIVE;
}

size_t xctx__declaration_split(const char *type, bool *ret_space)
{
    size_t size = strlen(type);
    const char *pointer = strstr(type, "(*");
    const char *bracket = strchr(type, '[');
    size_t at = size;

    /* In the arguments of a template these belong to another type. */
    if (strchr(type, '<'))
        pointer = bracket = NULL;
    if (pointer) {
        at = (size_t)(pointer - type) + 1;
        while (type[at] == '*')
            at++;
    } else if (bracket && type[size - 1] == ']') {
        at = (size_t)(bracket - type);
    }
    while (at > 0 && type[at - 1] == ' ')
        at--;
    *ret_space = at > 0 && type[at - 1] != '*' && type[at - 1] != '&';
    return at;
}

const char *xctx__base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash && slash[1] != '\0' ? slash + 1 : path;
}

static int write_reports(xctx_report *const reports[], size_t count, bool single, FILE *file, enum xctx_format format)
{
    int error = 0;

    /* One report is in one piece, whatever other threads write to the same file. */
    flockfile(file);
    switch (format) {
    case XCTX_FORMAT_TEXT:
        error = xctx__write_text(reports, count, file);
        break;
    case XCTX_FORMAT_JSON:
        error = xctx__write_json(reports, count, single, file);
        break;
    case XCTX_FORMAT_HTML:
        error = xctx__write_html(reports, count, file);
        break;
    default:
        error = -EINVAL;
        break;
    }
    if (error == 0) {
        errno = 0;
        if (fflush(file) != 0)
            error = errno > 0 ? -errno : -EIO;
    }
    funlockfile(file);
    return error;
}

int xctx_report_write(const xctx_report *report, FILE *file, enum xctx_format format)
{
    /* Taking a reference is all that wants a report that is not const, and no writer does. */
    xctx_report *reports[] = {(xctx_report *)(uintptr_t)report};

    if (!report || !file)
        return -EINVAL;
    return write_reports(reports, 1, true, file, format);
}

int xctx_reports_write(xctx_report *const reports[], size_t count, FILE *file, enum xctx_format format)
{
    if (!file || (count > 0 && !reports))
        return -EINVAL;
    for (size_t i = 0; i < count; i++) {
        if (!reports[i])
            return -EINVAL;
    }
    return write_reports(reports, count, false, file, format);
}
