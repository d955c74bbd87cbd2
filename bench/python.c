/* SPDX-License-Identifier: MIT */
/* Embeds CPython: the peer. Isolated from the environment, so that nobody's PYTHONPATH is measured. */
#include "python.h"

#include <dlfcn.h>

#include "bench.h"

void bench_python_start(void)
{
    if (Py_IsInitialized())
        return;
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    config.site_import = 0;
    config.write_bytecode = 0; /* not among the sources */
    PyStatus status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    bench_check(!PyStatus_Exception(status), "Py_InitializeFromConfig");
}

const char *bench_python_name(void)
{
    static char name[64];
    /* The version at run time, which need not be that of the header. */
    snprintf(name, sizeof(name), "CPython %.*s", (int)strcspn(Py_GetVersion(), " "), Py_GetVersion());
    return name;
}

const char *bench_python_library(void)
{
    Dl_info info;
    return dladdr(__extension__(void *) Py_GetVersion, &info) && info.dli_fname ? info.dli_fname : "?";
}
