/* SPDX-License-Identifier: MIT */
/*
 * A host that loads plugins.
 *
 * A plugin (plugin_module.c) reads the variables that the host defines, by their names as for any other symbol of the
 * host, and defines variables of its own, of which the host knows nothing. Contexts hold the values of both. They may
 * also hold values of a plugin that was closed: its code stays in memory for as long as they may need it.
 *
 *     cc -rdynamic -o plugin plugin.c $(pkg-config --cflags --libs xctx) -ldl
 *     cc -shared -fPIC -o plugin_module.so plugin_module.c $(pkg-config --cflags --libs xctx)
 *
 * It prints what the plugin finds in two requests, and when its values are released.
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xctx/xctx.h>

/* The host's variable. Not static: plugins refer to it with XCTX_VAR_DECLARE(host_request). */
XCTX_VAR_DEFINE(host_request, .initial = (void *)"no request");

/* What a plugin exports. */
typedef int (*plugin_fn)(void);

struct request {
    const char *name;
    plugin_fn handle;
    xctx_context *seen; /* a copy of the context after the plugin has worked in it */
};

static void *handle_request(void *argument)
{
    struct request *request = argument;
    int error = xctx_var_set(&host_request, (void *)request->name, NULL);

    /* Twice, for the plugin to find what it has left in the context. */
    for (int i = 0; i < 2 && !error; i++)
        error = request->handle();
    if (error)
        fprintf(stderr, "plugin: the plugin fails in the %s: %s\n", request->name, xctx_strerror(error));
    else
        request->seen = xctx_copy_current();
    return NULL;
}

/* Returns 0 or a negative errno. */
static int run_request(struct request *request)
{
    xctx_context *own = xctx_new();
    int error = own ? xctx_run(own, handle_request, request, NULL) : -ENOMEM;

    xctx_unref(own);
    return error ? error : request->seen ? 0 : -ENOMEM;
}

/* Loads the module that lies beside this program. NULL: it could not be. */
static void *open_beside(const char *program, const char *module)
{
    char path[4096];
    const char *slash = strrchr(program, '/');
    int directory = slash ? (int)(slash - program) : 1;
    int length = snprintf(path, sizeof(path), "%.*s/%s", directory, slash ? program : ".", module);

    if (length < 0 || (size_t)length >= sizeof(path)) {
        fprintf(stderr, "plugin: the path of %s is too long\n", module);
        return NULL;
    }
    void *opened = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!opened)
        fprintf(stderr, "plugin: %s\n", dlerror());
    return opened;
}

int main(int argc, char *argv[])
{
    struct request requests[] = {{.name = "first request"}, {.name = "second request"}};
    int error = 0;

    void *module = open_beside(argc > 0 ? argv[0] : "", "plugin_module.so");
    if (!module)
        return EXIT_FAILURE;
    /* ISO C has no conversion from an object's pointer to a function's; POSIX has this. */
    plugin_fn handle;
    *(void **)&handle = dlsym(module, "plugin_handle");
    if (!handle) {
        fprintf(stderr, "plugin: %s\n", dlerror());
        dlclose(module);
        return EXIT_FAILURE;
    }
    for (int i = 0; i < 2 && !error; i++) {
        requests[i].handle = handle;
        error = run_request(&requests[i]);
    }
    dlclose(module);
    printf("host: the plugin is closed\n");
    for (int i = 0; i < 2; i++) {
        /* The values of the plugin's variable go here, by the plugin's own operation. */
        printf("host: forgets the %s, with %zu variables\n", requests[i].name, xctx_count(requests[i].seen));
        xctx_unref(requests[i].seen);
    }
    return fflush(stdout) == 0 && !error ? EXIT_SUCCESS : EXIT_FAILURE;
}
