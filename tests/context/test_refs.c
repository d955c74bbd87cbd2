/* SPDX-License-Identifier: MIT */
/* References to values: one release for each retain, when the last holder goes, from wherever that happens. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

TEST(set_retains_once)
{
    struct counted *value = counted_new(1);
    counted_reset();
    assert_int_equal(xctx_var_set(&counted, value, NULL), 0);
    assert_int_equal(counted_retained, 1);
    assert_int_equal(counted_released, 0);
    counted_drop(value);
}

TEST(set_of_the_same_value_again_retains_again_and_releases_the_first)
{
    struct counted *value = counted_new(1);
    assert_int_equal(xctx_var_set(&counted, value, NULL), 0);
    counted_reset();
    assert_int_equal(xctx_var_set(&counted, value, NULL), 0);
    assert_int_equal(counted_retained, 1);
    assert_int_equal(counted_released, 1);
    counted_drop(value);
}

TEST(get_find_and_lookup_retain_nothing)
{
    void *value = NULL;
    counted_set(&counted, 1);
    counted_reset();
    xctx_var_get(&counted);
    assert_int_equal(xctx_var_find(&counted, &value), 1);
    assert_int_equal(xctx_lookup(xctx_current(), &counted, &value), 1);
    assert_int_equal(counted_retained, 0);
    assert_int_equal(counted_released, 0);
}

TEST(replaced_value_is_released_at_once)
{
    struct counted *value = counted_new(1);
    assert_int_equal(xctx_var_set(&counted, value, NULL), 0);
    counted_set(&counted, 2);
    assert_int_equal(counted_refs(value), 1);
    counted_drop(value);
}

TEST(reset_value_is_released_at_once)
{
    xctx_token token;
    struct counted *value = counted_new(1);
    assert_int_equal(xctx_var_set(&counted, value, &token), 0);
    assert_int_equal(xctx_var_reset(&counted, &token), 0);
    assert_int_equal(counted_refs(value), 1);
    counted_drop(value);
}

TEST(value_is_released_with_the_last_of_its_copies)
{
    enum { COPIES = 10 };
    xctx_context *copies[COPIES];
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 1);
    for (int i = 0; i < COPIES; i++)
        copies[i] = xctx_copy_current();
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    for (int i = 0; i < COPIES; i++) {
        assert_int_equal(counted_live(), 1);
        xctx_unref(copies[i]);
    }
    assert_int_equal(counted_live(), 0);
}

TEST(set_after_copies_retains_only_the_new_value)
{
    counted_set(&counted, 1);
    xctx_context *copy = xctx_copy_current();
    struct counted *second = counted_new(2);
    counted_reset();
    assert_int_equal(xctx_var_set(&counted, second, NULL), 0);
    assert_int_equal(counted_retained, 1);
    assert_int_equal(counted_released, 0);
    counted_drop(second);
    xctx_unref(copy);
    assert_int_equal(counted_released, 1);
}

static void *unref_context(void *context)
{
    xctx_unref(context);
    return number(counted_live());
}

TEST(value_is_released_on_the_thread_that_gives_the_last_reference_back)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 1);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(as_number(on_thread(unref_context, context)), 0);
}

TEST(copy_released_on_another_thread_leaves_the_value_to_the_original)
{
    counted_set(&counted, 1);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(as_number(on_thread(unref_context, copy)), 1);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
}

TEST(many_sets_resets_and_copies_release_as_often_as_they_retain)
{
    enum { DEPTH = 20 };
    xctx_token tokens[DEPTH];
    xctx_context *copies[DEPTH];
    counted_reset();
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    for (int i = 0; i < DEPTH; i++) {
        struct counted *value = counted_new(i);
        assert_int_equal(xctx_var_set(&counted, value, &tokens[i]), 0);
        counted_drop(value);
        copies[i] = xctx_copy_current();
    }
    for (int i = 0; i < DEPTH; i += 2)
        assert_int_equal(xctx_var_reset(&counted, &tokens[i]), 0);
    for (int i = 1; i < DEPTH; i += 2)
        xctx_token_drop(&tokens[i]);
    for (int i = 0; i < DEPTH; i++)
        xctx_unref(copies[i]);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    assert_int_equal(counted_retained, DEPTH);
    assert_int_equal(counted_released, DEPTH);
    assert_int_equal(counted_live(), 0);
}

/* Values whose release operation uses the library. */
static XCTX_VAR_DEFINE(plain);
static int callbacks;

static void release_and_call_back(void *value)
{
    callbacks++;
    xctx_context *context = xctx_copy_current();
    CHECK(context != NULL);
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(&plain, value, NULL) == 0);
    CHECK(xctx_var_get(&plain) == value);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    XCTX_LET (&plain, value) {
        CHECK(xctx_count(xctx_current()) >= 1);
    }
}

static void *retain_same(void *value)
{
    return value;
}

static XCTX_VAR_DEFINE(calling_back, .retain = retain_same, .release = release_and_call_back);

TEST(release_during_set_may_use_the_library)
{
    callbacks = 0;
    assert_int_equal(xctx_var_set(&calling_back, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&calling_back, number(2), NULL), 0);
    assert_int_equal(callbacks, 1);
    assert_int_equal(as_number(xctx_var_get(&calling_back)), 2);
}

TEST(release_during_reset_may_use_the_library)
{
    xctx_token token;
    callbacks = 0;
    assert_int_equal(xctx_var_set(&calling_back, number(1), &token), 0);
    assert_int_equal(xctx_var_reset(&calling_back, &token), 0);
    assert_int_equal(callbacks, 1);
    assert_int_equal(xctx_var_find(&calling_back, NULL), 0);
}

