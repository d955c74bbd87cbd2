/* SPDX-License-Identifier: MIT */
/* A module with thread-local storage that lies at a fixed distance from the thread's, as what the program has: libc
   keeps some room for that in every thread. */
#include <xctx/base.h>

enum { WORDS = 40 };

static _Thread_local long storage[WORDS] __attribute__((tls_model("initial-exec"))) = {1};

long *plugin_storage(void);
unsigned long plugin_storage_size(void);

XCTX_API long *plugin_storage(void)
{
    return storage;
}

XCTX_API unsigned long plugin_storage_size(void)
{
    return sizeof(storage);
}
