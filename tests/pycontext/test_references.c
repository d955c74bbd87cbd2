/* SPDX-License-Identifier: MIT */
/*
 * Who keeps whom alive in pycontext.h. Py_REFCNT() is 0 for what is gone, or is no object. What is not given back is
 * seen by the leak checkers that these tests also run under.
 */
#include "pycontext_support.h"

TEST(new_objects_have_one_reference)
{
    PyObject *context = PyContext_New();
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *token = PyContextVar_Set(var, own_value(1));

    assert_int_equal(Py_REFCNT(context), 1);
    assert_int_equal(Py_REFCNT(token), 1);
    assert_int_equal(Py_REFCNT(var), 2); /* the token's */
    Py_DECREF(token);
    assert_int_equal(Py_REFCNT(token), 0);
    assert_int_equal(Py_REFCNT(var), 1);
    Py_DECREF(var);
    Py_DECREF(context);
    assert_int_equal(Py_REFCNT(var), 0);
    assert_int_equal(Py_REFCNT(context), 0);
}

TEST(incref_and_decref_count)
{
    PyObject *context = PyContext_New();

    Py_INCREF(context);
    assert_int_equal(Py_REFCNT(context), 2);
    assert_ptr_equal(Py_NewRef(context), context);
    assert_ptr_equal(Py_XNewRef(context), context);
    assert_int_equal(Py_REFCNT(context), 4);
    Py_XINCREF(context);
    assert_int_equal(Py_REFCNT(context), 5);
    Py_XDECREF(context);
    Py_DECREF(context);
    Py_DECREF(context);
    Py_DECREF(context);
    assert_int_equal(Py_REFCNT(context), 1);
    assert_int_equal(PyContext_Enter(context), 0);
    assert_int_equal(PyContext_Exit(context), 0);
    Py_DECREF(context);
}

TEST(counting_does_nothing_for_null_none_and_one_s_own_pointers)
{
    PyObject *none = NULL;
    PyObject *own[] = {Py_None, own_value(1), own_value(-1), (PyObject *)(void *)"text"};

    Py_XINCREF(none);
    Py_XDECREF(none);
    assert_null(Py_XNewRef(none));
    Py_CLEAR(none);
    for (int i = 0; i < 4; i++) {
        Py_INCREF(own[i]);
        Py_DECREF(own[i]);
        Py_DECREF(own[i]);
        assert_ptr_equal(Py_NewRef(own[i]), own[i]);
        assert_int_equal(Py_REFCNT(own[i]), 0);
    }
}

TEST(clear_gives_back_and_evaluates_once)
{
    PyObject *objects[2] = {PyContext_New(), PyContext_New()};
    PyObject **next = objects;
    PyObject *first = objects[0];

    Py_CLEAR(*next++);
    assert_ptr_equal(next, &objects[1]);
    assert_null(objects[0]);
    assert_int_equal(Py_REFCNT(first), 0);
    PyContext *context = objects[1];
    Py_CLEAR(context);
    assert_null(context);
    assert_int_equal(Py_REFCNT(objects[1]), 0);
}

TEST(context_keeps_the_objects_set_in_it)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *value = PyContext_New();
    PyObject *context = PyContext_New();

    PyContext_Enter(context);
    set(var, value);
    PyContext_Exit(context);
    assert_int_equal(Py_REFCNT(value), 2);
    PyObject *copy = PyContext_Copy(context);
    Py_DECREF(context);
    Py_DECREF(value);
    assert_int_equal(Py_REFCNT(value), 1);

    PyContext_Enter(copy);
    PyObject *got = get(var);
    assert_ptr_equal(got, value);
    assert_int_equal(Py_REFCNT(value), 2);
    PyContext_Exit(copy);
    Py_DECREF(copy);
    assert_int_equal(Py_REFCNT(value), 1);
    Py_DECREF(got);
    assert_int_equal(Py_REFCNT(value), 0);
    Py_DECREF(var);
}

TEST(variable_keeps_its_default)
{
    PyObject *value = PyContext_New();
    PyObject *var = PyContextVar_New("var", value);

    assert_int_equal(Py_REFCNT(value), 2);
    Py_DECREF(value);
    PyObject *got = get(var);
    assert_ptr_equal(got, value);
    assert_int_equal(Py_REFCNT(value), 2);
    Py_DECREF(got);
    Py_DECREF(var);
    assert_int_equal(Py_REFCNT(value), 0);
}

