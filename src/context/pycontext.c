/* SPDX-License-Identifier: MIT */
/*
 * PyContext_* without Python, on top of context.h and var.h.
 *
 * The difficulty is Py_INCREF() on a pointer of which nobody knows what it is: a context, variable or token of ours,
 * or a value of the user's, which must not be followed. So the objects' references are counted beside them, in a
 * registry from address to kind and count; a pointer that is not in it is the user's. A PyContext is the address of
 * the xctx_context itself, a variable and a token are structs of this file. The registry's entry owns the object: one
 * reference to a context, all of a variable or token. While it is there, nothing else can have that address.
 *
 * The entry goes with its last reference, the object right after it, with no lock held. A context may live on without
 * an entry (it is entered, or held through context.h), and gets one again when it is met again: xctx_py_context_from().
 *
 * Values. Whether a pointer is an object can change while a context holds it: a user's block is freed, though its
 * address is still set somewhere, and a new token lies at the same address. So it is decided once, when the value is
 * taken, and written into what the context holds ("held", below): giving the value back must give back exactly what
 * was taken.
 *
 * Locks. The registry is divided into shards by address, each with a mutex. Under a mutex nothing is called but the
 * allocator, and no second one is taken, except by fork(), which takes all in order, so that the child finds them
 * free. Taking and giving back a reference under the mutex also orders what threads did to an object before the last
 * of them gives it back.
 */
#include <xctx/pycontext.h>

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <xctx/var.h>

#include "context_internal.h"
#include "memory.h"

/* --- The registry ------------------------------------------------------------------------------------------------- */

enum kind { NOTHING, CONTEXT, VARIABLE, TOKEN };

enum {
    SHARD_BITS = 4,
    SHARDS = 1 << SHARD_BITS,
    FIRST_ROOM = 8,
    HOME_SHIFT = 20,
};

struct object {
    void *object; /* NULL: empty */
    enum kind kind;
    size_t refs;
};

/* An open-addressed table with linear probing, at most three quarters full. Entries that are removed leave no mark:
   those behind move up. */
struct shard {
    pthread_mutex_t mutex;
    struct object *entries; /* NULL: `room` is 0 */
    size_t room;            /* a power of two, or 0 */
    size_t used;
};

#define SHARD                                                                                                          \
    {                                                                                                                  \
        PTHREAD_MUTEX_INITIALIZER, NULL, 0, 0                                                                          \
    }
#define FOUR_SHARDS SHARD, SHARD, SHARD, SHARD
static struct shard shards[] = {FOUR_SHARDS, FOUR_SHARDS, FOUR_SHARDS, FOUR_SHARDS};
_Static_assert(sizeof(shards) / sizeof(shards[0]) == SHARDS, "each shard has its mutex");

/* Fibonacci hashing: the upper bits of the product are well mixed. The uppermost choose the shard, and those from
   HOME_SHIFT on the place in it. */
static uint64_t hash(const void *object)
{
    return (uint64_t)(uintptr_t)object * UINT64_C(0x9e3779b97f4a7c15);
}

/* Where an object belongs in a table of that room. */
static size_t home(const void *object, size_t room)
{
    return (size_t)(hash(object) >> HOME_SHIFT) & (room - 1);
}

static struct shard *shard_lock(const void *object)
{
    struct shard *shard = &shards[hash(object) >> (64 - SHARD_BITS)];
    pthread_mutex_lock(&shard->mutex);
    return shard;
}

static void shard_unlock(struct shard *shard)
{
    pthread_mutex_unlock(&shard->mutex);
}

/* The object's entry, or the empty one where it would be. The table has room. */
static struct object *shard_probe(const struct shard *shard, const void *object)
{
    size_t i = home(object, shard->room);
    while (shard->entries[i].object && shard->entries[i].object != object)
        i = (i + 1) & (shard->room - 1);
    return &shard->entries[i];
}

/* NULL: it is not there. */
static struct object *shard_find(const struct shard *shard, const void *object)
{
    if (shard->used == 0)
        return NULL;
    struct object *entry = shard_probe(shard, object);
    return entry->object ? entry : NULL;
}

/* Makes room for one more. false: no memory, and nothing has changed. */
static bool shard_grow(struct shard *shard)
{
    if (shard->used < shard->room / 4 * 3)
        return true;
    struct shard larger = {.room = shard->room ? shard->room * 2 : FIRST_ROOM};
    larger.entries = xctx__allocate(larger.room * sizeof(*larger.entries));
    if (!larger.entries)
        return false;
    memset(larger.entries, 0, larger.room * sizeof(*larger.entries));
    for (size_t i = 0; i < shard->room; i++) {
        if (shard->entries[i].object)
            *shard_probe(&larger, shard->entries[i].object) = shard->entries[i];
    }
    xctx__free(shard->entries);
    shard->entries = larger.entries;
    shard->room = larger.room;
    return true;
}

