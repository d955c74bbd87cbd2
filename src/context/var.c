/* SPDX-License-Identifier: MIT */
/*
 * Variables: numbers, creation, the table that leads from numbers back to variables.
 *
 * The table is a fixed array of pages, each allocated when the first number in it is given out. Pages are published by
 * a release store and never freed, so that readers need no lock. Numbers are given out under `lock`. The lock is not
 * held while a module is pinned: that takes the loader's lock, under which constructors may be waiting for ours.
 */
#include "var_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "fork.h"
#include "memory.h"

enum { PAGE = 1 << XCTX__VAR_PAGE_BITS };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint32_t next_id; /* under `lock` */
static xctx_var *_Atomic *_Atomic pages[XCTX__VAR_PAGES];
static xctx_var *_Atomic captured; /* the newest variable with a `capture` operation; changes under `lock` */

void xctx__var_before_fork(void)
{
    pthread_mutex_lock(&lock);
}

void xctx__var_after_fork(void)
{
    pthread_mutex_unlock(&lock);
}

static bool options_are_valid(const xctx_var_options *options)
{
    return (options->size == 0 || options->size == sizeof(*options)) && !options->enter == !options->leave &&
           (options->flow == XCTX_FLOW_SHARE || options->flow == XCTX_FLOW_NONE ||
            (options->flow == XCTX_FLOW_CLONE && options->clone));
}

/* Contexts may call these as long as they hold a value. */
static void pin_modules(const xctx_var *var)
{
    const xctx_var_options *options = &var->options_;
    void (*const operations[])(void) = {
        (void (*)(void))options->retain, (void (*)(void))options->release, (void (*)(void))options->clone,
        (void (*)(void))options->merge,  (void (*)(void))options->capture, (void (*)(void))options->enter,
        (void (*)(void))options->leave,  (void (*)(void))options->format,  (void (*)(void))options->encode,
        (void (*)(void))options->decode,
    };

    if (!(xctx__var_flags(var) & VAR_DYNAMIC))
        xctx__module_pin(var);
    for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++)
        if (operations[i])
            xctx__module_pin((const void *)(uintptr_t)operations[i]);
}

static uint32_t flags_of(const xctx_var *var)
{
    const xctx_var_options *options = &var->options_;
    uint32_t flags = xctx__var_flags(var) & VAR_DYNAMIC;

    if (options->enter)
        flags |= VAR_HOOKED;
    if (options->flow != XCTX_FLOW_SHARE)
        flags |= VAR_FLOWS;
    if (options->release)
        flags |= VAR_CELL;
    if (!(flags & (VAR_HOOKED | VAR_FLOWS | VAR_CELL)) && !options->retain)
        flags |= VAR_PLAIN;
    return flags;
}

/* Under `lock`. */
static int number_locked(xctx_var *var)
{
    if (xctx__var_id(var) != XCTX__VAR_NO_ID)
        return 0;
    if (next_id == (uint32_t)PAGE * XCTX__VAR_PAGES)
        return -ENOSPC;
    xctx_var *_Atomic *page = atomic_load_explicit(&pages[next_id / PAGE], memory_order_relaxed);
    if (!page) {
        page = xctx__allocate(PAGE * sizeof(*page));
        if (!page)
            return -ENOMEM;
        for (uint32_t i = 0; i < PAGE; i++)
            atomic_init(&page[i], NULL);
        atomic_store_explicit(&pages[next_id / PAGE], page, memory_order_release);
    }
    atomic_store_explicit(&page[next_id % PAGE], var, memory_order_release);
    __atomic_store_n(&var->flags_, flags_of(var), __ATOMIC_RELAXED);
    /* Partner: the acquire load in xctx__var_number(); those who only read find the flags through a map. */
    __atomic_store_n(&var->id_, next_id, __ATOMIC_RELEASE);
    next_id++;
    return 0;
}

int xctx__var_number(xctx_var *var)
{
    if (__atomic_load_n(&var->id_, __ATOMIC_ACQUIRE) != XCTX__VAR_NO_ID)
        return 0;
    if (!options_are_valid(&var->options_))
        return -EINVAL;
    pin_modules(var);
    pthread_mutex_lock(&lock);
    int error = number_locked(var);
    pthread_mutex_unlock(&lock);
    return error;
}

xctx_var *xctx__var_at(uint32_t id)
{
    xctx_var *_Atomic *page = atomic_load_explicit(&pages[id / PAGE], memory_order_acquire);

    return atomic_load_explicit(&page[id % PAGE], memory_order_acquire);
}

void xctx__var_define(xctx_var *var)
{
    if (!options_are_valid(&var->options_))
        return; /* xctx_var_set() will say so */
    pin_modules(var);
    pthread_mutex_lock(&lock);
    xctx_var *first = atomic_load_explicit(&captured, memory_order_relaxed);
    var->reserved_[0] = first;
    /* Partner: xctx__var_captured(). */
    atomic_store_explicit(&captured, var, memory_order_release);
    pthread_mutex_unlock(&lock);
}

xctx_var *xctx__var_captured(void)
{
    return atomic_load_explicit(&captured, memory_order_acquire);
}

xctx_var *xctx_var_create(const char *name, const xctx_var_options *options)
{
    static const xctx_var_options none = {.size = sizeof(none)};

    if (!name)
        name = "";
    if (!options)
        options = &none;
    if (!options_are_valid(options))
        return NULL;
    size_t length = strlen(name) + 1;
    xctx_var *var = xctx__allocate(sizeof(*var) + length);
    if (!var)
        return NULL;
    memset(var, 0, sizeof(*var));
    var->id_ = XCTX__VAR_NO_ID;
    var->flags_ = VAR_DYNAMIC;
    var->refs_ = 1;
    var->name_ = memcpy(var + 1, name, length);
    var->options_ = *options;
    if (options->capture)
        xctx__var_define(var);
    return var;
}

xctx_var *xctx_var_ref(xctx_var *var)
{
    if (var && xctx__var_flags(var) & VAR_DYNAMIC)
        __atomic_fetch_add(&var->refs_, 1, __ATOMIC_RELAXED);
    return var;
}

xctx_var *xctx_var_unref(xctx_var *var)
{
    if (!var || !(xctx__var_flags(var) & VAR_DYNAMIC))
        return NULL;
    if (__atomic_fetch_sub(&var->refs_, 1, __ATOMIC_ACQ_REL) != 1)
        return NULL;
    if (xctx__var_id(var) == XCTX__VAR_NO_ID && !var->options_.capture)
        xctx__free(var);
    return NULL;
}

const char *xctx_var_name(const xctx_var *var)
{
    return var ? var->name_ : "";
}

const xctx_var_options *xctx_var_get_options(const xctx_var *var)
{
    return var ? &var->options_ : NULL;
}

int xctx__var_wrap(const xctx_var *var, void *(*take)(void *), void *value, void **ret_word)
{
    struct cell *cell = NULL;

    if (xctx__var_flags(var) & VAR_CELL) {
        cell = xctx__cell_create(value, var->options_.release);
        if (!cell)
            return -ENOMEM;
    }
    if (take && value) {
        value = take(value);
        if (!value || value == XCTX_RESERVED_VALUE) {
            if (cell)
                xctx__cell_discard(cell);
            return -ENOMEM;
        }
    }
    if (cell)
        cell->value = value;
    *ret_word = cell ? (void *)cell : value;
    return 0;
}

int xctx__var_wrap_owned(const xctx_var *var, void *value, void **ret_word)
{
    int error = xctx__var_wrap(var, NULL, value, ret_word);

    if (error && value && var->options_.release)
        var->options_.release(value);
    return error;
}
