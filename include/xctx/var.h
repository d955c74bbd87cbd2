/* SPDX-License-Identifier: MIT */
/**
 * @file var.h
 * Context variables: define, get, set, reset, bind for a scope.
 *
 * A variable is a key. Its values live in contexts, and xctx_var_get() reads the one in the running thread's current
 * context in a few instructions, with no lock and no atomic operation.
 *
 * A value is a pointer. Without operations in xctx_var_options it is just that: borrowed from whoever set it, copied
 * as it is. With `retain` and `release` contexts own a reference to it: `retain` is called once for each
 * xctx_var_set() and `release` once for each `retain`, when the last context or token that holds the value goes, on
 * whichever thread that happens. Operations are called with no lock held and may use every function of this library.
 * A `release` that is due while another one runs on the same thread runs right after it instead of within it.
 *
 * Unless a function says otherwise it is thread-safe, is not async-signal-safe, and was there in 0.1.
 */
#ifndef XCTX_VAR_H
#define XCTX_VAR_H

/* g++ warns of each option that a definition leaves out, and can be told not to only so. */
#if defined(__cplusplus) && defined(__GNUC__) && !defined(__clang__) && !defined(XCTX_CHECK_HEADERS)
#pragma GCC system_header
#endif

#include <stddef.h>
#include <stdint.h>

#include <xctx/base.h>
#include <xctx/context.h>

XCTX_BEGIN

/** The one pointer that cannot be a value: it is no address, and marks variables that are not set. */
#define XCTX_RESERVED_VALUE ((void *)(uintptr_t)UINT64_C(0xa85e47c0de1ec7ed))

/** What copying a context does with a variable that is set in it. */
enum xctx_flow {
    XCTX_FLOW_SHARE, /**< the copy has the same value: the default */
    XCTX_FLOW_CLONE, /**< the copy has what the `clone` operation makes of the value */
    XCTX_FLOW_NONE,  /**< the copy does not have the variable */
};

/**
 * How a variable behaves. Zero for everything is a variable whose values are borrowed pointers that copies share.
 */
typedef struct xctx_var_options {
    /** sizeof(xctx_var_options), set by XCTX_VAR_DEFINE; 0 is taken for the size in 0.1. */
    size_t size;
    /** What xctx_var_get() gives where the variable is not set. Never retained or released. */
    void *initial;
    /** Takes a reference to (or makes a copy of) a value; returns what the context shall hold. NULL, or
     * XCTX_RESERVED_VALUE, means that memory ran out. Not called for NULL. */
    void *(*retain)(void *value);
    /** Gives back what `retain`, `clone`, `merge` or `capture` returned. Not called for NULL. */
    void (*release)(void *value);
    /** Makes a value of its own for a copied context, for XCTX_FLOW_CLONE; returns as `retain` does. Not called for
     * NULL. */
    void *(*clone)(void *value);
    /** For xctx_merge(): makes one value of two, either of which may be NULL, and returns one that the context owns;
     * XCTX_RESERVED_VALUE: memory ran out. */
    void *(*merge)(void *parent, void *child);
    /** Reads the value from the running thread, for XCTX_CAPTURE_STATE, and returns one that the context owns; NULL:
     * there is nothing to capture; XCTX_RESERVED_VALUE: memory ran out. */
    void *(*capture)(void);
    /** Applies a value, which may be NULL, to the running thread when a context that holds it is entered; returns what
     * `leave` needs. */
    void *(*enter)(void *value);
    /** Undoes `enter` when that context is left. */
    void (*leave)(void *saved);
    /** Writes a value for people, as snprintf() does: at most `size` bytes with the final NUL, returning the length
     * of the whole text, or a negative errno. */
    int (*format)(void *value, char *buffer, size_t size);
    /** Writes a value for another process: at most `size` bytes, returning how many the whole takes, or a negative
     * errno. */
    int (*encode)(void *value, void *buffer, size_t size);
    /** Reads back what `encode` wrote; returns 0 and a value as `retain` does, or a negative errno. */
    int (*decode)(const void *data, size_t size, void **ret_value);
    /** What copying a context does with the variable. */
    enum xctx_flow flow;
    /** Not 0: no report and no file shows the value, nor the bytes that it points to: redact.h. Since 0.1. */
    uint32_t secret;
    /** How many bytes a secret value points to; 0: they are a text, and end with its NUL. Since 0.1. */
    size_t secret_size;
} xctx_var_options;

