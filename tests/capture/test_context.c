/* SPDX-License-Identifier: MIT */
/* Contexts that carry snapshots: who gets which, what variables they have, and the way from thread to thread. */
#include "../support/counted.h"
#include "../support/threads.h"
#include "capture_support.h"

#include "capture/snapshot_internal.h"

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(unshared, .flow = XCTX_FLOW_NONE);

static long plain_in(const xctx_snapshot *snapshot)
{
    void *value = NULL;
    xctx_context *context = xctx_snapshot_context(snapshot);
    CHECK(context != NULL);
    return xctx_lookup(context, &plain, &value) == 1 ? as_number(value) : -1;
}

static long counted_in(const xctx_snapshot *snapshot)
{
    void *value = NULL;
    xctx_context *context = xctx_snapshot_context(snapshot);
    CHECK(context != NULL);
    return xctx_lookup(context, &counted, &value) == 1 ? counted_number(value) : -1;
}

static void set_plain(long n)
{
    CHECK(xctx_var_set(&plain, number(n), NULL) == 0);
}

/* ---- who carries what ---- */

TEST(copy_with_capture_carries_a_snapshot)
{
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STACK | XCTX_CAPTURE_STATE);
    xctx_snapshot *snapshot = xctx_snapshot_of(copy);

    assert_non_null(snapshot);
    assert_int_equal(xctx_snapshot_captured(snapshot), XCTX_CAPTURE_STACK | XCTX_CAPTURE_STATE);
    assert_int_equal(state_of(snapshot)->tid, own_tid());
    assert_null(xctx_snapshot_of(xctx_current()));
    assert_null(xctx_snapshot_parent(snapshot));
    xctx_unref(copy);
}

TEST(copy_without_capture_carries_none)
{
    xctx_context *copies[] = {xctx_copy_current(), xctx_copy_current_with(0), xctx_copy(xctx_current()), xctx_new()};
    for (size_t i = 0; i < sizeof(copies) / sizeof(copies[0]); i++) {
        assert_null(xctx_snapshot_of(copies[i]));
        xctx_unref(copies[i]);
    }
}

TEST(snapshot_outlives_the_context_that_carried_it)
{
    volatile uint64_t *words = MARKED_FRAME(4711);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_LOCALS);
    xctx_snapshot *snapshot = xctx_snapshot_ref(xctx_snapshot_of(copy));

    xctx_unref(copy);
    assert_true(holds(snapshot, words, 4711));
    xctx_snapshot_unref(snapshot);
}

TEST(copies_of_copies_carry_the_same_snapshot)
{
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STACK);
    xctx_snapshot *snapshot = xctx_snapshot_of(copy);
    xctx_context *outside = xctx_copy(copy);
    assert_ptr_equal(xctx_snapshot_of(outside), snapshot);
    assert_int_equal(xctx_enter(copy), 0);
    for (int i = 0; i < 3; i++) { /* of the current one: the first, and what is quick from then on */
        xctx_context *inside = xctx_copy_current();
        xctx_context *same = xctx_copy(xctx_current());
        assert_ptr_equal(xctx_snapshot_of(inside), snapshot);
        assert_ptr_equal(xctx_snapshot_of(same), snapshot);
        xctx_unref(inside);
        xctx_unref(same);
    }
    set_plain(5);
    xctx_context *changed = xctx_copy_current();
    assert_ptr_equal(xctx_snapshot_of(changed), snapshot);
    assert_int_equal(xctx_exit(copy), 0);
    xctx_unref(copy);
    xctx_context *last = xctx_copy(outside);
    xctx_unref(outside);
    assert_ptr_equal(xctx_snapshot_of(last), snapshot);
    assert_int_equal(plain_in(snapshot), -1);
    xctx_unref(last);
    assert_ptr_equal(xctx_snapshot_of(changed), snapshot);
    xctx_unref(changed);
}

/* A copy that is quick takes its memory from a spare: which must not keep what its last user carried. */
static void *do_nothing(void *value)
{
    return value;
}

