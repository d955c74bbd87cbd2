/* SPDX-License-Identifier: MIT */
/* Variables without memory: create, set, reset, drop, scoped bindings; operations that fail. */
#include "fault.h"

/* ---- creating ---- */

static int call_create(struct world *world)
{
    const xctx_var_options options = {.initial = world};

    world->var = xctx_var_create("made", &options);
    return world->var ? 0 : -ENOMEM;
}

static void check_created(struct world *world)
{
    CHECK(strcmp(xctx_var_name(world->var), "made") == 0);
    CHECK(xctx_var_get(world->var) == world);
}

TEST(var_create_without_memory_gives_null)
{
    fail_each(&(struct scenario){.prepare = in_empty, .call = call_create, .succeeded = check_created});
    fail_each(&(struct scenario){.first_use = true, .call = call_create, .succeeded = check_created});
}

/* ---- setting: `setting` is the variable, and its value is values[3] or a number ---- */

static xctx_var *setting;
static bool with_token;

static void *value_for(struct world *world)
{
    return setting->options_.release ? (void *)world->values[3] : number(33);
}

static int call_set(struct world *world)
{
    return xctx_var_set(setting, value_for(world), with_token ? &world->token : NULL);
}

static void check_set(struct world *world)
{
    CHECK(xctx_var_get(setting) == value_for(world));
    if (with_token) {
        CHECK(xctx_var_reset(setting, &world->token) == 0);
        CHECK(xctx_var_reset(setting, &world->token) == -EALREADY);
        CHECK(xctx_var_get(setting) != value_for(world));
        CHECK(counted_refs(world->values[3]) == 1);
    }
    /* What the copy has is what it had. */
    if (world->contexts[1])
        CHECK(xctx_lookup(world->contexts[1], &plain, NULL) == 1 && xctx_var_get(&plain));
}

static void set_each_way(void (*prepare)(struct world *), xctx_var *var)
{
    setting = var;
    for (int token = 0; token < 2; token++) {
        with_token = token;
        fail_each(&(struct scenario){.prepare = prepare, .call = call_set, .succeeded = check_set});
    }
}

TEST(set_in_an_empty_context_without_memory_sets_nothing)
{
    set_each_way(in_empty, &plain);
    set_each_way(in_empty, &counted);
    set_each_way(in_empty, &far_plain);
    set_each_way(in_empty, &far_counted);
    set_each_way(in_empty, &farther_counted);
    set_each_way(in_empty, &hooked);
}

TEST(set_in_a_shared_context_without_memory_sets_nothing)
{
    set_each_way(in_shared, &plain);
    set_each_way(in_shared, &counted);
    set_each_way(in_shared, &far_plain);
    set_each_way(in_shared, &far_counted);
    set_each_way(in_shared, &farther_plain);
    set_each_way(in_shared, &farther_counted);
    set_each_way(in_shared, &merged);
    set_each_way(in_shared, &far_hooked);
}

/* With a tree that is too small for the variable. */
static void in_small_tree(struct world *world)
{
    enter_new(world, 0);
    make_values(world);
    set(&far_plain, number(3));
    set(&far_counted, world->values[0]);
}

static void in_small_shared_tree(struct world *world)
{
    in_small_tree(world);
    set(&plain, number(1));
    world->contexts[1] = xctx_copy_current();
    CHECK(world->contexts[1]);
}

TEST(set_that_makes_the_tree_higher_without_memory_sets_nothing)
{
    set_each_way(in_small_tree, &farther_plain);
    set_each_way(in_small_tree, &farther_counted);
    set_each_way(in_small_shared_tree, &farther_plain);
    set_each_way(in_small_shared_tree, &farther_counted);
}

static void outside_values(struct world *world)
{
    make_values(world);
}

TEST(set_on_first_use_of_a_thread_without_memory_sets_nothing)
{
    xctx_var *const vars[] = {&plain, &counted, &far_plain, &farther_counted};

    for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++) {
        setting = vars[i];
        for (int token = 0; token < 2; token++) {
            with_token = token;
            fail_each(&(struct scenario){
                .outside = outside_values, .first_use = true, .call = call_set, .succeeded = check_set});
        }
    }
}

