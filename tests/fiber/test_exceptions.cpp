// SPDX-License-Identifier: MIT
// C++ exceptions in fibers: caught there, handled while others run, and not caught.
#include <cxxabi.h>
#include <exception>
#include <stdexcept>
#include <string>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h> // says nothing of C++ itself
}

#include "fiber_support.h"

// Designated initializers are C++20.
#pragma GCC diagnostic ignored "-Wc++20-extensions"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

static void *catch_own(void *argument)
{
    try {
        throw std::runtime_error("own");
    } catch (const std::exception &error) {
        return std::string(error.what()) == "own" ? argument : nullptr;
    }
}

TEST(exception_is_caught_in_the_fiber)
{
    assert_ptr_equal(last_step(make(catch_own, number(1)), nullptr), number(1));
}

static void *yield_while_handling(void *argument)
{
    try {
        throw std::runtime_error(as_number(argument) == 1 ? "one" : "two");
    } catch (const std::exception &) {
        for (int i = 0; i < 4; i++)
            xctx_fiber_yield(nullptr);
        try {
            throw;
        } catch (const std::exception &again) {
            return number(again.what()[0]);
        }
    }
}

TEST(exceptions_that_are_handled_go_along_with_their_fibers)
{
    xctx_fiber *one = make(yield_while_handling, number(1));
    xctx_fiber *two = make(yield_while_handling, number(2));

    for (int i = 0; i < 4; i++) {
        step(one, nullptr);
        step(two, nullptr);
        assert_true(std::current_exception() == nullptr);
    }
    assert_int_equal(as_number(last_step(one, nullptr)), 'o');
    assert_int_equal(as_number(last_step(two, nullptr)), 't');
}

TEST(handler_resumes_a_fiber_that_throws)
{
    xctx_fiber *fiber = make(yield_while_handling, number(1));
    int caught = 0;

    try {
        throw 5;
    } catch (int number) {
        step(fiber, nullptr);
        step(fiber, nullptr);
        caught = number;
        assert_true(std::current_exception() != nullptr);
        try {
            throw;
        } catch (int again) {
            caught += again;
        }
    }
    assert_int_equal(caught, 10);
    step(fiber, nullptr);
    step(fiber, nullptr);
    assert_int_equal(as_number(last_step(fiber, nullptr)), 'o');
}

// A thread that gets what is left of another one resumes the fibers of that in the quickest way from the beginning,
// when it does not know its exceptions yet.
static void *return_argument(void *argument)
{
    return argument;
}

static void *resume_another_if_asked(void *argument)
{
    for (;;)
        if (xctx_fiber_yield(nullptr))
            last_step(make_with(return_argument, argument, XCTX_FIBER_CONTEXT_NONE), nullptr);
    return argument;
}

static void *resume_some_times(void *argument)
{
    for (int i = 0; i < 4; i++)
        step(static_cast<xctx_fiber *>(argument), nullptr);
    return nullptr;
}

// The first word of what the C++ library has of a thread: the exception that it handles.
static bool handles_any()
{
    return *reinterpret_cast<void **>(abi::__cxa_get_globals()) != nullptr;
}

static void *resume_first_of_all(void *argument)
{
    xctx_unref(xctx_new());
    step(static_cast<xctx_fiber *>(argument), number(1));
    CHECK(!handles_any());
    return nullptr;
}

TEST(thread_that_inherits_a_fiber_has_no_exceptions)
{
    xctx_fiber *fiber = make(resume_another_if_asked, nullptr);

    for (void *(*fn)(void *) : {resume_some_times, resume_first_of_all}) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, nullptr, fn, fiber), 0);
        assert_int_equal(pthread_join(thread, nullptr), 0);
    }
    xctx_fiber_unref(fiber);
}

XCTX_VAR_DEFINE(exception_var);

static int destroyed;

struct noticing {
    ~noticing()
    {
        destroyed++;
    }
};

static void *throw_out(void *argument)
{
    noticing notice;

    CHECK(xctx_var_set(&exception_var, number(1), nullptr) == 0);
    if (as_number(argument) > 0)
        xctx_fiber_yield(nullptr);
    if (as_number(argument) > 1)
        xctx_fiber_yield(nullptr);
    if (as_number(argument) > 2)
        xctx_fiber_yield(nullptr);
    throw argument;
}

// Not inlined, so that there are callee-saved registers to restore.
static __attribute__((noinline)) long catch_from(xctx_fiber *fiber)
{
    try {
        noticing notice;
        for (;;)
            if (xctx_fiber_resume(fiber, nullptr, nullptr) != 1)
                return -1;
    } catch (void *thrown) {
        return as_number(thrown);
    }
}