static void undo_nothing(void *saved)
{
    (void)saved;
}

static XCTX_VAR_DEFINE(hooked, .enter = do_nothing, .leave = undo_nothing);

TEST(snapshot_stays_with_a_context_that_has_operations_to_undo)
{
    CHECK(xctx_var_set(&hooked, number(1), NULL) == 0);
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STACK);
    xctx_snapshot *snapshot = xctx_snapshot_of(copy);

    assert_non_null(snapshot);
    assert_int_equal(xctx_enter(copy), 0);
    assert_ptr_equal(xctx_snapshot_of(copy), snapshot);
    xctx_snapshot *taken = xctx_snapshot_take(XCTX_CAPTURE_STACK);
    assert_ptr_equal(xctx_snapshot_parent(taken), snapshot);
    xctx_context *second = xctx_copy(copy);
    assert_ptr_equal(xctx_snapshot_of(second), snapshot);
    assert_int_equal(xctx_exit(copy), 0);
    assert_ptr_equal(xctx_snapshot_of(copy), snapshot);
    xctx_unref(copy);
    assert_int_equal(xctx_enter(second), 0);
    assert_ptr_equal(xctx_snapshot_of(second), snapshot);
    assert_int_equal(xctx_exit(second), 0);
    xctx_unref(second);
    assert_ptr_equal(xctx_snapshot_parent(taken), snapshot);
    xctx_snapshot_unref(taken);
}

TEST(snapshot_stays_with_a_context_that_is_copied_again_and_again)
{
    enum { OFTEN = 200 }; /* more than share.c counts before it does something about it */
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STACK);
    xctx_snapshot *snapshot = xctx_snapshot_ref(xctx_snapshot_of(copy));

    assert_non_null(snapshot);
    for (int i = 0; i < OFTEN; i++) {
        xctx_context *another = xctx_copy(copy);
        assert_ptr_equal(xctx_snapshot_of(another), snapshot);
        assert_ptr_equal(xctx_snapshot_of(copy), snapshot);
        xctx_unref(another);
    }
    xctx_unref(copy);
    assert_int_equal(atomic_load(&snapshot->refs), 1);
    xctx_snapshot_unref(snapshot);
}

TEST(copies_after_one_that_carried_a_snapshot_carry_none)
{
    for (int i = 0; i < 10; i++) {
        xctx_context *with = xctx_copy_current_with(XCTX_CAPTURE_STACK);
        xctx_context *without = xctx_copy_current();
        assert_non_null(xctx_snapshot_of(with));
        assert_null(xctx_snapshot_of(without));
        xctx_unref(with);
        xctx_context *next = xctx_copy_current();
        assert_null(xctx_snapshot_of(next));
        xctx_unref(next);
        xctx_unref(without);
    }
}

TEST(snapshot_taken_in_a_carrying_context_has_that_as_its_parent)
{
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STACK);

    assert_int_equal(xctx_enter(copy), 0);
    xctx_snapshot *inner = xctx_snapshot_take(0);
    xctx_context *second = xctx_copy_current_with(XCTX_CAPTURE_REGISTERS);
    assert_ptr_equal(xctx_snapshot_parent(inner), xctx_snapshot_of(copy));
    assert_ptr_equal(xctx_snapshot_parent(xctx_snapshot_of(second)), xctx_snapshot_of(copy));
    assert_ptr_not_equal(xctx_snapshot_of(second), xctx_snapshot_of(copy));
    assert_int_equal(xctx_exit(copy), 0);
    xctx_snapshot *outer = xctx_snapshot_take(0);
    assert_null(xctx_snapshot_parent(outer));
    xctx_snapshot_unref(outer);
    xctx_snapshot_unref(inner);
    xctx_unref(copy);
    assert_int_equal(xctx_snapshot_captured(xctx_snapshot_parent(xctx_snapshot_of(second))), XCTX_CAPTURE_STACK);
    xctx_unref(second);
}

static int clones;

static void *clone_counting(void *value)
{
    clones++;
    return value;
}

