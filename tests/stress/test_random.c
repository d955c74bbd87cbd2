/* SPDX-License-Identifier: MIT */
/*
 * Threads that do random things to contexts which they share: whatever they do, each counted value is released once,
 * each context can be entered in the end, and nothing is used after it was freed (which counted values notice, and
 * sanitizers more so).
 *
 * The seed is printed; XCTX_TEST_SEED=N repeats its choices, though not the threads' timing.
 */
#include <time.h>

#include "../support/counted.h"
#include "../support/threads.h"

enum { SLOTS = 8, THREADS = 4, VARS = 80, DEPTH = 4, TOKENS = 8 };

static xctx_var *vars[VARS];
static uint32_t seed;

/* A shared place for a context. The lock makes it possible to take a reference; what is done then is unprotected. */
static struct slot {
    pthread_mutex_t lock;
    xctx_context *context;
} slots[SLOTS];

static xctx_context *take(uint32_t n)
{
    struct slot *slot = &slots[n % SLOTS];
    pthread_mutex_lock(&slot->lock);
    xctx_context *context = xctx_ref(slot->context);
    pthread_mutex_unlock(&slot->lock);
    return context;
}

/* Puts a context into a slot, taking the caller's reference, and gives what was there back. */
static void put(uint32_t n, xctx_context *context)
{
    struct slot *slot = &slots[n % SLOTS];
    pthread_mutex_lock(&slot->lock);
    xctx_context *old = slot->context;
    slot->context = context;
    pthread_mutex_unlock(&slot->lock);
    xctx_unref(old);
}

struct player {
    uint32_t random;
    long rounds;
    int depth;
    xctx_context *entered[DEPTH];
    xctx_token tokens[TOKENS];
    xctx_var *token_vars[TOKENS];
};

static xctx_var *random_var(struct player *player)
{
    /* Mostly the first few, so that threads meet; now and then one in the trie. */
    uint32_t n = random_next(&player->random);
    return vars[n & 0x300 ? n % 4 : n % VARS];
}

static int count_number(xctx_var *var, void *value, void *user)
{
    (void)var;
    *(long *)user += counted_number(value);
    return 0;
}

static void look_into(xctx_context *context)
{
    long sum = 0;
    CHECK(xctx_each(context, count_number, &sum) == 0);
    CHECK(xctx_count(context) <= VARS);
    xctx_equal(context, xctx_current());
}

static void use_token(struct player *player, uint32_t n)
{
    xctx_token *token = &player->tokens[n % TOKENS];
    xctx_var **var = &player->token_vars[n % TOKENS];
    if (*var) {
        int error = xctx_var_reset(*var, token);
        CHECK(error == 0 || error == -EXDEV);
        if (error)
            xctx_token_drop(token);
        *var = NULL;
    } else {
        *var = random_var(player);
        struct counted *value = counted_new(n % 1000);
        CHECK(xctx_var_set(*var, value, token) == 0);
        counted_drop(value);
    }
}

static void leave_one(struct player *player)
{
    xctx_context *context = player->entered[--player->depth];
    CHECK(xctx_current() == context);
    CHECK(xctx_exit(context) == 0);
}

static void *bound_work(void *arg)
{
    counted_set(arg, 3);
    return xctx_var_get(arg) ? arg : NULL;
}

static void play_once(struct player *player);

static void play_let(struct player *player, xctx_var *var, uint32_t n)
{
    struct counted *value = counted_new(n % 1000);
    int depth = player->depth;
    XCTX_LET (var, value) {
        if (n % 5 == 0)
            put(n, xctx_copy_current());
        counted_number(xctx_var_get(var));
        if (n % 7 == 0)
            play_once(player);
        while (player->depth > depth) /* what the block entered is left in it */
            leave_one(player);
    }
    counted_drop(value);
}

