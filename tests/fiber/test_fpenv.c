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

/* ---- all of control ---- */

/* Each differs from the default by one bit: rounding, how small numbers are treated, traps, precision. */
#define BIT(n) (UINT64_C(1) << (n))
#if defined(__x86_64__)
enum { FLAGS = 0x3f };
static const uint64_t control_bits[] = {BIT(6), BIT(9), BIT(13), BIT(15), BIT(32 + 2), BIT(32 + 8), BIT(32 + 10)};

static uint64_t control(void)
{
    uint32_t mxcsr;
    uint16_t x87;

    __asm__ volatile("stmxcsr %0\n\tfnstcw %1" : "=m"(mxcsr), "=m"(x87));
    return (mxcsr & ~(uint32_t)FLAGS) | (uint64_t)x87 << 32;
}

static void set_control(uint64_t value)
{
    uint32_t mxcsr = (uint32_t)value;
    uint16_t x87 = (uint16_t)(value >> 32);

    __asm__ volatile("ldmxcsr %0\n\tfldcw %1" : : "m"(mxcsr), "m"(x87));
}
#elif defined(__aarch64__)
static const uint64_t control_bits[] = {BIT(22), BIT(24), BIT(25), BIT(26)};

static uint64_t control(void)
{
    uint64_t value;

    __asm__ volatile("mrs %0, fpcr" : "=r"(value));
    return value;
}

static void set_control(uint64_t value)
{
    __asm__ volatile("msr fpcr, %0" : : "r"(value));
}
#endif
enum { CONTROL_BITS = sizeof(control_bits) / sizeof(control_bits[0]) };

static void *change_control(void *bit)
{
    uint64_t changed = control() ^ (uint64_t)as_number(bit);

    set_control(changed);
    for (size_t i = 0; i <= CONTROL_BITS; i++) {
        xctx_fiber_yield(NULL);
        CHECK(control() == changed);
    }
    return NULL;
}

TEST(each_bit_of_control_stays_where_it_was_set)
{
    const uint64_t before = control();

    for (size_t inside = 0; inside < CONTROL_BITS; inside++) {
        xctx_fiber *fiber = make(change_control, number((long)control_bits[inside]));
        step(fiber, NULL);
        assert_true(control() == before);
        for (size_t outside = 0; outside < CONTROL_BITS; outside++) {
            set_control(before ^ control_bits[outside]);
            step(fiber, NULL);
            uint64_t after = control();
            set_control(before);
            assert_true(after == (before ^ control_bits[outside]));
        }
        last_step(fiber, NULL);
        assert_true(control() == before);
    }
}

int main(void)
{
    return test_main("floating point in fibers");
}