TEST(exception_that_is_not_caught_goes_on_in_the_resumer)
{
    xctx_context *current = xctx_current();

    for (long yields = 0; yields < 4; yields++) {
        xctx_fiber *fiber = make(throw_out, number(yields));
        destroyed = 0;
        assert_int_equal(catch_from(fiber), yields);
        assert_int_equal(destroyed, 2);
        assert_ptr_equal(xctx_current(), current);
        assert_null(xctx_var_get(&exception_var));
        assert_null(xctx_fiber_current());
        assert_int_equal(xctx_fiber_resume(fiber, nullptr, nullptr), -EINVAL);
        xctx_fiber_unref(fiber);
    }
}

static void *throw_through(void *argument)
{
    xctx_fiber *inner = make(throw_out, argument);
    xctx_fiber **keep = static_cast<xctx_fiber **>(malloc(sizeof(*keep)));

    *keep = inner;
    struct freeing {
        xctx_fiber **kept;
        ~freeing()
        {
            xctx_fiber_unref(*kept);
            free(kept);
        }
    } notice{keep};
    while (xctx_fiber_resume(inner, nullptr, nullptr) == 1)
        xctx_fiber_yield(nullptr);
    return nullptr;
}

TEST(exception_goes_through_fibers_that_resumed_fibers)
{
    for (long yields = 0; yields < 4; yields++) {
        xctx_fiber *fiber = make(throw_through, number(yields));
        assert_int_equal(catch_from(fiber), yields);
        xctx_fiber_unref(fiber);
    }
}

// musl does not unwind the stack of a thread that ends; ThreadSanitizer's pthread_exit() checks that no fiber runs.
#if defined(__GLIBC__) && !TEST_TSAN
static int cleaned;

static void *exit_thread(void *argument)
{
    noticing notice;

    if (as_number(argument))
        xctx_fiber_yield(nullptr);
    pthread_exit(number(3));
}

static void *run_to_exit(void *argument)
{
    struct cleaning {
        ~cleaning()
        {
            cleaned++;
        }
    } cleaning;
    xctx_fiber *fiber = static_cast<xctx_fiber *>(argument);

    while (xctx_fiber_resume(fiber, nullptr, nullptr) == 1)
        ;
    return nullptr;
}

TEST(thread_that_ends_in_a_fiber_unwinds_that_and_its_own_stack)
{
    for (long yields = 0; yields < 2; yields++) {
        xctx_fiber *fiber = make(exit_thread, number(yields));
        destroyed = cleaned = 0;
        pthread_t thread;
        void *result = nullptr;
        assert_int_equal(pthread_create(&thread, nullptr, run_to_exit, fiber), 0);
        assert_int_equal(pthread_join(thread, &result), 0);
        assert_int_equal(as_number(result), 3);
        assert_int_equal(destroyed, 1);
        assert_int_equal(cleaned, 1);
        assert_int_equal(xctx_fiber_resume(fiber, nullptr, nullptr), -EINVAL);
        xctx_fiber_unref(fiber);
    }
}
#endif

static void *throw_if_told(void *)
{
    if (xctx_fiber_yield(nullptr))
        throw 3L;
    return nullptr;
}

static void look_on(xctx_context *, void *)
{
}

TEST(shot_after_one_that_threw_knows_nothing_of_what_was_handled_then)
{
    xctx_continuation *continuation = nullptr;
    xctx_fiber *fiber = make(throw_if_told, nullptr);
    xctx_fiber *shot = nullptr;
    bool caught = false;

    step(fiber, nullptr);
    int error = xctx_fiber_capture(fiber, &continuation);
    if (error == -ENOTSUP) { // AddressSanitizer keeps the frame elsewhere
        xctx_fiber_unref(fiber);
        skip();
    }
    assert_int_equal(error, 0);
    try {
        throw 1;
    } catch (int) {
        assert_int_equal(xctx_continuation_shot(continuation, &shot), 0);
        try {
            xctx_fiber_resume(shot, number(1), nullptr);
        } catch (long) {
            caught = true;
        }
        xctx_fiber_unref(shot);
    }
    assert_true(caught);
    assert_int_equal(xctx_continuation_shot(continuation, &shot), 0);
    int id = xctx_watch(look_on, nullptr); // so that C resumes
    last_step(shot, nullptr);
    assert_true(std::current_exception() == nullptr);
    assert_int_equal(xctx_unwatch(id), 0);
    xctx_continuation_unref(continuation);
    xctx_fiber_unref(fiber);
}

int main()
{
    return test_main("exceptions in fibers");
}
