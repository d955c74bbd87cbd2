/* SPDX-License-Identifier: MIT */
/* Threads that enter, leave and release one context at the same moment. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

enum { MOST = 4 };

struct race {
    struct meeting meeting;
    xctx_context *context;
    atomic_int winners;
    long rounds;
    int maker; /* which of the threads makes the contexts */
};

struct racer {
    struct race *race;
    int index;
    long won;
};

static void *race_to_enter(void *arg)
{
    struct racer *racer = arg;
    struct race *race = racer->race;
    for (long round = 0; round < race->rounds; round++) {
        if (racer->index == race->maker) {
            race->context = xctx_new();
            CHECK(race->context != NULL);
            atomic_store(&race->winners, 0);
            if (round % 2) { /* half of them were entered by their maker before */
                CHECK(xctx_enter(race->context) == 0);
                CHECK(xctx_exit(race->context) == 0);
            }
        }
        meet(&race->meeting);
        int error = xctx_enter(race->context);
        CHECK(error == 0 || error == -EBUSY);
        if (error == 0) {
            CHECK(atomic_fetch_add(&race->winners, 1) == 0);
            racer->won++;
            CHECK(xctx_current() == race->context);
            counted_set(&counted, round);
        }
        meet(&race->meeting);
        CHECK(atomic_load(&race->winners) == 1);
        if (error == 0)
            CHECK(xctx_exit(race->context) == 0);
        else
            CHECK(xctx_exit(race->context) != 0);
        meet(&race->meeting);
        if (racer->index == race->maker)
            xctx_unref(race->context);
    }
    return NULL;
}

static void check_race(unsigned threads, long rounds)
{
    pthread_t ids[MOST];
    struct racer racers[MOST];
    struct race race = {.rounds = rounds};
    long won = 0;
    meeting_init(&race.meeting, threads);
    for (unsigned i = 0; i < threads; i++) {
        racers[i] = (struct racer){.race = &race, .index = (int)i};
        ids[i] = spawn(race_to_enter, &racers[i]);
    }
    for (unsigned i = 0; i < threads; i++) {
        join(ids[i]);
        won += racers[i].won;
    }
    assert_int_equal(won, rounds);
    assert_int_equal(counted_live(), 0);
}

TEST(two_threads_that_enter_one_context_have_one_winner)
{
    check_race(2, scaled(6000));
}

TEST(four_threads_that_enter_one_context_have_one_winner)
{
    check_race(4, scaled(500));
}

/* All threads enter and leave one context as fast as they can; a plain variable shows whether they were alone. */
struct contest {
    struct meeting meeting;
    xctx_context *context;
    long rounds;
    atomic_long entered;
    long unprotected;
};

static void *contend(void *arg)
{
    struct contest *contest = arg;
    meet(&contest->meeting);
    for (long i = 0; i < contest->rounds; i++) {
        int error = xctx_enter(contest->context);
        if (error) {
            CHECK(error == -EBUSY);
            continue;
        }
        long now = as_number(xctx_var_get(&plain)) + 1;
        CHECK(xctx_var_set(&plain, number(now), NULL) == 0);
        contest->unprotected++;
        counted_set(&counted, now);
        atomic_fetch_add_explicit(&contest->entered, 1, memory_order_relaxed);
        CHECK(xctx_exit(contest->context) == 0);
    }
    return NULL;
}

TEST(threads_that_contend_for_one_context_are_in_it_one_at_a_time)
{
    struct contest contest = {.context = xctx_new(), .rounds = scaled(200000)};
    pthread_t threads[MOST];
    void *value = NULL;
    meeting_init(&contest.meeting, MOST);
    for (int i = 0; i < MOST; i++)
        threads[i] = spawn(contend, &contest);
    for (int i = 0; i < MOST; i++)
        join(threads[i]);
    long entered = atomic_load(&contest.entered);
    assert_true(entered > 0);
    assert_int_equal(contest.unprotected, entered);
    assert_int_equal(xctx_lookup(contest.context, &plain, &value), 1);
    assert_int_equal(as_number(value), entered);
    xctx_unref(contest.context);
    assert_int_equal(counted_live(), 0);
}

