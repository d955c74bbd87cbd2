/* SPDX-License-Identifier: MIT */
/*
 * Backtracking, written as straight code: Sudoku and queens.
 *
 * The solvers below have no recursion and undo nothing. They call choose(n) where there are n ways to go on, and it
 * returns once for each way: each time into a copy of the computation that is as it was at the call, with the local
 * variables of then. The solver is a fiber; choose() yields to a driver, which captures the fiber there, and resumes
 * one shot of it after the other, depth first. So what is in memory at a time are the choices on the way to where the
 * search is, one continuation each.
 *
 * A board is a local variable, so each shot has its own. What all of them are to share is behind a pointer to other
 * memory: the results.
 *
 * In parallel: the ways of the first choice are handed to processes (xctx_continuation_fork()), which need not take
 * turns on the fiber's stack. What they find is in an arena, memory that processes share.
 *
 *     cc -o backtracking backtracking.c $(pkg-config --cflags --libs xctx)
 *
 * It prints what it has found, each with plain recursion for comparison, which has to find the same in as many
 * attempts. Puzzles given as arguments, of 81 digits, 0 or . for an empty cell, are solved in place of its own.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xctx/xctx.h>

/* --- the driver ----------------------------------------------------------------------------------------------- */

/* One of `count` ways, from 0 on. Returns once for each; with none, never. */
static unsigned choose(unsigned count)
{
    return count == 1 ? 0 : (unsigned)(uintptr_t)xctx_fiber_yield((void *)(uintptr_t)count);
}

enum { DEPTH = 81 }; /* choices on one way: none of the solvers makes more */

struct choice {
    xctx_continuation *at; /* in choose() */
    unsigned next, count;  /* ways that are left to try: next to count - 1 */
};

struct search {
    struct choice choices[DEPTH];
    size_t depth, deepest;
    unsigned long attempts; /* ways that were tried */
};

/* Captures a fiber that waits in choose(count), which is done with then. Returns 0 or a negative errno. */
static int add_choice(struct search *search, xctx_fiber *fiber, unsigned count)
{
    struct choice *choice = &search->choices[search->depth];

    if (count == 0)
        return 0;
    if (search->depth == DEPTH)
        return -E2BIG;
    *choice = (struct choice){.count = count};
    int error = xctx_fiber_capture(fiber, &choice->at);
    if (!error && ++search->depth > search->deepest)
        search->deepest = search->depth;
    return error;
}

/* The next way of the choice that was made last: a shot, and what its choose() is to return. NULL: all were tried, or
   the error in *ret_error. */
static xctx_fiber *next_way(struct search *search, unsigned *ret_way, int *ret_error)
{
    xctx_fiber *shot = NULL;

    *ret_error = 0;
    while (search->depth > 0 && search->choices[search->depth - 1].next == search->choices[search->depth - 1].count)
        xctx_continuation_unref(search->choices[--search->depth].at);
    if (search->depth == 0)
        return NULL;
    struct choice *choice = &search->choices[search->depth - 1];
    *ret_error = xctx_continuation_shot(choice->at, &shot);
    if (*ret_error)
        return NULL;
    *ret_way = choice->next++;
    search->attempts++;
    return shot;
}

/* Tries all that a fiber can come to if its choose() returns `way` (which does not matter where it has not begun).
   Takes the fiber. Returns 0 or a negative errno. */
static int explore(struct search *search, xctx_fiber *fiber, unsigned way)
{
    int error = 0;

    while (fiber && !error) {
        void *count;
        int more = xctx_fiber_resume(fiber, (void *)(uintptr_t)way, &count);
        error = more == 1 ? add_choice(search, fiber, (unsigned)(uintptr_t)count) : more;
        xctx_fiber_unref(fiber);
        fiber = error ? NULL : next_way(search, &way, &error);
    }
    while (search->depth > 0)
        xctx_continuation_unref(search->choices[--search->depth].at);
    return error;
}

/* What runs in the processes: one way of the first choice. */
static int explore_way(xctx_fiber *shot, size_t way, void *attempts)
{
    struct search search = {.attempts = 1};

    int error = explore(&search, xctx_fiber_ref(shot), (unsigned)way);
    atomic_fetch_add_explicit((atomic_ulong *)attempts, search.attempts, memory_order_relaxed);
    return error;
}

