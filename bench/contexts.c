/* SPDX-License-Identifier: MIT */
/*
 * Contexts and variables on one thread, beside CPython's C API. A row and its peer make the same calls with the same
 * number of variables, and both look at what the calls return, as real users must.
 */
#include "scene.h"

#define OK(call) bench_check((call) == 0, #call)

BENCH_LOOP get(long n)
{
    xctx_var *var = the_scene.target;
    for (long i = 0; i < n; i++)
        bench_use(xctx_var_get(var));
}

BENCH_LOOP py_get(long n)
{
    PyObject *var = the_scene.py_target, *value;
    for (long i = 0; i < n; i++) {
        OK(PyContextVar_Get(var, NULL, &value));
        bench_use(value);
        Py_DECREF(value);
    }
}

static inline void get_each(void)
{
    for (int i = 0; i < the_scene.variables; i++)
        bench_use(xctx_var_get(the_scene.vars[i]));
}

static inline void py_get_each(void)
{
    PyObject *value;
    for (int i = 0; i < the_scene.variables; i++) {
        OK(PyContextVar_Get(the_scene.py_vars[i], NULL, &value));
        bench_use(value);
        Py_DECREF(value);
    }
}

BENCH_LOOP get_in_turn(long n)
{
    for (long i = 0; i < n; i++)
        get_each();
}

BENCH_LOOP py_get_in_turn(long n)
{
    for (long i = 0; i < n; i++)
        py_get_each();
}

BENCH_LOOP get_switched(long n)
{
    for (long i = 0; i < n; i++) {
        OK(xctx_enter(the_scene.other));
        get_each();
        OK(xctx_exit(the_scene.other));
    }
}

BENCH_LOOP py_get_switched(long n)
{
    for (long i = 0; i < n; i++) {
        OK(PyContext_Enter(the_scene.py_other));
        py_get_each();
        OK(PyContext_Exit(the_scene.py_other));
    }
}

BENCH_LOOP enter_exit(long n)
{
    xctx_context *context = the_scene.other;
    for (long i = 0; i < n; i++) {
        OK(xctx_enter(context));
        OK(xctx_exit(context));
    }
}

BENCH_LOOP py_enter_exit(long n)
{
    PyObject *context = the_scene.py_other;
    for (long i = 0; i < n; i++) {
        OK(PyContext_Enter(context));
        OK(PyContext_Exit(context));
    }
}

BENCH_LOOP copy(long n)
{
    for (long i = 0; i < n; i++) {
        xctx_context *context = xctx_copy_current();
        bench_check(context != NULL, "xctx_copy_current");
        xctx_unref(context);
    }
}

BENCH_LOOP py_copy(long n)
{
    for (long i = 0; i < n; i++) {
        PyObject *context = PyContext_CopyCurrent();
        bench_check(context != NULL, "PyContext_CopyCurrent");
        Py_DECREF(context);
    }
}

/* A list of free contexts that serves one copy at a time is of no use to a thousand. */
#define KEPT 1000
static void *kept[KEPT];

BENCH_LOOP copy_kept(long n)
{
    for (long i = 0; i < n; i++) {
        for (int k = 0; k < KEPT; k++)
            bench_check((kept[k] = xctx_copy_current()) != NULL, "xctx_copy_current");
        for (int k = 0; k < KEPT; k++)
            xctx_unref(kept[k]);
    }
}

BENCH_LOOP py_copy_kept(long n)
{
    for (long i = 0; i < n; i++) {
        for (int k = 0; k < KEPT; k++)
            bench_check((kept[k] = PyContext_CopyCurrent()) != NULL, "PyContext_CopyCurrent");
        for (int k = 0; k < KEPT; k++)
            Py_DECREF((PyObject *)kept[k]);
    }
}

BENCH_LOOP set_drop(long n)
{
    xctx_var *var = the_scene.target;
    xctx_token token;
    for (long i = 0; i < n; i++) {
        OK(xctx_var_set(var, the_scene.value[i & 1], &token));
        xctx_token_drop(&token);
    }
}

