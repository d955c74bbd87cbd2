/* SPDX-License-Identifier: MIT */
/* Lua in the middle of scripts: a C function that they call is looked at. */
#include "../judge.h"

#include <stdio.h>
#include <stdlib.h>

#include "lauxlib.h"
#include "lua.h"
#include "lualib.h"

static const char script[] =
    "local function fib(n) if n == 0 then here('recursion') return 0 end return n < 2 and n or fib(n-1) + fib(n-2) "
    "end\n"
    "fib(5)\n"
    "table.sort({3, 1, 2, 5}, function(a, b) here('sort') return a < b end)\n"
    "string.gsub('some words here', '%w+', function(w) here('gsub') return w:upper() end)\n"
    "local t = setmetatable({}, {__index = function(t, k) here('index') return k .. '!' end,\n"
    "                            __add = function(a, b) here('add') return 1 end,\n"
    "                            __gc = function() here('collected') end})\n"
    "local _ = t.key, t + 1\n"
    "local co = coroutine.wrap(function(a) local b = coroutine.yield(a) here('coroutine') return b end)\n"
    "co(1) co(2)\n"
    "local ok, message = pcall(function() here('protected') error({code = 5}) end)\n"
    "xpcall(function() local x = nil; return x.y end, function(m) here('handler') return m end)\n"
    "assert(load('here(\"loaded\") return ...'))(1, 2.5, 'three')\n"
    "t = nil collectgarbage()\n"
    "for i, v in ipairs({1, 2}) do string.format('%d %s', i, setmetatable({}, {__tostring = function() "
    "here('tostring') "
    "return 'x' end})) end\n";

static int here(lua_State *state)
{
    size_t length;
    const char *label = luaL_checklstring(state, 1, &length);
    char copy[32];
    snprintf(copy, sizeof(copy), "lua-%s", label);
    /* Labels are kept by address. */
    static char names[64][32];
    static int count;
    int i = 0;
    while (i < count && __builtin_strcmp(names[i], copy) != 0)
        i++;
    if (i == count && count < 64)
        __builtin_strcpy(names[count++], copy);
    judge_here(names[i]);
    return 0;
}

static void *allocate(void *closure, void *block, size_t old, size_t size)
{
    int *calls = closure;
    if (++*calls % 150 == 0)
        judge_here("allocate");
    if (size == 0) {
        free(block);
        return NULL;
    }
    (void)old;
    return realloc(block, size);
}

static const char *reader(lua_State *state, void *data, size_t *ret_size)
{
    const char **text = data;
    const char *chunk = *text;
    (void)state;
    *text = NULL;
    *ret_size = chunk ? sizeof(script) - 1 : 0;
    judge_here("reader");
    return chunk;
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    int calls = 0;
    const char *text = script;
    lua_State *state = lua_newstate(allocate, &calls);
    luaL_openlibs(state);
    lua_register(state, "here", here);
    int error = lua_load(state, reader, &text, "=script", NULL);
    if (!error)
        error = lua_pcall(state, 0, 0, 0);
    if (error)
        fprintf(stderr, "lua: %s\n", lua_tostring(state, -1));
    lua_close(state);
    return error;
}
