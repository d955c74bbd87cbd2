/* SPDX-License-Identifier: MIT */
/*
 * Reading variables in a signal handler that interrupts the thread in the midst of anything: always a value that was
 * set, never one that is half there or gone.
 *
 * Another thread signals without pause. The TSan runtime delivers signals only when the thread calls certain functions
 * of libc, so that each round makes such a call.
 */
#include <signal.h>
#include <time.h>

#include "../support/counted.h"
#include "../support/threads.h"

/* Every number that is ever set ends like this. */
enum { MARK = 0x5a5a, MARK_MASK = 0xffff, MARK_SHIFT = 16 };

static struct counted nothing = {.magic = COUNTED_ALIVE, .refs = 1, .number = MARK};

static XCTX_VAR_DEFINE(plain, .initial = (void *)MARK);
static XCTX_VAR_DEFINE(counted, .initial = &nothing, .retain = counted_retain, .release = counted_release);
static xctx_var *large;         /* plain, with a number beyond those that the array has room for */
static xctx_var *large_counted; /* the same for counted values */

static xctx_context *_Atomic allowed[3]; /* what may be current */
static atomic_long handled;
static volatile sig_atomic_t any_context; /* and none */

static long marked(long n)
{
    return n << MARK_SHIFT | MARK;
}

static void check_plain(xctx_var *var)
{
    void *found = NULL;
    CHECK((as_number(xctx_var_get(var)) & MARK_MASK) == MARK);
    CHECK(xctx_var_find(var, &found) == 1);
    CHECK(found == xctx_var_get(var));
}

static void check_counted(xctx_var *var)
{
    void *found = NULL;
    CHECK((counted_number(xctx_var_get(var)) & MARK_MASK) == MARK);
    CHECK(xctx_var_find(var, &found) == 1);
    CHECK(found == xctx_var_get(var));
}

static void read_everything(int signal)
{
    int error = errno;
    (void)signal;
    check_plain(&plain);
    check_plain(large);
    check_counted(&counted);
    check_counted(large_counted);
    CHECK(strcmp(xctx_var_name(&plain), "plain") == 0);
    CHECK(strcmp(xctx_var_name(large), "large") == 0);
    xctx_context *current = xctx_current();
    bool known = any_context;
    for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++)
        known = known || (current && current == atomic_load(&allowed[i]));
    CHECK(known);
    atomic_fetch_add(&handled, 1);
    errno = error;
}