/* CPython takes a short cut if the value is the one that is set already: so it never is. */
BENCH_LOOP py_set_drop(long n)
{
    PyObject *var = the_scene.py_target;
    for (long i = 0; i < n; i++) {
        PyObject *token = PyContextVar_Set(var, the_scene.py_value[i & 1]);
        bench_check(token != NULL, "PyContextVar_Set");
        Py_DECREF(token);
    }
}

BENCH_LOOP set_reset(long n)
{
    xctx_var *var = the_scene.target;
    xctx_token token;
    for (long i = 0; i < n; i++) {
        OK(xctx_var_set(var, the_scene.value[0], &token));
        OK(xctx_var_reset(var, &token));
    }
}

BENCH_LOOP py_set_reset(long n)
{
    PyObject *var = the_scene.py_target;
    for (long i = 0; i < n; i++) {
        PyObject *token = PyContextVar_Set(var, the_scene.py_value[0]);
        bench_check(token != NULL, "PyContextVar_Set");
        OK(PyContextVar_Reset(var, token));
        Py_DECREF(token);
    }
}

BENCH_LOOP let(long n)
{
    xctx_var *var = the_scene.target;
    for (long i = 0; i < n; i++) {
        XCTX_LET (var, the_scene.value[0]) {
            bench_use(var);
        }
        else
        {
            bench_check(0, "XCTX_LET");
        }
    }
}

/* The life of a copy that is handed over: the set is the first one after the copy, so the map is shared. */
BENCH_LOOP life(long n)
{
    xctx_var *var = the_scene.target;
    xctx_token token;
    for (long i = 0; i < n; i++) {
        xctx_context *context = xctx_copy_current();
        bench_check(context != NULL, "xctx_copy_current");
        OK(xctx_enter(context));
        OK(xctx_var_set(var, the_scene.value[0], &token));
        xctx_token_drop(&token);
        OK(xctx_exit(context));
        xctx_unref(context);
    }
}

BENCH_LOOP life_without_token(long n)
{
    xctx_var *var = the_scene.target;
    for (long i = 0; i < n; i++) {
        xctx_context *context = xctx_copy_current();
        bench_check(context != NULL, "xctx_copy_current");
        OK(xctx_enter(context));
        OK(xctx_var_set(var, the_scene.value[0], NULL));
        OK(xctx_exit(context));
        xctx_unref(context);
    }
}

BENCH_LOOP py_life(long n)
{
    PyObject *var = the_scene.py_target;
    for (long i = 0; i < n; i++) {
        PyObject *context = PyContext_CopyCurrent();
        bench_check(context != NULL, "PyContext_CopyCurrent");
        OK(PyContext_Enter(context));
        PyObject *token = PyContextVar_Set(var, the_scene.py_value[0]);
        bench_check(token != NULL, "PyContextVar_Set");
        Py_DECREF(token);
        OK(PyContext_Exit(context));
        Py_DECREF(context);
    }
}

static void *nothing(void *arg)
{
    return arg;
}

BENCH_LOOP bind_call(long n)
{
    for (long i = 0; i < n; i++) {
        xctx_bound *bound = xctx_bind(nothing, &the_scene);
        bench_check(bound != NULL, "xctx_bind");
        bench_check(xctx_bound_call(bound) != NULL, "xctx_bound_call");
        xctx_bound_unref(bound);
    }
}

/* What binding is made of in CPython's C API, where the caller keeps function and argument himself. */
BENCH_LOOP py_bind_call(long n)
{
    for (long i = 0; i < n; i++) {
        PyObject *bound = PyContext_CopyCurrent();
        bench_check(bound != NULL, "PyContext_CopyCurrent");
        PyObject *context = PyContext_Copy(bound);
        bench_check(context != NULL, "PyContext_Copy");
        OK(PyContext_Enter(context));
        bench_use(nothing(&the_scene));
        OK(PyContext_Exit(context));
        Py_DECREF(context);
        Py_DECREF(bound);
    }
}

