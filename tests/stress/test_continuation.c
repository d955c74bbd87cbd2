/* SPDX-License-Identifier: MIT */
/*
 * Threads that do random things to fibers, continuations and shots which they share: each fiber computes something that
 * depends on nothing but what it was told so far, in calls of several depths, in local variables, variables of
 * contexts, scoped bindings, tokens and memory of its own that hooks copy. A model computes the same without fibers, is
 * copied when a fiber is, and is compared with it after each step.
 *
 * Fibers do such things themselves too: so shots are resumed, captured and given up while another one of their stack
 * runs, and threads that wait for each other in a circle are told so.
 *
 * The seed is printed; XCTX_TEST_SEED=N repeats its choices, though not the threads' timing. XCTX_TEST_SECONDS=N goes
 * on for that long, with one seed after the other.
 */
#include <time.h>

#include "../support/counted.h"
#include "../support/threads.h"

enum { ITEMS = 24, THREADS = 4, DEPTH = 7, PUBLISHED = 4, LARGE = 200, STACK = 64 << 10 };

static uint32_t seed;

XCTX_VAR_DEFINE(plain);
XCTX_VAR_DEFINE(counted, .retain = counted_retain, .release = counted_release);
XCTX_VAR_DEFINE(stays, .retain = counted_retain, .release = counted_release, .flow = XCTX_FLOW_NONE);
XCTX_VAR_DEFINE(cloned, .retain = counted_retain, .release = counted_release, .clone = counted_clone,
                .flow = XCTX_FLOW_CLONE);

/* Applied to the thread while a context is entered in which it is set: by resuming a fiber, too. */
static _Thread_local long applied;

static __attribute__((noinline)) long *applied_here(void)
{
    __asm__ volatile("");
    return &applied;
}

static void *apply(void *value)
{
    ++*applied_here();
    return value;
}

static void undo(void *saved)
{
    (void)saved;
    --*applied_here();
}

XCTX_VAR_DEFINE(hooked, .enter = apply, .leave = undo);

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 29;
}

/* ---- memory of a fiber's own ---- */

struct box {
    uint64_t value;
    uint64_t check;
};

static atomic_long boxes;

static struct box *box_new(uint64_t value)
{
    struct box *box = malloc(sizeof(*box));

    CHECK(box);
    box->value = value;
    box->check = ~value;
    atomic_fetch_add(&boxes, 1);
    return box;
}

static uint64_t box_get(const struct box *box)
{
    CHECK(box->check == ~box->value);
    return box->value;
}

static void box_set(struct box *box, uint64_t value)
{
    box_get(box);
    box->value = value;
    box->check = ~value;
}

static void box_free(void *value)
{
    struct box *box = value;

    box_get(box);
    box->check = box->value;
    atomic_fetch_sub(&boxes, 1);
    free(box);
}

static int box_clone(void *value, void **ret_value)
{
    *ret_value = box_new(box_get(value));
    return 0;
}

/* ---- what fibers are told ---- */

enum op {
    OP_MIX,
    OP_UP,
    OP_END,
    OP_NEST,    /* do something to other fibers */
    OP_PUBLISH, /* let others see the context */
    OP_PLAIN,
    OP_COUNTED,
    OP_STAYS,
    OP_CLONED,
    OP_HOOKED,
    /* From here on: a call, in which more is told. */
    OP_CALL,
    OP_CALL_LARGE,
    OP_LET_PLAIN,
    OP_LET_COUNTED,
    OP_TOKEN,
    OP_TOKEN_CLONED,
    OP_REGION,
    OP_HOOK,
    OP_ENTER,
    OP_RUN,
    OPS,
};

/* A simple fiber has one context and shared values in it: shots of it are made and ended in the quickest way. */
static enum op op_of(uint32_t in, unsigned depth, bool simple)
{
    /* Whatever ends something is rare. */
    static const uint8_t ops[64] = {
        OP_UP,          OP_UP,           OP_UP,          OP_UP,     OP_UP,     OP_UP,     OP_UP,      OP_UP,
        OP_UP,          OP_UP,           OP_UP,          OP_UP,     OP_NEST,   OP_NEST,   OP_NEST,    OP_NEST,
        OP_NEST,        OP_NEST,         OP_PUBLISH,     OP_PLAIN,  OP_PLAIN,  OP_PLAIN,  OP_COUNTED, OP_COUNTED,
        OP_COUNTED,     OP_STAYS,        OP_STAYS,       OP_CLONED, OP_CLONED, OP_CLONED, OP_CALL,    OP_CALL,
        OP_CALL_LARGE,  OP_LET_PLAIN,    OP_LET_PLAIN,   OP_TOKEN,  OP_TOKEN,  OP_REGION, OP_HOOK,    OP_HOOK,
        OP_LET_COUNTED, OP_TOKEN_CLONED, OP_LET_COUNTED, OP_ENTER,  OP_ENTER,  OP_RUN,    OP_END,     OP_HOOKED,
    };
    enum op op = ops[in & 63];

