/* SPDX-License-Identifier: MIT */
/* Threads that do nothing but give continuations back, at the same time: whoever is the last one gives the stack back,
 * once. */
#include <sched.h>

#include "test.h"
#include "threads.h"

enum { THREADS = 2, STACKS_MOST = 256 };

static xctx_continuation *_Atomic handed[THREADS];
static _Atomic long started;
static _Atomic long finished;

static void wait_for(const _Atomic long *counter, long wanted)
{
    for (unsigned tries = 0; atomic_load_explicit(counter, memory_order_acquire) < wanted; tries++)
        if (tries % 1024 == 1023)
            sched_yield();
}

/* Without a current context, and without anything else of the library's that is this thread's. */
static void *give_back(void *argument)
{
    long me = as_number(argument);

    for (long round = 1; wait_for(&started, round), handed[me]; round++) {
        for (volatile long i = 0; i < round % 64; i++)
            ;
        xctx_continuation_unref(handed[me]);
        atomic_fetch_add(&finished, 1);
    }
    return NULL;
}

static void *say_where(void *argument)
{
    char here;

    (void)argument;
    xctx_fiber_yield(&here);
    return NULL;
}

/* How many different ones there are. */
static int note(void **places, int count, void *place)
{
    for (int i = 0; i < count; i++)
        if (places[i] == place)
            return count;
    CHECK(count < STACKS_MOST);
    places[count] = place;
    return count + 1;
}

TEST(stack_is_given_back_by_the_last_of_many_threads)
{
    pthread_t threads[THREADS];
    void *places[STACKS_MOST];
    int count = 0;

    for (long i = 0; i < THREADS; i++)
        threads[i] = spawn(give_back, number(i));
    for (long round = 1; round <= scaled(100000); round++) {
        void *place = NULL;
        xctx_fiber *fiber = xctx_fiber_create(say_where, NULL, NULL);
        CHECK(fiber && xctx_fiber_resume(fiber, NULL, &place) == 1);
        count = note(places, count, place);
        for (int i = 0; i < THREADS; i++) {
            xctx_continuation *continuation = NULL;
            CHECK(xctx_fiber_capture(fiber, &continuation) == 0);
            handed[i] = continuation;
        }
        if (round % 2)
            fiber = xctx_fiber_unref(fiber);
        atomic_store(&started, round);
        xctx_fiber_unref(fiber);
        wait_for(&finished, THREADS * round);
    }
    for (int i = 0; i < THREADS; i++)
        handed[i] = NULL;
    atomic_fetch_add(&started, 1);
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    assert_true(count < STACKS_MOST);
}

int main(void)
{
    return test_main("continuations given back by many threads");
}
