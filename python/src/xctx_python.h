/* SPDX-License-Identifier: MIT */
/*
 * What the C files of the extension module _xctx share.
 *
 * A variable without a type has a hidden variable of contextvars, its *inner* one, in which its values live: in
 * CPython's own persistent map. So whatever carries Python's contexts carries it: tasks, generators, event loops. A
 * Context wraps a contextvars.Context. What is ours has hidden builtin variables of its own there (`xctx_hidden`),
 * which no one sees.
 *
 * Everything here is called with the GIL held, unless it says otherwise. "new" is a new reference; functions that
 * return an object or an int give NULL or -1 with an exception set, and have changed nothing then.
 */
#ifndef XCTX_PYTHON_H_INTERNAL
#define XCTX_PYTHON_H_INTERNAL

#include "compat.h"

/* A ContextVar. */
typedef struct VariableObject {
    PyObject_HEAD
    PyObject *name;
    PyObject *default_value; /* NULL: none */
    PyObject *inner;         /* the builtin variable; NULL if native */
    PyObject *holder;        /* its name, which leads back here (variable.c) */
    PyObject *weakrefs;
    void *native; /* native.c's; NULL: values live in `inner` */
} VariableObject;

/* A Context. */
typedef struct ContextObject {
    PyObject_HEAD
    PyObject *inner;    /* the contextvars.Context; NULL: not made yet, see xctx_context_inner() */
    PyObject *map;      /* what `inner` will hold; NULL: it is made */
    PyObject *snapshot; /* what was captured when it was copied; NULL: nothing */
    PyObject *weakrefs;
} ContextObject;

/* A Token. */
typedef struct TokenObject {
    PyObject_HEAD
    VariableObject *variable;
    PyObject *inner;     /* the builtin token */
    PyObject *old_value; /* what Token.old_value says if there is something; NULL: what `inner` says */
    int used;
} TokenObject;

extern PyTypeObject xctx_Variable_Type, xctx_Context_Type, xctx_Token_Type;
#define VariableObject_Check(object) (Py_TYPE(object) == &xctx_Variable_Type)
#define ContextObject_Check(object) (Py_TYPE(object) == &xctx_Context_Type)
#define TokenObject_Check(object) (Py_TYPE(object) == &xctx_Token_Type)

/* Each adds its types and functions to the module. Called once for each module object: see module.c. */
int xctx_variable_init(PyObject *module);
int xctx_token_init(PyObject *module);
int xctx_context_init(PyObject *module);
int xctx_capture_init(PyObject *module);
int xctx_native_init(PyObject *module);
int xctx_bound_init(PyObject *module); /* bound.c, hook.c */

/* module.c: builtin variables that no context shows. At most XCTX_HIDDEN_MAX; made once, never freed. */
enum { XCTX_HIDDEN_MAX = 4 };
extern PyObject *xctx_hidden[XCTX_HIDDEN_MAX];
extern int xctx_hidden_count;
PyObject *xctx_hidden_create(const char *name); /* returns borrowed */
extern PyObject *xctx_origin_var;               /* holds the Snapshot that a context was copied with */

static inline int xctx_is_hidden(PyObject *inner)
{
    for (int i = 0; i < xctx_hidden_count; i++)
        if (xctx_hidden[i] == inner)
            return 1;
    return 0;
}

/* variable.c: one without a place for its values yet, to be tracked by its creator; new. */
VariableObject *xctx_variable_alloc(PyObject *name, PyObject *default_value);

/* variable.c: the ContextVar that a builtin variable belongs to, or that variable itself; new. */
PyObject *xctx_variable_of(PyObject *inner);
int xctx_variable_reset(VariableObject *variable, PyObject *token);

/* token.c: Token.MISSING, borrowed. */
PyObject *xctx_token_missing(void);

/* token.c: a token of `variable`, new; to be made before the value is set, and `inner` or `old_value` to be filled in.
 */
TokenObject *xctx_token_create(VariableObject *variable);

/* context.c. */
PyObject *xctx_context_wrap(PyObject *inner, PyObject *snapshot); /* takes `inner`, also on failure; new */
PyObject *xctx_context_inner(ContextObject *self);                /* its builtin context, borrowed */
PyObject *xctx_context_copy_with(unsigned flags);                 /* copy_context() that captures; new */
/* A builtin copy of the current context, whose origin is a snapshot of here if `flags` say that something is captured
   (below 0: what copy_context() captures). The snapshot or NULL is new, too. */
