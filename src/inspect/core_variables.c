/* SPDX-License-Identifier: MIT */
/* Variables of core files: see core_file.h. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <xctx/var.h>

#include "context/memory.h"
#include "core/core_internal.h"
#include "core_file.h"

enum {
    BUCKETS = 4096,
    KNOWN_MOST = 1 << 20, /* variables, of all files together: a quarter of all that a process can have */
    SAME_MOST = 64,       /* of one name, in a snapshot */
    NAME_MOST = 4096,     /* bytes of a name */
};

/* A value: immutable, counted. */
struct text_value {
    _Atomic uint32_t refs;
    char text[];
};

/* A variable that was made for a name. */
struct known {
    struct known *next; /* in its bucket; those of one name in the order in which they were made */
    xctx_var *var;
    uint64_t used_by; /* the number of the last snapshot that it was used for */
    bool secret;
};

/* Protects all that follows. Never freed, as variables are not. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct known *buckets[BUCKETS];
static size_t known_count;
static uint64_t snapshot_count;

/* Relaxed: who retains has a reference. */
static void *text_retain(void *value)
{
    struct text_value *text = value;

    atomic_fetch_add_explicit(&text->refs, 1, memory_order_relaxed);
    return text;
}

/* Release and acquire: what other holders read, they read before it is freed. */
static void text_release(void *value)
{
    struct text_value *text = value;

    if (atomic_fetch_sub_explicit(&text->refs, 1, memory_order_acq_rel) == 1)
        xctx__free(text);
}

static int text_format(void *value, char *buffer, size_t size)
{
    const char *text = value ? ((const struct text_value *)value)->text : "";
    size_t length = strlen(text);

    if (size > 0) {
        size_t fits = length < size ? length : size - 1;
        memcpy(buffer, text, fits);
        buffer[fits] = '\0';
    }
    return length <= INT32_MAX ? (int)length : -EOVERFLOW;
}

static struct text_value *text_create(const char *text)
{
    size_t size = strlen(text) + 1;
    struct text_value *value = xctx__allocate(sizeof(*value) + size);

    if (value) {
        atomic_init(&value->refs, 1);
        memcpy(value->text, text, size);
    }
    return value;
}

/* FNV-1a, by Fowler, Noll and Vo. */
static size_t bucket_of(const char *name)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (const char *at = name; *at; at++)
        hash = (hash ^ (unsigned char)*at) * UINT64_C(0x100000001b3);
    return (size_t)(hash % BUCKETS);
}

static struct known *known_create(const struct file_variable *variable)
{
    const xctx_var_options options = {
        .size = sizeof(options),
        .retain = text_retain,
        .release = text_release,
        .format = text_format,
        .secret = variable->secret,
    };
    struct known *known = xctx__allocate(sizeof(*known));

    if (!known)
        return NULL;
    *known = (struct known){.var = xctx_var_create(variable->name, &options), .secret = variable->secret};
    if (!known->var) {
        xctx__free(known);
        return NULL;
    }
    known_count++;
    return known;
}

/* The variable for one of a snapshot, which has not been used for it yet. 0 with *ret_var NULL: it is left out. */
static int find_variable(const struct file_variable *variable, uint64_t snapshot, xctx_var **ret_var)
{
    struct known **at = &buckets[bucket_of(variable->name)];
    size_t same = 0;

    *ret_var = NULL;
    if (strlen(variable->name) >= NAME_MOST)
        return 0;
    for (; *at && same < SAME_MOST; at = &(*at)->next) {
        if ((*at)->secret != variable->secret || strcmp(xctx_var_name((*at)->var), variable->name) != 0)
            continue;
        if ((*at)->used_by != snapshot)
            break;
        same++;
    }
    if (same == SAME_MOST || (!*at && known_count == KNOWN_MOST))
        return 0;
    if (!*at)
        *at = known_create(variable);
    if (!*at)
        return -ENOMEM;
    (*at)->used_by = snapshot;
    *ret_var = (*at)->var;
    return 0;
}

/* With the lock held. Fills both arrays, whose count it returns, or -ENOMEM. */
static int find_variables(const struct file_variable *variables, size_t count, xctx_var **vars, void **values)
{
    uint64_t snapshot = ++snapshot_count;
    int found = 0;

    for (size_t i = 0; i < count; i++) {
        int result = find_variable(&variables[i], snapshot, &vars[found]);
        if (result == 0 && vars[found]) {
            values[found] = text_create(variables[i].text);
            result = values[found] ? 0 : -ENOMEM;
            found += result == 0;
        }
        if (result < 0) {
            while (found > 0)
                text_release(values[--found]);
            return result;
        }
    }
    return found;
}

int xctx__file_variables(const struct file_variable *variables, size_t count, struct map **ret_root)
{
    xctx_var **vars = xctx__allocate((count + 1) * sizeof(void *));
    void **values = xctx__allocate((count + 1) * sizeof(*values));
    int result = -ENOMEM;

    if (vars && values) {
        pthread_mutex_lock(&lock);
        result = find_variables(variables, count, vars, values);
        pthread_mutex_unlock(&lock);
    }
    if (result >= 0) {
        int found = result;
        result = xctx__core_map(vars, values, (size_t)found, ret_root);
        while (found > 0)
            text_release(values[--found]);
    }
    xctx__free(vars);
    xctx__free(values);
    /* Without numbers for variables there are none in the snapshot. */
    return result == -ENOSPC ? 0 : result;
}
