// SPDX-License-Identifier: MIT
//
// Shots that exceptions, and ends of threads, go through: what is on their stacks is destroyed once in each of them,
// the stack goes on to the next, and other threads get their turns.
#include <atomic>
#include <stdexcept>
#include <vector>

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
extern "C" {
#include <cmocka.h> // says nothing of C++ itself
}

#include "test.h"

// Designated initializers are C++20.
#pragma GCC diagnostic ignored "-Wc++20-extensions"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

// musl does not unwind the stack of a thread that ends, and ThreadSanitizer does not allow threads to end in fibers.
#if defined(__GLIBC__) && !TEST_TSAN
static const bool can_exit = true;
#else
static const bool can_exit = false;
#endif
static const int threads = 4, depth = 4;

XCTX_VAR_DEFINE(level_of);

static std::atomic<long> begun, destroyed, thrown, exited, ended, dropped;
static xctx_continuation *continuation;
static long wanted;

static uint32_t next_random(uint32_t &state)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

// Its destructor runs once for each shot that began.
struct noticed {
    ~noticed()
    {
        destroyed++;
    }
};

enum told { GO_ON, THROW, CATCH, EXIT };

struct deep : std::runtime_error {
    using std::runtime_error::runtime_error;
};

static void descend(long level)
{
    noticed here;

    XCTX_LET (&level_of, number(level)) {
        if (level < depth) {
            descend(level + 1);
        } else {
            for (;;) {
                long in = as_number(xctx_fiber_yield(number(level)));
                CHECK(as_number(xctx_var_get(&level_of)) == depth);
                if (in == THROW)
                    throw deep("not caught in the fiber");
                if (in == EXIT)
                    pthread_exit(number(EXIT));
                if (in == GO_ON)
                    break;
                try {
                    throw std::runtime_error("caught in the fiber");
                } catch (const std::runtime_error &) {
                    xctx_fiber_yield(number(CATCH)); // cannot be captured here
                }
            }
        }
    }
}

static void *start(void *argument)
{
    descend(0);
    CHECK(xctx_var_get(&level_of) == nullptr);
    return argument;
}

// Gives a shot up whatever becomes of the thread.
struct owned {
    xctx_fiber *fiber = nullptr;

    owned()
    {
        CHECK(xctx_continuation_shot(continuation, &fiber) == 0);
    }
    ~owned()
    {
        xctx_fiber_unref(fiber);
    }
    owned(const owned &) = delete;
    owned &operator=(const owned &) = delete;
};

static void check_that_it_cannot_be_captured(xctx_fiber *fiber)
{
    xctx_continuation *another = nullptr;
    int error = xctx_fiber_capture(fiber, &another);

    CHECK(error == -EPERM && !another);
}

static void play_once(uint32_t &random, bool may_exit)
{
    owned shot;
    void *out = nullptr;
    long in = (long)(next_random(random) % (may_exit ? 5 : 3));

    if (in > EXIT || (in == EXIT && !can_exit)) {
        dropped++;
        return;
    }
    begun++;
    while (in == CATCH) {
        CHECK(xctx_fiber_resume(shot.fiber, number(CATCH), &out) == 1 && as_number(out) == CATCH);
        check_that_it_cannot_be_captured(shot.fiber);
        if (next_random(random) % 2)
            sched_yield();
        CHECK(xctx_fiber_resume(shot.fiber, nullptr, &out) == 1 && as_number(out) == depth);
        in = (long)(next_random(random) % 3);
    }
    try {
        if (in == EXIT)
            exited++;
        CHECK(xctx_fiber_resume(shot.fiber, number(in), &out) == 0);
        CHECK(in == GO_ON && as_number(out) == 5);
        ended++;
    } catch (const deep &) {
        CHECK(in == THROW);
        thrown++;
        CHECK(xctx_var_get(&level_of) == nullptr);
        CHECK(xctx_fiber_resume(shot.fiber, nullptr, nullptr) == -EINVAL);
    }
}

static void *play(void *argument)
{
    uint32_t random = (uint32_t)as_number(argument);

    for (long i = 0; i < wanted; i++)
        play_once(random, false);
    play_once(random, true);
    return nullptr;
}

static void capture_deep()
{
    xctx_fiber *fiber = xctx_fiber_create(start, number(5), nullptr);

    CHECK(fiber && xctx_fiber_resume(fiber, nullptr, nullptr) == 1);
    CHECK(xctx_fiber_capture(fiber, &continuation) == 0);
    xctx_fiber_unref(fiber);
}

static void play_on_threads(uint32_t seed)
{
    std::vector<pthread_t> ids;

    for (int i = 0; i < threads; i++) {
        pthread_t thread;
        next_random(seed);
        CHECK(pthread_create(&thread, nullptr, play, number((long)seed)) == 0);
        ids.push_back(thread);
    }
    for (pthread_t thread : ids)
        CHECK(pthread_join(thread, nullptr) == 0);
}

TEST(shots_that_are_unwound_are_destroyed_once_and_leave_the_stack)
{
    capture_deep();
    wanted = scaled(5000);
    play_on_threads(1);
    continuation = xctx_continuation_unref(continuation);
    assert_int_equal(begun, thrown + exited + ended);
    assert_int_equal(destroyed, begun * (depth + 1));
    assert_true(thrown > 0 && ended > 0);
}

TEST(threads_that_end_in_shots_let_others_have_their_turns)
{
    capture_deep();
    wanted = 5;
    for (long i = 0; i < scaled(200); i++)
        play_on_threads((uint32_t)i + 1);
    continuation = xctx_continuation_unref(continuation);
    assert_int_equal(begun, thrown + exited + ended);
    assert_int_equal(destroyed, begun * (depth + 1));
    assert_true(dropped > 0 && (exited > 0 || !can_exit));
}

// ---- cancellation ----

#if defined(__GLIBC__) && !TEST_TSAN

static std::atomic<int> waiting;

static void *wait_to_be_cancelled(void *)
{
    noticed here;

    xctx_fiber_yield(nullptr);
    waiting++;
    for (;;) {
        pthread_testcancel();
        sched_yield();
    }
    return nullptr;
}

static void *resume_for_ever(void *)
{
    owned shot;

    xctx_fiber_resume(shot.fiber, nullptr, nullptr);
    CHECK(false);
    return nullptr;
}

TEST(cancelled_thread_gives_up_its_turn)
{
    xctx_fiber *fiber = xctx_fiber_create(wait_to_be_cancelled, nullptr, nullptr);
    pthread_t ids[2];
    const long before = destroyed;

    CHECK(fiber && xctx_fiber_resume(fiber, nullptr, nullptr) == 1);
    CHECK(xctx_fiber_capture(fiber, &continuation) == 0);
    xctx_fiber_unref(fiber);
    for (pthread_t &id : ids)
        CHECK(pthread_create(&id, nullptr, resume_for_ever, nullptr) == 0);
    for (pthread_t &id : ids)
        CHECK(pthread_cancel(id) == 0);
    for (pthread_t &id : ids) {
        void *result = nullptr;
        CHECK(pthread_join(id, &result) == 0);
        CHECK(result == PTHREAD_CANCELED);
    }
    // A thread that is cancelled while it waits for its turn gets that first.
    assert_true(waiting >= 1);
    assert_int_equal(destroyed - before, waiting);
    continuation = xctx_continuation_unref(continuation);
}
#endif

int main()
{
    return test_main("shots that are unwound");
}