static void in_shared_with_new_var(struct world *world)
{
    const xctx_var_options options = {.retain = counted_retain, .release = counted_release};

    in_shared(world);
    world->var = xctx_var_create("new", &options);
    CHECK(world->var);
}

static int call_set_new(struct world *world)
{
    CHECK(!xctx_var_get(world->var));
    int error = xctx_var_set(world->var, world->values[3], &world->token);
    CHECK(xctx_var_get(world->var) == (error ? NULL : world->values[3]));
    return error;
}

/* Enough rounds for several pages of the table of variables. */
TEST(set_of_a_variable_that_has_no_number_without_memory_sets_nothing)
{
    for (int i = 0; i < 3; i++)
        fail_each(&(struct scenario){.prepare = in_shared_with_new_var, .call = call_set_new});
}

/* ---- resetting ---- */

static void in_shared_after_set(struct world *world)
{
    in_shared(world);
    CHECK(xctx_var_set(setting, value_for(world), &world->token) == 0);
    world->contexts[3] = xctx_copy_current();
    CHECK(world->contexts[3]);
}

static int call_reset(struct world *world)
{
    return xctx_var_reset(setting, &world->token);
}

static void check_reset(struct world *world)
{
    void *value = NULL;

    CHECK(xctx_lookup(world->contexts[3], setting, &value) == 1 && value == value_for(world));
    CHECK(xctx_var_get(setting) != value);
    CHECK(xctx_equal(xctx_current(), world->contexts[1]));
    CHECK(xctx_var_reset(setting, &world->token) == -EALREADY);
}

TEST(reset_in_a_shared_context_without_memory_leaves_the_token_usable)
{
    xctx_var *const vars[] = {&plain,         &counted,         &merged,     &far_plain, &far_counted,
                              &farther_plain, &farther_counted, &far_merged, &hooked};

    for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++) {
        setting = vars[i];
        fail_each(&(struct scenario){.prepare = in_shared_after_set, .call = call_reset, .succeeded = check_reset});
    }
}

static void in_full_after_set(struct world *world)
{
    in_full(world);
    CHECK(xctx_var_set(setting, value_for(world), &world->token) == 0);
}

TEST(reset_in_an_unshared_context_needs_no_memory)
{
    xctx_var *const vars[] = {&plain, &counted, &far_plain, &far_counted, &farther_plain, &farther_counted};

    for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++) {
        setting = vars[i];
        fail_each(&(struct scenario){.prepare = in_full_after_set, .call = call_reset, .never_fails = true});
    }
}

static int call_drop(struct world *world)
{
    int before = counted_refs(world->values[0]);

    xctx_token_drop(&world->token);
    CHECK(counted_refs(world->values[0]) == before - 1);
    CHECK(xctx_var_reset(setting, &world->token) == -EALREADY);
    return 0;
}

TEST(drop_needs_no_memory)
{
    setting = &counted;
    fail_each(&(struct scenario){.prepare = in_full_after_set, .call = call_drop, .never_fails = true});
}

static void with_full_after_set(struct world *world)
{
    in_full_after_set(world);
    CHECK(xctx_exit(world->contexts[0]) == 0);
}

TEST(drop_on_first_use_of_a_thread_needs_no_memory)
{
    setting = &counted;
    fail_each(
        &(struct scenario){.outside = with_full_after_set, .first_use = true, .call = call_drop, .never_fails = true});
}

/* ---- scoped bindings ---- */

static int call_let(struct world *world)
{
    void *before = xctx_var_get(setting);
    int ran = 0;
    int otherwise = 0;

    XCTX_LET (setting, value_for(world)) {
        ran++;
        CHECK(xctx_var_get(setting) == value_for(world));
    }
    else
    {
        otherwise++;
    }
    CHECK(ran + otherwise == 1);
    CHECK(xctx_var_get(setting) == before);
    return ran ? 0 : -ENOMEM;
}

static void check_let(struct world *world)
{
    CHECK(counted_refs(world->values[3]) == 1);
}

