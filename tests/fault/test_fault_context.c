/* SPDX-License-Identifier: MIT */
/* Contexts without memory: new, copy, enter, run, look, merge, release. */
#include "fault.h"

/* ---- making and copying ---- */

static int call_new(struct world *world)
{
    world->made = xctx_new();
    return world->made ? 0 : -ENOMEM;
}

TEST(new_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_empty, .call = call_new});
    fail_each(&(struct scenario){.first_use = true, .call = call_new});
}

static int call_copy_current(struct world *world)
{
    world->made = xctx_copy_current();
    return world->made ? 0 : -ENOMEM;
}

static void check_full_copy(struct world *world)
{
    void *value = NULL;

    CHECK(xctx_lookup(world->made, &plain, &value) == 1 && value == number(1));
    CHECK(xctx_lookup(world->made, &cloned, &value) == 1 && value != world->values[1] && counted_number(value) == 2);
    CHECK(xctx_lookup(world->made, &far_cloned, &value) == 1 && value != world->values[1]);
    CHECK(xctx_lookup(world->made, &unshared, NULL) == 0);
    CHECK(xctx_lookup(world->made, &far_counted, &value) == 1 && value == world->values[0]);
}

TEST(copy_of_the_current_context_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_empty, .call = call_copy_current});
    fail_each(&(struct scenario){.prepare = in_shared, .call = call_copy_current});
    fail_each(&(struct scenario){.first_use = true, .call = call_copy_current});
}

TEST(copy_with_flows_without_memory_gives_null_and_releases_what_it_cloned)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_copy_current, .succeeded = check_full_copy});
}

static int call_copy(struct world *world)
{
    world->made = xctx_copy(world->contexts[2]);
    return world->made ? 0 : -ENOMEM;
}

TEST(copy_of_another_context_without_memory_gives_null)
{
    fail_each(
        &(struct scenario){.prepare = with_full, .call = call_copy, .succeeded = check_full_copy, .may_go_on = true});
    fail_each(&(struct scenario){
        .outside = with_full, .first_use = true, .call = call_copy, .succeeded = check_full_copy, .may_go_on = true});
}

TEST(copy_of_a_context_that_another_thread_has_entered_without_memory_gives_null)
{
    for (int bias = 1; bias >= 0; bias--) {
        xctx__test_set_bias(bias);
        struct counted *value = counted_new(1);
        set(&counted, value);
        set(&far_counted, value);
        for (int n = 1; n < 20; n++) {
            const struct scenario scenario = {.first_use = true, .call = call_copy, .may_go_on = true};
            struct round round = {.scenario = &scenario, .nth = n};
            round.world.contexts[2] = xctx_ref(xctx_current());
            look_at_contexts(&round.world, round.world.counts, round.world.looked_up);
            on_thread(run_round, &round);
            assert_true(xctx_equal(round.world.made, xctx_current()));
            world_finish(&round.world);
            assert_int_equal(counted_refs(value), 3);
            if (!round.reached) {
                assert_true(n > 1);
                break;
            }
        }
        set(&counted, NULL);
        set(&far_counted, NULL);
        assert_int_equal(counted_refs(value), 1);
        counted_drop(value);
    }
    xctx__test_set_bias(1);
}

static int call_copy_within_let(struct world *world)
{
    int error = -ENOMEM;
    int ran = 0;

    XCTX_LET (&counted, world->values[3]) {
        ran++;
        error = call_copy_current(world);
    }
    else
    {
        ran++;
    }
    CHECK(ran == 1);
    return error;
}

static void check_let_copy(struct world *world)
{
    void *value = NULL;

    CHECK(xctx_lookup(world->made, &counted, &value) == 1 && value == world->values[3]);
    CHECK(xctx_var_get(&counted) != world->values[3]);
}

TEST(copy_within_a_scoped_binding_without_memory_gives_null_and_the_binding_is_undone)
{
    fail_each(&(struct scenario){.prepare = in_empty, .call = call_copy_within_let, .succeeded = check_let_copy});
    fail_each(&(struct scenario){.prepare = in_full, .call = call_copy_within_let, .succeeded = check_let_copy});
    fail_each(&(struct scenario){.prepare = in_shared, .call = call_copy_within_let, .succeeded = check_let_copy});
}

static int call_copies_in_a_row(struct world *world)
{
    xctx_context *copies[12];
    int error = 0;
    int n = 0;

    while (n < 12 && !error) {
        copies[n] = xctx_copy(world->contexts[2]);
        if (copies[n])
            n++;
        else
            error = -ENOMEM;
    }
    while (n > 0) {
        n--;
        CHECK(xctx_equal(copies[n], copies[0]));
        xctx_unref(copies[n]);
    }
    return error;
}

static void with_plain(struct world *world)
{
    make_values(world);
    enter_new(world, 2);
    set(&plain, number(1));
    set(&far_counted, world->values[0]);
    CHECK(xctx_exit(world->contexts[2]) == 0);
}

