/* SPDX-License-Identifier: MIT */
/* Bound functions and threads without memory. */
#include <xctx/pycontext.h>

#include "fault.h"

static atomic_int calls;

static void *note_values(void *argument)
{
    struct world *world = argument;
    void *value = xctx_var_get(&cloned);

    atomic_fetch_add(&calls, 1);
    CHECK(xctx_var_get(&plain) == number(1));
    CHECK(counted_number(value) == 2 && value != world->values[1]);
    CHECK(!xctx_var_get(&unshared));
    CHECK(xctx_var_get(&far_counted) == world->values[0]);
    set(&plain, number(8));
    return number(7);
}

/* ---- binding ---- */

static int call_bind(struct world *world)
{
    world->bound = xctx_bind(note_values, world);
    return world->bound ? 0 : -ENOMEM;
}

static void check_bound(struct world *world)
{
    CHECK(xctx_bound_call(world->bound) == number(7));
    CHECK(xctx_bound_call(world->bound) == number(7));
}

static void in_full_hooked(struct world *world)
{
    in_full(world);
    set(&hooked, number(1));
    set(&far_hooked, number(2));
}

TEST(bind_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_bind, .succeeded = check_bound});
    fail_each(&(struct scenario){.prepare = in_full_hooked, .call = call_bind, .succeeded = check_bound});
    fail_each(&(struct scenario){.first_use = true, .call = call_bind});
}

static int call_bind_with(struct world *world)
{
    world->bound = xctx_bind_with(note_values, world, XCTX_CAPTURE_STATE);
    return world->bound ? 0 : -ENOMEM;
}

TEST(bind_with_capture_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full_hooked, .call = call_bind_with, .succeeded = check_bound});
}

static int call_bind_within_let(struct world *world)
{
    int error = -ENOMEM;

    XCTX_LET (&farther_counted, world->values[3]) {
        error = call_bind(world);
    }
    return error;
}

TEST(bind_within_a_scoped_binding_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_bind_within_let, .succeeded = check_bound});
}

/* ---- calling what was bound ---- */

static void with_bound(struct world *world)
{
    in_full_hooked(world);
    world->bound = xctx_bind(note_values, world);
    CHECK(world->bound);
    CHECK(xctx_exit(world->contexts[0]) == 0);
}

/* Nothing else may need memory in it. */
static void *note_call(void *argument)
{
    struct world *world = argument;

    atomic_fetch_add(&calls, 1);
    CHECK(xctx_var_get(&plain) == number(1));
    CHECK(xctx_var_get(&far_counted) == world->values[0]);
    return number(7);
}

static void with_bound_note(struct world *world)
{
    in_full_hooked(world);
    world->bound = xctx_bind(note_call, world);
    CHECK(world->bound);
    CHECK(xctx_exit(world->contexts[0]) == 0);
}

static int call_bound(struct world *world)
{
    int before = atomic_load(&calls);
    int error = xctx_bound_run(world->bound, &world->result);

    CHECK(atomic_load(&calls) == before + (error ? 0 : 1));
    CHECK(applied_now == 0);
    return error;
}

static int call_bound_once(struct world *world)
{
    int error = call_bound(world);

    CHECK(error || world->result == number(7));
    return error;
}

TEST(the_first_call_of_a_bound_function_needs_no_memory)
{
    fail_each(&(struct scenario){.prepare = with_bound_note, .call = call_bound_once, .never_fails = true});
}

TEST(the_first_call_of_a_bound_function_on_a_new_thread_without_memory_does_not_call_it)
{
    fail_each(&(struct scenario){.outside = with_bound_note, .first_use = true, .call = call_bound_once});
}

static void with_called(struct world *world)
{
    with_bound_note(world);
    CHECK(xctx_bound_call(world->bound) == number(7));
}

TEST(later_calls_of_a_bound_function_without_memory_do_not_call_it)
{
    fail_each(&(struct scenario){.prepare = with_called, .call = call_bound_once});
    fail_each(&(struct scenario){.outside = with_called, .first_use = true, .call = call_bound_once});
}

static int call_bound_unref(struct world *world)
{
    world->bound = xctx_bound_unref(world->bound);
    CHECK(counted_refs(world->values[0]) == 3);
    return 0;
}

TEST(unref_of_a_bound_function_needs_no_memory)
{
    fail_each(&(struct scenario){.prepare = with_bound, .call = call_bound_unref, .never_fails = true});
    fail_each(
        &(struct scenario){.outside = with_bound, .first_use = true, .call = call_bound_unref, .never_fails = true});
}

/* ---- threads ---- */

/* The thread itself starts with the failing allocation still ahead, and must not meet it before `fn` does. */
static void *note_thread(void *argument)
{
    struct world *world = argument;

    atomic_fetch_add(&calls, 1);
    CHECK(xctx_current());
    CHECK(xctx_var_get(&plain) == number(1));
    CHECK(counted_number(xctx_var_get(&cloned)) == 2);
    CHECK(xctx_var_get(&far_hooked) == number(2));
    CHECK(xctx_var_get(&far_counted) == world->values[0]);
    return number(7);
}

