/* SPDX-License-Identifier: MIT */
/* Chains of parents and their limits: what is kept, what is dropped, and that nothing is left behind. */
#include <limits.h>

#include "../support/counted.h"
#include "../support/threads.h"
#include "capture_support.h"

#include "capture/snapshot_internal.h"

enum { LEAST = XCTX_CAPTURE_REGISTERS }; /* 0 would capture nothing at all */

static XCTX_VAR_DEFINE(step);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static long step_of(const xctx_snapshot *snapshot)
{
    void *value = NULL;
    xctx_context *context = xctx_snapshot_context(snapshot);
    CHECK(context != NULL);
    return xctx_lookup(context, &step, &value) == 1 ? as_number(value) : -1;
}

static size_t parents_of(xctx_snapshot *snapshot)
{
    size_t count = 0;
    while ((snapshot = xctx_snapshot_parent(snapshot)))
        count++;
    return count;
}

static size_t bytes_of(xctx_snapshot *snapshot)
{
    size_t bytes = 0;
    for (; snapshot; snapshot = xctx_snapshot_parent(snapshot))
        bytes += snapshot->size;
    return bytes;
}

/* Work that submits itself anew: each round runs in the copy that the last one made, with the step's number as `step`.
   Returns the last copy, which carries the chain. */
static xctx_context *resubmit(xctx_context *from, long first, long rounds, unsigned capture)
{
    xctx_context *work = xctx_ref(from);

    for (long i = first; i < first + rounds; i++) {
        CHECK(xctx_enter(work) == 0);
        CHECK(xctx_var_set(&step, number(i), NULL) == 0);
        xctx_context *next = xctx_copy_current_with(capture);
        CHECK(next != NULL);
        CHECK(xctx_exit(work) == 0);
        xctx_unref(work);
        work = next;
    }
    return work;
}

static xctx_context *start(long rounds, unsigned capture)
{
    xctx_context *context = xctx_new();
    xctx_context *work = resubmit(context, 0, rounds, capture);
    xctx_unref(context);
    return work;
}

/* The newest `count` parents are those of the steps just before. */
static void check_newest(xctx_snapshot *snapshot, long newest, size_t count)
{
    for (size_t i = 0; i <= count; i++) {
        CHECK(snapshot != NULL);
        CHECK(step_of(snapshot) == newest - (long)i);
        snapshot = xctx_snapshot_parent(snapshot);
    }
}

TEST(chain_within_its_limits_is_whole)
{
    xctx_context *work = start(XCTX_SNAPSHOT_PARENTS_DEFAULT + 1, LEAST);
    xctx_snapshot *newest = xctx_snapshot_of(work);

    assert_int_equal(parents_of(newest), XCTX_SNAPSHOT_PARENTS_DEFAULT);
    check_newest(newest, XCTX_SNAPSHOT_PARENTS_DEFAULT, XCTX_SNAPSHOT_PARENTS_DEFAULT);
    for (xctx_snapshot *link = newest; link; link = xctx_snapshot_parent(link))
        assert_false(link->bits & SNAPSHOT_CUT);
    xctx_unref(work);
}

static xctx_snapshot *last_of(xctx_snapshot *snapshot)
{
    for (xctx_snapshot *parent; (parent = xctx_snapshot_parent(snapshot));)
        snapshot = parent;
    return snapshot;
}

TEST(chain_never_gets_longer_than_the_limit_and_keeps_the_newest)
{
    static const size_t limits[] = {0, 1, 2, 3, 4, 7, 16, 33, 100, XCTX_SNAPSHOT_PARENTS_MAX};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        size_t limit = limits[i];
        assert_int_equal(xctx_set_chain_limits(limit, SIZE_MAX), 0);
        xctx_context *work = start(1, LEAST);
        for (long n = 1; n < (long)limit * 3 + 10; n++) {
            xctx_context *next = resubmit(work, n, 1, LEAST);
            xctx_unref(work);
            work = next;
            xctx_snapshot *newest = xctx_snapshot_of(work);
            size_t parents = parents_of(newest);
            assert_true(parents <= limit);
            assert_int_equal(newest->depth, parents);
            assert_int_equal(newest->chain_bytes, bytes_of(newest));
            if (limit < 40 || n % 50 == 0) {
                size_t kept = (size_t)n < (limit + 1) / 2 ? (size_t)n : (limit + 1) / 2;
                assert_true(parents >= kept);
                check_newest(newest, n, parents);
            }
            assert_int_equal((last_of(newest)->bits & SNAPSHOT_CUT) != 0, (size_t)n > parents);
        }
        xctx_unref(work);
    }
    restore_defaults();
}

