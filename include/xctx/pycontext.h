/* SPDX-License-Identifier: MIT */
/**
 * @file pycontext.h
 * CPython's PyContext_* and PyContextVar_*, without Python.
 *
 * Code written against the C API of CPython's contextvars compiles unchanged and runs on libxctx, with the results
 * that CPython gives (0, -1, NULL); what CPython would raise as an exception is just -1 or NULL. For code that is
 * being moved to C alone, or shall build with and without Python. New code uses context.h and var.h: they say what
 * went wrong, and cost less.
 *
 *     PyContext* context = PyContext_CopyCurrent();
 *     if (!context) { ... handle the error ... }
 *     PyContext_Enter(context);
 *     PyContext_Exit(context);
 *     Py_DECREF(context);
 *
 * Objects. There are three kinds: contexts, variables and tokens. All have the one type PyObject, so that pointers to
 * them need no casts between the names that CPython has for them.
 *
 * Values. A value is any pointer that is not NULL: one of these objects, or a pointer of your own, cast to PyObject *.
 * Values that are objects are kept alive by the contexts, tokens and variables that hold them. Your own pointers are
 * not: nothing here ever follows them, Py_INCREF() and Py_DECREF() do nothing for them, and what they point to must
 * live as long as somebody may get it. Variables whose values are counted in your own way are for var.h. xctx_each()
 * visits the variables made here, too; what it shows as their values is not always the pointer that was set.
 *
 * Where CPython relies on the interpreter's lock, calls here may be made by any thread at any time, so long as the
 * caller holds references to what it passes. Contexts are those of context.h: xctx_py_context_get() and
 * xctx_py_context_from() go from one to the other, and PyContext_Enter() and xctx_enter() may be mixed.
 *
 * Not together with Python.h: that gives the same names to other objects. The library exports none of these names,
 * they exist in this header only, so a program may contain both libxctx and Python, in different source files.
 *
 * Unless a function says otherwise it is thread-safe, is not async-signal-safe, and was there in 0.1.
 */
#ifndef XCTX_PYCONTEXT_H
#define XCTX_PYCONTEXT_H

#if defined(Py_PYTHON_H) || defined(Py_OBJECT_H)
#error "xctx/pycontext.h stands in for Python.h and defines the same names: a source file can include only one of them"
#endif

#include <stddef.h>

#include <xctx/base.h>
#include <xctx/context.h>

XCTX_BEGIN

/** A context, variable or token; or a value of your own, cast. Opaque. */
typedef struct xctx_pyobject PyObject; /* A conflict here? Python.h comes after xctx/pycontext.h: include only one. */
typedef PyObject PyContext;            /**< a PyObject that is a context */
typedef PyObject PyContextVar;         /**< a PyObject that is a variable */
typedef PyObject PyContextToken;       /**< a PyObject that is a token */

/** What a watcher is told. */
typedef enum {
    Py_CONTEXT_SWITCHED = 1, /**< another context is current; the object is that context, or None: there is none */
} PyContextEvent;

/**
 * A watcher: called on the thread that switched, after the switch.
 *
 * @param event   what happened: Py_CONTEXT_SWITCHED.
 * @param object  borrowed until the watcher returns.
 * @return 0; -1 is ignored.
 */
typedef int (*PyContext_WatchCallback)(PyContextEvent event, PyObject *object);

/**
 * @name What the names below stand for
 * The functions that libxctx exports. Each does what CPython's function of that name does: see below.
 * @{
 */
XCTX_API PyObject *xctx_py_context_new(void);                                         /**< PyContext_New() */
XCTX_API PyObject *xctx_py_context_copy(PyObject *context);                           /**< PyContext_Copy() */
XCTX_API PyObject *xctx_py_context_copy_current(void);                                /**< PyContext_CopyCurrent() */
XCTX_API int xctx_py_context_enter(PyObject *context);                                /**< PyContext_Enter() */
XCTX_API int xctx_py_context_exit(PyObject *context);                                 /**< PyContext_Exit() */
XCTX_API int xctx_py_context_add_watcher(PyContext_WatchCallback callback);           /**< PyContext_AddWatcher() */
XCTX_API int xctx_py_context_clear_watcher(int id);                                   /**< PyContext_ClearWatcher() */
XCTX_API int xctx_py_context_check(PyObject *object);                                 /**< PyContext_CheckExact() */
XCTX_API PyObject *xctx_py_var_new(const char *name, PyObject *initial);              /**< PyContextVar_New() */
XCTX_API int xctx_py_var_get(PyObject *var, PyObject *initial, PyObject **ret_value); /**< PyContextVar_Get() */
XCTX_API PyObject *xctx_py_var_set(PyObject *var, PyObject *value);                   /**< PyContextVar_Set() */
XCTX_API int xctx_py_var_reset(PyObject *var, PyObject *token);                       /**< PyContextVar_Reset() */
XCTX_API int xctx_py_var_check(PyObject *object);                                     /**< PyContextVar_CheckExact() */
XCTX_API int xctx_py_token_check(PyObject *object); /**< PyContextToken_CheckExact() */
XCTX_API PyObject *xctx_py_ref(PyObject *object);   /**< Py_NewRef(), Py_INCREF() */
XCTX_API void xctx_py_unref(PyObject *object);      /**< Py_DECREF() */
XCTX_API ptrdiff_t xctx_py_refs(PyObject *object);  /**< Py_REFCNT() */
XCTX_API PyObject *xctx_py_none(void);              /**< Py_None */
/** @} */

/**
 * @name To context.h and back
 * @{
 */

/**
 * The context of context.h that a PyContext is.
 *
 * @return borrowed until the last reference to @p context is given back; NULL if that is not a context.
 */
