/* SPDX-License-Identifier: MIT */
/* A hash table, a list and a tree; callbacks through qsort and bsearch; recursion. */
#include "judge.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS 7

struct item {
    const char *key;
    int value;
    struct item *next;
};

struct table {
    struct item *buckets[BUCKETS];
    size_t count;
    unsigned long (*hash)(const char *);
};

struct node {
    struct node *left, *right;
    int key;
    uint8_t depth;
};

typedef int (*visitor)(const struct node *node, void *closure);

static unsigned long hash(const char *text)
{
    unsigned long h = 5381;
    for (const unsigned char *at = (const unsigned char *)text; *at; at++)
        h = h * 33 + *at;
    return h;
}

static struct item **slot(struct table *table, const char *key)
{
    unsigned long h = table->hash(key);
    struct item **at = &table->buckets[h % BUCKETS];
    int steps = 0;
    while (*at && strcmp((*at)->key, key) != 0) {
        at = &(*at)->next;
        steps++;
    }
    if (table->count > 5)
        judge_here("table-slot");
    judge_touch(&steps);
    return at;
}

static bool table_set(struct table *table, struct item *storage, const char *key, int value)
{
    struct item **at = slot(table, key);
    bool fresh = *at == NULL;
    if (fresh) {
        *storage = (struct item){.key = key, .value = value, .next = NULL};
        *at = storage;
        table->count++;
    } else {
        (*at)->value = value;
    }
    if (value == 4)
        judge_here("table-set");
    return fresh;
}

static struct node *insert(struct node *tree, struct node *fresh, int depth)
{
    if (!tree) {
        fresh->depth = (uint8_t)depth;
        if (depth == 3)
            judge_here("tree-insert");
        return fresh;
    }
    if (fresh->key < tree->key)
        tree->left = insert(tree->left, fresh, depth + 1);
    else
        tree->right = insert(tree->right, fresh, depth + 1);
    return tree;
}

static int walk(const struct node *tree, visitor visit, void *closure)
{
    if (!tree)
        return 0;
    int before = walk(tree->left, visit, closure);
    int here = visit(tree, closure);
    int after = walk(tree->right, visit, closure);
    return before + here + after;
}

static int visit_sum(const struct node *node, void *closure)
{
    int *sum = closure;
    *sum += node->key;
    if (!node->left && !node->right)
        judge_here("tree-visit");
    return 1;
}

static int by_value(const void *a, const void *b)
{
    const struct item *x = *(const struct item *const *)a, *y = *(const struct item *const *)b;
    int order = (x->value > y->value) - (x->value < y->value);
    if (x->value == 9 || y->value == 9)
        judge_here("qsort-compare");
    judge_touch(&order);
    return order;
}

static int by_key(const void *key, const void *element)
{
    int wanted = *(const int *)key, found = (*(const struct item *const *)element)->value;
    int result = wanted - found;
    if (!result)
        judge_here("bsearch-found");
    return result;
}

static int use_table(void)
{
    static const char *const words[] = {"one", "two", "three", "four", "five", "six", "seven", "two", "nine"};
    struct item storage[9], *order[9];
    struct table table = {.hash = hash};
    size_t n = 0;
    memset(storage, 0, sizeof(storage));
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        n += table_set(&table, &storage[n], words[i], (int)(i + 1));
    for (size_t i = 0; i < n; i++)
        order[i] = &storage[(i * 5) % n];
    judge_here("table-filled");
    qsort(order, n, sizeof(order[0]), by_value);
    int wanted = 5;
    struct item **found = bsearch(&wanted, order, n, sizeof(order[0]), by_key);
    judge_touch(found);
    return found ? (*found)->value : -1;
}

static int use_tree(void)
{
    struct node nodes[] = {{.key = 50}, {.key = 20}, {.key = 70}, {.key = 10}, {.key = 30}, {.key = 25}, {.key = 60}};
    struct node *tree = NULL;
    int sum = 0;
    for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
        tree = insert(tree, &nodes[i], 0);
    int visited = walk(tree, visit_sum, &sum);
    judge_here("tree-walked");
    return sum + visited;
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    int a = use_table();
    int b = use_tree();
    judge_here("end");
    return a + b == 0;
}
