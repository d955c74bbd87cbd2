/* SPDX-License-Identifier: MIT */
/* Threads that follow a runtime, here a small one: a stack of tasks, each with a context of its own. */
#include "../support/counted.h"
#include "../support/threads.h"

#include <xctx/follow.h>

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(other);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);

#define TEXT(text) ((void *)(uintptr_t)(text))

enum { DEPTH = 4 };

struct runtime {
    xctx_follow follow;
    uint64_t version;
    xctx_context *tasks[DEPTH]; /* innermost last */
    int depth;
    xctx_context *entered[DEPTH]; /* what of it was entered */
    int entered_count;
    int switched;
    int changed;
    int copied;
    bool mark_copies;
    bool fail; /* to follow */
};

static int switched(void *user)
{
    struct runtime *runtime = user;
    int common = 0;

    runtime->switched++;
    if (runtime->fail)
        return -1;
    while (common < runtime->depth && common < runtime->entered_count &&
           runtime->tasks[common] == runtime->entered[common])
        common++;
    while (runtime->entered_count > common)
        CHECK(xctx_exit(runtime->entered[--runtime->entered_count]) == 0);
    for (; runtime->entered_count < runtime->depth; runtime->entered_count++) {
        runtime->entered[runtime->entered_count] = runtime->tasks[runtime->entered_count];
        CHECK(xctx_enter(runtime->entered[runtime->entered_count]) == 0);
    }
    return 0;
}

static void changed(void *user)
{
    struct runtime *runtime = user;
    runtime->changed++;
}

static void copied(xctx_context *copy, void *user)
{
    struct runtime *runtime = user;

    runtime->copied++;
    if (!runtime->mark_copies)
        return;
    CHECK(xctx_enter(copy) == 0);
    CHECK(xctx_var_set(&other, TEXT("copied"), NULL) == 0);
    CHECK(xctx_exit(copy) == 0);
}

static _Atomic int ended_count;

static void ended(void *user)
{
    (void)user;
    ended_count++;
}

static void start(struct runtime *runtime)
{
    *runtime = (struct runtime){.version = 7};
    runtime->follow = (xctx_follow){.size = sizeof(runtime->follow),
                                    .version = &runtime->version,
                                    .switched = switched,
                                    .changed = changed,
                                    .copied = copied,
                                    .ended = ended,
                                    .user = runtime};
    assert_int_equal(xctx_follow_start(&runtime->follow), 0);
    assert_ptr_equal(xctx_following(), runtime);
}

/* What the runtime does without calling xctx. */
static void begin(struct runtime *runtime, xctx_context *task)
{
    runtime->tasks[runtime->depth++] = task;
    runtime->version++;
}

static void end(struct runtime *runtime)
{
    runtime->depth--;
    runtime->version++;
}

static xctx_context *task_with(const char *text)
{
    xctx_context *task = xctx_new();
    CHECK(xctx_enter(task) == 0);
    CHECK(xctx_var_set(&plain, TEXT(text), NULL) == 0);
    CHECK(xctx_exit(task) == 0);
    return task;
}

static void stop(struct runtime *runtime)
{
    runtime->depth = 0;
    runtime->version++;
    (void)xctx_current();
    assert_int_equal(xctx_unfollow(), 0);
    assert_null(xctx_following());
}

TEST(get_follows_each_switch)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");
    xctx_context *b = task_with("b");

    assert_int_equal(xctx_var_set(&plain, TEXT("outside"), NULL), 0);
    start(&runtime);
    assert_string_equal(xctx_var_get(&plain), "outside");
    for (int i = 0; i < 3; i++) {
        begin(&runtime, a);
        assert_string_equal(xctx_var_get(&plain), "a");
        end(&runtime);
        begin(&runtime, b);
        assert_string_equal(xctx_var_get(&plain), "b");
        end(&runtime);
    }
    assert_string_equal(xctx_var_get(&plain), "outside");
    stop(&runtime);
    assert_string_equal(xctx_var_get(&plain), "outside");
    xctx_unref(a);
    xctx_unref(b);
}

TEST(a_switch_that_nobody_looks_at_is_not_followed)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");

    start(&runtime);
    (void)xctx_current();
    int before = runtime.switched;
    for (int i = 0; i < 100; i++) {
        begin(&runtime, a);
        end(&runtime);
    }
    assert_int_equal(runtime.switched, before);
    (void)xctx_var_get(&plain);
    (void)xctx_var_get(&plain);
    assert_int_equal(runtime.switched, before + 1);
    stop(&runtime);
    xctx_unref(a);
}

TEST(a_switch_that_cannot_be_followed_is_tried_again)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");

    start(&runtime);
    (void)xctx_current();
    begin(&runtime, a);
    runtime.fail = true;
    assert_null(xctx_var_get(&plain));
    runtime.fail = false;
    assert_string_equal(xctx_var_get(&plain), "a");
    end(&runtime);
    stop(&runtime);
    xctx_unref(a);
}

