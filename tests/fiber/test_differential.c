/* SPDX-License-Identifier: MIT */
/*
 * Fibers against ucontext, and against Boost.Context's fcontext where that is installed: random programs of coroutines
 * that resume each other and yield at any depth of calls, in rounding modes of their own, must leave the same trace.
 */
#include <fenv.h>
#include <ucontext.h>

#include "fiber_support.h"

enum { COROUTINES = 12, STEPS = 4000, DEPTH_MOST = 6, STACK = 64 << 10, PROGRAMS = 6 };

static const int roundings[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

/* What runs the programs. */
struct engine {
    void (*create)(int which);
    void (*resume)(int which);
    void (*yield)(int which);
    void (*end)(int which);
};

static const struct engine *engine;
static uint64_t trace;
static unsigned seed;
static int steps;
static bool running[COROUTINES], is_done[COROUTINES];

static unsigned next_random(void)
{
    seed = seed * 1664525u + 1013904223u;
    return seed >> 12;
}

static void note(uint64_t what)
{
    trace = (trace ^ what) * UINT64_C(0x100000001b3);
}

static double third(void)
{
    volatile double one = 1, three = 3;

    return one / three;
}

static void note_double(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    note(bits);
}

static void resume_some(int self);

/* A few calls deep, with values in as many registers as the compiler likes, over each switch. */
static __attribute__((noinline)) long wander(int self, int depth, long a, long b, long c, long d, long e)
{
    const double before = third();
    char bytes[48];

    memset(bytes, self + depth, sizeof(bytes));
    while (steps > 0) {
        steps--;
        switch (next_random() % 5) {
        case 0:
            if (depth < DEPTH_MOST)
                a += wander(self, depth + 1, b, c, d, e, a);
            break;
        case 1:
            engine->yield(self);
            break;
        case 2:
            resume_some(self);
            break;
        case 3:
            note((uint64_t)(a * 3 + b * 5 + c * 7 + d * 11 + e * 13 + self));
            break;
        default:
            if (depth > 0 && next_random() % 3 == 0)
                goto out;
        }
        CHECK(bytes[0] == self + depth && bytes[sizeof(bytes) - 1] == self + depth);
        /* The rounding mode is the coroutine's own, again. */
        note_double(before - third());
        CHECK(before == third());
    }
out:
    return a ^ b ^ c ^ d ^ e;
}

static void play(int self)
{
    fesetround(roundings[self % 4]);
    note((uint64_t)wander(self, 0, self, self + 1, self + 2, self + 3, self + 4));
    note_double(third());
}

/* Any coroutine that does not run, nor wait for another. */
static void resume_some(int self)
{
    int other = (int)(next_random() % COROUTINES);

    if (other == self || running[other] || is_done[other])
        return;
    note((uint64_t)other);
    running[other] = true;
    engine->resume(other);
    running[other] = false;
}

static uint64_t run_program(const struct engine *with, unsigned number_of_program)
{
    engine = with;
    trace = UINT64_C(0xcbf29ce484222325);
    seed = number_of_program;
    steps = STEPS;
    memset(running, 0, sizeof(running));
    memset(is_done, 0, sizeof(is_done));
    for (int i = 0; i < COROUTINES; i++)
        with->create(i);
    while (steps > 0) {
        resume_some(-1);
        CHECK(fegetround() == FE_TONEAREST);
        steps--;
    }
    /* What is left runs to its end. */
    for (int i = 0; i < COROUTINES; i++)
        while (!is_done[i])
            with->resume(i);
    for (int i = 0; i < COROUTINES; i++)
        with->end(i);
    return trace;
}

/* ---- fibers, and fibers each resume of which is of a copy ---- */

static xctx_fiber *fibers[COROUTINES];

static void *play_fiber(void *argument)
{
    play((int)as_number(argument));
    return NULL;
}

static void fiber_create(int which)
{
    fibers[which] = make(play_fiber, number(which));
}

static void fiber_resume(int which)
{
    int status = xctx_fiber_resume(fibers[which], NULL, NULL);

    CHECK(status >= 0);
    is_done[which] = status == 0;
}

static void fiber_yield(int which)
{
    (void)which;
    xctx_fiber_yield(NULL);
}

static void fiber_end(int which)
{
    fibers[which] = xctx_fiber_unref(fibers[which]);
}

static const struct engine by_fiber = {fiber_create, fiber_resume, fiber_yield, fiber_end};

static void shot_resume(int which)
{
    xctx_continuation *continuation;
    xctx_fiber *fiber = fibers[which];

    CHECK(xctx_fiber_capture(fiber, &continuation) == 0);
    CHECK(xctx_continuation_shot(continuation, &fibers[which]) == 0);
    xctx_fiber_unref(fiber);
    xctx_continuation_unref(continuation);
    fiber_resume(which);
}

static const struct engine by_shot = {fiber_create, shot_resume, fiber_yield, fiber_end};

/* ---- ucontext ---- */

/* Sanitizers do not know of the peers' switches. */
static void skip_unless_peers_work(void)
{
    if (TEST_ASAN || TEST_TSAN)
        skip();
}

static ucontext_t contexts[COROUTINES], resumers[COROUTINES];
static char *stacks[COROUTINES];

static void play_context(int which)
{
    play(which);
    is_done[which] = true;
}

static void context_create(int which)
{
    stacks[which] = calloc(1, STACK);
    CHECK(stacks[which]);
    CHECK(getcontext(&contexts[which]) == 0);
    contexts[which].uc_stack.ss_sp = stacks[which];
    contexts[which].uc_stack.ss_size = STACK;
    contexts[which].uc_link = &resumers[which];
    makecontext(&contexts[which], (void (*)(void))play_context, 1, which);
}

static void context_resume(int which)
{
    CHECK(swapcontext(&resumers[which], &contexts[which]) == 0);
}

static void context_yield(int which)
{
    CHECK(swapcontext(&contexts[which], &resumers[which]) == 0);
}

static void stack_end(int which)
{
    free(stacks[which]);
}

static const struct engine by_context = {context_create, context_resume, context_yield, stack_end};

TEST(fibers_do_what_ucontext_does)
{
    skip_unless_peers_work();
    for (unsigned program = 1; program <= PROGRAMS; program++) {
        uint64_t expected = run_program(&by_context, program);
        assert_true(run_program(&by_context, program + 100) != expected); /* programs differ */
        assert_true(run_program(&by_fiber, program) == expected);
    }
}

TEST(shots_do_what_ucontext_does)
{
    skip_unless_peers_work();
    for (unsigned program = 1; program <= PROGRAMS; program++) {
        uint64_t expected = run_program(&by_context, program);
        assert_true(run_program(&by_shot, program) == expected);
    }
}

/* ---- fcontext ---- */

#ifdef XCTX_TEST_FCONTEXT
struct transfer {
    void *from;
    void *data;
};

/* As Boost.Context's headers for C++ declare them. */
struct transfer jump_fcontext(void *to, void *data);
void *make_fcontext(void *top, size_t size, void (*fn)(struct transfer));

static void *jumps[COROUTINES], *backs[COROUTINES];

static void play_jump(struct transfer from)
{
    int which = (int)as_number(from.data);

    backs[which] = from.from;
    play(which);
    is_done[which] = true;
    jump_fcontext(backs[which], NULL);
}

static void jump_create(int which)
{
    stacks[which] = calloc(1, STACK);
    CHECK(stacks[which]);
    jumps[which] = make_fcontext(stacks[which] + STACK, STACK, play_jump);
}

static void jump_resume(int which)
{
    jumps[which] = jump_fcontext(jumps[which], number(which)).from;
}

static void jump_yield(int which)
{
    backs[which] = jump_fcontext(backs[which], NULL).from;
}

static const struct engine by_jump = {jump_create, jump_resume, jump_yield, stack_end};

TEST(fibers_do_what_fcontext_does)
{
    skip_unless_peers_work();
    for (unsigned program = 1; program <= PROGRAMS; program++) {
        uint64_t expected = run_program(&by_jump, program);
        assert_true(run_program(&by_fiber, program) == expected);
        assert_true(run_program(&by_shot, program) == expected);
    }
}
#endif

int main(void)
{
    return test_main("fibers against others");
}
