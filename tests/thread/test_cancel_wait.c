/* SPDX-License-Identifier: MIT */
/* A thread that is cancelled while it waits for a context has another one locked: it must not end there. */
#include "../support/test.h"
#include "../support/threads.h"

enum { MANY = 30000 };

static xctx_var *many[MANY];
static XCTX_VAR_DEFINE(bound);

struct pair {
    xctx_context *first; /* at the lower address: locked first */
    xctx_context *second;
    sem_t ready;
    sem_t go;
    atomic_bool stop;
};

/* A copy of a context with a scoped binding takes long, and it is locked meanwhile. */
static void *own(void *arg)
{
    struct pair *pair = arg;
    CHECK(xctx_enter(pair->second) == 0);
    for (int i = 0; i < MANY; i++)
        CHECK(xctx_var_set(many[i], number(1), NULL) == 0);
    XCTX_LET (&bound, number(2)) {
        CHECK(sem_post(&pair->ready) == 0);
        sem_wait_for(&pair->go);
    }
    CHECK(xctx_exit(pair->second) == 0);
    return NULL;
}

static void *copy_for_ever(void *arg)
{
    struct pair *pair = arg;
    while (!atomic_load(&pair->stop))
        xctx_unref(xctx_copy(pair->second));
    return NULL;
}

static void *compare_for_ever(void *arg)
{
    struct pair *pair = arg;
    CHECK(sem_post(&pair->ready) == 0);
    for (;;) {
        CHECK(!xctx_equal(pair->first, pair->second));
        pthread_testcancel();
    }
    return NULL;
}

TEST(cancelled_thread_leaves_nothing_locked)
{
    struct pair pair = {.first = xctx_new(), .second = xctx_new()};
    if ((uintptr_t)pair.first > (uintptr_t)pair.second) {
        xctx_context *swapped = pair.first;
        pair.first = pair.second;
        pair.second = swapped;
    }
    for (int i = 0; i < MANY; i++)
        assert_non_null(many[i] = xctx_var_create("many", NULL));
    CHECK(sem_init(&pair.ready, 0, 0) == 0 && sem_init(&pair.go, 0, 0) == 0);
    pthread_t owner = spawn(own, &pair);
    sem_wait_for(&pair.ready);
    pthread_t copier = spawn(copy_for_ever, &pair);
    for (long i = 0; i < scaled(30); i++) {
        void *value = NULL;
        pthread_t thread = spawn(compare_for_ever, &pair);
        sem_wait_for(&pair.ready);
        usleep((useconds_t)(10000 + i % 10 * 300));
        alarm(60); /* a lock that is left behind would last */
        CHECK(pthread_cancel(thread) == 0);
        CHECK(join(thread) == PTHREAD_CANCELED);
        CHECK(xctx_lookup(pair.first, &bound, &value) == 0);
        alarm(0);
    }
    atomic_store(&pair.stop, true);
    join(copier);
    CHECK(sem_post(&pair.go) == 0);
    join(owner);
    xctx_unref(pair.first);
    xctx_unref(pair.second);
    for (int i = 0; i < MANY; i++)
        xctx_var_unref(many[i]);
    sem_destroy(&pair.ready);
    sem_destroy(&pair.go);
}

int main(void)
{
    return test_main("cancellation while a context is waited for");
}