/** A context variable. Defined by XCTX_VAR_DEFINE or made by xctx_var_create(); its fields are the library's. */
struct xctx_var {
    uint32_t id_;
    uint32_t flags_;
    uint32_t refs_;
    uint32_t unused_;
    const char *name_;
    xctx_var_options options_;
    void *reserved_[2];
};

/**
 * Undoes one xctx_var_set(). The caller's storage; its fields are the library's. It belongs to one set: do not copy
 * it, and do not use it for another set before it was reset or dropped.
 */
typedef struct xctx_token {
    xctx_var *var_;
    uint64_t context_;
    void *old_;
    uint32_t state_;
    uint32_t flags_;
    void *reserved_[2];
} xctx_token;

/**
 * XCTX_VAR_DEFINE(name, .field = value, ...) defines a variable at file scope, used as `&name`.
 *
 * The fields are those of xctx_var_options; all may be left out. The definition is a link-time constant and can be
 * used before any constructor has run; `static` before it keeps it to one file. A shared library in which such a
 * variable was used stays in memory after dlclose(), since contexts may hold its values and operations. In C++ it needs
 * designated initializers: C++20, or GNU C++ before that.
 */
#define XCTX_VAR_DEFINE(...) XCTX__VAR_DEFINE(__VA_ARGS__, )

/** XCTX_VAR_DECLARE(name) declares a variable that another file defines. */
#define XCTX_VAR_DECLARE(name) extern xctx_var name

/** @cond internal */
#define XCTX__VAR_NO_ID 0xffffffffu
#ifdef __cplusplus
#define XCTX__STATIC_ASSERT static_assert
#else
#define XCTX__STATIC_ASSERT _Static_assert
#endif
/* The constructor makes a variable that can be captured known before its first use; for others it does nothing. The
   assertion takes the semicolon behind the macro. */
#define XCTX__VAR_DEFINE(variable, ...)                                                                                \
    xctx_var variable = {XCTX__VAR_NO_ID, 0, 0, 0, #variable, {.size = sizeof(xctx_var_options), __VA_ARGS__},         \
                         {NULL, NULL}};                                                                                \
    __attribute__((constructor)) static void xctx__define_##variable(void)                                             \
    {                                                                                                                  \
        if (variable.options_.capture)                                                                                 \
            xctx__var_define(&variable);                                                                               \
    }                                                                                                                  \
    XCTX__STATIC_ASSERT(sizeof(xctx_var_options) >= sizeof(size_t), "")
XCTX_API void xctx__var_define(xctx_var *var);
/** @endcond */

/**
 * Makes a variable at run time.
 *
 * A variable that was ever set stays in memory until the process ends, since contexts know it by number; at most
 * 4,194,304 variables can be set in the life of a process.
 *
 * @param name     copied; NULL is "".
 * @param options  copied; NULL is all zero.
 * @return new, for xctx_var_unref(); NULL if memory ran out or @p options has a size or a flow that this version
 *         does not know, XCTX_FLOW_CLONE without `clone`, or only one of `enter` and `leave`.
 */
XCTX_API xctx_var *xctx_var_create(const char *name, const xctx_var_options *options);

/** Takes another reference to a variable. NULL and defined variables are allowed. @return @p var, new. */
XCTX_API xctx_var *xctx_var_ref(xctx_var *var);

/**
 * Gives back a reference to a variable that xctx_var_create() made. Contexts keep the values that they hold for it.
 *
 * @param var  NULL is allowed, and a variable defined by XCTX_VAR_DEFINE, for which it does nothing.
 * @return NULL.
 */
XCTX_API xctx_var *xctx_var_unref(xctx_var *var);

/** A variable's name: borrowed until the variable goes; "" for NULL. Async-signal-safe. */
XCTX_API const char *xctx_var_name(const xctx_var *var);

/**
 * The options of a variable: borrowed until the variable goes; NULL for NULL. Async-signal-safe.
 */
XCTX_API const xctx_var_options *xctx_var_get_options(const xctx_var *var);

/**
 * The value of a variable in the running thread's current context; its `initial` if it is not set there.
 *
 * Async-signal-safe. Does not fail and creates nothing.
 *
 * @param var  not NULL.
 * @return borrowed until this thread sets or resets the variable or switches contexts.
 */
