/* SPDX-License-Identifier: MIT */
/* Floating point in fibers: control goes along, flags stay. */
#include <fenv.h>

#include "fiber_support.h"

static void *set_rounding(void *argument)
{
    CHECK(fesetround((int)as_number(argument)) == 0);
    for (int i = 0; i < 4; i++) {
        xctx_fiber_yield(NULL);
        CHECK(fegetround() == (int)as_number(argument));
    }
    return NULL;
}

TEST(rounding_stays_with_the_fiber)
{
    xctx_fiber *up = make(set_rounding, number(FE_UPWARD));
    xctx_fiber *down = make(set_rounding, number(FE_DOWNWARD));

    for (int i = 0; i < 4; i++) {
        step(up, NULL);
        assert_int_equal(fegetround(), FE_TONEAREST);
        step(down, NULL);
        assert_int_equal(fegetround(), FE_TONEAREST);
    }
    last_step(up, NULL);
    assert_int_equal(fegetround(), FE_TONEAREST);
    last_step(down, NULL);
    assert_int_equal(fegetround(), FE_TONEAREST);
}

static void *raise_exception(void *argument)
{
    for (int i = 0; i < 4; i++) {
        feclearexcept(FE_ALL_EXCEPT);
        xctx_fiber_yield(NULL);
        CHECK(fetestexcept(FE_OVERFLOW | FE_DIVBYZERO) == FE_OVERFLOW);
    }
    feraiseexcept(FE_DIVBYZERO);
    return argument;
}

TEST(exception_flags_stay_with_the_thread)
{
    xctx_fiber *fiber = make(raise_exception, NULL);

    for (int i = 0; i < 4; i++) {
        step(fiber, NULL);
        assert_int_equal(fetestexcept(FE_OVERFLOW), 0);
        feraiseexcept(FE_OVERFLOW);
    }
    last_step(fiber, NULL);
    assert_int_equal(fetestexcept(FE_OVERFLOW | FE_DIVBYZERO), FE_OVERFLOW | FE_DIVBYZERO);
    feclearexcept(FE_ALL_EXCEPT);
}

static void *round_up_and_clear(void *argument)
{
    CHECK(fesetround(FE_UPWARD) == 0);
    for (int i = 0; i < 4; i++) {
        feclearexcept(FE_ALL_EXCEPT);
        xctx_fiber_yield(NULL);
        CHECK(fegetround() == FE_UPWARD);
        CHECK(fetestexcept(FE_OVERFLOW | FE_DIVBYZERO) == FE_OVERFLOW);
    }
    feraiseexcept(FE_DIVBYZERO);
    return argument;
}

TEST(control_and_flags_differ_at_once)
{
    xctx_fiber *fiber = make(round_up_and_clear, NULL);

    for (int i = 0; i < 4; i++) {
        step(fiber, NULL);
        assert_int_equal(fegetround(), FE_TONEAREST);
        assert_int_equal(fetestexcept(FE_OVERFLOW), 0);
        feraiseexcept(FE_OVERFLOW);
    }
    last_step(fiber, NULL);
    assert_int_equal(fegetround(), FE_TONEAREST);
    assert_int_equal(fetestexcept(FE_OVERFLOW | FE_DIVBYZERO), FE_OVERFLOW | FE_DIVBYZERO);
    feclearexcept(FE_ALL_EXCEPT);
}

int main(void)
{
    return test_main("floating point in fibers");
}