static XCTX_VAR_DEFINE(flowing, .flow = XCTX_FLOW_CLONE, .clone = clone_counting);

TEST(copy_after_a_snapshot_clones_what_flows_by_cloning)
{
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(xctx_var_set(&flowing, &clones, NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(0);
    clones = 0;
    for (int i = 1; i <= 3; i++) {
        xctx_unref(xctx_copy_current());
        assert_int_equal(clones, i);
    }
    xctx_snapshot_unref(snapshot);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
}

/* ---- where the caller is ---- */

static bool is_in(uintptr_t pc, uintptr_t function)
{
    return pc > function && pc - function < 512;
}

/* Without optimisation calls that are the last thing a function does are calls: then the library is innermost, and has
   no frame pointers for ThreadSanitizer. */
static bool begins_in(xctx_snapshot *snapshot, uintptr_t function)
{
    if (TEST_TSAN)
        return true;
    uintptr_t pcs[3] = {0};
    xctx_snapshot_stack(snapshot, pcs, 3);
    return is_in(pcs[0], function) || is_in(pcs[1], function) || is_in(pcs[2], function);
}

NOINLINE static xctx_context *copy_with_here(void)
{
    xctx_context *copy = xctx_copy_current_with(XCTX_CAPTURE_STACK);
    __asm__ volatile("" ::: "memory");
    return copy;
}

/* It has a frame pointer, whatever this is compiled with. */
NOINLINE static xctx_context *copy_here(int size)
{
    volatile char *some = __builtin_alloca((size_t)size);
    some[0] = 1;
    xctx_context *copy = xctx_copy_current();
    some[0] = 2;
    return copy;
}

NOINLINE static xctx_bound *bind_here(int size)
{
    volatile char *some = __builtin_alloca((size_t)size);
    some[0] = 1;
    xctx_bound *bound = xctx_bind(worker_main, NULL);
    some[0] = 2;
    return bound;
}

TEST(copy_current_with_is_of_the_caller)
{
    xctx_context *copy = copy_with_here();
    assert_true(is_in(first_address(xctx_snapshot_of(copy)), (uintptr_t)copy_with_here));
    xctx_unref(copy);
}

TEST(copy_current_by_default_is_of_the_caller)
{
    assert_int_equal(xctx_set_default_capture(XCTX_CAPTURE_STACK), 0);
    xctx_context *copy = copy_here(16);
    xctx_context *another = copy_here(16);
    restore_defaults();
    assert_true(begins_in(xctx_snapshot_of(copy), (uintptr_t)copy_here));
    assert_true(begins_in(xctx_snapshot_of(another), (uintptr_t)copy_here));
    xctx_unref(copy);
    xctx_unref(another);
}

static xctx_snapshot *seen;

static void *note_snapshot(void *arg)
{
    seen = xctx_snapshot_ref(xctx_snapshot_of(xctx_current()));
    return arg;
}

NOINLINE static xctx_bound *bind_with_here(unsigned capture)
{
    xctx_bound *bound = xctx_bind_with(note_snapshot, NULL, capture);
    __asm__ volatile("" ::: "memory");
    return bound;
}

TEST(bound_function_runs_in_a_context_that_carries_the_place_where_it_was_bound)
{
    xctx_bound *bound = bind_with_here(XCTX_CAPTURE_STACK);
    for (int i = 0; i < 3; i++) {
        xctx_bound_call(bound);
        assert_non_null(seen);
        assert_true(is_in(first_address(seen), (uintptr_t)bind_with_here));
        seen = xctx_snapshot_unref(seen);
    }
    xctx_bound_unref(bound);
}

TEST(bound_without_capture_carries_none)
{
    xctx_bound *bounds[] = {bind_with_here(0), bind_here(16)};
    xctx_bound_call(bounds[0]);
    assert_null(seen);
    xctx_bound_unref(bounds[0]);
    xctx_bound_unref(bounds[1]);
}

static atomic_int threads_begun;

static void *note_and_count(void *arg)
{
    atomic_fetch_add(&threads_begun, 1);
    return note_snapshot(arg);
}

NOINLINE static void create_thread_here(int size)
{
    volatile char *some = __builtin_alloca((size_t)size);
    pthread_t thread;
    some[0] = 1;
    CHECK(xctx_thread_create(&thread, NULL, note_and_count, NULL) == 0);
    some[0] = 2;
    join(thread);
}

TEST(bind_and_thread_create_capture_what_is_set_as_default)
{
    assert_int_equal(xctx_set_default_capture(XCTX_CAPTURE_STACK | XCTX_CAPTURE_REGISTERS), 0);
    assert_int_equal(xctx_default_capture(), XCTX_CAPTURE_STACK | XCTX_CAPTURE_REGISTERS);
    xctx_bound *bound = xctx_bind(note_snapshot, NULL);
    xctx_bound *here = bind_here(16);
    create_thread_here(16);
    assert_non_null(seen);
    assert_int_equal(xctx_snapshot_captured(seen), XCTX_CAPTURE_STACK | XCTX_CAPTURE_REGISTERS);
    assert_true(begins_in(seen, (uintptr_t)create_thread_here));
    seen = xctx_snapshot_unref(seen);
    restore_defaults();
    xctx_bound_call(bound);
    assert_non_null(seen);
    seen = xctx_snapshot_unref(seen);
    create_thread_here(16);
    assert_null(seen);
    xctx_bound_unref(bound);
    xctx_bound_unref(here);
}

TEST(default_capture_is_of_all_threads_and_can_be_taken_back)
{
    assert_int_equal(xctx_set_default_capture(XCTX_CAPTURE_ALL), 0);
    for (int i = 0; i < 3; i++) {
        xctx_context *copy = xctx_copy_current();
        assert_int_equal(xctx_snapshot_captured(xctx_snapshot_of(copy)), XCTX_CAPTURE_ALL);
        xctx_unref(copy);
        copy = xctx_copy_current_with(0);
        assert_null(xctx_snapshot_of(copy));
        xctx_unref(copy);
    }
    assert_int_equal(xctx_set_default_capture(XCTX_CAPTURE_STACK | 0x100u), -EINVAL);
    assert_int_equal(xctx_default_capture(), XCTX_CAPTURE_ALL);
    restore_defaults();
    for (int i = 0; i < 3; i++) {
        xctx_context *copy = xctx_copy_current();
        assert_null(xctx_snapshot_of(copy));
        xctx_unref(copy);
    }
}

/* ---- variables ---- */

TEST(variables_of_a_snapshot_are_those_of_its_moment)
{
    set_plain(1);
    counted_set(&counted, 10);
    assert_int_equal(xctx_var_set(&unshared, number(100), NULL), 0);
    xctx_snapshot *snapshot = xctx_snapshot_take(0);
    set_plain(2);
    counted_set(&counted, 20);
    void *value = NULL;

    assert_int_equal(plain_in(snapshot), 1);
    assert_int_equal(counted_in(snapshot), 10);
    assert_int_equal(xctx_lookup(xctx_snapshot_context(snapshot), &unshared, &value), 1);
    assert_int_equal(as_number(value), 100);
    assert_int_equal(xctx_count(xctx_snapshot_context(snapshot)), 3);
    assert_ptr_equal(xctx_snapshot_context(snapshot), xctx_snapshot_context(snapshot));
    assert_int_equal(as_number(xctx_var_get(&plain)), 2);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 20);
    xctx_snapshot_unref(snapshot);
    assert_int_equal(counted_live(), 1);
}

TEST(values_live_as_long_as_a_snapshot_has_them)
{
    counted_set(&counted, 10);
    xctx_snapshot *snapshot = xctx_snapshot_take(0);
    counted_set(&counted, 20);
    assert_int_equal(counted_live(), 2);
    assert_int_equal(counted_in(snapshot), 10);
    xctx_snapshot_unref(snapshot);
    assert_int_equal(counted_live(), 1);
}

TEST(values_are_released_with_a_snapshot_that_was_never_asked)
{
    counted_set(&counted, 10);
    for (int i = 0; i < 5; i++) {
        xctx_snapshot *snapshot = xctx_snapshot_take(0);
        counted_set(&counted, i);
        assert_int_equal(counted_live(), 2);
        xctx_snapshot_unref(snapshot);
        assert_int_equal(counted_live(), 1);
    }
}

TEST(scoped_bindings_show_in_a_snapshot_taken_within)
{
    struct counted *value = counted_new(30);
    xctx_snapshot *snapshots[3] = {NULL, NULL, NULL};

    set_plain(1);
    XCTX_LET (&plain, number(2)) {
        snapshots[0] = xctx_snapshot_take(0);
        XCTX_LET (&counted, value) {
            snapshots[1] = xctx_snapshot_take(XCTX_CAPTURE_ALL);
            set_plain(3);
            snapshots[2] = xctx_snapshot_take(0);
            assert_int_equal(as_number(xctx_var_get(&plain)), 3);
        }
    }
    counted_drop(value);
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
    assert_int_equal(plain_in(snapshots[0]), 2);
    assert_int_equal(plain_in(snapshots[1]), 2);
    assert_int_equal(plain_in(snapshots[2]), 3);
    assert_int_equal(counted_in(snapshots[0]), -1);
    assert_int_equal(counted_in(snapshots[1]), 30);
    assert_int_equal(counted_in(snapshots[2]), 30);
    assert_int_equal(counted_live(), 1);
    for (int i = 0; i < 3; i++)
        xctx_snapshot_unref(snapshots[i]);
    assert_int_equal(counted_live(), 0);
}

TEST(snapshot_context_is_nobodys_but_the_snapshots)
{
    set_plain(1);
    xctx_snapshot *snapshot = xctx_snapshot_take(0);
    xctx_context *context = xctx_snapshot_context(snapshot);

    assert_ptr_not_equal(context, xctx_current());
    assert_null(xctx_snapshot_of(context));
    assert_int_equal(xctx_enter(context), 0);
    set_plain(7);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
    /* It lives on with a reference of one's own. */
    xctx_ref(context);
    xctx_snapshot_unref(snapshot);
    assert_int_equal(xctx_count(context), 1);
    xctx_unref(context);
}

static void *take_on_fresh_thread(void *arg)
{
    CHECK(xctx_current() == NULL);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    CHECK(snapshot && xctx_snapshot_parent(snapshot) == NULL);
    CHECK(xctx_current() == NULL);
    CHECK(xctx_count(xctx_snapshot_context(snapshot)) == 0);
    CHECK(plain_in(snapshot) == -1);
    (void)arg;
    return snapshot;
}

TEST(thread_without_a_context_is_captured_and_gets_none)
{
    xctx_snapshot *snapshot = on_thread(take_on_fresh_thread, NULL);
    assert_int_equal(plain_in(snapshot), -1);
    assert_int_not_equal(state_of(snapshot)->tid, own_tid());
    xctx_snapshot_unref(snapshot);
}

TEST(filled_snapshot_has_the_variables)
{
    xctx_snapshot *snapshot = xctx_snapshot_reserve(0, 0);
    set_plain(1);
    counted_set(&counted, 10);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(xctx_snapshot_fill(snapshot, 0, NULL), 0);
        long before = as_number(xctx_var_get(&plain));
        set_plain(before + 1);
        counted_set(&counted, 20);
        assert_int_equal(plain_in(snapshot), before);
        assert_int_equal(counted_in(snapshot), i ? 20 : 10);
        assert_int_equal(xctx_snapshot_reset(snapshot), 0);
        assert_int_equal(counted_live(), 1);
    }
    xctx_snapshot_unref(snapshot);
}

