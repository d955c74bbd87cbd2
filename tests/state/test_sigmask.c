/* SPDX-License-Identifier: MIT */
/* The capsule of the signal mask. */
#include <signal.h>

#include "state_support.h"

static bool blocked(int number)
{
    sigset_t set;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
    return sigismember(&set, number) == 1;
}

static void change(int how, int number)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, number);
    CHECK(pthread_sigmask(how, &set, NULL) == 0);
}

static void block_usr1(void)
{
    change(SIG_BLOCK, SIGUSR1);
}

static void block_all(void)
{
    sigset_t set;
    sigfillset(&set);
    CHECK(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
}

static void block_none(void)
{
    sigset_t set;
    sigemptyset(&set);
    CHECK(pthread_sigmask(SIG_SETMASK, &set, NULL) == 0);
}

static void apply(void)
{
    xctx_context *context = captured_elsewhere(block_usr1);

    change(SIG_BLOCK, SIGUSR2);
    enter(context);
    CHECK(blocked(SIGUSR1));
    CHECK(!blocked(SIGUSR2));
    leave(context);
    CHECK(!blocked(SIGUSR1));
    CHECK(blocked(SIGUSR2));
    xctx_unref(context);
}

TEST(sigmask_is_applied_on_enter_and_restored_on_exit)
{
    elsewhere(apply);
}

/* The mask as it is. Of a full one the system keeps back what it needs itself. */
static uint64_t mask(void)
{
    sigset_t set;
    uint64_t bits = 0;

    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &set) == 0);
    for (int number = 1; number <= 64; number++) {
        if (sigismember(&set, number) == 1)
            bits |= UINT64_C(1) << (number - 1);
    }
    return bits;
}

static void *full_mask(void *ret_bits)
{
    block_all();
    *(uint64_t *)ret_bits = mask();
    return NULL;
}

static void empty_and_full(void)
{
    uint64_t own;
    uint64_t full;
    xctx_context *none = captured_elsewhere(block_none);
    xctx_context *all = captured_elsewhere(block_all);

    on_thread(full_mask, &full);
    CHECK(full != 0);
    change(SIG_BLOCK, SIGUSR2);
    own = mask();
    enter(none);
    CHECK(mask() == 0);
    enter(all);
    CHECK(mask() == full);
    leave(all);
    CHECK(mask() == 0);
    leave(none);
    CHECK(mask() == own);
    xctx_unref(none);
    xctx_unref(all);
}

TEST(sigmask_may_be_empty_or_full_and_nested_enters_are_undone_one_by_one)
{
    elsewhere(empty_and_full);
}

static void change_inside(void)
{
    xctx_context *same = captured();

    enter(same);
    change(SIG_BLOCK, SIGTERM);
    leave(same);
    CHECK(!blocked(SIGTERM));
    xctx_unref(same);
}

TEST(sigmask_changed_by_the_work_is_restored)
{
    elsewhere(change_inside);
}

static void *enter_and_unblock(void *context)
{
    enter(context);
    CHECK(blocked(SIGUSR1));
    change(SIG_UNBLOCK, SIGUSR1);
    leave(context);
    return NULL;
}

static void keep_source(void)
{
    block_usr1();
    xctx_context *context = captured();
    on_thread(enter_and_unblock, context);
    CHECK(blocked(SIGUSR1));
    xctx_unref(context);
}

TEST(sigmask_of_the_source_thread_stays_as_it_is)
{
    elsewhere(keep_source);
}

static atomic_int delivered;

static void on_signal(int number)
{
    (void)number;
    atomic_fetch_add(&delivered, 1);
}

static void wait_for_it(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    xctx_context *context = captured_elsewhere(block_usr1);

    enter(context);
    CHECK(pthread_kill(pthread_self(), SIGUSR1) == 0);
    CHECK(atomic_load(&delivered) == 0);
    leave(context);
    CHECK(atomic_load(&delivered) == 1);
    xctx_unref(context);
    signal(SIGUSR1, SIG_DFL);
}

TEST(sigmask_holds_a_signal_back_until_the_context_is_left)
{
    elsewhere(wait_for_it);
}

static void block_some(void)
{
    change(SIG_BLOCK, SIGUSR1);
    change(SIG_BLOCK, SIGTERM);
    change(SIG_BLOCK, 40);
}

static void send(void)
{
    xctx_context *context = captured_elsewhere(block_some);
    xctx_context *none = captured_elsewhere(block_none);
    xctx_context *sent = through_bytes(context, &xctx_state_sigmask);

    check_format(context, &xctx_state_sigmask, "USR1 TERM 40");
    check_format(none, &xctx_state_sigmask, "none");
    check_null_value(&xctx_state_sigmask);
    check_format(sent, &xctx_state_sigmask, "USR1 TERM 40");
    enter(sent);
    CHECK(blocked(SIGUSR1) && blocked(SIGTERM) && blocked(40) && !blocked(SIGINT));
    leave(sent);
    check_not_decoded(&xctx_state_sigmask, "1234567", 7, -EINVAL);
    xctx_unref(sent);
    xctx_unref(none);
    xctx_unref(context);
}

TEST(sigmask_is_told_and_sent)
{
    elsewhere(send);
}

int main(void)
{
    return test_main("capsule sigmask");
}
