/* SPDX-License-Identifier: MIT */
/* Functions that have secrets while a snapshot is taken: included once for each level of optimisation, as LEVEL, with
   numbers from BASE on. */

/* A marked variable, in a register that the call preserves, or on the stack. What passes it on marks it, too. */
static __attribute__((noinline)) xctx_snapshot *LEVEL(take_number)(uint64_t secret_number, uint64_t shown)
{
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    __asm__ volatile("" : : "r"(secret_number), "r"(shown) : "memory");
    return snapshot;
}

static ON_STACK xctx_snapshot *LEVEL(variables)(void)
{
    /* Named, as compilers keep what has no name where no debug information says. */
    uint64_t secret_made = make(BASE + IN_VARIABLE), shown = make(SHOWN);
    return LEVEL(take_number)(secret_made, shown);
}

/* A variable of a marked type; optimised, it is in registers. */
static ON_STACK xctx_snapshot *LEVEL(types)(void)
{
    struct secrets_pair pair = {make(BASE + IN_TYPE), make(BASE + IN_TYPE + 1)};
    uint64_t shown = make(SHOWN);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    __asm__ volatile("" : : "r"(pair.first), "r"(pair.second), "r"(shown) : "memory");
    return snapshot;
}

/* A marked function has its own in memory, and in registers. */
static ON_STACK xctx_snapshot *LEVEL(secrets_function)(void)
{
    volatile uint64_t kept[2] = {make(BASE + IN_FUNCTION), make(BASE + IN_FUNCTION + 1)};
    uint64_t number = make(BASE + IN_FUNCTION);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    __asm__ volatile("" : : "r"(kept), "r"(number) : "memory");
    return snapshot;
}

static ON_STACK xctx_snapshot *LEVEL(functions)(void)
{
    uint64_t shown = make(SHOWN);
    xctx_snapshot *snapshot = LEVEL(secrets_function)();
    __asm__ volatile("" : : "r"(shown) : "memory");
    return snapshot;
}

/* A marked variable that nothing holds: debug information says how to compute it from what the caller has. */
static __attribute__((noinline)) xctx_snapshot *LEVEL(take_passed)(uint64_t secret_passed)
{
    __asm__ volatile("" : : "r"(secret_passed));
    return xctx_snapshot_take(XCTX_CAPTURE_ALL);
}

static ON_STACK xctx_snapshot *LEVEL(passed)(void)
{
    uint64_t secret_source = make(BASE + IN_CALLER), shown = make(SHOWN);
    xctx_snapshot *snapshot = LEVEL(take_passed)(secret_source);
    __asm__ volatile("" : : "r"(secret_source), "r"(shown) : "memory");
    return snapshot;
}

/* A marked pointer leads to a secret. */
static ON_STACK xctx_snapshot *LEVEL(pointers)(void)
{
    uint64_t shown = make(SHOWN), target = make(BASE + IN_TARGET);
    uint64_t *secret_pointer = &target;
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    __asm__ volatile("" : : "r"(secret_pointer), "r"(shown) : "memory");
    return snapshot;
}

static ON_STACK xctx_snapshot *LEVEL(globals)(void)
{
    uint64_t shown = make(SHOWN);
    secret_global.first = make(BASE + IN_GLOBAL);
    xctx_snapshot *snapshot = xctx_snapshot_take(XCTX_CAPTURE_ALL);
    __asm__ volatile("" : : "r"(shown) : "memory");
    return snapshot;
}
