/* SPDX-License-Identifier: MIT */
/*
 * What users of other systems with contexts complain of does not happen here: a test for each complaint, named after
 * it.
 */
#include <fcntl.h>
#include <fenv.h>

#include "../support/counted.h"
#include "../support/threads.h"

static XCTX_VAR_DEFINE(request);
static XCTX_VAR_DEFINE(user, .initial = (void *)-1);
static XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);
static XCTX_VAR_DEFINE(own, .flow = XCTX_FLOW_CLONE, .clone = counted_clone, .retain = counted_retain,
                       .release = counted_release);

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

/* A value that owns a file descriptor. */
struct file {
    atomic_int refs;
    int fd;
};

static void *file_retain(void *value)
{
    struct file *file = value;
    atomic_fetch_add(&file->refs, 1);
    return file;
}

static void file_release(void *value)
{
    struct file *file = value;
    if (atomic_fetch_sub(&file->refs, 1) == 1) {
        CHECK(close(file->fd) == 0);
        free(file);
    }
}

static XCTX_VAR_DEFINE(output, .retain = file_retain, .release = file_release);

static int last_fd;

static void file_set(void)
{
    struct file *file = malloc(sizeof(*file));
    CHECK(file != NULL);
    atomic_init(&file->refs, 1);
    file->fd = last_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK(file->fd >= 0);
    CHECK(xctx_var_set(&output, file, NULL) == 0);
    file_release(file);
}

static bool is_open(int fd)
{
    return fcntl(fd, F_GETFD) != -1;
}

/* Each of these does some work with contexts, as a worker may do on behalf of others, and ends where it began. */

static void *set_values(void *unused)
{
    (void)unused;
    counted_set(&counted, 1);
    counted_set(&own, 2);
    file_set();
    return NULL;
}

static void *set_values_twice(void *unused)
{
    set_values(unused);
    return set_values(unused);
}

static void *work_in_bound_call(void *bound)
{
    xctx_bound_call(bound);
    return NULL;
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
