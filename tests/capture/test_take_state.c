/* SPDX-License-Identifier: MIT */
/* Taking a snapshot of oneself: the state is the thread's own. */
#include <fenv.h>
#include <locale.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>

#include "capture_support.h"

#include "capture/snapshot_internal.h"

static void *check_name(void *arg)
{
    (void)arg;
    CHECK(prctl(PR_SET_NAME, "fifteen letters", 0, 0, 0) == 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    const xctx_thread_state *state = state_of(snapshot);
    CHECK(state->present & XCTX_THREAD_NAME && strcmp(state->name, "fifteen letters") == 0);
    CHECK(state->tid == own_tid() && state->tid != getpid());
    CHECK(state->pid == getpid());
    xctx_snapshot_unref(snapshot);
    return NULL;
}

TEST(state_has_name_and_ids)
{
    on_thread(check_name, NULL);
    for (unsigned capture = 0; capture <= XCTX_CAPTURE_ALL; capture++) {
        xctx_snapshot *snapshot = xctx_snapshot_take(capture);
        const xctx_thread_state *state = state_of(snapshot);
        assert_int_equal(state->size, sizeof(*state));
        assert_true(state->present & XCTX_THREAD_IDS);
        assert_int_equal(state->tid, own_tid());
        assert_int_equal(state->pid, getpid());
        assert_int_equal(state->reserved, 0);
        xctx_snapshot_unref(snapshot);
    }
}

static uint64_t bits_of(const sigset_t *set)
{
    uint64_t bits = 0;
    for (int i = 1; i <= 64; i++)
        bits |= (uint64_t)(sigismember(set, i) == 1) << (i - 1);
    return bits;
}

TEST(state_has_signals_that_are_blocked_and_that_wait)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigaddset(&set, SIGRTMIN + 3);
    assert_int_equal(pthread_sigmask(SIG_BLOCK, &set, &old), 0);
    assert_int_equal(raise(SIGUSR2), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    const xctx_thread_state *state = state_of(snapshot);

    assert_true(state->present & XCTX_THREAD_SIGMASK);
    uint64_t pending = state->pending, blocked = state->blocked;
    int got = 0;
    uint64_t both = bits_of(&set);
    sigdelset(&set, SIGRTMIN + 3);
    assert_int_equal(sigwait(&set, &got), 0);
    assert_int_equal(pthread_sigmask(SIG_SETMASK, &old, NULL), 0);
    assert_int_equal(blocked, bits_of(&old) | both);
    assert_int_equal(pending, UINT64_C(1) << (SIGUSR2 - 1));
    xctx_snapshot_unref(snapshot);
}

TEST(state_has_the_floating_point_environment)
{
    static const int modes[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        assert_int_equal(fesetround(modes[i]), 0);
        feclearexcept(FE_ALL_EXCEPT);
        feraiseexcept(i % 2 ? FE_OVERFLOW : FE_DIVBYZERO);
        int raised = fetestexcept(FE_ALL_EXCEPT);
        xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
        int after = fetestexcept(FE_ALL_EXCEPT);
        int mode = fegetround();
        feclearexcept(FE_ALL_EXCEPT);
        fesetround(FE_TONEAREST);
        const xctx_thread_state *state = state_of(snapshot);
        assert_true(state->present & XCTX_THREAD_FENV);
        assert_int_equal(state->rounding_mode, modes[i]);
        assert_int_equal(state->fp_exceptions, raised);
        assert_int_equal(after, raised);
        assert_int_equal(mode, modes[i]);
        xctx_snapshot_unref(snapshot);
    }
}

TEST(state_has_the_global_locale)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    assert_true(state_of(snapshot)->present & XCTX_THREAD_LOCALE);
    assert_string_equal(state_of(snapshot)->locale, setlocale(LC_ALL, NULL));
    xctx_snapshot_unref(snapshot);
}

#ifdef __GLIBC__
static const char *mixed = "LC_CTYPE=C.UTF-8;LC_NUMERIC=C;LC_TIME=C.UTF-8;LC_COLLATE=C.UTF-8;LC_MONETARY=C.UTF-8;"
                           "LC_MESSAGES=C.UTF-8";

TEST(state_has_the_global_locale_where_categories_differ)
{
    assert_non_null(setlocale(LC_ALL, "C.UTF-8"));
    assert_non_null(setlocale(LC_NUMERIC, "C"));
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    setlocale(LC_ALL, "C");
    assert_true(state_of(snapshot)->present & XCTX_THREAD_LOCALE);
    assert_string_equal(state_of(snapshot)->locale, mixed);
    xctx_snapshot_unref(snapshot);
}

