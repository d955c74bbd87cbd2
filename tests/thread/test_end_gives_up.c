/* SPDX-License-Identifier: MIT */
/*
 * A thread whose values set variables whenever they are released has always something left to release: it ends all the
 * same, and destructors of thread-specific data that run later may use the library.
 */
#include "../support/test.h"
#include "../support/threads.h"

enum { THREADS = 2, CONTEXTS = 200 };

extern xctx_var restless;
static atomic_long released;

static void *keep(void *value)
{
    return value;
}

static void set_again(void *value)
{
    atomic_fetch_add(&released, 1);
    CHECK(xctx_var_set(&restless, value, NULL) == 0);
}

XCTX_VAR_DEFINE(restless, .retain = keep, .release = set_again);

static XCTX_VAR_DEFINE(plain);

/* What such a thread leaves behind is nobody's: AddressSanitizer's leak checker asks this. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
    return 1;
}

struct ending {
    int index;
    bool ended;
};

static struct meeting meeting;
static xctx_context *made[THREADS][CONTEXTS];
static pthread_key_t later;

/* Both threads at once. */
static void use_at_end(void *arg)
{
    struct ending *ending = arg;
    xctx_context **mine = made[ending->index];
    uint32_t random = 55u + (uint32_t)ending->index;

    meet(&meeting);
    /* Not in step. */
    for (long round = 0; round < scaled(8000); round++) {
        int some = (int)(random_next(&random) % CONTEXTS) + 1;
        for (int i = 0; i < some; i++)
            CHECK((mine[i] = xctx_copy_current()) != NULL);
        for (int i = 0; i < some; i++)
            xctx_unref(mine[i]);
    }
    for (long round = 0; round < scaled(20); round++) {
        meet(&meeting);
        for (int i = 0; i < CONTEXTS; i++)
            CHECK((mine[i] = xctx_copy_current()) != NULL);
        meet(&meeting);
        for (int i = 0; i < CONTEXTS; i++) {
            for (int k = 0; k < CONTEXTS; k++) {
                CHECK(mine[i] != made[!ending->index][k]);
                CHECK(i == k || mine[i] != mine[k]);
            }
        }
        meet(&meeting);
        for (int i = 0; i < CONTEXTS; i++)
            xctx_unref(mine[i]);
    }
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    CHECK(xctx_var_set(&plain, number(7), NULL) == 0);
    CHECK(as_number(xctx_var_get(&plain)) == 7);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    ending->ended = true;
}

static void *set_and_end(void *arg)
{
    CHECK(xctx_var_set(&restless, number(1), NULL) == 0);
    CHECK(pthread_setspecific(later, arg) == 0);
    return arg;
}

TEST(threads_end_and_destructors_use_contexts)
{
    struct ending endings[THREADS];
    pthread_t threads[THREADS];

    /* The library has its key by now: those of later keys run behind it. */
    assert_int_equal(pthread_key_create(&later, use_at_end), 0);
    meeting_init(&meeting, THREADS);
    alarm(60); /* a thread that does not end would be waited for */
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < THREADS; i++) {
            endings[i] = (struct ending){.index = i};
            threads[i] = spawn(set_and_end, &endings[i]);
        }
        for (int i = 0; i < THREADS; i++) {
            assert_ptr_equal(join(threads[i]), &endings[i]);
            assert_true(endings[i].ended);
        }
    }
    alarm(0);
    assert_true(atomic_load(&released) >= 3 * THREADS);
    assert_int_equal(pthread_key_delete(later), 0);
}

int main(void)
{
    return test_main("threads that cannot release everything");
}