/*
 * A value read in a function of the program's own, whatever of it the compiler can inline there: for the library, for
 * CPython, and for a raw thread-local variable of a shared library.
 */
#define FUNCTION static __attribute__((noinline, aligned(64))) void *

FUNCTION function_get(void)
{
    return xctx_var_get(the_scene.target);
}

FUNCTION function_py_get(void)
{
    PyObject *value;
    OK(PyContextVar_Get(the_scene.py_target, NULL, &value));
    Py_DECREF(value); /* the context has another one */
    return value;
}

FUNCTION function_tls(void)
{
    return bench_slot_initial_exec;
}

BENCH_LOOP get_in_function(long n)
{
    for (long i = 0; i < n; i++)
        bench_use(function_get());
}

BENCH_LOOP py_get_in_function(long n)
{
    for (long i = 0; i < n; i++)
        bench_use(function_py_get());
}

BENCH_LOOP tls_in_function(long n)
{
    for (long i = 0; i < n; i++)
        bench_use(function_tls());
}

/* The shared library's function itself, which a call through a pointer always is. */
static void *(*volatile pointer_get)(xctx_var *) = xctx_var_get;
static void *(*volatile pointer_initial_exec)(void *) = bench_peer_tls_initial_exec;
static void *(*volatile pointer_general_dynamic)(void *) = bench_peer_tls_general_dynamic;

BENCH_LOOP get_through_pointer(long n)
{
    void *(*function)(xctx_var *) = pointer_get;
    xctx_var *var = the_scene.target;
    for (long i = 0; i < n; i++)
        bench_use(function(var));
}

BENCH_LOOP initial_exec_through_pointer(long n)
{
    void *(*function)(void *) = pointer_initial_exec;
    for (long i = 0; i < n; i++)
        bench_use(function(&the_scene));
}

BENCH_LOOP general_dynamic_through_pointer(long n)
{
    void *(*function)(void *) = pointer_general_dynamic;
    for (long i = 0; i < n; i++)
        bench_use(function(&the_scene));
}

/* The name, the two loops, how many variables; then the rest by name. */
#define ROW(name_, ours_, peer_, variables_, ...)                                                                      \
    {                                                                                                                  \
        .name = name_, .run = {ours_, peer_}, .setup = scene_open, .teardown = scene_close, .variables = variables_,   \
        __VA_ARGS__                                                                                                    \
    }

#define TLS "a raw __thread read in a function"

