/* SPDX-License-Identifier: MIT */
/*
 * The capsule of the thread's locale: what uselocale() says.
 *
 * A thread either has a locale of its own or follows the process's (LC_GLOBAL_LOCALE). The value is a duplicate of
 * the former, since its owner may free it while copies live on, or one static value that stands for the latter.
 *
 * The thread that has entered a context uses the value's locale until it leaves. Setting the variable meanwhile, or
 * releasing the context on another thread, must not free the locale under its feet: what is saved therefore holds a
 * reference to the value beside the locale to go back to.
 *
 * For another process a locale is its name: "de_DE.UTF-8", or "LC_CTYPE=de_DE.UTF-8;LC_NUMERIC=C;..." where the
 * categories differ. The process's own locale is the empty name: there, too, the process's.
 */
#include <errno.h>
#include <langinfo.h>
#include <locale.h>

#include <xctx/thread.h>

#include "state.h"

/* Longer names than this are not taken from others. */
enum { NAME_LIMIT = 4096 };

struct locale_value {
    struct state state;
    locale_t locale;
};

struct locale_saved {
    locale_t old;
    struct locale_value *applied;
};

/* The process's locale. Its one reference is never given back. */
static struct locale_value global = {{1}, LC_GLOBAL_LOCALE};

static const struct {
    int number;
    int mask;
    const char *name;
} categories[] = {
    {LC_CTYPE, LC_CTYPE_MASK, "LC_CTYPE"},
    {LC_NUMERIC, LC_NUMERIC_MASK, "LC_NUMERIC"},
    {LC_TIME, LC_TIME_MASK, "LC_TIME"},
    {LC_COLLATE, LC_COLLATE_MASK, "LC_COLLATE"},
    {LC_MONETARY, LC_MONETARY_MASK, "LC_MONETARY"},
    {LC_MESSAGES, LC_MESSAGES_MASK, "LC_MESSAGES"},
#ifdef LC_PAPER
    {LC_PAPER, LC_PAPER_MASK, "LC_PAPER"},
    {LC_NAME, LC_NAME_MASK, "LC_NAME"},
    {LC_ADDRESS, LC_ADDRESS_MASK, "LC_ADDRESS"},
    {LC_TELEPHONE, LC_TELEPHONE_MASK, "LC_TELEPHONE"},
    {LC_MEASUREMENT, LC_MEASUREMENT_MASK, "LC_MEASUREMENT"},
    {LC_IDENTIFICATION, LC_IDENTIFICATION_MASK, "LC_IDENTIFICATION"},
#endif
};
enum { CATEGORIES = sizeof(categories) / sizeof(categories[0]) };

/* A value that owns `locale`; frees it if there is no memory. */
static struct locale_value *locale_wrap(locale_t locale)
{
    struct locale_value *value = xctx__state_allocate(sizeof(*value));
    if (value)
        value->locale = locale;
    else
        freelocale(locale);
    return value;
}

static void locale_release(void *released)
{
    struct locale_value *value = released;
    if (xctx__state_drop(value)) {
        freelocale(value->locale);
        xctx__free(value);
    }
}

static void *locale_capture(void)
{
    int error = errno;
    struct locale_value *value = NULL;
    locale_t current = uselocale((locale_t)0);

    if (current == LC_GLOBAL_LOCALE)
        return xctx__state_retain(&global);
    locale_t copy = duplocale(current);
    if (copy != (locale_t)0)
        value = locale_wrap(copy);
    errno = error;
    return value ? value : XCTX_RESERVED_VALUE;
}

static void *locale_enter(void *value)
{
    if (!value)
        return NULL;
    struct locale_saved *saved = xctx__allocate(sizeof(*saved));
    if (!saved)
        return NULL;
    saved->applied = xctx__state_retain(value);
    saved->old = uselocale(saved->applied->locale);
    return saved;
}

