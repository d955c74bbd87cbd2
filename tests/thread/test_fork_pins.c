/* SPDX-License-Identifier: MIT */
/*
 * fork() while other threads are inside of contexts: the child takes over what they had entered, what they had locked
 * and what they had counted only for themselves, and handlers that a program registered before its first call may use
 * the library.
 */
#include <signal.h>

#include "../support/test.h"
#include "../support/threads.h"

enum handlers { NONE, LOCK, USE };

static enum handlers handlers; /* what those below shall do: they cannot be taken back */
static pthread_mutex_t program_lock = PTHREAD_MUTEX_INITIALIZER;

/* More at a time than a thread has in stock. */
static void use_contexts(void)
{
    xctx_context *contexts[300];
    for (int i = 0; i < 300; i++)
        CHECK((contexts[i] = xctx_new()) != NULL);
    for (int i = 0; i < 300; i++)
        xctx_unref(contexts[i]);
}

static void before_fork(void)
{
    if (handlers == LOCK)
        CHECK(pthread_mutex_lock(&program_lock) == 0);
    if (handlers == USE)
        use_contexts();
}

static void after_fork(void)
{
    if (handlers == LOCK)
        CHECK(pthread_mutex_unlock(&program_lock) == 0);
    if (handlers == USE)
        use_contexts();
}

/* What the vanished threads had is lost in the child; a leak checker must not have its say. */
static int end_child(void)
{
    fflush(stderr);
    CHECK(kill(getpid(), SIGKILL) == 0);
    return 1;
}

static XCTX_VAR_DEFINE(plain);
static XCTX_VAR_DEFINE(bound);

/* ---- copies that a vanished thread made ---- */

struct copied {
    xctx_context *context;
    xctx_context *copy;
};

static void *enter_set_and_copy(void *arg)
{
    struct copied *copied = arg;
    CHECK(xctx_enter(copied->context) == 0);
    CHECK(xctx_var_set(&plain, number(3), NULL) == 0);
    CHECK((copied->copy = xctx_copy_current()) != NULL);
    return NULL;
}

static void *leave(void *arg)
{
    struct copied *copied = arg;
    CHECK(xctx_exit(copied->context) == 0);
    return NULL;
}

static void check_copy(const struct copied *copied)
{
    void *value = NULL;
    CHECK(xctx_lookup(copied->copy, &plain, &value) == 1);
    CHECK(as_number(value) == 3);
}

static int set_in_original(void *arg)
{
    struct copied *copied = arg;
    CHECK(xctx_enter(copied->context) == 0);
    CHECK(as_number(xctx_var_get(&plain)) == 3);
    CHECK(xctx_var_set(&plain, number(4), NULL) == 0);
    check_copy(copied);
    CHECK(xctx_exit(copied->context) == 0);
    check_copy(copied);
    return end_child();
}

static int release_original(void *arg)
{
    struct copied *copied = arg;
    xctx_unref(copied->context);
    /* Whatever was freed has other things in it now. */
    for (size_t size = 16; size <= 512; size += 8) {
        void *block = malloc(size);
        CHECK(block != NULL);
        memset(block, 0xee, size);
    }
    check_copy(copied);
    return end_child();
}

static void check_copied_in_child(int (*fn)(void *))
{
    struct worker worker;
    struct copied copied = {.context = xctx_new()};
    worker_start(&worker);
    worker_do(&worker, enter_set_and_copy, &copied);
    int status = in_child(fn, &copied);
    worker_do(&worker, leave, &copied);
    worker_stop(&worker);
    xctx_unref(copied.copy);
    xctx_unref(copied.context);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGKILL);
}

TEST(copy_by_a_vanished_thread_is_not_changed_by_sets_in_its_original)
{
    check_copied_in_child(set_in_original);
}

TEST(copy_by_a_vanished_thread_outlives_its_original)
{
    check_copied_in_child(release_original);
}

/* Sets and copies at full speed; `copy` is a copy with `value` in it while that is not 0. */
struct setter {
    xctx_context *context;
    _Atomic(xctx_context *) copy;
    atomic_long value;
    atomic_bool stop;
};

static void *set_and_copy(void *arg)
{
    struct setter *setter = arg;
    CHECK(xctx_enter(setter->context) == 0);
    for (long i = 1; !atomic_load(&setter->stop); i++) {
        CHECK(xctx_var_set(&plain, number(i), NULL) == 0);
        xctx_context *copy = xctx_copy_current();
        CHECK(copy != NULL);
        atomic_store(&setter->copy, copy);
        atomic_store(&setter->value, i);
        for (long k = 0; k < i % 4; k++)
            sched_yield();
        atomic_store(&setter->value, 0);
        xctx_unref(copy);
    }
    CHECK(xctx_exit(setter->context) == 0);
    return NULL;
}

static int set_and_check_copy(void *arg)
{
    struct setter *setter = arg;
    void *value = NULL;
    long copied = atomic_load(&setter->value);
    if (copied != 0) {
        CHECK(xctx_enter(setter->context) == 0);
        CHECK(xctx_var_set(&plain, number(-1), NULL) == 0);
        CHECK(xctx_exit(setter->context) == 0);
        CHECK(xctx_lookup(atomic_load(&setter->copy), &plain, &value) == 1);
        CHECK(as_number(value) == copied);
    }
    return end_child();
}