static void play_once(struct player *player)
{
    uint32_t n = random_next(&player->random);
    xctx_var *var = random_var(player);
    xctx_context *context = NULL;
    switch (n >> 16 & 15) {
    case 0:
        put(n, xctx_new());
        break;
    case 1:
    case 2:
        put(n, xctx_copy_current());
        break;
    case 3:
        context = take(n);
        put(n >> 8, xctx_copy(context));
        break;
    case 4:
    case 5:
    case 6:
        context = take(n);
        if (player->depth < DEPTH && context && xctx_enter(context) == 0)
            player->entered[player->depth++] = context;
        break;
    case 7:
    case 8:
        context = take(n);
        if (context)
            look_into(context);
        break;
    case 9:
        context = take(n);
        CHECK(!context || xctx_merge(context) == 0);
        break;
    case 10:
        use_token(player, n);
        break;
    case 11:
        play_let(player, var, n);
        break;
    case 12: {
        xctx_bound *bound = xctx_bind(bound_work, var);
        CHECK(xctx_bound_call(bound) == var);
        xctx_bound_unref(bound);
        break;
    }
    default:
        counted_set(var, n % 1000);
        CHECK(counted_number(xctx_var_get(var)) == (long)(n % 1000));
        break;
    }
    xctx_unref(context);
}

static void *play(void *arg)
{
    struct player *player = arg;
    for (long i = 0; i < player->rounds; i++) {
        int depth = player->depth;
        play_once(player);
        if (depth == player->depth && depth > 0 && random_next(&player->random) % 4 == 0)
            leave_one(player);
    }
    for (int i = 0; i < TOKENS; i++) {
        if (player->token_vars[i])
            xctx_token_drop(&player->tokens[i]);
    }
    if (player->random % 2) { /* the others leave what they entered to the end of the thread */
        while (player->depth > 0)
            leave_one(player);
    }
    return NULL;
}

static void check_play(int threads, long rounds)
{
    struct player players[THREADS];
    pthread_t ids[THREADS];
    for (int i = 0; i < SLOTS; i++) {
        CHECK(pthread_mutex_init(&slots[i].lock, NULL) == 0);
        slots[i].context = xctx_new();
    }
    for (int i = 0; i < threads; i++) {
        players[i] = (struct player){.random = random_next(&seed), .rounds = rounds};
        ids[i] = spawn(play, &players[i]);
    }
    for (int i = 0; i < threads; i++)
        join(ids[i]);
    for (int i = 0; i < SLOTS; i++) {
        assert_int_equal(xctx_enter(slots[i].context), 0);
        assert_int_equal(xctx_exit(slots[i].context), 0);
        put((uint32_t)i, NULL);
        pthread_mutex_destroy(&slots[i].lock);
    }
    assert_int_equal(counted_live(), 0);
    assert_int_equal(counted_retained, counted_released);
}

TEST(random_play_of_one_thread_releases_everything)
{
    check_play(1, scaled(50000));
}

TEST(random_play_of_two_threads_releases_everything)
{
    check_play(2, scaled(50000));
}

TEST(random_play_of_four_threads_releases_everything)
{
    check_play(4, scaled(50000));
}

TEST(random_play_of_threads_that_come_and_go_releases_everything)
{
    for (long i = 0; i < scaled(500); i++)
        check_play(THREADS, 20);
}

static void *merge_to_child(void *parent, void *child)
{
    return counted_clone(child ? child : parent);
}

int main(void)
{
    const char *given = getenv("XCTX_TEST_SEED");
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    seed = given ? (uint32_t)strtoul(given, NULL, 0) : (uint32_t)now.tv_nsec | 1;
    if (seed == 0)
        seed = 1;
    fprintf(stderr, "XCTX_TEST_SEED=%u\n", seed);
    for (int i = 0; i < VARS; i++) {
        xctx_var_options options = {.size = sizeof(options), .retain = counted_retain, .release = counted_release};
        if (i % 4 == 1) {
            options.flow = XCTX_FLOW_CLONE;
            options.clone = counted_clone;
        } else if (i % 4 == 2) {
            options.flow = XCTX_FLOW_NONE;
        }
        if (i % 4 != 3)
            options.merge = merge_to_child;
        vars[i] = xctx_var_create("random", &options);
        CHECK(vars[i] != NULL);
    }
    int failed = test_main("random play");
    for (int i = 0; i < VARS; i++)
        xctx_var_unref(vars[i]);
    return failed;
}