/* Searches in this process. Returns 0 or a negative errno. */
static int search_here(void *(*solve)(void *), void *problem, struct search *search)
{
    xctx_fiber *fiber = xctx_fiber_create(solve, problem, NULL);

    return fiber ? explore(search, fiber, 0) : -ENOMEM;
}

/* Searches in as many processes as there are processors; `attempts` and `problem` are in an arena. Returns 0 or a
   negative errno. */
static int search_in_parallel(void *(*solve)(void *), void *problem, atomic_ulong *attempts)
{
    enum { WAYS = 64 };
    xctx_continuation *first = NULL;
    int results[WAYS];
    void *count;

    xctx_fiber *fiber = xctx_fiber_create(solve, problem, NULL);
    if (!fiber)
        return -ENOMEM;
    int error = xctx_fiber_resume(fiber, NULL, &count);
    if (error == 1) { /* 0: it had no choice */
        size_t ways = (uintptr_t)count;
        error = ways > WAYS ? -E2BIG : xctx_fiber_capture(fiber, &first);
        if (!error)
            error = xctx_continuation_fork(first, ways, 0, explore_way, attempts, results);
        for (size_t way = 0; way < ways && !error; way++)
            error = results[way];
    }
    xctx_continuation_unref(first);
    xctx_fiber_unref(fiber);
    return error;
}

/* --- Sudoku --------------------------------------------------------------------------------------------------- */

enum { CELLS = 81, DIGITS = 9 };

struct board {
    char digits[CELLS];                                    /* 0: empty */
    uint16_t rows[DIGITS], columns[DIGITS], boxes[DIGITS]; /* digits that are there, a bit each */
};

/* A puzzle, and what was found: for every shot the same one. */
struct sudoku {
    struct board board;
    char solution[CELLS];
    atomic_uint solutions;
};

static unsigned box_of(unsigned cell)
{
    return cell / 27 * 3 + cell % 9 / 3;
}

static unsigned candidates(const struct board *board, unsigned cell)
{
    return ~(board->rows[cell / 9] | board->columns[cell % 9] | board->boxes[box_of(cell)]) & ((1U << DIGITS) - 1);
}

static void place(struct board *board, unsigned cell, unsigned bit)
{
    board->digits[cell] = (char)(__builtin_ctz(bit) + 1);
    board->rows[cell / 9] |= (uint16_t)bit;
    board->columns[cell % 9] |= (uint16_t)bit;
    board->boxes[box_of(cell)] |= (uint16_t)bit;
}

/* The empty cell with the fewest candidates. False: no cell is empty. */
static bool find_cell(const struct board *board, unsigned *ret_cell, unsigned *ret_candidates)
{
    int fewest = DIGITS + 1;

    for (unsigned cell = 0; cell < CELLS && fewest > 0; cell++) {
        unsigned bits = board->digits[cell] ? 0 : candidates(board, cell);
        if (board->digits[cell] || __builtin_popcount(bits) >= fewest)
            continue;
        fewest = __builtin_popcount(bits);
        *ret_cell = cell;
        *ret_candidates = bits;
    }
    return fewest <= DIGITS;
}

/* The bit of `bits` that has `n` lower ones. */
static unsigned nth_bit(unsigned bits, unsigned n)
{
    while (n-- > 0)
        bits &= bits - 1;
    return bits & -bits;
}

static void note_solution(struct sudoku *sudoku, const struct board *board)
{
    if (atomic_fetch_add_explicit(&sudoku->solutions, 1, memory_order_relaxed) == 0)
        memcpy(sudoku->solution, board->digits, CELLS);
}

/* As one would do it who always guesses right. */
static void *solve_sudoku(void *argument)
{
    struct sudoku *sudoku = argument;
    struct board board = sudoku->board;
    unsigned cell, bits;

    while (find_cell(&board, &cell, &bits))
        place(&board, cell, nth_bit(bits, choose((unsigned)__builtin_popcount(bits))));
    note_solution(sudoku, &board);
    return NULL;
}