static void shard_remove(struct shard *shard, const struct object *entry)
{
    size_t mask = shard->room - 1;
    size_t hole = (size_t)(entry - shard->entries);

    if (--shard->used == 0) {
        xctx__free(shard->entries);
        shard->entries = NULL;
        shard->room = 0;
        return;
    }
    /* Whoever was pushed past the hole by it moves up: those whose home is not between the hole and their place. */
    for (size_t i = (hole + 1) & mask; shard->entries[i].object; i = (i + 1) & mask) {
        size_t wanted = home(shard->entries[i].object, shard->room);
        if (((i - wanted) & mask) >= ((i - hole) & mask)) {
            shard->entries[hole] = shard->entries[i];
            hole = i;
        }
    }
    shard->entries[hole].object = NULL;
}

/* For the table of watchers at the end of this file. */
static pthread_mutex_t watch_mutex = PTHREAD_MUTEX_INITIALIZER;

static void fork_prepare(void)
{
    pthread_mutex_lock(&watch_mutex);
    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_lock(&shards[i].mutex);
}

static void fork_done(void)
{
    for (size_t i = SHARDS; i-- > 0;)
        pthread_mutex_unlock(&shards[i].mutex);
    pthread_mutex_unlock(&watch_mutex);
}

__attribute__((constructor)) static void register_fork_handlers(void)
{
    pthread_atfork(fork_prepare, fork_done, fork_done);
}

/* Adds an object with one reference, or one reference to an object that is there. Returns the references that it has
   now; 0: no memory. */
static size_t registry_add(void *object, enum kind kind)
{
    size_t refs = 0;
    struct shard *shard = shard_lock(object);
    struct object *entry = shard_find(shard, object);
    if (entry) {
        refs = ++entry->refs;
    } else if (shard_grow(shard)) {
        *shard_probe(shard, object) = (struct object){object, kind, 1};
        shard->used++;
        refs = 1;
    }
    shard_unlock(shard);
    return refs;
}

/* Takes a reference if it is an object. */
static bool registry_ref(const void *pointer)
{
    struct shard *shard = shard_lock(pointer);
    struct object *entry = shard_find(shard, pointer);
    if (entry)
        entry->refs++;
    shard_unlock(shard);
    return entry != NULL;
}

/* Gives a reference back if it is an object. Returns its kind if that was the last one: it is to be destroyed. */
static enum kind registry_unref(const void *pointer)
{
    enum kind kind = NOTHING;
    struct shard *shard = shard_lock(pointer);
    struct object *entry = shard_find(shard, pointer);
    if (entry && --entry->refs == 0) {
        kind = entry->kind;
        shard_remove(shard, entry);
    }
    shard_unlock(shard);
    return kind;
}

static enum kind registry_kind(const void *pointer)
{
    struct shard *shard = shard_lock(pointer);
    struct object *entry = shard_find(shard, pointer);
    enum kind kind = entry ? entry->kind : NOTHING;
    shard_unlock(shard);
    return kind;
}

/* --- Held values -------------------------------------------------------------------------------------------------- */

/*
 * What contexts and variables hold for a value is the pointer itself, with two exceptions, which have the top bit set:
 *
 *   an object     its address, OBJECT set. Its last bit is 0. A reference to it was taken.
 *   anything else that has the top bit set (a small negative number, cast; a tagged pointer)
 *                 the address of a box with the value, OBJECT and BOX set.
 */
#define OBJECT ((uintptr_t)1 << (sizeof(uintptr_t) * 8 - 1))
#define BOX ((uintptr_t)1)

struct box {
    void *value;
};

/* NULL: no memory. */
static void *held_take(void *value)
{
    uintptr_t bits = (uintptr_t)value;

    if (registry_ref(value))
        return (void *)(bits | OBJECT);
    if (!(bits & OBJECT))
        return value;
    struct box *box = xctx__allocate(sizeof(*box));
    if (!box)
        return NULL;
    box->value = value;
    return (void *)((uintptr_t)box | OBJECT | BOX);
}

static struct box *held_box(const void *held)
{
    uintptr_t bits = (uintptr_t)held;
    return (bits & OBJECT) && (bits & BOX) ? (struct box *)(bits & ~OBJECT & ~BOX) : NULL;
}

/* The object that is held; NULL: it is a value of the user's. */
static void *held_object(const void *held)
{
    uintptr_t bits = (uintptr_t)held;
    return (bits & OBJECT) && !(bits & BOX) ? (void *)(bits & ~OBJECT) : NULL;
}

/* The value, with a reference for the caller if it is an object. */
static PyObject *held_get(void *held)
{
    struct box *box = held_box(held);
    void *object = held_object(held);

    if (box)
        return box->value;
    if (!object)
        return held;
    registry_ref(object);
    return object;
}

