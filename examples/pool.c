/* SPDX-License-Identifier: MIT */
/*
 * A thread pool that was there before, carrying contexts; and results that come back the same way.
 *
 * The pool takes functions and arguments, and is not changed. xctx_bind() makes of a function one that brings the
 * context of its submitter with it. The tasks count words into the variable `tally`: each has a tally of its own,
 * since copies of a context do not share it (XCTX_FLOW_CLONE), so nothing is locked or atomic. When the tasks are
 * done, xctx_merge() adds their tallies up in the submitter's context.
 *
 *     cc -pthread -o pool pool.c $(pkg-config --cflags --libs xctx)
 *
 * It prints the words of four verses, and the sum.
 */
#include <ctype.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xctx/xctx.h>

/* --- the pool that was there before --------------------------------------------------------------------------- */

struct task {
    void *(*fn)(void *);
    void *arg;
    void *result; /* of `fn`, when the pool is finished */
};

struct pool {
    pthread_mutex_t mutex;
    struct task *tasks;
    size_t count, next;
};

static void *pool_thread(void *argument)
{
    struct pool *pool = argument;

    for (;;) {
        pthread_mutex_lock(&pool->mutex);
        struct task *task = pool->next < pool->count ? &pool->tasks[pool->next++] : NULL;
        pthread_mutex_unlock(&pool->mutex);
        if (!task)
            return NULL;
        task->result = task->fn(task->arg);
    }
}

/* Does the tasks, in several threads. Returns false if not even one thread could be started. */
static bool pool_do(struct task *tasks, size_t count)
{
    struct pool pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .tasks = tasks, .count = count};
    pthread_t threads[3];
    size_t started = 0;

    while (started < sizeof(threads) / sizeof(threads[0]) &&
           pthread_create(&threads[started], NULL, pool_thread, &pool) == 0)
        started++;
    for (size_t i = 0; i < started; i++)
        pthread_join(threads[i], NULL);
    return started > 0;
}

/* --- the variables -------------------------------------------------------------------------------------------- */

struct tally {
    size_t words;
    char longest[32];
};

static void *tally_copy(void *value)
{
    struct tally *copy = malloc(sizeof(*copy));
    if (copy)
        *copy = *(struct tally *)value;
    return copy;
}

/* A task begins with nothing, whatever its submitter has counted by then. */
static void *tally_clone(void *value)
{
    (void)value;
    return calloc(1, sizeof(struct tally));
}

static void *tally_merge(void *parent, void *child)
{
    static struct tally none;
    struct tally *sum = tally_copy(parent ? parent : &none);
    const struct tally *other = child ? child : &none;

    if (!sum)
        return XCTX_RESERVED_VALUE; /* NULL would be a value */
    sum->words += other->words;
    if (strlen(other->longest) > strlen(sum->longest))
        memcpy(sum->longest, other->longest, sizeof(sum->longest));
    return sum;
}

static XCTX_VAR_DEFINE(tally, .flow = XCTX_FLOW_CLONE, .retain = tally_copy, .release = free, .clone = tally_clone,
                       .merge = tally_merge);
/* What is to be counted as a word: set by the submitter, found by the function that decides. */
static XCTX_VAR_DEFINE(least_length);

/* --- the work ------------------------------------------------------------------------------------------------- */

static void count_word(const char *word, size_t length)
{
    const size_t *least = xctx_var_get(&least_length);
    struct tally *mine = xctx_var_get(&tally);

    if (length < *least)
        return;
    mine->words++;
    if (length > strlen(mine->longest) && length < sizeof(mine->longest)) {
        memcpy(mine->longest, word, length);
        mine->longest[length] = '\0';
    }
}

/* A task: counts the words of a text. Returns the context that it has counted in: new. */
static void *count_words(void *text)
{
    const char *at = text;

    while (*at) {
        size_t length = 0;
        while (isalpha((unsigned char)at[length]))
            length++;
        if (length > 0)
            count_word(at, length);
        at += length > 0 ? length : 1;
    }
    return xctx_ref(xctx_current());
}

static void *call_bound(void *bound)
{
    return xctx_bound_call(bound);
}

enum { VERSES = 4 };

static bool count_all(const char *const verses[VERSES])
{
    struct task tasks[VERSES];
    size_t bound = 0;
    bool well = true;

    for (; bound < VERSES; bound++) {
        xctx_bound *work = xctx_bind(count_words, (void *)verses[bound]);
        if (!work)
            break;
        tasks[bound] = (struct task){.fn = call_bound, .arg = work};
    }
    if (bound < VERSES || !pool_do(tasks, VERSES)) {
        fprintf(stderr, "pool: no memory, or no thread\n");
        well = false;
    }
    for (size_t i = 0; i < bound; i++) {
        xctx_context *child = tasks[i].result;
        void *value = NULL;
        if (well && child && xctx_lookup(child, &tally, &value) == 1 && xctx_merge(child) == 0)
            printf("verse %zu: %2zu words, the longest is \"%s\"\n", i + 1, ((struct tally *)value)->words,
                   ((struct tally *)value)->longest);
        else
            well = false;
        xctx_unref(child);
        xctx_bound_unref(tasks[i].arg);
    }
    return well;
}

int main(void)
{
    static const char *const verses[VERSES] = {
        "Tyger Tyger, burning bright, In the forests of the night;",
        "What immortal hand or eye, Could frame thy fearful symmetry?",
        "In what distant deeps or skies, Burnt the fire of thine eyes?",
        "On what wings dare he aspire? What the hand, dare seize the fire?",
    };
    static const size_t least = 3;
    struct tally nothing = {0, ""};

    if (xctx_var_set(&tally, &nothing, NULL) != 0 || xctx_var_set(&least_length, (void *)&least, NULL) != 0) {
        fprintf(stderr, "pool: no memory\n");
        return EXIT_FAILURE;
    }
    bool well = count_all(verses);
    const struct tally *sum = xctx_var_get(&tally);
    printf("together: %zu words of %zu letters or more, the longest is \"%s\"\n", sum->words, least, sum->longest);
    return fflush(stdout) == 0 && well ? EXIT_SUCCESS : EXIT_FAILURE;
}
