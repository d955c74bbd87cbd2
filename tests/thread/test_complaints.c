/* SPDX-License-Identifier: MIT */
/*
 * What users of other systems with contexts complain of does not happen here: a test for each complaint, named after
 * it. Those of threads that work for many are in test_complaints_workers.c.
 */
#include "complaints_support.h"

/* ---- a token "was created in a different Context" when it is given back elsewhere ---- */

struct generator {
    xctx_context *context;
    xctx_token token;
};

static void *generator_start(void *arg)
{
    struct generator *generator = arg;
    struct counted *value = counted_new(2);
    CHECK(xctx_enter(generator->context) == 0);
    CHECK(xctx_var_set(&counted, value, &generator->token) == 0);
    counted_drop(value);
    CHECK(xctx_exit(generator->context) == 0);
    return NULL;
}

static void *generator_finish(void *arg)
{
    struct generator *generator = arg;
    counted_set(&counted, 9);
    /* Not by mistake in whatever context is current where the garbage collector calls. */
    CHECK(xctx_var_reset(&counted, &generator->token) == -EXDEV);
    CHECK(counted_number(xctx_var_get(&counted)) == 9);
    CHECK(xctx_enter(generator->context) == 0);
    CHECK(xctx_var_reset(&counted, &generator->token) == 0);
    CHECK(counted_number(xctx_var_get(&counted)) == 1);
    CHECK(xctx_exit(generator->context) == 0);
    return NULL;
}

static void *generator_abandon(void *arg)
{
    struct generator *generator = arg;
    CHECK(xctx_var_reset(&counted, &generator->token) == -EXDEV);
    xctx_unref(generator->context);
    xctx_token_drop(&generator->token);
    return NULL;
}

TEST(a_token_that_was_created_in_a_different_context_is_given_back_elsewhere)
{
    struct generator generator;
    struct worker worker;
    worker_start(&worker);
    counted_set(&counted, 1);
    for (int i = 0; i < 3; i++) {
        generator.context = xctx_copy_current();
        generator_start(&generator);
        worker_do(&worker, generator_finish, &generator);
        worker_do(&worker, generator_start, &generator);
        on_thread(generator_finish, &generator);
        worker_do(&worker, generator_start, &generator);
        on_thread(generator_abandon, &generator);
        assert_int_equal(counted_refs(xctx_var_get(&counted)), 1);
    }
    worker_stop(&worker);
    assert_int_equal(counted_live(), 1);
}

/* ---- siblings mutate an inherited value ---- */

static void *mutate(void *arg)
{
    struct counted *mine = xctx_var_get(&own);
    CHECK(counted_number(mine) == 1);
    mine->number = as_number(arg); /* a data race, if it were not a clone */
    counted_set(&counted, as_number(arg));
    CHECK(counted_number(xctx_var_get(&own)) == as_number(arg));
    CHECK(counted_number(xctx_var_get(&counted)) == as_number(arg));
    return NULL;
}

TEST(siblings_mutate_an_inherited_value)
{
    enum { SIBLINGS = 4 };
    pthread_t threads[SIBLINGS];
    counted_set(&own, 1);
    counted_set(&counted, 1);
    for (int i = 0; i < SIBLINGS; i++)
        assert_int_equal(xctx_thread_create(&threads[i], NULL, mutate, number(10 + i)), 0);
    for (int i = 0; i < SIBLINGS; i++)
        join(threads[i]);
    assert_int_equal(counted_number(xctx_var_get(&own)), 1);
    assert_int_equal(counted_number(xctx_var_get(&counted)), 1);
    xctx_bound *bound = xctx_bind(mutate, number(20));
    for (int i = 0; i < SIBLINGS; i++)
        threads[i] = spawn(work_in_bound_call, bound);
    for (int i = 0; i < SIBLINGS; i++)
        join(threads[i]);
    xctx_bound_unref(bound);
    assert_int_equal(counted_number(xctx_var_get(&own)), 1);
}

/* ---- writes of a child are wanted back ---- */

static void *add(void *parent, void *child)
{
    return number(as_number(parent) + as_number(child));
}

static XCTX_VAR_DEFINE(total, .merge = add);

static void *count_up(void *amount)
{
    CHECK(xctx_var_set(&total, amount, NULL) == 0);
    CHECK(xctx_var_set(&request, amount, NULL) == 0);
    return xctx_ref(xctx_current());
}

