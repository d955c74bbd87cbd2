/* SPDX-License-Identifier: MIT */
/* Captures without memory: nothing is captured, and nothing has changed. See fault.h. */
#include <xctx/redact.h>
#include <xctx/snapshot.h>

#include "fault.h"

static xctx_snapshot *made[WORLD_CONTEXTS]; /* what a round has made; it ends without any */

static int drop(xctx_snapshot *snapshot)
{
    if (!snapshot)
        return -ENOMEM;
    xctx_snapshot_unref(snapshot);
    return 0;
}

static void check_values_of(xctx_snapshot *snapshot, struct world *world)
{
    void *value = NULL;
    xctx_context *context = xctx_snapshot_context(snapshot);
    if (!context) /* that needs memory, too */
        return;
    CHECK(xctx_lookup(context, &plain, &value) == 1 && value == number(1));
    CHECK(xctx_lookup(context, &far_counted, &value) == 1 && value == world->values[0]);
}

static int call_take(struct world *world)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    if (snapshot)
        check_values_of(snapshot, world);
    return drop(snapshot);
}

TEST(take_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_take, .may_go_on = true});
}

static int call_take_first(struct world *world)
{
    (void)world;
    return drop(xctx_snapshot_take(XCTX_CAPTURE_ALL));
}

TEST(take_on_first_use_of_a_thread_without_memory_gives_null)
{
    fail_each(&(struct scenario){.first_use = true, .call = call_take_first});
}

static int call_take_within_let(struct world *world)
{
    int error = -ENOMEM;

    XCTX_LET (&farther_counted, world->values[3]) {
        error = drop(xctx_snapshot_take(XCTX_CAPTURE_LOCALS | XCTX_CAPTURE_STATE));
    }
    return error;
}

TEST(take_within_a_scoped_binding_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_take_within_let});
}

static int call_reserve(struct world *world)
{
    (void)world;
    return drop(xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 5000));
}

TEST(reserve_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_reserve});
    fail_each(&(struct scenario){.first_use = true, .call = call_reserve});
}

static void with_reserved(struct world *world)
{
    in_full(world);
    made[0] = xctx_snapshot_reserve(XCTX_CAPTURE_ALL, 0);
    CHECK(made[0]);
}

static int call_fill(struct world *world)
{
    (void)world;
    CHECK(xctx_snapshot_fill(made[0], XCTX_CAPTURE_ALL, NULL) == 0);
    return 0;
}

static void check_filled(struct world *world)
{
    CHECK(xctx_snapshot_captured(made[0]) == XCTX_CAPTURE_ALL);
    check_values_of(made[0], world);
    made[0] = xctx_snapshot_unref(made[0]);
}

TEST(fill_needs_no_memory)
{
    fail_each(&(struct scenario){
        .prepare = with_reserved, .call = call_fill, .succeeded = check_filled, .never_fails = true});
}

/* The binding itself needs memory. */
static int call_fill_within_let(struct world *world)
{
    int error = -ENOMEM;

    XCTX_LET (&farther_counted, world->values[3]) {
        error = call_fill(world);
    }
    return error;
}

TEST(fill_within_a_scoped_binding_needs_no_memory)
{
    fail_each(&(struct scenario){.prepare = with_reserved, .call = call_fill_within_let, .succeeded = check_filled});
}

static int call_reset(struct world *world)
{
    call_fill(world);
    CHECK(xctx_snapshot_reset(made[0]) == 0);
    return 0;
}

static void check_reset(struct world *world)
{
    (void)world;
    made[0] = xctx_snapshot_unref(made[0]);
}

TEST(reset_needs_no_memory)
{
    fail_each(&(struct scenario){
        .prepare = with_reserved, .call = call_reset, .succeeded = check_reset, .never_fails = true});
}

static void with_taken(struct world *world)
{
    in_full(world);
    made[0] = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    CHECK(made[0]);
}

static void with_taken_and_left(struct world *world)
{
    with_taken(world);
    CHECK(xctx_exit(world->contexts[0]) == 0);
}

static int call_context(struct world *world)
{
    (void)world;
    return xctx_snapshot_context(made[0]) ? 0 : -ENOMEM;
}

TEST(context_of_a_snapshot_without_memory_is_null_and_can_be_asked_for_again)
{
    fail_each(&(struct scenario){.prepare = with_taken, .call = call_context, .succeeded = check_filled});
    fail_each(&(struct scenario){
        .outside = with_taken_and_left, .first_use = true, .call = call_context, .succeeded = check_filled});
}

static int call_unref(struct world *world)
{
    (void)world;
    made[0] = xctx_snapshot_unref(made[0]);
    return 0;
}