static void *check_own_locale(void *arg)
{
    locale_t base = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0);
    CHECK(base);
    uselocale(base);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    CHECK(strcmp(state_of(snapshot)->locale, "C.UTF-8") == 0);
    xctx_snapshot_unref(snapshot);
    locale_t one = newlocale(LC_NUMERIC_MASK, "C", base);
    CHECK(one);
    uselocale(one);
    snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    CHECK(strcmp(state_of(snapshot)->locale, mixed) == 0);
    xctx_snapshot_unref(snapshot);
    uselocale(LC_GLOBAL_LOCALE);
    freelocale(one);
    return arg;
}

TEST(state_has_the_threads_own_locale)
{
    on_thread(check_own_locale, NULL);
}
#endif

/* A snapshot's memory is not cleared before: nothing of what was there may show. */
static void *check_affinity(void *arg)
{
    cpu_set_t set, all;
    CHECK(sched_getaffinity(0, sizeof(all), &all) == 0);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &all))
            continue;
        CPU_ZERO(&set);
        CPU_SET(cpu, &set);
        if (sched_setaffinity(0, sizeof(set), &set) != 0)
            continue;
        xctx_snapshot *first = xctx_snapshot_take(XCTX_CAPTURE_STATE);
        void *dirt = malloc(first->size);
        memset(dirt, 0xd1, first->size);
        __asm__ volatile("" : : "r"(dirt) : "memory");
        free(dirt);
        xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
        const xctx_thread_state *state = state_of(snapshot);
        CHECK(state->present & XCTX_THREAD_AFFINITY);
        for (unsigned i = 0; i < 16; i++)
            CHECK(state->affinity[i] == (i == (unsigned)cpu / 64 ? UINT64_C(1) << cpu % 64 : 0));
        CHECK(state->present & XCTX_THREAD_CPU && state->cpu == cpu);
        xctx_snapshot_unref(snapshot);
        xctx_snapshot_unref(first);
    }
    return arg;
}

TEST(state_has_the_processors_that_the_thread_may_run_on)
{
    on_thread(check_affinity, NULL);
}

static void *check_nice(void *arg)
{
    CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    const xctx_thread_state *state = state_of(snapshot);
    CHECK(state->present & XCTX_THREAD_SCHED);
    CHECK(state->nice == 7 && state->policy == SCHED_OTHER && state->priority == 0);
    xctx_snapshot_unref(snapshot);
    /* Where one is allowed to: a real-time policy, behind which the nice value is still there. */
    struct sched_param param = {.sched_priority = 3};
    if (sched_setscheduler(0, SCHED_FIFO, &param) == 0) {
        snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
        state = state_of(snapshot);
        CHECK(state->policy == SCHED_FIFO && state->priority == 3 && state->nice == 7);
        xctx_snapshot_unref(snapshot);
    }
    return arg;
}

TEST(state_has_policy_priority_and_nice)
{
    on_thread(check_nice, NULL);
}

TEST(state_has_errno_and_taking_does_not_change_it)
{
    for (unsigned capture = 0; capture <= XCTX_CAPTURE_ALL; capture++) {
        errno = 4711;
        xctx_snapshot *snapshot = xctx_snapshot_take(capture);
        int after = errno;
        assert_int_equal(after, 4711);
        const xctx_thread_state *state = state_of(snapshot);
        assert_int_equal((state->present & XCTX_THREAD_ERRNO) != 0, (capture & XCTX_CAPTURE_STATE) != 0);
        if (capture & XCTX_CAPTURE_STATE)
            assert_int_equal(state->error_number, 4711);
        xctx_snapshot_unref(snapshot);
    }
    errno = 0;
}

static int64_t now(clockid_t clock)
{
    struct timespec time;
    CHECK(clock_gettime(clock, &time) == 0);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

TEST(state_has_the_times)
{
    int64_t time = 77, cpu = now(CLOCK_THREAD_CPUTIME_ID), before = now(CLOCK_REALTIME);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STATE);
    const xctx_thread_state *state = state_of(snapshot);

    assert_true(state->present & XCTX_THREAD_TIME);
    assert_int_equal(xctx_snapshot_time(snapshot, &time), 0);
    assert_true(time == state->time && time >= before && time <= now(CLOCK_REALTIME));
    assert_true(state->cpu_time >= cpu && state->cpu_time <= now(CLOCK_THREAD_CPUTIME_ID));
    xctx_snapshot_unref(snapshot);
}

TEST(time_is_refused_where_it_was_not_captured)
{
    int64_t time = 77;
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STACK);

    assert_int_equal(xctx_snapshot_time(snapshot, &time), -ENODATA);
    assert_int_equal(xctx_snapshot_time(NULL, &time), -EINVAL);
    assert_int_equal(xctx_snapshot_time(snapshot, NULL), -EINVAL);
    assert_int_equal(time, 77);
    xctx_snapshot_unref(snapshot);
}

int main(void)
{
    return test_main("states of snapshots");
}