TEST(set_find_and_reset_are_of_the_task_that_runs)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");
    xctx_context *b = task_with("b");
    xctx_token token;
    void *value;

    start(&runtime);
    begin(&runtime, a);
    assert_int_equal(xctx_var_set(&plain, TEXT("a2"), &token), 0);
    assert_int_equal(runtime.changed, 1);
    end(&runtime);
    begin(&runtime, b);
    assert_int_equal(xctx_var_find(&plain, &value), 1);
    assert_string_equal(value, "b");
    assert_int_equal(xctx_var_reset(&plain, &token), -EXDEV);
    end(&runtime);
    begin(&runtime, a);
    assert_string_equal(xctx_var_get(&plain), "a2");
    end(&runtime);
    begin(&runtime, b);
    assert_string_equal(xctx_var_get(&plain), "b");
    end(&runtime);
    begin(&runtime, a); /* what was found current last is b */
    assert_int_equal(xctx_var_reset(&plain, &token), 0);
    assert_int_equal(runtime.changed, 2);
    assert_string_equal(xctx_var_get(&plain), "a");
    end(&runtime);
    stop(&runtime);
    xctx_unref(a);
    xctx_unref(b);
}

TEST(a_stale_token_of_another_task_is_refused_though_its_context_was_current_last)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");
    xctx_context *b = task_with("b");
    xctx_token token;

    start(&runtime);
    begin(&runtime, a);
    assert_int_equal(xctx_var_set(&plain, TEXT("a2"), &token), 0);
    end(&runtime);
    begin(&runtime, b); /* not looked at: a is what was found last */
    assert_int_equal(xctx_var_reset(&plain, &token), -EXDEV);
    end(&runtime);
    begin(&runtime, a);
    assert_string_equal(xctx_var_get(&plain), "a2");
    assert_int_equal(xctx_var_reset(&plain, &token), 0);
    end(&runtime);
    stop(&runtime);
    xctx_unref(a);
    xctx_unref(b);
}

TEST(values_that_are_owned_are_followed_and_released_once)
{
    struct runtime runtime;
    xctx_context *a = xctx_new();

    start(&runtime);
    begin(&runtime, a);
    struct counted *value = counted_new(1);
    assert_int_equal(xctx_var_set(&counted, value, NULL), 0);
    assert_ptr_equal(xctx_var_get(&counted), value);
    end(&runtime);
    assert_null(xctx_var_get(&counted));
    begin(&runtime, a);
    assert_ptr_equal(xctx_var_get(&counted), value);
    struct counted *next = counted_new(2);
    assert_int_equal(xctx_var_set(&counted, next, NULL), 0);
    assert_ptr_equal(xctx_var_get(&counted), next);
    assert_int_equal(runtime.changed, 2);
    end(&runtime);
    stop(&runtime);
    xctx_unref(a);
    counted_drop(value);
    counted_drop(next);
    assert_int_equal(counted_live(), 0);
}

TEST(bindings_in_a_block_survive_what_runs_within_it)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");
    xctx_context *b = task_with("b");

    start(&runtime);
    begin(&runtime, a);
    XCTX_LET (&plain, TEXT("let")) {
        assert_string_equal(xctx_var_get(&plain), "let");
        begin(&runtime, b);
        assert_string_equal(xctx_var_get(&plain), "b");
        end(&runtime); /* not looked at before the block ends */
    }
    assert_string_equal(xctx_var_get(&plain), "a");
    assert_int_equal(runtime.changed, 0);
    end(&runtime);
    stop(&runtime);
    xctx_unref(a);
    xctx_unref(b);
}

TEST(copies_are_of_the_task_that_runs_and_are_told_of)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");
    void *value;

    start(&runtime);
    runtime.mark_copies = true;
    begin(&runtime, a);
    for (int i = 1; i <= 3; i++) {
        xctx_context *copy = xctx_copy_current();
        assert_int_equal(runtime.copied, i);
        assert_int_equal(xctx_lookup(copy, &plain, &value), 1);
        assert_string_equal(value, "a");
        assert_int_equal(xctx_lookup(copy, &other, &value), 1);
        assert_string_equal(value, "copied");
        assert_int_equal(xctx_lookup(a, &other, NULL), 0);
        xctx_unref(copy);
    }
    xctx_context *copy = xctx_copy(a);
    assert_int_equal(runtime.copied, 3);
    xctx_unref(copy);
    end(&runtime);
    stop(&runtime);
    xctx_unref(a);
}

static void *get_plain(void *unused)
{
    (void)unused;
    return xctx_var_get(&plain);
}

TEST(bound_work_and_runs_go_with_the_task)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");
    xctx_context *b = task_with("b");
    void *result;

    start(&runtime);
    begin(&runtime, a);
    xctx_bound *bound = xctx_bind(get_plain, NULL);
    assert_int_equal(runtime.copied, 1);
    end(&runtime);
    begin(&runtime, b);
    assert_string_equal(xctx_bound_call(bound), "a");
    assert_string_equal(xctx_var_get(&plain), "b");
    xctx_context *c = task_with("c");
    assert_int_equal(xctx_run(c, get_plain, NULL, &result), 0);
    assert_string_equal(result, "c");
    assert_string_equal(xctx_var_get(&plain), "b");
    end(&runtime);
    stop(&runtime);
    xctx_bound_unref(bound);
    xctx_unref(a);
    xctx_unref(b);
    xctx_unref(c);
}

