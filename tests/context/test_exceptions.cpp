/* SPDX-License-Identifier: MIT */
/* C++ exceptions on their way through the library: contexts are left, bindings undone, and nothing leaks. */
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h> /* says nothing of C++ itself */
}

#include "../support/test.h"

#ifdef __cpp_exceptions

/* Designated initializers are C++20. */
#pragma GCC diagnostic ignored "-Wc++20-extensions"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace {

/* A reference-counted value, as in counted.h, which is C. */
struct shared {
    std::atomic<int> refs{1};
    long number;

    explicit shared(long n) : number(n)
    {
        live++;
    }
    ~shared()
    {
        live--;
    }
    static std::atomic<long> live;
};

std::atomic<long> shared::live;

long live_values()
{
    return shared::live;
}

void drop(void *value)
{
    shared *object = static_cast<shared *>(value);
    if (object->refs.fetch_sub(1) == 1)
        delete object;
}

void *retain(void *value)
{
    static_cast<shared *>(value)->refs++;
    return value;
}

long shared_number(const void *value)
{
    CHECK(value != nullptr);
    return static_cast<const shared *>(value)->number;
}

struct failure : std::runtime_error {
    explicit failure(const char *text) : std::runtime_error(text)
    {
    }
};

} // namespace

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(other);
static XCTX_VAR_DEFINE(counted, .retain = retain, .release = drop);

static void set_shared(long n)
{
    shared *value = new shared(n);
    CHECK(xctx_var_set(&counted, value, nullptr) == 0);
    drop(value);
}

static void throw_in_let()
{
    shared *value = new shared(2);
    XCTX_LET (&counted, value) {
        drop(value);
        XCTX_LET (&plain, number(2)) {
            XCTX_LET (&plain, number(3)) {
                throw failure("in a binding");
            }
        }
    }
}

TEST(exception_out_of_a_let_brings_the_old_values_back)
{
    std::string caught;
    set_shared(1);
    assert_int_equal(xctx_var_set(&plain, number(1), nullptr), 0);
    try {
        throw_in_let();
    } catch (const failure &error) {
        caught = error.what();
    }
    assert_string_equal(caught.c_str(), "in a binding");
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
    assert_int_equal(shared_number(xctx_var_get(&counted)), 1);
    assert_int_equal(shared::live, 1);
}

TEST(exception_caught_within_a_let_leaves_it_alone)
{
    bool caught = false;
    XCTX_LET (&plain, number(1)) {
        try {
            XCTX_LET (&plain, number(2)) {
                throw failure("within");
            }
        } catch (const failure &) {
            caught = true;
        }
        assert_int_equal(as_number(xctx_var_get(&plain)), 1);
    }
    assert_true(caught);
    assert_int_equal(xctx_var_find(&plain, nullptr), 0);
}

static void *throw_at_once(void *arg)
{
    set_shared(7);
    CHECK(xctx_var_set(&plain, number(7), nullptr) == 0);
    if (arg)
        throw failure("in the function");
    return nullptr;
}

/* Leaves two contexts entered, with a binding open in each. */
static void *throw_deep_down(void *arg)
{
    xctx_context *first = xctx_copy_current();
    xctx_context *second = xctx_new();
    CHECK(xctx_enter(first) == 0);
    xctx_unref(first);
    set_shared(8);
    CHECK(xctx_enter(second) == 0);
    xctx_unref(second);
    set_shared(9);
    return throw_at_once(arg);
}

/* Leaves the context that it was called in. */
static void *throw_after_exit(void *arg)
{
    CHECK(xctx_exit(xctx_current()) == 0);
    if (arg)
        throw failure("after leaving");
    return nullptr;
}

static bool run_throws(xctx_context *context, void *(*fn)(void *))
{
    void *result = &plain;
    try {
        xctx_run(context, fn, &plain, &result);
    } catch (const failure &) {
        CHECK(result == &plain);
        return true;
    }
    return false;
}

static void check_run(void *(*fn)(void *))
{
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    set_shared(1);
    assert_true(run_throws(context, fn));
    assert_ptr_equal(xctx_current(), before);
    assert_int_equal(shared_number(xctx_var_get(&counted)), 1);
    assert_int_equal(xctx_var_find(&plain, nullptr), 0);
    /* The context can be used again. */
    assert_true(run_throws(context, fn));
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    assert_int_equal(shared::live, 1);
}

TEST(exception_out_of_run_leaves_its_context)
{
    check_run(throw_at_once);
}

TEST(exception_out_of_run_leaves_what_the_function_entered)
{
    check_run(throw_deep_down);
}

TEST(exception_out_of_run_after_its_context_was_left_leaves_nothing_more)
{
    check_run(throw_after_exit);
}

TEST(exception_out_of_run_of_a_context_without_other_references_releases_it)
{
    xctx_context *before = xctx_current();
    bool caught = false;
    struct own {
        static void *throw_holding_nothing(void *context)
        {
            xctx_unref(static_cast<xctx_context *>(context));
            return throw_at_once(context);
        }
    };
    xctx_context *context = xctx_new();
    try {
        xctx_run(context, own::throw_holding_nothing, context, nullptr);
    } catch (const failure &) {
        caught = true;
    }
    assert_true(caught);
    assert_ptr_equal(xctx_current(), before);
    assert_int_equal(shared::live, 0);
}