    if (simple && op > OP_PLAIN && op != OP_REGION)
        op = op < OP_CALL ? OP_END : OP_CALL;
    if (op >= OP_CALL && depth + 1 >= DEPTH)
        return OP_MIX;
    return op == OP_UP && depth == 0 ? OP_MIX : op;
}

static uint64_t number_of(uint32_t in)
{
    return in >> 6;
}

/* ---- the model ---- */

struct values {
    uint64_t plain;
    long counted;
    long stays;
    long cloned;
};

struct frame {
    enum op kind;
    uint64_t local;
    double real;
    int boxed; /* which frame has the box, or -1 */
    uint64_t box;
    struct values before;
};

struct state {
    bool simple;
    bool begun;
    bool ended;
    unsigned depth;
    unsigned regions;
    uint64_t result;
    struct values now;
    struct frame frames[DEPTH];
};

static uint64_t bits_of(double real)
{
    uint64_t bits;

    memcpy(&bits, &real, sizeof(bits));
    return bits;
}

static uint64_t digest(uint64_t local, double real, uint64_t box, const struct values *values)
{
    uint64_t hash = mix(mix(mix(local, bits_of(real)), box), values->plain);

    return mix(mix(mix(hash, (uint64_t)values->counted), (uint64_t)values->stays), (uint64_t)values->cloned);
}

static uint64_t model_digest(const struct state *state)
{
    const struct frame *frame = &state->frames[state->depth];

    return digest(frame->local, frame->real, frame->boxed >= 0 ? state->frames[frame->boxed].box : 0, &state->now);
}

static void model_push(struct state *state, enum op kind, uint64_t start)
{
    const struct frame *below = &state->frames[state->depth];
    struct frame *frame = &state->frames[++state->depth];

    *frame = (struct frame){
        .kind = kind, .local = start, .real = (double)(start & 255), .boxed = below->boxed, .before = state->now};
    switch (kind) {
    case OP_LET_PLAIN:
        state->now.plain = start;
        break;
    case OP_LET_COUNTED:
    case OP_TOKEN:
        state->now.counted = (long)(start & 0xffff);
        break;
    case OP_TOKEN_CLONED:
        state->now.cloned = (long)(start & 0xffff);
        break;
    case OP_REGION:
        state->regions++;
        break;
    case OP_HOOK:
        frame->boxed = (int)state->depth;
        frame->box = start;
        break;
    case OP_ENTER:
    case OP_RUN:
        state->now.stays = 0;
        break;
    default:
        break;
    }
}

static void model_pop(struct state *state)
{
    const struct frame *frame = &state->frames[state->depth];
    struct frame *below = &state->frames[--state->depth];
    uint64_t result = frame->local;

    switch (frame->kind) {
    case OP_LET_PLAIN:
        state->now.plain = frame->before.plain;
        break;
    case OP_LET_COUNTED:
    case OP_TOKEN:
        state->now.counted = frame->before.counted;
        break;
    case OP_TOKEN_CLONED:
        state->now.cloned = frame->before.cloned;
        break;
    case OP_REGION:
        state->regions--;
        break;
    case OP_HOOK:
        result = mix(result, frame->box);
        break;
    case OP_ENTER:
    case OP_RUN:
        state->now = frame->before;
        break;
    default:
        break;
    }
    below->local = mix(below->local, result);
}

