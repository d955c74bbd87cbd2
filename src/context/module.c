/* SPDX-License-Identifier: MIT */
/*
 * Pinning modules: dlclose() must not take away a variable, or operations, that contexts still refer to.
 *
 * dlopen() and dladdr() are weak, so that a static program, in which nothing can be unloaded, need not contain them.
 */
#include <dlfcn.h>
#include <link.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "var_internal.h"

#pragma weak dlopen
#pragma weak dladdr

/* The bounds of the module that contains this library, from the linker. */
extern const char __ehdr_start[] __attribute__((visibility("hidden")));
extern const char _end[] __attribute__((visibility("hidden")));

static atomic_bool is_own_pinned;

void xctx__module_pin(const void *address)
{
    const char *at = address;
    Dl_info info;

    if (!dlopen || !dladdr)
        return;
    /* Once is enough for the module of this library itself, which defines variables at every start. */
    if (at >= __ehdr_start && at < _end && atomic_exchange_explicit(&is_own_pinned, true, memory_order_relaxed))
        return;
    if (dladdr(address, &info) && info.dli_fname && info.dli_fname[0]) {
        /* The reference is given back at once: RTLD_NODELETE outlives it. NULL for a name that is not a module's
           (the program itself), which cannot be unloaded. */
        void *module = dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
        if (module)
            dlclose(module);
    }
}