static void handle_signals(void)
{
    struct sigaction action = {.sa_handler = read_everything, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
}

struct signaller {
    pthread_t target;
    atomic_bool stop;
};

static void *signal_without_pause(void *arg)
{
    struct signaller *signaller = arg;
    while (!atomic_load(&signaller->stop)) {
        long before = atomic_load(&handled);
        CHECK(pthread_kill(signaller->target, SIGUSR1) == 0);
        for (int i = 0; i < 1000 && atomic_load(&handled) == before && !atomic_load(&signaller->stop); i++)
            sched_yield();
    }
    return NULL;
}

static long now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Calls fn again and again, with a new number each time, until it was interrupted often enough. */
static void interrupt(void (*fn)(long n))
{
    enum { MOST_MS = 10000 };
    struct signaller signaller = {.target = pthread_self()};
    long enough = scaled(3000);

    handle_signals();
    atomic_store(&handled, 0);
    atomic_store(&allowed[0], xctx_current());
    long end = now_ms() + MOST_MS;
    pthread_t thread = spawn(signal_without_pause, &signaller);
    for (long n = 1; atomic_load(&handled) < enough && (n % 64 || now_ms() < end); n++) {
        fn(n);
        if (TEST_TSAN)
            usleep(0);
    }
    atomic_store(&signaller.stop, true);
    join(thread);
    assert_true(atomic_load(&handled) > 0);
}

/* What a test sets: all four variables, or one. */
static void set_plain(xctx_var *var, long n, xctx_token *token)
{
    CHECK(xctx_var_set(var, number(marked(n)), token) == 0);
}

static void set_counted(xctx_var *var, long n, xctx_token *token)
{
    struct counted *value = counted_new(marked(n));
    CHECK(xctx_var_set(var, value, token) == 0);
    counted_drop(value);
}

static void set_all(long n)
{
    set_plain(&plain, n, NULL);
    set_counted(&counted, n, NULL);
    set_plain(large, n, NULL);
    set_counted(large_counted, n, NULL);
}

TEST(values_read_in_a_handler_that_interrupts_set_were_set)
{
    interrupt(set_all);
}

static void set_and_reset(long n)
{
    xctx_token tokens[4];
    set_plain(&plain, n, &tokens[0]);
    set_counted(&counted, n, &tokens[1]);
    set_plain(large, n, &tokens[2]);
    set_counted(large_counted, n, &tokens[3]);
    CHECK(xctx_var_reset(large_counted, &tokens[3]) == 0);
    CHECK(xctx_var_reset(large, &tokens[2]) == 0);
    CHECK(xctx_var_reset(&counted, &tokens[1]) == 0);
    CHECK(xctx_var_reset(&plain, &tokens[0]) == 0);
}

TEST(values_read_in_a_handler_that_interrupts_reset_were_set)
{
    interrupt(set_and_reset);
}

TEST(values_read_in_a_handler_that_interrupts_reset_to_older_values_were_set)
{
    set_all(1);
    interrupt(set_and_reset);
}

static void let_all(long n)
{
    struct counted *value = counted_new(marked(n));
    XCTX_LET (&plain, number(marked(n))) {
        XCTX_LET (&counted, value) {
            XCTX_LET (large, number(marked(n))) {
                XCTX_LET (large_counted, value) {
                    counted_drop(value);
                    CHECK(as_number(xctx_var_get(large)) == marked(n));
                }
            }
        }
    }
}

TEST(values_read_in_a_handler_that_interrupts_let_were_set)
{
    interrupt(let_all);
}

TEST(values_read_in_a_handler_that_interrupts_let_over_older_values_were_set)
{
    set_all(1);
    interrupt(let_all);
}

/* The next set finds its map shared. */
static void copy_and_set(long n)
{
    xctx_context *copy = xctx_copy_current();
    CHECK(copy != NULL);
    set_all(n);
    xctx_unref(copy);
}

TEST(values_read_in_a_handler_that_interrupts_copy_were_set)
{
    set_all(1);
    interrupt(copy_and_set);
}

static void enter_a_copy(long n)
{
    xctx_context *copy = xctx_copy_current();
    CHECK(copy != NULL);
    atomic_store(&allowed[1], copy);
    CHECK(xctx_enter(copy) == 0);
    set_all(n);
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
}

TEST(values_read_in_a_handler_that_interrupts_enter_and_exit_of_a_copy_were_set)
{
    set_all(1);
    interrupt(enter_a_copy);
}

static void enter_new_ones(long n)
{
    xctx_context *context = xctx_new();
    xctx_context *inner = xctx_new();
    CHECK(context && inner);
    atomic_store(&allowed[1], context);
    atomic_store(&allowed[2], inner);
    CHECK(xctx_enter(context) == 0);
    set_all(n);
    CHECK(xctx_enter(inner) == 0);
    /* The last references: leaving releases. */
    xctx_unref(context);
    xctx_unref(inner);
    set_all(n + 1);
    CHECK(xctx_exit(inner) == 0);
    CHECK(xctx_exit(context) == 0);
}

TEST(values_read_in_a_handler_that_interrupts_enter_and_exit_of_new_contexts_were_set)
{
    interrupt(enter_new_ones);
}

static void *begin_and_end(void *arg)
{
    atomic_bool *done = arg;
    set_all(1);
    let_all(2);
    xctx_context *copy = xctx_copy_current();
    CHECK(copy && xctx_enter(copy) == 0);
    set_all(3);
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
    if (TEST_TSAN)
        usleep(0);
    atomic_store(done, true);
    return NULL; /* the handler may run while the thread's contexts go */
}

TEST(values_read_in_a_handler_that_interrupts_the_life_of_a_thread_were_set)
{
    handle_signals();
    any_context = 1;
    atomic_store(&handled, 0);
    long rounds = scaled(400);
    for (long i = 0; i < rounds || (atomic_load(&handled) == 0 && i < 100000); i++) {
        atomic_bool done = false;
        pthread_t thread = spawn(begin_and_end, &done);
        do {
            CHECK(pthread_kill(thread, SIGUSR1) == 0); /* not joined yet: it may be gone, but its handle is good */
        } while (!atomic_load(&done));
        for (int more = 0; more < 10; more++)
            CHECK(pthread_kill(thread, SIGUSR1) == 0);
        join(thread);
    }
    any_context = 0;
    assert_true(atomic_load(&handled) > 0);
}

/* Variables get their numbers when they are first set. */
static void make_large_variables(void)
{
    enum { SMALL = 300 };
    CHECK(xctx_enter(xctx_new()) == 0);
    for (int i = 0; i < SMALL; i++) {
        xctx_var *var = xctx_var_create("small", NULL);
        CHECK(var && xctx_var_set(var, number(i), NULL) == 0);
        xctx_var_unref(var);
    }
    large = xctx_var_create("large", &(xctx_var_options){.initial = number(MARK)});
    large_counted =
        xctx_var_create("large counted",
                        &(xctx_var_options){.initial = &nothing, .retain = counted_retain, .release = counted_release});
    CHECK(large && large_counted);
    set_plain(large, 1, NULL);
    set_counted(large_counted, 1, NULL);
    xctx_context *context = xctx_current();
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
}

int main(void)
{
    make_large_variables();
    return test_main("signal handlers");
}
