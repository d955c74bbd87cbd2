/* SPDX-License-Identifier: MIT */
/* pycontext.h from several threads at once, and across fork(). */
#include <signal.h>

#include "pycontext_support.h"
#include "threads.h"

enum { THREADS = 3 };

static struct meeting meeting;

static void all_at_once(void *(*fn)(void *), void *arg)
{
    pthread_t threads[THREADS];

    meeting_init(&meeting, THREADS);
    for (int i = 0; i < THREADS; i++)
        threads[i] = spawn(fn, arg);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
}

struct shared {
    PyObject *context;
    PyObject *var;
    PyObject *value;
};

/* Copies of one context, one variable, one value: only the counts are contended. */
static void *work(void *arg)
{
    struct shared *shared = arg;

    meet(&meeting);
    for (long i = scaled(5000); i > 0; i--) {
        PyObject *copy = PyContext_Copy(shared->context);
        CHECK(copy != NULL);
        CHECK(PyContext_Enter(copy) == 0);
        PyObject *got = get(shared->var);
        CHECK(got == shared->value);
        PyObject *token = PyContextVar_Set(shared->var, copy);
        CHECK(token != NULL);
        PyObject *self = get(shared->var);
        CHECK(self == copy);
        Py_DECREF(self);
        CHECK(PyContextVar_Reset(shared->var, token) == 0);
        Py_DECREF(token);
        Py_DECREF(got);
        CHECK(PyContext_Exit(copy) == 0);
        Py_DECREF(copy);
    }
    return NULL;
}

TEST(threads_count_the_same_objects)
{
    struct shared shared = {PyContext_New(), PyContextVar_New("var", NULL), PyContext_New()};

    PyContext_Enter(shared.context);
    set(shared.var, shared.value);
    PyContext_Exit(shared.context);
    all_at_once(work, &shared);
    assert_int_equal(Py_REFCNT(shared.context), 1);
    assert_int_equal(Py_REFCNT(shared.var), 1);
    assert_int_equal(Py_REFCNT(shared.value), 2);
    Py_DECREF(shared.context);
    assert_int_equal(Py_REFCNT(shared.value), 1);
    Py_DECREF(shared.value);
    Py_DECREF(shared.var);
}

/* The last reference goes, and the same context comes back from context.h, at the same time. */
static void *come_and_go(void *context)
{
    meet(&meeting);
    for (long i = scaled(10000); i > 0; i--) {
        PyObject *object = xctx_py_context_from(context);
        CHECK((void *)object == context);
        CHECK(xctx_py_context_get(object) == context);
        Py_DECREF(object);
    }
    return NULL;
}

TEST(context_comes_and_goes_on_several_threads)
{
    xctx_context *context = xctx_new();
    all_at_once(come_and_go, context);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

struct race {
    PyObject *var;
    PyObject *token;
    PyObject *context;
    atomic_int resets;
};

/* Whoever gets to enter the context can reset; of the others none may disturb that. */
static void *race_for_reset(void *arg)
{
    struct race *race = arg;

    meet(&meeting);
    if (PyContext_Enter(race->context) == 0) {
        if (PyContextVar_Reset(race->var, race->token) == 0)
            atomic_fetch_add(&race->resets, 1);
        CHECK(PyContext_Exit(race->context) == 0);
    } else {
        CHECK(PyContextVar_Reset(race->var, race->token) == -1);
    }
    return NULL;
}

TEST(token_is_reset_once_by_threads_that_race_for_it)
{
    for (long i = scaled(200); i > 0; i--) {
        struct race race = {PyContextVar_New("var", NULL), NULL, PyContext_New(), 0};
        PyContext_Enter(race.context);
        race.token = PyContextVar_Set(race.var, own_value(1));
        PyContext_Exit(race.context);
        all_at_once(race_for_reset, &race);
        assert_int_equal(atomic_load(&race.resets), 1);
        Py_DECREF(race.token);
        Py_DECREF(race.context);
        Py_DECREF(race.var);
    }
}

static atomic_bool stop;

static int watch_nothing(PyContextEvent event, PyObject *object)
{
    (void)event;
    (void)object;
    return 0;
}

static void *make_and_drop(void *arg)
{
    (void)arg;
    while (!atomic_load(&stop)) {
        PyObject *context = PyContext_New();
        CHECK(context != NULL);
        Py_DECREF(context);
        int id = PyContext_AddWatcher(watch_nothing);
        CHECK(id >= 0);
        CHECK(PyContext_ClearWatcher(id) == 0);
    }
    return NULL;
}

/* The child uses every lock that the other thread may have held. It ends by a signal that no leak checker sees: what
   the other thread had in its hands is lost in the child, which is nobody's fault. */
static int use_all(void *arg)
{
    enum { COUNT = 500 };
    PyObject *objects[COUNT];

    CHECK(PyContext_Enter(arg) == 0);
    for (int i = 0; i < COUNT; i++) {
        objects[i] = PyContext_New();
        CHECK(objects[i] != NULL);
    }
    for (int i = 0; i < COUNT; i++)
        Py_DECREF(objects[i]);
    int id = PyContext_AddWatcher(watch_nothing);
    CHECK(id >= 0);
    CHECK(PyContext_ClearWatcher(id) == 0);
    CHECK(PyContext_Exit(arg) == 0);
    raise(SIGKILL);
    return 1;
}

TEST(forked_child_goes_on_while_another_thread_makes_objects)
{
    /* ThreadSanitizer does not support threads in a child of a threaded process. */
    if (TEST_TSAN)
        skip();
    PyObject *context = PyContext_New();
    atomic_store(&stop, false);
    pthread_t thread = spawn(make_and_drop, NULL);
    for (long i = scaled(40); i > 0; i--) {
        int status = in_child(use_all, context);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    atomic_store(&stop, true);
    join(thread);
    Py_DECREF(context);
}

int main(void)
{
    return test_main("pycontext threads");
}