TEST(copies_by_a_busy_thread_are_not_changed)
{
    if (TEST_ASAN)
        skip(); /* a child inherits the locks of its allocator as the other threads held them */
    struct setter setter = {.context = xctx_new()};
    pthread_t thread = spawn(set_and_copy, &setter);
    for (long i = 0; i < scaled(150); i++) {
        int status = in_child(set_and_check_copy, &setter);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    atomic_store(&setter.stop, true);
    join(thread);
    xctx_unref(setter.context);
}

/* ---- contexts that a vanished thread had entered ---- */

enum { MANY = 3000 };

static xctx_var *many[MANY];

static void *enter_nothing(void *value)
{
    return value;
}

static int undone;

static void leave_nothing(void *saved)
{
    CHECK(as_number(saved) == 5);
    undone++;
}

static XCTX_VAR_DEFINE(applied, .enter = enter_nothing, .leave = leave_nothing);

struct owner {
    xctx_context *context;
    bool large;
    sem_t ready;
    sem_t go;
    atomic_bool stop;
};

/* Has its first context, which cannot be left, with a value that is applied and a scoped binding. */
static void *own(void *arg)
{
    struct owner *owner = arg;
    CHECK(xctx_var_set(&plain, number(3), NULL) == 0);
    CHECK(xctx_var_set(&applied, number(5), NULL) == 0);
    for (int i = 0; owner->large && i < MANY; i++)
        CHECK(xctx_var_set(many[i], number(i), NULL) == 0);
    owner->context = xctx_ref(xctx_current());
    XCTX_LET (&bound, number(2)) {
        CHECK(sem_post(&owner->ready) == 0);
        sem_wait_for(&owner->go);
    }
    return NULL;
}

static void *copy_for_ever(void *arg)
{
    struct owner *owner = arg;
    while (!atomic_load(&owner->stop))
        xctx_unref(xctx_copy(owner->context));
    return NULL;
}

static int enter_and_leave(void *arg)
{
    struct owner *owner = arg;
    undone = 0;
    xctx_context *before = xctx_current();
    CHECK(xctx_enter(owner->context) == 0);
    CHECK(as_number(xctx_var_get(&plain)) == 3);
    CHECK(xctx_var_set(&plain, number(4), NULL) == 0);
    CHECK(xctx_exit(owner->context) == 0);
    CHECK(undone == 1); /* what this thread applied, and nothing that the vanished one had */
    CHECK(xctx_current() == before);
    return end_child();
}

static void check_owned_in_children(bool large, bool copied, long children)
{
    struct owner owner = {.large = large};
    CHECK(sem_init(&owner.ready, 0, 0) == 0 && sem_init(&owner.go, 0, 0) == 0);
    pthread_t thread = spawn(own, &owner);
    pthread_t copier = thread;
    sem_wait_for(&owner.ready);
    if (copied)
        copier = spawn(copy_for_ever, &owner);
    for (long i = 0; i < children; i++) {
        int status = in_child(enter_and_leave, &owner);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    atomic_store(&owner.stop, true);
    if (copied)
        join(copier);
    CHECK(sem_post(&owner.go) == 0);
    join(thread);
    xctx_unref(owner.context);
    sem_destroy(&owner.ready);
    sem_destroy(&owner.go);
}

TEST(first_context_of_a_vanished_thread_can_be_entered_and_left)
{
    check_owned_in_children(false, false, 1);
}

/* Most of the time the copier, which vanishes too, has it locked. */
TEST(entered_context_that_another_thread_had_locked_can_be_entered_and_left)
{
    if (TEST_ASAN)
        skip(); /* a child inherits the locks of its allocator as the other threads held them */
    for (int i = 0; i < MANY; i++)
        assert_non_null(many[i] = xctx_var_create("many", NULL));
    check_owned_in_children(true, true, scaled(100));
    for (int i = 0; i < MANY; i++)
        xctx_var_unref(many[i]);
}

/* ---- fork handlers of the program ---- */

static int use_in_child(void *arg)
{
    (void)arg;
    use_contexts();
    return end_child();
}

static void fork_with(enum handlers what, long children)
{
    handlers = what;
    for (long i = 0; i < children; i++) {
        alarm(20); /* a deadlock in fork() would last */
        int status = in_child(use_in_child, NULL);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    }
    alarm(0);
    handlers = NONE;
}

TEST(handlers_may_use_contexts)
{
    fork_with(USE, 2);
}

static void *use_under_lock(void *arg)
{
    while (!atomic_load((atomic_bool *)arg)) {
        CHECK(pthread_mutex_lock(&program_lock) == 0);
        use_contexts();
        CHECK(pthread_mutex_unlock(&program_lock) == 0);
    }
    return NULL;
}

TEST(handlers_may_take_locks_under_which_contexts_are_used)
{
    if (TEST_ASAN)
        skip(); /* a child inherits the locks of its allocator as the other threads held them */
    atomic_bool stop = false;
    pthread_t thread = spawn(use_under_lock, &stop);
    fork_with(LOCK, scaled(200));
    atomic_store(&stop, true);
    join(thread);
}

int main(void)
{
    /* Before the first call of the library, which is in the fixture. */
    CHECK(pthread_atfork(before_fork, after_fork, after_fork) == 0);
    return test_main("fork() with contexts in use");
}