TEST(chain_never_keeps_more_bytes_than_the_limit_but_the_newest)
{
    xctx_snapshot *one = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    size_t size = one->size;
    xctx_snapshot_unref(one);
    size_t limits[] = {0, 1, size - 1, size, size + 1, 2 * size - 1, 2 * size, 3 * size, 10 * size};

    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        assert_int_equal(xctx_set_chain_limits(XCTX_SNAPSHOT_PARENTS_MAX, limits[i]), 0);
        xctx_context *work = start(1, XCTX_CAPTURE_ALL);
        for (long n = 1; n < 40; n++) {
            xctx_context *next = resubmit(work, n, 1, XCTX_CAPTURE_ALL);
            xctx_unref(work);
            work = next;
            xctx_snapshot *newest = xctx_snapshot_of(work);
            assert_non_null(newest);
            assert_true(bytes_of(newest) <= limits[i] || parents_of(newest) == 0);
            assert_int_equal(newest->chain_bytes, bytes_of(newest));
            check_newest(newest, n, parents_of(newest));
        }
        if (limits[i] >= 3 * size)
            assert_true(parents_of(xctx_snapshot_of(work)) >= 1);
        xctx_unref(work);
    }
    restore_defaults();
}

TEST(limits_out_of_range_are_refused)
{
    assert_int_equal(xctx_set_chain_limits((size_t)XCTX_SNAPSHOT_PARENTS_MAX + 1, 1), -EINVAL);
    assert_int_equal(xctx_set_chain_limits(SIZE_MAX, SIZE_MAX), -EINVAL);
    xctx_context *work = start(5, LEAST);
    assert_int_equal(parents_of(xctx_snapshot_of(work)), 4);
    xctx_unref(work);
}

/* What a shortened chain shows of each snapshot is what that captured. */
TEST(links_that_stand_for_others_have_their_bytes_registers_and_variables)
{
    volatile uint64_t *words = MARKED_FRAME(4711);
    assert_int_equal(xctx_set_chain_limits(1, SIZE_MAX), 0);
    xctx_context *old = start(2, LEAST);
    assert_int_equal(xctx_enter(old), 0);
    counted_set(&counted, 12);
    xctx_context *next = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    assert_int_equal(xctx_exit(old), 0);
    xctx_unref(old);
    xctx_snapshot *whole = xctx_snapshot_of(next);
    uint64_t pc = register_of(whole, "pc");
    xctx_context *last = resubmit(next, 5, 1, LEAST);
    xctx_snapshot *parent = xctx_snapshot_parent(xctx_snapshot_of(last));
    assert_non_null(parent);
    assert_ptr_not_equal(parent, whole);
    assert_ptr_equal(parent->whole, whole);
    xctx_unref(next); /* the original goes, its bytes stay */
    void *value = NULL;
    assert_true(holds(parent, words, 4711));
    assert_int_equal(register_of(parent, "pc"), pc);
    assert_int_equal(first_address(parent), pc);
    assert_int_equal(xctx_snapshot_captured(parent), XCTX_CAPTURE_ALL);
    assert_int_equal(state_of(parent)->tid, own_tid());
    assert_int_equal(xctx_lookup(xctx_snapshot_context(parent), &counted, &value), 1);
    assert_int_equal(counted_number(value), 12);
    assert_int_equal(xctx_snapshot_reset(parent), -EINVAL); /* it is not one that was reserved */
    xctx_unref(last);
    restore_defaults();
    assert_int_equal(counted_live(), 0);
}