enum class way { run, call };

static bool bound_throws(xctx_bound *bound, way how)
{
    void *result = &plain;
    try {
        if (how == way::run)
            xctx_bound_run(bound, &result);
        else
            result = xctx_bound_call(bound);
    } catch (const failure &) {
        CHECK(result == &plain);
        return true;
    }
    return false;
}

static void check_bound(void *(*fn)(void *), way how)
{
    enum { CALLS = 3 }; /* the first has a context that was made ahead */
    xctx_context *before = xctx_current();
    set_shared(1);
    xctx_bound *bound = xctx_bind(fn, &plain);
    for (int i = 0; i < CALLS; i++) {
        assert_true(bound_throws(bound, how));
        assert_ptr_equal(xctx_current(), before);
        assert_int_equal(shared_number(xctx_var_get(&counted)), 1);
        assert_int_equal(shared::live, 1);
    }
    std::thread elsewhere([=] {
        for (int i = 0; i < CALLS; i++) {
            CHECK(bound_throws(bound, how));
            CHECK(xctx_current() == nullptr);
        }
        CHECK(shared::live == 1);
    });
    elsewhere.join();
    xctx_bound_unref(bound);
    assert_int_equal(shared::live, 1);
}

TEST(exception_out_of_bound_run_leaves_its_context)
{
    check_bound(throw_at_once, way::run);
}

TEST(exception_out_of_bound_run_leaves_what_the_function_entered)
{
    check_bound(throw_deep_down, way::run);
}

TEST(exception_out_of_bound_call_leaves_its_context)
{
    check_bound(throw_at_once, way::call);
}

TEST(exception_out_of_bound_call_leaves_what_the_function_entered)
{
    check_bound(throw_deep_down, way::call);
}

static int throw_at_other(xctx_var *var, void *value, void *user)
{
    (void)value;
    ++*static_cast<int *>(user);
    if (var == &other)
        throw failure("visiting");
    return 0;
}

TEST(exception_out_of_each_gives_the_state_that_is_visited_back)
{
    xctx_context *contexts[] = {xctx_new(), xctx_current()};
    assert_int_equal(xctx_enter(contexts[0]), 0);
    set_shared(1);
    assert_int_equal(xctx_var_set(&other, number(1), nullptr), 0);
    assert_int_equal(xctx_exit(contexts[0]), 0);
    set_shared(1);
    assert_int_equal(xctx_var_set(&other, number(1), nullptr), 0);
    for (xctx_context *context : contexts) {
        int visited = 0;
        bool caught = false;
        try {
            xctx_each(context, throw_at_other, &visited);
        } catch (const failure &) {
            caught = true;
        }
        assert_true(caught);
        assert_true(visited >= 1);
    }
    /* Whatever still held on to the old state would keep its value. */
    assert_int_equal(shared::live, 2);
    set_shared(2);
    assert_int_equal(shared::live, 2);
    xctx_unref(contexts[0]);
    assert_int_equal(shared::live, 1);
    assert_int_equal(shared_number(xctx_var_get(&counted)), 2);
}

struct watching {
    int calls;
    bool throws;
};

static void throwing_watcher(xctx_context *current, void *user)
{
    watching *watching = static_cast<struct watching *>(user);
    (void)current;
    watching->calls++;
    if (watching->throws)
        throw failure("watching");
}

template <typename Function> static bool throws(Function function)
{
    try {
        function();
    } catch (const failure &) {
        return true;
    }
    return false;
}

TEST(exception_out_of_a_watcher_comes_out_of_enter_and_exit_after_the_switch)
{
    watching watching = {0, true};
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    int id = xctx_watch(throwing_watcher, &watching);
    assert_true(throws([=] { xctx_enter(context); }));
    assert_ptr_equal(xctx_current(), context);
    set_shared(1);
    assert_true(throws([=] { xctx_exit(context); }));
    assert_ptr_equal(xctx_current(), before);
    assert_int_equal(watching.calls, 2);
    assert_int_equal(xctx_unwatch(id), 0);
    xctx_unref(context);
    assert_int_equal(shared::live, 0);
}

TEST(watcher_that_has_thrown_is_called_again)
{
    watching watching = {0, true};
    xctx_context *context = xctx_new();
    int id = xctx_watch(throwing_watcher, &watching);
    assert_true(throws([=] { xctx_enter(context); }));
    watching.throws = false;
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(watching.calls, 3);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_unwatch(id), 0);
    xctx_unref(context);
}

/* The count of those that are in the watcher would otherwise never come down to 0. */
TEST(unwatch_elsewhere_of_a_watcher_that_has_thrown_does_not_wait)
{
    watching watching = {0, true};
    xctx_context *context = xctx_new();
    int id = xctx_watch(throwing_watcher, &watching);
    assert_true(throws([=] { xctx_enter(context); }));
    int error = -1;
    std::thread elsewhere([&] { error = xctx_unwatch(id); });
    elsewhere.join();
    assert_int_equal(error, 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(watching.calls, 1);
    /* The place is free again. */
    assert_int_equal(xctx_watch(throwing_watcher, &watching), id);
    assert_int_equal(xctx_unwatch(id), 0);
    xctx_unref(context);
}

int main()
{
    test_live_values = live_values;
    return test_main("exceptions");
}

#else

int main()
{
    return 77; /* skipped */
}

#endif