static void locale_leave(void *saved_by_enter)
{
    struct locale_saved *saved = saved_by_enter;

    if (!saved)
        return;
    uselocale(saved->old);
    locale_release(saved->applied);
    xctx__free(saved);
}

static void add_name(struct text *text, const struct locale_value *value)
{
    const char *names[CATEGORIES];
    int same = 1;

    for (size_t i = 0; i < CATEGORIES; i++) {
        names[i] = nl_langinfo_l(NL_LOCALE_NAME(categories[i].number), value->locale);
        same &= strcmp(names[i], names[0]) == 0;
    }
    if (same) {
        xctx__text_add(text, names[0]);
        return;
    }
    for (size_t i = 0; i < CATEGORIES; i++) {
        xctx__text_add(text, i > 0 ? ";" : "");
        xctx__text_add(text, categories[i].name);
        xctx__text_add(text, "=");
        xctx__text_add(text, names[i]);
    }
}

static int locale_format(void *value, char *buffer, size_t size)
{
    struct text text = {buffer, size, 0};

    if (value == &global)
        xctx__text_add(&text, "the process's");
    else if (value)
        add_name(&text, value);
    return xctx__text_finish(&text);
}

static int locale_encode(void *value, void *buffer, size_t size)
{
    struct text text = {buffer, size, 0};

    if (!value)
        return -EINVAL;
    if (value != &global)
        add_name(&text, value);
    return (int)text.length;
}

/* newlocale() with an error for a result. Takes `base` over unless it fails. */
static int locale_make(int mask, const char *name, locale_t base, locale_t *ret_locale)
{
    locale_t locale = newlocale(mask, name, base);
    if (locale == (locale_t)0)
        return errno == ENOMEM ? -ENOMEM : -ENOENT;
    *ret_locale = locale;
    return 0;
}

/* One "LC_X=name" put into *locale. Categories that this libc does not have are passed over. */
static int locale_put(char *part, locale_t *locale)
{
    char *name = strchr(part, '=');

    if (!name)
        return -EINVAL;
    *name++ = '\0';
    /* Empty would be whatever this process's environment says. */
    if (!*name)
        return -EINVAL;
    for (size_t i = 0; i < CATEGORIES; i++) {
        if (strcmp(part, categories[i].name) == 0)
            return locale_make(categories[i].mask, name, *locale, locale);
    }
    return 0;
}

static int locale_parse(char *name, locale_t *ret_locale)
{
    char *rest = NULL;
    locale_t locale;

    if (!strchr(name, '='))
        return locale_make(LC_ALL_MASK, name, (locale_t)0, ret_locale);
    int result = locale_make(LC_ALL_MASK, "C", (locale_t)0, &locale);
    if (result != 0)
        return result;
    for (char *part = strtok_r(name, ";", &rest); part; part = strtok_r(NULL, ";", &rest)) {
        result = locale_put(part, &locale);
        if (result != 0) {
            freelocale(locale);
            return result;
        }
    }
    *ret_locale = locale;
    return 0;
}

static int locale_decode(const void *data, size_t size, void **ret_value)
{
    int error = errno;
    locale_t locale;

    if (size == 0) {
        *ret_value = xctx__state_retain(&global);
        return 0;
    }
    if (size > NAME_LIMIT || memchr(data, '\0', size))
        return -EINVAL;
    char *name = xctx__allocate(size + 1);
    if (!name)
        return -ENOMEM;
    memcpy(name, data, size);
    name[size] = '\0';
    int result = locale_parse(name, &locale);
    xctx__free(name);
    errno = error;
    if (result != 0)
        return result;
    struct locale_value *value = locale_wrap(locale);
    if (!value)
        return -ENOMEM;
    *ret_value = value;
    return 0;
}

XCTX_VAR_DEFINE(xctx_state_locale, .retain = xctx__state_retain, .release = locale_release, .capture = locale_capture,
                .enter = locale_enter, .leave = locale_leave, .format = locale_format, .encode = locale_encode,
                .decode = locale_decode);