TEST(snapshot_filled_where_the_chain_is_full_has_all_of_it)
{
    assert_int_equal(xctx_set_chain_limits(2, SIZE_MAX), 0);
    xctx_context *work = start(3, LEAST);
    assert_int_equal(parents_of(xctx_snapshot_of(work)), 2);
    assert_int_equal(xctx_enter(work), 0);
    xctx_snapshot *snapshot = xctx_snapshot_reserve(0, 0);
    assert_int_equal(xctx_snapshot_fill(snapshot, 0, NULL), 0);
    assert_int_equal(parents_of(snapshot), 3);
    assert_int_equal(xctx_exit(work), 0);
    xctx_unref(work);
    assert_int_equal(parents_of(snapshot), 3);
    assert_int_equal(xctx_snapshot_reset(snapshot), 0);
    assert_null(xctx_snapshot_parent(snapshot));
    xctx_snapshot_unref(snapshot);
    restore_defaults();
}

/* Deeper than a thread with the smallest stack could recurse. */
static void *shorten_and_release(void *arg)
{
    xctx_context **work = arg;
    for (int i = 0; i < 3; i++) {
        xctx_context *next = resubmit(*work, 2000 + i, 1, XCTX_CAPTURE_STACK);
        xctx_unref(*work);
        *work = next;
    }
    *work = xctx_unref(*work);
    return NULL;
}

TEST(shortening_and_releasing_a_long_chain_costs_no_stack)
{
    pthread_attr_t attributes;
    pthread_t thread;

    assert_int_equal(xctx_set_chain_limits(XCTX_SNAPSHOT_PARENTS_MAX, SIZE_MAX), 0);
    xctx_context *work = start(XCTX_SNAPSHOT_PARENTS_MAX + 1, XCTX_CAPTURE_STACK);
    assert_int_equal(parents_of(xctx_snapshot_of(work)), XCTX_SNAPSHOT_PARENTS_MAX);
    assert_int_equal(pthread_attr_init(&attributes), 0);
    /* What a sanitizer's own functions need comes on top. */
    assert_int_equal(pthread_attr_setstacksize(&attributes, (size_t)PTHREAD_STACK_MIN +
                                                                (TEST_ASAN || TEST_TSAN ? (size_t)256 * 1024 : 0)),
                     0);
    assert_int_equal(pthread_create(&thread, &attributes, shorten_and_release, &work), 0);
    pthread_attr_destroy(&attributes);
    join(thread);
    assert_null(work);
    restore_defaults();
}

/* ---- threads ---- */

enum { HAMMERS = 4 };

struct shared {
    struct meeting meeting;
    xctx_context *work;
    atomic_long made;
    xctx_snapshot *_Atomic exchange[8];
};

/* Each goes on from the same chain, and hands snapshots to the others to release. */
static void *hammer(void *arg)
{
    struct shared *shared = arg;
    uint32_t seed = (uint32_t)own_tid() * 2654435761u | 1;

    for (long round = 0; round < scaled(300); round++) {
        meet(&shared->meeting);
        xctx_context *copy = xctx_copy(shared->work);
        CHECK(copy != NULL);
        for (int i = 0; i < 12; i++) {
            CHECK(xctx_enter(copy) == 0);
            counted_set(&counted, i);
            xctx_context *next = xctx_copy_current_with((random_next(&seed) % XCTX_CAPTURE_ALL + 1) | LEAST);
            xctx_snapshot *snapshot = xctx_snapshot_take(0);
            CHECK(next && snapshot);
            CHECK(xctx_exit(copy) == 0);
            xctx_unref(copy);
            copy = next;
            atomic_fetch_add(&shared->made, 1);
            xctx_snapshot_unref(atomic_exchange(&shared->exchange[random_next(&seed) % 8], snapshot));
            xctx_snapshot *parent = xctx_snapshot_of(copy);
            for (int n = 0; parent && n < 5; n++, parent = xctx_snapshot_parent(parent))
                CHECK(xctx_snapshot_context(parent) != NULL);
        }
        xctx_unref(copy);
    }
    return NULL;
}

