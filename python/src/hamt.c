/* SPDX-License-Identifier: MIT */
/* CPython's map of a context, read without its functions: hamt.h. */
#include "hamt.h"

struct node {
    PyObject_HEAD
};

/* The map. */
struct map_object {
    PyObject_HEAD
    struct node *root;
};

/* Up to 16 entries, those of the bits that are set: a key and a value, or NULL and a node. */
struct bitmap_node {
    PyObject_VAR_HEAD
    uint32_t bits;
    PyObject *entries[];
};

/* 32 nodes or NULL. */
struct array_node {
    PyObject_HEAD
    struct node *nodes[32];
};

/* Keys of one hash, and their values. */
struct collision_node {
    PyObject_VAR_HEAD
    int32_t hash;
    PyObject *entries[];
};

enum { BITS_A_LEVEL = 5 };

static PyTypeObject *bitmap_type, *array_type;
int xctx_hamt_good;

static uint32_t fold(Py_hash_t hash)
{
    uint64_t whole = (uint64_t)hash;
    uint32_t folded = (uint32_t)whole ^ (uint32_t)(whole >> 32);
    return folded == UINT32_MAX ? UINT32_MAX - 1 : folded;
}

/* Too rare to be learnt by trying. */
static int is_collision(const struct node *node)
{
    return strcmp(Py_TYPE(node)->tp_name, "hamt_collision_node") == 0;
}

static PyObject *find_in_collision(const struct collision_node *node, PyObject *key)
{
    for (Py_ssize_t i = 0; i + 1 < Py_SIZE(node); i += 2)
        if (node->entries[i] == key)
            return node->entries[i + 1];
    return NULL;
}

PyObject *xctx_hamt_find(PyObject *context, PyObject *key, Py_hash_t hash)
{
    const struct node *node = ((struct builtin_context *)context)->map->root;

    for (uint32_t rest = fold(hash); node; rest >>= BITS_A_LEVEL) {
        uint32_t index = rest & 31;
        if (Py_TYPE(node) == array_type) {
            node = ((const struct array_node *)node)->nodes[index];
        } else if (Py_TYPE(node) == bitmap_type) {
            const struct bitmap_node *bitmap = (const struct bitmap_node *)node;
            uint32_t bit = UINT32_C(1) << index;
            if (!(bitmap->bits & bit))
                return NULL;
            PyObject *const *entry = bitmap->entries + 2 * (size_t)__builtin_popcount(bitmap->bits & (bit - 1));
            if (entry[0])
                return entry[0] == key ? entry[1] : NULL;
            node = (const struct node *)entry[1];
        } else {
            return is_collision(node) ? find_in_collision((const struct collision_node *)node, key) : NULL;
        }
    }
    return NULL;
}

/* Notes the types of the nodes below, known by name, in the maps that are tried out. */
static int learn(PyTypeObject *type)
{
    if (strcmp(type->tp_name, "hamt_bitmap_node") == 0)
        bitmap_type = type;
    else if (strcmp(type->tp_name, "hamt_array_node") == 0)
        array_type = type;
    else
        return 0;
    return 1;
}

/* Learns the types of the root and what is below. */
static int learn_from(const struct node *node, int depth)
{
    if (depth > 8 || !(learn(Py_TYPE(node)) || is_collision(node)))
        return 0;
    if (Py_TYPE(node) == array_type) {
        for (int i = 0; i < 32; i++) {
            const struct node *below = ((const struct array_node *)node)->nodes[i];
            if (below && !learn_from(below, depth + 1))
                return 0;
        }
    } else if (Py_TYPE(node) == bitmap_type) {
        const struct bitmap_node *bitmap = (const struct bitmap_node *)node;
        if (Py_SIZE(bitmap) != 2 * __builtin_popcount(bitmap->bits))
            return 0;
        for (Py_ssize_t i = 0; i < Py_SIZE(bitmap); i += 2)
            if (!bitmap->entries[i] && !learn_from((const struct node *)bitmap->entries[i + 1], depth + 1))
                return 0;
    }
    return 1;
}

/* Tries it with many variables, so that all levels and kinds of nodes but collisions occur. Runs in a context of its
   own, which is current. */
static int try_out(PyObject *context, PyObject *variable)
{
    enum { MANY = 200 };
    const struct builtin_context *builtin = (const struct builtin_context *)context;
    PyObject *variables[MANY] = {NULL};
    int good = 1, error = 0;

    for (int i = 0; i < MANY && good && !error; i++) {
        variables[i] = i == 0 ? Py_NewRef(variable) : PyContextVar_New("xctx._try", NULL);
        PyObject *token = variables[i] ? PyContextVar_Set(variables[i], variables[i]) : NULL;
        error = !token;
        Py_XDECREF(token);
        if (!error && (i == 0 || i == 1 || i == MANY - 1)) {
            good =
                builtin->entered == 1 && !builtin->weakrefs && builtin->map->root && learn_from(builtin->map->root, 0);
            for (int j = 0; good && j <= i; j++) {
                Py_hash_t hash = PyObject_Hash(variables[j]);
                good = xctx_hamt_find(context, variables[j], hash) == variables[j];
            }
        }
    }
    if (!error && good && array_type && bitmap_type) {
        PyObject *absent = PyContextVar_New("xctx._try", NULL);
        error = !absent;
        xctx_hamt_good = absent && !xctx_hamt_find(context, absent, PyObject_Hash(absent));
        Py_XDECREF(absent);
    }
    for (int i = 0; i < MANY; i++)
        Py_XDECREF(variables[i]);
    return error ? -1 : 0;
}

int xctx_hamt_init(PyObject *variable)
{
    PyObject *context = PyContext_New();
    int error = !context || PyContext_Enter(context) ? -1 : 0;

    if (!error) {
        error = try_out(context, variable);
        if (PyContext_Exit(context))
            error = -1;
    }
    Py_XDECREF(context);
    return error;
}
