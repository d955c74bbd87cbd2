/* SPDX-License-Identifier: MIT */
/*
 * Snapshots behind every instruction of what changes variables, or which of them are current: the values that are in
 * them are those that the handler sees, whichever way it reads them. The processor steps through the work and traps
 * behind each instruction; the work is done again and again, and each time the snapshot is taken one instruction later.
 * Needs x86-64, where a program can ask for that itself: other processors have the same code, and test_interrupt.c.
 */
#include <limits.h>

#include "../support/counted.h"
#include "signal_support.h"

#include <xctx/follow.h>

#include "context/context_internal.h"

enum { INITIAL = 0x5a5a, BEFORE = 1, AFTER = 2, MOST_TRAPS = 600000 };

static struct counted nothing = {.magic = COUNTED_ALIVE, .refs = 1, .number = INITIAL};

static XCTX_VAR_DEFINE(plain, .initial = (void *)INITIAL);
static XCTX_VAR_DEFINE(counted, .initial = &nothing, .retain = counted_retain, .release = counted_release);

/* What the thread is doing when it is interrupted. */
struct work {
    void (*prepare)(void); /* each time, in a new context */
    void (*change)(void);  /* is stepped through */
    void (*finish)(void);
    long changes;                                /* how often what is seen changes meanwhile */
    bool (*allowed)(const xctx_snapshot *taken); /* NULL, or whether a snapshot may be like that */
    bool follows;                                /* the thread follows a runtime: a handler may take snapshots only */
};

/* What the handler saw. */
struct sight {
    void *plain;
    long counted;
};

static const struct work *current_work;
static xctx_snapshot *snapshot;
static struct sight sight;
static long steps, snapshot_at;
static volatile sig_atomic_t stepping;

#if defined(__x86_64__)
enum { TRAP_FLAG = 0x100 };

static void stop(ucontext_t *context)
{
    context->uc_mcontext.gregs[REG_EFL] &= ~TRAP_FLAG;
}

static inline __attribute__((always_inline)) void start_stepping(void)
{
    steps = 0;
    stepping = 1;
    __asm__ volatile("leaq -128(%%rsp), %%rsp\n\t" /* the red zone */
                     "pushfq\n\t"
                     "orq %0, (%%rsp)\n\t"
                     "popfq\n\t"
                     "leaq 128(%%rsp), %%rsp"
                     :
                     : "i"(TRAP_FLAG)
                     : "memory", "cc");
}
#else
static void stop(ucontext_t *context)
{
    (void)context;
}

static void start_stepping(void)
{
}
#endif

static bool can_step(void)
{
#if defined(__x86_64__)
    return !emulated() && !TEST_TSAN;
#else
    return false;
#endif
}

static void look(struct sight *ret_sight)
{
    void *found = NULL;

    if (current_work->follows) {
        *ret_sight = (struct sight){.plain = number(BEFORE), .counted = INITIAL};
        return;
    }
    ret_sight->plain = xctx_var_get(&plain);
    ret_sight->counted = counted_number(xctx_var_get(&counted));
    CHECK(xctx_var_find(&plain, &found) == 1 && found == ret_sight->plain);
    CHECK(xctx_var_find(&counted, &found) == 1 && counted_number(found) == ret_sight->counted);
}

static void on_trap(int number_of_signal, siginfo_t *info, void *context)
{
    int error = errno;

    (void)number_of_signal;
    (void)info;
    if (!stepping) {
        stop(context);
    } else if (steps++ == snapshot_at) {
        look(&sight);
        CHECK(xctx_snapshot_fill(snapshot, 0, context) == 0);
        stop(context);
    } else {
        struct sight passed;
        look(&passed);
    }
    errno = error;
}

/* Does the work and takes a snapshot behind the n-th of its instructions. False: there are not as many. */
static bool interrupt_at(const struct work *work, long n)
{
    xctx_context *context = xctx_new();

    CHECK(context && xctx_enter(context) == 0);
    xctx_unref(context);
    current_work = work;
    work->prepare();
    CHECK((snapshot = xctx_snapshot_reserve(0, 0)) != NULL);
    snapshot_at = n;
    start_stepping();
    work->change();
    stepping = 0;
    keep(&sight);
    return steps > n;
}