/* Then the context changes, and the copies after that show it. */
static void change_it(struct world *world)
{
    void *value = NULL;

    CHECK(xctx_enter(world->contexts[2]) == 0);
    set(&plain, number(9));
    CHECK(xctx_exit(world->contexts[2]) == 0);
    world->made = xctx_copy(world->contexts[2]);
    CHECK(xctx_lookup(world->made, &plain, &value) == 1 && value == number(9));
}

TEST(many_copies_in_a_row_go_on_without_the_memory_that_makes_them_quick)
{
    fail_each(&(struct scenario){
        .prepare = with_plain, .call = call_copies_in_a_row, .succeeded = change_it, .may_go_on = true});
    fail_each(&(struct scenario){.outside = with_plain,
                                 .first_use = true,
                                 .call = call_copies_in_a_row,
                                 .succeeded = change_it,
                                 .may_go_on = true});
}

XCTX_VAR_DEFINE(captured_counted, .retain = counted_retain, .release = counted_release, .capture = fault_capture);

static int call_capture(struct world *world)
{
    world->made = xctx_copy_current_with(XCTX_CAPTURE_STATE);
    return world->made ? 0 : -ENOMEM;
}

static void check_capture(struct world *world)
{
    xctx_var *const capsules[] = {&xctx_state_fpenv, &xctx_state_locale,   &xctx_state_sigmask,
                                  &xctx_state_name,  &xctx_state_affinity, &xctx_state_sched};
    void *value = NULL;

    CHECK(xctx_lookup(world->made, &captured_counted, &value) == 1 && counted_number(value) == 99);
    for (size_t i = 0; i < sizeof(capsules) / sizeof(capsules[0]); i++)
        CHECK(xctx_lookup(world->made, capsules[i], NULL) == 1);
}

TEST(copy_with_capture_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_capture, .succeeded = check_capture});
    fail_each(&(struct scenario){.first_use = true, .call = call_capture, .succeeded = check_capture});
}

/* ---- entering and leaving ---- */

static int call_enter(struct world *world)
{
    long before = applied_now;
    int error = xctx_enter(world->contexts[2]);

    CHECK(!error || applied_now == before);
    return error;
}

static void check_entered(struct world *world)
{
    CHECK(xctx_current() == world->contexts[2]);
    CHECK(xctx_var_get(&plain) == number(1));
    CHECK(xctx_exit(world->contexts[2]) == 0);
    CHECK(applied_now == 0);
}

static void in_empty_with_hooked(struct world *world)
{
    with_hooked(world);
    enter_new(world, 0);
}

TEST(enter_without_memory_enters_nothing)
{
    fail_each(&(struct scenario){.prepare = in_empty_with_hooked, .call = call_enter, .succeeded = check_entered});
    fail_each(
        &(struct scenario){.outside = with_hooked, .first_use = true, .call = call_enter, .succeeded = check_entered});
    fail_each(
        &(struct scenario){.outside = with_full, .first_use = true, .call = call_enter, .succeeded = check_entered});
}

static void *note_run(void *argument)
{
    struct world *world = argument;

    CHECK(xctx_current() == world->contexts[2]);
    CHECK(applied_now == 2);
    return number(7);
}

static int call_run(struct world *world)
{
    return xctx_run(world->contexts[2], note_run, world, &world->result);
}

static void check_run(struct world *world)
{
    CHECK(world->result == number(7));
    CHECK(applied_now == 0);
}

TEST(run_without_memory_calls_nothing)
{
    fail_each(&(struct scenario){.prepare = in_empty_with_hooked, .call = call_run, .succeeded = check_run});
    fail_each(&(struct scenario){.outside = with_hooked, .first_use = true, .call = call_run, .succeeded = check_run});
}

static void in_hooked(struct world *world)
{
    in_empty_with_hooked(world);
    CHECK(xctx_enter(world->contexts[2]) == 0);
    world->contexts[1] = xctx_copy_current();
    CHECK(world->contexts[1]);
}

static int call_exit(struct world *world)
{
    int error = xctx_exit(world->contexts[2]);

    CHECK(xctx_current() == world->contexts[0]);
    CHECK(applied_now == 0);
    return error;
}

TEST(exit_needs_no_memory)
{
    fail_each(&(struct scenario){.prepare = in_hooked, .call = call_exit, .never_fails = true});
}

/* ---- what must not fail ---- */

static int call_looks(struct world *world)
{
    void *value = NULL;

    CHECK(xctx_lookup(world->contexts[2], &far_plain, &value) == 1 && value == number(3));
    CHECK(xctx_count(world->contexts[2]) == 9);
    CHECK(xctx_equal(world->contexts[2], world->contexts[2]));
    CHECK(!xctx_equal(world->contexts[2], world->contexts[3]));
    CHECK(xctx_exit(world->contexts[2]) == -EINVAL);
    CHECK(!xctx_current());
    return 0;
}