XCTX_API xctx_context *xctx_py_context_get(PyObject *context);

/**
 * The PyContext that a context of context.h is: the same object each time, as long as there are references to it.
 *
 * @param context  a context that the caller has a reference to, or that is current on this thread; NULL gives NULL.
 * @return new; NULL if memory ran out.
 */
XCTX_API PyObject *xctx_py_context_from(xctx_context *context);
/** @} */

/** Makes an empty context. @return new; NULL: no memory. */
static inline PyObject *PyContext_New(void)
{
    return xctx_py_context_new();
}

/** Copies a context; the copy is not entered. @return new; NULL: not a context, or no memory. */
static inline PyObject *PyContext_Copy(PyObject *context)
{
    return xctx_py_context_copy(context);
}

/** Copies the running thread's context, which is made first if there is none. @return new; NULL: no memory. */
static inline PyObject *PyContext_CopyCurrent(void)
{
    return xctx_py_context_copy_current();
}

/** Makes a context the running thread's. @return 0; -1: not a context, entered already by any thread, no memory. */
static inline int PyContext_Enter(PyObject *context)
{
    return xctx_py_context_enter(context);
}

/** Leaves a context. @return 0; -1: not a context, not entered, or not this thread's current one. */
static inline int PyContext_Exit(PyObject *context)
{
    return xctx_py_context_exit(context);
}

/** Has a function called after every switch. @return a number for PyContext_ClearWatcher(); -1: no place left. */
static inline int PyContext_AddWatcher(PyContext_WatchCallback callback)
{
    return xctx_py_context_add_watcher(callback);
}

/**
 * Stops calling a watcher. When this returns, no other thread is in it any more.
 *
 * @return 0; -1: there is no such watcher.
 */
static inline int PyContext_ClearWatcher(int id)
{
    return xctx_py_context_clear_watcher(id);
}

/**
 * Makes a variable.
 *
 * @param name     copied; NULL is "".
 * @param initial  the default, or NULL: none. The variable takes a reference.
 * @return new; NULL: no memory.
 */
static inline PyObject *PyContextVar_New(const char *name, PyObject *initial)
{
    return xctx_py_var_new(name, initial);
}

/**
 * Reads a variable in the current context.
 *
 * @param initial    what to give if the variable is not set; NULL: its own default.
 * @param ret_value  receives the value, new; NULL if there is neither a value nor a default, or on an error.
 * @return 0, also if there is no value; -1: not a variable, or @p ret_value is NULL.
 */
static inline int PyContextVar_Get(PyObject *var, PyObject *initial, PyObject **ret_value)
{
    return xctx_py_var_get(var, initial, ret_value);
}

/**
 * Sets a variable in the current context, which is made first if there is none.
 *
 * @param value  not NULL; the context takes a reference.
 * @return a token for PyContextVar_Reset(), new; NULL: not a variable, @p value is NULL, or no memory: then nothing
 *         was set.
 */
static inline PyObject *PyContextVar_Set(PyObject *var, PyObject *value)
{
    return xctx_py_var_set(var, value);
}

/**
 * Undoes the PyContextVar_Set() that returned the token.
 *
 * @return 0; -1: not a variable or not a token, the token was used, is of another variable or was made in another
 *         context than the current one; then the token is as it was.
 */
static inline int PyContextVar_Reset(PyObject *var, PyObject *token)
{
    return xctx_py_var_reset(var, token);
}

/** Takes a reference to an object that may be NULL; nothing for pointers of your own. @return @p object. */
static inline PyObject *xctx_py_xref(PyObject *object)
{
    return object ? xctx_py_ref(object) : NULL;
}

/** Gives a reference to an object that may be NULL back; nothing for pointers of your own. */
static inline void xctx_py_xunref(PyObject *object)
{
    if (object)
        xctx_py_unref(object);
}

#define PyContext_CheckExact(object) xctx_py_context_check((PyObject *)(object))    /**< whether it is a context */
#define PyContextVar_CheckExact(object) xctx_py_var_check((PyObject *)(object))     /**< whether it is a variable */
#define PyContextToken_CheckExact(object) xctx_py_token_check((PyObject *)(object)) /**< whether it is a token */

#define Py_NewRef(object) xctx_py_ref((PyObject *)(object))           /**< takes a reference; returns the object, new */
#define Py_XNewRef(object) xctx_py_xref((PyObject *)(object))         /**< the same; NULL is allowed */
#define Py_INCREF(object) ((void)xctx_py_ref((PyObject *)(object)))   /**< takes a reference */
#define Py_XINCREF(object) ((void)xctx_py_xref((PyObject *)(object))) /**< the same; NULL is allowed */
#define Py_DECREF(object) xctx_py_unref((PyObject *)(object))         /**< gives a reference back */
#define Py_XDECREF(object) xctx_py_xunref((PyObject *)(object))       /**< the same; NULL is allowed */
#define Py_REFCNT(object) xctx_py_refs((PyObject *)(object)) /**< how many references; 0 for pointers of your own */
#define Py_None xctx_py_none() /**< a value that stands for none: not counted, and always the same */

/** Sets a pointer to NULL, then gives the reference back that it held, if any. The argument is evaluated once. */
#define Py_CLEAR(pointer)                                                                                              \
    do {                                                                                                               \
        __typeof__(pointer) *xctx_py_pointer_ = &(pointer);                                                            \
        PyObject *xctx_py_old_ = (PyObject *)*xctx_py_pointer_;                                                        \
        *xctx_py_pointer_ = NULL;                                                                                      \
        Py_XDECREF(xctx_py_old_);                                                                                      \
    } while (0)

XCTX_END

#endif