static void end(const struct work *work)
{
    snapshot = xctx_snapshot_unref(snapshot);
    work->finish();
    CHECK(xctx_exit(xctx_current()) == 0);
}

/* Whether the snapshot has variables, which are then what was seen. */
static bool has_values_seen(const struct work *work)
{
    xctx_context *context = xctx_snapshot_context(snapshot);
    void *value = number(INITIAL);

    if (work->allowed)
        CHECK(work->allowed(snapshot));
    if (!context)
        return false;
    xctx_lookup(context, &plain, &value);
    CHECK(value == sight.plain);
    value = &nothing;
    xctx_lookup(context, &counted, &value);
    CHECK(counted_number(value) == sight.counted);
    return true;
}

static void step_through(const struct work *work)
{
    if (!can_step())
        skip();
    handle(SIGTRAP, on_trap, 0);
    /* Once without a snapshot: then symbols are bound, memory is there, and how long it is, is known. */
    for (int i = 0; i < 2; i++) {
        CHECK(!interrupt_at(work, LONG_MAX));
        end(work);
    }
    /* All of them, but with a sanitizer: there it is long, and each is reached through all before it. */
    const long stride = 1 + steps * steps / scaled(MOST_TRAPS);
    struct sight last = {0};
    long with_values = 0, changes = 0;
    for (long n = 0; interrupt_at(work, n); n += stride) {
        with_values += has_values_seen(work);
        changes += n > 0 && (sight.plain != last.plain || sight.counted != last.counted);
        last = sight;
        end(work);
    }
    end(work);
    CHECK(signal(SIGTRAP, SIG_DFL) != SIG_ERR);
    assert_true(with_values > 0);
    /* What is changed back may have gone unseen. */
    assert_true(changes == work->changes || (stride > 1 && changes < work->changes));
}

/* ---- what is done ---- */

static xctx_context *other;

static void nothing_to_do(void)
{
}

static void set_before(void)
{
    CHECK(xctx_var_set(&plain, number(BEFORE), NULL) == 0);
}

static void set_plain(void)
{
    CHECK(xctx_var_set(&plain, number(AFTER), NULL) == 0);
}

TEST(first_set_in_a_context_shows_its_value_at_one_moment)
{
    step_through(&(struct work){nothing_to_do, set_plain, nothing_to_do, 1, NULL, false});
}

TEST(set_in_place_shows_its_value_at_one_moment)
{
    step_through(&(struct work){set_before, set_plain, nothing_to_do, 1, NULL, false});
}

static void copy_before(void)
{
    set_before();
    CHECK((other = xctx_copy_current()) != NULL);
}

static void drop_other(void)
{
    other = xctx_unref(other);
}

TEST(set_in_a_copied_context_shows_its_value_at_one_moment)
{
    step_through(&(struct work){copy_before, set_plain, drop_other, 1, NULL, false});
}

static void enter_copy(void)
{
    copy_before();
    CHECK(xctx_enter(other) == 0);
}

static void exit_other(void)
{
    CHECK(xctx_exit(other) == 0);
    drop_other();
}

TEST(set_in_a_copy_shows_its_value_at_one_moment)
{
    step_through(&(struct work){enter_copy, set_plain, exit_other, 1, NULL, false});
}

static struct counted *value;

static void make_value(void)
{
    copy_before();
    value = counted_new(AFTER);
}

static void set_counted(void)
{
    CHECK(xctx_var_set(&counted, value, NULL) == 0);
}

static void drop_value(void)
{
    counted_drop(value);
    drop_other();
}

TEST(set_of_an_owned_value_shows_it_at_one_moment)
{
    step_through(&(struct work){make_value, set_counted, drop_value, 1, NULL, false});
}

static xctx_token token;