TEST(let_without_memory_runs_its_else_instead)
{
    xctx_var *const vars[] = {&plain, &counted, &far_plain, &farther_counted};

    for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++) {
        setting = vars[i];
        fail_each(&(struct scenario){.prepare = in_empty, .call = call_let, .succeeded = check_let});
        fail_each(&(struct scenario){.prepare = in_shared, .call = call_let, .succeeded = check_let});
        fail_each(&(struct scenario){.prepare = in_small_shared_tree, .call = call_let, .succeeded = check_let});
        fail_each(
            &(struct scenario){.outside = outside_values, .first_use = true, .call = call_let, .succeeded = check_let});
    }
}

static int visit_nothing(xctx_var *var, void *value, void *user)
{
    (void)var;
    (void)value;
    (void)user;
    return 0;
}

/* The end of a block cannot fail, whatever it copies and sets, and whichever of that runs out of memory. */
static int call_busy_let(struct world *world)
{
    void *before = xctx_var_get(setting);

    XCTX_LET (setting, value_for(world)) {
        XCTX_LET (setting, NULL) {
            xctx_context *copy = xctx_copy_current();
            CHECK(!copy || xctx_lookup(copy, setting, NULL) == 1);
            (void)xctx_each(xctx_current(), visit_nothing, NULL);
            (void)xctx_var_set(&farther_plain, number(5), NULL);
            xctx_context *another = xctx_copy(xctx_current());
            CHECK(!xctx_var_get(setting));
            CHECK(xctx_var_set(setting, NULL, NULL) == 0 || setting->options_.release);
            xctx_unref(copy);
            xctx_unref(another);
        }
        CHECK(xctx_var_get(setting) == value_for(world));
    }
    CHECK(xctx_var_get(setting) == before);
    return 0;
}

TEST(the_end_of_a_block_undoes_without_memory)
{
    xctx_var *const vars[] = {&plain, &counted, &far_plain, &far_counted, &farther_counted};

    for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++) {
        setting = vars[i];
        fail_each(
            &(struct scenario){.prepare = in_full, .call = call_busy_let, .succeeded = check_let, .never_fails = true});
        fail_each(&(struct scenario){
            .prepare = in_shared, .call = call_busy_let, .succeeded = check_let, .never_fails = true});
    }
}

static void *copy_it(void *argument)
{
    return xctx_copy(argument);
}

TEST(the_end_of_a_block_undoes_without_memory_after_another_thread_has_copied_its_context)
{
    xctx_var *const vars[] = {&plain, &counted, &far_plain, &far_counted, &farther_counted};

    for (size_t i = 0; i < sizeof(vars) / sizeof(vars[0]); i++) {
        struct world world = {0};
        xctx_context *copy = NULL;

        setting = vars[i];
        in_shared(&world);
        set(&farther_counted, world.values[2]);
        hoard(&world);
        void *before = xctx_var_get(setting);
        XCTX_LET (setting, value_for(&world)) {
            copy = on_thread(copy_it, world.contexts[0]);
            xctx__test_fail_allocation(1);
        }
        xctx__test_fail_allocation(0);
        assert_non_null(copy);
        assert_ptr_equal(xctx_var_get(setting), before);
        void *copied = NULL;
        assert_int_equal(xctx_lookup(copy, setting, &copied), 1);
        assert_ptr_equal(copied, value_for(&world));
        xctx_unref(copy);
        assert_int_equal(xctx_exit(world.contexts[0]), 0);
        world_finish(&world);
    }
}

/* ---- operations that fail ---- */

static bool refusing;

static void *refusing_retain(void *value)
{
    return refusing ? NULL : counted_retain(value);
}

static void *refusing_clone(void *value)
{
    return refusing ? NULL : counted_clone(value);
}

static void *refusing_merge(void *parent, void *child)
{
    return refusing ? XCTX_RESERVED_VALUE : fault_merge(parent, child);
}

XCTX_VAR_DEFINE(refused, .retain = refusing_retain, .release = counted_release, .clone = refusing_clone,
                .merge = refusing_merge, .flow = XCTX_FLOW_CLONE);
