/* SPDX-License-Identifier: MIT */
/* A module that defined a variable stays as long as contexts may need it. */
#include <dlfcn.h>

#include "../support/test.h"
#include "../support/threads.h"

static long live;

/* Where the build puts modules: with or without the prefix of a library. */
static const char *plugin_path(void)
{
    static const char *const paths[] = {
        XCTX_TEST_MODULE_DIR "/plugin_variable.so",
        XCTX_TEST_MODULE_DIR "/libplugin_variable.so",
    };
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        if (access(paths[i], R_OK) == 0)
            return paths[i];
    }
    fail_msg("there is no plugin_variable module in %s", XCTX_TEST_MODULE_DIR);
    return NULL;
}

struct plugin {
    void *handle;
    void (*count_in)(long *counter);
    int (*set)(long value);
    xctx_var *(*var)(void);
};

static struct plugin plugin_open(void)
{
    struct plugin plugin = {.handle = dlopen(plugin_path(), RTLD_NOW | RTLD_LOCAL)};
    if (!plugin.handle)
        fail_msg("%s", dlerror());
    plugin.count_in = (void (*)(long *))(uintptr_t)dlsym(plugin.handle, "plugin_count_in");
    plugin.set = (int (*)(long))(uintptr_t)dlsym(plugin.handle, "plugin_set");
    plugin.var = (xctx_var * (*)(void))(uintptr_t)dlsym(plugin.handle, "plugin_var");
    assert_true(plugin.count_in && plugin.set && plugin.var);
    plugin.count_in(&live);
    return plugin;
}

/* Nothing of it is known to any context; whether it stays is up to the loader. This is the first test, before any
   other uses the variable. */
TEST(module_whose_variable_was_never_used_can_be_opened_and_closed)
{
    struct plugin plugin = plugin_open();
    assert_int_equal(xctx_var_find(plugin.var(), NULL), 0);
    assert_int_equal(dlclose(plugin.handle), 0);
    assert_int_equal(xctx_count(xctx_current()), 0);
}

TEST(module_whose_variable_was_used_stays_after_dlclose)
{
    struct plugin plugin = plugin_open();
    assert_int_equal(plugin.set(1), 0);
    assert_int_equal(dlclose(plugin.handle), 0);
    void *again = dlopen(plugin_path(), RTLD_NOW | RTLD_NOLOAD);
    assert_non_null(again);
    assert_int_equal(dlclose(again), 0);
}

TEST(value_of_a_closed_module_is_read_and_released)
{
    struct plugin plugin = plugin_open();
    live = 0;
    xctx_var *var = plugin.var();
    xctx_context *context = xctx_new();
    assert_int_equal(xctx_enter(context), 0);
    assert_int_equal(plugin.set(42), 0);
    assert_int_equal(dlclose(plugin.handle), 0);
    assert_int_equal(*(long *)xctx_var_get(var), 42);
    assert_string_equal(xctx_var_name(var), "plugin_value");
    assert_int_equal(live, 1);
    assert_int_equal(xctx_exit(context), 0);
    xctx_unref(context);
    assert_int_equal(live, 0);
}

static int find_var(xctx_var *var, void *value, void *user)
{
    (void)var;
    *(long *)user = *(long *)value;
    return 0;
}

TEST(context_with_a_value_of_a_closed_module_can_be_copied_and_walked)
{
    struct plugin plugin = plugin_open();
    long seen = 0;
    live = 0;
    assert_int_equal(plugin.set(7), 0);
    assert_int_equal(dlclose(plugin.handle), 0);
    xctx_context *copy = xctx_copy_current();
    assert_int_equal(xctx_each(copy, find_var, &seen), 0);
    assert_int_equal(seen, 7);
    xctx_unref(copy);
    assert_int_equal(live, 1);
}

static void *set_on_thread(void *arg)
{
    struct plugin *plugin = arg;
    CHECK(plugin->set(3) == 0);
    CHECK(dlclose(plugin->handle) == 0);
    return NULL;
}

TEST(thread_that_ends_after_the_module_was_closed_releases_its_value)
{
    struct plugin plugin = plugin_open();
    live = 0;
    on_thread(set_on_thread, &plugin);
    assert_int_equal(live, 0);
}

TEST(module_opened_again_has_the_same_variable)
{
    struct plugin plugin = plugin_open();
    xctx_var *var = plugin.var();
    assert_int_equal(plugin.set(5), 0);
    assert_int_equal(dlclose(plugin.handle), 0);
    plugin = plugin_open();
    assert_ptr_equal(plugin.var(), var);
    assert_int_equal(*(long *)xctx_var_get(plugin.var()), 5);
    assert_int_equal(dlclose(plugin.handle), 0);
}

int main(void)
{
    return test_main("dlclose of a module with a variable");
}