TEST(unref_needs_no_memory)
{
    fail_each(&(struct scenario){.prepare = with_taken, .call = call_unref, .never_fails = true});
    fail_each(
        &(struct scenario){.outside = with_taken_and_left, .first_use = true, .call = call_unref, .never_fails = true});
}

/* ---- copies that carry one ---- */

static int call_copy(struct world *world)
{
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_ALL);
    if (!copy)
        return -ENOMEM;
    CHECK(xctx_snapshot_captured(xctx_snapshot_of(copy)) == XCTX_CAPTURE_ALL);
    check_values_of(xctx_snapshot_of(copy), world);
    xctx_unref(copy);
    return 0;
}

static int call_copy_first(struct world *world)
{
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STACK);
    (void)world;
    xctx_unref(copy);
    return copy ? 0 : -ENOMEM;
}

TEST(copy_with_capture_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_copy, .may_go_on = true});
    fail_each(&(struct scenario){.first_use = true, .call = call_copy_first});
}

static int call_copy_by_default(struct world *world)
{
    CHECK(xctx_set_default_capture(XCTX_CAPTURE_ALL) == 0);
    xctx_context *copy = xctx_copy_current();
    CHECK(xctx_set_default_capture(0) == 0);
    CHECK(!copy || xctx_snapshot_of(copy));
    (void)world;
    xctx_unref(copy);
    return copy ? 0 : -ENOMEM;
}

TEST(copy_with_default_capture_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_copy_by_default});
    fail_each(&(struct scenario){.prepare = in_shared, .call = call_copy_by_default});
    fail_each(&(struct scenario){.first_use = true, .call = call_copy_by_default});
}

static void *do_nothing(void *argument)
{
    return argument;
}

static int call_bind(struct world *world)
{
    xctx_bound *bound = xctx_bind_with(do_nothing, world, XCTX_CAPTURE_ALL);
    xctx_bound_unref(bound);
    return bound ? 0 : -ENOMEM;
}

TEST(bind_with_capture_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_bind});
    fail_each(&(struct scenario){.first_use = true, .call = call_bind});
}

static int call_thread_create(struct world *world)
{
    pthread_t thread;
    CHECK(xctx_set_default_capture(XCTX_CAPTURE_STACK | XCTX_CAPTURE_LOCALS) == 0);
    int error = xctx_thread_create(&thread, NULL, do_nothing, world);
    CHECK(xctx_set_default_capture(0) == 0);
    CHECK(error == 0 || error == EAGAIN);
    if (error == 0)
        CHECK(join(thread) == world);
    return error ? -ENOMEM : 0;
}

TEST(thread_create_with_default_capture_without_memory_starts_nothing)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_thread_create});
    fail_each(&(struct scenario){.first_use = true, .call = call_thread_create});
}

/* ---- chains ---- */

enum { PARENTS = 4 };

static void with_full_chain(struct world *world)
{
    in_full(world);
    CHECK(xctx_set_chain_limits(PARENTS, SIZE_MAX) == 0);
    for (int i = 0; i <= PARENTS; i++) {
        xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STACK);
        CHECK(copy && xctx_enter(copy) == 0);
        xctx_unref(copy);
    }
    CHECK(xctx_set_chain_limits(XCTX_SNAPSHOT_PARENTS_DEFAULT, XCTX_SNAPSHOT_CHAIN_DEFAULT) == 0);
}

/* Without memory for the shortened chain the past is dropped, and the snapshot is there. */
static int call_take_too_long(struct world *world)
{
    (void)world;
    CHECK(xctx_set_chain_limits(PARENTS, SIZE_MAX) == 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_STACK);
    CHECK(xctx_set_chain_limits(XCTX_SNAPSHOT_PARENTS_DEFAULT, XCTX_SNAPSHOT_CHAIN_DEFAULT) == 0);
    int parents = 0;
    for (xctx_snapshot *link = xctx_snapshot_parent(snapshot); link; link = xctx_snapshot_parent(link))
        parents++;
    CHECK(parents <= PARENTS);
    return drop(snapshot);
}

TEST(take_where_the_chain_is_full_without_memory_drops_the_past_or_gives_null)
{
    fail_each(&(struct scenario){.prepare = with_full_chain, .call = call_take_too_long, .may_go_on = true});
}

static int call_redact(struct world *world)
{
    (void)world;
    CHECK(xctx_redact(XCTX_REDACT_VARIABLE, "*fault*") == 0);
    return 0;
}

TEST(redact_needs_no_memory)
{
    fail_each(&(struct scenario){.prepare = in_full, .call = call_redact, .never_fails = true});
}

int main(void)
{
    return test_main("captures without memory");
}
