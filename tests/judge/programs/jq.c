/* SPDX-License-Identifier: MIT */
/* jq in the middle of a program: its callbacks for input, debugging and errors are looked at. */
#include "../judge.h"

#include <stdio.h>

#include "jq.h"
#include "jv.h"

static jv next_input(jq_state *jq, void *closure)
{
    int *count = closure;
    (void)jq;
    judge_here("input");
    if (++*count > 3)
        return jv_invalid();
    return jv_number(*count);
}

static void on_debug(void *closure, jv message)
{
    int depth = jv_get_kind(message) == JV_KIND_ARRAY ? jv_array_length(jv_copy(message)) : -1;
    judge_here("debug");
    judge_touch(closure), judge_touch(&depth);
    jv_free(message);
}

static void on_error(void *closure, jv message)
{
    judge_here("error");
    judge_touch(closure);
    jv_free(message);
}

static int run(jq_state *jq, const char *program, const char *text)
{
    int results = 0;
    if (!jq_compile(jq, program))
        return 0;
    jq_start(jq, jv_parse(text), 0);
    for (jv result = jq_next(jq); jv_is_valid(result); result = jq_next(jq)) {
        jv_free(result);
        results++;
    }
    return results;
}

int main(int argc, char **argv)
{
    judge_start(argc, argv);
    int inputs = 0, results = 0;
    jq_state *jq = jq_init();
    jq_set_input_cb(jq, next_input, &inputs);
    jq_set_debug_cb(jq, on_debug, NULL);
    jq_set_error_cb(jq, on_error, NULL);
    results += run(jq, "def f(x): if x > 3 then x | debug else f(x + 1) end; f(.a), (.b | map(debug) | add)",
                   "{\"a\": 1, \"b\": [1, 2.5, \"text\", null]}");
    results += run(jq, "[inputs] | sort_by(-.) | debug | length", "null");
    results += run(jq, ".a |= (. as [$x, $y] | {$x, $y}) | debug | tojson", "{\"a\": [1, {\"deep\": [true]}]}");
    results += run(jq, "1 + undefined_function(", "null");
    results += run(jq, "reduce range(3) as $i (0; . + ($i | debug))", "0");
    jq_teardown(&jq);
    printf("%d results\n", results);
    return results == 0;
}
