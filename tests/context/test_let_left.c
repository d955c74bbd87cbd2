/* SPDX-License-Identifier: MIT */
/* XCTX_LET where something goes on around it: contexts left and entered, jumps out of the block, copies elsewhere. */
#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(other);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

static long counted_in(xctx_context *context)
{
    void *value = NULL;
    CHECK(xctx_lookup(context, &counted, &value) == 1);
    return counted_number(value);
}

static long plain_in(xctx_context *context)
{
    void *value = NULL;
    CHECK(xctx_lookup(context, &plain, &value) == 1);
    return as_number(value);
}

static xctx_context *enter_with(long n)
{
    xctx_context *context = xctx_new();
    CHECK(context && xctx_enter(context) == 0);
    CHECK(xctx_var_set(&plain, number(n), NULL) == 0);
    counted_set(&counted, n);
    return context;
}

TEST(let_whose_block_leaves_its_context_is_dropped)
{
    struct counted *value = counted_new(3);
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    counted_set(&counted, 1);
    xctx_context *context = enter_with(2);
    XCTX_LET (&plain, number(3)) {
        XCTX_LET (&counted, value) {
            counted_drop(value);
            assert_int_equal(counted_live(), 3);
            assert_int_equal(xctx_exit(context), 0);
        }
        assert_int_equal(counted_live(), 2); /* what would have been put back */
    }
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
    assert_int_equal(plain_in(context), 3);
    assert_int_equal(counted_in(context), 3);
    xctx_unref(context);
    assert_int_equal(counted_live(), 1);
}

TEST(let_whose_block_enters_a_context_and_does_not_leave_it_is_dropped)
{
    struct counted *value = counted_new(3);
    xctx_context *context = enter_with(2);
    xctx_context *inner = NULL;
    XCTX_LET (&plain, number(3)) {
        XCTX_LET (&counted, value) {
            counted_drop(value);
            inner = enter_with(4);
        }
        assert_int_equal(counted_live(), 2);
    }
    assert_int_equal(as_number(xctx_var_get(&plain)), 4);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 4);
    assert_int_equal(xctx_exit(inner), 0);
    xctx_unref(inner);
    assert_int_equal(as_number(xctx_var_get(&plain)), 3);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 3);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    assert_int_equal(counted_live(), 0);
}

TEST(let_whose_block_leaves_its_context_and_enters_it_again_is_dropped)
{
    struct counted *value = counted_new(3);
    xctx_context *context = enter_with(2);
    XCTX_LET (&plain, number(3)) {
        XCTX_LET (&counted, value) {
            counted_drop(value);
            assert_int_equal(xctx_exit(context), 0);
            assert_int_equal(xctx_enter(context), 0);
        }
    }
    assert_int_equal(as_number(xctx_var_get(&plain)), 3);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 3);
    assert_int_equal(counted_live(), 1);
    /* Later ones work as ever. */
    XCTX_LET (&plain, number(5)) {
        assert_int_equal(as_number(xctx_var_get(&plain)), 5);
    }
    assert_int_equal(as_number(xctx_var_get(&plain)), 3);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

/* Leaves a binding open. */
static void jump_out_of_let(long n)
{
    static jmp_buf out;
    if (setjmp(out) == 0) {
        XCTX_LET (&plain, number(n)) {
            longjmp(out, 1);
        }
    }
}

/* The new context may well be where the old one was, with bindings that seem to be open. */
TEST(let_whose_context_is_gone_is_dropped_though_another_one_is_current)
{
    for (int i = 0; i < 20; i++) {
        struct counted *value = counted_new(3);
        xctx_context *inner = NULL;
        xctx_context *context = enter_with(2);
        XCTX_LET (&plain, number(3)) {
            XCTX_LET (&counted, value) {
                counted_drop(value);
                xctx_unref(context);
                assert_int_equal(xctx_exit(context), 0);
                inner = enter_with(5);
                jump_out_of_let(4);
            }
        }
        assert_int_equal(as_number(xctx_var_get(&plain)), 4);
        assert_int_equal(counted_number(xctx_var_get(&counted)), 5);
        assert_int_equal(xctx_exit(inner), 0);
        xctx_unref(inner);
        assert_int_equal(counted_live(), 0);
    }
}

