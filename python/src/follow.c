/* SPDX-License-Identifier: MIT */
/*
 * Threads that follow Python's contexts, and what builtin contexts carry: native.h says how it goes together.
 *
 * A thread keeps a stack of *levels*: the builtin contexts, entered around each other, for which it has entered a
 * native one. Below them lies whatever native context the thread had by itself, which belongs to its outermost builtin
 * context (the *base*: not entered by anybody, or adopted). When libxctx sees that Python has switched, levels whose
 * builtin context is not entered any more are left, and one for the current context is entered. All of that happens
 * without the GIL: builtin contexts are read by hamt.c, and States hold their native context in a *core* that is
 * counted atomically.
 *
 * A builtin context is known by its address, borrowed. A new one may lie where an old one was: then it carries another
 * State, or one that is the same, and then what the level has entered is right for it too. For that, a level that has
 * something else than its State (set without the GIL) is not taken for any context's but at once.
 *
 * The native context of a level that is left waits in its State's core for the builtin context to be entered again, so
 * that tokens of C code stay valid from one step of a task to the next.
 *
 * As the interpreter ends, thread states go while daemon threads, without the GIL, may be looking at theirs. Whoever
 * has one go says so first, and then waits for looks that began before: thread_end() for that of one thread, the end of
 * the package (xctx_follow_end()) for threads that are not registered, of which it does not know. A look says that it
 * has begun, and then asks; all of that is sequentially consistent. What is left is libxctx's reading of the word that
 * is followed: it may have found out where that is just before the thread state goes, and then reads one word of freed
 * memory. Whatever that says, the look that follows finds no thread state.
 */
#include <errno.h>
#include <time.h>

#include <xctx/follow.h>

#include "hamt.h"
#include "native.h"

/* What a State holds. Never changed but for `waiting`. */
struct core {
    _Atomic long refs;
    xctx_context *context;             /* never entered */
    _Atomic(struct waiting *) waiting; /* NULL: nothing */
};

/* A native context that was left and is to be entered again. */
struct waiting {
    const void *owner; /* the builtin context; an address alone */
    xctx_context *context;
};

typedef struct {
    PyObject_HEAD
    struct core *core;
} StateObject;

struct level {
    const void *builtin;
    struct core *core; /* what the builtin context carried; NULL: nothing */
    xctx_context *context;
    bool changed; /* other than core's: set without the GIL */
};

enum { LEVELS_FIRST = 8 };

/* A thread that follows. */
struct thread {
    xctx_follow follow;
    PyThreadState *state; /* NULL: Python does not know the thread at the moment */
    _Atomic bool looking; /* it may be read by the thread */
    bool registered;      /* with the thread state: it tells us when it goes */
    uint64_t looks;       /* the word that is followed as long as that is not so: it changes with every look */
    struct level *levels;
    int count;
    int room;
    xctx_context *outermost; /* the native context below the levels, where there are any; NULL: none; borrowed */
    struct core *base;       /* what was published for the base; NULL: nothing */
    bool base_changed;       /* since then, without the GIL */
};

PyObject *xctx_state_var;
_Atomic int xctx_follow_unpublished;
_Atomic bool xctx_follow_in_use, xctx_follow_hooked, xctx_follow_entered;

static Py_hash_t state_var_hash;
static _Atomic int watcher = -1;    /* note_use(); below 0: not there */
static _Thread_local bool entering; /* a context that this package enters itself */
static const uint64_t never;        /* the word that threads look at whose thread state is gone */
static PyTypeObject State_Type;

/* ---- States ---- */

static struct core *core_ref(struct core *core)
{
    if (core)
        atomic_fetch_add_explicit(&core->refs, 1, memory_order_relaxed);
    return core;
}

static void waiting_free(struct waiting *waiting)
{
    if (waiting)
        xctx_unref(waiting->context);
    free(waiting);
}

