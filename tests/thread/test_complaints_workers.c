/* SPDX-License-Identifier: MIT */
/*
 * What users of other systems with contexts complain of, where threads work for many, does not happen here: a test for
 * each complaint, named after it.
 */
#include <fenv.h>

#include "complaints_support.h"

/* ---- executors drop the context ---- */

struct job {
    xctx_bound *bound;
    sem_t *finished;
    struct job *next;
};

struct executor {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct job *jobs;
    bool closed;
    pthread_t threads[2];
};

static void *executor_main(void *arg)
{
    struct executor *executor = arg;
    CHECK(xctx_var_set(&request, number(-1), NULL) == 0); /* its own business */
    for (;;) {
        pthread_mutex_lock(&executor->lock);
        while (!executor->jobs && !executor->closed)
            pthread_cond_wait(&executor->changed, &executor->lock);
        struct job *job = executor->jobs;
        if (job)
            executor->jobs = job->next;
        pthread_mutex_unlock(&executor->lock);
        if (!job)
            return NULL;
        xctx_bound_call(job->bound);
        xctx_bound_unref(job->bound);
        sem_post(job->finished);
        free(job);
        CHECK(as_number(xctx_var_get(&request)) == -1);
    }
}

static void executor_start(struct executor *executor)
{
    pthread_mutex_init(&executor->lock, NULL);
    pthread_cond_init(&executor->changed, NULL);
    for (int i = 0; i < 2; i++)
        executor->threads[i] = spawn(executor_main, executor);
}

static void executor_submit(struct executor *executor, void *(*fn)(void *), void *arg, sem_t *finished)
{
    struct job *job = malloc(sizeof(*job));
    CHECK(job != NULL);
    *job = (struct job){.bound = xctx_bind(fn, arg), .finished = finished};
    CHECK(job->bound != NULL);
    pthread_mutex_lock(&executor->lock);
    job->next = executor->jobs;
    executor->jobs = job;
    pthread_cond_signal(&executor->changed);
    pthread_mutex_unlock(&executor->lock);
}

static void executor_stop(struct executor *executor)
{
    pthread_mutex_lock(&executor->lock);
    executor->closed = true;
    pthread_cond_broadcast(&executor->changed);
    pthread_mutex_unlock(&executor->lock);
    for (int i = 0; i < 2; i++)
        join(executor->threads[i]);
    pthread_cond_destroy(&executor->changed);
    pthread_mutex_destroy(&executor->lock);
}

struct seen {
    long request;
    long counted;
};

static void *look(void *arg)
{
    struct seen *seen = arg;
    seen->request = as_number(xctx_var_get(&request));
    seen->counted = counted_number(xctx_var_get(&counted));
    return NULL;
}

TEST(executors_drop_the_context)
{
    enum { JOBS = 100 };
    static struct seen seen[JOBS];
    struct executor executor = {.jobs = NULL};
    sem_t finished;
    sem_init(&finished, 0, 0);
    executor_start(&executor);
    for (int i = 0; i < JOBS; i++) {
        XCTX_LET (&request, number(i)) {
            counted_set(&counted, 1000 + i);
            executor_submit(&executor, look, &seen[i], &finished);
        }
    }
    for (int i = 0; i < JOBS; i++)
        sem_wait_for(&finished);
    executor_stop(&executor);
    sem_destroy(&finished);
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(seen[i].request, i);
        assert_int_equal(seen[i].counted, 1000 + i);
    }
}

/* ---- idle workers pin values ---- */

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1;
}

/* Each of these does some work with contexts, as a worker may do on behalf of others, and ends where it began. */

static void *set_values_twice(void *unused)
{
    set_values(unused);
    return set_values(unused);
}

static void *work_in_run(void *unused)
{
    xctx_context *context = xctx_new();
    CHECK(xctx_run(context, set_values, unused, NULL) == 0);
    xctx_unref(context);
    return NULL;
}

static void *work_in_copies(void *unused)
{
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    set_values(unused);
    for (int i = 0; i < 20; i++) {
        xctx_context *copy = xctx_copy_current();
        CHECK(xctx_run(copy, set_values_twice, unused, NULL) == 0);
        xctx_unref(copy);
    }
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    return NULL;
}

static void *work_in_copies_of_the_own_context(void *unused)
{
    for (int i = 0; i < 20; i++) {
        xctx_context *copy = xctx_copy_current();
        CHECK(xctx_run(copy, set_values_twice, unused, NULL) == 0);
        xctx_unref(copy);
    }
    return NULL;
}