static void *copy_there(void *context)
{
    return xctx_copy(context);
}

/* With as many blocks left open as would overflow a count of 16 bits. */
static void check_jumps_out_of_let(xctx_var *var)
{
    enum { JUMPS = 70000 };
    static jmp_buf out;
    static volatile long jumps;
    CHECK(xctx_var_set(var, number(-1), NULL) == 0);
    for (jumps = 0; jumps < JUMPS; jumps++) {
        if (setjmp(out) == 0) {
            XCTX_LET (var, number(jumps)) {
                CHECK(as_number(xctx_var_get(var)) == jumps);
                longjmp(out, 1);
            }
        }
    }
    assert_int_equal(as_number(xctx_var_get(var)), JUMPS - 1);
    for (long i = 0; i < 100; i++) {
        int ran = 0;
        void *value = NULL;
        xctx_context *copies[2] = {NULL};
        XCTX_LET (var, number(-2)) {
            XCTX_LET (&counted, NULL) {
                ran++;
                copies[0] = xctx_copy_current();
                copies[1] = i < 3 ? on_thread(copy_there, xctx_current()) : NULL;
                assert_int_equal(as_number(xctx_var_get(var)), -2);
            }
        }
        assert_int_equal(ran, 1);
        assert_int_equal(as_number(xctx_var_get(var)), JUMPS - 1);
        assert_int_equal(xctx_var_find(&counted, NULL), 0);
        for (int k = 0; k < 2; k++) {
            if (!copies[k])
                continue;
            assert_int_equal(xctx_lookup(copies[k], var, &value), 1);
            assert_int_equal(as_number(value), -2);
            assert_int_equal(xctx_count(copies[k]), 2);
            xctx_unref(copies[k]);
        }
    }
    xctx_context *copy = xctx_copy_current();
    assert_true(xctx_equal(copy, xctx_current()));
    assert_int_equal(xctx_var_set(var, number(7), NULL), 0);
    assert_false(xctx_equal(copy, xctx_current()));
    xctx_unref(copy);
}

TEST(jumps_out_of_70000_lets_do_not_disturb_later_ones)
{
    check_jumps_out_of_let(&plain);
}

TEST(jumps_out_of_70000_lets_of_a_large_number_do_not_disturb_later_ones)
{
    enum { SMALL = 300 };
    xctx_context *elsewhere = xctx_new();
    assert_int_equal(xctx_enter(elsewhere), 0);
    for (int i = 0; i < SMALL; i++) {
        xctx_var *var = xctx_var_create("small", NULL);
        assert_int_equal(xctx_var_set(var, number(i), NULL), 0);
        xctx_var_unref(var);
    }
    assert_int_equal(xctx_exit(elsewhere), 0);
    xctx_unref(elsewhere);
    xctx_var *large = xctx_var_create("large", NULL);
    check_jumps_out_of_let(large);
    xctx_var_unref(large);
}

/* A count of 16 bits would be back at 0, as if no block were open. */
TEST(jumps_out_of_65535_lets_do_not_disturb_the_one_around_them)
{
    counted_set(&counted, 1);
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    XCTX_LET (&counted, NULL) {
        for (long i = 0; i < 65535; i++)
            jump_out_of_let(i);
    }
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
    assert_int_equal(as_number(xctx_var_get(&plain)), 65534);
}

TEST(jumps_out_of_lets_are_forgotten_when_the_context_is_entered_again)
{
    xctx_context *context = enter_with(1);
    for (long i = 0; i < 70000; i++)
        jump_out_of_let(i);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_enter(context), 0);
    XCTX_LET (&plain, number(-1)) {
        assert_int_equal(as_number(xctx_var_get(&plain)), -1);
    }
    assert_int_equal(as_number(xctx_var_get(&plain)), 69999);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

