/* SPDX-License-Identifier: MIT */
/* PyContext_* of pycontext.h, and the way to context.h and back. */
#include "pycontext_support.h"
#include "threads.h"

/* The lines that people bring along from CPython. */
TEST(copy_enter_exit_decref)
{
    PyContext *context = PyContext_CopyCurrent();
    assert_non_null(context);
    assert_int_equal(PyContext_Enter(context), 0);
    assert_int_equal(PyContext_Exit(context), 0);
    Py_DECREF(context);
}

TEST(names_of_the_types_need_no_casts)
{
    PyObject *object = PyContext_New();
    PyContext *context = object;
    PyContextVar *var = PyContextVar_New("var", NULL);
    PyContextToken *token = PyContextVar_Set(var, context);
    object = token;
    assert_true(PyContextToken_CheckExact(object));
    Py_DECREF(token);
    Py_DECREF(var);
    Py_DECREF(context);
}

TEST(check_tells_the_kinds_apart)
{
    PyObject *context = PyContext_New();
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *token = PyContextVar_Set(var, Py_None);
    PyObject *objects[] = {context, var, token, Py_None, own_value(5), NULL};

    for (int i = 0; i < 6; i++) {
        assert_int_equal(PyContext_CheckExact(objects[i]), i == 0);
        assert_int_equal(PyContextVar_CheckExact(objects[i]), i == 1);
        assert_int_equal(PyContextToken_CheckExact(objects[i]), i == 2);
    }
    Py_DECREF(token);
    Py_DECREF(var);
    Py_DECREF(context);
}

TEST(enter_a_context_that_is_entered_fails)
{
    PyObject *context = PyContext_New();
    assert_int_equal(PyContext_Enter(context), 0);
    assert_int_equal(PyContext_Enter(context), -1);
    assert_int_equal(PyContext_Exit(context), 0);
    assert_int_equal(PyContext_Exit(context), -1);
    Py_DECREF(context);
}

TEST(exit_out_of_order_fails)
{
    PyObject *outer = PyContext_New();
    PyObject *inner = PyContext_New();
    assert_int_equal(PyContext_Enter(outer), 0);
    assert_int_equal(PyContext_Enter(inner), 0);
    assert_int_equal(PyContext_Exit(outer), -1);
    assert_int_equal(PyContext_Exit(inner), 0);
    assert_int_equal(PyContext_Exit(outer), 0);
    Py_DECREF(outer);
    Py_DECREF(inner);
}

TEST(what_is_no_context_is_refused)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *others[] = {var, Py_None, own_value(1), NULL};

    for (int i = 0; i < 4; i++) {
        assert_null(PyContext_Copy(others[i]));
        assert_int_equal(PyContext_Enter(others[i]), -1);
        assert_int_equal(PyContext_Exit(others[i]), -1);
        assert_null(xctx_py_context_get(others[i]));
    }
    Py_DECREF(var);
}

TEST(copies_are_independent_both_ways)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *original = PyContext_New();

    PyContext_Enter(original);
    set(var, own_value(1));
    PyObject *copy = PyContext_CopyCurrent();
    set(var, own_value(2));
    PyContext_Exit(original);

    PyContext_Enter(copy);
    assert_ptr_equal(get(var), own_value(1));
    set(var, own_value(3));
    PyContext_Exit(copy);
    PyObject *copy_of_copy = PyContext_Copy(copy);

    PyContext_Enter(original);
    assert_ptr_equal(get(var), own_value(2));
    PyContext_Exit(original);
    PyContext_Enter(copy_of_copy);
    assert_ptr_equal(get(var), own_value(3));
    PyContext_Exit(copy_of_copy);

    Py_DECREF(copy_of_copy);
    Py_DECREF(copy);
    Py_DECREF(original);
    Py_DECREF(var);
}

TEST(entered_context_outlives_its_last_reference)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *context = PyContext_New();
    xctx_context *below = xctx_py_context_get(context);

    PyContext_Enter(context);
    Py_DECREF(context);
    set(var, own_value(4));
    assert_ptr_equal(get(var), own_value(4));
    /* Met again, it is an object again. */
    context = xctx_py_context_from(xctx_current());
    assert_ptr_equal(xctx_py_context_get(context), below);
    Py_DECREF(context);
    assert_int_equal(xctx_exit(xctx_current()), 0);
    Py_DECREF(var);
}

TEST(context_of_context_h_is_the_same_object_each_time)
{
    xctx_context *context = xctx_new();
    PyObject *first = xctx_py_context_from(context);
    PyObject *second = xctx_py_context_from(context);

    assert_ptr_equal(first, second);
    assert_int_equal(Py_REFCNT(first), 2);
    assert_ptr_equal(xctx_py_context_get(first), context);
    assert_int_equal(PyContext_Enter(first), 0);
    assert_ptr_equal(xctx_current(), context);
    assert_int_equal(xctx_enter(context), -EBUSY);
    assert_int_equal(xctx_exit(context), 0);
    Py_DECREF(first);
    Py_DECREF(second);
    assert_int_equal(Py_REFCNT(first), 0);
    assert_null(xctx_py_context_get(first));
    xctx_unref(context);
    assert_null(xctx_py_context_from(NULL));
}

TEST(context_keeps_the_context_of_context_h_alive)
{
    xctx_context *context = xctx_new();
    PyObject *object = xctx_py_context_from(context);
    xctx_unref(context);
    assert_int_equal(PyContext_Enter(object), 0);
    assert_int_equal(PyContext_Exit(object), 0);
    Py_DECREF(object);
}

static void *enter_here(void *context)
{
    return number(PyContext_Enter(context));
}

TEST(enter_from_another_thread_fails_while_entered)
{
    PyObject *context = PyContext_New();
    assert_int_equal(PyContext_Enter(context), 0);
    assert_int_equal(as_number(on_thread(enter_here, context)), -1);
    assert_int_equal(PyContext_Exit(context), 0);
    Py_DECREF(context);
}

static void *copy_here(void *arg)
{
    (void)arg;
    CHECK(xctx_current() == NULL);
    PyObject *copy = PyContext_CopyCurrent();
    CHECK(copy != NULL);
    CHECK(xctx_current() != NULL);
    Py_DECREF(copy);
    return NULL;
}

TEST(copy_current_makes_the_thread_s_context)
{
    on_thread(copy_here, NULL);
}

int main(void)
{
    return test_main("pycontext contexts");
}