static void core_unref(struct core *core)
{
    if (!core || atomic_fetch_sub_explicit(&core->refs, 1, memory_order_acq_rel) != 1)
        return;
    waiting_free(atomic_load(&core->waiting));
    xctx_unref(core->context);
    free(core);
}

static void state_dealloc(StateObject *self)
{
    core_unref(self->core);
    PyObject_Del(self);
}

static PyTypeObject State_Type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "xctx._State",
    .tp_basicsize = sizeof(StateObject),
    .tp_flags = Py_TPFLAGS_DEFAULT,
    .tp_doc = "The native variables of a context.",
    .tp_dealloc = (destructor)state_dealloc,
};

/* Takes `context`, also on failure. */
static PyObject *state_create(xctx_context *context)
{
    struct core *core = context ? malloc(sizeof(*core)) : NULL;
    StateObject *self = core ? PyObject_New(StateObject, &State_Type) : NULL;

    if (!self) {
        free(core);
        xctx_unref(context);
        return PyErr_Occurred() ? NULL : PyErr_NoMemory();
    }
    atomic_init(&core->refs, 1);
    atomic_init(&core->waiting, NULL);
    core->context = context;
    self->core = core;
    atomic_store_explicit(&xctx_follow_in_use, true, memory_order_relaxed);
    if (xctx__is_hooked(context))
        atomic_store_explicit(&xctx_follow_hooked, true, memory_order_relaxed);
    return (PyObject *)self;
}

int xctx_follow_enter(xctx_context *context)
{
    entering = true;
    int error = xctx_enter(context);
    entering = false;
    return error;
}

/* What a builtin context carries; borrowed. With the GIL, or on the thread that has it current. */
static struct core *core_of(PyObject *builtin)
{
    PyObject *state = builtin ? xctx_hamt_find(builtin, xctx_state_var, state_var_hash) : NULL;

    return state && Py_TYPE(state) == &State_Type ? ((StateObject *)state)->core : NULL;
}

xctx_context *xctx_state_context(PyObject *builtin)
{
    const struct core *core = core_of(builtin);

    return core ? core->context : NULL;
}

/* ---- nobody's code ---- */

/*
 * While libxctx has us follow a switch or publish, it follows no other. What ran then would find, and set, variables of
 * a context that is not its own. So objects that are set free wait until that is done (xctx_carry_held), and no
 * collection starts, as it may until 3.11 with any object that is made.
 */
#if PY_VERSION_HEX < 0x030a0000
static PyObject *gc_isenabled, *gc_disable, *gc_enable;
#endif

static int init_collections(void)
{
#if PY_VERSION_HEX < 0x030a0000
    PyObject *gc = PyImport_ImportModule("gc");

    if (gc && !gc_isenabled)
        gc_isenabled = PyObject_GetAttrString(gc, "isenabled");
    if (gc && !gc_disable)
        gc_disable = PyObject_GetAttrString(gc, "disable");
    if (gc && !gc_enable)
        gc_enable = PyObject_GetAttrString(gc, "enable");
    Py_XDECREF(gc);
    return gc_isenabled && gc_disable && gc_enable ? 0 : -1;
#else
    return 0;
#endif
}

#if PY_VERSION_HEX < 0x030a0000
/* What a function of the module gc says: they fail at nothing. */
static bool ask_gc(PyObject *function)
{
    PyObject *said = PyObject_CallNoArgs(function);

    if (!said)
        PyErr_Clear();
    Py_XDECREF(said);
    return said == Py_True;
}
#endif

/* With the GIL, and no exception. Returns what collections_go_on() needs. */
static bool collections_wait(void)
{
#if PY_VERSION_HEX < 0x030a0000
    bool enabled = ask_gc(gc_isenabled);

    if (enabled)
        (void)ask_gc(gc_disable);
    return enabled;
#elif PY_VERSION_HEX < 0x030c0000
    return PyGC_Disable();
#else
    return false;
#endif
}