TEST(release_during_exit_and_unref_may_use_the_library)
{
    callbacks = 0;
    xctx_context *before = xctx_current();
    for (int entered_last = 0; entered_last < 2; entered_last++) {
        xctx_context *context = xctx_new();
        assert_int_equal(xctx_enter(context), 0);
        assert_int_equal(xctx_var_set(&calling_back, number(1), NULL), 0);
        if (entered_last)
            xctx_unref(context);
        assert_int_equal(xctx_exit(context), 0);
        if (!entered_last)
            xctx_unref(context);
        assert_ptr_equal(xctx_current(), before);
    }
    assert_int_equal(callbacks, 2);
}

static void *set_calling_back(void *arg)
{
    CHECK(xctx_var_set(&calling_back, arg, NULL) == 0);
    return NULL;
}

TEST(release_during_the_end_of_a_thread_may_use_the_library)
{
    callbacks = 0;
    on_thread(set_calling_back, number(1));
    assert_int_equal(callbacks, 1);
}

/* The value of `again` sets `again` when it is released, which can make the next release due. */
static bool set_again;
static void release_and_set_again(void *value);

static XCTX_VAR_DEFINE(again, .retain = retain_same, .release = release_and_set_again);

static void release_and_set_again(void *value)
{
    callbacks++;
    if (set_again && as_number(value) > 1)
        CHECK(xctx_var_set(&again, number(as_number(value) - 1), NULL) == 0);
}

TEST(release_that_sets_its_own_variable_is_followed_by_the_release_of_that)
{
    callbacks = 0;
    set_again = true;
    assert_int_equal(xctx_var_set(&again, number(5), NULL), 0);
    /* Replaces 5; its release sets 4, which replaces NULL. */
    assert_int_equal(xctx_var_set(&again, NULL, NULL), 0);
    assert_int_equal(callbacks, 1);
    assert_int_equal(as_number(xctx_var_get(&again)), 4);
    assert_int_equal(xctx_var_set(&again, number(1), NULL), 0);
    /* Replaces 4; its release sets 3, which replaces 1. */
    assert_int_equal(callbacks, 3);
    assert_int_equal(as_number(xctx_var_get(&again)), 3);
    set_again = false;
}

/* A chain: each value holds the context that holds the next one. */
struct link {
    xctx_context *next;
    long number;
};

static long links_released;
static long links_open;
static bool links_nested;
static bool links_out_of_order;

static void release_link(void *value)
{
    struct link *link = value;
    links_nested |= links_open != 0;
    links_open++;
    links_out_of_order |= link->number != links_released;
    links_released++;
    xctx_unref(link->next);
    free(link);
    links_open--;
}

static XCTX_VAR_DEFINE(chain, .retain = retain_same, .release = release_link);

/* Builds the chain; the context returned holds link 0. */
static xctx_context *chain_of(long length)
{
    xctx_context *context = NULL;
    for (long i = length; i-- > 0;) {
        struct link *link = malloc(sizeof(*link));
        CHECK(link != NULL);
        link->next = context;
        link->number = i;
        context = xctx_new();
        CHECK(context != NULL);
        CHECK(xctx_enter(context) == 0);
        CHECK(xctx_var_set(&chain, link, NULL) == 0);
        CHECK(xctx_exit(context) == 0);
    }
    links_released = 0;
    links_nested = false;
    links_out_of_order = false;
    return context;
}

/* On a stack that recursion would use up: 100,000 calls in 256 KiB leave less than 3 bytes for each. */
static void *on_small_stack(void *(*fn)(void *), void *arg)
{
    pthread_t thread;
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 256 * 1024) == 0);
    CHECK(pthread_create(&thread, &attributes, fn, arg) == 0);
    pthread_attr_destroy(&attributes);
    return join(thread);
}

TEST(release_that_is_due_within_another_runs_after_it)
{
    xctx_context *context = chain_of(3);
    xctx_unref(context);
    assert_int_equal(links_released, 3);
    assert_false(links_nested);
    assert_false(links_out_of_order);
}

TEST(unref_of_a_chain_of_100000_contexts_needs_no_stack)
{
    xctx_context *context = chain_of(100000);
    on_small_stack(unref_context, context);
    assert_int_equal(links_released, 100000);
    assert_false(links_nested);
    assert_false(links_out_of_order);
}

static void *enter_unref_exit(void *context)
{
    CHECK(xctx_enter(context) == 0);
    xctx_unref(context);
    CHECK(xctx_exit(context) == 0);
    return number(links_released);
}

TEST(exit_of_a_chain_of_100000_contexts_needs_no_stack)
{
    assert_int_equal(as_number(on_small_stack(enter_unref_exit, chain_of(100000))), 100000);
}

static void *set_over(void *context)
{
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(&chain, NULL, NULL) == 0);
    long released = links_released;
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    return number(released);
}

TEST(set_over_a_chain_of_100000_contexts_needs_no_stack)
{
    assert_int_equal(as_number(on_small_stack(set_over, chain_of(100000))), 100000);
}

static void *drop_over(void *context)
{
    xctx_token token;
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(&chain, NULL, &token) == 0);
    CHECK(links_released == 0);
    xctx_token_drop(&token);
    long released = links_released;
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    return number(released);
}

TEST(token_drop_of_a_chain_of_100000_contexts_needs_no_stack)
{
    assert_int_equal(as_number(on_small_stack(drop_over, chain_of(100000))), 100000);
}

static void *enter_and_end(void *context)
{
    CHECK(xctx_enter(context) == 0);
    xctx_unref(context);
    return NULL;
}

TEST(end_of_a_thread_with_a_chain_of_100000_contexts_needs_no_stack)
{
    on_small_stack(enter_and_end, chain_of(100000));
    assert_int_equal(links_released, 100000);
}

int main(void)
{
    return test_main("references to values");
}