TEST(snapshot_filled_while_a_scoped_binding_is_open_has_it_or_no_variables)
{
    struct counted *value = counted_new(30);
    xctx_snapshot *snapshot = xctx_snapshot_reserve(0, 0);

    set_plain(1);
    XCTX_LET (&counted, value) {
        XCTX_LET (&plain, number(2)) {
            assert_int_equal(xctx_snapshot_fill(snapshot, 0, NULL), 0);
        }
    }
    counted_drop(value);
    if (xctx_snapshot_context(snapshot)) {
        assert_int_equal(plain_in(snapshot), 2);
        assert_int_equal(counted_in(snapshot), 30);
    }
    assert_int_equal(as_number(xctx_var_get(&plain)), 1);
    xctx_snapshot_unref(snapshot);
    assert_int_equal(counted_live(), 0);
}

/* ---- from thread to thread ---- */

static int tids[3];

static void *third(void *arg)
{
    tids[2] = own_tid();
    (void)arg;
    return xctx_snapshot_take(XCTX_CAPTURE_STACK);
}

static void *second(void *arg)
{
    pthread_t thread;
    (void)arg;
    tids[1] = own_tid();
    set_plain(2);
    CHECK(xctx_thread_create(&thread, NULL, third, NULL) == 0);
    return join(thread);
}