/* For comparison. Returns how many attempts that took. */
static unsigned long recurse_sudoku(struct sudoku *sudoku, const struct board *board)
{
    unsigned long attempts = 0;
    unsigned cell, bits;

    if (!find_cell(board, &cell, &bits)) {
        note_solution(sudoku, board);
        return 0;
    }
    bool forced = __builtin_popcount(bits) == 1;
    for (; bits; bits &= bits - 1) {
        struct board next = *board;
        place(&next, cell, bits & -bits);
        attempts += !forced + recurse_sudoku(sudoku, &next);
    }
    return attempts;
}

/* Published ones: some of those that were called the hardest, and three of the fewest clues there can be. */
static const struct puzzle {
    const char *name;
    const char *digits;
} puzzles[] = {
    {"AI Escargot", "1....7.9..3..2...8..96..5....53..9...1..8...26....4...3......1..4......7..7...3.."},
    {"Inkala 2010", "..53.....8......2..7..1.5..4....53...1..7...6..32...8..6.5....9..4....3......97.."},
    {"Inkala 2012", "8..........36......7..9.2...5...7.......457.....1...3...1....68..85...1..9....4.."},
    {"Golden Nugget", ".......39.....1..5..3.5.8....8.9...6.7...2...1..4.......9.8..5..2....6..4..7....."},
    {"Easter Monster", "1.......2.9.4...5...6...7...5.9.3.......7.......85..4.7.....6...3...9.8...2.....1"},
    {"17 clues", ".......1.4.........2...........5.4.7..8...3....1.9....3..4..2...5.1........8.6..."},
    {"17 clues", ".......12....35......6...7.7.....3.....4..8..1...........12.....8.....4..5....6.."},
    {"17 clues", "..............3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9"},
};

/* False: it is not a puzzle, or breaks the rules already. */
static bool read_puzzle(struct sudoku *ret, const char *text)
{
    memset(ret, 0, sizeof(*ret));
    if (strlen(text) != CELLS)
        return false;
    for (unsigned cell = 0; cell < CELLS; cell++) {
        char digit = text[cell];
        if (digit == '.' || digit == '0')
            continue;
        if (digit < '1' || digit > '9' || !(candidates(&ret->board, cell) >> (digit - '1') & 1))
            return false;
        place(&ret->board, cell, 1U << (digit - '1'));
    }
    return true;
}

static void print_grid(const char solution[CELLS])
{
    for (unsigned cell = 0; cell < CELLS; cell++) {
        printf("%s%d", cell % 9 == 0 ? "    " : cell % 3 == 0 ? "  " : " ", solution[cell]);
        if (cell % 9 == 8)
            printf("%s", cell == 26 || cell == 53 ? "\n\n" : "\n");
    }
}

/* --- queens --------------------------------------------------------------------------------------------------- */

enum { QUEENS_LEAST = 6, QUEENS_MOST = 10 };

/* How many ways there are to place `size` queens so that none attacks another one. */
struct queens {
    unsigned size;
    atomic_uint solutions;
};

/* Squares of the next row that a queen attacks, a bit each: straight down, and on the two diagonals. */
struct attacks {
    unsigned down, left, right;
};

static unsigned free_squares(const struct attacks *attacks, unsigned size)
{
    return ~(attacks->down | attacks->left | attacks->right) & ((1U << size) - 1);
}

static void add_queen(struct attacks *attacks, unsigned square)
{
    attacks->down |= square;
    attacks->left = (attacks->left | square) << 1;
    attacks->right = (attacks->right | square) >> 1;
}

static void *place_queens(void *argument)
{
    struct queens *queens = argument;
    struct attacks attacks = {0};

    for (unsigned row = 0; row < queens->size; row++) {
        unsigned squares = free_squares(&attacks, queens->size);
        add_queen(&attacks, nth_bit(squares, choose((unsigned)__builtin_popcount(squares))));
    }
    atomic_fetch_add_explicit(&queens->solutions, 1, memory_order_relaxed);
    return NULL;
}