XCTX_API void *xctx_var_get(xctx_var *var);

/**
 * As xctx_var_get(), and tells a variable that is not set from one that is set to NULL.
 *
 * Async-signal-safe.
 *
 * @param ret_value  receives the value, borrowed as above; may be NULL; not written to if 0 is returned.
 * @return 1 the variable is set, or has an `initial` that is not NULL; 0 neither; -EINVAL @p var is NULL.
 */
XCTX_API int xctx_var_find(xctx_var *var, void **ret_value);

/**
 * Sets a variable in the running thread's current context, which is made first if there is none.
 *
 * @param value      any pointer but XCTX_RESERVED_VALUE, NULL too; the context takes a reference of its own through
 *                   `retain`.
 * @param ret_token  receives what undoes this set; NULL: it is not going to be undone. The token holds the old value
 *                   until it is given to xctx_var_reset() or xctx_token_drop(): do one of them.
 * @return 0; -EINVAL @p var is NULL, its options are not valid (see xctx_var_create()), or @p value is
 *         XCTX_RESERVED_VALUE; -ENOMEM; -ENOSPC too many variables.
 */
XCTX_API int xctx_var_set(xctx_var *var, void *value, xctx_token *ret_token);

/**
 * Undoes one set: the variable has again the value that it had before, or none.
 *
 * Tokens may be used in any order. A token that could not be used stays as it is.
 *
 * @return 0; checked in this order: -EALREADY the token was reset or dropped; -EINVAL it is of another variable (or
 *         an argument is NULL); -EXDEV it was made in another context than the current one; -ENOMEM.
 */
XCTX_API int xctx_var_reset(xctx_var *var, xctx_token *token);

/**
 * Gives a token up: the value that was set stays, and the old one is released. May be called on any thread.
 *
 * @param token  NULL, and one that was reset or dropped, are allowed.
 */
XCTX_API void xctx_token_drop(xctx_token *token);

/**
 * XCTX_LET(var, value) { ... } sets a variable for the block that follows.
 *
 * The old value is back when the block is left: at its end, by break, continue, return, goto, and by a C++ exception
 * (in C, if compiled with -fexceptions). Not by longjmp(): jumping out of the block leaves the variable as it is. When
 * the thread ends in the block, its contexts go anyway. `break` and `continue` leave the block, not a loop around it.
 *
 * Undoing cannot fail. Nothing is allocated unless the current context shares its map with a copy, is new, or is too
 * small for the variable, or the variable has a `release` operation; if memory runs out then, the block is not run, but
 * an `else` behind it is:
 *
 *     XCTX_LET(&request_id, id) {
 *         handle();
 *     } else {
 *         return -ENOMEM;
 *     }
 *
 * Copying the current context within the block takes time in proportion to the number of its variables. A context
 * that the block enters must be left in it, and the one that was current must not: the variable is then not put back.
 * *
 * @param var    an xctx_var *, evaluated once.
 * @param value  as for xctx_var_set(), evaluated once.
 */
#define XCTX_LET(var, value) XCTX__LET(var, value, XCTX__PASTE(xctx_let_, __COUNTER__))

/** @cond internal */
#define XCTX__PASTE(a, b) XCTX__PASTE_(a, b)
#define XCTX__PASTE_(a, b) a##b
#define XCTX__LET(var, value, let)                                                                                     \
    for (xctx__let let __attribute__((cleanup(xctx__let_end))),                                                        \
         *XCTX__PASTE(let, _run) = xctx__let_begin(&let, var, value);                                                  \
         XCTX__PASTE(let, _run); XCTX__PASTE(let, _run) = NULL)                                                        \
        if (let.bound_)
typedef struct xctx__let {
    xctx_token token_;
    int bound_;
} xctx__let;
XCTX_API int xctx__let_set(xctx__let *let, xctx_var *var, void *value);
XCTX_API void xctx__let_reset(xctx__let *let);
static inline xctx__let *xctx__let_begin(xctx__let *let, xctx_var *var, void *value)
{
    let->bound_ = xctx__let_set(let, var, value) == 0;
    return let;
}
static inline void xctx__let_end(xctx__let *let)
{
    if (let->bound_)
        xctx__let_reset(let);
}
/** @endcond */

XCTX_END

#include <xctx/inline.h>

#endif
