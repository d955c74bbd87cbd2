/* SPDX-License-Identifier: MIT */
/*
 * Snapshots that a timer's signal fills in the midst of anything: they have what was there at that moment, and nothing
 * that the thread was doing suffers.
 */
#include <dlfcn.h>
#include <time.h>

#include "../support/counted.h"
#include "signal_support.h"

#include "capture/snapshot_internal.h"

enum { POOL = 64, INITIAL = 0x5a5a };

static struct counted nothing = {.magic = COUNTED_ALIVE, .refs = 1, .number = INITIAL};

static XCTX_VAR_DEFINE(plain, .initial = (void *)INITIAL);
static XCTX_VAR_DEFINE(counted, .initial = &nothing, .retain = counted_retain, .release = counted_release);

/* What the handler saw when it filled a snapshot. */
struct sight {
    xctx_snapshot *snapshot;
    const void *plain;
    long counted;
    const xctx_context *current;
    uint64_t pc, sp, word;
};

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

static int timer;
static volatile sig_atomic_t ticking;

/* The next signal comes a moment after this one is done with: so the thread gets on, however slow the handler is. */
static void arm(void)
{
    struct itimerspec soon = {.it_value = {.tv_nsec = 20000}};
    CHECK(syscall(SYS_timer_settime, timer, 0, &soon, NULL) == 0);
}

/* A timer for the running thread alone. */
static void start_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR1};
    event.sigev_notify_thread_id = own_tid();
    CHECK(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &timer) == 0);
    ticking = 1;
    arm();
}

static void stop_timer(void)
{
    ticking = 0;
    CHECK(syscall(SYS_timer_delete, timer) == 0);
}

static struct sight pool[POOL];
static volatile sig_atomic_t used; /* of the pool; only the handler adds, only with the signal blocked is it reset */
static atomic_long handled;

NOINLINE __attribute__((no_sanitize("address", "thread"))) static uint64_t word_at(uint64_t address)
{
    return *(const volatile uint64_t *)(uintptr_t)address; /* NOLINT(performance-no-int-to-ptr) */
}

static void fill_next(int number_of_signal, siginfo_t *info, void *context)
{
    int error = errno;
    (void)number_of_signal;
    (void)info;
    if (used < POOL && pool[used].snapshot) {
        struct sight *sight = &pool[used];
        tell(context);
        sight->pc = pc_told;
        sight->sp = sp_told;
        sight->word = word_at(sp_told & ~UINT64_C(7));
        sight->plain = xctx_var_get(&plain);
        sight->counted = counted_number(xctx_var_get(&counted));
        sight->current = xctx_current();
        CHECK(xctx_snapshot_fill(sight->snapshot, EVERYTHING, context) == 0);
        used = used + 1;
        atomic_fetch_add(&handled, 1);
    }
    if (ticking)
        arm();
    errno = error;
}

static long without_variables;

static void check_sight(const struct sight *sight)
{
    xctx_snapshot *snapshot = sight->snapshot;
    xctx_context *context = xctx_snapshot_context(snapshot);
    uint64_t word;

    CHECK(register_of(snapshot, "pc") == sight->pc);
    CHECK(register_of(snapshot, "sp") == sight->sp);
    CHECK(xctx_snapshot_read(snapshot, sight->sp & ~UINT64_C(7), &word, sizeof(word)) == 0);
    /* ThreadSanitizer's runtime calls the handler later, when the thread has gone on. */
    CHECK(TEST_TSAN || word == sight->word);
    check_no_thread_local_storage(snapshot);
    if (!context) {
        without_variables++;
        return;
    }
    void *value = number(INITIAL);
    xctx_lookup(context, &plain, &value);
    CHECK(value == sight->plain);
    value = &nothing;
    xctx_lookup(context, &counted, &value);
    CHECK(counted_number(value) == sight->counted);
}

/* Looks at what was captured and makes room for more. */
static void drain(long n)
{
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, &old) == 0);
    for (int i = 0; i < used; i++) {
        check_sight(&pool[i]);
        if ((n + i) % 2)
            CHECK(xctx_snapshot_reset(pool[i].snapshot) == 0);
        else
            pool[i].snapshot = xctx_snapshot_unref(pool[i].snapshot);
    }
    used = 0;
    for (int i = 0; i < POOL; i++)
        if (!pool[i].snapshot)
            CHECK((pool[i].snapshot = xctx_snapshot_reserve(EVERYTHING, 2048)) != NULL);
    CHECK(pthread_sigmask(SIG_SETMASK, &old, NULL) == 0);
}

