/* SPDX-License-Identifier: MIT */
/* PyContextVar_* of pycontext.h: values, defaults, tokens. */
#include "pycontext_support.h"
#include "threads.h"

TEST(get_prefers_the_value_then_the_argument_then_the_default)
{
    PyObject *with = PyContextVar_New("with", own_value(1));
    PyObject *without = PyContextVar_New("without", NULL);
    PyObject *value;

    assert_int_equal(PyContextVar_Get(with, NULL, &value), 0);
    assert_ptr_equal(value, own_value(1));
    assert_int_equal(PyContextVar_Get(with, own_value(2), &value), 0);
    assert_ptr_equal(value, own_value(2));
    assert_int_equal(PyContextVar_Get(without, own_value(2), &value), 0);
    assert_ptr_equal(value, own_value(2));
    assert_int_equal(PyContextVar_Get(without, NULL, &value), 0);
    assert_null(value);
    set(with, own_value(3));
    assert_int_equal(PyContextVar_Get(with, own_value(2), &value), 0);
    assert_ptr_equal(value, own_value(3));
    Py_DECREF(with);
    Py_DECREF(without);
}

TEST(value_may_be_any_pointer)
{
    PyObject *var = PyContextVar_New("var", own_value(-1));
    PyObject *values[] = {
        own_value(-1),
        own_value(1),
        own_value(2),
        own_value(INTPTR_MAX),
        own_value(INTPTR_MIN),
        own_value(INTPTR_MIN + 1),
        Py_None,
        (PyObject *)(void *)"text",
    };

    assert_ptr_equal(get(var), own_value(-1));
    for (unsigned i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        PyObject *token = PyContextVar_Set(var, values[i]);
        assert_non_null(token);
        PyObject *copy = PyContext_CopyCurrent();
        assert_ptr_equal(get(var), values[i]);
        assert_int_equal(PyContextVar_Reset(var, token), 0);
        assert_ptr_equal(get(var), own_value(-1));
        PyContext_Enter(copy);
        assert_ptr_equal(get(var), values[i]);
        PyContext_Exit(copy);
        Py_DECREF(copy);
        Py_DECREF(token);
    }
    Py_DECREF(var);
}

TEST(null_is_no_value)
{
    PyObject *var = PyContextVar_New("var", NULL);
    assert_null(PyContextVar_Set(var, NULL));
    assert_null(get(var));
    Py_DECREF(var);
}

TEST(what_is_no_variable_is_refused)
{
    PyObject *context = PyContext_New();
    PyObject *others[] = {context, Py_None, own_value(1), NULL};

    for (int i = 0; i < 4; i++) {
        PyObject *value = own_value(9);
        assert_int_equal(PyContextVar_Get(others[i], own_value(1), &value), -1);
        assert_null(value);
        assert_null(PyContextVar_Set(others[i], own_value(1)));
        assert_int_equal(PyContextVar_Reset(others[i], own_value(1)), -1);
    }
    PyObject *var = PyContextVar_New("var", NULL);
    assert_int_equal(PyContextVar_Get(var, NULL, NULL), -1);
    Py_DECREF(var);
    Py_DECREF(context);
}

TEST(name_may_be_missing_or_go)
{
    char name[] = "temporary";
    PyObject *named = PyContextVar_New(name, NULL);
    PyObject *nameless = PyContextVar_New(NULL, NULL);
    memset(name, 0, sizeof(name));
    assert_non_null(named);
    assert_non_null(nameless);
    Py_DECREF(named);
    Py_DECREF(nameless);
}

TEST(reset_restores_the_value_before_or_none)
{
    PyObject *var = PyContextVar_New("var", own_value(1));
    PyObject *first = PyContextVar_Set(var, own_value(2));
    PyObject *second = PyContextVar_Set(var, own_value(3));

    assert_int_equal(PyContextVar_Reset(var, second), 0);
    assert_ptr_equal(get(var), own_value(2));
    assert_int_equal(PyContextVar_Reset(var, first), 0);
    assert_ptr_equal(get(var), own_value(1));
    assert_int_equal(xctx_count(xctx_current()), 0);
    Py_DECREF(first);
    Py_DECREF(second);
    Py_DECREF(var);
}

TEST(reset_twice_fails)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *token = PyContextVar_Set(var, own_value(1));

    assert_int_equal(PyContextVar_Reset(var, token), 0);
    set(var, own_value(2));
    assert_int_equal(PyContextVar_Reset(var, token), -1);
    assert_ptr_equal(get(var), own_value(2));
    Py_DECREF(token);
    Py_DECREF(var);
}

TEST(reset_with_another_variable_s_token_fails_and_leaves_it_usable)
{
    PyObject *one = PyContextVar_New("one", NULL);
    PyObject *two = PyContextVar_New("two", NULL);
    PyObject *token = PyContextVar_Set(one, own_value(1));

    assert_int_equal(PyContextVar_Reset(two, token), -1);
    assert_int_equal(PyContextVar_Reset(one, Py_None), -1);
    assert_int_equal(PyContextVar_Reset(one, NULL), -1);
    assert_int_equal(PyContextVar_Reset(one, one), -1);
    assert_ptr_equal(get(one), own_value(1));
    assert_int_equal(PyContextVar_Reset(one, token), 0);
    assert_null(get(one));
    Py_DECREF(token);
    Py_DECREF(one);
    Py_DECREF(two);
}

TEST(reset_in_another_context_fails_and_leaves_the_token_usable)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *token = PyContextVar_Set(var, own_value(1));
    PyObject *copy = PyContext_CopyCurrent();

    PyContext_Enter(copy);
    assert_int_equal(PyContextVar_Reset(var, token), -1);
    assert_ptr_equal(get(var), own_value(1));
    PyContext_Exit(copy);
    assert_int_equal(PyContextVar_Reset(var, token), 0);
    assert_null(get(var));
    Py_DECREF(copy);
    Py_DECREF(token);
    Py_DECREF(var);
}

TEST(token_that_goes_unused_leaves_the_value_set)
{
    PyObject *var = PyContextVar_New("var", NULL);
    set(var, own_value(1));
    assert_ptr_equal(get(var), own_value(1));
    Py_DECREF(var);
}

struct reset {
    PyObject *var;
    PyObject *token;
    PyObject *context;
};

static void *reset_there(void *arg)
{
    struct reset *reset = arg;
    CHECK(PyContextVar_Reset(reset->var, reset->token) == -1);
    CHECK(PyContext_Enter(reset->context) == 0);
    CHECK(get(reset->var) == own_value(1));
    CHECK(PyContextVar_Reset(reset->var, reset->token) == 0);
    CHECK(get(reset->var) == NULL);
    CHECK(PyContext_Exit(reset->context) == 0);
    Py_DECREF(reset->token);
    return NULL;
}

TEST(token_goes_with_its_context_to_another_thread)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *context = PyContext_New();
    PyContext_Enter(context);
    PyObject *token = PyContextVar_Set(var, own_value(1));
    PyContext_Exit(context);
    on_thread(reset_there, &(struct reset){var, token, context});
    Py_DECREF(context);
    Py_DECREF(var);
}

static void *set_here(void *var)
{
    return PyContextVar_Set(var, var);
}

TEST(token_outlives_its_thread_and_context)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *token = on_thread(set_here, var);
    assert_true(PyContextToken_CheckExact(token));
    assert_int_equal(PyContextVar_Reset(var, token), -1);
    Py_DECREF(var);
    Py_DECREF(token);
}

int main(void)
{
    return test_main("pycontext variables");
}