XCTX_VAR_DEFINE(later_merged, .retain = counted_retain, .release = counted_release, .merge = fault_merge);

TEST(set_with_a_retain_that_fails_sets_nothing)
{
    struct counted *value = counted_new(1);
    xctx_token token = {0};

    assert_int_equal(xctx_var_set(&refused, value, NULL), 0);
    refusing = true;
    assert_int_equal(xctx_var_set(&refused, NULL, NULL), 0);
    assert_int_equal(xctx_var_set(&refused, value, &token), -ENOMEM);
    assert_null(xctx_var_get(&refused));
    int otherwise = 0;
    XCTX_LET (&refused, value) {
        fail();
    }
    else
    {
        otherwise++;
    }
    assert_int_equal(otherwise, 1);
    refusing = false;
    assert_int_equal(counted_refs(value), 1);
    assert_int_equal(xctx_var_set(&refused, value, &token), 0);
    assert_int_equal(xctx_var_reset(&refused, &token), 0);
    counted_drop(value);
}

TEST(copy_with_a_clone_that_fails_gives_null)
{
    struct counted *value = counted_new(1);

    assert_int_equal(xctx_var_set(&cloned, value, NULL), 0);
    assert_int_equal(xctx_var_set(&refused, value, NULL), 0);
    assert_int_equal(xctx_var_set(&far_cloned, value, NULL), 0);
    refusing = true;
    assert_null(xctx_copy_current());
    assert_null(xctx_copy(xctx_current()));
    assert_null(xctx_copy_current_with(XCTX_CAPTURE_STATE));
    assert_null(xctx_bind(counted_retain, NULL));
    refusing = false;
    assert_int_equal(counted_refs(value), 4);
    assert_int_equal(counted_live(), 1);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(counted_live(), 4);
    xctx_unref(copy);
    assert_int_equal(counted_live(), 1);
    counted_drop(value);
}

TEST(merge_with_a_merge_that_fails_merges_nothing)
{
    struct counted *value = counted_new(1);
    xctx_context *child = xctx_new();

    assert_int_equal(xctx_enter(child), 0);
    assert_int_equal(xctx_var_set(&merged, value, NULL), 0);
    assert_int_equal(xctx_var_set(&refused, value, NULL), 0);
    assert_int_equal(xctx_var_set(&later_merged, value, NULL), 0);
    assert_int_equal(xctx_exit(child), 0);
    refusing = true;
    assert_int_equal(xctx_merge(child), -ENOMEM);
    refusing = false;
    assert_int_equal(xctx_count(xctx_current()), 0);
    assert_int_equal(counted_live(), 1);
    assert_int_equal(xctx_merge(child), 0);
    assert_int_equal(xctx_count(xctx_current()), 3);
    xctx_unref(child);
    counted_drop(value);
}

/* ---- more variables than there are numbers: the last test, as none are left behind it ---- */

TEST(variables_beyond_the_last_number_give_enospc_and_the_others_work_on)
{
    enum { MOST = XCTX__VAR_PAGES << XCTX__VAR_PAGE_BITS };
    struct counted *value = counted_new(1);
    const xctx_var_options options = {.retain = counted_retain, .release = counted_release};
    int made = 0;
    int error = 0;

    while (made <= MOST && !error) {
        xctx_var *var = xctx_var_create("one more", &options);
        assert_non_null(var);
        error = xctx_var_set(var, value, NULL);
        made += !error;
        assert_ptr_equal(xctx_var_get(var), error ? NULL : value);
        xctx_var_unref(var);
    }
    assert_int_equal(error, -ENOSPC);
    assert_int_equal(counted_refs(value), 1 + made);
    assert_int_equal(xctx_count(xctx_current()), made);
    assert_int_equal(xctx_var_set(&far_plain, number(1), NULL), 0);
    xctx_context *copy = xctx_copy_current();
    assert_true(xctx_equal(copy, xctx_current()));
    xctx_unref(copy);
    counted_drop(value);
}

int main(void)
{
    return test_main("variables without memory");
}
