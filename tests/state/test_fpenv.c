/* SPDX-License-Identifier: MIT */
/* The capsule of the floating-point environment. */
#include <fenv.h>
#include <math.h>

#include "state_support.h"

/* Valgrind computes without exception flags and traps. */
static bool flags_work(void)
{
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_INEXACT);
    bool work = fetestexcept(FE_INEXACT) != 0;
    feclearexcept(FE_ALL_EXCEPT);
    return work;
}

/* What one half is rounded to. Valgrind always divides to nearest, but converts as it is told. */
static long rounded_half(void)
{
    volatile double half = 0.5;
    return lrint(half);
}

static void round_upward(void)
{
    CHECK(fesetround(FE_UPWARD) == 0);
}

static void round_downward(void)
{
    CHECK(fesetround(FE_DOWNWARD) == 0);
}

static void apply_rounding(void)
{
    xctx_context *context = captured_elsewhere(round_upward);

    CHECK(fegetround() == FE_TONEAREST);
    CHECK(rounded_half() == 0);
    enter(context);
    CHECK(fegetround() == FE_UPWARD);
    CHECK(rounded_half() == 1);
    leave(context);
    CHECK(fegetround() == FE_TONEAREST);
    CHECK(rounded_half() == 0);
    xctx_unref(context);
}

TEST(fpenv_rounding_is_applied_on_enter_and_restored_on_exit)
{
    elsewhere(apply_rounding);
}

static void nest_rounding(void)
{
    xctx_context *up = captured_elsewhere(round_upward);
    xctx_context *down = captured_elsewhere(round_downward);

    CHECK(fesetround(FE_TOWARDZERO) == 0);
    enter(up);
    enter(down);
    CHECK(fegetround() == FE_DOWNWARD);
    leave(down);
    CHECK(fegetround() == FE_UPWARD);
    leave(up);
    CHECK(fegetround() == FE_TOWARDZERO);
    xctx_unref(up);
    xctx_unref(down);
}

TEST(fpenv_nested_enters_are_undone_one_by_one)
{
    elsewhere(nest_rounding);
}

static void change_inside(void)
{
    xctx_context *same = captured();

    enter(same);
    CHECK(fesetround(FE_UPWARD) == 0);
    leave(same);
    CHECK(fegetround() == FE_TONEAREST);
    xctx_unref(same);
}

TEST(fpenv_changed_by_the_work_is_restored_even_if_entering_changed_nothing)
{
    elsewhere(change_inside);
}

static void *enter_and_change(void *context)
{
    enter(context);
    CHECK(fegetround() == FE_DOWNWARD);
    CHECK(fesetround(FE_TOWARDZERO) == 0);
    feraiseexcept(FE_OVERFLOW);
    leave(context);
    return NULL;
}

static void keep_source(void)
{
    fenv_t before;
    fenv_t after;

    round_downward();
    memset(&before, 0, sizeof(before));
    memset(&after, 0, sizeof(after));
    fegetenv(&before);
    xctx_context *context = captured();
    fegetenv(&after);
    CHECK(memcmp(&before, &after, sizeof(before)) == 0);
    on_thread(enter_and_change, context);
    CHECK(fegetround() == FE_DOWNWARD);
    CHECK(!fetestexcept(FE_OVERFLOW));
    xctx_unref(context);
}

TEST(fpenv_of_the_source_thread_stays_as_it_is)
{
    elsewhere(keep_source);
}

static void raise_divbyzero(void)
{
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_DIVBYZERO);
}

static void carry_flags(void)
{
    xctx_context *context = captured_elsewhere(raise_divbyzero);

    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_UNDERFLOW);
    int own = fetestexcept(FE_ALL_EXCEPT);
    enter(context);
    CHECK(fetestexcept(FE_ALL_EXCEPT) == FE_DIVBYZERO);
    feraiseexcept(FE_INVALID);
    leave(context);
    CHECK(fetestexcept(FE_ALL_EXCEPT) == own);
    /* The value did not take in what was raised inside. */
    enter(context);
    CHECK(fetestexcept(FE_ALL_EXCEPT) == FE_DIVBYZERO);
    leave(context);
    xctx_unref(context);
}

TEST(fpenv_exception_flags_follow_the_work_and_do_not_leak_out_of_it)
{
    if (!flags_work())
        skip();
    elsewhere(carry_flags);
}

#ifdef __GLIBC__
static void trap_overflow(void)
{
    CHECK(feenableexcept(FE_OVERFLOW) != -1);
}

static void carry_traps(void)
{
    xctx_context *context = captured_elsewhere(trap_overflow);

    CHECK(fegetexcept() == 0);
    enter(context);
    CHECK(fegetexcept() == FE_OVERFLOW);
    leave(context);
    CHECK(fegetexcept() == 0);
    xctx_unref(context);
}

static void *can_trap(void *arg)
{
    (void)arg;
    return number(feenableexcept(FE_OVERFLOW) != -1 && fegetexcept() == FE_OVERFLOW);
}

TEST(fpenv_traps_are_applied_on_enter_and_restored_on_exit)
{
    /* Many aarch64 processors have none. */
    if (!as_number(on_thread(can_trap, NULL)))
        skip();
    elsewhere(carry_traps);
}
#endif

#if defined(__x86_64__)
enum { FLUSH_TO_ZERO = 0x8000 };

static void flush_to_zero(void)
{
    __builtin_ia32_ldmxcsr(__builtin_ia32_stmxcsr() | FLUSH_TO_ZERO);
}

static void carry_control_word(void)
{
    xctx_context *context = captured_elsewhere(flush_to_zero);

    CHECK(!(__builtin_ia32_stmxcsr() & FLUSH_TO_ZERO));
    enter(context);
    CHECK(__builtin_ia32_stmxcsr() & FLUSH_TO_ZERO);
    leave(context);
    CHECK(!(__builtin_ia32_stmxcsr() & FLUSH_TO_ZERO));
    xctx_unref(context);
}

static void *can_flush(void *arg)
{
    (void)arg;
    flush_to_zero();
    return number(__builtin_ia32_stmxcsr() & FLUSH_TO_ZERO);
}

TEST(fpenv_holds_what_the_standard_has_no_name_for)
{
    if (!as_number(on_thread(can_flush, NULL)))
        skip();
    elsewhere(carry_control_word);
}
#endif

static void tell(void)
{
    feclearexcept(FE_ALL_EXCEPT);
    feraiseexcept(FE_DIVBYZERO);
    feraiseexcept(FE_INVALID);
    round_upward();
    xctx_context *context = captured();
    CHECK(fesetround(FE_TONEAREST) == 0);
    feclearexcept(FE_ALL_EXCEPT);
    check_format(context, &xctx_state_fpenv, "rounding upward, raised invalid,divide-by-zero, traps none");
    CHECK(fegetround() == FE_TONEAREST);
    CHECK(!fetestexcept(FE_ALL_EXCEPT));
    xctx_unref(context);
    check_null_value(&xctx_state_fpenv);
}

TEST(fpenv_format_tells_rounding_flags_and_traps)
{
    if (!flags_work())
        skip();
    elsewhere(tell);
}

int main(void)
{
    return test_main("capsule fpenv");
}