static void *first(void *arg)
{
    pthread_t thread;
    (void)arg;
    tids[0] = own_tid();
    set_plain(1);
    CHECK(xctx_thread_create(&thread, NULL, second, NULL) == 0);
    return join(thread);
}

TEST(chain_of_parents_leads_back_across_threads_that_have_ended)
{
    assert_int_equal(xctx_set_default_capture(XCTX_CAPTURE_STACK), 0);
    xctx_snapshot *newest = on_thread(first, NULL);
    restore_defaults();

    assert_int_equal(state_of(newest)->tid, tids[2]);
    assert_int_equal(plain_in(newest), 2);
    xctx_snapshot *parent = xctx_snapshot_parent(newest);
    assert_int_equal(state_of(parent)->tid, tids[1]);
    assert_int_equal(plain_in(parent), 2);
    parent = xctx_snapshot_parent(parent);
    assert_int_equal(state_of(parent)->tid, tids[0]);
    assert_int_equal(plain_in(parent), 1);
    assert_null(xctx_snapshot_parent(parent));
    xctx_snapshot_unref(newest);
}

static void *release_elsewhere(void *snapshot)
{
    return xctx_snapshot_unref(snapshot);
}

TEST(snapshot_released_on_another_thread_releases_its_values)
{
    counted_set(&counted, 10);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    counted_set(&counted, 20);
    assert_non_null(xctx_snapshot_context(snapshot));
    on_thread(release_elsewhere, snapshot);
    assert_int_equal(counted_live(), 1);
}