static void with_full_and_empty(struct world *world)
{
    with_full(world);
    world->contexts[3] = xctx_new();
    CHECK(world->contexts[3]);
}

TEST(looking_into_a_context_needs_no_memory_on_a_new_thread)
{
    fail_each(
        &(struct scenario){.outside = with_full_and_empty, .first_use = true, .call = call_looks, .never_fails = true});
}

static int call_unref(struct world *world)
{
    int before = counted_refs(world->values[0]);

    CHECK(before == 3);
    world->contexts[2] = xctx_unref(world->contexts[2]);
    CHECK(counted_refs(world->values[0]) == 1);
    return 0;
}

TEST(unref_needs_no_memory_and_releases_at_once)
{
    fail_each(&(struct scenario){.prepare = with_full, .call = call_unref, .never_fails = true});
    fail_each(&(struct scenario){.outside = with_full, .first_use = true, .call = call_unref, .never_fails = true});
    fail_each(&(struct scenario){.outside = with_hooked, .first_use = true, .call = call_unref, .never_fails = true});
}

static int count_visit(xctx_var *var, void *value, void *user)
{
    (void)var;
    (void)value;
    ++*(int *)user;
    return 0;
}

static int call_each(struct world *world)
{
    int count = 0;
    int error = xctx_each(world->contexts[2], count_visit, &count);

    CHECK(count == (error ? 0 : 9));
    return error;
}

TEST(each_without_memory_visits_all_or_none)
{
    fail_each(&(struct scenario){.prepare = with_full, .call = call_each, .may_go_on = true, .never_fails = true});
    fail_each(&(struct scenario){
        .outside = with_full, .first_use = true, .call = call_each, .may_go_on = true, .never_fails = true});
}

static int call_each_within_let(struct world *world)
{
    int error = -ENOMEM;

    XCTX_LET (&plain, number(5)) {
        int count = 0;
        error = xctx_each(world->contexts[0], count_visit, &count);
        CHECK(count == (error ? 0 : 9));
    }
    return error;
}

TEST(each_within_a_scoped_binding_without_memory_visits_none)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_each_within_let});
}

/* ---- merging ---- */

static void full_and_child(struct world *world)
{
    with_full(world);
    enter_new(world, 0);
    set(&merged, world->values[3]);
    set(&far_plain, number(8));
}

static int call_merge(struct world *world)
{
    return xctx_merge(world->contexts[2]);
}

static void check_merge(struct world *world)
{
    CHECK(counted_number(xctx_var_get(&merged)) == 43);
    CHECK(counted_number(xctx_var_get(&far_merged)) == 3);
    CHECK(xctx_var_get(&far_plain) == number(8));
    CHECK(xctx_var_get(&counted) == NULL);
    CHECK(counted_refs(world->values[3]) == 1);
}

static void full_and_shared(struct world *world)
{
    full_and_child(world);
    world->contexts[1] = xctx_copy_current();
    CHECK(world->contexts[1]);
}

static void check_merge_shared(struct world *world)
{
    CHECK(counted_number(xctx_var_get(&merged)) == 43);
    CHECK(counted_refs(world->values[3]) == 2);
}

static void check_merge_first(struct world *world)
{
    CHECK(counted_number(xctx_var_get(&merged)) == 3);
    (void)world;
}

TEST(merge_without_memory_merges_nothing)
{
    fail_each(
        &(struct scenario){.prepare = full_and_child, .call = call_merge, .succeeded = check_merge, .may_go_on = true});
    fail_each(&(struct scenario){
        .prepare = full_and_shared, .call = call_merge, .succeeded = check_merge_shared, .may_go_on = true});
    fail_each(&(struct scenario){.outside = with_full,
                                 .first_use = true,
                                 .call = call_merge,
                                 .succeeded = check_merge_first,
                                 .may_go_on = true});
}

static int call_merge_within_let(struct world *world)
{
    int error = -ENOMEM;

    XCTX_LET (&plain, number(5)) {
        error = xctx_merge(world->contexts[2]);
    }
    return error;
}

TEST(merge_within_a_scoped_binding_without_memory_merges_nothing)
{
    fail_each(&(struct scenario){
        .prepare = full_and_child, .call = call_merge_within_let, .succeeded = check_merge, .may_go_on = true});
}

/* ---- watchers ---- */

static void ignore_switch(xctx_context *current, void *user)
{
    (void)current;
    (void)user;
}

static int call_watch(struct world *world)
{
    (void)world;
    int id = xctx_watch(ignore_switch, NULL);
    CHECK(id >= 0);
    CHECK(xctx_unwatch(id) == 0);
    return 0;
}

TEST(watch_and_unwatch_need_no_memory)
{
    fail_each(&(struct scenario){.first_use = true, .call = call_watch, .never_fails = true});
}

int main(void)
{
    return test_main("contexts without memory");
}
