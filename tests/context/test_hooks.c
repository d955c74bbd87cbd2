/* SPDX-License-Identifier: MIT */
/* The enter and leave operations: applied in the order of first use, undone in reverse. */
#include "../support/counted.h"
#include "../support/threads.h"

/* What happened, one letter each: upper case enter, lower case leave. */
static char happened[256];
static size_t happened_length;

static void add(int letter)
{
    CHECK(happened_length + 1 < sizeof(happened));
    happened[happened_length++] = (char)letter;
    happened[happened_length] = '\0';
}

static void forget(void)
{
    happened_length = 0;
    happened[0] = '\0';
}

/* Values are letters; `leave` gets the letter that `enter` got. */
static void *enter_letter(void *value)
{
    add((int)as_number(value));
    return value;
}

static void leave_letter(void *saved)
{
    add((int)as_number(saved) + 'a' - 'A');
}

static XCTX_VAR_DEFINE(a, .enter = enter_letter, .leave = leave_letter);
static XCTX_VAR_DEFINE(b, .enter = enter_letter, .leave = leave_letter);
static XCTX_VAR_DEFINE(c, .enter = enter_letter, .leave = leave_letter);
static XCTX_VAR_DEFINE(plain);

/* A context in which a, b and c, first used in this order, have the letters of `text`; a space is left out. */
static xctx_context *context_with(const char *text)
{
    xctx_var *vars[] = {&a, &b, &c};
    xctx_token token;
    for (int i = 0; i < 3; i++) {
        CHECK(xctx_var_set(vars[i], number('X'), &token) == 0);
        CHECK(xctx_var_reset(vars[i], &token) == 0);
    }
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    for (int i = 0; text[i]; i++) {
        if (text[i] != ' ')
            CHECK(xctx_var_set(vars[i], number(text[i]), NULL) == 0);
    }
    CHECK(xctx_exit(context) == 0);
    forget();
    return context;
}

TEST(enter_calls_the_operations_in_the_order_of_first_use)
{
    xctx_context *context = context_with("ABC");
    assert_int_equal(xctx_enter(context), 0);
    assert_string_equal(happened, "ABC");
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

TEST(exit_calls_the_operations_in_reverse)
{
    xctx_context *context = context_with("ABC");
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_string_equal(happened, "ABCcba");
    xctx_unref(context);
}

TEST(enter_passes_over_variables_that_are_not_set)
{
    xctx_context *context = context_with("A C");
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_string_equal(happened, "ACca");
    xctx_unref(context);
}

TEST(nested_contexts_undo_in_reverse)
{
    xctx_context *outer = context_with("AB");
    xctx_context *inner = context_with("DE");
    assert_int_equal(xctx_enter(outer), 0);
    assert_int_equal(xctx_enter(inner), 0);
    assert_int_equal(xctx_exit(inner), 0);
    assert_int_equal(xctx_exit(outer), 0);
    assert_string_equal(happened, "ABDEedba");
    xctx_unref(outer);
    xctx_unref(inner);
}

TEST(enter_that_is_refused_calls_nothing)
{
    xctx_context *context = context_with("AB");
    assert_int_equal(xctx_enter(context), 0);
    forget();
    assert_int_equal(xctx_enter(context), -EBUSY);
    assert_string_equal(happened, "");
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

TEST(exit_that_is_refused_calls_nothing)
{
    xctx_context *outer = context_with("AB");
    xctx_context *inner = xctx_new();
    assert_int_equal(xctx_exit(outer), -EINVAL);
    assert_int_equal(xctx_enter(outer), 0);
    assert_int_equal(xctx_enter(inner), 0);
    forget();
    assert_int_equal(xctx_exit(outer), -EPERM);
    assert_string_equal(happened, "");
    assert_int_equal(xctx_exit(inner), 0);
    assert_int_equal(xctx_exit(outer), 0);
    xctx_unref(outer);
    xctx_unref(inner);
}

TEST(set_and_reset_call_nothing)
{
    xctx_token token;
    forget();
    assert_int_equal(xctx_var_set(&a, number('A'), &token), 0);
    assert_int_equal(xctx_var_set(&b, number('B'), NULL), 0);
    assert_int_equal(xctx_var_reset(&a, &token), 0);
    assert_string_equal(happened, "");
}

TEST(variable_set_after_enter_is_not_left)
{
    xctx_context *context = context_with("A");
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&b, number('B'), NULL), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_string_equal(happened, "Aa");
    forget();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_string_equal(happened, "ABba");
    xctx_unref(context);
}

TEST(variable_changed_after_enter_is_left_with_what_enter_returned)
{
    xctx_context *context = context_with("AB");
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&a, number('Q'), NULL), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_string_equal(happened, "ABba");
    xctx_unref(context);
}

TEST(variable_reset_after_enter_is_left_all_the_same)
{
    xctx_token token;
    xctx_context *context = context_with("");
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&a, number('A'), &token), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_enter(context), 0);
    assert_string_equal(happened, "A");
    assert_int_equal(xctx_var_reset(&a, &token), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_string_equal(happened, "Aa");
    xctx_unref(context);
}

TEST(copy_of_a_context_applies_too)
{
    xctx_context *context = context_with("ABC");
    xctx_context *copy = xctx_copy(context);
    xctx_unref(context);
    assert_int_equal(xctx_enter(copy), 0);
    assert_int_equal(xctx_exit(copy), 0);
    assert_string_equal(happened, "ABCcba");
    xctx_unref(copy);
}