/* One thread leaves a context while another gives the last reference back. */
struct release {
    struct meeting meeting;
    xctx_context *context;
    long rounds;
    bool ref_again;
    bool copy_too;
};

static void *enter_and_exit(void *arg)
{
    struct release *release = arg;
    for (long i = 0; i < release->rounds; i++) {
        xctx_context *context = xctx_new();
        CHECK(xctx_enter(context) == 0);
        counted_set(&counted, i);
        release->context = context;
        meet(&release->meeting);
        if (release->ref_again) {
            context = xctx_ref(xctx_current());
            CHECK(counted_number(xctx_var_get(&counted)) == i);
            CHECK(xctx_exit(context) == 0);
            CHECK(xctx_enter(context) == 0);
            CHECK(counted_number(xctx_var_get(&counted)) == i);
            xctx_unref(context);
        }
        CHECK(xctx_exit(context) == 0);
        meet(&release->meeting);
        CHECK(counted_live() == 0);
        meet(&release->meeting);
    }
    return NULL;
}

static void *give_back(void *arg)
{
    struct release *release = arg;
    for (long i = 0; i < release->rounds; i++) {
        meet(&release->meeting);
        if (release->copy_too) {
            xctx_context *copy = xctx_copy(release->context);
            CHECK(copy != NULL);
            xctx_unref(release->context);
            CHECK(xctx_enter(copy) == 0);
            CHECK(counted_number(xctx_var_get(&counted)) == i);
            CHECK(xctx_exit(copy) == 0);
            xctx_unref(copy);
        } else {
            xctx_unref(release->context);
        }
        meet(&release->meeting);
        meet(&release->meeting);
    }
    return NULL;
}

static void check_release(struct release release)
{
    meeting_init(&release.meeting, 2);
    pthread_t threads[] = {spawn(enter_and_exit, &release), spawn(give_back, &release)};
    join(threads[0]);
    join(threads[1]);
    assert_int_equal(counted_live(), 0);
}

TEST(last_unref_at_the_moment_of_exit_releases_once)
{
    check_release((struct release){.rounds = scaled(4000)});
}

TEST(last_unref_after_a_copy_at_the_moment_of_exit_releases_once)
{
    check_release((struct release){.rounds = scaled(4000), .copy_too = true});
}

TEST(last_unref_at_the_moment_when_the_enterer_refers_again_releases_once)
{
    check_release((struct release){.rounds = scaled(4000), .ref_again = true});
}

TEST(last_unref_with_all_of_it_at_once_releases_once)
{
    check_release((struct release){.rounds = scaled(4000), .ref_again = true, .copy_too = true});
}

/* Many threads give back a reference each. */
static void *give_one_back(void *arg)
{
    struct release *release = arg;
    for (long i = 0; i < release->rounds; i++) {
        meet(&release->meeting);
        xctx_unref(release->context);
        meet(&release->meeting);
    }
    return NULL;
}

TEST(references_given_back_by_several_threads_at_once_release_once)
{
    struct release release = {.rounds = scaled(1000)};
    pthread_t threads[MOST - 1];
    meeting_init(&release.meeting, MOST);
    for (int i = 0; i < MOST - 1; i++)
        threads[i] = spawn(give_one_back, &release);
    for (long i = 0; i < release.rounds; i++) {
        xctx_context *context = xctx_new();
        CHECK(xctx_enter(context) == 0);
        counted_set(&counted, i);
        CHECK(xctx_exit(context) == 0);
        for (int j = 0; j < MOST - 1; j++)
            xctx_ref(context);
        release.context = context;
        meet(&release.meeting);
        xctx_unref(context);
        meet(&release.meeting);
        CHECK(counted_live() == 0);
    }
    for (int i = 0; i < MOST - 1; i++)
        join(threads[i]);
}

int main(void)
{
    return test_main("races for one context");
}