static void set_with_token(void)
{
    CHECK(xctx_var_set(&plain, number(BEFORE), &token) == 0);
}

static void reset(void)
{
    CHECK(xctx_var_reset(&plain, &token) == 0);
}

TEST(reset_shows_the_old_value_at_one_moment)
{
    step_through(&(struct work){set_with_token, reset, nothing_to_do, 1, NULL, false});
}

static void *copy_other(void *context)
{
    xctx_unref(xctx_copy(context));
    return NULL;
}

/* A context that another thread asked for again and again: from now on it is changed behind a lock, once another thread
   has asked for it since it was entered. */
static void make_asked_for(void)
{
    enum { OFTEN = 8 };

    CHECK((other = xctx_new()) != NULL && xctx_enter(other) == 0);
    for (int i = 0; i < OFTEN; i++) {
        set_before();
        join(spawn(copy_other, other));
    }
    set_before();
    CHECK(xctx_exit(other) == 0);
}

static void enter_asked_for(void)
{
    CHECK(xctx_enter(other) == 0);
    join(spawn(copy_other, other));
    set_before();
}

static void exit_asked_for(void)
{
    CHECK(xctx__claim_tag(atomic_load(&other->claim)) == CLAIM_SHARED);
    CHECK(xctx_exit(other) == 0);
}

TEST(set_behind_a_lock_shows_its_value_at_one_moment)
{
    make_asked_for();
    step_through(&(struct work){enter_asked_for, set_plain, exit_asked_for, 1, NULL, false});
    drop_other();
}

static void let(void)
{
    XCTX_LET (&plain, number(AFTER))
        CHECK(xctx_var_get(&plain) == number(AFTER));
}

TEST(scoped_binding_shows_its_values_at_one_moment_each)
{
    step_through(&(struct work){set_before, let, nothing_to_do, 2, NULL, false});
    step_through(&(struct work){copy_before, let, drop_other, 2, NULL, false});
}

static void make_other(void)
{
    CHECK((other = xctx_new()) != NULL && xctx_enter(other) == 0);
    set_plain();
    CHECK(xctx_exit(other) == 0);
    set_before();
}

static void make_empty_other(void)
{
    CHECK((other = xctx_new()) != NULL);
    set_before();
}

static void enter_and_exit(void)
{
    CHECK(xctx_enter(other) == 0);
    CHECK(xctx_exit(other) == 0);
}

TEST(entering_and_leaving_show_values_at_one_moment_each)
{
    step_through(&(struct work){make_other, enter_and_exit, drop_other, 2, NULL, false});
    step_through(&(struct work){make_empty_other, enter_and_exit, drop_other, 2, NULL, false});
}

static const struct map *bound; /* the map of the context that has an open binding */
static xctx__let opened;

static void open_binding(void)
{
    make_other();
    CHECK(xctx__let_set(&opened, &plain, number(BEFORE)) == 0);
    bound = xctx__slot.root;
}

static void close_binding(void)
{
    drop_other();
    xctx__let_reset(&opened);
}

static bool is_not_of_bound(const xctx_snapshot *taken)
{
    return taken->root != bound;
}

/* Else the end of the binding would need memory. */
TEST(entering_while_a_binding_is_open_never_shares_the_map_that_has_it)
{
    step_through(&(struct work){open_binding, enter_and_exit, close_binding, 2, is_not_of_bound, false});
}

static int switched(void *user)
{
    (void)user;
    return 0;
}

static void follow_and_end(void)
{
    static const uint64_t version = 1;
    static const xctx_follow follow = {.size = sizeof(follow), .version = &version, .switched = switched};

    CHECK(xctx_follow_start(&follow) == 0);
    CHECK(xctx_unfollow() == 0);
}

TEST(beginning_and_ending_to_follow_change_no_value)
{
    step_through(&(struct work){set_before, follow_and_end, nothing_to_do, 0, NULL, true});
}

int main(void)
{
    return test_main("snapshots behind every instruction");
}