static void held_release(void *held)
{
    struct box *box = held_box(held);
    void *object = held_object(held);

    if (box)
        xctx__free(box);
    else if (object)
        xctx_py_unref(object);
}

/* --- Objects ------------------------------------------------------------------------------------------------------ */

struct variable {
    xctx_var *var;
    void *initial; /* held; NULL: none */
};

struct token {
    xctx_token token;
    struct variable *variable; /* a reference */
    xctx_context *context;     /* a reference of context.h: where the token was made */
};

static const xctx_var_options value_options = {
    .size = sizeof(xctx_var_options),
    .retain = held_take,
    .release = held_release,
};

/* Whether it is an object of that kind, which the caller's reference keeps alive. */
static bool is_kind(const void *pointer, enum kind kind)
{
    return pointer && registry_kind(pointer) == kind;
}

/* Destroys an object that is not registered any more. Returns an object that it held, to which a reference is to be
   given back: by the caller, so that long chains (a variable whose default is a variable) need no deep stack. */
static void *object_destroy(void *object, enum kind kind)
{
    void *held = NULL;

    if (kind == CONTEXT) {
        xctx_unref(object);
    } else if (kind == VARIABLE) {
        struct variable *variable = object;
        held = held_object(variable->initial);
        xctx__free(held_box(variable->initial));
        xctx_var_unref(variable->var);
        xctx__free(variable);
    } else {
        struct token *token = object;
        held = token->variable;
        xctx_token_drop(&token->token);
        xctx_unref(token->context);
        xctx__free(token);
    }
    return held;
}

PyObject *xctx_py_ref(PyObject *object)
{
    if (object)
        registry_ref(object);
    return object;
}

void xctx_py_unref(PyObject *pointer)
{
    for (void *object = pointer; object;) {
        enum kind kind = registry_unref(object);
        object = kind == NOTHING ? NULL : object_destroy(object, kind);
    }
}

ptrdiff_t xctx_py_refs(PyObject *object)
{
    struct shard *shard = shard_lock(object);
    struct object *entry = shard_find(shard, object);
    size_t refs = entry ? entry->refs : 0;
    shard_unlock(shard);
    return (ptrdiff_t)refs;
}

/* Not an object: nothing counts references to it. */
PyObject *xctx_py_none(void)
{
    static char none;
    return (PyObject *)(void *)&none;
}

/* --- Contexts ----------------------------------------------------------------------------------------------------- */

/* Registers a context, whose reference is taken. An entry holds one, whatever its count. */
static PyObject *context_register(xctx_context *context)
{
    if (!context)
        return NULL;
    size_t refs = registry_add(context, CONTEXT);
    if (refs != 1)
        xctx_unref(context);
    return refs > 0 ? (PyObject *)(void *)context : NULL;
}

xctx_context *xctx_py_context_get(PyObject *context)
{
    return is_kind(context, CONTEXT) ? (xctx_context *)(void *)context : NULL;
}

PyObject *xctx_py_context_from(xctx_context *context)
{
    return context_register(xctx_ref(context));
}

PyObject *xctx_py_context_new(void)
{
    return context_register(xctx_new());
}

PyObject *xctx_py_context_copy(PyObject *context)
{
    return context_register(xctx_copy(xctx_py_context_get(context)));
}

PyObject *xctx_py_context_copy_current(void)
{
    const xctx_context *before = xctx_current();
    PyObject *copy = context_register(xctx_copy_current());

    if (!copy)
        xctx__context_unensure(&xctx__slot, before);
    return copy;
}

int xctx_py_context_enter(PyObject *context)
{
    return xctx_enter(xctx_py_context_get(context)) == 0 ? 0 : -1;
}

int xctx_py_context_exit(PyObject *context)
{
    return xctx_exit(xctx_py_context_get(context)) == 0 ? 0 : -1;
}

int xctx_py_context_check(PyObject *object)
{
    return is_kind(object, CONTEXT);
}

/* --- Variables and tokens ----------------------------------------------------------------------------------------- */

PyObject *xctx_py_var_new(const char *name, PyObject *initial)
{
    struct variable *variable = xctx__allocate(sizeof(*variable));
    if (!variable)
        return NULL;
    variable->initial = NULL;
    variable->var = xctx_var_create(name, &value_options);
    if (!variable->var)
        goto free_variable;
    if (initial) {
        variable->initial = held_take(initial);
        if (!variable->initial)
            goto unref_var;
    }
    if (registry_add(variable, VARIABLE) == 0)
        goto release_initial;
    return (PyObject *)(void *)variable;

release_initial:
    held_release(variable->initial);
unref_var:
    xctx_var_unref(variable->var);
free_variable:
    xctx__free(variable);
    return NULL;
}