/* What the fiber yields then, or returns. */
static uint64_t model_step(struct state *state, uint32_t in)
{
    if (!state->begun) {
        state->begun = true;
        state->frames[0].boxed = -1;
        return model_digest(state);
    }
    struct frame *frame = &state->frames[state->depth];
    enum op op = op_of(in, state->depth, state->simple);
    uint64_t n = number_of(in);

    switch (op) {
    case OP_UP:
        model_pop(state);
        break;
    case OP_END:
        while (state->depth > 0)
            model_pop(state);
        state->ended = true;
        return state->result = state->frames[0].local;
    case OP_PLAIN:
        state->now.plain = mix(frame->local, n);
        break;
    case OP_COUNTED:
        state->now.counted = (long)n;
        break;
    case OP_STAYS:
        state->now.stays = (long)n;
        break;
    case OP_CLONED:
        state->now.cloned = (long)n;
        break;
    case OP_HOOKED:
        break;
    case OP_MIX:
    case OP_NEST:
    case OP_PUBLISH:
        frame->local = mix(frame->local, n);
        frame->real = frame->real * 0.5 + (double)(n % 1000);
        if (frame->boxed >= 0)
            state->frames[frame->boxed].box = mix(state->frames[frame->boxed].box, n);
        break;
    default:
        model_push(state, op, mix(frame->local, n));
        break;
    }
    return model_digest(state);
}

/* ---- the fibers ---- */

static void play_once(uint32_t random, bool nested);
static void publish(uint32_t n, xctx_context *context);

static void *as_pointer(uint64_t value)
{
    return (void *)(uintptr_t)value;
}

static long number_in(const void *value)
{
    return value ? counted_number(value) : 0;
}

static uint64_t look(uint64_t local, double real, struct box *const *box)
{
    const struct values values = {
        .plain = (uintptr_t)xctx_var_get(&plain),
        .counted = number_in(xctx_var_get(&counted)),
        .stays = number_in(xctx_var_get(&stays)),
        .cloned = number_in(xctx_var_get(&cloned)),
    };

    return digest(local, real, box ? box_get(*box) : 0, &values);
}

/* What all calls of a fiber know. */
struct whole {
    bool simple;
    bool ended;
};

static uint64_t call(enum op kind, uint64_t start, unsigned depth, struct box **box, struct whole *whole);

static uint64_t level(uint64_t local, unsigned depth, struct box **box, struct whole *whole)
{
    double real = (double)(local & 255);

    while (!whole->ended) {
        uint32_t in = (uint32_t)(uintptr_t)xctx_fiber_yield(as_pointer(look(local, real, box)));
        enum op op = op_of(in, depth, whole->simple);
        uint64_t n = number_of(in);
        switch (op) {
        case OP_UP:
            return local;
        case OP_END:
            whole->ended = true;
            break;
        case OP_PLAIN:
            CHECK(xctx_var_set(&plain, as_pointer(mix(local, n)), NULL) == 0);
            break;
        case OP_COUNTED:
            counted_set(&counted, (long)n);
            break;
        case OP_STAYS:
            counted_set(&stays, (long)n);
            break;
        case OP_CLONED:
            counted_set(&cloned, (long)n);
            break;
        case OP_HOOKED:
            CHECK(xctx_var_set(&hooked, number((long)n), NULL) == 0);
            break;
        case OP_MIX:
        case OP_NEST:
        case OP_PUBLISH:
            if (op == OP_NEST)
                play_once((uint32_t)n | 1, true);
            else if (op == OP_PUBLISH)
                publish((uint32_t)n, xctx_ref(xctx_current()));
            local = mix(local, n);
            real = real * 0.5 + (double)(n % 1000);
            if (box)
                box_set(*box, mix(box_get(*box), n));
            break;
        default:
            local = mix(local, call(op, mix(local, n), depth + 1, box, whole));
            break;
        }
    }
    return local;
}

static uint64_t call_large(uint64_t start, unsigned depth, struct box **box, struct whole *whole)
{
    volatile uint64_t words[LARGE];

    for (unsigned i = 0; i < LARGE; i++)
        words[i] = mix(start, i);
    uint64_t result = level(start, depth, box, whole);
    for (unsigned i = 0; i < LARGE; i++)
        CHECK(words[i] == mix(start, i));
    return result;
}

static uint64_t call_with_token(xctx_var *var, uint64_t start, unsigned depth, struct box **box, struct whole *whole)
{
    struct counted *value = counted_new((long)(start & 0xffff));
    xctx_token token;

    CHECK(xctx_var_set(var, value, &token) == 0);
    counted_drop(value);
    uint64_t result = level(start, depth, box, whole);
    CHECK(xctx_var_reset(var, &token) == 0);
    return result;
}