static const bench_row *context_rows(int *ret_count)
{
    static const bench_row rows[] = {
        ROW("get, 1 variable", get, py_get, 1, .must = 0.40),
        ROW("get, 8 variables", get, py_get, 8, .must = 0.40),
        ROW("get, 64 variables", get, py_get, 64, .must = 0.40),
        ROW("get, 64, created", get, py_get, 64, .must = 0.40, .kind = SCENE_CREATED),
        ROW("get in a function, 8", get_in_function, py_get_in_function, 8, .must = 0.40),
        ROW("get, each of 64 in turn", get_in_turn, py_get_in_turn, 64, .must = 0.40, .per = 64),
        ROW("get after a switch, 64", get_switched, py_get_switched, 64, .must = 0.40, .per = 64,
            .base = {enter_exit, py_enter_exit}),
        ROW("the same against any get", get_switched, get_in_turn, 64, .must = 1.10, .per = 64,
            .base = {enter_exit, NULL}, .peer_name = "get, each of 64 in turn"),
        ROW("get against __thread", get_in_function, tls_in_function, 8, .goal = 1.30,
            .peer_name = TLS " of the program"),
        ROW("get by pointer", get_through_pointer, initial_exec_through_pointer, 8, .goal = 1.30,
            .peer_name = TLS " of a library"),
        ROW("get by pointer, as -fPIC", get_through_pointer, general_dynamic_through_pointer, 8,
            .peer_name = TLS " of a library, general dynamic"),
        ROW("copy + release, 1 variable", copy, py_copy, 1, .must = 0.50, .goal = 0.35),
        ROW("copy + release, 8", copy, py_copy, 8, .must = 0.50, .goal = 0.35),
        ROW("copy + release, 64", copy, py_copy, 64, .must = 0.50, .goal = 0.35),
        ROW("copy 1000 + release 1000, 8", copy_kept, py_copy_kept, 8, .per = KEPT, .must = 0.50, .goal = 0.35),
        ROW("enter + exit, 8", enter_exit, py_enter_exit, 8, .must = 1.0, .goal = 0.8),
        ROW("set + drop, 1 variable", set_drop, py_set_drop, 1, ),
        ROW("set + drop, 8", set_drop, py_set_drop, 8, ),
        ROW("set + drop, 64", set_drop, py_set_drop, 64, ),
        ROW("set + reset, 1 variable", set_reset, py_set_reset, 1, ),
        ROW("set + reset, 8", set_reset, py_set_reset, 8, .must = 0.10, .goal = 0.04),
        ROW("set + reset, 64", set_reset, py_set_reset, 64, .must = 0.10, .goal = 0.03),
        ROW("set + reset, 64, created", set_reset, py_set_reset, 64, .must = 0.10, .goal = 0.03, .kind = SCENE_CREATED),
        ROW("XCTX_LET, 8", let, py_set_reset, 8, .must_value = 5),
        ROW("life of a hand-over, 1", life, py_life, 1, ),
        ROW("life of a hand-over, 8", life, py_life, 8, .must = 0.40, .goal = 0.25),
        ROW("life of a hand-over, 64", life, py_life, 64, ),
        ROW("  without a token, 8", life_without_token, py_life, 8, ),
        ROW("bind + call + release, 8", bind_call, py_bind_call, 8, ),
    };
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

/*
 * CPython's contexts own their values. Ours own them where a variable has `retain` and `release`: here the same
 * operations with hooks that count, plainly (which is what CPython does under its lock) and atomically (which a
 * program without such a lock needs, and CPython does not pay for).
 */
static const bench_row *value_rows(int *ret_count)
{
    static const bench_row rows[] = {
        ROW("counted: get, 8", get, py_get, 8, .must = 0.40, .kind = SCENE_COUNTED),
        ROW("counted: copy + release, 8", copy, py_copy, 8, .must = 0.50, .goal = 0.35, .kind = SCENE_COUNTED),
        ROW("counted: set + reset, 8", set_reset, py_set_reset, 8, .must = 0.10, .goal = 0.04, .kind = SCENE_COUNTED),
        ROW("counted: set + reset, 64", set_reset, py_set_reset, 64, .must = 0.10, .goal = 0.03, .kind = SCENE_COUNTED),
        ROW("counted: set + drop, 8", set_drop, py_set_drop, 8, .kind = SCENE_COUNTED),
        ROW("counted: XCTX_LET, 8", let, py_set_reset, 8, .kind = SCENE_COUNTED),
        ROW("counted: life, 8", life, py_life, 8, .must = 0.40, .goal = 0.25, .kind = SCENE_COUNTED),
        ROW("counted: life, 64", life, py_life, 64, .kind = SCENE_COUNTED),
        ROW("atomic: set + reset, 8", set_reset, py_set_reset, 8, .kind = SCENE_ATOMIC),
        ROW("atomic: set + drop, 8", set_drop, py_set_drop, 8, .kind = SCENE_ATOMIC),
        ROW("atomic: XCTX_LET, 8", let, py_set_reset, 8, .kind = SCENE_ATOMIC),
        ROW("atomic: life, 8", life, py_life, 8, .kind = SCENE_ATOMIC),
        ROW("atomic: life, 64", life, py_life, 64, .kind = SCENE_ATOMIC),
    };
    *ret_count = sizeof(rows) / sizeof(rows[0]);
    return rows;
}

const bench_group bench_contexts = {"Contexts, values borrowed", NULL, context_rows};
const bench_group bench_values = {"Contexts, values reference-counted", NULL, value_rows};