static void collections_go_on(bool enabled)
{
#if PY_VERSION_HEX < 0x030a0000
    PyObject *raised = PyErr_GetRaisedException();

    if (enabled)
        (void)ask_gc(gc_enable);
    PyErr_SetRaisedException(raised);
#elif PY_VERSION_HEX < 0x030c0000
    if (enabled)
        PyGC_Enable();
#else
    (void)enabled;
#endif
}

/* ---- levels ---- */

static PyObject *current_builtin(const struct thread *thread)
{
    PyThreadState *state = __atomic_load_n(&thread->state, __ATOMIC_SEQ_CST); /* thread_end() */

    return state ? state->context : NULL;
}

static bool is_base(const struct thread *thread, PyObject *builtin)
{
    return !builtin || !((struct builtin_context *)builtin)->entered || builtin == xctx_carry_adopted(thread->state);
}

/* Whether the thread has it entered: it, or one that was current before. */
static bool is_entered(const void *builtin, PyObject *current)
{
    const struct builtin_context *context = (const struct builtin_context *)current;

    for (; context && context->entered; context = context->previous)
        if (context == builtin)
            return true;
    return false;
}

/* Notes whether there is something that was set without the GIL. */
static void set_changed(bool *changed, bool now)
{
    if (*changed != now)
        atomic_fetch_add(&xctx_follow_unpublished, now ? 1 : -1);
    *changed = now;
}

/* Leaves the innermost level, and what C code has entered in it and not left. */
static void level_leave(struct thread *thread)
{
    struct level *level = &thread->levels[--thread->count];
    xctx_context *current;

    while ((current = xctx_current()) != NULL && xctx_exit(current) == 0 && current != level->context)
        ;
    struct waiting *waiting = level->core && !level->changed ? malloc(sizeof(*waiting)) : NULL;
    if (waiting) {
        struct waiting *none = NULL;
        *waiting = (struct waiting){.owner = level->builtin, .context = level->context};
        level->context = NULL;
        if (!atomic_compare_exchange_strong(&level->core->waiting, &none, waiting))
            waiting_free(waiting);
    }
    set_changed(&level->changed, false);
    xctx_unref(level->context);
    core_unref(level->core);
}

static int level_room(struct thread *thread)
{
    if (thread->count < thread->room)
        return 0;
    int room = thread->room ? 2 * thread->room : LEVELS_FIRST;
    struct level *levels = realloc(thread->levels, (size_t)room * sizeof(*levels));
    if (!levels)
        return -1;
    thread->levels = levels;
    thread->room = room;
    return 0;
}

/* A native context for a builtin one that carries `core`; new. NULL: memory. */
static xctx_context *context_for(struct thread *thread, const void *builtin, struct core *core)
{
    xctx_context *base = thread->outermost;

    /* Copied from the base, which native code has changed since it was published, or never was. Also within levels:
       whether there are any depends on who has looked. */
    if (base && (core ? core == thread->base && !xctx_equal(core->context, base) : !thread->base))
        return xctx_copy(base);
    if (!core)
        return xctx_new();
    struct waiting *waiting = atomic_exchange(&core->waiting, NULL);
    if (!waiting)
        return xctx_copy(core->context);
    xctx_context *context = NULL;
    if (waiting->owner == builtin) {
        context = waiting->context;
        free(waiting);
        return context;
    }
    struct waiting *none = NULL;
    if (!atomic_compare_exchange_strong(&core->waiting, &none, waiting))
        waiting_free(waiting);
    return xctx_copy(core->context);
}

/* ---- thread states ---- */

static const char thread_key[] = "xctx._thread";

static _Atomic int strangers; /* looks of threads that are not registered, without the GIL */
static _Atomic bool ending;   /* they find no thread state any more */

enum { WAIT_MOST = 100 }; /* milliseconds, for looks: they are longer only if a hook of the program's waits */

static void wait_a_moment(int *waited)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    ++*waited;
}