TEST(threads_that_go_on_from_one_chain_release_all_of_it)
{
    static struct shared shared;
    pthread_t threads[HAMMERS];

    assert_int_equal(xctx_set_chain_limits(5, SIZE_MAX), 0);
    meeting_init(&shared.meeting, HAMMERS);
    counted_set(&counted, 1);
    shared.work = resubmit(xctx_current(), 0, 0, LEAST);
    xctx_context *base = xctx_copy_current_with(XCTX_CAPTURE_LOCALS);
    xctx_unref(shared.work);
    shared.work = resubmit(base, 0, 4, XCTX_CAPTURE_LOCALS);
    xctx_unref(base);
    for (int i = 0; i < HAMMERS; i++)
        threads[i] = spawn(hammer, &shared);
    for (int i = 0; i < HAMMERS; i++)
        join(threads[i]);
    for (size_t i = 0; i < 8; i++)
        xctx_snapshot_unref(atomic_exchange(&shared.exchange[i], NULL));
    assert_true(atomic_load(&shared.made) > 0);
    assert_int_equal(counted_live(), 1);
    /* Nobody but us is left: else the snapshot could not be reset. */
    xctx_snapshot *last = xctx_snapshot_ref(xctx_snapshot_of(shared.work));
    xctx_unref(shared.work);
    assert_int_equal(xctx_snapshot_reset(last), 0);
    xctx_snapshot_unref(last);
    restore_defaults();
}

struct churn {
    struct meeting meeting;
    xctx_context *_Atomic current;
    atomic_bool stop;
};

static void *copy_without_pause(void *arg)
{
    struct churn *churn = arg;
    meet(&churn->meeting);
    while (!atomic_load(&churn->stop)) {
        xctx_context *mine = atomic_exchange(&churn->current, NULL);
        if (!mine) {
            sched_yield();
            continue;
        }
        xctx_context *copy = xctx_copy(mine);
        CHECK(copy && xctx_snapshot_of(copy) == xctx_snapshot_of(mine));
        CHECK(xctx_snapshot_captured(xctx_snapshot_of(copy)) == XCTX_CAPTURE_LOCALS);
        xctx_unref(atomic_exchange(&churn->current, copy));
        xctx_unref(mine);
    }
    return NULL;
}

TEST(contexts_released_on_one_thread_while_another_copies_them_keep_their_snapshot)
{
    static struct churn churn;
    pthread_t threads[2];

    meeting_init(&churn.meeting, 3);
    for (int i = 0; i < 2; i++)
        threads[i] = spawn(copy_without_pause, &churn);
    meet(&churn.meeting);
    for (long i = 0; i < scaled(20000); i++) {
        xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_LOCALS);
        CHECK(copy != NULL);
        xctx_unref(atomic_exchange(&churn.current, copy));
    }
    atomic_store(&churn.stop, true);
    for (int i = 0; i < 2; i++)
        join(threads[i]);
    xctx_unref(atomic_exchange(&churn.current, NULL));
}

/* ---- memory ---- */

static void *keep_nothing(void *arg)
{
    long rounds = *(const long *)arg;
    xctx_context *work = start(1, XCTX_CAPTURE_STACK);

    for (long i = 0; i < rounds; i++) {
        CHECK(xctx_enter(work) == 0);
        counted_set(&counted, i);
        xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STACK | XCTX_CAPTURE_LOCALS);
        xctx_context *next = xctx_copy_current_with(i % 64 ? XCTX_CAPTURE_STACK : XCTX_CAPTURE_ALL);
        CHECK(snapshot && next);
        if (i % 16 == 0)
            CHECK(xctx_snapshot_context(snapshot) != NULL);
        xctx_snapshot_unref(snapshot);
        CHECK(xctx_exit(work) == 0);
        xctx_unref(work);
        work = next;
    }
    xctx_unref(work);
    return NULL;
}

TEST(memory_stays_as_it_is_over_endless_captures)
{
    enum { MEBIBYTE = 1 << 20 };
    long warm = scaled(10000), rounds = scaled(500000); /* two captures each */

    if (under_valgrind())
        skip(); /* it keeps what is freed for a while */
    keep_nothing(&warm);
    long before = resident_pages();
    keep_nothing(&rounds);
    long after = resident_pages();
    /* A sanitizer keeps what is freed for a while. */
    long most = TEST_ASAN || TEST_TSAN ? 600 : 2;
    assert_true((after - before) * sysconf(_SC_PAGESIZE) < most * MEBIBYTE);
    assert_int_equal(counted_live(), 0);
}

int main(void)
{
    return test_main("chains of snapshots");
}
