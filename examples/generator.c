/* SPDX-License-Identifier: MIT */
/*
 * Generators: values that straight code produces, recursion included, pulled one at a time.
 *
 * Walking a tree is three lines, as long as the walk is in charge. Whoever wants to stop half way, or to walk two trees
 * in step, has to turn it inside out and keep a stack by hand. Here the walk stays as it is, and runs in a fiber: it
 * yields each value, and goes on from there, however deep it was, when the next one is asked for.
 *
 * A generator that is not wanted any more is just released, if it owns nothing: no code of it runs again. One that has
 * files open, or memory, is asked to stop first: it finds that out where it yielded, and returns through its own code.
 *
 * A generator has a context of its own. What it sets (here: which text it reads) is there again each time it goes on,
 * and whoever pulls the values does not see it.
 *
 *     cc -pthread -o generator generator.c $(pkg-config --cflags --libs xctx)
 *
 * It prints which trees have the same letters, and the first words of texts that include each other.
 */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xctx/xctx.h>

/* --- the side that pulls -------------------------------------------------------------------------------------- */

/* The next value; NULL: there is none. Not to be asked again after that. */
static const char *next(xctx_fiber *generator)
{
    void *value = NULL;
    int status = xctx_fiber_resume(generator, NULL, &value);

    if (status < 0)
        fprintf(stderr, "generator: %s\n", xctx_strerror(status));
    return status == 1 ? value : NULL;
}

static xctx_fiber *start(void *(*fn)(void *), const void *arg)
{
    xctx_fiber *generator = xctx_fiber_create(fn, (void *)arg, NULL);

    if (!generator) {
        fprintf(stderr, "generator: no memory\n");
        exit(EXIT_FAILURE);
    }
    return generator;
}

/* --- a walk that owns nothing --------------------------------------------------------------------------------- */

struct node {
    char letter[2];
    struct node *left, *right;
};

static void walk(const struct node *node)
{
    if (!node)
        return;
    walk(node->left);
    xctx_fiber_yield((void *)node->letter);
    walk(node->right);
}

static void *walk_tree(void *root)
{
    walk(root);
    return NULL;
}

/* Whether two trees have the same letters in the same order, whatever their shapes. Stops at the first difference. */
static bool same_letters(const struct node *a, const struct node *b)
{
    xctx_fiber *left = start(walk_tree, a);
    xctx_fiber *right = start(walk_tree, b);
    const char *in_a;
    const char *in_b;

    do {
        in_a = next(left);
        in_b = next(right);
        printf(" %s%s", in_a ? in_a : ".", in_b ? in_b : ".");
    } while (in_a && in_b && strcmp(in_a, in_b) == 0);
    /* Either may be in the middle of its walk. It goes, with its stack, and has nothing to clean up. */
    xctx_fiber_unref(left);
    xctx_fiber_unref(right);
    return !in_a && !in_b;
}

enum { NODES = 15 };

struct tree {
    struct node nodes[NODES];
    size_t count;
    struct node *root;
};

/* A search tree: the order of `letters` makes its shape. */
static void plant(struct tree *tree, const char *letters)
{
    *tree = (struct tree){.count = 0};
    for (; *letters && tree->count < NODES; letters++) {
        struct node **place = &tree->root;
        while (*place)
            place = *letters < (*place)->letter[0] ? &(*place)->left : &(*place)->right;
        *place = &tree->nodes[tree->count++];
        (*place)->letter[0] = *letters;
    }
}

static void compare(const char *these, const char *those)
{
    struct tree a;
    struct tree b;

    plant(&a, these);
    plant(&b, those);
    printf("%s and %s:", these, those);
    bool same = same_letters(a.root, b.root);
    printf(", %s\n", same ? "the same" : "not the same");
}

/* --- a reader that has files open ----------------------------------------------------------------------------- */

/* Which text is being read: what note() says first. */
static XCTX_VAR_DEFINE(place, .initial = (void *)"main");

static size_t files_open;

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...)
{
    va_list arguments;

    printf("%s: ", (const char *)xctx_var_get(&place));
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
}

/* Texts include others by '@' and the name. They stand for files on a disk. */
static FILE *open_text(const char *name)
{
    static const struct {
        const char *name, *text;
    } texts[] = {
        {"pizza", "flour water @sauce cheese"},
        {"sauce", "tomatoes @spices olives"},
        {"spices", "pepper basil"},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        if (strcmp(name, texts[i].name) == 0)
            return fmemopen((void *)texts[i].text, strlen(texts[i].text), "r");
    return NULL;
}

/* Yields the words of a text and of those that it includes. Returns false if it is to stop. */
static bool read_words(const char *name, int most_deep)
{
    FILE *file = most_deep > 0 ? open_text(name) : NULL;
    bool more = file != NULL;
    char word[32];

    if (!file) {
        fprintf(stderr, "generator: cannot read %s\n", name);
        return false;
    }
    files_open++;
    note("begin %s", name);
    XCTX_LET (&place, (void *)name) {
        while (more && fscanf(file, "%31s", word) == 1) {
            if (word[0] == '@')
                more = read_words(word + 1, most_deep - 1);
            else
                more = xctx_fiber_yield(word) == NULL;
        }
        if (more)
            note("to the end");
        else
            note("stopped at %s", word);
    }
    else
    {
        fprintf(stderr, "generator: no memory\n");
        more = false;
    }
    fclose(file);
    files_open--;
    return more;
}

static void *read_text(void *name)
{
    read_words(name, 8);
    return NULL;
}

/* Ends a generator that is suspended: what it yielded last, that yield returns what is given here. */
static void stop(xctx_fiber *generator)
{
    static char stop_please;

    if (xctx_fiber_resume(generator, &stop_please, NULL) == 1)
        fprintf(stderr, "generator: it goes on\n");
}

static void first_words(const char *name, int most)
{
    xctx_fiber *words = start(read_text, name);
    const char *word = NULL;

    while (most-- > 0 && (word = next(words)))
        note("%s, with %zu files open", word, files_open);
    if (word)
        stop(words);
    xctx_fiber_unref(words);
    note("%zu files open", files_open);
}

int main(void)
{
    compare("dbfaceg", "abcdefg");
    compare("dbfaceg", "gfedcb");
    compare("dbface", "gfedcba");
    first_words("sauce", 10);
    first_words("pizza", 4);
    return fflush(stdout) == 0 && files_open == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