int xctx_py_var_get(PyObject *var, PyObject *initial, PyObject **ret_value)
{
    void *held;

    if (!ret_value)
        return -1;
    *ret_value = NULL;
    if (!is_kind(var, VARIABLE))
        return -1;
    struct variable *variable = (struct variable *)(void *)var;
    if (xctx_var_find(variable->var, &held) == 1)
        *ret_value = held_get(held);
    else if (initial)
        *ret_value = xctx_py_ref(initial);
    else if (variable->initial)
        *ret_value = held_get(variable->initial);
    return 0;
}

PyObject *xctx_py_var_set(PyObject *var, PyObject *value)
{
    if (!value || !is_kind(var, VARIABLE))
        return NULL;
    struct variable *variable = (struct variable *)(void *)var;
    struct token *token = xctx__allocate(sizeof(*token));
    if (!token)
        return NULL;
    /* Registered first: after the value is set nothing may fail. Nobody else knows the address yet. */
    if (registry_add(token, TOKEN) == 0)
        goto free_token;
    if (xctx_var_set(variable->var, value, &token->token) != 0)
        goto unregister;
    token->context = xctx_ref(xctx_current());
    token->variable = variable;
    registry_ref(variable);
    return (PyObject *)(void *)token;

unregister:
    registry_unref(token);
free_token:
    xctx__free(token);
    return NULL;
}

int xctx_py_var_reset(PyObject *var, PyObject *object)
{
    if (!is_kind(var, VARIABLE) || !is_kind(object, TOKEN))
        return -1;
    struct variable *variable = (struct variable *)(void *)var;
    struct token *token = (struct token *)(void *)object;
    /* A token is of this thread's business only while its context is current here, and only one thread at a time has
       that: so two that try at once do not meet in the token. All errors look the same to the caller. */
    if (token->context != xctx_current())
        return -1;
    return xctx_var_reset(variable->var, &token->token) == 0 ? 0 : -1;
}

int xctx_py_var_check(PyObject *object)
{
    return is_kind(object, VARIABLE);
}

int xctx_py_token_check(PyObject *object)
{
    return is_kind(object, TOKEN);
}

/* --- Watchers ----------------------------------------------------------------------------------------------------- */

/*
 * A watcher of CPython's has no user pointer: its place in this table is one. Its number is that of the place.
 */
enum { WATCHERS = 16 };

enum watch_state { WATCH_FREE, WATCH_BUSY, WATCH_USED };

static struct watch {
    /* Atomic, as a watcher that clears itself may let go of the place while another thread is on its way to it. */
    _Atomic(PyContext_WatchCallback) callback;
    enum watch_state state; /* under the mutex; BUSY: one thread is setting it up or tearing it down */
    int id;                 /* of xctx_watch(), while USED */
} watches[WATCHERS];

static void watch_set_state(struct watch *watch, enum watch_state state)
{
    pthread_mutex_lock(&watch_mutex);
    watch->state = state;
    pthread_mutex_unlock(&watch_mutex);
}

static void switched(xctx_context *current, void *user)
{
    struct watch *watch = user;
    PyContext_WatchCallback callback = watch->callback;
    PyObject *object = current ? xctx_py_context_from(current) : NULL;

    /* Without memory for an entry the watcher is told all the same, with the same address: it can be compared. */
    callback(Py_CONTEXT_SWITCHED, object ? object : current ? (PyObject *)(void *)current : xctx_py_none());
    xctx_py_xunref(object);
}

int xctx_py_context_add_watcher(PyContext_WatchCallback callback)
{
    int place = 0;

    if (!callback)
        return -1;
    pthread_mutex_lock(&watch_mutex);
    while (place < WATCHERS && watches[place].state != WATCH_FREE)
        place++;
    if (place < WATCHERS)
        watches[place].state = WATCH_BUSY;
    pthread_mutex_unlock(&watch_mutex);
    if (place == WATCHERS)
        return -1;

    struct watch *watch = &watches[place];
    watch->callback = callback;
    int id = xctx_watch(switched, watch);
    watch->id = id;
    watch_set_state(watch, id >= 0 ? WATCH_USED : WATCH_FREE);
    return id >= 0 ? place : -1;
}

int xctx_py_context_clear_watcher(int place)
{
    if (place < 0 || place >= WATCHERS)
        return -1;
    struct watch *watch = &watches[place];
    pthread_mutex_lock(&watch_mutex);
    bool used = watch->state == WATCH_USED;
    if (used)
        watch->state = WATCH_BUSY;
    pthread_mutex_unlock(&watch_mutex);
    if (!used)
        return -1;
    /* With no lock held: it waits for watchers that run, and they may call this, too. */
    xctx_unwatch(watch->id);
    watch_set_state(watch, WATCH_FREE);
    return 0;
}