static uint64_t call_with_let(uint64_t start, unsigned depth, struct box **box, struct whole *whole)
{
    struct counted *value = counted_new((long)(start & 0xffff));
    uint64_t result = 0;

    XCTX_LET (&counted, value) {
        counted_drop(value);
        result = level(start, depth, box, whole);
    }
    return result;
}

static uint64_t call_with_hook(uint64_t start, unsigned depth, struct whole *whole)
{
    struct box *box = box_new(start);
    xctx_fiber_hook hook = {.on_clone = box_clone, .on_drop = box_free};

    CHECK(xctx_fiber_hook_push(&hook, &box) == 0);
    uint64_t result = level(start, depth, &box, whole);
    result = mix(result, box_get(box));
    xctx_fiber_hook_pop(&hook);
    box_free(box);
    return result;
}

static uint64_t call_entered(uint64_t start, unsigned depth, struct box **box, struct whole *whole)
{
    xctx_context *context = xctx_copy_current();

    CHECK(context && xctx_enter(context) == 0);
    xctx_unref(context); /* each shot would do it, but there is one */
    uint64_t result = level(start, depth, box, whole);
    CHECK(xctx_exit(context) == 0);
    return result;
}

struct run_arguments {
    xctx_context *context;
    uint64_t start;
    unsigned depth;
    struct box **box;
    struct whole *whole;
    uint64_t result;
};

static void *run_in_context(void *argument)
{
    struct run_arguments *arguments = argument;

    xctx_unref(arguments->context);
    arguments->result = level(arguments->start, arguments->depth, arguments->box, arguments->whole);
    return argument;
}

static uint64_t call_run(uint64_t start, unsigned depth, struct box **box, struct whole *whole)
{
    struct run_arguments arguments = {xctx_copy_current(), start, depth, box, whole, 0};
    void *result = NULL;

    CHECK(arguments.context && xctx_run(arguments.context, run_in_context, &arguments, &result) == 0);
    CHECK(result == &arguments);
    return arguments.result;
}

static uint64_t call(enum op kind, uint64_t start, unsigned depth, struct box **box, struct whole *whole)
{
    uint64_t result = 0;

    switch (kind) {
    case OP_CALL_LARGE:
        return call_large(start, depth, box, whole);
    case OP_LET_PLAIN:
        XCTX_LET (&plain, as_pointer(start))
            result = level(start, depth, box, whole);
        return result;
    case OP_LET_COUNTED:
        return call_with_let(start, depth, box, whole);
    case OP_TOKEN:
        return call_with_token(&counted, start, depth, box, whole);
    case OP_TOKEN_CLONED:
        return call_with_token(&cloned, start, depth, box, whole);
    case OP_REGION:
        XCTX_NO_CAPTURE
        result = level(start, depth, box, whole);
        return result;
    case OP_HOOK:
        return call_with_hook(start, depth, whole);
    case OP_ENTER:
        return call_entered(start, depth, box, whole);
    case OP_RUN:
        return call_run(start, depth, box, whole);
    default:
        return level(start, depth, box, whole);
    }
}

static void *compute_simply(void *argument)
{
    struct whole whole = {.simple = true};

    (void)argument;
    CHECK(xctx_var_set(&plain, NULL, NULL) == 0);
    return as_pointer(level(0, 0, NULL, &whole));
}

static void *compute(void *argument)
{
    xctx_context *own = argument ? xctx_new() : NULL;
    struct whole whole = {.simple = false};

    if (argument) {
        CHECK(own && xctx_enter(own) == 0);
        xctx_unref(own);
    }
    CHECK(xctx_var_set(&plain, NULL, NULL) == 0);
    counted_set(&counted, 0);
    counted_set(&stays, 0);
    counted_set(&cloned, 0);
    uint64_t result = level(0, 0, NULL, &whole);
    if (argument)
        CHECK(xctx_exit(own) == 0);
    return as_pointer(result);
}

/* ---- what is shared ---- */

/* A fiber or a continuation, for whoever has set `busy`, and what the model says of it. */
static struct item {
    atomic_flag busy;
    xctx_fiber *fiber;
    xctx_continuation *continuation;
    struct state state;
} items[ITEMS];

static xctx_context *_Atomic published[PUBLISHED];

static struct {
    atomic_long steps;
    atomic_long ends;
    atomic_long captures;
    atomic_long refused;
    atomic_long shots;
    atomic_long circles;
} counts;

