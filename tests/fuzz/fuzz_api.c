/* SPDX-License-Identifier: MIT */
/*
 * Fuzzes the library's interface. An input is a program of calls; its first byte chooses how it is run.
 *
 * In lock-step (lockstep.h) three threads carry out the calls, but only the one that has the baton runs, so that every
 * result and every call of a variable's operation can be compared with a reference model (model.h). All hand-overs
 * between threads that a sequence of calls can bring about are covered, but for races.
 *
 * Concurrently (concurrent.h) three threads run at once, on contexts that they share. What can be checked then are
 * invariants: who enters is alone, copies are consistent, values are alive while they can be seen, everything is
 * released in the end.
 *
 * With libFuzzer (clang), as `make fuzz` does it:
 *
 *     clang -D_GNU_SOURCE -DXCTX_FUZZ -Iinclude -Isrc -g -O1 -fexceptions -fsanitize=fuzzer,address,undefined \
 *           src/[a-z]*[a-z]/[a-z]*.c tests/fuzz/fuzz_api.c -pthread -lm
 *
 * Without, with any compiler and sanitizer: add tests/fuzz/main.c, leave `fuzzer` out. In a test build
 * (XCTX_TEST_BUILD) inputs also make allocations fail.
 */
#include "model.h"

#ifdef XCTX_TEST_BUILD
#include "context/memory.h"
#endif

#include "lockstep.h"

#include "concurrent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

XCTX_VAR_DEFINE(v0);
XCTX_VAR_DEFINE(v1, .retain = op_retain, .release = op_release);
XCTX_VAR_DEFINE(v2, .initial = (void *)77);

static xctx_var *make_variable(int i, const xctx_var_options *options)
{
    char name[16];

    snprintf(name, sizeof(name), "v%d", i);
    xctx_var *var = xctx_var_create(name, options);
    EXPECT(var, "no variable could be made");
    return var;
}

/* Makes the variables that all inputs use, and uses each once, so that their order is fixed. */
static void make_static_variables(void)
{
    xctx_var *const defined[] = {&v0, &v1, &v2};
#ifdef XCTX_TEST_BUILD
    enum { PADDING = 0 }; /* a test build has numbers for few variables, and a narrow trie */
#else
    enum { PADDING = 1500 };
#endif

    xctx_context *context = xctx_new();
    EXPECT(context && xctx_enter(context) == 0, "no context");
    for (int i = 0; i < STATIC_VARS; i++) {
        int kind = i == STATIC_VARS - 1 ? KIND_CAPTURE : i == STATIC_VARS - 2 ? KIND_CAPTURE_PLAIN : i % KINDS;
        for (int n = 0; i == STATIC_VARS - 20 && n < PADDING; n++) {
            xctx_var *padding = xctx_var_create("padding", NULL);
            EXPECT(padding && xctx_var_set(padding, NULL, NULL) == 0, "no padding");
            xctx_var_unref(padding);
        }
        variables[i].options = &kinds[kind];
        variables[i].real = i < 3 ? defined[i] : make_variable(i, &kinds[kind]);
        variables[i].order = next_order++;
        variables[i].live = true;
        EXPECT(xctx_var_set(variables[i].real, NULL, NULL) == 0, "variable %d cannot be set", i);
    }
    EXPECT(xctx_exit(context) == 0, "exit");
    xctx_unref(context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool started;

    if (!started) {
        make_static_variables();
        /* The model keeps every past. */
        EXPECT(xctx_set_chain_limits(XCTX_SNAPSHOT_PARENTS_MAX, SIZE_MAX) == 0, "limits");
        started = true;
    }
    if (size < 2)
        return 0;
    if (data[0] % 4 == 3)
        run_concurrently(data + 1, size - 1);
    else
        run_in_lockstep(data + 1, size - 1);
    EXPECT(atomic_load(&objects_alive) == 0, "%ld values are never released", atomic_load(&objects_alive));
    return 0;
}
