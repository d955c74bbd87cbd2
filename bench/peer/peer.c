/* SPDX-License-Identifier: MIT */
/*
 * Peers that must be reached as the library's own functions are: across a shared library's boundary. One argument
 * and one pointer returned, as in xctx_var_get().
 *
 * A thread-local variable of a shared library is read in one of two ways: at a fixed offset from the thread pointer
 * (initial-exec: needs room at program start), or through __tls_get_addr (general dynamic: what -fPIC alone gives).
 */
#include "../bench.h"

#define PEER __attribute__((visibility("default"), noinline, aligned(64)))

/* Not static: the compiler must not find out that nothing is ever written to them. */
__attribute__((visibility("default"), tls_model("initial-exec"))) __thread void *bench_slot_initial_exec;
__thread void *bench_slot_general_dynamic __attribute__((tls_model("global-dynamic")));

PEER void *bench_peer_empty(void *argument)
{
    return argument;
}

PEER void *bench_peer_tls_initial_exec(void *argument)
{
    (void)argument;
    return bench_slot_initial_exec;
}

PEER void *bench_peer_tls_general_dynamic(void *argument)
{
    (void)argument;
    return bench_slot_general_dynamic;
}