static void publish(uint32_t n, xctx_context *context)
{
    xctx_unref(atomic_exchange(&published[n % PUBLISHED], context));
}

static bool try_item(struct item *item)
{
    return !atomic_flag_test_and_set_explicit(&item->busy, memory_order_acquire);
}

static void let_go(struct item *item)
{
    atomic_flag_clear_explicit(&item->busy, memory_order_release);
}

static void clear(struct item *item)
{
    item->fiber = xctx_fiber_unref(item->fiber);
    item->continuation = xctx_continuation_unref(item->continuation);
}

/* Puts something somewhere, in the place of what is there, or gives it up. */
static void put(uint32_t n, xctx_fiber *fiber, xctx_continuation *continuation, const struct state *state)
{
    struct item *item = &items[n % ITEMS];

    if (!try_item(item)) {
        xctx_fiber_unref(fiber);
        xctx_continuation_unref(continuation);
        return;
    }
    clear(item);
    item->fiber = fiber;
    item->continuation = continuation;
    item->state = *state;
    let_go(item);
}

/* ---- what threads do ---- */

static void create(struct item *item, uint32_t n)
{
    xctx_fiber_options options = {.size = sizeof(options), .stack_size = STACK, .context = n % 3};

    bool simple = options.context == XCTX_FIBER_CONTEXT_NONE && n & 64;
    bool enters = options.context == XCTX_FIBER_CONTEXT_SHARE;
    item->fiber = xctx_fiber_create(simple ? compute_simply : compute, enters ? item : NULL, &options);
    CHECK(item->fiber);
    item->state = (struct state){.simple = simple};
}

/* Where the model and a fiber parted. */
static void tell(const struct state *state, uint32_t in)
{
    fprintf(stderr, "told %u behind calls", op_of(in, state->depth, state->simple));
    for (unsigned i = 1; i <= state->depth; i++)
        fprintf(stderr, " %u", state->frames[i].kind);
    fprintf(stderr, "%s\n", state->begun ? "" : ", before it began");
}

/* Whether it can be resumed again. */
static bool step(struct item *item, uint32_t in, bool nested)
{
    struct state state = item->state;
    void *out = number(-1);
    const long applied_before = *applied_here();
    int status = xctx_fiber_resume(item->fiber, as_pointer(in), &out);

    CHECK(*applied_here() == applied_before);

    if (state.ended) {
        CHECK(status == -EINVAL && out == number(-1));
        return false;
    }
    if (status == -EDEADLK) {
        CHECK(nested && out == number(-1));
        atomic_fetch_add(&counts.circles, 1);
        return false;
    }
    uint64_t expected = model_step(&state, in);
    CHECK(status == (state.ended ? 0 : 1));
    if ((uintptr_t)out != (uintptr_t)expected)
        tell(&item->state, in);
    CHECK((uintptr_t)out == (uintptr_t)expected);
    item->state = state;
    atomic_fetch_add(&counts.steps, 1);
    if (state.ended)
        atomic_fetch_add(&counts.ends, 1);
    return !state.ended;
}

static void capture(const struct item *item, uint32_t n, bool nested)
{
    xctx_continuation *continuation = NULL;
    int error = xctx_fiber_capture(item->fiber, &continuation);

    if (item->state.ended) {
        CHECK(error == -EINVAL && !continuation);
    } else if (error == -EDEADLK) {
        CHECK(nested && !continuation);
        atomic_fetch_add(&counts.circles, 1);
    } else if (item->state.regions > 0) {
        CHECK(error == -EPERM && !continuation);
        atomic_fetch_add(&counts.refused, 1);
    } else {
        if (error)
            fprintf(stderr, "capturing: error %d\n", error);
        CHECK(error == 0 && continuation);
        atomic_fetch_add(&counts.captures, 1);
        put(n, NULL, continuation, &item->state);
    }
}

static void play_fiber(struct item *item, uint32_t random, bool nested)
{
    uint32_t n = random_next(&random);

    switch (n >> 16 & 7) {
    case 0:
    case 1:
        capture(item, n, nested);
        break;
    case 2:
        if (n >> 19 & 1)
            clear(item);
        else
            CHECK(xctx_fiber_unref(xctx_fiber_ref(item->fiber)) == NULL);
        break;
    default:
        for (unsigned i = 0; i <= n % 16; i++)
            if (!step(item, random_next(&random), nested))
                break;
        break;
    }
}