TEST(context_whose_last_reference_went_is_still_undone)
{
    xctx_context *context = context_with("ABC");
    assert_int_equal(xctx_enter(context), 0);
    xctx_unref(context);
    assert_int_equal(xctx_exit(context), 0);
    assert_string_equal(happened, "ABCcba");
}

static void *note_call(void *arg)
{
    add('.');
    return arg;
}

TEST(run_applies_calls_and_undoes)
{
    xctx_context *context = context_with("AB");
    assert_int_equal(xctx_run(context, note_call, NULL, NULL), 0);
    assert_string_equal(happened, "AB.ba");
    xctx_unref(context);
}

static void *enter_two_more(void *arg)
{
    xctx_context **contexts = arg;
    CHECK(xctx_enter(contexts[0]) == 0);
    CHECK(xctx_enter(contexts[1]) == 0);
    return NULL;
}

TEST(run_undoes_what_its_function_left_entered_in_reverse)
{
    xctx_context *context = context_with("AB");
    xctx_context *left[] = {context_with("DE"), context_with("G")};
    assert_int_equal(xctx_run(context, enter_two_more, left, NULL), 0);
    assert_string_equal(happened, "ABDEGgedba");
    xctx_unref(left[0]);
    xctx_unref(left[1]);
    xctx_unref(context);
}

TEST(bound_call_applies_calls_and_undoes)
{
    xctx_context *context = context_with("AB");
    assert_int_equal(xctx_enter(context), 0);
    xctx_bound *bound = xctx_bind(note_call, NULL);
    assert_int_equal(xctx_exit(context), 0);
    forget();
    xctx_bound_call(bound);
    xctx_bound_call(bound);
    assert_string_equal(happened, "AB.baAB.ba");
    xctx_bound_unref(bound);
    xctx_unref(context);
}

TEST(thread_create_applies_in_the_thread_and_undoes_when_it_ends)
{
    pthread_t thread;
    xctx_context *context = context_with("AB");
    assert_int_equal(xctx_enter(context), 0);
    forget();
    assert_int_equal(xctx_thread_create(&thread, NULL, note_call, NULL), 0);
    join(thread);
    assert_string_equal(happened, "AB.ba");
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

static xctx_context *seen_in_hook;

static void note_switch(xctx_context *current, void *user)
{
    (void)current;
    (void)user;
    add('!');
}

TEST(watchers_are_called_after_the_operations)
{
    xctx_context *context = context_with("AB");
    int id = xctx_watch(note_switch, NULL);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_unwatch(id), 0);
    assert_string_equal(happened, "AB!ba!");
    xctx_unref(context);
}

static void *enter_and_use_the_library(void *value)
{
    seen_in_hook = xctx_copy_current();
    CHECK(seen_in_hook != NULL);
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(&plain, number(1), NULL) == 0);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    return value;
}

static void leave_and_use_the_library(void *saved)
{
    CHECK(as_number(saved) == 42);
    xctx_unref(seen_in_hook);
    XCTX_LET (&plain, number(2)) {
        CHECK(as_number(xctx_var_get(&plain)) == 2);
    }
}

static XCTX_VAR_DEFINE(using_the_library, .enter = enter_and_use_the_library, .leave = leave_and_use_the_library);

TEST(operations_may_use_the_library)
{
    xctx_context *before = xctx_current();
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&using_the_library, number(42), NULL), 0);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(xctx_enter(context), 0);
    assert_ptr_equal(xctx_current(), context);
    assert_int_equal(xctx_exit(context), 0);
    assert_ptr_equal(xctx_current(), before);
    xctx_unref(context);
}

/* What `leave` needs lives as long as the application lasts, though the value itself may be replaced meanwhile. */
static void *enter_counted(void *value)
{
    return counted_new(counted_number(value));
}

static void leave_counted(void *saved)
{
    add((int)counted_number(saved));
    counted_drop(saved);
}

static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release, .enter = enter_counted,
                       .leave = leave_counted);

TEST(leave_gets_what_enter_returned_once)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    counted_set(&counted, 'v');
    assert_int_equal(xctx_exit(context), 0);
    forget();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(counted_live(), 2);
    counted_set(&counted, 'w');
    assert_int_equal(xctx_exit(context), 0);
    assert_string_equal(happened, "v");
    assert_int_equal(counted_live(), 1);
    xctx_unref(context);
}

static int order_next;
static bool order_wrong;

static void *enter_in_order(void *value)
{
    order_wrong |= as_number(value) != order_next++;
    return value;
}

static void leave_in_order(void *saved)
{
    order_wrong |= as_number(saved) != --order_next;
}

TEST(order_holds_for_500_variables)
{
    enum { COUNT = 500 };
    xctx_var_options options = {.size = sizeof(options), .enter = enter_in_order, .leave = leave_in_order};
    xctx_var *vars[COUNT];
    xctx_token token;
    for (int i = 0; i < COUNT; i++) {
        vars[i] = xctx_var_create("ordered", &options);
        assert_int_equal(xctx_var_set(vars[i], number(i), &token), 0);
        assert_int_equal(xctx_var_reset(vars[i], &token), 0);
    }
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    for (int i = COUNT; i-- > 0;)
        assert_int_equal(xctx_var_set(vars[i], number(i), NULL), 0);
    assert_int_equal(xctx_exit(context), 0);
    order_next = 0;
    order_wrong = false;
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(order_next, COUNT);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(order_next, 0);
    assert_false(order_wrong);
    xctx_unref(context);
    for (int i = 0; i < COUNT; i++)
        xctx_var_unref(vars[i]);
}

int main(void)
{
    return test_main("enter and leave operations");
}
