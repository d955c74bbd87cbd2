/* SPDX-License-Identifier: MIT */
/* Scopes: nested blocks, shadowing, statics, arrays of variable length, gotos, switches, statement expressions. */
#include "judge.h"

#include <alloca.h>
#include <stdio.h>
#include <string.h>

static int counter = 40;
static const char *const title = "of the file";
int global_value = 17;

static __attribute__((noinline)) int shadows(int value)
{
    int total = value;
    judge_here("shadow-outer");
    {
        long value = total * 100;
        total += (int)value;
        for (int i = 0; i < 2; i++) {
            const char *value = i ? "inner one" : "inner zero";
            char copy[12];
            strcpy(copy, value);
            total += copy[i];
            judge_here("shadow-inner");
            {
                float value = (float)i / 2;
                double total = value;
                judge_here("shadow-deep");
                judge_touch(&value), judge_touch(&total);
            }
        }
        judge_touch(&value);
    }
    {
        unsigned short other = (unsigned short)total;
        judge_touch(&other);
        judge_here("shadow-other");
    }
    return total + value;
}

static __attribute__((noinline)) int statics(int step)
{
    static int calls;
    static char history[8];
    static struct {
        int last;
        const char *name;
    } state = {-1, "statics"};
    history[calls++ & 7] = (char)('a' + step);
    if (step > 1) {
        static int calls = 100;
        calls += step;
        state.last = calls;
        judge_here("static-inner");
    }
    judge_here("static");
    judge_touch(history);
    return calls + state.last;
}

static __attribute__((noinline)) int variable_arrays(int n, int m)
{
    int row[n];
    char text[n + 1];
    short grid[m][n];
    struct {
        int x;
    } records[m];
    for (int i = 0; i < n; i++) {
        row[i] = i * i;
        text[i] = (char)('a' + i);
        for (int k = 0; k < m; k++)
            grid[k][i] = (short)(k * 10 + i);
    }
    text[n] = 0;
    for (int k = 0; k < m; k++)
        records[k].x = k;
    int sum = 0;
    judge_here("arrays");
    for (int i = 0; i < n; i++) {
        double inner[i + 1];
        for (int k = 0; k <= i; k++)
            inner[k] = k / 2.0;
        judge_touch(inner);
        sum += (int)inner[i];
        if (i == 2)
            judge_here("array-inner");
    }
    judge_touch(row), judge_touch(text), judge_touch(grid), judge_touch(records);
    return sum + row[n - 1];
}

static __attribute__((noinline)) int matrix_sum(int rows, int columns, int cells[rows][columns])
{
    int sum = 0;
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < columns; c++)
            sum += cells[r][c];
    judge_here("matrix");
    return sum;
}

static __attribute__((noinline)) int jumps(int kind)
{
    int result = 0, tries = 0;
again:
    switch (kind) {
        int unset;
    case 0: {
        char reason[] = "zero";
        judge_touch(reason);
        judge_here("case-zero");
        result = 1;
        break;
    }
    case 1:
        unset = 4;
        judge_touch(&unset);
        judge_here("case-one");
        if (tries++ < 1)
            goto again;
        result = unset;
        break;
    default:
        result = ({
            int square = kind * kind;
            judge_touch(&square);
            judge_here("expression");
            square + 1;
        });
    }
    return result;
}

static __attribute__((noinline)) int allocated(size_t bytes)
{
    char *room = alloca(bytes);
    snprintf(room, bytes, "%s has %zu bytes", title, bytes);
    struct __attribute__((aligned(64))) {
        int lines[16];
    } aligned = {{1, 2, 3}};
    judge_here("alloca");
    judge_touch(&aligned);
    return room[0] + aligned.lines[1];
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    int total = shadows(argc);
    for (int i = 0; i < 3; i++)
        total += statics(i);
    total += variable_arrays(5, argc + 1);
    int cells[2][3] = {{1, 2, 3}, {4, 5, 6}};
    total += matrix_sum(2, 3, cells);
    for (int kind = 0; kind < 3; kind++)
        total += jumps(kind);
    total += allocated((size_t)argc * 20);
    counter += total;
    global_value++;
    judge_here("end");
    return total == 0;
}