TEST(writes_of_a_child_are_wanted_back)
{
    enum { CHILDREN = 5 };
    pthread_t children[CHILDREN];
    for (int i = 0; i < CHILDREN; i++)
        assert_int_equal(xctx_thread_create(&children[i], NULL, count_up, number(1 << i)), 0);
    for (int i = 0; i < CHILDREN; i++) {
        void *value = NULL;
        xctx_context *child = join(children[i]);
        assert_int_equal(xctx_lookup(child, &request, &value), 1); /* whatever it wrote can be looked at */
        assert_int_equal(as_number(value), 1 << i);
        /* What has a way to be merged is, unless it is what the parent has already. */
        if (as_number(xctx_var_get(&total)) == as_number(value))
            assert_int_equal(xctx_var_set(&total, number(0), NULL), 0);
        assert_int_equal(xctx_merge(child), 0);
        xctx_unref(child);
    }
    assert_int_equal(as_number(xctx_var_get(&total)), (1 << CHILDREN) - 1);
    assert_int_equal(xctx_var_find(&request, NULL), 0);
    /* Or the child runs in the parent's context, one after the other. */
    xctx_context *context = xctx_copy_current();
    void *child = NULL;
    assert_int_equal(xctx_run(context, count_up, number(3), &child), 0);
    assert_ptr_equal(child, context);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(as_number(xctx_var_get(&request)), 3);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(child);
    xctx_unref(context);
}

/* ---- pooled connections keep their creator's context ---- */

struct connection {
    struct worker worker;
    pthread_t thread; /* looks after the connection for as long as it is open */
    sem_t close;
    xctx_bound *on_data; /* of the request that is using it */
};

static void *look_after(void *arg)
{
    struct connection *connection = arg;
    CHECK(xctx_var_find(&request, NULL) == 0);
    CHECK(xctx_var_find(&counted, NULL) == 0);
    sem_wait_for(&connection->close);
    CHECK(xctx_count(xctx_current()) == 0);
    return NULL;
}

static void *connection_open(void *arg)
{
    struct connection *connection = arg;
    CHECK(xctx_thread_create(&connection->thread, NULL, look_after, connection) == 0);
    return NULL;
}

static void *note_request(void *ret_request)
{
    *(long *)ret_request = as_number(xctx_var_get(&request));
    CHECK(counted_number(xctx_var_get(&counted)) == *(long *)ret_request);
    return NULL;
}

static void *data_arrives(void *arg)
{
    struct connection *connection = arg;
    xctx_bound_call(connection->on_data);
    return NULL;
}

TEST(pooled_connections_keep_their_creators_context)
{
    struct connection connection;
    sem_init(&connection.close, 0, 0);
    worker_start(&connection.worker);
    for (long i = 1; i <= 5; i++) {
        xctx_context *serving = xctx_new();
        long seen = -1;
        assert_int_equal(xctx_enter(serving), 0);
        assert_int_equal(xctx_var_set(&request, number(i), NULL), 0);
        counted_set(&counted, i);
        if (i == 1) {
            /* What outlives the request is opened in an empty context. */
            xctx_context *empty = xctx_new();
            assert_int_equal(xctx_run(empty, connection_open, &connection, NULL), 0);
            xctx_unref(empty);
        }
        connection.on_data = xctx_bind(note_request, &seen);
        worker_do(&connection.worker, data_arrives, &connection);
        assert_int_equal(seen, i);
        connection.on_data = xctx_bound_unref(connection.on_data);
        assert_int_equal(xctx_exit(serving), 0);
        xctx_unref(serving);
        assert_int_equal(counted_live(), 0); /* also of the first, while the connection is open */
    }
    sem_post(&connection.close);
    join(connection.thread);
    worker_stop(&connection.worker);
    sem_destroy(&connection.close);
}

/* ---- a watcher that enters a context recurses ---- */

static atomic_long watcher_calls;

static void enter_some_in_watcher(xctx_context *current, void *unused)
{
    (void)current;
    (void)unused;
    atomic_fetch_add(&watcher_calls, 1);
    for (int i = 0; i < 3; i++) {
        xctx_context *context = xctx_copy_current();
        CHECK(xctx_run(context, set_values, NULL, NULL) == 0);
        xctx_unref(context);
    }
}