/* For comparison. Returns how many attempts that took. */
static unsigned long recurse_queens(struct queens *queens, struct attacks attacks, unsigned row)
{
    unsigned long attempts = 0;

    if (row == queens->size) {
        atomic_fetch_add_explicit(&queens->solutions, 1, memory_order_relaxed);
        return 0;
    }
    unsigned squares = free_squares(&attacks, queens->size);
    bool forced = __builtin_popcount(squares) == 1;
    for (; squares; squares &= squares - 1) {
        struct attacks next = attacks;
        add_queen(&next, squares & -squares);
        attempts += !forced + recurse_queens(queens, next, row + 1);
    }
    return attempts;
}

/* --- each in three ways --------------------------------------------------------------------------------------- */

enum { ARENA = 1 << 16 }; /* bytes; those that are not used take no memory */

/* What several processes work on: in the arena. */
struct shared {
    atomic_ulong attempts;
    union {
        struct sudoku sudoku;
        struct queens queens;
    };
};

static bool same_sudoku(const struct sudoku *a, const struct sudoku *b)
{
    return a->solutions == b->solutions && memcmp(a->solution, b->solution, CELLS) == 0;
}

static void print_row(const char *name, unsigned solutions, const struct search *search, bool same)
{
    printf("%-15s %5u solution%s %6lu attempts, %2zu choices deep; others: %s\n", name, solutions,
           solutions == 1 ? ", " : "s,", search->attempts, search->deepest, same ? "the same" : "NOT THE SAME");
}

/* Returns 0 or a negative errno: -EBADMSG where the three do not find the same. */
static int do_puzzle(struct shared *shared, const struct puzzle *puzzle, bool show)
{
    struct search search = {0};
    struct sudoku here, plain;

    if (!read_puzzle(&here, puzzle->digits))
        return -EINVAL;
    plain = here;
    shared->sudoku = here;
    shared->attempts = 0;
    int error = search_here(solve_sudoku, &here, &search);
    if (!error)
        error = search_in_parallel(solve_sudoku, &shared->sudoku, &shared->attempts);
    if (error)
        return error;
    bool same = recurse_sudoku(&plain, &plain.board) == search.attempts && same_sudoku(&here, &plain) &&
                shared->attempts == search.attempts && same_sudoku(&shared->sudoku, &plain);
    print_row(puzzle->name, here.solutions, &search, same);
    if (show && here.solutions > 0)
        print_grid(here.solution);
    return same ? 0 : -EBADMSG;
}

static int do_queens(struct shared *shared, unsigned size)
{
    struct search search = {0};
    struct queens here = {.size = size};
    struct queens plain = here;
    char name[16];

    shared->queens = here;
    shared->attempts = 0;
    int error = search_here(place_queens, &here, &search);
    if (!error)
        error = search_in_parallel(place_queens, &shared->queens, &shared->attempts);
    if (error)
        return error;
    bool same = recurse_queens(&plain, (struct attacks){0}, 0) == search.attempts &&
                here.solutions == plain.solutions && shared->attempts == search.attempts &&
                shared->queens.solutions == plain.solutions;
    snprintf(name, sizeof(name), "%u queens", size);
    print_row(name, here.solutions, &search, same);
    return same ? 0 : -EBADMSG;
}

static bool complain(const char *what, int error)
{
    if (error)
        fprintf(stderr, "backtracking: %s: %s\n", what,
                error == -EINVAL    ? "not a puzzle"
                : error == -EBADMSG ? "the results differ"
                                    : xctx_strerror(error));
    return error != 0;
}

int main(int argc, char *argv[])
{
    bool failed = false;

    xctx_arena *arena = xctx_arena_create(ARENA);
    struct shared *shared = xctx_arena_allocate(arena, sizeof(*shared));
    if (!shared)
        return complain("arena", -ENOMEM);
    for (int i = 1; i < argc; i++) {
        struct puzzle given = {"given", argv[i]};
        failed |= complain(argv[i], do_puzzle(shared, &given, true));
    }
    for (size_t i = 0; argc == 1 && i < sizeof(puzzles) / sizeof(puzzles[0]); i++)
        failed |= complain(puzzles[i].name, do_puzzle(shared, &puzzles[i], i == 0));
    for (unsigned size = QUEENS_LEAST; argc == 1 && size <= QUEENS_MOST; size += 2)
        failed |= complain("queens", do_queens(shared, size));
    xctx_arena_destroy(arena);
    return !failed && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