static int call_thread_create(struct world *world)
{
    int before = atomic_load(&calls);
    void *result = NULL;
    pthread_t none;

    memset(&none, 0, sizeof(none));
    world->thread = none;
    int error = xctx_thread_create(&world->thread, NULL, note_thread, world);
    CHECK(error == 0 || error == EAGAIN);
    if (error == 0) {
        CHECK(pthread_join(world->thread, &result) == 0 && result == number(7));
        CHECK(applied_now == 0);
    } else {
        CHECK(memcmp(&world->thread, &none, sizeof(none)) == 0);
    }
    CHECK(atomic_load(&calls) == before + (error ? 0 : 1));
    return error ? -ENOMEM : 0;
}

TEST(thread_create_without_memory_starts_nothing)
{
    fail_each(&(struct scenario){.prepare = in_full_hooked, .call = call_thread_create});
}

static int call_thread_create_within_let(struct world *world)
{
    int error = -ENOMEM;

    XCTX_LET (&farther_counted, world->values[3]) {
        error = call_thread_create(world);
    }
    return error;
}

TEST(thread_create_within_a_scoped_binding_without_memory_starts_nothing)
{
    fail_each(&(struct scenario){.prepare = in_full_hooked, .call = call_thread_create_within_let});
}

static void *note_nothing(void *argument)
{
    return argument;
}

static int call_thread_create_first(struct world *world)
{
    pthread_t thread;
    int error = xctx_thread_create(&thread, NULL, note_nothing, world);

    CHECK(error == 0 || error == EAGAIN);
    if (error == 0)
        CHECK(join(thread) == world);
    return error ? -ENOMEM : 0;
}

TEST(thread_create_on_first_use_of_a_thread_without_memory_starts_nothing)
{
    fail_each(&(struct scenario){.first_use = true, .call = call_thread_create_first});
}

static void *end_within(void *argument)
{
    struct world *world = argument;

    CHECK(xctx_enter(world->contexts[2]) == 0);
    set(&counted, world->values[3]);
    xctx__test_fail_allocation(1);
    return NULL;
}

/* A thread that ends in a context leaves and releases without memory. */
TEST(end_of_a_thread_in_a_context_needs_no_memory)
{
    struct world world = {0};

    with_hooked(&world);
    on_thread(end_within, &world);
    xctx__test_fail_allocation(0);
    assert_int_equal(applied_now, 0);
    assert_int_equal(xctx_enter(world.contexts[2]), 0);
    assert_ptr_equal(xctx_var_get(&counted), world.values[3]);
    assert_int_equal(xctx_exit(world.contexts[2]), 0);
    world_finish(&world);
}

/* ---- pycontext.h ---- */

static PyObject *py_made;

static int call_py_objects(struct world *world)
{
    PyObject *context = PyContext_New();
    PyObject *var = context ? PyContextVar_New("v", NULL) : NULL;
    PyObject *another = var ? PyContext_Copy(context) : NULL;
    PyObject *copy = another ? PyContext_CopyCurrent() : NULL; /* last, as it may make the thread's first context */
    int error = copy ? 0 : -ENOMEM;

    (void)world;
    Py_XDECREF(copy);
    Py_XDECREF(another);
    Py_XDECREF(var);
    Py_XDECREF(context);
    return error;
}

TEST(py_objects_without_memory_give_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_py_objects, .may_go_on = true});
    fail_each(&(struct scenario){.first_use = true, .call = call_py_objects, .may_go_on = true});
}

static void in_shared_with_py_var(struct world *world)
{
    in_shared(world);
    py_made = PyContextVar_New("w", NULL);
    CHECK(py_made);
}

static int call_py_set(struct world *world)
{
    PyObject *value = NULL;
    PyObject *token = PyContextVar_Set(py_made, (PyObject *)world->values);

    CHECK(PyContextVar_Get(py_made, NULL, &value) == 0);
    CHECK(value == (token ? (PyObject *)world->values : NULL));
    if (!token)
        return -ENOMEM;
    CHECK(PyContextVar_Reset(py_made, token) == 0);
    CHECK(PyContextVar_Get(py_made, NULL, &value) == 0 && !value);
    Py_DECREF(token);
    return 0;
}

static void drop_py_var(struct world *world)
{
    (void)world;
    Py_DECREF(py_made);
    py_made = NULL;
}

TEST(py_set_without_memory_sets_nothing)
{
    fail_each(&(struct scenario){.prepare = in_shared_with_py_var, .call = call_py_set, .succeeded = drop_py_var});
}

int main(void)
{
    return test_main("threads without memory");
}