void xctx_follow_end(void)
{
    int waited = 0;

    atomic_store(&ending, true);
    while (atomic_load(&strangers) && waited < WAIT_MOST)
        wait_a_moment(&waited);
}

static void thread_free(struct thread *thread)
{
    while (thread->count > 0)
        level_leave(thread);
    set_changed(&thread->base_changed, false);
    core_unref(thread->base);
    free(thread->levels);
    free(thread);
}

/* The thread state goes away, together with its dict. */
static void thread_end(PyObject *capsule)
{
    struct thread *thread = PyCapsule_GetPointer(capsule, thread_key);

    if (xctx_following() == thread) {
        xctx_unfollow();
        thread_free(thread);
    } else {
        /* On another thread, as the interpreter ends, or in a forked child: it may still look, and finds none. */
        int waited = 0;
        __atomic_store_n(&thread->state, NULL, __ATOMIC_SEQ_CST);
        __atomic_store_n(&thread->follow.version, &never, __ATOMIC_RELEASE);
        while (atomic_load(&thread->looking) && waited < WAIT_MOST)
            wait_a_moment(&waited);
    }
}

/* With the GIL. 0, or -1 with an exception. */
static int register_thread(struct thread *thread)
{
    PyObject *dict = PyThreadState_GetDict();
    PyObject *capsule = dict ? PyCapsule_New(thread, thread_key, NULL) : NULL;
    int error = capsule ? PyDict_SetItemString(dict, thread_key, capsule) : -1;

    if (!error) {
        PyCapsule_SetDestructor(capsule, thread_end);
        thread->registered = true;
        thread->follow.version = &thread->state->context_ver;
    }
    Py_XDECREF(capsule);
    return error;
}

/*
 * A thread that began to follow without the GIL. It cannot be registered, so its thread state may go without our
 * knowing, and is asked for at each look, until there is one with the GIL.
 */
static void look_again(struct thread *thread)
{
    bool locked = xctx_has_gil();

    thread->looks++;
    thread->state = !locked && atomic_load(&ending) ? NULL : PyGILState_GetThisThreadState();
    if (!thread->state || !locked)
        return;
    PyObject *raised = PyErr_GetRaisedException();
    if (register_thread(thread))
        PyErr_Clear();
    PyErr_SetRaisedException(raised);
}

static int follow(struct thread *thread)
{
    if (!thread->registered)
        look_again(thread);
    PyObject *builtin = current_builtin(thread);
    while (thread->count > 0) {
        const struct level *top = &thread->levels[thread->count - 1];
        if (is_entered(top->builtin, builtin) &&
            !(top->builtin == builtin && (top->changed || top->core != core_of(builtin))))
            break;
        level_leave(thread);
    }
    struct core *core = core_of(builtin);
    if (is_base(thread, builtin)) {
        core_unref(thread->base);
        thread->base = core_ref(core);
        if (!core && xctx_current())
            atomic_store_explicit(&xctx_follow_entered, true, memory_order_relaxed); /* or set variables */
        return 0;
    }
    if (thread->count > 0 && thread->levels[thread->count - 1].builtin == builtin)
        return 0;
    if (thread->count == 0)
        thread->outermost = xctx_current(); /* it stays entered below the levels */
    xctx_context *context = level_room(thread) ? NULL : context_for(thread, builtin, core);
    if (!context || xctx_follow_enter(context)) {
        xctx_unref(context);
        return -1;
    }
    thread->levels[thread->count++] = (struct level){.builtin = builtin, .core = core_ref(core), .context = context};
    return 0;
}

/* Python has switched. 0, or anything else: memory ran out. */
static int switched(void *user)
{
    struct thread *thread = user;
    bool stranger = !thread->registered && !xctx_has_gil();

    atomic_store(&thread->looking, true);
    if (stranger)
        atomic_fetch_add(&strangers, 1);
    xctx_carry_held++;
    int error = follow(thread);
    xctx_carry_held--;
    if (stranger)
        atomic_fetch_sub(&strangers, 1);
    atomic_store_explicit(&thread->looking, false, memory_order_release);
    return error;
}