static void play_continuation(struct item *item, uint32_t n)
{
    xctx_fiber *fiber = NULL;

    switch (n >> 16 & 7) {
    case 0:
        clear(item);
        break;
    case 1:
        put(n, NULL, xctx_continuation_ref(item->continuation), &item->state);
        break;
    default:
        CHECK(xctx_continuation_size(item->continuation) > 0);
        CHECK(xctx_continuation_shot(item->continuation, &fiber) == 0);
        atomic_fetch_add(&counts.shots, 1);
        put(n, fiber, NULL, &item->state);
        break;
    }
}

/* Looks into a context that a fiber may have entered, and perhaps runs with now. */
static void look_into_published(uint32_t n)
{
    xctx_context *context = atomic_exchange(&published[n % PUBLISHED], NULL);
    void *value = NULL;

    if (!context)
        return;
    if (xctx_lookup(context, &counted, &value) == 0 && value)
        CHECK(counted_number(value) >= 0);
    xctx_context *copy = xctx_copy(context);
    CHECK(copy && xctx_enter(copy) == 0);
    CHECK(number_in(xctx_var_get(&cloned)) >= 0);
    CHECK(xctx_exit(copy) == 0);
    xctx_unref(copy);
    if (n & 64)
        publish(n >> 8, context);
    else
        xctx_unref(context);
}

static void play_once(uint32_t random, bool nested)
{
    uint32_t n = random_next(&random);
    struct item *item = &items[n % ITEMS];

    if ((n >> 20 & 15) == 0) {
        look_into_published(n >> 8);
        return;
    }
    if (!try_item(item))
        return;
    if (item->fiber)
        play_fiber(item, n, nested);
    else if (item->continuation)
        play_continuation(item, random_next(&n));
    else
        create(item, n >> 8);
    let_go(item);
}

struct player {
    uint32_t random;
    long rounds;
};

static void *play(void *argument)
{
    struct player *player = argument;

    for (long i = 0; i < player->rounds; i++)
        play_once(random_next(&player->random), false);
    return NULL;
}

static void check_play(int threads, long rounds)
{
    struct player players[THREADS];
    pthread_t ids[THREADS];

    for (int i = 0; i < threads; i++) {
        players[i] = (struct player){.random = random_next(&seed), .rounds = rounds};
        ids[i] = spawn(play, &players[i]);
    }
    for (int i = 0; i < threads; i++)
        join(ids[i]);
    for (int i = 0; i < ITEMS; i++)
        clear(&items[i]);
    for (uint32_t i = 0; i < PUBLISHED; i++)
        publish(i, NULL);
    assert_int_equal(atomic_load(&boxes), 0);
    assert_int_equal(counted_live(), 0);
    assert_int_equal(counted_retained, counted_released);
}

TEST(random_play_of_one_thread_agrees_with_the_model)
{
    check_play(1, scaled(60000));
    /* It did what it is here for. */
    assert_true(counts.steps > 0 && counts.captures > 0 && counts.shots > 0);
}

TEST(random_play_of_two_threads_agrees_with_the_model)
{
    check_play(2, scaled(40000));
}

TEST(random_play_of_many_threads_agrees_with_the_model)
{
    check_play(THREADS, scaled(30000));
}

TEST(random_play_with_threads_that_end_agrees_with_the_model)
{
    for (long i = 0; i < scaled(300); i++)
        check_play(THREADS, 40);
}

static double seconds_since(const struct timespec *start)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) * 1e-9;
}

TEST(random_play_goes_on_as_long_as_it_is_asked_to)
{
    const char *given = getenv("XCTX_TEST_SECONDS");
    struct timespec start;

    clock_gettime(CLOCK_MONOTONIC, &start);
    while (given && seconds_since(&start) < atof(given)) {
        fprintf(stderr, "at %.0f s: XCTX_TEST_SEED=%u\n", seconds_since(&start), seed);
        check_play(1 + (int)(random_next(&seed) % THREADS), 20000);
    }
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
    int failed = test_main("random play with continuations");
    fprintf(stderr, "%ld steps, %ld ends, %ld captures, %ld refused, %ld shots, %ld circles\n", counts.steps,
            counts.ends, counts.captures, counts.refused, counts.shots, counts.circles);
    return failed;
}