static void *work_with_references_that_go_first(void *unused)
{
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    set_values(unused);
    xctx_context *copy = xctx_copy_current();
    xctx_unref(context);
    CHECK(xctx_exit(context) == 0);
    CHECK(xctx_enter(copy) == 0);
    xctx_unref(copy);
    set_values(unused);
    CHECK(xctx_exit(copy) == 0);
    return NULL;
}

static void *work_in_let(void *unused)
{
    (void)unused;
    struct counted *value = counted_new(1);
    XCTX_LET (&counted, value) {
        XCTX_LET (&own, value) {
            counted_drop(value);
            work_in_copies_of_the_own_context(unused);
        }
    }
    return NULL;
}

static void *work_with_tokens(void *unused)
{
    (void)unused;
    xctx_token first, second;
    struct counted *value = counted_new(1);
    CHECK(xctx_var_set(&counted, value, &first) == 0);
    CHECK(xctx_var_set(&counted, value, &second) == 0);
    counted_drop(value);
    xctx_unref(xctx_copy_current());
    CHECK(xctx_var_reset(&counted, &first) == 0);
    xctx_token_drop(&second);
    return NULL;
}

static void *work_and_set_null(void *unused)
{
    set_values(unused);
    xctx_unref(xctx_copy_current());
    CHECK(xctx_var_set(&counted, NULL, NULL) == 0);
    CHECK(xctx_var_set(&own, NULL, NULL) == 0);
    CHECK(xctx_var_set(&output, NULL, NULL) == 0);
    return NULL;
}

static int look_at(xctx_var *var, void *value, void *unused)
{
    (void)var;
    (void)value;
    (void)unused;
    return 0;
}

static void *work_in_someone_elses(void *context)
{
    xctx_context *copy = xctx_copy(context);
    CHECK(xctx_each(context, look_at, NULL) == 0);
    CHECK(xctx_count(context) == 3);
    CHECK(!xctx_equal(copy, context)); /* one variable is cloned */
    CHECK(xctx_merge(context) == 0);
    CHECK(xctx_run(copy, set_values, NULL, NULL) == 0);
    xctx_unref(copy);
    CHECK(xctx_run(context, set_values, NULL, NULL) == 0);
    return NULL;
}

static void *work_binding(void *unused)
{
    xctx_context *context = xctx_new();
    CHECK(xctx_enter(context) == 0);
    set_values(unused);
    xctx_bound *bound = xctx_bind(set_values, NULL);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    xctx_bound_call(bound);
    xctx_bound_call(bound);
    xctx_bound_unref(bound);
    return NULL;
}

static void *work_starting_threads(void *unused)
{
    xctx_context *context = xctx_new();
    pthread_t thread;
    CHECK(xctx_enter(context) == 0);
    set_values(unused);
    CHECK(xctx_thread_create(&thread, NULL, set_values, NULL) == 0);
    CHECK(xctx_exit(context) == 0);
    xctx_unref(context);
    join(thread);
    return NULL;
}

typedef void *function(void *);

static void check_nothing_is_left(void)
{
    assert_int_equal(counted_live(), 0);
    assert_false(is_open(last_fd));
}

TEST(idle_workers_pin_values)
{
    static function *const kinds[] = {
        work_in_run,
        work_in_copies,
        work_in_copies_of_the_own_context,
        work_with_references_that_go_first,
        work_in_let,
        work_with_tokens,
        work_and_set_null,
        work_binding,
        work_starting_threads,
    };
    enum { KINDS = sizeof(kinds) / sizeof(kinds[0]), AGAIN = 3 };
    struct worker worker;
    worker_start(&worker);
    for (int i = 0; i < AGAIN; i++) {
        for (int kind = 0; kind < KINDS; kind++) {
            worker_do(&worker, kinds[kind], NULL);
            check_nothing_is_left();
        }
        xctx_context *context = xctx_new();
        assert_int_equal(xctx_run(context, set_values, NULL, NULL), 0);
        worker_do(&worker, work_in_someone_elses, context);
        xctx_unref(context);
        check_nothing_is_left();

        context = xctx_new();
        assert_int_equal(xctx_enter(context), 0);
        set_values(NULL);
        xctx_bound *bound = xctx_bind(set_values, NULL);
        for (int calls = 0; calls < 3; calls++)
            worker_do(&worker, work_in_bound_call, bound);
        assert_int_equal(xctx_exit(context), 0);
        xctx_unref(context);
        xctx_bound_unref(bound);
        check_nothing_is_left();
    }
    worker_stop(&worker);
}