/* ---- publishing ---- */

static PyObject *publish(struct thread *thread, xctx_context *context)
{
    PyObject *state = state_create(context ? xctx_copy(context) : xctx_new());
    PyObject *token = state ? PyContextVar_Set(xctx_state_var, state) : NULL;

    if (!token)
        Py_CLEAR(state);
    Py_XDECREF(token);
    if (state) {
        struct core **place = thread->count > 0 ? &thread->levels[thread->count - 1].core : &thread->base;
        core_unref(*place);
        *place = core_ref(((StateObject *)state)->core);
    }
    return state;
}

/* Makes the variables of the current level, or the base, those of the builtin context. 0, or -1 with an exception. */
static int publish_current(struct thread *thread)
{
    bool *changed = thread->count > 0 ? &thread->levels[thread->count - 1].changed : &thread->base_changed;
    xctx_context *context = thread->count > 0 ? thread->levels[thread->count - 1].context : xctx_current();
    bool collections = collections_wait();
    xctx_carry_held++;
    PyObject *state = publish(thread, context);

    set_changed(changed, !state);
    Py_XDECREF(state);
    xctx_carry_held--;
    collections_go_on(collections);
    return state ? 0 : -1;
}

/* The thread has changed variables. */
static void changed(void *user)
{
    struct thread *thread = user;
    struct level *top = thread->count > 0 ? &thread->levels[thread->count - 1] : NULL;

    if (top && xctx_current() != top->context)
        return; /* a context that C code has entered itself */
    if (!xctx_has_gil()) {
        set_changed(top ? &top->changed : &thread->base_changed, true);
        return;
    }
    PyObject *raised = PyErr_GetRaisedException();
    if (publish_current(thread))
        PyErr_Clear();
    PyErr_SetRaisedException(raised);
}

static void copied(xctx_context *copy, void *user)
{
    (void)user;
    if (!xctx_has_gil())
        return;
    PyObject *raised = PyErr_GetRaisedException();
    bool collections = collections_wait();
    xctx_carry_held++;
    PyObject *builtin = PyContext_CopyCurrent();
    if (builtin)
        (void)xctx_carry_add(copy, builtin);
    else
        PyErr_Clear(); /* without memory the copy has none of Python's: nobody can be told */
    Py_XDECREF(builtin);
    xctx_carry_held--;
    collections_go_on(collections);
    PyErr_SetRaisedException(raised);
}

/* ---- threads ---- */

static void ended(void *user)
{
    struct thread *thread = user;

    if (thread->registered)
        return; /* its thread state still knows it */
    for (int i = 0; i < thread->count; i++) {
        xctx_unref(thread->levels[i].context); /* left by libxctx */
        core_unref(thread->levels[i].core);
        set_changed(&thread->levels[i].changed, false);
    }
    thread->count = 0;
    thread_free(thread);
}

/* With or without the GIL. 0, or an error of errno's. */
static int start_thread(PyThreadState *state)
{
    struct thread *thread = malloc(sizeof(*thread));

    if (!thread)
        return -ENOMEM;
    *thread = (struct thread){
        .follow = {.size = sizeof(thread->follow),
                   .version = &thread->looks,
                   .switched = switched,
                   .changed = changed,
                   .copied = copied,
                   .ended = ended,
                   .user = thread},
        .state = state,
    };
    int error = xctx_follow_start(&thread->follow);
    if (error)
        free(thread);
    return error;
}

