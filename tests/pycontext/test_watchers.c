/* SPDX-License-Identifier: MIT */
/* PyContext_AddWatcher() and PyContext_ClearWatcher() of pycontext.h. */
#include "pycontext_support.h"
#include "threads.h"

enum { LOG_SIZE = 16 };
static PyObject *seen[LOG_SIZE];
static int seen_count;

static int note(PyContextEvent event, PyObject *object)
{
    CHECK(event == Py_CONTEXT_SWITCHED);
    CHECK(seen_count < LOG_SIZE);
    seen[seen_count++] = object;
    return 0;
}

static int other_calls;

static int note_other(PyContextEvent event, PyObject *object)
{
    (void)event;
    (void)object;
    other_calls++;
    return -1;
}

TEST(watcher_is_told_the_context_that_is_current_now)
{
    PyObject *context = PyContext_New();
    PyObject *outer = xctx_py_context_from(xctx_current());

    seen_count = 0;
    int id = PyContext_AddWatcher(note);
    assert_true(id >= 0);
    PyContext_Enter(context);
    PyContext_Exit(context);
    assert_int_equal(seen_count, 2);
    assert_ptr_equal(seen[0], context);
    assert_ptr_equal(seen[1], outer);
    assert_int_equal(PyContext_ClearWatcher(id), 0);
    PyContext_Enter(context);
    PyContext_Exit(context);
    assert_int_equal(seen_count, 2);
    assert_int_equal(Py_REFCNT(context), 1);
    Py_DECREF(outer);
    Py_DECREF(context);
}

static int keep(PyContextEvent event, PyObject *object)
{
    CHECK(event == Py_CONTEXT_SWITCHED);
    if (!seen_count++)
        seen[0] = Py_NewRef(object);
    return 0;
}

/* A context made through context.h becomes an object when a watcher meets it. */
TEST(watcher_may_keep_the_context)
{
    seen_count = 0;
    int id = PyContext_AddWatcher(keep);
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    assert_int_equal(PyContext_ClearWatcher(id), 0);
    assert_int_equal(Py_REFCNT(seen[0]), 1);
    assert_int_equal(PyContext_Enter(seen[0]), 0);
    assert_int_equal(PyContext_Exit(seen[0]), 0);
    Py_DECREF(seen[0]);
}

static void *enter_and_leave(void *context)
{
    CHECK(xctx_current() == NULL);
    CHECK(PyContext_Enter(context) == 0);
    CHECK(PyContext_Exit(context) == 0);
    return NULL;
}

TEST(watcher_is_told_none_where_there_is_no_context)
{
    PyObject *context = PyContext_New();

    seen_count = 0;
    int id = PyContext_AddWatcher(note);
    on_thread(enter_and_leave, context);
    assert_int_equal(PyContext_ClearWatcher(id), 0);
    assert_int_equal(seen_count, 2);
    assert_ptr_equal(seen[0], context);
    assert_ptr_equal(seen[1], Py_None);
    Py_DECREF(context);
}

TEST(watchers_are_several_and_their_result_is_ignored)
{
    PyObject *context = PyContext_New();

    seen_count = other_calls = 0;
    int one = PyContext_AddWatcher(note_other);
    int two = PyContext_AddWatcher(note);
    int three = PyContext_AddWatcher(note_other);
    assert_true(one >= 0 && two >= 0 && three >= 0);
    assert_int_not_equal(one, two);
    assert_int_not_equal(two, three);
    assert_int_not_equal(one, three);
    assert_int_equal(PyContext_Enter(context), 0);
    assert_int_equal(seen_count, 1);
    assert_int_equal(other_calls, 2);
    assert_int_equal(PyContext_ClearWatcher(one), 0);
    assert_int_equal(PyContext_Exit(context), 0);
    assert_int_equal(seen_count, 2);
    assert_int_equal(other_calls, 3);
    assert_int_equal(PyContext_ClearWatcher(two), 0);
    assert_int_equal(PyContext_ClearWatcher(three), 0);
    Py_DECREF(context);
}

TEST(clear_of_a_watcher_that_is_not_there_fails)
{
    int id = PyContext_AddWatcher(note_other);
    assert_int_equal(PyContext_ClearWatcher(id), 0);
    assert_int_equal(PyContext_ClearWatcher(id), -1);
    assert_int_equal(PyContext_ClearWatcher(-1), -1);
    assert_int_equal(PyContext_ClearWatcher(1000), -1);
    assert_int_equal(PyContext_AddWatcher(NULL), -1);
}

TEST(add_fails_when_all_places_are_taken)
{
    int ids[64];
    int count = 0;

    while (count < 64 && (ids[count] = PyContext_AddWatcher(note_other)) >= 0)
        count++;
    assert_int_equal(ids[count], -1);
    assert_true(count >= 8); /* as many as CPython has */
    /* A place that becomes free can be taken. */
    assert_int_equal(PyContext_ClearWatcher(ids[3]), 0);
    ids[3] = PyContext_AddWatcher(note_other);
    assert_true(ids[3] >= 0);
    while (count-- > 0)
        assert_int_equal(PyContext_ClearWatcher(ids[count]), 0);
}

static int self;

static int clear_oneself(PyContextEvent event, PyObject *object)
{
    (void)event;
    (void)object;
    other_calls++;
    CHECK(PyContext_ClearWatcher(self) == 0);
    return 0;
}

TEST(watcher_may_clear_itself)
{
    PyObject *context = PyContext_New();

    other_calls = 0;
    self = PyContext_AddWatcher(clear_oneself);
    PyContext_Enter(context);
    PyContext_Exit(context);
    assert_int_equal(other_calls, 1);
    assert_int_equal(PyContext_ClearWatcher(self), -1);
    Py_DECREF(context);
}

int main(void)
{
    return test_main("pycontext watchers");
}