/* The last reference goes on the thread that did not do the work. */
TEST(idle_workers_pin_values_of_contexts_that_go_elsewhere)
{
    struct worker workers[2];
    worker_start(&workers[0]);
    worker_start(&workers[1]);
    for (int i = 0; i < 20; i++) {
        xctx_context *context = xctx_new();
        assert_int_equal(xctx_run(context, set_values, NULL, NULL), 0);
        worker_do(&workers[i % 2], work_in_someone_elses, context);
        worker_do(&workers[(i + 1) % 2], work_in_someone_elses, context);
        worker_do(&workers[(i + 1) % 2], work_in_copies_of_the_own_context, NULL);
        xctx_unref(context);
        check_nothing_is_left();
    }
    worker_stop(&workers[0]);
    worker_stop(&workers[1]);
}

/* ---- a value bleeds into the next request on a reused worker ---- */

static jmp_buf way_out;

static void *careless_request(void *arg)
{
    xctx_context *context = xctx_copy_current();
    CHECK(xctx_var_set(&request, arg, NULL) == 0);
    counted_set(&counted, as_number(arg));
    CHECK(xctx_enter(context) == 0); /* and does not leave it */
    xctx_unref(context);
    CHECK(xctx_var_set(&user, arg, NULL) == 0);
    if (setjmp(way_out) == 0) {
        XCTX_LET (&request, number(999)) {
            longjmp(way_out, 1);
        }
    }
    return NULL;
}

static void *clean_request(void *unused)
{
    (void)unused;
    CHECK(xctx_var_find(&request, NULL) == 0);
    CHECK(as_number(xctx_var_get(&user)) == -1);
    CHECK(xctx_var_find(&counted, NULL) == 0);
    CHECK(xctx_count(xctx_current()) == 0);
    return NULL;
}

static void *serve(void *bound)
{
    xctx_bound_call(bound);
    CHECK(xctx_current() == NULL);
    CHECK(xctx_var_find(&request, NULL) == 0);
    CHECK(as_number(xctx_var_get(&user)) == -1);
    return NULL;
}

static void *run_in_new(void *fn)
{
    xctx_context *context = xctx_new();
    CHECK(xctx_run(context, *(function **)fn, number(7), NULL) == 0);
    xctx_unref(context);
    CHECK(xctx_current() == NULL);
    return NULL;
}

TEST(a_value_bleeds_into_the_next_request_on_a_reused_worker)
{
    struct worker worker;
    worker_start(&worker);
    xctx_bound *clean = xctx_bind(clean_request, NULL);
    function *careless_one = careless_request, *clean_one = clean_request;
    for (int i = 1; i < 10; i++) {
        xctx_bound *careless = xctx_bind(careless_request, number(i));
        worker_do(&worker, serve, careless);
        xctx_bound_unref(careless);
        worker_do(&worker, serve, clean);
        worker_do(&worker, run_in_new, &careless_one);
        worker_do(&worker, run_in_new, &clean_one);
        assert_int_equal(counted_live(), 0);
    }
    worker_stop(&worker);
    xctx_bound_unref(clean);
}

/* ---- floating-point settings are lost in workers ---- */

#if defined(FE_UPWARD) && defined(FE_TONEAREST)
static void *get_rounding(void *unused)
{
    (void)unused;
    return number(fegetround());
}

static void *get_rounding_as_bound(void *bound)
{
    return xctx_bound_call(bound);
}

TEST(floating_point_settings_are_lost_in_workers)
{
    struct worker worker;
    worker_start(&worker);
    assert_int_equal(fesetround(FE_UPWARD), 0);
    xctx_bound *bound = xctx_bind_with(get_rounding, NULL, XCTX_CAPTURE_STATE);
    assert_int_equal(fesetround(FE_TONEAREST), 0);
    assert_non_null(bound);
    assert_int_equal(as_number(worker_do(&worker, get_rounding, NULL)), FE_TONEAREST);
    assert_int_equal(as_number(worker_do(&worker, get_rounding_as_bound, bound)), FE_UPWARD);
    assert_int_equal(as_number(worker_do(&worker, get_rounding, NULL)), FE_TONEAREST);
    worker_stop(&worker);
    xctx_bound_unref(bound);
}
#endif

int main(void)
{
    return test_main("complaints about workers of other systems");
}
