/* SPDX-License-Identifier: MIT */
/* Asking other threads, and answering others, without memory. */
#include "fault.h"
#include "target.h"

/* Makes a call with its first allocation failing, then with its second, ... until it does not get as far. `call` gives
   0 or a negative errno, and undoes what it did. Returns how many failed. */
static int fail_all(int (*call)(void *), void *arg)
{
    for (int nth = 1; nth <= ROUNDS_MOST; nth++) {
        xctx__test_fail_allocation(nth);
        int error = call(arg);
        long made = xctx__test_fail_allocation(0);
        if (made < nth) {
            CHECK(error == 0);
            return nth - 1;
        }
        CHECK(error == -ENOMEM);
    }
    CHECK(!"a call that ends");
    return 0;
}

static int take_one(void *arg)
{
    const struct target *target = arg;
    xctx_snapshot *snapshot = arg;
    int error = xctx_snapshot_take_thread(target->tid, XCTX_CAPTURE_LOCALS, LONG, &snapshot);
    CHECK(error ? snapshot == arg : xctx_snapshot_thread_state(snapshot)->tid == target->tid);
    if (!error)
        xctx_snapshot_unref(snapshot);
    return error;
}

TEST(snapshot_of_a_thread_without_memory_is_refused)
{
    struct target target;
    target_start(&target, wait_in_read);
    assert_true(fail_all(take_one, &target) >= 1);
    target_stop(&target);
}

static int take_all(void *arg)
{
    xctx_snapshot **snapshots = arg;
    size_t count = 4711;
    int error = xctx_snapshot_take_all(XCTX_CAPTURE_LOCALS, LONG, &snapshots, &count);
    CHECK(error ? count == 4711 && snapshots == arg : count >= 21);
    if (!error)
        xctx_snapshot_unref_all(snapshots, count);
    return error;
}

TEST(snapshots_of_all_threads_without_memory_are_refused)
{
    enum { THREADS = 20 };
    struct target targets[THREADS];
    for (int i = 0; i < THREADS; i++)
        target_start(&targets[i], wait_in_read);
    assert_true(fail_all(take_all, targets) >= THREADS);
    for (int i = 0; i < THREADS; i++)
        target_stop(&targets[i]);
}

static int serve(void *arg)
{
    (void)arg;
    int error = xctx_serve_start();
    CHECK(xctx_serve_stop() == (error ? -EINVAL : 0));
    return error;
}

TEST(server_started_without_memory_is_refused)
{
    assert_true(fail_all(serve, NULL) >= 1);
}

int main(void)
{
    return test_main("other threads without memory");
}