TEST(a_watcher_that_enters_a_context_recurses)
{
    enum { WATCHERS = 16 };
    int ids[WATCHERS];
    for (int i = 0; i < WATCHERS; i++)
        ids[i] = xctx_watch(enter_some_in_watcher, NULL);
    xctx_context *context = xctx_new();
    atomic_store(&watcher_calls, 0);
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(watcher_calls, WATCHERS);
    assert_int_equal(xctx_exit(context), 0);
    assert_int_equal(watcher_calls, 2 * WATCHERS);
    for (int i = 0; i < WATCHERS; i++)
        assert_int_equal(xctx_unwatch(ids[i]), 0);
    xctx_unref(context);
    assert_int_equal(counted_live(), 0);
}

/* ---- many requests interleaved on one thread ---- */

struct flow {
    xctx_context *context;
    xctx_token token;
    long steps;
    bool has_token;
};

static void flow_step(struct flow *flow, long id)
{
    CHECK(as_number(xctx_var_get(&request)) == id);
    CHECK(as_number(xctx_var_get(&user)) == (flow->has_token ? flow->steps : -1));
    CHECK(counted_number(xctx_var_get(&counted)) == id * 1000 + flow->steps);
    flow->steps++;
    counted_set(&counted, id * 1000 + flow->steps);
    if (flow->has_token)
        CHECK(xctx_var_reset(&user, &flow->token) == 0);
    else
        CHECK(xctx_var_set(&user, number(flow->steps), &flow->token) == 0);
    flow->has_token = !flow->has_token;
    XCTX_LET (&request, number(-2)) {
        CHECK(as_number(xctx_var_get(&request)) == -2);
    }
}

TEST(many_requests_interleaved_on_one_thread)
{
    enum { FLOWS = 200 };
    static struct flow flows[FLOWS];
    uint32_t random = 1;
    long steps = scaled(20000), sum = 0;
    xctx_context *loop = xctx_current();
    for (long i = 0; i < FLOWS; i++) {
        flows[i] = (struct flow){.context = xctx_copy_current()};
        assert_int_equal(xctx_enter(flows[i].context), 0);
        assert_int_equal(xctx_var_set(&request, number(i), NULL), 0);
        counted_set(&counted, i * 1000);
        assert_int_equal(xctx_exit(flows[i].context), 0);
    }
    for (long step = 0; step < steps; step++) {
        long i = random_next(&random) % FLOWS;
        assert_int_equal(xctx_enter(flows[i].context), 0);
        flow_step(&flows[i], i);
        assert_int_equal(xctx_exit(flows[i].context), 0);
        assert_ptr_equal(xctx_current(), loop);
    }
    for (long i = 0; i < FLOWS; i++) {
        sum += flows[i].steps;
        if (flows[i].has_token)
            xctx_token_drop(&flows[i].token);
        xctx_unref(flows[i].context);
    }
    assert_int_equal(sum, steps);
    assert_int_equal(counted_live(), 0);
}

/* ---- callbacks on native threads see defaults ---- */

struct callback {
    void (*fn)(void *user);
    void *user;
};

/* A library that knows nothing of contexts: it has a thread of its own, which calls back. */
static void *native_main(void *arg)
{
    struct callback *callback = arg;
    for (int i = 0; i < 3; i++)
        callback->fn(callback->user);
    return NULL;
}

static void call_bound(void *bound)
{
    CHECK(as_number(xctx_bound_call(bound)) == 42);
    CHECK(xctx_current() == NULL);
}

static void *get_request(void *unused)
{
    (void)unused;
    CHECK(as_number(xctx_var_get(&user)) == 43);
    return xctx_var_get(&request);
}

TEST(callbacks_on_native_threads_see_defaults)
{
    struct callback callback = {.fn = call_bound};
    assert_int_equal(xctx_var_set(&request, number(42), NULL), 0);
    assert_int_equal(xctx_var_set(&user, number(43), NULL), 0);
    callback.user = xctx_bind(get_request, NULL);
    assert_int_equal(xctx_var_set(&request, number(1), NULL), 0);
    on_thread(native_main, &callback);
    xctx_bound_unref(callback.user);
}

int main(void)
{
    return test_main("complaints about other systems");
}