static long now_ms(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Calls fn again and again until it was interrupted often enough, or for some seconds. */
static void interrupt(void (*fn)(long n), long enough)
{
    enum { MOST_MS = 10000 };

    atomic_store(&handled, 0);
    without_variables = 0;
    drain(0);
    handle(SIGUSR1, fill_next, 0);
    long end = now_ms() + MOST_MS;
    start_timer();
    for (long n = 1; atomic_load(&handled) < enough && (n % 64 || now_ms() < end); n++) {
        fn(n);
        drain(n);
        if (TEST_TSAN)
            usleep(0); /* where its runtime delivers signals */
    }
    stop_timer();
    assert_true(atomic_load(&handled) > 0);
    drain(0);
    for (int i = 0; i < POOL; i++)
        pool[i].snapshot = xctx_snapshot_unref(pool[i].snapshot);
    assert_true(without_variables < atomic_load(&handled));
}

static void set_both(long n, xctx_token tokens[2])
{
    struct counted *value = counted_new(n);
    CHECK(xctx_var_set(&plain, number(n), tokens ? &tokens[0] : NULL) == 0);
    CHECK(xctx_var_set(&counted, value, tokens ? &tokens[1] : NULL) == 0);
    counted_drop(value);
}

static void set_and_reset(long n)
{
    xctx_token tokens[2];
    set_both(n, tokens);
    set_both(n + 1, NULL);
    CHECK(xctx_var_reset(&counted, &tokens[1]) == 0);
    CHECK(xctx_var_reset(&plain, &tokens[0]) == 0);
}

TEST(captures_that_interrupt_set_and_reset_have_the_values_of_their_moment)
{
    interrupt(set_and_reset, scaled(6000));
}

struct asker {
    xctx_context *context;
    atomic_bool stop;
};

static void *copy_without_pause(void *arg)
{
    struct asker *asker = arg;
    sigset_t set;
    sigfillset(&set);
    CHECK(pthread_sigmask(SIG_BLOCK, &set, NULL) == 0);
    while (!atomic_load(&asker->stop)) {
        xctx_context *copy = xctx_copy(asker->context);
        CHECK(copy != NULL);
        xctx_unref(copy);
    }
    return NULL;
}

/* Then the thread changes it behind a lock. */
TEST(captures_while_another_thread_copies_the_context_have_the_values_of_their_moment)
{
    struct asker asker = {.context = xctx_ref(xctx_current())};

    set_both(1, NULL);
    pthread_t thread = spawn(copy_without_pause, &asker);
    interrupt(set_and_reset, scaled(3000));
    atomic_store(&asker.stop, true);
    join(thread);
    xctx_unref(asker.context);
}

static void let_both(long n)
{
    struct counted *value = counted_new(n);
    XCTX_LET (&plain, number(n)) {
        XCTX_LET (&counted, value) {
            counted_drop(value);
            XCTX_LET (&plain, number(n + 1)) {
                CHECK(xctx_var_get(&plain) == number(n + 1));
                CHECK(counted_number(xctx_var_get(&counted)) == n);
            }
            CHECK(xctx_var_get(&plain) == number(n));
        }
    }
    CHECK(xctx_var_get(&plain) == number(INITIAL));
}

TEST(captures_that_interrupt_scoped_bindings_have_the_values_of_their_moment)
{
    interrupt(let_both, scaled(6000));
}

static void copy_enter_and_exit(long n)
{
    xctx_context *copy = n % 2 ? xctx_copy_current() : xctx_copy_current_with(XCTX_CAPTURE_STACK | XCTX_CAPTURE_LOCALS);
    CHECK(copy && xctx_enter(copy) == 0);
    set_both(n, NULL);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_LOCALS);
    xctx_context *second = xctx_copy_current();
    CHECK(snapshot && second && xctx_enter(second) == 0);
    set_both(n + 1, NULL);
    xctx_unref(second);
    CHECK(xctx_exit(second) == 0);
    CHECK(xctx_var_get(&plain) == number(n));
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
    xctx_snapshot_unref(snapshot);
}

TEST(captures_that_interrupt_copies_enter_and_exit_have_the_values_of_their_moment)
{
    set_both(1, NULL);
    interrupt(copy_enter_and_exit, scaled(6000));
}

static void use_libc(long n)
{
    static void *blocks[32];
    for (int i = 0; i < 32; i++) {
        if (i % 3 == 0)
            blocks[i] = realloc(blocks[i], (size_t)(n * 37 + i * 101) % 5000 + 1);
        else {
            free(blocks[i]);
            blocks[i] = malloc((size_t)(n * 53 + i * 211) % 9000 + 1);
        }
        CHECK(blocks[i] != NULL);
        memset(blocks[i], 1, 1);
    }
    if (n % 8 == 0) {
        void *module = dlopen(XCTX_TEST_MODULE_DIR "/plugin_variable.so", RTLD_NOW);
        CHECK(module != NULL);
        CHECK(dlclose(module) == 0);
    }
    if (n % 32 == 0)
        for (int i = 0; i < 32; i++) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    set_both(n, NULL);
}

static void free_blocks(long n)
{
    for (long i = 0; i <= 32; i++)
        use_libc((n + i) * 32);
}

TEST(captures_that_interrupt_libc_do_no_harm)
{
    interrupt(use_libc, scaled(6000));
    free_blocks(0);
}

static void *begin_and_end(void *arg)
{
    set_both(1, NULL);
    for (int i = 0; i < 3; i++) {
        xctx_snapshot *snapshot = xctx_snapshot_take(EVERYTHING);
        CHECK(snapshot != NULL);
        xctx_snapshot_unref(snapshot);
    }
    (void)arg;
    return NULL;
}

static void start_threads(long n)
{
    (void)n;
    pthread_t thread;
    CHECK(xctx_thread_create(&thread, NULL, begin_and_end, NULL) == 0);
    join(thread);
}

TEST(captures_that_interrupt_the_start_of_threads_do_no_harm)
{
    interrupt(start_threads, scaled(2000));
}

int main(void)
{
    return test_main("snapshots in the midst of anything");
}
