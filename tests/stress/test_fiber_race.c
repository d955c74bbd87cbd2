/* SPDX-License-Identifier: MIT */
/* Fibers that many threads want: each step is done by exactly one of them, on the stack and in the context of the
 * fiber. */
#include "test.h"
#include "threads.h"

enum { THREADS = 4, FIBERS = 8 };

XCTX_VAR_DEFINE(steps_in_context);

static xctx_fiber *fibers[FIBERS];
static atomic_int running[FIBERS];
static atomic_long done[FIBERS];
static long wanted;

static void *count_steps(void *argument)
{
    long me = as_number(argument);
    volatile long on_stack = 0;

    for (long i = 0; i < wanted; i++) {
        CHECK(atomic_fetch_add(&running[me], 1) == 0);
        CHECK(on_stack == i && as_number(xctx_var_get(&steps_in_context)) == i);
        on_stack = i + 1;
        CHECK(xctx_var_set(&steps_in_context, number(i + 1), NULL) == 0);
        if (i % 16 == me)
            xctx_unref(xctx_copy_current());
        atomic_fetch_add(&done[me], 1);
        atomic_fetch_sub(&running[me], 1);
        CHECK(xctx_fiber_yield(number(i)) == number(me));
    }
    return number(-1);
}

/* Some threads stay with one fiber for a while, so that it becomes theirs and has to be taken from them. */
static void *resume_any(void *argument)
{
    unsigned random = (unsigned)as_number(argument) + 1;
    unsigned finished = 0;

    CHECK(xctx_var_get(&steps_in_context) == NULL);
    while (finished != (1u << FIBERS) - 1) {
        random = random * 1103515245u + 12345u;
        unsigned at = (random >> 16) % FIBERS;
        for (unsigned again = 0; again <= (random >> 20) % 32; again++) {
            void *out = NULL;
            int status = xctx_fiber_resume(fibers[at], number((long)at), &out);
            CHECK(status == 1 || status == 0 || status == -EBUSY || status == -EINVAL);
            CHECK((status == 0) == (out == number(-1)));
            CHECK(xctx_var_get(&steps_in_context) == NULL);
            if (status == -EINVAL)
                finished |= 1u << at;
            if (status != 1)
                break;
        }
    }
    return NULL;
}

TEST(each_step_of_a_fiber_is_done_by_one_thread)
{
    pthread_t threads[THREADS];

    wanted = scaled(100000);
    for (long i = 0; i < FIBERS; i++)
        CHECK((fibers[i] = xctx_fiber_create(count_steps, number(i), NULL)));
    for (long i = 0; i < THREADS; i++)
        threads[i] = spawn(resume_any, number(i));
    for (int i = 0; i < THREADS; i++)
        join(threads[i]);
    for (int i = 0; i < FIBERS; i++) {
        assert_int_equal(atomic_load(&done[i]), wanted);
        xctx_fiber_unref(fibers[i]);
    }
}

int main(void)
{
    return test_main("threads that race for fibers");
}