enum { ASKERS = 4 };

struct question {
    xctx_snapshot *snapshot;
    struct meeting meeting;
    xctx_context *answers[ASKERS];
    atomic_int next;
};

static void *ask(void *arg)
{
    struct question *question = arg;
    int mine = atomic_fetch_add(&question->next, 1);
    meet(&question->meeting);
    question->answers[mine] = xctx_snapshot_context(question->snapshot);
    CHECK(plain_in(question->snapshot) == 1);
    CHECK(counted_in(question->snapshot) == 10);
    return NULL;
}

TEST(threads_that_ask_for_the_context_at_once_get_the_same_one)
{
    set_plain(1);
    counted_set(&counted, 10);
    for (long i = 0; i < scaled(300); i++) {
        struct question question = {.snapshot = xctx_snapshot_take(0)};
        pthread_t threads[ASKERS];
        meeting_init(&question.meeting, ASKERS);
        for (int t = 0; t < ASKERS; t++)
            threads[t] = spawn(ask, &question);
        for (int t = 0; t < ASKERS; t++)
            join(threads[t]);
        for (int t = 1; t < ASKERS; t++)
            assert_ptr_equal(question.answers[t], question.answers[0]);
        assert_non_null(question.answers[0]);
        xctx_snapshot_unref(question.snapshot);
    }
    assert_int_equal(counted_refs(xctx_var_get(&counted)), 1);
}

int main(void)
{
    return test_main("contexts with snapshots");
}