PyObject *xctx_copy_here(long flags, PyObject **ret_snapshot);

/* capture.c. Bits of what is captured at a copy. */
enum {
    CAPTURE_STACK = 1,  /* Python frames: name, file, line */
    CAPTURE_LOCALS = 2, /* their local variables */
    CAPTURE_NATIVE = 4, /* the native call stack */
    CAPTURE_STATE = 8,  /* the thread's settings */
    CAPTURE_ALL = 15,
};
extern unsigned xctx_capture_default;   /* what copy_context() captures */
PyObject *xctx_capture(unsigned flags); /* a Snapshot of the running thread; new */

/* snapshot.c: an attribute by its name, which is interned: CPython's cache of methods keeps each name that it has not
   seen, and PyObject_GetAttrString() makes a new one each time. New. */
PyObject *xctx_attribute(PyObject *object, const char *name);

/* snapshot.c: a function of xctx._report, imported when it is first needed; new. An ImportError if the interpreter
   ends. */
PyObject *xctx_report_function(const char *name);

/*
 * native.c: variables whose values libxctx holds: VariableObject.native is not NULL. `inner` and `holder` of such are
 * NULL. get returns new, NULL without an exception if there is no value and no default. set returns a token.
 */
int xctx_native_variable_init(VariableObject *self, PyObject *type);
void xctx_native_variable_clear(VariableObject *self); /* default_value goes, and the object stays */
void xctx_native_variable_finish(VariableObject *self);
int xctx_native_get(VariableObject *self, PyObject *default_value /* NULL: none */, PyObject **ret_value);
PyObject *xctx_native_set(VariableObject *self, PyObject *value);
int xctx_native_reset(VariableObject *self, TokenObject *token);
/* In a context that need not be entered: 1 found, 0 not. */
int xctx_native_lookup(PyObject *inner_context, VariableObject *self, PyObject **ret_value);
/* ContextVar.from_capsule() and ContextVar.capsule. */
PyObject *xctx_native_from_capsule(PyObject *type, PyObject *arguments, PyObject *keywords);
PyObject *xctx_native_capsule(VariableObject *self, void *closure);
/* Those that are set there: a new list of tuples (variable, value), or NULL with no exception if there are none. */
PyObject *xctx_native_items(PyObject *inner_context);

/*
 * carry.c: a thread that C code made, and on which Python code is called, has no builtin context yet. If a context came
 * along with the native one, it is made current. Called before anything looks at the builtin context. 0 or -1.
 */
int xctx_carry_adopt(PyThreadState *state);
extern _Atomic _Bool xctx_carry_possible; /* some native context has had one along */
extern _Atomic _Bool xctx_carry_in_use;   /* some thread has made one current */

/* follow.c: the same with what C code has set without the GIL. */
int xctx_follow_thread(void);
extern _Atomic int xctx_follow_unpublished; /* how often that was so, and is not published */

/* follow.c: whether somebody has set a native variable. Then, for a builtin context that nobody else knows yet: has it
   carry an empty native one, rather than none: that would be taken for a copy of the thread's own. 0 or -1. */
extern _Atomic _Bool xctx_follow_in_use;
int xctx_follow_set_empty(PyObject *inner);

/* Whether some context carries settings of the thread, to be applied and put back. Then, after each switch of
   Context.run(): makes the native context current now, rather than when somebody asks for it. */
extern _Atomic _Bool xctx_follow_hooked;
void xctx_follow_now(void);

/* Whether C code has entered a native context itself. Then, for a copy of the current builtin context that nobody else
   knows yet: if that was within the current one, has the copy carry it. 0 or -1. */
extern _Atomic _Bool xctx_follow_entered;
int xctx_follow_copy(PyObject *inner);

static inline int xctx_arrive(void)
{
    if (__builtin_expect(xctx_carry_possible, 0)) {
        PyThreadState *state = PyThreadState_Get();
        if ((!state->context || xctx_carry_in_use) && xctx_carry_adopt(state))
            return -1;
    }
    return __builtin_expect(xctx_follow_unpublished != 0, 0) ? xctx_follow_thread() : 0;
}

/* A copy of the running thread's builtin context, with what is native; new. */
static inline PyObject *xctx_inner_copy(void)
{
    PyObject *inner = xctx_arrive() ? NULL : PyContext_CopyCurrent();

    if (inner && __builtin_expect(xctx_follow_entered, 0) && xctx_follow_copy(inner))
        Py_CLEAR(inner);
    return inner;
}

#endif