int xctx_follow_thread(void)
{
    struct thread *thread = xctx_following();

    if (!xctx_hamt_works())
        return 0;
    if (!thread) {
        if (start_thread(PyThreadState_Get())) {
            PyErr_NoMemory();
            return -1;
        }
        thread = xctx_following();
        (void)xctx_current();
        xctx_context *base = thread->count == 0 ? xctx_current() : NULL;
        if (base && !thread->base && xctx_count(base) > 0)
            return publish_current(thread);
        return 0;
    }
    (void)xctx_current(); /* looks whether Python has switched */
    if (thread->count > 0 ? thread->levels[thread->count - 1].changed : thread->base_changed)
        return publish_current(thread);
    return 0;
}

/* Called by libxctx on threads that follow nothing. */
static int ask(void)
{
    PyThreadState *state = PyGILState_GetThisThreadState();

    return state ? start_thread(state) : 1; /* it may call Python later */
}

void xctx_follow_now(void)
{
    (void)xctx_current();
}

bool xctx_follow_supported(void)
{
    return xctx_hamt_works();
}

PyObject *xctx_current_builtin(void)
{
    PyThreadState *state = PyThreadState_Get();

    if (!state->context) {
        /* Setting any variable makes one. */
        static PyObject *touched;
        if (!touched && !(touched = xctx_hidden_create("xctx._touched")))
            return NULL;
        PyObject *token = PyContextVar_Set(touched, Py_None);
        if (!token || PyContextVar_Reset(touched, token)) {
            Py_XDECREF(token);
            return NULL;
        }
        Py_DECREF(token);
    }
    return Py_NewRef(state->context);
}

/* A watcher, until somebody else than this file enters a context. */
static void note_use(xctx_context *current, void *unused)
{
    (void)unused;
    if (!current || entering)
        return;
    atomic_store(&xctx_follow_entered, true);
    int number = atomic_exchange(&watcher, -1); /* once: then it may be somebody else's */
    if (number >= 0)
        (void)xctx_unwatch(number);
}

/* Has a builtin context that is not entered carry a native one, which is taken. 0, or -1 with an exception. */
static int set_state(PyObject *builtin, xctx_context *context)
{
    PyObject *state = state_create(context);
    PyObject *token = NULL;

    if (state && PyContext_Enter(builtin) == 0) {
        token = PyContextVar_Set(xctx_state_var, state);
        if (PyContext_Exit(builtin))
            Py_CLEAR(token);
    }
    Py_XDECREF(state);
    Py_XDECREF(token);
    return token ? 0 : -1;
}

int xctx_follow_set_empty(PyObject *builtin)
{
    return set_state(builtin, xctx_new());
}

int xctx_follow_copy(PyObject *inner)
{
    if (xctx_follow_thread())
        return -1;
    const struct thread *thread = xctx_following();
    xctx_context *current = xctx_current();
    if (!thread || !current || (thread->count > 0 && thread->levels[thread->count - 1].context == current))
        return 0;
    xctx_context *carried = xctx_state_context(inner);
    if (carried ? xctx_equal(carried, current) : xctx_count(current) == 0)
        return 0;
    return set_state(inner, xctx_copy(current));
}

int xctx_follow_init(void)
{
    static bool asked;

    if (PyType_Ready(&State_Type) || init_collections())
        return -1;
    if (!xctx_state_var) {
        xctx_state_var = xctx_hidden_create("xctx._state");
        if (!xctx_state_var)
            return -1;
    }
    state_var_hash = PyObject_Hash(xctx_state_var);
    if (state_var_hash == -1 || xctx_hamt_init(xctx_state_var))
        return -1;
    if (!xctx_hamt_works())
        return 0; /* no variables with types here: native.c */
    if (asked)
        return xctx_follow_thread();
    if (xctx_follow_threads(ask)) {
        PyErr_SetString(PyExc_ImportError, "another runtime in this process has its threads followed already");
        return -1;
    }
    asked = true;
    int number = xctx_watch(note_use, NULL);
    if (number < 0)
        atomic_store(&xctx_follow_entered, true); /* no watcher to be had: take it for granted */
    atomic_store(&watcher, number);
    return xctx_follow_thread();
}