TEST(what_c_code_has_entered_is_current_again_after_a_nested_task)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");
    xctx_context *b = task_with("b");
    xctx_context *c = task_with("c");

    start(&runtime);
    begin(&runtime, a);
    (void)xctx_current();
    assert_int_equal(xctx_enter(c), 0);
    assert_string_equal(xctx_var_get(&plain), "c");
    begin(&runtime, b);
    assert_string_equal(xctx_var_get(&plain), "b");
    end(&runtime); /* not looked at before it is left */
    assert_int_equal(xctx_exit(c), 0);
    assert_string_equal(xctx_var_get(&plain), "a");
    end(&runtime);
    stop(&runtime);
    xctx_unref(a);
    xctx_unref(b);
    xctx_unref(c);
}

TEST(merging_and_watchers_see_what_runs)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");
    xctx_context *child = xctx_new();

    assert_int_equal(xctx_enter(child), 0);
    assert_int_equal(xctx_exit(child), 0);
    start(&runtime);
    begin(&runtime, a);
    assert_int_equal(xctx_merge(child), 0);
    assert_ptr_equal(xctx_current(), a);
    end(&runtime);
    stop(&runtime);
    xctx_unref(a);
    xctx_unref(child);
}

TEST(unset_takes_a_variable_out_of_the_task_that_runs)
{
    struct runtime runtime;
    xctx_context *a = task_with("a");
    xctx_context *b = task_with("b");

    assert_int_equal(xctx__var_unset(NULL), -EINVAL);
    start(&runtime);
    begin(&runtime, a);
    (void)xctx_current();
    end(&runtime);
    begin(&runtime, b); /* a was found last */
    assert_int_equal(xctx__var_unset(&plain), 0);
    assert_int_equal(runtime.changed, 1);
    assert_int_equal(xctx__var_unset(&plain), 0);
    assert_int_equal(runtime.changed, 1);
    assert_null(xctx_var_get(&plain));
    end(&runtime);
    begin(&runtime, a);
    assert_string_equal(xctx_var_get(&plain), "a");
    end(&runtime);
    stop(&runtime);
    xctx_unref(a);
    xctx_unref(b);
}

TEST(bad_arguments_are_refused)
{
    struct runtime runtime;
    xctx_follow follow = {.size = sizeof(follow)};

    assert_int_equal(xctx_unfollow(), -EINVAL);
    assert_int_equal(xctx_follow_start(NULL), -EINVAL);
    assert_int_equal(xctx_follow_start(&follow), -EINVAL);
    start(&runtime);
    follow = runtime.follow;
    assert_int_equal(xctx_follow_start(&follow), -EBUSY);
    stop(&runtime);
    follow.size--;
    assert_int_equal(xctx_follow_start(&follow), -EINVAL);
    assert_int_equal(xctx_follow_threads(NULL), -EINVAL);
}

static void *end_while_following(void *arg)
{
    xctx_context *a = arg;
    static _Thread_local struct runtime runtime; /* not on the stack: looked at while the thread ends */

    start(&runtime);
    begin(&runtime, a);
    CHECK(xctx_var_get(&plain) != NULL);
    return NULL;
}

TEST(a_thread_that_ends_while_it_follows_leaves_nothing_behind)
{
    xctx_context *a = task_with("a");

    (void)on_thread(end_while_following, a);
    assert_int_equal(ended_count, 1);
    assert_int_equal(xctx_enter(a), 0);
    assert_string_equal(xctx_var_get(&plain), "a");
    assert_int_equal(xctx_exit(a), 0);
    xctx_unref(a);
}

static _Thread_local struct runtime asked_runtime;
static _Atomic int asked;

static int ask(void)
{
    asked++;
    if (asked == 1)
        return 1; /* the next time */
    start(&asked_runtime);
    return 0;
}

static void *use_contexts(void *unused)
{
    (void)unused;
    (void)xctx_var_get(&plain);
    xctx_context *a = task_with("a");
    CHECK(xctx_following() == &asked_runtime);
    begin(&asked_runtime, a);
    CHECK(strcmp(xctx_var_get(&plain), "a") == 0);
    end(&asked_runtime);
    CHECK(xctx_var_get(&plain) == NULL);
    xctx_unref(a);
    return NULL;
}

/* The last one: threads are asked from now on. */
TEST(zz_threads_are_asked_once_what_they_follow)
{
    assert_int_equal(xctx_follow_threads(ask), 0);
    assert_int_equal(xctx_follow_threads(ask), -EBUSY);
    for (int i = 1; i <= 3; i++) {
        (void)on_thread(use_contexts, NULL);
        assert_int_equal(asked, i + 1);
    }
}

int main(void)
{
    return test_main("following a runtime");
}