/* Copies made by another thread must not share the map that the end of the block changes in place. */
TEST(copy_by_another_thread_within_a_let_and_the_original_have_their_own_values_afterwards)
{
    struct worker worker;
    xctx_context *context = xctx_current();
    worker_start(&worker);
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    counted_set(&counted, 1);
    for (int i = 0; i < 50; i++) {
        xctx_context *before = worker_do(&worker, copy_there, context);
        xctx_context *within = NULL, *deeper = NULL;
        struct counted *value = counted_new(2);
        XCTX_LET (&plain, number(2)) {
            XCTX_LET (&counted, value) {
                counted_drop(value);
                within = worker_do(&worker, copy_there, context);
                XCTX_LET (&plain, number(3)) {
                    deeper = worker_do(&worker, copy_there, context);
                }
                assert_int_equal(as_number(xctx_var_get(&plain)), 2);
            }
        }
        assert_int_equal(as_number(xctx_var_get(&plain)), 1);
        assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
        xctx_context *after = worker_do(&worker, copy_there, context);
        assert_int_equal(plain_in(before), 1);
        assert_int_equal(counted_in(before), 1);
        assert_int_equal(plain_in(within), 2);
        assert_int_equal(counted_in(within), 2);
        assert_int_equal(plain_in(deeper), 3);
        assert_int_equal(counted_in(deeper), 2);
        assert_true(xctx_equal(before, after));
        xctx_unref(before);
        xctx_unref(within);
        xctx_unref(deeper);
        xctx_unref(after);
        assert_int_equal(counted_live(), 1);
    }
    worker_stop(&worker);
}

struct copier {
    xctx_context *context;
    atomic_bool stop;
    atomic_long copies;
};

static void *copy_again_and_again(void *arg)
{
    struct copier *copier = arg;
    while (!atomic_load(&copier->stop)) {
        xctx_context *copy = xctx_copy(copier->context);
        CHECK(copy != NULL);
        /* Bound from the outside to the inside: plain, other, counted. */
        for (int again = 0; again < 3; again++) {
            void *middle = NULL;
            CHECK(xctx_lookup(copy, &other, &middle) == 1);
            CHECK(as_number(middle) == 1 || as_number(middle) == 2);
            CHECK(plain_in(copy) == 1 || plain_in(copy) == 2);
            CHECK(counted_in(copy) == 1 || counted_in(copy) == 2);
            CHECK(plain_in(copy) >= as_number(middle));
            CHECK(as_number(middle) >= counted_in(copy));
        }
        xctx_unref(copy);
        atomic_fetch_add(&copier->copies, 1);
    }
    return NULL;
}

TEST(copies_by_another_thread_at_any_moment_of_lets_are_consistent)
{
    struct copier copier = {.context = xctx_current()};
    struct counted *value = counted_new(2);
    assert_int_equal(xctx_var_set(&plain, number(1), NULL), 0);
    assert_int_equal(xctx_var_set(&other, number(1), NULL), 0);
    counted_set(&counted, 1);
    long enough = scaled(3000), rounds = scaled(20000);
    pthread_t thread = spawn(copy_again_and_again, &copier);
    for (long i = 0; i < rounds || atomic_load(&copier.copies) < enough; i++) {
        XCTX_LET (&plain, number(2)) {
            XCTX_LET (&other, number(2)) {
                XCTX_LET (&counted, value) {
                    CHECK(as_number(xctx_var_get(&plain)) == 2);
                }
                CHECK(counted_number(xctx_var_get(&counted)) == 1);
            }
        }
        CHECK(as_number(xctx_var_get(&plain)) == 1);
    }
    atomic_store(&copier.stop, true);
    join(thread);
    counted_drop(value);
    assert_int_equal(counted_live(), 1);
}

int main(void)
{
    return test_main("scoped bindings that are left");
}