TEST(default_of_get_is_returned_new)
{
    PyObject *value = PyContext_New();
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *got;

    assert_int_equal(PyContextVar_Get(var, value, &got), 0);
    assert_ptr_equal(got, value);
    assert_int_equal(Py_REFCNT(value), 2);
    Py_DECREF(got);
    Py_DECREF(value);
    Py_DECREF(var);
}

TEST(token_keeps_the_old_value_until_it_goes)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *value = PyContext_New();

    set(var, value);
    PyObject *token = PyContextVar_Set(var, Py_None);
    assert_int_equal(Py_REFCNT(value), 2);
    Py_DECREF(token);
    assert_int_equal(Py_REFCNT(value), 1);
    Py_DECREF(value);
    Py_DECREF(var);
}

TEST(token_keeps_its_variable_and_context)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *value = PyContext_New();
    PyObject *context = PyContext_New();

    PyContext_Enter(context);
    PyObject *token = PyContextVar_Set(var, value);
    PyContext_Exit(context);
    Py_DECREF(context);
    Py_DECREF(var);
    assert_int_equal(Py_REFCNT(var), 1);
    assert_int_equal(Py_REFCNT(value), 2); /* in the context that the token keeps */
    Py_DECREF(token);
    assert_int_equal(Py_REFCNT(var), 0);
    assert_int_equal(Py_REFCNT(value), 1);
    Py_DECREF(value);
}

TEST(reset_token_gives_the_set_value_back_at_once)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *value = PyContext_New();
    PyObject *token = PyContextVar_Set(var, value);

    assert_int_equal(PyContextVar_Reset(var, token), 0);
    assert_int_equal(Py_REFCNT(value), 1);
    Py_DECREF(token);
    Py_DECREF(value);
    Py_DECREF(var);
}

/* A block is freed while a context still holds its address as a value, and an object comes to lie there: giving the
   value back must not give a reference to the object back. How large an object is this test does not know: it tries. */
TEST(stale_pointer_of_one_s_own_is_not_taken_for_an_object)
{
    PyObject *var = PyContextVar_New("var", NULL);
    PyObject *other = PyContextVar_New("other", NULL);
    bool met = false;

    for (size_t size = 16; size <= 256; size += 16) {
        PyObject *context = PyContext_New();
        void *block = malloc(size);
        PyContext_Enter(context);
        set(var, (PyObject *)block);
        PyContext_Exit(context);
        uintptr_t address = (uintptr_t)block;
        free(block);
        PyObject *token = PyContextVar_Set(other, own_value(1));
        met = met || (uintptr_t)token == address;
        Py_DECREF(context);
        assert_int_equal(Py_REFCNT(token), 1);
        Py_DECREF(token);
    }
    Py_DECREF(var);
    Py_DECREF(other);
    /* Allocators that keep freed blocks back (a sanitizer's, Valgrind's) do not let them meet. */
    if (!met)
        skip();
}

/* A value that holds a value that holds a value: giving the first back must not need a deep stack. */
TEST(long_chains_are_given_back)
{
    PyObject *var = PyContextVar_New("var", NULL);
    long count = scaled(200000);

    PyObject *chain = PyContext_New();
    for (long i = 0; i < count; i++) {
        PyObject *context = PyContext_New();
        PyContext_Enter(context);
        set(var, chain);
        PyContext_Exit(context);
        Py_DECREF(chain);
        chain = context;
    }
    Py_DECREF(chain);

    chain = PyContextVar_New("var", NULL);
    for (long i = 0; i < count; i++) {
        PyObject *next = PyContextVar_New("var", chain);
        Py_DECREF(chain);
        chain = next;
    }
    Py_DECREF(chain);
    Py_DECREF(var);
}

TEST(many_objects_are_told_apart)
{
    enum { COUNT = 5000 };
    static PyObject *objects[COUNT];

    for (int i = 0; i < COUNT; i++) {
        objects[i] = i % 2 ? PyContext_New() : PyContextVar_New("var", NULL);
        assert_non_null(objects[i]);
    }
    /* Every third goes, so that the registry has to close gaps. */
    for (int i = 0; i < COUNT; i += 3)
        Py_CLEAR(objects[i]);
    for (int i = 0; i < COUNT; i++) {
        if (!objects[i])
            continue;
        assert_int_equal(Py_REFCNT(objects[i]), 1);
        assert_int_equal(PyContext_CheckExact(objects[i]), i % 2);
        assert_int_equal(PyContextVar_CheckExact(objects[i]), !(i % 2));
    }
    for (int i = 0; i < COUNT; i++)
        Py_XDECREF(objects[i]);
}

int main(void)
{
    return test_main("pycontext references");
}
